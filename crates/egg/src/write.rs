//! Writes eggs as panels of the community export them: PTDL, version 2.

use serde::Serialize;
use wire::remote::{ConfigFile, ConfigParser};

use crate::model::{Egg, Variable};
use crate::value::Value;

/// What such a file says of itself.
const COMMENT: &str = "DO NOT EDIT: FILE GENERATED AUTOMATICALLY BY A PANEL";

impl Egg {
    /// The file, written at this time (RFC 3339). The format has one command line: the first one.
    pub fn to_ptdl_v2(&self, exported_at: &str) -> String {
        let root = map([
            ("_comment", COMMENT.into()),
            ("meta", map([("version", "PTDL_v2".into()), ("update_url", optional(self.update_url.as_deref()))])),
            ("exported_at", exported_at.into()),
            ("name", self.name.as_str().into()),
            ("author", self.author.as_str().into()),
            ("description", self.description.as_str().into()),
            ("features", if self.features.is_empty() { Value::Null } else { texts(&self.features) }),
            (
                "docker_images",
                Value::Map(
                    self.images.iter().map(|image| (image.label.clone(), image.image.as_str().into())).collect(),
                ),
            ),
            ("file_denylist", texts(&self.file_denylist)),
            ("startup", self.startup.first().map_or("", |(_, line)| line.as_str()).into()),
            ("config", self.config_value()),
            ("scripts", map([("installation", self.installation())])),
            ("variables", Value::List(self.variables.iter().map(variable).collect())),
        ]);
        pretty(&root)
    }

    fn installation(&self) -> Value {
        map([
            ("script", self.install.script.as_str().into()),
            ("container", self.install.container.as_str().into()),
            ("entrypoint", self.install.entrypoint.as_str().into()),
        ])
    }

    fn config_value(&self) -> Value {
        let files = Value::Map(self.config.files.iter().map(|file| (file.file.clone(), config_file(file))).collect());
        let done = match self.config.startup.done.as_slice() {
            [single] => single.as_str().into(),
            several => texts(several),
        };
        let mut startup = vec![("done".to_owned(), done)];
        if self.config.startup.strip_ansi {
            startup.push(("strip_ansi".to_owned(), Value::Bool(true)));
        }
        map([
            ("files", pretty(&files).as_str().into()),
            ("startup", pretty(&Value::Map(startup)).as_str().into()),
            ("logs", "{}".into()),
            ("stop", self.config.stop.as_str().into()),
        ])
    }
}

/// Several replacements of one key stand together again.
fn config_file(file: &ConfigFile) -> Value {
    let mut find: Vec<(String, Value)> = Vec::new();
    for replacement in &file.replace {
        let new = Value::from(replacement.replace_with.clone());
        match &replacement.if_value {
            None => find.push((replacement.key.clone(), new)),
            Some(old) => match find.last_mut() {
                Some((key, Value::Map(members))) if *key == replacement.key => members.push((old.clone(), new)),
                _ => find.push((replacement.key.clone(), Value::Map(vec![(old.clone(), new)]))),
            },
        }
    }
    map([("parser", parser(file.parser).into()), ("find", Value::Map(find))])
}

fn parser(parser: ConfigParser) -> &'static str {
    match parser {
        ConfigParser::File => "file",
        ConfigParser::Yaml => "yaml",
        ConfigParser::Properties => "properties",
        ConfigParser::Ini => "ini",
        ConfigParser::Json => "json",
        ConfigParser::Xml => "xml",
        ConfigParser::Unknown => "unknown",
    }
}

fn variable(variable: &Variable) -> Value {
    // In one text, unless a rule has in it what separates rules.
    let rules = if variable.rules.iter().any(|rule| rule.contains('|')) {
        texts(&variable.rules)
    } else {
        variable.rules.join("|").as_str().into()
    };
    map([
        ("name", variable.name.as_str().into()),
        ("description", variable.description.as_str().into()),
        ("env_variable", variable.env_variable.as_str().into()),
        ("default_value", variable.default_value.as_str().into()),
        ("user_viewable", Value::Bool(variable.user_viewable)),
        ("user_editable", Value::Bool(variable.user_editable)),
        ("rules", rules),
        ("field_type", "text".into()),
    ])
}

fn map<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::Map(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn texts(texts: &[String]) -> Value {
    Value::List(texts.iter().map(|text| text.as_str().into()).collect())
}

fn optional(text: Option<&str>) -> Value {
    text.map_or(Value::Null, Value::from)
}

/// With four spaces, as PHP has it.
fn pretty(value: &Value) -> String {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    // Texts, numbers, lists and maps by text have a JSON form, and memory takes all of it.
    let _ = value.serialize(&mut serializer);
    String::from_utf8(bytes).unwrap_or_default()
}
