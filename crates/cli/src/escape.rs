//! What a game may do to our terminal: colours, and nothing else.
//!
//! A game's output, and with it whatever its players type, goes to the terminal of the person who watches. Some escape
//! sequences set the window's title or the clipboard, and some make the terminal answer as if its owner had typed. So a line is
//! parsed the way a terminal parses it, and only text and SGR (colours, bold and the like) come out.

use std::fmt::Write as _;

use vte::{Params, Parser, Perform};

const RESET: &str = "\x1b[0m";
/// A tab becomes so many spaces at most; a real one would be measured wrongly by the input line below it.
const TAB_COLUMNS: usize = 8;

/// What to keep of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Text and colours.
    Colors,
    /// Text.
    Text,
}

/// One console line without anything but text and, if wanted, colours, ending with the colours reset. A bare carriage return
/// starts the line over, as on a terminal; colours set before it stay in force.
pub(crate) fn clean(line: &str, keep: Keep) -> String {
    let mut cleaner =
        Cleaner { keep, text: String::with_capacity(line.len()), colors: String::new(), restart: false, column: 0 };
    let mut parser: Parser = Parser::new();
    parser.advance(&mut cleaner, line.as_bytes());
    if !cleaner.colors.is_empty() {
        cleaner.text.push_str(RESET);
    }
    cleaner.text
}

/// Whether a character makes the terminal show what follows, or what was before, in another order: with them a line reads as
/// something that it is not. Scripts written from right to left are shown as such without them.
pub(crate) const fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether a character is not text but does something to a terminal.
pub(crate) fn steers(c: char) -> bool {
    c.is_control() || is_bidi_control(c)
}

struct Cleaner {
    keep: Keep,
    text: String,
    /// The sequences since the last reset: the colours in force at this point.
    colors: String,
    /// A carriage return was read: the next character overwrites the line.
    restart: bool,
    column: usize,
}

impl Cleaner {
    fn start_over(&mut self) {
        self.restart = false;
        self.column = 0;
        // Colours survive: what is printed next has them.
        self.text.clone_from(&self.colors);
    }
}

