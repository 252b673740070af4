//! What a connection tells its viewer while it stands: events, lines and history, states and samples.

use std::ops::ControlFlow;

use bytes::Bytes;
use engine::session::Outcome;
use wire::close::CloseReason;
use wire::console::{Event, server as event};

use crate::console::{Batch, Lines};
use crate::frame;
use crate::hub::Change;
use crate::socket::viewer::Viewer;
use crate::socket::{Connection, Flow, sample_text};

impl Connection {
    /// A piece of the answer to `send logs`.
    pub(super) fn history(&mut self, more: Option<std::io::Result<Lines>>) -> Flow {
        let ended = match more {
            Some(Ok(lines)) => {
                self.tell_lines(&lines);
                return ControlFlow::Continue(());
            }
            Some(Err(error)) => Some(error),
            None => None,
        };
        if let Some(viewer) = &mut self.viewer {
            viewer.end_history();
        }
        if let Some(error) = ended {
            tracing::error!(server = %self.server.id(), %error, "console log not readable");
            let text = format!("the console log cannot be read: {error}");
            let outcome = Outcome { public: false, ..Outcome::refused(text) };
            self.decide(|session, cx, out| session.outcome(cx, &outcome, out));
        }
        self.act()
    }

    pub(super) fn lines(&mut self, batch: Batch) -> Flow {
        match batch {
            Batch::Lines(lines) => self.tell_lines(&lines),
            Batch::Gap { from, to } => {
                self.tell_lines(&Lines::new(vec![self.server.console().gap_line(from, to)]));
            }
            Batch::Failed(error) => {
                tracing::error!(server = %self.server.id(), %error, "console log not readable");
                return ControlFlow::Break(Some(CloseReason::Internal));
            }
        }
        ControlFlow::Continue(())
    }

    pub(super) fn changes(&mut self) -> Flow {
        // Lines that stand before the change are told before it, as far as one batch goes: a viewer far behind is not made to
        // wait for the news.
        if let Some(batch) = self.viewer.as_mut().and_then(Viewer::lines_at_hand) {
            self.lines(batch)?;
        }
        for change in self.viewer.as_mut().map(Viewer::changes).unwrap_or_default() {
            match change {
                Change::State(state) => self.tell_state(state),
                Change::Event(event) => self.send(&event),
            }
        }
        ControlFlow::Continue(())
    }

    /// One `stats`: the newest sample.
    pub(super) fn stats(&mut self) {
        if let Some(sample) = self.viewer.as_mut().map(Viewer::sample) {
            self.send(&Event::Stats(sample_text(&sample)));
        }
    }

    pub(super) fn send(&mut self, event: &Event) {
        self.tell(event.name(), [frame::text(event.frame(self.node.config.always_args))]);
    }

    pub(super) fn tell_lines(&mut self, lines: &Lines) {
        // Gaps have an event of their own in the protocol with numbers, and the same rights.
        if self.session.may_receive(event::CONSOLE_OUTPUT) && self.session.may_receive(event::GAP) {
            let frames = lines.frames(self.is_numbered());
            if !frames.is_empty() {
                self.outgoing.push(frames);
            }
        }
    }

    /// The one way out for events: the session says whether this viewer may have them.
    pub(super) fn tell(&mut self, event: &str, frames: impl IntoIterator<Item = Bytes>) {
        if !self.session.may_receive(event) {
            return;
        }
        for frame in frames {
            self.outgoing.push(frame);
        }
    }
}
