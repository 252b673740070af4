//! `quarterdeck console` on a terminal.

use rustix::process::Signal;

use crate::deck::{Up, quarterdeck};
use crate::tty::Terminal;

const GAME: &str = "--echo-stdin --obey";

fn console(up: &Up, name: &str) -> Terminal {
    let mut command = quarterdeck(up.data.path());
    command.args(["console", name]);
    Terminal::start(command)
}

/// So many lines at once, numbered behind a mark.
fn paste(mark: &str, count: usize) -> String {
    let lines: Vec<String> = (0..count).map(|n| format!("{mark}{n}\r")).collect();
    lines.concat()
}

#[test]
fn a_person_sees_types_recalls_and_leaves() {
    let up = Up::start();
    up.game("echo", GAME);
    up.console(&["echo", "--until", "cmd: before"], "before\n");

    let mut terminal = console(&up, "echo");
    terminal.wait_for("cmd: before");
    terminal.wait_for("lines are above; live from here");
    terminal.wait_for("echo> ");
    assert!(terminal.is_raw());
    // A line that comes while somebody types stands above what is typed, and takes nothing of it.
    terminal.keys("hal");
    terminal.wait_for("hal");
    up.ok(&["command", "echo", "meanwhile"]);
    terminal.wait_for("cmd: meanwhile");
    terminal.wait_for("echo> hal");
    terminal.keys("lo\r");
    terminal.wait_for("cmd: hallo");
    terminal.keys("raw \\e[32mgreen\\e[0m\\n\r");
    terminal.wait_for("\x1b[32mgreen\x1b[0m");
    terminal.keys("~?\r");
    terminal.wait_for("~stats    what the server uses");
    terminal.keys("~stats\r");
    terminal.wait_for("running");
    terminal.wait_for("memory");
    terminal.keys("\x04");
    terminal.wait_for("left; echo is running");
    assert_eq!(terminal.end(), Some(0));

    // What was typed is there again the next time.
    let mut terminal = console(&up, "echo");
    terminal.wait_for("live from here");
    terminal.wait_for("echo> ");
    terminal.keys("last\r");
    terminal.wait_for("cmd: last");
    for (keys, recalled) in [("\x1b[A", "echo> last"), ("\x1b[A", "echo> ~stats")] {
        terminal.keys(keys);
        terminal.wait_for(recalled);
    }
    terminal.keys("\x03");
    terminal.wait_for("left; echo is running");
    assert_eq!(terminal.end(), Some(0));
}

#[test]
fn pasted_commands_still_go_out_when_somebody_leaves_or_are_named() {
    let up = Up::start();
    up.game("echo", GAME);

    let mut terminal = console(&up, "echo");
    terminal.wait_for("live from here");
    terminal.wait_for("echo> ");
    terminal.keys(&(paste("a", 10) + "\x04"));
    terminal.wait_for("left; echo is running");
    assert_eq!(terminal.end(), Some(0));
    assert!(up.ok(&["logs", "echo"]).contains("cmd: a9"), "more than a node takes at once, and none is lost");

    let mut terminal = console(&up, "echo");
    terminal.wait_for("live from here");
    terminal.wait_for("echo> ");
    terminal.keys(&(paste("b", 40) + "~.\r"));
    terminal.wait_for("Ctrl-C leaves at once");
    terminal.signal(Signal::INT);
    terminal.wait_for("not sent: b39");
    terminal.wait_for("commands were not sent");
    assert_eq!(terminal.end(), Some(1));
    let logs = up.ok(&["logs", "echo"]);
    assert!(logs.contains("cmd: b6") && !logs.contains("cmd: b39"), "{logs}");
}

#[test]
fn a_flood_while_somebody_pastes_does_not_hang_the_console() {
    let up = Up::start();
    up.game("flood", "--echo-stdin --obey");
    let mut terminal = console(&up, "flood");
    terminal.wait_for("flood> ");
    terminal.keys("rate 20000\r");
    terminal.wait_for("line 1000");
    terminal.keys(&paste("p", 60));
    terminal.wait_for("cmd: p7");
    terminal.keys("~.\r");
    terminal.wait_for("left; flood is running");
    terminal.end();

    // A terminal that takes nothing does not keep it either.
    let mut terminal = console(&up, "flood");
    terminal.wait_for("flood> ");
    terminal.freeze();
    terminal.keys("one\rtwo\r");
    terminal.signal(Signal::TERM);
    terminal.end();
}

#[test]
fn the_last_lines_of_a_deleted_server_are_printed() {
    let up = Up::start();
    up.game("brief", GAME);
    let mut terminal = console(&up, "brief");
    terminal.wait_for("live from here");
    terminal.wait_for("brief> ");
    up.ok(&["command", "brief", "burst 400"]);
    up.ok(&["server", "delete", "brief", "--now", "--yes"]);
    terminal.wait_for("line 399");
    terminal.wait_for("the server was deleted");
    assert_eq!(terminal.end(), Some(1));
}
