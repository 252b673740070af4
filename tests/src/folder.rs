//! A folder of one test and all that runs in it: games outlive the program, so whoever made the folder ends them.

use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// See the module. Dropped, it ends every process that has the folder in its environment, and is deleted.
pub struct Folder(TempDir);

impl Folder {
    /// A fresh one.
    ///
    /// # Panics
    /// When it cannot be made.
    #[allow(clippy::expect_used, clippy::new_without_default)]
    pub fn new() -> Self {
        Self(TempDir::with_prefix("quarterdeck-test-").expect("a folder"))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Games carry the folder in their environment; their shims end with them.
        let mark = self.path().as_os_str().as_encoded_bytes();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let pid = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
            let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            if let Some(pid) = pid.filter(|_| environ.windows(mark.len()).any(|part| part == mark)) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}
