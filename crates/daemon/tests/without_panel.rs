//! A node whose panel cannot be reached serves what it knows: the whole path of a line and of a command, on a real process.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "common/handover.rs"]
mod handover;

use std::time::Duration;

use daemon::{Config, Daemon};
use futures_util::{SinkExt, StreamExt};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

const SERVER: &str = "11111111-2222-3333-4444-555555555555";
const SECRET: &str = "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk";
const DEADLINE: Duration = Duration::from_secs(30);

fn token() -> String {
    let now = jiff::Timestamp::now().as_second();
    let claims = json!({
        "iat": now, "exp": now + 600, "server_uuid": SERVER, "permissions": ["*"],
        "user_uuid": "99999999-8888-4777-8666-555555555555", "scope": "websocket", "jti": "x",
    });
    encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

#[tokio::test]
async fn a_node_without_its_panel_runs_what_it_knows() {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().join("servers").join(SERVER);
    std::fs::create_dir_all(&dir).unwrap();
    let definition = json!({
        "settings": { "uuid": SERVER, "invocation": "/bin/sh -c 'echo it is ready; while read line; do echo got $line; done'" },
        "process_configuration": { "startup": { "done": ["is ready"] }, "stop": { "type": "signal", "value": "SIGTERM" } },
    });
    std::fs::write(dir.join("definition.json"), definition.to_string()).unwrap();
    let config =
        Config::new(data.path().to_owned(), uuid::Uuid::new_v4(), "0123456789abcdef", SECRET, "http://127.0.0.1:1");
    let daemon = Daemon::open(config).await.unwrap();
    assert!(daemon.boot().await.is_err(), "there is no panel");

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(axum::serve(listener, daemon.router().layer(handover::handover())).into_future());
    let url = format!("ws://{address}/api/servers/{SERVER}/ws");
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    let mut heard = Vec::new();
    let token = token();
    for (event, arg, until) in [
        ("auth", token.as_str(), "\"offline\""),
        ("set state", "start", "\"running\""),
        ("send command", "hello", "got hello"),
        ("set state", "stop", "\"offline\""),
    ] {
        socket.send(Message::text(json!({ "event": event, "args": [arg] }).to_string())).await.unwrap();
        let heard_in_time = tokio::time::timeout(DEADLINE, wait_for(&mut socket, &mut heard, until)).await;
        assert!(heard_in_time.is_ok(), "{until} did not come after {event}: {heard:#?}");
    }
    let states: Vec<_> = heard.iter().filter(|frame| frame.contains("\"status\"")).collect();
    assert_eq!(states.len(), 5, "offline, starting, running, stopping, offline: {states:?}");
    daemon.shutdown().await;
    serving.abort();
}

async fn wait_for<S>(socket: &mut S, heard: &mut Vec<String>, part: &str)
where
    S: StreamExt<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + Unpin,
{
    loop {
        let Some(Ok(message)) = socket.next().await else { panic!("{part:?} did not come: {heard:#?}") };
        let Message::Text(text) = message else { continue };
        let _: Value = serde_json::from_str(text.as_str()).unwrap();
        heard.push(text.to_string());
        if text.contains(part) {
            return;
        }
    }
}
