//! What was written can be read, from anywhere, whatever the segments.

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use spool::format::{SEGMENT_HEADER_BYTES, TIME_MS_MAX};
use spool::segment::{self, holding};
use spool::writer::{OpenError, SEGMENT_OVERFLOW_BYTES_MAX, Written, is_locked};
use spool::{ExitPayload, Frames, InPayload, Limits, StartPayload, Writer};
use tempfile::TempDir;

use crate::reading::{Said, Who, read, read_from};

pub(crate) const RUN: [u8; 16] = [7; 16];
pub(crate) const SMALL: Limits = Limits { segment_bytes: 1024, retain_bytes: u64::MAX };

pub(crate) fn open(dir: &Path) -> Writer {
    Writer::open(dir, SMALL, RUN, 1).unwrap()
}

/// A folder in memory where there is one: hundreds of logs that are all brought to a disk take long.
fn quick_folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

#[derive(Clone, Debug)]
enum Act {
    Out(Vec<u8>),
    In(Vec<u8>),
    Note(Vec<u8>),
    Start,
    Exit,
    Reopen,
}

fn some_acts() -> impl Strategy<Value = Vec<Act>> {
    let text = || vec(prop_oneof![Just(b'\n'), Just(b'x'), any::<u8>()], 0..300);
    let act = prop_oneof![
        12 => text().prop_map(Act::Out),
        2 => text().prop_map(Act::In),
        2 => text().prop_map(Act::Note),
        1 => Just(Act::Start),
        1 => Just(Act::Exit),
        1 => Just(Act::Reopen),
    ];
    vec(act, 0..120)
}

/// Does it, and remembers what a reader must find.
fn perform(dir: &Path, acts: &[Act]) -> (Vec<Said>, Writer) {
    let mut writer = open(dir);
    let (mut expected, mut line, mut seq) = (Vec::new(), Vec::new(), 0);
    let mut number = || {
        seq += 1;
        seq - 1
    };
    for act in acts {
        let mut ends_line = false;
        let written = match act {
            Act::Out(bytes) => {
                for &byte in bytes {
                    if byte == b'\n' {
                        expected.push(Said::Line(number(), Who::Game, std::mem::take(&mut line)));
                    } else {
                        line.push(byte);
                    }
                }
                writer.append_out(bytes, 5)
            }
            Act::In(bytes) => {
                expected.push(Said::Line(number(), Who::Person("bob".to_owned(), 3), bytes.clone()));
                writer.append_in(&InPayload { request_id: 3, user: "bob", bytes }, 5)
            }
            Act::Note(bytes) => {
                expected.push(Said::Line(number(), Who::Node, bytes.clone()));
                writer.append_note(bytes, 5)
            }
            Act::Start | Act::Exit | Act::Reopen => {
                ends_line = true;
                Written::Kept
            }
        };
        assert_eq!(written, Written::Kept);
        if ends_line && !line.is_empty() {
            expected.push(Said::Line(number(), Who::Game, std::mem::take(&mut line)));
        }
        match act {
            Act::Start => {
                expected.push(Said::Started);
                assert_eq!(writer.append_start(&StartPayload::default(), 5), Written::Kept);
            }
            Act::Exit => {
                expected.push(Said::Exited(0));
                assert_eq!(writer.append_exit(&ExitPayload::default(), 5), Written::Kept);
            }
            Act::Reopen => {
                drop(writer);
                writer = open(dir);
            }
            Act::Out(_) | Act::In(_) | Act::Note(_) => {}
        }
    }
    (expected, writer)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_log_reads_as_it_was_written(acts in some_acts()) {
        let dir = quick_folder();
        let (expected, writer) = perform(dir.path(), &acts);
        let log = read(dir.path());
        prop_assert_eq!(&log.said, &expected);
        prop_assert_eq!((log.pos, log.next_line), writer.position());
        prop_assert!(log.is_without_holes());
        prop_assert_eq!(writer.losses().bytes, 0);
    }

    #[test]
    fn reading_from_any_line_gives_the_same_rest(acts in some_acts(), from in any::<prop::sample::Index>()) {
        let dir = quick_folder();
        let (_, writer) = perform(dir.path(), &acts);
        let whole = read(dir.path());
        let from = from.index(usize::try_from(writer.position().1).unwrap() + 1) as u64;
        let first = holding(&whole.names, from).unwrap();
        let late = |said: &&Said| matches!(said, Said::Line(seq, ..) if *seq >= from);
        let rest = read_from(dir.path(), first);
        prop_assert!(rest.said.iter().filter(late).eq(whole.said.iter().filter(late)));
        prop_assert_eq!(rest.unfinished, whole.unfinished);
    }

    #[test]
    fn a_clock_that_jumps_changes_neither_order_nor_numbers(
        times in vec(prop_oneof![any::<u64>(), 0..10_u64, TIME_MS_MAX - 5..TIME_MS_MAX + 5], 1..80),
        reopened_at in any::<prop::sample::Index>(),
    ) {
        let dir = quick_folder();
        let mut writer = open(dir.path());
        for (number, &time_ms) in times.iter().enumerate() {
            if number == reopened_at.index(times.len()) {
                drop(writer);
                writer = Writer::open(dir.path(), SMALL, RUN, time_ms).unwrap();
            }
            prop_assert_eq!(writer.append_out(format!("line {number}\n").as_bytes(), time_ms), Written::Kept);
            writer.tick(time_ms);
        }
        let log = read(dir.path());
        let expected: Vec<String> = (0..times.len()).map(|number| format!("line {number}")).collect();
        prop_assert_eq!(log.game_lines(), expected);
        prop_assert!(log.is_without_holes() && log.gaps().is_empty());
        prop_assert_eq!((log.pos, log.next_line), writer.position());
        // A time is what the clock said then, as far as a frame can carry it.
        let mut found = Vec::new();
        for name in &log.names {
            let bytes = std::fs::read(dir.path().join(name.file_name())).unwrap();
            let frames = Frames::new(&bytes[SEGMENT_HEADER_BYTES..], name.base_line);
            found.extend(frames.map(|frame| frame.time_ms));
        }
        prop_assert_eq!(found, times.iter().map(|&time| time.min(TIME_MS_MAX)).collect::<Vec<_>>());
    }
}

