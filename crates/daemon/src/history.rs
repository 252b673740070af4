//! What was kept of a server's console, for those who ask for it as a whole: lines by number, a run, and in [`mod@search`] a text.
//! Blocking, as `log`, whose readers it uses; each answer is bounded, and says where to go on.

use std::io;
use std::path::Path;

use spool::{Event, SegmentName};
use wire::history::{ConsoleGap, ConsoleLine, ConsoleLines};
use wire::ids::Seq;

use crate::line::Line;
use crate::log::{self, Backlog, Presentation};

mod search;

pub(crate) use search::{Query, search};

/// Answers that are read from logs at a time, on the whole node: each takes a core, and up to two segments of memory.
pub(crate) const READERS_AT_ONCE: usize = 2;
/// Bytes of one answer of lines, spelled as JSON; a single line may be larger.
const LINES_BYTES_MAX: usize = 8 * 1024 * 1024;
/// What is around the text of a line: its number, time, kind and user.
const LINE_OVERHEAD_BYTES: usize = 128;
/// Lines read at once.
const READ_LINES: usize = 256;

/// Which lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Range {
    /// Behind this one.
    After(u64),
    /// In front of this one.
    Before(u64),
    /// The newest.
    Newest,
}

/// At most `limit` lines of those `within`, which end at the latest with the number that the next line gets.
pub(crate) fn lines(
    dir: &Path,
    presentation: &Presentation,
    within: std::ops::Range<u64>,
    range: Range,
    limit: u64,
) -> io::Result<ConsoleLines> {
    let (start, end) = (within.start.min(within.end), within.end);
    let (from, to) = match range {
        Range::After(seq) => {
            let from = seq.saturating_add(1).clamp(start, end);
            (from, from.saturating_add(limit).min(end))
        }
        Range::Before(seq) => {
            let to = seq.clamp(start, end);
            (to.saturating_sub(limit).max(start), to)
        }
        Range::Newest => (end.saturating_sub(limit).max(start), end),
    };
    let oldest = log::oldest(dir)?.map_or(end, |oldest| oldest.0);
    let mut read = ConsoleLines { oldest, next: end, ..ConsoleLines::default() };
    let mut backlog = Backlog::open(dir, presentation, Seq(from))?;
    let mut expected = from;
    let mut bytes = 0;
    while expected < to {
        let found = backlog.read(Seq(to), READ_LINES)?;
        let since = found.first().map_or(to, |line| line.since().0.max(from));
        if since > expected {
            let reason = "no longer kept".to_owned();
            read.gaps.push(ConsoleGap { from: expected, to: since, reason });
            expected = since;
        }
        for line in &found {
            bytes += json_bytes(line.said()) + LINE_OVERHEAD_BYTES;
            if bytes > LINES_BYTES_MAX && !read.lines.is_empty() {
                return Ok(read);
            }
            expected = line.seq().0.saturating_add(1);
            add(&mut read, line, from, to);
        }
    }
    Ok(read)
}

/// How long a text is when it is spelled as JSON: a control character takes six bytes there.
fn json_bytes(text: &str) -> usize {
    let extra = |byte: u8| match byte {
        b'"' | b'\\' => 1,
        0..=0x1f => 5,
        _ => 0,
    };
    text.len() + text.bytes().map(extra).sum::<usize>()
}

/// Adds a line, or the part of a gap that lies between `from` and `to`.
pub(crate) fn add(read: &mut ConsoleLines, line: &Line, from: u64, to: u64) {
    match line.stamp() {
        Some(stamp) => read.lines.push(ConsoleLine {
            seq: line.seq().0,
            at: stamp.at_ms,
            kind: stamp.kind,
            text: line.said().to_owned(),
            user: stamp.user.as_deref().map(str::to_owned),
        }),
        None => read.gaps.push(ConsoleGap {
            from: line.since().0.max(from),
            to: line.seq().0.saturating_add(1).min(to),
            reason: line.said().to_owned(),
        }),
    }
}

/// What the log says of one run; nothing of what is no longer kept in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// When it began; Unix milliseconds.
    pub(crate) started_ms: Option<u64>,
    /// Its first line.
    pub(crate) first_line: Option<u64>,
    /// When it ended; Unix milliseconds.
    pub(crate) ended_ms: Option<u64>,
    /// The number behind its last line.
    pub(crate) end_line: Option<u64>,
}

