//! The panel's public REST bodies: the client API around the console (protocol reference §8) and the error envelope (§1.6).
//!
//! Every member that stock panels send is always there, because some clients fail to read an answer without it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// Every error of the panel under `/api`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// One entry, or one per failed rule of a validation.
    pub errors: Vec<ErrorItem>,
}

/// One error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ErrorItem {
    /// The kind, by the names stock panels use, such as `NotFoundHttpException`.
    pub code: String,
    /// The HTTP status, as a string.
    pub status: String,
    /// What happened and what to do.
    pub detail: String,
    /// Which field failed which rule; validation only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<ErrorMeta>,
}

/// Which field failed which rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorMeta {
    /// Path of the field, such as `permissions.0`.
    pub source_field: String,
    /// Name of the rule in `snake_case`, such as `required`.
    pub rule: String,
}

/// One thing: `{"object": kind, "attributes": …}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Item<T> {
    /// The kind of thing.
    pub object: String,
    /// Its members.
    pub attributes: T,
    /// What is said beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<Value>,
}

impl<T> Item<T> {
    /// A thing with nothing beside it.
    pub fn new(object: &str, attributes: T) -> Self {
        Self { object: object.to_owned(), attributes, meta: None }
    }

    /// The same thing with something beside it.
    #[must_use]
    pub fn with_meta(self, meta: Value) -> Self {
        Self { meta: Some(meta), ..self }
    }
}

/// Many things, perhaps one page of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct List<T> {
    /// Always `list`.
    pub object: String,
    /// The things.
    pub data: Vec<Item<T>>,
    /// Which page this is; absent when the list is whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<ListMeta>,
}

impl<T> List<T> {
    /// A whole list of things of one kind.
    pub fn whole(object: &str, things: impl IntoIterator<Item = T>) -> Self {
        let data = things.into_iter().map(|thing| Item::new(object, thing)).collect();
        Self { object: "list".to_owned(), data, meta: None }
    }
}

/// Beside a paged list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ListMeta {
    /// Which page this is.
    pub pagination: Pagination,
}

/// Which page of how many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pagination {
    /// Things on all pages.
    pub total: u64,
    /// Things on this page.
    pub count: u64,
    /// Things on a full page.
    pub per_page: u64,
    /// From 1.
    pub current_page: u64,
    /// At least 1.
    pub total_pages: u64,
    /// Where the neighbours are.
    pub links: PageLinks,
}

/// Addresses of the pages beside this one; a member is absent where there is none, never null.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PageLinks {
    /// The page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// The page after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A relation that may be withheld.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Relation<T> {
    /// The things.
    List(List<T>),
    /// One thing.
    One(Box<Item<T>>),
    /// Nothing, or nothing for this caller.
    Null(NullResource),
}

impl<T> Relation<T> {
    /// `{"object": "null_resource", "attributes": null}`.
    pub fn null() -> Self {
        Self::Null(NullResource { object: "null_resource".to_owned(), attributes: () })
    }
}

/// What stands for a relation that is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NullResource {
    /// Always `null_resource`.
    pub object: String,
    /// Always null.
    #[schema(value_type = Option<Object>)]
    pub attributes: (),
}

/// Answer of `GET /api/client/servers/{server}/websocket`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Credentials {
    /// Token and address.
    pub data: CredentialsData,
}

/// Token and address of a console socket.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CredentialsData {
    /// To be sent as the argument of `auth`.
    pub token: String,
    /// `ws` or `wss`, always with a port.
    pub socket: String,
}

impl std::fmt::Debug for CredentialsData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CredentialsData").field("socket", &self.socket).finish_non_exhaustive()
    }
}

/// A game server as a client sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[allow(clippy::struct_excessive_bools)] // the stock shape
pub struct Server {
    /// Whether the caller owns it.
    pub server_owner: bool,
    /// The first eight characters of the uuid.
    pub identifier: String,
    /// Number on this panel.
    pub internal_id: u64,
    /// The whole uuid.
    pub uuid: String,
    /// Name.
    pub name: String,
    /// Name of its node.
    pub node: String,
    /// Its node takes no requests for now.
    pub is_node_under_maintenance: bool,
    /// Where files would be reached.
    pub sftp_details: SftpDetails,
    /// Description, empty when there is none.
    pub description: String,
    /// What it may use.
    pub limits: Limits,
    /// The command line.
    pub invocation: String,
    /// Container image; empty for a plain process.
    pub docker_image: String,
    /// Helpers that look at the console, such as `eula`; always there.
    pub egg_features: Vec<String>,
    /// How many of what it may have.
    pub feature_limits: FeatureLimits,
    /// `installing`, `install_failed`, `reinstall_failed`, `suspended`, `restoring_backup` or null.
    pub status: Option<String>,
    /// Blocked by an administrator.
    pub is_suspended: bool,
    /// Being installed, or its installation failed.
    pub is_installing: bool,
    /// Moving between nodes.
    pub is_transferring: bool,
    /// Addresses and variables.
    pub relationships: ServerRelations,
    /// Commands that its game is known to understand, for completion; ours, and only there when there are some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub known_commands: Vec<String>,
}

