//! Frames: lengths, masks, reserved bits and opcodes, fragments, pings (§5).

use std::io::Write;
use std::net::TcpStream;

use super::{
    BINARY, CLOSE, CONTINUATION, Case, Comes, FIN, Heard, KEY, MASKED, PING, PONG, TEXT, answer, case, connect, enter,
    fragments, frame, frame_in_form, handshake, header, hold, masked, message, message_of, open_node,
};
use crate::node::{DEADLINE, closes_with, node, open, until};

/// What a client may send in one frame (`Config::frame_bytes_max`).
const LIMIT: usize = 32 * 1024;

fn pong(payload: &[u8]) -> Comes {
    Comes::Pong(payload.to_vec())
}

fn text(word: &str) -> Vec<u8> {
    frame(FIN | TEXT, message(word).as_bytes())
}

#[tokio::test]
async fn a_text_of_any_length_is_one_message_up_to_the_limit() {
    let of = |length: usize, comes: Comes| {
        case(format!("§5.2 text of {length} bytes"), frame(FIN | TEXT, message_of(length).as_bytes()), [comes])
    };
    let understood = answer(&"x".repeat(40));
    let mut cases = vec![
        case("§5.6 text of 0 bytes", frame(FIN | TEXT, b""), []),
        case("§5.6 text of 1 byte", frame(FIN | TEXT, b"x"), []),
    ];
    cases.extend([124, 125, 126, 127, 128, 256, 4096, LIMIT - 1, LIMIT].map(|length| of(length, understood.clone())));
    cases.extend([LIMIT + 1, 65_535, 65_536, 1 << 20].map(|length| of(length, Comes::Fails(1009))));
    let three = [text("one"), frame(FIN | PING, b"two"), text("three"), text("four")].concat();
    cases.push(case(
        "§5.2 many frames in one segment",
        three,
        [answer("one"), pong(b"two"), answer("three"), answer("four")],
    ));
    hold(cases).await;
}

/// §5.2 wants the shortest form, and says nothing of what a receiver does about another; the library takes it at its word
/// (tungstenite-rs, pull request 546), and so do we. A most significant bit that is set is a length above any limit.
#[tokio::test]
async fn known_deviation_lengths_that_are_longer_than_they_need_to_be_are_accepted() {
    let short = message("short");
    let long = message_of(300);
    let word = "x".repeat(40);
    hold([
        case("§5.2 under 126 in 16 bits", frame_in_form(FIN | TEXT, 126, short.as_bytes()), [answer("short")]),
        case("§5.2 under 126 in 64 bits", frame_in_form(FIN | TEXT, 127, short.as_bytes()), [answer("short")]),
        case("§5.2 under 65536 in 64 bits", frame_in_form(FIN | TEXT, 127, long.as_bytes()), [answer(&word)]),
        case("§5.5 a ping in 16 bits", frame_in_form(FIN | PING, 126, b"hello"), [pong(b"hello")]),
        case("§5.5 a ping in 64 bits", frame_in_form(FIN | PING, 127, b"hello"), [pong(b"hello")]),
        case("§5.5 an empty close in 16 bits", frame_in_form(FIN | CLOSE, 126, b""), [Comes::Closes(Vec::new())]),
    ])
    .await;
}

/// Lengths that nobody means: refused by the head alone, before there is room made for any of it.
#[tokio::test]
async fn a_huge_length_is_refused_by_its_head() {
    let of = |name: &str, opcode: u8, length: u64| {
        case(format!("§5.2 {name}, opcode {opcode}"), header(FIN | opcode, 127, length), [Comes::Fails(1009)])
    };
    let mut cases = Vec::new();
    for opcode in [TEXT, BINARY, PING, CLOSE] {
        cases.extend([
            of("16 MiB", opcode, 16 << 20),
            of("2^32", opcode, 1 << 32),
            of("2^63-1", opcode, (1 << 63) - 1),
            of("2^63", opcode, 1 << 63),
            of("2^64-1", opcode, u64::MAX),
        ]);
    }
    let mut fragment = frame(TEXT, b"{");
    fragment.extend(header(FIN | CONTINUATION, 127, u64::MAX));
    cases.push(case("§5.4 2^64-1 behind a fragment", fragment, [Comes::Fails(1009)]));
    hold(cases).await;
}

