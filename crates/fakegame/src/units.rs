//! How durations, sizes and signal names are written on the command line.

use std::time::Duration;

/// The longest duration accepted: a year. Longer ones are a typing error and would overflow a clock.
pub(crate) const DURATION_MAX: Duration = Duration::from_hours(8784);

/// Reads `200ms`, `3s`, `1.5m`, `2h`, or a bare number of seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let (number, seconds_each) = match split_unit(text) {
        (number, "ms") => (number, 0.001),
        (number, "" | "s") => (number, 1.0),
        (number, "m") => (number, 60.0),
        (number, "h") => (number, 3600.0),
        (_, unit) => return Err(format!("unknown unit '{unit}'; write 200ms, 3s, 1m or 2h")),
    };
    let number: f64 = number.parse().map_err(|_| format!("'{number}' is not a number; write 200ms, 3s, 1m or 2h"))?;
    match Duration::try_from_secs_f64(number * seconds_each) {
        Ok(duration) if duration <= DURATION_MAX => Ok(duration),
        _ => Err("must be between 0 and 366 days".to_owned()),
    }
}

/// Reads `4096`, `64K`, `100M` or `2G` (powers of 1024) as bytes.
pub(crate) fn bytes(text: &str) -> Result<usize, String> {
    let (number, shift) = match split_unit(text) {
        (number, "" | "B") => (number, 0),
        (number, "K" | "KiB") => (number, 10),
        (number, "M" | "MiB") => (number, 20),
        (number, "G" | "GiB") => (number, 30),
        (_, unit) => return Err(format!("unknown unit '{unit}'; write 4096, 64K, 100M or 2G")),
    };
    let number: usize =
        number.parse().map_err(|_| format!("'{number}' is not a whole number; write 4096, 64K, 100M or 2G"))?;
    number.checked_mul(1 << shift).ok_or_else(|| "too many bytes for this machine".to_owned())
}

/// Lines per second: a number, 0 for "as fast as possible".
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate == 0.0 || (rate.is_finite() && rate >= RATE_MIN) => Ok(rate),
        _ => Err(format!("'{text}' is not a rate; write lines per second, at least {RATE_MIN}, or 0 for no limit")),
    }
}

/// The slowest rate: a line an hour. Below it the time of the next line is no useful number.
const RATE_MIN: f64 = 1.0 / 4096.0;

/// How many cores to keep busy: 0.5 is half of one.
pub(crate) fn cores(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(cores) if (0.0..=CORES_MAX).contains(&cores) => Ok(cores),
        _ => Err(format!("'{text}' is not a number of cores between 0 and {CORES_MAX}")),
    }
}

const CORES_MAX: f64 = 1024.0;

/// The signals the game knows, by name without `SIG`.
const SIGNALS: [(&str, i32); 6] = [
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("TERM", libc::SIGTERM),
    ("USR1", libc::SIGUSR1),
    ("USR2", libc::SIGUSR2),
];

/// Reads `TERM` or `SIGTERM` as the signal's number.
pub(crate) fn signal(text: &str) -> Result<i32, String> {
    let name = text.strip_prefix("SIG").unwrap_or(text);
    match SIGNALS.iter().find(|(known, _)| *known == name) {
        Some((_, number)) => Ok(*number),
        None => Err(format!("'{text}' is none of {}", SIGNALS.map(|(known, _)| known).join(", "))),
    }
}

/// The name of a signal's number, `SIGTERM` say.
pub(crate) fn signal_name(number: i32) -> String {
    match SIGNALS.iter().find(|(_, known)| *known == number) {
        Some((name, _)) => format!("SIG{name}"),
        None => format!("signal {number}"),
    }
}

/// Reads the escapes `\n \r \t \e \0 \\ \xHH` in a text; any other backslash stands for itself.
pub(crate) fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let (meant, taken) = match (byte, after) {
            (b'\\', [b'n', ..]) => (b'\n', 2),
            (b'\\', [b'r', ..]) => (b'\r', 2),
            (b'\\', [b't', ..]) => (b'\t', 2),
            (b'\\', [b'e', ..]) => (0x1b, 2),
            (b'\\', [b'0', ..]) => (0, 2),
            (b'\\', [b'\\', ..]) => (b'\\', 2),
            (b'\\', [b'x', high, low, ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high * 16 + low, 4),
                _ => (byte, 1),
            },
            _ => (byte, 1),
        };
        out.push(meant);
        rest = rest.get(taken..).unwrap_or_default();
    }
    out
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

fn split_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let number_len = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    text.split_at(number_len)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_in_every_unit() {
        for (text, ms) in [("200ms", 200), ("3s", 3_000), ("1.5m", 90_000), ("2h", 7_200_000), ("4", 4_000), ("0", 0)] {
            assert_eq!(duration(text).unwrap(), Duration::from_millis(ms), "{text}");
        }
        for text in ["", "s", "-1s", "3 parsecs", "1e99h", "NaN", "inf"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, size) in [("4096", 4096), ("64K", 65_536), ("100M", 104_857_600), ("1GiB", 1 << 30)] {
            assert_eq!(bytes(text).unwrap(), size, "{text}");
        }
        for text in ["", "M", "1.5M", "-1", "1T", "99999999999999999999", "99999999999999999G"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn signals_go_by_both_names() {
        assert_eq!(signal("TERM"), signal("SIGTERM"));
        assert_eq!(signal_name(signal("INT").unwrap()), "SIGINT");
        assert!(signal("KILL").unwrap_err().contains("TERM"));
    }

    #[test]
    fn escapes_become_the_bytes_they_name() {
        assert_eq!(unescape(br"a\n\r\t\e\0\\\xff\xzz\q\"), b"a\n\r\t\x1b\0\\\xff\\xzz\\q\\");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,20}") {
            let _ = (duration(&text), bytes(&text), rate(&text), cores(&text), signal(&text));
            prop_assert!(unescape(text.as_bytes()).len() <= text.len());
        }

        #[test]
        fn milliseconds_survive(ms in 0_u64..10_000_000) {
            let read = duration(&format!("{ms}ms")).unwrap().as_secs_f64() * 1000.0;
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
            let meant = ms as f64;
            prop_assert!((read - meant).abs() < 0.001);
        }
    }
}
