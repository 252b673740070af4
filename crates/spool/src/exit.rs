//! The exit file: a small file in the log folder for what has to be kept even if the disk is too full for the log.
//!
//! ```text
//!   0  how the last run ended: ExitRecord; zeros or nothing while a run is under way
//! 512  what an outage has swallowed that no GAP frame names yet: Loss; zeros or nothing if there is none
//! ```
//! Its space is reserved before anything is written to the log, so writing it cannot fail for want of space. Programs that know
//! nothing of the second record read the first one all the same.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::FallocateFlags;

use crate::payload::{ExitPayload, GapPayload, GapReason};
use crate::take::Take;

/// The file's name in the log folder.
pub const FILE_NAME: &str = "exit";

const MAGIC: [u8; 8] = *b"QDEXIT\x01\0";
const RESERVED_BYTES: u64 = 4096;
const RECORD_BYTES_MAX: usize = 512;
const LOSS_MAGIC: [u8; 8] = *b"QDLOSS\x01\0";
const LOSS_AT: u64 = RECORD_BYTES_MAX as u64;
/// Magic, three numbers, reason, checksum.
const LOSS_BYTES: usize = 8 + 3 * 8 + 1 + 4;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitRecord {
    /// The run.
    pub run_id: [u8; 16],
    /// When, unix ms.
    pub time_ms: u64,
    /// End of the log.
    pub pos: u64,
    /// Lines of the log.
    pub line: u64,
    /// The EXIT frame's payload.
    pub exit: ExitPayload,
}

/// What an outage has swallowed, kept for whoever opens the log next: that writer puts the GAP frame in. The outage's own writer
/// does so if it lives to see the disk take something again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// End of the log during the outage. A log that is longer has its GAP frame, because that is the first to be written.
    pub pos: u64,
    /// The number to go on with, behind the lost lines.
    pub next_line: u64,
    /// Lost bytes of output, commands and notices.
    pub bytes: u64,
    /// Why.
    pub reason: GapReason,
}

/// Empties the record of an earlier run. What [`Loss`] says stays.
pub fn reserve(dir: &Path) -> io::Result<File> {
    let file = open(dir)?;
    // Overwritten and not cut off: space that was given back might not be had again.
    if file.metadata()?.len() > 0 {
        file.write_all_at(&[0; RECORD_BYTES_MAX], 0)?;
    }
    Ok(file)
}

/// Opens the file, makes it if it is missing, and reserves its space. A file system that cannot reserve space, or has none, is no
/// error: a record is then written if it fits.
pub(crate) fn open(dir: &Path) -> io::Result<File> {
    let mut options = File::options();
    let file = options.read(true).write(true).create(true).truncate(false).mode(0o640).open(dir.join(FILE_NAME))?;
    let _ = rustix::fs::fallocate(&file, FallocateFlags::KEEP_SIZE, 0, RESERVED_BYTES);
    Ok(file)
}

/// Writes the record into the file that [`reserve`] gave, and waits until it is on the disk.
pub fn write(file: &File, record: &ExitRecord) -> io::Result<()> {
    file.write_all_at(&record.encode(), 0)?;
    file.sync_data()
}

/// Writes what has been swallowed up to now, or that a GAP frame says it.
pub(crate) fn write_loss(file: &File, loss: Option<&Loss>) -> io::Result<()> {
    file.write_all_at(&loss.map_or([0; LOSS_BYTES], Loss::encode), LOSS_AT)
}

/// What an earlier outage has swallowed. `None`: nothing, or the log names it, or the record is damaged.
pub(crate) fn read_loss(file: &File) -> io::Result<Option<Loss>> {
    let mut bytes = [0; LOSS_BYTES];
    let count = file.read_at(&mut bytes, LOSS_AT)?;
    Ok(Loss::decode(bytes.get(..count).unwrap_or_default()))
}

/// The record of the last run. `None`: no run has ended since the last one began, or the record is damaged.
pub fn read(dir: &Path) -> io::Result<Option<ExitRecord>> {
    let file = match File::open(dir.join(FILE_NAME)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = [0; RECORD_BYTES_MAX];
    let count = file.read_at(&mut bytes, 0)?;
    Ok(ExitRecord::decode(bytes.get(..count).unwrap_or_default()))
}

impl ExitRecord {
    /// The record's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&self.run_id);
        bytes.extend_from_slice(&self.time_ms.to_le_bytes());
        bytes.extend_from_slice(&self.pos.to_le_bytes());
        bytes.extend_from_slice(&self.line.to_le_bytes());
        let exit = self.exit.encode();
        bytes.extend_from_slice(&u32::try_from(exit.len()).unwrap_or(0).to_le_bytes());
        bytes.extend_from_slice(&exit);
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    /// `None` if it is too short, of another version, or damaged. More bytes than there should be are passed over.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut take = Take(bytes);
        if take.array()? != MAGIC {
            return None;
        }
        let (run_id, time_ms) = (take.array()?, take.u64()?);
        let (pos, line) = (take.u64()?, take.u64()?);
        let exit = ExitPayload::decode(take.counted()?)?;
        let summed = bytes.get(..bytes.len() - take.rest().len())?;
        (take.u32()? == crc32c::crc32c(summed)).then_some(Self { run_id, time_ms, pos, line, exit })
    }
}

impl Loss {
    /// What to write into a log whose next line has this number.
    pub fn gap(&self, next_line: u64) -> GapPayload {
        GapPayload { bytes: self.bytes, lines: self.next_line.saturating_sub(next_line), reason: self.reason }
    }

    /// The record's bytes.
    pub fn encode(&self) -> [u8; LOSS_BYTES] {
        let mut bytes = Vec::with_capacity(LOSS_BYTES);
        bytes.extend_from_slice(&LOSS_MAGIC);
        bytes.extend_from_slice(&self.pos.to_le_bytes());
        bytes.extend_from_slice(&self.next_line.to_le_bytes());
        bytes.extend_from_slice(&self.bytes.to_le_bytes());
        bytes.push(self.reason.code());
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes.try_into().unwrap_or([0; LOSS_BYTES])
    }

    /// `None` if it is too short, of another version, or damaged. More bytes than there should be are passed over.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut take = Take(bytes);
        if take.array()? != LOSS_MAGIC {
            return None;
        }
        let loss = Self {
            pos: take.u64()?,
            next_line: take.u64()?,
            bytes: take.u64()?,
            reason: GapReason::from_code(take.u8()?),
        };
        let summed = bytes.get(..bytes.len() - take.rest().len())?;
        (take.u32()? == crc32c::crc32c(summed)).then_some(loss)
    }
}
