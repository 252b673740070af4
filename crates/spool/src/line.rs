//! Where lines end and which number they have. Version 1; a change is a change of the log format.
//!
//! Lines are numbered when they *end*, from 0. The next number is the count of line ends so far.
//!
//! * A line of output ends at `\n`, which is not part of it; or before the byte that would make it longer than
//!   [`LINE_BYTES_MAX`]. So that this does not cut a character in two, it also ends before any byte that begins a character
//!   when it has [`LINE_BYTES_MAX`]` - 3` bytes or more. A trailing `\r` is presentation and stays.
//! * A command (IN) and a notice (NOTE) are one whole line each, take the next number at once, and leave an unfinished line of
//!   output as it is: that one gets its number when it ends.
//! * START, EXIT, GAP and the end of a segment end an unfinished line. GAP then skips as many numbers as it lost lines.
//! * Frames of other kinds do nothing.
//!
//! To read from line N on, begin at the start of the segment with the greatest `base_line` that is not above N and drop
//! what comes before N: a segment always begins between two lines, and decoding one takes about a millisecond.

use memchr::{memchr, memchr_iter, memrchr};

use crate::format::{Frame, Kind};
use crate::payload::{ExitPayload, GapPayload, GapReason, InPayload, StartPayload};

/// Longest line of output in bytes; a longer one is several lines.
pub const LINE_BYTES_MAX: usize = 65_536;

/// From this length on a line ends before a byte that begins a character.
const SOFT_BYTES: usize = LINE_BYTES_MAX - 3;

/// How the first line in some bytes ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// With the `\n` at this index.
    Newline(usize),
    /// Before the byte at this index, which is for the next line.
    Before(usize),
}

/// Finds the first line end in `bytes`, which follow `length` bytes of the same line.
fn first_end(length: usize, bytes: &[u8]) -> Option<End> {
    let free = SOFT_BYTES.saturating_sub(length);
    let (easy, tight) = bytes.split_at(free.min(bytes.len()));
    if let Some(at) = memchr(b'\n', easy) {
        return Some(End::Newline(at));
    }
    for (index, &byte) in tight.iter().enumerate() {
        let at = easy.len() + index;
        if byte == b'\n' {
            return Some(End::Newline(at));
        }
        if length + at >= LINE_BYTES_MAX || !is_continuation(byte) {
            return Some(End::Before(at));
        }
    }
    None
}

/// Whether a byte continues a UTF-8 character.
fn is_continuation(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

/// Counts lines without keeping them: for the writer, and to check what was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineCounter {
    next_line: u64,
    length: usize,
}

impl LineCounter {
    /// At the beginning of a line, with so many lines before it.
    pub fn new(next_line: u64) -> Self {
        Self { next_line, length: 0 }
    }

    /// How many lines have ended.
    pub fn next_line(&self) -> u64 {
        self.next_line
    }

    /// Bytes of the unfinished line; 0 between two lines.
    pub fn unfinished_bytes(&self) -> usize {
        self.length
    }

    /// Counts a burst of output.
    pub fn output(&mut self, mut bytes: &[u8]) {
        // Only the line under way can reach the limit when the rest is shorter than it: then counting newlines is enough.
        while let Some(end) = first_end(self.length, bytes) {
            bytes = self.ended(end, bytes);
            if bytes.len() <= SOFT_BYTES {
                let Some(last) = memrchr(b'\n', bytes) else { break };
                self.next_line = self.next_line.saturating_add(memchr_iter(b'\n', bytes).count() as u64);
                bytes = bytes.get(last + 1..).unwrap_or_default();
                break;
            }
        }
        self.length += bytes.len();
    }

