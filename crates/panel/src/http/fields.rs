//! Reads fields of a JSON body one by one and collects every rule that fails, as stock panels report them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::problem::{FieldError, Problem};

/// A body being read. Fields nobody asks for are ignored.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    body: Option<&'a Map<String, Value>>,
    prefix: String,
    failed: Vec<FieldError>,
}

impl<'a> Fields<'a> {
    /// Of a body; one that is no object has no fields.
    pub(crate) fn of(body: &'a Value) -> Self {
        Self { body: body.as_object(), prefix: String::new(), failed: Vec::new() }
    }

    /// Of an object inside; absent and null have no fields.
    pub(crate) fn inside(&mut self, name: &str) -> Fields<'a> {
        let body = self.value(name).and_then(Value::as_object);
        Fields { body, prefix: format!("{}{name}.", self.prefix), failed: Vec::new() }
    }

    /// Takes over what failed inside.
    pub(crate) fn absorb(&mut self, inner: Fields<'_>) {
        self.failed.extend(inner.failed);
    }

    /// Takes over what failed elsewhere, under its own names.
    pub(crate) fn extend(&mut self, failed: Vec<FieldError>) {
        self.failed.extend(failed);
    }

    /// All is well, or the answer that says what is not.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        if self.failed.is_empty() { Ok(()) } else { Err(Problem::Invalid(self.failed)) }
    }

    /// Notes that a field failed a rule.
    pub(crate) fn fail(&mut self, name: &str, rule: &'static str, detail: impl Into<String>) {
        self.failed.push(FieldError { field: format!("{}{name}", self.prefix), rule, detail: detail.into() });
    }

    /// Whether the field is there at all, null included.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.body.is_some_and(|body| body.contains_key(name))
    }

    /// Whether it is a text of nothing but white space.
    pub(crate) fn is_blank(&self, name: &str) -> bool {
        let value = self.body.and_then(|body| body.get(name));
        value.and_then(Value::as_str).is_some_and(|text| text.trim().is_empty())
    }

    /// The value, unless it is absent, null, or only white space.
    pub(crate) fn value(&self, name: &str) -> Option<&'a Value> {
        match self.body?.get(name)? {
            Value::Null => None,
            Value::String(text) if text.trim().is_empty() => None,
            other => Some(other),
        }
    }

    /// A text without the white space around it, at most this long; numbers count as text.
    pub(crate) fn text_or_none(&mut self, name: &str, chars_max: usize) -> Option<String> {
        let text = match self.value(name)? {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            _ => {
                self.fail(name, "string", format!("The {name} must be a string."));
                return None;
            }
        };
        if text.chars().count() > chars_max {
            self.fail(name, "max", format!("The {name} may not be longer than {chars_max} characters."));
            return None;
        }
        Some(text)
    }

    /// The same, and it must be there. The empty text stands for what failed.
    pub(crate) fn text(&mut self, name: &str, chars_max: usize) -> String {
        if self.value(name).is_none() {
            self.fail(name, "required", format!("The {name} field is required."));
            return String::new();
        }
        self.text_or_none(name, chars_max).unwrap_or_default()
    }

    /// A text that people tell things apart by, at most this long: without characters that cannot be seen, as those go into
    /// configuration files and command lines, where a line break would end a setting, and as those that turn the direction of
    /// letters make one name look like another.
    pub(crate) fn name_or_none(&mut self, name: &str, chars_max: usize) -> Option<String> {
        let text = self.text_or_none(name, chars_max)?;
        if text.chars().any(is_unseen) {
            self.fail(name, "regex", format!("The {name} may not hold control characters or invisible ones."));
        }
        Some(text)
    }

    /// The same, and it must be there. The empty text stands for what failed.
    pub(crate) fn name(&mut self, name: &str, chars_max: usize) -> String {
        match self.value(name) {
            Some(_) => self.name_or_none(name, chars_max).unwrap_or_default(),
            None => self.text(name, chars_max),
        }
    }

    /// A whole number within a range; digits in a string count.
    pub(crate) fn integer(&mut self, name: &str, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let number = match self.value(name)? {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        let Some(number) = number else {
            self.fail(name, "integer", format!("The {name} must be a whole number."));
            return None;
        };
        if !range.contains(&number) {
            let (rule, detail) = if number < *range.start() {
                ("min", format!("The {name} must be at least {}.", range.start()))
            } else {
                ("max", format!("The {name} may not be greater than {}.", range.end()))
            };
            self.fail(name, rule, detail);
            return None;
        }
        Some(number)
    }

    /// The same for numbers that cannot be negative.
    pub(crate) fn unsigned(&mut self, name: &str, max: i64) -> Option<u64> {
        self.integer(name, 0..=max).and_then(|number| u64::try_from(number).ok())
    }

    /// True or false; also 1, 0 and their strings, as PHP panels take them.
    pub(crate) fn flag(&mut self, name: &str) -> Option<bool> {
        match self.value(name)? {
            Value::Bool(flag) => Some(*flag),
            Value::Number(number) if number.as_i64() == Some(1) => Some(true),
            Value::Number(number) if number.as_i64() == Some(0) => Some(false),
            Value::String(text) if text == "1" || text == "true" => Some(true),
            Value::String(text) if text == "0" || text == "false" => Some(false),
            _ => {
                self.fail(name, "boolean", format!("The {name} field must be true or false."));
                None
            }
        }
    }

    /// A list of texts; none when it is absent.
    pub(crate) fn texts(&mut self, name: &str, entries_max: usize) -> Option<Vec<String>> {
        let Value::Array(entries) = self.value(name)? else {
            self.fail(name, "array", format!("The {name} must be a list."));
            return None;
        };
        if entries.len() > entries_max {
            self.fail(name, "max", format!("The {name} may not have more than {entries_max} entries."));
            return None;
        }
        let mut texts = Vec::with_capacity(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            match entry.as_str() {
                Some(text) => texts.push(text.trim().to_owned()),
                None => {
                    let field = format!("{name}.{index}");
                    self.fail(&field, "string", format!("The {field} must be a string."));
                }
            }
        }
        Some(texts)
    }

    /// A list of numbers of things; digits in strings count. Empty when it is absent.
    pub(crate) fn numbers(&mut self, name: &str, entries_max: usize) -> Vec<u64> {
        let Some(value) = self.value(name) else { return Vec::new() };
        let Value::Array(entries) = value else {
            self.fail(name, "array", format!("The {name} must be a list."));
            return Vec::new();
        };
        if entries.len() > entries_max {
            self.fail(name, "max", format!("The {name} may not have more than {entries_max} entries."));
            return Vec::new();
        }
        let mut numbers = Vec::with_capacity(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            match entry.as_u64().or_else(|| entry.as_str()?.trim().parse().ok()) {
                Some(number) => numbers.push(number),
                None => {
                    let field = format!("{name}.{index}");
                    self.fail(&field, "integer", format!("The {field} must be a whole number."));
                }
            }
        }
        numbers
    }

    /// Ports, and ranges of them such as `25570-25580`, as a list or as one text. Empty when it is absent.
    pub(crate) fn ports(&mut self, name: &str, entries_max: usize) -> Vec<std::ops::RangeInclusive<u16>> {
        let texts = match self.value(name) {
            None => return Vec::new(),
            Some(Value::Array(entries)) if entries.len() <= entries_max => entries
                .iter()
                .map(|entry| entry.as_str().map_or_else(|| entry.to_string(), |text| text.trim().to_owned()))
                .collect(),
            Some(Value::String(text)) => vec![text.trim().to_owned()],
            Some(Value::Number(number)) => vec![number.to_string()],
            Some(_) => {
                self.fail(name, "array", format!("The {name} must be a list of at most {entries_max} ports."));
                return Vec::new();
            }
        };
        let mut ranges = Vec::new();
        // Clients send an empty text when nothing is meant.
        for (index, text) in texts.iter().filter(|text| !text.is_empty()).enumerate() {
            match port_range(text) {
                Some(range) => ranges.push(range),
                None => {
                    let detail =
                        format!("{text:?} is neither a port of 1024 to 65535 nor a range such as 25570-25580.");
                    self.fail(&format!("{name}.{index}"), "port", detail);
                }
            }
        }
        ranges
    }

    /// A map of texts; numbers and flags count as text, null as the empty one.
    pub(crate) fn map(&mut self, name: &str, entries_max: usize) -> Option<BTreeMap<String, String>> {
        let entries = match self.value(name)? {
            Value::Object(entries) => entries,
            // PHP writes the empty map as a list.
            Value::Array(list) if list.is_empty() => return Some(BTreeMap::new()),
            _ => {
                self.fail(name, "array", format!("The {name} must be an object."));
                return None;
            }
        };
        if entries.len() > entries_max {
            self.fail(name, "max", format!("The {name} may not have more than {entries_max} entries."));
            return None;
        }
        let mut map = BTreeMap::new();
        for (key, value) in entries {
            let text = match value {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                Value::Bool(flag) => flag.to_string(),
                Value::Array(_) | Value::Object(_) => {
                    self.fail(&format!("{name}.{key}"), "string", format!("The {name}.{key} must be a string."));
                    continue;
                }
            };
            map.insert(key.clone(), text);
        }
        Some(map)
    }

    /// An e-mail address, lower case. Whether it exists only a letter would tell.
    pub(crate) fn email(&mut self, name: &str) -> String {
        let text = self.text(name, 191).to_lowercase();
        let sane = text.split_once('@').is_some_and(|(local, domain)| {
            !local.is_empty()
                && !domain.is_empty()
                && !domain.contains('@')
                && !domain.starts_with('.')
                && !domain.ends_with('.')
                && !text.chars().any(|c| c.is_whitespace() || is_unseen(c))
        });
        if !text.is_empty() && !sane {
            self.fail(name, "email", format!("The {name} must be a valid email address."));
        }
        text
    }
}