#[test]
fn segments_end_with_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = open(dir.path());
    for number in 0..500 {
        // Bursts that end in the middle of lines.
        assert_eq!(writer.append_out(format!("{number} begins\n{number} is ").as_bytes(), 5), Written::Kept);
        assert_eq!(writer.append_out(b"unfinished, now it ends\n", 5), Written::Kept);
    }
    let log = read(dir.path());
    assert!(log.names.len() > 10);
    assert_eq!(log.game_lines().len(), 1000);
    assert!(log.game_lines().iter().all(|line| line.ends_with("begins") || line.ends_with("ends")));
    for name in &log.names[..log.names.len() - 1] {
        let bytes = std::fs::read(dir.path().join(name.file_name())).unwrap();
        assert_eq!(bytes.last(), Some(&b'\n'));
        assert!(bytes.len() < 1024 + 100);
    }
}

#[test]
fn a_segment_without_any_line_end_ends_all_the_same() {
    let dir = quick_folder();
    let mut writer = open(dir.path());
    // One byte at a time: the frames' headers outweigh the line, so the segment is over before the line is.
    for _ in 0..30_000 {
        assert_eq!(writer.append_out(b"x", 5), Written::Kept);
    }
    drop(writer);
    let log = read(dir.path());
    let largest = log.names.windows(2).map(|pair| pair[1].base_pos - pair[0].base_pos).max().unwrap();
    assert!(largest <= 1024 + SEGMENT_OVERFLOW_BYTES_MAX + 100, "{largest}");
    assert!(log.is_without_holes());
    let total: usize = log.game_lines().iter().map(String::len).sum();
    assert_eq!(total + log.unfinished.len(), 30_000);
}

#[test]
fn a_prompt_survives_many_commands() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = open(dir.path());
    assert_eq!(writer.append_out(b"> ", 5), Written::Kept);
    for request_id in 1..100 {
        assert_eq!(writer.append_in(&InPayload { request_id, user: "", bytes: b"help" }, 5), Written::Kept);
    }
    assert_eq!(writer.append_out(b"ok\n", 5), Written::Kept);
    assert_eq!(read(dir.path()).said.last(), Some(&Said::Line(99, Who::Game, b"> ok".to_vec())));
}