    fn ended<'a>(&mut self, end: End, bytes: &'a [u8]) -> &'a [u8] {
        self.next_line = self.next_line.saturating_add(1);
        self.length = 0;
        let rest = match end {
            End::Newline(at) => at + 1,
            End::Before(at) => at,
        };
        bytes.get(rest..).unwrap_or_default()
    }

    /// How many of these bytes belong to the line under way, its `\n` included; `None` if it does not end in them.
    pub fn rest_of_line(&self, bytes: &[u8]) -> Option<usize> {
        first_end(self.length, bytes).map(|end| match end {
            End::Newline(at) => at + 1,
            End::Before(at) => at,
        })
    }

    /// Counts a line that is not output.
    pub fn whole_line(&mut self) {
        self.next_line = self.next_line.saturating_add(1);
    }

    /// Ends an unfinished line, if there is one.
    pub fn end_unfinished(&mut self) {
        if self.length > 0 {
            self.length = 0;
            self.whole_line();
        }
    }

    /// Counts whatever a frame does.
    pub fn frame(&mut self, kind: Kind, payload: &[u8]) {
        match kind {
            Kind::Out => self.output(payload),
            Kind::In | Kind::Note => self.whole_line(),
            Kind::Start | Kind::Exit => self.end_unfinished(),
            Kind::Gap => {
                self.end_unfinished();
                let lines = GapPayload::decode(payload).map_or(0, |gap| gap.lines);
                self.next_line = self.next_line.saturating_add(lines);
            }
            Kind::Upgraded | Kind::Other(_) => {}
        }
    }
}

/// Who wrote a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineKind<'a> {
    /// The game.
    Output,
    /// A person, or the daemon for them.
    Input {
        /// Who; empty if nobody is named.
        user: &'a str,
        /// Under which request; 0 if none.
        request_id: u64,
    },
    /// The node.
    Note,
}

/// One numbered line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Its number.
    pub seq: u64,
    /// When its first byte was written, unix ms.
    pub time_ms: u64,
    /// When it ended, unix ms, as its number is: a prompt may have stood for long before an answer ended it. When a segment ended
    /// it, when it began.
    pub ended_ms: u64,
    /// Who wrote it.
    pub kind: LineKind<'a>,
    /// Its bytes without the `\n`, nothing else taken away. May be no text.
    pub bytes: &'a [u8],
}

/// What the frames say, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A line has ended.
    Line(Line<'a>),
    /// A run began, or could not (see `errno`).
    Started {
        /// When, unix ms.
        time_ms: u64,
        /// What is known of it.
        start: StartPayload,
    },
    /// A run has ended.
    Exited {
        /// When, unix ms.
        time_ms: u64,
        /// How.
        exit: ExitPayload,
    },
    /// Lines are missing: `first_line .. first_line + gap.lines`.
    Gap {
        /// When this was written, unix ms; 0 for damage a reader found.
        time_ms: u64,
        /// Number of the first missing line.
        first_line: u64,
        /// What is missing and why.
        gap: GapPayload,
    },
    /// A frame whose checksum holds but whose payload makes no sense. It counted for the numbering as its kind says.
    Unreadable {
        /// When, unix ms.
        time_ms: u64,
        /// What it should have been.
        kind: Kind,
    },
}

/// The line under way: a prompt, perhaps, whose end will not come before an answer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfinished<'a> {
    /// The number it gets if it is the next line to end. A command or a notice that comes first takes it, and then this is higher.
    pub seq: u64,
    /// When its first byte was written, unix ms.
    pub time_ms: u64,
    /// What there is of it, never empty.
    pub bytes: &'a [u8],
}

/// Turns frames into numbered lines. Feed it the frames of a log in order, from the beginning of a segment.
#[derive(Clone, Debug, Default)]
pub struct LineSplitter {
    next_line: u64,
    unfinished: Vec<u8>,
    /// When the unfinished line began; means nothing while there is none.
    began_ms: u64,
}

impl LineSplitter {
    /// At the beginning of a segment with this `base_line`.
    pub fn new(base_line: u64) -> Self {
        Self { next_line: base_line, unfinished: Vec::new(), began_ms: 0 }
    }

    /// How many lines have ended: the number of the next one that ends.
    pub fn next_line(&self) -> u64 {
        self.next_line
    }

