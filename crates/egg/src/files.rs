//! What eggs set in a game's own configuration files before each start: a file's text in, its new text out.
//!
//! Files that are read line by line keep everything that is not set: comments, order, line ends. Documents keep their order. Setting the
//! same twice changes nothing the second time.

mod document;
mod lines;
mod markup;

use wire::remote::{ConfigFile, ConfigParser, Replacement};

/// Longest file that is touched; a game's configuration is shorter.
pub const FILE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// In front of a condition that is a regular expression.
const REGEX_PREFIX: &str = "regex:";
/// Bytes that a compiled expression may have: it comes from a stranger.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// A file after its values were set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The whole file.
    pub text: String,
    /// What could not be set, or was lost on the way; sentences for people.
    pub notes: Vec<String>,
}

/// Why a file is left as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Longer than [`FILE_BYTES_MAX`].
    #[error("it has more than {} MiB", FILE_BYTES_MAX >> 20)]
    TooLong,
    /// It is not what it should be.
    #[error("it is no {what} as it stands ({why}); mend it, or delete it and it is made anew")]
    Syntax {
        /// What it should be.
        what: &'static str,
        /// Where and why not.
        why: String,
    },
    /// Its egg names a way of writing that is not known.
    #[error("how it is written is not known here")]
    Unknown,
}

/// Sets values in a file; `text` is none where there is no file yet. `lookup` fills in the placeholders that are left in values, such as
/// `config.docker.interface`; one that it does not know stays.
///
/// # Errors
/// The file cannot be read as what it should be; it is best left alone.
pub fn apply(
    parser: ConfigParser,
    text: Option<&str>,
    replacements: &[Replacement],
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<Applied, ApplyError> {
    let text = text.unwrap_or_default();
    if text.len() > FILE_BYTES_MAX {
        return Err(ApplyError::TooLong);
    }
    let filled: Vec<Replacement> = replacements.iter().map(|replacement| fill(replacement, &lookup)).collect();
    match parser {
        ConfigParser::File => Ok(lines::file(text, &filled)),
        ConfigParser::Properties => Ok(lines::properties(text, &filled)),
        ConfigParser::Ini => Ok(lines::ini(text, &filled)),
        ConfigParser::Json => document::json(text, &filled),
        ConfigParser::Yaml => document::yaml(text, &filled),
        ConfigParser::Xml => markup::xml(text, &filled),
        ConfigParser::Unknown => Err(ApplyError::Unknown),
    }
}

/// The files of an egg, with what the panel knows filled in: placeholders that `lookup` does not know stay, for the node.
pub fn resolve(files: &[ConfigFile], lookup: impl Fn(&str) -> Option<String>) -> Vec<ConfigFile> {
    let one = |file: &ConfigFile| ConfigFile {
        replace: file.replace.iter().map(|replacement| fill(replacement, &lookup)).collect(),
        ..file.clone()
    };
    files.iter().map(one).collect()
}

fn fill(replacement: &Replacement, lookup: &impl Fn(&str) -> Option<String>) -> Replacement {
    Replacement {
        key: filled(&replacement.key, lookup),
        if_value: replacement.if_value.as_deref().map(|value| filled(value, lookup)),
        replace_with: filled_value(&replacement.replace_with, lookup),
    }
}

fn filled_value(value: &serde_json::Value, lookup: &impl Fn(&str) -> Option<String>) -> serde_json::Value {
    match value {
        serde_json::Value::String(text) => filled(text, lookup).into(),
        serde_json::Value::Array(items) => items.iter().map(|item| filled_value(item, lookup)).collect(),
        serde_json::Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), filled_value(value, lookup))).collect()
        }
        other => other.clone(),
    }
}

/// A text with `{{name}}` replaced where there is a value for it.
fn filled(text: &str, lookup: &impl Fn(&str) -> Option<String>) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        filled.push_str(before);
        let Some((name, behind)) = after.split_once("}}") else {
            filled.push_str("{{");
            rest = after;
            continue;
        };
        match lookup(name.trim()) {
            Some(value) => filled.push_str(&value),
            None => {
                filled.push_str("{{");
                filled.push_str(name);
                filled.push_str("}}");
            }
        }
        rest = behind;
    }
    filled.push_str(rest);
    filled
}

/// The new value as a text.
fn text_of(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Whether a value is the one that is to be replaced.
fn is_meant(replacement: &Replacement, now: Option<&str>) -> bool {
    let Some(wanted) = &replacement.if_value else { return true };
    let now = now.unwrap_or_default();
    match wanted.strip_prefix(REGEX_PREFIX) {
        None => wanted == now,
        // One that cannot be used matches nothing.
        Some(pattern) => {
            regex::RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).build().is_ok_and(|regex| regex.is_match(now))
        }
    }
}
