//! Takes rules apart: one text with several of them, and one regular expression in PHP's delimiters.

use std::collections::BTreeSet;

use regex::{Regex, RegexBuilder};

/// Bytes that a compiled expression may have: it comes from a stranger.
const REGEX_BYTES_MAX: usize = 1 << 20;
/// Bytes of an expression as it is written; the longest of published eggs has some hundred.
const PATTERN_BYTES_MAX: usize = 8 << 10;
/// Flags that change nothing about whether a value matches: `D` is how `$` always is here, `u` has been seen to.
const FLAGS_WITHOUT_EFFECT: &str = "uDUSXJ";

/// One rule each of a text with several: `required|regex:/^(a|b)$/i|max:20`. A `|` in a regular expression separates nothing, up to its
/// closing delimiter; an expression without one ends at the first `|`. Takes time in proportion to the text.
pub fn split(text: &str) -> Vec<String> {
    let mut rules = Vec::new();
    let mut rest = text;
    // Delimiters that close nothing any more: looking for each once keeps long texts of strangers cheap.
    let mut open = BTreeSet::new();
    while !rest.is_empty() {
        let begun = rest.trim_start();
        let end = match begun.strip_prefix("regex:").or_else(|| begun.strip_prefix("not_regex:")) {
            Some(pattern) => rest.len() - pattern.len() + pattern_end(pattern, &mut open),
            None => rest.find('|').unwrap_or(rest.len()),
        };
        let (rule, behind) = rest.split_at(end);
        if !rule.trim().is_empty() {
            rules.push(rule.trim().to_owned());
        }
        rest = behind.strip_prefix('|').unwrap_or(behind);
    }
    rules
}

/// What closes an expression that begins with this; none for what PHP does not take as a delimiter.
fn closing(first: char) -> Option<char> {
    match first {
        '(' => Some(')'),
        '{' => Some('}'),
        '[' => Some(']'),
        '<' => Some('>'),
        // These begin an expression whose author forgot the delimiters.
        '\\' | '^' | '.' | '$' | '|' => None,
        same if same.is_ascii_punctuation() => Some(same),
        _ => None,
    }
}

/// Where an expression ends, flags included: at a `|` or at the text's end.
fn pattern_end(pattern: &str, open: &mut BTreeSet<char>) -> usize {
    let no_delimiter = || pattern.find('|').unwrap_or(pattern.len());
    let mut chars = pattern.char_indices();
    let Some(close) = chars.next().and_then(|(_, first)| closing(first)) else { return no_delimiter() };
    if open.contains(&close) {
        return no_delimiter();
    }
    let mut is_escaped = false;
    for (at, c) in chars {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            // The first one before a `|` or the end is the one that closes: others stand inside.
            c if c == close => {
                let behind = pattern.get(at + c.len_utf8()..).unwrap_or_default();
                let next = behind.trim_start_matches(|c: char| c.is_ascii_alphabetic());
                if next.trim_start().is_empty() || next.trim_start().starts_with('|') {
                    return pattern.len() - next.len();
                }
            }
            _ => {}
        }
    }
    open.insert(close);
    no_delimiter()
}

/// An expression in delimiters, with flags behind the last one, as PHP has it; or without any. The reason why not is for people.
pub(super) fn expression(text: &str) -> Result<Regex, String> {
    let text = text.trim();
    let first = text.chars().next().ok_or("it has no expression")?;
    if text.len() > PATTERN_BYTES_MAX {
        return Err(format!("its expression has more than {PATTERN_BYTES_MAX} bytes"));
    }
    let inside = closing(first).and_then(|close| text.get(first.len_utf8()..)?.rsplit_once(close));
    let (pattern, flags) = match inside {
        Some((pattern, flags)) if flags.bytes().all(|byte| byte.is_ascii_alphabetic()) => (pattern, flags),
        // A bracket may be the expression itself: `[a-z]+`.
        _ if closing(first).is_none_or(|close| close != first) => (text, ""),
        _ => return Err(format!("its expression has no closing `{first}`")),
    };
    if let Some(flag) = flags.chars().find(|flag| !"imsxA".contains(*flag) && !FLAGS_WITHOUT_EFFECT.contains(*flag)) {
        return Err(format!("its expression has the flag `{flag}`, which is not known here"));
    }
    let has = |flag: char| flags.contains(flag);
    let mut pattern = translated(pattern, has('u'));
    if has('A') {
        pattern = format!("\\A(?:{pattern})");
    }
    RegexBuilder::new(&pattern)
        .case_insensitive(has('i'))
        .multi_line(has('m'))
        .dot_matches_new_line(has('s'))
        .ignore_whitespace(has('x'))
        .size_limit(REGEX_BYTES_MAX)
        .build()
        .map_err(|error| {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default().trim().trim_start_matches("error: ");
            format!("its expression cannot be used here ({last})")
        })
}

/// The same in this library's words: in brackets `[`, `&` and `~` are plain characters to PHP, as is a dash behind a class; and classes have
/// ASCII only, unless the flag `u` says otherwise.
fn translated(pattern: &str, is_unicode: bool) -> String {
    let mut text = String::with_capacity(pattern.len() + 16);
    let mut chars = pattern.chars().peekable();
    let mut is_in_class = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                let Some(escaped) = chars.next() else {
                    text.push('\\');
                    break;
                };
                let ascii = match escaped {
                    'd' if !is_unicode => Some("0-9"),
                    'w' if !is_unicode => Some("A-Za-z0-9_"),
                    _ => None,
                };
                match ascii {
                    Some(class) if is_in_class => text.push_str(class),
                    Some(class) => text.extend(["[", class, "]"]),
                    None => text.extend(['\\', escaped]),
                }
                if is_in_class && "dwshDWSH".contains(escaped) && chars.next_if_eq(&'-').is_some() {
                    text.push_str("\\-");
                }
            }
            '[' if !is_in_class => {
                is_in_class = true;
                text.push('[');
                if chars.next_if_eq(&'^').is_some() {
                    text.push('^');
                }
                if chars.next_if_eq(&']').is_some() {
                    text.push_str("\\]");
                }
            }
            // A class by name, such as `[:alnum:]`.
            '[' if chars.peek() == Some(&':') => {
                text.push('[');
                for c in chars.by_ref() {
                    text.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            '[' | '&' | '~' if is_in_class => text.extend(['\\', c]),
            ']' => {
                is_in_class = false;
                text.push(']');
            }
            c => text.push(c),
        }
    }
    text
}

/// The values of a rule, as Laravel reads them: with commas between, in quotes where they have commas themselves.
pub(super) fn list(text: &str) -> Vec<String> {
    let mut items = Vec::new();
    let mut rest = Some(text);
    while let Some(text) = rest {
        let begun = text.trim_start();
        let Some(quoted) = begun.strip_prefix('"') else {
            let (item, behind) = begun.split_once(',').map_or((begun, None), |(item, behind)| (item, Some(behind)));
            items.push(item.trim().to_owned());
            rest = behind;
            continue;
        };
        let mut item = String::new();
        let mut chars = quoted.char_indices().peekable();
        let mut end = quoted.len();
        while let Some((at, c)) = chars.next() {
            match c {
                // Two quotes are one.
                '"' if chars.next_if(|(_, next)| *next == '"').is_some() => item.push('"'),
                '"' => {
                    end = at + 1;
                    break;
                }
                c => item.push(c),
            }
        }
        items.push(item);
        rest = quoted.get(end..).and_then(|behind| behind.split_once(',')).map(|(_, behind)| behind);
    }
    items
}
