//! One text file as the rules see it: its lines, and for Rust its code without comments and literals.

use std::borrow::Cow;

/// A text file.
pub(super) struct Source<'a> {
    /// From the top of the repository, with `/`.
    pub(super) path: String,
    pub(super) text: &'a str,
    /// The text with the contents of comments, strings and characters replaced by spaces; line ends stay. Of files that
    /// are not Rust: the text itself.
    pub(super) code: Cow<'a, str>,
    /// The line (from 0) from which on the file is a test module; all of it is 0.
    tests_from: usize,
}

impl<'a> Source<'a> {
    pub(super) fn new(path: &str, text: &'a str) -> Self {
        let is_rust = has_ending(path, "rs");
        let code = if is_rust { Cow::Owned(without_comments_and_literals(text)) } else { Cow::Borrowed(text) };
        let name = path.rsplit('/').next().unwrap_or(path);
        let all_tests = path.starts_with("tests/") || path.contains("/tests/") || name.ends_with("tests.rs");
        let tests_from = if all_tests { 0 } else { test_module_line(&code) };
        Self { path: path.to_owned(), text, code, tests_from }
    }

    pub(super) fn is_rust(&self) -> bool {
        has_ending(&self.path, "rs")
    }

    /// The whole file is for tests.
    pub(super) fn is_test_file(&self) -> bool {
        self.tests_from == 0
    }

    /// Line `index` (from 0) is in a test.
    pub(super) fn is_test_line(&self, index: usize) -> bool {
        index >= self.tests_from
    }

    /// Each function with a body: its name, its first line (from 0), and how many lines it has.
    pub(super) fn functions(&self) -> Vec<(String, usize, usize)> {
        let mut functions = Vec::new();
        for (at, _) in self.code.match_indices("fn ") {
            let (before, after) =
                (self.code.get(..at).unwrap_or_default(), self.code.get(at + 3..).unwrap_or_default());
            let name: String = after.trim_start().chars().take_while(|c| is_name(*c)).collect();
            if name.is_empty() || before.ends_with(is_name) {
                continue;
            }
            if let Some(body) = body_end(after) {
                let lines = after.get(..body).unwrap_or_default().matches('\n').count() + 1;
                functions.push((name, before.matches('\n').count(), lines));
            }
        }
        functions
    }
}

pub(super) fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

pub(super) fn has_ending(path: &str, ending: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, found)| found == ending)
}

/// Where the body that follows a function's name ends, just behind its closing brace; `None` for one without a body.
fn body_end(after: &str) -> Option<usize> {
    let (mut brackets, mut braces) = (0_usize, 0_usize);
    for (at, c) in after.char_indices() {
        match c {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets = brackets.saturating_sub(1),
            // Between brackets a semicolon belongs to a type like `[u8; 4]`.
            ';' if braces == 0 && brackets == 0 => return None,
            '{' => braces += 1,
            '}' if braces <= 1 => return Some(at + 1),
            '}' => braces -= 1,
            _ => {}
        }
    }
    None
}

/// The line of `#[cfg(test)]` before a module with a body, from which on (by our custom) everything is tests.
fn test_module_line(code: &str) -> usize {
    let lines: Vec<_> = code.lines().collect();
    let starts = |(index, line): (usize, &&str)| {
        let next = lines.iter().skip(index + 1).find(|line| !line.trim_start().starts_with("#["));
        let opens_module = next.is_some_and(|next| next.trim_start().starts_with("mod ") && next.contains('{'));
        (line.trim() == "#[cfg(test)]" && opens_module).then_some(index)
    };
    lines.iter().enumerate().find_map(starts).unwrap_or(usize::MAX)
}

/// Where the scanner is.
enum Place {
    Code,
    LineComment,
    /// How deep: they nest.
    BlockComment(usize),
    Text,
    /// How many `#` end it.
    RawText(usize),
}

