//! How much is measured: everything, or as little as shows that the bench itself works.

use std::time::Duration;

/// Files that are no viewers.
const FILES_BESIDE: usize = 200;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) is_short: bool,
    /// Files that one process may have open.
    pub(crate) files_max: usize,
}

impl Plan {
    pub(crate) fn size<T>(self, short: T, full: T) -> T {
        if self.is_short { short } else { full }
    }

    /// Numbers of viewers, as far as two descriptors for each may be open.
    pub(crate) fn sizes(self, short: &[usize], full: &[usize]) -> Vec<usize> {
        self.size(short, full).iter().map(|viewers| self.at_most(*viewers)).collect()
    }

    /// So many viewers, or as many as may be.
    pub(crate) fn at_most(self, viewers: usize) -> usize {
        viewers.min(self.files_max.saturating_sub(FILES_BESIDE) / 2)
    }

    /// Ours and the limit, in turns, so often; an odd number has a median.
    pub(crate) fn rounds(self) -> usize {
        self.size(1, 5)
    }

    /// How long one of them is looked at.
    pub(crate) fn window(self) -> Duration {
        self.size(Duration::from_secs(1), Duration::from_secs(4))
    }
}
