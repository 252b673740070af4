//! The console on pipes: every line of stdin is a command, what the server prints from then on is the output.
//!
//! Commands go over REST, not the socket: there each one has an answer, so a refused command is an error here and never lost.

use std::io::{BufRead, BufReader, Read, stdin};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::sleep_until;

use crate::args::client::ConsoleArgs;
use crate::client::api::Server;
use crate::client::talk::{Lines, Seen};
use crate::client::watch::{Patience, Watch};
use crate::commands::{Context, power, send_command};
use crate::console::keys::{Typed, read};
use crate::console::render::Renderer;
use crate::fault::Fault;
use crate::output::note;

/// After the last command and without `--until`, no line for so long means that the answer is complete.
const QUIET: Duration = Duration::from_secs(1);
/// Bytes of one line of stdin; more is an error and not half a command.
const LINE_BYTES_MAX: u64 = 64 * 1024;
/// Lines of stdin read ahead.
const TYPED_MAX: usize = 16;

/// Runs until stdin has ended and the answer is there.
pub(crate) async fn run(context: &Context, server: &Server, args: &ConsoleArgs) -> Result<(), Fault> {
    let wants = if args.history { Lines::Last } else { Lines::New };
    let mut watch = Watch::open(context.rest.clone(), server, wants, Patience::ComeBack);
    let mut pipe = Pipe {
        context,
        server,
        renderer: Renderer::new(context.output, &server.name, server.limits.memory),
        until: args.until.as_deref(),
        met: false,
        failures: 0,
    };
    pipe.attach(&mut watch).await?;
    let mut typed = stdin_lines()?;
    while let Some(line) = pipe.next_typed(&mut watch, &mut typed).await? {
        if pipe.act(&mut watch, line?).await? == Went::Left {
            break;
        }
    }
    pipe.finish(&mut watch, args.timeout).await
}

#[derive(Debug, PartialEq, Eq)]
enum Went {
    On,
    Left,
}

struct Pipe<'a> {
    context: &'a Context,
    server: &'a Server,
    renderer: Renderer,
    until: Option<&'a str>,
    /// A line with the text of `--until` came after the last command.
    met: bool,
    failures: u32,
}

impl Pipe<'_> {
    /// Waits until lines printed from now on are sure to be seen: the state is told after listening has begun, and lines from
    /// before have passed by.
    async fn attach(&mut self, watch: &mut Watch) -> Result<(), Fault> {
        let (mut state_known, mut history_over) = (false, false);
        while !(state_known && history_over) {
            let seen = watch.next().await?;
            state_known |= matches!(seen, Seen::State(_));
            history_over |= matches!(seen, Seen::HistoryEnd);
            self.show(&seen)?;
        }
        self.met = false;
        Ok(())
    }

    async fn next_typed(
        &mut self,
        watch: &mut Watch,
        typed: &mut mpsc::Receiver<TypedLine>,
    ) -> Result<Option<TypedLine>, Fault> {
        loop {
            tokio::select! {
                line = typed.recv() => return Ok(line),
                seen = watch.next() => self.show(&seen?)?,
            }
        }
    }

    async fn act(&mut self, watch: &mut Watch, line: String) -> Result<Went, Fault> {
        let rest = &self.context.rest;
        // What was printed before the command is no answer to it.
        while let Some(seen) = watch.try_next() {
            self.show(&seen)?;
        }
        self.met = false;
        let sent = match read(&line) {
            Typed::Nothing => return Ok(Went::On),
            Typed::Leave => return Ok(Went::Left),
            Typed::Command(text) => send_command(rest, self.server, &text).await,
            Typed::Power(action) => power::send(rest, &self.server.uuid, action).await,
            Typed::Stats => {
                self.renderer.want_stats();
                watch.order(crate::client::talk::Order::Stats);
                Ok(())
            }
            Typed::Help | Typed::Unknown(_) => Err(Fault::Failed(format!(
                "lines that begin with ~ are for the console itself, and `{}` is none that makes sense here; ~~ sends one ~",
                crate::output::plain(&line)
            ))),
        };
        match sent {
            Ok(()) => Ok(Went::On),
            // The next command may do better; the exit code will tell.
            Err(fault @ (Fault::Refused(_) | Fault::Failed(_) | Fault::Foreign(_)))
                if !matches!(fault.status(), Some(401 | 404)) =>
            {
                note(&format!("not sent: {}: {fault}", crate::output::plain(&line)));
                self.failures += 1;
                Ok(Went::On)
            }
            Err(fault) => Err(fault),
        }
    }

    /// After the last command: until the text, or until it is quiet, but no longer than `timeout`.
    async fn finish(mut self, watch: &mut Watch, timeout: Duration) -> Result<(), Fault> {
        let end = Instant::now() + timeout;
        let mut quiet = Instant::now() + QUIET;
        while !self.met {
            let deadline = if self.until.is_some() { end } else { end.min(quiet) };
            tokio::select! {
                seen = watch.next() => {
                    let seen = seen?;
                    if matches!(seen, Seen::Line { .. }) {
                        quiet = Instant::now() + QUIET;
                    }
                    self.show(&seen)?;
                }
                () = sleep_until(deadline.into()) => break,
            }
        }
        match self.until {
            Some(text) if !self.met => {
                Err(Fault::Failed(format!("no line with `{text}` came within {} s", timeout.as_secs_f64())))
            }
            _ if self.failures > 0 => Err(Fault::Failed(format!("{} of the commands were not sent", self.failures))),
            _ => Ok(()),
        }
    }

    fn show(&mut self, seen: &Seen) -> Result<(), Fault> {
        if let (Seen::Line { text, history: false }, Some(until)) = (seen, self.until) {
            self.met |= crate::escape::clean(text, crate::escape::Keep::Text).contains(until);
        }
        let output = &self.context.output;
        if output.json {
            return output.json_line(&json(seen));
        }
        let ours = !matches!(seen, Seen::Line { .. });
        match self.renderer.render(seen) {
            Some(line) if ours => note(&line),
            Some(line) => output.line(&line)?,
            None => {}
        }
        Ok(())
    }
}

