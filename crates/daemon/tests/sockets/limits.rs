//! Times and limits of console connections.

use std::time::Duration;

use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::node::{Journal, closes_with, connect, event, finish, node, open, running, say, text, until};

/// A ping comes only after a silence of ours; one that is answered keeps the connection.
#[tokio::test]
async fn a_ping_comes_only_after_silence() {
    let node = node("/bin/cat", |config| config.ping_after = Duration::from_millis(400)).await;
    let mut socket = connect(&node, 600).await;
    let started = tokio::time::Instant::now();
    until(&mut socket, |message| matches!(message, Message::Ping(_))).await;
    assert!(started.elapsed() >= Duration::from_millis(350), "{:?}", started.elapsed());
    // This client answers pings, so the next one comes on the same connection.
    until(&mut socket, |message| matches!(message, Message::Ping(_))).await;
    // While something is sent every second and the limit is two, there is no ping at all.
    let chatty = crate::node::node("/bin/cat", |config| config.ping_after = Duration::from_secs(2)).await;
    let mut socket = connect(&chatty, 600).await;
    say(&mut socket, "set state", "start").await;
    let mut samples = 0;
    while samples < 4 {
        let seen = until(&mut socket, |message| text(message).is_some_and(|text| text.contains("\"stats\""))).await;
        assert!(!seen.iter().any(|message| matches!(message, Message::Ping(_))), "{seen:?}");
        samples += 1;
    }
    say(&mut socket, "set state", "kill").await;
    until(&mut socket, |message| text(message).is_some_and(|text| text.contains("\"offline\""))).await;
    chatty.daemon.shutdown().await;
    node.daemon.shutdown().await;
}

/// Somebody who does not answer a ping is let go, and told why should it still be there.
#[tokio::test]
async fn a_ping_that_nobody_answers_ends_the_connection() {
    let mut journal = Journal::listen();
    let node = node("/bin/cat", |config| {
        config.ping_after = Duration::from_millis(100);
        config.pong_timeout = Duration::from_millis(100);
    })
    .await;
    // Pings are answered by reading, which this client does not do.
    let mut socket = connect(&node, 600).await;
    journal.wait_for(&["connection closed", "1008"]).await;
    let seen = until(&mut socket, closes_with(CloseCode::Policy, "not reading")).await;
    assert!(seen.iter().any(|message| matches!(message, Message::Ping(_))), "{seen:?}");
    node.daemon.shutdown().await;
}

/// Who never authenticates is told why the connection ends.
#[tokio::test]
async fn never_authenticating_ends_the_connection() {
    let node = node("/bin/cat", |config| config.session.auth_timeout_ms = 200).await;
    let mut socket = open(&node).await;
    let seen = until(&mut socket, closes_with(CloseCode::Policy, "no auth in time")).await;
    assert_eq!(seen.len(), 1);
    node.daemon.shutdown().await;
}

/// Whatever JSON makes of a command of the largest size, it fits; a frame beyond that does not.
#[tokio::test]
async fn the_largest_command_fits_into_a_frame_however_it_is_spelled() {
    let lengths = "/bin/sh -c 'echo ready; while IFS= read -r line; do printf \"got %s %.4s\\n\" \"$(printf %s \"$line\" | wc -c)\" \"$line\"; done'";
    let node = node(lengths, |_| {}).await;
    let mut socket = running(&node).await;
    let spelled = [
        r#"\""#.repeat(4096),
        // As Python writes it: six bytes for two.
        "\\u0436".repeat(2048),
        // The worst there is: six bytes for one.
        "\\u0009".repeat(4096),
    ];
    for command in spelled {
        let frame = format!(r#"{{"event": "send command", "args": ["{command}"]}}"#);
        futures_util::SinkExt::send(&mut socket, Message::text(frame)).await.unwrap();
        until(&mut socket, event("console output", "got 4096 ")).await;
    }
    let beyond = format!(r#"{{"event":"send command","args":["{}"]}}"#, "x".repeat(32 * 1024));
    let mut other = connect(&node, 600).await;
    futures_util::SinkExt::send(&mut other, Message::text(beyond)).await.unwrap();
    until(&mut other, closes_with(CloseCode::Size, "message too big")).await;
    finish(node, socket).await;
}

/// A token that ran out and is not renewed ends the connection with 1008 after its grace.
#[tokio::test]
async fn a_token_that_is_not_renewed_ends_the_connection() {
    let node = node("/bin/cat", |config| config.session.lapse_grace_ms = 300).await;
    let mut socket = connect(&node, 1).await;
    let seen = until(&mut socket, closes_with(CloseCode::Policy, "token expired and was not renewed")).await;
    assert!(seen.iter().any(|message| text(message).is_some_and(|text| text.contains("token expired"))), "{seen:?}");
    node.daemon.shutdown().await;
}

/// The setting for clients that spread `args` gives every event the member.
#[tokio::test]
async fn args_are_always_there_when_asked_for() {
    let node = node("/bin/cat", |config| config.always_args = true).await;
    let mut socket = connect(&node, 20).await;
    let seen = until(&mut socket, |message| text(message).is_some_and(|text| text.contains("token expiring"))).await;
    assert_eq!(text(seen.last().unwrap()), Some("{\"event\":\"token expiring\",\"args\":[]}"));
    node.daemon.shutdown().await;
}
