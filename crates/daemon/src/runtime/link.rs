//! The connection to one shim: requests in, replies out, and the news that the shim has ended.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;
use std::time::Duration;

use spool::message::{self, Hello, Outcome, Reply, Request, StopBy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::runtime::shim;

/// Requests waiting to be written; one more ends the connection: its shim does not read, and on the next one what was not
/// answered is sent again.
const REQUESTS_MAX: usize = 256;
/// Replies waiting for the server's actor; the connection waits, and the shim keeps doorbells to itself meanwhile.
const EVENTS_MAX: usize = 64;
/// How long a shim may take to say who it is.
const HELLO_TIMEOUT: Duration = Duration::from_secs(2);
/// How long after its connection a shim may take to end before it counts as alive.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// What a shim says.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LinkEvent {
    /// The log has grown to this position.
    Doorbell { pos: u64 },
    /// What became of a request.
    Answered { id: u64, outcome: Outcome },
    /// It has said who it is, because it was asked: it lives.
    Alive,
    /// The connection is over, and the shim with it unless it is alive.
    Closed { shim_alive: bool },
}

/// Sends requests; clones are the same connection. Never waits, and nothing is dropped in silence: a connection that takes no
/// more ends, and its owner sends again what matters.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    requests: mpsc::Sender<Vec<u8>>,
    broken: CancellationToken,
}

impl Link {
    fn send(&self, request: &Request<'_>) {
        let mut frame = Vec::new();
        request.encode(&mut frame);
        if self.requests.try_send(frame).is_err() {
            tracing::warn!("a request to a shim was not sent: it does not read or is gone");
            self.broken.cancel();
        }
    }

    /// A line for stdin, its newline included.
    pub(crate) fn write(&self, request_id: u64, user: &str, bytes: &[u8]) {
        self.send(&Request::Write { request_id, user, bytes });
    }

    /// A line of the node's own for the log.
    pub(crate) fn note(&self, request_id: u64, text: &str) {
        let text = text.get(..text.floor_char_boundary(message::NOTE_BYTES_MAX)).unwrap_or_default();
        self.send(&Request::Note { request_id, text: text.as_bytes() });
    }

    /// Asks the game to end; the shim keeps the deadline, also when this daemon is gone.
    pub(crate) fn stop(&self, grace_ms: u64, by: StopBy<'_>) {
        self.send(&Request::Stop { grace_ms: u32::try_from(grace_ms).unwrap_or(u32::MAX), by });
    }

    /// Ends every process of the game. A shim that lives says so: [`LinkEvent::Alive`].
    pub(crate) fn kill(&self) {
        self.send(&Request::Kill);
        self.send(&Request::Hello);
    }
}

/// A fresh connection, before its task runs.
pub(crate) struct Opened {
    pub(crate) hello: Hello,
    /// The shim, as this machine numbers it; 0 if it cannot be seen from here.
    pub(crate) shim_pid: u32,
    pub(crate) link: Link,
    pub(crate) events: mpsc::Receiver<LinkEvent>,
    pub(crate) task: Task,
}

/// The connection's own work, to be spawned by whoever keeps the link.
pub(crate) struct Task {
    stream: UnixStream,
    buffer: Vec<u8>,
    shim: Option<OwnedFd>,
    requests: mpsc::Receiver<Vec<u8>>,
    events: mpsc::Sender<LinkEvent>,
    broken: CancellationToken,
}

/// Connects and waits for the shim to say who it is. In a container it knows itself by another number than we do; there, who made the
/// socket is the shim.
pub(crate) async fn open(stream: StdStream, is_contained: bool) -> io::Result<Opened> {
    stream.set_nonblocking(true)?;
    let mut stream = UnixStream::from_std(stream)?;
    let mut buffer = Vec::new();
    let hello = tokio::time::timeout(HELLO_TIMEOUT, hello(&mut stream, &mut buffer))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the shim does not say who it is"))??;
    let (oldest, newest) = hello.versions;
    if newest < message::VERSION_MIN || oldest > message::VERSION_MAX {
        return Err(io::Error::other(format!("the shim speaks versions {oldest} to {newest} only")));
    }
    let shim_pid = if is_contained {
        stream.peer_cred()?.pid().and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0)
    } else {
        hello.shim_pid
    };
    let shim = shim::open(shim_pid);
    let (link, requests) = mpsc::channel(REQUESTS_MAX);
    let (sender, events) = mpsc::channel(EVENTS_MAX);
    let broken = CancellationToken::new();
    let task = Task { stream, buffer, shim, requests, events: sender, broken: broken.clone() };
    Ok(Opened { hello, shim_pid, link: Link { requests: link, broken }, events, task })
}

async fn hello(stream: &mut UnixStream, buffer: &mut Vec<u8>) -> io::Result<Hello> {
    loop {
        while let Some(reply) = next(buffer)? {
            if let Reply::Hello(hello) = reply {
                return Ok(hello);
            }
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Takes the first whole reply off the front of a buffer.
fn next(buffer: &mut Vec<u8>) -> io::Result<Option<Reply>> {
    let Some(raw) = message::first(buffer).map_err(io::Error::other)? else { return Ok(None) };
    let reply = Reply::decode(raw).map_err(io::Error::other)?;
    let bytes = raw.bytes;
    buffer.drain(..bytes);
    Ok(Some(reply))
}

impl Task {
    /// Carries messages until the connection ends or nobody wants it any more.
    pub(crate) async fn run(mut self) {
        let broken = self.broken.clone();
        tokio::select! {
            carried = self.carry() => if let Err(error) = carried {
                tracing::debug!(%error, "connection to a shim ended");
            },
            () = broken.cancelled() => {}
        }
        // Nobody listens any more when the server has another connection or the node is stopping.
        if self.events.is_closed() {
            return;
        }
        let shim_alive = match self.shim.take() {
            Some(pidfd) => !shim::ended(Arc::new(pidfd), END_TIMEOUT).await,
            // Not known; the log's lock will tell.
            None => true,
        };
        // As above.
        let _ = self.events.send(LinkEvent::Closed { shim_alive }).await;
    }

    async fn carry(&mut self) -> io::Result<()> {
        let (mut read, mut write) = self.stream.split();
        loop {
            while let Some(reply) = next(&mut self.buffer)? {
                let event = match reply {
                    Reply::Doorbell { pos, .. } | Reply::Exited { pos, .. } => LinkEvent::Doorbell { pos },
                    Reply::Answer { request_id, outcome } => LinkEvent::Answered { id: request_id, outcome },
                    Reply::Hello(_) => LinkEvent::Alive,
                    Reply::Unknown { .. } | Reply::Other { .. } => continue,
                };
                if self.events.send(event).await.is_err() {
                    return Ok(());
                }
            }
            tokio::select! {
                count = read.read_buf(&mut self.buffer) => {
                    if count? == 0 {
                        return Ok(());
                    }
                }
                request = self.requests.recv() => match request {
                    Some(frame) => write.write_all(&frame).await?,
                    None => return Ok(()),
                },
            }
        }
    }
}
