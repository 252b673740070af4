//! How much is done, and in what random order.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::SeedableRng;
use rand::rngs::StdRng;

/// What machines of CI and unoptimised builds are slower by, at most: a time that is promised is that much longer in the short form.
const SHORT_FORM_SLACK: u32 = 4;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    seed: u64,
    short: bool,
    minutes: u64,
}

impl Plan {
    /// Without a seed, one from the clock.
    pub(crate) fn new(seed: Option<u64>, short: bool, minutes: u64) -> Self {
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| u64::from(time.subsec_nanos()));
        Self { seed: seed.unwrap_or(clock), short, minutes }
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// How long the soak takes.
    pub(crate) fn minutes(&self) -> u64 {
        self.minutes
    }

    /// Random numbers for one purpose, the same in each run of this seed whatever else is run.
    pub(crate) fn random(&self, purpose: &str) -> StdRng {
        let mixed = purpose.bytes().fold(self.seed, |sum, byte| sum.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte));
        StdRng::seed_from_u64(mixed)
    }

    /// One of two sizes.
    pub(crate) fn size<T>(&self, short: T, full: T) -> T {
        if self.short { short } else { full }
    }

    /// A promised time, with slack in the short form.
    pub(crate) fn limit(&self, promised: Duration) -> Duration {
        if self.short { promised * SHORT_FORM_SLACK } else { promised }
    }
}
