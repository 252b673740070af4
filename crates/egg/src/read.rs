//! Reads eggs: PTDL 1 and 2 of Pterodactyl, PLCN 1 to 3 of Pelican, as JSON or as YAML.
//!
//! What panels write is read strictly where a mistake would run something else than was meant, and leniently elsewhere: thousands of these
//! files were edited by hand. What was odd is noted in words. Whatever the file is, what comes out speaks Pterodactyl's language: its
//! placeholders, one command line with a label, texts as values.

use uuid::Uuid;
use wire::remote::{ConfigFile, ConfigParser, Replacement, Startup};

use crate::model::{Config, Egg, Image, Install, Variable};
use crate::rules::split;
use crate::value::Value;

/// Longest file.
pub const TEXT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most variables of an egg; the largest that is known has 52.
pub const VARIABLES_MAX: usize = 200;
/// Most images, command lines, configuration files, patterns and the like.
pub const LIST_MAX: usize = 200;
/// What a variable may not be called: the environment has these already.
const RESERVED: [&str; 11] =
    ["HOME", "USER", "TERM", "LANG", "PWD", "HOSTNAME", "UUID", "PATH", "SHELL", "LOGNAME", "P_SERVER_UUID"];
/// Placeholders of Pelican's, and what Pterodactyl calls the same.
const PLACEHOLDERS: [(&str, &str); 6] = [
    ("server.allocations.default.", "server.build.default."),
    ("server.environment.", "server.build.env."),
    ("server.build.memory_limit", "server.build.memory"),
    ("server.build.io_weight", "server.build.io"),
    ("server.build.disk_space", "server.build.disk"),
    ("server.build.cpu_limit", "server.build.cpu"),
];
/// The label of a command line that has none.
const DEFAULT_LABEL: &str = "Default";

/// Something odd in a file, and what was made of it; a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note(pub String);

/// Why a file is no egg that can be used; what happened and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Larger than [`TEXT_BYTES_MAX`].
    #[error("the file has {0} bytes; an egg has at most {TEXT_BYTES_MAX}")]
    TooLong(usize),
    /// Neither JSON nor YAML.
    #[error("the file is neither JSON nor YAML: {0}")]
    Syntax(String),
    /// Something else.
    #[error("this is no egg: {0}; export it from a Pterodactyl or Pelican panel, or take it from a collection of eggs")]
    NoEgg(String),
    /// An egg that cannot be run as it is.
    #[error("the egg cannot be used: {0}")]
    Unusable(String),
}

impl Egg {
    /// Reads an egg, with what was odd about it.
    ///
    /// # Errors
    /// What is wrong with the file as a whole.
    pub fn read(text: &str) -> Result<(Self, Vec<Note>), ReadError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(ReadError::TooLong(text.len()));
        }
        let root = document(text)?;
        let version = root.get("meta").and_then(|meta| meta.get("version")).and_then(Value::scalar);
        let version = version.ok_or_else(|| ReadError::NoEgg("it has no `meta.version`".to_owned()))?;
        let mut reader = Reader { notes: Vec::new() };
        match version.as_str() {
            "PTDL_v1" | "PTDL_v2" | "PLCN_v1" | "PLCN_v2" | "PLCN_v3" => {}
            other if other.starts_with("PTDL_") || other.starts_with("PLCN_") => {
                reader
                    .note(format!("The version {other} is newer than those known here; it was read like the newest."));
            }
            other => return Err(ReadError::NoEgg(format!("its `meta.version` is `{other}`"))),
        }
        let egg = reader.egg(&root)?;
        Ok((egg, reader.notes))
    }
}

fn document(text: &str) -> Result<Value, ReadError> {
    let text = text.trim_start_matches('\u{feff}');
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).map_err(|error| ReadError::Syntax(error.to_string()));
    }
    let root: Value =
        serde_saphyr::from_str(text).map_err(|error| ReadError::Syntax(first_line(&error.to_string())))?;
    match root {
        Value::Map(_) => Ok(root),
        _ => Err(ReadError::NoEgg("it is a text or a list".to_owned())),
    }
}

/// The library draws where a mistake is; people get the sentence.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

struct Reader {
    notes: Vec<Note>,
}

