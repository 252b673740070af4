//! One connection below its session: the socket itself, and what the other side says, decoded by the WebSocket library.
//!
//! What is sent needs no library: frames are made once for all viewers (`console/block`) and go to the kernel as they are
//! (`outgoing`). What the library answers by itself, pongs and the echo of a close, comes out of [`Transport::replies`], to be put
//! between two of those frames.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use socket2::SockRef;
use tokio::net::TcpStream;
use tungstenite::error::ProtocolError;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};
use wire::close::CloseReason;

/// Room for what comes in, and read at once. A longer message gets the room it takes while it comes in.
const READ_BYTES: usize = 128;
/// The longest head of a frame (RFC 6455 §5.2).
const HEAD_BYTES_MAX: usize = 14;
/// Read from one connection before it is somebody else's turn: what comes need not end, and need not be a message either.
const TURN_BYTES: usize = 16 * 1024;
/// Read at once of what is not heeded any more.
const DISCARD_BYTES: usize = 16 * 1024;

/// See the module.
pub(super) struct Transport {
    stream: Arc<TcpStream>,
    /// None after its end or a failure: then nothing that comes is to be understood any more (RFC 6455 §7.1.7), and the library
    /// is not made to be asked again.
    decoder: Option<WebSocketContext>,
    limit: usize,
    /// What came behind the handshake and is not decoded yet.
    ahead: Bytes,
    border: Border,
    replies: Vec<u8>,
    /// What may still be read in this turn.
    turn_bytes: usize,
}

impl Transport {
    /// A connection whose handshake is done. `read` is what came behind it. No message, and no frame of one, may be longer
    /// than `limit` bytes.
    pub(super) fn new(stream: TcpStream, read: &[u8], limit: usize) -> Self {
        Self {
            stream: Arc::new(stream),
            decoder: Some(decoder(limit)),
            limit,
            // Not the listener's whole buffer.
            ahead: Bytes::copy_from_slice(read),
            border: Border::default(),
            replies: Vec::new(),
            turn_bytes: TURN_BYTES,
        }
    }

    pub(super) fn stream(&self) -> &Arc<TcpStream> {
        &self.stream
    }

    /// The next message; none at the end, and after a failure. Cancel-safe.
    pub(super) async fn recv(&mut self) -> Option<Result<Message, Error>> {
        loop {
            if self.turn_bytes == 0 {
                // Whoever is cancelled here has given up its turn as well.
                self.turn_bytes = TURN_BYTES;
                tokio::task::yield_now().await;
            }
            let context = self.decoder.as_mut()?;
            let mut pipe = Pipe {
                stream: &self.stream,
                ahead: &mut self.ahead,
                border: &mut self.border,
                replies: &mut self.replies,
                turn_bytes: &mut self.turn_bytes,
            };
            match context.read(&mut pipe) {
                Ok(message) => {
                    // The answer to it is ready only now. Nothing stands in its way, and a close ends with an error here.
                    let _ = context.flush(&mut pipe);
                    let is_whole = matches!(message, Message::Text(_) | Message::Binary(_)) && self.border.is_reached();
                    if is_whole && message.len() > READ_BYTES {
                        // The library keeps the room of its longest message, which is a token's, for everybody who ever comes; and
                        // here it has nothing in it.
                        self.decoder = Some(decoder(self.limit));
                    }
                    return Some(Ok(message));
                }
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => {
                    self.decoder = None;
                    let is_end = matches!(error, Error::ConnectionClosed | Error::AlreadyClosed);
                    return (!is_end).then_some(Err(error));
                }
            }
            if self.turn_bytes == 0 {
                continue;
            }
            if let Err(error) = self.stream.readable().await {
                return Some(Err(error.into()));
            }
        }
    }

