//! Reads a server's log: follows its end, and reads from any line on. Writing is the shim's, and `server/journal`'s.
//!
//! Both ways decode the same frames with the same line rule (`spool::line`), so a line read again is the same line. All of it
//! blocks and belongs on a blocking thread.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use spool::format::SEGMENT_HEADER_BYTES;
use spool::{
    Event, ExitPayload, Frame, Frames, GapPayload, GapReason, Kind, LineKind, LineSplitter, SegmentHeader, SegmentName,
    StartPayload,
};
use wire::ids::Seq;

use crate::line::{Line, Stamp};

/// Bytes read at once; at least one whole frame fits.
const READ_BYTES: usize = 128 * 1024;
/// Lines decoded at once, and bytes of output looked at before they are counted again: a frame may hold tens of thousands of short
/// lines, and every viewer who is behind holds what was decoded for it.
const ENTRIES_MAX: usize = 2048;
const PIECE_BYTES: usize = 1024;
/// Segments in a row that retention may take away under a reader. A name that nothing can be opened under would else keep it busy.
const VANISHED_MAX: u32 = 64;
/// Segments decoded when a log is opened, so that the newest lines are in memory.
const WARM_SEGMENTS: usize = 2;

/// Lines of them that are kept: as many as the ring in `hub` holds.
const WARM_LINES_MAX: usize = 1000;

/// How the lines of a log become text for viewers.
#[derive(Clone, Debug)]
pub(crate) struct Presentation {
    /// Name in front of the node's own lines.
    pub(crate) app_name: Arc<str>,
    /// Whether commands are shown.
    pub(crate) echo_commands: bool,
}

impl Presentation {
    /// What stands in place of lines that were lost: all numbers of them, why, and how much.
    fn lost(&self, first_line: u64, gap: &GapPayload) -> Line {
        let last_line = first_line.saturating_add(gap.lines).saturating_sub(1);
        let which = match gap.lines {
            1 => format!("line {first_line} was lost"),
            _ => format!("lines {first_line} to {last_line} were lost"),
        };
        let bytes = if gap.bytes > 0 { format!(" ({} bytes)", gap.bytes) } else { String::new() };
        let why = format!("{}{bytes}", reason(gap.reason));
        Line::missing(Seq(first_line), Seq(last_line), &format!("{which}: {why}"), &why, &self.app_name)
    }

    /// What stands in place of lines `from..to`, which retention has deleted.
    pub(crate) fn expired(&self, from: Seq, to: Seq) -> Line {
        let last = Seq(to.0.saturating_sub(1));
        let sentence = format!("lines {from} to {last} are no longer kept");
        Line::missing(from, last, &sentence, "no longer kept", &self.app_name)
    }

    fn line(&self, line: &spool::Line<'_>) -> Line {
        let (seq, said) = (Seq(line.seq), engine::line::text(line.bytes));
        let stamp = stamp(line);
        if stamp.kind == wire::history::LineKind::Input && !self.echo_commands {
            return Line::hidden(seq, stamp, &said, &self.app_name);
        }
        Line::new(seq, stamp, &said, &self.app_name)
    }
}

fn stamp(line: &spool::Line<'_>) -> Stamp {
    match line.kind {
        LineKind::Output => Stamp::output(line.ended_ms),
        LineKind::Note => Stamp::notice(line.ended_ms),
        LineKind::Input { user, .. } => {
            let user = (!user.is_empty()).then(|| Box::from(user));
            Stamp { at_ms: line.ended_ms, kind: wire::history::LineKind::Input, user }
        }
    }
}

fn reason(reason: GapReason) -> String {
    match reason {
        GapReason::DiskFull => "the disk was full".to_owned(),
        GapReason::DiskFailed => "the disk failed".to_owned(),
        GapReason::Damaged => "the log is damaged".to_owned(),
        GapReason::Other(code) => format!("reason {code}, which a newer version knows"),
    }
}

/// What stands in a log, in order.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    /// A line; `output` if the game printed it.
    Line { line: Line, output: bool },
    /// A run began.
    Started(StartPayload),
    /// A run ended.
    Exited(ExitPayload),
}

impl Entry {
    pub(crate) fn into_line(self) -> Option<Line> {
        match self {
            Self::Line { line, .. } => Some(line),
            Self::Started(_) | Self::Exited(_) => None,
        }
    }
}