impl Reader {
    fn note(&mut self, text: impl Into<String>) {
        self.notes.push(Note(text.into()));
    }

    fn egg(&mut self, root: &Value) -> Result<Egg, ReadError> {
        let text = |name: &str| root.get(name).and_then(Value::scalar).unwrap_or_default();
        let name = text("name").trim().to_owned();
        if name.is_empty() {
            return Err(ReadError::Unusable("it has no name".to_owned()));
        }
        let meta = root.get("meta");
        let startup = self.startup(root)?;
        let variables = self.variables(root)?;
        let egg = Egg {
            uuid: self.uuid(root),
            name,
            author: text("author"),
            description: text("description"),
            update_url: meta
                .and_then(|meta| meta.get("update_url"))
                .and_then(Value::scalar)
                .filter(|url| !url.is_empty()),
            exported_at: root.get("exported_at").and_then(Value::scalar),
            tags: self.texts(root, "tags"),
            features: self.texts(root, "features"),
            images: self.images(root),
            file_denylist: self.texts(root, "file_denylist"),
            startup,
            config: self.config(root.get("config"))?,
            install: self.install(root),
            variables,
            icon: ["icon", "image"]
                .iter()
                .filter_map(|name| root.get(name).and_then(Value::scalar))
                .find(|icon| icon.starts_with("data:")),
        };
        Ok(egg)
    }

    fn uuid(&mut self, root: &Value) -> Option<Uuid> {
        let text = root.get("uuid").and_then(Value::scalar)?;
        let uuid = text.parse().ok();
        if uuid.is_none() {
            self.note(format!("`uuid` is `{}`, which is none; the egg gets one of its own.", shown(&text)));
        }
        uuid
    }

    /// A list of texts; null, a single text, or a map, whose values count.
    fn texts(&mut self, root: &Value, name: &str) -> Vec<String> {
        let items: Vec<&Value> = match root.get(name) {
            None | Some(Value::Null) => return Vec::new(),
            Some(Value::List(items)) => items.iter().collect(),
            Some(Value::Map(members)) => members.iter().map(|(_, value)| value).collect(),
            Some(single) => vec![single],
        };
        let mut texts: Vec<String> =
            items.into_iter().filter_map(Value::scalar).filter(|text| !text.is_empty()).collect();
        self.cut(name, &mut texts);
        texts
    }

    fn cut<T>(&mut self, name: &str, list: &mut Vec<T>) {
        if list.len() > LIST_MAX {
            self.note(format!("`{name}` has {} entries; the first {LIST_MAX} were taken.", list.len()));
            list.truncate(LIST_MAX);
        }
    }

    fn images(&mut self, root: &Value) -> Vec<Image> {
        let labelled = |image: &str| Image { label: image.to_owned(), image: image.to_owned() };
        let mut images: Vec<Image> = match root.get("docker_images").or_else(|| root.get("images")) {
            Some(Value::Map(members)) => members
                .iter()
                .filter_map(|(label, image)| Some(Image { label: label.clone(), image: image.scalar()? }))
                .collect(),
            Some(Value::List(items)) => items.iter().filter_map(Value::scalar).map(|image| labelled(&image)).collect(),
            Some(Value::Text(image)) => vec![labelled(image)],
            _ => match root.get("image").and_then(Value::scalar).filter(|image| !image.starts_with("data:")) {
                Some(image) => vec![labelled(&image)],
                None => Vec::new(),
            },
        };
        images.retain(|image| !image.image.trim().is_empty());
        if images.is_empty() {
            self.note("It names no image, so it runs as a process only.");
        }
        self.cut("docker_images", &mut images);
        images
    }

    fn startup(&mut self, root: &Value) -> Result<Vec<(String, String)>, ReadError> {
        let mut lines: Vec<(String, String)> = match root.get("startup_commands") {
            Some(Value::Map(members)) => {
                members.iter().filter_map(|(label, line)| Some((label.clone(), line.scalar()?))).collect()
            }
            Some(Value::List(items)) => {
                items.iter().filter_map(Value::scalar).map(|line| (DEFAULT_LABEL.to_owned(), line)).collect()
            }
            _ => root
                .get("startup")
                .and_then(Value::scalar)
                .map(|line| (DEFAULT_LABEL.to_owned(), line))
                .into_iter()
                .collect(),
        };
        for (_, line) in &mut lines {
            line.replace("\r\n", "\n").trim().clone_into(line);
        }
        lines.retain(|(_, line)| !line.is_empty());
        if lines.is_empty() {
            return Err(ReadError::Unusable("it has no start command".to_owned()));
        }
        self.cut("startup_commands", &mut lines);
        Ok(lines)
    }

