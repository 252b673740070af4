//! What was kept of a server's console, for those who ask for it as a whole: lines by number, a search, the runs. Blocking, as
//! `log`, whose readers it uses; each answer is bounded, and says where to go on.

use std::io;
use std::path::Path;

use engine::power::{Exit, ExitKind};
use regex::{Regex, RegexBuilder};
use spool::{Event, ExitPayload};
use tokio_util::sync::CancellationToken;
use wire::history::{ConsoleGap, ConsoleLine, ConsoleLines, ConsoleMatch, ConsoleMatches, Run};
use wire::ids::Seq;

use crate::line::Line;
use crate::log::{self, Backlog, Presentation};

/// Bytes of log that one search reads; it says where it stopped.
const SEARCH_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Answers that are read from logs at a time, on the whole node: each takes a core, and up to two segments of memory.
pub(crate) const READERS_AT_ONCE: usize = 2;
/// Bytes of one answer of lines, spelled as JSON; a single line may be larger.
const LINES_BYTES_MAX: usize = 8 * 1024 * 1024;
/// What is around the text of a line: its number, time, kind and user.
const LINE_OVERHEAD_BYTES: usize = 128;
/// Lines read at once.
const READ_LINES: usize = 256;
/// Runs in one answer, the newest.
const RUNS_MAX: usize = 1000;

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

