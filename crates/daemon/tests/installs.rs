//! Installations: an egg's script, told live, kept in a log of its own, reported to the panel; against a scripted panel. Each test runs
//! for processes, and in containers where there is an engine.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

#[path = "common/handover.rs"]
mod handover;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use daemon::{Config, Containers, Daemon};
use futures_util::{SinkExt, StreamExt};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;

const SECRET: &str = "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk";
const DEADLINE: Duration = Duration::from_secs(45);
const IMAGE: &str = "quarterdeck-test:1";

/// A panel with one server, that hears how installations end.
struct Panel {
    server: uuid::Uuid,
    script: watch::Sender<String>,
    reports: watch::Sender<Vec<Value>>,
    image: &'static str,
}

type Shared = State<Arc<Panel>>;

impl Panel {
    fn definition(&self) -> Value {
        let invocation = "/bin/sh -c 'cat made; echo it is ready; while read line; do echo got $line; done'";
        json!({
            "settings": {
                "uuid": self.server, "invocation": invocation, "environment": { "WORD": "hello" }, "crash_detection_enabled": false,
                "container": { "image": self.image },
            },
            "process_configuration": { "startup": { "done": ["is ready"] }, "stop": { "type": "signal", "value": "C" } },
        })
    }
}

struct Node {
    panel: Arc<Panel>,
    config: Config,
    daemon: Daemon,
    address: String,
    client: reqwest::Client,
    _data: tempfile::TempDir,
}

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

/// The engine for tests, where there is one.
fn engine(test: &str) -> Option<PathBuf> {
    let socket = std::env::var_os("QUARTERDECK_TEST_ENGINE").map(PathBuf::from);
    if socket.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{test} must not be skipped in CI: there is no container engine");
        println!("SKIPPED {test}: no container engine");
    }
    socket
}

impl Node {
    async fn new(script: &str, engine: Option<PathBuf>) -> Self {
        let panel = Arc::new(Panel {
            server: uuid::Uuid::new_v4(),
            script: watch::Sender::new(script.to_owned()),
            reports: watch::Sender::default(),
            image: if engine.is_some() { IMAGE } else { "" },
        });
        let all = json!({ "data": [], "meta": { "current_page": 1, "last_page": 1, "per_page": 50, "total": 0 } });
        let routes = Router::new()
            .route("/api/remote/servers", get(move || std::future::ready(Json(all.clone()))))
            .route("/api/remote/servers/reset", post(|| std::future::ready(StatusCode::NO_CONTENT)))
            .route("/api/remote/servers/{server}", get(async |State(panel): Shared| Json(panel.definition())))
            .route("/api/remote/servers/{server}/container/status", post(async || StatusCode::NO_CONTENT))
            .route(
                "/api/remote/servers/{server}/install",
                get(async |State(panel): Shared| {
                    let script = panel.script.borrow().clone();
                    Json(json!({ "container_image": panel.image, "entrypoint": "bash", "script": script }))
                })
                .post(async |State(panel): Shared, Json(body): Json<Value>| {
                    panel.reports.send_modify(|reports| reports.push(body));
                    StatusCode::NO_CONTENT
                }),
            )
            .route("/api/remote/activity", post(async || StatusCode::NO_CONTENT))
            .with_state(panel.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, routes).into_future());
        let data = tempfile::tempdir().unwrap();
        let mut config = Config::new(data.path().to_owned(), uuid::Uuid::new_v4(), "0123456789abcdef", SECRET, &url);
        config.containers.mode = if engine.is_some() { Containers::On } else { Containers::Off };
        config.containers.socket = engine;
        let (daemon, address) = up(&config).await;
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { panel, config, daemon, address, client, _data: data }
    }

    /// Another daemon in the place of this one.
    async fn again(&mut self) {
        self.daemon.shutdown().await;
        (self.daemon, self.address) = up(&self.config).await;
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/api/servers{path}", self.address)
    }

    async fn create(&self, start: bool) -> u16 {
        let body = json!({ "uuid": self.panel.server, "start_on_completion": start }).to_string();
        let request = self.client.post(self.url("")).bearer_auth(SECRET).header("content-type", "application/json");
        request.body(body).send().await.unwrap().status().as_u16()
    }

    async fn send(&self, method: reqwest::Method, path: &str) -> (u16, String) {
        let request = self.client.request(method, self.url(&format!("/{}{path}", self.panel.server)));
        let answer = request.bearer_auth(SECRET).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn reported(&self, count: usize) -> Value {
        let mut reports = self.panel.reports.subscribe();
        let enough = |reports: &Vec<Value>| reports.len() >= count;
        let waited = tokio::time::timeout(DEADLINE, reports.wait_for(enough)).await;
        waited.expect("a report").unwrap()[count - 1].clone()
    }

    async fn is_installing(&self) -> bool {
        let (_, text) = self.send(reqwest::Method::GET, "").await;
        serde_json::from_str::<Value>(&text).unwrap()["quarterdeck"]["installing"] == true
    }

    async fn until_released(&self) {
        while self.is_installing().await {
            tokio::task::yield_now().await;
        }
    }

    async fn socket(&self, permissions: &[&str]) -> Socket {
        let url = format!("ws://{}/api/servers/{}/ws", self.address, self.panel.server);
        let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        let now = jiff::Timestamp::now().as_second();
        let claims = json!({
            "iat": now, "exp": now + 600, "server_uuid": self.panel.server, "permissions": permissions,
            "user_uuid": "99999999-8888-4777-8666-555555555555", "scope": "websocket", "jti": "x",
        });
        let token = encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap();
        say(&mut socket, "auth", &token).await;
        hear(&mut socket, "auth success", "").await;
        socket
    }

    async fn delete(self) {
        assert_eq!(self.send(reqwest::Method::DELETE, "").await.0, 204);
        self.daemon.shutdown().await;
    }
}