/// Whoever sends a large message does so to its end before it listens: the reason is there to be read all the same.
#[tokio::test]
async fn a_message_above_the_limit_is_told_so_behind_all_its_bytes() {
    let part = vec![b'x'; 1000];
    let parts = |opcode: u8, count: usize| fragments(opcode, std::iter::repeat_n(&part[..], count));
    let one = message_of(LIMIT - 100);
    let (begin, end) = one.as_bytes().split_at(LIMIT / 2);
    let over = [frame(TEXT, begin), frame(CONTINUATION, end), frame(CONTINUATION, &[b' '; 101])].concat();
    let exact = [frame(TEXT, begin), frame(CONTINUATION, end), frame(FIN | CONTINUATION, &[b' '; 100])].concat();
    hold([
        case("§10.4 a frame of 16 MiB", frame(FIN | TEXT, &vec![b'x'; 16 << 20]), [Comes::Fails(1009)]),
        case("§10.4 a binary frame above the limit", frame(FIN | BINARY, &vec![0; LIMIT + 1]), [Comes::Fails(1009)]),
        case("§10.4 33 fragments of 1000 bytes", parts(TEXT, 33), [Comes::Fails(1009)]),
        case("§10.4 binary in 33 fragments", parts(BINARY, 33), [Comes::Fails(1009)]),
        case("§10.4 a thousand fragments", parts(TEXT, 1000), [Comes::Fails(1009)]),
        case("§10.4 fragments of one byte more than there may be", over, [Comes::Fails(1009)]),
        case("§5.4 fragments of just what there may be", exact, [answer(&"x".repeat(40))]),
    ])
    .await;
}

#[tokio::test]
async fn a_frame_without_a_mask_is_a_protocol_error() {
    let bare = |first: u8, payload: &[u8]| [&[first, u8::try_from(payload.len()).unwrap()][..], payload].concat();
    let word = message("mask");
    let with_key = |key: [u8; 4]| {
        let masked: Vec<u8> = word.bytes().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        [&[FIN | TEXT, MASKED | u8::try_from(masked.len()).unwrap()][..], &key, &masked].concat()
    };
    let fails = [Comes::Fails(1002)];
    hold([
        case("§5.1 text", bare(FIN | TEXT, word.as_bytes()), fails.clone()),
        case("§5.1 empty text", bare(FIN | TEXT, b""), fails.clone()),
        case("§5.1 binary", bare(FIN | BINARY, b"x"), fails.clone()),
        case("§5.1 ping", bare(FIN | PING, b"x"), fails.clone()),
        case("§5.1 pong", bare(FIN | PONG, b""), fails.clone()),
        case("§5.1 close", bare(FIN | CLOSE, &1000u16.to_be_bytes()), fails.clone()),
        case("§5.1 a later fragment", [frame(TEXT, b"{"), bare(FIN | CONTINUATION, b"}")].concat(), fails.clone()),
        case(
            "§5.1 behind a good one",
            [text("good"), bare(FIN | TEXT, b"{}")].concat(),
            [answer("good"), Comes::Fails(1002)],
        ),
        case("§5.3 a key of zeros", with_key([0; 4]), [answer("mask")]),
        case("§5.3 a key of ones", with_key([0xff; 4]), [answer("mask")]),
        case(
            "§5.3 a new key for each frame",
            [with_key([1, 2, 3, 4]), with_key(KEY)].concat(),
            [answer("mask"), answer("mask")],
        ),
    ])
    .await;
}