/// What one look at the end of a log gave.
#[derive(Debug, Default)]
pub(crate) struct News {
    pub(crate) entries: Vec<Entry>,
    /// The number the next line will get; above the last entry's if lines were lost.
    pub(crate) next: Seq,
    /// Whether another look would find more at once.
    pub(crate) more: bool,
    /// What there is of a line of output that has not ended: a prompt, perhaps. Empty if there is none.
    pub(crate) unfinished: String,
}

struct Open {
    name: SegmentName,
    file: File,
    /// Bytes of frames already decoded.
    offset: u64,
    /// Bytes of output already decoded of the frame that begins there.
    within: usize,
}

/// Follows the end of a log.
pub(crate) struct Tail {
    dir: PathBuf,
    splitter: LineSplitter,
    open: Option<Open>,
    buffer: Vec<u8>,
    shown: Shown,
}

/// How events become entries.
struct Shown {
    presentation: Presentation,
    /// Lines below this number are passed over.
    from: Seq,
    /// Something was lost in front of the next line of output, and no whole line of it: that line is to say so.
    torn: Option<GapPayload>,
}

impl Tail {
    /// Begins at the end, and gives the newest lines before it, as many as fit into memory. The folder need not exist yet.
    pub(crate) fn open(dir: &Path, presentation: Presentation) -> io::Result<(Self, Vec<Line>)> {
        let segments = segments(dir)?;
        let start = segments.len().saturating_sub(WARM_SEGMENTS);
        let mut tail = Self::at(dir, presentation, segments.get(start), Seq(0))?;
        let mut newest = VecDeque::new();
        // Decoding is faster than any writer may write, so there is an end to it.
        loop {
            let news = tail.look(u64::MAX)?;
            newest.extend(news.entries.into_iter().filter_map(Entry::into_line));
            // A segment may hold a million lines, and sixteen logs are opened at once.
            newest.drain(..newest.len().saturating_sub(WARM_LINES_MAX));
            if !news.more {
                return Ok((tail, newest.into()));
            }
        }
    }

    /// Begins in front of everything that is kept, without looking: for a log that could not be read.
    pub(crate) fn unread(dir: &Path, presentation: Presentation) -> Self {
        Self {
            dir: dir.to_owned(),
            splitter: LineSplitter::default(),
            open: None,
            buffer: vec![0; READ_BYTES],
            shown: Shown { presentation, from: Seq(0), torn: None },
        }
    }

    /// Begins with this line, or with the oldest one that is kept.
    fn open_at(dir: &Path, presentation: &Presentation, from: Seq) -> io::Result<Self> {
        let mut tries = 0;
        loop {
            let segments = segments(dir)?;
            let start = spool::segment::holding(&segments, from.0).unwrap_or(0);
            tries += 1;
            match Self::at(dir, presentation.clone(), segments.get(start), from) {
                // Retention was faster; the oldest segment is another one by now.
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < VANISHED_MAX => {}
                opened => return opened,
            }
        }
    }

    fn at(dir: &Path, presentation: Presentation, name: Option<&SegmentName>, from: Seq) -> io::Result<Self> {
        let open = match name {
            Some(name) => Some(Open { file: open(dir, name)?, name: *name, offset: 0, within: 0 }),
            None => None,
        };
        let splitter = LineSplitter::new(name.map_or(0, |name| name.base_line));
        let shown = Shown { presentation: presentation.clone(), from, torn: None };
        Ok(Self { splitter, open, shown, ..Self::unread(dir, presentation) })
    }

    /// Decodes what is new. `until` is the position that the writer has announced; a look ends there without asking the
    /// file system for newer segments. `u64::MAX` looks for all there is.
    pub(crate) fn look(&mut self, until: u64) -> io::Result<News> {
        let mut news = News::default();
        let mut looked_again = false;
        loop {
            if self.open.is_none() && !self.advance(&mut news)? {
                break;
            }
            let found = self.decode(&mut news)?;
            if self.pos() >= until {
                break;
            }
            if found {
                news.more = true;
                break;
            }
            // The writer appends to a segment before it makes the next one: once there is a next one, a second look at this
            // one sees everything it will ever hold.
            if self.newer()?.is_none() {
                break;
            }
            if looked_again {
                self.advance(&mut news)?;
            }
            looked_again = !looked_again;
        }
        news.next = Seq(self.splitter.next_line());
        if let Some(unfinished) = self.splitter.unfinished() {
            news.unfinished = engine::line::text(unfinished.bytes).into_owned();
        }
        Ok(news)
    }

    /// The number the next line it decodes will have.
    pub(crate) fn next(&self) -> Seq {
        Seq(self.splitter.next_line())
    }

