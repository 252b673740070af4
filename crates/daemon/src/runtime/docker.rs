//! Games in containers, of Docker or of Podman, which speaks the same API: the shim is the container's first process, so the log, the
//! console, the end and all that follows from them are the same as for a process of this machine.
//!
//! The engine is asked to make, start and remove; what happens in between the shim says. So an engine that is started again costs
//! nothing, as long as it leaves its containers alone meanwhile.

mod container;
mod image;
mod network;
mod start;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bollard::errors::Error;
use bollard::query_parameters::{KillContainerOptions, ListContainersOptions, RemoveContainerOptions};
use bollard::{API_DEFAULT_VERSION, Docker};
use spool::message::rung;
use tokio::sync::OnceCell;
use uuid::Uuid;
use wire::ids::ServerId;
use wire::node::{EngineReport, Isolation};

use crate::config::{ContainerSettings, Containers};
use crate::runtime::isolation::Game;

pub(crate) use start::{install, launch};

/// Where engines listen, in the order in which they are looked for.
const SOCKETS: [&str; 3] = ["/var/run/docker.sock", "/run/docker.sock", "/run/podman/podman.sock"];
/// The same below the folder of a user's own.
const USER_SOCKETS: [&str; 2] = ["docker.sock", "podman/podman.sock"];
/// Seconds an answer may take that comes at once: not the pull of an image, whose news come one by one.
const ANSWER_TIMEOUT_S: u64 = 60;
/// Carries the uuid of the server that a container or a network is for.
const SERVER_LABEL: &str = "quarterdeck.server";
/// Carries the uuid of the node it is of, so that two nodes of one machine leave each other's alone.
const NODE_LABEL: &str = "quarterdeck.node";

/// How long the engine may take to say what it is before it counts as silent for those who only look.
const REPORT_TIMEOUT: Duration = Duration::from_secs(3);

/// Why something of a container cannot be done; the text goes to the console and to whoever asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    #[error(
        "containers are switched off on this node; set `mode` of its [containers] settings, or give the server no image"
    )]
    Off,
    #[error(
        "this node has no container engine: there is no socket at {0}; install Docker or Podman, or name the socket in its [containers] settings"
    )]
    NoSocket(String),
    #[error("the container engine at {} does not answer ({why}); start it", .endpoint.display())]
    Silent { endpoint: PathBuf, why: String },
    #[error("the container engine cannot {what}: {why}")]
    Refused { what: &'static str, why: String },
}

/// The engine of a node, whether or not there is one.
#[derive(Clone, Debug)]
pub(crate) struct Engine(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: ContainerSettings,
    node: Uuid,
    /// The client, once an engine has said which version of its API it speaks.
    client: OnceCell<Docker>,
}

/// What is known of an engine that answers.
#[derive(Clone)]
pub(crate) struct Known {
    name: String,
    version: String,
    /// Whether its containers outlive it.
    keeps_containers: bool,
    /// Whether root in a container is somebody else outside, unless it is told otherwise.
    maps_users: bool,
    /// Whether it runs as somebody who is not root.
    is_rootless: bool,
    counts: [i64; 4],
}

impl Engine {
    /// That of a node with these settings. Looks for nothing yet.
    pub(crate) fn new(settings: ContainerSettings, node: Uuid) -> Self {
        Self(Arc::new(Inner { settings, node, client: OnceCell::new() }))
    }

    pub(crate) fn settings(&self) -> &ContainerSettings {
        &self.0.settings
    }

    /// Whether a game that has an image runs in a container, when its definition does not say.
    pub(crate) fn is_wanted(&self) -> bool {
        match self.0.settings.mode {
            Containers::Off => false,
            Containers::On => true,
            Containers::Auto => self.endpoint().is_some(),
        }
    }

    /// Where the engine is, if there is one.
    pub(crate) fn endpoint(&self) -> Option<PathBuf> {
        places(&self.0.settings).into_iter().find(|path| path.exists())
    }

