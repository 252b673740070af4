//! Text is UTF-8 (§5.6, §8.1; RFC 3629).

use super::{Case, Comes, FIN, PING, TEXT, answer, case, fragments, frame, hold, message};

/// Bytes one by one.
fn singly(payload: &[u8]) -> Vec<u8> {
    fragments(TEXT, payload.chunks(1))
}

#[tokio::test]
async fn every_kind_of_character_is_understood() {
    let words = [
        ("the last of one byte", "\u{7f}"),
        ("the first of two", "\u{80}"),
        ("the last of two", "\u{7ff}"),
        ("the first of three", "\u{800}"),
        ("the last before the surrogates", "\u{d7ff}"),
        ("the first behind the surrogates", "\u{e000}"),
        ("the replacement character", "\u{fffd}"),
        ("no character, U+FFFE", "\u{fffe}"),
        ("no character, U+FFFF", "\u{ffff}"),
        ("the first of four", "\u{10000}"),
        ("the last of all", "\u{10ffff}"),
        ("a byte order mark", "\u{feff}"),
        ("Greek", "κόσμε"),
        ("many", "grüße ✓ 🎉 日本語"),
        ("a nul, escaped", "\0"),
    ];
    let mut cases: Vec<Case> = Vec::new();
    for (name, word) in words {
        let text = message(word);
        cases.extend([
            case(format!("§8.1 {name}"), frame(FIN | TEXT, text.as_bytes()), [answer(word)]),
            case(format!("§8.1 {name}, in fragments of one byte"), singly(text.as_bytes()), [answer(word)]),
        ]);
    }
    // A nul byte is text, if no JSON.
    cases.push(case("§8.1 a nul byte", frame(FIN | TEXT, b"\0"), []));
    let text = message("🎉");
    let within = text.find('🎉').unwrap();
    for cut in 1..4 {
        let (begin, end) = text.as_bytes().split_at(within + cut);
        let ping = frame(FIN | PING, b"within");
        let bytes = [frame(TEXT, begin), ping, frame(0, b""), frame(FIN, end)].concat();
        let comes = [Comes::Pong(b"within".to_vec()), answer("🎉")];
        cases.push(case(format!("§5.4 a ping {cut} bytes into a character"), bytes, comes));
    }
    hold(cases).await;
}

#[tokio::test]
async fn what_is_not_utf8_ends_the_connection() {
    let bad: [(&str, &[u8]); 24] = [
        ("a byte of a middle", b"\x80"),
        ("the last such byte", b"\xbf"),
        ("two of them", b"\x80\xbf"),
        ("a slash in two bytes", b"\xc0\xaf"),
        ("a nul in two bytes", b"\xc0\x80"),
        ("the last of one byte, in two", b"\xc1\xbf"),
        ("a nul in three bytes", b"\xe0\x80\x80"),
        ("the last of two bytes, in three", b"\xe0\x9f\xbf"),
        ("the last of three bytes, in four", b"\xf0\x8f\xbf\xbf"),
        ("a nul in four bytes", b"\xf0\x80\x80\x80"),
        ("the first surrogate", b"\xed\xa0\x80"),
        ("the last high surrogate", b"\xed\xaf\xbf"),
        ("the last surrogate", b"\xed\xbf\xbf"),
        ("a pair of surrogates", b"\xed\xa0\xbd\xed\xb2\xa9"),
        ("just above the last of all", b"\xf4\x90\x80\x80"),
        ("far above it", b"\xf7\xbf\xbf\xbf"),
        ("five bytes", b"\xf8\x88\x80\x80\x80"),
        ("six bytes", b"\xfc\x84\x80\x80\x80\x80"),
        ("no such byte, FE", b"\xfe"),
        ("no such byte, FF", b"\xff"),
        ("two bytes, the second missing", b"\xc3"),
        ("three bytes, the last missing", b"\xe2\x82"),
        ("four bytes, the last missing", b"\xf0\x9f\x98"),
        ("Latin-1", b"gr\xfc\xdfe"),
    ];
    let fails = [Comes::Fails(1007)];
    let mut cases = Vec::new();
    for (name, bytes) in bad {
        let amid = [b"ok ".as_slice(), bytes, b" ok"].concat();
        cases.extend([
            case(format!("§8.1 {name}"), frame(FIN | TEXT, bytes), fails.clone()),
            case(format!("§8.1 {name}, amid text"), frame(FIN | TEXT, &amid), fails.clone()),
            case(format!("§8.1 {name}, in fragments of one byte"), singly(&amid), fails.clone()),
            case(format!("§8.1 {name}, at the end of fragments"), singly(&[b"ok", bytes].concat()), fails.clone()),
        ]);
    }
    let cut = fragments(TEXT, [b"\xe2\x82".as_slice(), b"x"]);
    let ended = fragments(TEXT, [b"\xe2\x82".as_slice(), b""]);
    let good = frame(FIN | TEXT, message("good").as_bytes());
    cases.extend([
        case("§8.1 a character that another fragment does not end", cut, fails.clone()),
        case("§8.1 a character that nothing ends", ended, fails),
        case(
            "§8.1 behind a good message",
            [good, frame(FIN | TEXT, b"\xff")].concat(),
            [answer("good"), Comes::Fails(1007)],
        ),
    ]);
    hold(cases).await;
}
