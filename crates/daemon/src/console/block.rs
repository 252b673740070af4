//! Lines as they are handed to viewers: a stretch of a block, whose frames are made once for all who get them, in one piece.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use wire::ids::Seq;

use crate::line::Line;

/// Lines without a hole, and their frames in both protocols as far as somebody wanted them.
#[derive(Debug)]
pub(crate) struct Block {
    lines: Vec<Line>,
    /// Of each line; side by side, since everybody who reads searches them.
    marks: Box<[Mark]>,
    plain: OnceLock<Frames>,
    numbered: OnceLock<Frames>,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    /// The line's number.
    seq: Seq,
    /// About where its frame ends, in either protocol.
    end: usize,
}

#[derive(Debug)]
struct Frames {
    bytes: Bytes,
    /// Where each line's frame ends. A line that is not shown has none, and ends where it begins.
    ends: Vec<usize>,
}

impl Block {
    pub(crate) fn new(lines: Vec<Line>) -> Arc<Self> {
        let marks = lines.iter().scan(0, |end, line| {
            *end += line.frame_bytes();
            Some(Mark { seq: line.seq(), end: *end })
        });
        Arc::new(Self { marks: marks.collect(), lines, plain: OnceLock::new(), numbered: OnceLock::new() })
    }

    /// Whether it has this line.
    pub(crate) fn holds(&self, seq: Seq) -> bool {
        self.lines.first().is_some_and(|first| first.since() <= seq)
            && self.marks.last().is_some_and(|last| last.seq >= seq)
    }

    /// About what it takes in memory.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.lines.iter().map(Line::kept_bytes).sum::<usize>() + self.frame_bytes(self.lines.len())
    }

    /// About how long the frames of so many lines are.
    fn frame_bytes(&self, lines: usize) -> usize {
        lines.checked_sub(1).and_then(|last| self.marks.get(last)).map_or(0, |mark| mark.end)
    }

    fn frames(&self, is_numbered: bool) -> &Frames {
        let frames = if is_numbered { &self.numbered } else { &self.plain };
        frames.get_or_init(|| {
            let mut bytes = Vec::with_capacity(self.frame_bytes(self.lines.len()));
            let mut ends = Vec::with_capacity(self.lines.len());
            for line in &self.lines {
                if is_numbered {
                    line.push_numbered(&mut bytes);
                } else if line.is_shown() {
                    line.push_frame(&mut bytes);
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
    /// All of these, for one viewer.
    pub(crate) fn new(lines: Vec<Line>) -> Self {
        Self { from: 0, to: lines.len(), block: Block::new(lines) }
    }

    /// Those of a block from a number on, with about so many bytes of frames at most, but one line at least.
    pub(crate) fn of(block: &Arc<Block>, from: Seq, bytes_max: usize) -> Self {
        let from = block.marks.partition_point(|mark| mark.seq < from);
        let end_max = block.frame_bytes(from).saturating_add(bytes_max);
        let to = block.marks.partition_point(|mark| mark.end <= end_max);
        Self { block: block.clone(), from, to: to.max(from + 1).min(block.lines.len()) }
    }

    /// Those of them below a number.
    pub(crate) fn below(self, end: Seq) -> Self {
        let to = self.block.marks.partition_point(|mark| mark.seq < end).clamp(self.from, self.to);
        Self { to, ..self }
    }

    /// Where they are from.
    pub(crate) fn block(&self) -> &Arc<Block> {
        &self.block
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

    fn frames(lines: &[Line], is_numbered: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        for line in lines {
            if is_numbered {
                line.push_numbered(&mut bytes);
            } else if line.is_shown() {
                line.push_frame(&mut bytes);
            }
        }
        bytes
    }

    #[test]
    fn any_stretch_has_the_frames_of_its_lines() {
        let app: Arc<str> = Arc::from("Test");
        let lines: Vec<Line> = (0..6)
            .map(|seq| match seq {
                2 | 3 => Line::hidden(Seq(seq), Stamp::output(1), "hidden", &app),
                _ => Line::new(Seq(seq), Stamp::output(1), &format!("line {seq}"), &app),
            })
            .collect();
        let block = Block::new(lines.clone());
        for from in 0..6 {
            for to in from..=6 {
                let some = Lines::of(&block, Seq(from as u64), usize::MAX).below(Seq(to as u64));
                let expected = &lines[from..to];
                assert_eq!(some.len(), to - from);
                for is_numbered in [false, true] {
                    assert_eq!(some.frames(is_numbered), frames(expected, is_numbered), "{from} {to} {is_numbered}");
                }
            }
        }
    }

    #[test]
    fn a_stretch_has_as_many_lines_as_fit_but_one_at_least() {
        let app: Arc<str> = Arc::from("Test");
        let lines: Vec<Line> =
            (10..20).map(|seq| Line::new(Seq(seq), Stamp::output(1), &"x".repeat(100), &app)).collect();
        let each = lines[0].frame_bytes();
        let block = Block::new(lines);
        for from in 10..20 {
            for bytes_max in [0, 1, each - 1, each, each + 1, 3 * each, 100 * each] {
                let some = Lines::of(&block, Seq(from), bytes_max);
                let left = usize::try_from(20 - from).unwrap_or(0);
                assert_eq!(some.first().map(Line::seq), Some(Seq(from)));
                assert_eq!(some.len(), (bytes_max / each).clamp(1, left), "{from} {bytes_max}");
            }
        }
    }
}
