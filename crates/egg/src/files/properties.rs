//! Java's properties. Other characters than ASCII are written as `\uXXXX`, as Java wants them; what is not set stays byte for byte.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Range;

use super::output::{Edits, Output, line_end, lines};
use super::{ApplyError, Change};

/// A setting that the file has, in bytes of it.
struct Setting {
    key: Range<usize>,
    value: Range<usize>,
    /// Whether `=` or `:` stands between, not only space.
    has_sign: bool,
}

/// What is known of a key that is to be set.
#[derive(Default)]
struct Wanted {
    setting: Option<Setting>,
    before: Option<String>,
    now: Option<String>,
}

pub(super) fn properties(text: &str, changes: &[Change], out: &mut Output) -> Result<(), ApplyError> {
    let mut wanted: BTreeMap<&str, Wanted> =
        changes.iter().map(|change| (change.key.as_str(), Wanted::default())).collect();
    let dangles = scan(text, |setting| {
        let key = decoded(text.get(setting.key.clone()).unwrap_or_default());
        // Of several with one key Java takes the last.
        if let Some(wanted) = wanted.get_mut(key.as_str()) {
            let value = decoded(text.get(setting.value.clone()).unwrap_or_default());
            *wanted = Wanted { setting: Some(setting), before: Some(value.clone()), now: Some(value) };
        }
    });
    let mut new_keys = Vec::new();
    for change in changes {
        let Some(wanted) = wanted.get_mut(change.key.as_str()) else { continue };
        match &wanted.now {
            None if change.has_condition() => continue,
            None => new_keys.push(change.key.as_str()),
            Some(now) if !change.is_meant(now) => continue,
            Some(_) => {}
        }
        wanted.now = Some(change.text.clone());
    }
    let end = line_end(text);
    let mut edits = Edits::default();
    for (key, wanted) in wanted.iter().filter(|(_, wanted)| wanted.now != wanted.before) {
        if let (Some(setting), Some(now)) = (&wanted.setting, &wanted.now) {
            let value = escaped(now, false);
            if setting.has_sign {
                edits.replace(setting.value.start, setting.value.end, value)?;
            } else {
                // The key, too: it may end with a backslash that would take the sign for its own.
                edits.replace(setting.key.start, setting.value.end, format!("{}={value}", escaped(key, true)))?;
            }
        }
    }
    let mut is_line_open = !text.is_empty() && !text.ends_with('\n');
    // A last line that wants to go on would take the first new one.
    if dangles && !new_keys.is_empty() {
        edits.replace(text.len(), text.len(), if is_line_open { format!("{end}{end}") } else { end.to_owned() })?;
        is_line_open = false;
    }
    for key in new_keys {
        let value = wanted.get(key).and_then(|wanted| wanted.now.as_deref()).unwrap_or_default();
        let before = if is_line_open { end } else { "" };
        is_line_open = false;
        let line = format!("{before}{}={}{end}", escaped(key, true), escaped(value, false));
        edits.replace(text.len(), text.len(), line)?;
    }
    edits.write(text, out)
}

/// Finds all settings; whether the last line ends with a backslash that wants more.
fn scan(text: &str, mut found: impl FnMut(Setting)) -> bool {
    // Where a setting begins that goes on in the next line.
    let mut open: Option<usize> = None;
    for (begin, body) in lines(text) {
        let is_comment = open.is_none() && body.trim_start_matches(is_space).starts_with(['#', '!']);
        if is_comment || (open.is_none() && body.trim_matches(is_space).is_empty()) {
            continue;
        }
        let start = open.unwrap_or(begin);
        let backslashes = body.len() - body.trim_end_matches('\\').len();
        if backslashes % 2 == 1 {
            open = Some(start);
            continue;
        }
        open = None;
        found(setting(text, start, begin + body.len()));
    }
    if let Some(start) = open {
        let end = text.trim_end_matches(['\r', '\n']).len();
        found(setting(text, start, end));
    }
    open.is_some()
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

fn setting(text: &str, start: usize, end: usize) -> Setting {
    let whole = text.get(start..end).unwrap_or_default();
    let line = whole.trim_start_matches(is_space);
    let begin = start + whole.len() - line.len();
    let mut is_escaped = false;
    let key_end = line.find(|c: char| {
        let separates = !is_escaped && (c == '=' || c == ':' || is_space(c));
        is_escaped = c == '\\' && !is_escaped;
        separates
    });
    let key_end = key_end.unwrap_or(line.len());
    let rest = line.get(key_end..).unwrap_or_default().trim_start_matches(is_space);
    let signed = rest.strip_prefix(['=', ':']);
    let value = signed.map_or(rest, |value| value.trim_start_matches(is_space));
    Setting { key: begin..begin + key_end, value: end - value.len()..end, has_sign: signed.is_some() }
}

/// A text without its backslashes.
fn decoded(text: &str) -> String {
    if !text.contains('\\') {
        return text.to_owned();
    }
    let mut units = Vec::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut buffer = [0; 2];
    while let Some(c) = chars.next() {
        let plain = match c {
            '\\' => match chars.next() {
                Some('u') => {
                    let digits: String = chars.clone().take(4).collect();
                    match u16::from_str_radix(&digits, 16) {
                        Ok(unit) if digits.len() == 4 && !digits.starts_with('+') => {
                            units.push(unit);
                            chars.nth(3);
                            continue;
                        }
                        _ => 'u',
                    }
                }
                // The next line goes on where it says something.
                Some(end @ ('\n' | '\r')) => {
                    if end == '\r' {
                        chars.next_if_eq(&'\n');
                    }
                    while chars.next_if(|c| is_space(*c)).is_some() {}
                    continue;
                }
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\u{c}',
                Some(other) => other,
                None => break,
            },
            other => other,
        };
        units.extend_from_slice(plain.encode_utf16(&mut buffer));
    }
    String::from_utf16_lossy(&units)
}

fn escaped(text: &str, is_key: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        match c {
            '\\' => escaped.push_str("\\\\"),
            '\t' => escaped.push_str("\\t"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '=' | ':' | ' ' if is_key => escaped.extend(['\\', c]),
            '#' | '!' if is_key && at == 0 => escaped.extend(['\\', c]),
            ' ' if at == 0 => escaped.push_str("\\ "),
            ' '..='~' => escaped.push(c),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    // Writing to a string does not fail.
                    let _ = write!(escaped, "\\u{unit:04x}");
                }
            }
        }
    }
    escaped
}
