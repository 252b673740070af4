//! The console of one server for those who read it: the ring of the newest lines, the log behind it, and the cursor over both.

mod block;
mod disk;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use wire::ids::Seq;

pub(crate) use crate::console::block::{Block, Lines};
use crate::console::disk::Disk;
use crate::hub::{Hub, Read};
use crate::line::Line;
use crate::log::Presentation;

/// Bytes of frames handed to a viewer at once, about what the kernel takes of them; a single line may be larger. One write, and
/// one chance to do something else in between.
pub(crate) const BATCH_BYTES: usize = 256 * 1024;

/// See the module.
pub(crate) struct Console {
    hub: Hub,
    dir: PathBuf,
    presentation: Presentation,
    /// There while somebody reads from disk.
    disk: Mutex<Weak<Disk>>,
}

impl Console {
    /// The console of the log in `dir`.
    pub(crate) fn new(hub: Hub, dir: PathBuf, presentation: Presentation) -> Self {
        Self { hub, dir, presentation, disk: Mutex::default() }
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.hub
    }

    pub(crate) fn presentation(&self) -> &Presentation {
        &self.presentation
    }

    /// The last `count` lines; for those that are no longer kept, one that says so.
    pub(crate) async fn last(self: &Arc<Self>, count: u64) -> io::Result<Vec<Line>> {
        let mut history = History::before(self, self.hub.next(), count);
        let mut lines: Vec<Line> = Vec::new();
        while let Some(more) = history.next().await {
            lines.extend_from_slice(&more?);
        }
        Ok(lines)
    }

    /// What a viewer gets in place of the lines `from..to`.
    pub(crate) fn gap_line(&self, from: Seq, to: Seq) -> Line {
        self.presentation.expired(from, to)
    }

    /// What is read from disk, for all who are below the ring.
    fn disk(&self) -> Arc<Disk> {
        let mut disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        disk.upgrade().unwrap_or_else(|| {
            let new = Arc::new(Disk::new(&self.dir, &self.presentation));
            *disk = Arc::downgrade(&new);
            new
        })
    }
}

/// What a cursor found.
#[derive(Debug)]
pub(crate) enum Batch {
    /// The next lines.
    Lines(Lines),
    /// Lines `from..to` are no longer kept.
    Gap {
        /// The first that is missing.
        from: Seq,
        /// The first that is there again.
        to: Seq,
    },
    /// The log could not be read.
    Failed(io::Error),
}

/// A viewer's place in a console: the number of the next line it wants. It costs nothing while it waits, however far behind.
pub(crate) struct Cursor {
    console: Arc<Console>,
    head: watch::Receiver<Seq>,
    /// The number after the last line that was read.
    next: Seq,
    /// A read from disk under way, kept here so that waiting can be interrupted without doing it again.
    reading: Option<BoxFuture<'static, Result<Option<Seq>, Arc<io::Error>>>>,
    /// There while this cursor is below the ring.
    disk: Option<Arc<Disk>>,
    /// The lines that this cursor is at, and those around them. Who holds them has them ready for others.
    piece: Option<Arc<Block>>,
}

impl Cursor {
    /// A cursor that begins with the next line to come.
    pub(crate) fn at_head(console: &Arc<Console>) -> Self {
        Self::at(console, console.hub.next())
    }

    /// A cursor that begins with this line, or with the next one to come if there is none of this number yet.
    pub(crate) fn at(console: &Arc<Console>, next: Seq) -> Self {
        let next = next.min(console.hub.next());
        let head = console.hub.head();
        Self { console: console.clone(), head, next, reading: None, disk: None, piece: None }
    }

    /// The number of the next line it hands over.
    pub(crate) fn position(&self) -> Seq {
        self.next
    }

    /// Whether [`Cursor::next`] has something below this number, which is not above the head.
    pub(crate) fn has_lines_before(&self, end: Seq) -> bool {
        self.position() < end
    }

    /// Whether it waits for the next line to come.
    pub(crate) fn is_at_head(&self) -> bool {
        self.reading.is_none() && self.next >= self.console.hub.next()
    }

    /// Holds nothing while it waits.
    pub(crate) fn rest(&mut self) {
        (self.disk, self.piece) = (None, None);
    }

    /// Goes on behind lines that were handed over by somebody else. Only for one that was at the head.
    pub(crate) fn advance(&mut self, next: Seq) {
        self.next = self.next.max(next);
    }

    pub(crate) fn console(&self) -> &Arc<Console> {
        &self.console
    }

    /// The `count` lines before this cursor: history that meets the live lines without a seam.
    pub(crate) fn before(&self, count: u64) -> History {
        History::before(&self.console, self.position(), count)
    }

    fn hand_over(&mut self, lines: Lines) -> Batch {
        self.next = lines.end().unwrap_or(self.next);
        self.piece = Some(lines.block().clone());
        Batch::Lines(lines)
    }

