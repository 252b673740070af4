//! How a connection ends: what is still told when the node stops, and a close that is read before the connection goes.

use std::ops::ControlFlow;
use std::time::Duration;

use socket2::SockRef;
use tokio::time::Instant;
use tungstenite::Message;
use wire::close::CloseReason;
use wire::console::Event;

use crate::socket::{Connection, Happening, Interrupts, news};
use crate::{clock, frame};

/// How long the end of a connection may take: the last words, our close frame, and the other side's answer to it.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long lines may go on flowing after the node was told to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a viewer may take nothing of them.
const DRAIN_STALL_TIMEOUT: Duration = Duration::from_millis(500);

impl Connection {
    /// The node is stopping: what is in the log by now is still told, then a word for people; for a bounded time, and not to
    /// somebody who takes nothing.
    pub(super) async fn drain(&mut self, interrupts: &mut Interrupts) -> Option<CloseReason> {
        let until = Instant::now() + DRAIN_TIMEOUT;
        let end = self.server.console().hub().next();
        let mut has_said_farewell = false;
        loop {
            let is_behind = self.viewer.as_ref().is_some_and(|viewer| viewer.is_behind(end));
            let deadline = self.session.deadline().map(clock::instant);
            let happening = if !self.outgoing.is_empty() {
                tokio::select! {
                    biased;
                    happening = interrupts.next(deadline) => happening,
                    written = self.outgoing.write_within(self.transport.stream(), DRAIN_STALL_TIMEOUT) => Happening::Written(written),
                    () = tokio::time::sleep_until(until) => return Some(CloseReason::GoingAway),
                }
            } else if is_behind {
                tokio::select! {
                    biased;
                    happening = interrupts.next(deadline) => happening,
                    news = news(self.viewer.as_mut()) => Happening::News(news),
                    () = tokio::time::sleep_until(until) => return Some(CloseReason::GoingAway),
                }
            } else if !has_said_farewell {
                has_said_farewell = true;
                let text =
                    "The node is stopping or being upgraded; the game goes on, and this console comes back by itself.";
                self.send(&Event::DaemonMessage(text.to_owned()));
                continue;
            } else {
                return Some(CloseReason::GoingAway);
            };
            match happening {
                Happening::Written(Err(CloseReason::TooSlow)) => return Some(CloseReason::GoingAway),
                happening => {
                    if let ControlFlow::Break(reason) = self.handle(happening) {
                        return reason;
                    }
                }
            }
        }
    }

    /// Writes what is left, sends a close frame and waits a little for the other side's, so that it is read before the
    /// connection goes. Somebody who takes nothing is let go all the same.
    pub(super) async fn end(&mut self, reason: Option<CloseReason>) {
        let goodbye = async {
            let Some(reason) = reason else {
                // The other side's close frame is answered; the answer only wants to be sent.
                if self.outgoing.write(self.transport.stream()).await.is_ok() {
                    self.finish().await;
                }
                return;
            };
            tracing::debug!(server = %self.server.id(), code = reason.code(), text = reason.text(), "connection closed");
            if reason == CloseReason::TooSlow {
                // A frame that has begun goes in front of the close; the rest another connection gets from the log.
                self.outgoing.take();
            }
            self.outgoing.push_last(frame::close(reason.code(), reason.text()));
            // Listeners bound what the kernel takes beyond what is on its way. The little that is left goes to it all the same, so
            // that a viewer who reads again finds out why it was cut off, and that it may come back.
            let _ = SockRef::from(self.transport.stream()).set_tcp_notsent_lowat(u32::MAX);
            if self.outgoing.write(self.transport.stream()).await.is_ok() {
                while let Some(Ok(message)) = self.transport.recv().await {
                    // Nothing follows a close frame of ours.
                    self.transport.replies();
                    if matches!(message, Message::Close(_)) {
                        break;
                    }
                }
                self.finish().await;
            }
        };
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, goodbye).await;
        tracing::debug!(server = %self.server.id(), "connection ended");
    }

    /// All is said. Whoever sees the end finds the user's place among viewers free again.
    async fn finish(&mut self) {
        drop((self.seat.take(), self.viewer.take()));
        self.transport.finish().await;
    }
}