    fn pos(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| open.name.base_pos + open.offset)
    }

    fn newer(&self) -> io::Result<Option<SegmentName>> {
        let current = self.open.as_ref().map(|open| open.name.base_pos);
        Ok(segments(&self.dir)?.into_iter().find(|name| current.is_none_or(|pos| name.base_pos > pos)))
    }

    fn advance(&mut self, news: &mut News) -> io::Result<bool> {
        let mut tries = 0;
        let (name, file) = loop {
            let Some(name) = self.newer()? else { return Ok(false) };
            tries += 1;
            match open(&self.dir, &name) {
                // Retention was faster; the next one is another one by now.
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < VANISHED_MAX => {}
                file => break (name, file?),
            }
        };
        if self.open.is_none() {
            self.splitter = LineSplitter::new(name.base_line);
        } else {
            let shown = &mut self.shown;
            self.splitter.begin_segment(name.base_line, &mut |event| shown.note(news, event));
        }
        self.open = Some(Open { name, file, offset: 0, within: 0 });
        Ok(true)
    }

    /// Decodes frames until there are enough lines, or no more frames. Whether there was anything.
    fn decode(&mut self, news: &mut News) -> io::Result<bool> {
        let Some(open) = &mut self.open else { return Ok(false) };
        let length = read_at(&open.file, &mut self.buffer, SEGMENT_HEADER_BYTES as u64 + open.offset)?;
        let frames = Frames::new(self.buffer.get(..length).unwrap_or_default(), open.name.base_line);
        let shown = &mut self.shown;
        let mut found = false;
        for frame in frames {
            found = true;
            let is_output = frame.kind == Kind::Out;
            let mut rest = frame.payload.get(open.within..).unwrap_or_default();
            loop {
                // Output is split by its bytes alone, wherever it is cut.
                let (piece, behind) = rest.split_at(if is_output { rest.len().min(PIECE_BYTES) } else { rest.len() });
                self.splitter.feed(&Frame { payload: piece, ..frame }, &mut |event| shown.note(news, event));
                rest = behind;
                if rest.is_empty() {
                    open.offset += frame.bytes();
                    open.within = 0;
                    break;
                }
                if news.entries.len() >= ENTRIES_MAX {
                    open.within = frame.payload.len() - rest.len();
                    return Ok(true);
                }
            }
            if news.entries.len() >= ENTRIES_MAX {
                break;
            }
        }
        Ok(found)
    }
}

impl Shown {
    fn note(&mut self, news: &mut News, event: Event<'_>) {
        match event {
            Event::Line(line) => {
                let output = line.kind == LineKind::Output;
                let torn = if output { self.torn.take() } else { None };
                if line.seq < self.from.0 {
                    return;
                }
                let line = match torn {
                    Some(gap) => {
                        let rest = engine::line::text(line.bytes);
                        let said = format!("({} bytes lost: {}) {rest}", gap.bytes, reason(gap.reason));
                        Line::new(Seq(line.seq), stamp(&line), &said, &self.presentation.app_name)
                    }
                    None => self.presentation.line(&line),
                };
                news.entries.push(Entry::Line { line, output });
            }
            Event::Started { start, .. } => news.entries.push(Entry::Started(start)),
            Event::Exited { exit, .. } => news.entries.push(Entry::Exited(exit)),
            // Without a number of its own it cannot be a line.
            Event::Gap { gap, .. } if gap.lines == 0 => self.torn = (gap.bytes > 0).then_some(gap),
            Event::Gap { first_line, gap, .. } => {
                if first_line.saturating_add(gap.lines) > self.from.0 {
                    let line = self.presentation.lost(first_line, &gap);
                    news.entries.push(Entry::Line { line, output: false });
                }
            }
            Event::Unreadable { kind, .. } => tracing::warn!(?kind, "a frame of a console log makes no sense"),
        }
    }
}

