//! Viewers that read slowly, or not at all.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::json;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::node::{
    DEADLINE, Journal, USER, closes_with, connect, event, finish, node, open, parsed, rest, running, say, token, until,
};

/// Floods on "go": more than the kernel keeps for two connected sockets.
fn flood() -> String {
    format!("/bin/sh -c 'echo hello; read go; yes {} | head -n 14000; echo all done; read end'", "x".repeat(1000))
}

/// A viewer that never reads is let go in bounded time, and the game's output is whole all the same.
#[tokio::test]
async fn a_viewer_that_never_reads_is_let_go() {
    let mut journal = Journal::listen();
    let node = node(&flood(), |config| config.write_timeout = Duration::from_millis(500)).await;
    let mut stuck = connect(&node, 600).await;
    let mut reading = running(&node).await;
    say(&mut reading, "send command", "go").await;
    until(&mut reading, event("console output", "all done")).await;
    // One that begins to read before its time is over is not let go.
    journal.wait_for(&["connection closed", "not reading"]).await;
    // The stuck one finds what was buffered, and then the end.
    rest(&mut stuck).await;
    finish(node, reading).await;
}

/// The reason reaches a viewer that wakes up in time to read it.
#[tokio::test]
async fn a_stuck_viewer_is_told_that_it_does_not_read() {
    let mut journal = Journal::listen();
    let node = node(&flood(), |config| config.write_timeout = Duration::from_millis(300)).await;
    let mut stuck = running(&node).await;
    say(&mut stuck, "send command", "go").await;
    journal.wait_for(&["connection closed", "not reading"]).await;
    until(&mut stuck, closes_with(CloseCode::Policy, "not reading")).await;
    let socket = connect(&node, 600).await;
    finish(node, socket).await;
}

/// It was one batch under one time-out: whoever needed longer for all of it was closed as "not reading", and came back for more
/// of the same.
#[tokio::test]
async fn a_slow_reader_gets_its_whole_history() {
    // Each NUL is six bytes of JSON: 60 lines of 360 KB, far more than the kernel buffers.
    let nuls = "/bin/sh -c 'for n in $(seq 60); do head -c 60000 /dev/zero; echo \" line $n.\"; done; echo all done; read end'";
    let stall = Duration::from_millis(700);
    let node = node(nuls, |config| config.write_timeout = stall).await;
    let mut witness = running(&node).await;
    until(&mut witness, event("console output", "all done")).await;
    let mut slow = connect(&node, 600).await;
    say(&mut slow, "send logs", "").await;
    say(&mut slow, "send stats", "").await;
    let started = Instant::now();
    let mut lines = Vec::new();
    loop {
        let message = tokio::time::timeout(DEADLINE, slow.next()).await.unwrap().unwrap().unwrap();
        match parsed(&message) {
            (name, line) if name == "console output" => lines.push(line.trim_start_matches('\0').to_owned()),
            (name, _) if name == "stats" && lines.len() > 60 => break,
            _ => continue,
        }
        // sleeps: a viewer that takes its time is what this is about
        tokio::time::sleep(Duration::from_millis(35)).await;
    }
    assert!(started.elapsed() > 2 * stall, "it was not slow: {:?}", started.elapsed());
    let numbered: Vec<_> = lines.iter().filter(|line| line.starts_with(" line ")).cloned().collect();
    assert_eq!(numbered, (1..=60).map(|n| format!(" line {n}.")).collect::<Vec<_>>());
    finish(node, witness).await;
}

/// Writes were not interrupted: a revoked viewer that did not read kept its socket for half a minute.
#[tokio::test]
async fn a_revoked_viewer_that_does_not_read_is_gone_within_a_second() {
    let mut journal = Journal::listen();
    let node = node(&flood(), |_| {}).await;
    let mut witness = running(&node).await;
    let mut stuck = open(&node).await;
    say(&mut stuck, "auth", &token("stuck", 600)).await;
    until(&mut stuck, event("status", "running")).await;
    say(&mut witness, "send command", "go").await;
    until(&mut witness, event("console output", "all done")).await;
    let started = Instant::now();
    assert_eq!(node.post("/ws/deny", json!({ "jtis": ["stuck"] })).await.0, 204);
    journal.wait_for(&["connection closed", "access changed"]).await;
    journal.wait_for(&["connection ended"]).await;
    let took = started.elapsed();
    assert!(took < Duration::from_millis(1900), "{took:?}");
    let seen = rest(&mut stuck).await;
    assert!(!seen.iter().any(event("console output", "all done")), "it got what came before, and no more");
    finish(node, witness).await;
}

/// One viewer that did not read made the end of a node wait until it gave up on its connections.
#[tokio::test]
async fn a_stuck_viewer_does_not_hold_up_the_end_of_the_node() {
    let node = node(&flood(), |_| {}).await;
    let _stuck = connect(&node, 600).await;
    let mut witness = running(&node).await;
    say(&mut witness, "send command", "go").await;
    until(&mut witness, event("console output", "all done")).await;
    say(&mut witness, "set state", "kill").await;
    until(&mut witness, event("status", "offline")).await;
    let started = Instant::now();
    let reading = tokio::spawn(async move { rest(&mut witness).await });
    node.daemon.shutdown().await;
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    let seen = reading.await.unwrap();
    assert!(seen.iter().any(event("daemon message", "comes back by itself")), "{seen:?}");
    assert!(seen.iter().any(closes_with(CloseCode::Restart, "node is restarting, come back")), "{seen:?}");
}

/// The farewell went to viewers whose token had run out: nothing but answers and `token expired` may.
#[tokio::test]
async fn a_lapsed_viewer_gets_no_farewell() {
    let node = node("/bin/cat", |_| {}).await;
    let mut lapsed = connect(&node, 0).await;
    until(&mut lapsed, event("token expired", "")).await;
    let reading = tokio::spawn(async move { rest(&mut lapsed).await });
    node.daemon.shutdown().await;
    let seen = reading.await.unwrap();
    assert!(closes_with(CloseCode::Restart, "node is restarting, come back")(seen.last().unwrap()), "{seen:?}");
    assert_eq!(seen.len(), 1, "{seen:?}");
}

/// A revocation ends a viewer in the middle of its history as well.
#[tokio::test]
async fn a_revocation_does_not_wait_for_the_history() {
    let mut journal = Journal::listen();
    let nuls = "/bin/sh -c 'for n in $(seq 60); do head -c 60000 /dev/zero; echo; done; echo all done; read end'";
    let node = node(nuls, |_| {}).await;
    let mut witness = running(&node).await;
    until(&mut witness, event("console output", "all done")).await;
    let mut viewer = open(&node).await;
    say(&mut viewer, "auth", &token("other", 600)).await;
    say(&mut viewer, "send logs", "").await;
    until(&mut viewer, event("console output", "")).await;
    let started = Instant::now();
    // The witness has the same user and another token.
    assert_eq!(node.post("/ws/deny", json!({ "jtis": ["other"] })).await.0, 204, "{USER}");
    journal.wait_for(&["connection ended"]).await;
    assert!(started.elapsed() < Duration::from_millis(1900), "{:?}", started.elapsed());
    assert!(rest(&mut viewer).await.len() < 60, "it got all of it");
    finish(node, witness).await;
}
