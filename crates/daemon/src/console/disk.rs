//! What viewers below the ring read from disk: each piece of the log is read and decoded once for all who are about there.
//!
//! Who waits for a read waits for nobody else: it goes on by itself, and its piece is there for everybody when it is done.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use wire::ids::Seq;

use crate::console::block::Block;
use crate::line::Line;
use crate::log::{Backlog, Presentation};
use crate::tasks::blocking;

/// Bytes of the pieces of all consoles that are kept for those who come to them later; the one that nobody wanted longest goes
/// first. Whoever is at one keeps it by itself.
const KEPT_BYTES_MAX: usize = 48 * 1024 * 1024;
/// Pieces that a console keeps in any case. It keeps no more than there are viewers who read from disk: each of them would hold one.
const PIECES_MIN: usize = 2;
/// Lines of one. What one look at the log gives is less than a megabyte.
const PIECE_LINES: usize = 2048;
/// Readers that stand somewhere in the log and can go on there, with a buffer of 128 KiB each.
const READERS_MAX: usize = 32;

/// A piece that counts.
struct Kept {
    piece: Arc<Block>,
    bytes: usize,
}

impl Kept {
    fn new(piece: Arc<Block>) -> Self {
        let bytes = piece.kept_bytes();
        KEPT_BYTES.fetch_add(bytes, Ordering::Relaxed);
        Self { piece, bytes }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        KEPT_BYTES.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What the pieces of all consoles take.
static KEPT_BYTES: AtomicUsize = AtomicUsize::new(0);

/// Where the lines begin that were found, if there are any. Errors are told to everybody who waits.
type Found = Result<Option<Seq>, Arc<io::Error>>;

/// See the module.
pub(super) struct Disk {
    dir: PathBuf,
    presentation: Presentation,
    /// The newest wanted last.
    pieces: Mutex<VecDeque<Kept>>,
    readers: Mutex<VecDeque<Backlog>>,
    /// Reads under way, by where they begin.
    under_way: Mutex<Vec<(Seq, Shared<BoxFuture<'static, Found>>)>>,
}

impl Disk {
    pub(super) fn new(dir: &Path, presentation: &Presentation) -> Self {
        Self {
            dir: dir.to_owned(),
            presentation: presentation.clone(),
            pieces: Mutex::default(),
            readers: Mutex::default(),
            under_way: Mutex::default(),
        }
    }

    /// The piece that holds this line, if it was read.
    pub(super) fn piece(&self, seq: Seq) -> Option<Arc<Block>> {
        let mut pieces = lock(&self.pieces);
        let at = pieces.iter().rposition(|kept| kept.piece.holds(seq))?;
        let kept = pieces.remove(at)?;
        let piece = kept.piece.clone();
        pieces.push_back(kept);
        Some(piece)
    }

    /// Reads on from a number, below another, or joins a read from there. Where the lines begin that were found, in a piece that is
    /// there then; none if there are none.
    pub(super) fn read(self: Arc<Self>, from: Seq, to: Seq) -> impl Future<Output = Found> + Send + 'static {
        let mut under_way = lock(&self.under_way);
        if let Some((_, read)) = under_way.iter().find(|(begin, _)| *begin == from) {
            return read.clone();
        }
        let disk = self.clone();
        let read = async move {
            let (reader, viewers) = (disk.clone(), Arc::strong_count(&disk));
            let read =
                blocking(move || reader.read_now(from, to, viewers)).await.and_then(|read| read).map_err(Arc::new);
            lock(&disk.under_way).retain(|(begin, _)| *begin != from);
            read
        };
        let read = read.boxed().shared();
        under_way.push((from, read.clone()));
        read
    }

    fn read_now(&self, from: Seq, to: Seq, viewers: usize) -> io::Result<Option<Seq>> {
        let stands_there = {
            let mut readers = lock(&self.readers);
            readers.iter().position(|reader| reader.next() == from).and_then(|at| readers.remove(at))
        };
        let mut reader = match stands_there {
            Some(reader) => reader,
            None => Backlog::open(&self.dir, &self.presentation, from)?,
        };
        let lines = reader.read(to, PIECE_LINES)?;
        let mut readers = lock(&self.readers);
        readers.push_back(reader);
        if readers.len() > READERS_MAX {
            readers.pop_front();
        }
        drop(readers);
        let first = lines.first().map(Line::since);
        if first.is_some() {
            let mut pieces = lock(&self.pieces);
            pieces.push_back(Kept::new(Block::new(lines)));
            let is_too_much = |pieces: usize| pieces > viewers || KEPT_BYTES.load(Ordering::Relaxed) > KEPT_BYTES_MAX;
            while pieces.len() > PIECES_MIN && is_too_much(pieces.len()) {
                pieces.pop_front();
            }
        }
        Ok(first)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
