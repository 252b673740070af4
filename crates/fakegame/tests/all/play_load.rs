//! Processes, memory, processor time, files and network of the deterministic game.

use std::fs;
use std::net::UdpSocket;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::game::{DEADLINE, Game, wait_until};

fn pid(text: &str) -> Pid {
    Pid::from_raw(text.parse().unwrap()).unwrap()
}

/// The fields of `/proc/<pid>/stat` behind the name, which ends with the last parenthesis; the first is the state.
fn stat(pid: Pid) -> Vec<String> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).unwrap();
    stat.rsplit_once(") ").unwrap().1.split_whitespace().map(str::to_owned).collect()
}

/// Whether a process leads a session of its own. Read from `/proc`: a session that began outside of our PID namespace, as
/// that of a container's first process does, has the number 0, which rustix's `getsid` does not take.
fn leads_session(pid: Pid) -> bool {
    stat(pid)[3] == pid.as_raw_pid().to_string()
}

/// A field of `/proc/<pid>/status` in KiB.
fn status_kib(pid: Pid, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn children_outlive_the_game_and_hold_its_output() {
    for (flags, away) in [("--fork-children 3", false), ("--fork-children 3 --setsid", true)] {
        let mut game = Game::start(flags);
        let children: Vec<_> = (0..3).map(|index| pid(&game.wait_for_rest(&format!("child {index} pid=")))).collect();
        for child in &children {
            assert_eq!(leads_session(*child), away, "{flags}");
        }
        game.say("stop");
        assert_eq!(game.exit().code(), Some(0));
        assert!(game.is_open());
        for child in children {
            test_kill_process(child).unwrap();
            kill_process(child, Signal::TERM).unwrap();
        }
        // Only now is there nobody left who could print.
        assert!(game.rest().ends_with(b"stopped\n"));
    }
}

#[test]
fn a_daemon_goes_on_without_the_process_that_was_started() {
    let mut game = Game::start("--daemonize --echo-stdin");
    assert_eq!(game.exit().code(), Some(0));
    game.wait_for("Done");
    game.say("anybody there?");
    game.wait_for("cmd: anybody there?\n");
    let daemon = wait_until("both lines", || game.printed_after("in background as PID ").map(|text| pid(&text)));
    assert!(leads_session(daemon));
    game.say("stop");
    game.rest();
}

#[test]
fn memory_is_really_used() {
    let mut game = Game::start("--alloc 64M");
    game.wait_for("alloc: 67108864 bytes\n");
    assert!(status_kib(game.pid(), "VmRSS") >= 64 * 1024);
    let mut greedy = Game::start("--alloc 8000000G");
    greedy.wait_for("alloc: refused");
    greedy.wait_for("Done");
}

#[test]
fn processor_time_is_really_used() {
    let mut game = Game::start("--burn-cpu 0.5");
    game.wait_for("burn: 0.5 cores\n");
    wait_until("ten ticks of processor time", || {
        let user: u64 = stat(game.pid())[11].parse().unwrap();
        (user >= 10).then_some(())
    });
}

#[test]
fn files_are_written_into_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let mut game = Game::start_in(folder.path(), "--write-files 20");
    game.wait_for("files: 20 of 1024 bytes\n");
    let sizes: Vec<_> = fs::read_dir(folder.path().join("fakegame-files"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .collect();
    assert_eq!(sizes, [1024; 20]);
}

#[test]
fn datagrams_come_back() {
    let mut game = Game::start("--udp-echo 0");
    let address = game.wait_for_rest("udp: ");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket.send_to(b"ahoy", &address).unwrap();
    let mut buffer = [0; 16];
    let (length, from) = socket.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..length], from.to_string()), (&b"ahoy"[..], address));
    let mut second = Game::start(&format!("--udp-echo {}", from.port()));
    assert!(second.wait_for_rest("udp: ").contains("in use"));
}
