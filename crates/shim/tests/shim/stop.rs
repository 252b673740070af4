//! Ends: asked for, forced, and by themselves with something left behind.

use std::fs;

use rustix::process::Signal;
use spool::message::{Outcome, Reply, Request, RunState, Scope, StopBy};

use crate::harness::{Client, Said, Server, TERMINAL, exit_of, lives, output};

const TERM: i32 = 15;
const KILL: i32 = 9;

fn stop_by_signal(client: &mut Client, grace_ms: u32) {
    client.send(&Request::Stop { grace_ms, by: StopBy::Signal(TERM) });
}

/// Pids that a script has printed as `pid <number>`.
fn pids(log: &[Said]) -> Vec<i32> {
    output(log).iter().filter_map(|line| line.strip_prefix("pid ")?.parse().ok()).collect()
}

#[test]
fn a_game_that_stops_when_asked() {
    let server = Server::new();
    let running =
        server.start(&server.script("trap 'echo saving; exit 3' TERM; echo up; while :; do sleep 1000 & wait; done"));
    let mut client = running.connect();
    client.wait_line(&server, "up");
    stop_by_signal(&mut client, 20_000);
    assert_eq!(client.wait_exit(), 3 << 8);
    assert_eq!(output(&server.log()), ["up", "saving"]);
    assert_eq!(exit_of(&server.log()).code(), Some(3));
}

#[test]
fn a_stop_command_stands_in_the_log() {
    let server = Server::new();
    let running = server.start(&server.script("echo up; read line; echo \"bye after $line\""));
    let mut client = running.connect();
    client.wait_line(&server, "up");
    client.send(&Request::Stop { grace_ms: 20_000, by: StopBy::Input(b"stop\n") });
    assert_eq!(client.wait_exit(), 0);
    let log = server.log();
    let expected = Said::Person { seq: 1, user: String::new(), request_id: 0, text: b"stop".to_vec() };
    assert_eq!(log[2], expected);
    assert_eq!(output(&log), ["up", "bye after stop"]);
}

/// The node's lines that say why SIGTERM was sent.
fn fallbacks(log: &[Said]) -> usize {
    log.iter().filter(|said| matches!(said, Said::Node(_, text) if text.contains("SIGTERM instead"))).count()
}

#[test]
fn a_stop_command_that_nobody_can_read_becomes_a_signal_at_once() {
    let script = "exec < /dev/null; trap 'echo saving; exit 3' TERM; echo up; while :; do sleep 1000 & wait; done";
    for known_before in [false, true] {
        let server = Server::new();
        let running = server.start(&server.script(script));
        let mut client = running.connect();
        client.wait_line(&server, "up");
        if known_before {
            client.write(1, b"anybody there?\n");
            assert_eq!(client.write(2, b"no\n"), Outcome::InputClosed);
        }
        // So long that the test would fail if it were waited for.
        client.send(&Request::Stop { grace_ms: 600_000, by: StopBy::Input(b"stop\n") });
        assert_eq!(client.wait_exit(), 3 << 8);
        let log = server.log();
        assert_eq!((fallbacks(&log), output(&log).last().unwrap().as_str()), (1, "saving"), "{log:?}");
    }
}

#[test]
fn the_grace_runs_on_for_a_game_that_can_only_be_asked_by_signal() {
    let server = Server::new();
    let script = "exec < /dev/null; trap '' TERM; echo up; while :; do sleep 1000; done";
    let running = server.start(&server.script(script));
    let mut client = running.connect();
    client.wait_line(&server, "up");
    client.send(&Request::Stop { grace_ms: 200, by: StopBy::Input(b"stop\n") });
    assert_eq!(client.wait_exit(), KILL);
    assert_eq!(fallbacks(&server.log()), 1);
}

#[test]
fn a_game_that_closes_its_input_on_its_way_out_gets_no_signal() {
    let server = Server::new();
    let script = "trap 'exit 9' TERM; echo up; read line; exec < /dev/null; echo going
        while [ ! -e end ]; do sleep 0.02; done; exit 0";
    let running = server.start(&server.script(script));
    let mut client = running.connect();
    client.wait_line(&server, "up");
    client.send(&Request::Stop { grace_ms: 600_000, by: StopBy::Input(b"stop\n") });
    client.wait_line(&server, "going");
    client.write(1, b"too late\n");
    client.send(&Request::Stop { grace_ms: 600_000, by: StopBy::Input(b"stop\n") });
    client.write(2, b"much too late\n");
    fs::write(server.path().join("end"), "").unwrap();
    assert_eq!(client.wait_exit(), 0);
    assert_eq!(fallbacks(&server.log()), 0);
}

#[test]
fn a_game_that_ignores_everything_is_killed_when_its_grace_is_over() {
    let server = Server::new();
    let running =
        server.start(&server.script("trap '' TERM INT HUP; echo up; while :; do read line || sleep 1000; done"));
    let mut client = running.connect();
    client.wait_line(&server, "up");
    stop_by_signal(&mut client, 200);
    client.send(&Request::Hello);
    let state = loop {
        if let Reply::Hello(hello) = client.next().unwrap() {
            break hello.state;
        }
    };
    assert_eq!(state, RunState::Stopping);
    assert_eq!(client.wait_exit(), KILL);
    assert_eq!(exit_of(&server.log()).signal(), Some(KILL));
}

#[test]
fn the_deadline_is_kept_when_the_daemon_has_gone() {
    let server = Server::new();
    let running = server.start(&server.script("trap '' TERM; echo up; while :; do sleep 1000; done"));
    let mut client = running.connect();
    client.wait_line(&server, "up");
    stop_by_signal(&mut client, 200);
    drop(client);
    running.wait();
    assert_eq!(exit_of(&server.log()).signal(), Some(KILL));
}

