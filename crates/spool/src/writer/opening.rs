//! What a writer does before it writes: take the lock, find the end of the log.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::{LOCK_FILE_NAME, OpenError, file};
use crate::format::{self, Frames, SEGMENT_HEADER_BYTES};
use crate::line::LineCounter;
use crate::segment::SegmentName;

/// How often, and how far apart, a held lock is tried: somebody may just be looking whether it is held.
const LOCK_TRIES: u32 = 10;
const LOCK_TRY_EVERY: Duration = Duration::from_millis(5);

/// Takes the log's lock. Somebody who just looks whether it is held is waited for.
pub(super) fn lock(dir_fd: &OwnedFd, dir: &Path) -> Result<OwnedFd, OpenError> {
    let io = |action, errno: Errno| OpenError::Io { action, dir: dir.to_owned(), source: errno.into() };
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    let lock = rustix::fs::openat(dir_fd, LOCK_FILE_NAME, flags, Mode::from_raw_mode(0o640))
        .map_err(|errno| io("open the lock", errno))?;
    for attempt in 1.. {
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => break,
            Err(Errno::WOULDBLOCK) if attempt < LOCK_TRIES => std::thread::sleep(LOCK_TRY_EVERY),
            Err(Errno::WOULDBLOCK) => return Err(OpenError::Locked { dir: dir.to_owned() }),
            Err(errno) => return Err(io("lock the log", errno)),
        }
    }
    Ok(lock)
}

/// End of the log, where its newest segment ends.
pub(super) struct End {
    pub(super) pos: u64,
    pub(super) line: u64,
    /// Of the whole file.
    pub(super) bytes: u64,
}

/// Finds the end of the newest segment, and cuts off a frame that was written only in part.
pub(super) fn recover(dir_fd: &OwnedFd, name: SegmentName, dir: &Path) -> Result<End, OpenError> {
    let io = |action, source| OpenError::Io { action, dir: dir.to_owned(), source };
    let bytes = std::fs::read(dir.join(name.file_name())).map_err(|source| io("read the newest segment", source))?;
    // The name says all the header does; a damaged header is no reason to give up the frames behind it.
    if let Some(version) = format::version(&bytes).filter(|&version| version != format::VERSION) {
        return Err(OpenError::Newer { dir: dir.to_owned(), version });
    }
    let mut lines = LineCounter::new(name.base_line);
    let mut frames = Frames::new(bytes.get(SEGMENT_HEADER_BYTES..).unwrap_or_default(), name.base_line);
    for frame in frames.by_ref() {
        lines.frame(frame.kind, frame.payload);
    }
    lines.end_unfinished();
    let consumed = frames.consumed() as u64;
    let end =
        End { pos: name.base_pos + consumed, line: lines.next_line(), bytes: SEGMENT_HEADER_BYTES as u64 + consumed };
    // One without frames is made anew under the same name: whoever has it open goes on reading the same file.
    if consumed > 0 {
        file::cut(dir_fd, name, end.bytes).map_err(|errno| io("cut the newest segment", errno.into()))?;
    }
    Ok(end)
}