/// Whether a run has printed such a line below `end`. Reads the run from its start on, or from the oldest line that is kept of it,
/// piece by piece.
pub(crate) fn run_has_line(
    dir: &Path,
    run_id: [u8; 16],
    end: Seq,
    is_wanted: impl Fn(&str) -> bool,
) -> io::Result<bool> {
    // Every run begins a segment, which says whose it is.
    let segments = segments(dir)?;
    let mut is_of_run = Vec::new();
    for name in &segments {
        is_of_run.push(matches!(header(dir, name), Ok(Some(header)) if header.run_id == run_id));
    }
    let Some(first) = is_of_run.iter().position(|is_of_run| *is_of_run) else { return Ok(false) };
    let presentation = Presentation { app_name: Arc::from(""), echo_commands: false };
    let mut tail = Tail::at(dir, presentation, segments.get(first), Seq(0))?;
    let mut in_run = true;
    loop {
        let news = tail.look(u64::MAX)?;
        for entry in news.entries {
            match entry {
                Entry::Line { line, output } => {
                    if line.seq() >= end {
                        return Ok(false);
                    }
                    if in_run && output && is_wanted(line.said()) {
                        return Ok(true);
                    }
                }
                Entry::Started(start) => in_run = start.run_id == run_id,
                Entry::Exited(_) => {}
            }
        }
        if !news.more {
            return Ok(false);
        }
    }
}

/// What a segment says of itself; none if it is damaged.
pub(crate) fn header(dir: &Path, name: &SegmentName) -> io::Result<Option<SegmentHeader>> {
    let mut bytes = [0; SEGMENT_HEADER_BYTES];
    let length = read_at(&open(dir, name)?, &mut bytes, 0)?;
    Ok(SegmentHeader::decode(bytes.get(..length).unwrap_or_default()))
}

/// Reads lines that have left memory, for one reader, from one place on: each byte of the log once, however far it is behind.
pub(crate) struct Backlog {
    tail: Tail,
    /// Decoded and not yet handed out; at most what one look gives.
    lines: VecDeque<Line>,
}

impl Backlog {
    /// Begins with this line, or with the oldest one that is kept.
    pub(crate) fn open(dir: &Path, presentation: &Presentation, from: Seq) -> io::Result<Self> {
        Ok(Self { tail: Tail::open_at(dir, presentation, from)?, lines: VecDeque::new() })
    }

    /// The number of the next line it hands out, if that is kept.
    pub(crate) fn next(&self) -> Seq {
        self.lines.front().map_or_else(|| self.tail.next(), Line::since)
    }

    /// The next lines below `to`: at most `lines_max`, up to the first gap. Empty if there are none.
    pub(crate) fn read(&mut self, to: Seq, lines_max: usize) -> io::Result<Vec<Line>> {
        while self.lines.is_empty() && self.tail.next() < to {
            let news = self.tail.look(u64::MAX)?;
            self.lines.extend(news.entries.into_iter().filter_map(Entry::into_line));
            if !news.more {
                break;
            }
        }
        let mut found: Vec<Line> = Vec::new();
        while found.len() < lines_max
            && let Some(line) = self.lines.front()
            && line.seq() < to
            && found.last().is_none_or(|last| last.seq().next() == line.since())
        {
            found.extend(self.lines.pop_front());
        }
        Ok(found)
    }
}

/// Reads one segment as a whole: what its frames say, each with the number that the next line gets then. `next` is the segment
/// behind it, which ends a line that is unfinished there. How many bytes that were.
pub(crate) fn read_segment(
    dir: &Path,
    name: &SegmentName,
    next: Option<&SegmentName>,
    mut on: impl FnMut(Event<'_>, u64),
) -> io::Result<u64> {
    let bytes = std::fs::read(dir.join(name.file_name()))?;
    let mut splitter = LineSplitter::new(name.base_line);
    let mut next_line = name.base_line;
    let mut tell = |event: Event<'_>| {
        match &event {
            Event::Line(line) => next_line = line.seq.saturating_add(1),
            Event::Gap { first_line, gap, .. } => next_line = first_line.saturating_add(gap.lines),
            _ => {}
        }
        on(event, next_line);
    };
    for frame in Frames::new(bytes.get(SEGMENT_HEADER_BYTES..).unwrap_or_default(), name.base_line) {
        splitter.feed(&frame, &mut tell);
    }
    if let Some(next) = next {
        splitter.begin_segment(next.base_line, &mut tell);
    }
    Ok(bytes.len() as u64)
}

/// The oldest line that is kept; none if there is no log yet.
pub(crate) fn oldest(dir: &Path) -> io::Result<Option<Seq>> {
    Ok(segments(dir)?.first().map(|name| Seq(name.base_line)))
}

/// The segments of a log, oldest first; none if there is no log yet.
pub(crate) fn segments(dir: &Path) -> io::Result<Vec<SegmentName>> {
    match spool::segment::list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    }
}

fn open(dir: &Path, name: &SegmentName) -> io::Result<File> {
    File::open(dir.join(name.file_name()))
}

pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + length as u64) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
