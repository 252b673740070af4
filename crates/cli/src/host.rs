//! The serving commands: what `up`, `panel` and `node` share around panel, daemon and listener.

pub(crate) mod doctor;
pub(crate) mod node;
pub(crate) mod panel;
pub(crate) mod site;
pub(crate) mod up;

mod first;
mod log;
mod service;
mod signals;

use std::path::PathBuf;

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};
use tracing::warn;

use crate::args::Global;
use crate::args::host::{PanelSettings, Serve};
use crate::client::rest::chain;
use crate::fault::Fault;
use crate::folder::{Folder, FolderLock};
use crate::host::service::Service;
use crate::host::signals::Signals;
use crate::serve::Listener;
use crate::settings::Settings;

/// Open files asked of the system: sockets of viewers, logs of games. The system may allow fewer.
const OPEN_FILES_WANTED: u64 = 65_536;

/// A data folder that is ours alone, and a port.
pub(crate) struct Ground {
    pub(crate) folder: Folder,
    pub(crate) settings: Settings,
    pub(crate) listener: Listener,
    pub(crate) signals: Signals,
    pub(crate) service: Service,
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
        let signals = Signals::listen(settings.end_within)?;
        let service = Service::of_environment();
        let listener = Listener::bind(settings.listen).await?;
        Ok(Self { folder, settings, listener, signals, service, lock })
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
