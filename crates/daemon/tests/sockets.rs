//! Times and limits of console connections, with settings short enough to wait for.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use daemon::{Config, Daemon};
use futures_util::{SinkExt, StreamExt};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;
use tokio_tungstenite::tungstenite::{Message, protocol::frame::coding::CloseCode};

const SERVER: &str = "11111111-2222-3333-4444-555555555555";
const SECRET: &str = "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk";
const DEADLINE: Duration = Duration::from_secs(30);

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

struct Node {
    daemon: Daemon,
    url: String,
    _data: tempfile::TempDir,
}

async fn node(invocation: &str, change: impl FnOnce(&mut Config)) -> Node {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().join("servers").join(SERVER);
    std::fs::create_dir_all(&dir).unwrap();
    let definition = json!({
        "settings": { "uuid": SERVER, "invocation": invocation },
        "process_configuration": { "startup": { "done": [""] } },
    });
    std::fs::write(dir.join("definition.json"), definition.to_string()).unwrap();
    let node_uuid = uuid::Uuid::new_v4();
    let mut config = Config::new(data.path().to_owned(), node_uuid, "0123456789abcdef", SECRET, "http://127.0.0.1:1");
    change(&mut config);
    let daemon = Daemon::open(config).await.unwrap();
    assert!(daemon.boot().await.is_err(), "there is no panel");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/api/servers/{SERVER}/ws", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, daemon.router()).into_future());
    Node { daemon, url, _data: data }
}

async fn connect(node: &Node, lifetime_s: i64) -> Socket {
    let (mut socket, _) = tokio_tungstenite::connect_async(&node.url).await.unwrap();
    let now = jiff::Timestamp::now().as_second();
    let claims = json!({
        "iat": now, "exp": now + lifetime_s, "server_uuid": SERVER, "permissions": ["*"],
        "user_uuid": "99999999-8888-4777-8666-555555555555", "scope": "websocket", "jti": "x",
    });
    let token = encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap();
    say(&mut socket, "auth", &token).await;
    until(&mut socket, |message| text(message).is_some_and(|text| text.contains("auth success"))).await;
    socket
}

async fn say(socket: &mut Socket, event: &str, arg: &str) {
    socket.send(Message::text(json!({ "event": event, "args": [arg] }).to_string())).await.unwrap();
}

fn text(message: &Message) -> Option<&str> {
    match message {
        Message::Text(text) => Some(text.as_str()),
        _ => None,
    }
}

/// Reads until a message passes; gives those before it as well.
async fn until(socket: &mut Socket, wanted: impl Fn(&Message) -> bool) -> Vec<Message> {
    let mut seen = Vec::new();
    let read = async {
        loop {
            let Some(Ok(message)) = socket.next().await else { panic!("the connection ended: {seen:?}") };
            let found = wanted(&message);
            seen.push(message);
            if found {
                return;
            }
        }
    };
    assert!(tokio::time::timeout(DEADLINE, read).await.is_ok(), "it did not come");
    seen
}

fn closes_with(code: CloseCode) -> impl Fn(&Message) -> bool {
    move |message| matches!(message, Message::Close(Some(frame)) if frame.code == code)
}

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
    let chatty = self::node("/bin/cat", |config| config.ping_after = Duration::from_secs(2)).await;
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

/// A viewer that never reads is let go in bounded time, and the game's output is whole all the same.
#[tokio::test]
async fn a_viewer_that_never_reads_is_let_go() {
    // More than the kernel keeps for two connected sockets.
    let flood = format!("/bin/sh -c 'echo hello; read go; yes {} | head -n 30000; echo all done'", "x".repeat(1000));
    let node = node(&flood, |config| config.write_timeout = Duration::from_millis(500)).await;
    let mut stuck = connect(&node, 600).await;
    let mut reading = connect(&node, 600).await;
    say(&mut reading, "set state", "start").await;
    until(&mut reading, |message| text(message).is_some_and(|text| text.contains("\"running\""))).await;
    say(&mut reading, "send command", "go").await;
    until(&mut reading, |message| text(message).is_some_and(|text| text.contains("all done"))).await;
    // The stuck one finds what was buffered, and then the end.
    let ended = async { while let Some(Ok(_)) = stuck.next().await {} };
    assert!(tokio::time::timeout(DEADLINE, ended).await.is_ok(), "still connected");
    node.daemon.shutdown().await;
}

/// A token that ran out and is not renewed ends the connection with 1008 after its grace.
#[tokio::test]
async fn a_token_that_is_not_renewed_ends_the_connection() {
    let node = node("/bin/cat", |config| config.session.lapse_grace_ms = 300).await;
    let mut socket = connect(&node, 1).await;
    let seen = until(&mut socket, closes_with(CloseCode::Policy)).await;
    assert!(seen.iter().any(|message| text(message).is_some_and(|text| text.contains("token expired"))), "{seen:?}");
    node.daemon.shutdown().await;
}

/// The setting for clients that spread `args` gives every event the member.
#[tokio::test]
async fn args_are_always_there_when_asked_for() {
    let node = node("/bin/cat", |config| config.always_args = true).await;
    let (mut socket, _) = tokio_tungstenite::connect_async(&node.url).await.unwrap();
    socket.close(None).await.unwrap();
    let mut socket = connect(&node, 20).await;
    let seen = until(&mut socket, |message| text(message).is_some_and(|text| text.contains("token expiring"))).await;
    assert_eq!(text(seen.last().unwrap()), Some("{\"event\":\"token expiring\",\"args\":[]}"));
    node.daemon.shutdown().await;
}
