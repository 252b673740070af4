//! The console of one server for those who read it: the ring of the newest lines, the log behind it, and the cursor over both.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use wire::ids::Seq;

use crate::hub::{Hub, Line, Read};
use crate::log::{Backlog, Presentation};
use crate::tasks::blocking;

/// Lines handed to a viewer at once: one write, and one chance to do something else in between.
const BATCH_LINES: usize = 256;

/// See the module.
pub(crate) struct Console {
    hub: Hub,
    dir: PathBuf,
    presentation: Presentation,
}

impl Console {
    /// The console of the log in `dir`.
    pub(crate) fn new(hub: Hub, dir: PathBuf, presentation: Presentation) -> Self {
        Self { hub, dir, presentation }
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.hub
    }

    /// The last `count` lines.
    pub(crate) async fn last(self: &Arc<Self>, count: u64) -> io::Result<Vec<Line>> {
        self.range(self.hub.next(), count).await
    }

    /// The `count` lines before `end`; for those that are no longer kept, one that says so.
    async fn range(self: &Arc<Self>, end: Seq, count: u64) -> io::Result<Vec<Line>> {
        let mut cursor = Cursor::at(self, Seq(end.0.saturating_sub(count)));
        let mut lines: Vec<Line> = Vec::new();
        while cursor.has_lines_before(end) {
            match cursor.next().await {
                Batch::Lines(batch) => lines.extend(batch.into_iter().filter(|line| line.seq < end)),
                Batch::Gap { from, to } => lines.push(self.gap_line(from, to.min(end))),
                Batch::Failed(error) => return Err(error),
            }
        }
        Ok(lines)
    }

    /// What a viewer gets in place of the lines `from..to`.
    pub(crate) fn gap_line(&self, from: Seq, to: Seq) -> Line {
        let text = format!("lines {from} to {} are no longer kept", to.0.saturating_sub(1));
        Line::new(from, &engine::line::daemon_line(&self.presentation.app_name, &text))
    }

    /// Reads on from disk: with the reader of the time before, or a new one from `from` on.
    fn read_disk(
        self: &Arc<Self>,
        backlog: Option<Backlog>,
        from: Seq,
        to: Seq,
    ) -> BoxFuture<'static, io::Result<FromDisk>> {
        let console = self.clone();
        let read = move || {
            let mut backlog = match backlog {
                Some(backlog) => backlog,
                None => Backlog::open(&console.dir, &console.presentation, from)?,
            };
            let lines = backlog.read(to, BATCH_LINES)?;
            Ok((backlog, lines))
        };
        async move { blocking(read).await? }.boxed()
    }
}

/// Lines from disk, and the reader that stands behind them.
type FromDisk = (Backlog, Vec<Line>);

/// What a cursor found.
#[derive(Debug)]
pub(crate) enum Batch {
    /// The next lines.
    Lines(Vec<Line>),
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
    next: Seq,
    /// A read from disk under way, kept here so that waiting can be interrupted without doing it again.
    reading: Option<BoxFuture<'static, io::Result<FromDisk>>>,
    /// Lines behind a gap that was just reported.
    waiting: Vec<Line>,
    /// Where the last read from disk ended, while this cursor is below the ring.
    backlog: Option<Backlog>,
}

impl Cursor {
    /// A cursor that begins with the next line to come.
    pub(crate) fn at_head(console: &Arc<Console>) -> Self {
        Self::at(console, console.hub.next())
    }

    fn at(console: &Arc<Console>, next: Seq) -> Self {
        let head = console.hub.head();
        Self { console: console.clone(), head, next, reading: None, waiting: Vec::new(), backlog: None }
    }

    /// Whether [`Cursor::next`] has something below this number, which is not above the head.
    pub(crate) fn has_lines_before(&self, end: Seq) -> bool {
        self.next < end || !self.waiting.is_empty()
    }

    pub(crate) fn console(&self) -> &Arc<Console> {
        &self.console
    }

    /// The `count` lines before this cursor: history that meets the live lines without a seam.
    pub(crate) fn before(&self, count: u64) -> impl Future<Output = io::Result<Vec<Line>>> + Send + use<> {
        let (console, end) = (self.console.clone(), self.next);
        async move { console.range(end, count).await }
    }

    /// The next lines, or what became of them. Cancel-safe: the cursor moves only when it returns.
    pub(crate) async fn next(&mut self) -> Batch {
        if !self.waiting.is_empty() {
            return Batch::Lines(std::mem::take(&mut self.waiting));
        }
        loop {
            let ring = match self.console.hub.read(self.next, BATCH_LINES) {
                Read::Below(ring) => ring,
                Read::Lines(lines) => {
                    self.backlog = None;
                    if let Some(last) = lines.last() {
                        self.next = last.seq.next();
                        return Batch::Lines(lines);
                    }
                    let next = self.next;
                    if self.head.wait_for(|head| *head > next).await.is_err() {
                        // The server is gone for good; whoever owns the cursor is told so elsewhere.
                        return std::future::pending().await;
                    }
                    continue;
                }
            };
            let reading =
                self.reading.get_or_insert_with(|| self.console.read_disk(self.backlog.take(), self.next, ring));
            let read = reading.await;
            self.reading = None;
            let lines = match read {
                Ok((backlog, lines)) => {
                    self.backlog = Some(backlog);
                    lines
                }
                Err(error) => return Batch::Failed(error),
            };
            let from = self.next;
            let found = lines.first().map_or(ring, |line| line.seq);
            self.next = lines.last().map_or(found, |last| last.seq.next());
            if found > from {
                // What lies between was not kept.
                self.waiting = lines;
                return Batch::Gap { from, to: found };
            }
            if !lines.is_empty() {
                return Batch::Lines(lines);
            }
        }
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
        let presentation = Presentation { app_name: "Test".to_owned(), echo_commands: true };
        let console = Arc::new(Console::new(Hub::new(end, State::Offline), dir.path().to_owned(), presentation));
        let lines = console.last(5000).await.unwrap();
        let (gap, kept) = lines.split_first().unwrap();
        let first = kept.first().unwrap().seq.0;
        assert!(
            first > 0 && gap.text.contains(&format!("lines 0 to {} are no longer kept", first - 1)),
            "{}",
            gap.text
        );
        let texts: Vec<String> = kept.iter().map(|line| line.text.to_string()).collect();
        assert_eq!(texts, (first..1000).map(|n| format!("line {n}")).collect::<Vec<_>>());
        assert_eq!(console.last(3).await.unwrap().len(), 3);
    }
}
