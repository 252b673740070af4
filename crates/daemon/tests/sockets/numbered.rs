//! The protocol with numbers, and what can be read of a console over HTTP: one game, seen from all sides.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use wire::numbered::SUBPROTOCOL;

use crate::node::{Node, SERVER, Socket, USER, connect, event, finish, node, parsed, running, say, text, token, until};

/// Prints a line for each one it reads, and ends as it is told.
const GAME: &str =
    "/bin/sh -c 'echo ready; while read line; do case $line in die) exit 3;; *) echo \"got $line\";; esac; done'";

async fn numbered(node: &Node) -> Socket {
    let mut request = node.url.as_str().into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", format!("other, {SUBPROTOCOL}").parse().unwrap());
    let (mut socket, answer) = tokio_tungstenite::connect_async(request).await.unwrap();
    assert_eq!(answer.headers()["sec-websocket-protocol"], SUBPROTOCOL);
    say(&mut socket, "auth", &token("n", 600)).await;
    until(&mut socket, event("status", "")).await;
    socket
}

async fn attach(socket: &mut Socket, document: Value) -> Value {
    say(socket, "attach", &document.to_string()).await;
    let seen = until(socket, event("attached", "")).await;
    assert!(!seen.iter().any(event("console output", "")), "lines before it was said where they begin: {seen:?}");
    serde_json::from_str(&parsed(seen.last().unwrap()).1).unwrap()
}

async fn ask(socket: &mut Socket, event: &str, arg: &str, id: &str) {
    use futures_util::SinkExt;
    let frame = json!({ "event": event, "args": [arg], "id": id });
    socket.send(Message::text(frame.to_string())).await.unwrap();
}

fn json_of(message: &Message) -> Value {
    text(message).map(|text| serde_json::from_str(text).unwrap()).unwrap_or_default()
}

/// Number and text of the lines among these.
fn lines(seen: &[Message]) -> Vec<(u64, String)> {
    let all = seen.iter().map(json_of).filter(|frame| frame["event"] == "console output");
    all.map(|frame| (frame["seq"].as_u64().unwrap(), frame["args"][0].as_str().unwrap().to_owned())).collect()
}

async fn history(node: &Node, what: &str) -> Value {
    let (status, body) = node.ask("GET", &format!("/api/servers/{SERVER}/console/{what}"), None).await;
    assert_eq!(status, 200, "{what}: {body}");
    body
}

#[tokio::test]
async fn lines_have_numbers_and_begin_where_the_viewer_left_off() {
    let node = node(GAME, |_| {}).await;
    let mut plain = running(&node).await;
    let mut first = numbered(&node).await;
    let attached = attach(&mut first, json!({ "last": 100 })).await;
    assert_eq!(attached["next"], 0);
    say(&mut first, "send command", "one").await;
    let seen = until(&mut first, event("console output", "got one")).await;
    let told = lines(&seen);
    let numbers: Vec<u64> = told.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>(), "{told:?}");
    let typed = seen.iter().map(json_of).find(|frame| frame["kind"] == "input").unwrap();
    assert_eq!((&typed["args"], &typed["user"]), (&json!(["one"]), &json!(USER)));
    assert!(typed["at"].as_u64().unwrap() > 1_700_000_000_000);
    // Those who do not count lines see the same console as ever.
    let seen = until(&mut plain, event("console output", "got one")).await;
    assert!(seen.iter().any(event("console output", "> one")), "{seen:?}");
    assert!(seen.iter().map(json_of).all(|frame| frame.get("seq").is_none()), "{seen:?}");

    drop(first);
    say(&mut plain, "send command", "two").await;
    until(&mut plain, event("console output", "got two")).await;
    let mut again = numbered(&node).await;
    let (last, _) = told.last().unwrap();
    let attached = attach(&mut again, json!({ "after": last })).await;
    assert_eq!(attached["next"], last + 1);
    let seen = until(&mut again, event("console output", "got two")).await;
    let missed: Vec<u64> = lines(&seen).iter().map(|(seq, _)| *seq).collect();
    assert_eq!(missed, [last + 1, last + 2]);
    // A number that nobody has got yet is the end.
    let attached = attach(&mut again, json!({ "after": 1_000_000 })).await;
    assert_eq!(attached["next"], attached["head"]);
    finish(node, plain).await;
}

