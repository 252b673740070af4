//! What every test stands on: a panel with an administrator, an owner, a stranger, a local node, and ways to ask.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request, StatusCode};
use panel::{Config, NewServer, Panel, User};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;
use wire::ids::ServerId;

use crate::node::ScriptedNode;

pub const HOST: &str = "panel.example:8080";

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{error}: {:?}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The one error, after checking its envelope to the byte.
    pub fn error(&self) -> (u16, String, String) {
        let body = self.json();
        let errors = body["errors"].as_array().unwrap();
        assert_eq!(errors.len(), 1, "{body}");
        let [code, detail] = ["code", "detail"].map(|name| errors[0][name].as_str().unwrap().to_owned());
        let expected = json!({ "errors": [{ "code": code, "status": self.status.to_string(), "detail": detail }] });
        if errors[0].get("meta").is_none() {
            assert_eq!(body, expected);
        }
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert!(!detail.is_empty());
        (self.status, code, detail)
    }

    /// Status and code of the one error.
    pub fn refusal(&self) -> (u16, String) {
        let (status, code, _) = self.error();
        (status, code)
    }

    /// Field and rule of every failed validation.
    pub fn invalid(&self) -> Vec<(String, String)> {
        assert_eq!(self.status, 422, "{}", self.text());
        let body = self.json();
        let pair = |error: &Value| {
            assert_eq!(error["code"], "ValidationException");
            assert_eq!(error["status"], "422");
            let text = |name: &str| error["meta"][name].as_str().unwrap().to_owned();
            (text("source_field"), text("rule"))
        };
        body["errors"].as_array().unwrap().iter().map(pair).collect()
    }
}

/// A request being made.
pub struct Ask {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Body,
    peer: Option<SocketAddr>,
}

impl Ask {
    pub fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.into(),
            path: path.into(),
            headers: vec![("host".into(), HOST.into())],
            body: Body::empty(),
            peer: None,
        }
    }

    pub fn key(self, key: &str) -> Self {
        self.header("authorization", &format!("Bearer {key}"))
    }

    /// Replaces a header of the same name.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self
    }

    pub fn from(mut self, peer: &str) -> Self {
        self.peer = Some(SocketAddr::new(peer.parse().unwrap(), 40_000));
        self
    }

    pub fn json(self, body: &Value) -> Self {
        self.text("application/json", &body.to_string())
    }

    pub fn text(self, kind: &str, body: &str) -> Self {
        let mut ask = self.header("content-type", kind).header("content-length", &body.len().to_string());
        ask.body = Body::from(body.to_owned());
        ask
    }

    pub fn stream(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    pub async fn of(self, router: &Router) -> Answer {
        let mut request = Request::builder().method(self.method.as_str()).uri(&self.path);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let mut request = request.body(self.body).unwrap();
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(ConnectInfo(peer));
        }
        let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec();
        Answer { status: parts.status.as_u16(), headers: parts.headers, bytes }
    }
}

/// A person with a key.
pub struct Person {
    pub user: User,
    pub key: String,
}

pub struct Ground {
    pub dir: TempDir,
    pub panel: Panel,
    pub router: Router,
    pub node: ScriptedNode,
    pub node_token: String,
    pub node_token_id: String,
    pub admin: Person,
}

impl Ground {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = TempDir::new().unwrap();
        let mut config = Config::new(dir.path().join("panel.sqlite"));
        // What is deleted is gone at once, unless a test is about that.
        config.delete_grace_h = 0;
        change(&mut config);
        let panel = Panel::open(config).await.unwrap();
        assert!(panel.is_empty().await.unwrap());
        let user = panel.create_admin("admin", "admin@example.org", Some("hunter22")).await.unwrap();
        assert!(!panel.is_empty().await.unwrap());
        let key = panel.create_client_key(user.uuid, "first").await.unwrap();
        let node = ScriptedNode::start().await;
        let credentials = panel.ensure_local_node("local", &node.url).await.unwrap();
        let router = panel.router();
        Self {
            dir,
            panel,
            router,
            node,
            node_token: credentials.token,
            node_token_id: credentials.token_id,
            admin: Person { user, key },
        }
    }

    pub async fn ask(&self, method: &str, path: &str, key: &str) -> Answer {
        Ask::new(method, path).key(key).of(&self.router).await
    }

    pub async fn get(&self, path: &str, key: &str) -> Answer {
        self.ask("GET", path, key).await
    }

    pub async fn send(&self, method: &str, path: &str, key: &str, body: &Value) -> Answer {
        Ask::new(method, path).key(key).json(body).of(&self.router).await
    }

    /// An ordinary person.
    pub async fn person(&self, name: &str) -> Person {
        let body = json!({ "username": name, "email": format!("{name}@example.org"), "password": "correct horse" });
        let made = self.send("POST", "/api/application/users", &self.admin.key, &body).await;
        assert_eq!(made.status, 201, "{}", made.text());
        let attributes = made.json()["attributes"].clone();
        let mut user = self.admin.user.clone();
        user.uuid = attributes["uuid"].as_str().unwrap().parse().unwrap();
        user.number = attributes["id"].as_u64().unwrap();
        user.username = name.into();
        user.email = attributes["email"].as_str().unwrap().into();
        user.root_admin = false;
        let key = self.panel.create_client_key(user.uuid, "test").await.unwrap();
        Person { user, key }
    }

    /// A server of somebody; what the node was asked for it is forgotten.
    pub async fn server(&self, name: &str, owner: &Person) -> ServerId {
        let new = NewServer {
            name: name.into(),
            command: Some("/bin/cat {{PORT}}".into()),
            owner: Some(owner.user.uuid),
            ..NewServer::default()
        };
        let id = self.panel.create_server(new).await.unwrap();
        self.node.take();
        id
    }

    /// Gives somebody rights on a server.
    pub async fn share(&self, server: ServerId, person: &Person, permissions: &[&str]) {
        let body = json!({ "email": person.user.email, "permissions": permissions });
        let path = format!("/api/client/servers/{server}/users");
        let given = self.send("POST", &path, &self.admin.key, &body).await;
        assert_eq!(given.status, 200, "{}", given.text());
    }

    /// The header of this node's own requests.
    pub fn node_bearer(&self) -> String {
        format!("Bearer {}.{}", self.node_token_id, self.node_token)
    }

    pub async fn as_node(&self, method: &str, path: &str, body: &Value) -> Answer {
        Ask::new(method, path).header("authorization", &self.node_bearer()).json(body).of(&self.router).await
    }

    /// Makes the server's first installation fail, as its node would say.
    pub async fn fail_installation(&self, server: ServerId) {
        let body = json!({ "successful": false, "reinstall": false });
        let said = self.as_node("POST", &format!("/api/remote/servers/{server}/install"), &body).await;
        assert_eq!(said.status, StatusCode::NO_CONTENT.as_u16());
    }

    pub async fn suspend(&self, server: ServerId) {
        let done = self.ask("POST", &format!("/api/application/servers/{server}/suspend"), &self.admin.key).await;
        assert_eq!(done.status, 204, "{}", done.text());
    }

    pub async fn maintenance(&self, on: bool) {
        let body = json!({ "maintenance_mode": on });
        let done = self.send("PATCH", "/api/application/nodes/local", &self.admin.key, &body).await;
        assert_eq!(done.status, 200, "{}", done.text());
    }
}

pub fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(field, rule)| ((*field).to_owned(), (*rule).to_owned())).collect()
}