    /// The next lines, or what became of them. Cancel-safe: the cursor moves only when it returns.
    pub(crate) async fn next(&mut self) -> Batch {
        loop {
            if let Some(piece) = self.piece.take().filter(|piece| piece.holds(self.next)) {
                return self.hand_over(Lines::of(&piece, self.next, BATCH_BYTES));
            }
            let ring = match self.console.hub.read(self.next, BATCH_BYTES) {
                Read::Below(ring) => ring,
                Read::Lines(lines) => {
                    self.disk = None;
                    return self.hand_over(lines);
                }
                Read::AtHead => {
                    self.rest();
                    let next = self.next;
                    if self.head.wait_for(|head| *head > next).await.is_err() {
                        // The server is gone for good; whoever owns the cursor is told so elsewhere.
                        return std::future::pending().await;
                    }
                    continue;
                }
            };
            let disk = self.disk.get_or_insert_with(|| self.console.disk());
            let next = self.next;
            if let Some(piece) = disk.piece(next) {
                return self.hand_over(Lines::of(&piece, next, BATCH_BYTES));
            }
            let reading = self.reading.get_or_insert_with(|| disk.clone().read(next, ring).boxed());
            let read = reading.await;
            self.reading = None;
            let found = match read {
                Ok(found) => found.unwrap_or(ring),
                Err(error) => return Batch::Failed(io::Error::new(error.kind(), error)),
            };
            if found > self.next {
                // What lies between was not kept.
                return Batch::Gap { from: std::mem::replace(&mut self.next, found), to: found };
            }
        }
    }
}

/// A stretch of lines up to a fixed number, read piece by piece as its reader takes it.
pub(crate) struct History {
    cursor: Cursor,
    end: Seq,
}

impl History {
    /// The `count` lines before `end`, which is not above the head.
    fn before(console: &Arc<Console>, end: Seq, count: u64) -> Self {
        Self { cursor: Cursor::at(console, Seq(end.0.saturating_sub(count))), end }
    }

    /// The next lines, and one in place of those that are no longer kept; none at the end. Cancel-safe as [`Cursor::next`].
    pub(crate) async fn next(&mut self) -> Option<io::Result<Lines>> {
        if !self.cursor.has_lines_before(self.end) {
            return None;
        }
        Some(match self.cursor.next().await {
            Batch::Lines(lines) => Ok(lines.below(self.end)),
            Batch::Gap { from, to } => Ok(Lines::new(vec![self.cursor.console.gap_line(from, to.min(self.end))])),
            Batch::Failed(error) => Err(error),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use spool::{Limits, Writer};
    use wire::server::State;

    use super::*;

    #[tokio::test]
    async fn history_names_what_is_no_longer_kept() {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits { segment_bytes: 1024, retain_bytes: 4096 };
        let mut writer = Writer::open(dir.path(), limits, [0; 16], 1).unwrap();
        for n in 0..1000 {
            let _ = writer.append_out(format!("line {n}\n").as_bytes(), 1);
        }
        let end = Seq(writer.position().1);
        let presentation = Presentation { app_name: Arc::from("Test"), echo_commands: true };
        let console = Arc::new(Console::new(Hub::new(end, State::Offline), dir.path().to_owned(), presentation));
        let lines = console.last(5000).await.unwrap();
        let (gap, kept) = lines.split_first().unwrap();
        let first = kept.first().unwrap().seq().0;
        assert!(
            first > 0 && gap.text().contains(&format!("lines 0 to {} are no longer kept", first - 1)),
            "{}",
            gap.text()
        );
        let texts: Vec<String> = kept.iter().map(|line| line.text().into_owned()).collect();
        assert_eq!(texts, (first..1000).map(|n| format!("line {n}")).collect::<Vec<_>>());
        assert_eq!(console.last(3).await.unwrap().len(), 3);
    }

    #[tokio::test]
    async fn large_lines_come_in_pieces_and_history_ends_where_the_live_lines_begin() {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits { segment_bytes: 1024 * 1024, retain_bytes: 64 * 1024 * 1024 };
        let mut writer = Writer::open(dir.path(), limits, [0; 16], 1).unwrap();
        for n in 0..40 {
            let _ = writer.append_out(format!("{n} {}\n", "\0".repeat(30_000)).as_bytes(), 1);
        }
        let end = Seq(writer.position().1);
        let presentation = Presentation { app_name: Arc::from("Test"), echo_commands: true };
        // Nothing in memory: everything is read from disk, more at once than one batch holds.
        let console = Arc::new(Console::new(Hub::new(end, State::Offline), dir.path().to_owned(), presentation));
        let mut cursor = Cursor::at(&console, Seq(0));
        let mut told = 0;
        while cursor.has_lines_before(end) {
            let Batch::Lines(lines) = cursor.next().await else { panic!("no lines") };
            assert!(lines.len() == 1, "{} lines of 180 KB at once", lines.len());
            told += 1;
            // Wherever the cursor stands, the history before it ends with the line it told last.
            let mut history = cursor.before(2);
            let mut before = Vec::new();
            while let Some(lines) = history.next().await {
                before.extend_from_slice(&lines.unwrap());
            }
            assert_eq!(before.last().map(Line::seq), lines.last().map(Line::seq));
            assert_eq!(before.len(), told.min(2));
        }
        assert_eq!(told, 40);
    }
}
