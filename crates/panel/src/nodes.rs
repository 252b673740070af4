//! Asks nodes over their HTTP API (protocol reference §9.4).

pub(crate) mod outbox;

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::Serialize;
use wire::ids::{ServerId, UserId};
use wire::node::{
    CHECKED_HEADER, CHECKED_SERIAL_HEADER, Commands, CreateServer, DeauthorizeUser, DenyTokens, NodeError, Power,
    SERIAL_HEADER, ServerDetails, SystemInfo, TIME_HEADER, USER_HEADER,
};
use wire::server::PowerAction;

use crate::clock;
use crate::serial::Serials;
use crate::store::nodes::Node;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request may take in all.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a client may take for an answer that is handed on: 8 MiB at 70 kB/s.
const READ_TIMEOUT: Duration = Duration::from_mins(2);
/// The same for lines as they come, which the node ends after ten minutes.
const FOLLOW_TIMEOUT: Duration = Duration::from_mins(11);
/// Bytes read of an answer; what is beyond makes the answer unreadable.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Characters of a node's error text that are passed on.
const DETAIL_CHARS_MAX: usize = 1000;

/// Why a node did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum NodeFault {
    /// No connection, no answer in time, or it broke.
    #[error("cannot reach the node: {0}")]
    Unreachable(String),
    /// It said no.
    #[error("the node answered {status}: {detail}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Its words.
        detail: String,
    },
    /// It said yes in a way we do not understand.
    #[error("the node's answer cannot be read: {0}")]
    Unreadable(String),
}

impl NodeFault {
    /// It does not have what was asked about.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }
}

/// The one HTTP client for all nodes.
#[derive(Clone, Debug)]
pub(crate) struct Nodes {
    http: reqwest::Client,
    serials: Serials,
}

impl Nodes {
    /// Prepares the client; connects to nothing.
    pub(crate) fn new(serials: Serials) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .timeout(REQUEST_TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("Quarterdeck-Panel/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { http, serials })
    }

    /// The panel's count.
    pub(crate) const fn serials(&self) -> &Serials {
        &self.serials
    }

    fn request(&self, node: &Node, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}{path}", node.url.trim_end_matches('/')))
            .header("Accept", "application/json")
            .header(TIME_HEADER, clock::now_ms())
            .header(SERIAL_HEADER, self.serials.take())
            .bearer_auth(node.token.expose())
    }

    async fn post(&self, node: &Node, path: &str, body: &impl Serialize) -> Result<(), NodeFault> {
        answer(self.request(node, Method::POST, path).json(body)).await.map(drop)
    }

    /// State, sample and settings of a server.
    pub(crate) async fn details(&self, node: &Node, server: ServerId) -> Result<ServerDetails, NodeFault> {
        let response = answer(self.request(node, Method::GET, &format!("/api/servers/{server}"))).await?;
        let bytes = body(response).await?;
        serde_json::from_slice(&bytes).map_err(|error| NodeFault::Unreadable(error.to_string()))
    }

    /// Something that the node reads for us, to be handed on as it comes.
    pub(crate) async fn read(&self, node: &Node, path: &str) -> Result<Response, NodeFault> {
        begun(self.request(node, Method::GET, path).timeout(READ_TIMEOUT)).await
    }

    /// The same for what goes on for a while; the node ends it when this user may not have it any more. That they may was checked
    /// then, in Unix milliseconds and by our count.
    pub(crate) async fn follow(
        &self,
        node: &Node,
        path: &str,
        user: UserId,
        (checked_at, serial): (i64, u64),
    ) -> Result<Response, NodeFault> {
        let request = self.request(node, Method::GET, path).header(USER_HEADER, user.to_string());
        let request = request.header(CHECKED_HEADER, checked_at.div_euclid(1000).to_string());
        let request = request.header(CHECKED_SERIAL_HEADER, serial);
        begun(request.timeout(FOLLOW_TIMEOUT)).await
    }

    /// What the node's machine has to offer.
    pub(crate) async fn system(&self, node: &Node) -> Result<SystemInfo, NodeFault> {
        let bytes = body(answer(self.request(node, Method::GET, "/api/system")).await?).await?;
        serde_json::from_slice(&bytes).map_err(|error| NodeFault::Unreadable(error.to_string()))
    }

    /// Has a server installed once more; accepted is not done.
    pub(crate) async fn reinstall(&self, node: &Node, server: ServerId) -> Result<(), NodeFault> {
        answer(self.request(node, Method::POST, &format!("/api/servers/{server}/reinstall"))).await.map(drop)
    }

    /// Ends the installation that is under way.
    pub(crate) async fn abort_install(&self, node: &Node, server: ServerId) -> Result<(), NodeFault> {
        answer(self.request(node, Method::DELETE, &format!("/api/servers/{server}/install"))).await.map(drop)
    }

