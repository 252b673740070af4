//! The part of the node's API that reads what was kept of a server as a whole: a search, runs, figures. Ours; the panel hands it on.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query as UrlQuery, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use wire::history::{ConsoleMatches, Run, RunDetails, StatsHistory};
use wire::ids::Seq;

use super::{Answer, server};
use crate::history::{self, Query};
use crate::node::Node;
use crate::problem::Problem;
use crate::server::{LOG_DIR, Server, crashes};
use crate::tasks::blocking;

/// Matches in one answer.
const MATCHES_MAX: usize = 200;
const MATCHES_DEFAULT: usize = 50;
/// Bytes of a text to look for.
const QUERY_BYTES_MAX: usize = 1000;

/// Numbers and words of a query, as they were sent: one that cannot be read is an error, not a default.
pub(super) type Asked<T> = Result<UrlQuery<T>, axum::extract::rejection::QueryRejection>;

pub(super) fn asked<T>(query: Asked<T>) -> Answer<T> {
    let unreadable =
        |error| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("the query cannot be read: {error}"));
    query.map(|UrlQuery(query)| query).map_err(unreadable)
}

pub(super) fn unreadable_log(error: &std::io::Error) -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the log cannot be read: {error}"))
}

/// Reads a log, when there is a place for it. The work keeps its place until it ends, and is told when nobody waits for it any more.
pub(super) async fn reading<T: Send + 'static>(
    node: &Node,
    work: impl FnOnce(&CancellationToken) -> std::io::Result<T> + Send + 'static,
) -> Answer<T> {
    let place = node.log_readers.clone().acquire_owned().await;
    let place = place.map_err(|error| unreadable_log(&std::io::Error::other(error)))?;
    let unwanted = CancellationToken::new();
    let _told = unwanted.clone().drop_guard();
    let work = move || {
        let _place = place;
        work(&unwanted)
    };
    blocking(work).await.and_then(|read| read).map_err(|error| unreadable_log(&error))
}

pub(super) fn item(object: &str, attributes: &impl serde::Serialize) -> Json<Value> {
    Json(json!({ "object": object, "attributes": attributes }))
}

#[derive(Deserialize)]
pub(super) struct SearchQuery {
    q: String,
    before: Option<u64>,
    limit: Option<usize>,
    case: Option<String>,
}

/// Lines with a text in them.
pub(super) async fn search(
    State(node): State<Arc<Node>>,
    Path(id): Path<String>,
    query: Asked<SearchQuery>,
) -> Answer<Json<Value>> {
    let server = server(&node, &id)?;
    let SearchQuery { q, before, limit, case } = asked(query)?;
    let refuse = |text: &str| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, text);
    if q.is_empty() || q.len() > QUERY_BYTES_MAX {
        return Err(refuse(&format!("say with `q` what to look for, in 1 to {QUERY_BYTES_MAX} bytes")));
    }
    let is_case_told_apart = matches!(case.as_deref(), Some("1" | "true"));
    let limit = limit.unwrap_or(MATCHES_DEFAULT).clamp(1, MATCHES_MAX);
    let query = Query::new(&q, is_case_told_apart, limit).ok_or_else(|| refuse("this text is too long to look for"))?;
    let head = server.console().hub().next();
    let before = before.map_or(head, Seq).min(head);
    let dir = server.dir().join(LOG_DIR);
    let found: ConsoleMatches = reading(&node, move |unwanted| history::search(&dir, &query, before, unwanted)).await?;
    Ok(item("console_matches", &found))
}

/// The runs of a game.
pub(super) async fn runs(State(node): State<Arc<Node>>, Path(id): Path<String>) -> Answer<Json<Value>> {
    let runs = server(&node, &id)?.runs(|runs| runs.newest_first());
    let data: Vec<Value> = runs.iter().map(|run| json!({ "object": "run", "attributes": run })).collect();
    Ok(Json(json!({ "object": "list", "data": data })))
}

/// One run, with what was noted of its crash.
pub(super) async fn run(State(node): State<Arc<Node>>, Path((id, run)): Path<(String, String)>) -> Answer<Json<Value>> {
    let server = server(&node, &id)?;
    let run = known_run(&server, &run)?;
    let (dir, id) = (server.dir().clone(), run.id.clone());
    let crash = reading(&node, move |_| crashes::load(&dir, &id)).await?;
    Ok(item("run", &RunDetails { run, crash }))
}

pub(super) fn known_run(server: &Server, id: &str) -> Answer<Run> {
    let unknown = || Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "no run of this server has this id");
    // In any spelling of a uuid.
    let id = uuid::Uuid::parse_str(id).map_err(|_| unknown())?.simple().to_string();
    server.runs(|runs| runs.get(&id).cloned()).ok_or_else(unknown)
}

#[derive(Deserialize)]
pub(super) struct StatsQuery {
    step: Option<u64>,
    since: Option<u64>,
}

/// Figures over time.
pub(super) async fn stats(
    State(node): State<Arc<Node>>,
    Path(id): Path<String>,
    query: Asked<StatsQuery>,
) -> Answer<Json<Value>> {
    let server: Server = server(&node, &id)?;
    let StatsQuery { step, since } = asked(query)?;
    let step = step.unwrap_or(1);
    let samples = server.figures(|figures| figures.since(step, since.unwrap_or(0)));
    let samples = samples.ok_or_else(|| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "`step` is 1 for the last hour or 60 for the last day")
    })?;
    Ok(item("stats_history", &StatsHistory { step_s: step, samples }))
}
