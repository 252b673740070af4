//! What a node knows of its panel's clock, by which tokens are dated.
//!
//! Every answer of the panel tells what time it was there at some moment between the question and the answer, to a millisecond or
//! to a second. That bounds the distance between the panel's clock and a clock of ours that never jumps; answers that agree
//! make the bounds narrower, one that does not agree means that the panel's clock was set, and begins anew. Our own wall clock takes
//! no part in it, so that moving it changes nothing here.

use crate::time::Now;

/// How far a panel's clock may be from ours, in milliseconds, to be allowed for. Beyond it one of the two is wrong by so much that
/// people should know: nothing is corrected then.
pub const SKEW_MAX_MS: i64 = 300_000;
/// By how much the two clocks may drift apart, in milliseconds per second.
const DRIFT_MS_PER_S: u64 = 1;
/// How long something the panel asks may be on its way, in milliseconds.
pub const ONE_WAY_MAX_MS: u64 = 15_000;

/// What time the panel said it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Milliseconds since 1970, cut to [`Told::precision_ms`].
    pub wall_ms: i64,
    /// 1, or 1000 for a `Date`.
    pub precision_ms: i64,
}

/// The panel's clock minus our monotonic one, in milliseconds.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_field_names)]
struct Distance {
    least_ms: i64,
    most_ms: i64,
    likely_ms: i64,
    at_mono_ms: u64,
}

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct PanelClock(Option<Distance>);

/// What time it is for tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// To compare the dates of tokens with.
    pub now: Now,
    /// No panel's clock that agrees with what was heard is later, in milliseconds since 1970: what it issued up to now has no later
    /// date.
    pub latest_wall_ms: i64,
    /// By how much the panel's clock is ahead of ours (negative: behind), in milliseconds, if that is known.
    pub skew_ms: Option<i64>,
}

impl Reading {
    /// The skew in seconds, if it is too large to be allowed for.
    pub fn excess_s(&self) -> Option<i64> {
        self.skew_ms.filter(|skew_ms| skew_ms.abs() > SKEW_MAX_MS).map(|skew_ms| skew_ms / 1000)
    }

    /// The moment up to which a denial reaches.
    pub const fn denial(&self) -> Now {
        Now { wall_ms: self.latest_wall_ms, ..self.now }
    }
}

impl PanelClock {
    /// The panel answered; both moments are of our monotonic clock.
    pub fn answered(&mut self, told: Told, asked_mono_ms: u64, heard_mono_ms: u64) {
        let heard = Distance {
            least_ms: told.wall_ms.saturating_sub(signed(heard_mono_ms)),
            most_ms: told.wall_ms.saturating_add(told.precision_ms).saturating_sub(signed(asked_mono_ms)),
            likely_ms: 0,
            at_mono_ms: heard_mono_ms,
        };
        let likely_ms = heard.least_ms.midpoint(heard.most_ms);
        self.hear(Distance { likely_ms, ..heard });
    }

    /// The panel asked something, and told its clock when it did.
    pub fn asked(&mut self, told: Told, heard_mono_ms: u64) {
        let least_ms = told.wall_ms.saturating_sub(signed(heard_mono_ms));
        let most_ms = least_ms.saturating_add(told.precision_ms).saturating_add(signed(ONE_WAY_MAX_MS));
        self.hear(Distance { least_ms, most_ms, likely_ms: least_ms, at_mono_ms: heard_mono_ms });
    }

    fn hear(&mut self, heard: Distance) {
        let agreed = self.0.map(|before| before.aged(heard.at_mono_ms)).and_then(|before| before.and(heard));
        self.0 = Some(agreed.unwrap_or(heard));
    }

    /// What time it is for tokens: the panel's, or our own if that is not known or too far from ours.
    pub fn read(&self, now: Now) -> Reading {
        let own = Reading { now, latest_wall_ms: now.wall_ms, skew_ms: None };
        let Some(distance) = self.0 else { return own };
        let wall_ms = distance.likely_ms.saturating_add(signed(now.mono_ms));
        let skew_ms = wall_ms.saturating_sub(now.wall_ms);
        if skew_ms.abs() > SKEW_MAX_MS {
            return Reading { skew_ms: Some(skew_ms), ..own };
        }
        let latest_wall_ms = distance.aged(now.mono_ms).most_ms.saturating_add(signed(now.mono_ms));
        Reading { now: Now { wall_ms, ..now }, latest_wall_ms, skew_ms: Some(skew_ms) }
    }
}

impl Distance {
    /// What is still certain of it at a later moment.
    fn aged(self, mono_ms: u64) -> Self {
        let drift_ms = signed(mono_ms.saturating_sub(self.at_mono_ms) / 1000 * DRIFT_MS_PER_S);
        Self {
            least_ms: self.least_ms.saturating_sub(drift_ms),
            most_ms: self.most_ms.saturating_add(drift_ms),
            ..self
        }
    }

    /// What both allow, if there is anything.
    fn and(self, newer: Self) -> Option<Self> {
        let (least_ms, most_ms) = (self.least_ms.max(newer.least_ms), self.most_ms.min(newer.most_ms));
        (least_ms <= most_ms).then(|| {
            let narrow = if newer.most_ms - newer.least_ms <= self.most_ms - self.least_ms { newer } else { self };
            Self { least_ms, most_ms, likely_ms: narrow.likely_ms.clamp(least_ms, most_ms), ..newer }
        })
    }
}

/// What to say of a skew that is too large.
pub fn skew_text(skew_s: i64) -> String {
    let (apart, where_to) = (skew_s.unsigned_abs(), if skew_s > 0 { "ahead of" } else { "behind" });
    let apart = match apart {
        ..7200 => format!("{} minutes", apart.div_ceil(60)),
        _ => format!("{} hours", apart / 3600),
    };
    format!("the panel's clock is {apart} {where_to} the node's, 5 minutes are allowed for: set both by NTP")
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}
