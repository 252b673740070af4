//! One connection below its session: the socket itself, and what the other side says, decoded by the WebSocket library.
//!
//! What is sent needs no library: frames are made once for all viewers (`frame`, `line`) and go to the kernel as they are
//! (`outgoing`). What the library answers by itself, pongs and the echo of a close, comes out of [`Transport::replies`], to be put
//! between two of those frames.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;

use bytes::Bytes;
use socket2::SockRef;
use tokio::net::TcpStream;
use tungstenite::error::ProtocolError;
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};
use wire::close::CloseReason;

/// Read at once from somebody who says little; a longer message gets the room it takes while it comes in.
const READ_BYTES: usize = 512;
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
    replies: Vec<u8>,
    /// What may still be read in this turn.
    turn_bytes: usize,
}

impl Transport {
    /// A connection whose handshake is done. `read` is what came behind it. No message, and no frame of one, may be longer
    /// than `limit` bytes.
    pub(super) fn new(stream: TcpStream, read: Bytes, limit: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            .write_buffer_size(0)
            .max_message_size(Some(limit))
            .max_frame_size(Some(limit));
        let decoder = if read.is_empty() {
            WebSocketContext::new(Role::Server, Some(config))
        } else {
            WebSocketContext::from_partially_read(read.into(), Role::Server, Some(config))
        };
        Self { stream: Arc::new(stream), decoder: Some(decoder), replies: Vec::new(), turn_bytes: TURN_BYTES }
    }

    pub(super) fn stream(&self) -> &Arc<TcpStream> {
        &self.stream
    }

    /// The next message; none at the end, and after a failure. Cancel-safe.
    pub(super) async fn recv(&mut self) -> Option<Result<Message, Error>> {
        loop {
            if self.turn_bytes == 0 {
                tokio::task::yield_now().await;
                self.turn_bytes = TURN_BYTES;
            }
            let decoder = self.decoder.as_mut()?;
            let mut pipe = Pipe { stream: &self.stream, replies: &mut self.replies, turn_bytes: &mut self.turn_bytes };
            match decoder.read(&mut pipe) {
                Ok(message) => {
                    // The answer to it is ready only now. Nothing stands in its way, and a close ends with an error here.
                    let _ = decoder.flush(&mut pipe);
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
    replies: &'a mut Vec<u8>,
    turn_bytes: &'a mut usize,
}

impl Read for Pipe<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if *self.turn_bytes == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let read = self.stream.try_read(buffer)?;
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
