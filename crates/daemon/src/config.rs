//! Settings of a node. Every limit is here or a constant beside the code it bounds; ARCHITECTURE.md lists them all.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use engine::session::Policy;
use ipnet::IpNet;
use uuid::Uuid;

/// How a node runs. Start from [`Config::new`] and change what differs.
#[derive(Clone)]
pub struct Config {
    /// Folder for everything this node keeps: `servers/`, `bin/`.
    pub data_dir: PathBuf,
    /// Which node this is on its panel.
    pub node_uuid: Uuid,
    /// Public half of the node's credentials: 16 characters.
    pub token_id: String,
    /// Secret half: 64 characters. Also the key of console tokens.
    pub token: String,
    /// The panel's base URL, without a slash at the end.
    pub remote: String,
    /// Name in front of the daemon's own console lines.
    pub app_name: String,
    /// Proxies whose `X-Forwarded-*` headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Origins of web pages that may open a console, besides [`Config::remote`] and the host itself: also the address under which
    /// people open the panel, where it is another one. `*` for all.
    pub allowed_origins: Vec<String>,
    /// Whether a connection without an `Origin` header is refused, as stock Wings does.
    pub require_origin: bool,
    /// Whether tokens must carry the `websocket` scope; off only for panels older than 1.12.3.
    pub require_scope: bool,
    /// Whether events without arguments carry `"args":[]`, for clients that need the member.
    pub always_args: bool,
    /// Whether a typed command is shown in the console as a line of its own.
    pub echo_commands: bool,
    /// Lines that `send logs` answers with.
    pub log_lines: u64,
    /// Bytes of the largest frame a client may send; more closes with 1009. JSON may spell a byte of a command with six, so this
    /// is at least six times [`Policy::command_bytes_max`] and some room for the message around it.
    pub frame_bytes_max: usize,
    /// Connections of one user to one server; one more is told so and closed with 1013.
    pub connections_per_user_max: usize,
    /// Connections of the whole node that have not authenticated yet; one more is answered 503.
    pub unauthenticated_max: usize,
    /// How many of them may come from one address, or from one /64 of IPv6.
    pub unauthenticated_per_address_max: usize,
    /// How long a viewer may take nothing of what is written to it before it counts as stuck. However slowly it reads, one that
    /// does is not.
    pub write_timeout: Duration,
    /// Silence on our side after which a ping is sent.
    pub ping_after: Duration,
    /// Silence of the other side after a ping that ends the connection.
    pub pong_timeout: Duration,
    /// The console session's own times and limits.
    pub session: Policy,
    /// Bytes of one log segment.
    pub segment_bytes: u64,
    /// Bytes of log kept per server.
    pub retain_bytes: u64,
    /// Grace of a stop when the server's definition names none.
    pub stop_grace: Duration,
    /// What keeps games apart.
    pub isolation: IsolationSettings,
    /// What runs containers.
    pub containers: ContainerSettings,
}

/// Whether games of this node run in containers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Containers {
    /// Those that have an image, where there is an engine.
    #[default]
    Auto,
    /// Those that have an image; without an engine they do not start.
    On,
    /// None.
    Off,
}

/// What runs containers, and what all of them have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerSettings {
    /// Whether there are any.
    pub mode: Containers,
    /// The engine's socket; none: the first one of the usual places.
    pub socket: Option<PathBuf>,
    /// Addresses for the networks of servers: each gets a part of 8. IPv4.
    pub subnet: (Ipv4Addr, u8),
    /// Name servers; none: the engine's own.
    pub dns: Vec<String>,
    /// Folders of this machine in which the mounts of servers may be.
    pub allowed_mounts: Vec<PathBuf>,
    /// MiB of a container's `/tmp`.
    pub tmpfs_mib: u64,
}

impl Default for ContainerSettings {
    fn default() -> Self {
        Self {
            mode: Containers::default(),
            socket: None,
            subnet: (Ipv4Addr::new(10, 213, 0, 0), 16),
            dns: Vec::new(),
            allowed_mounts: Vec::new(),
            tmpfs_mib: 100,
        }
    }
}

/// A rung of isolation that can be switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rung {
    /// A user and a group for each server.
    Uid,
    /// Files of its own, of the system, and no others.
    Files,
    /// Its own TCP ports and no others.
    Tcp,
    /// No signals to others, no abstract sockets of others.
    Scopes,
    /// Some system calls are refused.
    Seccomp,
}

impl Rung {
    /// All of them, from the first one up.
    pub const ALL: [Self; 5] = [Self::Uid, Self::Files, Self::Tcp, Self::Scopes, Self::Seccomp];

    /// Its name in settings and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uid => "uid",
            Self::Files => "files",
            Self::Tcp => "tcp",
            Self::Scopes => "scopes",
            Self::Seccomp => "seccomp",
        }
    }
}

/// What keeps games apart, where the machine has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsolationSettings {
    /// Rungs that are not wanted.
    pub off: BTreeSet<Rung>,
    /// The first user id for servers; the group has the same number.
    pub uid_first: u32,
    /// How many user ids there are for servers.
    pub uid_count: u32,
    /// Files and folders that every game may read and run, besides the system's.
    pub readable: Vec<PathBuf>,
}

impl Default for IsolationSettings {
    fn default() -> Self {
        Self { off: BTreeSet::new(), uid_first: 200_000, uid_count: 65_536, readable: Vec::new() }
    }
}

impl Config {
    /// The defaults, with what has none.
    pub fn new(
        data_dir: PathBuf,
        node_uuid: Uuid,
        token_id: impl Into<String>,
        token: impl Into<String>,
        remote: &str,
    ) -> Self {
        Self {
            data_dir,
            node_uuid,
            token_id: token_id.into(),
            token: token.into(),
            remote: remote.trim_end_matches('/').to_owned(),
            app_name: "Quarterdeck".to_owned(),
            trusted_proxies: Vec::new(),
            allowed_origins: Vec::new(),
            require_origin: false,
            require_scope: true,
            always_args: false,
            echo_commands: true,
            log_lines: 150,
            frame_bytes_max: 32 * 1024,
            connections_per_user_max: 64,
            unauthenticated_max: 1024,
            unauthenticated_per_address_max: 128,
            write_timeout: Duration::from_secs(30),
            ping_after: Duration::from_secs(30),
            pong_timeout: Duration::from_mins(1),
            session: Policy::default(),
            segment_bytes: 1024 * 1024,
            retain_bytes: 64 * 1024 * 1024,
            stop_grace: Duration::from_mins(10),
            isolation: IsolationSettings::default(),
            containers: ContainerSettings::default(),
        }
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("data_dir", &self.data_dir)
            .field("node_uuid", &self.node_uuid)
            .field("token_id", &self.token_id)
            .field("token", &"(secret)")
            .field("remote", &self.remote)
            .finish_non_exhaustive()
    }
}
