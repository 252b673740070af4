//! The listener: accepts connections for a router, within bounds, and ends them in order.

mod owner;
mod peers;
mod stall;

use std::convert::Infallible;
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use ipnet::IpNet;
use serde_json::{Value, json};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::{Layer, ServiceExt};
use tower_http::normalize_path::{NormalizePath, NormalizePathLayer};
use tracing::{debug, warn};

use crate::fault::Fault;
use crate::serve::peers::Peers;
use crate::serve::stall::{Hurry, Impatient};

/// HTTP connections at a time; when it is reached, new ones wait in the kernel's queue. Upgraded ones are counted by the node.
pub(crate) const CONNECTIONS_MAX: usize = 4096;
/// A request's head must be there in this time, and an idle connection is closed after it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a request's head; more is answered 431.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// A connection whose peer takes nothing of its answer for so long is closed.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes that the kernel takes from us beyond what is on its way to the peer: what a peer costs that does not read, and the
/// step in which we see one that reads slowly get on. A write beyond it waits.
const UNSENT_BYTES_MAX: u32 = 256 * 1024;
/// Wait after the machine had no descriptor left for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A request, its body included, must be answered in this time: longer than the longest wait anybody may ask for (a power
/// action, 5 minutes), and short enough that bodies that trickle in do not keep all connections.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(6);
/// When somebody who has too many connections may try again: idle ones are closed by then.
const RETRY_AFTER_S: u64 = HEAD_TIMEOUT.as_secs();
/// The one path whose slash at the end means something: links of the page there are relative to it.
const SLASHED_PATH: &str = "/api/docs/";
/// Requests under way get so long to be answered when we stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Takes a connection out of what lies around it here.
const HANDOVER: daemon::Handover = daemon::Handover::new(|upgraded| {
    let parts = upgraded.downcast::<TokioIo<Impatient<TcpStream>>>()?;
    Ok((parts.io.into_inner().into_inner(), parts.read_buf))
});

/// A port of ours.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds; nothing is accepted yet.
    pub(crate) async fn bind(address: SocketAddr) -> Result<Self, Fault> {
        let socket = TcpListener::bind(address).await.map_err(|error| bind_fault(address, &error))?;
        let address = socket.local_addr().map_err(|error| bind_fault(address, &error))?;
        // Connections have it from their listener.
        if let Err(error) = SockRef::from(&socket).set_tcp_notsent_lowat(UNSENT_BYTES_MAX) {
            debug!(%error, "listening without TCP_NOTSENT_LOWAT");
        }
        Ok(Self { socket, address })
    }

    /// The address in force: with port 0 asked for, the port that was given.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// An address this machine itself can reach us at.
    pub(crate) fn local_url(&self) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        format!("http://{address}")
    }

    /// Begins to serve. A slash at the end of any path but [`SLASHED_PATH`] is ignored. Everybody but loopback and these proxies
    /// has a share of the connections; of loopback, whoever has one of these user ids.
    pub(crate) fn serve(self, router: Router, trusted_proxies: &[IpNet], games: Range<u32>) -> Serving {
        self.serve_within(router, Bounds { peers: Peers::new(trusted_proxies, games), stall_timeout: STALL_TIMEOUT })
    }

    fn serve_within(self, router: Router, bounds: Bounds) -> Serving {
        let stop_accepting = CancellationToken::new();
        let finish = CancellationToken::new();
        let connections = TaskTracker::new();
        let (pulse, asked) = mpsc::channel(1);
        let routes = Routes { trimmed: NormalizePathLayer::trim_trailing_slash().layer(router.clone()), exact: router };
        let accepting =
            accept(self.socket, routes, bounds, stop_accepting.clone(), finish.clone(), connections.clone(), asked);
        connections.spawn(accepting);
        Serving { stop_accepting, finish, connections, pulse }
    }
}

/// What one peer may have.
#[derive(Clone, Debug)]
struct Bounds {
    peers: Arc<Peers>,
    stall_timeout: Duration,
}

/// The router, with and without heed of a slash at the end.
#[derive(Clone)]
struct Routes {
    trimmed: NormalizePath<Router>,
    exact: Router,
}

impl Routes {
    async fn answer(self, request: Request) -> Result<Response, Infallible> {
        // Who of those before and behind us reads which of them, nobody knows (RFC 9112 §3.2).
        if request.headers().get_all(header::HOST).iter().nth(1).is_some() {
            let body =
                error_body(StatusCode::BAD_REQUEST, "BadRequestHttpException", "The request has two Host headers.");
            return Ok((StatusCode::BAD_REQUEST, Json(body)).into_response());
        }
        let answered = async {
            if request.uri().path() == SLASHED_PATH {
                self.exact.oneshot(request).await
            } else {
                self.trimmed.oneshot(request).await
            }
        };
        timeout(ANSWER_TIMEOUT, answered).await.unwrap_or_else(|_| Ok(too_slow()))
    }
}

fn too_slow() -> Response {
    let detail = "The request was not complete, or its answer not ready, in time.";
    let status = StatusCode::REQUEST_TIMEOUT;
    (status, Json(error_body(status, "RequestTimeoutException", detail))).into_response()
}

