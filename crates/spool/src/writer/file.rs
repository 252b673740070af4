//! One segment file being written.

use std::io::IoSlice;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FallocateFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::format::{FrameHeader, Kind, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::segment::SegmentName;

/// Mode of a segment: the daemon's user writes, its group may read.
const SEGMENT_MODE: u32 = 0o640;

#[derive(Debug)]
pub(super) struct SegmentFile {
    pub(super) fd: OwnedFd,
    pub(super) name: SegmentName,
    /// Of the whole file, header included: where the next frame goes.
    pub(super) bytes: u64,
}

impl SegmentFile {
    /// Makes the file, reserves its space and writes the header. One of this name that is there has no frames and is made anew in
    /// place, because readers may have it open: it stays, empty, when this fails. A new file is gone then.
    pub(super) fn create(
        dir: &OwnedFd,
        name: SegmentName,
        header: &SegmentHeader,
        reserve: u64,
    ) -> Result<Self, Errno> {
        let path = name.file_name();
        // Appending, never at an offset: whatever goes wrong, nothing that was written is overwritten.
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(SEGMENT_MODE);
        let (fd, is_new) = match rustix::fs::openat(dir, &path, flags | OFlags::CREATE | OFlags::EXCL, mode) {
            Err(Errno::EXIST) => (rustix::fs::openat(dir, &path, flags | OFlags::TRUNC, mode)?, false),
            made => (made?, true),
        };
        let mut segment = Self { fd, name, bytes: 0 };
        let filled = segment.reserve(reserve).and_then(|()| segment.write(&header.encode(), &[]));
        match filled {
            Ok(()) => {
                segment.bytes = SEGMENT_HEADER_BYTES as u64;
                Ok(segment)
            }
            Err(errno) => {
                if is_new {
                    delete(dir, name);
                } else {
                    let _ = rustix::fs::ftruncate(&segment.fd, 0);
                }
                Err(errno)
            }
        }
    }

    pub(super) fn has_frames(&self) -> bool {
        self.bytes > SEGMENT_HEADER_BYTES as u64
    }

    /// Takes the space now, so that a disk that fills up later cannot stop this segment. Some file systems cannot; then writes fail.
    fn reserve(&self, bytes: u64) -> Result<(), Errno> {
        match rustix::fs::fallocate(&self.fd, FallocateFlags::KEEP_SIZE, 0, bytes) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::FBIG | Errno::INVAL) | Ok(()) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// Writes one frame and returns its bytes. After an error the file may end in a part of it: see [`Self::repaired`].
    pub(super) fn write_frame(&mut self, kind: Kind, payload: &[u8], time_ms: u64, line: u64) -> Result<u64, Errno> {
        let line_offset = line.saturating_sub(self.name.base_line);
        let header = FrameHeader { kind, time_ms, line_offset }.encode(payload);
        self.write(&header, payload)?;
        let bytes = (header.len() + payload.len()) as u64;
        self.bytes += bytes;
        Ok(bytes)
    }

    fn write(&mut self, head: &[u8], payload: &[u8]) -> Result<(), Errno> {
        let total = head.len() + payload.len();
        let mut done = 0;
        while done < total {
            let slices = [
                IoSlice::new(head.get(done..).unwrap_or_default()),
                IoSlice::new(payload.get(done.saturating_sub(head.len())..).unwrap_or_default()),
            ];
            match rustix::io::writev(&self.fd, &slices) {
                // A regular file takes everything or says why not; zero bytes without an error would go on for ever.
                Ok(0) => return Err(Errno::IO),
                Ok(count) => done += count,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Cuts off what a failed write left behind. `None` if even that fails: nothing may be appended here any more.
    pub(super) fn repaired(self) -> Option<Self> {
        rustix::fs::ftruncate(&self.fd, self.bytes).is_ok().then_some(self)
    }

    /// Gives back reserved space behind the last frame.
    pub(super) fn release_reserved(&self) {
        let _ = rustix::fs::ftruncate(&self.fd, self.bytes);
    }
}

/// Size of a segment on the disk.
pub(super) fn size(dir: &OwnedFd, name: SegmentName) -> Option<u64> {
    let stat = rustix::fs::statat(dir, name.file_name(), AtFlags::SYMLINK_NOFOLLOW).ok()?;
    u64::try_from(stat.st_size).ok()
}

/// Makes a segment end at this byte.
pub(super) fn cut(dir: &OwnedFd, name: SegmentName, bytes: u64) -> Result<(), Errno> {
    let fd = rustix::fs::openat(dir, name.file_name(), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::fs::ftruncate(&fd, bytes)
}

/// Deletes a segment; whether it is gone.
pub(super) fn delete(dir: &OwnedFd, name: SegmentName) -> bool {
    matches!(rustix::fs::unlinkat(dir, name.file_name(), AtFlags::empty()), Ok(()) | Err(Errno::NOENT))
}