/// The ports below are the system's own.
const PORT_MIN: u16 = 1024;

fn port_range(text: &str) -> Option<std::ops::RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (first >= PORT_MIN && first <= last).then_some(first..=last)
}

/// Control characters, format characters (Unicode's categories Cc and Cf), and the two separators of lines and paragraphs.
pub(crate) fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{AD}' | '\u{600}'..='\u{605}' | '\u{61C}' | '\u{6DD}' | '\u{70F}' | '\u{890}'..='\u{891}' | '\u{8E2}' | '\u{180E}'
            | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{206F}' | '\u{FEFF}'
            | '\u{FFF9}'..='\u{FFFB}' | '\u{110BD}' | '\u{110CD}' | '\u{13430}'..='\u{1343F}' | '\u{1BCA0}'..='\u{1BCA3}'
            | '\u{1D173}'..='\u{1D17A}' | '\u{E0001}' | '\u{E0020}'..='\u{E007F}')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules(read: impl Fn(&mut Fields<'_>), body: &Value) -> Vec<(String, &'static str)> {
        let mut fields = Fields::of(body);
        read(&mut fields);
        match fields.finish() {
            Ok(()) => Vec::new(),
            Err(Problem::Invalid(failed)) => failed.into_iter().map(|f| (f.field, f.rule)).collect(),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_rule_that_fails_is_named() {
        let read = |fields: &mut Fields<'_>| {
            fields.text("a", 3);
            fields.integer("b", 1..=5);
            fields.flag("c");
            fields.texts("d", 2);
            fields.map("e", 2);
            let mut inner = fields.inside("f");
            inner.integer("g", 0..=1);
            fields.absorb(inner);
        };
        let named = |pairs: &[(&str, &'static str)]| {
            pairs.iter().map(|(field, rule)| ((*field).to_owned(), *rule)).collect::<Vec<_>>()
        };
        assert_eq!(rules(read, &json!({"a": " abc "})), named(&[]));
        for empty in [json!({}), json!([]), json!("x"), json!(null), json!({"a": "  "}), json!({"a": null})] {
            assert_eq!(rules(read, &empty), named(&[("a", "required")]), "{empty}");
        }
        let wrong = json!({"a": [], "b": "x", "c": "perhaps", "d": {}, "e": "x", "f": {"g": 2}});
        let expected =
            [("a", "string"), ("b", "integer"), ("c", "boolean"), ("d", "array"), ("e", "array"), ("f.g", "max")];
        assert_eq!(rules(read, &wrong), named(&expected));
        let long = json!({"a": "äöüß", "b": 6, "d": ["x", "y", "z"], "e": {"x": 1, "y": [], "z": null}});
        assert_eq!(rules(read, &long), named(&[("a", "max"), ("b", "max"), ("d", "max"), ("e", "max")]));
        let inner = json!({"a": "x", "b": 0, "d": ["x", 1], "e": {"y": []}});
        assert_eq!(rules(read, &inner), named(&[("b", "min"), ("d.1", "string"), ("e.y", "string")]));
    }

    #[test]
    fn names_can_be_seen() {
        let failed = |text: &str| {
            let required = rules(|fields| drop(fields.name("name", 9)), &json!({"name": text}));
            assert_eq!(rules(|fields| drop(fields.name_or_none("name", 9)), &json!({"name": text})), required);
            required.into_iter().map(|(_, rule)| rule).collect::<Vec<_>>()
        };
        for good in ["a", "Jürgen", "東京", "עברית", "ภาษา", "🎮"] {
            assert!(failed(good).is_empty(), "{good}");
        }
        for bad in [
            "a\nb",
            "a\0b",
            "a\u{7f}b",
            "a\u{85}b",
            "a\u{ad}b",
            "a\u{61c}b",
            "a\u{200b}b",
            "a\u{200f}b",
            "a\u{2028}b",
            "a\u{202e}b",
            "a\u{2066}b",
            "a\u{feff}b",
            "a\u{e0041}b",
        ] {
            assert_eq!(failed(bad), ["regex"], "{bad:?}");
        }
        assert_eq!(failed("1234567890"), ["max"]);
        assert_eq!(rules(|fields| drop(fields.name("name", 9)), &json!({})), [("name".to_owned(), "required")]);
    }

    #[test]
    fn emails_have_a_name_and_a_domain() {
        let failed = |text: &str| !rules(|fields| drop(fields.email("email")), &json!({"email": text})).is_empty();
        for good in ["a@b", "a.b+c@d.example", "ä@ö.example"] {
            assert!(!failed(good), "{good}");
        }
        for bad in ["", "a", "@b", "a@", "a@b@c", "a b@c", "a@.b", "a@b.", "a@b\u{7}", "a@b\u{200b}"] {
            assert!(failed(bad), "{bad}");
        }
    }
}
