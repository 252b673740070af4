//! The node's own HTTP API as far as console and power go (protocol reference §9.4), and the door to the console socket.

mod follow;
mod history;
mod lines;
mod machine;

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use subtle::ConstantTimeEq;
use wire::ids::ServerId;
use wire::node::{Commands, CreateServer, DeauthorizeUser, DenyTokens, Logs, Power, SERIAL_HEADER, ServerDetails};
use wire::server::State as ServerState;

use crate::line::Line;
use crate::node::Node;
use crate::problem::{Problem, identify};
use crate::runtime;
use crate::server::install::{self, Wish};
use crate::server::{Asker, Server};
use crate::socket::handshake;

/// Bytes of a request body; more is answered 413.
const BODY_BYTES_MAX: usize = 256 * 1024;
/// Lines a caller of `logs` may ask for, and gets without asking.
const LOGS_SIZE: std::ops::RangeInclusive<u64> = 1..=100;
/// Longest wait for a power action under way, and the one used for values outside the range.
const WAIT_SECONDS_MAX: u64 = 300;
const WAIT_SECONDS_DEFAULT: u64 = 30;

pub(crate) type Answer<T> = Result<T, Problem>;
type Body<T> = Result<Json<T>, JsonRejection>;

/// All routes of a node, to stand among others; what becomes of unknown paths is for these to say.
pub(crate) fn router(node: Arc<Node>) -> Router {
    finish(routes(&node), node)
}

/// All routes of a node that has the port to itself: unknown paths are answered as its other errors are.
pub(crate) fn standalone(node: Arc<Node>) -> Router {
    finish(
        routes(&node).fallback(async || Problem::new(StatusCode::NOT_FOUND, "there is nothing at this address")),
        node,
    )
}

/// What all answers have in common.
fn finish(routes: Router<Arc<Node>>, node: Arc<Node>) -> Router {
    let agent = format!("Quarterdeck/v{} (id:{})", env!("CARGO_PKG_VERSION"), node.config.token_id);
    let agent = HeaderValue::from_str(&agent).unwrap_or(HeaderValue::from_static("Quarterdeck"));
    routes
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(move |request: Request, next: Next| identify(agent.clone(), request, next)))
        .with_state(node)
}

fn routes(node: &Arc<Node>) -> Router<Arc<Node>> {
    let guarded = Router::new()
        .route("/api/system", get(system))
        .route("/api/servers", get(servers).post(create))
        .route("/api/servers/{server}", get(details).delete(delete))
        .route("/api/servers/{server}/logs", get(logs))
        .route("/api/servers/{server}/power", post(power))
        .route("/api/servers/{server}/commands", post(commands))
        .route("/api/servers/{server}/console/lines", get(lines::lines))
        .route("/api/servers/{server}/console/search", get(history::search))
        .route("/api/servers/{server}/console/runs", get(history::runs))
        .route("/api/servers/{server}/console/runs/{run}", get(history::run))
        .route("/api/servers/{server}/console/stats", get(history::stats))
        .route("/api/servers/{server}/sync", post(sync))
        .route("/api/servers/{server}/install", post(install).delete(abort_install))
        .route("/api/servers/{server}/install/lines", get(lines::of_installation))
        .route("/api/servers/{server}/reinstall", post(reinstall))
        .route("/api/servers/{server}/ws/deny", post(deny))
        .route("/api/deauthorize-user", post(deauthorize))
        .layer(middleware::from_fn_with_state(node.clone(), authenticate));
    Router::new()
        .route("/api/servers/{server}/ws", get(handshake::open))
        .merge(guarded)
        .method_not_allowed_fallback(async || Problem::new(StatusCode::METHOD_NOT_ALLOWED, "no such method here"))
}

/// Only the panel may call: the node's secret as Bearer, compared in constant time.
async fn authenticate(State(node): State<Arc<Node>>, headers: HeaderMap, request: Request, next: Next) -> Response {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(secret) = given.and_then(|value| value.strip_prefix("Bearer ")) else {
        return Problem::new(StatusCode::UNAUTHORIZED, "send the node's token as Authorization: Bearer")
            .into_response();
    };
    if !bool::from(secret.as_bytes().ct_eq(node.config.token.as_bytes())) {
        return Problem::new(StatusCode::FORBIDDEN, "this is not the node's token").into_response();
    }
    node.time.asked(&headers);
    next.run(request).await
}

/// The server a path names: by its full uuid only.
pub(crate) fn server(node: &Node, id: &str) -> Answer<Server> {
    id.parse().ok().and_then(|id: ServerId| node.server(id)).ok_or_else(Problem::no_server)
}

/// The panel's count in a header, if it has one.
pub(crate) fn serial(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name).and_then(|value| value.to_str().ok()?.parse().ok())
}

fn body<T>(body: Body<T>) -> Answer<T> {
    body.map(|Json(value)| value).map_err(|rejection| {
        let status = match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => StatusCode::PAYLOAD_TOO_LARGE,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Problem::new(status, rejection.body_text())
    })
}

#[derive(Deserialize)]
struct SystemQuery {
    v: Option<String>,
}

async fn system(
    State(node): State<Arc<Node>>,
    query: Result<Query<SystemQuery>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let version = query.ok().and_then(|Query(query)| query.v);
    match version.as_deref() {
        Some("2") => Json(machine::report(&node).await).into_response(),
        _ => Json(machine::info(&node).await).into_response(),
    }
}

async fn servers(State(node): State<Arc<Node>>) -> Json<Vec<ServerDetails>> {
    Json(node.servers().iter().map(|server| details_of(&node, server)).collect())
}

