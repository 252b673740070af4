//! What an egg says, whatever file it came from.

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wire::remote::{ConfigFile, Startup};

/// A definition of a game, whatever format and version it was read from. Lists keep the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Egg {
    /// Its own uuid, in formats that have one.
    pub uuid: Option<Uuid>,
    /// Name.
    pub name: String,
    /// E-mail address of whoever wrote it; may be empty.
    pub author: String,
    /// For people; may be empty.
    pub description: String,
    /// Where newer versions of the file are.
    pub update_url: Option<String>,
    /// When the file was written, as it stands there.
    pub exported_at: Option<String>,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// Helpers of the interface that look at the console, such as `eula`.
    pub features: Vec<String>,
    /// Container images; the first is the default.
    pub images: Vec<Image>,
    /// Files that users may neither open nor change, as patterns of gitignore.
    pub file_denylist: Vec<String>,
    /// Command lines with `{{VAR}}`, each with its label; the first is the default.
    pub startup: Vec<(String, String)>,
    /// When it is ready, how it stops, what is set in its files.
    pub config: Config,
    /// How its files come to be.
    pub install: Install,
    /// What can be set.
    pub variables: Vec<Variable>,
    /// An image of the egg itself, as a `data:` URI.
    pub icon: Option<String>,
}

/// A container image, with what it is called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// For people, such as `Java 21`.
    pub label: String,
    /// Reference, such as `ghcr.io/pterodactyl/yolks:java_21`.
    pub image: String,
}

/// The `config` member.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// When it is ready.
    pub startup: Startup,
    /// How it stops, as it stands in the file: `^C` or a command.
    pub stop: String,
    /// What is set in its files before each start. Values have placeholders as panels know them, such as `{{server.build.default.port}}`.
    pub files: Vec<ConfigFile>,
}

/// The `scripts.installation` member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Install {
    /// The script with `\n` line ends; empty when there is nothing to do.
    pub script: String,
    /// Image it runs in.
    pub container: String,
    /// Program that gets the script, such as `bash`.
    pub entrypoint: String,
}

/// Something that can be set for each server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    /// For people.
    pub name: String,
    /// For people; may be empty.
    pub description: String,
    /// Name in the environment.
    pub env_variable: String,
    /// Value unless something else is set.
    pub default_value: String,
    /// Whether users see it.
    pub user_viewable: bool,
    /// Whether users may change it.
    pub user_editable: bool,
    /// What a value has to be, one rule each, as Laravel writes them: `required`, `max:20`, `regex:/^a|b$/`.
    pub rules: Vec<String>,
}
