//! What commands print that is not tested elsewhere: tables, colours, streams, completions.

use std::process::Stdio;

use serde_json::Value;

use crate::deck::{Lines, Up, quarterdeck};

#[test]
fn samples_follow_each_other_in_words_and_in_json() {
    let up = Up::start();
    for args in [&["stats", "demo", "-f"][..], &["stats", "demo", "-f", "--json"]] {
        let mut child = quarterdeck(up.data.path()).args(args).stdout(Stdio::piped()).spawn().unwrap();
        let out = Lines::of(child.stdout.take().unwrap());
        for line in [out.next().unwrap(), out.next().unwrap()] {
            if args.contains(&"--json") {
                let sample: Value = serde_json::from_str(&line).unwrap();
                assert!(sample["memory_bytes"].is_u64() && sample["state"].is_string(), "{sample}");
            } else {
                assert!(line.contains("memory") && line.contains("cpu"), "{line}");
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let shown = up.ok(&["stats", "demo"]);
    assert!(shown.contains("running") && shown.contains("uptime"), "{shown}");
}

#[test]
fn a_server_from_a_template_is_made_started_listed_and_coloured() {
    let up = Up::start();
    let templates = up.ok(&["template", "list"]);
    assert!(templates.contains("demo") && templates.contains("openttd"), "{templates}");
    assert!(up.json(&["template", "list"]).as_array().is_some_and(|list| list.len() > 1));
    up.ok(&["server", "create", "--name", "second", "--template", "demo", "--pty", "--start"]);
    up.ok(&["console", "second", "--history", "--until", "joined the game"]);

    up.ok(&["user", "create", "friend@example.org"]);
    up.ok(&["server", "create", "--name", "theirs", "--command", "cat", "--owner", "friend"]);
    assert!(!up.ok(&["server", "list"]).contains("theirs"));
    let all = up.ok(&["server", "list", "--all"]);
    assert!(all.contains("theirs") && all.contains("second") && all.contains("running"), "{all}");

    up.game("paint", "--ansi --lines 3 --echo-stdin");
    let logs = |color: &str| up.ok(&["logs", "paint", "--color", color]);
    up.console(&["paint", "--until", "cmd: all is printed"], "all is printed\n");
    assert!(logs("always").contains("\x1b[31mline 0\x1b[0m"));
    for quiet in ["never", "auto"] {
        let text = logs(quiet);
        assert!(text.contains("line 0") && !text.contains('\x1b'), "{text}");
    }
}

#[test]
fn runs_tell_how_they_ended_and_a_crash_what_there_was_to_see() {
    let up = Up::start();
    up.game("fragile", "--obey --ansi --lines 5");
    assert!(up.ok(&["runs", "fragile"]).contains("goes on"));
    let (code, said) = up.refused(&["runs", "fragile", "crash"]);
    assert!(code == 1 && said.contains("has not crashed"), "{code} {said}");
    up.console(&["fragile", "--until", "exit code 3"], "exit 3\n");
    let listed = up.ok(&["runs", "fragile"]);
    assert!(listed.contains("crashed: exit code 3"), "{listed}");
    let told = up.ok(&["runs", "fragile", "crash"]);
    assert!(
        told.contains("\nline 4\n") && told.ends_with("exit 3\n") && told.contains("server:console.command"),
        "{told}"
    );
    assert!(!told.contains('\x1b'), "{told}");
    let document = up.json(&["runs", "fragile", "crash"]);
    assert_eq!((&document["crashed"], &document["crash"]["code"]), (&Value::Bool(true), &Value::from(3)));
    let id = document["id"].as_str().unwrap();
    assert_eq!(up.ok(&["runs", "fragile", &id[..8]]), told);
}

#[test]
fn completions_know_the_commands_in_every_shell() {
    let data = tempfile::TempDir::new().unwrap();
    for (shell, mark) in [("bash", "complete -F"), ("zsh", "#compdef quarterdeck"), ("fish", "complete -c quarterdeck")]
    {
        let output = quarterdeck(data.path()).args(["completions", shell]).output().unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(script.contains(mark) && script.contains("console"), "{shell}");
        assert!(!script.contains("fakegame"), "what is hidden stays so");
    }
}
