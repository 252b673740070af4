//! Documents: JSON and YAML. A path leads through maps and lists: `a.b`, `list[0].c`, and `*` for all that is there.

use serde::Serialize;
use serde_json::Number;
use serde_json::ser::PrettyFormatter;

use super::output::Output;
use super::{ApplyError, Change, FILE_BYTES_MAX};
use crate::value::Value;

/// What JSON is read to, less a margin: what is made deeper could not be read the next time.
const JSON_DEPTH_MAX: usize = 120;
/// The same of YAML.
const YAML_DEPTH_MAX: usize = 60;
/// Values of a JSON file; YAML's library has a limit of its own. Each takes far more memory than its text.
const JSON_VALUES_MAX: usize = 1_000_000;
/// The longest list that a path makes longer.
const LIST_MAX: usize = 1000;
/// Values that are made on the way to those that are set, in all.
const MADE_MAX: usize = 10_000;

pub(super) fn json(
    text: &str,
    changes: &[Change],
    out: &mut Output,
    notes: &mut Vec<String>,
) -> Result<(), ApplyError> {
    let is_empty = text.trim().is_empty();
    if text.bytes().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count() > JSON_VALUES_MAX {
        return Err(ApplyError::syntax("JSON", format_args!("it has more than {JSON_VALUES_MAX} values")));
    }
    let mut root = if is_empty {
        Value::Map(Vec::new())
    } else {
        serde_json::from_str(text).map_err(|error| ApplyError::syntax("JSON", error))?
    };
    let is_changed = set_all(&mut root, changes, JSON_DEPTH_MAX, notes)?;
    if !is_changed && !is_empty {
        return out.push(text);
    }
    let indent = indent(text).to_owned();
    let mut serializer =
        serde_json::Serializer::with_formatter(&mut *out, PrettyFormatter::with_indent(indent.as_bytes()));
    root.serialize(&mut serializer).map_err(|error| unwritten("JSON", error, out))?;
    out.push("\n")
}

/// What lines of a map begin with in a file that has lines; else two spaces.
fn indent(text: &str) -> &str {
    let second = text.lines().nth(1).unwrap_or_default();
    let indent = second.get(..second.len() - second.trim_start_matches([' ', '\t']).len()).unwrap_or_default();
    if matches!(indent.len(), 1..=8) { indent } else { "  " }
}

pub(super) fn yaml(
    text: &str,
    changes: &[Change],
    out: &mut Output,
    notes: &mut Vec<String>,
) -> Result<(), ApplyError> {
    let has_words = text.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    let mut root = if has_words { read_yaml(text)? } else { Value::Map(Vec::new()) };
    let is_changed = set_all(&mut root, changes, YAML_DEPTH_MAX, notes)?;
    if !is_changed && !text.trim().is_empty() {
        return out.push(text);
    }
    serde_saphyr::to_fmt_writer(&mut *out, &root).map_err(|error| unwritten("YAML", error, out))?;
    if text.lines().any(has_comment) {
        notes.push("comments in it were lost, because values in it were changed".to_owned());
    }
    Ok(())
}

/// Reads YAML twice, because its versions differ in what is yes or no. `y` and `n` are names to the programs that read these files, such as
/// coordinates, also where they stand as keys; `yes`, `on` and the like are flags, unless they are in quotes.
fn read_yaml(text: &str) -> Result<Value, ApplyError> {
    let strict = serde_saphyr::options! { strict_booleans: true };
    let mut root: Value =
        serde_saphyr::from_str_with_options(text, strict).map_err(|error| ApplyError::syntax("YAML", error))?;
    // One that cannot be read so has both `y` and `true` as keys, or the like.
    if let Ok(loose) = serde_saphyr::from_str::<Value>(text) {
        take_flags(&mut root, &loose);
    }
    Ok(root)
}

fn take_flags(value: &mut Value, loose: &Value) {
    match (value, loose) {
        (value @ Value::Text(_), Value::Bool(flag)) => {
            let is_name = matches!(value, Value::Text(text) if text.len() == 1);
            if !is_name {
                *value = Value::Bool(*flag);
            }
        }
        (Value::List(items), Value::List(loose)) => {
            items.iter_mut().zip(loose).for_each(|(item, loose)| take_flags(item, loose));
        }
        (Value::Map(members), Value::Map(loose)) => {
            members.iter_mut().zip(loose).for_each(|((_, member), (_, loose))| take_flags(member, loose));
        }
        _ => {}
    }
}

/// Whether there is a comment in a line, or what looks like one.
fn has_comment(line: &str) -> bool {
    let is_outside = |at: usize| {
        let before = line.get(..at).unwrap_or_default();
        before.matches('"').count() % 2 == 0 && before.matches('\'').count() % 2 == 0
    };
    line.trim_start().starts_with('#') || line.find(" #").is_some_and(is_outside)
}

fn unwritten(what: &'static str, error: impl std::fmt::Display, out: &Output) -> ApplyError {
    if out.is_full() { ApplyError::TooLong } else { ApplyError::syntax(what, error) }
}

