//! The one writer of a log: frames into segments, old segments out, and no error ever back to whoever prints.
//!
//! ```text
//!            a write fails, or no new segment can be made
//!   Open ───────────────────────────────────────────────▶ Outage: everything is dropped and counted
//!    ▲                                                      │
//!    └──────────── at most once a second: GAP written ◀─────┘
//! ```
//! What an outage has swallowed is also kept beside the log ([`crate::exit::Loss`]), from its beginning and each second. So if it
//! outlasts its writer, the next one writes the GAP.
//!
//!
//! A full disk cannot hit a segment half way: its space is reserved when it is made. When no space is left for the next one,
//! the log deletes its own oldest segment and tries again before it gives up.

mod file;
mod opening;
mod outage;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use self::file::SegmentFile;
use self::opening::{lock, recover};
use self::outage::Outage;
use crate::exit::{self, Loss};
use crate::format::{self, FRAME_BYTES_MAX, Kind, LINE_OFFSET_MAX, PAYLOAD_BYTES_MAX, SEGMENT_HEADER_BYTES};
use crate::line::{LINE_BYTES_MAX, LineCounter};
use crate::payload::{ExitPayload, InPayload, StartPayload};
use crate::segment::{self, SegmentName};

/// Name of the file in the log folder whose lock the writer holds.
pub const LOCK_FILE_NAME: &str = "lock";
/// Size of a segment unless the limits say otherwise. Reading from a line on decodes at most one of them in vain.
pub const SEGMENT_BYTES_DEFAULT: u64 = 1024 * 1024;
/// What is kept of a log unless the limits say otherwise.
pub const RETAIN_BYTES_DEFAULT: u64 = 64 * 1024 * 1024;
/// Smallest and largest segment; limits outside are moved to the nearer one.
pub const SEGMENT_BYTES_RANGE: (u64, u64) = (1024, 256 * 1024 * 1024);
/// How far a segment may pass its size to end with a line. Behind that it ends within one.
pub const SEGMENT_OVERFLOW_BYTES_MAX: u64 = (LINE_BYTES_MAX + FRAME_BYTES_MAX) as u64;
/// Segments that retention leaves alone, the current one included.
pub const SEGMENTS_MIN: usize = 2;
/// Written bytes reach the disk after at most this long, if [`Writer::tick`] is called when [`Writer::next_tick`] says.
pub const SYNC_AFTER: Duration = Duration::from_secs(5);
/// Time between two attempts to write again after a failure.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How many of its own segments the log deletes to make room for one new one.
const SACRIFICE_MAX: usize = 4;
/// A segment counts at least as this part of a full one, so that thousands of short runs do not leave thousands of files.
const SEGMENT_WEIGHT_DIVISOR: u64 = 16;
/// Sizes of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes after which a segment ends at the next line end. Moved into [`SEGMENT_BYTES_RANGE`].
    pub segment_bytes: u64,
    /// Bytes of all segments together, the current one counted as full. Oldest segments go first; [`SEGMENTS_MIN`] always stay.
    pub retain_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { segment_bytes: SEGMENT_BYTES_DEFAULT, retain_bytes: RETAIN_BYTES_DEFAULT }
    }
}

/// Why a log cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Somebody else writes it: a shim whose game runs, or a daemon.
    #[error("the log in {} is being written by another process", .dir.display())]
    Locked {
        /// The log folder.
        dir: PathBuf,
    },
    /// A newer program wrote it.
    #[error("the log in {} has format version {version}; this program writes version 1", .dir.display())]
    Newer {
        /// The log folder.
        dir: PathBuf,
        /// The version found.
        version: u8,
    },
    /// The system refused something.
    #[error("cannot {action} in {}: {source}", .dir.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The log folder.
        dir: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// What became of something given to the writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a dropped notice may have to be said elsewhere"]
pub enum Written {
    /// It is in the log.
    Kept,
    /// The disk takes nothing at the moment: it is counted, and a GAP frame will say so.
    Dropped,
}

/// What has been dropped since the writer was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Bytes of output, commands and notices.
    pub bytes: u64,
    /// Lines that have no place in the log.
    pub lines: u64,
}

