//! How long whoever sends lines to many viewers waits before it sends again: not at all, unless sending each line by itself takes
//! more than there is. Then several lines go out together, which costs little more than one.

/// The longest wait. Nobody sees that a line is so late.
pub const WAIT_MAX_US: u64 = 50_000;
/// Share of a core that sending line by line may take.
const SHARE_MAX: f64 = 0.8;
/// What happened so long ago counts for a third.
const MEMORY_US: f64 = 200_000.0;

/// What the last walks through all viewers have shown. Times are microseconds on any clock that goes on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    /// When the last walk ended.
    walked_at: Option<u64>,
    /// Lines in a microsecond.
    lines: f64,
    /// Microseconds of a walk.
    walk: f64,
}

impl Window {
    /// Notes a walk that took `took_us`, ended at `now_us` and sent `lines` new lines to everybody. How long to wait now.
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    pub fn walked(&mut self, now_us: u64, took_us: u64, lines: u64) -> u64 {
        // The first line after a silence, however long, is no rate.
        let since = self.walked_at.replace(now_us).map_or(MEMORY_US, |at| now_us.saturating_sub(at).max(1) as f64);
        let weight = 1.0 - (-since / MEMORY_US).exp();
        self.lines += weight * (lines as f64 / since - self.lines);
        self.walk += weight * (took_us as f64 - self.walk);
        if self.lines * self.walk <= SHARE_MAX { 0 } else { WAIT_MAX_US.saturating_sub(took_us / 2) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines that come every `gap_us` and take `walk_us` to be sent, one or many: the waits, and the walks.
    fn play(gap_us: u64, walk_us: u64, until_us: u64) -> (Vec<u64>, u64) {
        let mut window = Window::default();
        let (mut now, mut sent, mut waits) = (0, 0, Vec::new());
        while now < until_us {
            let printed = now / gap_us + 1;
            if printed == sent {
                now = sent * gap_us;
                continue;
            }
            now += walk_us;
            let wait = window.walked(now, walk_us, printed - sent);
            sent = printed;
            waits.push(wait);
            now += wait;
        }
        let walks = waits.len() as u64;
        (waits, walks)
    }

    #[test]
    fn whoever_keeps_up_never_waits() {
        for (gap_us, walk_us) in [(20_000, 5_000), (200_000, 50_000), (1_000, 500), (1_000_000, 10)] {
            let (waits, walks) = play(gap_us, walk_us, 5_000_000);
            assert!(waits.iter().all(|wait| *wait == 0), "{gap_us} {walk_us}: {waits:?}");
            assert!(walks >= 5_000_000 / gap_us - 1, "each line by itself: {walks}");
        }
    }

    #[test]
    fn under_pressure_lines_go_together_and_the_first_one_at_once() {
        // 300 lines/s of 5 ms each are one core and a half.
        let (waits, walks) = play(3_333, 5_000, 5_000_000);
        assert_eq!(waits.first(), Some(&0));
        assert!(waits.iter().all(|wait| *wait <= WAIT_MAX_US));
        let busy = walks * 5_000;
        assert!(busy < 5_000_000 / 4, "{busy} µs of 5 s");
    }

    #[test]
    fn when_the_pressure_is_over_the_next_line_is_sent_at_once() {
        let mut window = Window::default();
        let mut now = 0;
        for _ in 0..100 {
            now += 5_000;
            now += window.walked(now, 5_000, 10);
        }
        now += 1_000_000;
        assert_eq!(window.walked(now, 5_000, 1), 0);
    }
}
