//! What runs a game: a process of this machine or a container, held by a shim in either case. Here a start begins.

pub(crate) mod cgroup;
pub(crate) mod docker;
pub(crate) mod holder;
pub(crate) mod host;
pub(crate) mod install;
pub(crate) mod isolation;
pub(crate) mod leftovers;
pub(crate) mod link;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod shim;
pub(crate) mod traffic;

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use spool::ready::Stage;
use spool::spec::Console;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wire::console::Event;
use wire::ids::ServerId;
use wire::remote::{Definition, RuntimeKind};

use crate::node::Node;
use crate::runtime::cgroup::{Leaf, Machine};
use crate::runtime::docker::{Engine, EngineError};
use crate::runtime::holder::{Found, Holder};
use crate::server::launch::DefinitionError;
use crate::server::{FILES_DIR, Server};

/// The terminal's size: wide enough that games rarely wrap, the same for all viewers.
const PTY: Console = Console::Pty { rows: 50, columns: 200 };
/// How long a start waits for the panel's newest definition before it goes on with the one kept here.
const DEFINITION_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a shim may take to say how the start went. After that it is looked for as long as it holds the log.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Open files of a game.
const OPEN_FILES_MAX: u64 = 65_536;
/// Others neither read nor write what a game writes.
const UMASK: u32 = 0o027;
/// Folder of a container's shim, in its server's own: its socket, what it is to run, its answer.
const CONTAINER_DIR: &str = "run";
/// What a start has to tell and nobody has heard yet; more is left out.
const TOLD_MAX: usize = 64;

/// Why there is no process; the text goes to the console and to whoever asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    #[error("the server is suspended")]
    Suspended,
    #[error("the panel has no such server any more")]
    Unknown,
    #[error("it was asked to end before it had begun")]
    Unwanted,
    #[error("the process that holds its last run does not answer; it is asked again every few seconds, try later")]
    Held,
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    #[error("the server's folder cannot be prepared: {0}")]
    Folder(io::Error),
    #[error(
        "the program `{program}` lies where games of this node may not read; put it into the server's files, or name its folder in `readable` of the node's [isolation] settings"
    )]
    Closed {
        /// Its path.
        program: String,
    },
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("the limits cannot be set: {0}")]
    Limits(io::Error),
    #[error("the shim cannot be started: {0}")]
    Shim(io::Error),
    #[error("its start took more than {} s and came to nothing", START_TIMEOUT.as_secs())]
    Late,
    #[error("{text}")]
    Refused {
        /// A sentence for people.
        text: String,
    },
}

/// Where a run takes place.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The control groups of its processes.
    pub(crate) leaf: Leaf,
    /// Its container, if it is in one.
    pub(crate) container: Option<Container>,
}

/// A server's container, whichever it is at the moment.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    engine: Engine,
    server: ServerId,
}

impl Place {
    /// In a container of this server.
    pub(crate) fn contained(node: &Node, server: ServerId, leaf: Leaf) -> Self {
        Self { leaf, container: Some(Container { engine: node.engine.clone(), server }) }
    }

    /// Where a game is that was found running; `known` is where it was thought to be.
    pub(crate) fn of(node: &Node, server: ServerId, holder: &Holder, known: Option<&Self>) -> Self {
        if holder.is_contained {
            return Self::contained(node, server, Machine::of_process(holder.shim_pid));
        }
        let leaf = known.map_or_else(|| node.machine.existing(&server.short()), |known| known.leaf.clone());
        Self { leaf, container: None }
    }

    /// The run is over, and nothing of it is left: its place goes.
    pub(crate) async fn remove(&self) {
        self.leaf.remove();
        if let Some(Container { engine, server }) = &self.container
            && let Err(error) = engine.remove(*server).await
        {
            // The next start, or the server's deletion, tries again.
            tracing::warn!(%server, %error, "the container of an ended run is left behind");
        }
    }
}

impl Container {
    /// Ends it, shim and all.
    pub(crate) async fn kill(self) {
        if let Err(error) = self.engine.kill(self.server).await {
            tracing::error!(server = %self.server, %error, "the container cannot be killed");
        }
    }
}

/// What a start has to tell while it is under way.
#[derive(Clone)]
pub(crate) struct Story {
    notes: mpsc::Sender<String>,
    server: Server,
}

impl Story {
    /// Of a start of this server; the notes are for its log.
    pub(crate) fn new(server: Server) -> (Self, mpsc::Receiver<String>) {
        let (notes, receiver) = mpsc::channel(TOLD_MAX);
        (Self { notes, server }, receiver)
    }

    /// A line of the node's own, for everybody.
    pub(crate) fn note(&self, text: String) {
        if self.notes.try_send(text).is_err() {
            tracing::warn!(server = %self.server.id(), "a line of a start is left out");
        }
    }

    /// A line for those who watch installations.
    pub(crate) fn install_output(&self, text: String) {
        self.server.console().hub().announce(Event::InstallOutput(text));
    }
}

