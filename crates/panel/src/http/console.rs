//! What a node has kept of a server, handed on: its lines, what was searched for, its runs, its figures. The node does the work;
//! the panel checks who asks and passes the answer through.

use axum::body::Body;
use axum::extract::RawQuery;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use wire::api::{ErrorBody, Item, List};
use wire::history::{ConsoleLines, ConsoleMatches, Run, StatsHistory};
use wire::token::permission;

use super::caller::AtServer;
use super::problem::{Answer, Problem};
use crate::nodes::NodeFault;

/// Longest query that is handed on.
const QUERY_BYTES_MAX: usize = 4096;

/// Lines of the console, also of a stopped server: the newest, or those `after` or `before` a number. Needs `websocket.connect`.
#[utoipa::path(
    get, path = "/api/client/servers/{server}/console/lines", tag = "client", operation_id = "read_console",
    params(
        ("server" = String, Path, description = "Identifier or uuid."),
        ("after" = Option<u64>, Query, description = "Lines behind this one."),
        ("before" = Option<u64>, Query, description = "Lines in front of this one."),
        ("limit" = Option<u64>, Query, description = "1 to 5000; 500 unless told."),
        ("format" = Option<String>, Query, description = "`json`, or `text` for plain text without escape sequences."),
    ),
    responses((status = 200, body = Item<ConsoleLines>), (status = "4XX", body = ErrorBody), (status = "5XX", body = ErrorBody)),
)]
pub(crate) async fn lines(at: AtServer, RawQuery(query): RawQuery) -> Answer<Response> {
    hand_on(&at, "console/lines", query).await
}

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
    hand_on(&at, "console/search", query).await
}

/// The runs whose lines are kept, newest first: when each began and how it ended. Needs `websocket.connect`.
#[utoipa::path(
    get, path = "/api/client/servers/{server}/console/runs", tag = "client", operation_id = "list_runs",
    params(("server" = String, Path, description = "Identifier or uuid.")),
    responses((status = 200, body = List<Run>), (status = "4XX", body = ErrorBody), (status = "5XX", body = ErrorBody)),
)]
pub(crate) async fn runs(at: AtServer, RawQuery(query): RawQuery) -> Answer<Response> {
    hand_on(&at, "console/runs", query).await
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
    hand_on(&at, "console/stats", query).await
}

async fn hand_on(at: &AtServer, what: &str, query: Option<String>) -> Answer<Response> {
    at.require(permission::CONNECT)?;
    let query = query.unwrap_or_default();
    if query.len() > QUERY_BYTES_MAX {
        return Err(Problem::BadRequest("The query is too long.".to_owned()));
    }
    let turn = at.call.app.readers.turn(at.call.user.uuid).await.ok_or(Problem::Throttled)?;
    let path = format!("/api/servers/{}/{what}?{query}", at.server.uuid);
    let answer = at.call.app.nodes.read(&at.node, &path).await.map_err(|fault| match fault {
        // Nodes of others do not have these, and one that has lost the server cannot answer either.
        NodeFault::Refused { status: 404, .. } => {
            Problem::NodeRefused(502, "The node of this server keeps no history that can be read.".to_owned())
        }
        other => other.into(),
    })?;
    // What it is, is not the node's to say: a page from it would be a page of ours.
    let is_text = answer.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/"));
    let kind = if is_text { "text/plain; charset=utf-8" } else { "application/json" };
    let stream = answer.bytes_stream().map(move |chunk| {
        let _held = &turn;
        chunk
    });
    Ok(([(header::CONTENT_TYPE, kind)], Body::from_stream(stream)).into_response())
}
