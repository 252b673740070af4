//! When the next line is due, by absolute time, so that a rate is kept over minutes. Pure: the clock is an argument.

use std::time::{Duration, Instant};

/// Lines are written at most this often; at higher rates several go together.
const TICK: Duration = Duration::from_millis(1);
/// Whoever was kept from writing for longer does not catch up with what is older than this.
const DEBT_MAX: Duration = Duration::from_millis(250);

/// The rhythm of the lines.
#[derive(Debug)]
pub(super) enum Pace {
    /// No lines at all.
    Silent,
    /// As many as the reader takes.
    Unlimited,
    /// `per_second` lines a second, of which `given` were due since `since`.
    Steady { per_second: f64, since: Instant, given: u64 },
}

impl Pace {
    pub(super) fn new(rate: Option<f64>, now: Instant) -> Self {
        match rate {
            None => Self::Silent,
            Some(0.0) => Self::Unlimited,
            Some(per_second) => Self::Steady { per_second, since: now, given: 0 },
        }
    }

    /// How many lines are due at `now`; they count as given.
    pub(super) fn take_due(&mut self, now: Instant) -> u64 {
        match self {
            Self::Silent => 0,
            Self::Unlimited => u64::MAX,
            Self::Steady { per_second, since, given } => {
                let behind = now.saturating_duration_since(*since + offset(*given, *per_second));
                if behind > DEBT_MAX {
                    *since = now.checked_sub(DEBT_MAX).unwrap_or(now);
                    *given = 0;
                }
                let elapsed = now.saturating_duration_since(*since).as_secs_f64();
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive and far below")]
                let owed = (elapsed * *per_second) as u64 + 1;
                let due = owed.saturating_sub(*given);
                *given += due;
                due
            }
        }
    }

    /// When to ask again; never, for no lines.
    pub(super) fn next_due(&self, now: Instant) -> Option<Instant> {
        match self {
            Self::Silent => None,
            Self::Unlimited => Some(now),
            Self::Steady { per_second, since, given } => {
                let due = *since + offset(*given, *per_second);
                Some(if *per_second > 1.0 / TICK.as_secs_f64() { due.max(now + TICK) } else { due })
            }
        }
    }
}

/// How long after the beginning line number `given` is due. Rounded up: asked at that moment, it is due.
fn offset(given: u64, per_second: f64) -> Duration {
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 lines")]
    let seconds = given as f64 / per_second;
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX / 4).saturating_add(Duration::from_nanos(1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    /// Plays `seconds` seconds on a clock of our own, always asking when told to, and returns lines and biggest burst.
    fn played(rate: f64, seconds: u64) -> (u64, u64) {
        let start = Instant::now();
        let end = start + Duration::from_secs(seconds);
        let mut pace = Pace::new(Some(rate), start);
        let (mut now, mut lines, mut burst) = (start, 0, 0);
        while now < end {
            let due = pace.take_due(now);
            (lines, burst) = (lines + due, burst.max(due));
            now = pace.next_due(now).unwrap().max(now + Duration::from_nanos(1));
        }
        (lines, burst)
    }

    #[test]
    fn a_rate_is_kept_to_the_line() {
        for (rate, seconds, lines, burst_max) in
            [(1.0, 10, 10, 1), (10.0, 10, 100, 1), (2_000.0, 5, 10_000, 4), (100_000.0, 2, 200_000, 110)]
        {
            let (got, burst) = played(rate, seconds);
            assert!(got.abs_diff(lines) <= burst_max + 1, "{rate}/s gave {got} lines for {lines}");
            assert!(burst <= burst_max, "{rate}/s gave {burst} at once");
        }
    }

    #[test]
    fn a_long_stall_is_not_made_good_by_a_flood() {
        let start = Instant::now();
        let mut pace = Pace::new(Some(1000.0), start);
        assert_eq!(pace.take_due(start), 1);
        let due = pace.take_due(start + Duration::from_mins(1));
        assert!((249..=252).contains(&due), "{due} lines after a minute");
    }

    #[test]
    fn silence_and_no_limit_are_what_they_say() {
        let now = Instant::now();
        assert_eq!(Pace::new(None, now).take_due(now), 0);
        assert_eq!(Pace::new(None, now).next_due(now), None);
        assert_eq!(Pace::new(Some(0.0), now).take_due(now), u64::MAX);
    }

    proptest! {
        #[test]
        fn asking_often_or_seldom_gives_the_same_number(rate in 0.5..5000.0_f64, steps in proptest::collection::vec(0..200_u64, 1..50)) {
            let start = Instant::now();
            let (mut often, mut once) = (Pace::new(Some(rate), start), Pace::new(Some(rate), start));
            let mut now = start;
            let mut lines = 0;
            for step in &steps {
                now += Duration::from_millis(*step);
                lines += often.take_due(now);
            }
            // Only comparable while nothing was forgiven.
            if now.duration_since(start) < DEBT_MAX {
                prop_assert_eq!(lines, once.take_due(now));
            }
        }
    }
}