#[tokio::test]
async fn reserved_bits_are_a_protocol_error() {
    let mut cases = Vec::new();
    for bits in 1..8u8 {
        let rsv = bits << 4;
        for (name, first, payload) in [
            ("text", FIN | TEXT, message("rsv").into_bytes()),
            ("binary", FIN | BINARY, vec![1, 2, 3]),
            ("a first fragment", TEXT, b"{".to_vec()),
            ("a ping", FIN | PING, b"x".to_vec()),
            ("a pong", FIN | PONG, Vec::new()),
            ("a close", FIN | CLOSE, 1000u16.to_be_bytes().to_vec()),
        ] {
            cases.push(case(
                format!("§5.2 RSV {bits:03b} in {name}"),
                frame(first | rsv, &payload),
                [Comes::Fails(1002)],
            ));
        }
        let later = [frame(TEXT, b"{"), frame(FIN | CONTINUATION | rsv, b"}")].concat();
        cases.push(case(format!("§5.2 RSV {bits:03b} in a later fragment"), later, [Comes::Fails(1002)]));
    }
    hold(cases).await;
}

#[tokio::test]
async fn reserved_opcodes_are_a_protocol_error() {
    let mut cases = Vec::new();
    for opcode in (3..=7).chain(11..=15) {
        let fails = [Comes::Fails(1002)];
        let within = [frame(TEXT, b"{"), frame(FIN | opcode, b"")].concat();
        let behind = [frame(FIN | PING, b"good"), frame(FIN | opcode, b"bad")].concat();
        cases.extend([
            case(format!("§5.2 opcode {opcode}"), frame(FIN | opcode, b"payload"), fails.clone()),
            case(format!("§5.2 opcode {opcode}, empty"), frame(FIN | opcode, b""), fails.clone()),
            case(format!("§5.2 opcode {opcode}, not the last"), frame(opcode, b"payload"), fails.clone()),
            case(format!("§5.2 opcode {opcode} within a message"), within, fails),
            case(format!("§5.2 opcode {opcode} behind a ping"), behind, [pong(b"good"), Comes::Fails(1002)]),
        ]);
    }
    hold(cases).await;
}

#[tokio::test]
async fn fragments_become_one_message() {
    let whole = message("in pieces");
    let bytes = whole.as_bytes();
    let mut cases: Vec<Case> = [2, 3, 7, bytes.len()]
        .map(|count| {
            let parts = bytes.chunks(bytes.len().div_ceil(count));
            case(format!("§5.4 text in {count} fragments"), fragments(TEXT, parts), [answer("in pieces")])
        })
        .into();
    let (begin, end) = bytes.split_at(10);
    let between =
        |frames: &[Vec<u8>]| [&frame(TEXT, begin)[..], &frames.concat(), &frame(FIN | CONTINUATION, end)].concat();
    cases.extend([
        case("§5.4 empty fragments before", fragments(TEXT, [b"", b"", bytes]), [answer("in pieces")]),
        case("§5.4 empty fragments between", fragments(TEXT, [begin, b"", b"", end]), [answer("in pieces")]),
        case("§5.4 an empty last fragment", fragments(TEXT, [bytes, b""]), [answer("in pieces")]),
        case("§5.4 nothing but empty fragments", fragments(TEXT, [b"".as_slice(); 3]), []),
        case("§5.4 a ping between", between(&[frame(FIN | PING, b"now")]), [pong(b"now"), answer("in pieces")]),
        case(
            "§5.4 pings and pongs between",
            between(&[frame(FIN | PING, b"a"), frame(FIN | PONG, b"b"), frame(FIN | PING, b"c")]),
            [pong(b"a"), pong(b"c"), answer("in pieces")],
        ),
        case(
            "§5.4 a close between: the message is never told",
            between(&[frame(FIN | CLOSE, &1000u16.to_be_bytes())]),
            [Comes::Closes(1000u16.to_be_bytes().to_vec())],
        ),
        case(
            "§5.4 one message behind another",
            [between(&[]), between(&[])].concat(),
            [answer("in pieces"), answer("in pieces")],
        ),
    ]);
    hold(cases).await;
}

