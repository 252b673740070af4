//! The opening handshake (§4.2).

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;

use super::{FIN, Heard, PING, Reader, STRANGER, TEXT, connect, frame, message, open_node};
use crate::node::{DEADLINE, Node, SERVER};

/// The example of §1.3.
pub(super) const GOOD: &str =
    "Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
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