    /// Says that nothing more will be written, and reads to the other side's end without heeding what comes. A socket that is
    /// dropped with something unread is reset, and a reset may take our last frame with it (RFC 6455 §7.1.1).
    pub(super) async fn finish(&self) {
        if SockRef::from(&self.stream).shutdown(Shutdown::Write).is_err() {
            return;
        }
        let mut unheeded = vec![0; DISCARD_BYTES];
        while self.stream.readable().await.is_ok() {
            match self.stream.try_read(&mut unheeded) {
                Ok(0) => return,
                Ok(_) => tokio::task::consume_budget().await,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }

    /// What the library has answered since the last time: whole frames.
    pub(super) fn replies(&mut self) -> Option<Bytes> {
        (!self.replies.is_empty()).then(|| std::mem::take(&mut self.replies).into())
    }
}

fn decoder(limit: usize) -> WebSocketContext {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(0)
        .max_message_size(Some(limit))
        .max_frame_size(Some(limit));
    WebSocketContext::new(Role::Server, Some(config))
}

/// Where the frame ends that is coming in: nothing is read beyond it, so that between two frames nothing is in the decoder.
#[derive(Default)]
struct Border {
    /// What is there of the next frame's head.
    head: [u8; HEAD_BYTES_MAX],
    length: usize,
    /// What is to come of a frame whose head is there.
    payload: u64,
}

impl Border {
    /// Bytes that may be read; at least one.
    fn room(&self) -> usize {
        match self.length {
            _ if self.payload > 0 => usize::try_from(self.payload).unwrap_or(usize::MAX),
            0 | 1 => 2 - self.length,
            // RFC 6455 §5.2: how long the length is, and whether a mask follows.
            _ => {
                let (masked, short) = (self.head[1] & 0x80 != 0, self.head[1] & 0x7f);
                let long = match short {
                    126 => 2,
                    127 => 8,
                    _ => 0,
                };
                (2 + long + if masked { 4 } else { 0 }) - self.length
            }
        }
    }

    /// Notes what was read, which is no more than there was room for.
    fn note(&mut self, read: &[u8]) {
        if self.payload > 0 {
            self.payload = self.payload.saturating_sub(read.len() as u64);
            return;
        }
        if let Some(rest) = self.head.get_mut(self.length..self.length + read.len()) {
            rest.copy_from_slice(read);
            self.length += read.len();
        }
        let mut head = io::Cursor::new(self.head.get(..self.length).unwrap_or_default());
        // A head that makes no sense ends the connection: the decoder sees it as well.
        if let Ok(Some((_, payload))) = FrameHeader::parse(&mut head) {
            (self.length, self.payload) = (0, payload);
        }
    }

    /// Whether everything that was read belongs to frames that are whole.
    fn is_reached(&self) -> bool {
        self.length == 0 && self.payload == 0
    }
}

/// What the other side is told of a failure; nothing when it is gone.
pub(super) fn fault(error: &Error) -> Option<CloseReason> {
    match error {
        Error::Capacity(_) => Some(CloseReason::MessageTooBig),
        Error::Utf8(_) => Some(CloseReason::InvalidText),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        Error::Protocol(_) => Some(CloseReason::ProtocolError),
        _ => None,
    }
}

/// Reads from the socket, as much as this turn has left, and writes into memory.
struct Pipe<'a> {
    stream: &'a TcpStream,
    ahead: &'a mut Bytes,
    border: &'a mut Border,
    replies: &'a mut Vec<u8>,
    turn_bytes: &'a mut usize,
}

impl Read for Pipe<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if *self.turn_bytes == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let room = buffer.len().min(self.border.room());
        let buffer = buffer.get_mut(..room).unwrap_or_default();
        let read = if self.ahead.is_empty() {
            self.stream.try_read(buffer)?
        } else {
            let read = room.min(self.ahead.len());
            self.ahead.split_to(read).copy_to_slice(buffer.get_mut(..read).unwrap_or_default());
            read
        };
        self.border.note(buffer.get(..read).unwrap_or_default());
        *self.turn_bytes = self.turn_bytes.saturating_sub(read);
        Ok(read)
    }
}

impl Write for Pipe<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.replies.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_turn_that_is_given_up_comes_to_its_end() {
        use futures_util::FutureExt;
        use tokio::io::AsyncWriteExt;

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let mut transport = Transport::new(stream, &[], 32 * 1024);
        let frame = [&[0x81, 0x84, 0, 0, 0, 0][..], b"text"].concat();
        let count = 3 * TURN_BYTES / frame.len();
        client.write_all(&frame.repeat(count)).await.unwrap();
        transport.stream().readable().await.unwrap();
        // Others are always quicker: each time it is looked once, as beside lines that are there.
        let (mut heard, mut looks) = (0, 0);
        while heard < count {
            looks += 1;
            assert!(looks < 10 * count, "{heard} heard of {count}");
            match transport.recv().now_or_never() {
                Some(message) => heard += usize::from(message.is_some_and(|message| message.is_ok())),
                None => tokio::task::yield_now().await,
            }
        }
    }

    #[test]
    fn nothing_is_read_beyond_a_frame() {
        let mask = [1, 2, 3, 4];
        let frames = [
            [&[0x81, 0x80][..], &mask].concat(),
            [&[0x81, 0x85][..], &mask, b"12345"].concat(),
            [&[0x89, 0x80][..], &mask].concat(),
            [&[0x82, 0xfe, 0x01, 0x00][..], &mask, &[7; 256]].concat(),
            [&[0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 0][..], &mask, &vec![7; 65_536]].concat(),
            // Unmasked, which is an error, but not here.
            [&[0x81, 0x03][..], b"abc"].concat(),
        ];
        for at_once in [1, 3, 100, usize::MAX] {
            let mut border = Border::default();
            for frame in &frames {
                let mut read = 0;
                while read < frame.len() {
                    let room = border.room().min(at_once);
                    assert!(room > 0 && read + room <= frame.len(), "{room} at {read} of {}", frame.len());
                    border.note(&frame[read..read + room]);
                    read += room;
                    assert_eq!(border.is_reached(), read == frame.len());
                }
            }
        }
    }
}
