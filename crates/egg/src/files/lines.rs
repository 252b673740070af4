//! Files that are read line by line: plain ones, and INI. What is not set stays byte for byte.

use std::collections::{BTreeMap, BTreeSet};

use super::output::{Edits, Output, line_end, lines};
use super::{ApplyError, Change};

/// Keys of lines, to be found by what begins with them in time that does not depend on how many there are of one length.
struct Keys<'a> {
    /// Which changes each has.
    list: BTreeMap<&'a str, Vec<usize>>,
    lengths: BTreeSet<usize>,
}

impl<'a> Keys<'a> {
    fn of(changes: &'a [Change]) -> Self {
        let mut list: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (n, change) in changes.iter().enumerate() {
            list.entry(change.key.as_str()).or_default().push(n);
        }
        let lengths = list.keys().map(|key| key.len()).collect();
        Self { list, lengths }
    }

    /// Those that a line begins with, the longest first.
    fn of_line(&self, line: &str) -> impl Iterator<Item = (&'a str, &[usize])> {
        let lengths = self.lengths.range(..=line.len()).rev();
        lengths.filter_map(move |length| {
            let (key, list) = self.list.get_key_value(line.get(..*length)?)?;
            Some((*key, list.as_slice()))
        })
    }
}

/// Every line that begins with a key becomes its value; without one there is a new line.
///
/// A line that is one of the values is settled: no other key changes it, or doing all again would change more. Of several keys that a line
/// begins with the longest is meant: `port` is not to replace what `port_query` is for.
pub(super) fn file(text: &str, changes: &[Change], out: &mut Output) -> Result<(), ApplyError> {
    let values: Vec<String> = changes.iter().map(Change::line).collect();
    let settled: BTreeSet<&str> = values.iter().map(String::as_str).collect();
    let keys = Keys::of(changes);
    // Keys that lines begin with, and values that lines are.
    let mut begun: BTreeSet<&str> = BTreeSet::new();
    let mut present: BTreeSet<&str> = BTreeSet::new();
    let end = line_end(text);
    let mut is_line_open = false;
    for (at, body) in lines(text) {
        let mut meant = keys.of_line(body).flat_map(|(_, list)| list.iter().rev());
        let meant = if settled.contains(body) { None } else { meant.find(|n| is_meant(changes, **n, body)) };
        let new = meant.and_then(|n| values.get(*n)).map_or(body, String::as_str);
        begun.extend(keys.of_line(new).map(|(key, _)| key));
        present.extend(settled.get(new));
        out.push(new)?;
        // What ends the line; an empty one without an end would be none.
        let rest = text.get(at + body.len()..).unwrap_or_default();
        let ended = if rest.starts_with("\r\n") { "\r\n" } else { rest.get(..1).unwrap_or_default() };
        let ended = if ended.is_empty() && new.is_empty() { end } else { ended };
        is_line_open = ended.is_empty();
        out.push(ended)?;
    }
    for (change, value) in changes.iter().zip(&values) {
        if change.has_condition() || begun.contains(change.key.as_str()) || present.contains(value.as_str()) {
            continue;
        }
        out.push(if is_line_open { end } else { "" })?;
        out.push(value)?;
        out.push(end)?;
        is_line_open = false;
        begun.extend(keys.of_line(value).map(|(key, _)| key));
        present.insert(value);
    }
    Ok(())
}

fn is_meant(changes: &[Change], n: usize, line: &str) -> bool {
    changes.get(n).is_some_and(|change| change.is_meant(line))
}

/// Where a setting of an INI file belongs: its section, empty above the first one, and its key.
type Place<'a> = (&'a str, &'a str);

