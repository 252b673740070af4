//! All processes of the game, whatever they did to get away.
//!
//! The shim is their subreaper: a process whose parent ends becomes the shim's child, in a session of its own or not. So the
//! processes below the shim are the game's, and when the shim has no child left there is none.

use std::fs;

use rustix::process::{Pid, Signal};

/// Most processes looked at in one go; the next go finds the rest.
const PROCESSES_MAX: usize = 65_536;

/// Every process below the shim, nearest first.
fn descendants() -> Vec<Pid> {
    let mut found = children("/proc/thread-self/children");
    let mut next = 0;
    while let Some(pid) = found.get(next).map(|pid| pid.as_raw_nonzero())
        && found.len() < PROCESSES_MAX
    {
        next += 1;
        // A process' children are listed under the thread that forked them.
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            found.extend(children(&format!("{}/children", task.path().display())));
        }
    }
    found
}

fn children(path: &str) -> Vec<Pid> {
    let list = fs::read_to_string(path).unwrap_or_default();
    list.split_ascii_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}

/// Sends a signal to every process of the game. `game` is its main process while that has not been waited for: reached
/// even where `/proc` cannot list children.
pub(crate) fn signal_all(game: Option<Pid>, signal: Signal) {
    if let Some(game) = game {
        let _ = rustix::process::kill_process_group(game, signal);
    }
    for pid in descendants() {
        // It may have ended by now, or be another user's; the next round sees what is left.
        let _ = rustix::process::kill_process(pid, signal);
    }
}