/// As the panel says what is wrong (protocol reference §1.6).
fn error_body(status: StatusCode, code: &str, detail: &str) -> Value {
    json!({ "errors": [{ "code": code, "status": status.as_str(), "detail": detail }] })
}

/// Closes a connection that is one too many for its peer. The answer is what the kernel takes at once: nobody waits for them.
fn refuse(stream: TcpStream) {
    let status = StatusCode::TOO_MANY_REQUESTS;
    let detail = "You have too many connections to this server.";
    let body = error_body(status, "ThrottleRequestsException", detail).to_string();
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Retry-After: {RETRY_AFTER_S}\r\nConnection: close\r\n\r\n{body}"
    );
    // A peer that has hung up already needs no answer.
    let _ = stream.into_std().and_then(|mut stream| stream.write_all(answer.as_bytes()));
}

fn bind_fault(address: SocketAddr, error: &std::io::Error) -> Fault {
    Fault::Failed(match error.kind() {
        ErrorKind::AddrInUse => {
            format!(
                "{address} is in use by another program (perhaps another `quarterdeck up`); choose another port with --listen"
            )
        }
        ErrorKind::PermissionDenied => {
            format!("not allowed to listen on {address}: ports below 1024 are for root; choose another with --listen")
        }
        ErrorKind::AddrNotAvailable => {
            format!("{address} is no address of this machine; --listen names one that is, or 0.0.0.0 for all")
        }
        _ => format!("cannot listen on {address}: {error}"),
    })
}

/// A listener at work.
#[derive(Debug)]
pub(crate) struct Serving {
    stop_accepting: CancellationToken,
    finish: CancellationToken,
    connections: TaskTracker,
    /// Answered by whoever accepts connections.
    pulse: mpsc::Sender<oneshot::Sender<()>>,
}

impl Serving {
    /// Whether connections are accepted, or would be if there were not too many: whoever does that is asked.
    pub(crate) async fn answers(&self) -> bool {
        let (reply, answer) = oneshot::channel();
        self.pulse.send(reply).await.is_ok() && answer.await.is_ok()
    }

    /// No new connections from here on; those that are there go on.
    pub(crate) fn stop_accepting(&self) {
        self.stop_accepting.cancel();
    }

    /// Waits for requests under way, but not for ever. Sockets that were upgraded are not ours any more.
    pub(crate) async fn drain(self) {
        self.stop_accepting.cancel();
        self.finish.cancel();
        self.connections.close();
        if timeout(DRAIN_TIMEOUT, self.connections.wait()).await.is_err() {
            warn!(connections = self.connections.len(), "some requests were cut off");
        }
    }
}

async fn accept(
    listener: TcpListener,
    routes: Routes,
    bounds: Bounds,
    stop: CancellationToken,
    finish: CancellationToken,
    connections: TaskTracker,
    mut asked: mpsc::Receiver<oneshot::Sender<()>>,
) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // The slot comes first: a connection without one stays with the kernel.
        let slot = tokio::select! {
            () = stop.cancelled() => return,
            Some(reply) = asked.recv() => {
                let _ = reply.send(());
                continue;
            }
            slot = Arc::clone(&slots).acquire_owned() => match slot {
                Ok(slot) => slot,
                Err(_closed) => return,
            },
        };
        let (stream, peer) = tokio::select! {
            () = stop.cancelled() => return,
            Some(reply) = asked.recv() => {
                let _ = reply.send(());
                continue;
            }
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) if is_connection_error(&error) => continue,
                Err(error) => {
                    warn!(%error, "cannot accept connections");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        // An IPv4 peer on an IPv6 socket is the same peer.
        let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        let peer = canonical(peer);
        // One that has ended meanwhile has no address of ours: it is counted like any other.
        let ours = stream.local_addr().map_or(peer, canonical);
        let Some(place) = bounds.peers.admit(peer, ours) else {
            refuse(stream);
            continue;
        };
        let connection = converse(stream, peer, routes.clone(), bounds.stall_timeout, finish.clone());
        connections.spawn(async move {
            connection.await;
            drop((slot, place));
        });
    }
}

/// One connection failed before it began; the listener is fine.
fn is_connection_error(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset)
}

async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    routes: Routes,
    stall_timeout: Duration,
    finish: CancellationToken,
) {
    // Console lines are small and should be seen at once.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%peer, %error, "connection without TCP_NODELAY");
    }
    let hurry = Hurry::default();
    let stream = Impatient::new(stream, stall_timeout, hurry.clone(), |stream: &TcpStream| {
        // Else the kernel goes on to offer the peer what it does not read. If it cannot be told, it gives up by itself, later.
        let _ = stream.set_zero_linger();
    });
    let answer = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request: Request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(HANDOVER);
        routes.clone().answer(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        // The buffer may become larger than it should before it is looked at.
        .max_header_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), answer)
        .with_upgrades();
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = finish.cancelled() => {
            hurry.now();
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        // Clients that hang up or send no HTTP: every day's business of an open port.
        debug!(%peer, %error, "connection ended");
    }
}

#[cfg(test)]
mod tests;
