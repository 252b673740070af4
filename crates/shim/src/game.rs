//! What is known of the game's main process.

use std::fs;

use rustix::process::Pid;
use spool::spec::LaunchSpec;

use crate::memory::OomKills;

/// A game that runs.
pub(crate) struct Game {
    pub(crate) pid: Pid,
    /// Start time in clock ticks since boot; with it, a pid is unique.
    pub(crate) start_ticks: u64,
    pub(crate) started_ms: u64,
    pub(crate) run_id: [u8; 16],
    /// What it has of isolation, see [`spool::message::rung`].
    pub(crate) rungs: u32,
    pub(crate) oom_kills: OomKills,
}

impl Game {
    pub(crate) fn new(pid: Pid, started_ms: u64, spec: &LaunchSpec, oom_kills: OomKills) -> Self {
        Self {
            pid,
            start_ticks: start_ticks(pid).unwrap_or(0),
            started_ms,
            run_id: spec.run_id,
            rungs: spec.rungs(),
            oom_kills,
        }
    }

    pub(crate) fn pid_number(&self) -> u32 {
        pid_number(self.pid)
    }
}

pub(crate) fn pid_number(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().unsigned_abs()
}

/// Field 22 of `/proc/<pid>/stat`. The second field is a name that may have spaces and brackets in it.
fn start_ticks(pid: Pid) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(22 - 3)?.parse().ok()
}

/// The kernel's boot id, zeros if it cannot be read.
pub(crate) fn boot_id() -> [u8; 16] {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&digits, 16).unwrap_or(0).to_be_bytes()
}
