//! Lines as bytes, as text, without their colours, and our own.

use std::borrow::Cow;

use engine::line::{daemon_line, echo_line, strip_ansi, text};
use proptest::prelude::*;

#[test]
fn bytes_become_text_without_losing_a_line() {
    let table: [(&[u8], &str); 9] = [
        (b"", ""),
        (b"plain", "plain"),
        (b"dos\r", "dos"),
        (b"two\r\r", "two"),
        (b"\r", ""),
        (b"10%\r50%\r100%\r", "10%\r50%\r100%"),
        (b"a\0b", "a\0b"),
        (b"caf\xe9 \xff", "caf\u{fffd} \u{fffd}"),
        ("grüße \x1b[31m✓".as_bytes(), "grüße \x1b[31m✓"),
    ];
    for (bytes, expected) in table {
        assert_eq!(text(bytes), expected);
    }
    assert!(matches!(text(b"plain\r"), Cow::Borrowed(_)));
}

#[test]
fn sequences_go_and_text_stays() {
    let table = [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[38;5;196mx\x1b[38:2::1:2:3my", "xy"),
        ("\x1b]0;window title\x07text", "text"),
        ("\x1b]8;;https://example.org\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b[?2004h> \x1b[1G\x1b[0Jhi", "> hi"),
        ("\x1bPq#0\x1b\\after", "after"),
        ("\x1b(Bascii\x1b=\x1b7", "ascii"),
        ("bell\x07 back\x08 cr\r nul\0 del\x7f", "bell back cr nul del"),
        ("tab\there", "tab\there"),
        ("\u{9b}31mC1", "31mC1"),
        ("cut off \x1b[3", "cut off "),
        ("\x1b", ""),
        ("grüße ✓ 🎉", "grüße ✓ 🎉"),
        ("\x1b[31mgrüße\x1b[0m ✓", "grüße ✓"),
    ];
    for (line, expected) in table {
        assert_eq!(strip_ansi(line), expected, "{line:?}");
    }
    assert!(matches!(strip_ansi("plain\ttext ✓"), Cow::Borrowed(_)));
}

#[test]
fn our_lines_have_the_form_of_wings() {
    assert_eq!(
        daemon_line("Quarterdeck", "Server crashed."),
        "\x1b[33m\x1b[1m[Quarterdeck Daemon]:\x1b[39m Server crashed.\x1b[0m"
    );
    assert_eq!(strip_ansi(&daemon_line("A", "b\nc\x1b[2J")), "[A Daemon]: b␊c␛[2J");
}

#[test]
fn an_echoed_command_stays_one_harmless_line() {
    assert_eq!(echo_line("", "say hi"), "\x1b[2m> say hi\x1b[0m");
    assert_eq!(echo_line("ada", "say hi"), "\x1b[2mada> say hi\x1b[0m");
    assert_eq!(strip_ansi(&echo_line("", "a\nb\x1b[31m\x7f\u{9b}\tc")), "> a␊b␛[31m␡\u{fffd}\tc");
}

proptest! {
    #[test]
    fn stripped_text_has_no_control_characters_and_stays_as_it_is(line in ".{0,200}|[\x1b\\[\\]0-9;mqPX\\\\\x07\u{9c}é✓]{0,60}") {
        let once = strip_ansi(&line).into_owned();
        prop_assert!(!once.contains(|c: char| c.is_control() && c != '\t'), "{:?}", once);
        prop_assert_eq!(strip_ansi(&once), once.as_str());
    }

    #[test]
    fn text_without_control_characters_is_borrowed(line in "\\PC{0,100}") {
        prop_assert!(matches!(strip_ansi(&line), Cow::Borrowed(_)));
        prop_assert_eq!(text(line.as_bytes()), line.as_str());
    }

    #[test]
    fn any_bytes_are_text(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let text = text(&bytes);
        prop_assert!(!text.ends_with('\r'));
    }
}
