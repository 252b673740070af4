//! What a node has kept of a server, handed on: its lines, what was searched for, its runs, its figures. The node does the work;
//! the panel checks who asks and passes the answer through.

use axum::body::Body;
use axum::extract::{Query, RawQuery};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;
use wire::api::{ErrorBody, Item, List};
use wire::history::{ConsoleLines, ConsoleMatches, Run, RunDetails, StatsHistory};
use wire::token::permission;

use super::caller::AtServer;
use super::path::Path;
use super::problem::{Answer, Problem};
use crate::nodes::NodeFault;

/// Longest query that is handed on.
const QUERY_BYTES_MAX: usize = 4096;

/// Lines of the console, also of a stopped server: the newest, or those `after` or `before` a number; with `follow` also those to
/// come. Needs `websocket.connect`.
#[utoipa::path(
    get, path = "/api/client/servers/{server}/console/lines", tag = "client", operation_id = "read_console",
    params(
        ("server" = String, Path, description = "Identifier or uuid."),
        ("after" = Option<u64>, Query, description = "Lines behind this one."),
        ("before" = Option<u64>, Query, description = "Lines in front of this one."),
        ("limit" = Option<u64>, Query, description = "1 to 5000; 500 unless told."),
        ("run" = Option<String>, Query, description = "Only lines of this run."),
        ("format" = Option<String>, Query, description = "`json`; `ndjson` for a document per line; `text` for plain text without escape sequences."),
        ("follow" = Option<bool>, Query, description = "Go on with what is printed, up to ten minutes, as `ndjson` or `text`."),
    ),
    responses((status = 200, body = Item<ConsoleLines>), (status = "4XX", body = ErrorBody), (status = "5XX", body = ErrorBody)),
)]
pub(crate) async fn lines(at: AtServer, asked: Parts, RawQuery(query): RawQuery) -> Answer<Response> {
    let query = query.unwrap_or_default();
    // Read as the node reads it, which also says what else of it makes no sense.
    let follows = asked.is_ok_and(|Query(parts)| parts.iter().any(|(name, value)| name == "follow" && value == "true"));
    if follows {
        return follow(&at, &query).await;
    }
    hand_on(&at, "console/lines", &query).await
}

type Parts = Result<Query<Vec<(String, String)>>, axum::extract::rejection::QueryRejection>;

/// Searches everything that is kept of the console, newest first, in any case of letters unless `case` says so. Needs
/// `websocket.connect`.
#[utoipa::path(
    get, path = "/api/client/servers/{server}/console/search", tag = "client", operation_id = "search_console",
    params(
        ("server" = String, Path, description = "Identifier or uuid."),
        ("q" = String, Query, description = "The text to look for."),
        ("before" = Option<u64>, Query, description = "Only lines in front of this one: `searched_to` of the answer before."),
        ("limit" = Option<u64>, Query, description = "1 to 200; 50 unless told."),
        ("case" = Option<bool>, Query, description = "Whether the case of letters matters."),
    ),
    responses((status = 200, body = Item<ConsoleMatches>), (status = "4XX", body = ErrorBody), (status = "5XX", body = ErrorBody)),
)]
pub(crate) async fn search(at: AtServer, RawQuery(query): RawQuery) -> Answer<Response> {
    hand_on(&at, "console/search", &query.unwrap_or_default()).await
}

/// The last 1000 runs, newest first: when each began, how it ended, whether that was a crash. Needs `websocket.connect`.
#[utoipa::path(
    get, path = "/api/client/servers/{server}/console/runs", tag = "client", operation_id = "list_runs",
    params(("server" = String, Path, description = "Identifier or uuid.")),
    responses((status = 200, body = List<Run>), (status = "4XX", body = ErrorBody), (status = "5XX", body = ErrorBody)),
)]
pub(crate) async fn runs(at: AtServer) -> Answer<Response> {
    hand_on(&at, "console/runs", "").await
}

