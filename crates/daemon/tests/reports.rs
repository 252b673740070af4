//! What a node tells its panel, and what it does while the panel says nothing: against a scripted panel that keeps what it hears.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "common/handover.rs"]
mod handover;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use daemon::{Config, Daemon};
use futures_util::{SinkExt, StreamExt};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;

const SERVER: &str = "11111111-2222-3333-4444-555555555555";
const SECRET: &str = "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk";
const ECHO: &str = "/bin/sh -c 'echo it is ready; while read line; do echo got $line; done'";
const DEADLINE: Duration = Duration::from_secs(30);

/// A panel that knows one server and refuses the first so many records of activity.
struct Panel {
    heard: watch::Sender<Vec<Value>>,
    refusals: watch::Sender<Vec<StatusCode>>,
    is_mute: watch::Sender<bool>,
    states: watch::Sender<Vec<String>>,
}

type Shared = State<Arc<Panel>>;

fn definition() -> Value {
    json!({
        "settings": { "uuid": SERVER, "invocation": ECHO },
        "process_configuration": { "startup": { "done": ["is ready"] }, "stop": { "type": "signal", "value": "SIGTERM" } },
    })
}

async fn activity(State(panel): Shared, Json(body): Json<Value>) -> StatusCode {
    let mut refusal = None;
    panel.refusals.send_modify(|refusals| refusal = refusals.pop());
    if let Some(refusal) = refusal {
        return refusal;
    }
    panel.heard.send_modify(|heard| heard.extend(body["data"].as_array().cloned().unwrap_or_default()));
    StatusCode::NO_CONTENT
}

/// Hears of a state and, while it is mute, says nothing.
async fn state(State(panel): Shared, Json(body): Json<Value>) -> StatusCode {
    let mut is_mute = panel.is_mute.subscribe();
    let _ = is_mute.wait_for(|is_mute| !is_mute).await;
    panel.states.send_modify(|states| states.push(body["data"]["new_state"].as_str().unwrap_or_default().to_owned()));
    StatusCode::NO_CONTENT
}

async fn one(State(panel): Shared) -> Json<Value> {
    // Whoever asks a mute panel waits for it.
    let mut is_mute = panel.is_mute.subscribe();
    let _ = is_mute.wait_for(|is_mute| !is_mute).await;
    Json(definition())
}

struct Node {
    daemon: Daemon,
    address: String,
    panel: Arc<Panel>,
    data: tempfile::TempDir,
}

async fn node(refusals: Vec<StatusCode>) -> Node {
    let panel = Arc::new(Panel {
        heard: watch::Sender::default(),
        refusals: watch::Sender::new(refusals),
        is_mute: watch::Sender::new(false),
        states: watch::Sender::default(),
    });
    let all = json!({
        "data": [{ "uuid": "22222222-2222-3333-4444-555555555555", "settings": 7 }, { "uuid": SERVER, "settings": definition()["settings"], "process_configuration": definition()["process_configuration"] }],
        "meta": { "current_page": 1, "last_page": 1, "per_page": 50, "total": 1 },
    });
    let routes = Router::new()
        .route("/api/remote/servers", get(move || std::future::ready(Json(all.clone()))))
        .route("/api/remote/servers/reset", post(|| std::future::ready(StatusCode::NO_CONTENT)))
        .route("/api/remote/servers/{server}", get(one))
        .route("/api/remote/servers/{server}/container/status", post(state))
        .route("/api/remote/activity", post(activity))
        .with_state(panel.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, routes).into_future());

    let data = tempfile::tempdir().unwrap();
    let config = Config::new(data.path().to_owned(), uuid::Uuid::new_v4(), "0123456789abcdef", SECRET, &url);
    let daemon = Daemon::open(config).await.unwrap();
    daemon.boot().await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(axum::serve(listener, daemon.router().layer(handover::handover())).into_future());
    Node { daemon, address, panel, data }
}

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

impl Node {
    async fn socket(&self) -> Socket {
        let url = format!("ws://{}/api/servers/{SERVER}/ws", self.address);
        let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        let now = jiff::Timestamp::now().as_second();
        let claims = json!({
            "iat": now, "exp": now + 600, "server_uuid": SERVER, "permissions": ["*"],
            "user_uuid": "99999999-8888-4777-8666-555555555555", "scope": "websocket", "jti": "x",
        });
        let token = encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap();
        say(&mut socket, "auth", &token).await;
        hear(&mut socket, "auth success").await;
        socket
    }

    async fn running(&self) -> Socket {
        let mut socket = self.socket().await;
        say(&mut socket, "set state", "start").await;
        hear(&mut socket, "\"running\"").await;
        socket
    }

    async fn until_recorded(&self, event: &str) {
        let mut heard = self.panel.heard.subscribe();
        let has = |heard: &Vec<Value>| heard.iter().any(|record| record["event"] == event);
        let recorded = tokio::time::timeout(DEADLINE, heard.wait_for(has)).await.is_ok();
        assert!(recorded, "{event} is not among {:?}", self.panel.heard.borrow());
    }

