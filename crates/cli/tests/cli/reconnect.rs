//! What stays whole when the connection does not.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::deck::{Lines, Up, quarterdeck};

fn follow(up: &Up, args: &[&str]) -> (Child, Lines, Lines) {
    let mut command = quarterdeck(up.data.path());
    let mut child = command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (out, notes) = (Lines::of(child.stdout.take().unwrap()), Lines::of(child.stderr.take().unwrap()));
    (child, out, notes)
}

/// Asserts that lines `line <first>` to `line <last>` are there in order, each once.
fn assert_whole<'a>(lines: impl Iterator<Item = &'a str>, last: u64) {
    let numbers: Vec<u64> = lines.filter_map(|line| line.strip_prefix("line ")?.parse().ok()).collect();
    let first = *numbers.first().unwrap();
    assert_eq!(numbers, (first..=last).collect::<Vec<_>>());
}

#[test]
fn a_restart_of_the_program_loses_and_repeats_no_line() {
    let up = Up::start();
    std::fs::write(up.data.path().join("quarterdeck.toml"), "log_lines = 2000\n").unwrap();
    // The setting counts from here on.
    let up = up.restart();
    up.game("count", "--rate 100 --lines 700");
    let (mut logs, logs_out, logs_notes) = follow(&up, &["logs", "count", "-f"]);
    let (mut logs_json, json_out, _json_notes) = follow(&up, &["logs", "count", "-f", "--json"]);
    let (mut console, console_out, _notes) =
        follow(&up, &["console", "count", "--json", "--until", "line 699", "--timeout", "50"]);
    logs_out.until("line 10");
    let seen_json = json_out.until("line 10");
    let seen_console = console_out.until("\"history\":false");
    let up = up.restart();
    logs_notes.until("connection lost");
    logs_notes.until("connected again");
    let shown = logs_out.until("line 699");
    assert_whole(shown.iter().map(String::as_str), 699);
    assert_eq!(shown.first().map(String::as_str), Some("line 11"));

    let text = |document: &String, name: &str| {
        let document: Value = serde_json::from_str(document).unwrap();
        document[name].as_str().unwrap_or_default().to_owned()
    };
    let lines: Vec<String> =
        seen_json.iter().chain(&json_out.until("line 699")).map(|line| text(line, "line")).collect();
    assert_whole(lines.iter().map(String::as_str), 699);
    let events = [seen_console, console_out.rest()].concat();
    let lines: Vec<String> = events.iter().map(|line| text(line, "line")).collect();
    assert_whole(lines.iter().map(String::as_str), 699);
    let told: Vec<String> = events.iter().map(|line| text(line, "event")).collect();
    let at = |name: &str| told.iter().position(|event| event == name).unwrap_or_else(|| panic!("no {name}: {told:?}"));
    assert!(at("attached") < at("connection lost"));
    assert!(!told.iter().any(|event| event == "gap"), "{told:?}");
    assert!(console.wait().unwrap().success());

    // The end of the server ends those who follow it.
    up.ok(&["server", "delete", "count", "--now", "--yes"]);
    assert!(logs_notes.rest().join("").contains("the server was deleted"));
    assert_eq!((logs.wait().unwrap().code(), logs_json.wait().unwrap().code()), (Some(1), Some(1)));
}

#[test]
fn a_proxys_answer_while_the_panel_restarts_is_not_the_panels_last_word() {
    let up = Up::start();
    up.game("echo", "--echo-stdin");
    let (mut child, out, notes) = follow(&up, &["logs", "echo", "-f"]);
    out.until("Done (");
    let address = up.address();
    let data = up.end();
    {
        let proxy = TcpListener::bind(&address).unwrap();
        for answer in ["404 Not Found\r\ncontent-type: text/html", "200 OK\r\ncontent-type: text/html"] {
            let (mut stream, _) = proxy.accept().unwrap();
            let mut head = [0; 4096];
            assert!(stream.read(&mut head).unwrap() > 0);
            let page = "<html>back soon</html>";
            let length = page.len();
            write!(stream, "HTTP/1.1 {answer}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{page}").unwrap();
        }
        notes.until("not found: HTTP status 404");
        notes.until("not what a panel's API gives");
    }
    let up = Up::start_with(data, &address, &[]);
    notes.until("connected again");
    up.ok(&["command", "echo", "still here"]);
    out.until("cmd: still here");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn changed_rights_get_a_new_token_and_no_line_is_lost() {
    let up = Up::start();
    up.game("count", "--rate 50 --lines 200");
    up.ok(&["share", "count", "add", "friend@example.org", "--permission", "control.console"]);
    let key = up.data.path().join("key");
    std::fs::write(&key, up.ok(&["key", "create", "theirs", "--user", "friend@example.org"])).unwrap();
    let (mut child, out, _notes) = follow(&up, &["logs", "count", "-f", "--key-file", key.to_str().unwrap()]);
    let mut shown = out.until("line 5");
    up.ok(&["share", "count", "add", "friend@example.org", "--permission", "control.start"]);
    shown.extend(out.until("line 199"));
    assert_whole(shown.iter().map(String::as_str), 199);
    child.kill().unwrap();
    child.wait().unwrap();
}
