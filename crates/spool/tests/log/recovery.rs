//! What a writer finds that died, and what it makes of it.

use std::fs::{self, File};
use std::path::Path;

use spool::format::SEGMENT_HEADER_BYTES;
use spool::segment;
use spool::writer::{OpenError, Written};
use spool::{ExitPayload, ExitRecord, GapReason, InPayload, Limits, StartPayload, Writer, exit};

use crate::reading::{Said, Who, read};
use crate::writing::{RUN, SMALL, open};

fn newest(dir: &Path) -> std::path::PathBuf {
    dir.join(segment::list(dir).unwrap().last().unwrap().file_name())
}

/// A log with one segment that ends within a line.
fn write_some(dir: &Path) {
    let mut writer = Writer::open(dir, Limits::default(), RUN, 1).unwrap();
    assert_eq!(writer.append_start(&StartPayload::default(), 5), Written::Kept);
    assert_eq!(writer.append_out(b"one\ntw", 5), Written::Kept);
    assert_eq!(writer.append_in(&InPayload { request_id: 1, user: "ann", bytes: b"help" }, 5), Written::Kept);
    assert_eq!(writer.append_out(b"o\nthree\nfo", 5), Written::Kept);
}

#[test]
fn a_log_cut_anywhere_is_continued() {
    let template = tempfile::tempdir().unwrap();
    write_some(template.path());
    let whole = fs::read(newest(template.path())).unwrap();
    let name = newest(template.path()).file_name().unwrap().to_owned();
    let all = read(template.path());
    for length in 0..=whole.len() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(&name), &whole[..length]).unwrap();
        let mut writer = open(dir.path());
        let (pos, line) = writer.position();
        assert_eq!(writer.append_out(b"again\n", 9), Written::Kept);
        let log = read(dir.path());
        assert!(log.is_without_holes() && log.gaps().is_empty());
        assert_eq!((log.pos, log.next_line), (pos + 22, line + 1));
        let (last, before) = log.said.split_last().unwrap();
        assert_eq!(*last, Said::Line(line, Who::Game, b"again".to_vec()));
        // What is left is what was there, but for the line that was under way.
        let kept = before.len().min(all.said.len()).saturating_sub(1);
        assert_eq!(before[..kept], all.said[..kept], "cut at {length}");
        if length == whole.len() {
            assert_eq!(before.len(), all.said.len() + 1);
        }
    }
}

#[test]
fn a_damaged_byte_costs_what_comes_behind_it_only() {
    let template = tempfile::tempdir().unwrap();
    write_some(template.path());
    let whole = fs::read(newest(template.path())).unwrap();
    let name = newest(template.path()).file_name().unwrap().to_owned();
    let all = read(template.path());
    for at in 0..whole.len() {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(dir.path().join(&name), &bytes).unwrap();
        let opened = Writer::open(dir.path(), SMALL, RUN, 1);
        if at == 5 {
            assert!(matches!(opened, Err(OpenError::Newer { version: 0x11, .. })));
            continue;
        }
        drop(opened.unwrap());
        let log = read(dir.path());
        assert!(log.is_without_holes());
        if at < SEGMENT_HEADER_BYTES {
            assert_eq!(log.said[..all.said.len()], all.said, "a header says nothing that the name does not");
        } else {
            assert!(log.said.len() <= all.said.len() + 1);
        }
    }
}

#[test]
fn damage_in_an_old_segment_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = open(dir.path());
    for number in 0..200 {
        assert_eq!(writer.append_out(format!("line {number}\n").as_bytes(), 5), Written::Kept);
    }
    let names = segment::list(dir.path()).unwrap();
    let victim = names[1];
    let path = dir.path().join(victim.file_name());
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let mut splitter = spool::LineSplitter::new(victim.base_line);
    let mut frames = spool::Frames::new(&bytes[SEGMENT_HEADER_BYTES..], victim.base_line);
    for frame in frames.by_ref() {
        splitter.feed(&frame, &mut |_| {});
    }
    assert_eq!(frames.tail(), spool::Tail::Bad);
    let before = splitter.next_line();
    let mut gaps = Vec::new();
    splitter.begin_segment(names[2].base_line, &mut |event| {
        if let spool::Event::Gap { first_line, gap, .. } = event {
            gaps.push((first_line, gap.lines, gap.reason));
        }
    });
    assert_eq!(gaps, [(before, names[2].base_line - before, GapReason::Damaged)]);
    assert_eq!(splitter.next_line(), names[2].base_line);
}

#[test]
fn reserved_space_is_given_back() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path(), Limits::default(), RUN, 1).unwrap();
    assert_eq!(writer.append_out(b"one\n", 5), Written::Kept);
    let reserved = fs::metadata(newest(dir.path())).unwrap().blocks();
    assert!(reserved * 512 >= 1024 * 1024, "reserved: {reserved} blocks");
    drop(writer);
    assert!(fs::metadata(newest(dir.path())).unwrap().blocks() * 512 <= 64 * 1024);
    // A writer that was killed gave nothing back; its successor does.
    let file = File::options().write(true).open(newest(dir.path())).unwrap();
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::KEEP_SIZE, 0, 1024 * 1024).unwrap();
    let path = newest(dir.path());
    drop(open(dir.path()));
    assert!(fs::metadata(path).unwrap().blocks() * 512 <= 64 * 1024);
}

#[test]
fn a_killed_writer_has_lost_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = open(dir.path());
    for number in 0..100 {
        assert_eq!(writer.append_out(format!("line {number}\n").as_bytes(), 5), Written::Kept);
    }
    let (before, _) = (read(dir.path()), writer.position());
    // Never dropped: as if killed; the lock would go with the process, here its file does.
    std::mem::forget(writer);
    fs::remove_file(dir.path().join("lock")).unwrap();
    let again = open(dir.path());
    let after = read(dir.path());
    assert_eq!((&after.said, after.pos), (&before.said, before.pos));
    assert_eq!(again.position(), (before.pos, before.next_line));
}

#[test]
fn other_files_in_the_folder_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("zzzz.seg"), "not ours").unwrap();
    fs::write(dir.path().join("0000000000000000-000000000000000G.seg"), "not ours").unwrap();
    let mut writer = Writer::open(dir.path(), Limits { segment_bytes: 1024, retain_bytes: 0 }, RUN, 1).unwrap();
    for _ in 0..200 {
        assert_eq!(writer.append_out(b"a line of some length\n", 5), Written::Kept);
    }
    assert!(dir.path().join("zzzz.seg").exists());
    assert_eq!(segment::list(dir.path()).unwrap().len(), 2);
}

#[test]
fn the_exit_record_says_how_the_last_run_ended() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(exit::read(dir.path()).unwrap(), None);
    let file = exit::reserve(dir.path()).unwrap();
    assert_eq!(exit::read(dir.path()).unwrap(), None);
    let record = ExitRecord {
        run_id: RUN,
        time_ms: 1,
        pos: 2,
        line: 3,
        exit: ExitPayload { status: 9, pid: 4, oom: true, user_ms: 5, system_ms: 6, maxrss_kib: 7 },
    };
    exit::write(&file, &record).unwrap();
    assert_eq!(exit::read(dir.path()).unwrap(), Some(record));
    let path = dir.path().join(exit::FILE_NAME);
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(exit::read(dir.path()).unwrap(), None, "byte {at}");
        fs::write(&path, &whole[..at]).unwrap();
        assert_eq!(exit::read(dir.path()).unwrap(), None, "cut at {at}");
    }
    drop(exit::reserve(dir.path()).unwrap());
    assert_eq!(exit::read(dir.path()).unwrap(), None);
}