#[tokio::test]
async fn each_request_with_an_id_has_one_receipt() {
    let node = node(GAME, |_| {}).await;
    let mut socket = numbered(&node).await;
    attach(&mut socket, json!({ "last": 0 })).await;
    let receipt = async |socket: &mut Socket, id: &str| -> (String, String) {
        let seen = until(socket, event("receipt", &format!("{id:?}"))).await;
        assert!(!seen.iter().any(event("daemon error", "")), "{seen:?}");
        let receipt: Value = serde_json::from_str(&parsed(seen.last().unwrap()).1).unwrap();
        let part = |name: &str| receipt[name].as_str().unwrap_or_default().to_owned();
        (part("outcome"), part("reason"))
    };
    ask(&mut socket, "send command", "early", "c0").await;
    let offline = ("refused".to_owned(), "the server is offline; start it first".to_owned());
    assert_eq!(receipt(&mut socket, "c0").await, offline);
    let done = ("done".to_owned(), String::new());
    ask(&mut socket, "set state", "start", "p0").await;
    assert_eq!(receipt(&mut socket, "p0").await, done);
    ask(&mut socket, "set state", "start", "p1").await;
    assert_eq!(receipt(&mut socket, "p1").await.0, "refused");
    ask(&mut socket, "send command", "hello", "c1").await;
    assert_eq!(receipt(&mut socket, "c1").await, done);
    say(&mut socket, "set state", "kill").await;
    until(&mut socket, event("status", "offline")).await;
    node.daemon.shutdown().await;
}

#[tokio::test]
async fn a_state_says_what_is_to_come_of_it() {
    let node = node(GAME, |_| {}).await;
    let plain = running(&node).await;
    let mut socket = numbered(&node).await;
    say(&mut socket, "send command", "die").await;
    // How it ended and what comes next are told as they become known, the last time together.
    let crashed = |message: &Message| json_of(message)["restart_at"].is_u64() && json_of(message)["exit"].is_string();
    let seen = until(&mut socket, crashed).await;
    let last = json_of(seen.last().unwrap());
    assert_eq!(
        (&last["event"], &last["args"], &last["exit"]),
        (&json!("status"), &json!(["offline"]), &json!("exit code 3"))
    );
    finish(node, plain).await;
}

#[tokio::test]
async fn a_stop_says_when_it_becomes_a_kill() {
    let node = node("/bin/sh -c 'trap \"\" TERM; echo ready; while :; do read line; done'", |_| {}).await;
    let plain = running(&node).await;
    let mut socket = numbered(&node).await;
    say(&mut socket, "set state", "stop").await;
    let seen = until(&mut socket, |message| json_of(message)["kill_at"].is_u64()).await;
    assert_eq!(json_of(seen.last().unwrap())["args"], json!(["stopping"]));
    finish(node, plain).await;
}

#[tokio::test]
async fn a_viewer_who_counts_lines_hears_a_heartbeat() {
    let node = node(GAME, |_| {}).await;
    let plain = running(&node).await;
    let mut socket = numbered(&node).await;
    let head = attach(&mut socket, json!({ "last": 0 })).await["head"].clone();
    let seen = until(&mut socket, event("heartbeat", "")).await;
    let heartbeat: Value = serde_json::from_str(&parsed(seen.last().unwrap()).1).unwrap();
    assert_eq!(heartbeat["head"], head);
    finish(node, plain).await;
}

