//! How a process ended, in numbers and in words.

use std::fmt;
use std::str::FromStr;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// By itself or by a signal.
    pub kind: ExitKind,
    /// Whether the kernel killed something of it because its memory limit was reached.
    pub oom: bool,
}

/// By itself or by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitKind {
    /// It returned this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// Nobody saw it end.
    Lost,
}

/// The number of SIGKILL.
pub(crate) const SIGKILL: i32 = 9;

/// Linux' signals by number, from 1.
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.kind, if self.oom { ", out of memory" } else { "" })
    }
}

impl fmt::Display for ExitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(number) => {
                let index = usize::try_from(*number).unwrap_or(0).checked_sub(1);
                match index.and_then(|index| SIGNALS.get(index)) {
                    Some(name) => write!(f, "killed by SIG{name}"),
                    None => write!(f, "killed by signal {number}"),
                }
            }
            Self::Lost => f.write_str("nobody saw it end"),
        }
    }
}

/// A word that names no way to end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no exit; write a code such as 0, or a signal such as SIGTERM")]
pub struct BadExit(pub String);

impl FromStr for ExitKind {
    type Err = BadExit;

    /// A code such as `0`, or a signal with or without its prefix such as `SIGTERM`.
    fn from_str(word: &str) -> Result<Self, BadExit> {
        if let Ok(code) = word.parse() {
            return Ok(Self::Code(code));
        }
        let upper = word.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let index = SIGNALS.iter().position(|known| *known == name);
        index.and_then(|index| i32::try_from(index + 1).ok()).map(Self::Signal).ok_or_else(|| BadExit(word.to_owned()))
    }
}
