//! The one answer a shim gives to whoever started it, on its standard output: it runs, or what failed.

use std::fmt;

use crate::take::{Take, shorten};

/// Longest text of a failure.
pub const TEXT_BYTES_MAX: usize = 1024;

const OK: u8 = b'O';
const FAILED: u8 = b'F';

/// How far a start came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Reading the launch spec.
    Spec,
    /// Taking the log: somebody else has it.
    Locked,
    /// Opening the log.
    Log,
    /// Binding the socket.
    Socket,
    /// Making the terminal or the pipes.
    Console,
    /// Making processes.
    Fork,
    /// In the game's process from here on: a session of its own, with its terminal.
    Session,
    /// Joining a cgroup.
    Cgroup,
    /// Setting a resource limit.
    Rlimit,
    /// Becoming the game's user.
    User,
    /// Giving up privileges.
    Privileges,
    /// Entering the working folder.
    Cwd,
    /// Running the program.
    Exec,
    /// Giving up what Landlock does not allow.
    Landlock,
    /// Giving up system calls.
    Seccomp,
}

const STAGES: [Stage; 15] = [
    Stage::Spec,
    Stage::Locked,
    Stage::Log,
    Stage::Socket,
    Stage::Console,
    Stage::Fork,
    Stage::Session,
    Stage::Cgroup,
    Stage::Rlimit,
    Stage::User,
    Stage::Privileges,
    Stage::Cwd,
    Stage::Exec,
    Stage::Landlock,
    Stage::Seccomp,
];

impl Stage {
    /// A word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Spec => "spec",
            Self::Locked => "locked",
            Self::Log => "log",
            Self::Socket => "socket",
            Self::Console => "console",
            Self::Fork => "fork",
            Self::Session => "session",
            Self::Cgroup => "cgroup",
            Self::Rlimit => "rlimit",
            Self::User => "user",
            Self::Privileges => "privileges",
            Self::Cwd => "cwd",
            Self::Exec => "exec",
            Self::Landlock => "landlock",
            Self::Seccomp => "seccomp",
        }
    }

    /// Its number in messages.
    pub fn code(self) -> u8 {
        STAGES.iter().position(|&stage| stage == self).and_then(|at| u8::try_from(at).ok()).unwrap_or(u8::MAX)
    }

    /// The reverse of [`Stage::code`].
    pub fn from_code(code: u8) -> Option<Self> {
        STAGES.get(usize::from(code)).copied()
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a start went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ready {
    /// The game's program runs.
    Ok {
        /// The shim, after it has detached itself.
        shim_pid: u32,
        /// The game's main process.
        game_pid: u32,
    },
    /// It does not, and the shim has ended or is about to.
    Failed {
        /// What was being done.
        stage: Stage,
        /// The system's reason, 0 if it was none of the system's.
        errno: i32,
        /// A sentence for people.
        text: String,
    },
}

/// The shim ended without an answer, or this is no answer of a shim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the shim ended without saying how the start went")]
pub struct NoAnswer;

impl Ready {
    /// The bytes on the pipe.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Ok { shim_pid, game_pid } => {
                let mut bytes = vec![OK];
                bytes.extend_from_slice(&shim_pid.to_le_bytes());
                bytes.extend_from_slice(&game_pid.to_le_bytes());
                bytes
            }
            Self::Failed { stage, errno, text } => {
                let mut bytes = vec![FAILED, stage.code()];
                bytes.extend_from_slice(&errno.to_le_bytes());
                bytes.extend_from_slice(shorten(text, TEXT_BYTES_MAX).as_bytes());
                bytes
            }
        }
    }

    /// Everything that came through the pipe until its end.
    pub fn decode(bytes: &[u8]) -> Result<Self, NoAnswer> {
        Self::parse(Take(bytes)).ok_or(NoAnswer)
    }

    fn parse(mut take: Take<'_>) -> Option<Self> {
        match take.u8()? {
            OK => Some(Self::Ok { shim_pid: take.u32()?, game_pid: take.u32()? }),
            FAILED => Some(Self::Failed {
                stage: Stage::from_code(take.u8()?)?,
                errno: take.i32()?,
                text: String::from_utf8_lossy(take.rest()).into_owned(),
            }),
            _ => None,
        }
    }
}
