//! What a panel asks of a node: the node's own HTTP API as far as console and power go (protocol reference §9.4).

use serde::{Deserialize, Serialize};

use crate::ids::{ServerId, UserId};
use crate::server::{PowerAction, State, Stats};

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
    /// Unix milliseconds of the start that back-off has planned after a crash.
    pub restart_at_ms: Option<u64>,
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
    /// Seconds to wait for a power action that is under way, 0-300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_seconds: Option<u32>,
    /// Ours: on whose behalf, for the console's own notice. The panel keeps the activity record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
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
