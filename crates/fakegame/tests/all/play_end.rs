//! How the deterministic game ends: by command, by signal, by itself.

use std::os::unix::process::ExitStatusExt;

use rustix::process::Signal;

use crate::game::Game;

#[test]
fn the_stop_command_stops_it_with_its_status() {
    let mut game = Game::start("--stop-command quit --exit-code 3 --rate 1000");
    game.wait_for("line 10\n");
    game.say("stop");
    game.wait_for("line 20\n");
    game.say("quit");
    game.wait_for("stopping: command\n");
    assert_eq!(game.rest(), b"stopped\n");
    assert_eq!(game.exit().code(), Some(3));
}

#[test]
fn stopping_takes_its_time_and_prints_no_lines() {
    let mut game = Game::start("--stop-delay 100ms --rate 1000 --echo-stdin");
    game.say("stop");
    game.wait_for("stopping: command\n");
    let started = std::time::Instant::now();
    game.say("hello?");
    assert_eq!(game.rest(), b"ignored while stopping: hello?\nstopped\n");
    assert!(started.elapsed().as_millis() >= 50);
    assert_eq!(game.exit().code(), Some(0));
}

#[test]
fn stop_signals_stop_it() {
    for (signal, name) in [(Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT"), (Signal::HUP, "SIGHUP")] {
        let mut game = Game::start("--ready-after 1h");
        game.wait_for("pid=");
        game.signal(signal);
        game.wait_for(&format!("stopping: {name}\nstopped\n"));
        assert_eq!(game.exit().code(), Some(0), "{name}");
    }
}

#[test]
fn ignored_signals_are_noted_and_ignored() {
    let mut game = Game::start("--ignore-signals TERM,SIGINT,USR1");
    game.wait_for("Done");
    for (signal, name) in [(Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT"), (Signal::USR1, "SIGUSR1")] {
        game.signal(signal);
        game.wait_for(&format!("ignored: {name}\n"));
    }
    game.signal(Signal::KILL);
    assert_eq!(game.exit().signal(), Some(9));
}

#[test]
fn it_can_take_two_signals() {
    let mut game = Game::start("--signals-needed 2");
    game.wait_for("Done");
    game.signal(Signal::INT);
    game.wait_for("SIGINT: 1 of 2\n");
    game.signal(Signal::INT);
    game.wait_for("stopping: SIGINT\n");
    assert_eq!(game.exit().code(), Some(0));
}

#[test]
fn it_can_die_by_signal() {
    let mut game = Game::start("--die-by-signal");
    game.wait_for("Done");
    game.signal(Signal::TERM);
    assert_eq!(game.exit().signal(), Some(15));
}

#[test]
fn crashes_come_without_a_word() {
    for (flags, code, signal) in [
        ("--crash-after 30ms", Some(1), None),
        ("--crash-after 30ms --exit-code 7", Some(7), None),
        ("--crash-after 30ms --segv", None, Some(11)),
        ("--crash-after 30ms --ready-after 1h", Some(1), None),
    ] {
        let mut game = Game::start(flags);
        let output = String::from_utf8(game.rest()).unwrap();
        assert!(!output.contains("stop"), "{flags}: {output}");
        let status = game.exit();
        assert_eq!((status.code(), status.signal()), (code, signal), "{flags}");
    }
    assert_eq!(Game::start("--segv").exit().signal(), Some(11));
}
