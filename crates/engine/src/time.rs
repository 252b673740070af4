//! Time as an argument: one reading of both clocks.

/// Both clocks, read once for one decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of a clock that never jumps; from an arbitrary start. For timers.
    pub mono_ms: u64,
    /// Milliseconds since 1970, which people and NTP may move. For the dates in tokens.
    pub wall_ms: i64,
}

impl Now {
    /// Whole seconds since 1970, rounded down: the precision of the dates in tokens.
    pub const fn wall_s(self) -> i64 {
        self.wall_ms.div_euclid(1000)
    }
}
