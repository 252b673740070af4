//! The life of one run inside its server's actor: joined to a shim, followed in the log, ended.
//!
//! That a run has ended is known when two things have happened: the shim is gone, and the log is read to its end.

use std::io;
use std::time::Duration;

use engine::power::{Effect, Ending, Exit, ExitKind, Input, Wanted};
use futures_util::FutureExt;
use spool::message::RunState;
use tokio_util::sync::CancellationToken;
use wire::server::{PowerAction, State};

use crate::clock;
use crate::log::{self, Entry, News};
use crate::runtime::holder::{self, Found, Holder};
use crate::runtime::isolation::Game;
use crate::runtime::leftovers::{LEFTOVER_GRACE, Leftovers};
use crate::runtime::link::LinkEvent;
use crate::runtime::shim::{self, ShimProcess};
use crate::runtime::{Place, hex};
use crate::server::actor::{Actor, EVERYTHING, Looked, Run};
use crate::server::chronicle::{End, wall_ms};
use crate::server::record::RunRecord;
use crate::server::{LOG_DIR, Server};
use crate::stats::{self, Source};
use crate::tasks::blocking;

/// Pause between tries to reach a shim that holds the log but does not answer.
const RECONNECT_PAUSE: Duration = Duration::from_secs(2);

/// Which run was looked through, and whether a line of it says that it is ready.
pub(super) type Scanned = ([u8; 16], io::Result<bool>);

impl Actor {
    /// What was found at a start of the daemon, behind a launch, or when a lost connection to a shim was made again.
    pub(super) async fn take_up(&mut self, found: Found) {
        match found {
            Found::Running(holder) => self.join(holder).await,
            Found::Unreachable => self.out_of_reach().await,
            Found::Nobody if self.run.is_some() => self.gone(),
            Found::Nobody => self.find_end().await,
        }
    }

    /// A game whose shim answers: it goes on as if nothing had happened, also when an earlier daemon started it.
    async fn join(&mut self, holder: Holder) {
        let known = self.run.take();
        let place = Place::of(&self.node, self.server.id(), &holder, known.as_ref().map(|run| &run.place));
        let Holder { link, events, pid, shim_pid, state, start_ticks, run_id, game, .. } = holder;
        let record = match known {
            Some(_) => None,
            None => RunRecord::load(self.server.dir()).await.filter(|record| record.is_of(&hex(&run_id))),
        };
        let is_new = known.is_none();
        self.server.set_source(Some(Source { leaf: place.leaf.clone(), shim_pid, start_ticks }));
        self.server.update(|status| {
            status.pid = Some(pid);
            status.last_exit = None;
        });
        self.show_isolation(game).await;
        // When a lost connection was made again, its end may be read already.
        let exit = known.filter(|run| run.id == Some(run_id)).and_then(|run| run.exit);
        self.run = Some(Run { exit, shim: ShimProcess::of(shim_pid), ..Run::new(Some(run_id), place) });
        self.note_beginning(run_id).await;
        self.shim_gone = false;
        self.journal.hand_to_shim(link.clone()).await;
        self.link = Some(link);
        self.link_events = Some(events);
        self.look_for(EVERYTHING);
        self.resend_commands();
        if is_new {
            tracing::info!(server = %self.server.id(), pid, ?state, "found running");
            let began_ms = self.server.runs(|runs| runs.get(&hex(&run_id)).and_then(|run| run.started_at));
            let ran_ms = began_ms.map_or(0, |began_ms| wall_ms().saturating_sub(began_ms));
            let mut effects = self.recall(record.as_ref(), None, ran_ms);
            effects.extend(self.decide(adopted(record.as_ref(), Some(state))));
            self.carry_out(effects).await;
            stats::first(&self.server).await;
        } else {
            self.agree(state).await;
        }
        self.begin_scan(run_id);
        self.remember().await;
        if !self.deleting.is_empty() {
            let id = self.id();
            self.input(Input::Request { id, action: PowerAction::Kill, wait_ms: 0 }).await;
        }
    }

    /// What the shim of a known run says about the game is so. A stop that it has not heard of it hears now.
    async fn agree(&mut self, state: RunState) {
        match (state, self.power.state()) {
            (RunState::Running, State::Stopping) => {
                if let Some(until_ms) = self.power.grace_until() {
                    self.ask_to_stop(until_ms.saturating_sub(clock::mono_ms()));
                }
            }
            (RunState::Stopping, State::Starting | State::Running) => {
                self.input(Input::AdoptedStopping { wanted: Wanted::Down, ending: Ending::Asked }).await;
            }
            (RunState::Killing, State::Starting | State::Running) => {
                self.input(Input::AdoptedStopping { wanted: Wanted::Down, ending: Ending::Killed }).await;
            }
            _ => {}
        }
    }

