//! The console socket against RFC 6455, byte by byte: tables of what is sent and all that comes back, in the manner of Autobahn's
//! suite. Here is the client, which frames by hand and is as strict with the node as a client may be.

use engine::throttle::{InboundLimits, Rate};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::node::{DEADLINE, Node, node, token};

mod close;
mod frames;
mod handshake;
mod text;

const FIN: u8 = 0x80;
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const MASKED: u8 = 0x80;
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
/// What a message of a stranger is answered.
const STRANGER: &str = r#"{"event":"jwt error","args":["jwt: no jwt present"]}"#;
/// Cases up to this size are also sent byte by byte.
const TRICKLED_BYTES_MAX: usize = 600;

/// One row: a name that says where the RFC has it, what is sent, and all that comes back.
struct Case {
    name: String,
    sent: Vec<u8>,
    comes: Vec<Comes>,
}

#[derive(Clone, Debug)]
enum Comes {
    /// The message with this word was understood: its answer.
    Answer(String),
    Pong(Vec<u8>),
    /// The node fails the connection with this code, and it ends.
    Fails(u16),
    /// The node answers a close with this payload, and the connection ends.
    Closes(Vec<u8>),
}

fn case(name: impl Into<String>, sent: Vec<u8>, comes: impl Into<Vec<Comes>>) -> Case {
    Case { name: name.into(), sent, comes: comes.into() }
}

fn answer(word: &str) -> Comes {
    Comes::Answer(word.to_owned())
}

fn masked(payload: &[u8]) -> Vec<u8> {
    payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key).collect()
}

/// In how many bits such a length is to be written: 7 (0), 16 (126) or 64 (127).
fn form(length: u64) -> u8 {
    match length {
        0..126 => 0,
        126..0x1_0000 => 126,
        _ => 127,
    }
}

/// A frame of a client, as it should be. `first` is the flags and the opcode.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    frame_in_form(first, form(payload.len() as u64), payload)
}

/// A frame whose length is written in this form.
fn frame_in_form(first: u8, form: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(first, form, payload.len() as u64);
    bytes.extend(masked(payload));
    bytes
}

/// The head of a masked frame, whether or not the rest follows.
fn header(first: u8, form: u8, length: u64) -> Vec<u8> {
    let all = length.to_be_bytes();
    let (second, extended) = match form {
        0 => (all[7], &all[8..]),
        126 => (126, &all[6..]),
        _ => (127, &all[..]),
    };
    [&[first, MASKED | second][..], extended, &KEY].concat()
}

/// A message that is answered in any state: the answer of a viewer who is in has the word.
fn message(word: &str) -> String {
    json!({ "event": "set state", "args": [word] }).to_string()
}

/// Such a message of exactly so many bytes.
fn message_of(length: usize) -> String {
    message(&"x".repeat(length - message("").len()))
}

/// A message in fragments.
fn fragments<'a>(first: u8, parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut parts = parts.into_iter().peekable();
    let (mut opcode, mut bytes) = (first, Vec::new());
    while let Some(part) = parts.next() {
        let fin = if parts.peek().is_none() { FIN } else { 0 };
        bytes.extend(frame(fin | opcode, part));
        opcode = CONTINUATION;
    }
    bytes
}

/// What the node says.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Text(String),
    Ping,
    Pong(Vec<u8>),
    Close(Vec<u8>),
    /// The node has ended the connection, and in good order: a reset could lose what came before.
    End,
    Reset,
}

struct Reader {
    stream: OwnedReadHalf,
    bytes: Vec<u8>,
}

impl Reader {
    async fn next(&mut self) -> Heard {
        loop {
            if let Some((heard, length)) = parse(&self.bytes) {
                self.bytes.drain(..length);
                return heard;
            }
            match self.stream.read_buf(&mut self.bytes).await {
                Ok(0) if self.bytes.is_empty() => return Heard::End,
                Ok(0) => panic!("it ended within a frame: {:02x?}", self.bytes),
                Ok(_) => {}
                Err(_) => return Heard::Reset,
            }
        }
    }

    /// All there is to its end.
    async fn rest(&mut self) -> Vec<Heard> {
        let mut all = Vec::new();
        loop {
            let heard = self.next().await;
            let is_over = matches!(heard, Heard::End | Heard::Reset);
            all.push(heard);
            if is_over {
                return all;
            }
        }
    }
}

/// The first frame of these bytes. One that a server may not send is no frame (§5.1, §5.2, §5.5).
fn parse(bytes: &[u8]) -> Option<(Heard, usize)> {
    let [first, second, ..] = bytes else { return None };
    assert_eq!(second & MASKED, 0, "a server never masks");
    let (length, at) = match second {
        126 => (u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap())), 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap()), 10),
        short => (u64::from(*short), 2),
    };
    assert_eq!(
        form(length),
        if *second < 126 { 0 } else { *second },
        "a length of {length} is written at its shortest"
    );
    let end = at + usize::try_from(length).unwrap();
    let payload = bytes.get(at..end)?.to_vec();
    assert!(first & 0x08 == 0 || payload.len() <= 125, "a control frame of {} bytes", payload.len());
    let heard = match *first {
        0x81 => Heard::Text(String::from_utf8(payload).unwrap()),
        0x88 => Heard::Close(payload),
        0x89 => Heard::Ping,
        0x8a => Heard::Pong(payload),
        other => panic!("no frame of ours begins with {other:#x}"),
    };
    Some((heard, end))
}