#[tokio::test]
async fn what_was_kept_can_be_read_over_http() {
    let node = node(GAME, |_| {}).await;
    let mut socket = running(&node).await;
    for word in ["alpha", "beta"] {
        say(&mut socket, "send command", word).await;
        until(&mut socket, event("console output", &format!("got {word}"))).await;
    }
    let read = history(&node, "lines?limit=2").await;
    assert_eq!(read["object"], "console_lines");
    let texts = |read: &Value| -> Vec<String> {
        let lines = read["attributes"]["lines"].as_array().unwrap();
        lines.iter().map(|line| line["text"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(texts(&read), ["beta", "got beta"]);
    let before = read["attributes"]["lines"][0]["seq"].as_u64().unwrap();
    assert_eq!(texts(&history(&node, &format!("lines?before={before}&limit=2")).await), ["alpha", "got alpha"]);
    assert_eq!(texts(&history(&node, &format!("lines?after={before}")).await), ["got beta"]);

    let found = history(&node, "search?q=GOT%20A").await;
    assert_eq!(found["attributes"]["matches"][0]["text"], "got alpha");
    assert_eq!((&found["attributes"]["matches"][1], &found["attributes"]["complete"]), (&Value::Null, &json!(true)));
    assert_eq!(history(&node, "search?q=GOT&case=1").await["attributes"]["matches"], json!([]));

    until(&mut socket, event("stats", "\"state\":\"running\"")).await;
    let figures = history(&node, "stats").await;
    assert_eq!(figures["attributes"]["step_s"], 1);
    assert!(figures["attributes"]["samples"][0]["memory"].as_u64().unwrap() > 0, "{figures}");
    assert_eq!(history(&node, "stats?step=60").await["attributes"]["step_s"], 60);

    for (what, part) in [
        ("lines?after=1&before=2", "not both"),
        ("lines?after=x", "cannot be read"),
        ("search", "cannot be read"),
        ("search?q=", "what to look for"),
        ("stats?step=7", "`step` is 1"),
    ] {
        let (status, body) = node.ask("GET", &format!("/api/servers/{SERVER}/console/{what}"), None).await;
        assert!(status == 422 && body["error"].as_str().unwrap().contains(part), "{what}: {status} {body}");
    }

    say(&mut socket, "send command", "die").await;
    until(&mut socket, event("status", "offline")).await;
    // Readable while it is down.
    assert_eq!(texts(&history(&node, &format!("lines?after={before}&limit=1")).await), ["got beta"]);
    let runs = history(&node, "runs").await;
    let run = &runs["data"][0]["attributes"];
    assert_eq!((&run["first_line"], &run["exit"]), (&json!(0), &json!("exit code 3")));
    until(&mut socket, event("status", "running")).await;
    finish(node, socket).await;
}

#[tokio::test]
async fn a_crash_is_on_record_when_it_is_told() {
    let node = node(GAME, |_| {}).await;
    let mut socket = running(&node).await;
    say(&mut socket, "send command", "last words").await;
    until(&mut socket, event("console output", "got last words")).await;
    until(&mut socket, event("stats", "\"state\":\"running\"")).await;
    say(&mut socket, "send command", "die").await;
    until(&mut socket, event("status", "offline")).await;
    let runs = history(&node, "runs").await;
    let run = &runs["data"][0]["attributes"];
    assert_eq!((&run["crashed"], &run["exit"]), (&json!(true), &json!("exit code 3")), "{runs}");
    assert!(run["started_at"].as_u64().unwrap() <= run["ended_at"].as_u64().unwrap());
    let told = history(&node, &format!("runs/{}", run["id"].as_str().unwrap())).await;
    let crash = &told["attributes"]["crash"];
    assert_eq!(told["attributes"]["exit"], "exit code 3");
    assert_eq!((&crash["code"], &crash["signal"], &crash["in_a_row"]), (&json!(3), &Value::Null, &json!(1)));
    assert!(crash["restart_at"].as_u64() > run["ended_at"].as_u64(), "{crash}");
    let texts: Vec<&str> = crash["lines"].as_array().unwrap().iter().filter_map(|line| line["text"].as_str()).collect();
    assert_eq!(texts, ["ready", "last words", "got last words", "die"]);
    assert_eq!(
        (&crash["last_act"]["event"], &crash["last_act"]["user"]),
        (&json!("server:console.command"), &json!(USER))
    );
    assert!(crash["stats"][0]["memory"].as_u64().unwrap() > 0);
    // The lines of one run, whatever comes behind it.
    until(&mut socket, event("status", "running")).await;
    let lines = history(&node, &format!("lines?run={}", run["id"].as_str().unwrap())).await;
    assert_eq!(lines["attributes"]["lines"].as_array().unwrap().len(), 4, "{lines}");
    // From the second one on the state says more than that it is offline, and goes on to say so.
    let mut counting = numbered(&node).await;
    say(&mut socket, "send command", "die").await;
    let seen = until(&mut counting, event("status", "offline")).await;
    let told = json_of(seen.last().unwrap());
    assert_eq!((&told["condition"], &told["crashes_in_a_row"]), (&json!("crash-looping"), &json!(2)), "{told}");
    assert!(told["restart_at"].as_u64() > told["ended_at"].as_u64(), "{told}");
    until(&mut socket, event("status", "running")).await;
    let seen = until(&mut counting, event("status", "running")).await;
    assert_eq!(json_of(seen.last().unwrap())["condition"], "crash-looping");
    // An end that was asked for is no crash, and has no record.
    say(&mut socket, "set state", "stop").await;
    until(&mut socket, event("status", "offline")).await;
    let runs = history(&node, "runs").await;
    let run = &runs["data"][0]["attributes"];
    assert_eq!((&run["crashed"], &runs["data"][1]["attributes"]["crashed"]), (&json!(false), &json!(true)));
    let told = history(&node, &format!("runs/{}", run["id"].as_str().unwrap())).await;
    assert_eq!(told["attributes"]["crash"], Value::Null);
    let (status, _) = node.ask("GET", &format!("/api/servers/{SERVER}/console/runs/{SERVER}"), None).await;
    assert_eq!(status, 422);
    node.daemon.shutdown().await;
}

/// Reads an answer that goes on, until it contains a text; all of it so far.
async fn followed(answer: &mut reqwest::Response, part: &str) -> String {
    let mut heard = String::new();
    let read = async {
        while let Some(chunk) = answer.chunk().await.unwrap() {
            heard.push_str(&String::from_utf8_lossy(&chunk));
            if heard.contains(part) {
                return;
            }
        }
        panic!("it ended: {heard}");
    };
    let in_time = tokio::time::timeout(crate::node::DEADLINE, read).await;
    assert!(in_time.is_ok(), "{part} did not come: {heard}");
    heard
}

#[tokio::test]
async fn lines_can_be_followed_over_http_until_that_is_taken_away() {
    let node = node(GAME, |_| {}).await;
    let mut socket = running(&node).await;
    say(&mut socket, "send command", "one").await;
    until(&mut socket, event("console output", "got one")).await;
    let path = format!("/api/servers/{SERVER}/console/lines?follow=true&after=0");
    let mut documents = node.follow(&path, USER).await;
    let mut text = node.follow(&format!("{path}&format=text"), USER).await;
    assert_eq!(documents.headers()["content-type"], "application/x-ndjson");
    followed(&mut documents, "got one").await;
    followed(&mut text, "got one\n").await;
    say(&mut socket, "send command", "two").await;
    let heard = followed(&mut documents, "got two").await;
    let seqs: Vec<u64> =
        heard.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs.len(), 2, "each line once: {heard}");
    assert_eq!(followed(&mut text, "got two\n").await, "two\ngot two\n");
    let before = jiff::Timestamp::now().as_second();
    // Somebody else's rights end: it goes on. Theirs end, and it ends.
    for (user, goes_on) in [(SERVER, true), (USER, false)] {
        let body = json!({ "user": user, "servers": [] });
        assert_eq!(node.ask("POST", "/api/deauthorize-user", Some(body)).await.0, 204);
        let (status, _) = node.post("/commands", json!({ "commands": ["three"] })).await;
        assert_eq!(status, 204);
        if goes_on {
            followed(&mut documents, "got three").await;
        }
    }
    let ended = async { while documents.chunk().await.unwrap().is_some() {} };
    assert!(tokio::time::timeout(crate::node::DEADLINE, ended).await.is_ok(), "it goes on");
    // What was checked before the rights were taken away is worth nothing; what is asked for nobody neither.
    assert_eq!(node.follow_checked(&path, USER, before).await.status(), 403);
    assert_eq!(node.ask("GET", &path, None).await.0, 422);
    for query in ["&before=5", "&run=x", "&format=json"] {
        assert_eq!(node.ask("GET", &format!("{}{query}", path.replace("&after=0", "")), None).await.0, 422, "{query}");
    }
    assert_eq!(node.post("/power", json!({ "action": "kill" })).await.0, 202);
    node.daemon.shutdown().await;
}

/// Nothing of all this reaches a client that did not ask for it.
#[tokio::test]
async fn plain_clients_see_no_difference() {
    let node = node(GAME, |_| {}).await;
    let mut socket = connect(&node, 600).await;
    say(&mut socket, "attach", "{\"last\":5}").await;
    ask(&mut socket, "send command", "x", "c1").await;
    let seen = until(&mut socket, event("daemon error", "offline")).await;
    let names: Vec<String> = seen.iter().map(|message| parsed(message).0).collect();
    assert_eq!(names, ["status", "stats", "daemon error"]);
    assert!(seen.iter().map(json_of).all(|frame| frame.as_object().unwrap().len() <= 2));
    node.daemon.shutdown().await;
}
