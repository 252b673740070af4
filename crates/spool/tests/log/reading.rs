//! Reading a whole log back, as the daemon does, checking on the way that everything fits together.

use std::fs;
use std::path::Path;

use spool::format::SEGMENT_HEADER_BYTES;
use spool::{Event, Frames, GapPayload, LineKind, LineSplitter, SegmentHeader, SegmentName, segment};

/// One entry of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Line(u64, Who, Vec<u8>),
    Started,
    Exited(i32),
    Gap(u64, GapPayload),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Game,
    Person(String, u64),
    Node,
}

pub(crate) fn owned(event: Event<'_>) -> Said {
    match event {
        Event::Line(line) => {
            let who = match line.kind {
                LineKind::Output => Who::Game,
                LineKind::Input { user, request_id } => Who::Person(user.to_owned(), request_id),
                LineKind::Note => Who::Node,
            };
            Said::Line(line.seq, who, line.bytes.to_vec())
        }
        Event::Started { .. } => Said::Started,
        Event::Exited { exit, .. } => Said::Exited(exit.status),
        Event::Gap { first_line, gap, .. } => Said::Gap(first_line, gap),
        Event::Unreadable { kind, .. } => panic!("unreadable {kind:?}"),
    }
}

/// What a log says, and where it ends.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) said: Vec<Said>,
    pub(crate) unfinished: Vec<u8>,
    pub(crate) pos: u64,
    pub(crate) next_line: u64,
    pub(crate) names: Vec<SegmentName>,
}

/// Reads from the segment with this index on.
pub(crate) fn read_from(dir: &Path, first: usize) -> Log {
    let names = segment::list(dir).unwrap();
    let mut said = Vec::new();
    let mut splitter = LineSplitter::new(names[first].base_line);
    let mut pos = names[first].base_pos;
    for name in &names[first..] {
        let bytes = fs::read(dir.join(name.file_name())).unwrap();
        if let Some(header) = SegmentHeader::decode(&bytes) {
            assert_eq!((header.base_pos, header.base_line), (name.base_pos, name.base_line));
        }
        splitter.begin_segment(name.base_line, &mut |event| said.push(owned(event)));
        assert_eq!(pos, name.base_pos, "positions go on");
        let mut frames = Frames::new(bytes.get(SEGMENT_HEADER_BYTES..).unwrap_or_default(), name.base_line);
        for frame in frames.by_ref() {
            assert_eq!(frame.line, splitter.next_line(), "the writer counts as the reader does");
            splitter.feed(&frame, &mut |event| said.push(owned(event)));
        }
        pos += frames.consumed() as u64;
    }
    let unfinished = splitter.unfinished().map(|line| line.bytes.to_vec()).unwrap_or_default();
    Log { said, unfinished, pos, next_line: splitter.next_line(), names }
}

pub(crate) fn read(dir: &Path) -> Log {
    read_from(dir, 0)
}

impl Log {
    /// Numbers of all lines and gaps, in order.
    pub(crate) fn is_without_holes(&self) -> bool {
        let mut next = None;
        self.said.iter().all(|said| match said {
            Said::Line(seq, ..) => next.replace(seq + 1).is_none_or(|expected| expected == *seq),
            Said::Gap(first, gap) => next.replace(first + gap.lines).is_none_or(|expected| expected == *first),
            Said::Started | Said::Exited(_) => true,
        })
    }

    pub(crate) fn game_lines(&self) -> Vec<String> {
        let lines = self.said.iter().filter_map(|said| match said {
            Said::Line(_, Who::Game, bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        });
        lines.collect()
    }

    pub(crate) fn gaps(&self) -> Vec<(u64, GapPayload)> {
        let gaps =
            self.said.iter().filter_map(|said| if let Said::Gap(at, gap) = said { Some((*at, *gap)) } else { None });
        gaps.collect()
    }
}