    /// A shim holds the log and does not answer. Its game is there all the same: it shows as what it was, and can be killed.
    async fn out_of_reach(&mut self) {
        self.journal.hand_over().await;
        if self.run.is_none() {
            tracing::error!(server = %self.server.id(), "a shim holds the log but does not answer; it is tried again until it does");
            let record = RunRecord::load(self.server.dir()).await;
            let place = self.place(record.as_ref());
            let run = Run::new(record.as_ref().and_then(RunRecord::id), place);
            self.run = Some(Run { shim: record.as_ref().and_then(|record| record.shim), ..run });
            let mut effects = self.recall(record.as_ref(), None, 0);
            effects.extend(self.decide(adopted(record.as_ref(), None)));
            self.carry_out(effects).await;
            if let Some(id) = self.run.as_ref().and_then(|run| run.id) {
                self.begin_scan(id);
            }
        }
        if let Some(run) = self.run.as_mut().filter(|run| !run.shim.is_some_and(ShimProcess::is_there)) {
            let log = self.server.dir().join(LOG_DIR);
            run.shim = blocking(move || ShimProcess::holding(&log)).await.unwrap_or_default();
        }
        let (node, server, nudge) = (self.node.clone(), self.server.clone(), self.nudge.clone());
        self.reconnecting = Some(
            async move {
                // Whoever is nudged has something to look for; the pause's end is the ordinary case.
                let _ = tokio::time::timeout(RECONNECT_PAUSE, nudge.notified()).await;
                holder::find(&node.tasks, server.id(), server.dir()).await
            }
            .boxed(),
        );
    }

    /// No shim lives at a start of the daemon: if there was a run, it ended while nobody looked, in front of its shim or with it.
    async fn find_end(&mut self) {
        let record = RunRecord::load(self.server.dir()).await;
        let exit = match &record {
            Some(record) if !record.run_id.is_empty() => recorded_exit(&self.server, &record.run_id).await,
            _ => None,
        };
        if self.journal.take_back().await {
            self.look_for(EVERYTHING);
        }
        let place = self.place(record.as_ref());
        let left = Leftovers::of(self.server.id(), self.server.dir(), place.leaf.clone(), Vec::new()).exist().await;
        let input = match &record {
            Some(record) if !record.run_id.is_empty() => adopted(Some(record), None),
            // Of a start that came to nothing, or of nothing that is known: it has no holder and cannot stay.
            record if left => {
                let wanted =
                    if record.as_ref().is_some_and(|record| record.wanted) { Wanted::Up } else { Wanted::Down };
                Input::AdoptedStopping { wanted, ending: Ending::Asked }
            }
            Some(record) if record.crashes_in_a_row > 0 => {
                self.note_nobody().await;
                let effects = self.recall(Some(record), record.restart_in_ms(wall_ms()), 0);
                return self.carry_out(effects).await;
            }
            Some(_) => {
                self.note(
                    "The node was restarted while a start of this server was planned or under way; starting it."
                        .to_owned(),
                )
                .await;
                let id = self.id();
                return self.input(Input::Request { id, action: PowerAction::Start, wait_ms: 0 }).await;
            }
            None => return self.note_nobody().await,
        };
        let boot_id = record.as_ref().map(|record| record.boot_id.clone()).unwrap_or_default();
        let ran_ms = match record.as_ref().and_then(RunRecord::id) {
            Some(id) => self.lasted_ms(id).await,
            None => 0,
        };
        self.run = Some(Run { boot_id, ..Run::new(record.as_ref().and_then(RunRecord::id), place) });
        let mut effects = self.recall(record.as_ref(), None, ran_ms);
        effects.extend(self.decide(input));
        self.carry_out(effects).await;
        self.sweep(exit).await;
    }

    /// Tells the engine what an earlier daemon knew of crashes.
    fn recall(&mut self, record: Option<&RunRecord>, restart_in_ms: Option<u64>, ran_ms: u64) -> Vec<Effect> {
        let crashes_in_a_row = record.map_or(0, |record| record.crashes_in_a_row);
        if crashes_in_a_row == 0 {
            return Vec::new();
        }
        self.decide(Input::Recalled { crashes_in_a_row, restart_in_ms, ran_ms })
    }