    /// A client for an engine that answers.
    async fn client(&self) -> Result<&Docker, EngineError> {
        if self.0.settings.mode == Containers::Off {
            return Err(EngineError::Off);
        }
        let connect = || async {
            let places = places(&self.0.settings);
            let Some(endpoint) = places.iter().find(|path| path.exists()).cloned() else {
                let places: Vec<String> = places.iter().map(|path| path.display().to_string()).collect();
                return Err(EngineError::NoSocket(places.join(", ")));
            };
            let client = Docker::connect_with_unix(&endpoint.to_string_lossy(), ANSWER_TIMEOUT_S, API_DEFAULT_VERSION);
            // Engines are older than clients know; which version this one speaks it says when asked without any.
            let connected = match client {
                Ok(client) => client.negotiate_version().await,
                Err(error) => Err(error),
            };
            connected.map_err(|error| EngineError::Silent { endpoint, why: words(&error) })
        };
        self.0.client.get_or_try_init(connect).await
    }

    /// What the engine says of itself.
    pub(crate) async fn known(&self) -> Result<Known, EngineError> {
        let client = self.client().await?;
        let failed = |error: Error| self.failed("say what it is", &error);
        let version = client.version().await.map_err(failed)?;
        let info = client.info().await.map_err(failed)?;
        let parts = version.components.unwrap_or_default();
        let is_podman = parts.iter().any(|part| part.name.to_ascii_lowercase().contains("podman"));
        let options = info.security_options.unwrap_or_default();
        let has = |name: &str| options.iter().any(|option| option.contains(name));
        let count = |number: Option<i64>| number.unwrap_or_default();
        Ok(Known {
            name: if is_podman { "Podman" } else { "Docker" }.to_owned(),
            version: version.version.unwrap_or_default(),
            // Podman has no daemon that could take its containers with it.
            keeps_containers: is_podman || info.live_restore_enabled.unwrap_or(false),
            maps_users: has("name=userns"),
            is_rootless: has("name=rootless") || has("rootless"),
            counts: [info.containers, info.containers_running, info.containers_paused, info.containers_stopped]
                .map(count),
        })
    }

    /// What there is to tell of the engine; none where containers are not wanted.
    pub(crate) async fn report(&self) -> Option<EngineReport> {
        if self.0.settings.mode == Containers::Off {
            return None;
        }
        let endpoint = self.endpoint().map(|path| path.display().to_string()).unwrap_or_default();
        let known = tokio::time::timeout(REPORT_TIMEOUT, self.known()).await.unwrap_or_else(|_| {
            let why = format!("no answer within {} s", REPORT_TIMEOUT.as_secs());
            Err(EngineError::Silent { endpoint: self.endpoint().unwrap_or_default(), why })
        });
        Some(match known {
            Ok(known) => {
                EngineReport { endpoint, notes: known.notes(), name: known.name, version: known.version, error: None }
            }
            Err(error) => EngineReport { endpoint, error: Some(error.to_string()), ..EngineReport::default() },
        })
    }

    /// Ends a server's containers at once and removes them, whichever run they are of. Those that are not there are no failure.
    pub(crate) async fn remove(&self, server: ServerId) -> Result<(), EngineError> {
        let client = self.client().await?;
        for id in self.containers_of(client, server).await? {
            let options = RemoveContainerOptions { force: true, v: true, ..Default::default() };
            match client.remove_container(&id, Some(options)).await {
                Ok(()) | Err(Error::DockerResponseServerError { status_code: 404 | 409, .. }) => {}
                Err(error) => return Err(self.failed("remove the container", &error)),
            }
        }
        Ok(())
    }

    /// Ends a server's containers at once: for a shim that does not.
    pub(crate) async fn kill(&self, server: ServerId) -> Result<(), EngineError> {
        let client = self.client().await?;
        for id in self.containers_of(client, server).await? {
            match client.kill_container(&id, None::<KillContainerOptions>).await {
                // Not there, or not running.
                Ok(()) | Err(Error::DockerResponseServerError { status_code: 404 | 409, .. }) => {}
                Err(error) => return Err(self.failed("kill the container", &error)),
            }
        }
        Ok(())
    }

