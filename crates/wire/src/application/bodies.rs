//! Bodies that make or change a game server: everything the panel reads of them, as its description has it. The panel itself takes a
//! little more, such as digits in a string for a number.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::remote::{ConsoleMode, RuntimeKind};

/// What names a person, a node or a server in a body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum NumberOrWord {
    /// Its number on this panel.
    Number(u64),
    /// Its number, uuid or name.
    Word(String),
}

/// One text, or a list of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum TextOrTexts {
    /// One.
    Text(String),
    /// Several.
    Texts(Vec<String>),
}

/// Body of `POST /api/application/servers`. Only `name`, and `egg`, `template` or `command`, must be there.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct CreateServer {
    /// Shown everywhere.
    #[schema(required)]
    pub name: String,
    /// Shown beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Name elsewhere; unique.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// Number, uuid or login name of its owner; the caller when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<NumberOrWord>)]
    pub user: Option<String>,
    /// Number, uuid or name of its node; the only one, or the panel's own, when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<NumberOrWord>)]
    pub node: Option<String>,
    /// Another name for `node`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<NumberOrWord>)]
    pub node_id: Option<String>,
    /// Start from this, by number, uuid or name; see `GET /api/application/eggs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<NumberOrWord>)]
    pub egg: Option<String>,
    /// Not read: an egg is in one nest.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<NumberOrWord>)]
    pub nest: Option<String>,
    /// What runs it; when left out, a container if the egg has an image and the node an engine, else a process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<RuntimeKind>,
    /// Leave out the egg's script.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skip_scripts: Option<bool>,
    /// Free addresses of a node, by number; the server is made on that node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocation: Option<NewAllocation>,
    /// Or where to look for a free one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deploy: Option<Deploy>,
    /// Start from this; see `GET /api/application/templates`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Command line; split into words as a shell would, then `{{PORT}}`, `{{BIND}}`, `{{DIR}}`, `{{NAME}}` and variables are
    /// filled in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Another name for `command`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub startup: Option<String>,
    /// Texts of a line that mean ready, or `regex:` and an expression; one may stand without a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<TextOrTexts>)]
    pub ready: Option<Vec<String>>,
    /// Text for stdin, or `^C` or `^SIGNAME` for a signal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<String>,
    /// Terminal or pipes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console: Option<ConsoleMode>,
    /// Milliseconds from the request to stop until it is killed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace_ms: Option<u64>,
    /// Milliseconds after which it counts as running without a ready line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settle_ms: Option<u64>,
    /// Exits that are no crash: `0`, `SIGTERM`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success_exit: Option<Vec<String>>,
    /// Variables, beside the template's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, VariableValue>)]
    pub environment: BTreeMap<String, String>,
    /// Files by relative path, written before a start when they are not there.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
    /// Port to listen on; the lowest free one of the node's range when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// MiB; `limits.memory` is another name for it, likewise with `cpu` and `disk`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Percent of one core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u64>,
    /// MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<u64>,
    /// Processes and threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
    /// Whether the kernel may not kill for memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_disabled: Option<bool>,
    /// Container image; empty for a plain process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Another name for `image`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docker_image: Option<String>,
    /// Stock limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<NewLimits>,
    /// How many of what it may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feature_limits: Option<SomeFeatureLimits>,
    /// Whether an unexpected exit is answered by a start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crash_detection: Option<bool>,
    /// Start it when the node has it.
    pub start_on_completion: bool,
}

/// Addresses of a new server.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct NewAllocation {
    /// Number of the main one.
    pub default: Option<u64>,
    /// Numbers of further ones.
    pub additional: Option<Vec<u64>>,
}

/// Where a new server's main address is looked for.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Deploy {
    /// All nodes are in location 1; empty is everywhere.
    pub locations: Option<Vec<u64>>,
    /// It must be one that no other server has.
    pub dedicated_ip: Option<bool>,
    /// Ports, and ranges such as `25570-25580`; empty is the node's range.
    pub port_range: Option<Vec<String>>,
}

