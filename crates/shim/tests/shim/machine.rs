//! Machines that run out of something. Tests that need a right they do not have say so and pass.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use spool::GapReason;
use spool::message::{Reply, Request};
use spool::spec::Console;

use crate::harness::{Said, Server, TERMINAL, exit_of, output};

#[allow(clippy::print_stderr)] // A skipped test must say so.
fn skip(why: &str) {
    eprintln!("skipped: {why}");
}

/// A small file system in memory over a folder; unmounted when dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn over(folder: PathBuf, options: &str) -> Option<Self> {
        fs::create_dir_all(&folder).unwrap();
        let command =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "quarterdeck-test"]).arg(&folder).output();
        command.is_ok_and(|output| output.status.success()).then_some(Self(folder))
    }

    /// Takes all the space that is left, to the last byte.
    fn fill(&self) {
        let mut file = fs::File::create(self.0.join("filler")).unwrap();
        for size in [4096, 1] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
    }

    fn make_room(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).output();
    }
}

#[test]
fn a_full_disk_stops_no_game_and_is_named_in_the_log() {
    let server = Server::new();
    let Some(disk) = Mounted::over(server.log_dir(), "size=2m") else { return skip("no right to mount") };
    let mut spec = server.script("read line; seq 1 200000; read line; echo still here; read line; exit 3");
    spec.segment_bytes = 16 * 1024;
    let running = server.start(&spec);
    let mut client = running.connect();
    disk.fill();
    client.write(1, b"go\n");
    // The game prints all of it, however little of it is kept: only then it reads again.
    let lost = loop {
        client.send(&Request::Hello);
        let hello = std::iter::from_fn(|| client.next())
            .find_map(|reply| if let Reply::Hello(hello) = reply { Some(hello) } else { None });
        let hello = hello.unwrap();
        if hello.line + hello.lost_lines >= 200_001 {
            break hello;
        }
    };
    assert!(lost.lost_lines > 100_000);
    disk.make_room();
    client.wait_log(&server, |log| log.iter().any(|said| matches!(said, Said::Gap(..))));
    client.write(2, b"on\n");
    client.wait_line(&server, "still here");
    client.write(3, b"end\n");
    assert_eq!(client.wait_exit(), 3 << 8);
    let log = server.log();
    let gaps: Vec<_> =
        log.iter().filter_map(|said| if let Said::Gap(at, gap) = said { Some((*at, *gap)) } else { None }).collect();
    let [(first, gap)] = gaps.as_slice() else { panic!("{gaps:?}") };
    assert_eq!(gap.reason, GapReason::DiskFull);
    let kept = output(&log).len() as u64 - 1;
    assert_eq!(kept + gap.lines, 200_000);
    assert_eq!(*first, kept + 1, "the first command is a line too");
    assert!(matches!(log.iter().rev().nth(1), Some(Said::Person { seq: 200_003, .. })), "nothing is numbered twice");
    running.wait();
}

#[test]
fn a_disk_that_stays_full_still_has_the_exit_record_and_the_next_run_names_the_gap() {
    let server = Server::new();
    let Some(disk) = Mounted::over(server.log_dir(), "size=1m") else { return skip("no right to mount") };
    let mut spec = server.script("read line; seq 1 200000; exit 4");
    spec.segment_bytes = 16 * 1024;
    let running = server.start(&spec);
    let mut client = running.connect();
    disk.fill();
    client.write(1, b"go\n");
    assert_eq!(client.wait_exit(), 4 << 8);
    running.wait();
    assert_eq!(server.exit_record().unwrap().exit.code(), Some(4));
    let kept = output(&server.log()).len() as u64;
    assert!(kept < 100_000, "{kept} lines on a full disk");

    disk.make_room();
    // Once, however many runs come after it. The first command is a line too.
    for run in 1..=2 {
        let mut again = server.script("echo again");
        again.segment_bytes = spec.segment_bytes;
        let log = server.run(&again);
        let gaps: Vec<_> = log
            .iter()
            .filter_map(|said| if let Said::Gap(at, gap) = said { Some((*at, *gap)) } else { None })
            .collect();
        let [(first, gap)] = gaps.as_slice() else { panic!("{gaps:?}") };
        assert_eq!((*first, gap.lines, gap.reason), (kept + 1, 200_000 - kept, GapReason::DiskFull));
        assert!(log.contains(&Said::Game(200_000 + run, b"again".to_vec())), "numbers go on behind what was lost");
    }
}

#[test]
fn a_kill_for_want_of_memory_is_recognized() {
    let group = PathBuf::from(format!("/sys/fs/cgroup/memory/quarterdeck-test-{}", std::process::id()));
    let limit = group.join("memory.limit_in_bytes");
    if fs::create_dir(&group).is_err() || fs::write(&limit, "33554432").is_err() {
        let _ = fs::remove_dir(&group);
        return skip("no right to make a memory cgroup of version 1");
    }
    let _ = fs::write(group.join("memory.memsw.limit_in_bytes"), "33554432");
    let server = Server::new();
    // tail keeps the whole of a line without an end in memory.
    let mut spec = server.program(&["tail", "/dev/zero"]);
    spec.cgroup_procs = vec![group.join("cgroup.procs")];
    let log = server.run(&spec);
    let quiet = server.run(&server.script("exit 1"));
    fs::remove_dir(&group).unwrap();
    assert_eq!((exit_of(&log).signal(), exit_of(&log).oom), (Some(9), true));
    assert!(!exit_of(&quiet).oom);
}

#[test]
fn waiting_for_a_game_that_does_not_read_costs_nothing() {
    for console in [Console::Pipe, TERMINAL] {
        let server = Server::new();
        let mut spec = server.script("echo up; while [ ! -e end ]; do sleep 0.02; done");
        spec.console = console;
        let running = server.start(&spec);
        let mut client = running.connect();
        client.wait_line(&server, "up");
        let line = [vec![b'y'; 9_999], vec![b'\n']].concat();
        for id in 1..=7 {
            client.write(id, &line);
        }
        let before = processor_ticks(running.shim.as_raw_nonzero().get());
        // Time has to pass for this one: the game's own processes are the clock.
        let clock = Command::new("sleep").arg("0.5").status().unwrap();
        assert!(clock.success());
        let after = processor_ticks(running.shim.as_raw_nonzero().get());
        assert!(after - before <= 2, "{} ticks in half a second", after - before);
        fs::write(server.path().join("end"), "").unwrap();
        client.wait_exit();
    }
}

fn processor_ticks(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}
