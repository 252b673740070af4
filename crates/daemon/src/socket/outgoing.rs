//! What waits to be written to one connection, and whether the other side still takes any of it.
//!
//! Nothing awaits a whole batch: writing is one of the things a connection waits for. It can be left at any time, for a
//! revocation or the end of the node, and goes on where it stopped.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::time::Instant;
use wire::close::CloseReason;

use crate::frame;

/// Pieces handed to the kernel at once.
const PIECES_MAX: usize = 64;

/// See the module. Bounded by its user, who adds a batch only when it is empty.
pub(super) struct Outgoing {
    /// Whole frames, one or many in a piece.
    queue: VecDeque<Bytes>,
    /// Bytes of the first piece that are written.
    written: usize,
    /// When the connection last took something, or began to be asked to.
    moved_at: Instant,
}

impl Outgoing {
    pub(super) fn new() -> Self {
        Self { queue: VecDeque::new(), written: 0, moved_at: Instant::now() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Adds whole frames.
    pub(super) fn push(&mut self, frames: Bytes) {
        if self.is_empty() {
            self.moved_at = Instant::now();
        }
        self.queue.push_back(frames);
    }

    /// Holds no room while nothing waits.
    pub(super) fn rest(&mut self) {
        self.queue = VecDeque::new();
    }

    /// Goes on with whole frames of which somebody else has written so many bytes. Only when nothing else waits.
    pub(super) fn begun(&mut self, frames: Bytes, written: usize) {
        self.moved_at = Instant::now();
        self.queue.push_back(frames);
        self.written = written;
    }

    /// Adds the last frame there is. It has its own time, however long the other side has taken nothing by then.
    pub(super) fn push_last(&mut self, frame: Bytes) {
        self.moved_at = Instant::now();
        self.queue.push_back(frame);
    }

    /// Takes back the frames of which nothing is written yet.
    pub(super) fn take(&mut self) -> VecDeque<Bytes> {
        let mut taken = std::mem::take(&mut self.queue);
        if self.written > 0
            && let Some(mut begun) = taken.pop_front()
        {
            let untouched = begun.split_off(frame::end_of(&begun, self.written));
            if !untouched.is_empty() {
                taken.push_front(untouched);
            }
            if begun.len() > self.written {
                self.queue.push_back(begun);
            } else {
                self.written = 0;
            }
        }
        taken
    }

    /// When somebody who takes nothing has taken nothing for so long.
    pub(super) fn stalls_at(&self, stall: Duration) -> Instant {
        self.moved_at + stall
    }

    /// Writes all that waits: many frames, few system calls. Cancel-safe.
    pub(super) async fn write(&mut self, stream: &TcpStream) -> Result<(), CloseReason> {
        loop {
            match self.write_now(stream) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return Err(CloseReason::Internal),
            }
            if stream.writable().await.is_err() {
                return Err(CloseReason::Internal);
            }
        }
    }

    /// The same, and fails when the other side takes nothing for `stall`.
    pub(super) async fn write_within(&mut self, stream: &TcpStream, stall: Duration) -> Result<(), CloseReason> {
        loop {
            let stalls_at = self.stalls_at(stall);
            match tokio::time::timeout_at(stalls_at, self.write(stream)).await {
                Ok(written) => return written,
                // It has taken something meanwhile.
                Err(_) if self.stalls_at(stall) > stalls_at => {}
                Err(_) => return Err(CloseReason::TooSlow),
            }
        }
    }

    /// Writes as much as the kernel takes at once.
    pub(super) fn write_now(&mut self, stream: &TcpStream) -> io::Result<()> {
        while !self.queue.is_empty() {
            let mut skip = self.written;
            let mut pieces = [IoSlice::new(&[]); PIECES_MAX];
            let mut count = 0;
            for (piece, frames) in pieces.iter_mut().zip(&self.queue) {
                *piece = IoSlice::new(frames.get(skip..).unwrap_or_default());
                skip = 0;
                count += 1;
            }
            let taken = stream.try_write_vectored(pieces.get(..count).unwrap_or_default())?;
            self.moved_at = Instant::now();
            self.advance(taken);
        }
        Ok(())
    }

    fn advance(&mut self, taken: usize) {
        self.written += taken;
        while let Some(first) = self.queue.front()
            && self.written >= first.len()
        {
            self.written -= first.len();
            self.queue.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(frames: &VecDeque<Bytes>) -> Vec<u8> {
        frames.iter().flat_map(|piece| piece.iter().copied()).collect()
    }

    #[test]
    fn a_frame_that_has_begun_is_told_to_its_end_and_no_further() {
        let frames = ["one", "two", "three"].map(|text| frame::text(text.to_owned()));
        let all = frames.concat();
        let first = frames[0].len();
        for written in 0..all.len() {
            let mut outgoing = Outgoing::new();
            outgoing.push(Bytes::from([&frames[0][..], &frames[1][..]].concat()));
            outgoing.push(frames[2].clone());
            outgoing.advance(written);
            let taken = texts(&outgoing.take());
            // Of what is left, the frame that has begun stays.
            let ends = [0, first, first + frames[1].len(), all.len()];
            let end = ends.into_iter().find(|end| *end >= written).unwrap_or(all.len());
            assert_eq!(taken, &all[end..], "{written}");
            let mut left = texts(&outgoing.queue);
            left.drain(..outgoing.written);
            assert_eq!(left, &all[written..end], "{written}");
        }
    }
}
