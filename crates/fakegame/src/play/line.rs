//! What a numbered line looks like. Any change of a byte in it must show.

use super::PlayArgs;
use crate::sys;

/// Filler that depends on its position, so that a missing or doubled piece does not go unnoticed.
const FILLER: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
/// Bytes that are no UTF-8 however they are cut: two that never occur, and a first byte without its second.
const INVALID_UTF8: &[u8] = b"\xff\xfe\xc3(";
/// The first of the eight foreground colours (`ESC [ 31 m` is red).
const FIRST_COLOUR: u64 = 31;
const COLOURS: u64 = 6;

/// Appends line `number` with its line end: `line <n>`, what the flags add, filler up to `--line-len`.
pub(super) fn push(out: &mut Vec<u8>, number: u64, args: &PlayArgs) {
    let start = out.len();
    if args.ansi {
        out.extend_from_slice(format!("\x1b[{}m", FIRST_COLOUR + number % COLOURS).as_bytes());
    }
    out.extend_from_slice(format!("line {number}").as_bytes());
    if args.stamp {
        out.extend_from_slice(format!(" seq={number} t={}", sys::monotonic_ns()).as_bytes());
    }
    if args.invalid_utf8 {
        out.push(b' ');
        out.extend_from_slice(INVALID_UTF8);
    }
    if args.nul {
        out.extend_from_slice(b" \0");
    }
    let tail: &[u8] = if args.ansi { b"\x1b[0m" } else { b"" };
    let missing = args.line_len.saturating_sub(out.len() - start + tail.len());
    if missing > 0 {
        out.push(b' ');
        out.extend(FILLER.iter().cycle().take(missing - 1));
    }
    out.extend_from_slice(tail);
    out.extend_from_slice(args.line_end().as_bytes());
}

/// One line of exactly `length` bytes (line end not included) that begins with `long ` when there is room for it.
pub(super) fn long(length: usize) -> Vec<u8> {
    b"long ".iter().chain(FILLER.iter().cycle()).copied().take(length).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        play: PlayArgs,
    }

    fn line(number: u64, flags: &str) -> Vec<u8> {
        let args = Line::parse_from(std::iter::once("game").chain(flags.split_whitespace())).play;
        let mut out = Vec::new();
        push(&mut out, number, &args);
        out
    }

    #[test]
    fn flags_shape_the_line() {
        for (flags, bytes) in [
            ("", &b"line 7\n"[..]),
            ("--crlf", b"line 7\r\n"),
            ("--ansi", b"\x1b[32mline 7\x1b[0m\n"),
            ("--nul", b"line 7 \0\n"),
            ("--invalid-utf8", b"line 7 \xff\xfe\xc3(\n"),
            ("--line-len 12", b"line 7 abcde\n"),
            ("--line-len 7", b"line 7 \n"),
            ("--line-len 3", b"line 7\n"),
        ] {
            assert_eq!(line(7, flags), bytes, "{flags}");
        }
        assert_eq!(line(7, "--line-len 1000 --ansi --nul").len(), 1001);
        assert!(std::str::from_utf8(&line(7, "--invalid-utf8")).is_err());
    }

    #[test]
    fn a_stamp_never_goes_back() {
        let stamp = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).unwrap();
            let (front, time) = text.trim_end().split_once(" t=").unwrap();
            assert_eq!(front, "line 3 seq=3");
            time.parse::<u64>().unwrap()
        };
        let (first, second) = (stamp(line(3, "--stamp")), stamp(line(3, "--stamp")));
        assert!(0 < first && first <= second);
    }

    #[test]
    fn a_long_line_has_its_length() {
        for length in [0, 3, 5, 100_000] {
            assert_eq!(long(length).len(), length);
        }
        assert!(long(100).starts_with(b"long abc"));
    }
}
