//! Where the node's own lines go: always into the console log, so that they stand in one order with everything else.
//!
//! ```text
//! Ours --hand_over--> Waiting --hand_to_shim--> Shim --hand_over--> Waiting --take_back--> Ours
//! ```
//! The log has one writer at a time, held by a lock: while a shim lives it writes our lines for us, else we hold the lock.
//! While the lock changes hands lines wait here, in order. A line that a shim got stays here too until it has said that it is in the
//! log: it is sent again on the next connection, under its number, or written by our own hand when the shim is gone. So none is lost;
//! the last ones of a shim that was killed between writing and saying so stand there twice.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use spool::writer::Written;
use spool::{ExitPayload, Limits, Writer};

use crate::clock;
use crate::runtime::link::Link;
use crate::tasks::blocking;

/// Lines that may wait; when there are more, the oldest is dropped and written into the daemon's own log.
pub(crate) const WAITING_MAX: usize = 128;

enum Owner {
    /// No shim: we write, and hold the lock from the first line on.
    Ours(Option<Box<Writer>>),
    /// A shim writes for us.
    Shim(Link),
    /// Nobody yet.
    Waiting,
}

/// See the module.
pub(crate) struct Journal {
    dir: PathBuf,
    limits: Limits,
    owner: Owner,
    /// What is not known to be in the log.
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    id: u64,
    text: String,
    /// Whether the shim has it.
    sent: bool,
}

impl Journal {
    /// A journal of the log in `dir`, which nobody writes to.
    pub(crate) fn new(dir: &Path, limits: Limits) -> Self {
        Self { dir: dir.to_owned(), limits, owner: Owner::Ours(None), waiting: VecDeque::new() }
    }

    /// Writes a line, under a number of its own. True if the log has grown by our own hand, so that nobody else will say so.
    pub(crate) async fn note(&mut self, id: u64, text: String) -> bool {
        self.waiting.push_back(Waiting { id, text, sent: false });
        if self.waiting.len() > WAITING_MAX
            && let Some(Waiting { text: lost, .. }) = self.waiting.pop_front()
        {
            tracing::error!(log = %self.dir.display(), lost, "a console line of the node is lost: too many are waiting");
        }
        self.flush().await
    }

    /// The shim has this line in the log, if it is one of ours.
    pub(crate) fn answered(&mut self, id: u64) {
        self.waiting.retain(|waiting| waiting.id != id);
    }

    /// Whether a shim has lines that it has not confirmed.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.waiting.iter().any(|waiting| waiting.sent)
    }

    /// When [`Journal::tick`] is due: what we wrote is brought to the disk a few seconds later, and after a full disk it is tried again.
    pub(crate) fn next_tick(&self) -> Option<std::time::Instant> {
        match &self.owner {
            Owner::Ours(writer) => writer.as_ref()?.next_tick(),
            Owner::Shim(_) | Owner::Waiting => None,
        }
    }

    /// Does that.
    pub(crate) async fn tick(&mut self) {
        if let Owner::Ours(Some(_)) = self.owner {
            let ticked = |writer: &mut Writer| {
                writer.tick(now_ms());
                Written::Kept
            };
            self.write(ticked).await;
        }
    }

    /// Lets go of the lock, for a shim that is about to start, or because the shim is ending.
    pub(crate) async fn hand_over(&mut self) {
        for waiting in &mut self.waiting {
            waiting.sent = false;
        }
        if let Owner::Ours(Some(writer)) = std::mem::replace(&mut self.owner, Owner::Waiting)
            && let Err(error) = blocking(move || drop(writer)).await
        {
            tracing::error!(log = %self.dir.display(), %error, "the log was not closed in order");
        }
    }

    /// From now on a shim writes.
    pub(crate) async fn hand_to_shim(&mut self, link: Link) {
        self.owner = Owner::Shim(link);
        self.flush().await;
    }

    /// From now on we write, because no shim lives. True as for [`Journal::note`].
    pub(crate) async fn take_back(&mut self) -> bool {
        if !matches!(self.owner, Owner::Ours(_)) {
            self.owner = Owner::Ours(None);
        }
        self.flush().await
    }

    /// Records the end of a run whose shim could not do it any more.
    pub(crate) async fn lost(&mut self) {
        // As if killed: the wait status of a process that SIGKILL ended.
        let exit = ExitPayload { status: libc::SIGKILL, pid: 0, oom: false, user_ms: 0, system_ms: 0, maxrss_kib: 0 };
        if !self.write(move |writer| writer.append_exit(&exit, now_ms())).await {
            tracing::error!(log = %self.dir.display(), "the end of a lost run is not in the log");
        }
    }

    async fn flush(&mut self) -> bool {
        match &self.owner {
            Owner::Waiting => false,
            Owner::Shim(link) => {
                for waiting in self.waiting.iter_mut().filter(|waiting| !waiting.sent) {
                    link.note(waiting.id, &waiting.text);
                    waiting.sent = true;
                }
                false
            }
            Owner::Ours(_) => {
                if self.waiting.is_empty() {
                    return false;
                }
                let texts: Vec<String> = self.waiting.iter().map(|waiting| waiting.text.clone()).collect();
                let written = self.write(move |writer| {
                    texts.iter().fold(Written::Kept, |all, text| match writer.append_note(text.as_bytes(), now_ms()) {
                        Written::Kept => all,
                        Written::Dropped => Written::Dropped,
                    })
                });
                // A log that cannot be opened now is tried again with the next line.
                if written.await {
                    self.waiting.clear();
                }
                true
            }
        }
    }

    /// Whether there was a log to write to; a full disk is one, it counts what it drops.
    async fn write(&mut self, write: impl FnOnce(&mut Writer) -> Written + Send + 'static) -> bool {
        let Owner::Ours(writer) = &mut self.owner else { return false };
        let (dir, limits, held) = (self.dir.clone(), self.limits, writer.take());
        let written = blocking(move || {
            let mut writer = match held {
                Some(writer) => writer,
                None => Box::new(Writer::open(&dir, limits, [0; 16], now_ms())?),
            };
            let written = write(&mut writer);
            Ok::<_, spool::writer::OpenError>((writer, written))
        });
        match written.await {
            Ok(Ok((writer, written))) => {
                if written == Written::Dropped {
                    tracing::error!(log = %self.dir.display(), "the disk takes nothing; console lines of the node are lost");
                }
                self.owner = Owner::Ours(Some(writer));
                return true;
            }
            Ok(Err(error)) => tracing::error!(log = %self.dir.display(), %error, "the node's own console lines wait"),
            Err(error) => tracing::error!(log = %self.dir.display(), %error, "the node's own console lines wait"),
        }
        false
    }
}

fn now_ms() -> u64 {
    u64::try_from(clock::wall_ms()).unwrap_or(0)
}
