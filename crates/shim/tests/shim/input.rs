//! Commands: once, in order, whole, and never lost without a word.

use std::io::Write;

use spool::message::{INPUT_BYTES_MAX, Outcome, Reply, Request};
use spool::spec::Console;

use crate::harness::{Said, Server, TERMINAL, output};

const ECHO: &str = "echo up; while read -r line; do [ \"$line\" = stop ] && exit; echo \"got $line\"; done";

#[test]
fn a_command_sent_twice_is_done_once() {
    let server = Server::new();
    for console in [Console::Pipe, TERMINAL] {
        let mut spec = server.script(ECHO);
        spec.console = console;
        let running = server.start(&spec);
        let mut client = running.connect();
        client.wait_line(&server, "up");
        assert_eq!(client.write(7, b"hello\n"), Outcome::Accepted);
        assert_eq!(client.write(7, b"hello\n"), Outcome::AlreadyDone);
        // A daemon that was killed asks on another connection.
        drop(client);
        let mut client = running.connect();
        assert_eq!(client.write(7, b"hello\n"), Outcome::AlreadyDone);
        assert_eq!(client.write(8, b"stop\n"), Outcome::Accepted);
        client.wait_exit();
    }
    let log = server.log();
    assert_eq!(output(&log), ["up", "got hello", "up", "got hello"]);
    let asked = log.iter().position(
        |said| matches!(said, Said::Person { request_id: 7, user, text, .. } if user == "ann" && text == b"hello"),
    );
    let answered = log.iter().position(|said| matches!(said, Said::Game(_, text) if text == b"got hello"));
    assert!(asked.unwrap() < answered.unwrap(), "the answer comes after the question: {log:?}");
}

#[test]
fn a_terminal_changes_nothing_on_the_way() {
    let server = Server::new();
    // head counts what arrives; a terminal in its usual state would cut the line, take ^C for a signal and ^D for the end.
    let mut spec =
        server.script("stty size; tty > /dev/null && echo terminal; echo up; head -c 20007 > taken; echo done");
    spec.console = TERMINAL;
    let running = server.start(&spec);
    let mut client = running.connect();
    client.wait_line(&server, "up");
    let long = [vec![b'x'; 9_999], vec![b'\n']].concat();
    assert_eq!(client.write(1, &long), Outcome::Accepted);
    assert_eq!(client.write(2, &long), Outcome::Accepted);
    assert_eq!(client.write(3, b"\x03\x04\x11\x13\x16\r\n"), Outcome::Accepted);
    client.wait_exit();
    assert_eq!(output(&server.log()), ["50 200", "terminal", "up", "done"]);
    let taken = std::fs::read(server.path().join("taken")).unwrap();
    assert_eq!(taken, [&long[..], &long[..], b"\x03\x04\x11\x13\x16\r\n"].concat());
}

#[test]
fn the_terminal_can_be_resized() {
    let server = Server::new();
    let mut spec = server.script("echo up; read line; stty size");
    spec.console = TERMINAL;
    let running = server.start(&spec);
    let mut client = running.connect();
    client.wait_line(&server, "up");
    client.send(&Request::Resize { rows: 24, columns: 80 });
    client.write(1, b"\n");
    client.wait_exit();
    assert_eq!(output(&server.log()), ["up", "24 80"]);
}

#[test]
fn a_game_that_does_not_read_makes_the_shim_busy() {
    let server = Server::new();
    for console in [Console::Pipe, TERMINAL] {
        let mut spec = server.script("echo up; while [ ! -e read ]; do sleep 0.01; done; while read -r line; do [ \"$line\" = stop ] && exit; done");
        spec.console = console;
        let running = server.start(&spec);
        let mut client = running.connect();
        client.wait_line(&server, "up");
        let line = [vec![b'y'; 999], vec![b'\n']].concat();
        let mut id = 0;
        let refused = loop {
            id += 1;
            assert!(id < 1000, "never busy");
            match client.write(id, &line) {
                Outcome::Accepted => {}
                other => break other,
            }
        };
        assert_eq!(refused, Outcome::Busy);
        std::fs::write(server.path().join("read"), "").unwrap();
        // As soon as it reads, the same id is taken.
        while client.write(id, &line) == Outcome::Busy {}
        while client.write(1001, b"stop\n") == Outcome::Busy {}
        client.wait_exit();
        std::fs::remove_file(server.path().join("read")).unwrap();
        let log = server.log();
        let taken =
            log.iter().filter(|said| matches!(said, Said::Person { text, .. } if text.starts_with(b"y"))).count();
        assert!(taken as u64 >= id, "{taken} of {id}");
        assert!(matches!(log.last(), Some(Said::Exited(exit)) if exit.code() == Some(0)));
    }
}