/// A segment that is on the disk.
#[derive(Clone, Copy, Debug)]
struct Held {
    name: SegmentName,
    bytes: u64,
}

#[derive(Debug)]
enum Sink {
    Open(SegmentFile),
    Outage(Outage),
}

/// Writes a log. See the module for what happens when the disk does not want to.
///
/// Must not be dropped in a forked child that ends before its parent: dropping gives back reserved space behind what *this*
/// writer has written.
#[derive(Debug)]
pub struct Writer {
    dir: OwnedFd,
    _lock: OwnedFd,
    /// Keeps what an outage has swallowed.
    exit_file: File,
    limits: Limits,
    run_id: [u8; 16],
    pos: u64,
    lines: LineCounter,
    /// Oldest first; the last one is the current one.
    held: VecDeque<Held>,
    sink: Sink,
    losses: Losses,
    /// Since when there is something that may not be on the disk.
    dirty_since: Option<Instant>,
}

/// Whether somebody writes this log. Takes the lock for a moment if nobody does; [`Writer::open`] is patient enough for that.
/// A missing folder or lock file counts as nobody.
pub fn is_locked(dir: &Path) -> io::Result<bool> {
    let file = match std::fs::File::open(dir.join(LOCK_FILE_NAME)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(errno) => Err(errno.into()),
    }
}

impl Writer {
    /// Takes the log's lock, finds the end of what was written, cuts off what was written only in part, and begins a new
    /// segment. Names what the writer before lost and could not name. Makes the folder if it is missing. Waits up to 50 ms for
    /// the lock.
    pub fn open(dir: &Path, limits: Limits, run_id: [u8; 16], now_ms: u64) -> Result<Self, OpenError> {
        let failed = |action| move |errno: Errno| OpenError::Io { action, dir: dir.to_owned(), source: errno.into() };
        let failed_io = |action| move |source: io::Error| OpenError::Io { action, dir: dir.to_owned(), source };
        std::fs::create_dir_all(dir).map_err(failed_io("make the log folder"))?;
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(dir, flags, Mode::empty()).map_err(failed("open the log folder"))?;
        let lock = lock(&fd, dir)?;
        let exit_file = exit::open(dir).map_err(failed_io("open the exit file"))?;
        let loss = exit::read_loss(&exit_file).map_err(failed_io("read the exit file"))?;
        let names = segment::list(dir).map_err(failed_io("list the log's segments"))?;
        let mut held: VecDeque<Held> =
            names.iter().map(|&name| Held { name, bytes: file::size(&fd, name).unwrap_or(0) }).collect();
        let (pos, line) = match held.back_mut() {
            None => (0, 0),
            Some(last) => {
                let end = recover(&fd, last.name, dir)?;
                last.bytes = end.bytes;
                if end.bytes <= SEGMENT_HEADER_BYTES as u64 {
                    held.pop_back();
                }
                (end.pos, end.line)
            }
        };
        let limits = Limits {
            segment_bytes: limits.segment_bytes.clamp(SEGMENT_BYTES_RANGE.0, SEGMENT_BYTES_RANGE.1),
            ..limits
        };
        let name = SegmentName { base_pos: pos, base_line: line };
        let first = make_segment(&fd, &mut held, name, limits, run_id, now_ms)
            .map_err(failed("make a new segment of the log"))?;
        let mut writer = Self {
            dir: fd,
            _lock: lock,
            exit_file,
            limits,
            run_id,
            pos,
            lines: LineCounter::new(line),
            held,
            sink: Sink::Open(first),
            losses: Losses::default(),
            dirty_since: None,
        };
        if let Some(loss) = loss {
            writer.name_loss(&loss, now_ms).map_err(failed("name what the writer before could not keep"))?;
        }
        writer.retain();
        Ok(writer)
    }

    /// End of the log: `(pos, line)`, where `line` counts the lines that have ended.
    pub fn position(&self) -> (u64, u64) {
        (self.pos, self.lines.next_line())
    }

    /// What could not be kept so far, an outage that lasts included.
    pub fn losses(&self) -> Losses {
        match &self.sink {
            Sink::Open(_) => self.losses,
            Sink::Outage(outage) => Losses {
                bytes: self.losses.bytes.saturating_add(outage.bytes()),
                lines: self.losses.lines.saturating_add(outage.lines_lost(self.lines)),
            },
        }
    }

