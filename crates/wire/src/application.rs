//! The panel's administration bodies: `/api/application`. Members of stock panels where they make sense, and ours.

mod bodies;
mod eggs;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::{FeatureLimits, Limits};
use crate::remote::{ConsoleMode, RuntimeKind};

pub use bodies::*;
pub use eggs::{
    Allocation, CreateAllocations, CreateNest, Egg, EggConfig, EggScript, EggVariable, Labels, Nest, Relationships,
};

/// A person, as administrators see them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct User {
    /// Number on this panel.
    pub id: u64,
    /// Name elsewhere.
    pub external_id: Option<String>,
    /// Who.
    pub uuid: String,
    /// Login name.
    pub username: String,
    /// E-mail address.
    pub email: String,
    /// Given name.
    pub first_name: String,
    /// Family name.
    pub last_name: String,
    /// Language code.
    pub language: String,
    /// May do everything.
    pub root_admin: bool,
    /// Second factor; we have none yet.
    #[serde(rename = "2fa")]
    pub two_factor: bool,
    /// ISO 8601.
    pub created_at: String,
    /// ISO 8601.
    pub updated_at: String,
}

/// Body of `POST /api/application/users`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct UserRequest {
    /// Unique.
    pub email: String,
    /// Letters, digits, `-`, `_` and `.`; unique; no number and no uuid.
    pub username: String,
    /// Given name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_name: Option<String>,
    /// Family name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_name: Option<String>,
    /// At least 8 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// May do everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_admin: Option<bool>,
    /// Language code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Name elsewhere; unique.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
}

/// Body of `PATCH /api/application/users/{user}`; what is left out stays.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct UpdateUser {
    /// Unique.
    #[schema(nullable = false)]
    pub email: Option<String>,
    /// Letters, digits, `-`, `_` and `.`; unique; no number and no uuid.
    #[schema(nullable = false)]
    pub username: Option<String>,
    /// Given name; null is the empty one.
    pub first_name: Option<String>,
    /// Family name; null is the empty one.
    pub last_name: Option<String>,
    /// At least 8 characters.
    pub password: Option<String>,
    /// May do everything.
    pub root_admin: Option<bool>,
    /// Language code.
    pub language: Option<String>,
    /// Name elsewhere; unique; null takes it away.
    pub external_id: Option<String>,
}

/// Body of `POST /api/application/users/{user}/api-keys`; ours.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct CreateUserKey {
    /// What it is for, at most 500 characters.
    pub description: String,
    /// Addresses, CIDR networks or ranges `a-b`; at most 50, empty is everywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_ips: Vec<String>,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// `account`, unless told; or `application`, for administrators only.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "type")]
    pub kind: Option<KeyType>,
}

/// Which half of the API a key opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeyType {
    /// `/api/client`; of an administrator also `/api/application`.
    Account,
    /// `/api/application`.
    Application,
}

/// A machine with a daemon, as administrators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Node {
    /// Number on this panel.
    pub id: u64,
    /// Which.
    pub uuid: String,
    /// Unique.
    pub name: String,
    /// Description, empty when there is none.
    pub description: String,
    /// `http` or `https`.
    pub scheme: String,
    /// Host name.
    pub fqdn: String,
    /// Port of its API and console sockets.
    pub daemon_listen: u16,
    /// Takes no requests for now.
    pub maintenance_mode: bool,
    /// Where the panel asks it; ours.
    pub url: String,
    /// It answers at the panel's own address; ours.
    pub is_local: bool,
    /// Address its game servers listen on; ours.
    pub bind_ip: String,
    /// First port for game servers; ours.
    pub port_min: u16,
    /// Last port for game servers; ours.
    pub port_max: u16,
    /// How many servers it has; ours.
    pub servers: u64,
    /// ISO 8601.
    pub created_at: String,
    /// ISO 8601.
    pub updated_at: String,
}

/// Body of `POST /api/application/nodes`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct NodeRequest {
    /// Unique; no number and no uuid.
    pub name: String,
    /// `http` or `https`, host, port; or the three members below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fqdn: Option<String>,
    /// `http` or `https`; `https` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// 8080 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daemon_listen: Option<u16>,
    /// Description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Takes no requests for now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance_mode: Option<bool>,
    /// Address its game servers listen on; `0.0.0.0` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bind_ip: Option<String>,
    /// First port for game servers; 25565 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_min: Option<u16>,
    /// Last port for game servers; 26564 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_max: Option<u16>,
}

/// Body of `PATCH /api/application/nodes/{node}`; what is left out stays.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct UpdateNode {
    /// Unique; no number and no uuid.
    #[schema(nullable = false)]
    pub name: Option<String>,
    /// `http` or `https`, host, port; or some of the three members below. The panel sets that of its own node itself.
    pub url: Option<String>,
    /// Host name.
    pub fqdn: Option<String>,
    /// `http` or `https`.
    pub scheme: Option<String>,
    /// Port of its API and console sockets.
    pub daemon_listen: Option<u16>,
    /// Description; null is the empty one.
    pub description: Option<String>,
    /// Takes no requests for now.
    pub maintenance_mode: Option<bool>,
    /// Address its game servers listen on.
    pub bind_ip: Option<String>,
    /// First port for game servers.
    pub port_min: Option<u16>,
    /// Last port for game servers.
    pub port_max: Option<u16>,
}

