//! A text in everything that is kept of a console, newest first.
//!
//! Nearly no segment has the text. So each is *scanned* first: its frames are taken one behind the other in a small buffer, without
//! checksums and without making lines, and `engine::search` is asked whether a line of them may have it. What a scan does not rule
//! out is *read*, as everywhere. A scan looks at every frame that reading gives, and what is behind a damaged one besides; so it can
//! only be wrong by saying that there may be something.

use std::fs::File;
use std::io;
use std::path::Path;

use engine::search::Needle;
use spool::format::SEGMENT_HEADER_BYTES;
use spool::line::LINE_BYTES_MAX;
use spool::{Event, Frame, Frames, InPayload, Kind, SegmentName, Tail};
use tokio_util::sync::CancellationToken;
use wire::history::{ConsoleMatch, ConsoleMatches};
use wire::ids::Seq;

use crate::log;

/// Bytes of log that one search looks at; it says where it stopped. When there is something to tell, it is told earlier.
const SEARCH_BYTES_MAX: u64 = 64 * 1024 * 1024;
const SEARCH_BYTES_FOUND_MAX: u64 = 16 * 1024 * 1024;
/// Bytes scanned at once: at least one whole frame, and not more than stays in a core's own cache.
const SCAN_BYTES: usize = 128 * 1024;

/// What to look for.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    needle: Needle,
    limit: usize,
}

impl Query {
    /// Finds a text anywhere in a line. None if it is too long to look for.
    pub(crate) fn new(text: &str, is_case_told_apart: bool, limit: usize) -> Option<Self> {
        Some(Self { needle: Needle::new(text, is_case_told_apart)?, limit })
    }
}

/// An error if nobody wants the answer any more.
fn still_wanted(unwanted: &CancellationToken) -> io::Result<()> {
    if unwanted.is_cancelled() { Err(io::Error::other("nobody waits for it any more")) } else { Ok(()) }
}

/// The newest matches below `before`. A segment is looked at as a whole, so there may be more lines searched than told.
pub(crate) fn search(
    dir: &Path,
    query: &Query,
    before: Seq,
    unwanted: &CancellationToken,
) -> io::Result<ConsoleMatches> {
    let segments = log::segments(dir)?;
    let below = segments.iter().filter(|name| name.base_line < before.0).count();
    let mut found = ConsoleMatches { searched_to: before.0, complete: true, ..ConsoleMatches::default() };
    let mut looked_at = 0;
    let mut buffer = vec![0; SCAN_BYTES];
    for (index, name) in segments.iter().enumerate().take(below).rev() {
        still_wanted(unwanted)?;
        let mut matches = Vec::new();
        let looked = match Scan::new(&query.needle).segment(dir, name, &mut buffer) {
            Ok(Scanned { may_have_it: true, .. }) => {
                read(dir, name, segments.get(index + 1), query, before, &mut matches)
            }
            other => other.map(|scanned| scanned.bytes),
        };
        let bytes = match looked {
            Ok(bytes) => bytes,
            // Retention was faster: what is older is gone as well.
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        };
        found.searched_to = name.base_line;
        while let Some(newest) = matches.pop() {
            if found.matches.len() == query.limit {
                // One more than asked for says that there are more.
                found.searched_to = found.matches.last().map_or(before.0, |last| last.seq);
                found.complete = false;
                return Ok(found);
            }
            found.matches.push(newest);
        }
        looked_at += bytes;
        let enough = if found.matches.is_empty() { SEARCH_BYTES_MAX } else { SEARCH_BYTES_FOUND_MAX };
        if looked_at >= enough && index > 0 {
            found.complete = false;
            break;
        }
    }
    Ok(found)
}

/// Adds what one segment has below `before`, oldest first. How many bytes that were.
fn read(
    dir: &Path,
    name: &SegmentName,
    next: Option<&SegmentName>,
    query: &Query,
    before: Seq,
    matches: &mut Vec<ConsoleMatch>,
) -> io::Result<u64> {
    log::read_segment(dir, name, next, |event, _| {
        if let Event::Line(line) = event
            && line.seq < before.0
            && let Some(text) = query.needle.found_in(line.bytes)
        {
            matches.push(ConsoleMatch { seq: line.seq, at: line.ended_ms, text });
        }
    })
}

/// What is known of a segment.
struct Scanned {
    /// Whether a line of it may have the text. No is certain.
    may_have_it: bool,
    /// Its length, if it was looked at to its end.
    bytes: u64,
}

/// Looks at the frames of one segment.
struct Scan<'a> {
    needle: &'a Needle,
    /// Output behind the last line end.
    unfinished: Vec<u8>,
}

impl<'a> Scan<'a> {
    fn new(needle: &'a Needle) -> Self {
        Self { needle, unfinished: Vec::new() }
    }

    fn segment(mut self, dir: &Path, name: &SegmentName, buffer: &mut [u8]) -> io::Result<Scanned> {
        let file = File::open(dir.join(name.file_name()))?;
        let (mut bytes, mut held, mut skipped) = (0, 0, SEGMENT_HEADER_BYTES);
        loop {
            let length = log::read_at(&file, buffer.get_mut(held..).unwrap_or_default(), bytes)?;
            bytes += length as u64;
            held += length;
            let mut frames = Frames::unverified(buffer.get(skipped..held).unwrap_or_default(), name.base_line);
            for frame in &mut frames {
                if self.may_be_in(&frame) {
                    return Ok(Scanned { may_have_it: true, bytes });
                }
            }
            if length == 0 || frames.tail() == Tail::Bad {
                // Reading goes on in another segment, which ends the line.
                return Ok(Scanned { may_have_it: self.may_be_in_unfinished(), bytes: file.metadata()?.len() });
            }
            let looked_at = (skipped + frames.consumed()).min(held);
            buffer.copy_within(looked_at..held, 0);
            (held, skipped) = (held - looked_at, 0);
        }
    }

    /// Whether a line that ends in this frame may have the text. Lines end here where `spool::line` has them end, or later.
    fn may_be_in(&mut self, frame: &Frame<'_>) -> bool {
        match frame.kind {
            Kind::Out => self.may_be_in_output(frame.payload),
            Kind::In => {
                let typed = InPayload::decode(frame.payload).map_or(frame.payload, |input| input.bytes);
                self.needle.found_in(typed).is_some()
            }
            Kind::Note => self.needle.found_in(frame.payload).is_some(),
            Kind::Start | Kind::Exit | Kind::Gap => self.may_be_in_unfinished(),
            Kind::Upgraded | Kind::Other(_) => false,
        }
    }

    fn may_be_in_output(&mut self, mut output: &[u8]) -> bool {
        if !self.unfinished.is_empty() {
            let end = output.iter().position(|&byte| byte == b'\n');
            let (rest, behind) = output.split_at(end.map_or(output.len(), |end| end + 1));
            self.unfinished.extend_from_slice(rest);
            output = behind;
            if self.unfinished.len() > LINE_BYTES_MAX || (end.is_some() && self.may_be_in_unfinished()) {
                return true;
            }
        }
        let whole = output.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        let (lines, rest) = output.split_at(whole);
        self.unfinished.extend_from_slice(rest);
        self.needle.may_be_in(lines)
    }

    fn may_be_in_unfinished(&mut self) -> bool {
        let may_have_it = self.needle.may_be_in(&self.unfinished);
        self.unfinished.clear();
        may_have_it
    }
}

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;
