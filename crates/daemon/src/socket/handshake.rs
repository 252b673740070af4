//! The door to the console socket: who may open one, before any message is heard (protocol reference §3.1), and what makes a
//! request a handshake (RFC 6455 §4.2).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use axum::response::Response;
use bytes::Bytes;
use hyper::upgrade::Upgraded;
use tokio::net::TcpStream;
use tungstenite::handshake::derive_accept_key;
use wire::numbered::SUBPROTOCOL;

use crate::http::{Answer, server};
use crate::node::Node;
use crate::problem::Problem;
use crate::{origin, socket};

/// How a connection that was upgraded is taken from its listener: the socket itself, and what was read from it already.
///
/// Whoever serves connections puts one into the extensions of each request, since only they know what lies around their sockets.
#[derive(Clone, Copy)]
pub struct Handover(fn(Upgraded) -> Result<(TcpStream, Bytes), Upgraded>);

impl Handover {
    /// `take` gives the connection back when it is not of its kind.
    pub const fn new(take: fn(Upgraded) -> Result<(TcpStream, Bytes), Upgraded>) -> Self {
        Self(take)
    }
}

impl fmt::Debug for Handover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handover").finish_non_exhaustive()
    }
}

/// `GET /api/servers/{uuid}/ws`: no credentials on this level, the token travels in the first message.
pub(crate) async fn open(
    State(node): State<Arc<Node>>,
    Path(id): Path<String>,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    handover: Option<Extension<Handover>>,
    mut request: Request,
) -> Answer<Response> {
    let server = server(&node, &id)?;
    let peer =
        peer.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |Extension(ConnectInfo(address))| address.ip().to_canonical());
    let headers = request.headers();
    if !origin::origin_allowed(headers, peer, &node.config) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "web pages of this origin may not open a console here; add it to allowed_origins in the node's settings",
        ));
    }
    let mut response = accept(&request)?;
    let is_numbered = speaks_numbers(headers);
    if is_numbered {
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    let ip = origin::client_ip(headers, peer, &node.config.trusted_proxies);
    let entry = node.waiting.enter(ip).ok_or_else(|| {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many connections are waiting to authenticate; try again soon",
        )
    })?;
    let Some(Extension(Handover(take))) = handover else {
        return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "this listener hands over no connections"));
    };
    let upgrade = hyper::upgrade::on(&mut request);
    node.clone().tasks.converse(async move {
        // Whoever hangs up before the answer has reached them has no connection.
        let Ok(upgraded) = upgrade.await else { return };
        match take(upgraded) {
            Ok((stream, read)) => {
                let connection = socket::run(stream, &read, node, server, socket::Peer { ip, entry, is_numbered });
                // The listener's buffer.
                drop(read);
                connection.await;
            }
            Err(_) => tracing::error!("an upgraded connection is not of the listener's kind and is closed"),
        }
    });
    Ok(response)
}

/// What a request is no handshake for (RFC 6455 §4.2.1).
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("a WebSocket begins with GET over HTTP/1.1")]
    Request,
    #[error(
        "this address speaks WebSocket and nothing else; a proxy in front of it has to pass on the headers Upgrade and Connection"
    )]
    NoUpgrade,
    #[error("the header Connection does not name upgrade; a proxy in front has to pass it on")]
    NoConnection,
    #[error("this address speaks version 13 of WebSocket; ask for it in Sec-WebSocket-Version")]
    Version,
    #[error("Sec-WebSocket-Key has to be 16 bytes in base64, once")]
    Key,
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        let status = match fault {
            // Nothing is wrong with the request, but that it asks for what is only here after an upgrade (RFC 9110 §15.5.22);
            // another version is answered with the ones there are (RFC 6455 §4.4).
            Fault::NoUpgrade | Fault::Version => StatusCode::UPGRADE_REQUIRED,
            Fault::Request | Fault::NoConnection | Fault::Key => StatusCode::BAD_REQUEST,
        };
        Self::new(status, fault.to_string())
    }
}

/// The answer that opens a WebSocket, without extensions.
fn accept(request: &Request) -> Result<Response, Fault> {
    let headers = request.headers();
    // An upgrade that HTTP/1.0 asks for is not to be heeded (RFC 9110 §7.8).
    if request.method() != Method::GET || request.version() < Version::HTTP_11 {
        return Err(Fault::Request);
    }
    if !list(headers, &header::UPGRADE).any(|token| token.eq_ignore_ascii_case("websocket")) {
        return Err(Fault::NoUpgrade);
    }
    if !list(headers, &header::CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade")) {
        return Err(Fault::NoConnection);
    }
    // Before the key: other versions have none, or others.
    if only(headers, &header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(Fault::Version);
    }
    let key = only(headers, &header::SEC_WEBSOCKET_KEY).filter(|key| is_key(key.as_bytes())).ok_or(Fault::Key)?;
    // A digest in base64 is a header's value.
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes())).map_err(|_| Fault::Key)?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    response.headers_mut().insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    Ok(response)
}

/// The members of a header that is a list, over however many lines it goes.
fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

/// The value of a header that stands there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// Whether this is 16 bytes in base64.
fn is_key(key: &[u8]) -> bool {
    let Some(digits) = key.strip_suffix(b"==") else { return false };
    digits.len() == 22 && digits.iter().all(|digit| digit.is_ascii_alphanumeric() || matches!(digit, b'+' | b'/'))
}

/// Whether the client offers the protocol with numbers, among others or alone.
fn speaks_numbers(headers: &HeaderMap) -> bool {
    list(headers, &header::SEC_WEBSOCKET_PROTOCOL).any(|name| name == SUBPROTOCOL)
}
