//! What a console line looks like: bytes to text, text without its control sequences, and the lines we add ourselves.

use std::borrow::Cow;

use vte::{Parser, Perform};

/// A console line's bytes as text: carriage returns at its end are dropped (a terminal writes CR LF), invalid UTF-8 becomes
/// U+FFFD, and everything else stays: colours, NUL, a carriage return in the middle.
pub fn text(bytes: &[u8]) -> Cow<'_, str> {
    let end = bytes.iter().rposition(|&byte| byte != b'\r').map_or(0, |last| last + 1);
    let bytes = bytes.get(..end).unwrap_or_default();
    // Nearly all lines are whole, and checking that is much faster than looking for what is not.
    str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

/// The text a person sees: without escape sequences and control characters, but with tabs. Borrowed when there is nothing to
/// take away.
pub fn strip_ansi(text: &str) -> Cow<'_, str> {
    if !text.contains(is_control) {
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
    if !text.contains(is_control) {
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
