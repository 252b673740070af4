//! Outages that end in an unusual way, or not at all. The disk refuses because of limits of the process: no rights are needed.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use rustix::process::{Resource, Rlimit};
use spool::writer::Written;
use spool::{ExitPayload, ExitRecord, GapPayload, GapReason, Limits, Loss, Writer, exit, segment};

use crate::reading::{Said, read};
use crate::writing::RUN;

const AGAIN: &str = "QUARTERDECK_TEST_IN_OWN_PROCESS";

/// Whether this is a process for one test only, in which a write past a limit fails instead of ending it. If not, runs the test
/// again in one.
fn in_own_process(test: &str) -> bool {
    if std::env::var_os(AGAIN).is_some() {
        return true;
    }
    let script = "trap '' XFSZ; exec \"$0\" --exact --nocapture \"$1\"";
    let program = std::env::current_exe().unwrap();
    let output = Command::new("sh").args(["-c", script]).arg(program).arg(test).env(AGAIN, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "{test} is not its name: {said}");
    false
}

fn limit(resource: Resource, current: Option<u64>) {
    let maximum = rustix::process::getrlimit(resource).maximum;
    rustix::process::setrlimit(resource, Rlimit { current: current.or(maximum), maximum }).unwrap();
}

/// No file grows beyond this, and no other file can be opened.
fn refuse_beyond(file_bytes: u64) {
    limit(Resource::Fsize, Some(file_bytes));
    limit(Resource::Nofile, Some(0));
}

fn refuse_nothing() {
    limit(Resource::Fsize, None);
    limit(Resource::Nofile, None);
}

fn open(dir: &Path) -> Writer {
    Writer::open(dir, Limits::default(), RUN, 1).unwrap()
}

/// A writer that has kept 200 lines and can write no more, the exit file excepted.
fn in_outage(dir: &Path) -> Writer {
    let mut writer = open(dir);
    for number in 0..200 {
        assert_eq!(writer.append_out(format!("line {number}\n").as_bytes(), 5), Written::Kept);
    }
    refuse_beyond(1024);
    writer
}

/// As if its process had been killed: nothing is dropped, and the lock is gone.
fn kill(writer: Writer, dir: &Path) {
    std::mem::forget(writer);
    std::fs::remove_file(dir.join("lock")).unwrap();
}

#[test]
fn an_outage_that_outlasts_its_writer_is_named_by_the_next_one_once() {
    if !in_own_process("outage::an_outage_that_outlasts_its_writer_is_named_by_the_next_one_once") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut writer = in_outage(dir.path());
    for _ in 0..50 {
        assert_eq!(writer.append_out(b"lost\n", 5), Written::Dropped);
    }
    assert_eq!(writer.append_out(b"unfinished", 5), Written::Dropped);
    assert_eq!(writer.append_note(b"a notice", 5), Written::Dropped);
    assert_eq!(writer.append_exit(&ExitPayload::default(), 5), Written::Dropped);
    let (pos, line) = writer.position();
    assert_eq!(line, 200);
    drop(writer);
    refuse_nothing();
    // The end of the run is recorded in the same file; whatever the next one does with it costs nothing of the loss.
    drop(exit::reserve(dir.path()).unwrap());

    let mut writer = open(dir.path());
    let gap = GapPayload { bytes: 50 * 5 + 10 + 8, lines: 52, reason: GapReason::DiskFull };
    assert_eq!(read(dir.path()).gaps(), [(200, gap)]);
    assert!(writer.position().0 > pos);
    assert_eq!(writer.position().1, 252);
    assert_eq!(writer.losses().lines, 0, "lost by another one");
    assert_eq!(writer.append_out(b"after\n", 6), Written::Kept);
    drop(writer);
    drop(open(dir.path()));
    let log = read(dir.path());
    assert_eq!(log.gaps(), [(200, gap)], "named once");
    assert!(log.is_without_holes());
    assert_eq!(log.next_line, 253);
}