    /// Looks through what the run has printed before this daemon looked, for whether it is ready.
    fn begin_scan(&mut self, run_id: [u8; 16]) {
        if self.power.state() != State::Starting || self.launching.is_some() || self.matcher.is_empty() {
            return;
        }
        let (dir, matcher, end) =
            (self.server.dir().join(LOG_DIR), self.matcher.clone(), self.server.console().hub().next());
        let scan = blocking(move || log::run_has_line(&dir, run_id, end, |text| matcher.matches(text)));
        self.scanning = Some(scan.map(move |found| (run_id, found.and_then(|found| found))).boxed());
    }

    pub(super) async fn scanned(&mut self, (run_id, found): Scanned) {
        match found {
            Ok(true) if self.run.as_ref().is_some_and(|run| run.id == Some(run_id)) => {
                self.input(Input::ReadyMatched).await;
            }
            Ok(_) => {}
            Err(error) => {
                tracing::error!(server = %self.server.id(), %error, "what the game printed before cannot be looked through; it counts as running when its time is over");
            }
        }
    }

    /// Shows what keeps the game apart; of a server without one, what its next one will have.
    pub(super) async fn show_isolation(&mut self, game: Game) {
        let (node, dir, definition) = (self.node.clone(), self.server.dir().clone(), self.definition.clone());
        // A node that is ending has nobody to show it to.
        if let Ok(isolation) = blocking(move || node.isolation(&dir, &definition, game)).await {
            self.server.update(|status| status.isolation = isolation);
        }
    }

    /// Where a run that nobody holds took place, or one whose holder does not answer.
    fn place(&self, record: Option<&RunRecord>) -> Place {
        let leaf = self.node.machine.existing(&self.server.id().short());
        match record {
            Some(record) if record.in_container => Place::contained(&self.node, self.server.id(), leaf),
            _ => Place { leaf, container: None },
        }
    }

    /// The shim is gone: the run is over when the log is read.
    pub(super) fn gone(&mut self) {
        self.shim_gone = true;
        self.look_for(EVERYTHING);
    }

    pub(super) async fn heard(&mut self, event: LinkEvent) {
        if let Some(run) = self.run.as_mut().filter(|_| !matches!(event, LinkEvent::Closed { .. })) {
            run.silent_since_ms = None;
        }
        match event {
            LinkEvent::Doorbell { pos } => self.look_for(pos),
            LinkEvent::Answered { id, outcome } => {
                self.journal.answered(id);
                self.answered(id, outcome).await;
            }
            LinkEvent::Alive => {}
            LinkEvent::Closed { shim_alive } => {
                self.link = None;
                self.link_events = None;
                self.journal.hand_over().await;
                if shim_alive {
                    let (node, server) = (self.node.clone(), self.server.clone());
                    let find = async move { holder::find(&node.tasks, server.id(), server.dir()).await };
                    self.reconnecting = Some(find.boxed());
                } else {
                    self.gone();
                }
            }
        }
    }

    /// Notes that the log has grown to a position, or, with [`EVERYTHING`], that all there is should be read.
    pub(super) fn look_for(&mut self, until: u64) {
        self.look_until = Some(self.look_until.map_or(until, |before| before.max(until)));
    }

    /// Starts a look if there is something to look for and none is under way.
    pub(super) fn look(&mut self) {
        if self.looking.is_some() {
            return;
        }
        let Some(until) = self.look_until else { return };
        let Some(mut tail) = self.tail.take() else { return };
        self.look_until = None;
        self.looking = Some(
            blocking(move || {
                let news = tail.look(until);
                (tail, until, news)
            })
            .boxed(),
        );
    }

    pub(super) async fn looked(&mut self, looked: io::Result<Looked>) {
        let news = looked.and_then(|(tail, until, news)| {
            self.tail = Some(tail);
            news.map(|news| (until, news))
        });
        match news {
            Ok((until, news)) => {
                if news.more {
                    self.look_for(until);
                }
                self.read(news).await;
            }
            // Viewers see the gap when the log can be read again; the next doorbell tries.
            Err(error) => tracing::error!(server = %self.server.id(), %error, "the console log cannot be read"),
        }
        if self.shim_gone && self.look_until.is_none() {
            self.finish().await;
        }
    }

    /// Hands lines to the viewers, then to those who look for something in them.
    async fn read(&mut self, news: News) {
        let ready = self.is_ready_by(&news.entries) || self.is_ready_by_prompt(&news.unfinished);
        let lines = news.entries.into_iter().filter_map(Entry::into_line).collect();
        self.server.console().hub().push(lines, news.next);
        if ready {
            self.input(Input::ReadyMatched).await;
        }
    }