/// Sets values; whether anything is other than before.
fn set_all(
    root: &mut Value,
    changes: &[Change],
    depth_max: usize,
    notes: &mut Vec<String>,
) -> Result<bool, ApplyError> {
    let mut setter = Setter { is_changed: false, made: 0, bytes: 0 };
    for change in changes {
        let steps = path(&change.key);
        if steps.len() + depth(&change.new) > depth_max {
            notes.push(format!("`{}` leads too deep; it was not set", change.key));
            continue;
        }
        let is_set = setter.set(root, &steps, change);
        if setter.bytes > FILE_BYTES_MAX {
            return Err(ApplyError::TooLong);
        }
        if !is_set && !change.has_condition() {
            notes.push(format!("`{}` leads nowhere; it was not set", change.key));
        }
    }
    Ok(setter.is_changed)
}

/// Maps and lists within each other; those of the panel's answer are few, or it could not have been read.
fn depth(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        serde_json::Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// A step of a path.
enum Step {
    Name(String),
    Index(usize),
    All,
}

fn path(key: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for part in key.split('.') {
        let (name, indices) = match part.find('[') {
            Some(at) => part.split_at(at),
            None => (part, ""),
        };
        match name {
            "" if !indices.is_empty() => {}
            "*" => steps.push(Step::All),
            name => steps.push(Step::Name(name.to_owned())),
        }
        for index in indices.split('[').filter_map(|index| index.strip_suffix(']')) {
            match index.parse() {
                Ok(index) => steps.push(Step::Index(index)),
                Err(_) if index == "*" => steps.push(Step::All),
                Err(_) => steps.push(Step::Name(index.to_owned())),
            }
        }
    }
    steps
}

struct Setter {
    is_changed: bool,
    /// Values made on the way.
    made: usize,
    /// Bytes of values set.
    bytes: usize,
}

impl Setter {
    /// Sets what a path leads to; whether it leads anywhere. Maps and lists on the way are made where nothing is.
    fn set(&mut self, value: &mut Value, steps: &[Step], change: &Change) -> bool {
        let Some((step, rest)) = steps.split_first() else {
            self.set_here(value, change);
            return true;
        };
        match (step, value) {
            // All of them, also behind the first that leads somewhere.
            (Step::All, Value::Map(members)) => {
                let mut is_set = false;
                for (_, member) in members {
                    is_set |= self.set(member, rest, change);
                }
                is_set
            }
            (Step::All, Value::List(items)) => {
                let mut is_set = false;
                for item in items {
                    is_set |= self.set(item, rest, change);
                }
                is_set
            }
            (Step::Name(name), Value::Map(members)) => {
                if let Some((_, member)) = members.iter_mut().rev().find(|(known, _)| known == name) {
                    return self.set(member, rest, change);
                }
                let Some(member) = self.made(rest, change) else { return false };
                self.is_changed = true;
                members.push((name.clone(), member));
                true
            }
            (Step::Index(index), Value::List(items)) => {
                if let Some(item) = items.get_mut(*index) {
                    return self.set(item, rest, change);
                }
                self.made += index - items.len();
                if *index >= LIST_MAX {
                    return false;
                }
                let Some(item) = self.made(rest, change) else { return false };
                self.is_changed = true;
                items.resize(*index, Value::Null);
                items.push(item);
                true
            }
            (Step::Name(_) | Step::Index(_), value @ Value::Null) if !change.has_condition() => {
                let mut made = match step {
                    Step::Index(_) => Value::List(Vec::new()),
                    _ => Value::Map(Vec::new()),
                };
                let is_set = self.set(&mut made, steps, change);
                if is_set {
                    *value = made;
                }
                is_set
            }
            _ => false,
        }
    }

    /// A value that is not there yet, if it may be made.
    fn made(&mut self, rest: &[Step], change: &Change) -> Option<Value> {
        self.made = self.made.saturating_add(1);
        if change.has_condition() || self.made > MADE_MAX {
            return None;
        }
        let mut value = Value::Null;
        self.set(&mut value, rest, change).then_some(value)
    }

    fn set_here(&mut self, value: &mut Value, change: &Change) {
        let is_meant = match value.scalar() {
            Some(now) => change.is_meant(&now),
            None => change.is_meant("") && (*value == Value::Null || !change.has_condition()),
        };
        if !is_meant || self.bytes > FILE_BYTES_MAX {
            return;
        }
        self.bytes += change.text.len();
        let new = new_value(value, &change.new);
        if *value != new {
            *value = new;
            self.is_changed = true;
        }
    }
}

/// The new value: of the old one's kind where that says it, else what a text looks like.
fn new_value(old: &Value, new: &serde_json::Value) -> Value {
    let serde_json::Value::String(text) = new else { return Value::from(new.clone()) };
    match (old, text.as_str()) {
        (Value::Text(_), _) => Value::Text(text.clone()),
        (_, "true") => Value::Bool(true),
        (_, "false") => Value::Bool(false),
        // A fraction is one where a number was; `1.20` where nothing was may be a version.
        (Value::Number(_), text) => {
            serde_json::from_str::<Number>(text).map_or_else(|_| Value::from(text), Value::Number)
        }
        (_, text) => match text.parse::<i64>() {
            // `007` is a name, not a number.
            Ok(number) if number.to_string() == text => Value::Number(Number::from(number)),
            _ => Value::from(text),
        },
    }
}
