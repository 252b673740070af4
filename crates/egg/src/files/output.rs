//! What a file becomes: never longer than a file may be, whatever stands in the old one how often.

use std::collections::BTreeMap;
use std::fmt;
use std::io;

use super::{ApplyError, FILE_BYTES_MAX};

/// The new text.
pub(super) struct Output {
    text: String,
    is_full: bool,
}

impl Output {
    pub(super) fn new(begin: &str) -> Self {
        Self { text: begin.to_owned(), is_full: false }
    }

    pub(super) fn push(&mut self, text: &str) -> Result<(), ApplyError> {
        if self.text.len() + text.len() > FILE_BYTES_MAX {
            self.is_full = true;
            return Err(ApplyError::TooLong);
        }
        self.text.push_str(text);
        Ok(())
    }

    /// Whether something had no room.
    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    pub(super) fn text(self) -> String {
        self.text
    }
}

/// For serializers.
impl fmt::Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text).map_err(|_| fmt::Error)
    }
}

/// For serializers that write bytes; they write whole characters.
impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        self.push(text).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Places of a text that become something else; all between them stays byte for byte.
#[derive(Default)]
pub(super) struct Edits {
    /// By where they begin, then in the order they were made: where they end, and the new text.
    list: BTreeMap<(usize, usize), (usize, String)>,
    bytes: usize,
}

impl Edits {
    /// Replaces a range; one that is empty is where the text is put in. Ranges do not overlap.
    pub(super) fn replace(&mut self, begin: usize, end: usize, text: String) -> Result<(), ApplyError> {
        self.bytes += text.len();
        if self.bytes > FILE_BYTES_MAX {
            return Err(ApplyError::TooLong);
        }
        self.list.insert((begin, self.list.len()), (end, text));
        Ok(())
    }

    /// The text with all of them.
    pub(super) fn write(self, text: &str, out: &mut Output) -> Result<(), ApplyError> {
        let mut at = 0;
        for ((begin, _), (end, new)) in self.list {
            out.push(text.get(at..begin).unwrap_or_default())?;
            out.push(&new)?;
            at = end;
        }
        out.push(text.get(at..).unwrap_or_default())
    }
}

/// The lines of a text: where each begins, and what it says without what ends it.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut next = 0;
    text.split_inclusive('\n').map(move |line| {
        let begin = next;
        next += line.len();
        let body = line.strip_suffix('\n').map_or(line, |body| body.strip_suffix('\r').unwrap_or(body));
        (begin, body)
    })
}

/// What ends lines that are new: what ends those that are there.
pub(super) fn line_end(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}
