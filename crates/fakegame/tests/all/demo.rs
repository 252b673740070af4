//! The demo as its user meets it: start, console, players, stop, and what it remembers.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::game::{Game, command};

const FAST: &str = "demo --seed 7 --boot-time 20ms --pace 2ms";
/// Starts at once, and then nothing happens by itself.
const QUIET: &str = "demo --seed 7 --boot-time 0s --pace 1h";

/// The lines without their times, which differ from run to run.
fn untimed(text: &str) -> Vec<String> {
    text.lines().filter_map(|line| line.split_once("] ")).map(|(_, text)| text.to_owned()).collect()
}

#[test]
fn it_starts_answers_and_stops() {
    let folder = tempfile::tempdir().unwrap();
    let mut game = Game::start_in(folder.path(), FAST);
    let start = game.wait_for(")! For help, type \"help\"\n");
    assert!(start.contains("\rGenerating the world: 2%\rGenerating the world: 4%"), "{start:?}");
    assert!(start.contains("world: 100%\n"), "{start:?}");
    assert!(!start.contains('\x1b'), "colours in a pipe: {start:?}");
    game.wait_for("joined the game for the first time\n");
    game.say("list");
    game.wait_for("of a max of 12 players online: ");
    game.say("say hello all");
    game.wait_for("[Server] hello all\n");
    game.wait_for("[Chat/INFO]: <");
    game.say("fly");
    game.wait_for("[Server thread/WARN]: Unknown command 'fly'. Type \"help\" for help.\n");
    game.say("stop");
    game.wait_for("Stopping the server\n");
    assert!(String::from_utf8(game.rest()).unwrap().ends_with("All saved. Goodbye!\n"));
    assert_eq!(game.exit().code(), Some(0));
}

#[test]
fn a_restart_remembers_the_day_and_the_players() {
    let folder = tempfile::tempdir().unwrap();
    let mut game = Game::start_in(folder.path(), FAST);
    game.wait_for("joined the game for the first time\n");
    game.say("motd Mind the goat");
    game.say("time set night");
    game.say("save-all");
    game.wait_for("Saved the world, day 1, ");
    game.signal(Signal::KILL);
    game.exit();

    let mut game = Game::start_in(folder.path(), QUIET);
    game.wait_for("Found the world, day 1\n");
    game.wait_for("Loading the world: 2%");
    game.wait_for("Mind the goat");
    game.wait_for("Done");
    game.say("time");
    game.wait_for("It is day 1, 20:");
    game.say("players");
    game.wait_for(" visits, ");
    game.say("seed");
    game.wait_for("Seed: [7]\n");
}

#[test]
fn signals_save_and_stop_it_even_while_it_starts() {
    for (signal, flags) in [(Signal::TERM, QUIET), (Signal::INT, QUIET), (Signal::TERM, "demo --boot-time 1h")] {
        let folder = tempfile::tempdir().unwrap();
        let mut game = Game::start_in(folder.path(), flags);
        game.wait_for("Generating the world: 2%");
        game.signal(signal);
        game.wait_for("Saving the world...\n");
        game.wait_for("All saved. Goodbye!\n");
        assert_eq!(game.exit().code(), Some(0));
        assert!(folder.path().join("world/level.dat").exists());
    }
}

#[test]
fn commands_during_the_start_are_answered_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut game = Game::start_in(folder.path(), "demo --boot-time 1h");
    game.say("list");
    game.wait_for("Still starting up");
    game.say("stop");
    game.wait_for("Goodbye!");
    assert_eq!(game.exit().code(), Some(0));
}

#[test]
fn crash_really_crashes() {
    let folder = tempfile::tempdir().unwrap();
    let mut game = Game::start_in(folder.path(), QUIET);
    game.wait_for("Done");
    game.say("crash");
    assert!(String::from_utf8(game.rest()).unwrap().contains("UnfathomableException"));
    assert_eq!(game.exit().signal(), Some(11));
    assert!(!folder.path().join("world").exists());
}

#[test]
fn a_world_that_cannot_be_saved_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut game = Game::start_in(folder.path(), QUIET);
    game.wait_for("Done");
    fs::write(folder.path().join("world"), "in the way").unwrap();
    game.say("save-all");
    game.wait_for("[Server thread/ERROR]: Could not save ./world/level.dat: ");
    game.say("stop");
    assert_eq!(game.exit().code(), Some(1));
}

#[test]
fn the_same_seed_plays_the_same_game() {
    let story = |folder: &Path| {
        let mut game = Game::start_in(folder, FAST);
        game.wait_for("type \"help\"\n");
        let text = (0..60).map(|_| game.wait_for("\n")).collect::<String>();
        untimed(&text)
    };
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert_eq!(story(one.path()), story(two.path()));
}

#[test]
fn answers_come_within_milliseconds() {
    let folder = tempfile::tempdir().unwrap();
    let mut game = Game::start_in(folder.path(), QUIET);
    game.wait_for("Done");
    let fastest = (0..20).map(|_| {
        let asked = Instant::now();
        game.say("seed");
        game.wait_for("Seed: [7]\n");
        asked.elapsed()
    });
    // The best of twenty: the machine may be busy, the game must not be.
    assert!(fastest.min().unwrap() < Duration::from_millis(20));
}

#[test]
fn a_terminal_gets_colours_and_a_prompt() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(QUIET);
    command.current_dir(folder.path()).env("TERM", "xterm-256color").env_remove("NO_COLOR");
    let mut game = Game::on_terminal(command);
    let start = game.wait_for("\"help\"\r\n> ");
    assert!(start.contains("\x1b[32m[Server thread/INFO]\x1b[0m: "), "{start:?}");
    game.say("seed");
    // What the terminal echoed, the prompt erased, the answer, a new prompt.
    assert!(game.wait_for("Seed: [7]\r\n> ").starts_with("seed\r\n\x1b[2K\r\x1b[90m["));
    game.say("");
    assert_eq!(game.wait_for("> "), "\r\n\x1b[2K\r> ");
    game.say("stop");
    let farewell = String::from_utf8(game.rest()).unwrap();
    assert!(farewell.ends_with("Goodbye!\r\n"), "a prompt behind the last words: {farewell:?}");
    assert_eq!(game.exit().code(), Some(0));
}

#[test]
fn a_dumb_terminal_gets_no_colours() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(QUIET);
    command.current_dir(folder.path()).env("TERM", "dumb");
    let mut game = Game::on_terminal(command);
    let start = game.wait_for("\"help\"\r\n> ");
    assert!(!start.contains("\x1b["), "{start:?}");
}
