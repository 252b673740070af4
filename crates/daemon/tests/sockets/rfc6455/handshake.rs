//! The opening handshake (§4.2).

use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{FIN, Heard, PING, Reader, STRANGER, TEXT, connect, frame, message, open_node};
use crate::node::{DEADLINE, Node, SERVER};

/// The example of §1.3.
pub(super) const GOOD: &str =
    "Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: (&str, Option<&str>) = ("sec-websocket-accept", Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
const NO_EXTENSION: (&str, Option<&str>) = ("sec-websocket-extensions", None);
const NO_PROTOCOL: (&str, Option<&str>) = ("sec-websocket-protocol", None);
const NUMBERED: (&str, Option<&str>) = ("sec-websocket-protocol", Some("quarterdeck.v1"));
/// What a refusal says that asks for an upgrade.
const ASKS: [(&str, Option<&str>); 3] =
    [("connection", Some("Upgrade")), ("upgrade", Some("websocket")), ("sec-websocket-version", Some("13"))];

type Headers = Vec<(String, String)>;

/// A request with these lines behind its first two.
pub(super) fn head(node: &Node, lines: &str) -> String {
    let address = node.url.trim_start_matches("ws://").split('/').next().unwrap();
    let begin = [format!("GET /api/servers/{SERVER}/ws HTTP/1.1"), format!("Host: {address}")];
    let lines = begin.iter().map(String::as_str).chain(lines.lines()).chain(["", ""]);
    lines.collect::<Vec<_>>().join("\r\n")
}

/// The answer to a request, without its body.
pub(super) async fn answer(reader: &mut Reader) -> (u16, Headers) {
    let end = loop {
        if let Some(at) = reader.bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        assert_ne!(reader.stream.read_buf(&mut reader.bytes).await.unwrap(), 0, "no answer");
    };
    let head = String::from_utf8(reader.bytes.drain(..end).collect()).unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.filter_map(|line| line.split_once(": "));
    (status, headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect())
}

/// The body of an answer.
async fn body(reader: &mut Reader, headers: &Headers) -> Value {
    let length: usize = value(headers, "content-length").unwrap().parse().unwrap();
    while reader.bytes.len() < length {
        assert_ne!(reader.stream.read_buf(&mut reader.bytes).await.unwrap(), 0, "no body");
    }
    let body: Vec<u8> = reader.bytes.drain(..length).collect();
    serde_json::from_slice(&body).unwrap()
}

fn value<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// The example's lines, with those of one name replaced.
fn with(name: &str, lines: &str) -> String {
    let kept = GOOD.lines().filter(|line| !line.starts_with(&format!("{name}:")));
    kept.chain(lines.lines()).collect::<Vec<_>>().join("\n")
}

/// Name, lines, status, and headers that must, or must not, be there.
type Row<'a> = (&'a str, String, u16, &'a [(&'a str, Option<&'a str>)]);

