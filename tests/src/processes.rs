//! Processes of games, looked at from outside: by a word in their arguments, which they cannot take off as they can their environment.

use rustix::process::{Pid, Signal, kill_process};

/// The process that holds a game, by the game's own pid.
///
/// # Panics
/// When the game is not there.
#[allow(clippy::expect_used)]
pub fn holder(game: u64) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{game}/status")).expect("the game is there");
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:\t"));
    parent.and_then(|parent| parent.parse().ok()).expect("it has a parent")
}

/// Ends a process without warning; it may have ended already.
pub fn kill(pid: u64) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Those that have a word in their arguments and live. Where nobody reaps orphans a dead one stays, without arguments.
pub fn with_word(word: &str) -> Vec<u64> {
    let listed = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = listed.filter_map(|entry| entry.file_name().to_str()?.parse::<u64>().ok());
    pids.filter(|pid| {
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        arguments.windows(word.len()).any(|part| part == word.as_bytes())
    })
    .collect()
}
