//! The words both sides use for a game server: its state, power actions, stats.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a server is doing. The wire event that carries it is called `status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// No process.
    #[default]
    Offline,
    /// A process that has not yet said it is ready.
    Starting,
    /// Ready for players.
    Running,
    /// Asked to end and still there.
    Stopping,
}

impl State {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A request about a server's process. On the socket it travels in `set state`, on REST as `signal` or `action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PowerAction {
    /// Start an offline server.
    Start,
    /// Ask it to end, and kill it when its grace is over.
    Stop,
    /// Stop, then start.
    Restart,
    /// End every process of it now.
    Kill,
}

impl PowerAction {
    /// All four, in the order the documentation names them.
    pub const ALL: [Self; 4] = [Self::Start, Self::Stop, Self::Restart, Self::Kill];

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Kill => "kill",
        }
    }

    /// The action of this exact word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == word)
    }
}

impl fmt::Display for PowerAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a server uses, as the `stats` event carries it: a JSON document inside a string (protocol reference §6.2). Other
/// nodes leave members out; what is missing reads as 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stats {
    /// Bytes in use, without page cache that is easy to drop.
    pub memory_bytes: u64,
    /// The limit in force in bytes; without one, the machine's memory.
    pub memory_limit_bytes: u64,
    /// Percent of one core, three decimals: 250.0 is two and a half cores.
    pub cpu_absolute: f64,
    /// Bytes since the server started.
    pub network: Network,
    /// Milliseconds since the process started, 0 when offline.
    pub uptime: u64,
    /// The state at the time of the sample.
    pub state: State,
    /// Bytes of the server's directory, from the last walk.
    pub disk_bytes: u64,
}

/// Cumulative traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
}
