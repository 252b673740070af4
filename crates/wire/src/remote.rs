//! What a node asks of its panel: `/api/remote` (protocol reference §9.2, §9.3).
//!
//! Reading is lenient where PHP panels are loose (empty arrays for empty maps, numbers for strings); writing is strict.
//! Members that stock panels and nodes do not know are additive: they ignore them, and we live without them.

use std::collections::BTreeMap;

use serde::de::Deserializer;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::{ServerId, UserId};
use crate::server::State;

/// One page of `GET /api/remote/servers`. A reader may take its entries as plain JSON first, so that one it cannot read does
/// not cost it the others.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServerPage<T = RemoteServer> {
    /// The servers of this node on this page.
    pub data: Vec<T>,
    /// Laravel's page numbers; integers, never null but for `from` and `to`.
    pub meta: PageMeta,
}

/// Page numbers of [`ServerPage`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct PageMeta {
    pub current_page: u64,
    pub from: Option<u64>,
    pub last_page: u64,
    pub per_page: u64,
    pub to: Option<u64>,
    pub total: u64,
}

/// An entry of [`ServerPage`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RemoteServer {
    /// Which server.
    pub uuid: ServerId,
    /// Its definition.
    #[serde(flatten)]
    pub definition: Definition,
}

/// `GET /api/remote/servers/{uuid}`: all a node needs to run a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// Who, what, and how much of the machine.
    pub settings: Settings,
    /// When it counts as running and how it is stopped.
    pub process_configuration: ProcessConfiguration,
}

/// The `settings` member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Which server.
    pub uuid: ServerId,
    /// Name and description.
    #[serde(default)]
    pub meta: Meta,
    /// No console, no start.
    #[serde(default)]
    pub suspended: bool,
    /// Environment of the process.
    #[serde(default, deserialize_with = "loose_map")]
    pub environment: BTreeMap<String, String>,
    /// The command line, with `{{NAME}}` for values of the environment.
    #[serde(default)]
    pub invocation: String,
    /// Whether an unexpected exit is answered by a start; absent: the node's own default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crash_detection_enabled: Option<bool>,
    /// Limits.
    #[serde(default)]
    pub build: Build,
    /// The container image, where there is one.
    #[serde(default)]
    pub container: Container,
    /// Addresses.
    #[serde(default)]
    pub allocations: Allocations,
    /// Whether an installation leaves out the egg's script.
    #[serde(default)]
    pub skip_egg_scripts: bool,
    /// Folders of the node that are there in its container, too.
    #[serde(default, deserialize_with = "null_default")]
    pub mounts: Vec<Mount>,
    /// Labels of its container, besides the node's own.
    #[serde(default, deserialize_with = "loose_map", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What it was made from.
    #[serde(default, deserialize_with = "null_default")]
    pub egg: EggReference,
}

/// A folder of the node, in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// On the node; absolute.
    pub source: String,
    /// In the container; absolute.
    pub target: String,
    /// Not to be written to.
    #[serde(default)]
    pub read_only: bool,
}

/// The egg of a server, as far as nodes care.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EggReference {
    /// Its uuid; empty when there is none.
    #[serde(default, deserialize_with = "null_default")]
    pub id: String,
    /// Files, as patterns of gitignore, that its users may neither open nor change.
    #[serde(default, deserialize_with = "null_default")]
    pub file_denylist: Vec<String>,
}

/// Name and description.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Name.
    #[serde(default)]
    pub name: String,
    /// Description.
    #[serde(default)]
    pub description: String,
}

/// Limits; 0 is unlimited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Build {
    /// MiB.
    pub memory_limit: u64,
    /// MiB; -1 is unlimited.
    pub swap: i64,
    /// 10-1000.
    pub io_weight: u64,
    /// Percent of one core.
    pub cpu_limit: u64,
    /// CPU list, such as `0-1,3`.
    pub threads: Option<String>,
    /// MiB.
    pub disk_space: u64,
    /// Whether the kernel may not kill for memory.
    pub oom_disabled: bool,
    /// Processes and threads; ours.
    pub pids_limit: u64,
}

impl Default for Build {
    fn default() -> Self {
        Self {
            memory_limit: 0,
            swap: 0,
            io_weight: 500,
            cpu_limit: 0,
            threads: None,
            disk_space: 0,
            oom_disabled: true,
            pids_limit: 0,
        }
    }
}

/// The container image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Image reference; empty for a plain process. With `~` in front it is the node's own, never pulled.
    #[serde(default, deserialize_with = "null_default")]
    pub image: String,
    /// Where the game runs; ours. Absent: in a container if there is an image and the node has an engine for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<RuntimeKind>,
}

/// What runs a game.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RuntimeKind {
    /// A process of the node's machine.
    Process,
    /// A container of Docker's, or of Podman's.
    Docker,
}

/// Addresses a server listens on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allocations {
    /// The main one.
    #[serde(default)]
    pub default: Allocation,
    /// All, by address.
    #[serde(default, deserialize_with = "loose_ports")]
    pub mappings: BTreeMap<String, Vec<u16>>,
    /// Whether what a container sends to others has the main address as its sender.
    #[serde(default)]
    pub force_outgoing_ip: bool,
}

/// One address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allocation {
    /// Address.
    #[serde(default)]
    pub ip: String,
    /// Port.
    #[serde(default)]
    pub port: u16,
}