    fn install(&mut self, root: &Value) -> Install {
        let Some(installation) = root.get("scripts").and_then(|scripts| scripts.get("installation")) else {
            return Install::default();
        };
        let text = |name: &str| installation.get(name).and_then(Value::scalar).unwrap_or_default();
        let install = Install {
            script: text("script").replace("\r\n", "\n"),
            container: text("container").trim().to_owned(),
            entrypoint: text("entrypoint").trim().to_owned(),
        };
        if !install.script.trim().is_empty() && install.container.is_empty() {
            self.note("Its installation script names no image; it can be run as a process only.");
        }
        install
    }

    fn variables(&mut self, root: &Value) -> Result<Vec<Variable>, ReadError> {
        let items = match root.get("variables") {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::List(items)) => items,
            Some(_) => return Err(ReadError::Unusable("its `variables` are no list".to_owned())),
        };
        if items.len() > VARIABLES_MAX {
            let text = format!("it has {} variables; there may be {VARIABLES_MAX}", items.len());
            return Err(ReadError::Unusable(text));
        }
        let mut variables: Vec<Variable> = Vec::new();
        for (n, item) in items.iter().enumerate() {
            let variable = self.variable(n + 1, item)?;
            if variables.iter().any(|known| known.env_variable == variable.env_variable) {
                let text = format!("two of its variables are called {}; rename one", variable.env_variable);
                return Err(ReadError::Unusable(text));
            }
            variables.push(variable);
        }
        Ok(variables)
    }

    fn variable(&mut self, n: usize, item: &Value) -> Result<Variable, ReadError> {
        let text = |name: &str| item.get(name).and_then(Value::scalar).unwrap_or_default();
        let given = text("env_variable").trim().to_owned();
        let env_variable = self.variable_name(n, &given)?;
        let name = text("name").trim().to_owned();
        let flag = |name: &str| item.get(name).and_then(Value::flag).unwrap_or(false);
        let rules = match item.get("rules") {
            Some(Value::List(items)) => items.iter().filter_map(Value::scalar).collect(),
            Some(Value::Map(members)) => members.iter().filter_map(|(_, rule)| rule.scalar()).collect(),
            Some(rules) => rules.scalar().into_iter().collect(),
            None => Vec::new(),
        };
        let rules: Vec<String> = rules.iter().flat_map(|rules: &String| split(rules)).collect();
        Ok(Variable {
            name: if name.is_empty() { env_variable.clone() } else { name },
            description: text("description"),
            env_variable,
            default_value: text("default_value"),
            user_viewable: flag("user_viewable"),
            user_editable: flag("user_editable"),
            rules,
        })
    }

    /// A name that the environment can have, in capitals, as panels make it.
    fn variable_name(&mut self, n: usize, given: &str) -> Result<String, ReadError> {
        let upper = given.to_uppercase();
        let is_name = |text: &str| {
            !text.is_empty()
                && !text.starts_with(|c: char| c.is_ascii_digit())
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        if !is_name(&upper) {
            let text = format!("its variable number {n} is called `{}`, which no environment can have", shown(given));
            return Err(ReadError::Unusable(text));
        }
        if RESERVED.contains(&upper.as_str()) {
            let renamed = format!("SERVER_{upper}");
            self.note(format!(
                "The variable {upper} has the name of one that is always there; it is called {renamed} now."
            ));
            return Ok(renamed);
        }
        if upper != given {
            self.note(format!("The variable {given} is called {upper} now."));
        }
        Ok(upper)
    }

    fn config(&mut self, config: Option<&Value>) -> Result<Config, ReadError> {
        let member = |name: &str| config.and_then(|config| config.get(name));
        let startup = unpacked("config.startup", member("startup"))?;
        let files = unpacked("config.files", member("files"))?;
        let done = match startup.get("done") {
            Some(Value::List(items)) => items.iter().filter_map(Value::scalar).collect(),
            Some(value) => value.scalar().into_iter().collect(),
            None => Vec::new(),
        };
        let mut done: Vec<String> = done.into_iter().filter(|pattern: &String| !pattern.is_empty()).collect();
        if done.is_empty() {
            self.note("It does not say when it is ready: a server counts as running after a while.");
        }
        self.cut("config.startup.done", &mut done);
        let strip_ansi = startup.get("strip_ansi").and_then(Value::flag).unwrap_or(false);
        Ok(Config {
            startup: Startup { done, strip_ansi, settle_ms: 0 },
            stop: member("stop").and_then(Value::scalar).unwrap_or_default().trim().to_owned(),
            files: self.files(&files),
        })
    }

    fn files(&mut self, files: &Value) -> Vec<ConfigFile> {
        let Value::Map(members) = files else { return Vec::new() };
        let mut read = Vec::new();
        for (file, what) in members {
            let parser = what.get("parser").and_then(Value::scalar).unwrap_or_default().to_ascii_lowercase();
            let parser = serde_json::from_value(parser.clone().into()).unwrap_or(ConfigParser::Unknown);
            if parser == ConfigParser::Unknown {
                self.note(format!("`{}` is written in a way that is not known here; it is left alone.", shown(file)));
            }
            let Some(Value::Map(find)) = what.get("find") else { continue };
            let mut replace = find.iter().flat_map(|(key, value)| replacements(key, value)).collect::<Vec<_>>();
            self.cut(file, &mut replace);
            read.push(ConfigFile { file: file.clone(), parser, replace });
        }
        self.cut("config.files", &mut read);
        read
    }
}

