//! How fast the shim reads. Above this the game waits for its own print, as on a slow terminal; nothing is lost.

use std::time::{Duration, Instant};

/// Bytes a second, sustained.
const BYTES_PER_SECOND: u64 = 32 * 1024 * 1024;
/// Bytes at once, after a quiet time.
const BURST_BYTES: u64 = 64 * 1024 * 1024;
/// Reading goes on when this much may be read again.
const RESUME_BYTES: u64 = 64 * 1024;

/// A bucket of bytes that may be read.
#[derive(Debug)]
pub(crate) struct Throttle {
    allowed: u64,
    filled_at: Instant,
}

impl Throttle {
    pub(crate) fn new(now: Instant) -> Self {
        Self { allowed: BURST_BYTES, filled_at: now }
    }

    /// Counts what was read.
    pub(crate) fn took(&mut self, bytes: usize) {
        self.allowed = self.allowed.saturating_sub(bytes as u64);
    }

    /// `None`: read on. Else when to.
    pub(crate) fn wait_until(&mut self, now: Instant) -> Option<Instant> {
        if self.allowed >= RESUME_BYTES {
            return None;
        }
        let elapsed = now.saturating_duration_since(self.filled_at);
        let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        let earned = (u128::from(nanos) * u128::from(BYTES_PER_SECOND) / 1_000_000_000).min(u128::from(BURST_BYTES));
        self.allowed = (self.allowed + u64::try_from(earned).unwrap_or(BURST_BYTES)).min(BURST_BYTES);
        self.filled_at = now;
        let missing = RESUME_BYTES.checked_sub(self.allowed).filter(|&missing| missing > 0)?;
        // A microsecond more than needed, so that it is enough when the time comes.
        Some(now + Duration::from_micros(missing * 1_000_000 / BYTES_PER_SECOND + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lets_a_burst_through_then_the_rate() {
        let start = Instant::now();
        let mut throttle = Throttle::new(start);
        let mut now = start;
        let mut read = 0_u64;
        while now < start + Duration::from_secs(10) {
            match throttle.wait_until(now) {
                None => {
                    throttle.took(65_520);
                    read += 65_520;
                }
                Some(later) => {
                    assert!(later > now);
                    now = later;
                }
            }
        }
        let expected = BURST_BYTES + 10 * BYTES_PER_SECOND;
        assert!(read.abs_diff(expected) < 1024 * 1024, "{read} of {expected}");
    }

    #[test]
    fn a_quiet_game_is_never_slowed() {
        let start = Instant::now();
        let mut throttle = Throttle::new(start);
        for second in 0..1000 {
            let now = start + Duration::from_secs(second);
            assert_eq!(throttle.wait_until(now), None);
            throttle.took(1024 * 1024);
        }
    }
}