/// An event as a JSON document, named as on the wire where the wire has it.
fn json(seen: &Seen) -> Value {
    match seen {
        Seen::Line { text, history } => json!({ "event": "console output", "line": text, "history": history }),
        Seen::State(state) => json!({ "event": "status", "state": state }),
        Seen::Stats(document) => {
            let stats: Value = serde_json::from_str(document).unwrap_or_default();
            json!({ "event": "stats", "stats": stats })
        }
        Seen::Error(text) => json!({ "event": "daemon error", "text": text }),
        Seen::Notice(text) => json!({ "event": "daemon message", "text": text }),
        Seen::Attached { again } => json!({ "event": "attached", "again": again }),
        Seen::HistoryEnd => json!({ "event": "history end" }),
        Seen::Gap => json!({ "event": "gap" }),
        Seen::NotSent { what, why } => json!({ "event": "not sent", "text": what, "reason": why }),
        Seen::Lost { why, retry_ms } => json!({ "event": "connection lost", "reason": why, "retry_ms": retry_ms }),
    }
}

type TypedLine = Result<String, Fault>;

/// Lines of stdin, read by a thread: reading blocks.
fn stdin_lines() -> Result<mpsc::Receiver<TypedLine>, Fault> {
    let (lines, typed) = mpsc::channel(TYPED_MAX);
    thread::Builder::new()
        .name("stdin".into())
        .spawn(move || {
            let mut input = BufReader::new(stdin());
            while let Some(line) = read_line(&mut input) {
                let failed = line.is_err();
                if lines.blocking_send(line).is_err() || failed {
                    return;
                }
            }
        })
        .map_err(|error| Fault::Failed(format!("cannot start a thread: {error}")))?;
    Ok(typed)
}

/// One line; none at the end. Bytes that are not UTF-8 are replaced.
fn read_line(input: &mut impl BufRead) -> Option<TypedLine> {
    let mut bytes = Vec::new();
    match input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes) {
        Ok(0) => None,
        Ok(_) if bytes.len() as u64 == LINE_BYTES_MAX && bytes.last() != Some(&b'\n') => {
            Some(Err(Fault::Usage(format!("a line of the input is longer than {LINE_BYTES_MAX} bytes"))))
        }
        Ok(_) => Some(Ok(String::from_utf8_lossy(&bytes).trim_end_matches(['\r', '\n']).to_owned())),
        Err(error) => Some(Err(Fault::Failed(format!("cannot read the input: {error}")))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn lines_of_input_are_read_to_their_end_and_to_a_limit() {
        let mut input = &b"list\r\nbad \xff\nlast"[..];
        let mut next = || read_line(&mut input).map(Result::unwrap);
        assert_eq!(next().as_deref(), Some("list"));
        assert_eq!(next().as_deref(), Some("bad \u{fffd}"));
        assert_eq!(next().as_deref(), Some("last"));
        assert_eq!(next(), None);
        let long = vec![b'x'; 70_000];
        assert!(matches!(read_line(&mut &long[..]), Some(Err(Fault::Usage(_)))));
    }

    #[test]
    fn events_are_named_as_on_the_wire() {
        assert_eq!(
            json(&Seen::Line { text: "a".into(), history: true }),
            json!({ "event": "console output", "line": "a", "history": true })
        );
        assert_eq!(json(&Seen::Stats("{\"uptime\":1}".into()))["stats"]["uptime"], 1);
        assert_eq!(json(&Seen::State(wire::server::State::Running))["state"], "running");
    }
}
