//! What a panel asks of a node: the node's own HTTP API as far as console and power go (protocol reference §9.4).

use serde::{Deserialize, Deserializer, Serialize};

use crate::ids::{ServerId, UserId};
use crate::remote::RuntimeKind;
use crate::server::{PowerAction, State, Stats};

/// Ours: with whose rights the panel asks for lines as they come, as a uuid, so that the node ends the answer with them.
pub const USER_HEADER: &str = "x-quarterdeck-user";
/// Ours, beside it: when the panel looked whether they have these rights, in Unix seconds. What was taken away since then counts.
pub const CHECKED_HEADER: &str = "x-quarterdeck-checked";
/// Ours, beside it: the panel's count from before it looked, as in [`crate::token::Claims::serial`].
pub const CHECKED_SERIAL_HEADER: &str = "x-quarterdeck-checked-serial";
/// Ours, in what a panel asks of nodes and in what either answers the other: its clock, in Unix milliseconds. Other panels have `Date`.
pub const TIME_HEADER: &str = "x-quarterdeck-time";
/// Ours, beside it: the panel's count of what it has allowed and taken away. What bears a smaller one was allowed before.
pub const SERIAL_HEADER: &str = "x-quarterdeck-serial";

/// Every error of a node: `{"error": …, "request_id": …}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeError {
    /// What happened and what to do.
    pub error: String,
    /// Also in the `X-Request-Id` header and in the node's log.
    #[serde(default)]
    pub request_id: String,
}

/// `GET /api/system`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct SystemInfo {
    pub architecture: String,
    pub cpu_count: usize,
    pub kernel_version: String,
    pub os: String,
    pub version: String,
    /// What keeps servers apart and within limits on this machine; ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
    /// By how much the panel's clock is ahead of the node's (negative: behind), in milliseconds, once the panel has answered; ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub panel_clock_ahead_ms: Option<i64>,
    /// What runs containers; absent on nodes that are set to have none, and on others; ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineReport>,
    /// Programs that games need and this machine has, such as `java:17`, `dotnet:8`, `mono`, `node:20`, `python:3`, `steamcmd`,
    /// `wine`; a number is the major version; ours.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<String>,
}

/// Docker or Podman, as a node sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineReport {
    /// Where it is asked, such as `/var/run/docker.sock`.
    pub endpoint: String,
    /// `Docker` or `Podman`; empty when it does not answer.
    #[serde(default)]
    pub name: String,
    /// Its version; empty when it does not answer.
    #[serde(default)]
    pub version: String,
    /// Why no container can be run, and what to do; none when one can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What is to be known though it runs, such as that its restart stops all containers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// `GET /api/system?v=2`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct SystemReport {
    pub version: String,
    /// There is none here: its words are empty, its counts are those of our servers.
    pub docker: DockerReport,
    pub system: MachineReport,
}

/// The `docker` member of [`SystemReport`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct DockerReport {
    pub version: String,
    pub cgroups: DriverReport,
    pub containers: ContainerCounts,
    pub storage: StorageReport,
    pub runc: VersionReport,
}

/// `docker.cgroups`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct DriverReport {
    pub driver: String,
    pub version: String,
}

/// `docker.containers`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ContainerCounts {
    pub total: usize,
    pub running: usize,
    pub paused: usize,
    pub stopped: usize,
}

/// `docker.storage`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct StorageReport {
    pub driver: String,
    pub filesystem: String,
}

/// `docker.runc`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct VersionReport {
    pub version: String,
}

/// The `system` member of [`SystemReport`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct MachineReport {
    pub architecture: String,
    pub cpu_threads: usize,
    pub memory_bytes: u64,
    pub kernel_version: String,
    /// The system's name for people, such as `Debian GNU/Linux 12 (bookworm)`.
    pub os: String,
    pub os_type: String,
}

/// Which rungs of isolation hold, and which do not and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolation {
    /// Such as `session`, `rlimits`, `no_new_privs`, `memory:cgroup1`, `cpu:cgroup1`, `pids:cgroup1`, `kill:cgroup2`.
    pub active: Vec<String>,
    /// Such as `memory: no writable cgroup, watched only`.
    pub missing: Vec<String>,
}

