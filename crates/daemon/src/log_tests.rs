//! Readers of real segment files: whoever reads from a number on gets what everybody else gets from there on.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use proptest::prelude::*;
use spool::format::{FRAME_HEADER_BYTES, FrameHeader, Kind};
use spool::{GapPayload, GapReason, Limits, Writer};

use super::*;

/// Small segments, of which all are kept.
const LIMITS: Limits = Limits { segment_bytes: 1024, retain_bytes: u64::MAX };

fn presentation() -> Presentation {
    Presentation { app_name: Arc::from("Test"), echo_commands: true }
}

/// Number, first number and text of every line.
type Seen = Vec<(u64, u64, String)>;

fn seen(lines: impl IntoIterator<Item = Line>) -> Seen {
    lines.into_iter().map(|line| (line.seq().0, line.since().0, line.text().into_owned())).collect()
}

fn from_disk(dir: &Path, from: u64, to: u64, lines_max: usize) -> Seen {
    let mut backlog = Backlog::open(dir, &presentation(), Seq(from)).unwrap();
    let mut all = Seen::new();
    loop {
        let lines = backlog.read(Seq(to), lines_max).unwrap();
        assert!(lines.len() <= lines_max);
        if lines.is_empty() {
            return all;
        }
        all.extend(seen(lines));
    }
}

/// Adds a frame to the newest segment, as a writer does that has come through an outage.
fn append_gap(dir: &Path, gap: GapPayload) {
    let name = segments(dir).unwrap().pop().unwrap();
    let path = dir.join(name.file_name());
    let bytes = std::fs::read(&path).unwrap();
    let mut splitter = LineSplitter::new(name.base_line);
    let mut frames = Frames::new(&bytes[SEGMENT_HEADER_BYTES..], name.base_line);
    for frame in frames.by_ref() {
        splitter.feed(&frame, &mut |_| {});
    }
    let end = SEGMENT_HEADER_BYTES + frames.consumed();
    let header = FrameHeader { kind: Kind::Gap, time_ms: 1, line_offset: splitter.next_line() - name.base_line };
    let payload = gap.encode();
    let frame = [header.encode(&payload).as_slice(), &payload].concat();
    assert_eq!(frame.len(), FRAME_HEADER_BYTES + payload.len());
    std::fs::write(&path, [&bytes[..end], &frame].concat()).unwrap();
}

#[derive(Clone, Debug)]
enum Step {
    Out(Vec<u8>),
    Note,
    Gap {
        lines: u64,
        bytes: u64,
    },
    /// The follower looks.
    Look,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(prop_oneof![4 => Just(b'x'), 1 => Just(b'\n'), 1 => any::<u8>()], 1..400)
            .prop_map(Step::Out),
        1 => Just(Step::Note),
        1 => (1u64..9, 1u64..99).prop_map(|(lines, bytes)| Step::Gap { lines, bytes }),
        2 => Just(Step::Look),
    ]
}

