//! The serving commands: what `up` prints, its settings, its log, its end; panel and node as two programs.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::deck::{Lines, Up, http, quarterdeck};

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Runs a line as somebody would who copied it.
fn shell(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_up_prints_works_as_printed_and_a_second_signal_ends_it_at_once() {
    let data = TempDir::new().unwrap();
    let mut child = quarterdeck(data.path())
        .args(["up", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let out = Lines::of(child.stdout.take().unwrap());
    let log = Lines::of(child.stderr.take().unwrap());
    let greeting = out.until("Ctrl-C stops this program");
    let line = |text: &str| greeting.iter().position(|line| line.contains(text)).unwrap();
    let answer: Value =
        serde_json::from_str(&shell(&greeting[line("curl -H")..=line("/websocket")].join("\n"))).unwrap();
    assert!(answer["data"]["token"].is_string() && answer["data"]["socket"].is_string(), "{answer}");
    let console = greeting[line("console demo")].trim();
    assert!(shell(&format!("echo list | {console}")).contains("> list"));
    let key = greeting[line("API key")].split_whitespace().last().unwrap().to_owned();
    let url = greeting[line("Quarterdeck is up at")].split_whitespace().last().unwrap().to_owned();

    // The folder and the key can come from the environment instead.
    let list = |name: &str, value: &std::ffi::OsStr| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quarterdeck"));
        command.args(["server", "list", "--json"]).env("QUARTERDECK_URL", &url).env(name, value);
        command.env("HOME", "/nonexistent").env_remove("XDG_DATA_HOME").output().unwrap()
    };
    for (name, value) in [("QUARTERDECK_DATA", data.path().as_os_str()), ("QUARTERDECK_KEY", key.as_ref())] {
        let output = list(name, value);
        assert!(String::from_utf8_lossy(&output.stdout).contains("\"demo\""), "{name}: {output:?}");
    }
    assert_eq!(list("QUARTERDECK_KEY", "ptlc_wrong".as_ref()).status.code(), Some(1));
    assert!(quarterdeck(data.path()).args(["server", "delete", "demo", "--now", "--yes"]).status().unwrap().success());

    // A request whose body never comes keeps it from ending for a while.
    let address = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST /api/client/account/api-keys HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"
    )
    .unwrap();
    let mut first = String::new();
    BufReader::new(stream.try_clone().unwrap()).read_line(&mut first).unwrap();
    assert!(first.contains("100"), "{first}");
    signal(&child, Signal::INT);
    log.until("stopping; games go on");
    signal(&child, Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn settings_of_the_file_are_in_force_on_both_halves() {
    let data = TempDir::new().unwrap();
    let text = "client_per_minute = 15\nrequire_origin = true\nallowed_origins = [\"https://bot.example\"]\n";
    std::fs::write(data.path().join("quarterdeck.toml"), text).unwrap();
    let up = Up::start_with(data, "127.0.0.1:0", &["--no-demo", "--public-url", "https://games.example.org"]);
    let made = up.json(&["server", "create", "--name", "cat", "--command", "cat"]);
    let path = format!("/api/servers/{}/ws", made["uuid"].as_str().unwrap());
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (origin, status) in [
        ("", 403),
        ("Origin: https://evil.example\r\n", 403),
        ("Origin: https://bot.example\r\n", 101),
        ("Origin: https://games.example.org\r\n", 101),
    ] {
        assert_eq!(up.http("GET", &path, &format!("{upgrade}{origin}"), "").0, status, "{origin}");
    }
    let statuses: Vec<u16> = (0..16).map(|_| up.http("GET", "/api/client", "", "").0).collect();
    assert!(statuses.contains(&429), "{statuses:?}");
    // What is asked for the end of the test must not wait for the next minute.
    std::fs::remove_file(up.data.path().join("quarterdeck.toml")).unwrap();
    let up = up.restart();
    let (code, text) = {
        std::fs::write(up.data.path().join("quarterdeck.toml"), "clients_per_minute = 1\n").unwrap();
        up.refused(&["up", "--listen", "127.0.0.1:0"])
    };
    assert!(code == 2 && text.contains("clients_per_minute"), "{text}");
}

#[test]
fn no_secret_is_in_the_log_of_a_whole_day_at_its_most_talkative() {
    let up = Up::start();
    up.game("echo", "--echo-stdin");
    up.console(&["echo", "--until", "cmd: hi"], "hi\n");
    let theirs = up.json(&["key", "create", "another"])["key"].as_str().unwrap().to_owned();
    up.ok(&["share", "echo", "add", "friend@example.org", "--permission", "control.console"]);
    let id = up.json(&["server", "show", "echo"])["identifier"].as_str().unwrap().to_owned();
    let (_, token) = up.http("GET", &format!("/api/client/servers/{id}/websocket"), "", "");
    let token: Value = serde_json::from_str(&token).unwrap();
    let (_, node) = up.http("GET", "/api/application/nodes/1/configuration", "", "");
    let node: Value = serde_json::from_str(&node).unwrap();
    let up = up.restart();
    let log = up.log();
    assert!(log.contains("TRACE") && log.contains("DEBUG"), "it is talkative");
    let key = up.greeting["key"].as_str().unwrap();
    for (what, secret) in [
        ("the key", key),
        ("the key's secret half", &key[16..]),
        ("another key", &theirs[16..]),
        ("a console token", token["data"]["token"].as_str().unwrap()),
        ("any console token", "eyJ"),
        ("the node's token", node["token"].as_str().unwrap()),
    ] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{what} is in the log");
    }
}

/// An address that was free a moment ago.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn panel_and_node_as_two_programs_serve_a_console() {
    let (panel_data, node_data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let serve = |data: &TempDir, args: &[&str]| {
        let mut child =
            quarterdeck(data.path()).args(args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let out = Lines::of(child.stdout.take().unwrap());
        let greeting: Value = serde_json::from_str(&out.next().unwrap()).unwrap();
        (child, greeting)
    };
    let (mut panel, greeting) = serve(&panel_data, &["panel", "--json", "--listen", "127.0.0.1:0"]);
    let address = greeting["url"].as_str().unwrap().trim_start_matches("http://").to_owned();
    let (key, at) = (greeting["key"].as_str().unwrap(), free_address());
    let body = json!({ "name": "far", "url": format!("http://{at}") }).to_string();
    let (status, text) = http(&address, key, "POST", "/api/application/nodes", "", &body);
    assert_eq!(status, 201, "{text}");
    let (_, configuration) = http(&address, key, "GET", "/api/application/nodes/far/configuration", "", "");
    let file = node_data.path().join("node.json");
    std::fs::write(&file, configuration).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let (mut node, told) = serve(&node_data, &["node", "--json", "--config", file.to_str().unwrap(), "--listen", &at]);
    assert_eq!(told["address"], at.as_str());

    let run = |args: &[&str]| {
        let output = quarterdeck(panel_data.path()).args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    run(&["server", "create", "--name", "play", "--template", "demo", "--node", "far", "--start"]);
    assert!(run(&["console", "play", "--history", "--until", "joined the game"]).contains("joined the game"));
    assert!(run(&["server", "list", "--all"]).contains("far"));
    run(&["server", "delete", "play", "--now", "--yes"]);
    for child in [&mut node, &mut panel] {
        signal(child, Signal::TERM);
        assert!(child.wait().unwrap().success());
    }
}
