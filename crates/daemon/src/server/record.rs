//! What a daemon must know of a run that an earlier daemon started: one small file beside the log, there while a run is, or is
//! planned, or crashes in a row are remembered.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use wire::server::State;

use crate::runtime::shim::ShimProcess;
use crate::tasks::blocking;

const FILE_NAME: &str = "run.json";

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunRecord {
    /// Which run; hexadecimal. Empty while one is planned or on its way.
    pub(crate) run_id: String,
    /// How far it had come.
    pub(crate) state: State,
    /// Whether a process is wanted: still, or again after a stop.
    pub(crate) wanted: bool,
    /// Its shim, while one is known to live: for ending it even when it does not answer.
    #[serde(default)]
    pub(crate) shim: Option<ShimProcess>,
    /// Whether it is in a container.
    #[serde(default)]
    pub(crate) in_container: bool,
    /// In which boot of the machine; empty if that is not known.
    #[serde(default)]
    pub(crate) boot_id: String,
    /// Crashes since the last run that lasted.
    #[serde(default)]
    pub(crate) crashes_in_a_row: u32,
    /// Unix milliseconds of the start that back-off has planned.
    #[serde(default)]
    pub(crate) restart_at_ms: Option<u64>,
}

impl RunRecord {
    /// The record in a server's folder, if there is a readable one.
    pub(crate) async fn load(dir: &Path) -> Option<Self> {
        let path = dir.join(FILE_NAME);
        let read = {
            let path = path.clone();
            blocking(move || std::fs::read(path)).await.and_then(|read| read)
        };
        match read.and_then(|bytes| Ok(serde_json::from_slice(&bytes)?)) {
            Ok(record) => Some(record),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "the record of the last run cannot be read");
                None
            }
        }
    }

    /// Whether it speaks of this run, or of one that was on its way and may be this one.
    pub(crate) fn is_of(&self, run_id: &str) -> bool {
        self.run_id.is_empty() || self.run_id == run_id
    }

    /// The run's id, unless it was on its way.
    pub(crate) fn id(&self) -> Option<[u8; 16]> {
        uuid::Uuid::parse_str(&self.run_id).ok().map(uuid::Uuid::into_bytes)
    }

    /// Milliseconds until the start that is planned; none if none is. One that was on its way is due.
    pub(crate) fn restart_in_ms(&self, wall_ms: u64) -> Option<u64> {
        let planned = self.restart_at_ms.map(|at_ms| at_ms.saturating_sub(wall_ms));
        planned.or((self.wanted && self.run_id.is_empty()).then_some(0))
    }

    /// Puts it in place of the one before.
    pub(crate) async fn save(&self, dir: &Path) -> io::Result<()> {
        let (path, bytes) = (dir.join(FILE_NAME), serde_json::to_vec(self)?);
        blocking(move || replace(&path, &bytes)).await?
    }

    /// The run is over.
    pub(crate) async fn remove(dir: &Path) {
        let path = dir.join(FILE_NAME);
        // Not being there is what is wanted.
        let _ = blocking(move || std::fs::remove_file(path)).await;
    }
}

/// Writes a file whole or not at all, readable by its owner only.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;

    let new = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    let replaced = file.write_all(bytes).and_then(|()| std::fs::rename(&new, path));
    if replaced.is_err() {
        // A part of it is of no use, and on a full disk it takes what others need.
        let _ = std::fs::remove_file(&new);
    }
    replaced
}