impl Perform for Cleaner {
    fn print(&mut self, c: char) {
        // C1 controls are characters here and commands to a terminal.
        if steers(c) {
            return;
        }
        if self.restart {
            self.start_over();
        }
        self.text.push(c);
        self.column += 1;
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            b'\t' => {
                for _ in 0..TAB_COLUMNS - self.column % TAB_COLUMNS {
                    self.print(' ');
                }
            }
            b'\r' => self.restart = true,
            // An event may hold a line break; one event stays one line.
            b'\n' => self.print(' '),
            _ => {}
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], ignore: bool, action: char) {
        if action != 'm' || !intermediates.is_empty() || ignore || self.keep == Keep::Text {
            return;
        }
        let mut codes = String::new();
        for param in params {
            if !codes.is_empty() {
                codes.push(';');
            }
            for (index, part) in param.iter().enumerate() {
                let separator = if index > 0 { ":" } else { "" };
                let _ = write!(codes, "{separator}{part}");
            }
        }
        if matches!(codes.as_str(), "" | "0") {
            if !self.colors.is_empty() {
                self.text.push_str(RESET);
            }
            self.colors.clear();
        } else {
            let _ = write!(self.text, "\x1b[{codes}m");
            let _ = write!(self.colors, "\x1b[{codes}m");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn colors(line: &str) -> String {
        clean(line, Keep::Colors)
    }

    #[test]
    fn text_and_colours_pass() {
        assert_eq!(colors("plain"), "plain");
        assert_eq!(colors("\x1b[33m\x1b[1m[Daemon]:\x1b[39m hi\x1b[0m"), "\x1b[33m\x1b[1m[Daemon]:\x1b[39m hi\x1b[0m");
        assert_eq!(colors("\x1b[38;5;196mred"), "\x1b[38;5;196mred\x1b[0m");
        assert_eq!(colors("\x1b[38:2::1:2:3mrgb"), "\x1b[38:2:0:1:2:3mrgb\x1b[0m");
        assert_eq!(colors("żółw \u{1f422}"), "żółw \u{1f422}");
    }

    #[test]
    fn everything_that_talks_to_the_terminal_is_dropped() {
        let rows = [
            ("title", "\x1b]0;evil\x07text"),
            ("title, other end", "\x1b]2;evil\x1b\\text"),
            ("clipboard", "\x1b]52;c;ZXZpbA==\x07text"),
            ("hyperlink", "\x1b]8;;http://evil\x1b\\text\x1b]8;;\x1b\\"),
            ("device status", "\x1b[6ntext"),
            ("device attributes", "\x1b[ctext"),
            ("window report", "\x1b[21ttext"),
            ("clear", "\x1b[2J\x1b[Htext"),
            ("alternate screen", "\x1b[?1049htext"),
            ("mouse", "\x1b[?1000htext"),
            ("paste", "\x1b[?2004htext"),
            ("reset", "\x1bctext"),
            ("device control", "\x1bP$qm\x1b\\text"),
            ("application command", "\x1b_Gq=1\x1b\\text"),
            ("private SGR, xterm key modes", "\x1b[>4;2mtext"),
            ("C1 CSI", "\u{9b}6ntext"),
            ("bell, backspace, shift out", "te\x07\x08\x0ext"),
            ("charset", "\x1b(0text"),
            ("order", "\u{202e}te\u{200f}xt\u{2069}\u{61c}"),
        ];
        for (name, line) in rows {
            let got = colors(line);
            let expected = if name == "C1 CSI" { "6ntext" } else { "text" };
            assert_eq!(got, expected, "{name}");
        }
    }

    #[test]
    fn a_carriage_return_starts_over_and_a_last_one_does_nothing() {
        assert_eq!(colors("10%\r20%\r100% done"), "100% done");
        assert_eq!(colors("kept\r"), "kept");
        assert_eq!(colors("\x1b[32m10%\r20%"), "\x1b[32m20%\x1b[0m");
        assert_eq!(colors("\x1b[32m10%\x1b[0m\r20%"), "20%");
    }

    #[test]
    fn tabs_become_spaces_to_the_next_stop() {
        assert_eq!(colors("a\tb"), "a       b");
        assert_eq!(colors("\tb"), "        b");
    }

    #[test]
    fn without_colours_only_text_is_left() {
        assert_eq!(clean("\x1b[31mred\x1b[0m \x1b]0;t\x07x", Keep::Text), "red x");
    }

    /// What may stand in the output: nothing that steers the terminal but the ESC of an SGR sequence.
    fn harmless(text: &str) -> bool {
        let mut rest = text;
        while let Some(at) = rest.find('\x1b') {
            let (before, sequence) = rest.split_at(at);
            if before.contains(steers) {
                return false;
            }
            let Some(body) = sequence.strip_prefix("\x1b[") else { return false };
            let Some((codes, after)) = body.split_once('m') else { return false };
            if !codes.bytes().all(|byte| byte.is_ascii_digit() || byte == b';' || byte == b':') {
                return false;
            }
            rest = after;
        }
        !rest.contains(steers)
    }

    proptest! {
        #[test]
        fn nothing_but_text_and_colours_ever_comes_out(line in r"([\x1b\x07\x9b\x9d\u{202e}\u{2066}\[\]0-9;:?>mnctJP\\ a\r\n]|.){0,60}") {
            let colored = colors(&line);
            prop_assert!(harmless(&colored), "{:?}", colored);
            let text = clean(&line, Keep::Text);
            prop_assert!(!text.contains(steers), "{:?}", text);
        }

        #[test]
        fn text_without_controls_comes_out_as_it_is(line in r"[^\p{Cc}\p{Bidi_Control}]{0,60}") {
            prop_assert_eq!(colors(&line), line);
        }

        #[test]
        fn cleaning_twice_changes_nothing_more(line in r"([\x1b\[\]0-9;m a\r]|.){0,60}") {
            let once = colors(&line);
            prop_assert_eq!(colors(&once), once);
        }
    }
}
