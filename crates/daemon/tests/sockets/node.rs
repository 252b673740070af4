//! A node of one server on a port of its own, and a client that says exactly what a test tells it.

use std::sync::OnceLock;
use std::time::Duration;

use daemon::{Config, Daemon};
use futures_util::{SinkExt, StreamExt};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::handover::handover;

pub(crate) const SERVER: &str = "11111111-2222-3333-4444-555555555555";
pub(crate) const USER: &str = "99999999-8888-4777-8666-555555555555";
pub(crate) const SECRET: &str = "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk";
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

pub(crate) struct Node {
    pub(crate) daemon: Daemon,
    /// The console socket's address.
    pub(crate) url: String,
    base: String,
    _data: tempfile::TempDir,
}

/// A node whose one server runs this command line.
pub(crate) async fn node(invocation: &str, change: impl FnOnce(&mut Config)) -> Node {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().join("servers").join(SERVER);
    std::fs::create_dir_all(&dir).unwrap();
    let definition = json!({
        "settings": { "uuid": SERVER, "invocation": invocation },
        "process_configuration": {
            "startup": { "done": [""] }, "stop": { "type": "signal", "value": "SIGTERM" },
        },
    });
    std::fs::write(dir.join("definition.json"), definition.to_string()).unwrap();
    let node_uuid = uuid::Uuid::new_v4();
    let mut config = Config::new(data.path().to_owned(), node_uuid, "0123456789abcdef", SECRET, "http://127.0.0.1:1");
    change(&mut config);
    let daemon = Daemon::open(config).await.unwrap();
    assert!(daemon.boot().await.is_err(), "there is no panel");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, daemon.standalone_router().layer(handover())).into_future());
    let url = format!("ws://{address}/api/servers/{SERVER}/ws");
    Node { daemon, url, base: format!("http://{address}"), _data: data }
}

impl Node {
    /// Asks the node's HTTP API as its panel does; the status and the body.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.request(method.parse().unwrap(), format!("{}{path}", self.base)).bearer_auth(SECRET);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default())
    }

    /// Asks on behalf of a user for what goes on.
    pub(crate) async fn follow(&self, path: &str, user: &str) -> reqwest::Response {
        self.follow_checked(path, user, jiff::Timestamp::now().as_second()).await
    }

    /// The same, with rights that were looked at then, in Unix seconds.
    pub(crate) async fn follow_checked(&self, path: &str, user: &str, checked_s: i64) -> reqwest::Response {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.get(format!("{}{path}", self.base)).bearer_auth(SECRET);
        request
            .header("X-Quarterdeck-User", user)
            .header("X-Quarterdeck-Checked", checked_s.to_string())
            .send()
            .await
            .unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.ask("POST", &format!("/api/servers/{SERVER}{path}"), Some(body)).await
    }

    /// The game's process id.
    pub(crate) async fn pid(&self) -> i32 {
        let (_, details) = self.ask("GET", &format!("/api/servers/{SERVER}"), None).await;
        i32::try_from(details["quarterdeck"]["pid"].as_i64().unwrap()).unwrap()
    }
}

