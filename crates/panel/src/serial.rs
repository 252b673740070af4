//! A count of what the panel has allowed and taken away, which orders a token and a revocation without any clock: whoever looks what
//! somebody may takes a number first, and whoever tells a node that rights are gone takes one after they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers of one run of the panel; 4 million, which is more than it can sign tokens in an hour. The numbers of all runs stay below
/// 2^53 until 2038, which every reader of JSON can hold.
const RUN_BITS: u32 = 22;

/// Hands out numbers, each larger than all before it.
#[derive(Clone, Debug)]
pub(crate) struct Serials(Arc<AtomicU64>);

impl Serials {
    /// Those of a run; each run has a larger number than the one before.
    pub(crate) fn of_run(run: i64) -> Self {
        Self(Arc::new(AtomicU64::new(run.unsigned_abs() << RUN_BITS)))
    }

    /// The next one.
    pub(crate) fn take(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_run_begins_above_all_numbers_of_the_one_before() {
        let (first, second) = (Serials::of_run(1_800_000_000), Serials::of_run(1_800_000_001));
        let taken: Vec<u64> = (0..3).map(|_| first.clone().take()).collect();
        assert!(taken.is_sorted_by(|before, after| before < after), "{taken:?}");
        assert!(second.take() > taken[2] && second.take() < 1 << 53);
    }
}
