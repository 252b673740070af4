//! How a connection ends (§5.5.1, §7).

use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::{
    CLOSE, Case, Comes, FIN, Heard, PING, TEXT, answer, case, connect, enter, frame, header, hold, message, open_node,
};
use crate::node::DEADLINE;

fn payload(code: u16, reason: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason].concat()
}

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(FIN | CLOSE, &payload(code, reason))
}

#[tokio::test]
async fn a_close_is_answered_with_itself() {
    let codes = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4409, 4999];
    let longest = [b'x'; 123];
    let mut cases: Vec<Case> = codes
        .map(|code| case(format!("§7.4 code {code}"), close(code, b"bye"), [Comes::Closes(payload(code, b"bye"))]))
        .into();
    let bye = || Comes::Closes(payload(1000, b""));
    cases.extend([
        case("§5.5.1 no code", frame(FIN | CLOSE, b""), [Comes::Closes(Vec::new())]),
        case("§5.5.1 a code alone", close(1000, b""), [bye()]),
        case("§5.5.1 a reason of 123 bytes", close(1000, &longest), [Comes::Closes(payload(1000, &longest))]),
        case(
            "§5.5.1 a reason in UTF-8",
            close(1000, "κόσμε".as_bytes()),
            [Comes::Closes(payload(1000, "κόσμε".as_bytes()))],
        ),
        case("§5.5.1 a second close", [close(1000, b""), close(1001, b"again")].concat(), [bye()]),
        case(
            "§5.5.1 a message behind it",
            [close(1000, b""), frame(FIN | TEXT, message("late").as_bytes())].concat(),
            [bye()],
        ),
        case("§5.5.1 a broken frame behind it", [close(1000, b""), frame(0x7f, b"?")].concat(), [bye()]),
        case("§5.5.1 a flood behind it", [close(1000, b""), frame(FIN | TEXT, &vec![b'x'; 1 << 20])].concat(), [bye()]),
        case(
            "§5.5.1 what came before is answered first",
            [frame(FIN | PING, b"a"), frame(FIN | TEXT, message("b").as_bytes()), close(1000, b"")].concat(),
            [Comes::Pong(b"a".to_vec()), answer("b"), bye()],
        ),
    ]);
    hold(cases).await;
}

#[tokio::test]
async fn a_close_that_may_not_be_sent_is_a_protocol_error() {
    let codes = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535];
    let fails = [Comes::Fails(1002)];
    let mut cases: Vec<Case> =
        codes.map(|code| case(format!("§7.4 code {code}"), close(code, b""), fails.clone())).into();
    cases.extend(codes.map(|code| case(format!("§7.4 code {code} with a reason"), close(code, b"why"), fails.clone())));
    cases.extend([
        case("§5.5.1 half a code", frame(FIN | CLOSE, &[3]), fails.clone()),
        case("§5.5 126 bytes", close(1000, &[b'x'; 124]), fails),
        // §5.5.1 wants UTF-8, and does not say which code is for what is not: the one for such text.
        case("§5.5.1 a reason that is not UTF-8", close(1000, b"\xff"), [Comes::Fails(1007)]),
        case("§5.5.1 a reason that ends within a character", close(1000, b"ok \xe2\x82"), [Comes::Fails(1007)]),
    ]);
    hold(cases).await;
}

/// IANA has given 1014 ("bad gateway") away since, as RFC 6455 §7.4.2 provides for; the library does not know of it and calls it a
/// protocol error. No client has a gateway behind it.
#[tokio::test]
async fn known_deviation_code_1014_is_refused() {
    hold([case("§7.4.2 code 1014", close(1014, b""), [Comes::Fails(1002)])]).await;
}

/// §7.1.4: somebody who hangs up without a close is not sent one, wherever it was.
#[tokio::test]
async fn a_client_that_hangs_up_ends_the_connection() {
    let node = open_node().await;
    let cuts: [&[u8]; 5] =
        [b"", &[FIN | TEXT], &header(FIN | TEXT, 0, 10), &frame(TEXT, b"{"), &[FIN | PING, 0x80, 1, 2]];
    for sent in cuts {
        for is_in in [false, true] {
            let (mut reader, mut writer) = connect(&node, b"").await;
            if is_in {
                enter(&mut reader, &mut writer, "x").await;
            }
            writer.write_all(sent).await.unwrap();
            writer.shutdown().await.unwrap();
            let heard = tokio::time::timeout(DEADLINE, reader.rest()).await.unwrap();
            assert_eq!(heard, [Heard::End], "{sent:02x?}");
        }
    }
    node.daemon.shutdown().await;
}

/// §5.5.1, §7.1.1: behind its own close a node says nothing more, whatever comes; it takes the other side's close, and ends first.
#[tokio::test]
async fn nothing_follows_a_close_of_the_nodes_own() {
    let node = open_node().await;
    let late = [frame(FIN | PING, b"late"), frame(FIN | TEXT, message("late").as_bytes())].concat();
    let replies = [
        ("an answer", close(1008, b"")),
        ("late words and an answer", [&late[..], &close(1008, b"")].concat()),
        ("late words and no answer", late.clone()),
        ("an answer and late words", [&close(1008, b"")[..], &late].concat()),
        ("a protocol error", frame(0x7f, b"?")),
        ("silence", Vec::new()),
    ];
    for (name, reply) in replies {
        let (mut reader, mut writer) = connect(&node, b"").await;
        enter(&mut reader, &mut writer, name).await;
        assert_eq!(node.post("/ws/deny", json!({ "jtis": [name] })).await.0, 204);
        let told = tokio::time::timeout(DEADLINE, reader.next()).await.unwrap();
        assert_eq!(told, Heard::Close(payload(1008, b"access changed, renew your token")), "{name}");
        let _ = writer.write_all(&reply).await;
        let heard = tokio::time::timeout(DEADLINE, reader.rest()).await.unwrap();
        assert_eq!(heard, [Heard::End], "{name}");
    }
    node.daemon.shutdown().await;
}
