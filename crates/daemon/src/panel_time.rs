//! The panel's clock as this node knows it, and the panel's count when the node started: what the dates of tokens mean here.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, header};
use engine::panel_clock::{PanelClock, Reading, Told, skew_text};
use engine::time::Now;
use tokio::sync::Notify;
use tokio::time::Instant;
use wire::node::{SERIAL_HEADER, TIME_HEADER};

use crate::clock;
use crate::remote::Remote;

/// How often the panel is asked what time it is, if nothing else was asked.
const ASK_EVERY: Duration = Duration::from_mins(1);
/// How often it is looked whether our own clock was set, and the shortest pause between two questions.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A clock that has moved by more than this against the one that never jumps was set, in milliseconds.
const STEP_MS: i64 = 500;

/// See the module.
pub(crate) struct PanelTime {
    clock: Mutex<PanelClock>,
    boot: Now,
    boot_serial: OnceLock<u64>,
    doubted: Notify,
}

impl PanelTime {
    /// Of a node that starts now.
    pub(crate) fn new() -> Self {
        Self { clock: Mutex::default(), boot: clock::now(), boot_serial: OnceLock::new(), doubted: Notify::new() }
    }

    /// What time it is for tokens.
    pub(crate) fn read(&self) -> Reading {
        self.known().read(clock::now())
    }

    /// When this node started, by the clock that tokens are dated by.
    pub(crate) fn boot_wall_s(&self) -> i64 {
        self.known().read(self.boot).now.wall_s()
    }

    /// The panel's count then, or a moment later.
    pub(crate) fn boot_serial(&self) -> Option<u64> {
        self.boot_serial.get().copied()
    }

    /// A token was refused because of a date: perhaps the panel's clock was set, so it is asked soon.
    pub(crate) fn doubt(&self) {
        self.doubted.notify_one();
    }

    /// The panel has answered something that was asked at that moment of the monotonic clock.
    pub(crate) fn answered(&self, headers: &HeaderMap, asked_mono_ms: u64) {
        self.heard(headers, |clock, told| clock.answered(told, asked_mono_ms, clock::mono_ms()));
    }

    /// The panel has asked us something.
    pub(crate) fn asked(&self, headers: &HeaderMap) {
        self.heard(headers, |clock, told| clock.asked(told, clock::mono_ms()));
    }

    fn heard(&self, headers: &HeaderMap, hear: impl FnOnce(&mut PanelClock, Told)) {
        if let Some(serial) = number(headers, SERIAL_HEADER) {
            self.boot_serial.get_or_init(|| serial);
        }
        let Some(told) = told(headers) else { return };
        let mut clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        let before = clock.read(clock::now()).excess_s();
        hear(&mut clock, told);
        let after = clock.read(clock::now());
        match (before, after.excess_s()) {
            (None, Some(skew_s)) => tracing::error!(skew_s, "tokens may be refused: {}", skew_text(skew_s)),
            (Some(_), None) => tracing::info!(skew_ms = after.skew_ms, "the panel's clock is near the node's again"),
            _ => {}
        }
    }

    fn known(&self) -> PanelClock {
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a panel says about its clock: ours to a millisecond, others to a second.
fn told(headers: &HeaderMap) -> Option<Told> {
    if let Some(wall_ms) = number(headers, TIME_HEADER) {
        return Some(Told { wall_ms, precision_ms: 1 });
    }
    let date = headers.get(header::DATE)?.to_str().ok()?;
    let date = jiff::fmt::rfc2822::parse(date).ok()?;
    Some(Told { wall_ms: date.timestamp().as_millisecond(), precision_ms: 1000 })
}

fn number<T: std::str::FromStr>(headers: &HeaderMap, name: &str) -> Option<T> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

/// Asks the panel for its time now and then, when our own clock was set, and when a token was refused because of a date. Without an answer
/// what was known stays.
pub(crate) async fn keep(time: Arc<PanelTime>, remote: Remote) {
    let apart_ms = || clock::wall_ms().saturating_sub_unsigned(clock::mono_ms());
    let mut asked = (Instant::now(), apart_ms());
    loop {
        let is_doubted = tokio::time::timeout(LOOK_EVERY, time.doubted.notified()).await.is_ok();
        let was_set = (apart_ms() - asked.1).abs() > STEP_MS;
        if !is_doubted && !was_set && asked.0.elapsed() < ASK_EVERY {
            continue;
        }
        if let Err(error) = remote.ask_time().await {
            tracing::debug!(%error, "the panel does not say what time it is");
        }
        asked = (Instant::now(), apart_ms());
        if is_doubted {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn our_panels_tell_milliseconds_and_others_a_date() {
        let mut headers = HeaderMap::new();
        assert_eq!(told(&headers), None);
        headers.insert(header::DATE, "Fri, 15 Jan 2027 08:00:00 GMT".parse().unwrap());
        assert_eq!(told(&headers), Some(Told { wall_ms: 1_800_000_000_000, precision_ms: 1000 }));
        headers.insert(TIME_HEADER, "1800000000123".parse().unwrap());
        assert_eq!(told(&headers), Some(Told { wall_ms: 1_800_000_000_123, precision_ms: 1 }));
        headers.insert(TIME_HEADER, "soon".parse().unwrap());
        headers.insert(header::DATE, "soon".parse().unwrap());
        assert_eq!(told(&headers), None);
    }
}
