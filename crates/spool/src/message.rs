//! What the shim and its clients say to each other on the unix socket `shim.sock`. Protocol versions 1 and 2.
//!
//! ```text
//! frame: u32 payload length (little-endian) | u8 type | 3 zero bytes | payload
//!
//! client -> shim                                     shim -> client
//!   H  (nothing): who are you                          H  who I am; also on accept
//!   W  u64 id, u8 n, user[n], bytes: input             A  u64 id, u8 outcome: answers W and N
//!   N  u64 id, text: a notice                          B  u64 pos, u64 line: the log has grown
//!   S  i32 signal, u8 scope                            X  i32 status, u64 pos, u64 line: the run is over
//!   T  u32 grace ms, i32 signal or 0, bytes: stop      E  u8 type: this type is unknown to me
//!   R  u16 rows, u16 columns
//!   K  (nothing): kill everything now
//!   U  reserved
//! ```
//! Version 2 says in H which rungs of isolation the game has, see [`rung`]; nothing else differs.
//! Who sends bytes that are no frame, or a payload that is too short for its type, is disconnected.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::str;

use rustix::fs::OFlags;

use crate::payload::USER_BYTES_MAX;
use crate::take::{Take, shorten};

/// Name of the socket in its folder.
pub const SOCKET_FILE_NAME: &str = "shim.sock";
/// Oldest protocol version this program speaks.
pub const VERSION_MIN: u8 = 1;
/// Newest protocol version this program speaks.
pub const VERSION_MAX: u8 = 2;
/// The version whose H says what the game has of isolation.
const VERSION_WITH_RUNGS: u8 = 2;
/// Bytes of a frame before its payload.
pub const HEADER_BYTES: usize = 8;
/// Longest input of one W, or of one T. Refuse longer ones before sending: the shim disconnects who sends more.
pub const INPUT_BYTES_MAX: usize = 16 * 1024;
/// Longest notice of one N.
pub const NOTE_BYTES_MAX: usize = 16 * 1024;
/// Longest payload of any frame.
pub const PAYLOAD_BYTES_MAX: usize = INPUT_BYTES_MAX + 512;

/// Bytes that are not this protocol. The connection is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A frame claims more than any frame may have.
    #[error("a frame of {0} bytes; {PAYLOAD_BYTES_MAX} is the most")]
    TooLong(u32),
    /// The zero bytes of a frame's header are not zero.
    #[error("not a frame")]
    NotAFrame,
    /// The payload does not fit its type.
    #[error("a payload that does not fit the type {0:#04x}")]
    Payload(u8),
}

/// One frame, payload not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw<'a> {
    /// Its type, an ASCII letter.
    pub letter: u8,
    /// Its payload.
    pub payload: &'a [u8],
    /// Bytes to take off the front of the buffer once this frame is dealt with.
    pub bytes: usize,
}

/// The first frame in a buffer of received bytes; `None` if more are needed.
pub fn first(buffer: &[u8]) -> Result<Option<Raw<'_>>, Malformed> {
    let mut take = Take(buffer);
    let (Some(length), Some([letter, zeros @ ..])) = (take.u32(), take.array::<4>()) else {
        return Ok(None);
    };
    if zeros != [0; 3] {
        return Err(Malformed::NotAFrame);
    }
    let count = usize::try_from(length).ok().filter(|&count| count <= PAYLOAD_BYTES_MAX);
    let count = count.ok_or(Malformed::TooLong(length))?;
    Ok(take.bytes(count).map(|payload| Raw { letter, payload, bytes: HEADER_BYTES + count }))
}

/// Writes a frame whose payload `fill` writes.
fn frame(letter: u8, out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, letter, 0, 0, 0]);
    fill(out);
    let length = u32::try_from(out.len() - start - HEADER_BYTES).unwrap_or(u32::MAX).to_le_bytes();
    if let Some(field) = out.get_mut(start..start + length.len()) {
        field.copy_from_slice(&length);
    }
}

/// Which processes a signal goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The game's main process.
    Main,
    /// Its process group: what a terminal's ^C reaches.
    Group,
    /// Every process the game has started, whatever it did to get away.
    All,
}

/// How to ask a game to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopBy<'a> {
    /// A signal to its process group.
    Signal(i32),
    /// Bytes for its input, the newline included.
    Input(&'a [u8]),
}

