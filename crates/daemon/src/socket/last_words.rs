//! The way out for a connection's last words when its other side takes nothing.

use std::fmt;
use std::sync::Arc;

/// Lifts, for good, the bound on what the kernel takes from us for one connection beyond what is on its way, so that the little that is
/// left and the close behind it go to the kernel: a viewer who reads again finds out why it was cut off, and that it may come back.
///
/// Whoever serves connections with such a bound puts one into the extensions of each request.
#[derive(Clone)]
pub struct LastWords(Arc<dyn Fn() + Send + Sync>);

impl LastWords {
    /// `lift` is called once at most for each connection, at its end.
    pub fn new(lift: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(lift))
    }

    pub(super) fn let_out(&self) {
        (self.0)();
    }
}

impl fmt::Debug for LastWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LastWords").finish_non_exhaustive()
    }
}
