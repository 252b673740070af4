//! Output: every byte, once, in order, whatever daemons do meanwhile.

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};
use spool::message::{Reply, Request};
use spool::spec::Console;

use crate::harness::{Said, Server, TERMINAL, output, wait_gone};

const LINES: usize = 200_000;

fn assert_counted(log: &[Said], lines: usize) {
    let numbers: Vec<u64> =
        log.iter().filter_map(|said| if let Said::Game(seq, _) = said { Some(*seq) } else { None }).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "numbers without holes");
    let output = output(log);
    assert_eq!(output.len(), lines);
    for (line, number) in output.iter().zip(1..) {
        assert_eq!(*line, number.to_string());
    }
}

#[test]
fn a_flood_is_complete_while_daemons_come_and_go() {
    for console in [Console::Pipe, TERMINAL] {
        let server = Server::new();
        let mut spec = server.script(&format!("seq 1 {LINES}"));
        spec.console = console;
        spec.segment_bytes = 64 * 1024;
        let running = server.start(&spec);
        let mut connections = 0;
        // Each daemon lives for three doorbells; the last one hears of the end, or comes too late for it.
        while let Some(mut client) = running.try_connect() {
            connections += 1;
            let mut doorbells = 0;
            let over = loop {
                match client.next() {
                    Some(Reply::Doorbell { .. }) if doorbells == 3 => break false,
                    Some(Reply::Doorbell { .. }) => doorbells += 1,
                    Some(Reply::Exited { .. }) | None => break true,
                    Some(other) => panic!("{other:?}"),
                }
            };
            if over {
                break;
            }
        }
        running.wait();
        assert!(connections > 0);
        assert_counted(&server.log(), LINES);
    }
}

#[test]
fn a_client_that_never_reads_slows_nobody_and_is_dropped() {
    let server = Server::new();
    let running = server.start(&server.script(&format!("read line; seq 1 {LINES}; read line")));
    let mut stuck = running.connect();
    let mut client = running.connect();
    client.write(1, b"\n");
    // Answers pile up until the shim gives this client up; writing then fails.
    let mut request = Vec::new();
    Request::Hello.encode(&mut request);
    let requests = request.repeat(1000);
    let mut sent = 0;
    while std::io::Write::write_all(&mut stuck.stream, &requests).is_ok() {
        sent += 1;
        assert!(sent < 10_000, "it is never given up");
    }
    client.wait_log(&server, |log| output(log).len() == LINES);
    assert_counted(&server.log(), LINES);
    client.write(2, b"\n");
    client.wait_exit();
}

#[test]
fn any_byte_is_kept() {
    let server = Server::new();
    let script = "printf 'a\\000b\\377\\n'; printf 'bare\\rreturn\\r\\n'; printf '\\033[31mred\\033[0m\\n\\n'; \
        head -c 200000 /dev/zero | tr '\\000' x; echo; echo end";
    for console in [Console::Pipe, TERMINAL] {
        let server_log_before = server.log().len();
        let mut spec = server.script(script);
        spec.console = console;
        let log = server.run(&spec);
        let lines: Vec<&[u8]> = log[server_log_before..]
            .iter()
            .filter_map(|said| if let Said::Game(_, bytes) = said { Some(bytes.as_slice()) } else { None })
            .collect();
        assert_eq!(lines[..4], [b"a\0b\xff".as_slice(), b"bare\rreturn\r", b"\x1b[31mred\x1b[0m", b""]);
        let long: usize = lines[4..lines.len() - 1].iter().map(|line| line.len()).sum();
        assert_eq!((long, lines.len()), (200_000, 9), "a long line is several, none of its bytes lost");
        assert_eq!(lines[8], b"end");
    }
}

/// Prints numbered lines to the game's own output until it takes no more: the game would wait at its next print now.
fn fill(game: Pid) -> String {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let path = format!("/proc/{}/fd/1", game.as_raw_nonzero());
    let output = rustix::fs::open(path, flags, Mode::empty()).unwrap();
    let mut printed = String::new();
    for number in 1..LINES {
        let line = format!("{number} of a full pipe\n");
        match rustix::io::write(&output, line.as_bytes()) {
            Ok(count) => printed.push_str(&line[..count]),
            Err(errno) => {
                assert_eq!(errno, Errno::AGAIN);
                return printed;
            }
        }
    }
    panic!("somebody reads it");
}

