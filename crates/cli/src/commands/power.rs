//! `quarterdeck power`: start, stop, restart, kill, and waiting until it is done.

use std::collections::VecDeque;

use serde_json::json;
use tokio::time::timeout;
use wire::server::{PowerAction, State};
use wire::token::permission;

use crate::args::client::PowerArgs;
use crate::client::api::Server;
use crate::client::rest::Rest;
use crate::client::talk::{Lines, Seen, without_event_id};
use crate::client::watch::{Patience, Watch};
use crate::commands::Context;
use crate::escape::{Keep, clean};
use crate::fault::Fault;

/// Console lines quoted when a start fails.
const QUOTED_LINES: usize = 5;

/// Does it.
pub(crate) async fn run(context: &Context, args: PowerArgs) -> Result<(), Fault> {
    let server = context.rest.find(&args.server).await?;
    let action = PowerAction::from(args.action);
    if !args.wait {
        send(&context.rest, &server.uuid, action).await?;
        return report(context, &server, action, None);
    }
    // Watching begins before the action, so that no change is missed.
    let mut watch = Watch::open(context.rest.clone(), &server, Lines::Any, Patience::ComeBack);
    let before = first_state(&mut watch).await?;
    send(&context.rest, &server.uuid, action).await?;
    let reached = timeout(args.timeout, reach(&mut watch, Progress::new(action, before)));
    let state = reached.await.map_err(|_| {
        Fault::Failed(format!(
            "{action}: not done after {} s; it goes on, this only stopped waiting",
            args.timeout.as_secs()
        ))
    })??;
    report(context, &server, action, Some(state))
}

/// One power action over REST for the server with this uuid: a refusal is in the answer.
pub(crate) async fn send(rest: &Rest, server: &str, action: PowerAction) -> Result<(), Fault> {
    let needed = match action {
        PowerAction::Start => permission::START,
        PowerAction::Stop | PowerAction::Kill => permission::STOP,
        PowerAction::Restart => permission::RESTART,
    };
    rest.post_empty(&["api", "client", "servers", server, "power"], &json!({ "signal": action }))
        .await
        .map_err(|fault| fault.naming(needed))
}

fn report(context: &Context, server: &Server, action: PowerAction, state: Option<State>) -> Result<(), Fault> {
    if context.output.json {
        return context.output.document(&json!({ "server": server.uuid, "action": action, "state": state }));
    }
    let name = crate::output::plain(&server.name);
    match state {
        Some(state) => context.output.line(&format!("{name} is {state}")),
        None => context.output.line(&format!("{name}: {action} accepted")),
    }
}

async fn first_state(watch: &mut Watch) -> Result<State, Fault> {
    loop {
        if let Seen::State(state) = watch.next().await? {
            return Ok(state);
        }
    }
}

async fn reach(watch: &mut Watch, mut progress: Progress) -> Result<State, Fault> {
    let mut last_lines: VecDeque<String> = VecDeque::new();
    if let Some(state) = progress.done_already() {
        return Ok(state);
    }
    loop {
        match watch.next().await? {
            Seen::State(state) => match progress.see(state) {
                Step::Wait => {}
                Step::Done => return Ok(state),
                Step::Failed => {
                    let lines: Vec<String> = last_lines.into();
                    return Err(Fault::Failed(format!(
                        "it ended before it was ready; its last lines:\n{}",
                        lines.join("\n")
                    )));
                }
            },
            Seen::Line { text, .. } => {
                last_lines.push_back(format!("  {}", clean(&text, Keep::Text)));
                if last_lines.len() > QUOTED_LINES {
                    last_lines.pop_front();
                }
            }
            Seen::Error(text) => {
                return Err(Fault::Failed(format!("the node says: {}", crate::output::plain(without_event_id(&text)))));
            }
            _ => {}
        }
    }
}

/// How far an action has come, by the states seen.
#[derive(Debug)]
struct Progress {
    action: PowerAction,
    /// The state at the last look.
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Wait,
    Done,
    Failed,
}

impl Progress {
    fn new(action: PowerAction, state: State) -> Self {
        Self { action, state }
    }

    /// Where nothing is left to wait for: stopping what is offline.
    fn done_already(&self) -> Option<State> {
        let ends = matches!(self.action, PowerAction::Stop | PowerAction::Kill);
        (ends && self.state == State::Offline).then_some(State::Offline)
    }

    fn see(&mut self, state: State) -> Step {
        if state == self.state {
            return Step::Wait;
        }
        let from = std::mem::replace(&mut self.state, state);
        match (self.action, from, state) {
            (PowerAction::Start | PowerAction::Restart, _, State::Running)
            | (PowerAction::Stop | PowerAction::Kill, _, State::Offline) => Step::Done,
            // A restart passes through offline by way of stopping; from starting it is a start that failed.
            (PowerAction::Start | PowerAction::Restart, State::Starting, State::Offline) => Step::Failed,
            _ => Step::Wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use State::{Offline, Running, Starting, Stopping};

    use super::*;

    fn steps(action: PowerAction, before: State, states: &[State]) -> Vec<Step> {
        let mut progress = Progress::new(action, before);
        states.iter().map(|state| progress.see(*state)).collect()
    }

    #[test]
    fn each_action_waits_for_its_own_end() {
        assert_eq!(steps(PowerAction::Start, Offline, &[Starting, Running]), [Step::Wait, Step::Done]);
        assert_eq!(steps(PowerAction::Start, Offline, &[Starting, Offline]), [Step::Wait, Step::Failed]);
        assert_eq!(steps(PowerAction::Stop, Running, &[Stopping, Offline]), [Step::Wait, Step::Done]);
        assert_eq!(
            steps(PowerAction::Restart, Running, &[Running, Stopping, Offline, Starting, Running]),
            [Step::Wait, Step::Wait, Step::Wait, Step::Wait, Step::Done],
            "the state before is not the end"
        );
        assert_eq!(steps(PowerAction::Restart, Starting, &[Stopping, Offline, Starting, Offline])[3], Step::Failed);
    }

    #[test]
    fn ending_what_is_offline_is_done_at_once() {
        assert_eq!(Progress::new(PowerAction::Stop, Offline).done_already(), Some(Offline));
        assert_eq!(Progress::new(PowerAction::Kill, Offline).done_already(), Some(Offline));
        assert_eq!(Progress::new(PowerAction::Start, Offline).done_already(), None);
        assert_eq!(Progress::new(PowerAction::Stop, Running).done_already(), None);
    }
}
