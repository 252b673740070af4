//! What is known of a console when its moment has passed: runs and crashes over restarts of the program, and lines over plain HTTP.
#![allow(clippy::unwrap_used, missing_docs)]

use e2e::{DEADLINE, Deck, Rest, Socket};
use serde_json::{Value, json};

/// The newest run that is over.
async fn ended_run(deck: &Deck, server: &str) -> Value {
    let runs = deck.rest().get(&format!("/api/client/servers/{server}/console/runs")).await;
    let runs = runs.ok()["data"].as_array().unwrap().clone();
    let ended = runs.into_iter().map(|run| run["attributes"].clone()).find(|run| run["ended_at"].is_u64());
    ended.unwrap_or_default()
}

async fn running(deck: &Deck, server: &str) -> Socket {
    let mut console = Socket::console(deck, server).await;
    console.status("offline").await;
    console.say("set state", &json!(["start"])).await;
    console.status("running").await;
    console
}

#[tokio::test]
async fn how_a_server_ended_is_known_after_a_restart_of_the_program() {
    let mut deck = Deck::new().await;
    let server = deck.game("--obey", json!({ "ready": "Done", "stop": "stop" })).await;
    let mut console = running(&deck, &server).await;
    console.say("send command", &json!(["stop"])).await;
    console.status("offline").await;
    let path = format!("/api/client/servers/{server}/resources");
    let told = |answer: &e2e::Answer| {
        let attributes = &answer.ok()["attributes"];
        (attributes["last_exit"].clone(), attributes["ended_at_ms"].clone(), attributes["crashed"].clone())
    };
    let before = told(&deck.rest().get(&path).await);
    assert_eq!((&before.0, before.1.is_u64(), &before.2), (&json!("exit code 0"), true, &Value::Null));
    let run = ended_run(&deck, &server).await;
    deck.kill().await;
    deck.up_again().await;
    assert_eq!(told(&deck.rest().get(&path).await), before);
    assert_eq!(ended_run(&deck, &server).await, run);
}

#[tokio::test]
async fn a_crash_while_no_program_looked_is_on_record() {
    let mut deck = Deck::new().await;
    let server = deck.game("--crash-after 1s --exit-code 9 --lines 700", json!({ "ready": "Done" })).await;
    let console = running(&deck, &server).await;
    deck.learn_node_token().await;
    let pid = deck.details(&server).await["quarterdeck"]["pid"].as_u64().unwrap();
    drop(console);
    deck.kill().await;
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while std::fs::exists(format!("/proc/{pid}")).unwrap() {
        assert!(tokio::time::Instant::now() < deadline, "the game goes on");
        tokio::task::yield_now().await;
    }
    deck.up_again().await;
    let run = loop {
        let run = ended_run(&deck, &server).await;
        if run["ended_at"].is_u64() {
            break run;
        }
        assert!(tokio::time::Instant::now() < deadline, "its end is not told");
    };
    assert_eq!((&run["crashed"], &run["exit"], &run["first_line"]), (&json!(true), &json!("exit code 9"), &json!(0)));
    let path = format!("/api/client/servers/{server}/console/runs/{}", run["id"].as_str().unwrap());
    let record = deck.rest().get(&path).await.ok()["attributes"]["crash"].clone();
    let lines = record["lines"].as_array().unwrap();
    assert_eq!((&record["code"], lines.len()), (&json!(9), 500));
    assert_eq!(lines[499]["seq"].as_u64().unwrap() + 1, run["end_line"].as_u64().unwrap());
}

#[tokio::test]
async fn a_friend_follows_lines_over_http_until_that_is_taken_away() {
    let deck = Deck::new().await;
    let server = deck.game("--rate 100 --stamp", json!({ "ready": "Done" })).await;
    let body = json!({ "username": "friend", "email": "friend@example.org", "password": "correct horse" });
    deck.rest().post("/api/application/users", &body).await.ok();
    let rights = json!({ "email": "friend@example.org", "permissions": [] });
    let shared = deck.rest().post(&format!("/api/client/servers/{server}/users"), &rights).await;
    let friend = shared.ok()["attributes"]["uuid"].as_str().unwrap().to_owned();
    let output =
        deck.command(&["--json", "key", "create", "test", "--user", "friend@example.org"]).output().await.unwrap();
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    let key = made["key"].as_str().unwrap();
    let _console = running(&deck, &server).await;

    let path = format!("/api/client/servers/{server}/console/lines?follow=true&limit=50");
    let rest = Rest::new(deck.url(), Some(key));
    let mut answer = rest.request(reqwest::Method::GET, &path).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
    let mut text = String::new();
    while text.lines().count() < 300 {
        text.push_str(std::str::from_utf8(&answer.chunk().await.unwrap().unwrap()).unwrap());
    }
    let whole = text.rsplit_once('\n').unwrap().0;
    let seqs: Vec<u64> =
        whole.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap()).collect();
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "{seqs:?}");

    let removed = rest
        .with_key(Some(deck.key()))
        .request(reqwest::Method::DELETE, &format!("/api/client/servers/{server}/users/{friend}"));
    assert_eq!(Rest::send(removed).await.status, 204);
    let ended = async { while answer.chunk().await.unwrap().is_some() {} };
    assert!(tokio::time::timeout(DEADLINE, ended).await.is_ok(), "it goes on");
    assert_eq!(rest.get(&path).await.error().0, 404);
}

/// Somebody who asks for lines and never reads does not hold up the end of the program.
#[tokio::test]
async fn a_follower_that_takes_nothing_holds_up_no_end() {
    let mut deck = Deck::new().await;
    // More than all buffers between the two take.
    let server = deck.game("--lines 40000 --line-len 500 --echo-stdin", json!({ "ready": "Done" })).await;
    let mut console = running(&deck, &server).await;
    console.say("send command", &json!(["all is printed"])).await;
    console.line("cmd: all is printed").await;
    let address = deck.url().trim_start_matches("http://");
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut dead = socket.connect(address.parse().unwrap()).await.unwrap();
    let (path, key) = (format!("/api/client/servers/{server}/console/lines?follow=true&after=0"), deck.key());
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\n\r\n");
    tokio::io::AsyncWriteExt::write_all(&mut dead, request.as_bytes()).await.unwrap();
    // What there is room for is there: everything else waits on the other side.
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while dead.peek(&mut [0; 2048]).await.unwrap() < 2048 {
        assert!(tokio::time::Instant::now() < deadline, "no answer");
        tokio::task::yield_now().await;
    }
    let began = tokio::time::Instant::now();
    deck.stop().await;
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
}
