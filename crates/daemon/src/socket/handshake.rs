//! The door to the console socket: who may open one, before any message is heard (protocol reference §3.1).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Extension;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use wire::numbered::SUBPROTOCOL;

use crate::http::{Answer, server};
use crate::node::Node;
use crate::problem::Problem;
use crate::socket::LastWords;
use crate::socket::outgoing::GATHERED_BYTES;
use crate::{origin, socket};

/// `GET /api/servers/{uuid}/ws`: no credentials on this level, the token travels in the first message.
pub(crate) async fn open(
    State(node): State<Arc<Node>>,
    Path(id): Path<String>,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    last_words: Option<Extension<LastWords>>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Answer<Response> {
    let server = server(&node, &id)?;
    let peer =
        peer.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |Extension(ConnectInfo(address))| address.ip().to_canonical());
    if !origin::origin_allowed(&headers, peer, &node.config) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "web pages of this origin may not open a console here; add it to allowed_origins in the node's settings",
        ));
    }
    let upgrade = upgrade.map_err(|rejection| Problem::new(rejection.status(), rejection.body_text()))?;
    let ip = origin::client_ip(&headers, peer, &node.config.trusted_proxies);
    let entry = node.waiting.enter(ip).ok_or_else(|| {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many connections are waiting to authenticate; try again soon",
        )
    })?;
    let limit = node.config.frame_bytes_max;
    Ok(upgrade
        .max_message_size(limit)
        .max_frame_size(limit)
        .write_buffer_size(GATHERED_BYTES)
        .protocols([SUBPROTOCOL])
        .on_upgrade(move |ws| {
            let last_words = last_words.map(|Extension(last_words)| last_words);
            socket::run(ws, node, server, socket::Peer { ip, entry, last_words })
        }))
}