async fn hold(rows: &[Row<'_>]) {
    let node = open_node().await;
    let address = node.url.trim_start_matches("ws://").split('/').next().unwrap();
    for (name, lines, expected, told) in rows {
        let asked = async {
            let (stream, mut writer) = TcpStream::connect(address).await.unwrap().into_split();
            let mut reader = Reader { stream, bytes: Vec::new() };
            writer.write_all(head(&node, lines).as_bytes()).await.unwrap();
            let (status, headers) = answer(&mut reader).await;
            assert_eq!(status, *expected, "{name}: {headers:?}");
            for (header, said) in *told {
                assert_eq!(value(&headers, header), *said, "{name}: {header}");
            }
            if status == 101 {
                // It is a WebSocket from here on.
                writer.write_all(&frame(FIN | PING, b"hello")).await.unwrap();
                assert_eq!(reader.next().await, Heard::Pong(b"hello".to_vec()), "{name}");
                return;
            }
            let why = body(&mut reader, &headers).await;
            assert!(why["error"].as_str().is_some_and(|why| !why.is_empty()), "{name}: {why}");
            // Nothing is broken: whoever asks rightly on the same connection gets in.
            writer.write_all(head(&node, GOOD).as_bytes()).await.unwrap();
            assert_eq!(answer(&mut reader).await.0, 101, "{name}: asked again");
        };
        assert!(tokio::time::timeout(DEADLINE, asked).await.is_ok(), "{name}");
    }
    node.daemon.shutdown().await;
}

#[tokio::test]
async fn a_right_handshake_is_accepted_however_it_is_spelled() {
    let opens: &[(&str, Option<&str>)] =
        &[ACCEPT, NO_EXTENSION, NO_PROTOCOL, ("upgrade", Some("websocket")), ("connection", Some("Upgrade"))];
    hold(&[
        ("§1.3 the example", GOOD.to_owned(), 101, opens),
        ("§4.2.1 Connection is a list", with("Connection", "Connection: keep-alive, Upgrade"), 101, opens),
        ("§4.2.1 over two lines", with("Connection", "Connection: keep-alive\nConnection: Upgrade"), 101, opens),
        ("§4.2.1 Connection in any case", with("Connection", "Connection: uPGRADE"), 101, opens),
        ("§4.2.1 Upgrade in any case", with("Upgrade", "Upgrade: WebSocket"), 101, opens),
        ("§4.2.1 Upgrade contains websocket", with("Upgrade", "Upgrade: h2c,websocket"), 101, opens),
        (
            "§4.1 names in any case",
            GOOD.to_lowercase().replace("dghlihnhbxbszsbub25jzq", "dGhlIHNhbXBsZSBub25jZQ"),
            101,
            opens,
        ),
        (
            "§9.1 no extension is accepted",
            format!("{GOOD}\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"),
            101,
            opens,
        ),
        ("§4.2.2 a subprotocol we do not speak", format!("{GOOD}\nSec-WebSocket-Protocol: chat, mqtt"), 101, opens),
        ("§11.3.4 its name has one case", format!("{GOOD}\nSec-WebSocket-Protocol: Quarterdeck.V1"), 101, opens),
        (
            "§4.2.2 a subprotocol we speak",
            format!("{GOOD}\nSec-WebSocket-Protocol: quarterdeck.v1"),
            101,
            &[ACCEPT, NO_EXTENSION, NUMBERED],
        ),
        (
            "§11.3.4 among others, over two lines",
            format!("{GOOD}\nSec-WebSocket-Protocol: chat\nSec-WebSocket-Protocol: mqtt,quarterdeck.v1"),
            101,
            &[ACCEPT, NO_EXTENSION, NUMBERED],
        ),
    ])
    .await;
}

#[tokio::test]
async fn what_is_no_handshake_is_refused_and_told_what_would_be_one() {
    let version = "Sec-WebSocket-Version";
    let key = |value: &str| with("Sec-WebSocket-Key", &format!("Sec-WebSocket-Key: {value}"));
    hold(&[
        ("§4.4 no version", with(version, ""), 426, &ASKS),
        ("§4.4 an older version", with(version, "Sec-WebSocket-Version: 8"), 426, &ASKS),
        ("§4.4 a newer version", with(version, "Sec-WebSocket-Version: 14"), 426, &ASKS),
        ("§4.4 no number", with(version, "Sec-WebSocket-Version: thirteen"), 426, &ASKS),
        ("§4.4 another spelling of it", with(version, "Sec-WebSocket-Version: 013"), 426, &ASKS),
        ("§11.3.5 two versions", with(version, "Sec-WebSocket-Version: 13\nSec-WebSocket-Version: 8"), 426, &ASKS),
        ("§4.4 an older version without a key", "Connection: Upgrade\nUpgrade: websocket".to_owned(), 426, &ASKS),
        ("RFC 9110 §15.5.22 no upgrade at all", String::new(), 426, &ASKS),
        ("§4.2.1 no Upgrade", with("Upgrade", ""), 426, &ASKS),
        ("§4.2.1 an upgrade to something else", with("Upgrade", "Upgrade: h2c"), 426, &ASKS),
        ("§4.2.1 Upgrade is a token", with("Upgrade", "Upgrade: websockets"), 426, &ASKS),
        ("§4.2.1 no Connection", with("Connection", ""), 400, &[]),
        ("§4.2.1 Connection without upgrade", with("Connection", "Connection: keep-alive"), 400, &[]),
        ("§4.2.1 no key", with("Sec-WebSocket-Key", ""), 400, &[]),
        ("§4.2.1 an empty key", key(""), 400, &[]),
        ("§4.2.1 a key of 15 bytes", key("MDEyMzQ1Njc4OWFiY2Rl"), 400, &[]),
        ("§4.2.1 a key of 17 bytes", key("MDEyMzQ1Njc4OWFiY2RlZmc="), 400, &[]),
        ("§4.2.1 a key of 18 bytes", key("MDEyMzQ1Njc4OWFiY2RlZmdo"), 400, &[]),
        ("§4.2.1 a key that is no base64", key("dGhlIHNhbXBsZSBub25jZ!=="), 400, &[]),
        ("§4.2.1 a key without padding", key("dGhlIHNhbXBsZSBub25jZQ"), 400, &[]),
        ("§11.3.1 two keys", format!("{GOOD}\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), 400, &[]),
    ])
    .await;
}

/// §4.1: only GET, and HTTP/1.1 at least.
#[tokio::test]
async fn other_methods_and_older_http_open_nothing() {
    let node = open_node().await;
    let address = node.url.trim_start_matches("ws://").split('/').next().unwrap();
    let good = head(&node, GOOD);
    for (request, expected) in [
        (good.replace("GET", "POST"), 405),
        (good.replace("GET", "HEAD"), 400),
        (good.replace("HTTP/1.1", "HTTP/1.0"), 400),
    ] {
        let (stream, mut writer) = TcpStream::connect(address).await.unwrap().into_split();
        let mut reader = Reader { stream, bytes: Vec::new() };
        writer.write_all(request.as_bytes()).await.unwrap();
        let (status, _) = tokio::time::timeout(DEADLINE, answer(&mut reader)).await.unwrap();
        assert_eq!(status, expected, "{request}");
    }
    node.daemon.shutdown().await;
}

/// §4.1: a client need not wait with its first frame longer than its connection is open; one that does not wait at all loses nothing.
#[tokio::test]
async fn frames_in_the_same_segment_as_the_handshake_are_heard() {
    let node = open_node().await;
    let ping = frame(FIN | PING, b"at once");
    let text = frame(FIN | TEXT, message("at once").as_bytes());
    let all = [&ping[..], &text, &ping].concat();
    let pong = || Heard::Pong(b"at once".to_vec());
    let refused = || Heard::Text(STRANGER.to_owned());
    // Whole, cut within a head, within a payload, and nothing of it.
    for cut in [all.len(), ping.len() + 1, ping.len() + 10, 1, 0] {
        let (mut reader, mut writer) = connect(&node, &all[..cut]).await;
        writer.write_all(&all[cut..]).await.unwrap();
        let heard = async { [reader.next().await, reader.next().await, reader.next().await] };
        let heard = tokio::time::timeout(DEADLINE, heard).await.unwrap();
        assert_eq!(heard, [pong(), refused(), pong()], "{cut}");
    }
    node.daemon.shutdown().await;
}