#[test]
fn a_game_that_has_closed_its_input_is_said_to_have() {
    let server = Server::new();
    let running = server.start(&server.script("exec < /dev/null; echo up; while [ ! -e end ]; do sleep 0.01; done"));
    let mut client = running.connect();
    client.wait_line(&server, "up");
    assert_eq!(client.write(1, b"hello\n"), Outcome::Accepted);
    let log = client.wait_log(&server, |log| matches!(log.last(), Some(Said::Node(..))));
    let Some(Said::Node(_, text)) = log.last() else { unreachable!() };
    assert!(text.contains("closed its input; 6 bytes"), "{text}");
    assert_eq!(client.write(2, b"hello\n"), Outcome::InputClosed);
    std::fs::write(server.path().join("end"), "").unwrap();
    client.wait_exit();
}

#[test]
fn notices_stand_in_the_log_once() {
    let server = Server::new();
    let running = server.start(&server.script("printf 'a prompt> '; read line; echo \"read $line\""));
    let mut client = running.connect();
    client.wait_log(&server, |log| log.len() == 1);
    for expected in [Outcome::Accepted, Outcome::AlreadyDone] {
        client.send(&Request::Note { request_id: 5, text: b"disk nearly full" });
        assert_eq!(client.outcome(5), expected);
    }
    client.write(6, b"x\n");
    client.wait_exit();
    let log = server.log();
    let notes = log.iter().filter(|said| matches!(said, Said::Node(_, text) if text == "disk nearly full")).count();
    assert_eq!(notes, 1);
    assert_eq!(output(&log), ["a prompt> read x"]);
}

#[test]
fn what_is_no_request_ends_that_connection_only() {
    let server = Server::new();
    let running = server.start(&server.script(ECHO));
    let mut good = running.connect();
    good.wait_line(&server, "up");
    let bad: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\xff\xff\xffW\0\0\0",
        b"\x01\0\0\0W\0\0\0x",
        b"\x05\0\0\0S\0\0\0\x01\0\0\0\x09",
        b"\0\0\0\0H\x01\0\0",
    ];
    for bytes in bad {
        let mut client = running.connect();
        client.stream.write_all(bytes).unwrap();
        while let Some(reply) = client.next() {
            assert!(matches!(reply, Reply::Doorbell { .. }), "{reply:?}");
        }
    }
    let mut long = running.connect();
    long.send(&Request::Write { request_id: 9, user: "", bytes: &vec![b'x'; INPUT_BYTES_MAX + 1] });
    while long.next().is_some() {}
    assert_eq!(good.write(1, b"stop\n"), Outcome::Accepted);
    good.wait_exit();
}

#[test]
fn a_request_of_the_future_is_named_and_passed_over() {
    let server = Server::new();
    let running = server.start(&server.script(ECHO));
    let mut client = running.connect();
    client.wait_line(&server, "up");
    for letter in [b'U', b'z'] {
        client.send(&Request::Unknown { letter });
        let reply = std::iter::from_fn(|| client.next()).find(|reply| !matches!(reply, Reply::Doorbell { .. }));
        assert_eq!(reply, Some(Reply::Unknown { letter }));
    }
    client.write(1, b"stop\n");
    client.wait_exit();
}

#[test]
fn one_connection_too_many_is_hung_up_on() {
    let server = Server::new();
    let running = server.start(&server.script(ECHO));
    let mut clients: Vec<_> = (0..8).map(|_| running.connect()).collect();
    assert!(running.try_connect().is_none());
    drop(clients.pop());
    // The shim learns of the free place in its own time.
    let mut client = loop {
        if let Some(client) = running.try_connect() {
            break client;
        }
    };
    client.write(1, b"stop\n");
    client.wait_exit();
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let server = Server::new();
    let running = server.start(&server.script(ECHO));
    let mut client = running.connect();
    let mut bytes = Vec::new();
    Request::Write { request_id: 3, user: "ann", bytes: b"slow\n" }.encode(&mut bytes);
    for byte in bytes {
        client.stream.write_all(&[byte]).unwrap();
    }
    assert_eq!(client.outcome(3), Outcome::Accepted);
    client.write(4, b"stop\n");
    client.wait_exit();
    assert_eq!(output(&server.log()), ["up", "got slow"]);
}

#[test]
fn the_last_ids_are_known_and_no_more() {
    let server = Server::new();
    let running = server.start(&server.script("cat > /dev/null"));
    let mut client = running.connect();
    let newest = spool::message::KNOWN_IDS as u64 + 1;
    for id in 1..=newest {
        assert_eq!(client.write(id, b"x\n"), Outcome::Accepted);
    }
    assert_eq!(client.write(2, b"x\n"), Outcome::AlreadyDone);
    assert_eq!(client.write(newest, b"x\n"), Outcome::AlreadyDone);
    assert_eq!(client.write(1, b"x\n"), Outcome::Accepted, "this is one more than are known");
    client.send(&Request::Kill);
    client.wait_exit();
}
