//! How fast to go: the waits between attempts to reconnect, and the rate of commands a node takes.

use std::time::{Duration, Instant};

/// Waits double from here.
const RETRY_FIRST_MS: u64 = 1_000;
/// And stop growing here.
const RETRY_LAST_MS: u64 = 20_000;

/// Back-off between attempts: 1, 2, 4, 8, 16, 20, 20 … seconds, each up to a quarter shorter, so that many viewers of a node
/// that went away do not all come back in the same moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// The next wait; `dice` is any random number.
    pub(crate) fn next(&mut self, dice: u32) -> Duration {
        let full = RETRY_FIRST_MS.saturating_mul(1 << self.attempts.min(10)).min(RETRY_LAST_MS);
        self.attempts = self.attempts.saturating_add(1);
        let off = full / 4 * u64::from(dice % 1000) / 1000;
        Duration::from_millis(full - off)
    }

    /// A connection worked: begin anew.
    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
    }
}

/// Commands sent at once at most. Nodes take 10 in a burst and discard what is above.
const BURST: u32 = 8;
/// One more per this time. Nodes take one a second.
const REFILL_MS: u64 = 1_050;

/// A token bucket, so that pasted lines wait here and are not discarded there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    tokens: u32,
    /// When the last token was added; while full, when the next one starts to grow.
    since: Instant,
}

impl Bucket {
    /// Full.
    pub(crate) fn new(now: Instant) -> Self {
        Self { tokens: BURST, since: now }
    }

    fn refill(&mut self, now: Instant) {
        let step = Duration::from_millis(REFILL_MS);
        while self.tokens < BURST && now.saturating_duration_since(self.since) >= step {
            self.tokens += 1;
            self.since += step;
        }
        if self.tokens >= BURST {
            self.since = now;
        }
    }

    /// Takes one, if there is one.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        self.refill(now);
        if self.tokens == 0 {
            return false;
        }
        self.tokens -= 1;
        true
    }

    /// When there will be one, if there is none now.
    pub(crate) fn ready_at(&self) -> Instant {
        self.since + Duration::from_millis(REFILL_MS)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn waits_grow_to_twenty_seconds_and_begin_anew() {
        let mut backoff = Backoff::default();
        let waits: Vec<u64> = (0..7).map(|_| backoff.next(0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 20, 20]);
        backoff.reset();
        assert_eq!(backoff.next(0).as_secs(), 1);
    }

    proptest! {
        #[test]
        fn waits_stay_within_three_quarters_and_one_whole(dice in any::<u32>(), before in 0_u32..40) {
            let mut exact = Backoff { attempts: before };
            let mut shaken = exact;
            let full = exact.next(0);
            let wait = shaken.next(dice);
            prop_assert!(wait <= full && wait >= full * 3 / 4);
        }

        /// Over any stretch of time, no more than the node's own bucket (burst 10, one a second) would let through.
        #[test]
        fn never_faster_than_a_node_allows(gaps in prop::collection::vec(0_u64..3_000, 1..200)) {
            let start = Instant::now();
            let mut now = start;
            let mut ours = Bucket::new(now);
            let (mut theirs, mut filled) = (10.0_f64, now);
            for gap in gaps {
                now += Duration::from_millis(gap);
                theirs = (theirs + now.duration_since(filled).as_secs_f64()).min(10.0);
                filled = now;
                if ours.take(now) {
                    prop_assert!(theirs >= 1.0, "the node would have discarded it");
                    theirs -= 1.0;
                } else {
                    prop_assert!(ours.ready_at() > now);
                    let mut later = ours;
                    prop_assert!(later.take(ours.ready_at()));
                }
            }
        }
    }
}
