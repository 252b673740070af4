//! How fast a connection may talk: token buckets for inbound messages, with the values of newer Wings (protocol reference §3.3).

use wire::console::client;

use crate::time::Now;

/// What a `throttled` event names when all messages together were too many.
const GLOBAL: &str = "global";
/// Characters of an event name that `throttled` repeats.
const NAME_CHARS_MAX: usize = 64;

/// A steady rate with room for a burst. `refill_ms` 0 means no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Messages that may come at once.
    pub burst: u32,
    /// Milliseconds until there is room for one more.
    pub refill_ms: u32,
}

/// Limits of one connection's inbound messages; what is above them is discarded and announced once per period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InboundLimits {
    /// All messages together.
    pub global: Rate,
    /// `auth`: also what keeps signatures from being guessed.
    pub auth: Rate,
    /// `send logs`.
    pub send_logs: Rate,
    /// `send command`.
    pub send_command: Rate,
    /// Every other event, known or not, together.
    pub other: Rate,
}

impl Default for InboundLimits {
    fn default() -> Self {
        Self {
            global: Rate { burst: 10, refill_ms: 200 },
            auth: Rate { burst: 2, refill_ms: 5_000 },
            send_logs: Rate { burst: 2, refill_ms: 5_000 },
            send_command: Rate { burst: 10, refill_ms: 1_000 },
            other: Rate { burst: 4, refill_ms: 1_000 },
        }
    }
}

/// A token bucket in whole milliseconds: a message costs `refill_ms`, time earns one each.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_field_names)] // all are milliseconds
pub struct Bucket {
    cost_ms: u64,
    full_ms: u64,
    earned_ms: u64,
    at_ms: Option<u64>,
}

impl Bucket {
    /// A full bucket.
    pub fn new(rate: Rate) -> Self {
        let cost_ms = u64::from(rate.refill_ms);
        let full_ms = cost_ms * u64::from(rate.burst);
        Self { cost_ms, full_ms, earned_ms: full_ms, at_ms: None }
    }

    /// Takes one out if there is one.
    pub fn take(&mut self, mono_ms: u64) -> bool {
        let passed_ms = mono_ms.saturating_sub(self.at_ms.unwrap_or(mono_ms));
        self.at_ms = Some(self.at_ms.map_or(mono_ms, |at_ms| at_ms.max(mono_ms)));
        self.earned_ms = self.earned_ms.saturating_add(passed_ms).min(self.full_ms);
        match self.earned_ms.checked_sub(self.cost_ms) {
            Some(left_ms) => {
                self.earned_ms = left_ms;
                true
            }
            None => false,
        }
    }
}

/// What is to happen with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on with it.
    Pass,
    /// Throw it away. `announce` is there for the first one of a period: the argument of `throttled`.
    Discard {
        /// The event's name, or `global`.
        announce: Option<String>,
    },
}

/// The buckets of one connection.
#[derive(Clone, Debug)]
pub struct Inbound {
    global: Gauge,
    auth: Gauge,
    send_logs: Gauge,
    send_command: Gauge,
    other: Gauge,
}

/// A bucket, and whether the other side was told that it is empty.
#[derive(Clone, Debug)]
struct Gauge {
    bucket: Bucket,
    announced: bool,
}

impl Gauge {
    fn new(rate: Rate) -> Self {
        Self { bucket: Bucket::new(rate), announced: false }
    }

    fn check(&mut self, name: &str, mono_ms: u64) -> Verdict {
        if self.bucket.take(mono_ms) {
            self.announced = false;
            return Verdict::Pass;
        }
        let first = !std::mem::replace(&mut self.announced, true);
        Verdict::Discard { announce: first.then(|| name.chars().take(NAME_CHARS_MAX).collect()) }
    }
}

impl Inbound {
    /// Full buckets.
    pub fn new(limits: &InboundLimits) -> Self {
        Self {
            global: Gauge::new(limits.global),
            auth: Gauge::new(limits.auth),
            send_logs: Gauge::new(limits.send_logs),
            send_command: Gauge::new(limits.send_command),
            other: Gauge::new(limits.other),
        }
    }

    /// Judges one message by its event name.
    pub fn check(&mut self, event: &str, now: Now) -> Verdict {
        let verdict = self.global.check(GLOBAL, now.mono_ms);
        if verdict != Verdict::Pass {
            return verdict;
        }
        let gauge = match event {
            client::AUTH => &mut self.auth,
            client::SEND_LOGS => &mut self.send_logs,
            client::SEND_COMMAND => &mut self.send_command,
            _ => &mut self.other,
        };
        gauge.check(event, now.mono_ms)
    }
}