/// Where files would be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SftpDetails {
    /// Host name of the node.
    pub ip: String,
    /// Port.
    pub port: u16,
}

/// What a server may use; 0 is unlimited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Limits {
    /// MiB.
    pub memory: u64,
    /// MiB; -1 is unlimited.
    pub swap: i64,
    /// MiB.
    pub disk: u64,
    /// Relative weight, 10-1000.
    pub io: u64,
    /// Percent of one core.
    pub cpu: u64,
    /// CPU list such as `0-1,3`.
    pub threads: Option<String>,
    /// Whether the kernel may not kill for memory.
    pub oom_disabled: bool,
}

/// How many of what a server may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[allow(missing_docs)]
pub struct FeatureLimits {
    pub databases: u64,
    pub allocations: u64,
    pub backups: u64,
}

/// What hangs on a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ServerRelations {
    /// Addresses it may listen on.
    pub allocations: List<Allocation>,
    /// Start-up variables; withheld without `startup.read`.
    pub variables: Relation<Variable>,
    /// What it was made from, when asked for with `include=egg`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egg: Option<Relation<EggName>>,
}

/// What a server was made from, as users see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EggName {
    /// Which.
    pub uuid: String,
    /// Name.
    pub name: String,
}

/// An address a server may listen on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Allocation {
    /// Number on this panel.
    pub id: u64,
    /// Address.
    pub ip: String,
    /// Another name for it.
    pub ip_alias: Option<String>,
    /// Port.
    pub port: u16,
    /// Notes.
    pub notes: Option<String>,
    /// The main one.
    pub is_default: bool,
}

/// A start-up variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[allow(missing_docs)]
pub struct Variable {
    pub name: String,
    pub description: String,
    pub env_variable: String,
    pub default_value: String,
    pub server_value: String,
    pub is_editable: bool,
    pub rules: String,
}

/// Body of `PUT …/startup/variable`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SetVariable {
    /// Name in the environment.
    pub key: String,
    /// New value; null is the empty one.
    pub value: Option<String>,
}

/// Body of `PUT …/settings/docker-image`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SetDockerImage {
    /// One of the egg's.
    pub docker_image: String,
}

/// Body of `POST …/settings/rename`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Rename {
    /// New name.
    pub name: String,
    /// New description; stays when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// Body of `POST …/network/allocations/{allocation}`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct NoteAllocation {
    /// Null takes them away.
    pub notes: Option<String>,
}

/// Answer of `GET …/startup`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StartupList {
    /// Always `list`.
    pub object: String,
    /// The variables that users may see.
    pub data: Vec<Item<Variable>>,
    /// The command line.
    pub meta: StartupMeta,
}

/// Beside the variables of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StartupMeta {
    /// The command line with values.
    pub startup_command: String,
    /// Images to choose from, by what they are called.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub docker_images: crate::application::Labels,
    /// The command line with names.
    pub raw_startup_command: String,
}

/// Answer of `GET …/resources`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Resources {
    /// `offline`, `starting`, `running` or `stopping`.
    pub current_state: String,
    /// Blocked by an administrator.
    pub is_suspended: bool,
    /// The newest sample.
    pub resources: ResourceUse,
    /// How the last run ended, such as `exit code 3`, while none is under way; ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<String>,
    /// Whether that end was a crash, one that nobody had asked for; ours.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub crashed: bool,
    /// When that was, in Unix milliseconds; ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at_ms: Option<u64>,
    /// Milliseconds until the start that is planned after a crash; ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_in_ms: Option<u64>,
    /// When that is; ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_at: Option<String>,
    /// `crash-looping` from the second crash in a row on, until a run lasts or somebody steps in; ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Crashes since the last run that lasted, while there are any; ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crashes_in_a_row: Option<u32>,
    /// It has crashed too often and stays down until somebody starts it; ours.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gave_up: bool,
    /// What keeps the server apart and within its limits, as far as its node says it; ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
    /// Members of `resources` that the machine of its node cannot measure and that stand at 0, each with the reason; ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unmeasured: Option<Vec<String>>,
}