async fn create(State(node): State<Arc<Node>>, given: Body<CreateServer>) -> Answer<StatusCode> {
    let CreateServer { uuid, start_on_completion } = body(given)?;
    let definition = node.remote.server(uuid).await.map_err(|error| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("the server's definition cannot be had: {error}"))
    })?;
    let server = node.add(definition).await.map_err(|error| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the server cannot be set up: {error}"))
    })?;
    // Accepted is all this answer says; how it went is in the console, in the state, and the panel hears of it.
    install::begin(&node, &server, Wish { reinstall: false, then_start: start_on_completion }).await?;
    Ok(StatusCode::ACCEPTED)
}

async fn install(State(node): State<Arc<Node>>, Path(id): Path<String>) -> Answer<StatusCode> {
    install::begin(&node, &server(&node, &id)?, Wish { reinstall: false, then_start: false }).await?;
    Ok(StatusCode::ACCEPTED)
}

async fn reinstall(State(node): State<Arc<Node>>, Path(id): Path<String>) -> Answer<StatusCode> {
    install::begin(&node, &server(&node, &id)?, Wish { reinstall: true, then_start: false }).await?;
    Ok(StatusCode::ACCEPTED)
}

async fn abort_install(State(node): State<Arc<Node>>, Path(id): Path<String>) -> Answer<StatusCode> {
    if server(&node, &id)?.abort_installation() {
        return Ok(StatusCode::ACCEPTED);
    }
    Err(Problem::new(StatusCode::CONFLICT, "the server is not being installed"))
}

async fn details(State(node): State<Arc<Node>>, Path(id): Path<String>) -> Answer<Json<ServerDetails>> {
    let server = server(&node, &id)?;
    Ok(Json(details_of(&node, &server)))
}

fn details_of(node: &Node, server: &Server) -> ServerDetails {
    server.details(runtime::kind(node, &server.status().borrow().definition))
}

async fn delete(State(node): State<Arc<Node>>, Path(id): Path<String>) -> Answer<StatusCode> {
    let server = server(&node, &id)?;
    node.remove(&server).await.map_err(|error| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the server's files cannot be removed: {error}"))
    })?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct LogsQuery {
    size: Option<u64>,
}

async fn logs(
    State(node): State<Arc<Node>>,
    Path(id): Path<String>,
    query: Result<Query<LogsQuery>, axum::extract::rejection::QueryRejection>,
) -> Answer<Json<Logs>> {
    let server = server(&node, &id)?;
    let size = query.ok().and_then(|Query(query)| query.size).unwrap_or(*LOGS_SIZE.end());
    let size = size.clamp(*LOGS_SIZE.start(), *LOGS_SIZE.end());
    let lines =
        server.console().last(size).await.map_err(|error| {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the log cannot be read: {error}"))
        })?;
    Ok(Json(Logs { data: lines.into_iter().filter(Line::is_shown).map(|line| line.text().into_owned()).collect() }))
}

async fn power(State(node): State<Arc<Node>>, Path(id): Path<String>, given: Body<Power>) -> Answer<StatusCode> {
    let server = server(&node, &id)?;
    let Power { action, wait_seconds, user } = body(given)?;
    let wait_s = match u64::try_from(wait_seconds.unwrap_or(0)) {
        Ok(seconds) if seconds <= WAIT_SECONDS_MAX => seconds,
        _ => WAIT_SECONDS_DEFAULT,
    };
    let answer = server.power(action, Asker { user, ip: None }, wait_s * 1000);
    // A refusal that is known at once is an answer; anything slower shows in the console and in the state.
    if let Some(refused) = server.quick(answer).await {
        return Err(refused.into());
    }
    Ok(StatusCode::ACCEPTED)
}

async fn commands(State(node): State<Arc<Node>>, Path(id): Path<String>, given: Body<Commands>) -> Answer<StatusCode> {
    let server = server(&node, &id)?;
    let Commands { commands, user } = body(given)?;
    // All or nothing: a list with a bad one in it is not begun.
    let bytes_max = node.config.session.command_bytes_max;
    let lines = commands
        .iter()
        .map(|command| engine::session::command_text(command, bytes_max).map(str::to_owned))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()))?;
    if lines.is_empty() && server.status().borrow().state == ServerState::Offline {
        return Err(Problem::new(StatusCode::BAD_GATEWAY, "the server is offline; start it first"));
    }
    for line in lines {
        server.command(line, Asker { user, ip: None }).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn sync(State(node): State<Arc<Node>>, Path(id): Path<String>) -> Answer<StatusCode> {
    let server = server(&node, &id)?;
    let definition = node.remote.server(server.id()).await.map_err(|error| {
        Problem::new(StatusCode::BAD_GATEWAY, format!("the server's definition cannot be had: {error}"))
    })?;
    server.configure(definition).await;
    Ok(StatusCode::NO_CONTENT)
}

async fn deny(
    State(node): State<Arc<Node>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    given: Body<DenyTokens>,
) -> Answer<StatusCode> {
    server(&node, &id)?;
    node.revocations.deny_tokens(&body(given)?.jtis, serial(&headers, SERIAL_HEADER), node.time.read().denial());
    Ok(StatusCode::NO_CONTENT)
}

async fn deauthorize(
    State(node): State<Arc<Node>>,
    headers: HeaderMap,
    given: Body<DeauthorizeUser>,
) -> Answer<StatusCode> {
    let DeauthorizeUser { user, servers } = body(given)?;
    node.revocations.deny_user(user, &servers, serial(&headers, SERIAL_HEADER), node.time.read().denial());
    Ok(StatusCode::NO_CONTENT)
}