    /// A burst of the game's output. One system call, unless it has to be cut for its size or for a new segment.
    pub fn append_out(&mut self, mut bytes: &[u8], time_ms: u64) -> Written {
        let mut written = Written::Kept;
        while !bytes.is_empty() {
            let (burst, _) = bytes.split_at(bytes.len().min(PAYLOAD_BYTES_MAX));
            let (count, part) = self.append_part(burst, time_ms);
            if part == Written::Dropped {
                written = part;
            }
            bytes = bytes.get(count..).unwrap_or_default();
        }
        written
    }

    /// A command. Longer than a frame: cut.
    pub fn append_in(&mut self, input: &InPayload<'_>, time_ms: u64) -> Written {
        self.append(Kind::In, &input.encode(), time_ms)
    }

    /// A line of the node's own. Longer than a frame: cut.
    pub fn append_note(&mut self, text: &[u8], time_ms: u64) -> Written {
        self.append(Kind::Note, text.get(..PAYLOAD_BYTES_MAX).unwrap_or(text), time_ms)
    }

    /// The beginning of a run.
    pub fn append_start(&mut self, start: &StartPayload, time_ms: u64) -> Written {
        self.append(Kind::Start, &start.encode(), time_ms)
    }

    /// The end of a run. During an outage the disk is asked at once: there may be no later.
    pub fn append_exit(&mut self, exit: &ExitPayload, time_ms: u64) -> Written {
        self.resume(time_ms);
        self.append(Kind::Exit, &exit.encode(), time_ms)
    }

    /// When [`Writer::tick`] has something to do, if at all.
    pub fn next_tick(&self) -> Option<Instant> {
        let sync = self.dirty_since.map(|since| since + SYNC_AFTER);
        let retry = match &self.sink {
            Sink::Open(_) => None,
            Sink::Outage(outage) => Some(outage.retry_at()),
        };
        [sync, retry].into_iter().flatten().min()
    }

    /// Does what is due: bring written bytes to the disk, try to write again after an outage.
    pub fn tick(&mut self, time_ms: u64) {
        self.resume_if_due(time_ms);
        if self.dirty_since.is_some_and(|since| since.elapsed() >= SYNC_AFTER) {
            self.sync();
        }
    }

    /// Brings everything to the disk. A failure to do so changes nothing for us: the bytes stay readable as long as the
    /// machine runs, and a disk that failed will fail the next write too.
    pub fn sync(&mut self) {
        if self.dirty_since.take().is_none() {
            return;
        }
        if let Sink::Open(segment) = &self.sink {
            let _ = rustix::fs::fdatasync(&segment.fd);
        }
        let _ = rustix::fs::fsync(&self.dir);
    }

    fn append_part(&mut self, burst: &[u8], time_ms: u64) -> (usize, Written) {
        self.resume_if_due(time_ms);
        let part = match &self.sink {
            Sink::Open(segment) if segment.bytes >= self.limits.segment_bytes => {
                // The segment is full: write up to the end of the line under way, then begin the next segment.
                let rest = if self.lines.unfinished_bytes() == 0 { Some(0) } else { self.lines.rest_of_line(burst) };
                burst.get(..rest.unwrap_or(burst.len())).unwrap_or(burst)
            }
            _ => burst,
        };
        if part.is_empty() {
            self.roll(time_ms);
            return (burst.len(), self.append(Kind::Out, burst, time_ms));
        }
        (part.len(), self.append(Kind::Out, part, time_ms))
    }

