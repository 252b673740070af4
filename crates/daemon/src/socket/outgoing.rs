//! What waits to be written to one connection, and whether the other side still takes any of it.
//!
//! Nothing awaits a whole batch: writing is one of the things a connection waits for. It can be left at any time, for a
//! revocation or the end of the node, and goes on where it stopped.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use futures_util::SinkExt;
use futures_util::task::AtomicWaker;
use tokio::time::Instant;
use wire::close::CloseReason;

/// Bytes that the WebSocket library gathers before it writes. They cannot be taken back, so they are few.
pub(crate) const GATHERED_BYTES: usize = 32 * 1024;

/// See the module. Bounded by its user, who adds a batch only when it is empty.
pub(super) struct Outgoing {
    queue: VecDeque<Message>,
    /// Something was handed to the library that may not have reached the kernel.
    is_unflushed: bool,
    /// When the connection last took something, or began to be asked to.
    moved_at: Instant,
    writable: Arc<Writable>,
}

/// Hears when the connection can be written to again. That is only when the other side has taken something, or once when it
/// has said something: so "no wake" is "no progress", however large the frame is that is on its way.
#[derive(Default)]
struct Writable {
    woken: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Writable {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl Outgoing {
    pub(super) fn new() -> Self {
        Self { queue: VecDeque::new(), is_unflushed: false, moved_at: Instant::now(), writable: Arc::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && !self.is_unflushed
    }

    pub(super) fn push(&mut self, message: Message) {
        if self.is_empty() {
            self.moved_at = Instant::now();
        }
        self.queue.push_back(message);
    }

    /// Adds the last message there is. It has its own time, however long the other side has taken nothing by then.
    pub(super) fn push_last(&mut self, message: Message) {
        self.moved_at = Instant::now();
        self.queue.push_back(message);
    }

    /// Takes back what is not with the library yet.
    pub(super) fn take(&mut self) -> VecDeque<Message> {
        std::mem::take(&mut self.queue)
    }

    /// Writes all that waits: many frames, few system calls. Cancel-safe. Fails when the other side takes nothing for `stall`.
    pub(super) async fn write(&mut self, ws: &mut WebSocket, stall: Duration) -> Result<(), CloseReason> {
        loop {
            let written = tokio::time::timeout_at(self.moved_at + stall, poll_fn(|cx| self.poll_write(ws, cx))).await;
            match written {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(_)) => return Err(CloseReason::Internal),
                // It moved meanwhile; the clock of this attempt was that of before.
                Err(_) if self.moved_at.elapsed() < stall => {}
                Err(_) => return Err(CloseReason::TooSlow),
            }
        }
    }

    fn poll_write(&mut self, ws: &mut WebSocket, cx: &Context<'_>) -> Poll<Result<(), axum::Error>> {
        self.writable.task.register(cx.waker());
        if self.writable.woken.swap(false, Ordering::AcqRel) {
            self.moved_at = Instant::now();
        }
        let waker = Waker::from(self.writable.clone());
        let mut cx = Context::from_waker(&waker);
        while !self.queue.is_empty() {
            ready!(ws.poll_ready_unpin(&mut cx))?;
            if let Some(message) = self.queue.pop_front() {
                self.is_unflushed = true;
                ws.start_send_unpin(message)?;
            }
        }
        ready!(ws.poll_flush_unpin(&mut cx))?;
        self.is_unflushed = false;
        Poll::Ready(Ok(()))
    }
}
