//! A new user's first day: one command, its output, curl, the command line, a second start.
#![allow(clippy::unwrap_used, clippy::doc_markdown, clippy::print_stdout, missing_docs)]

use std::process::Stdio;

use e2e::{DEADLINE, Deck, Socket};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

/// New folder, key from the output, REST, socket, command answered, stop, offline, start, running; a second start finds it all.
#[tokio::test]
async fn from_an_empty_folder_to_a_console_and_back_again() {
    let mut deck = Deck::new().await;
    assert_eq!(deck.key().len(), 48);
    let (key, demo) = (deck.key().to_owned(), deck.demo().to_owned());
    let listed = deck.rest().get("/api/client").await;
    assert_eq!(listed.ok()["data"][0]["attributes"]["name"], "demo");
    let mut console = Socket::console(&deck, &demo).await;
    console.wait_for("running", |heard| heard.arg_of("status") == Some("running")).await;
    console.say("send command", &json!(["list"])).await;
    console.line("> list").await;
    console.say("set state", &json!(["stop"])).await;
    console.status("offline").await;
    console.say("set state", &json!(["start"])).await;
    console.line("Done (").await;
    console.status("running").await;
    assert!(deck.stop().await.success());
    deck.up_again().await;
    assert_eq!((deck.key(), deck.demo()), (key.as_str(), demo.as_str()), "the second start finds the first");
    let resources = deck.rest().get(&format!("/api/client/servers/{demo}/resources")).await;
    assert_eq!(resources.ok()["attributes"]["current_state"], "running", "the demo went on");
}

async fn json_of(deck: &Deck, arguments: &[&str]) -> Value {
    let output = tokio::time::timeout(DEADLINE, deck.command(arguments).output()).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).to_string();
    assert!(output.status.success(), "{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
}

/// The command line does the whole life of a server, in JSON, over the public API.
#[tokio::test]
async fn the_command_line_does_a_servers_whole_life() {
    let deck = Deck::new().await;
    let command = "{{QUARTERDECK}} fakegame play --echo-stdin";
    let arguments =
        ["server", "create", "--name", "mine", "--command", command, "--ready", "Done", "--stop", "stop", "--json"];
    json_of(&deck, &arguments).await;
    let list = json_of(&deck, &["server", "list", "--json"]).await;
    assert!(list.to_string().contains("\"mine\""), "{list}");
    json_of(&deck, &["power", "mine", "start", "--wait", "--json"]).await;
    json_of(&deck, &["command", "mine", "hello from the shell", "--json"]).await;
    let stats = json_of(&deck, &["stats", "mine", "--json"]).await;
    assert!(stats.to_string().contains("running"), "{stats}");
    let mut console = deck
        .command(&["console", "mine", "--history", "--until", "cmd: typed"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    console.stdin.take().unwrap().write_all(b"typed\n").await.unwrap();
    let output = tokio::time::timeout(DEADLINE, console.wait_with_output()).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).to_string();
    assert!(text.contains("cmd: hello from the shell") && text.contains("cmd: typed"), "history and answer: {text}");
    let logs = deck.command(&["logs", "mine", "-n", "50"]).output().await.unwrap();
    assert!(String::from_utf8_lossy(&logs.stdout).contains("cmd: typed"));
    json_of(&deck, &["power", "mine", "stop", "--wait", "--json"]).await;
    json_of(&deck, &["server", "delete", "mine", "--now", "--yes", "--json"]).await;
    let gone = deck.command(&["server", "show", "mine"]).output().await.unwrap();
    assert_eq!(gone.status.code(), Some(1));
}

/// A friend who may look and type, and nothing else, on the panel and on the socket; and out again at once.
#[tokio::test]
async fn a_shared_server_gives_exactly_what_was_shared() {
    let deck = Deck::new().await;
    let server = deck.game("--echo-stdin", json!({ "ready": "Done", "stop": "stop" })).await;
    let user = deck
        .rest()
        .post(
            "/api/application/users",
            &json!({ "username": "friend", "email": "friend@example.org", "first_name": "A", "last_name": "Friend", "password": "correct horse battery" }),
        )
        .await;
    let uuid = user.ok()["attributes"]["uuid"].as_str().unwrap().to_owned();
    let key = json_of(&deck, &["key", "create", "--user", "friend", "for a friend", "--json"]).await;
    let key = key.to_string().split('"').find(|part| part.len() == 48).unwrap().to_owned();
    let friend = deck.rest().with_key(Some(&key));
    assert_eq!(
        friend.get(&format!("/api/client/servers/{server}")).await.error(),
        (404, "NotFoundHttpException", "404")
    );
    let body = json!({ "email": "friend@example.org", "permissions": ["control.console"] });
    deck.rest().post(&format!("/api/client/servers/{server}/users"), &body).await.ok();
    assert_eq!(friend.get(&format!("/api/client/servers/{server}")).await.status, 200);
    let power = friend.post(&format!("/api/client/servers/{server}/power"), &json!({ "signal": "start" })).await;
    assert_eq!(power.status, 403, "{}", power.text);
    deck.power(&server, "start").await.ok();
    let (token, url) = e2e::deck::credentials(&friend, &server).await;
    let mut theirs = Socket::open(&url, None).await.unwrap();
    theirs.say("auth", &json!([token])).await;
    theirs.wait_for("running", |heard| heard.arg_of("status") == Some("running")).await;
    theirs.say("send command", &json!(["hi"])).await;
    theirs.line("cmd: hi").await;
    theirs.say("set state", &json!(["stop"])).await;
    theirs.wait_for("a refusal", |heard| heard.is("daemon error")).await;
    let removed = deck.rest().delete(&format!("/api/client/servers/{server}/users/{uuid}")).await;
    assert_eq!(removed.status, 204, "{}", removed.text);
    assert!(matches!(theirs.end().await, e2e::socket::Heard::Closed(1008, _)));
    assert_eq!(friend.get(&format!("/api/client/servers/{server}/websocket")).await.status, 404);
    // Who did what is on record, by whichever road it came.
    let activity = deck.rest().get(&format!("/api/client/servers/{server}/activity")).await;
    let events = activity.ok().to_string();
    assert!(events.contains("server:console.command") && events.contains("server:power.start"), "{events}");
}