/// A connection whose handshake was sent together with some first bytes.
async fn connect(node: &Node, first: &[u8]) -> (Reader, OwnedWriteHalf) {
    let address = node.url.trim_start_matches("ws://").split('/').next().unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (stream, mut writer) = stream.into_split();
    let head = handshake::head(node, handshake::GOOD);
    writer.write_all(&[head.as_bytes(), first].concat()).await.unwrap();
    let mut reader = Reader { stream, bytes: Vec::new() };
    let (status, _) = handshake::answer(&mut reader).await;
    assert_eq!(status, 101);
    (reader, writer)
}

/// Somebody with all rights, by a token of this id, after all that comes unasked.
async fn enter(reader: &mut Reader, writer: &mut OwnedWriteHalf, jti: &str) {
    let auth = json!({ "event": "auth", "args": [token(jti, 600)] }).to_string();
    writer.write_all(&frame(FIN | TEXT, auth.as_bytes())).await.unwrap();
    for event in ["auth success", "status", "stats"] {
        let Heard::Text(text) = reader.next().await else { panic!("no {event}") };
        assert!(text.contains(event), "{text}");
    }
}

async fn open_node() -> Node {
    let free = Rate { burst: 0, refill_ms: 0 };
    let unlimited = InboundLimits { global: free, auth: free, send_logs: free, send_command: free, other: free };
    node("/bin/cat", |config| config.session.limits = unlimited).await
}

impl Case {
    /// Sends the case and what follows it; all that came.
    async fn play(&self, node: &Node, is_in: bool, trickles: bool) -> Vec<Heard> {
        let (mut reader, mut writer) = connect(node, &[]).await;
        if is_in {
            enter(&mut reader, &mut writer, "x").await;
        }
        let follows = if self.is_end() {
            // Nothing of this is heeded any more (§5.5.1, §7.1.7).
            [frame(FIN | PING, b"late"), frame(FIN | TEXT, message("late").as_bytes()), frame(FIN | CLOSE, &[])]
                .concat()
        } else {
            [frame(FIN | PING, b"still there"), frame(FIN | CLOSE, &1000u16.to_be_bytes())].concat()
        };
        let write = async {
            // Writing may fail where the node has ended; what it said before is what counts.
            if trickles {
                for byte in &self.sent {
                    let _ = writer.write_all(&[*byte]).await;
                    tokio::task::yield_now().await;
                }
                let _ = writer.write_all(&follows).await;
            } else {
                let _ = writer.write_all(&[&self.sent[..], &follows].concat()).await;
            }
        };
        let (heard, ()) = tokio::join!(reader.rest(), write);
        heard
    }

    fn is_end(&self) -> bool {
        matches!(self.comes.last(), Some(Comes::Fails(_) | Comes::Closes(_)))
    }

    /// Why this is not what should have come.
    fn fault(&self, heard: &[Heard], is_in: bool) -> Option<String> {
        let mut comes = self.comes.clone();
        if !self.is_end() {
            comes.extend([Comes::Pong(b"still there".to_vec()), Comes::Closes(1000u16.to_be_bytes().to_vec())]);
        }
        let is_right = heard.len() == comes.len() + 1
            && heard.last() == Some(&Heard::End)
            && comes.iter().zip(heard).all(|(comes, heard)| comes.matches(heard, is_in));
        let excerpt = |text: String| text.chars().take(600).collect::<String>();
        (!is_right).then(|| excerpt(format!("{comes:?} should come, and {heard:?} came")))
    }
}

impl Comes {
    fn matches(&self, heard: &Heard, is_in: bool) -> bool {
        match (self, heard) {
            (Self::Answer(_), Heard::Text(text)) if !is_in => text == STRANGER,
            (Self::Answer(word), Heard::Text(text)) => {
                let word: String = word.chars().take(40).collect();
                let text: serde_json::Value = serde_json::from_str(text).unwrap();
                let arg = text["args"][0].as_str().unwrap_or_default();
                text["event"] == "daemon error" && arg.contains(&format!("there is no power action {word:?};"))
            }
            (Self::Pong(payload), Heard::Pong(heard)) | (Self::Closes(payload), Heard::Close(heard)) => {
                payload == heard
            }
            (Self::Fails(code), Heard::Close(payload)) => {
                payload.get(..2) == Some(&code.to_be_bytes()[..]) && std::str::from_utf8(&payload[2..]).is_ok()
            }
            _ => false,
        }
    }
}

/// Plays every case to somebody who is in and to a stranger, at once and byte by byte, and tells all that went otherwise.
async fn hold(cases: impl IntoIterator<Item = Case>) {
    let node = open_node().await;
    let (mut played, mut faults) = (0, Vec::new());
    for case in cases {
        for is_in in [false, true] {
            for trickles in [false, true] {
                if trickles && case.sent.len() > TRICKLED_BYTES_MAX {
                    continue;
                }
                played += 1;
                let fault = match tokio::time::timeout(DEADLINE, case.play(&node, is_in, trickles)).await {
                    Ok(heard) => case.fault(&heard, is_in),
                    Err(_) => Some("it did not end".to_owned()),
                };
                let how = (if is_in { "in" } else { "stranger" }, if trickles { "byte by byte" } else { "at once" });
                faults.extend(fault.map(|fault| format!("{} ({}, {}): {fault}", case.name, how.0, how.1)));
            }
        }
    }
    node.daemon.shutdown().await;
    assert!(faults.is_empty(), "{} of {played}:\n{}", faults.len(), faults.join("\n"));
}
