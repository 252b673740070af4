//! Where the node's own lines go: always into the console log, so that they stand in one order with everything else.
//!
//! ```text
//! Ours --hand_over--> Waiting --hand_to_shim--> Shim --hand_over--> Waiting --take_back--> Ours
//! ```
//! The log has one writer at a time, held by a lock: while a shim lives it writes our lines for us, else we hold the lock.
//! While the lock changes hands lines wait here, in order.

use std::path::{Path, PathBuf};

use spool::writer::Written;
use spool::{ExitPayload, Limits, Writer};

use crate::clock;
use crate::runtime::link::Link;
use crate::tasks::blocking;

/// Lines that may wait while the lock changes hands; later ones are dropped and counted in the daemon's log.
const WAITING_MAX: usize = 256;

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
    waiting: Vec<(u64, String)>,
}

impl Journal {
    /// A journal of the log in `dir`, which nobody writes to.
    pub(crate) fn new(dir: &Path, limits: Limits) -> Self {
        Self { dir: dir.to_owned(), limits, owner: Owner::Ours(None), waiting: Vec::new() }
    }

    /// Writes a line, under a number of its own. True if the log has grown by our own hand, so that nobody else will say so.
    pub(crate) async fn note(&mut self, id: u64, text: String) -> bool {
        self.waiting.push((id, text));
        if self.waiting.len() > WAITING_MAX {
            let (_, lost) = self.waiting.remove(0);
            tracing::error!(log = %self.dir.display(), lost, "a console line of the node is lost: too many are waiting");
        }
        self.flush().await
    }

    /// Lets go of the lock, for a shim that is about to start, or because the shim is ending.
    pub(crate) async fn hand_over(&mut self) {
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
        self.owner = Owner::Ours(None);
        self.flush().await
    }

    /// Records the end of a run whose shim could not do it any more.
    pub(crate) async fn lost(&mut self) {
        // As if killed: the wait status of a process that SIGKILL ended.
        let exit = ExitPayload { status: libc::SIGKILL, pid: 0, oom: false, user_ms: 0, system_ms: 0, maxrss_kib: 0 };
        self.write(move |writer| writer.append_exit(&exit, now_ms())).await;
    }

    async fn flush(&mut self) -> bool {
        match &self.owner {
            Owner::Waiting => false,
            Owner::Shim(link) => {
                for (id, text) in self.waiting.drain(..) {
                    link.note(id, &text);
                }
                false
            }
            Owner::Ours(_) => {
                if self.waiting.is_empty() {
                    return false;
                }
                let texts = std::mem::take(&mut self.waiting);
                self.write(move |writer| {
                    texts.iter().fold(Written::Kept, |all, (_, text)| {
                        match writer.append_note(text.as_bytes(), now_ms()) {
                            Written::Kept => all,
                            Written::Dropped => Written::Dropped,
                        }
                    })
                })
                .await;
                true
            }
        }
    }

    async fn write(&mut self, write: impl FnOnce(&mut Writer) -> Written + Send + 'static) {
        let Owner::Ours(writer) = &mut self.owner else { return };
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
            }
            Ok(Err(error)) => tracing::error!(log = %self.dir.display(), %error, "console lines of the node are lost"),
            Err(error) => tracing::error!(log = %self.dir.display(), %error, "console lines of the node are lost"),
        }
    }
}

fn now_ms() -> u64 {
    u64::try_from(clock::wall_ms()).unwrap_or(0)
}
