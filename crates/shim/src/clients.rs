//! Connections of daemons: bytes in and out. None of them can hold up the game or another one.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

use spool::message::{self, Reply, Request};

/// Connections at a time; one more is hung up on.
pub(crate) const CLIENTS_MAX: usize = 8;
/// Answers waiting for a client that does not read; it is dropped when there would be more.
const OUT_BYTES_MAX: usize = 64 * 1024;
/// What is read of one client before the others have their turn.
const READ_BYTES: usize = 8 * 1024;

/// How much of a connection is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Open,
    /// The client takes nothing any more, but what it has sent before still counts.
    Deaf,
    Closed,
}

/// One connection.
pub(crate) struct Client {
    stream: UnixStream,
    received: Vec<u8>,
    out: Vec<u8>,
    doorbell_due: bool,
    link: Link,
}

impl Client {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self { stream, received: Vec::new(), out: Vec::new(), doorbell_due: false, link: Link::Open }
    }

    pub(crate) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Whether it is still of use.
    pub(crate) fn is_open(&self) -> bool {
        self.link != Link::Closed
    }

    /// Whether there is something to send that did not fit yet.
    pub(crate) fn wants_to_write(&self) -> bool {
        !self.out.is_empty()
    }

    /// Reads once. The requests it completes then wait in its buffer.
    pub(crate) fn receive(&mut self) {
        let mut buffer = [0; READ_BYTES];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.link = Link::Closed,
            Ok(count) => self.received.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => self.link = Link::Closed,
        }
    }

    /// Deals with all requests that are whole. Bytes that are no request end the connection.
    pub(crate) fn requests(&mut self, mut deal: impl FnMut(Request<'_>) -> Option<Reply>) {
        let received = std::mem::take(&mut self.received);
        let mut rest = received.as_slice();
        while self.is_open() {
            match message::first(rest).and_then(|raw| raw.map(|raw| Ok((raw.bytes, Request::decode(raw)?))).transpose())
            {
                Ok(Some((bytes, request))) => {
                    if let Some(reply) = deal(request) {
                        self.send(&reply);
                    }
                    rest = rest.get(bytes..).unwrap_or_default();
                }
                Ok(None) => break,
                Err(_) => self.link = Link::Closed,
            }
        }
        self.received = rest.to_vec();
    }

    /// Sends a reply now or as soon as the client reads; a client that does not read for too long is given up.
    pub(crate) fn send(&mut self, reply: &Reply) {
        if self.link == Link::Open {
            reply.encode(&mut self.out);
        }
        if self.out.len() > OUT_BYTES_MAX {
            self.link = Link::Closed;
        }
    }

    /// Remembers that the log has grown. However often: one doorbell is sent.
    pub(crate) fn ring(&mut self) {
        self.doorbell_due = true;
    }

    /// Sends what the client takes now; the doorbell last, with where the log is by then.
    pub(crate) fn flush(&mut self, pos: u64, line: u64) {
        self.write();
        if self.doorbell_due && self.out.is_empty() && self.link == Link::Open {
            self.doorbell_due = false;
            Reply::Doorbell { pos, line }.encode(&mut self.out);
            self.write();
        }
    }

    fn write(&mut self) {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(count) => drop(self.out.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.out = Vec::new();
                    if self.link == Link::Open {
                        self.link = Link::Deaf;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use spool::message::StopBy;

    use super::*;

    fn pair() -> (Client, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (Client::new(ours), theirs)
    }

    #[test]
    fn what_was_asked_before_hanging_up_is_done() {
        let (mut client, mut theirs) = pair();
        let mut bytes = Vec::new();
        Request::Stop { grace_ms: 1, by: StopBy::Signal(15) }.encode(&mut bytes);
        theirs.write_all(&bytes).unwrap();
        drop(theirs);
        // We learn from a doorbell that nobody listens, before we have read.
        client.ring();
        client.flush(1, 1);
        assert!(client.is_open() && !client.wants_to_write());
        client.receive();
        let mut asked = 0;
        client.requests(|request| {
            asked += 1;
            assert!(matches!(request, Request::Stop { .. }));
            Some(Reply::Unknown { letter: b'T' })
        });
        assert_eq!(asked, 1);
        client.receive();
        assert!(!client.is_open());
    }

    #[test]
    fn doorbells_do_not_pile_up_but_answers_end_the_connection() {
        let (mut client, mut theirs) = pair();
        let mut at = 0;
        while !client.wants_to_write() {
            at += 1;
            client.ring();
            client.flush(at, at);
        }
        for _ in 0..100_000 {
            at += 1;
            client.ring();
            client.flush(at, at);
        }
        assert!(client.is_open() && client.out.len() < 100);
        let (mut buffer, mut received, mut last) = (vec![0; 1 << 20], Vec::new(), 0);
        while last != at {
            let count = theirs.read(&mut buffer).unwrap();
            received.extend_from_slice(&buffer[..count]);
            while let Some(raw) = message::first(&received).unwrap() {
                let Reply::Doorbell { pos, .. } = Reply::decode(raw).unwrap() else { panic!("no doorbell") };
                assert!(pos > last);
                last = pos;
                let bytes = raw.bytes;
                received.drain(..bytes);
            }
            client.flush(at, at);
        }
        for _ in 0..1_000_000 {
            client.send(&Reply::Unknown { letter: b'z' });
            client.flush(at, at);
            if !client.is_open() {
                return;
            }
        }
        panic!("answers pile up without end");
    }
}