#[tokio::test]
async fn fragments_out_of_order_are_a_protocol_error() {
    let fails = [Comes::Fails(1002)];
    let begun = frame(TEXT, b"{");
    let behind = |next: Vec<u8>| [&begun[..], &next].concat();
    hold([
        case("§5.4 a continuation of nothing", frame(FIN | CONTINUATION, b"x"), fails.clone()),
        case("§5.4 a continuation of nothing, not the last", frame(CONTINUATION, b"x"), fails.clone()),
        case("§5.4 an empty continuation of nothing", frame(FIN | CONTINUATION, b""), fails.clone()),
        case(
            "§5.4 a continuation of what has ended",
            [text("whole"), frame(FIN | CONTINUATION, b"x")].concat(),
            [answer("whole"), Comes::Fails(1002)],
        ),
        case(
            "§5.4 a continuation of fragments that have ended",
            [fragments(TEXT, [b"{".as_slice(), b"}"]), frame(CONTINUATION, b"x")].concat(),
            fails.clone(),
        ),
        case("§5.4 a text within a message", behind(text("within")), fails.clone()),
        case("§5.4 a binary frame within a message", behind(frame(FIN | BINARY, b"x")), fails.clone()),
        case("§5.4 another beginning", behind(frame(TEXT, b"{")), fails.clone()),
        case("§5.5 a ping in fragments", [frame(PING, b"a"), frame(FIN | CONTINUATION, b"b")].concat(), fails.clone()),
        case("§5.5 a pong in fragments", frame(PONG, b"a"), fails.clone()),
        case("§5.5 a ping in fragments within a message", behind(frame(PING, b"a")), fails.clone()),
        case("§5.5 a close in fragments", frame(CLOSE, &1000u16.to_be_bytes()), fails),
    ])
    .await;
}

#[tokio::test]
async fn pings_are_answered_with_what_they_carry() {
    let longest: Vec<u8> = (0..125).map(|n| n * 2).collect();
    let ten: Vec<Vec<u8>> = (0..10).map(|n| format!("ping {n}").into_bytes()).collect();
    let too_long = [0xfe; 126];
    let fails = [Comes::Fails(1002)];
    hold([
        case("§5.5.2 an empty ping", frame(FIN | PING, b""), [pong(b"")]),
        case("§5.5.2 a ping with text", frame(FIN | PING, b"hello"), [pong(b"hello")]),
        case(
            "§5.5.2 what it carries need not be text",
            frame(FIN | PING, &[0, 0xff, 0xfe, 0xfd]),
            [pong(&[0, 0xff, 0xfe, 0xfd])],
        ),
        case("§5.5.2 a ping of 125 bytes", frame(FIN | PING, &longest), [pong(&longest)]),
        case(
            "§5.5.3 ten in a row, in order",
            ten.iter().flat_map(|payload| frame(FIN | PING, payload)).collect(),
            ten.iter().map(|payload| pong(payload)).collect::<Vec<_>>(),
        ),
        case("§5.5 a ping of 126 bytes", frame(FIN | PING, &too_long), fails.clone()),
        case("§5.5 a pong of 126 bytes", frame(FIN | PONG, &too_long), fails.clone()),
        case("§5.5 a ping of 4096 bytes", frame(FIN | PING, &[0; 4096]), fails),
        case("§5.5.3 a pong nobody asked for", frame(FIN | PONG, b"unasked"), []),
        case("§5.5.3 an empty one", frame(FIN | PONG, b""), []),
        case(
            "§5.5.3 between two pings",
            [frame(FIN | PING, b"a"), frame(FIN | PONG, b"b"), frame(FIN | PING, b"c")].concat(),
            [pong(b"a"), pong(b"c")],
        ),
        case("§5.5.2 a ping and a message", [frame(FIN | PING, b"a"), text("b")].concat(), [pong(b"a"), answer("b")]),
    ])
    .await;
}

