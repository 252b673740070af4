//! The newest lines and state changes of one server, shared by all its viewers.
//!
//! A viewer is a cursor: it waits until the head has passed it (a value, not an edge) and reads. Nothing here is per viewer, so
//! a viewer that reads slowly costs nothing and slows nobody. What has left the ring is still on disk: see `console`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::watch;
use wire::console::Event;
use wire::ids::Seq;
use wire::server::State;

use crate::console::{Block, Lines};
use crate::line::Line;

/// Lines kept in memory; older ones are read from disk.
const RING_LINES_MAX: usize = 1000;
/// Bytes of lines kept in memory, whatever their number.
const RING_BYTES_MAX: usize = 1024 * 1024;
/// Blocks looked through for lines that somebody else has read already.
const BLOCKS_MAX: usize = 8;
/// Changes kept; a viewer further behind is told the newest state only, and how much was left out.
const CHANGES_MAX: usize = 256;

/// Something that is told once to everybody, beside lines and samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The state is another one.
    State(State),
    /// Something happens to the server that is not its game's doing.
    Event(Event),
}

struct Changes {
    /// The newest state.
    state: State,
    list: VecDeque<Change>,
}

/// What a read from the ring gives.
pub(crate) enum Read {
    /// Lines in order, one at least.
    Lines(Lines),
    /// There are none yet.
    AtHead,
    /// The cursor is below the ring, which begins at this number.
    Below(Seq),
}

#[derive(Default)]
struct Ring {
    lines: VecDeque<Line>,
    bytes: usize,
    /// What was read last, for those who come to it next. Of the others, what somebody still holds.
    newest: Option<Arc<Block>>,
    blocks: VecDeque<Weak<Block>>,
}

impl Ring {
    /// The lines from a number on, as somebody else got them, or in a block that is new.
    fn block(&mut self, from: Seq, bytes_max: usize) -> Arc<Block> {
        if let Some(block) = self.blocks.iter().filter_map(Weak::upgrade).find(|block| block.holds(from)) {
            return block;
        }
        let skip = self.lines.partition_point(|line| line.seq() < from);
        let mut bytes = 0;
        let fits = |line: &&Line| {
            let is_first = bytes == 0;
            bytes += line.frame_bytes();
            is_first || bytes <= bytes_max
        };
        let block = Block::new(self.lines.iter().skip(skip).take_while(fits).cloned().collect());
        self.blocks.retain(|block| block.strong_count() > 0);
        self.blocks.truncate(BLOCKS_MAX - 1);
        self.blocks.push_front(Arc::downgrade(&block));
        self.newest = Some(block.clone());
        block
    }
}

/// See the module.
pub(crate) struct Hub {
    ring: Mutex<Ring>,
    head: watch::Sender<Seq>,
    changes: Mutex<Changes>,
    changed: watch::Sender<u64>,
}

impl Hub {
    /// A hub whose next line will be `next`.
    pub(crate) fn new(next: Seq, state: State) -> Self {
        Self {
            ring: Mutex::default(),
            head: watch::Sender::new(next),
            changes: Mutex::new(Changes { state, list: VecDeque::from([Change::State(state)]) }),
            changed: watch::Sender::new(1),
        }
    }

    /// The number the next line will get.
    pub(crate) fn next(&self) -> Seq {
        *self.head.borrow()
    }

    /// Follows the head.
    pub(crate) fn head(&self) -> watch::Receiver<Seq> {
        self.head.subscribe()
    }

    /// Appends lines and moves the head to `next`, which is at least the number after the last of them. Lines that were lost
    /// have numbers but are not in the ring: cursors find that out by reading the log.
    pub(crate) fn push(&self, lines: Vec<Line>, next: Seq) {
        {
            let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
            for line in lines {
                // The ring holds consecutive numbers; after a jump only what follows is in memory.
                if ring.lines.back().is_some_and(|last| last.seq().next() != line.since()) {
                    ring.lines.clear();
                    ring.bytes = 0;
                }
                ring.bytes += line.kept_bytes();
                ring.lines.push_back(line);
                while ring.lines.len() > RING_LINES_MAX || (ring.bytes > RING_BYTES_MAX && ring.lines.len() > 1) {
                    let dropped = ring.lines.pop_front().map_or(0, |old| old.kept_bytes());
                    ring.bytes -= dropped;
                }
            }
            if ring.lines.back().is_some_and(|last| last.seq().next() != next) {
                ring.lines.clear();
                ring.bytes = 0;
            }
        }
        self.head.send_if_modified(|head| {
            let moved = next > *head;
            *head = (*head).max(next);
            moved
        });
    }

