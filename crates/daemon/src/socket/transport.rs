//! One connection below its session: the socket itself, and what the other side says, decoded by the WebSocket library.
//!
//! What is sent needs no library: frames are made once for all viewers (`frame`, `line`) and go to the kernel as they are
//! (`outgoing`). What the library answers by itself, pongs and the echo of a close, comes out of [`Transport::replies`], to be put
//! between two of those frames.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use tokio::net::TcpStream;
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};

/// Read at once from somebody who says little; a longer message gets the room it takes while it comes in.
const READ_BYTES: usize = 512;

/// See the module.
pub(super) struct Transport {
    stream: Arc<TcpStream>,
    decoder: WebSocketContext,
    replies: Vec<u8>,
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
        Self { stream: Arc::new(stream), decoder, replies: Vec::new() }
    }

    pub(super) fn stream(&self) -> &Arc<TcpStream> {
        &self.stream
    }

    /// The next message; none at the end. Cancel-safe.
    pub(super) async fn recv(&mut self) -> Option<Result<Message, Error>> {
        loop {
            let mut pipe = Pipe { stream: &self.stream, replies: &mut self.replies };
            match self.decoder.read(&mut pipe) {
                Ok(message) => {
                    // The answer to it is ready only now. Nothing stands in its way, and a close ends with an error here.
                    let _ = self.decoder.flush(&mut pipe);
                    return Some(Ok(message));
                }
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {}
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => return None,
                Err(error) => return Some(Err(error)),
            }
            if let Err(error) = self.stream.readable().await {
                return Some(Err(error.into()));
            }
        }
    }

    /// What the library has answered since the last time: whole frames.
    pub(super) fn replies(&mut self) -> Option<Bytes> {
        (!self.replies.is_empty()).then(|| std::mem::take(&mut self.replies).into())
    }
}

/// Reads from the socket and writes into memory.
struct Pipe<'a> {
    stream: &'a TcpStream,
    replies: &'a mut Vec<u8>,
}

impl Read for Pipe<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.try_read(buffer)
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
