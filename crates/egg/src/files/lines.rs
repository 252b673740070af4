//! Files that are read line by line: plain ones, Java's properties, INI. What is not set stays byte for byte.

use std::fmt::Write;

use wire::remote::Replacement;

use super::{Applied, is_meant, text_of};

/// A file's lines, each with what ends it.
struct Lines {
    list: Vec<(String, &'static str)>,
    /// What ends lines that are new.
    end: &'static str,
}

impl Lines {
    fn of(text: &str) -> Self {
        let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
        let list = text
            .split_inclusive('\n')
            .map(|line| match (line.strip_suffix("\r\n"), line.strip_suffix('\n')) {
                (Some(line), _) => (line.to_owned(), "\r\n"),
                (None, Some(line)) => (line.to_owned(), "\n"),
                (None, None) => (line.to_owned(), ""),
            })
            .collect();
        Self { list, end }
    }

    /// Puts a line in front of another one, or at the end.
    fn insert(&mut self, at: usize, line: String) {
        let at = at.min(self.list.len());
        if let Some(last) = at.checked_sub(1).and_then(|before| self.list.get_mut(before))
            && last.1.is_empty()
        {
            last.1 = self.end;
        }
        self.list.insert(at, (line, self.end));
    }

    fn applied(self) -> Applied {
        let mut text = String::new();
        for (line, end) in self.list {
            text.push_str(&line);
            text.push_str(end);
        }
        Applied { text, notes: Vec::new() }
    }
}

/// One value is one line: more would be read as settings of their own.
fn single_line(value: &str) -> String {
    value.replace(['\r', '\n'], " ")
}

/// Every line that begins with the key becomes the value; without one there is a new line.
pub(super) fn file(text: &str, replacements: &[Replacement]) -> Applied {
    let mut lines = Lines::of(text);
    for replacement in replacements {
        let value = single_line(&text_of(&replacement.replace_with));
        let mut is_there = false;
        for (line, _) in lines.list.iter_mut().filter(|(line, _)| line.starts_with(&replacement.key)) {
            is_there = true;
            if is_meant(replacement, Some(line)) {
                line.clone_from(&value);
            }
        }
        // What the value itself begins with may be found next time, or not: a line that is the value is enough.
        let has_value = || lines.list.iter().any(|(line, _)| *line == value);
        if !is_there && replacement.if_value.is_none() && !has_value() {
            lines.insert(usize::MAX, value);
        }
    }
    lines.applied()
}

/// `key=value`, also with a colon or spaces; other characters than ASCII as `\uXXXX`, as Java wants them.
pub(super) fn properties(text: &str, replacements: &[Replacement]) -> Applied {
    let mut lines = Lines::of(text);
    for replacement in replacements {
        let key = escaped(&single_line(&replacement.key), true);
        let value = escaped(&single_line(&text_of(&replacement.replace_with)), false);
        // Of several with one key Java takes the last.
        let found = lines.list.iter().rposition(|(line, _)| property(line).is_some_and(|(name, _)| name == key));
        match found.and_then(|at| lines.list.get_mut(at)) {
            Some((line, _)) => {
                let now = property(line).map(|(_, value)| value.to_owned());
                if is_meant(replacement, now.as_deref()) && now.as_deref() != Some(&value) {
                    *line = format!("{key}={value}");
                }
            }
            None if replacement.if_value.is_none() => lines.insert(usize::MAX, format!("{key}={value}")),
            None => {}
        }
    }
    lines.applied()
}

/// Key and value of a line; none for comments and empty ones.
fn property(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start();
    if line.is_empty() || line.starts_with(['#', '!']) {
        return None;
    }
    let mut is_escaped = false;
    let end = line.find(|c: char| {
        let separates = !is_escaped && (c == '=' || c == ':' || c.is_whitespace());
        is_escaped = c == '\\' && !is_escaped;
        separates
    });
    let (key, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_start();
    let value = rest.strip_prefix(['=', ':']).map_or(rest, str::trim_start);
    Some((key, value))
}

fn escaped(text: &str, is_key: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        match c {
            '\\' => escaped.push_str("\\\\"),
            '=' | ':' | ' ' if is_key => {
                escaped.push('\\');
                escaped.push(c);
            }
            '#' | '!' if is_key && at == 0 => {
                escaped.push('\\');
                escaped.push(c);
            }
            ' ' if at == 0 => escaped.push_str("\\ "),
            '\t' => escaped.push_str("\\t"),
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

/// `section.key`, `[section.with.dots].key`, or a key before the first section.
pub(super) fn ini(text: &str, replacements: &[Replacement]) -> Applied {
    let mut lines = Lines::of(text);
    for replacement in replacements {
        let (section, key) = ini_path(&replacement.key);
        let value = single_line(&text_of(&replacement.replace_with));
        let (begin, end) = match bounds(&lines, section) {
            Some(bounds) => bounds,
            None if replacement.if_value.is_some() => continue,
            None => {
                lines.insert(usize::MAX, format!("[{section}]"));
                (lines.list.len(), lines.list.len())
            }
        };
        let found = (begin..end)
            .find(|at| lines.list.get(*at).and_then(|(line, _)| ini_key(line)).is_some_and(|(name, _)| name == key));
        match found.and_then(|at| lines.list.get_mut(at)) {
            Some((line, _)) => {
                let now = ini_key(line).map(|(_, value)| value.to_owned()).unwrap_or_default();
                if is_meant(replacement, Some(&now)) && now != value {
                    // As it is written there: with spaces around the sign, or without.
                    let spaced = line.split_once('=').is_some_and(|(before, _)| before.ends_with(' '));
                    let indent = line.get(..line.len() - line.trim_start().len()).unwrap_or_default();
                    *line = if spaced { format!("{indent}{key} = {value}") } else { format!("{indent}{key}={value}") };
                }
            }
            None if replacement.if_value.is_none() => {
                // Behind the last line of the section that says something.
                let last =
                    (begin..end).rev().find(|at| lines.list.get(*at).is_some_and(|(line, _)| !line.trim().is_empty()));
                lines.insert(last.map_or(begin, |at| at + 1), format!("{key}={value}"));
            }
            None => {}
        }
    }
    lines.applied()
}

fn ini_path(path: &str) -> (&str, &str) {
    if let Some((section, key)) = path.strip_prefix('[').and_then(|rest| rest.split_once("].")) {
        return (section, key);
    }
    path.split_once('.').unwrap_or(("", path))
}

/// The lines of a section, its own excluded; of the nameless one those before the first section.
fn bounds(lines: &Lines, section: &str) -> Option<(usize, usize)> {
    let header = |line: &str| line.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).map(str::to_owned);
    let begin = if section.is_empty() {
        0
    } else {
        lines.list.iter().position(|(line, _)| header(line).is_some_and(|name| name == section))? + 1
    };
    let length = lines.list.iter().skip(begin).position(|(line, _)| header(line).is_some());
    Some((begin, length.map_or(lines.list.len(), |length| begin + length)))
}

fn ini_key(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    if line.starts_with([';', '#', '[']) {
        return None;
    }
    let (key, value) = line.split_once('=')?;
    Some((key.trim(), value.trim()))
}
