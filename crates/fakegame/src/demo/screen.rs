//! How the demo's output looks: time, thread and level before each line, colours, a progress line, a prompt.

use std::fs::File;
use std::io::{self, IsTerminal, Write};

use crate::sys;

/// Erase what stands on the line and go back to its beginning. The order matters: a reader that takes space + CR for
/// a line end must not see one after the prompt.
const ERASE_LINE: &str = "\x1b[2K\r";
const PROMPT: &str = "> ";
const RESET: &str = "\x1b[0m";

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Colour {
    /// When the output is a terminal that knows them
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// How serious a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Info,
    Warn,
    Error,
}

/// One line of the log, without its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) thread: &'static str,
    pub(super) level: Level,
    pub(super) text: String,
    /// The colour of the text as an SGR parameter, for what people say and do.
    pub(super) tint: Option<u8>,
}

impl Entry {
    pub(super) fn info(thread: &'static str, text: String) -> Self {
        Self { thread, level: Level::Info, text, tint: None }
    }

    pub(super) fn warn(thread: &'static str, text: String) -> Self {
        Self { thread, level: Level::Warn, text, tint: Some(33) }
    }

    pub(super) fn error(thread: &'static str, text: String) -> Self {
        Self { thread, level: Level::Error, text, tint: Some(31) }
    }

    pub(super) fn tinted(self, tint: u8) -> Self {
        Self { tint: Some(tint), ..self }
    }
}

/// What stands on the last line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LastLine {
    Empty,
    Prompt,
    Progress,
}

/// The output and what is on its last line.
pub(super) struct Screen {
    out: File,
    colours: bool,
    prompts: bool,
    last_line: LastLine,
}

impl Screen {
    pub(super) fn new(out: File, colour: Colour) -> Self {
        let terminal = out.is_terminal();
        let colours = match colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => {
                terminal
                    && std::env::var_os("NO_COLOR").is_none()
                    && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
            }
        };
        Self { out, colours, prompts: terminal, last_line: LastLine::Empty }
    }

    /// Prints lines, in one write, and puts the prompt back when it stood there.
    pub(super) fn print(&mut self, entries: &[Entry]) -> io::Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut text = match self.last_line {
            LastLine::Empty => String::new(),
            LastLine::Prompt => ERASE_LINE.to_owned(),
            // The progress made so far stays readable.
            LastLine::Progress => "\n".to_owned(),
        };
        for entry in entries {
            self.push(&mut text, entry);
        }
        match self.last_line {
            LastLine::Prompt => text.push_str(PROMPT),
            LastLine::Empty | LastLine::Progress => self.last_line = LastLine::Empty,
        }
        self.out.write_all(text.as_bytes())
    }

    fn push(&self, text: &mut String, entry: &Entry) {
        let sys::LocalTime { hour, minute, second } = sys::local_time();
        let (level, colour) = match entry.level {
            Level::Info => ("INFO", 32),
            Level::Warn => ("WARN", 33),
            Level::Error => ("ERROR", 31),
        };
        let Entry { thread, text: said, .. } = entry;
        let line = if self.colours {
            let said = entry.tint.map_or_else(|| said.clone(), |tint| format!("\x1b[{tint}m{said}{RESET}"));
            format!(
                "\x1b[90m[{hour:02}:{minute:02}:{second:02}]{RESET} \x1b[{colour}m[{thread}/{level}]{RESET}: {said}\n"
            )
        } else {
            format!("[{hour:02}:{minute:02}:{second:02}] [{thread}/{level}]: {said}\n")
        };
        text.push_str(&line);
    }

    /// Draws the progress line again, over itself, with a bare carriage return.
    pub(super) fn progress(&mut self, text: &str) -> io::Result<()> {
        self.last_line = LastLine::Progress;
        self.out.write_all(format!("\r{text}").as_bytes())
    }

    /// Leaves the progress line as it stands.
    pub(super) fn finish_progress(&mut self) -> io::Result<()> {
        self.end()
    }

    /// Shows the prompt on a line of its own, on a terminal. Right also where the terminal's echo has ended the line.
    pub(super) fn prompt(&mut self) -> io::Result<()> {
        if !self.prompts {
            return Ok(());
        }
        self.end()?;
        self.last_line = LastLine::Prompt;
        self.out.write_all(PROMPT.as_bytes())
    }

    /// Ends an unfinished line.
    pub(super) fn end(&mut self) -> io::Result<()> {
        match std::mem::replace(&mut self.last_line, LastLine::Empty) {
            LastLine::Empty => Ok(()),
            LastLine::Prompt => self.out.write_all(ERASE_LINE.as_bytes()),
            LastLine::Progress => self.out.write_all(b"\n"),
        }
    }
}
