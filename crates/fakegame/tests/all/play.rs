//! Lines, rates, odd bytes and input of the deterministic game.

use std::io::{ErrorKind, Write};
use std::process::Stdio;

use crate::game::{Game, command};

/// What is printed up to and including the ready line.
fn opening(game: &Game) -> String {
    format!("fakegame pid={}\nDone (0.000s)! For help, type \"help\"\n", game.pid().as_raw_pid())
}

#[test]
fn lines_are_numbered_without_gap_at_full_speed() {
    let mut game = Game::start("--lines 300000 --first 5 --exit-when-done");
    let mut wanted = opening(&game);
    wanted.extend((5..300_005).map(|number| format!("line {number}\n")));
    wanted.push_str("stopping: done\nstopped\n");
    assert!(game.rest() == wanted.as_bytes(), "the output is not what it should be");
    assert_eq!(game.exit().code(), Some(0));
}

#[test]
fn a_rate_is_never_exceeded() {
    let mut game = Game::start("--rate 400 --lines 100 --stamp --exit-when-done");
    let text = String::from_utf8(game.rest()).unwrap();
    let times: Vec<u64> =
        text.lines().filter_map(|line| line.split_once(" t=")).map(|(_, t)| t.parse().unwrap()).collect();
    assert_eq!(times.len(), 100);
    assert!(times.is_sorted());
    // 99 pauses of 2.5 ms; a little less, because the first line may have been late.
    let took_ms = (times[99] - times[0]) / 1_000_000;
    assert!(took_ms >= 150, "100 lines in {took_ms} ms");
}

#[test]
fn ready_comes_after_its_time_and_in_its_words() {
    let mut command = command("--ready-after 80ms --lines 1");
    command.args(["--ready-line", "up and running"]);
    let started = std::time::Instant::now();
    let mut game = Game::on_pipes(command);
    game.wait_for("up and running\nline 0\n");
    assert!(started.elapsed().as_millis() >= 80);
}

#[test]
fn a_game_can_be_silent_about_being_ready() {
    let mut game = Game::on_pipes({
        let mut command = command("--lines 1 --exit-when-done");
        command.args(["--ready-line", ""]);
        command
    });
    let wanted = format!("fakegame pid={}\nline 0\nstopping: done\nstopped\n", game.pid().as_raw_pid());
    assert_eq!(String::from_utf8(game.rest()).unwrap(), wanted);
}

#[test]
fn odd_bytes_are_printed_as_they_are() {
    for (flags, line) in [
        ("--crlf", &b"line 0\r\n"[..]),
        ("--ansi", b"\x1b[31mline 0\x1b[0m\n"),
        ("--nul", b"line 0 \0\n"),
        ("--invalid-utf8", b"line 0 \xff\xfe\xc3(\n"),
        ("--line-len 10", b"line 0 abc\n"),
    ] {
        let mut game = Game::start(&format!("--lines 1 --exit-when-done {flags}"));
        let output = game.rest();
        assert!(output.windows(line.len()).any(|window| window == line), "{flags}: {output:?}");
    }
}

#[test]
fn a_long_line_comes_whole_after_the_ready_line() {
    let mut game = Game::start("--long-line 1000000 --lines 1 --exit-when-done");
    let output = String::from_utf8(game.rest()).unwrap();
    let lines: Vec<_> = output.lines().collect();
    assert!(lines[1].starts_with("Done") && lines[2].starts_with("long abc") && lines[3] == "line 0");
    assert_eq!(lines[2].len(), 1_000_000);
}

#[test]
fn input_comes_back_byte_for_byte() {
    let mut game = Game::start("--echo-stdin --ready-after 1h");
    for line in ["hello", "", "  two  words ", "grüße \x1b[1m", "cr\r"] {
        game.say(line);
        assert_eq!(game.wait_for(&format!("cmd: {line}\n")).lines().count(), 1 + usize::from(line == "hello"));
    }
    let long = "x".repeat(100_000);
    game.say(&long);
    game.wait_for(&format!("cmd: {long}\n"));
}

#[test]
fn the_prompt_has_no_newline() {
    let mut command = command("--echo-stdin");
    command.args(["--no-newline-prompt", "> "]);
    let mut game = Game::on_pipes(command);
    game.wait_for("\"help\"\n> ");
    game.say("a");
    assert_eq!(game.wait_for("\n> "), "cmd: a\n> ");
}

#[test]
fn input_that_is_ignored_backs_up() {
    let mut game = Game::start("--ignore-stdin");
    game.wait_for("Done");
    rustix::io::ioctl_fionbio(&*game.input(), true).unwrap();
    let line = [b'x'; 4096];
    let full = std::iter::repeat_with(|| game.input().write(&line)).take(1000).find_map(Result::err).unwrap();
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
}

#[test]
fn the_end_of_input_is_not_the_end_of_the_game() {
    let mut game = Game::start("--obey --rate 100");
    game.end_input();
    game.wait_for("line 20\n");
    assert!(game.is_open());
}

#[test]
fn a_test_can_steer_it() {
    let mut game = Game::start("--obey");
    game.wait_for("Done");
    game.wait_for("\n");
    game.say("burst 3");
    assert_eq!(game.wait_for("line 2\n"), "line 0\nline 1\nline 2\n");
    game.say(r"raw a\e[0m\xff\0\r\n");
    assert_eq!(game.wait_for("\r\n").as_bytes(), "a\x1b[0m\u{fffd}\0\r\n".as_bytes());
    game.say("burst soup");
    game.wait_for("burst needs a number of lines\n");
    game.say("rate -1");
    game.wait_for("is not a rate");
    game.say("rate 1000");
    game.wait_for("line 50\n");
    game.say("exit 9");
    assert_eq!(game.exit().code(), Some(9));
}

#[test]
fn without_a_reader_it_ends() {
    let mut command = command("--rate 0");
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(i32::from(fakegame::EXIT_OUTPUT_GONE)));
}

#[test]
fn wrong_flags_are_explained() {
    for (flags, part) in [
        ("--rate minus", "is not a rate"),
        ("--ready-after 3x", "write 200ms, 3s"),
        ("--ignore-signals KILL", "is none of HUP"),
        ("--ignore-stdin --echo-stdin", "cannot be used with"),
        ("--exit-when-done", "--lines"),
    ] {
        let output = command(flags).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && error.contains(part), "{flags}: {error}");
    }
}
