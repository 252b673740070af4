//! Whether the kernel killed something of the game for want of memory, as far as its cgroups tell.

use std::fs;
use std::path::{Path, PathBuf};

/// Files that count such kills, of cgroup version 2 and 1.
const COUNTERS: [&str; 2] = ["memory.events", "memory.oom_control"];

/// Where a container's own groups are mounted, of version 1 and 2.
const CONTAINER_GROUPS: [&str; 2] = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"];

/// The count at the start of the run.
pub(crate) struct OomKills {
    files: Vec<PathBuf>,
    before: u64,
}

impl OomKills {
    /// Looks beside each `cgroup.procs` file the game joins. None with a counter: never any kills.
    pub(crate) fn watch(cgroup_procs: &[PathBuf]) -> Self {
        let groups = cgroup_procs.iter().filter_map(|path| path.parent());
        let files = groups.flat_map(|group| COUNTERS.map(|name| group.join(name))).filter(|path| path.exists());
        let files: Vec<PathBuf> = files.collect();
        let before = total(&files);
        Self { files, before }
    }

    /// Looks where a container sees its own groups.
    pub(crate) fn of_container() -> Self {
        Self::watch(&CONTAINER_GROUPS.map(|group| Path::new(group).join("cgroup.procs")))
    }

    /// Whether there have been any since.
    pub(crate) fn happened(&self) -> bool {
        total(&self.files) > self.before
    }
}

fn total(files: &[PathBuf]) -> u64 {
    files.iter().map(|path| count(path)).sum()
}

fn count(path: &Path) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0)
}