/// At most `limit` lines below `head`, which is the number the next one gets.
pub(crate) fn lines(
    dir: &Path,
    presentation: &Presentation,
    head: Seq,
    range: Range,
    limit: u64,
) -> io::Result<ConsoleLines> {
    let (from, to) = match range {
        Range::After(seq) => {
            let from = seq.saturating_add(1).min(head.0);
            (from, from.saturating_add(limit).min(head.0))
        }
        Range::Before(seq) => {
            let to = seq.min(head.0);
            (to.saturating_sub(limit), to)
        }
        Range::Newest => (head.0.saturating_sub(limit), head.0),
    };
    let oldest = log::oldest(dir)?.unwrap_or(head);
    let mut read = ConsoleLines { oldest: oldest.0, next: head.0, ..ConsoleLines::default() };
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

/// An error if nobody wants the answer any more.
fn still_wanted(unwanted: &CancellationToken) -> io::Result<()> {
    if unwanted.is_cancelled() { Err(io::Error::other("nobody waits for it any more")) } else { Ok(()) }
}

fn add(read: &mut ConsoleLines, line: &Line, from: u64, to: u64) {
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

/// What to look for.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    pattern: Regex,
    limit: usize,
}

impl Query {
    /// Finds a text anywhere in a line. None if it is too long to look for.
    pub(crate) fn new(text: &str, is_case_told_apart: bool, limit: usize) -> Option<Self> {
        let pattern = RegexBuilder::new(&regex::escape(text)).case_insensitive(!is_case_told_apart).build().ok()?;
        Some(Self { pattern, limit })
    }
}

/// The newest matches below `before`. A segment is read as a whole, so there may be more lines searched than told.
pub(crate) fn search(
    dir: &Path,
    query: &Query,
    before: Seq,
    unwanted: &CancellationToken,
) -> io::Result<ConsoleMatches> {
    let segments = log::segments(dir)?;
    let below = segments.iter().filter(|name| name.base_line < before.0).count();
    let mut found = ConsoleMatches { searched_to: before.0, complete: true, ..ConsoleMatches::default() };
    let mut budget = SEARCH_BYTES_MAX;
    for (index, name) in segments.iter().enumerate().take(below).rev() {
        still_wanted(unwanted)?;
        let mut matches: Vec<ConsoleMatch> = Vec::new();
        let read = log::read_segment(dir, name, segments.get(index + 1), |event, _| {
            if let Event::Line(line) = event
                && line.seq < before.0
            {
                let text = engine::line::text(line.bytes);
                let text = engine::line::strip_ansi(&text);
                if query.pattern.is_match(&text) {
                    matches.push(ConsoleMatch { seq: line.seq, at: line.ended_ms, text: text.into_owned() });
                }
            }
        });
        let bytes = match read {
            Ok(bytes) => bytes,
            // Retention was faster: what is older is gone as well.
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        };
        found.searched_to = name.base_line;
        while let Some(newest) = matches.pop() {
            if found.matches.len() == query.limit {
                // One more than asked for says that there are more.
                found.searched_to = found.matches.last().map_or(before.0, |last| last.seq);
                found.complete = false;
                return Ok(found);
            }
            found.matches.push(newest);
        }
        budget = budget.saturating_sub(bytes);
        if budget == 0 && index > 0 {
            found.complete = false;
            break;
        }
    }
    Ok(found)
}

/// The runs whose lines are kept, newest first.
pub(crate) fn runs(dir: &Path, unwanted: &CancellationToken) -> io::Result<Vec<Run>> {
    let mut runs: Vec<Run> = Vec::new();
    let segments = log::segments(dir)?;
    for (index, name) in segments.iter().enumerate() {
        still_wanted(unwanted)?;
        let read = log::read_segment(dir, name, segments.get(index + 1), |event, next_line| match event {
            Event::Started { start, time_ms } => {
                close(&mut runs, next_line);
                runs.push(Run {
                    id: uuid::Uuid::from_bytes(start.run_id).simple().to_string(),
                    started_at: if start.started_ms > 0 { start.started_ms } else { time_ms },
                    ended_at: None,
                    first_line: next_line,
                    end_line: None,
                    exit: None,
                });
            }
            Event::Exited { exit, time_ms } => {
                if let Some(run) = runs.last_mut().filter(|run| run.end_line.is_none()) {
                    run.ended_at = Some(time_ms);
                    run.end_line = Some(next_line);
                    run.exit = Some(exit_text(&exit));
                }
            }
            _ => {}
        });
        match read {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    runs.reverse();
    runs.truncate(RUNS_MAX);
    Ok(runs)
}

/// A run that was followed by another one is over, also when nobody saw its end.
fn close(runs: &mut [Run], next_line: u64) {
    if let Some(run) = runs.last_mut().filter(|run| run.end_line.is_none()) {
        run.end_line = Some(next_line);
    }
}

fn exit_text(exit: &ExitPayload) -> String {
    let kind = exit.signal().map_or_else(|| ExitKind::Code(exit.code().unwrap_or_default()), ExitKind::Signal);
    Exit { kind, oom: exit.oom }.to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use spool::{InPayload, Limits, Writer};
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
        let read = |range, limit| lines(dir.path(), &presentation(), head, range, limit).unwrap();
        assert_eq!(seqs(&read(Range::Newest, 3)), [997, 998, 999]);
        assert_eq!(seqs(&read(Range::After(4), 3)), [5, 6, 7]);
        assert_eq!(seqs(&read(Range::Before(5), 3)), [2, 3, 4]);
        assert_eq!(seqs(&read(Range::Before(2), 3)), [0, 1]);
        assert_eq!(seqs(&read(Range::After(998), 9)), [999]);
        assert!(read(Range::After(u64::MAX), 9).lines.is_empty());
        assert!(read(Range::Before(0), 9).lines.is_empty());
        assert_eq!(seqs(&read(Range::After(299), 500)), (300..800).collect::<Vec<_>>());
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
        let read = lines(dir.path(), &presentation(), Seq(60), Range::After(0), 5000).unwrap();
        let spelled = serde_json::to_string(&read).unwrap().len();
        assert!(!read.lines.is_empty() && read.lines.len() < 59);
        assert!(spelled <= LINES_BYTES_MAX + 1024, "{spelled}");
    }

    #[test]
    fn work_that_nobody_waits_for_ends() {
        let (dir, head) = log(1000);
        let unwanted = CancellationToken::new();
        unwanted.cancel();
        assert!(search(dir.path(), &Query::new("line", false, 9).unwrap(), head, &unwanted).is_err());
        assert!(runs(dir.path(), &unwanted).is_err());
    }

    #[test]
    fn lines_that_are_gone_are_a_gap() {
        let (dir, head) = log(20_000);
        let read = lines(dir.path(), &presentation(), head, Range::After(9), 20_000).unwrap();
        let oldest = read.oldest;
        assert!(oldest > 10);
        assert_eq!(read.gaps, [ConsoleGap { from: 10, to: oldest, reason: "no longer kept".to_owned() }]);
        assert_eq!(seqs(&read), (oldest..20_000).collect::<Vec<_>>());
        let none = lines(dir.path(), &presentation(), head, Range::Before(20), 10).unwrap();
        assert_eq!(none.gaps, [ConsoleGap { from: 10, to: 20, reason: "no longer kept".to_owned() }]);
    }

    #[test]
    fn a_command_is_told_as_it_was_typed() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(dir.path(), LIMITS, [1; 16], 1).unwrap();
        let _ = writer.append_in(&InPayload { request_id: 7, user: "somebody", bytes: b"list" }, 5);
        let read = lines(dir.path(), &presentation(), Seq(1), Range::Newest, 9).unwrap();
        let line = &read.lines[0];
        assert_eq!((line.kind, line.text.as_str(), line.user.as_deref()), (LineKind::Input, "list", Some("somebody")));
    }

    #[test]
    fn a_search_goes_back_to_the_oldest_line() {
        let (dir, head) = log(1000);
        let find = |text: &str, case, limit, before| {
            let query = Query::new(text, case, limit).unwrap();
            search(dir.path(), &query, Seq(before), &CancellationToken::new()).unwrap()
        };
        let numbers = |found: &ConsoleMatches| found.matches.iter().map(|found| found.seq).collect::<Vec<_>>();
        // Colours do not hide a text, nor does the case of letters unless it is asked for.
        let found = find("LINE 77 GRÖSSE", false, 9, head.0);
        assert!(found.matches.is_empty() && found.complete);
        let found = find("lINE 77 GRÖßE", false, 9, head.0);
        assert_eq!((numbers(&found), found.complete), (vec![77], true));
        assert_eq!(found.matches[0].text, "line 77 Größe");
        assert!(find("LINE 77 ", true, 9, head.0).matches.is_empty());
        // It goes on where it stopped, and finds each line once.
        let mut all = Vec::new();
        let mut before = head.0;
        loop {
            let found = find("line", false, 170, before);
            all.extend(numbers(&found));
            before = found.searched_to;
            if found.complete {
                break;
            }
        }
        assert_eq!(all, (0..1000).rev().collect::<Vec<_>>());
        assert_eq!(numbers(&find("line 5", true, 2, 500)), [59, 58]);
        // A text is a text and no pattern.
        assert!(find("l.ne", false, 9, head.0).matches.is_empty());
    }

    #[test]
    fn runs_are_told_with_their_ends() {
        let dir = tempfile::tempdir().unwrap();
        let start = |id: u8| spool::StartPayload { run_id: [id; 16], started_ms: u64::from(id), ..Default::default() };
        let mut writer = Writer::open(dir.path(), LIMITS, [1; 16], 1).unwrap();
        let _ = writer.append_start(&start(1), 1);
        let _ = writer.append_out(b"one\ntwo\n", 2);
        let exit = ExitPayload { status: 3 << 8, ..ExitPayload::default() };
        let _ = writer.append_exit(&exit, 3);
        drop(writer);
        let mut writer = Writer::open(dir.path(), LIMITS, [2; 16], 4).unwrap();
        let _ = writer.append_start(&start(2), 4);
        let _ = writer.append_out(b"three\n", 5);
        let told = runs(dir.path(), &CancellationToken::new()).unwrap();
        let shown: Vec<_> =
            told.iter().map(|run| (run.started_at, run.ended_at, run.first_line, run.end_line)).collect();
        assert_eq!(shown, [(2, None, 2, None), (1, Some(3), 0, Some(2))]);
        assert_eq!((told[1].exit.as_deref(), told[0].exit.as_deref()), (Some("exit code 3"), None));
    }

    #[test]
    fn a_server_that_never_ran_has_no_history() {
        let dir = tempfile::tempdir().unwrap();
        let nothing = dir.path().join("none");
        assert_eq!(lines(&nothing, &presentation(), Seq(0), Range::Newest, 9).unwrap(), ConsoleLines::default());
        let (query, wanted) = (Query::new("x", false, 9).unwrap(), CancellationToken::new());
        assert!(search(&nothing, &query, Seq(0), &wanted).unwrap().complete);
        assert!(runs(&nothing, &wanted).unwrap().is_empty());
    }
}
