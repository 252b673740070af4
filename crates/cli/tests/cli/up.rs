//! The real program: `up` in a folder of its own, and every kind of client command against it.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

use crate::deck::{Up, mode, quarterdeck};

#[test]
fn the_first_up_makes_everything_and_the_second_finds_it_with_its_game_running() {
    let up = Up::start();
    let (key, demo) = (up.greeting["key"].clone(), up.greeting["demo"].clone());
    assert_eq!(key.as_str().unwrap().len(), 48);
    for file in ["cli.toml", "lock", "panel.db"] {
        assert_eq!(mode(&up.data.path().join(file)), 0o600, "{file}");
    }
    up.ok(&["console", "demo", "--history", "--until", "joined the game"]);
    let up = Up::start_in(up.end());
    assert_eq!((&up.greeting["key"], &up.greeting["demo"]), (&key, &demo));
    let list = up.json(&["server", "list"]);
    assert_eq!((&list[0]["name"], &list[0]["current_state"]), (&"demo".into(), &"running".into()));
}

#[test]
fn a_folder_that_lost_its_key_gets_a_new_one_and_its_demo_stays_the_only_one() {
    let up = Up::start();
    let (key, demo) = (up.greeting["key"].clone(), up.greeting["demo"].clone());
    let data = up.end();
    let file = data.path().join("cli.toml");
    std::fs::write(&file, [0, 159, 146, 150]).unwrap();
    let output = quarterdeck(data.path()).args(["up", "--listen", "127.0.0.1:0"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && text.contains("move it away"), "{text}");

    std::fs::remove_file(&file).unwrap();
    let up = Up::start_in(data);
    assert!(up.greeting["key"].is_string() && up.greeting["key"] != key);
    assert_eq!(up.greeting["demo"], demo);
    assert_eq!(up.json(&["server", "list"]).as_array().unwrap().len(), 1);
    assert_eq!(mode(&file), 0o600);
}

#[test]
fn a_folder_is_for_one_up_at_a_time_and_a_port_too() {
    let up = Up::start();
    let (code, text) = up.refused(&["up", "--listen", "127.0.0.1:0"]);
    assert_eq!(code, 1);
    assert!(text.contains("in use") && text.contains(&up.child.id().to_string()), "{text}");

    let other = TempDir::new().unwrap();
    let address = up.greeting["url"].as_str().unwrap().trim_start_matches("http://");
    let output = quarterdeck(other.path()).args(["up", "--listen", address]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--listen"));
}

#[test]
fn a_server_is_made_used_and_deleted() {
    let up = Up::start();
    let game = "{{QUARTERDECK}} fakegame --ready-after 0 --echo-stdin --stop-command quit";
    let made = up.json(&[
        "server",
        "create",
        "--name",
        "echo",
        "--command",
        game,
        "--ready",
        "For help, type",
        "--stop",
        "quit",
        "--pipe",
        "--memory",
        "64",
    ]);
    let id = made["identifier"].as_str().unwrap();
    assert_eq!(up.refused(&["command", "echo", "hi"]).0, 1, "an offline server takes no commands");

    assert_eq!(up.json(&["power", "echo", "start", "--wait"])["state"], "running");
    let answered = up.console(&["echo", "--until", "cmd: two"], "one\ntwo\n");
    assert!(answered.status.success(), "{}", String::from_utf8_lossy(&answered.stderr));
    let shown = String::from_utf8(answered.stdout).unwrap();
    assert!(shown.find("cmd: one").unwrap() < shown.find("cmd: two").unwrap(), "{shown}");

    let missing = up.console(&["echo", "--until", "never printed", "--timeout", "0.2"], "");
    assert_eq!(missing.status.code(), Some(1));

    let lines = up.json(&["logs", id]);
    assert!(lines["data"].as_array().unwrap().iter().any(|line| line.as_str().unwrap().contains("cmd: one")));
    assert_eq!(up.ok(&["logs", id, "-n", "1"]).lines().count(), 1);
    assert_eq!(up.json(&["stats", id])["current_state"], "running");

    assert_eq!(up.json(&["power", "echo", "restart", "--wait"])["state"], "running");
    assert_eq!(up.json(&["power", "echo", "stop", "--wait"])["state"], "offline");
    assert_eq!(up.refused(&["server", "delete", "echo"]).0, 2, "without a terminal nothing is deleted unasked");
    up.ok(&["server", "delete", "echo", "--now", "--yes"]);
    let (code, text) = up.refused(&["server", "show", id]);
    assert_eq!(code, 1);
    assert!(text.contains("server list"), "{text}");
}

#[test]
fn keys_users_and_shares() {
    let up = Up::start();
    let key = up.ok(&["key", "create", "a test"]);
    let with_key = |key: &str| {
        let file = up.data.path().join("key");
        std::fs::write(&file, key).unwrap();
        up.run(&["server", "list", "--json", "--key-file", file.to_str().unwrap()])
    };
    assert!(with_key(&key).status.success());
    up.ok(&["key", "delete", key.trim()]);
    let refused = with_key(&key);
    assert_eq!(refused.status.code(), Some(1));
    let error: Value = serde_json::from_slice(&refused.stderr).unwrap();
    assert_eq!((&error["error"]["code"], &error["error"]["status"]), (&"AuthenticationException".into(), &401.into()));

    up.ok(&["user", "create", "friend@example.org"]);
    for who in ["friend", "FRIEND@example.org", "2"] {
        let made = up.json(&["key", "create", "--user", who, "their own"]);
        let theirs = made["key"].as_str().unwrap();
        assert!(theirs.starts_with("ptlc_") && with_key(theirs).stdout == b"[]\n", "{who} sees no server yet");
        assert_eq!(up.refused(&["key", "delete", theirs]).0, 1, "it is not the administrator's");
        let listed = up.json(&["key", "list", "--user", who]);
        assert_eq!((listed.as_array().unwrap().len(), &listed[0]["identifier"]), (1, &made["identifier"]));
        assert_eq!(up.json(&["key", "delete", theirs, "--user", who])["deleted"], made["identifier"]);
        assert_eq!(with_key(theirs).status.code(), Some(1));
    }
    assert_eq!(up.refused(&["key", "create", "--user", "friend", "--application", "x"]).0, 1, "no administrator");
    assert_eq!(up.refused(&["key", "create", "--application", "x"]).0, 2, "whose?");
    let robot = up.json(&["key", "create", "--user", "admin", "--application", "a robot"]);
    assert!(robot["key"].as_str().unwrap().starts_with("ptla_"), "{robot}");
    for who in ["nobody", "nobody@example.org", "example.org", "..", ""] {
        let (code, text) = up.refused(&["key", "list", "--user", who]);
        assert!(code == 1 && text.contains("user list"), "{who}: {text}");
    }
    assert_eq!(up.json(&["user", "list"]).as_array().unwrap().len(), 2);
    up.ok(&["share", "demo", "add", "friend@example.org", "--permission", "control.console"]);
    let said = up.ok(&["share", "demo", "add", "friend@example.org", "--permission", "control.start"]);
    assert!(said.contains("now: control.start websocket.connect; no longer: control.console"), "{said}");
    let (code, text) = up.refused(&["share", "demo", "add", "friend@example.org", "--permission", "console"]);
    assert!(code == 2 && text.contains("control.console"), "{text}");
    let shares = up.json(&["share", "demo"]);
    let mut may: Vec<&str> =
        shares[0]["permissions"].as_array().unwrap().iter().map(|may| may.as_str().unwrap()).collect();
    may.sort_unstable();
    assert_eq!(may, ["control.start", "websocket.connect"]);
    up.ok(&["share", "demo", "remove", "friend@example.org"]);
    assert_eq!(up.json(&["share", "demo"]), Value::Array(Vec::new()));
}

#[test]
fn people_come_with_a_share_and_are_deleted_again() {
    let up = Up::start();
    let said = up.ok(&["share", "demo", "add", "new@example.org", "--permission", "control.start, activity.read"]);
    assert!(said.contains("new@example.org (new account) may use demo: activity.read control.start"), "{said}");
    let list = up.json(&["share", "demo", "permissions"]);
    assert!(list.as_array().unwrap().iter().any(|item| item["name"] == "control.start"), "{list}");

    let key = up.data.path().join("key");
    std::fs::write(&key, up.ok(&["key", "create", "theirs", "--user", "new@example.org"])).unwrap();
    let key = key.to_str().unwrap();
    let (code, text) = up.refused(&["power", "stop", "demo", "--key-file", key]);
    assert!(code == 1 && text.contains("control.stop"), "{text}");
    let (code, text) = up.refused(&["command", "demo", "list", "--key-file", key]);
    assert!(code == 1 && text.contains("control.console"), "{text}");
    let (code, text) = up.refused(&["key", "delete", "ptlc_unknown1234"]);
    assert!(code == 1 && text.contains("no such key"), "{text}");

    // A console that is open learns that it was closed, and why it does not come back.
    let mut follow = quarterdeck(up.data.path())
        .args(["logs", "demo", "-f", "--key-file", key])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(follow.stdout.take().unwrap());
    out.read_line(&mut String::new()).unwrap();
    thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
    up.ok(&["share", "demo", "remove", "new@example.org"]);
    let output = follow.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text.trim(), "error: your access to demo was taken away");

    assert_eq!(up.refused(&["user", "delete", "new@example.org"]).0, 2, "without a terminal nobody is deleted unasked");
    up.ok(&["user", "delete", "new@example.org", "--yes"]);
    assert_eq!(up.json(&["user", "list"]).as_array().unwrap().len(), 1);
}

#[test]
fn a_server_is_changed_suspended_and_not_made_twice() {
    let up = Up::start();
    let (code, text) = up.refused(&["server", "create", "--name", "demo", "--command", "cat"]);
    assert!(code == 1 && text.contains(up.greeting["demo"].as_str().unwrap()), "{text}");
    let twin = up.json(&["server", "create", "--name", "demo", "--command", "cat", "--same-name", "--memory", "1G"]);
    assert_eq!(twin["limits"]["memory"], 1024);
    let id = twin["identifier"].as_str().unwrap();

    up.ok(&["server", "set", id, "--description", "a twin"]);
    assert_eq!(up.refused(&["server", "set", id, "--name", "demo"]).0, 1, "somebody else's name");
    let set = |args: &[&str]| up.json(&[&["server", "set", id][..], args].concat());
    set(&["--env", "A=1", "--env", "B=2"]);
    let changed = set(&[
        "--name",
        "twin",
        "--memory",
        "2G",
        "--cpu",
        "200%",
        "--grace",
        "7",
        "--unset",
        "A",
        "--command",
        "sleep 1",
    ]);
    assert_eq!((&changed["name"], &changed["limits"]["memory"]), (&"twin".into(), &2048.into()));
    assert_eq!((&changed["limits"]["cpu"], &changed["process"]["grace_ms"]), (&200.into(), &7000.into()));
    let container = &changed["container"];
    assert_eq!((&container["startup_command"], &container["environment"]["B"]), (&"sleep 1".into(), &"2".into()));
    assert!(container["environment"]["A"].is_null(), "{container}");

    // A server that crashes says why it is down and when it starts again.
    up.ok(&["server", "set", "twin", "--command", "sh -c 'exit 3'", "--ready", "never"]);
    let crashed = up.console(&["twin", "--until", "Restart 2 of"], "~start\n");
    assert!(crashed.status.success(), "{crashed:?}");
    let shown = up.ok(&["server", "show", "twin"]);
    assert!(shown.contains("offline (crash-looping, 2 in a row: exit code 3, restarts in "), "{shown}");
    let listed = up.json(&["server", "list"]);
    let twin = listed.as_array().unwrap().iter().find(|server| server["name"] == "twin").unwrap();
    assert_eq!((&twin["condition"], &twin["crashes_in_a_row"]), (&"crash-looping".into(), &2.into()));
    assert!(twin["restart_at"].as_str().unwrap().ends_with("+00:00"), "{twin}");

    up.ok(&["server", "suspend", "twin"]);
    assert_eq!(up.json(&["server", "show", "twin"])["current_state"], "suspended");
    assert_eq!(up.refused(&["power", "twin", "start"]).0, 1);
    up.ok(&["server", "unsuspend", "twin"]);
    assert_eq!(up.json(&["server", "show", "twin"])["current_state"], "offline");
    up.ok(&["power", "restart", "demo"]);
}

#[test]
fn a_deleted_demo_is_not_advertised_and_usage_lines_do_not_ask_for_what_is_set() {
    let up = Up::start();
    up.ok(&["server", "delete", "demo", "--now", "--yes"]);
    let up = Up::start_in(up.end());
    assert!(up.greeting["demo"].is_null() && up.greeting["credentials"].is_null(), "{}", up.greeting);
    let url = up.greeting["url"].as_str().unwrap();
    let output = quarterdeck(up.data.path()).env("QUARTERDECK_URL", url).args(["share", "x", "add"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && !text.contains("--url"), "{text}");
    let other = TempDir::new().unwrap();
    let output = quarterdeck(other.path()).env("QUARTERDECK_URL", url).args(["server", "list"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("no key for"), "{output:?}");
}

#[test]
fn a_completion_script_is_a_document_too() {
    let data = TempDir::new().unwrap();
    let output = quarterdeck(data.path()).args(["completions", "bash", "--json"]).output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["shell"], "bash");
    assert!(document["script"].as_str().unwrap().contains("quarterdeck"));
}

#[test]
fn nobody_listening_is_its_own_exit_code_and_a_closed_pipe_is_none() {
    let up = Up::start();
    let mut follow = quarterdeck(up.data.path())
        .args(["logs", "demo", "-f"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(follow.stdout.take().unwrap()).read_line(&mut first).unwrap();
    // The pipe is closed now; the demo keeps printing.
    let output = follow.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");

    up.ok(&["server", "delete", "demo", "--now", "--yes"]);
    let data = up.end();
    let output = quarterdeck(data.path()).args(["server", "list"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
}