/// A game that was started.
pub(crate) struct Launched {
    /// Who holds it by now; nobody if it has ended already.
    pub(crate) found: Found,
    pub(crate) run_id: [u8; 16],
    pub(crate) pid: u32,
    pub(crate) place: Place,
    /// The definition that was known when the launch began.
    pub(crate) kept: Arc<Definition>,
    /// The panel's, if it could be had.
    pub(crate) newer: Option<Definition>,
}

/// Starts a game: newest definition, files, limits, shim.
pub(crate) async fn launch(
    node: Arc<Node>,
    server: Server,
    kept: Arc<Definition>,
    unwanted: CancellationToken,
    story: Story,
) -> Result<Launched, LaunchError> {
    let fetched = tokio::select! {
        biased;
        () = unwanted.cancelled() => return Err(LaunchError::Unwanted),
        fetched = tokio::time::timeout(DEFINITION_TIMEOUT, node.remote.server(server.id())) => fetched,
    };
    let fetched = match fetched {
        Ok(Ok(definition)) => Some(definition),
        Ok(Err(crate::remote::RemoteError::NotFound)) => return Err(LaunchError::Unknown),
        // The panel being away is no reason not to play.
        Ok(Err(error)) => {
            tracing::warn!(server = %server.id(), %error, "starting with the definition kept here");
            None
        }
        Err(_) => None,
    };
    let definition = fetched.clone().unwrap_or_else(|| (*kept).clone());
    if definition.settings.suspended {
        return Err(LaunchError::Suspended);
    }
    let (found, pid, run_id, place) = match kind(&node, &definition) {
        RuntimeKind::Process => process::launch(&node, &server, &definition, &unwanted, &story).await?,
        RuntimeKind::Docker => {
            let (found, pid, run_id) = docker::launch(&node, &server, &definition, &unwanted, &story).await?;
            let shim = if let Found::Running(holder) = &found { holder.shim_pid } else { 0 };
            (found, pid, run_id, Place::contained(&node, server.id(), Machine::of_process(shim)))
        }
    };
    Ok(Launched { found, run_id, pid, place, kept, newer: fetched })
}

/// What runs a server's game: what its definition says, else a container if it has an image and there is an engine.
pub(crate) fn kind(node: &Node, definition: &Definition) -> RuntimeKind {
    let container = &definition.settings.container;
    match container.runtime {
        Some(kind) => kind,
        None if !container.image.trim().is_empty() && node.engine.is_wanted() => RuntimeKind::Docker,
        None => RuntimeKind::Process,
    }
}

/// Makes the folder of a game's files, if it is not there, in the folder of its server.
pub(crate) fn files_folder(dir: &Path) -> std::io::Result<PathBuf> {
    let files = dir.join(FILES_DIR);
    std::fs::DirBuilder::new().recursive(true).mode(0o750).create(&files)?;
    Ok(files)
}

/// Why a shim could not start a game, for people.
fn refused(stage: Stage, errno: i32, text: &str, program: &str) -> String {
    match (stage, errno) {
        // Only in an image: of this machine's programs it is known before.
        (Stage::Exec, libc::ENOENT) => {
            format!(
                "the program `{program}` is not installed in the image; choose another image or correct the start command"
            )
        }
        (Stage::Exec, libc::EACCES) => {
            format!(
                "`{program}` may not be run: it is not an executable file; correct the start command or the file's mode"
            )
        }
        (Stage::Exec, _) => {
            let reason = io::Error::from_raw_os_error(errno);
            format!("`{program}` cannot be run: {reason}; correct the start command")
        }
        _ => format!("the start failed at `{stage}`: {text}"),
    }
}

/// The signal of a stop: `C` (a terminal's ^C) is SIGINT, names with or without `SIG`, anything else SIGTERM.
pub(crate) fn signal_number(name: &str) -> i32 {
    match name.trim() {
        "C" | "c" => libc::SIGINT,
        // What panels make of `^^C`.
        "^C" | "^c" => libc::SIGKILL,
        name => match name.parse() {
            Ok(engine::power::ExitKind::Signal(number)) => number,
            _ => libc::SIGTERM,
        },
    }
}

/// A run's id as it stands in files.
pub(crate) fn hex(id: &[u8; 16]) -> String {
    uuid::Uuid::from_bytes(*id).simple().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_signals_are_those_that_definitions_mean() {
        assert_eq!(signal_number("C"), libc::SIGINT);
        assert_eq!(signal_number("SIGINT"), libc::SIGINT);
        assert_eq!(signal_number("TERM"), libc::SIGTERM);
        assert_eq!(signal_number("^C"), libc::SIGKILL);
        assert_eq!(signal_number("SIGQUIT"), libc::SIGQUIT);
        assert_eq!(signal_number("banana"), libc::SIGTERM);
    }
}