#[test]
fn a_stopped_shim_holds_the_game_but_loses_nothing() {
    for console in [Console::Pipe, TERMINAL] {
        let server = Server::new();
        let (go, done) = (server.path().join("go"), server.path().join("done"));
        for fifo in [&go, &done] {
            rustix::fs::mknodat(CWD, fifo, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        }
        let mut spec =
            server.script(&format!("echo up; read line < go; echo; seq 1 {LINES}; echo done > done; sleep 1000"));
        spec.console = console;
        let running = server.start(&spec);
        let mut client = running.connect();
        client.wait_line(&server, "up");
        rustix::process::kill_process(running.shim, Signal::STOP).unwrap();
        let (_, status) = rustix::process::waitpid(Some(running.shim), WaitOptions::UNTRACED).unwrap().unwrap();
        assert!(status.stopped());

        let first = fill(running.game);
        assert!(first.len() > 4096, "{} bytes", first.len());
        std::fs::write(&go, "go\n").unwrap();
        // More than any pipe or terminal holds, so it cannot be done with it; and a pipe takes nothing at all.
        let reader =
            rustix::fs::open(&done, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()).unwrap();
        assert_eq!(rustix::io::read(&reader, &mut [0; 8]), Ok(0), "the game has got past the stopped shim");
        if console == Console::Pipe {
            assert_eq!(fill(running.game), "");
        }

        rustix::process::kill_process(running.shim, Signal::CONT).unwrap();
        let log = client.wait_log(&server, |log| output(log).last().is_some_and(|line| *line == LINES.to_string()));
        let mut expected = vec!["up".to_owned()];
        expected.extend(first.lines().map(str::to_owned));
        // The game's own first line end ends what the pipe cut.
        expected.extend(first.ends_with('\n').then(String::new));
        expected.extend((1..=LINES).map(|number| number.to_string()));
        assert!(output(&log) == expected, "{} lines of {}", output(&log).len(), expected.len());
        client.send(&Request::Kill);
        client.wait_exit();
    }
}

#[test]
fn retention_bounds_the_log_while_the_game_prints() {
    let server = Server::new();
    let mut spec = server.script(&format!("seq 1 {LINES}"));
    spec.segment_bytes = 32 * 1024;
    spec.retain_bytes = 128 * 1024;
    let log = server.run(&spec);
    let bytes: u64 =
        std::fs::read_dir(server.log_dir()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    // A segment ends with a line, up to a frame behind its size.
    assert!(bytes < 256 * 1024, "{bytes}");
    let lines = output(&log);
    assert_eq!(lines.last().unwrap(), &LINES.to_string());
    assert!(
        log.contains(&Said::Game(LINES as u64 - 1, LINES.to_string().into_bytes())),
        "numbers count what was deleted"
    );
    let first: usize = lines[0].parse().unwrap();
    assert!(lines.iter().zip(first..).all(|(line, number)| *line == number.to_string()));
}

#[test]
fn a_game_that_closes_its_output_goes_on() {
    for console in [Console::Pipe, TERMINAL] {
        let server = Server::new();
        let mut spec = server.script("echo last; exec > /dev/null 2>&1; read line; exit 5");
        spec.console = console;
        let running = server.start(&spec);
        let mut client = running.connect();
        client.wait_line(&server, "last");
        client.write(1, b"end\n");
        assert_eq!(client.wait_exit(), 5 << 8);
    }
}

#[test]
fn a_terminal_opened_again_is_read_again() {
    let server = Server::new();
    let mut spec = server.script("echo one; exec < /dev/null > /dev/null 2>&1; sleep 0.1; echo two > /dev/tty");
    spec.console = TERMINAL;
    let log = server.run(&spec);
    assert_eq!(output(&log), ["one", "two"]);
}

#[test]
fn nobody_is_left_when_it_is_over() {
    let server = Server::new();
    let running = server.start(&server.script("sleep 1000 & echo $!; exit 0"));
    let shim = running.shim;
    running.wait();
    wait_gone(shim);
    let pid: i32 = output(&server.log())[0].parse().unwrap();
    assert!(!crate::harness::lives(pid));
}