/// What a node's daemon needs to know (protocol reference §9.5).
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct NodeConfiguration {
    /// Verbose logging.
    pub debug: bool,
    /// Which node.
    pub uuid: String,
    /// The public half of its credentials.
    pub token_id: String,
    /// The secret half, and the key of console tokens.
    pub token: String,
    /// Where it listens.
    pub api: NodeApi,
    /// Folders and file access.
    pub system: NodeSystem,
    /// Always empty.
    pub allowed_mounts: Vec<String>,
    /// The panel's address.
    pub remote: String,
}

/// The `api` member of [`NodeConfiguration`].
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[allow(missing_docs)]
pub struct NodeApi {
    pub host: String,
    pub port: u16,
    pub ssl: NodeSsl,
    pub upload_limit: u32,
}

/// The `ssl` member of [`NodeApi`].
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[allow(missing_docs)]
pub struct NodeSsl {
    pub enabled: bool,
    pub cert: String,
    pub key: String,
}

/// The `system` member of [`NodeConfiguration`].
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[allow(missing_docs)]
pub struct NodeSystem {
    pub data: String,
    pub sftp: NodeSftp,
}

/// The `sftp` member of [`NodeSystem`].
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[allow(missing_docs)]
pub struct NodeSftp {
    pub bind_port: u16,
}

/// A game server, as administrators see it. The client API has a `Server` of its own, so this one has another name in the description.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = ApplicationServer)]
pub struct Server {
    /// Number on this panel.
    pub id: u64,
    /// Name elsewhere.
    pub external_id: Option<String>,
    /// The whole uuid.
    pub uuid: String,
    /// Its first eight characters.
    pub identifier: String,
    /// Name.
    pub name: String,
    /// Description, empty when there is none.
    pub description: String,
    /// As in the client API.
    pub status: Option<String>,
    /// Blocked by an administrator.
    pub suspended: bool,
    /// What it may use.
    pub limits: Limits,
    /// How many of what it may have.
    pub feature_limits: FeatureLimits,
    /// Number of its owner.
    pub user: u64,
    /// Number of its node.
    pub node: u64,
    /// Number of its main address.
    pub allocation: u64,
    /// Number of its nest; null when it was not made from an egg.
    pub nest: Option<u64>,
    /// Number of its egg; likewise.
    pub egg: Option<u64>,
    /// How it is started.
    pub container: ServerContainer,
    /// Address it listens on; ours.
    pub ip: String,
    /// Port it listens on; ours.
    pub port: u16,
    /// What it was made from; ours.
    pub template: Option<String>,
    /// When it is ready and how it is stopped; ours.
    pub process: ServerProcess,
    /// The state its node reported last, since the panel started; ours.
    pub state: Option<String>,
    /// What to do when its program is missing; ours.
    pub hint: Option<String>,
    /// What runs it; ours, absent while its node decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<RuntimeKind>,
    /// When an installation ended well for the last time, ISO 8601; ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installed_at: Option<String>,
    /// When it will be gone, ISO 8601; of one that is to be deleted, whose `status` is `deleting`; ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_at: Option<String>,
    /// ISO 8601.
    pub created_at: String,
    /// ISO 8601.
    pub updated_at: String,
    /// `allocations`, `user`, `nest`, `egg`, `variables` and `node`, when asked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, Object>)]
    pub relationships: Relationships,
}

/// How a server is started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServerContainer {
    /// Command line with `{{NAME}}`s.
    pub startup_command: String,
    /// Container image; empty for a plain process.
    pub image: String,
    /// 1 when it is installed.
    pub installed: u8,
    /// All variables it gets.
    pub environment: BTreeMap<String, String>,
}

/// When a server is ready and how it is stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServerProcess {
    /// Texts of a line that mean ready, or `regex:` and an expression.
    pub ready: Vec<String>,
    /// Text for stdin, or `^SIGNAME`; empty is the node's own way.
    pub stop: String,
    /// Milliseconds until it is killed; 0 is the node's default.
    pub grace_ms: u64,
    /// Milliseconds after which it counts as running without a ready line; 0 is the node's default.
    pub settle_ms: u64,
    /// Terminal or pipes.
    pub console: ConsoleMode,
    /// Exits that are no crash.
    pub success_exit: Vec<String>,
}

/// A definition of a game.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Template {
    /// What people type.
    pub name: String,
    /// What people read.
    pub title: String,
    /// One sentence.
    pub description: String,
    /// Debian packages it needs.
    pub apt: Vec<String>,
    /// How to get the program; null when there is nothing to get.
    pub hint: Option<String>,
    /// Command line.
    pub command: String,
    /// Texts of a line that mean ready.
    pub ready: Vec<String>,
    /// Text for stdin, or `^SIGNAME`.
    pub stop: String,
    /// Terminal or pipes.
    pub console: ConsoleMode,
    /// MiB it may use.
    pub memory: u64,
}
