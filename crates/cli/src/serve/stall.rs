//! Writes that must get on: a peer that asks and never reads would keep its connection, and what it asked for, for ever.
//!
//! The time-out runs only while something is to be written and the peer takes none of it, so nobody who is idle is cut off.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// What a peer that takes nothing gets when the program ends.
const LAST_PATIENCE: Duration = Duration::from_millis(500);

/// Shortens the time-out of a connection while it is at work.
#[derive(Clone, Debug, Default)]
pub(super) struct Hurry(Arc<AtomicBool>);

impl Hurry {
    /// From here on writes must get on soon: the program ends. Counts from the next write on that is tried.
    pub(super) fn now(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A stream whose writes fail with `TimedOut` when none of them has got on for a time.
#[derive(Debug)]
pub(super) struct Impatient<S> {
    stream: S,
    patience: Duration,
    /// Runs since a write found no room; gone as soon as one finds some.
    waiting: Option<Pin<Box<Sleep>>>,
    hurry: Hurry,
    /// What is done to a stream that is given up, before the error is told.
    give_up: fn(&S),
}

impl<S> Impatient<S> {
    /// Around a stream.
    pub(super) fn new(stream: S, patience: Duration, hurry: Hurry, give_up: fn(&S)) -> Self {
        Self { stream, patience, waiting: None, hurry, give_up }
    }

    /// The stream itself, for somebody with rules of their own.
    pub(super) fn into_inner(self) -> S {
        self.stream
    }

    fn judge<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        if self.hurry.is_on() && self.patience > LAST_PATIENCE {
            (self.patience, self.waiting) = (LAST_PATIENCE, None);
        }
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(self.patience)));
        ready!(waiting.as_mut().poll(cx));
        (self.give_up)(&self.stream);
        Poll::Ready(Err(io::Error::new(ErrorKind::TimedOut, "the peer does not read")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.judge(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        // A flush that is done says nothing about a write that still waits: sockets are always flushed.
        if flushed.is_ready() { flushed } else { self.judge(cx, flushed) }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.judge(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::{Instant, timeout};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);
    const ROOM_BYTES: usize = 16;

    fn pair() -> (Impatient<DuplexStream>, DuplexStream, Hurry) {
        let (ours, theirs) = duplex(ROOM_BYTES);
        let hurry = Hurry::default();
        (Impatient::new(ours, PATIENCE, hurry.clone(), |_| {}), theirs, hurry)
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_end_a_peer_that_takes_nothing_has_less_time() {
        let (mut ours, _theirs, hurry) = pair();
        let start = Instant::now();
        let all = [0; ROOM_BYTES + 1];
        let write = ours.write_all(&all);
        tokio::pin!(write);
        assert!(timeout(Duration::from_secs(5), write.as_mut()).await.is_err());
        hurry.now();
        assert_eq!(write.await.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(start.elapsed(), Duration::from_secs(5) + LAST_PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_given_up_when_patience_ends() {
        let (mut ours, _theirs, _hurry) = pair();
        let start = Instant::now();
        let error = ours.write_all(&[0; ROOM_BYTES + 1]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(start.elapsed().as_secs(), PATIENCE.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_peer_gets_everything_however_long_it_takes() {
        let (mut ours, mut theirs, _hurry) = pair();
        let start = Instant::now();
        let reading = tokio::spawn(async move {
            let (mut taken, mut byte) = (0, [0; 1]);
            loop {
                // sleeps: the clock is paused
                sleep(PATIENCE * 9 / 10).await;
                match theirs.read(&mut byte).await.unwrap() {
                    0 => return taken,
                    count => taken += count,
                }
            }
        });
        ours.write_all(&[0; 3 * ROOM_BYTES]).await.unwrap();
        drop(ours);
        assert_eq!(reading.await.unwrap(), 3 * ROOM_BYTES);
        assert!(start.elapsed() > 10 * PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_idle_is_not_cut_off_and_what_was_long_ago_does_not_count() {
        let (mut ours, mut theirs, _hurry) = pair();
        let mut taken = [0; ROOM_BYTES + 1];
        assert!(timeout(10 * PATIENCE, ours.read(&mut taken)).await.is_err(), "nothing was sent, and nobody cares");
        // A write that waited, was given up by its caller and found room later.
        ours.write_all(&[0; ROOM_BYTES]).await.unwrap();
        assert!(timeout(PATIENCE / 2, ours.write_all(&[1])).await.is_err());
        theirs.read_exact(&mut taken[..ROOM_BYTES]).await.unwrap();
        // sleeps: the clock is paused
        sleep(2 * PATIENCE).await;
        ours.write_all(&[2; ROOM_BYTES]).await.unwrap();
        let start = Instant::now();
        assert_eq!(ours.write_all(&[3]).await.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(start.elapsed().as_secs(), PATIENCE.as_secs(), "patience begins anew");
    }
}
