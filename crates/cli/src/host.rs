//! The serving commands: what `up`, `panel` and `node` share around panel, daemon and listener.

pub(crate) mod doctor;
pub(crate) mod node;
pub(crate) mod panel;
pub(crate) mod site;
pub(crate) mod up;

mod first;
mod log;

use std::path::PathBuf;
use std::process::exit;

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use crate::args::Global;
use crate::args::host::{PanelSettings, Serve};
use crate::client::rest::chain;
use crate::fault::Fault;
use crate::folder::{Folder, FolderLock};
use crate::serve::Listener;
use crate::settings::Settings;

/// Open files asked of the system: sockets of viewers, logs of games. The system may allow fewer.
const OPEN_FILES_WANTED: u64 = 65_536;
/// Exit code of a second Ctrl-C, as shells give it.
const EXIT_INTERRUPTED: i32 = 130;

/// A data folder that is ours alone, and a port.
pub(crate) struct Ground {
    pub(crate) folder: Folder,
    pub(crate) settings: Settings,
    pub(crate) listener: Listener,
    pub(crate) signals: Signals,
    /// Held until the end, by whoever holds the ground.
    pub(crate) lock: FolderLock,
}

impl Ground {
    /// Everything that can fail for reasons of this machine, in the order in which the messages help most.
    pub(crate) async fn prepare(global: &Global, serve: &Serve, panel: &PanelSettings) -> Result<Self, Fault> {
        // Whatever is written from here on is for our own user only.
        umask(Mode::RWXG | Mode::RWXO);
        let folder = Folder::locate(global.data.as_deref())?;
        folder.create()?;
        let settings = Settings::load(&folder.settings_file(), serve, panel)?;
        let lock = folder.lock()?;
        log::start(settings.log_format);
        raise_open_files();
        let signals = Signals::listen()?;
        let listener = Listener::bind(settings.listen).await?;
        Ok(Self { folder, settings, listener, signals, lock })
    }

    /// What the panel is told.
    pub(crate) fn panel_config(&self) -> ::panel::Config {
        let mut config = ::panel::Config::new(self.folder.database());
        self.settings.apply_to_panel(&mut config);
        config
    }

    /// Where the node keeps its things.
    pub(crate) fn node_dir(&self) -> PathBuf {
        self.folder.node()
    }
}

/// The signals that end us.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> Result<Self, Fault> {
        let failed = |error: std::io::Error| Fault::Failed(format!("cannot wait for signals: {error}"));
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
        })
    }

    /// Waits for one of them.
    pub(crate) async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Ends in order, unless a second signal says at once. Games go on either way.
    pub(crate) async fn end_or_else(&mut self, ending: impl Future<Output = ()>) {
        info!("stopping; games go on. Once more to end at once");
        tokio::select! {
            () = ending => {}
            () = self.wait() => {
                warn!("ended at once");
                exit(EXIT_INTERRUPTED);
            }
        }
    }
}

/// A fault about one of our halves, with its causes.
pub(crate) fn failed(what: &str, error: &dyn std::error::Error) -> Fault {
    Fault::Failed(format!("{what}: {}", chain(error)))
}

fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(OPEN_FILES_WANTED, |most| most.min(OPEN_FILES_WANTED));
    if limit.current.is_none_or(|current| current >= wanted) {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum }) {
        warn!(%error, "the limit of open files stays at {:?}", limit.current);
    }
}
