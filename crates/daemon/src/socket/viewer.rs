//! What an authenticated connection follows: the console, the state, the samples.

use std::collections::VecDeque;
use std::io;

use bytes::Bytes;
use tokio::sync::watch;
use wire::ids::Seq;
use wire::numbered::{Attach, Attached};
use wire::server::{State, Stats};

use crate::console::{Batch, Cursor, History, Lines};
use crate::hub::Change;
use crate::server::{Server, ViewerSlot};
use crate::socket::fanout::Taken;

/// Something new for a viewer.
pub(super) enum News {
    /// More of the history it asked for; `None` is its end.
    History(Option<io::Result<Lines>>),
    /// Live lines.
    Lines(Batch),
    /// The state changed.
    Changed,
    /// There is a new sample.
    Sampled,
}

/// See the module.
pub(super) struct Viewer {
    cursor: Cursor,
    /// Lines flow. A viewer who counts them says first where they are to begin.
    follows: bool,
    changed: watch::Receiver<u64>,
    changes_seen: u64,
    stats: watch::Receiver<Stats>,
    /// History that is being told. Until it is, nothing else is: live lines follow it without a seam, and messages of one
    /// connection are answered in order.
    history: Option<Box<History>>,
    /// There while the token has run out: what was about to be written, kept for a renewal. Nothing flows meanwhile.
    held: Option<VecDeque<Bytes>>,
    _slot: ViewerSlot,
}

impl Viewer {
    /// A viewer of what comes from now on (lines only if it `follows`), and what there is now: the state and the newest sample.
    pub(super) fn new(server: &Server, slot: ViewerSlot, follows: bool) -> (Self, State, Stats) {
        let console = server.console();
        let changed = console.hub().changed();
        let (_, changes_seen) = console.hub().changes_since(0);
        let mut stats = server.stats();
        let (state, sample) = (server.status().borrow().state, *stats.borrow_and_update());
        let cursor = Cursor::at_head(console);
        (Self { cursor, follows, changed, changes_seen, stats, history: None, held: None, _slot: slot }, state, sample)
    }

    /// Lets lines begin somewhere, whether or not they flowed before.
    pub(super) fn follow(&mut self, attach: Attach) -> Attached {
        let console = self.cursor.console().clone();
        let head = console.hub().next();
        let from = match attach {
            Attach::After(seq) => seq.saturating_add(1),
            Attach::Last(count) => head.0.saturating_sub(count),
        };
        self.cursor = Cursor::at(&console, Seq(from));
        self.follows = true;
        Attached { next: self.cursor.position().0, head: head.0 }
    }

    /// The number the next new line will get.
    pub(super) fn head(&self) -> Seq {
        self.cursor.console().hub().next()
    }

    /// Where it is, if it has nothing to do but wait for what is new.
    pub(super) fn idle(&self) -> Option<Taken> {
        let is_idle = self.follows
            && self.held.is_none()
            && self.history.is_none()
            && self.cursor.is_at_head()
            && !self.has_sample()
            && self.changes_seen == self.cursor.console().hub().changes();
        is_idle.then(|| Taken { next: self.cursor.position(), changes: self.changes_seen, with_stats: false })
    }

    /// Holds nothing while others tell it what is new.
    pub(super) fn rest(&mut self) {
        self.cursor.rest();
    }

    /// Whether there is a sample that it has not seen.
    pub(super) fn has_sample(&self) -> bool {
        self.stats.has_changed().unwrap_or(false)
    }

    /// Somebody else has told lines up to this one, and perhaps a sample; there may be a newer one.
    pub(super) fn advance(&mut self, next: Seq, sample: Option<Stats>) {
        self.cursor.advance(next);
        if sample.is_some_and(|told| told != *self.stats.borrow_and_update()) {
            self.stats.mark_changed();
        }
    }

    /// What it waits for while it stands. Cancel-safe: nothing moves before it is handed over.
    pub(super) async fn next(&mut self) -> News {
        if self.held.is_some() {
            return std::future::pending().await;
        }
        if let Some(history) = &mut self.history {
            return News::History(history.next().await);
        }
        tokio::select! {
            biased;
            _ = self.changed.changed() => News::Changed,
            _ = self.stats.changed() => News::Sampled,
            batch = self.cursor.next(), if self.follows => News::Lines(batch),
        }
    }

    /// Whether the next message may be heard: not while the answer to the last one is being told.
    pub(super) fn is_listening(&self) -> bool {
        self.history.is_none() || self.held.is_some()
    }

    /// Whether it will be told something that stands before this line, which is not above the head.
    pub(super) fn is_behind(&self, end: Seq) -> bool {
        self.held.is_none() && (self.history.is_some() || (self.follows && self.cursor.has_lines_before(end)))
    }

    /// Begins to tell the lines before the live ones.
    pub(super) fn tell_history(&mut self, lines: u64) {
        self.history = Some(Box::new(self.cursor.before(lines)));
    }

    pub(super) fn end_history(&mut self) {
        self.history = None;
    }

    /// Holds everything until [`Viewer::resume`].
    pub(super) fn pause(&mut self, unwritten: VecDeque<Bytes>) {
        self.held = Some(unwritten);
    }

    /// Lets everything flow again; what was held comes first.
    pub(super) fn resume(&mut self) -> VecDeque<Bytes> {
        self.held.take().unwrap_or_default()
    }

    /// The changes that are new to it.
    pub(super) fn changes(&mut self) -> Vec<Change> {
        let (changes, seen) = self.cursor.console().hub().changes_since(self.changes_seen);
        self.changes_seen = seen;
        changes
    }

    /// The newest sample.
    pub(super) fn sample(&mut self) -> Stats {
        *self.stats.borrow_and_update()
    }

    /// The lines that are there already, as far as one batch goes.
    pub(super) fn lines_at_hand(&mut self) -> Option<Batch> {
        use futures_util::FutureExt;
        if self.follows { self.cursor.next().now_or_never() } else { None }
    }
}
