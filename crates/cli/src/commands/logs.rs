//! `quarterdeck logs`: the last console lines, and with `-f` those to come.

use std::collections::VecDeque;

use serde_json::json;

use crate::args::client::LogsArgs;
use crate::client::talk::{Lines, Seen, without_event_id};
use crate::client::watch::{Patience, Watch};
use crate::commands::Context;
use crate::escape::{Keep, clean};
use crate::fault::Fault;
use crate::output::{Output, note, plain};

/// Does it.
pub(crate) async fn run(context: &Context, args: LogsArgs) -> Result<(), Fault> {
    let server = context.rest.find(&args.server).await?;
    let patience = if args.follow { Patience::ComeBack } else { Patience::Once };
    let mut watch = Watch::open(context.rest.clone(), &server, Lines::Last, patience);
    let history = history(&mut watch, args.lines).await?;
    if args.follow {
        for line in &history {
            print_line(context.output, line)?;
        }
        return follow(context.output, watch).await;
    }
    if context.output.json {
        return context.output.document(&json!({ "data": history }));
    }
    history.iter().try_for_each(|line| print_line(context.output, line))
}

/// The last lines, at most `lines_max` of them.
async fn history(watch: &mut Watch, lines_max: Option<usize>) -> Result<VecDeque<String>, Fault> {
    let mut lines = VecDeque::new();
    loop {
        match watch.next().await? {
            Seen::Line { text, .. } => {
                lines.push_back(text);
                if lines_max.is_some_and(|max| lines.len() > max) {
                    lines.pop_front();
                }
            }
            Seen::HistoryEnd => return Ok(lines),
            Seen::Error(text) => {
                return Err(Fault::Failed(format!("the node says: {}", plain(without_event_id(&text)))));
            }
            _ => {}
        }
    }
}

async fn follow(output: Output, mut watch: Watch) -> Result<(), Fault> {
    loop {
        match watch.next().await? {
            Seen::Line { text, .. } => print_line(output, &text)?,
            Seen::Lost { why, retry_ms } => {
                note(&format!("connection lost ({why}); trying again in {} s", retry_ms.div_ceil(1000)));
            }
            Seen::Attached { again: true } => note("connected again"),
            Seen::Gap if output.json => output.json_line(&json!({ "gap": true }))?,
            Seen::Gap => note("reconnected; some lines may be missing or repeated here"),
            Seen::Error(text) => note(&plain(without_event_id(&text))),
            Seen::Notice(text) => note(&plain(&text)),
            _ => {}
        }
    }
}

fn print_line(output: Output, line: &str) -> Result<(), Fault> {
    if output.json {
        return output.json_line(&json!({ "line": line }));
    }
    output.line(&clean(line, if output.color { Keep::Colors } else { Keep::Text }))
}