    /// A game may say that it is ready with a prompt, whose line does not end before somebody types.
    fn is_ready_by_prompt(&self, unfinished: &str) -> bool {
        let is_asked = self.run.is_some() && self.power.state() == State::Starting;
        is_asked && !unfinished.is_empty() && self.matcher.matches(unfinished)
    }

    /// Looks for the run's end, and for whether it has become ready.
    pub(super) fn is_ready_by(&mut self, entries: &[Entry]) -> bool {
        let mut ready = false;
        let mut current = self.run.is_some();
        let starting = self.power.state() == State::Starting;
        for entry in entries {
            match entry {
                Entry::Line { line, output } => {
                    ready = ready || (starting && *output && self.matcher.matches(line.said()));
                }
                Entry::Started(start) => {
                    // Output and end of an earlier run say nothing about this one.
                    ready = false;
                    current = self.run.as_ref().is_some_and(|run| run.id == Some(start.run_id));
                    if let Some(run) = self.run.as_mut().filter(|_| current) {
                        run.exit = None;
                    }
                }
                Entry::Exited(exit) => {
                    if let Some(run) = self.run.as_mut().filter(|_| current) {
                        run.exit = Some(*exit);
                    }
                }
            }
        }
        ready
    }

    /// The shim is gone and the log is read: the run is over when nothing of it is left.
    async fn finish(&mut self) {
        self.shim_gone = false;
        let Some(run) = &mut self.run else { return };
        run.shim = None;
        let (exit, id) = (run.exit, run.id);
        self.server.set_source(None);
        self.end_commands();
        let exit = match (exit, id) {
            (None, Some(id)) => recorded_exit(&self.server, &hex(&id)).await,
            (exit, _) => exit,
        };
        if self.journal.take_back().await {
            self.look_for(EVERYTHING);
        }
        self.sweep(exit).await;
    }

    /// Sees to it that nothing of the run is left. A shim that has seen its game's end has done that itself; what one leaves that
    /// was killed has had its SIGTERM from the kernel, and gets a while to save.
    async fn sweep(&mut self, exit: Option<spool::ExitPayload>) {
        let Some(run) = &self.run else { return };
        let left = Leftovers::of(self.server.id(), self.server.dir(), run.place.leaf.clone(), self.server.seen());
        if exit.is_none() && left.exist().await {
            self.input(Input::Orphaned).await;
        }
        self.no_mercy = CancellationToken::new();
        // Stopping with no grace left: somebody has said kill.
        let is_killed = self.power.state() == State::Stopping
            && self.power.wanted() == Wanted::Down
            && self.power.grace_until().is_none();
        let grace = if exit.is_some() || is_killed { Duration::ZERO } else { LEFTOVER_GRACE };
        let (node, dir, no_mercy) = (self.node.clone(), self.server.dir().clone(), self.no_mercy.clone());
        self.sweeping = Some(
            async move {
                left.end(grace, no_mercy).await;
                // A node that is ending leaves it to the next one.
                let _ = blocking(move || node.ladder.clear_memory(&dir)).await;
                exit
            }
            .boxed(),
        );
    }

    /// A run has ended, and nothing of it is left; without `exit` nobody saw how, and its shim with it.
    pub(super) async fn ended(&mut self, exit: Option<spool::ExitPayload>) {
        let Some(run) = self.run.take() else { return };
        let line = self.server.console().hub().next();
        let out_of_memory = run.place.leaf.out_of_memory();
        run.place.remove().await;
        let input = match exit {
            Some(exit) => {
                let kind =
                    exit.signal().map_or_else(|| ExitKind::Code(exit.code().unwrap_or_default()), ExitKind::Signal);
                Input::Exited(Exit { kind, oom: exit.oom || out_of_memory })
            }
            None => {
                self.journal.lost().await;
                let reason = match shim::boot_id() {
                    now if now != run.boot_id && !run.boot_id.is_empty() => "the machine was restarted",
                    _ => "the process that held the game was killed",
                };
                Input::Lost { reason: reason.to_owned() }
            }
        };
        self.look_for(EVERYTHING);
        let effects = self.decide(input);
        let last_exit = match run.id {
            Some(run_id) => Some(self.note_end(run_id, End::of(exit, line, &self.power, &effects)).await),
            None => None,
        };
        // Whoever is told that it is offline can read how that came about.
        self.server.update(|status| (status.pid, status.last_exit) = (None, last_exit));
        self.show_isolation(Game::Absent).await;
        self.carry_out(effects).await;
    }

