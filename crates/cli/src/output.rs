//! What commands print: tables for people, JSON for programs, and nothing that could take over the terminal.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use comfy_table::{Cell, ContentArrangement, Table, presets};
use rustix::termios::tcgetwinsize;
use serde::Serialize;

use crate::args::{ColorWhen, Global};
use crate::escape::{is_bidi_control, steers};
use crate::fault::Fault;

/// Columns assumed when the terminal does not say.
const WIDTH_DEFAULT: u16 = 100;

/// Colours of our own lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    /// Something is wrong.
    Red,
    /// Good.
    Green,
    /// Worth a look.
    Yellow,
    /// By the way.
    Dim,
}

impl Paint {
    const fn code(self) -> &'static str {
        match self {
            Self::Red => "\x1b[31m",
            Self::Green => "\x1b[32m",
            Self::Yellow => "\x1b[33m",
            Self::Dim => "\x1b[2m",
        }
    }
}

/// How to print.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    /// JSON instead of text.
    pub(crate) json: bool,
    /// Colours are wanted on stdout.
    pub(crate) color: bool,
    /// Stdout is a terminal.
    pub(crate) terminal: bool,
}

impl Output {
    /// From the arguments and what stdout is.
    pub(crate) fn new(global: &Global) -> Self {
        Self::on(global, io::stdout().is_terminal())
    }

    /// The same for stderr.
    pub(crate) fn for_errors(global: &Global) -> Self {
        Self::on(global, io::stderr().is_terminal())
    }

    fn on(global: &Global, terminal: bool) -> Self {
        let color = match global.color {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            ColorWhen::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        };
        Self { json: global.json, color, terminal }
    }

    /// `text` in a colour, where colours are wanted.
    pub(crate) fn paint(self, paint: Paint, text: &str) -> String {
        if self.color { format!("{}{text}\x1b[0m", paint.code()) } else { text.to_owned() }
    }

    /// One line to stdout, at once: whoever reads a pipe sees it now.
    #[allow(clippy::unused_self)] // where lines go is this type's business
    pub(crate) fn line(self, text: &str) -> Result<(), Fault> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.write_all(b"\n")?;
        out.flush()?;
        Ok(())
    }

    /// One JSON document, over several lines.
    pub(crate) fn document(self, value: &impl Serialize) -> Result<(), Fault> {
        self.line(&to_json(serde_json::to_string_pretty(value))?)
    }

    /// One JSON document on one line, for commands that follow.
    pub(crate) fn json_line(self, value: &impl Serialize) -> Result<(), Fault> {
        self.line(&to_json(serde_json::to_string(value))?)
    }

    /// A table: with rules and fitted to the terminal, or plain columns when stdout is something else.
    pub(crate) fn table(self, header: &[&str], rows: Vec<Vec<String>>) -> Result<(), Fault> {
        let mut table = Table::new();
        if self.terminal {
            table.load_style(presets::UTF8_HORIZONTAL_ONLY);
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(terminal_width());
        } else {
            table.load_style(presets::NOTHING);
        }
        table.set_header(header.iter().map(Cell::new));
        for row in rows {
            // Names come from other people: a control character in one would break the table or do worse.
            table.add_row(row.iter().map(|text| Cell::new(plain(text))));
        }
        self.line(&table.trim_fmt())
    }

    /// Pairs of a name and a value, one per line.
    pub(crate) fn pairs(self, pairs: &[(&str, String)]) -> Result<(), Fault> {
        let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        for (name, value) in pairs {
            let padded = format!("{name:width$}");
            self.line(&format!("{}  {}", self.paint(Paint::Dim, &padded), plain(value)))?;
        }
        Ok(())
    }
}

/// A notice to stderr. It is not part of the result, so a closed stderr changes nothing.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

fn to_json(result: serde_json::Result<String>) -> Result<String, Fault> {
    match result {
        Ok(json) => Ok(escaped(json)),
        Err(error) => Err(Fault::Failed(format!("cannot write the answer as JSON: {error}"))),
    }
}

/// The same JSON without a character that steers a terminal: JSON itself leaves those beyond ASCII as they are.
pub(crate) fn escaped(json: String) -> String {
    // ASCII controls outside strings are line breaks between members; in strings they are escaped already, but for DEL.
    let is_raw = |c: char| steers(c) && (!c.is_ascii() || c == '\x7f');
    if !json.contains(is_raw) {
        return json;
    }
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if is_raw(c) {
            // All of them are in the first plane, so one escape says it.
            let _ = write!(text, "\\u{:04x}", u32::from(c));
        } else {
            text.push(c);
        }
    }
    text
}

/// Without control characters, and without those that make text read in another order than it is written.
pub(crate) fn plain(text: &str) -> String {
    let kept = text.chars().filter(|c| !is_bidi_control(*c));
    kept.map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn terminal_width() -> u16 {
    tcgetwinsize(io::stdout()).ok().map(|size| size.ws_col).filter(|columns| *columns > 0).unwrap_or(WIDTH_DEFAULT)
}

/// Bytes for people, in the units `server create --memory` takes.
#[allow(clippy::cast_precision_loss)] // three digits are printed
pub(crate) fn bytes(count: u64) -> String {
    const STEP: f64 = 1024.0;
    let mut value = count as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < STEP {
            return if unit == "B" { format!("{count} B") } else { format!("{value:.1} {unit}") };
        }
        value /= STEP;
    }
    format!("{value:.1} TiB")
}

/// Milliseconds for people.
pub(crate) fn uptime(ms: u64) -> String {
    let seconds = ms / 1000;
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, s) => format!("{s}s"),
        (0, 0, m, s) => format!("{m}m {s}s"),
        (0, h, m, _) => format!("{h}h {m}m"),
        (d, h, _, _) => format!("{d}d {h}h"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn sizes_and_times_read_well() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(512 << 20), "512.0 MiB");
        assert_eq!(bytes(3 << 40), "3.0 TiB");
        assert_eq!(uptime(999), "0s");
        assert_eq!(uptime(61_000), "1m 1s");
        assert_eq!(uptime(3_600_000), "1h 0m");
        assert_eq!(uptime(90_000_000), "1d 1h");
    }

    #[test]
    fn names_cannot_carry_escapes_into_a_table() {
        assert_eq!(plain("a\x1b[2Jb\nc"), "a\u{fffd}[2Jb\u{fffd}c");
        assert_eq!(plain("\u{202e}gnp.exe\u{2069}\u{9b}6n"), "gnp.exe\u{fffd}6n");
    }

    proptest! {
        #[test]
        fn json_says_the_same_without_steering_a_terminal(
            text in r"([\x00-\x20\x7f-\u{9f}\u{61c}\u{200e}\u{200f}\u{202a}-\u{202e}\u{2066}-\u{2069}\\]|.){0,40}",
        ) {
            let value = json!({ &text: [&text] });
            let line = to_json(serde_json::to_string(&value)).unwrap();
            prop_assert!(!line.contains(steers), "{:?}", line);
            let document = to_json(serde_json::to_string_pretty(&value)).unwrap();
            prop_assert!(!document.replace('\n', "").contains(steers), "{:?}", document);
            prop_assert_eq!(&serde_json::from_str::<Value>(&line).unwrap(), &value);
            prop_assert_eq!(&serde_json::from_str::<Value>(&document).unwrap(), &value);
        }
    }
}
