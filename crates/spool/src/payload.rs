//! What stands in the frames that are not plain bytes. Decoders take longer payloads than they know and ignore the rest.

use std::str;

use crate::format::PAYLOAD_BYTES_MAX;
use crate::take::{Take, shorten};

/// Longest user name kept with a command; a longer one is cut between two characters.
pub const USER_BYTES_MAX: usize = 255;

/// A command, as it stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InPayload<'a> {
    /// Who asked, chosen by the daemon; 0 when the shim itself wrote it (a stop command).
    pub request_id: u64,
    /// Who typed it; empty if nobody is named. At most [`USER_BYTES_MAX`] bytes are kept.
    pub user: &'a str,
    /// The command without the newline that ended it.
    pub bytes: &'a [u8],
}

impl<'a> InPayload<'a> {
    /// The payload's bytes. A command that would not fit into one frame is cut.
    pub fn encode(&self) -> Vec<u8> {
        let user = shorten(self.user, USER_BYTES_MAX).as_bytes();
        let mut bytes = Vec::with_capacity(9 + user.len() + self.bytes.len());
        bytes.extend_from_slice(&self.request_id.to_le_bytes());
        bytes.push(u8::try_from(user.len()).unwrap_or(u8::MAX));
        bytes.extend_from_slice(user);
        bytes.extend_from_slice(self.bytes);
        bytes.truncate(PAYLOAD_BYTES_MAX);
        bytes
    }

    /// `None` if the payload is too short for its own fields or the name is not text.
    pub fn decode(payload: &'a [u8]) -> Option<Self> {
        let mut take = Take(payload);
        let request_id = take.u64()?;
        let length = usize::from(take.u8()?);
        let user = str::from_utf8(take.bytes(length)?).ok()?;
        Some(Self { request_id, user, bytes: take.rest() })
    }
}

/// The beginning of a run, or of an attempt at one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StartPayload {
    /// The game's main process, in the shim's pid namespace.
    pub pid: u32,
    /// Its start time in clock ticks since boot (`/proc/<pid>/stat`, field 22), 0 if unknown: tells a reused pid.
    pub start_ticks: u64,
    /// When it started, unix ms.
    pub started_ms: u64,
    /// 0, or why it could not be started. An EXIT frame follows at once then.
    pub errno: i32,
    /// The run, chosen by the daemon.
    pub run_id: [u8; 16],
    /// The kernel's boot id, zeros if unknown: tells a reboot.
    pub boot_id: [u8; 16],
}

impl StartPayload {
    /// The payload's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(56);
        bytes.extend_from_slice(&self.pid.to_le_bytes());
        bytes.extend_from_slice(&self.start_ticks.to_le_bytes());
        bytes.extend_from_slice(&self.started_ms.to_le_bytes());
        bytes.extend_from_slice(&self.errno.to_le_bytes());
        bytes.extend_from_slice(&self.run_id);
        bytes.extend_from_slice(&self.boot_id);
        bytes
    }

    /// `None` if the payload is too short.
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let mut take = Take(payload);
        Some(Self {
            pid: take.u32()?,
            start_ticks: take.u64()?,
            started_ms: take.u64()?,
            errno: take.i32()?,
            run_id: take.array()?,
            boot_id: take.array()?,
        })
    }
}

/// The end of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExitPayload {
    /// The main process' status as `waitpid` gives it: see [`ExitPayload::code`] and [`ExitPayload::signal`].
    pub status: i32,
    /// The main process.
    pub pid: u32,
    /// Whether the kernel killed something of the game for want of memory during the run, as far as its cgroup tells.
    pub oom: bool,
    /// Processor time of everything the game ran, in user mode.
    pub user_ms: u64,
    /// The same, in the kernel.
    pub system_ms: u64,
    /// Largest resident memory of any one of its processes.
    pub maxrss_kib: u64,
}

impl ExitPayload {
    /// The exit code, if it ended by itself.
    pub fn code(&self) -> Option<i32> {
        self.signal().is_none().then_some(self.status >> 8 & 0xff)
    }

    /// The signal that ended it, if one did.
    pub fn signal(&self) -> Option<i32> {
        Some(self.status & 0x7f).filter(|&signal| signal != 0)
    }

    /// The payload's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(36);
        bytes.extend_from_slice(&self.status.to_le_bytes());
        bytes.extend_from_slice(&self.pid.to_le_bytes());
        bytes.extend_from_slice(&[u8::from(self.oom), 0, 0, 0]);
        bytes.extend_from_slice(&self.user_ms.to_le_bytes());
        bytes.extend_from_slice(&self.system_ms.to_le_bytes());
        bytes.extend_from_slice(&self.maxrss_kib.to_le_bytes());
        bytes
    }

    /// `None` if the payload is too short.
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let mut take = Take(payload);
        let (status, pid) = (take.i32()?, take.u32()?);
        let [oom, ..] = take.array::<4>()?;
        Some(Self { status, pid, oom: oom != 0, user_ms: take.u64()?, system_ms: take.u64()?, maxrss_kib: take.u64()? })
    }
}

/// Why something is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// No space, or the quota was used up.
    DiskFull,
    /// The disk failed or was read-only.
    DiskFailed,
    /// Never written by a writer: a reader found less in a segment than the next one's name says.
    Damaged,
    /// Something a newer version knows.
    Other(u8),
}

impl GapReason {
    /// The number in the payload.
    pub fn code(self) -> u8 {
        match self {
            Self::DiskFull => 1,
            Self::DiskFailed => 2,
            Self::Damaged => 3,
            Self::Other(code) => code,
        }
    }

    /// The reverse of [`GapReason::code`].
    pub fn from_code(code: u8) -> Self {
        match code {
            1 => Self::DiskFull,
            2 => Self::DiskFailed,
            3 => Self::Damaged,
            other => Self::Other(other),
        }
    }
}

/// What could not be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GapPayload {
    /// How many bytes of output, commands and notices.
    pub bytes: u64,
    /// How many lines: the numbering goes on behind them.
    pub lines: u64,
    /// Why.
    pub reason: GapReason,
}

impl GapPayload {
    /// The payload's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(17);
        bytes.extend_from_slice(&self.bytes.to_le_bytes());
        bytes.extend_from_slice(&self.lines.to_le_bytes());
        bytes.push(self.reason.code());
        bytes
    }

    /// `None` if the payload is too short.
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let mut take = Take(payload);
        Some(Self { bytes: take.u64()?, lines: take.u64()?, reason: GapReason::from_code(take.u8()?) })
    }
}