    /// Keeps what a daemon after us needs to know of the run.
    pub(super) async fn remember(&mut self) {
        let wanted = self.power.wanted() == Wanted::Up;
        let crashes_in_a_row = self.power.crashes_in_a_row();
        let worth_it = self.run.is_some() || wanted || crashes_in_a_row > 0;
        let record = worth_it.then(|| RunRecord {
            run_id: self.run.as_ref().and_then(|run| run.id.as_ref().map(hex)).unwrap_or_default(),
            state: self.power.state(),
            wanted,
            shim: self.run.as_ref().and_then(|run| run.shim),
            in_container: self.run.as_ref().is_some_and(|run| run.place.container.is_some()),
            boot_id: self.run.as_ref().map(|run| run.boot_id.clone()).unwrap_or_default(),
            crashes_in_a_row,
            restart_at_ms: self.server.status().borrow().restart_at_ms,
        });
        if self.remembered == record {
            return;
        }
        match &record {
            Some(record) => {
                if let Err(error) = record.save(self.server.dir()).await {
                    tracing::error!(server = %self.server.id(), %error, "the state of the run is not saved: a restarted daemon may show it wrong");
                }
            }
            None => RunRecord::remove(self.server.dir()).await,
        }
        self.remembered = record;
    }
}

/// How a run ended, from the file that is there even when the disk was too full for the log.
async fn recorded_exit(server: &Server, run_id: &str) -> Option<spool::ExitPayload> {
    let dir = server.dir().join(LOG_DIR);
    let read = blocking(move || spool::exit::read(&dir)).await.and_then(|read| read);
    let exit = read.unwrap_or_else(|error| {
        tracing::error!(server = %server.id(), %error, "the record of the last run's end cannot be read");
        None
    });
    exit.filter(|exit| hex(&exit.run_id) == run_id).map(|record| record.exit)
}

/// What the engine is told of a run that this daemon did not start. What its shim sees goes before what an earlier daemon wrote down:
/// that may have ended before it could.
fn adopted(record: Option<&RunRecord>, shim: Option<RunState>) -> Input {
    let (state, wanted) = record.map_or((State::Running, true), |record| (record.state, record.wanted));
    let was_stopping = state == State::Stopping;
    let ending = match shim {
        Some(RunState::Killing) => Some(Ending::Killed),
        Some(RunState::Stopping) => Some(Ending::Asked),
        Some(RunState::Running) => was_stopping.then_some(Ending::Unasked),
        // Its end is its own, unless one was asked for.
        Some(RunState::Ended) | None => was_stopping.then_some(Ending::Asked),
    };
    match ending {
        Some(ending) => {
            let wanted = if was_stopping && wanted { Wanted::Up } else { Wanted::Down };
            Input::AdoptedStopping { wanted, ending }
        }
        None => Input::Adopted { matched: state != State::Starting },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(state: State, wanted: bool) -> RunRecord {
        let (run_id, boot_id) = ("x".to_owned(), String::new());
        RunRecord {
            run_id,
            state,
            wanted,
            shim: None,
            in_container: false,
            boot_id,
            crashes_in_a_row: 0,
            restart_at_ms: None,
        }
    }

    #[test]
    fn what_the_shim_sees_goes_before_what_was_written_down() {
        let stopping = |wanted, ending| Input::AdoptedStopping { wanted, ending };
        let running = record(State::Running, true);
        assert_eq!(adopted(Some(&running), Some(RunState::Stopping)), stopping(Wanted::Down, Ending::Asked));
        assert_eq!(adopted(Some(&running), Some(RunState::Killing)), stopping(Wanted::Down, Ending::Killed));
        assert_eq!(adopted(Some(&running), Some(RunState::Running)), Input::Adopted { matched: true });
        assert_eq!(adopted(Some(&running), Some(RunState::Ended)), Input::Adopted { matched: true });
        assert_eq!(adopted(None, Some(RunState::Stopping)), stopping(Wanted::Down, Ending::Asked));
        let starting = record(State::Starting, true);
        assert_eq!(adopted(Some(&starting), Some(RunState::Running)), Input::Adopted { matched: false });
        // A restart was asked for and its stop had not reached the shim: it does now.
        let restarting = record(State::Stopping, true);
        assert_eq!(adopted(Some(&restarting), Some(RunState::Running)), stopping(Wanted::Up, Ending::Unasked));
        assert_eq!(adopted(Some(&restarting), Some(RunState::Stopping)), stopping(Wanted::Up, Ending::Asked));
        assert_eq!(adopted(Some(&restarting), None), stopping(Wanted::Up, Ending::Asked));
    }
}
