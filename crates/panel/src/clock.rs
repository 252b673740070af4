//! What time it is, and how times are written on the wire.

use std::sync::OnceLock;
use std::time::Instant;

use jiff::Timestamp;

/// Milliseconds since 1970: what the store keeps.
pub(crate) fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

/// Milliseconds of a clock that nobody sets, from an arbitrary start: for pauses, which must not last for hours because the other one
/// was set back.
pub(crate) fn mono_ms() -> i64 {
    static START: OnceLock<Instant> = OnceLock::new();
    i64::try_from(START.get_or_init(Instant::now).elapsed().as_millis()).unwrap_or(i64::MAX)
}

/// Whole seconds since 1970: what tokens and headers carry.
pub(crate) fn now_s() -> i64 {
    Timestamp::now().as_second()
}

/// `2026-11-22T10:00:00+00:00`, the form of stock panels.
pub(crate) fn iso(ms: i64) -> String {
    let time = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string()
}

/// Milliseconds of an RFC 3339 time, with or without fraction.
pub(crate) fn parse(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_stock_form_and_are_read_with_fractions() {
        assert_eq!(iso(1_800_000_000_123), "2027-01-15T08:00:00+00:00");
        assert_eq!(parse("2027-01-15T08:00:00.123456789Z"), Some(1_800_000_000_123));
        assert_eq!(parse("2027-01-15T09:00:00+01:00"), Some(1_800_000_000_000));
        assert_eq!(parse("yesterday"), None);
    }
}