    fn append(&mut self, kind: Kind, payload: &[u8], time_ms: u64) -> Written {
        self.resume_if_due(time_ms);
        if let Sink::Open(segment) = &self.sink {
            let full = segment.bytes >= self.limits.segment_bytes;
            let overfull = segment.bytes >= self.limits.segment_bytes + SEGMENT_OVERFLOW_BYTES_MAX;
            let between_lines = self.lines.unfinished_bytes() == 0;
            let numbers_used_up = self.lines.next_line() - segment.name.base_line > LINE_OFFSET_MAX;
            if (full && between_lines) || overfull || numbers_used_up {
                self.roll(time_ms);
            }
        }
        match &mut self.sink {
            Sink::Outage(outage) => {
                outage.drop_frame(kind, payload);
                Written::Dropped
            }
            Sink::Open(segment) => match segment.write_frame(kind, payload, time_ms, self.lines.next_line()) {
                Ok(bytes) => {
                    self.wrote(kind, payload, bytes);
                    Written::Kept
                }
                Err(errno) => {
                    self.fail(errno, |outage| outage.drop_frame(kind, payload));
                    self.keep_loss();
                    Written::Dropped
                }
            },
        }
    }

    fn wrote(&mut self, kind: Kind, payload: &[u8], bytes: u64) {
        self.pos += bytes;
        self.lines.frame(kind, payload);
        if let Some(current) = self.held.back_mut() {
            current.bytes += bytes;
        }
        self.dirty_since.get_or_insert_with(Instant::now);
    }

    /// Begins an outage with what could not be written.
    fn fail(&mut self, errno: Errno, dropped: impl FnOnce(&mut Outage)) {
        let mut outage = Outage::new(errno, self.lines);
        dropped(&mut outage);
        if let Sink::Open(segment) = std::mem::replace(&mut self.sink, Sink::Outage(outage))
            && let Some(segment) = segment.repaired()
            && let Sink::Outage(outage) = &mut self.sink
        {
            outage.keep(segment);
        }
    }

    /// Ends the current segment, and the line under way with it, and begins the next one; or begins an outage.
    fn roll(&mut self, time_ms: u64) {
        if let Sink::Open(segment) = &self.sink {
            let _ = rustix::fs::fdatasync(&segment.fd);
            // Before the next one is made: it may be just the space that is missing.
            segment.release_reserved();
        }
        if let Err(errno) = self.next_segment(time_ms) {
            self.fail(errno, |_| {});
        }
    }

    fn next_segment(&mut self, time_ms: u64) -> Result<(), Errno> {
        let mut lines = self.lines;
        lines.end_unfinished();
        let name = SegmentName { base_pos: self.pos, base_line: lines.next_line() };
        let segment = make_segment(&self.dir, &mut self.held, name, self.limits, self.run_id, time_ms)?;
        self.lines = lines;
        self.sink = Sink::Open(segment);
        self.dirty_since.get_or_insert_with(Instant::now);
        self.retain();
        Ok(())
    }

    fn resume_if_due(&mut self, time_ms: u64) {
        if let Sink::Outage(outage) = &self.sink
            && outage.due()
        {
            self.resume(time_ms);
        }
    }

    /// Tries to end an outage, if there is one.
    fn resume(&mut self, time_ms: u64) {
        let Sink::Outage(outage) = &mut self.sink else { return };
        let (lines, limits) = (self.lines, self.limits);
        let gap = outage.gap(lines);
        // The old segment takes the gap if it has room; after a failed roll it has none.
        if let Some(mut segment) = outage.take_segment() {
            let has_room =
                segment.bytes < limits.segment_bytes && lines.next_line() - segment.name.base_line <= LINE_OFFSET_MAX;
            if has_room && let Ok(bytes) = segment.write_frame(Kind::Gap, &gap.encode(), time_ms, lines.next_line()) {
                self.sink = Sink::Open(segment);
                self.wrote(Kind::Gap, &gap.encode(), bytes);
                self.gap_written(gap.bytes, gap.lines);
                return;
            }
            // One without frames is not kept: the next one has its name, and is made in the same file.
            if segment.has_frames()
                && let Some(segment) = segment.repaired()
            {
                outage.keep(segment);
            }
        }
        let Sink::Outage(outage) = &mut self.sink else { return };
        outage.tried();
        let counts = outage.clone_counts();
        if self.next_segment(time_ms).is_ok() {
            self.finish_in_new_segment(counts, time_ms);
        }
        self.keep_loss();
    }