    /// The line of output that has not ended yet, if any: whoever looks for a prompt finds it here when no frame has come for a while.
    pub fn unfinished(&self) -> Option<Unfinished<'_>> {
        let there_is = !self.unfinished.is_empty();
        there_is.then_some(Unfinished { seq: self.next_line, time_ms: self.began_ms, bytes: &self.unfinished })
    }

    /// Takes the next frame and tells `on` what it says.
    pub fn feed(&mut self, frame: &Frame<'_>, on: &mut impl FnMut(Event<'_>)) {
        let time_ms = frame.time_ms;
        match frame.kind {
            Kind::Out => self.output(frame.payload, time_ms, on),
            Kind::In => {
                let (kind, bytes) = match InPayload::decode(frame.payload) {
                    Some(input) => (LineKind::Input { user: input.user, request_id: input.request_id }, input.bytes),
                    None => (LineKind::Input { user: "", request_id: 0 }, frame.payload),
                };
                let seq = self.number();
                on(Event::Line(Line { seq, time_ms, ended_ms: time_ms, kind, bytes }));
            }
            Kind::Note => {
                let seq = self.number();
                on(Event::Line(Line { seq, time_ms, ended_ms: time_ms, kind: LineKind::Note, bytes: frame.payload }));
            }
            Kind::Start => {
                self.end_unfinished(time_ms, on);
                on(match StartPayload::decode(frame.payload) {
                    Some(start) => Event::Started { time_ms, start },
                    None => Event::Unreadable { time_ms, kind: frame.kind },
                });
            }
            Kind::Exit => {
                self.end_unfinished(time_ms, on);
                on(match ExitPayload::decode(frame.payload) {
                    Some(exit) => Event::Exited { time_ms, exit },
                    None => Event::Unreadable { time_ms, kind: frame.kind },
                });
            }
            Kind::Gap => {
                self.end_unfinished(time_ms, on);
                match GapPayload::decode(frame.payload) {
                    Some(gap) => self.gap(time_ms, gap, on),
                    None => on(Event::Unreadable { time_ms, kind: frame.kind }),
                }
            }
            Kind::Upgraded | Kind::Other(_) => {}
        }
    }

    /// Goes on with another segment: ends an unfinished line, as the end of a segment does, and tells `on` of a gap if the
    /// segment before had fewer lines than this one's `base_line` says.
    pub fn begin_segment(&mut self, base_line: u64, on: &mut impl FnMut(Event<'_>)) {
        self.end_unfinished(self.began_ms, on);
        if base_line > self.next_line {
            let lines = base_line - self.next_line;
            self.gap(0, GapPayload { bytes: 0, lines, reason: GapReason::Damaged }, on);
        }
        self.next_line = base_line;
    }

    fn gap(&mut self, time_ms: u64, gap: GapPayload, on: &mut impl FnMut(Event<'_>)) {
        on(Event::Gap { time_ms, first_line: self.next_line, gap });
        self.next_line = self.next_line.saturating_add(gap.lines);
    }

    fn number(&mut self) -> u64 {
        let seq = self.next_line;
        self.next_line = seq.saturating_add(1);
        seq
    }

    fn output(&mut self, mut bytes: &[u8], time_ms: u64, on: &mut impl FnMut(Event<'_>)) {
        while let Some(end) = first_end(self.unfinished.len(), bytes) {
            let (at, rest) = match end {
                End::Newline(at) => (at, at + 1),
                End::Before(at) => (at, at),
            };
            let head = bytes.get(..at).unwrap_or_default();
            bytes = bytes.get(rest..).unwrap_or_default();
            if self.unfinished.is_empty() {
                let seq = self.number();
                on(Event::Line(Line { seq, time_ms, ended_ms: time_ms, kind: LineKind::Output, bytes: head }));
            } else {
                self.unfinished.extend_from_slice(head);
                self.end_unfinished(time_ms, on);
            }
        }
        if !bytes.is_empty() {
            if self.unfinished.is_empty() {
                self.began_ms = time_ms;
            }
            self.unfinished.extend_from_slice(bytes);
        }
    }

    fn end_unfinished(&mut self, ended_ms: u64, on: &mut impl FnMut(Event<'_>)) {
        if self.unfinished.is_empty() {
            return;
        }
        let seq = self.number();
        let (kind, time_ms) = (LineKind::Output, self.began_ms);
        on(Event::Line(Line { seq, time_ms, ended_ms, kind, bytes: &self.unfinished }));
        self.unfinished.clear();
    }
}
