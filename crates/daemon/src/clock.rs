//! The daemon's clocks, read in one place and handed to the engine as values.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use engine::time::Now;

/// Both clocks now.
pub(crate) fn now() -> Now {
    Now { mono_ms: mono_ms(), wall_ms: wall_ms() }
}

/// Milliseconds since the daemon first asked.
pub(crate) fn mono_ms() -> u64 {
    u64::try_from(start().elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds since 1970.
pub(crate) fn wall_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The instant at which [`mono_ms`] reaches a value, for timers.
pub(crate) fn instant(mono_ms: u64) -> tokio::time::Instant {
    (start() + std::time::Duration::from_millis(mono_ms)).into()
}

fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}