async fn up(config: &Config) -> (Daemon, String) {
    let daemon = Daemon::open(config.clone()).await.unwrap();
    daemon.boot().await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(axum::serve(listener, daemon.router().layer(handover::handover())).into_future());
    (daemon, address)
}

async fn say(socket: &mut Socket, event: &str, argument: &str) {
    let text = json!({ "event": event, "args": [argument] }).to_string();
    socket.send(Message::Text(text.into())).await.unwrap();
}

/// Listens until an event comes whose argument has this in it, and gives everything that was heard.
async fn hear(socket: &mut Socket, event: &str, part: &str) -> Vec<(String, String)> {
    let mut heard: Vec<(String, String)> = Vec::new();
    let listening = async {
        while let Some(message) = socket.next().await {
            let Ok(Message::Text(text)) = message else { continue };
            let message: Value = serde_json::from_str(&text).unwrap();
            let argument = message["args"][0].as_str().unwrap_or_default().to_owned();
            let name = message["event"].as_str().unwrap().to_owned();
            let is_it = name == event && argument.contains(part);
            heard.push((name, argument));
            if is_it {
                return true;
            }
        }
        false
    };
    let found = tokio::time::timeout(DEADLINE, listening).await;
    assert_eq!(found, Ok(true), "no `{event}` with `{part}` in {heard:?}");
    heard
}

fn of<'a>(heard: &'a [(String, String)], event: &str) -> Vec<&'a str> {
    heard.iter().filter(|(name, _)| name == event).map(|(_, argument)| argument.as_str()).collect()
}

const SCRIPT: &str = "#!/bin/bash\r\nset -e\r\ncd /mnt/server\r\necho one $WORD\r\necho 'from the script' > /mnt/server/made\r\necho two\r\n";

async fn is_told_live_and_leads_to_a_start(engine: Option<PathBuf>) {
    let node = Node::new("", engine).await;
    assert_eq!(node.create(false).await, 202);
    assert_eq!(node.reported(1).await, json!({ "successful": true, "reinstall": false }), "nothing to install");
    let mut admin = node.socket(&["*", "admin.websocket.install"]).await;
    let mut player = node.socket(&["websocket.connect", "control.console"]).await;
    node.panel.script.send_replace(SCRIPT.to_owned());
    assert_eq!(node.send(reqwest::Method::POST, "/reinstall").await.0, 202);
    let heard = hear(&mut admin, "install completed", "").await;
    assert_eq!(of(&heard, "install started"), [""]);
    assert_eq!(of(&heard, "install output"), ["one hello", "two"]);
    assert_eq!(node.reported(2).await, json!({ "successful": true, "reinstall": true }));
    let heard = hear(&mut player, "install completed", "").await;
    assert!(of(&heard, "install output").is_empty(), "output is for those who may see it");
    // It is a run in a log of its own.
    let (status, text) = node.send(reqwest::Method::GET, "/install/lines?format=text").await;
    assert_eq!((status, text.as_str()), (200, "one hello\ntwo\n"));
    say(&mut admin, "set state", "start").await;
    hear(&mut admin, "console output", "from the script").await;
    hear(&mut admin, "status", "running").await;
    // Once more, while it runs: it is stopped first.
    assert_eq!(node.send(reqwest::Method::POST, "/reinstall").await.0, 202);
    let heard = hear(&mut admin, "install completed", "").await;
    assert!(of(&heard, "status").contains(&"offline"), "{heard:?}");
    assert_eq!(of(&heard, "install output"), ["one hello", "two"]);
    node.delete().await;
}