/// The `process_configuration` member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessConfiguration {
    /// How `running` is found.
    #[serde(default)]
    pub startup: Startup,
    /// How it is asked to end.
    #[serde(default)]
    pub stop: Stop,
    /// Terminal or pipes; ours.
    #[serde(default)]
    pub console: ConsoleMode,
    /// Exits that are not a crash even when nobody asked: `0`, `SIGTERM`; ours. Empty: the node's own rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub success_exit: Vec<String>,
    /// Files written into the server's directory before each start, by relative path, unless they exist; ours.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
    /// What is set in the game's own configuration before each start.
    #[serde(default, deserialize_with = "null_default")]
    pub configs: Vec<ConfigFile>,
}

/// A configuration file of a game, and what is set in it before each start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigFile {
    /// Path in the server's files.
    pub file: String,
    /// How it is written.
    pub parser: ConfigParser,
    /// What is set, in this order.
    #[serde(default, deserialize_with = "null_default")]
    pub replace: Vec<Replacement>,
}

/// How a configuration file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConfigParser {
    /// Lines; one that begins with the key is replaced as a whole.
    File,
    /// YAML.
    #[serde(alias = "yml")]
    Yaml,
    /// Java properties.
    Properties,
    /// INI.
    Ini,
    /// JSON.
    Json,
    /// XML.
    Xml,
    /// One that we do not know; the file is left alone, and the console says so.
    #[serde(other)]
    Unknown,
}

/// One value in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replacement {
    /// Which: the path of a value, or how a line begins.
    #[serde(rename = "match")]
    pub key: String,
    /// Only where it has this value now, or one that matches what stands behind `regex:`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_value: Option<String>,
    /// The new value, any JSON; texts may have `{{config.x.y}}` in them, which is for the node to fill in.
    #[serde(default)]
    pub replace_with: serde_json::Value,
}

/// `GET /api/remote/servers/{uuid}/install`: how the files of a server come to be.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstallScript {
    /// Image that the script runs in.
    #[serde(default, deserialize_with = "null_default")]
    pub container_image: String,
    /// Program that gets the script's path, such as `bash`.
    #[serde(default, deserialize_with = "null_default")]
    pub entrypoint: String,
    /// The script; empty if there is nothing to do.
    #[serde(default, deserialize_with = "null_default")]
    pub script: String,
}

/// Scripts are long, and none of anybody's business in a log.
impl std::fmt::Debug for InstallScript {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InstallScript").field("container_image", &self.container_image).finish_non_exhaustive()
    }
}

/// `POST /api/remote/servers/{uuid}/install`: an installation has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstallReport {
    /// How.
    pub successful: bool,
    /// Whether it was not the first one.
    #[serde(default)]
    pub reinstall: bool,
}

/// How `running` is found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Startup {
    /// Patterns: part of a line, or `regex:` and a regular expression. Null is the empty list.
    #[serde(default, deserialize_with = "null_default")]
    pub done: Vec<String>,
    /// Match against the line without its ANSI sequences; we always do.
    #[serde(default)]
    pub strip_ansi: bool,
    /// Milliseconds after which a live process counts as running although no pattern matched; ours. 0: the node's default.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub settle_ms: u64,
}

/// How a server is asked to end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// What kind of request.
    #[serde(default, rename = "type")]
    pub kind: StopKind,
    /// The command, or the signal's name (`C` is SIGINT).
    #[serde(default, deserialize_with = "null_default")]
    pub value: String,
    /// Milliseconds until it is killed; ours. 0: the node's default.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub grace_ms: u64,
}

/// Kinds of [`Stop`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StopKind {
    /// Text to stdin.
    Command,
    /// A signal to the process group.
    Signal,
    /// Nothing configured: SIGTERM.
    #[default]
    #[serde(other)]
    Stop,
}

/// What the game has as stdin and stdout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConsoleMode {
    /// A terminal: C programs print at once.
    #[default]
    Pty,
    /// Pipes: for games that draw on terminals.
    Pipe,
}

/// `POST /api/remote/activity`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ActivityBatch {
    /// In the order they happened.
    pub data: Vec<Activity>,
}

/// One record of who did what. Only events that begin with `server:` are kept by panels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Activity {
    /// Who; null for the node itself.
    pub user: Option<UserId>,
    /// Where.
    pub server: ServerId,
    /// What, such as `server:power.start`.
    pub event: String,
    /// Details; the member must be present.
    pub metadata: Option<serde_json::Value>,
    /// From which address.
    pub ip: Option<String>,
    /// RFC 3339 with a fraction, UTC.
    pub timestamp: String,
}

/// `POST /api/remote/servers/{uuid}/container/status`; Pelican's and ours, stock panels answer 404.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    /// The change.
    pub data: StatusChange,
}

/// The change in [`StatusReport`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusChange {
    /// Before.
    pub previous_state: State,
    /// Now.
    pub new_state: State,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_zero(value: &u64) -> bool {
    *value == 0
}

fn null_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// PHP writes an empty map as `[]`; values may be numbers, booleans or null.
fn loose_map<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    use serde_json::Value;
    match Value::deserialize(deserializer)? {
        Value::Object(map) => Ok(map
            .into_iter()
            .map(|(key, value)| {
                let text = match value {
                    Value::Null => String::new(),
                    Value::String(text) => text,
                    other => other.to_string(),
                };
                (key, text)
            })
            .collect()),
        Value::Null | Value::Array(_) => Ok(BTreeMap::new()),
        other => Err(serde::de::Error::custom(format!("expected a map, got {other}"))),
    }
}

fn loose_ports<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Vec<u16>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Loose {
        Map(BTreeMap<String, Vec<u16>>),
        Empty(#[allow(dead_code)] Vec<()>),
    }
    Ok(match Loose::deserialize(deserializer)? {
        Loose::Map(map) => map,
        Loose::Empty(_) => BTreeMap::new(),
    })
}