#[test]
fn a_writer_killed_in_an_outage_leaves_word_of_it() {
    if !in_own_process("outage::a_writer_killed_in_an_outage_leaves_word_of_it") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut writer = in_outage(dir.path());
    assert_eq!(writer.append_out(b"lost\n", 5), Written::Dropped);
    kill(writer, dir.path());
    refuse_nothing();
    let gap = GapPayload { bytes: 5, lines: 1, reason: GapReason::DiskFull };
    kill(open(dir.path()), dir.path());
    drop(open(dir.path()));
    assert_eq!(read(dir.path()).gaps(), [(200, gap)]);
    assert_eq!(read(dir.path()).next_line, 201);
}

#[test]
fn an_outage_that_ended_is_not_named_again() {
    if !in_own_process("outage::an_outage_that_ended_is_not_named_again") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut writer = in_outage(dir.path());
    assert_eq!(writer.append_out(b"lost\n", 5), Written::Dropped);
    refuse_nothing();
    assert_eq!(writer.append_exit(&ExitPayload::default(), 5), Written::Kept, "the end tries at once");
    drop(writer);
    drop(open(dir.path()));
    let log = read(dir.path());
    assert_eq!((log.gaps().len(), log.next_line), (1, 201));
    assert_eq!(log.said.last(), Some(&Said::Exited(0)));
}

#[test]
fn an_empty_segment_that_cannot_be_made_anew_stays_where_it_is() {
    if !in_own_process("outage::an_empty_segment_that_cannot_be_made_anew_stays_where_it_is") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut writer = open(dir.path());
    let name = segment::list(dir.path()).unwrap()[0];
    // A reader that found the segment while it was empty.
    let reader = File::open(dir.path().join(name.file_name())).unwrap();
    limit(Resource::Fsize, Some(70));
    assert_eq!(writer.append_out(b"lost\n", 5), Written::Dropped);
    // Now its header cannot be written again either.
    limit(Resource::Fsize, Some(10));
    assert_eq!(writer.append_exit(&ExitPayload::default(), 5), Written::Dropped);
    limit(Resource::Fsize, None);
    assert_eq!(writer.append_exit(&ExitPayload::default(), 5), Written::Kept);
    assert_eq!(writer.append_out(b"after\n", 5), Written::Kept);
    let position = writer.position();
    assert_eq!(reader.metadata().unwrap().len(), 64 + position.0, "what a reader has open goes on");
    drop(writer);
    let log = read(dir.path());
    assert_eq!(log.names, [name]);
    assert_eq!((log.pos, log.next_line), position);
    assert_eq!(log.gaps()[0].1.lines, 1);
    assert_eq!(open(dir.path()).position(), position, "numbers never go back");
}

#[test]
fn an_exit_file_of_an_older_program_has_no_loss() {
    let dir = tempfile::tempdir().unwrap();
    let record = ExitRecord { run_id: RUN, time_ms: 1, pos: 0, line: 0, exit: ExitPayload::default() };
    std::fs::write(dir.path().join(exit::FILE_NAME), record.encode()).unwrap();
    let mut writer = open(dir.path());
    assert_eq!(exit::read(dir.path()).unwrap(), Some(record), "opening the log says nothing of the run");
    assert_eq!(writer.position(), (0, 0));
    assert_eq!(writer.append_out(b"one\n", 5), Written::Kept);
    assert!(read(dir.path()).gaps().is_empty());
}

#[test]
fn a_loss_is_believed_only_whole_and_only_where_the_log_ends() {
    let loss = Loss { pos: 22, next_line: 7, bytes: 9, reason: GapReason::DiskFailed };
    let whole = loss.encode();
    assert_eq!(Loss::decode(&whole), Some(loss));
    for at in 0..whole.len() {
        let mut bytes = whole;
        bytes[at] ^= 1;
        assert_eq!(Loss::decode(&bytes), None, "byte {at}");
        assert_eq!(Loss::decode(&whole[..at]), None, "cut at {at}");
    }
    for (lines, named) in [(1, true), (2, false)] {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = open(dir.path());
        for _ in 0..lines {
            assert_eq!(writer.append_out(b"again\n", 5), Written::Kept);
        }
        drop(writer);
        let file = File::options().write(true).open(dir.path().join(exit::FILE_NAME)).unwrap();
        file.write_all_at(&whole, 512).unwrap();
        drop(open(dir.path()));
        let gap = GapPayload { bytes: 9, lines: 6, reason: GapReason::DiskFailed };
        assert_eq!(read(dir.path()).gaps(), if named { vec![(1, gap)] } else { vec![] });
    }
}