#[test]
fn a_burst_larger_than_a_frame_is_several() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path(), Limits::default(), RUN, 1).unwrap();
    let burst: Vec<u8> = (0..100_000).flat_map(|number| format!("{number}\n").into_bytes()).collect();
    assert_eq!(writer.append_out(&burst, 5), Written::Kept);
    let log = read(dir.path());
    assert_eq!(log.game_lines().len(), 100_000);
    assert_eq!((log.pos, log.next_line), writer.position());
}

#[test]
fn the_oldest_go_first_and_two_always_stay() {
    let dir = quick_folder();
    let limits = Limits { segment_bytes: 1024, retain_bytes: 10 * 1024 };
    let mut writer = Writer::open(dir.path(), limits, RUN, 1).unwrap();
    for number in 0..2_000 {
        assert_eq!(writer.append_out(format!("line {number}\n").as_bytes(), 5), Written::Kept);
    }
    let log = read(dir.path());
    let bytes: u64 =
        log.names.iter().map(|name| std::fs::metadata(dir.path().join(name.file_name())).unwrap().len()).sum();
    assert!((8 * 1024..=10 * 1024 + 200).contains(&bytes), "{bytes}");
    assert_eq!(log.said.last(), Some(&Said::Line(1_999, Who::Game, b"line 1999".to_vec())));
    assert_eq!(holding(&log.names, 0), None);

    drop(writer);
    let none = Limits { segment_bytes: 1024, retain_bytes: 0 };
    let mut writer = Writer::open(dir.path(), none, RUN, 1).unwrap();
    assert_eq!(segment::list(dir.path()).unwrap().len(), 2);
    assert_eq!(writer.append_out(b"more\n", 5), Written::Kept);
    assert_eq!(read(dir.path()).next_line, 2_001);
}

#[test]
fn many_short_runs_do_not_leave_many_files() {
    let dir = quick_folder();
    let limits = Limits { segment_bytes: 64 * 1024, retain_bytes: 1024 * 1024 };
    for _ in 0..400 {
        let mut writer = Writer::open(dir.path(), limits, RUN, 1).unwrap();
        assert_eq!(writer.append_start(&StartPayload::default(), 5), Written::Kept);
    }
    assert!(segment::list(dir.path()).unwrap().len() <= 16 * 16);
}

#[test]
fn opening_without_writing_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..5 {
        drop(open(dir.path()));
    }
    assert_eq!(segment::list(dir.path()).unwrap().len(), 1);
}

#[test]
fn a_reader_of_an_empty_segment_sees_what_the_next_writer_writes() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let name = segment::list(dir.path()).unwrap()[0];
    let mut reader = std::fs::File::open(dir.path().join(name.file_name())).unwrap();
    let mut writer = open(dir.path());
    assert_eq!(writer.append_out(b"here\n", 5), Written::Kept);
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut reader, &mut bytes).unwrap();
    assert!(bytes.ends_with(b"here\n"));
}

#[test]
fn one_writer_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    assert!(!is_locked(&dir.path().join("missing")).unwrap());
    let writer = open(dir.path());
    assert!(is_locked(dir.path()).unwrap());
    assert!(matches!(Writer::open(dir.path(), SMALL, RUN, 1), Err(OpenError::Locked { .. })));
    drop(writer);
    assert!(!is_locked(dir.path()).unwrap());
    drop(open(dir.path()));
}

#[test]
fn more_lines_than_a_segment_can_number_begin_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { segment_bytes: u64::MAX, retain_bytes: u64::MAX };
    let mut writer = Writer::open(dir.path(), limits, RUN, 1).unwrap();
    let burst = vec![b'\n'; 65_000];
    for _ in 0..70 {
        assert_eq!(writer.append_out(&burst, 5), Written::Kept);
    }
    drop(writer);
    let log = read_from(dir.path(), 1);
    assert_eq!((log.names.len(), log.next_line), (2, 70 * 65_000));
    assert_eq!(log.names[1].base_line, (1 << 22) / 65_000 * 65_000 + 65_000);
}