    async fn delete(&self) -> StatusCode {
        let url = format!("http://{}/api/servers/{SERVER}", self.address);
        let answer = reqwest::Client::new().delete(url).bearer_auth(SECRET).send().await.unwrap();
        StatusCode::from_u16(answer.status().as_u16()).unwrap()
    }
}

async fn say(socket: &mut Socket, event: &str, arg: &str) {
    socket.send(Message::text(json!({ "event": event, "args": [arg] }).to_string())).await.unwrap();
}

async fn hear(socket: &mut Socket, part: &str) {
    let mut heard = Vec::new();
    let hear = async {
        loop {
            let Some(Ok(message)) = socket.next().await else { return false };
            let text = message.into_text().unwrap_or_default();
            if text.contains(part) {
                return true;
            }
            heard.push(text.to_string());
        }
    };
    let heard_in_time = tokio::time::timeout(DEADLINE, hear).await;
    assert!(heard_in_time == Ok(true), "{part} did not come: {heard:#?}");
}

#[tokio::test]
async fn a_command_is_on_the_record_though_its_sender_hung_up() {
    let node = node(Vec::new()).await;
    let mut witness = node.running().await;
    let mut socket = node.socket().await;
    say(&mut socket, "send command", "and away").await;
    drop(socket);
    hear(&mut witness, "got and away").await;
    node.until_recorded("server:console.command").await;
    say(&mut witness, "set state", "kill").await;
    node.until_recorded("server:power.kill").await;
    hear(&mut witness, "\"offline\"").await;
    node.daemon.shutdown().await;
}

#[tokio::test]
async fn a_kill_does_not_wait_for_a_panel_that_a_start_waits_for() {
    let node = node(Vec::new()).await;
    node.panel.is_mute.send_replace(true);
    let mut socket = node.socket().await;
    say(&mut socket, "set state", "start").await;
    hear(&mut socket, "\"starting\"").await;
    let asked = std::time::Instant::now();
    say(&mut socket, "set state", "kill").await;
    hear(&mut socket, "\"offline\"").await;
    assert!(asked.elapsed() < Duration::from_secs(4), "it waited for {:?}", asked.elapsed());
    node.daemon.shutdown().await;
}

#[tokio::test]
async fn two_deletions_both_wait_for_the_end() {
    let node = node(Vec::new()).await;
    let mut socket = node.running().await;
    let dir = node.data.path().join("servers").join(SERVER);
    let (first, second) = tokio::join!(node.delete(), node.delete());
    assert!(!dir.exists(), "{first} {second}");
    assert_eq!([first, second], [StatusCode::NO_CONTENT; 2]);
    hear(&mut socket, "deleted").await;
    node.daemon.shutdown().await;
}

#[tokio::test]
async fn a_panel_that_refuses_the_node_for_a_while_gets_every_record_later() {
    let node = node(vec![StatusCode::TOO_MANY_REQUESTS, StatusCode::UNAUTHORIZED]).await;
    let mut socket = node.running().await;
    node.until_recorded("server:power.start").await;
    say(&mut socket, "set state", "kill").await;
    hear(&mut socket, "\"offline\"").await;
    node.daemon.shutdown().await;
}

#[tokio::test]
async fn what_was_done_before_the_end_is_reported_before_the_end() {
    let node = node(Vec::new()).await;
    let mut socket = node.running().await;
    say(&mut socket, "send command", "last words").await;
    hear(&mut socket, "got last words").await;
    say(&mut socket, "set state", "kill").await;
    hear(&mut socket, "\"offline\"").await;
    node.daemon.shutdown().await;
    let heard = node.panel.heard.borrow();
    let events: Vec<_> = heard.iter().filter_map(|record| record["event"].as_str()).collect();
    assert_eq!(events, ["server:power.start", "server:console.command", "server:power.kill"]);
}

/// States were sent one by one before the activity of their batch: a panel that hung on them held it up, and lost it at the end.
#[tokio::test]
async fn activity_does_not_wait_for_a_panel_that_hangs_on_states() {
    let node = node(Vec::new()).await;
    let mut socket = node.running().await;
    let mut states = node.panel.states.subscribe();
    let in_time = tokio::time::timeout(DEADLINE, states.wait_for(|states| states.len() == 2)).await.is_ok();
    assert!(in_time, "{:?}", node.panel.states.borrow());
    node.panel.is_mute.send_replace(true);
    say(&mut socket, "set state", "kill").await;
    hear(&mut socket, "\"offline\"").await;
    node.until_recorded("server:power.kill").await;
    let ending = std::time::Instant::now();
    node.daemon.shutdown().await;
    assert!(ending.elapsed() < Duration::from_secs(4), "{:?}", ending.elapsed());
    assert_eq!(*node.panel.states.borrow(), ["starting", "running"]);
}

/// One entry of the panel's list that made no sense kept all servers of the page from being taken up.
#[tokio::test]
async fn a_definition_that_makes_no_sense_does_not_cost_the_others() {
    let node = node(Vec::new()).await;
    // The list of this panel has one before the good one.
    let mut socket = node.running().await;
    say(&mut socket, "set state", "kill").await;
    hear(&mut socket, "\"offline\"").await;
    node.daemon.shutdown().await;
}