    /// The server is no more: nothing of it stays in the engine. Without an engine there is nothing.
    pub(crate) async fn forget(&self, server: ServerId) -> Result<(), EngineError> {
        if !self.is_wanted() {
            return Ok(());
        }
        self.remove(server).await?;
        network::remove(self, server).await
    }

    /// The containers of one of our servers, running or not.
    async fn containers_of(&self, client: &Docker, server: ServerId) -> Result<Vec<String>, EngineError> {
        let labels = vec![format!("{SERVER_LABEL}={server}"), format!("{NODE_LABEL}={}", self.0.node)];
        let filters = Some(HashMap::from([("label".to_owned(), labels)]));
        let options = ListContainersOptions { all: true, filters, ..Default::default() };
        let listed = client.list_containers(Some(options)).await;
        let listed = listed.map_err(|error| self.failed("list containers", &error))?;
        Ok(listed.into_iter().filter_map(|container| container.id).collect())
    }

    /// Labels of all that is made for a server.
    fn labels(&self, server: ServerId) -> HashMap<String, String> {
        HashMap::from([
            (SERVER_LABEL.to_owned(), server.to_string()),
            (NODE_LABEL.to_owned(), self.0.node.to_string()),
            ("org.opencontainers.image.vendor".to_owned(), "Quarterdeck".to_owned()),
        ])
    }

    fn failed(&self, what: &'static str, error: &Error) -> EngineError {
        match error {
            Error::DockerResponseServerError { message, .. } => EngineError::Refused { what, why: message.clone() },
            Error::DockerStreamError { error } => EngineError::Refused { what, why: error.clone() },
            error => EngineError::Silent { endpoint: self.endpoint().unwrap_or_default(), why: words(error) },
        }
    }
}

impl Known {
    /// What is to be known though it runs.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.keeps_containers {
            let text = "when the engine is started again it stops all containers; set \"live-restore\": true in its daemon.json to keep them";
            notes.push(text.to_owned());
        }
        if self.is_rootless {
            notes.push("it runs without root: games have no user of their own in their containers".to_owned());
        }
        notes
    }

    /// Name and version.
    pub(crate) fn title(&self) -> (String, String) {
        (self.name.clone(), self.version.clone())
    }

    /// Containers in all, running, paused, stopped.
    pub(crate) fn counts(&self) -> [usize; 4] {
        self.counts.map(|count| usize::try_from(count).unwrap_or(0))
    }
}

/// What keeps a game in a container apart, and what does not and why.
pub(crate) fn isolation(has_users: bool, game: Game) -> Isolation {
    let has_own_user = match game {
        Game::Absent => has_users,
        Game::Has(bits) => bits & rung::OWN_USER != 0,
        Game::Unknown => false,
    };
    let rungs = [
        "container",
        "namespaces",
        "network",
        "read_only_root",
        "session",
        "rlimits",
        "clean_env",
        "no_new_privs",
        "capabilities",
        "seccomp:engine",
        "memory:engine",
        "cpu:engine",
        "pids:engine",
        "threads:engine",
        "io:engine",
    ];
    let mut active: Vec<String> = rungs.map(str::to_owned).to_vec();
    let mut missing = vec!["disk: this limit is kept with the server and not enforced".to_owned()];
    if has_own_user {
        active.push("uid".to_owned());
    } else {
        missing.push("uid: it is who its shim is, and could write into its own log".to_owned());
    }
    Isolation { active, missing }
}

/// Where an engine may be.
fn places(settings: &ContainerSettings) -> Vec<PathBuf> {
    if let Some(socket) = &settings.socket {
        return vec![socket.clone()];
    }
    let of_user = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let of_user = of_user.iter().flat_map(|folder| USER_SOCKETS.map(|name| folder.join(name)));
    SOCKETS.iter().map(|path| Path::new(path).to_owned()).chain(of_user).collect()
}

/// An error in words, with what lies under it: the outermost often says only that something went wrong.
fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text
}