/// What stands there itself, or in a text of JSON, as panels before Pelican's third version write it.
fn unpacked(name: &str, value: Option<&Value>) -> Result<Value, ReadError> {
    match value {
        Some(Value::Text(text)) if !text.trim().is_empty() => serde_json::from_str(text)
            .map_err(|error| ReadError::Unusable(format!("its `{name}` is no JSON in a text: {error}"))),
        Some(value @ (Value::Map(_) | Value::List(_))) => Ok(value.clone()),
        _ => Ok(Value::Null),
    }
}

/// One value, or several that each replace another one.
fn replacements(key: &str, value: &Value) -> Vec<Replacement> {
    let key = plain(key);
    match value {
        Value::Map(members) => members
            .iter()
            .map(|(old, new)| Replacement {
                key: key.clone(),
                if_value: Some(plain(old)),
                replace_with: spoken(new.clone()).unordered(),
            })
            .collect(),
        value => vec![Replacement { key, if_value: None, replace_with: spoken(value.clone()).unordered() }],
    }
}

/// A value whose placeholders are Pterodactyl's.
fn spoken(value: Value) -> Value {
    match value {
        Value::Text(text) => Value::Text(plain(&text)),
        Value::List(items) => Value::List(items.into_iter().map(spoken).collect()),
        Value::Map(members) => Value::Map(members.into_iter().map(|(name, value)| (name, spoken(value))).collect()),
        other => other,
    }
}

fn plain(text: &str) -> String {
    if !text.contains("{{") {
        return text.to_owned();
    }
    PLACEHOLDERS.iter().fold(text.to_owned(), |text, (theirs, ours)| {
        // `memory` is a beginning of `memory_limit`, not the other way round, so nothing is replaced twice.
        text.replace(&format!("{{{{{theirs}"), &format!("{{{{{ours}"))
            .replace(&format!("{{{{ {theirs}"), &format!("{{{{{ours}"))
    })
}

/// The beginning of a text from a file, for a sentence.
fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    text.chars().filter(|c| !c.is_control()).take(CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_pterodactyls() {
        assert_eq!(plain("{{server.allocations.default.port}}"), "{{server.build.default.port}}");
        assert_eq!(plain("a {{ server.environment.X }} b"), "a {{server.build.env.X }} b");
        assert_eq!(plain("{{server.build.memory_limit}}"), "{{server.build.memory}}");
        assert_eq!(plain("server.environment.X"), "server.environment.X");
    }
}
