//! What a console line looks like: bytes to text, text without its control sequences, and the lines we add ourselves.

use std::borrow::Cow;

use vte::{Parser, Perform};

/// The byte that the control characters from U+0080 on begin with, and some others, in UTF-8.
pub(crate) const C1_FIRST_BYTE: u8 = 0xc2;

/// A console line's bytes as text: carriage returns at its end are dropped (a terminal writes CR LF), invalid UTF-8 becomes
/// U+FFFD, and everything else stays: colours, NUL, a carriage return in the middle.
pub fn text(bytes: &[u8]) -> Cow<'_, str> {
    let end = bytes.iter().rposition(|&byte| byte != b'\r').map_or(0, |last| last + 1);
    let bytes = bytes.get(..end).unwrap_or_default();
    // Nearly all of it is text, and whether it is takes a tenth of the time that looking for what is none does.
    str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

/// The text a person sees: without escape sequences and control characters, but with tabs. Borrowed when there is nothing to
/// take away.
pub fn strip_ansi(text: &str) -> Cow<'_, str> {
    if !has_control(text) {
        return Cow::Borrowed(text);
    }
    let mut printed = Printed(String::with_capacity(text.len()));
    Parser::new().advance(&mut printed, text.as_bytes());
    Cow::Owned(printed.0)
}

/// A line of our own among the game's output, in the form Wings gives its own (protocol reference §6.3).
pub fn daemon_line(app_name: &str, text: &str) -> String {
    format!("\x1b[33m\x1b[1m[{} Daemon]:\x1b[39m {}\x1b[0m", harmless(app_name), harmless(text))
}

/// A typed command as the console shows it, dimmed: `> command`, or `name> command` when `user` is not empty. Whatever the
/// command contains, it stays one line and colours nothing.
pub fn echo_line(user: &str, command: &str) -> String {
    format!("\x1b[2m{}> {}\x1b[0m", harmless(user), harmless(command))
}

/// Control characters as pictures of themselves, so that no text of ours or of a user moves a cursor or breaks a line.
fn harmless(text: &str) -> Cow<'_, str> {
    if !has_control(text) {
        return Cow::Borrowed(text);
    }
    let shown = text.chars().map(|c| match c {
        '\t' => '\t',
        '\0'..='\x1f' => char::from_u32(0x2400 + u32::from(c)).unwrap_or(char::REPLACEMENT_CHARACTER),
        '\x7f' => '\u{2421}',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    });
    Cow::Owned(shown.collect())
}

/// Whether a character of a text is a control character.
fn has_control(text: &str) -> bool {
    // Every line of a search comes here. Sixteen bytes at a time are looked at for what begins one; only then it is looked what it is.
    let may_begin_one = |byte: u8| (byte < b' ' && byte != b'\t') || byte == 0x7f || byte == C1_FIRST_BYTE;
    let may_have_one =
        text.as_bytes().chunks(16).any(|some| some.iter().fold(false, |any, &byte| any | may_begin_one(byte)));
    may_have_one && text.contains(is_control)
}

fn is_control(c: char) -> bool {
    c.is_control() && c != '\t'
}

/// Collects what a terminal would print.
struct Printed(String);

impl Perform for Printed {
    fn print(&mut self, c: char) {
        if !is_control(c) {
            self.0.push(c);
        }
    }

    fn execute(&mut self, byte: u8) {
        if byte == b'\t' {
            self.0.push('\t');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_character_is_found_wherever_it_stands() {
        let all = ('\0'..'\u{300}').chain(['\u{2028}', '\u{fffd}', '\u{1f600}']);
        for c in all {
            for before in [0, 1, 14, 15, 16, 17, 40] {
                let text = format!("{}{c}{}", "x".repeat(before), "y".repeat(20));
                assert_eq!(has_control(&text), text.contains(is_control), "{c:?} behind {before}");
            }
        }
    }

    #[test]
    fn what_is_no_text_becomes_some() {
        assert_eq!(text(b"ab\r\r"), "ab");
        assert_eq!(text("a\rß\r".as_bytes()), "a\rß");
        assert_eq!(text(b"a\xffb\xc3\r"), "a\u{fffd}b\u{fffd}");
        assert_eq!(text(b"\r"), "");
    }
}