/// Which rungs of isolation hold for a server, and which do not and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Isolation {
    /// Such as `session`, `no_new_privs`, `memory:cgroup1`, `pids:cgroup1`.
    pub active: Vec<String>,
    /// Such as `memory: no writable cgroup, watched only`.
    pub missing: Vec<String>,
}

/// What a server uses; all 0 when it is offline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ResourceUse {
    /// Bytes.
    pub memory_bytes: u64,
    /// Percent of one core.
    pub cpu_absolute: f64,
    /// Bytes.
    pub disk_bytes: u64,
    /// Bytes since it started.
    pub network_rx_bytes: u64,
    /// Bytes since it started.
    pub network_tx_bytes: u64,
    /// Milliseconds.
    pub uptime: u64,
}

/// Body of `POST …/power`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PowerRequest {
    /// `start`, `stop`, `restart` or `kill`.
    pub signal: String,
}

/// Body of `POST …/command`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CommandRequest {
    /// One line for the game's stdin; white space around it is removed.
    pub command: String,
}

/// The caller's account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Account {
    /// Number on this panel.
    pub id: u64,
    /// Root administrator.
    pub admin: bool,
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
}

/// An API key without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApiKey {
    /// The first 16 characters of the key.
    pub identifier: String,
    /// What it is for.
    pub description: String,
    /// Addresses and ranges it may be used from; empty is everywhere.
    pub allowed_ips: Vec<String>,
    /// ISO 8601, at most a minute behind.
    pub last_used_at: Option<String>,
    /// ISO 8601.
    pub created_at: String,
    /// ISO 8601; ours.
    #[serde(default)]
    pub expires_at: Option<String>,
}

/// Body of `POST /api/client/account/api-keys`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct CreateApiKey {
    /// What it is for, at most 500 characters.
    pub description: String,
    /// Addresses, CIDR networks or ranges `a-b`; at most 50, empty is everywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_ips: Vec<String>,
    /// RFC 3339; ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

/// Somebody with rights on somebody else's server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Subuser {
    /// Who.
    pub uuid: String,
    /// Login name.
    pub username: String,
    /// E-mail address.
    pub email: String,
    /// Address of a picture.
    pub image: String,
    /// Second factor; we have none yet.
    #[serde(rename = "2fa_enabled")]
    pub two_factor_enabled: bool,
    /// ISO 8601, of the account.
    pub created_at: String,
    /// What they may do on this server.
    pub permissions: Vec<String>,
}

/// Body of `POST …/users`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CreateSubuser {
    /// Of an account; an unknown address gets a new account without password.
    pub email: String,
    /// Strings of the permission catalogue.
    pub permissions: Vec<String>,
}

/// Body of `POST …/users/{user}`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UpdateSubuser {
    /// Strings of the permission catalogue; replaces what they had.
    pub permissions: Vec<String>,
}

/// One record of who did what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ActivityLog {
    /// Opaque.
    pub id: String,
    /// Records of one request share it; we have no batches.
    pub batch: Option<String>,
    /// Such as `server:power.start`.
    pub event: String,
    /// Made with an API key.
    pub is_api: bool,
    /// From where; only for one's own records and for administrators.
    pub ip: Option<String>,
    /// Always null: texts are the client's business.
    pub description: Option<String>,
    /// Details.
    pub properties: Value,
    /// Whether `properties` has anything in it.
    pub has_additional_metadata: bool,
    /// ISO 8601.
    pub timestamp: String,
    /// Who did it.
    pub relationships: ActivityRelations,
}

/// What hangs on a record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ActivityRelations {
    /// Null for the system and for accounts that are gone.
    pub actor: Relation<Actor>,
}

/// Who did something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Actor {
    /// Who.
    pub uuid: String,
    /// Login name.
    pub username: String,
    /// E-mail address.
    pub email: String,
    /// Address of a picture.
    pub image: String,
    /// Second factor; we have none yet.
    #[serde(rename = "2fa_enabled")]
    pub two_factor_enabled: bool,
    /// ISO 8601.
    pub created_at: String,
}

/// Answer of `GET /api/client/permissions`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Permissions {
    /// Groups by name: `{"control": {"description": …, "keys": {"console": …}}}`.
    pub permissions: std::collections::BTreeMap<String, PermissionGroup>,
}

/// A group of permissions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PermissionGroup {
    /// What it is about.
    pub description: String,
    /// What each one allows; the whole string is group, dot, key.
    pub keys: std::collections::BTreeMap<String, String>,
}