/// Where a run begins and ends. Reads the first and the last of its segments.
pub(crate) fn bounds(dir: &Path, run_id: [u8; 16]) -> io::Result<Bounds> {
    let segments = log::segments(dir)?;
    // Every run begins a segment, which says whose it is.
    let is_its = |name: &SegmentName| matches!(log::header(dir, name), Ok(Some(header)) if header.run_id == run_id);
    let its: Vec<usize> = (0..segments.len()).filter(|&index| segments.get(index).is_some_and(is_its)).collect();
    let mut found = Bounds::default();
    let ends = [its.first(), its.last().filter(|_| its.len() > 1)];
    for (index, name) in ends.into_iter().flatten().filter_map(|&index| Some((index, segments.get(index)?))) {
        log::read_segment(dir, name, segments.get(index + 1), |event, next_line| match event {
            Event::Started { start, time_ms } if start.run_id == run_id => {
                found.started_ms = Some(if start.started_ms > 0 { start.started_ms } else { time_ms });
                found.first_line = Some(next_line);
            }
            Event::Exited { time_ms, .. } => {
                found.ended_ms = Some(time_ms);
                found.end_line = Some(next_line);
            }
            _ => {}
        })?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use spool::{InPayload, Limits, Writer};
    use tokio_util::sync::CancellationToken;
    use wire::history::LineKind;

    use super::*;

    const LIMITS: Limits = Limits { segment_bytes: 4096, retain_bytes: 64 * 1024 };

    fn presentation() -> Presentation {
        Presentation { app_name: Arc::from("Test"), echo_commands: true }
    }

    fn log(count: u64) -> (tempfile::TempDir, Seq) {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(dir.path(), LIMITS, [1; 16], 1).unwrap();
        for n in 0..count {
            let _ = writer.append_out(format!("\u{1b}[32mline\u{1b}[0m {n} Größe\n").as_bytes(), 1000 + n);
        }
        let head = Seq(writer.position().1);
        (dir, head)
    }

    fn seqs(read: &ConsoleLines) -> Vec<u64> {
        read.lines.iter().map(|line| line.seq).collect()
    }

    #[test]
    fn lines_are_read_from_either_side() {
        let (dir, head) = log(1000);
        let read = |range, limit| lines(dir.path(), &presentation(), 0..head.0, range, limit).unwrap();
        assert_eq!(seqs(&read(Range::Newest, 3)), [997, 998, 999]);
        assert_eq!(seqs(&read(Range::After(4), 3)), [5, 6, 7]);
        assert_eq!(seqs(&read(Range::Before(5), 3)), [2, 3, 4]);
        assert_eq!(seqs(&read(Range::Before(2), 3)), [0, 1]);
        assert_eq!(seqs(&read(Range::After(998), 9)), [999]);
        assert!(read(Range::After(u64::MAX), 9).lines.is_empty());
        assert!(read(Range::Before(0), 9).lines.is_empty());
        assert_eq!(seqs(&read(Range::After(299), 500)), (300..800).collect::<Vec<_>>());
        let within = |range, limit| seqs(&lines(dir.path(), &presentation(), 10..20, range, limit).unwrap());
        assert_eq!(within(Range::Newest, 3), [17, 18, 19]);
        assert_eq!(within(Range::Newest, 99), (10..20).collect::<Vec<_>>());
        assert_eq!((within(Range::After(2), 2), within(Range::After(18), 2)), (vec![10, 11], vec![19]));
        assert_eq!((within(Range::Before(900), 1), within(Range::Before(11), 5)), (vec![19], vec![10]));
        assert!(within(Range::After(30), 5).is_empty() && within(Range::Before(3), 5).is_empty());
        let first = &read(Range::After(4), 1).lines[0];
        assert_eq!((first.at, first.kind), (1005, LineKind::Output));
        assert_eq!(first.text, "\u{1b}[32mline\u{1b}[0m 5 Größe");
    }

    #[test]
    fn an_answer_stays_small_however_its_text_is_spelled() {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits { segment_bytes: 4 * 1024 * 1024, retain_bytes: 64 * 1024 * 1024 };
        let mut writer = Writer::open(dir.path(), limits, [1; 16], 1).unwrap();
        let line = format!("{}\n", "\u{1}".repeat(60_000));
        for n in 0..60 {
            let _ = writer.append_out(line.as_bytes(), n);
        }
        let read = lines(dir.path(), &presentation(), 0..60, Range::After(0), 5000).unwrap();
        let spelled = serde_json::to_string(&read).unwrap().len();
        assert!(!read.lines.is_empty() && read.lines.len() < 59);
        assert!(spelled <= LINES_BYTES_MAX + 1024, "{spelled}");
    }

    #[test]
    fn lines_that_are_gone_are_a_gap() {
        let (dir, head) = log(20_000);
        let read = lines(dir.path(), &presentation(), 0..head.0, Range::After(9), 20_000).unwrap();
        let oldest = read.oldest;
        assert!(oldest > 10);
        assert_eq!(read.gaps, [ConsoleGap { from: 10, to: oldest, reason: "no longer kept".to_owned() }]);
        assert_eq!(seqs(&read), (oldest..20_000).collect::<Vec<_>>());
        let none = lines(dir.path(), &presentation(), 0..head.0, Range::Before(20), 10).unwrap();
        assert_eq!(none.gaps, [ConsoleGap { from: 10, to: 20, reason: "no longer kept".to_owned() }]);
    }

    #[test]
    fn a_command_is_told_as_it_was_typed() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(dir.path(), LIMITS, [1; 16], 1).unwrap();
        let _ = writer.append_in(&InPayload { request_id: 7, user: "somebody", bytes: b"list" }, 5);
        let read = lines(dir.path(), &presentation(), 0..1, Range::Newest, 9).unwrap();
        let line = &read.lines[0];
        assert_eq!((line.kind, line.text.as_str(), line.user.as_deref()), (LineKind::Input, "list", Some("somebody")));
    }

    #[test]
    fn a_run_is_told_with_its_bounds() {
        let dir = tempfile::tempdir().unwrap();
        let start = |id: u8| spool::StartPayload { run_id: [id; 16], started_ms: u64::from(id), ..Default::default() };
        let mut writer = Writer::open(dir.path(), LIMITS, [1; 16], 1).unwrap();
        let _ = writer.append_start(&start(1), 1);
        let _ = writer.append_out(b"one\ntwo\n", 2);
        let exit = spool::ExitPayload { status: 3 << 8, ..Default::default() };
        let _ = writer.append_exit(&exit, 3);
        let _ = writer.append_note(b"it crashed", 4);
        drop(writer);
        let mut writer = Writer::open(dir.path(), LIMITS, [2; 16], 4).unwrap();
        let _ = writer.append_start(&start(2), 4);
        let _ = writer.append_out(b"four\n", 5);
        let told = |id: u8| {
            let Bounds { started_ms, first_line, ended_ms, end_line } = bounds(dir.path(), [id; 16]).unwrap();
            (started_ms, first_line, ended_ms, end_line)
        };
        assert_eq!(told(1), (Some(1), Some(0), Some(3), Some(2)));
        assert_eq!(told(2), (Some(2), Some(3), None, None));
        // Of what retention has taken away nothing is told, and of the rest what there is.
        for n in 0..10_000 {
            let _ = writer.append_out(format!("line {n}\n").as_bytes(), 6);
        }
        let _ = writer.append_exit(&exit, 7);
        assert_eq!(told(2), (None, None, Some(7), Some(10_004)));
        assert_eq!(told(1), (None, None, None, None));
        assert_eq!(bounds(&dir.path().join("none"), [1; 16]).unwrap(), Bounds::default());
    }

    #[test]
    fn a_server_that_never_ran_has_no_history() {
        let dir = tempfile::tempdir().unwrap();
        let nothing = dir.path().join("none");
        assert_eq!(lines(&nothing, &presentation(), 0..0, Range::Newest, 9).unwrap(), ConsoleLines::default());
        let query = Query::new("x", false, 9).unwrap();
        assert!(search(&nothing, &query, Seq(0), &CancellationToken::new()).unwrap().complete);
    }
}