/// From a client to the shim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// H: send [`Hello`] again.
    Hello,
    /// W: input for the game, exactly once for one id. Answered.
    Write {
        /// Chosen by the daemon, not 0; shares its numbers with [`Request::Note`]. The shim knows the last [`KNOWN_IDS`].
        request_id: u64,
        /// Who asks; stands in the log.
        user: &'a str,
        /// What the game gets, newline included; at most [`INPUT_BYTES_MAX`].
        bytes: &'a [u8],
    },
    /// N: a line of the node's own for the log, exactly once for one id. Answered.
    Note {
        /// As in [`Request::Write`].
        request_id: u64,
        /// At most [`NOTE_BYTES_MAX`] bytes.
        text: &'a [u8],
    },
    /// S: a signal.
    Signal {
        /// Its number.
        signal: i32,
        /// To whom.
        scope: Scope,
    },
    /// T: stop. The shim keeps the deadline, then kills everything. A later T sets a new deadline.
    Stop {
        /// From now until the kill.
        grace_ms: u32,
        /// How it is asked.
        by: StopBy<'a>,
    },
    /// R: the terminal's size. Nothing happens to a game with pipes.
    Resize {
        /// Lines.
        rows: u16,
        /// Characters in a line.
        columns: u16,
    },
    /// K: kill every process of the game now.
    Kill,
    /// Something a newer client says. Answered with E, else ignored.
    Unknown {
        /// Its type.
        letter: u8,
    },
}

/// How many ids the shim remembers.
pub const KNOWN_IDS: usize = 256;

impl<'a> Request<'a> {
    /// Adds the frame to `out`. A user name is cut to [`USER_BYTES_MAX`]; input and text must keep to their own limits.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Hello => frame(b'H', out, |_| {}),
            Self::Write { request_id, user, bytes } => frame(b'W', out, |out| {
                let user = shorten(user, USER_BYTES_MAX).as_bytes();
                out.extend_from_slice(&request_id.to_le_bytes());
                out.push(u8::try_from(user.len()).unwrap_or(u8::MAX));
                out.extend_from_slice(user);
                out.extend_from_slice(bytes);
            }),
            Self::Note { request_id, text } => frame(b'N', out, |out| {
                out.extend_from_slice(&request_id.to_le_bytes());
                out.extend_from_slice(text);
            }),
            Self::Signal { signal, scope } => frame(b'S', out, |out| {
                out.extend_from_slice(&signal.to_le_bytes());
                out.push(match scope {
                    Scope::Main => 0,
                    Scope::Group => 1,
                    Scope::All => 2,
                });
            }),
            Self::Stop { grace_ms, by } => frame(b'T', out, |out| {
                let (signal, bytes) = match by {
                    StopBy::Signal(signal) => (signal, [].as_slice()),
                    StopBy::Input(bytes) => (0, bytes),
                };
                out.extend_from_slice(&grace_ms.to_le_bytes());
                out.extend_from_slice(&signal.to_le_bytes());
                out.extend_from_slice(bytes);
            }),
            Self::Resize { rows, columns } => frame(b'R', out, |out| {
                out.extend_from_slice(&rows.to_le_bytes());
                out.extend_from_slice(&columns.to_le_bytes());
            }),
            Self::Kill => frame(b'K', out, |_| {}),
            Self::Unknown { letter } => frame(letter, out, |_| {}),
        }
    }

    /// Reads a frame's payload.
    pub fn decode(raw: Raw<'a>) -> Result<Self, Malformed> {
        Self::parse(raw.letter, Take(raw.payload)).ok_or(Malformed::Payload(raw.letter))
    }

    fn parse(letter: u8, mut take: Take<'a>) -> Option<Self> {
        Some(match letter {
            b'H' => Self::Hello,
            b'W' => {
                let request_id = take.u64()?;
                let length = usize::from(take.u8()?);
                let user = str::from_utf8(take.bytes(length)?).ok()?;
                Self::Write { request_id, user, bytes: within(take.rest(), INPUT_BYTES_MAX)? }
            }
            b'N' => Self::Note { request_id: take.u64()?, text: within(take.rest(), NOTE_BYTES_MAX)? },
            b'S' => Self::Signal {
                signal: take.i32()?,
                scope: match take.u8()? {
                    0 => Scope::Main,
                    1 => Scope::Group,
                    2 => Scope::All,
                    _ => return None,
                },
            },
            b'T' => {
                let (grace_ms, signal) = (take.u32()?, take.i32()?);
                let by = match signal {
                    0 => StopBy::Input(within(take.rest(), INPUT_BYTES_MAX)?),
                    signal => StopBy::Signal(signal),
                };
                Self::Stop { grace_ms, by }
            }
            b'R' => Self::Resize { rows: take.u16()?, columns: take.u16()? },
            b'K' => Self::Kill,
            letter => Self::Unknown { letter },
        })
    }
}