fn without_comments_and_literals(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut place = Place::Code;
    let mut rest = text;
    let mut previous = ' ';
    while let Some(c) = rest.chars().next() {
        let (kept, taken, next) = match place {
            Place::Code => in_code(rest, c, previous),
            Place::LineComment if c == '\n' => (0, 0, Place::Code),
            Place::LineComment => (0, c.len_utf8(), Place::LineComment),
            Place::BlockComment(depth) if rest.starts_with("/*") => (0, 2, Place::BlockComment(depth + 1)),
            Place::BlockComment(1) if rest.starts_with("*/") => (0, 2, Place::Code),
            Place::BlockComment(depth) if rest.starts_with("*/") => (0, 2, Place::BlockComment(depth - 1)),
            Place::BlockComment(depth) => (0, c.len_utf8(), Place::BlockComment(depth)),
            // An escaped character, be it a quote or a line end.
            Place::Text if c == '\\' => (0, 1 + rest.chars().nth(1).map_or(0, char::len_utf8), Place::Text),
            Place::Text if c == '"' => (1, 1, Place::Code),
            Place::Text => (0, c.len_utf8(), Place::Text),
            Place::RawText(hashes) if closes_raw(rest, hashes) => (1, 1 + hashes, Place::Code),
            Place::RawText(hashes) => (0, c.len_utf8(), Place::RawText(hashes)),
        };
        let (piece, left) = rest.split_at(taken);
        // What is kept stays as it is; of the rest only the line ends stay, so that lines keep their numbers.
        let (kept, hidden) = piece.split_at(kept);
        code.push_str(kept);
        code.extend(hidden.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        previous = piece.chars().next_back().unwrap_or(previous);
        (rest, place) = (left, next);
    }
    code
}

/// What begins here, in code: how many bytes to keep, how many to take in all, and where that leads.
fn in_code(rest: &str, c: char, previous: char) -> (usize, usize, Place) {
    let hashes = |from: usize| rest.bytes().skip(from).take_while(|byte| *byte == b'#').count();
    match c {
        '/' if rest.starts_with("//") => (0, 2, Place::LineComment),
        '/' if rest.starts_with("/*") => (0, 2, Place::BlockComment(1)),
        '"' => (1, 1, Place::Text),
        // `r"`, `r#"`, and with `br` and `cr` the letter before is one more piece of code.
        'r' if !is_name(previous) || matches!(previous, 'b' | 'c') => {
            let hashes = hashes(1);
            if rest.as_bytes().get(1 + hashes) == Some(&b'"') {
                (2 + hashes, 2 + hashes, Place::RawText(hashes))
            } else {
                (1, 1, Place::Code)
            }
        }
        '\'' => match char_literal_len(rest) {
            Some(length) => (1, length, Place::Code),
            None => (1, 1, Place::Code),
        },
        _ => (c.len_utf8(), c.len_utf8(), Place::Code),
    }
}

fn closes_raw(rest: &str, hashes: usize) -> bool {
    rest.strip_prefix('"').is_some_and(|after| after.bytes().take_while(|byte| *byte == b'#').count() >= hashes)
}

/// The length of the character literal that begins here; `None` for a lifetime.
fn char_literal_len(rest: &str) -> Option<usize> {
    let mut chars = rest.char_indices().skip(1);
    let (_, first) = chars.next()?;
    if first == '\\' {
        // Behind the escaped character, which may be a quote, the next quote ends it.
        let (escaped, _) = chars.next()?;
        let after = rest.get(escaped + 1..)?;
        return after.find('\'').map(|quote| escaped + 1 + quote + 1);
    }
    chars.next().filter(|(_, second)| *second == '\'').map(|(at, _)| at + 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn comments_and_literals_are_blank() {
        for (text, code) in [
            ("a // b", "a     "),
            ("a /* b /* c */ d */ e", "a                   e"),
            (r#"f("x\"y") g"#, r#"f("    ") g"#),
            (r##"r#"a"b"# c"##, r#"r#"   "  c"#),
            (r#"br"\" c"#, r#"br" " c"#),
            ("'a' 'b", "'   'b"),
            (r"'\'' x '\u{1f}' y", "'    x '        y"),
            ("for<'a> &'a str", "for<'a> &'a str"),
            ("var\"a\"", "var\" \""),
            ("\"a\nb\"\nc", "\" \n \"\nc"),
            ("\"ä\" ü", "\" \" ü"),
        ] {
            assert_eq!(without_comments_and_literals(text), code, "{text}");
        }
    }

    #[test]
    fn functions_have_their_length() {
        let text = "trait T { fn no_body(&self) -> [u8; 4]; }\nimpl X {\n    fn one() { \"}\"; }\n    pub fn three(\n    ) {\n    }\n}\nstruct S { f: fn (u8) }\n";
        let source = Source::new("a.rs", text);
        assert_eq!(source.functions(), [("one".to_owned(), 2, 1), ("three".to_owned(), 3, 3)]);
    }

    #[test]
    fn test_modules_and_test_files_are_known() {
        let source = Source::new("crates/a/src/b.rs", "code\n#[cfg(test)]\n#[allow(x)]\nmod tests {\n}\n");
        assert_eq!((source.is_test_line(0), source.is_test_line(1), source.is_test_file()), (false, true, false));
        let source = Source::new("crates/a/src/b.rs", "#[cfg(test)]\nmod tests;\ncode\n");
        assert!(!source.is_test_line(2));
        for path in ["tests/src/x.rs", "crates/a/tests/x.rs", "crates/a/src/b/tests.rs"] {
            assert!(Source::new(path, "").is_test_file(), "{path}");
        }
    }
}