async fn fails_with_a_reason_and_can_be_tried_again(engine: Option<PathBuf>) {
    let node = Node::new("echo before; exit 3", engine).await;
    assert_eq!(node.create(true).await, 202);
    assert_eq!(node.reported(1).await, json!({ "successful": false, "reinstall": false }));
    node.until_released().await;
    let (_, text) = node.send(reqwest::Method::GET, "/logs").await;
    assert!(text.contains("exit code 3") && text.contains("tried again"), "{text}");
    let mut admin = node.socket(&["*", "admin.websocket.install"]).await;
    node.panel.script.send_replace("echo -n x > /mnt/server/made; echo made".to_owned());
    assert_eq!(node.send(reqwest::Method::POST, "/install").await.0, 202);
    hear(&mut admin, "install output", "made").await;
    hear(&mut admin, "install completed", "").await;
    assert_eq!(node.reported(2).await["successful"], true);
    node.delete().await;
}

async fn can_be_aborted_and_stands_in_the_way_of_a_start(engine: Option<PathBuf>) {
    let node = Node::new("echo begun; sleep 1000", engine).await;
    assert_eq!(node.create(true).await, 202);
    let mut admin = node.socket(&["*", "admin.websocket.install"]).await;
    while !node.send(reqwest::Method::GET, "/install/lines?format=text").await.1.contains("begun") {
        tokio::task::yield_now().await;
    }
    say(&mut admin, "set state", "start").await;
    hear(&mut admin, "daemon error", "being installed").await;
    assert_eq!(node.send(reqwest::Method::POST, "/reinstall").await.0, 409);
    assert_eq!(node.send(reqwest::Method::DELETE, "/install").await.0, 202);
    hear(&mut admin, "install completed", "").await;
    assert_eq!(node.reported(1).await["successful"], false);
    assert_eq!(node.send(reqwest::Method::DELETE, "/install").await.0, 409, "nothing to abort any more");
    // Deleting ends one as well.
    node.until_released().await;
    assert_eq!(node.send(reqwest::Method::POST, "/reinstall").await.0, 202);
    node.delete().await;
}

async fn goes_on_when_its_daemon_goes(engine: Option<PathBuf>) {
    let script =
        "echo begun; while [ ! -e /mnt/server/go ]; do sleep 0.05; done; echo -n y > /mnt/server/made; echo done";
    let mut node = Node::new(script, engine).await;
    assert_eq!(node.create(true).await, 202);
    while !node.send(reqwest::Method::GET, "/install/lines?format=text").await.1.contains("begun") {
        tokio::task::yield_now().await;
    }
    node.again().await;
    assert!(node.is_installing().await);
    let mut admin = node.socket(&["*", "admin.websocket.install"]).await;
    let files = node.config.data_dir.join("servers").join(node.panel.server.to_string()).join("files");
    std::fs::write(files.join("go"), "").unwrap();
    hear(&mut admin, "install output", "done").await;
    assert_eq!(node.reported(1).await, json!({ "successful": true, "reinstall": false }));
    hear(&mut admin, "status", "running").await;
    node.delete().await;
}

macro_rules! both {
    ($($name:ident)*) => {
        mod process {
            $(#[tokio::test] async fn $name() { super::$name(None).await; })*
        }
        mod container {
            $(#[tokio::test] async fn $name() {
                if let Some(engine) = super::engine(stringify!($name)) {
                    super::$name(Some(engine)).await;
                }
            })*
        }
    };
}

both! {
    is_told_live_and_leads_to_a_start
    fails_with_a_reason_and_can_be_tried_again
    can_be_aborted_and_stands_in_the_way_of_a_start
    goes_on_when_its_daemon_goes
}
