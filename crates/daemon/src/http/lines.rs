//! Lines of a console over the node's API: by number, of one run, as JSON, as text, or as they come (`follow`).

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use engine::line::strip_ansi;
use serde::Deserialize;
use wire::history::{ConsoleGap, ConsoleLine, ConsoleLines};
use wire::ids::Seq;

use super::follow::Checked;
use super::history::{Asked, asked, item, known_run, reading};
use super::{Answer, follow, serial, server};
use crate::history::{self, Range};
use crate::log::Tail;
use crate::node::Node;
use crate::problem::Problem;
use crate::server::LOG_DIR;
use crate::server::install::INSTALL_DIR;

/// Lines in one answer.
const LINES_MAX: u64 = 5000;
const LINES_DEFAULT: u64 = 500;

#[derive(Deserialize)]
pub(super) struct LinesQuery {
    after: Option<u64>,
    before: Option<u64>,
    limit: Option<u64>,
    run: Option<String>,
    format: Option<Format>,
    #[serde(default)]
    follow: bool,
}

/// How lines are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    /// One document with all of them.
    Json,
    /// One document for each line, and for each gap.
    Ndjson,
    /// What people read.
    Text,
}

/// Lines by number.
pub(super) async fn lines(
    State(node): State<Arc<Node>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    query: Asked<LinesQuery>,
) -> Answer<Response> {
    let server = server(&node, &id)?;
    let LinesQuery { after, before, limit, run, format, follow } = asked(query)?;
    let refuse = |text: &str| Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, text));
    let range = match (after, before) {
        (Some(seq), None) => Range::After(seq),
        (None, Some(seq)) => Range::Before(seq),
        (None, None) => Range::Newest,
        (Some(_), Some(_)) => return refuse("say `after` or `before`, not both; `limit` says how many"),
    };
    let console = server.console().clone();
    let head = console.hub().next();
    if follow {
        if before.is_some() || run.is_some() || format == Some(Format::Json) {
            return refuse("`follow` goes on behind a line, as `ndjson` or `text`: not with `before`, `run` or `json`");
        }
        let from = match range {
            Range::After(seq) => seq.saturating_add(1),
            _ => head.0.saturating_sub(limit.unwrap_or(LINES_DEFAULT).min(LINES_MAX)),
        };
        return follow::stream(&node, &server, Seq(from), format.unwrap_or(Format::Ndjson), asker(&headers)?);
    }
    let within = match run {
        None => 0..head.0,
        Some(run) => {
            let run = known_run(&server, &run)?;
            run.first_line.unwrap_or(0)..run.end_line.unwrap_or(head.0).min(head.0)
        }
    };
    let limit = limit.unwrap_or(LINES_DEFAULT).clamp(1, LINES_MAX);
    let dir = server.dir().join(LOG_DIR);
    let lines = reading(&node, move |_| history::lines(&dir, console.presentation(), within, range, limit)).await?;
    Ok(match format.unwrap_or(Format::Json) {
        Format::Json => item("console_lines", &lines).into_response(),
        format => (format.content_type(), format.all(&lines)).into_response(),
    })
}

