//! A console's record as it lies on the node's disk, read without the program.

use std::path::Path;

use spool::{Event, Frames, LineKind, LineSplitter, Tail};

/// Everything the game printed that is kept, oldest first. While it prints, the last frame may not be whole.
///
/// # Panics
/// When the record cannot be read, or is damaged.
#[allow(clippy::expect_used)]
pub fn output(node: &Path, server: &str, may_grow: bool) -> Vec<String> {
    let mut lines = Vec::new();
    each(node, server, may_grow, |line| {
        if line.kind == LineKind::Output {
            lines.push(String::from_utf8_lossy(line.bytes).trim_end().to_owned());
        }
    });
    lines
}

/// The same for any line there is, whoever it is from.
///
/// # Panics
/// When the record cannot be read, or is damaged.
#[allow(clippy::expect_used)]
pub fn each(node: &Path, server: &str, may_grow: bool, mut on_line: impl FnMut(spool::Line<'_>)) {
    let dir = node.join("servers").join(server).join("log");
    let mut splitter = LineSplitter::default();
    for name in spool::segment::list(&dir).expect("the log's folder") {
        let bytes = std::fs::read(dir.join(name.file_name())).expect("a segment");
        let mut on = |event: Event<'_>| {
            if let Event::Line(line) = event {
                on_line(line);
            }
        };
        splitter.begin_segment(name.base_line, &mut on);
        let mut frames = Frames::new(&bytes[spool::format::SEGMENT_HEADER_BYTES..], name.base_line);
        for frame in frames.by_ref() {
            splitter.feed(&frame, &mut on);
        }
        assert!(may_grow || frames.tail() == Tail::Clean, "{}", name.file_name());
    }
}

/// The numbers of the `line <n>` lines among them.
pub fn numbers<T: AsRef<str>>(lines: &[T]) -> Vec<u64> {
    let number = |line: &str| line.strip_prefix("line ")?.split(' ').next()?.parse().ok();
    lines.iter().filter_map(|line| number(line.as_ref())).collect()
}