/// `section.key`, `[section.with.dots].key`, or a key above the first section.
pub(super) fn ini(text: &str, changes: &[Change], out: &mut Output, notes: &mut Vec<String>) -> Result<(), ApplyError> {
    let mut wanted: BTreeMap<Place<'_>, Vec<&Change>> = BTreeMap::new();
    // In the order in which they are asked for.
    let mut places = Vec::new();
    for change in changes {
        match place(&change.key) {
            Some(place) => {
                wanted.entry(place).or_default().push(change);
                places.push(place);
            }
            None => notes.push(format!("`{}` cannot stand in such a file; it was not set", change.key)),
        }
    }
    let mut edits = Edits::default();
    let mut found: BTreeSet<Place<'_>> = BTreeSet::new();
    // Behind the last setting of each section.
    let mut ends: BTreeMap<&str, usize> = BTreeMap::from([("", 0)]);
    let mut section = "";
    for (begin, body) in lines(text) {
        let behind = begin + body.len();
        if let Some(name) = header(body) {
            section = name;
            ends.insert(section, behind);
        } else if let Some((key, value)) = setting(body) {
            ends.insert(section, behind);
            let Some((place, changes)) = wanted.get_key_value(&(section, key)) else { continue };
            found.insert(*place);
            let now = changed(Some(value.to_owned()), changes).unwrap_or_default();
            if now != value {
                let end = begin + body.trim_end().len();
                edits.replace(end - value.len(), end, now)?;
            }
        }
    }
    places.retain(|place| !found.contains(place));
    append(text, &places, &wanted, &ends, &mut edits)?;
    edits.write(text, out)
}

/// Puts settings that are not there where they belong, and sections behind all.
fn append(
    text: &str,
    places: &[Place<'_>],
    wanted: &BTreeMap<Place<'_>, Vec<&Change>>,
    ends: &BTreeMap<&str, usize>,
    edits: &mut Edits,
) -> Result<(), ApplyError> {
    let end = line_end(text);
    let mut seen = BTreeSet::new();
    let mut new_sections: Vec<(&str, String)> = Vec::new();
    for place @ (section, key) in places.iter().filter(|place| seen.insert(**place)) {
        let Some(value) = wanted.get(place).and_then(|changes| changed(None, changes)) else { continue };
        match ends.get(section) {
            Some(0) => edits.replace(0, 0, format!("{key}={value}{end}"))?,
            // In front of what ends the line, which then ends the new one.
            Some(at) => edits.replace(*at, *at, format!("{end}{key}={value}"))?,
            None => {
                let lines = format!("{key}={value}{end}");
                match new_sections.iter_mut().find(|(name, _)| name == section) {
                    Some((_, all)) => all.push_str(&lines),
                    None => new_sections.push((section, format!("[{section}]{end}{lines}"))),
                }
            }
        }
    }
    let mut is_line_open = !text.is_empty() && !text.ends_with('\n');
    for (_, lines) in new_sections {
        let before = if is_line_open { end } else { "" };
        is_line_open = false;
        edits.replace(text.len(), text.len(), format!("{before}{lines}"))?;
    }
    Ok(())
}

/// What a value is after some changes, one after the other; none if there is none.
fn changed(mut now: Option<String>, changes: &[&Change]) -> Option<String> {
    for change in changes {
        let is_meant = now.as_deref().map_or(!change.has_condition(), |now| change.is_meant(now));
        if is_meant {
            now = Some(change.line().trim().to_owned());
        }
    }
    now
}

/// None for what could not be found again where it was put.
fn place(path: &str) -> Option<Place<'_>> {
    let bracketed = path.strip_prefix('[').and_then(|rest| rest.split_once("]."));
    let (section, key) = bracketed.or_else(|| path.split_once('.')).unwrap_or(("", path));
    let (section, key) = (section.trim(), key.trim());
    let is_key = !key.is_empty() && !key.contains(['=', ':', '\r', '\n']) && !key.starts_with([';', '#', '[']);
    (is_key && !section.contains(['[', ']', '\r', '\n'])).then_some((section, key))
}

/// The name of the section that a line begins.
fn header(line: &str) -> Option<&str> {
    let (name, behind) = line.trim().strip_prefix('[')?.split_once(']')?;
    let behind = behind.trim_start();
    (behind.is_empty() || behind.starts_with([';', '#'])).then_some(name.trim())
}

/// Key and value of a line: what separates them is the first `=` or `:`.
fn setting(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    if line.starts_with([';', '#', '[']) {
        return None;
    }
    let (key, value) = line.split_once(['=', ':'])?;
    Some((key.trim(), value.trim()))
}
