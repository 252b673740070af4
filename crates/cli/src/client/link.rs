//! One WebSocket to a node: opening it, and telling the reasons apart why it cannot be opened.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::{ORIGIN, USER_AGENT};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use crate::client::rest::chain;
use crate::fault::Fault;

/// Until the socket is open.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest message taken from a node. A line is 64 KiB at most, six times as much when every character is escaped.
const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// An open socket.
pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How nodes of ours begin the `User-Agent` of their answers.
const OUR_AGENT: &str = "Quarterdeck/";

/// Opens a socket at the address the panel gave, and tells whether the node is one of ours, which handles messages in order.
/// `origin` is the panel's: stock nodes insist on it.
pub(crate) async fn open(address: &str, origin: &str) -> Result<(Socket, bool), Fault> {
    let shown = crate::output::plain(address);
    let mut request = address.into_client_request().map_err(|error| {
        Fault::Failed(format!("the panel names `{shown}` as the node's address, which is none: {error}"))
    })?;
    let origin = HeaderValue::from_str(origin)
        .map_err(|_| Fault::Failed("the panel's address cannot be sent as Origin".into()))?;
    request.headers_mut().insert(ORIGIN, origin);
    request
        .headers_mut()
        .insert(USER_AGENT, HeaderValue::from_static(concat!("quarterdeck/", env!("CARGO_PKG_VERSION"))));
    let config =
        WebSocketConfig::default().max_message_size(Some(MESSAGE_BYTES_MAX)).max_frame_size(Some(MESSAGE_BYTES_MAX));
    let unreachable = |why: String| Fault::Unreachable(format!("cannot reach the node at {shown}: {why}"));
    match timeout(OPEN_TIMEOUT, connect_async_with_config(request, Some(config), true)).await {
        Err(_) => Err(unreachable("no answer in time".into())),
        Ok(Ok((socket, answer))) => {
            let agent = answer.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok());
            Ok((socket, agent.is_some_and(|agent| agent.starts_with(OUR_AGENT))))
        }
        Ok(Err(Error::Http(answer))) => {
            let status = answer.status().as_u16();
            let body: serde_json::Value =
                answer.body().as_deref().and_then(|body| serde_json::from_slice(body).ok()).unwrap_or_default();
            let said = crate::output::plain(body["error"].as_str().unwrap_or_default());
            let refused = || {
                format!("the node refused the connection (HTTP 403 {said}); does it know the panel by another address?")
            };
            Err(match status {
                // Without the node's own words it may be a proxy's that stands before a node that is away.
                403 if said.is_empty() => Fault::Foreign(refused()),
                403 => Fault::Failed(refused()),
                // A node that has just started may not have asked its panel yet, so this is no final answer.
                404 => unreachable(format!("it does not know this server (HTTP 404 {said})")),
                _ => unreachable(format!("HTTP {status} {said}")),
            })
        }
        Ok(Err(error)) => Err(unreachable(chain(&error))),
    }
}

/// Words for a close frame.
pub(crate) fn close_text(code: u16, reason: &Utf8Bytes) -> String {
    let reason = crate::output::plain(reason.as_str());
    if reason.is_empty() { format!("closed with code {code}") } else { reason }
}
