//! The door to the console socket: who may open one, before any message is heard (protocol reference §3.1).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use hyper::upgrade::Upgraded;
use tokio::net::TcpStream;
use tungstenite::handshake::server::create_response_with_body;
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
    let mut response = create_response_with_body(&request, Body::empty)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.to_string()))?;
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
                socket::run(stream, read, node, server, socket::Peer { ip, entry, is_numbered }).await;
            }
            Err(_) => tracing::error!("an upgraded connection is not of the listener's kind and is closed"),
        }
    });
    Ok(response)
}

/// Whether the client offers the protocol with numbers, among others or alone.
fn speaks_numbers(headers: &HeaderMap) -> bool {
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    offered.flat_map(|value| value.split(',')).any(|name| name.trim() == SUBPROTOCOL)
}
