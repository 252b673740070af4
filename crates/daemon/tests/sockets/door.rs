//! Who gets in, and what a connection finds when it is in.

use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::node::{connect, event, finish, node, open, parsed, running, say, token, until};

/// A full waiting room is said at the door; a place is free again as soon as somebody has authenticated.
#[tokio::test]
async fn a_full_waiting_room_is_answered_503() {
    let node = node("/bin/cat", |config| config.unauthenticated_max = 1).await;
    let mut waiting = open(&node).await;
    let Err(Error::Http(answer)) = tokio_tungstenite::connect_async(&node.url).await else { panic!("it got in") };
    assert_eq!(answer.status(), 503);
    let body = String::from_utf8(answer.into_body().unwrap_or_default()).unwrap();
    assert!(body.contains("too many connections are waiting to authenticate; try again soon"), "{body}");
    say(&mut waiting, "auth", &token("x", 600)).await;
    until(&mut waiting, event("status", "offline")).await;
    connect(&node, 600).await;
    node.daemon.shutdown().await;
}

/// A good token in the wrong place is no token: it travels in the first message and nowhere else.
#[tokio::test]
async fn a_token_at_the_handshake_is_not_heeded() {
    let node = node("/bin/cat", |_| {}).await;
    let good = token("x", 600);
    let mut request = format!("{}?token={good}", node.url).into_client_request().unwrap();
    request.headers_mut().insert("Authorization", format!("Bearer {good}").parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    say(&mut socket, "send logs", "").await;
    let seen = until(&mut socket, |_| true).await;
    assert_eq!(seen, [Message::text(r#"{"event":"jwt error","args":["jwt: no jwt present"]}"#)]);
    node.daemon.shutdown().await;
}

/// The first `auth` on a running server brings the state; no history, and no sample out of turn.
#[tokio::test]
async fn a_running_server_tells_its_state_and_nothing_else_unasked() {
    let node = node("/bin/sh -c 'echo hello; read end'", |_| {}).await;
    let witness = running(&node).await;
    let mut tries = 0;
    loop {
        let mut socket = open(&node).await;
        say(&mut socket, "auth", &token("x", 600)).await;
        say(&mut socket, "set state", "marker").await;
        let seen = until(&mut socket, event("daemon error", "marker")).await;
        let names: Vec<_> = seen.iter().map(parsed).map(|(name, _)| name).collect();
        if names == ["auth success", "status", "daemon error"] {
            break;
        }
        // The sample of this second may come between, once.
        tries += 1;
        assert!(tries < 4 && names == ["auth success", "status", "stats", "daemon error"], "{seen:?}");
    }
    finish(node, witness).await;
}