/// The stock place of a new server's limits; 0 is unlimited.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct NewLimits {
    /// MiB.
    pub memory: Option<u64>,
    /// MiB; -1 is unlimited.
    pub swap: Option<i64>,
    /// MiB.
    pub disk: Option<u64>,
    /// Relative weight, 10-1000.
    pub io: Option<u64>,
    /// Percent of one core.
    pub cpu: Option<u64>,
    /// CPU list such as `0-1,3`.
    pub threads: Option<String>,
}

/// How many of what a server may have; what is left out stays, and is 0 for a new one.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[allow(missing_docs)]
pub struct SomeFeatureLimits {
    pub databases: Option<u64>,
    pub allocations: Option<u64>,
    pub backups: Option<u64>,
}

/// Body of `PATCH /api/application/servers/{id}/details`; what is left out stays.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct UpdateDetails {
    /// Shown everywhere.
    #[schema(nullable = false)]
    pub name: Option<String>,
    /// Shown beside it; null is the empty one.
    pub description: Option<String>,
    /// Name elsewhere; unique; null takes it away.
    pub external_id: Option<String>,
    /// Number, uuid or login name of the new owner.
    pub user: Option<NumberOrWord>,
}

/// Body of `PATCH /api/application/servers/{id}/build`; what is left out stays.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct UpdateBuild {
    /// New limits.
    #[serde(flatten)]
    pub limits: SomeLimits,
    /// The same in their stock place. What stands in both counts as it stands beside it.
    #[serde(rename = "limits")]
    pub stock_limits: Option<SomeLimits>,
    /// How many of what it may have.
    pub feature_limits: Option<SomeFeatureLimits>,
    /// Number of one of its addresses that becomes the main one.
    pub allocation: Option<u64>,
    /// Numbers of free addresses of its node that it gets.
    pub add_allocations: Option<Vec<u64>>,
    /// Numbers of addresses that it leaves.
    pub remove_allocations: Option<Vec<u64>>,
}

/// Limits of [`UpdateBuild`]; 0 is unlimited.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct SomeLimits {
    /// MiB.
    pub memory: Option<u64>,
    /// MiB; -1 is unlimited.
    pub swap: Option<i64>,
    /// MiB.
    pub disk: Option<u64>,
    /// Relative weight, 10-1000.
    pub io: Option<u64>,
    /// Percent of one core.
    pub cpu: Option<u64>,
    /// CPU list such as `0-1,3`; null is all of them.
    pub threads: Option<String>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Whether the kernel may not kill for memory.
    pub oom_disabled: Option<bool>,
}

/// Body of `PATCH /api/application/servers/{id}/startup`; what is left out stays. It counts from the next start.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct UpdateStartup {
    /// Command line, as for a new server.
    pub command: Option<String>,
    /// Another name for `command`.
    pub startup: Option<String>,
    /// Make it one of this egg, by number, uuid or name: command line and image are its own unless they stand beside it.
    pub egg: Option<NumberOrWord>,
    /// Leave out the egg's script when it is installed.
    pub skip_scripts: Option<bool>,
    /// What runs it; null is for the node to decide.
    pub runtime: Option<RuntimeKind>,
    /// Variables; replaces those there are. Those of its egg that are left out stay as they are.
    pub environment: Option<BTreeMap<String, VariableValue>>,
    /// Texts of a line that mean ready, or `regex:` and an expression; one may stand without a list.
    pub ready: Option<TextOrTexts>,
    /// Text for stdin, or `^C` or `^SIGNAME` for a signal; null is the node's own way.
    pub stop: Option<String>,
    /// Terminal or pipes.
    pub console: Option<ConsoleMode>,
    /// Milliseconds from the request to stop until it is killed.
    pub grace_ms: Option<u64>,
    /// Milliseconds after which it counts as running without a ready line.
    pub settle_ms: Option<u64>,
    /// Exits that are no crash: `0`, `SIGTERM`.
    pub success_exit: Option<Vec<String>>,
    /// Container image; empty for a plain process.
    pub image: Option<String>,
    /// Another name for `image`.
    pub docker_image: Option<String>,
    /// Whether an unexpected exit is answered by a start; null is the node's default.
    pub crash_detection: Option<bool>,
}

/// The value of a start-up variable: a text, or what is written as one.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum VariableValue {
    /// As it is.
    Text(String),
    /// In decimal.
    Number(f64),
    /// `true` or `false`.
    Flag(bool),
}
