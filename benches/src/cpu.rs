//! What processes have used: time of the processors and memory, as the kernel counts it.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_setaffinity};

/// Keeps this thread, and the processes it starts, on one core. Two that are measured do not get into each other's way.
pub(crate) fn pin(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    // A machine with one core has no choice, and the figures say how many it has.
    let _ = sched_setaffinity(None, &set);
}

/// Time that each thread of a process, or of some, has been running, by its number: nanoseconds, not clock ticks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Used(HashMap<u32, u64>);

impl Used {
    /// What was used since then. A thread that has ended takes its count with it; it ends after seconds without work, so it has
    /// used next to nothing since.
    #[expect(clippy::needless_pass_by_value, reason = "as it is with a Duration")]
    pub(crate) fn saturating_sub(&self, before: Self) -> Duration {
        let since =
            |(thread, nanos): (&u32, &u64)| nanos.saturating_sub(before.0.get(thread).copied().unwrap_or_default());
        Duration::from_nanos(self.0.iter().map(since).sum())
    }

    /// All of it.
    pub(crate) fn total(&self) -> Duration {
        self.saturating_sub(Self::default())
    }
}

impl std::ops::Add for Used {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }
}

/// What a process has used.
pub(crate) fn used(pid: u32) -> Used {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let nanos = tasks.filter_map(|task| {
        let stat = fs::read_to_string(task.path().join("schedstat")).ok()?;
        let thread = task.file_name().to_str()?.parse().ok()?;
        Some((thread, stat.split_whitespace().next()?.parse::<u64>().ok()?))
    });
    Used(nanos.collect())
}

/// Resident memory in bytes.
pub(crate) fn resident(pid: u32) -> u64 {
    status(pid, "VmRSS:")
}

/// The most that was resident since [`forget_peak`], in bytes.
pub(crate) fn peak(pid: u32) -> u64 {
    status(pid, "VmHWM:")
}

/// From here on the peak is counted anew.
pub(crate) fn forget_peak(pid: u32) {
    // See proc(5), /proc/pid/clear_refs. Where it may not be written the peak is that of the whole life: no less than what is asked for.
    let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

/// A size that the kernel tells in KiB, in bytes.
fn status(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() * 1024
}

/// The parent of a process.
pub(crate) fn parent(pid: u64) -> u32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap_or_default();
    line.trim().parse().unwrap_or_default()
}
