//! What eggs set in a game's own configuration files before each start: a file's text in, its new text out.
//!
//! Files that are read line by line keep everything that is not set: comments, order, line ends. Documents keep their order. Setting the
//! same twice changes nothing the second time.

mod document;
mod lines;
mod markup;
mod output;
mod properties;

use std::fmt;

use regex::{Regex, RegexBuilder};
use wire::remote::{ConfigFile, ConfigParser, Replacement};

use output::Output;

/// Longest file that is touched or made; a game's configuration is shorter.
pub const FILE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// In front of a text that says that it is one.
const MARK: &str = "\u{feff}";
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
    /// Longer than [`FILE_BYTES_MAX`], before or after.
    #[error("it has more than {} MiB, or would have", FILE_BYTES_MAX >> 20)]
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

/// Sets values in a file; `text` is none where there is no file yet, which is made. `lookup` fills in the placeholders that are left in
/// values, such as `config.docker.interface`; one that it does not know stays. Time and memory are in proportion to the file and the values.
///
/// # Errors
/// The file cannot be read as what it should be, or is too long; it is best left alone.
pub fn apply(
    parser: ConfigParser,
    text: Option<&str>,
    replacements: &[Replacement],
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<Applied, ApplyError> {
    let whole = text.unwrap_or_default();
    if whole.len() > FILE_BYTES_MAX {
        return Err(ApplyError::TooLong);
    }
    let mut notes = Vec::new();
    let changes: Vec<Change> =
        replacements.iter().map(|replacement| Change::of(fill(replacement, &lookup), &mut notes)).collect();
    // Editors of Windows put a mark in front, which is no part of the first line.
    let (mark, text) = whole.strip_prefix(MARK).map_or(("", whole), |text| (MARK, text));
    let mut out = Output::new(mark);
    match parser {
        ConfigParser::File => lines::file(text, &changes, &mut out)?,
        ConfigParser::Properties => properties::properties(text, &changes, &mut out)?,
        ConfigParser::Ini => lines::ini(text, &changes, &mut out, &mut notes)?,
        ConfigParser::Json => document::json(text, &changes, &mut out, &mut notes)?,
        ConfigParser::Yaml => document::yaml(text, &changes, &mut out, &mut notes)?,
        ConfigParser::Xml => markup::xml(text, &changes, &mut out, &mut notes)?,
        ConfigParser::Unknown => return Err(ApplyError::Unknown),
    }
    Ok(Applied { text: out.text(), notes })
}

/// A file of an egg, from its `find` map: a value is set as it is, or, where it is a map itself, each of its values replaces the one that it
/// is named after. What is no map sets nothing.
pub fn from_find(file: &str, parser: ConfigParser, find: &serde_json::Value) -> ConfigFile {
    let mut replace = Vec::new();
    for (key, value) in find.as_object().into_iter().flatten() {
        let one = |if_value: Option<&String>, value: &serde_json::Value| Replacement {
            key: key.clone(),
            if_value: if_value.cloned(),
            replace_with: value.clone(),
        };
        match value {
            serde_json::Value::Object(members) => replace.extend(members.iter().map(|(old, new)| one(Some(old), new))),
            value => replace.push(one(None, value)),
        }
    }
    ConfigFile { file: file.to_owned(), parser, replace }
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
        // Without an end there is none behind it either: looking again for each would take its time.
        let Some((name, behind)) = after.split_once("}}") else {
            filled.push_str("{{");
            rest = after;
            break;
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

/// A value that is to be set, ready for use.
struct Change {
    key: String,
    condition: Condition,
    new: serde_json::Value,
    /// The new value as a text.
    text: String,
}

/// What a value has to be now to be replaced.
enum Condition {
    Any,
    Is(String),
    Matches(Regex),
    /// A regular expression that cannot be used matches nothing.
    Never,
}

impl Change {
    /// Compiles the condition once, however many values it is held against.
    fn of(replacement: Replacement, notes: &mut Vec<String>) -> Self {
        let condition = match replacement.if_value {
            None => Condition::Any,
            Some(value) => match value.strip_prefix(REGEX_PREFIX) {
                None => Condition::Is(value),
                Some(pattern) => match RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).build() {
                    Ok(regex) => Condition::Matches(regex),
                    Err(_) => {
                        notes.push(format!("`{}` was not set, because its expression cannot be used", replacement.key));
                        Condition::Never
                    }
                },
            },
        };
        let text = text_of(&replacement.replace_with);
        // Put in front of a file by mistake it would be no part of the key the next time.
        let key = replacement.key.replace(MARK, "");
        Self { key, condition, new: replacement.replace_with, text }
    }

    /// Whether only a value that is there is replaced.
    fn has_condition(&self) -> bool {
        !matches!(self.condition, Condition::Any)
    }

    /// Whether a value is the one that is to be replaced.
    fn is_meant(&self, now: &str) -> bool {
        match &self.condition {
            Condition::Any => true,
            Condition::Is(wanted) => wanted == now,
            Condition::Matches(regex) => regex.is_match(now),
            Condition::Never => false,
        }
    }

    /// The value in one line: more would be read as settings of their own.
    fn line(&self) -> String {
        self.text.replace(['\r', '\n'], " ").replace(MARK, "")
    }
}

impl ApplyError {
    fn syntax(what: &'static str, why: impl fmt::Display) -> Self {
        let why = why.to_string();
        // Libraries draw where a mistake is; people get the sentence.
        Self::Syntax { what, why: why.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned() }
    }
}