/// Binary frames carry nothing in this protocol.
#[tokio::test]
async fn binary_frames_are_dropped() {
    let like_text = message("binary");
    hold([
        case("§5.6 binary", frame(FIN | BINARY, &[1, 2, 3]), []),
        case("§5.6 empty binary", frame(FIN | BINARY, b""), []),
        case("§5.6 binary that would be a message", frame(FIN | BINARY, like_text.as_bytes()), []),
        case("§5.6 binary need not be text", frame(FIN | BINARY, &[0xff, 0xc0, 0x80]), []),
        case("§5.6 binary in fragments", fragments(BINARY, [b"\xff".as_slice(), b"\xc0", b""]), []),
        case("§5.6 binary as long as may be", frame(FIN | BINARY, &vec![0xff; LIMIT]), []),
        case("§5.6 a message behind it", [frame(FIN | BINARY, b"x"), text("behind")].concat(), [answer("behind")]),
    ])
    .await;
}

/// A message of fragments without an end was read for as long as there were any, by a thread that connections share: whoever sent
/// them was never asked for a token, and nobody else was heard.
#[tokio::test]
async fn frames_without_an_end_hold_up_nobody() {
    let node = node("/bin/cat", |config| config.session.auth_timeout_ms = 300).await;
    let address = node.url.trim_start_matches("ws://").split('/').next().unwrap().to_owned();
    let head = handshake::head(&node, handshake::GOOD);
    let floods = [
        ("fragments", frame(TEXT, b""), frame(CONTINUATION, b"")),
        ("pongs", Vec::new(), frame(FIN | PONG, b"")),
        ("binary frames", Vec::new(), frame(FIN | BINARY, b"")),
        ("messages", Vec::new(), frame(FIN | TEXT, b"{}")),
    ];
    for (name, first, next) in floods {
        let begin = [head.as_bytes(), &first].concat();
        let address = address.clone();
        let flood = std::thread::spawn(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_write_timeout(Some(DEADLINE)).unwrap();
            stream.write_all(&begin).unwrap();
            let many = next.repeat(20_000);
            let started = std::time::Instant::now();
            // The node ends it.
            while stream.write_all(&many).is_ok() {
                assert!(started.elapsed() < DEADLINE, "the node takes {name} for ever");
            }
        });
        // Somebody else is heard meanwhile, by the same thread.
        let mut other = open(&node).await;
        until(&mut other, closes_with(1008.into(), "no auth in time")).await;
        tokio::task::spawn_blocking(move || flood.join()).await.unwrap().unwrap();
    }
    node.daemon.shutdown().await;
}

/// What is refused is refused for that connection alone.
#[tokio::test]
async fn a_failed_connection_fails_nobody_else() {
    let node = open_node().await;
    let (mut reader, mut writer) = connect(&node, &[]).await;
    enter(&mut reader, &mut writer, "x").await;
    let (mut broken, _open) = connect(&node, &header(FIN | TEXT, 127, u64::MAX)).await;
    let heard = tokio::time::timeout(DEADLINE, broken.rest()).await.unwrap();
    assert_eq!(heard, [Heard::Close([&1009u16.to_be_bytes()[..], b"message too big"].concat()), Heard::End]);
    tokio::io::AsyncWriteExt::write_all(&mut writer, &[&[FIN | PING, MASKED | 2][..], &KEY, &masked(b"ok")].concat())
        .await
        .unwrap();
    assert_eq!(tokio::time::timeout(DEADLINE, reader.next()).await.unwrap(), Heard::Pong(b"ok".to_vec()));
    node.daemon.shutdown().await;
}
