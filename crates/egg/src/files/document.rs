//! Documents: JSON and YAML. A path leads through maps and lists: `a.b`, `list[0].c`, and `*` for all that is there.

use serde_json::Number;
use wire::remote::Replacement;

use super::{Applied, ApplyError, is_meant, text_of};
use crate::value::Value;

/// Steps of a path; deeper is no configuration.
const STEPS_MAX: usize = 64;
/// The longest list that a path makes longer.
const LIST_MAX: usize = 1000;

pub(super) fn json(text: &str, replacements: &[Replacement]) -> Result<Applied, ApplyError> {
    let mut root = if text.trim().is_empty() {
        Value::Map(Vec::new())
    } else {
        serde_json::from_str(text.trim_start_matches('\u{feff}'))
            .map_err(|error| ApplyError::Syntax { what: "JSON", why: error.to_string() })?
    };
    let before = root.clone();
    let notes = set_all(&mut root, replacements);
    if root == before && !text.trim().is_empty() {
        return Ok(Applied { text: text.to_owned(), notes });
    }
    // What a value is made of always has a JSON form.
    let mut text = serde_json::to_string_pretty(&root).unwrap_or_default();
    text.push('\n');
    Ok(Applied { text, notes })
}

pub(super) fn yaml(text: &str, replacements: &[Replacement]) -> Result<Applied, ApplyError> {
    let syntax =
        |why: String| ApplyError::Syntax { what: "YAML", why: why.lines().next().unwrap_or_default().to_owned() };
    let has_words = text.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    let mut root = if has_words {
        serde_saphyr::from_str(text).map_err(|error| syntax(error.to_string()))?
    } else {
        Value::Map(Vec::new())
    };
    let before = root.clone();
    let mut notes = set_all(&mut root, replacements);
    if root == before && has_words {
        return Ok(Applied { text: text.to_owned(), notes });
    }
    let written = serde_saphyr::to_string(&root).map_err(|error| syntax(error.to_string()))?;
    if text.lines().any(|line| line.trim_start().starts_with('#')) {
        notes.push("comments in it were lost, because values in it were changed".to_owned());
    }
    Ok(Applied { text: written, notes })
}

fn set_all(root: &mut Value, replacements: &[Replacement]) -> Vec<String> {
    let mut notes = Vec::new();
    for replacement in replacements {
        let steps = path(&replacement.key);
        if steps.is_empty() || steps.len() > STEPS_MAX {
            notes.push(format!("`{}` is no path to a value", replacement.key));
            continue;
        }
        if !set(root, &steps, replacement) && replacement.if_value.is_none() {
            notes.push(format!("`{}` leads nowhere; it was not set", replacement.key));
        }
    }
    notes
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

/// Sets what a path leads to; whether it leads anywhere. Maps and lists on the way are made where nothing is.
fn set(value: &mut Value, steps: &[Step], replacement: &Replacement) -> bool {
    let Some((step, rest)) = steps.split_first() else {
        let now = value.scalar();
        if is_meant(replacement, now.as_deref()) {
            *value = new_value(value, &replacement.replace_with);
        }
        return true;
    };
    match (step, value) {
        // All of them, also behind the first that leads somewhere.
        (Step::All, Value::Map(members)) => {
            members.iter_mut().filter_map(|(_, member)| set(member, rest, replacement).then_some(())).count() > 0
        }
        (Step::All, Value::List(items)) => {
            items.iter_mut().filter_map(|item| set(item, rest, replacement).then_some(())).count() > 0
        }
        (Step::Name(name), Value::Map(members)) => {
            if let Some((_, member)) = members.iter_mut().rev().find(|(known, _)| known == name) {
                return set(member, rest, replacement);
            }
            if replacement.if_value.is_some() {
                return false;
            }
            let mut member = Value::Null;
            let is_set = set(&mut member, rest, replacement);
            if is_set {
                members.push((name.clone(), member));
            }
            is_set
        }
        (Step::Index(index), Value::List(items)) => {
            if *index >= items.len() && (replacement.if_value.is_some() || *index >= LIST_MAX) {
                return false;
            }
            while items.len() <= *index {
                items.push(Value::Null);
            }
            items.get_mut(*index).is_some_and(|item| set(item, rest, replacement))
        }
        (Step::Name(_), value @ Value::Null) if replacement.if_value.is_none() => {
            *value = Value::Map(Vec::new());
            set(value, steps, replacement)
        }
        (Step::Index(_), value @ Value::Null) if replacement.if_value.is_none() => {
            *value = Value::List(Vec::new());
            set(value, steps, replacement)
        }
        _ => false,
    }
}

/// The new value: of the old one's kind where that says it, else what a text looks like.
fn new_value(old: &Value, new: &serde_json::Value) -> Value {
    let serde_json::Value::String(text) = new else { return Value::from(new.clone()) };
    if matches!(old, Value::Text(_)) {
        return Value::Text(text_of(new));
    }
    match text.as_str() {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        text => match text.parse::<i64>() {
            // `007` is a name, not a number.
            Ok(number) if number.to_string() == text => Value::Number(Number::from(number)),
            _ => Value::from(text),
        },
    }
}
