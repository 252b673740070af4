//! The exit record: a small file in the log folder that says how the last run ended, even if the disk was too full for the log.
//!
//! Its space is reserved before a run, so writing it cannot fail for want of space. It is empty while a run is under way.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::FallocateFlags;

use crate::payload::ExitPayload;
use crate::take::Take;

/// The file's name in the log folder.
pub const FILE_NAME: &str = "exit";

const MAGIC: [u8; 8] = *b"QDEXIT\x01\0";
const RESERVED_BYTES: u64 = 4096;
const RECORD_BYTES_MAX: usize = 512;

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

/// Empties the record of an earlier run and reserves the space of the next one. A file system that cannot reserve space, or has
/// none, is no error: the record is then written if it fits.
pub fn reserve(dir: &Path) -> io::Result<File> {
    let file = File::options().write(true).create(true).truncate(true).mode(0o640).open(dir.join(FILE_NAME))?;
    let _ = rustix::fs::fallocate(&file, FallocateFlags::KEEP_SIZE, 0, RESERVED_BYTES);
    Ok(file)
}

/// Writes the record into the file that [`reserve`] gave, and waits until it is on the disk.
pub fn write(file: &File, record: &ExitRecord) -> io::Result<()> {
    file.write_all_at(&record.encode(), 0)?;
    file.sync_data()
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
    fn encode(&self) -> Vec<u8> {
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

    fn decode(bytes: &[u8]) -> Option<Self> {
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