fn within(bytes: &[u8], bytes_max: usize) -> Option<&[u8]> {
    (bytes.len() <= bytes_max).then_some(bytes)
}

/// What the shim is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// The game runs.
    Running,
    /// It was asked to stop and has its grace.
    Stopping,
    /// Everything is being killed.
    Killing,
    /// The main process has ended; the last output is being read and what it left behind is being killed.
    Ended,
}

/// What keeps a game apart from others, as bits. One that is not named here is to be ignored.
pub mod rung {
    /// A user and group of its own, no other groups.
    pub const OWN_USER: u32 = 1;
    /// Set-user-id programs give it nothing.
    pub const NO_NEW_PRIVS: u32 = 2;
    /// It reaches the files it was allowed and no others.
    pub const FILES: u32 = 4;
    /// It listens on the TCP ports it was allowed and no others.
    pub const TCP_PORTS: u32 = 8;
    /// It signals nobody else, and connects to nobody else's abstract sockets.
    pub const SCOPES: u32 = 16;
    /// Some system calls are refused.
    pub const SECCOMP: u32 = 32;
    /// Control groups of its own.
    pub const CGROUPS: u32 = 64;
    /// A limit of processes that counts its own user's only.
    pub const PROCESSES: u32 = 128;
    /// It is root with a few of root's powers.
    pub const CAPABILITIES: u32 = 256;
}

/// Who a shim is and how far its log is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Oldest and newest protocol version it speaks.
    pub versions: (u8, u8),
    /// What the game is doing.
    pub state: RunState,
    /// Whether the game has a terminal (else pipes).
    pub terminal: bool,
    /// The shim.
    pub shim_pid: u32,
    /// The game's main process.
    pub game_pid: u32,
    /// Its start time in ticks since boot, see [`crate::StartPayload`].
    pub start_ticks: u64,
    /// Its start, unix ms.
    pub started_ms: u64,
    /// The run, chosen by the daemon at its start.
    pub run_id: [u8; 16],
    /// End of the log.
    pub pos: u64,
    /// Lines that have ended.
    pub line: u64,
    /// Bytes the disk did not take, this run.
    pub lost_bytes: u64,
    /// Lines the disk did not take, this run.
    pub lost_lines: u64,
    /// Bytes of input the game has not taken yet.
    pub queued_bytes: u32,
    /// What the game has of isolation, see [`rung`]; `None` from a shim of version 1, which does not say.
    pub rungs: Option<u32>,
    /// Version of the shim's build.
    pub build: String,
}

/// What became of a [`Request::Write`] or [`Request::Note`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the log, and input is on its way to the game.
    Accepted,
    /// It has been, under the same id.
    AlreadyDone,
    /// The game does not read; the queue is full. Nothing was done, the same id may be sent again.
    Busy,
    /// The game has ended or is being killed. Nothing was done.
    NotRunning,
    /// The game has closed its input. Nothing was done.
    InputClosed,
}

/// From the shim to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// H: on accept and when asked.
    Hello(Hello),
    /// B: the log has grown to here. The latest counts; earlier ones may be left out.
    Doorbell {
        /// End of the log.
        pos: u64,
        /// Lines that have ended.
        line: u64,
    },
    /// A: answers W and N.
    Answer {
        /// The request's.
        request_id: u64,
        /// What became of it.
        outcome: Outcome,
    },
    /// X: the run is over, the log is complete, the exit record is written, the shim ends now.
    Exited {
        /// As `waitpid` gives it.
        status: i32,
        /// End of the log.
        pos: u64,
        /// Lines of the log.
        line: u64,
    },
    /// E: a request of this type means nothing to this shim.
    Unknown {
        /// The type.
        letter: u8,
    },
    /// Something a newer shim says; ignore it.
    Other {
        /// Its type.
        letter: u8,
    },
}

