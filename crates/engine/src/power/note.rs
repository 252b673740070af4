//! What the console says about the process, in whole sentences.

use super::exit::Exit;
use super::settings::{CrashPolicy, LOOP_CRASHES};

/// A time for people: `2 s`, `1 min 30 s`, `250 ms`.
fn duration(ms: u64) -> String {
    match (ms / 60_000, ms % 60_000 / 1000) {
        (0, 0) => format!("{ms} ms"),
        (0, seconds) => format!("{seconds} s"),
        (minutes, 0) => format!("{minutes} min"),
        (minutes, seconds) => format!("{minutes} min {seconds} s"),
    }
}

pub(super) fn settled(has_patterns: bool, after_ms: u64) -> String {
    let after = duration(after_ms);
    if has_patterns {
        format!("No start-up pattern matched within {after}; the server is alive and counts as running.")
    } else {
        format!("The server has been alive for {after} and counts as running; it has no start-up pattern.")
    }
}

pub(super) fn grace_over() -> String {
    "The server did not stop within its grace and is being killed.".to_owned()
}

pub(super) fn killed_after_grace() -> String {
    "The server did not stop within its grace and was killed.".to_owned()
}

pub(super) fn launch_failed(reason: &str) -> String {
    format!("The server could not be started: {reason}")
}

pub(super) fn lost(reason: &str) -> String {
    format!("The server's process is out of reach: {reason}")
}

pub(super) fn orphaned() -> String {
    "The process that held the server is gone; what it held is asked to end and gets a moment to save.".to_owned()
}

pub(super) fn restart_cancelled() -> String {
    "The planned restart is cancelled; the server stays down.".to_owned()
}

pub(super) fn suspended() -> String {
    "The server was suspended and is being stopped.".to_owned()
}

pub(super) fn ended(exit: &Exit) -> String {
    format!("The server ended by itself: {exit}. It stays down until somebody starts it.")
}

pub(super) fn crashed_undetected(exit: &Exit) -> String {
    format!("The server ended by itself: {exit}. Crash detection is off, so it stays down until somebody starts it.")
}

pub(super) fn crashed(exit: &Exit) -> String {
    format!("The server crashed: {exit}.")
}

pub(super) fn restart_planned(policy: &CrashPolicy, in_a_row: u32, delay_ms: u64) -> String {
    let restart = format!("Restart {in_a_row} of {} follows in {}.", policy.give_up_after, duration(delay_ms));
    if in_a_row < LOOP_CRASHES {
        return restart;
    }
    format!(
        "The server is crash-looping: {in_a_row} failures in a row, none of which ran for {}. {restart}",
        duration(policy.stable_after_ms())
    )
}

pub(super) fn restart_recalled(policy: &CrashPolicy, in_a_row: u32, wait_ms: u64) -> String {
    let restart = match wait_ms {
        0 => "now".to_owned(),
        _ => format!("in {}", duration(wait_ms)),
    };
    format!("The node was restarted. Restart {in_a_row} of {} after a crash follows {restart}.", policy.give_up_after)
}

pub(super) fn given_up(policy: &CrashPolicy, in_a_row: u32) -> String {
    match policy.give_up_after {
        0 => "It is not restarted; it stays down until somebody starts it.".to_owned(),
        _ => format!(
            "The server is crash-looping: {in_a_row} failures in a row, none of which ran for {}. Given up. It stays down until somebody starts it.",
            duration(policy.stable_after_ms())
        ),
    }
}
