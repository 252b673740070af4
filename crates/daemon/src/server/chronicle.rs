//! What a server's actor writes down of its runs, for those who ask later: each one's beginning and end (`runs`), and what there was
//! to see when it crashed (`crashes`). Nothing here is needed to run a game: what cannot be written is logged and does without.

use engine::power::{Effect, Exit, Power};
use spool::ExitPayload;
use wire::history::{Act, Crash, Run};
use wire::ids::Seq;

use crate::clock;
use crate::history::{self, Bounds};
use crate::runtime::hex;
use crate::server::actor::Actor;
use crate::server::runs::Runs;
use crate::server::{Asker, LOG_DIR, LastExit, Server, crashes};
use crate::tasks::blocking;

/// How a run ended.
pub(super) struct End {
    /// As its holder saw it; none if that was lost with the run.
    payload: Option<ExitPayload>,
    /// As the engine sees it.
    exit: Option<Exit>,
    /// Nobody had asked for it.
    crashed: bool,
    /// Which crash it is since the last run that lasted, and when the next start is planned, on the monotonic clock.
    plan: Option<(u32, Option<u64>)>,
    /// The number behind its last line, unless the log knows better.
    line: Seq,
}

impl End {
    /// What the engine has just decided of it.
    pub(super) fn of(payload: Option<ExitPayload>, line: Seq, power: &Power, effects: &[Effect]) -> Self {
        let plan = effects.iter().find_map(|effect| match effect {
            Effect::Crashed { in_a_row, restart_at_ms, .. } => Some((*in_a_row, *restart_at_ms)),
            _ => None,
        });
        Self { payload, exit: power.last_exit().copied(), crashed: power.has_crashed(), plan, line }
    }
}

impl Actor {
    /// Notes that somebody did something with the server.
    pub(super) fn acted(&mut self, asker: Asker, event: &str) {
        let user = asker.user.map(|user| user.to_string());
        self.last_act = Some(Act { at: wall_ms(), event: event.to_owned(), user });
    }

    /// Notes that a run goes on, unless that is known: the daemon that began it may have ended before it could.
    pub(super) async fn note_beginning(&mut self, run_id: [u8; 16]) {
        let id = hex(&run_id);
        if self.server.runs(|runs| runs.get(&id).is_some()) {
            return;
        }
        let Bounds { started_ms, first_line, .. } = bounds(&self.server, run_id).await;
        self.note_run(Run {
            id,
            started_at: started_ms,
            ended_at: None,
            first_line,
            end_line: None,
            exit: None,
            crashed: false,
        })
        .await;
    }

    /// How long a run has lasted that is over, in milliseconds; 0 if that is not known.
    pub(super) async fn lasted_ms(&mut self, run_id: [u8; 16]) -> u64 {
        let bounds = bounds(&self.server, run_id).await;
        let lasted = bounds.ended_ms.zip(bounds.started_ms).map(|(ended, started)| ended.saturating_sub(started));
        lasted.unwrap_or(0)
    }

    /// No run goes on. If the newest was left without an end (the disk was full, say), it gets the one that the log knows.
    pub(super) async fn note_nobody(&mut self) {
        let Some(open) = self.server.runs(|runs| runs.newest().filter(|run| run.ended_at.is_none()).cloned()) else {
            return;
        };
        let bounds = match uuid::Uuid::parse_str(&open.id) {
            Ok(id) => bounds(&self.server, id.into_bytes()).await,
            Err(_) => Bounds::default(),
        };
        let end_line = Some(bounds.end_line.unwrap_or(self.server.console().hub().next().0));
        self.note_run(Run { ended_at: Some(bounds.ended_ms.unwrap_or_else(wall_ms)), end_line, ..open }).await;
    }

    /// Notes how a run ended, and keeps a record if it crashed.
    pub(super) async fn note_end(&mut self, run_id: [u8; 16], end: End) -> LastExit {
        let id = hex(&run_id);
        let bounds = bounds(&self.server, run_id).await;
        let known = self.server.runs(|runs| runs.get(&id).cloned());
        let at_ms = bounds.ended_ms.unwrap_or_else(wall_ms);
        let run = Run {
            started_at: known.as_ref().and_then(|run| run.started_at).or(bounds.started_ms),
            first_line: known.as_ref().and_then(|run| run.first_line).or(bounds.first_line),
            ended_at: Some(at_ms),
            end_line: Some(bounds.end_line.unwrap_or(end.line.0)),
            exit: end.exit.map(|exit| exit.to_string()),
            crashed: end.crashed,
            id,
        };
        if end.crashed {
            self.keep_crash(&run, &end).await;
        }
        let how = run.exit.clone().unwrap_or_else(|| "nobody saw how".to_owned());
        let last = LastExit { how, crashed: run.crashed, at_ms };
        self.note_run(run).await;
        last
    }

    async fn keep_crash(&mut self, run: &Run, end: &End) {
        let (dir, console) = (self.server.dir().clone(), self.server.console().clone());
        let (id, at_ms) = (run.id.clone(), run.ended_at.unwrap_or_default());
        let behind = Seq(run.end_line.unwrap_or(end.line.0));
        let since_ms = at_ms.saturating_sub(crashes::FIGURES_MS);
        let mono_ms = clock::mono_ms();
        let crash = Crash {
            code: end.payload.filter(|payload| payload.signal().is_none()).and_then(|payload| payload.code()),
            signal: end.payload.and_then(|payload| payload.signal()),
            out_of_memory: end.exit.is_some_and(|exit| exit.oom),
            in_a_row: end.plan.map(|(in_a_row, _)| in_a_row),
            restart_at: end
                .plan
                .and_then(|(_, restart_ms)| restart_ms)
                .map(|restart_ms| wall_ms().saturating_add(restart_ms.saturating_sub(mono_ms))),
            last_act: self.last_act.clone(),
            lines: Vec::new(),
            gaps: Vec::new(),
            stats: self.server.figures(|figures| figures.since(1, since_ms)).unwrap_or_default(),
        };
        let kept = blocking(move || {
            let last = crashes::last_lines(&dir, console.presentation(), behind)?;
            crashes::keep(&dir, &id, at_ms, &Crash { lines: last.lines, gaps: last.gaps, ..crash })
        });
        if let Err(error) = kept.await.and_then(|kept| kept) {
            tracing::error!(server = %self.server.id(), %error, "the record of this crash is not kept");
        }
    }

    async fn note_run(&mut self, run: Run) {
        let dir = self.server.dir().clone();
        let change = self.server.runs(|runs| runs.note(&run));
        let written = blocking(move || change?.write(&dir)).await.and_then(|written| written);
        if let Err(error) = written {
            self.server.runs(Runs::failed);
            tracing::error!(server = %self.server.id(), %error, "this run is not written down: a restarted daemon will not tell of it");
        }
    }
}

async fn bounds(server: &Server, run_id: [u8; 16]) -> Bounds {
    let log = server.dir().join(LOG_DIR);
    let read = blocking(move || history::bounds(&log, run_id)).await.and_then(|read| read);
    read.unwrap_or_else(|error| {
        tracing::error!(server = %server.id(), %error, "the log cannot be read for where this run begins and ends");
        Bounds::default()
    })
}

/// Now, in Unix milliseconds.
pub(super) fn wall_ms() -> u64 {
    u64::try_from(clock::wall_ms()).unwrap_or(0)
}
