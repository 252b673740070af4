//! What a measured line says of itself: `seq=<n> t=<nanoseconds of the machine's monotonic clock>`, as `fakegame --stamp` prints it.

use memchr::memmem;

/// A line's number and when it was printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) seq: u64,
    pub(crate) at_ns: u64,
}

/// Finds it in a frame.
pub(crate) fn stamp(payload: &[u8]) -> Option<Stamp> {
    let at = memmem::find(payload, b"seq=")? + 4;
    let (seq, rest) = number(payload.get(at..)?);
    let (at_ns, _) = number(rest.strip_prefix(b" t=")?);
    Some(Stamp { seq, at_ns })
}

fn number(bytes: &[u8]) -> (u64, &[u8]) {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = bytes.split_at(digits);
    (digits.iter().fold(0, |number: u64, digit| number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'))), rest)
}

/// Now, on the clock of the stamps.
pub(crate) fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or_default() * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_found_wherever_it_stands() {
        let frame = br#"{"event":"console output","args":["\u001b[1mseq=12 t=345 abc"]}"#;
        assert_eq!(stamp(frame), Some(Stamp { seq: 12, at_ns: 345 }));
        for other in [&b""[..], b"{\"event\":\"stats\"}", b"seq=1", b"seq=1 x"] {
            assert_eq!(stamp(other), None);
        }
    }
}