/// A good token with this id.
pub(crate) fn token(jti: &str, lifetime_s: i64) -> String {
    let now = jiff::Timestamp::now().as_second();
    let claims = json!({
        "iat": now, "exp": now + lifetime_s, "server_uuid": SERVER, "permissions": ["*"],
        "user_uuid": USER, "scope": "websocket", "jti": jti,
    });
    encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

pub(crate) async fn open(node: &Node) -> Socket {
    tokio_tungstenite::connect_async(&node.url).await.unwrap().0
}

pub(crate) async fn connect(node: &Node, lifetime_s: i64) -> Socket {
    let mut socket = open(node).await;
    say(&mut socket, "auth", &token("x", lifetime_s)).await;
    until(&mut socket, event("auth success", "")).await;
    socket
}

/// Connects and starts the game.
pub(crate) async fn running(node: &Node) -> Socket {
    let mut socket = connect(node, 600).await;
    say(&mut socket, "set state", "start").await;
    until(&mut socket, event("status", "running")).await;
    socket
}

/// Ends the game, so that nothing of it is left behind, and the node.
pub(crate) async fn finish(node: Node, mut socket: Socket) {
    say(&mut socket, "set state", "kill").await;
    until(&mut socket, event("status", "offline")).await;
    node.daemon.shutdown().await;
}

pub(crate) async fn say(socket: &mut Socket, event: &str, arg: &str) {
    socket.send(Message::text(json!({ "event": event, "args": [arg] }).to_string())).await.unwrap();
}

pub(crate) fn text(message: &Message) -> Option<&str> {
    match message {
        Message::Text(text) => Some(text.as_str()),
        _ => None,
    }
}

/// The event's name and its argument.
pub(crate) fn parsed(message: &Message) -> (String, String) {
    let value: Value = text(message).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let part = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (part(&value["event"]), part(&value["args"][0]))
}

/// An event of this name whose argument contains a text.
pub(crate) fn event(name: &str, part: &str) -> impl Fn(&Message) -> bool {
    let (name, part) = (name.to_owned(), part.to_owned());
    move |message| {
        let (event, arg) = parsed(message);
        event == name && arg.contains(&part)
    }
}

pub(crate) fn closes_with(code: CloseCode, reason: &str) -> impl Fn(&Message) -> bool {
    let reason = reason.to_owned();
    move |message| matches!(message, Message::Close(Some(frame)) if frame.code == code && frame.reason.as_str() == reason)
}

/// Reads until a message passes; gives those before it as well.
pub(crate) async fn until(socket: &mut Socket, wanted: impl Fn(&Message) -> bool) -> Vec<Message> {
    let mut seen = Vec::new();
    let read = async {
        loop {
            let Some(Ok(message)) = socket.next().await else { panic!("the connection ended: {}", excerpt(&seen)) };
            let found = wanted(&message);
            seen.push(message);
            if found {
                return;
            }
        }
    };
    assert!(tokio::time::timeout(DEADLINE, read).await.is_ok(), "it did not come: {}", excerpt(&seen));
    seen
}

/// Reads to the end of the connection.
pub(crate) async fn rest(socket: &mut Socket) -> Vec<Message> {
    let mut seen = Vec::new();
    let read = async {
        while let Some(Ok(message)) = socket.next().await {
            seen.push(message);
        }
    };
    assert!(tokio::time::timeout(DEADLINE, read).await.is_ok(), "still connected");
    seen
}

fn excerpt(seen: &[Message]) -> String {
    let last: Vec<String> =
        seen.iter().rev().take(5).map(|message| format!("{message:?}").chars().take(200).collect()).collect();
    format!("{} messages, the last: {last:#?}", seen.len())
}

/// What the node logs, for tests about things that no client sees: the messages with their fields.
pub(crate) struct Journal(watch::Receiver<Vec<String>>);

impl Journal {
    /// Listens from now on.
    pub(crate) fn listen() -> Self {
        static LINES: OnceLock<watch::Sender<Vec<String>>> = OnceLock::new();
        let lines = LINES.get_or_init(|| {
            let lines = watch::Sender::default();
            tracing::subscriber::set_global_default(Listener(lines.clone())).unwrap();
            lines
        });
        Self(lines.subscribe())
    }

    /// Waits for a line with all these parts.
    pub(crate) async fn wait_for(&mut self, parts: &[&str]) {
        let has = |lines: &Vec<String>| lines.iter().any(|line| parts.iter().all(|part| line.contains(part)));
        let heard = tokio::time::timeout(DEADLINE, self.0.wait_for(has)).await.is_ok();
        assert!(heard, "{parts:?} was not logged");
    }
}

struct Listener(watch::Sender<Vec<String>>);

impl tracing::Subscriber for Listener {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("daemon")
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        struct Fields(String);
        impl tracing::field::Visit for Fields {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                use std::fmt::Write;
                let _ = write!(self.0, "{field}={value:?} ");
            }
        }
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        self.0.send_modify(|lines| lines.push(fields.0));
    }
}
