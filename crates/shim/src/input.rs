//! What goes to the game's standard input: a bounded queue, and the ids of what was done.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use spool::message::KNOWN_IDS;

/// Bytes waiting for a game that does not read; more is answered "busy".
pub(crate) const QUEUE_BYTES_MAX: usize = 64 * 1024;

/// What happened to the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// As much is written as the game takes.
    Done,
    /// The game has closed its input. So many bytes are lost, of all that were queued after this many.
    Closed { lost: usize, delivered: u64 },
}

/// The way to the game's standard input.
#[derive(Debug, Default)]
pub(crate) struct Input {
    queue: VecDeque<u8>,
    /// Bytes that were ever queued.
    pushed: u64,
    closed: bool,
}

impl Input {
    pub(crate) fn has_room_for(&self, bytes: usize) -> bool {
        self.queue.len() + bytes <= QUEUE_BYTES_MAX
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(crate) fn queued_bytes(&self) -> usize {
        self.queue.len()
    }

    /// Queues them and returns where they end, counted in bytes from the first one ever.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> u64 {
        self.queue.extend(bytes);
        self.pushed = self.pushed.saturating_add(bytes.len() as u64);
        self.pushed
    }

    /// Writes what the game takes now.
    pub(crate) fn flush(&mut self, to: &OwnedFd) -> Flushed {
        while !self.queue.is_empty() {
            let (front, _) = self.queue.as_slices();
            match rustix::io::write(to, front) {
                Ok(0) | Err(Errno::AGAIN) => break,
                Ok(count) => drop(self.queue.drain(..count)),
                Err(Errno::INTR) => {}
                Err(_) => {
                    self.closed = true;
                    let lost = self.queue.len();
                    self.queue = VecDeque::new();
                    return Flushed::Closed { lost, delivered: self.pushed.saturating_sub(lost as u64) };
                }
            }
        }
        if self.queue.is_empty() && self.queue.capacity() > QUEUE_BYTES_MAX / 4 {
            self.queue = VecDeque::new();
        }
        Flushed::Done
    }
}

/// The last requests that were done, so that a daemon that is not sure may ask again.
#[derive(Debug, Default)]
pub(crate) struct KnownIds(VecDeque<u64>);

impl KnownIds {
    pub(crate) fn contains(&self, id: u64) -> bool {
        self.0.contains(&id)
    }

    pub(crate) fn add(&mut self, id: u64) {
        if self.0.len() == KNOWN_IDS {
            self.0.pop_front();
        }
        self.0.push_back(id);
    }
}

/// What a command is without the newline that sends it.
pub(crate) fn without_newline(bytes: &[u8]) -> &[u8] {
    bytes.strip_suffix(b"\n").unwrap_or(bytes)
}
