//! The part of the node's API that reads what was kept of a server: lines, a search, runs, figures. Ours; the panel hands it on.

use std::fmt::Write;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query as UrlQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use engine::line::strip_ansi;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use wire::history::{ConsoleLines, ConsoleMatches, StatsHistory};
use wire::ids::Seq;

use super::{Answer, server};
use crate::history::{self, Query, Range};
use crate::node::Node;
use crate::problem::Problem;
use crate::server::{LOG_DIR, Server};
use crate::tasks::blocking;

/// Lines in one answer.
const LINES_MAX: u64 = 5000;
const LINES_DEFAULT: u64 = 500;
/// Matches in one answer.
const MATCHES_MAX: usize = 200;
const MATCHES_DEFAULT: usize = 50;
/// Bytes of a text to look for.
const QUERY_BYTES_MAX: usize = 1000;

/// Numbers and words of a query, as they were sent: one that cannot be read is an error, not a default.
type Asked<T> = Result<UrlQuery<T>, axum::extract::rejection::QueryRejection>;

fn asked<T>(query: Asked<T>) -> Answer<T> {
    let unreadable =
        |error| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("the query cannot be read: {error}"));
    query.map(|UrlQuery(query)| query).map_err(unreadable)
}

fn unreadable_log(error: &std::io::Error) -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the log cannot be read: {error}"))
}

/// Reads a log, when there is a place for it. The work keeps its place until it ends, and is told when nobody waits for it any more.
async fn reading<T: Send + 'static>(
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

fn item(object: &str, attributes: &impl serde::Serialize) -> Json<Value> {
    Json(json!({ "object": object, "attributes": attributes }))
}

#[derive(Deserialize)]
pub(super) struct LinesQuery {
    after: Option<u64>,
    before: Option<u64>,
    limit: Option<u64>,
    format: Option<Format>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Json,
    Text,
}

/// Lines by number.
pub(super) async fn lines(
    State(node): State<Arc<Node>>,
    Path(id): Path<String>,
    query: Asked<LinesQuery>,
) -> Answer<Response> {
    let server = server(&node, &id)?;
    let LinesQuery { after, before, limit, format } = asked(query)?;
    let range = match (after, before) {
        (Some(seq), None) => Range::After(seq),
        (None, Some(seq)) => Range::Before(seq),
        (None, None) => Range::Newest,
        (Some(_), Some(_)) => {
            let text = "say `after` or `before`, not both; `limit` says how many";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, text));
        }
    };
    let limit = limit.unwrap_or(LINES_DEFAULT).clamp(1, LINES_MAX);
    let console = server.console().clone();
    let (dir, head) = (server.dir().join(LOG_DIR), console.hub().next());
    let lines = reading(&node, move |_| history::lines(&dir, console.presentation(), head, range, limit)).await?;
    Ok(match format.unwrap_or_default() {
        Format::Json => item("console_lines", &lines).into_response(),
        Format::Text => ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], plain_text(&lines)).into_response(),
    })
}

/// The lines as people keep them: no escape sequences, and gaps where they are.
fn plain_text(read: &ConsoleLines) -> String {
    let mut text = String::new();
    let mut gaps = read.gaps.iter().peekable();
    for line in &read.lines {
        while let Some(gap) = gaps.next_if(|gap| gap.from < line.seq) {
            add_gap(&mut text, gap);
        }
        text.push_str(&strip_ansi(&line.text));
        text.push('\n');
    }
    gaps.for_each(|gap| add_gap(&mut text, gap));
    text
}

fn add_gap(text: &mut String, gap: &wire::history::ConsoleGap) {
    let last = gap.to.saturating_sub(1);
    // Writing to a string does not fail.
    let _ = writeln!(text, "[lines {} to {last} cannot be had: {}]", gap.from, gap.reason);
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
    let server = server(&node, &id)?;
    let dir = server.dir().join(LOG_DIR);
    let runs = reading(&node, move |unwanted| history::runs(&dir, unwanted)).await?;
    let data: Vec<Value> = runs.iter().map(|run| json!({ "object": "run", "attributes": run })).collect();
    Ok(Json(json!({ "object": "list", "data": data })))
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