    /// Tells the node of a new server; it fetches the definition from us.
    pub(crate) async fn create(&self, node: &Node, server: ServerId, start: bool) -> Result<(), NodeFault> {
        self.post(node, "/api/servers", &CreateServer { uuid: server, start_on_completion: start }).await
    }

    /// Asks for a power action; accepted is not done.
    pub(crate) async fn power(
        &self,
        node: &Node,
        server: ServerId,
        action: PowerAction,
        user: UserId,
    ) -> Result<(), NodeFault> {
        let body = Power { action, wait_seconds: None, user: Some(user) };
        self.post(node, &format!("/api/servers/{server}/power"), &body).await
    }

    /// Sends a line to the game's stdin.
    pub(crate) async fn command(
        &self,
        node: &Node,
        server: ServerId,
        command: String,
        user: UserId,
    ) -> Result<(), NodeFault> {
        let body = Commands { commands: vec![command], user: Some(user) };
        self.post(node, &format!("/api/servers/{server}/commands"), &body).await
    }

    async fn sync(&self, node: &Node, server: ServerId) -> Result<(), NodeFault> {
        answer(self.request(node, Method::POST, &format!("/api/servers/{server}/sync"))).await.map(drop)
    }

    async fn delete(&self, node: &Node, server: ServerId) -> Result<(), NodeFault> {
        answer(self.request(node, Method::DELETE, &format!("/api/servers/{server}"))).await.map(drop)
    }

    /// Ends a user's sessions and tokens; no servers: all of them.
    async fn deauthorize(&self, node: &Node, user: UserId, servers: &[ServerId]) -> Result<(), NodeFault> {
        self.post(node, "/api/deauthorize-user", &DeauthorizeUser { user, servers: servers.to_vec() }).await
    }

    /// Ends sessions and tokens of one id on one server: what nodes of the older generation know instead.
    async fn deny(&self, node: &Node, server: ServerId, jti: String) -> Result<(), NodeFault> {
        self.post(node, &format!("/api/servers/{server}/ws/deny"), &DenyTokens { jtis: vec![jti] }).await
    }
}

/// The beginning of an answer, in time: the rest comes at the pace of whoever takes it.
async fn begun(request: RequestBuilder) -> Result<Response, NodeFault> {
    let answered = tokio::time::timeout(REQUEST_TIMEOUT, answer(request)).await;
    answered.unwrap_or_else(|_| Err(NodeFault::Unreachable("no answer in time".to_owned())))
}

/// A 2xx answer, or why there is none.
async fn answer(request: RequestBuilder) -> Result<Response, NodeFault> {
    let response = request.send().await.map_err(|error| unreachable_text(&error))?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let bytes = body(response).await.unwrap_or_default();
    let detail = match serde_json::from_slice::<NodeError>(&bytes) {
        Ok(NodeError { error, .. }) if !error.is_empty() => error.chars().take(DETAIL_CHARS_MAX).collect(),
        _ => default_detail(status),
    };
    Err(NodeFault::Refused { status: status.as_u16(), detail })
}

fn default_detail(status: StatusCode) -> String {
    format!("The node answered {status} without saying why.")
}

/// The whole chain of causes, without the URL: its path says nothing and its host is the node's business.
fn unreachable_text(error: &reqwest::Error) -> NodeFault {
    let mut text = if error.is_timeout() { "no answer in time".to_owned() } else { "connection failed".to_owned() };
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    NodeFault::Unreachable(text)
}

async fn body(mut response: Response) -> Result<Vec<u8>, NodeFault> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| unreachable_text(&error))? {
        if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(NodeFault::Unreadable(format!("more than {ANSWER_BYTES_MAX} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// A node's URL without trailing slash, if it is one a client can be sent to.
pub(crate) fn checked_url(text: &str) -> Option<String> {
    let url = Url::parse(text.trim()).ok()?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.host_str().is_some_and(|host| !host.is_empty())
        && url.username().is_empty()
        && url.password().is_none()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none();
    plain.then(|| url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_urls_are_http_with_a_host_and_nothing_else() {
        assert_eq!(checked_url(" https://node.example:8080/ ").as_deref(), Some("https://node.example:8080"));
        assert_eq!(checked_url("http://[::1]:8080").as_deref(), Some("http://[::1]:8080"));
        for bad in [
            "",
            "node.example",
            "ftp://node",
            "http://",
            "http://u:p@node",
            "http://node/sub",
            "http://node/?a=b",
            "http://node#x",
        ] {
            assert_eq!(checked_url(bad), None, "{bad}");
        }
    }
}
