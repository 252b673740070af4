//! A disk without space, on a small file system in memory of its own. Needs the right to mount; says so when it is missing.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use spool::writer::{RETRY_AFTER, Written};
use spool::{GapReason, InPayload, Limits, StartPayload, Writer};
use tempfile::TempDir;

use crate::reading::read;
use crate::writing::RUN;

/// A file system of this size; unmounted when dropped.
struct Disk(TempDir);

impl Disk {
    #[allow(clippy::print_stderr)] // A skipped test must say so.
    fn new(kib: u32) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "quarterdeck-test"])
            .arg(dir.path())
            .output()
            .is_ok_and(|output| output.status.success());
        if !mounted {
            eprintln!("skipped: no right to mount a file system in memory");
        }
        mounted.then_some(Self(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all the space that is left; give it back by deleting the file.
    fn fill(&self) {
        use std::io::Write;
        let mut file = fs::File::create(self.path().join("filler")).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
        while file.write_all(&[1; 1]).is_ok() {}
    }

    fn make_room(&self) {
        fs::remove_file(self.path().join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).output();
    }
}

/// Appends lines until one is kept, or until there has been ample time for it. Returns how many there were.
fn print_until(writer: &mut Writer, wanted: Written, first: u64) -> u64 {
    let until = Instant::now() + 10 * RETRY_AFTER;
    let mut number = first;
    loop {
        let written = writer.append_out(format!("line {number}\n").as_bytes(), 5);
        number += 1;
        if written == wanted {
            return number;
        }
        assert!(Instant::now() < until, "never {wanted:?}");
    }
}

#[test]
fn a_small_disk_keeps_the_newest() {
    let Some(disk) = Disk::new(2048) else { return };
    let log = disk.path().join("log");
    let mut writer = Writer::open(&log, Limits { segment_bytes: 64 * 1024, retain_bytes: 1 << 30 }, RUN, 1).unwrap();
    for number in 0..500_000 {
        assert_eq!(writer.append_out(format!("line {number}\n").as_bytes(), 5), Written::Kept);
    }
    let found = read(&log);
    assert_eq!(found.next_line, 500_000);
    assert!(found.is_without_holes() && found.gaps().is_empty());
    let kept: u64 = found.names.iter().map(|name| fs::metadata(log.join(name.file_name())).unwrap().len()).sum();
    assert!(kept > 1024 * 1024, "the newest {kept} bytes");
}

#[test]
fn what_a_full_disk_swallows_is_counted_exactly() {
    let Some(disk) = Disk::new(4096) else { return };
    let log = disk.path().join("log");
    let mut writer = Writer::open(&log, Limits { segment_bytes: 16 * 1024, retain_bytes: 1 << 30 }, RUN, 1).unwrap();
    assert_eq!(writer.append_start(&StartPayload::default(), 5), Written::Kept);
    disk.fill();
    // The current segment has its space; only the next one cannot be made, and the log has no other to give up.
    let mut sent = print_until(&mut writer, Written::Dropped, 0);
    let kept = sent - 1;
    assert!(kept > 500);
    let mut bytes = format!("line {kept}\n").len() as u64;
    for _ in 0..1000 {
        let line = format!("line {sent}\n");
        if writer.append_out(line.as_bytes(), 5) == Written::Kept {
            break;
        }
        bytes += line.len() as u64;
        sent += 1;
    }
    assert_eq!(writer.append_note(b"a notice", 5), Written::Dropped);
    assert_eq!(writer.append_in(&InPayload { request_id: 1, user: "ann", bytes: b"help" }, 5), Written::Dropped);
    let losses = writer.losses();
    assert_eq!((losses.bytes, losses.lines), (bytes + 8 + 4, sent - kept + 2));

    disk.make_room();
    let until = Instant::now() + 10 * RETRY_AFTER;
    while writer.losses().bytes == losses.bytes && read(&log).gaps().is_empty() {
        assert!(Instant::now() < until, "it never tried again");
        let due = writer.next_tick().unwrap();
        while Instant::now() < due {
            std::thread::park_timeout(Duration::from_millis(10));
        }
        writer.tick(6);
    }
    assert_eq!(writer.append_out(b"after\n", 7), Written::Kept);
    let found = read(&log);
    let (first, gap) = found.gaps()[0];
    assert_eq!((first, gap.bytes, gap.lines, gap.reason), (kept, losses.bytes, losses.lines, GapReason::DiskFull));
    assert_eq!(found.next_line, sent + 2 + 1, "the numbering goes on as if nothing had happened");
    assert!(found.is_without_holes());
    assert_eq!(writer.losses(), losses);
}

#[test]
fn an_outage_within_a_line_ends_it() {
    let Some(disk) = Disk::new(4096) else { return };
    let log = disk.path().join("log");
    let mut writer = Writer::open(&log, Limits { segment_bytes: 1024, retain_bytes: 1 << 30 }, RUN, 1).unwrap();
    disk.fill();
    // Bytes without a line end go on into the reserved overflow, until that is used up too.
    let mut written = 0;
    while writer.append_out(&[b'x'; 1000], 5) == Written::Kept {
        written += 1;
        assert!(written < 1000);
    }
    assert_eq!(writer.append_out(b"the rest\nnext\n", 5), Written::Dropped);
    disk.make_room();
    let next = print_until(&mut writer, Written::Kept, 0);
    let found = read(&log);
    assert_eq!(found.gaps().len(), 1);
    assert!(found.is_without_holes());
    assert_eq!(found.game_lines().last().unwrap(), &format!("line {}", next - 1));
}

#[test]
fn no_space_for_the_first_segment_is_an_error_with_a_reason() {
    let Some(disk) = Disk::new(1024) else { return };
    disk.fill();
    let error = Writer::open(&disk.path().join("log"), Limits::default(), RUN, 1).unwrap_err();
    assert!(error.to_string().contains("No space left"), "{error}");
}

#[test]
fn the_exit_record_has_its_own_space() {
    let Some(disk) = Disk::new(512) else { return };
    let file = spool::exit::reserve(disk.path()).unwrap();
    disk.fill();
    let record = spool::ExitRecord { run_id: RUN, time_ms: 1, pos: 2, line: 3, exit: spool::ExitPayload::default() };
    spool::exit::write(&file, &record).unwrap();
    assert_eq!(spool::exit::read(disk.path()).unwrap(), Some(record));
}