    fn finish_in_new_segment(&mut self, outage: Outage, time_ms: u64) {
        let gap = outage.gap(self.lines);
        let Sink::Open(segment) = &mut self.sink else { return };
        match segment.write_frame(Kind::Gap, &gap.encode(), time_ms, self.lines.next_line()) {
            Ok(bytes) => {
                self.wrote(Kind::Gap, &gap.encode(), bytes);
                self.gap_written(gap.bytes, gap.lines);
            }
            Err(errno) => self.fail(errno, |fresh| *fresh = outage),
        }
    }

    fn gap_written(&mut self, bytes: u64, lines: u64) {
        self.losses.bytes = self.losses.bytes.saturating_add(bytes);
        self.losses.lines = self.losses.lines.saturating_add(lines);
        self.forget_loss();
    }

    /// Writes the GAP of an outage that its writer did not see the end of, unless it stands there.
    fn name_loss(&mut self, loss: &Loss, time_ms: u64) -> Result<(), Errno> {
        if self.pos <= loss.pos
            && let Sink::Open(segment) = &mut self.sink
        {
            let line = self.lines.next_line();
            let payload = loss.gap(line).encode();
            let bytes = segment.write_frame(Kind::Gap, &payload, time_ms, line)?;
            self.wrote(Kind::Gap, &payload, bytes);
            self.sync();
        }
        self.forget_loss();
        Ok(())
    }

    /// Leaves word of an outage for the next writer, should this one not see its end.
    fn keep_loss(&self) {
        if let Sink::Outage(outage) = &self.sink
            && let Some(loss) = outage.loss(self.pos, self.lines)
        {
            // A disk that does not even take this has failed for good.
            let _ = exit::write_loss(&self.exit_file, Some(&loss));
        }
    }

    fn forget_loss(&self) {
        // If it fails, the log's end says the same: it is behind where the loss was.
        let _ = exit::write_loss(&self.exit_file, None);
    }

    /// Deletes the oldest segments until the log is within its size.
    fn retain(&mut self) {
        let weight_min = self.limits.segment_bytes / SEGMENT_WEIGHT_DIVISOR;
        let older: u64 = self.held.iter().rev().skip(1).map(|held| held.bytes.max(weight_min)).sum();
        let mut total = older.saturating_add(self.limits.segment_bytes);
        while total > self.limits.retain_bytes && self.held.len() > SEGMENTS_MIN {
            let Some(oldest) = self.held.front().copied() else { return };
            if !file::delete(&self.dir, oldest.name) {
                return;
            }
            self.held.pop_front();
            total = total.saturating_sub(oldest.bytes.max(weight_min));
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.sync();
        match &self.sink {
            Sink::Open(segment) => segment.release_reserved(),
            Sink::Outage(_) => {
                self.keep_loss();
                let _ = self.exit_file.sync_data();
            }
        }
    }
}

/// Makes a segment, and room for it at the cost of the oldest ones if there is none.
fn make_segment(
    dir: &OwnedFd,
    held: &mut VecDeque<Held>,
    name: SegmentName,
    limits: Limits,
    run_id: [u8; 16],
    now_ms: u64,
) -> Result<SegmentFile, Errno> {
    // A segment of this name can only be one that has no whole frame: the position would be another one otherwise.
    held.pop_back_if(|last| last.name == name);
    let header =
        format::SegmentHeader { base_pos: name.base_pos, base_line: name.base_line, created_ms: now_ms, run_id };
    let reserve = limits.segment_bytes + SEGMENT_OVERFLOW_BYTES_MAX + FRAME_BYTES_MAX as u64;
    let mut sacrificed = 0;
    loop {
        match SegmentFile::create(dir, name, &header, reserve) {
            Ok(segment) => {
                held.push_back(Held { name, bytes: segment.bytes });
                return Ok(segment);
            }
            Err(errno @ (Errno::NOSPC | Errno::DQUOT)) => {
                // The newest whole segment stays: it is what people are reading.
                let Some(oldest) = held.front().filter(|_| held.len() > 1 && sacrificed < SACRIFICE_MAX) else {
                    return Err(errno);
                };
                if !file::delete(dir, oldest.name) {
                    return Err(errno);
                }
                held.pop_front();
                sacrificed += 1;
            }
            Err(errno) => return Err(errno),
        }
    }
}