/// `POST /api/servers`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct CreateServer {
    /// Which; the node then fetches its definition from the panel.
    pub uuid: ServerId,
    /// Start when it is there.
    #[serde(default)]
    pub start_on_completion: bool,
}

/// An element of `GET /api/servers` and the answer of `GET /api/servers/{uuid}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServerDetails {
    /// State as the node sees it.
    pub state: State,
    /// Suspended on the node.
    #[serde(default)]
    pub is_suspended: bool,
    /// The newest sample.
    pub utilization: Stats,
    /// The settings in force.
    pub configuration: serde_json::Value,
    /// Ours: the rest of what is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarterdeck: Option<Extra>,
}

/// What our node adds to [`ServerDetails`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extra {
    /// What runs it, or would.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<RuntimeKind>,
    /// Whether it is being installed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub installing: bool,
    /// Process id of the game, when there is one.
    pub pid: Option<u32>,
    /// The number the next console line will get.
    pub next_line: u64,
    /// Rungs of this server.
    pub isolation: Isolation,
    /// Members of `utilization` that cannot be measured on this machine and stand at 0, each with the reason.
    pub unmeasured: Vec<String>,
    /// How the last run ended, such as `exit code 3`.
    pub last_exit: Option<String>,
    /// Whether that end was a crash, one that nobody had asked for.
    #[serde(default)]
    pub crashed: bool,
    /// When that was; Unix milliseconds.
    #[serde(default)]
    pub ended_at_ms: Option<u64>,
    /// Unix milliseconds of the start that back-off has planned after a crash.
    pub restart_at_ms: Option<u64>,
    /// `crash-looping` from the second crash in a row on, until a run lasts or somebody steps in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<Condition>,
    /// Crashes since the last run that lasted, while there are any.
    #[serde(default, skip_serializing_if = "is_none")]
    pub crashes_in_a_row: u32,
    /// It has crashed too often and is not started again by itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gave_up: bool,
}

/// What a server's state does not say: that one stands beside it, and clients know four of those.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// It crashes again and again.
    CrashLooping,
}

impl Condition {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CrashLooping => "crash-looping",
        }
    }
}

/// For counts that are left out when there is nothing to count.
#[allow(clippy::trivially_copy_pass_by_ref)] // serde passes it so
pub(crate) fn is_none(count: &u32) -> bool {
    *count == 0
}

/// `GET /api/servers/{uuid}/logs`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Logs {
    /// The last lines, oldest first.
    pub data: Vec<String>,
}

/// `POST /api/servers/{uuid}/power`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Power {
    /// What to do.
    pub action: PowerAction,
    /// Seconds to wait for a power action that is under way, 0-300. Any number is read: what is outside has a meaning, too.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "any_number")]
    pub wait_seconds: Option<i64>,
    /// Ours: on whose behalf, for the console's own notice. The panel keeps the activity record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
}

/// A whole number, or the nearest there is to it.
fn any_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let number: Option<serde_json::Number> = Deserialize::deserialize(deserializer)?;
    #[allow(clippy::cast_possible_truncation)] // saturates, and nobody waits for fractions
    Ok(number.map(|number| number.as_i64().unwrap_or_else(|| number.as_f64().unwrap_or(f64::MAX) as i64)))
}

/// `POST /api/servers/{uuid}/commands`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Commands {
    /// Each one a line for stdin, in order.
    pub commands: Vec<String>,
    /// Ours: on whose behalf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
}

/// `POST /api/servers/{uuid}/ws/deny` (older generation).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DenyTokens {
    /// `jti` of the tokens that must not work any more.
    pub jtis: Vec<String>,
}

/// `POST /api/deauthorize-user`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeauthorizeUser {
    /// Whose tokens must not work any more.
    pub user: UserId,
    /// Where; empty is everywhere.
    #[serde(default)]
    pub servers: Vec<ServerId>,
}