#[test]
fn killing_reaches_everything_that_tried_to_get_away() {
    let server = Server::new();
    let script = "
        trap '' TERM
        setsid sh -c 'echo pid $$; trap \"\" TERM; sleep 1000; sleep 1000' &
        (setsid sh -c 'echo pid $$; (sh -c \"echo pid \\$\\$; sleep 1000; :\" &) ; sleep 1000; :' &)
        (sh -c 'echo pid $$; exec sleep 1000 > /dev/null 2>&1 < /dev/null' &)
        echo pid $$
        sleep 1000";
    for console in [spool::spec::Console::Pipe, TERMINAL] {
        let mut spec = server.script(script);
        spec.console = console;
        let before = pids(&server.log()).len();
        let running = server.start(&spec);
        let mut client = running.connect();
        let log = client.wait_log(&server, |log| pids(log).len() == before + 5);
        client.send(&Request::Kill);
        assert_eq!(client.wait_exit(), KILL);
        running.wait();
        for pid in &pids(&log)[before..] {
            assert!(!lives(*pid), "{pid} lives");
        }
    }
}

#[test]
fn what_an_ended_game_leaves_behind_is_killed() {
    let server = Server::new();
    // The main process waits until the other one has left its group: the end of a terminal's leader is a signal to its group.
    let script = "(setsid sh -c 'echo pid $$; touch away; while :; do echo more; sleep 0.02; done' &)
        while [ ! -e away ]; do :; done; echo Running in background; exit 4";
    let mut spec = server.script(script);
    spec.console = TERMINAL;
    let running = server.start(&spec);
    let mut client = running.connect();
    let status = client.wait_exit();
    assert_eq!(status, 4 << 8);
    running.wait();
    let log = server.log();
    assert!(output(&log).contains(&"Running in background".to_owned()));
    assert_eq!(exit_of(&log).code(), Some(4));
    for pid in pids(&log) {
        assert!(!lives(pid), "{pid} lives");
    }
}

#[test]
fn the_last_words_are_complete() {
    let server = Server::new();
    for console in [spool::spec::Console::Pipe, TERMINAL] {
        let mut spec = server.script("seq 1 3000; printf unfinished");
        spec.console = console;
        let log = server.run(&spec);
        let lines = output(&log);
        let lines = &lines[lines.len() - 3001..];
        assert!(lines.iter().zip(1..=3000).all(|(line, number)| *line == number.to_string()));
        assert_eq!(lines[3000], "unfinished");
    }
}

#[test]
fn a_suspended_game_can_be_killed() {
    let server = Server::new();
    let running = server.start(&server.script("echo up; kill -STOP $$; echo never"));
    let mut client = running.connect();
    client.wait_line(&server, "up");
    client.send(&Request::Kill);
    assert_eq!(client.wait_exit(), KILL);
    assert_eq!(output(&server.log()), ["up"]);
}

#[test]
fn signals_go_where_they_are_sent() {
    let server = Server::new();
    let script = "trap 'echo main' USR1; (trap 'echo child' USR1; echo ready; while :; do sleep 0.01; done) & 
        trap 'exit 0' USR2; while :; do wait; done";
    let running = server.start(&server.script(script));
    let mut client = running.connect();
    client.wait_line(&server, "ready");
    client.send(&Request::Signal { signal: Signal::USR1.as_raw(), scope: Scope::Main });
    client.wait_line(&server, "main");
    assert_eq!(output(&server.log()), ["ready", "main"]);
    client.send(&Request::Signal { signal: 12_345, scope: Scope::All });
    client.send(&Request::Signal { signal: Signal::KILL.as_raw(), scope: Scope::Group });
    assert_eq!(client.wait_exit(), KILL);
}

#[test]
fn after_the_end_nothing_is_taken_any_more() {
    let server = Server::new();
    // What is left behind keeps the output open, so the shim is in its drain when the command comes.
    let running =
        server.start(&server.script("(setsid sleep 1000 &); trap 'exit 0' TERM; echo up; while :; do read line; done"));
    let mut client = running.connect();
    client.wait_line(&server, "up");
    client.send(&Request::Signal { signal: TERM, scope: Scope::Main });
    loop {
        client.send(&Request::Hello);
        if matches!(client.next().unwrap(), Reply::Hello(hello) if hello.state == RunState::Ended) {
            break;
        }
    }
    assert_eq!(client.write(1, b"hello\n"), Outcome::NotRunning);
    client.send(&Request::Note { request_id: 2, text: b"the last word" });
    assert_eq!(client.outcome(2), Outcome::Accepted);
    client.wait_exit();
    let log = server.log();
    assert!(matches!(log.as_slice(), [.., Said::Node(_, text), Said::Exited(_)] if text == "the last word"), "{log:?}");
}

#[test]
fn the_shim_does_not_mind_signals() {
    let server = Server::new();
    let running = server.start(&server.script("echo up; read line; echo \"got $line\""));
    let mut client = running.connect();
    client.wait_line(&server, "up");
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::PIPE, Signal::QUIT, Signal::USR1, Signal::ALARM] {
        rustix::process::kill_process(running.shim, signal).unwrap();
    }
    assert_eq!(client.write(1, b"still here\n"), Outcome::Accepted);
    client.wait_exit();
    assert_eq!(output(&server.log()), ["up", "got still here"]);
}

#[test]
fn a_deleted_exit_file_of_an_older_run_is_no_obstacle() {
    let server = Server::new();
    server.run(&server.script("exit 1"));
    fs::remove_file(server.log_dir().join("exit")).unwrap();
    server.run(&server.script("exit 2"));
    assert_eq!(server.exit_record().unwrap().exit.code(), Some(2));
}
