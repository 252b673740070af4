//! A scripted node: a listener on loopback that answers what it is told to and keeps what it is asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A test waits this long for something that should be there at once.
const PATIENCE: Duration = Duration::from_secs(20);

/// A request as the node got it.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    pub line: String,
    pub query: String,
    pub authorization: String,
    /// On whose behalf.
    pub user: Option<String>,
    pub body: Value,
}

#[derive(Default)]
struct Script {
    answers: Mutex<HashMap<String, (u16, Value)>>,
    asked: watch::Sender<Vec<Asked>>,
    /// Requests of this line get no answer as long as it is here.
    held: watch::Sender<Option<String>>,
}

/// A node that can be stopped and started again at the same address.
pub struct ScriptedNode {
    pub url: String,
    script: Arc<Script>,
    serving: JoinHandle<()>,
}

async fn answer(State(script): State<Arc<Script>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let authorization = parts.headers.get(header::AUTHORIZATION).map_or("", |value| value.to_str().unwrap());
    let line = format!("{} {}", parts.method, parts.uri.path());
    let asked = Asked {
        line: line.clone(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        authorization: authorization.to_owned(),
        user: parts.headers.get("x-quarterdeck-user").map(|value| value.to_str().unwrap().to_owned()),
        body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
    };
    script.asked.send_modify(|all| all.push(asked));
    let mut held = script.held.subscribe();
    let _ = held.wait_for(|held| held.as_ref() != Some(&line)).await;
    let told = script.answers.lock().unwrap().get(&line).cloned();
    let (status, body) = told.unwrap_or_else(|| usual(&line));
    let status = StatusCode::from_u16(status).unwrap();
    match body {
        Value::Null => status.into_response(),
        Value::String(page) => (status, axum::response::Html(page)).into_response(),
        body => (status, axum::Json(body)).into_response(),
    }
}

/// What a healthy node answers.
fn usual(line: &str) -> (u16, Value) {
    let (method, path) = line.split_once(' ').unwrap();
    if let Some((_, what)) = path.split_once("/console/") {
        return (200, history(what));
    }
    match (method, path.rsplit('/').next().unwrap()) {
        ("POST", "servers" | "power") => (202, Value::Null),
        ("GET", _) => (200, details("offline")),
        _ => (204, Value::Null),
    }
}

fn run() -> Value {
    json!({
        "id": "r", "started_at": 1, "ended_at": null, "first_line": 5, "end_line": null, "exit": null, "crashed": false,
    })
}

/// What a node has kept of a server.
fn history(what: &str) -> Value {
    let item = |object: &str, attributes: Value| json!({ "object": object, "attributes": attributes });
    match what {
        "lines" => {
            let line = json!({ "seq": 7, "at": 1, "kind": "input", "text": "list", "user": "someone" });
            let gap = json!({ "from": 5, "to": 6, "reason": "no longer kept" });
            item("console_lines", json!({ "oldest": 5, "next": 8, "gaps": [gap], "lines": [line] }))
        }
        "search" => {
            let found = json!({ "seq": 7, "at": 1, "text": "list" });
            item("console_matches", json!({ "matches": [found], "searched_to": 5, "complete": true }))
        }
        "runs" => {
            let ended = json!({
                "id": "q", "started_at": null, "ended_at": 9, "first_line": null, "end_line": 5, "exit": "exit code 3", "crashed": true,
            });
            json!({ "object": "list", "data": [item("run", run()), item("run", ended)] })
        }
        one if one.starts_with("runs/") => {
            let crash = json!({
                "code": 3, "signal": null, "out_of_memory": false, "in_a_row": 1, "restart_at": null, "gaps": [], "stats": [],
                "last_act": { "at": 1, "event": "server:power.start", "user": null },
                "lines": [{ "seq": 7, "at": 1, "kind": "output", "text": "boom" }],
            });
            let mut run = run();
            run["crash"] = crash;
            item("run", run)
        }
        _ => {
            let sample = json!({ "at": 1, "cpu": 1.5, "memory": 2, "memory_limit": 3, "rx": 4, "tx": 5, "disk": 6 });
            item("stats_history", json!({ "step_s": 1, "samples": [sample] }))
        }
    }
}

/// The details of a server as a node tells them.
pub fn details(state: &str) -> Value {
    let busy = u64::from(state == "running");
    json!({
        "state": state, "is_suspended": false, "configuration": {},
        "utilization": {
            "memory_bytes": busy * 1000, "memory_limit_bytes": 4096, "cpu_absolute": f64::from(u32::try_from(busy).unwrap()) * 12.5,
            "network": { "rx_bytes": busy * 3, "tx_bytes": busy * 4 }, "uptime": busy * 60_000, "state": state, "disk_bytes": 77,
        },
    })
}

impl ScriptedNode {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let script = Arc::new(Script::default());
        let serving = serve(listener, script.clone());
        Self { url, script, serving }
    }

    /// Answers this to requests of this line from now on; a string is a page.
    pub fn answer(&self, line: &str, status: u16, body: Value) {
        self.script.answers.lock().unwrap().insert(line.to_owned(), (status, body));
    }

    /// Answers requests of this line only after [`Self::release`].
    pub fn hold(&self, line: &str) {
        self.script.held.send_replace(Some(line.to_owned()));
    }

    /// Gives the answers that were held back.
    pub fn release(&self) {
        self.script.held.send_replace(None);
    }

    /// Answers as a healthy node again.
    pub fn recover(&self) {
        self.script.answers.lock().unwrap().clear();
    }

    /// What it was asked so far; begins anew.
    pub fn take(&self) -> Vec<Asked> {
        self.script.asked.send_replace(Vec::new())
    }

    /// The lines of what it was asked so far; begins anew.
    pub fn take_lines(&self) -> Vec<String> {
        self.take().into_iter().map(|asked| asked.line).collect()
    }

    /// Waits until it was asked something with this line.
    pub async fn wait_for(&self, line: &str) -> Asked {
        let mut receiver = self.script.asked.subscribe();
        let found = receiver.wait_for(|all| all.iter().any(|asked| asked.line == line));
        let all = tokio::time::timeout(PATIENCE, found).await.expect("the node was not asked in time").unwrap();
        all.iter().find(|asked| asked.line == line).unwrap().clone()
    }

    /// Ends the listener: connections are refused from now on.
    pub async fn stop(&mut self) {
        self.serving.abort();
        let _ = (&mut self.serving).await;
    }

    /// Listens at the same address again.
    pub async fn restart(&mut self) {
        let listener = TcpListener::bind(self.url.strip_prefix("http://").unwrap()).await.unwrap();
        self.serving = serve(listener, self.script.clone());
    }
}

fn serve(listener: TcpListener, script: Arc<Script>) -> JoinHandle<()> {
    let router = Router::new().fallback(answer).with_state(script);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() })
}

impl Drop for ScriptedNode {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