    /// Reads from a number on lines with about so many bytes of frames at most, but one at least.
    pub(crate) fn read(&self, from: Seq, bytes_max: usize) -> Read {
        let head = self.next();
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        if from >= head && ring.lines.back().is_none_or(|last| last.seq() < from) {
            return Read::AtHead;
        }
        let Some(first) = ring.lines.front().map(Line::since) else { return Read::Below(head) };
        if from < first {
            return Read::Below(first);
        }
        Read::Lines(Lines::of(&ring.block(from, bytes_max), from, bytes_max))
    }

    /// Holds no lines ready that nobody else holds.
    pub(crate) fn rest(&self) {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner).newest = None;
    }

    /// Records a change of the state for everybody.
    pub(crate) fn set_state(&self, state: State) {
        self.change(Change::State(state));
    }

    /// Tells everybody of something.
    pub(crate) fn announce(&self, event: Event) {
        self.change(Change::Event(event));
    }

    fn change(&self, change: Change) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Change::State(state) = &change {
            changes.state = *state;
        }
        changes.list.push_back(change);
        if changes.list.len() > CHANGES_MAX {
            changes.list.pop_front();
        }
        self.changed.send_modify(|count| *count += 1);
    }

    /// Follows the number of changes.
    pub(crate) fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// How many changes there were.
    pub(crate) fn changes(&self) -> u64 {
        *self.changed.borrow()
    }

    /// The changes after the `seen`-th, oldest first, and their count.
    pub(crate) fn changes_since(&self, seen: u64) -> (Vec<Change>, u64) {
        let changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let count = *self.changed.borrow();
        let new = usize::try_from(count.saturating_sub(seen)).unwrap_or(usize::MAX);
        if new > changes.list.len() {
            // Of states the newest says it all; of what was said, that it is missing.
            let text = format!("({new} messages were left out: this connection takes them too slowly)");
            return (vec![Change::State(changes.state), Change::Event(Event::InstallOutput(text))], count);
        }
        (changes.list.iter().skip(changes.list.len() - new).cloned().collect(), count)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::line::Stamp;

    fn line(number: u64, text: &str) -> Line {
        Line::new(Seq(number), Stamp::output(1), text, &Arc::from(""))
    }

    fn lines(range: std::ops::Range<u64>) -> Vec<Line> {
        range.map(|n| line(n, &format!("line {n}"))).collect()
    }

    fn numbers(read: &Read) -> Option<Vec<u64>> {
        match read {
            Read::Lines(lines) => Some(lines.iter().map(|line| line.seq().0).collect()),
            Read::AtHead => Some(Vec::new()),
            Read::Below(_) => None,
        }
    }

    #[test]
    fn a_cursor_reads_each_line_once_and_waits_at_the_head() {
        let hub = Hub::new(Seq(0), State::Offline);
        hub.push(lines(0..5), Seq(5));
        assert_eq!(numbers(&hub.read(Seq(0), usize::MAX)), Some(vec![0, 1, 2, 3, 4]));
        assert_eq!(numbers(&hub.read(Seq(3), usize::MAX)), Some(vec![3, 4]));
        assert_eq!(numbers(&hub.read(Seq(5), usize::MAX)), Some(vec![]));
    }

    #[test]
    fn what_many_read_is_made_once_and_kept_no_longer_than_somebody_has_it() {
        let hub = Hub::new(Seq(0), State::Offline);
        hub.push(lines(0..500), Seq(500));
        let read = |from| match hub.read(Seq(from), 10_000) {
            Read::Lines(lines) => lines,
            _ => panic!("no lines from {from}"),
        };
        let first = read(0);
        let end = first.end().unwrap().0;
        assert!(end < 500, "one batch has all");
        // Others who are about there get the rest of the same block.
        let second = read(end - 2);
        assert!(Arc::ptr_eq(first.block(), second.block()) && second.len() == 2);
        assert_eq!(
            second.frames(true),
            first.frames(true).split_off(first.frames(true).len() - second.frames(true).len())
        );
        let third = read(end);
        assert!(!Arc::ptr_eq(first.block(), third.block()));
        let gone = Arc::downgrade(first.block());
        drop((first, second));
        assert!(gone.upgrade().is_none());
        assert_eq!(read(0).len(), usize::try_from(end).unwrap());
        let gone = Arc::downgrade(read(0).block());
        assert!(gone.upgrade().is_some(), "the newest is kept for whoever comes next");
        hub.rest();
        assert!(gone.upgrade().is_none());
    }

    #[test]
    fn a_block_of_before_hides_no_line_that_came_since() {
        let hub = Hub::new(Seq(0), State::Offline);
        hub.push(lines(0..3), Seq(3));
        let held = hub.read(Seq(0), usize::MAX);
        hub.push(lines(3..5), Seq(5));
        assert_eq!(numbers(&held), Some(vec![0, 1, 2]));
        let (mut next, mut seen) = (1, Vec::new());
        while let Some(some) = numbers(&hub.read(Seq(next), usize::MAX)).filter(|some| !some.is_empty()) {
            next = some[some.len() - 1] + 1;
            seen.extend(some);
        }
        assert_eq!(seen, vec![1, 2, 3, 4]);
    }

    #[test]
    fn a_batch_is_bounded_in_bytes_but_holds_a_line_of_any_size() {
        let hub = Hub::new(Seq(0), State::Offline);
        let large = "x".repeat(1000);
        hub.push((0..4).map(|n| line(n, &large)).collect(), Seq(4));
        let frame = line(0, &large).frame_bytes();
        assert_eq!(numbers(&hub.read(Seq(0), 2 * frame)), Some(vec![0, 1]));
        assert_eq!(numbers(&hub.read(Seq(2), 2 * frame - 1)), Some(vec![2]));
        assert_eq!(numbers(&hub.read(Seq(3), 1)), Some(vec![3]));
    }

    #[test]
    fn what_left_the_ring_is_below_it() {
        let hub = Hub::new(Seq(0), State::Offline);
        let count = RING_LINES_MAX as u64 + 10;
        hub.push(lines(0..count), Seq(count));
        assert!(matches!(hub.read(Seq(9), usize::MAX), Read::Below(Seq(10))));
        assert_eq!(numbers(&hub.read(Seq(10), 1)), Some(vec![10]));
    }

    #[test]
    fn the_ring_is_bounded_in_bytes_but_keeps_the_newest_line() {
        let hub = Hub::new(Seq(0), State::Offline);
        hub.push(vec![line(0, &"x".repeat(RING_BYTES_MAX)), line(1, "y")], Seq(2));
        assert!(matches!(hub.read(Seq(0), usize::MAX), Read::Below(Seq(1))));
        assert_eq!(numbers(&hub.read(Seq(1), usize::MAX)), Some(vec![1]));
    }

    #[test]
    fn lost_lines_move_the_head_and_send_cursors_to_the_log() {
        let hub = Hub::new(Seq(0), State::Offline);
        hub.push(lines(0..2), Seq(2));
        hub.push(Vec::new(), Seq(7));
        assert!(matches!(hub.read(Seq(2), usize::MAX), Read::Below(Seq(7))));
        hub.push(lines(7..8), Seq(8));
        assert!(matches!(hub.read(Seq(1), usize::MAX), Read::Below(Seq(7))));
        assert_eq!(numbers(&hub.read(Seq(7), usize::MAX)), Some(vec![7]));
    }

    #[test]
    fn a_line_that_stands_for_lost_ones_is_a_line_like_others() {
        let hub = Hub::new(Seq(0), State::Offline);
        hub.push(vec![line(0, "a"), Line::missing(Seq(1), Seq(5), "lost", "", &Arc::from("")), line(6, "b")], Seq(7));
        for (from, expected) in [(0, vec![0, 5, 6]), (1, vec![5, 6]), (3, vec![5, 6]), (6, vec![6]), (7, vec![])] {
            assert_eq!(numbers(&hub.read(Seq(from), usize::MAX)), Some(expected), "from {from}");
        }
    }

    #[test]
    fn every_state_change_reaches_a_viewer_that_keeps_up() {
        let hub = Hub::new(Seq(0), State::Offline);
        let (_, seen) = hub.changes_since(0);
        hub.set_state(State::Starting);
        hub.set_state(State::Running);
        assert_eq!(hub.changes_since(seen).0, [State::Starting, State::Running].map(Change::State));
        for _ in 0..=CHANGES_MAX {
            hub.set_state(State::Stopping);
        }
        hub.set_state(State::Offline);
        let (told, _) = hub.changes_since(seen);
        assert_eq!(told.first(), Some(&Change::State(State::Offline)));
        assert!(
            matches!(told.get(1), Some(Change::Event(Event::InstallOutput(text))) if text.contains("were left out"))
        );
        assert_eq!(told.len(), 2);
    }
}