impl Reply {
    /// Adds the frame to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello(hello) => frame(b'H', out, |out| hello.encode(out)),
            Self::Doorbell { pos, line } => frame(b'B', out, |out| {
                out.extend_from_slice(&pos.to_le_bytes());
                out.extend_from_slice(&line.to_le_bytes());
            }),
            Self::Answer { request_id, outcome } => frame(b'A', out, |out| {
                out.extend_from_slice(&request_id.to_le_bytes());
                out.push(match outcome {
                    Outcome::Accepted => 0,
                    Outcome::AlreadyDone => 1,
                    Outcome::Busy => 2,
                    Outcome::NotRunning => 3,
                    Outcome::InputClosed => 4,
                });
            }),
            Self::Exited { status, pos, line } => frame(b'X', out, |out| {
                out.extend_from_slice(&status.to_le_bytes());
                out.extend_from_slice(&pos.to_le_bytes());
                out.extend_from_slice(&line.to_le_bytes());
            }),
            Self::Unknown { letter } => frame(b'E', out, |out| out.push(*letter)),
            Self::Other { letter } => frame(*letter, out, |_| {}),
        }
    }

    /// Reads a frame's payload.
    pub fn decode(raw: Raw<'_>) -> Result<Self, Malformed> {
        Self::parse(raw.letter, Take(raw.payload)).ok_or(Malformed::Payload(raw.letter))
    }

    fn parse(letter: u8, mut take: Take<'_>) -> Option<Self> {
        Some(match letter {
            b'H' => Self::Hello(Hello::parse(take)?),
            b'B' => Self::Doorbell { pos: take.u64()?, line: take.u64()? },
            b'A' => Self::Answer {
                request_id: take.u64()?,
                outcome: match take.u8()? {
                    0 => Outcome::Accepted,
                    1 => Outcome::AlreadyDone,
                    2 => Outcome::Busy,
                    3 => Outcome::NotRunning,
                    4 => Outcome::InputClosed,
                    _ => return None,
                },
            },
            b'X' => Self::Exited { status: take.i32()?, pos: take.u64()?, line: take.u64()? },
            b'E' => Self::Unknown { letter: take.u8()? },
            letter => Self::Other { letter },
        })
    }
}

impl Hello {
    fn encode(&self, out: &mut Vec<u8>) {
        let state = match self.state {
            RunState::Running => 0,
            RunState::Stopping => 1,
            RunState::Killing => 2,
            RunState::Ended => 3,
        };
        out.extend_from_slice(&[self.versions.0, self.versions.1, state, u8::from(self.terminal)]);
        out.extend_from_slice(&self.shim_pid.to_le_bytes());
        out.extend_from_slice(&self.game_pid.to_le_bytes());
        out.extend_from_slice(&self.start_ticks.to_le_bytes());
        out.extend_from_slice(&self.started_ms.to_le_bytes());
        out.extend_from_slice(&self.run_id);
        for number in [self.pos, self.line, self.lost_bytes, self.lost_lines] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.queued_bytes.to_le_bytes());
        if self.versions.1 >= VERSION_WITH_RUNGS {
            out.extend_from_slice(&self.rungs.unwrap_or_default().to_le_bytes());
        }
        out.extend_from_slice(self.build.as_bytes());
    }

    fn parse(mut take: Take<'_>) -> Option<Self> {
        let [oldest, newest, state, terminal] = take.array()?;
        Some(Self {
            versions: (oldest, newest),
            state: match state {
                0 => RunState::Running,
                1 => RunState::Stopping,
                2 => RunState::Killing,
                3 => RunState::Ended,
                _ => return None,
            },
            terminal: terminal != 0,
            shim_pid: take.u32()?,
            game_pid: take.u32()?,
            start_ticks: take.u64()?,
            started_ms: take.u64()?,
            run_id: take.array()?,
            pos: take.u64()?,
            line: take.u64()?,
            lost_bytes: take.u64()?,
            lost_lines: take.u64()?,
            queued_bytes: take.u32()?,
            rungs: if newest >= VERSION_WITH_RUNGS { Some(take.u32()?) } else { None },
            build: String::from_utf8_lossy(take.rest()).into_owned(),
        })
    }
}

/// Connects to the shim whose socket is in this folder, however long the folder's path is (a socket's own path may have 107
/// bytes only). Blocks while the shim has more than a few connections it has not accepted yet.
pub fn connect(dir: &Path) -> io::Result<UnixStream> {
    let flags = i32::try_from((OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC).bits()).unwrap_or(0);
    let dir = File::options().read(true).custom_flags(flags).open(dir)?;
    UnixStream::connect(socket_path(&dir))
}

/// A short path to the socket in an open folder; valid in this process, as long as the folder is open.
pub fn socket_path(dir: &impl AsRawFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{SOCKET_FILE_NAME}", dir.as_raw_fd()))
}
