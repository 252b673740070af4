//! What a server's definition says about its process, and the limits that hold whatever it says.

use super::exit::{Exit, ExitKind};

/// Milliseconds after which a live process without start-up patterns counts as running, when its definition says nothing.
pub const SETTLE_DEFAULT_MS: u64 = 10_000;
/// The same for one with patterns of which none has matched.
pub const READY_TIMEOUT_DEFAULT_MS: u64 = 120_000;
/// Milliseconds a stop may take when the definition says nothing; as long as Wings waits.
pub const STOP_GRACE_DEFAULT_MS: u64 = 600_000;
/// A suspended server has at most this long to stop.
pub const SUSPEND_GRACE_MS: u64 = 60_000;
/// Longest time any setting may ask for; longer ones are cut.
pub const SETTING_MS_MAX: u64 = 86_400_000;
/// Longest time a request may wait for another one; longer ones are cut.
pub const WAIT_MS_MAX: u64 = 300_000;
/// Requests of one server that may wait at once; one more is refused.
pub const WAITING_MAX: usize = 16;
/// Crashes in a row from which on a server is crash-looping.
pub const LOOP_CRASHES: u32 = 2;
/// Milliseconds between attempts to kill what does not go away.
pub const KILL_REPEAT_MS: u64 = 1_000;

/// What a server's definition says about its process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Milliseconds between asking it to stop and killing it; 0: [`STOP_GRACE_DEFAULT_MS`].
    pub stop_grace_ms: u64,
    /// Milliseconds after which a live process counts as running although no pattern matched; 0: [`SETTLE_DEFAULT_MS`], or
    /// [`READY_TIMEOUT_DEFAULT_MS`] with patterns.
    pub settle_ms: u64,
    /// Whether there are start-up patterns.
    pub has_patterns: bool,
    /// What to do when it ends by itself.
    pub crash: CrashPolicy,
    /// Whether it may not run.
    pub suspended: bool,
    /// Ways to end by itself that are not a crash.
    pub success_exit: Vec<ExitKind>,
}

impl Settings {
    pub(super) fn grace_ms(&self) -> u64 {
        or_default(self.stop_grace_ms, STOP_GRACE_DEFAULT_MS)
    }

    pub(super) fn settle_after_ms(&self) -> u64 {
        or_default(self.settle_ms, if self.has_patterns { READY_TIMEOUT_DEFAULT_MS } else { SETTLE_DEFAULT_MS })
    }

    /// Whether an end nobody asked for is one the game may choose.
    pub(super) fn is_success(&self, exit: &Exit) -> bool {
        let clean = exit.kind == ExitKind::Code(0) && !self.crash.clean_exit_is_crash;
        !exit.oom && (clean || self.success_exit.contains(&exit.kind))
    }
}

fn or_default(value_ms: u64, default_ms: u64) -> u64 {
    if value_ms == 0 { default_ms } else { value_ms.min(SETTING_MS_MAX) }
}

/// How often and how fast a crashed server is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashPolicy {
    /// Whether at all.
    pub enabled: bool,
    /// Whether exit code 0 that nobody asked for is a crash; Wings says yes, which starts a game again that its own admin quit.
    pub clean_exit_is_crash: bool,
    /// Milliseconds before the first restart in a row.
    pub first_delay_ms: u64,
    /// Each further delay is this many times the one before.
    pub factor: u32,
    /// Longest delay in milliseconds.
    pub max_delay_ms: u64,
    /// A run of this many milliseconds ends the row.
    pub stable_ms: u64,
    /// Restarts in a row after which a further crash is the last: the server stays down until somebody starts it.
    pub give_up_after: u32,
}

impl Default for CrashPolicy {
    fn default() -> Self {
        Self {
            enabled: true,
            clean_exit_is_crash: false,
            first_delay_ms: 2_000,
            factor: 2,
            max_delay_ms: 60_000,
            stable_ms: 60_000,
            give_up_after: 5,
        }
    }
}

impl CrashPolicy {
    /// How long a run must last to end the row.
    pub(super) fn stable_after_ms(&self) -> u64 {
        self.stable_ms.min(SETTING_MS_MAX)
    }

    /// Milliseconds to wait after the `in_a_row`th crash (from 1), or `None` to give up.
    pub(super) fn delay_ms(&self, in_a_row: u32) -> Option<u64> {
        let before = in_a_row.saturating_sub(1);
        (in_a_row <= self.give_up_after).then(|| {
            let delay_ms = self.first_delay_ms.saturating_mul(u64::from(self.factor).saturating_pow(before));
            delay_ms.min(self.max_delay_ms).min(SETTING_MS_MAX)
        })
    }
}
