//! Counting what cannot be written, so that the gap can be named exactly.

use std::time::Instant;

use rustix::io::Errno;

use super::RETRY_AFTER;
use super::file::SegmentFile;
use crate::exit::Loss;
use crate::format::Kind;
use crate::line::LineCounter;
use crate::payload::{GapPayload, GapReason, InPayload};

#[derive(Debug)]
pub(super) struct Outage {
    /// The segment to go on with, if it is sound.
    segment: Option<SegmentFile>,
    reason: GapReason,
    bytes: u64,
    /// Where the numbering would be if nothing had been dropped.
    lines: LineCounter,
    retry_at: Instant,
}

impl Outage {
    /// Begins with nothing dropped. `lines` is where the log ends.
    pub(super) fn new(errno: Errno, lines: LineCounter) -> Self {
        let reason = match errno {
            Errno::NOSPC | Errno::DQUOT | Errno::FBIG => GapReason::DiskFull,
            _ => GapReason::DiskFailed,
        };
        Self { segment: None, reason, bytes: 0, lines, retry_at: Instant::now() + RETRY_AFTER }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn retry_at(&self) -> Instant {
        self.retry_at
    }

    pub(super) fn due(&self) -> bool {
        Instant::now() >= self.retry_at
    }

    pub(super) fn tried(&mut self) {
        self.retry_at = Instant::now() + RETRY_AFTER;
    }

    pub(super) fn keep(&mut self, segment: SegmentFile) {
        self.segment = Some(segment);
    }

    pub(super) fn take_segment(&mut self) -> Option<SegmentFile> {
        self.segment.take()
    }

    /// The same counts without the segment.
    pub(super) fn clone_counts(&self) -> Self {
        Self { segment: None, ..*self }
    }

    pub(super) fn drop_frame(&mut self, kind: Kind, payload: &[u8]) {
        let bytes = match kind {
            Kind::Out | Kind::Note => payload.len(),
            Kind::In => InPayload::decode(payload).map_or(payload.len(), |input| input.bytes.len()),
            Kind::Start | Kind::Exit | Kind::Gap | Kind::Upgraded | Kind::Other(_) => 0,
        };
        self.bytes = self.bytes.saturating_add(bytes as u64);
        self.lines.frame(kind, payload);
    }

    /// Lines between the end of a log that is at `lines`, its line under way ended, and where the numbering would be.
    pub(super) fn lines_lost(&self, mut lines: LineCounter) -> u64 {
        lines.end_unfinished();
        self.lines.next_line().saturating_sub(lines.next_line())
    }

    /// What to write into a log that is at `lines`.
    pub(super) fn gap(&self, lines: LineCounter) -> GapPayload {
        GapPayload { bytes: self.bytes, lines: self.lines_lost(lines), reason: self.reason }
    }
    /// What to remember of it should this writer end first; nothing if nothing was lost. The log is at `pos` and `lines`.
    pub(super) fn loss(&self, pos: u64, mut lines: LineCounter) -> Option<Loss> {
        let lost = self.lines_lost(lines);
        lines.end_unfinished();
        let next_line = lines.next_line().saturating_add(lost);
        (self.bytes > 0 || lost > 0).then_some(Loss { pos, next_line, bytes: self.bytes, reason: self.reason })
    }
}