/// What a server's installations have said, by number; each is a run in a log of its own.
pub(super) async fn of_installation(
    State(node): State<Arc<Node>>,
    Path(id): Path<String>,
    query: Asked<LinesQuery>,
) -> Answer<Response> {
    let server = server(&node, &id)?;
    let LinesQuery { after, before, limit, format, .. } = asked(query)?;
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
    let (dir, console) = (server.dir().join(INSTALL_DIR).join(LOG_DIR), server.console().clone());
    let lines = reading(&node, move |_| {
        let presentation = console.presentation();
        let head = match Tail::open(&dir, presentation.clone()) {
            Ok((tail, _)) => tail.next().0,
            // It has never been installed.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        history::lines(&dir, presentation, 0..head, range, limit)
    });
    let lines = lines.await?;
    Ok(match format.unwrap_or(Format::Json) {
        Format::Json => item("console_lines", &lines).into_response(),
        format => (format.content_type(), format.all(&lines)).into_response(),
    })
}

/// On whose behalf the panel asks, and when it looked whether they may, in Unix seconds and by its count: the answer ends with their
/// rights, so it has none without them.
fn asker(headers: &HeaderMap) -> Answer<Checked> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let user = text(wire::node::USER_HEADER).and_then(|text| text.parse().ok());
    let checked_s = text(wire::node::CHECKED_HEADER).and_then(|text| text.parse().ok());
    let (user_header, checked_header) = (wire::node::USER_HEADER, wire::node::CHECKED_HEADER);
    let serial = serial(headers, wire::node::CHECKED_SERIAL_HEADER);
    user.zip(checked_s).map(|(user, wall_s)| Checked { user, wall_s, serial }).ok_or_else(|| {
        let text = format!("say with `{user_header}` and `{checked_header}` whose rights these are, and since when");
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, text)
    })
}

impl Format {
    pub(super) fn content_type(self) -> [(header::HeaderName, &'static str); 1] {
        let kind = match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Text => "text/plain; charset=utf-8",
        };
        [(header::CONTENT_TYPE, kind)]
    }

    /// The lines in order, and gaps where they are.
    pub(super) fn all(self, read: &ConsoleLines) -> String {
        let mut text = String::new();
        let mut gaps = read.gaps.iter().peekable();
        for line in &read.lines {
            while let Some(gap) = gaps.next_if(|gap| gap.from < line.seq) {
                self.gap(&mut text, gap);
            }
            self.line(&mut text, line);
        }
        gaps.for_each(|gap| self.gap(&mut text, gap));
        text
    }

    fn line(self, text: &mut String, line: &ConsoleLine) {
        match self {
            Self::Text => text.push_str(&strip_ansi(&line.text)),
            // It has nothing that could fail.
            Self::Json | Self::Ndjson => text.push_str(&serde_json::to_string(line).unwrap_or_default()),
        }
        text.push('\n');
    }

    fn gap(self, text: &mut String, gap: &ConsoleGap) {
        match self {
            // Writing to a string does not fail.
            Self::Text => {
                let last = gap.to.saturating_sub(1);
                let _ = writeln!(text, "[lines {} to {last} cannot be had: {}]", gap.from, gap.reason);
            }
            Self::Json | Self::Ndjson => {
                text.push_str(&serde_json::to_string(gap).unwrap_or_default());
                text.push('\n');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use wire::history::LineKind;

    use super::*;

    #[test]
    fn gaps_stand_where_they_are() {
        let line =
            |seq, text: &str| ConsoleLine { seq, at: 5, kind: LineKind::Output, text: text.to_owned(), user: None };
        let gap = |from, to| ConsoleGap { from, to, reason: "no longer kept".to_owned() };
        let read = ConsoleLines {
            oldest: 3,
            next: 9,
            gaps: vec![gap(1, 3), gap(4, 6), gap(7, 9)],
            lines: vec![line(3, "\u{1b}[32mthree\u{1b}[0m"), line(6, "six")],
        };
        let text = Format::Text.all(&read);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!((lines[0], lines[1], lines[3]), ("[lines 1 to 2 cannot be had: no longer kept]", "three", "six"));
        assert_eq!(lines.len(), 5);
        let documents: Vec<serde_json::Value> =
            Format::Ndjson.all(&read).lines().map(|line| serde_json::from_str(line).unwrap_or_default()).collect();
        assert_eq!(documents[0], serde_json::json!({ "from": 1, "to": 3, "reason": "no longer kept" }));
        assert_eq!(documents[1]["text"], "\u{1b}[32mthree\u{1b}[0m");
        assert_eq!((documents[3]["seq"].as_u64(), documents.len()), (Some(6), 5));
    }
}
