//! `quarterdeck runs`: when a game ran and how that ended, and what was noted when it crashed.

use jiff::tz::TimeZone;
use serde::Deserialize;
use wire::history::{Crash, Run, RunDetails};

use crate::args::client::RunsArgs;
use crate::client::api::Item;
use crate::commands::Context;
use crate::escape::{Keep, clean};
use crate::fault::Fault;
use crate::output::{Paint, bytes, plain, uptime};

/// Runs that are listed unless told otherwise.
const SHOWN: usize = 20;

#[derive(Deserialize)]
struct Listed {
    data: Vec<Item<Run>>,
}

/// Does it.
pub(crate) async fn run(context: &Context, args: RunsArgs) -> Result<(), Fault> {
    let server = context.rest.find(&args.server).await?;
    let path = ["api", "client", "servers", &server.uuid, "console", "runs"];
    let listed: Listed = context.rest.get(&path).await?;
    let runs: Vec<Run> = listed.data.into_iter().map(|item| item.attributes).collect();
    let Some(wanted) = args.run else { return list(context, &runs, args.all) };
    let is_wanted =
        |run: &&Run| if wanted == "crash" { run.crashed } else { !wanted.is_empty() && run.id.starts_with(&wanted) };
    let Some(run) = runs.iter().find(is_wanted) else {
        let text = if wanted == "crash" { "it has not crashed" } else { "it has no run with this id" };
        return Err(Fault::Failed(format!("{text}; `quarterdeck runs {}` lists its runs", plain(&server.name))));
    };
    let [api, client, servers, uuid, console, runs] = path;
    let details: Item<RunDetails> = context.rest.get(&[api, client, servers, uuid, console, runs, &run.id]).await?;
    if context.output.json {
        return context.output.document(&details.attributes);
    }
    show(context, &details.attributes)
}

fn list(context: &Context, runs: &[Run], all: bool) -> Result<(), Fault> {
    let shown = if all { runs } else { runs.get(..runs.len().min(SHOWN)).unwrap_or_default() };
    if context.output.json {
        return context.output.document(&shown);
    }
    let rows = shown.iter().map(|run| {
        let id = run.id.get(..8).unwrap_or(&run.id).to_owned();
        vec![id, began(run), lasted(run), ended(run)]
    });
    context.output.table(&["RUN", "BEGAN", "LASTED", "ENDED"], rows.collect())
}

fn show(context: &Context, details: &RunDetails) -> Result<(), Fault> {
    let RunDetails { run, crash } = details;
    let mut pairs =
        vec![("run", run.id.clone()), ("began", began(run)), ("lasted", lasted(run)), ("ended", ended(run))];
    if let (Some(first), Some(end)) = (run.first_line, run.end_line) {
        pairs.push(("lines", format!("{first} to {}", end.saturating_sub(1))));
    }
    let Some(crash) = crash else { return context.output.pairs(&pairs) };
    pairs.extend(noted(crash));
    context.output.pairs(&pairs)?;
    context.output.line("")?;
    for gap in &crash.gaps {
        context.output.line(&plain(&format!(
            "[lines {} to {}: {}]",
            gap.from,
            gap.to.saturating_sub(1),
            gap.reason
        )))?;
    }
    for line in &crash.lines {
        let text = clean(&line.text, Keep::Text);
        let paint = match line.kind {
            wire::history::LineKind::Output => None,
            wire::history::LineKind::Input | wire::history::LineKind::Notice => Some(Paint::Dim),
        };
        context.output.line(&paint.map_or(text.clone(), |paint| context.output.paint(paint, &text)))?;
    }
    Ok(())
}

fn noted(crash: &Crash) -> Vec<(&'static str, String)> {
    let mut pairs = Vec::new();
    if let Some(in_a_row) = crash.in_a_row.filter(|count| *count > 1) {
        pairs.push(("in a row", in_a_row.to_string()));
    }
    if crash.out_of_memory {
        pairs.push(("memory", "had run out".to_owned()));
    }
    if let Some(last) = crash.stats.last() {
        pairs.push((
            "used",
            format!("cpu {:.1}%, memory {} of {}", last.cpu, bytes(last.memory), bytes(last.memory_limit)),
        ));
    }
    if let Some(act) = &crash.last_act {
        let who = act.user.as_deref().unwrap_or("the panel");
        pairs.push(("before", format!("{} by {who}, {}", act.event, moment(act.at))));
    }
    pairs
}

fn began(run: &Run) -> String {
    run.started_at.map_or_else(|| "not known".to_owned(), moment)
}

fn lasted(run: &Run) -> String {
    match (run.started_at, run.ended_at) {
        (Some(from), Some(to)) => uptime(to.saturating_sub(from)),
        (_, None) => "goes on".to_owned(),
        (None, Some(_)) => "not known".to_owned(),
    }
}

fn ended(run: &Run) -> String {
    let how = run.exit.clone().unwrap_or_else(|| "nobody saw how".to_owned());
    match run.ended_at {
        None => String::new(),
        Some(_) if run.crashed => format!("crashed: {how}"),
        Some(_) => how,
    }
}

/// In the time of this machine.
fn moment(ms: u64) -> String {
    let at = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.map_or_else(String::new, |at| at.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_says_how_it_ended() {
        let run = Run {
            id: "x".to_owned(),
            started_at: Some(1_000),
            ended_at: None,
            first_line: None,
            end_line: None,
            exit: None,
            crashed: false,
        };
        assert_eq!((lasted(&run), ended(&run)), ("goes on".to_owned(), String::new()));
        let over = Run { ended_at: Some(62_000), exit: Some("exit code 0".to_owned()), ..run.clone() };
        assert_eq!((lasted(&over), ended(&over)), ("1m 1s".to_owned(), "exit code 0".to_owned()));
        let crashed = Run { crashed: true, started_at: None, ..over };
        assert_eq!((lasted(&crashed), ended(&crashed)), ("not known".to_owned(), "crashed: exit code 0".to_owned()));
        assert_eq!(ended(&Run { ended_at: Some(2), ..run }), "nobody saw how");
    }
}