/// One run and, if it crashed, what was noted then: how it ended, its last 500 lines, what it used in its last five minutes, what was
/// last done by whom. Of the last twenty crashes. Needs `websocket.connect`.
#[utoipa::path(
    get, path = "/api/client/servers/{server}/console/runs/{run}", tag = "client", operation_id = "read_run",
    params(
        ("server" = String, Path, description = "Identifier or uuid."),
        ("run" = String, Path, description = "The run's `id`."),
    ),
    responses((status = 200, body = Item<RunDetails>), (status = "4XX", body = ErrorBody), (status = "5XX", body = ErrorBody)),
)]
pub(crate) async fn run(at: AtServer, named: Path<(String, Uuid)>) -> Answer<Response> {
    match hand_on(&at, &format!("console/runs/{}", named.0.1.simple()), "").await {
        Err(Problem::NodeRefused(422, _)) => Err(Problem::NotFound),
        answer => answer,
    }
}

/// What the server used: the last hour second by second, or the last day minute by minute. Needs `websocket.connect`.
#[utoipa::path(
    get, path = "/api/client/servers/{server}/console/stats", tag = "client", operation_id = "read_stats",
    params(
        ("server" = String, Path, description = "Identifier or uuid."),
        ("step" = Option<u64>, Query, description = "Seconds between two samples: 1 or 60; 1 unless told."),
        ("since" = Option<u64>, Query, description = "Only samples after this time; Unix milliseconds."),
    ),
    responses((status = 200, body = Item<StatsHistory>), (status = "4XX", body = ErrorBody), (status = "5XX", body = ErrorBody)),
)]
pub(crate) async fn stats(at: AtServer, RawQuery(query): RawQuery) -> Answer<Response> {
    hand_on(&at, "console/stats", &query.unwrap_or_default()).await
}

async fn hand_on(at: &AtServer, what: &str, query: &str) -> Answer<Response> {
    let path = path(at, what, query)?;
    let turn = at.call.app.readers.reading.turn(at.call.user.uuid).await.ok_or(Problem::Throttled)?;
    let answer = at.call.app.nodes.read(&at.node, &path).await.map_err(no_history)?;
    Ok(passed_on(answer, turn))
}

async fn follow(at: &AtServer, query: &str) -> Answer<Response> {
    let path = path(at, "console/lines", query)?;
    let user = at.call.user.uuid;
    let turn = at.call.app.readers.following.turn(user).await.ok_or(Problem::Throttled)?;
    let answer = at
        .call
        .app
        .nodes
        .follow(&at.node, &path, user, (at.call.checked_at, at.call.serial))
        .await
        .map_err(no_history)?;
    Ok(passed_on(answer, turn))
}

/// Where the node has it, for somebody who may have it.
fn path(at: &AtServer, what: &str, query: &str) -> Answer<String> {
    at.require(permission::CONNECT)?;
    if query.len() > QUERY_BYTES_MAX {
        return Err(Problem::BadRequest("The query is too long.".to_owned()));
    }
    Ok(format!("/api/servers/{}/{what}?{query}", at.server.uuid))
}

fn no_history(fault: NodeFault) -> Problem {
    match fault {
        // Nodes of others do not have these, and one that has lost the server cannot answer either.
        NodeFault::Refused { status: 404, .. } => {
            Problem::NodeRefused(502, "The node of this server keeps no history that can be read.".to_owned())
        }
        other => other.into(),
    }
}

/// What it is, is not the node's to say: a page from it would be a page of ours.
fn passed_on(answer: reqwest::Response, turn: OwnedSemaphorePermit) -> Response {
    let given = answer.headers().get(header::CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
    let kind = match given {
        kind if kind.starts_with(b"text/") => "text/plain; charset=utf-8",
        b"application/x-ndjson" => "application/x-ndjson",
        _ => "application/json",
    };
    let stream = answer.bytes_stream().map(move |chunk| {
        let _held = &turn;
        chunk
    });
    ([(header::CONTENT_TYPE, kind)], Body::from_stream(stream)).into_response()
}
