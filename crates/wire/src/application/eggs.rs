//! Definitions of games, their groups, and addresses of nodes, as administrators see them.

use std::collections::BTreeMap;

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use utoipa::ToSchema;

/// What hangs on a thing and was asked for with `include`, by name.
pub type Relationships = BTreeMap<String, Value>;

/// A group of eggs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Nest {
    /// Number on this panel.
    pub id: u64,
    /// Which.
    pub uuid: String,
    /// E-mail address of whoever made it.
    pub author: String,
    /// Unique.
    pub name: String,
    /// For people.
    pub description: String,
    /// ISO 8601.
    pub created_at: String,
    /// ISO 8601.
    pub updated_at: String,
    /// `eggs` and `servers`, when asked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, Object>)]
    pub relationships: Relationships,
}

/// Body of `POST /api/application/nests`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct CreateNest {
    /// Unique; no number and no uuid.
    pub name: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// E-mail address of whoever made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
}

/// A definition of a game.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Egg {
    /// Number on this panel.
    pub id: u64,
    /// Which.
    pub uuid: String,
    /// Name.
    pub name: String,
    /// Number of its nest.
    pub nest: u64,
    /// E-mail address of whoever wrote it.
    pub author: String,
    /// For people.
    pub description: String,
    /// The first of its images.
    pub docker_image: String,
    /// Its images, by what they are called.
    #[schema(value_type = BTreeMap<String, String>)]
    pub docker_images: Labels,
    /// When it is ready, how it stops, what is set in its files.
    pub config: EggConfig,
    /// Its first command line.
    pub startup: String,
    /// How its files come to be.
    pub script: EggScript,
    /// Helpers that look at the console, such as `eula`; ours.
    #[serde(default)]
    pub features: Vec<String>,
    /// Words to find it by; ours.
    #[serde(default)]
    pub tags: Vec<String>,
    /// ISO 8601.
    pub created_at: String,
    /// ISO 8601.
    pub updated_at: String,
    /// `variables`, `nest`, `servers`, `config` and `script`, when asked for; the last two are about eggs that take these from others,
    /// which ours do not.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, Object>)]
    pub relationships: Relationships,
}

/// The `config` member of [`Egg`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EggConfig {
    /// What is set in which file.
    #[schema(value_type = Object)]
    pub files: Value,
    /// When it is ready.
    #[schema(value_type = Object)]
    pub startup: Value,
    /// A command, or `^` and a signal.
    pub stop: String,
    /// Nothing any more.
    #[schema(value_type = Object)]
    pub logs: Value,
    /// Files that users may neither open nor change.
    pub file_denylist: Vec<String>,
    /// Always null: an egg has all that it needs.
    #[schema(value_type = Option<u64>)]
    pub extends: Option<u64>,
}

/// The `script` member of [`Egg`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EggScript {
    /// Always true, as on stock panels; nodes give it no more than it needs.
    pub privileged: bool,
    /// The script.
    pub install: String,
    /// Program that gets it.
    pub entry: String,
    /// Image it runs in.
    pub container: String,
    /// Always null: an egg has all that it needs.
    #[schema(value_type = Option<u64>)]
    pub extends: Option<u64>,
}

/// A variable of an egg; of a server with its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EggVariable {
    /// Number on this panel.
    pub id: u64,
    /// Number of its egg.
    pub egg_id: u64,
    /// For people.
    pub name: String,
    /// For people.
    pub description: String,
    /// Name in the environment.
    pub env_variable: String,
    /// Value unless something else is set.
    pub default_value: String,
    /// Whether users see it.
    pub user_viewable: bool,
    /// Whether users may change it.
    pub user_editable: bool,
    /// What a value has to be, with `|` between the rules.
    pub rules: String,
    /// ISO 8601.
    pub created_at: String,
    /// ISO 8601.
    pub updated_at: String,
    /// What it is set to; of a server only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_value: Option<String>,
}

/// An address of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = NodeAllocation)]
pub struct Allocation {
    /// Number on this panel.
    pub id: u64,
    /// Address.
    pub ip: String,
    /// What people see in its place.
    pub alias: Option<String>,
    /// Port.
    pub port: u16,
    /// Notes of the server's owner.
    pub notes: Option<String>,
    /// Whether a server has it.
    pub assigned: bool,
    /// `server` and `node`, when asked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, Object>)]
    pub relationships: Relationships,
}

/// Body of `POST /api/application/nodes/{node}/allocations`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct CreateAllocations {
    /// Address.
    pub ip: String,
    /// What people see in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// Ports, and ranges such as `25570-25580`.
    pub ports: Vec<String>,
}

/// Texts by names, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(pub Vec<(String, String)>);

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, text) in &self.0 {
            map.serialize_entry(name, text)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeMap::deserialize(deserializer).map(|map| Self(map.into_iter().collect()))
    }
}