fn follow(tail: &mut Tail, all: &mut Vec<Line>) -> Seq {
    loop {
        let news = tail.look(u64::MAX).unwrap();
        all.extend(news.entries.into_iter().filter_map(Entry::into_line));
        if !news.more {
            return news.next;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_reader_from_any_line_gives_the_same_rest(steps in prop::collection::vec(step(), 1..60), torn in 0usize..40) {
        let dir = tempfile::tempdir().unwrap();
        let open = || Writer::open(dir.path(), LIMITS, [0; 16], 1).unwrap();
        let mut writer = Some(open());
        let (mut tail, newest) = Tail::open(dir.path(), presentation()).unwrap();
        prop_assert!(newest.is_empty());
        let mut followed = Vec::new();
        for step in steps {
            match step {
                Step::Out(bytes) => drop(writer.get_or_insert_with(open).append_out(&bytes, 1)),
                Step::Note => drop(writer.get_or_insert_with(open).append_note(b"a note", 1)),
                Step::Gap { lines, bytes } => {
                    writer = None;
                    append_gap(dir.path(), GapPayload { bytes, lines, reason: GapReason::DiskFull });
                }
                Step::Look => drop(follow(&mut tail, &mut followed)),
            }
        }
        drop(writer);
        // The machine went down while the last frame was written.
        let last = dir.path().join(segments(dir.path()).unwrap().pop().unwrap().file_name());
        let length = std::fs::metadata(&last).unwrap().len();
        let cut = length.saturating_sub(torn as u64).max(SEGMENT_HEADER_BYTES as u64);
        let all = {
            let complete = follow(&mut tail, &mut followed);
            let all = seen(followed);
            prop_assert_eq!(&from_disk(dir.path(), 0, complete.0, 7), &all);
            std::fs::File::options().write(true).open(&last).unwrap().set_len(cut).unwrap();
            let rest = from_disk(dir.path(), 0, u64::MAX, 1000);
            prop_assert!(all.starts_with(&rest), "a torn end takes lines away and changes none");
            rest
        };
        // Every number once, without holes.
        let mut next = 0;
        for (seq, since, _) in &all {
            prop_assert_eq!(*since, next);
            prop_assert!(seq >= since);
            next = seq + 1;
        }
        // The ends, and some in between: each of them decodes the rest of the log.
        let stride = usize::try_from(next / 8).unwrap().max(1);
        for from in (0..=next).step_by(stride).chain([next]) {
            let expected: Seen = all.iter().filter(|(seq, ..)| *seq >= from).cloned().collect();
            prop_assert_eq!(from_disk(dir.path(), from, next, 3), expected, "from {}", from);
        }
    }
}

#[test]
fn what_was_lost_is_named_with_its_reason_and_its_size() {
    let dir = tempfile::tempdir().unwrap();
    let write = |bytes: &[u8]| {
        let _ = Writer::open(dir.path(), LIMITS, [0; 16], 1).unwrap().append_out(bytes, 1);
    };
    let gap = |lines, bytes, reason| append_gap(dir.path(), GapPayload { bytes, lines, reason });
    write(b"a\n");
    gap(11, 1234, GapReason::DiskFull);
    write(b"b\n");
    gap(1, 0, GapReason::Damaged);
    write(b"half a li");
    gap(0, 7, GapReason::DiskFailed);
    write(b"ne\nc\n");
    let all = from_disk(dir.path(), 0, u64::MAX, 100);
    let parts = [
        "a",
        "lines 1 to 11 were lost: the disk was full (1234 bytes)",
        "b",
        "line 13 was lost: the log is damaged",
        "half a li",
        "(7 bytes lost: the disk failed) ne",
        "c",
    ];
    assert_eq!(all.len(), parts.len(), "{all:#?}");
    for ((_, _, text), part) in all.iter().zip(parts) {
        assert!(text.contains(part), "{text} is not {part}");
    }
}

#[test]
fn a_reader_that_retention_overtakes_goes_on_with_what_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { segment_bytes: 1024, retain_bytes: 4096 };
    let mut writer = Writer::open(dir.path(), limits, [0; 16], 1).unwrap();
    let mut n = 0;
    let mut print = |count: u64| {
        for _ in 0..count {
            let _ = writer.append_out(format!("line {n}\n").as_bytes(), 1);
            n += 1;
        }
        n
    };
    print(10);
    let mut backlog = Backlog::open(dir.path(), &presentation(), Seq(0)).unwrap();
    assert_eq!(backlog.read(Seq(10), 5).unwrap().len(), 5);
    let end = print(2000);
    let mut rest = Seen::new();
    loop {
        let lines = backlog.read(Seq(end), 100).unwrap();
        if lines.is_empty() {
            break;
        }
        rest.extend(seen(lines));
    }
    assert_eq!(rest.first().map(|line| line.0), Some(5), "what was read before is not read again");
    assert_eq!(rest.last().map(|line| line.0), Some(end - 1));
    for (seq, since, text) in &rest {
        assert!(
            *text == format!("line {seq}") || text.contains(&format!("lines {since} to {seq} were lost")),
            "{text}"
        );
    }
}

#[test]
fn opening_a_log_of_a_million_empty_lines_keeps_as_many_as_memory_holds() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { segment_bytes: 1024 * 1024, retain_bytes: u64::MAX };
    let mut writer = Writer::open(dir.path(), limits, [0; 16], 1).unwrap();
    for _ in 0..20 {
        let _ = writer.append_out(&vec![b'\n'; 50_000], 1);
    }
    let (tail, newest) = Tail::open(dir.path(), presentation()).unwrap();
    assert_eq!(tail.next(), Seq(1_000_000));
    assert_eq!(newest.len(), WARM_LINES_MAX);
    assert_eq!(newest.last().map(Line::seq), Some(Seq(999_999)));
}

#[test]
fn a_line_is_found_in_its_run_and_in_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let (mut first, mut second) = ([1; 16], [2; 16]);
    for run in [&mut first, &mut second] {
        let mut writer = Writer::open(dir.path(), LIMITS, *run, 1).unwrap();
        let _ = writer.append_start(&StartPayload { run_id: *run, ..StartPayload::default() }, 1);
        let _ = writer.append_out(format!("run {}\n", run[0]).as_bytes(), 1);
        for n in 0..500 {
            let _ = writer.append_out(format!("chatter {n}\n").as_bytes(), 1);
        }
    }
    let has = |run, end, text: &str| run_has_line(dir.path(), run, Seq(end), |line| line == text).unwrap();
    assert!(has(first, u64::MAX, "run 1") && has(second, u64::MAX, "run 2"));
    assert!(!has(second, u64::MAX, "run 1"), "of an earlier run");
    assert!(!has(second, 501, "run 2"), "not there yet");
    assert!(!has([3; 16], u64::MAX, "run 1"));
}

#[test]
fn a_frame_of_many_short_lines_is_decoded_piece_by_piece() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { segment_bytes: 1024 * 1024, retain_bytes: u64::MAX };
    let mut writer = Writer::open(dir.path(), limits, [0; 16], 1).unwrap();
    let mut tail = Tail::unread(dir.path(), presentation());
    // Several frames, each with a beginning of a line at its end, whose rest comes in the next.
    let text: Vec<u8> = (0..).flat_map(|n| format!("{}\n", n % 10).into_bytes()).take(65_000).collect();
    for _ in 0..3 {
        let _ = writer.append_out(&text, 1);
        let _ = writer.append_out(b"be", 1);
    }
    let (pos, next) = writer.position();
    let (mut lines, mut looks) = (Vec::new(), 0);
    loop {
        let news = tail.look(pos).unwrap();
        assert!(news.entries.len() <= ENTRIES_MAX + PIECE_BYTES, "{} lines at once", news.entries.len());
        lines.extend(news.entries.into_iter().filter_map(Entry::into_line));
        looks += 1;
        if !news.more {
            break;
        }
    }
    assert!(looks > 30, "{looks}");
    assert_eq!(tail.next(), Seq(next));
    let said: Vec<u8> = lines.iter().flat_map(|line| format!("{}\n", line.said()).into_bytes()).collect();
    let expected = [&text[..], b"be", &text[..], b"be", &text[..]].concat();
    assert!(said == expected, "every byte once, in order");
    assert_eq!(seen(lines), from_disk(dir.path(), 0, u64::MAX, 256));
}
