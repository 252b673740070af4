//! Lines as they are handed to viewers: a stretch of a block, whose frames are made once for all who get them, in one piece.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use wire::ids::Seq;

use crate::line::Line;

/// What a line takes beside its text and its frame.
const LINE_BYTES: usize = 160;

/// Lines without a hole, and their frames in both protocols as far as somebody wanted them.
#[derive(Debug)]
pub(crate) struct Block {
    lines: Vec<Line>,
    /// Whether many viewers get this very block. Else its lines are in other blocks as well, and keep their frames themselves.
    is_shared: bool,
    plain: OnceLock<Frames>,
    numbered: OnceLock<Frames>,
}

#[derive(Debug)]
struct Frames {
    bytes: Bytes,
    /// Where each line's frame ends. A line that is not shown has none, and ends where it begins.
    ends: Vec<usize>,
}

impl Block {
    /// For many viewers.
    pub(crate) fn shared(lines: Vec<Line>) -> Arc<Self> {
        Arc::new(Self::new(lines, true))
    }

    fn new(lines: Vec<Line>, is_shared: bool) -> Self {
        Self { lines, is_shared, plain: OnceLock::new(), numbered: OnceLock::new() }
    }

    /// Whether it has this line.
    pub(crate) fn holds(&self, seq: Seq) -> bool {
        self.lines.first().is_some_and(|first| first.since() <= seq)
            && self.lines.last().is_some_and(|last| last.seq() >= seq)
    }

    /// About what it takes in memory.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.lines.iter().map(|line| LINE_BYTES + line.said().len() + line.frame_bytes()).sum()
    }

    fn frames(&self, is_numbered: bool) -> &Frames {
        let frames = if is_numbered { &self.numbered } else { &self.plain };
        frames.get_or_init(|| {
            let mut bytes = Vec::with_capacity(self.lines.iter().map(Line::frame_bytes).sum());
            let mut ends = Vec::with_capacity(self.lines.len());
            for line in &self.lines {
                match (is_numbered, self.is_shared) {
                    (true, true) => line.push_numbered(&mut bytes),
                    (true, false) => bytes.extend_from_slice(&line.numbered()),
                    (false, _) if !line.is_shown() => {}
                    (false, true) => line.push_frame(&mut bytes),
                    (false, false) => bytes.extend_from_slice(&line.frame()),
                }
                ends.push(bytes.len());
            }
            Frames { bytes: bytes.into(), ends }
        })
    }
}

/// See the module. Clones are the same lines.
#[derive(Clone, Debug)]
pub(crate) struct Lines {
    block: Arc<Block>,
    from: usize,
    to: usize,
}

impl Lines {
    /// All of these, for one viewer, or for those who are told in one go.
    pub(crate) fn new(lines: Vec<Line>) -> Self {
        Self { from: 0, to: lines.len(), block: Arc::new(Block::new(lines, false)) }
    }

    /// Those of a block from a number on, as many as `fitting` says.
    pub(crate) fn of(block: &Arc<Block>, from: Seq, fitting: impl FnOnce(&[Line]) -> usize) -> Self {
        let from = block.lines.partition_point(|line| line.seq() < from);
        let rest = block.lines.get(from..).unwrap_or_default();
        Self { block: block.clone(), from, to: from + fitting(rest).min(rest.len()) }
    }

    /// The number behind the last of them, if there is any.
    pub(crate) fn end(&self) -> Option<Seq> {
        self.last().map(|last| last.seq().next())
    }

    /// Their frames, whole, in one piece. Empty if none of them is shown.
    pub(crate) fn frames(&self, is_numbered: bool) -> Bytes {
        let frames = self.block.frames(is_numbered);
        let end = |lines: usize| lines.checked_sub(1).and_then(|last| frames.ends.get(last)).copied().unwrap_or(0);
        frames.bytes.slice(end(self.from)..end(self.to))
    }
}

impl Deref for Lines {
    type Target = [Line];

    fn deref(&self) -> &[Line] {
        self.block.lines.get(self.from..self.to).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::Stamp;

    #[test]
    fn any_stretch_has_the_frames_of_its_lines() {
        let app: Arc<str> = Arc::from("Test");
        let lines: Vec<Line> = (0..6)
            .map(|seq| match seq {
                2 | 3 => Line::hidden(Seq(seq), Stamp::output(1), "hidden", &app),
                _ => Line::new(Seq(seq), Stamp::output(1), &format!("line {seq}"), &app),
            })
            .collect();
        for block in [Block::shared(lines.clone()), Arc::new(Block::new(lines.clone(), false))] {
            for from in 0..6 {
                for count in 0..=6 - from {
                    let some = Lines::of(&block, Seq(from as u64), |_| count);
                    let expected = &lines[from..from + count];
                    assert_eq!(some.len(), count);
                    let shown =
                        expected.iter().filter(|line| line.is_shown()).map(Line::frame).collect::<Vec<_>>().concat();
                    assert_eq!(some.frames(false), shown, "{from} {count}");
                    let all = expected.iter().map(Line::numbered).collect::<Vec<_>>().concat();
                    assert_eq!(some.frames(true), all, "{from} {count}");
                }
            }
        }
    }
}
