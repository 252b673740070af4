//! The life of one run inside its server's actor: joined to a shim, followed in the log, ended.
//!
//! That a run has ended is known when two things have happened: the shim is gone, and the log is read to its end.

use std::io;
use std::time::Duration;

use engine::power::{Exit, ExitKind, Input, Wanted};
use futures_util::FutureExt;
use spool::message::Outcome;
use wire::ids::Seq;
use wire::server::{PowerAction, State};

use crate::log::Entry;
use crate::runtime::cgroup::Leaf;
use crate::runtime::link::LinkEvent;
use crate::runtime::process::{self, Found, Holder, hex};
use crate::server::actor::{Actor, EVERYTHING, Looked, Run};
use crate::server::record::RunRecord;
use crate::server::{LOG_DIR, Refused, RefusedKind, Server};
use crate::stats::{self, Source};
use crate::tasks::blocking;

/// Pause between tries to reach a shim that holds the log but does not answer.
const RECONNECT_PAUSE: Duration = Duration::from_secs(2);

impl Actor {
    async fn attach(&mut self, holder: Holder, leaf: Leaf) {
        let Holder { link, events, pid, shim_pid, start_ticks, run_id, .. } = holder;
        self.server.set_source(Some(Source { leaf: leaf.clone(), shim_pid, start_ticks }));
        self.server.update(|status| {
            status.pid = Some(pid);
            status.last_exit = None;
        });
        // When a lost connection was made again, its end may be read already.
        let exit = self.run.take().filter(|run| run.id == run_id).and_then(|run| run.exit);
        self.run = Some(Run { id: run_id, exit, leaf, shim_pid: Some(shim_pid), kills: 0 });
        self.shim_gone = false;
        self.journal.hand_to_shim(link.clone()).await;
        self.link = Some(link);
        self.link_events = Some(events);
        self.look_for(EVERYTHING);
    }

    /// What was found at a start of the daemon, behind a launch, or when a lost connection to a shim was made again.
    pub(super) async fn take_up(&mut self, found: Found) {
        match found {
            Found::Running(holder) if self.run.as_ref().is_some_and(|run| run.id == holder.run_id) => {
                let leaf = self.run.as_ref().map_or_else(|| self.leaf(), |run| run.leaf.clone());
                self.attach(holder, leaf).await;
                // What was sent and not answered is sent again under its number, which the shim carries out once.
                for (id, command) in std::mem::take(&mut self.commands) {
                    self.write(id, command);
                }
            }
            Found::Running(holder) => self.adopt(holder).await,
            Found::Unreachable => {
                tracing::error!(server = %self.server.id(), "a shim holds the log but does not answer; trying again");
                self.journal.hand_over().await;
                let (node, server) = (self.node.clone(), self.server.clone());
                self.reconnecting = Some(
                    async move {
                        tokio::time::sleep(RECONNECT_PAUSE).await;
                        process::find(&node.tasks, server.id(), server.dir()).await
                    }
                    .boxed(),
                );
            }
            Found::Nobody if self.run.is_some() => self.gone(),
            Found::Nobody => self.find_end().await,
        }
    }

    /// A game that an earlier daemon started, alive: it goes on as if nothing had happened.
    async fn adopt(&mut self, holder: Holder) {
        let record = RunRecord::load(self.server.dir()).await.filter(|record| record.is_of(&hex(&holder.run_id)));
        let (state, wanted) = record.map_or((State::Running, true), |record| (record.state, record.wanted));
        tracing::info!(server = %self.server.id(), pid = holder.pid, %state, "found running");
        let leaf = self.leaf();
        self.attach(holder, leaf).await;
        self.input(adopted(state, wanted)).await;
        stats::first(&self.server).await;
        if !self.deleting.is_empty() {
            let id = self.id();
            self.input(Input::Request { id, action: PowerAction::Kill, wait_ms: 0 }).await;
        }
    }

    /// No shim lives at a start of the daemon: if there was a run, it ended while nobody looked, in front of its shim or with it.
    async fn find_end(&mut self) {
        let Some(record) = RunRecord::load(self.server.dir()).await else {
            if self.journal.take_back().await {
                self.look_for(EVERYTHING);
            }
            return;
        };
        if record.run_id.is_empty() {
            if self.journal.take_back().await {
                self.look_for(EVERYTHING);
            }
            self.note(
                "The node was restarted while a start of this server was planned or under way; starting it.".to_owned(),
            )
            .await;
            let id = self.id();
            self.input(Input::Request { id, action: PowerAction::Start, wait_ms: 0 }).await;
            return;
        }
        let exit = recorded_exit(&self.server, &record.run_id).await;
        self.input(adopted(record.state, record.wanted)).await;
        let leaf = self.leaf();
        self.ended(exit, &leaf).await;
    }

    fn leaf(&self) -> Leaf {
        self.node.machine.existing(&self.server.id().short())
    }

    /// The shim is gone: the run is over when the log is read.
    pub(super) fn gone(&mut self) {
        self.shim_gone = true;
        self.look_for(EVERYTHING);
    }

    pub(super) async fn heard(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Doorbell { pos } => self.look_for(pos),
            LinkEvent::Answered { id, outcome } => {
                let result = match outcome {
                    Outcome::Accepted | Outcome::AlreadyDone => Ok(()),
                    Outcome::Busy => {
                        Err((RefusedKind::Busy, "the game does not read its input; the command was not sent"))
                    }
                    Outcome::NotRunning => Err((RefusedKind::Offline, "the game is ending; the command was not sent")),
                    Outcome::InputClosed => {
                        Err((RefusedKind::Invalid, "the game has closed its input; the command was not sent"))
                    }
                };
                self.answered(id, result.map_err(|(kind, text)| Refused::new(kind, text))).await;
            }
            LinkEvent::Closed { shim_alive } => {
                self.link = None;
                self.link_events = None;
                self.journal.hand_over().await;
                if shim_alive {
                    let (node, server) = (self.node.clone(), self.server.clone());
                    let find = async move { process::find(&node.tasks, server.id(), server.dir()).await };
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
                self.read(news.entries, news.next).await;
            }
            // Viewers see the gap when the log can be read again; the next doorbell tries.
            Err(error) => tracing::error!(server = %self.server.id(), %error, "the console log cannot be read"),
        }
        if self.shim_gone && self.look_until.is_none() {
            self.finish().await;
        }
    }

    /// Hands lines to the viewers, then to those who look for something in them.
    async fn read(&mut self, entries: Vec<Entry>, next: Seq) {
        let ready = self.is_ready_by(&entries);
        self.server.console().hub().push(entries.into_iter().filter_map(Entry::into_line).collect(), next);
        if ready {
            self.input(Input::ReadyMatched).await;
        }
    }

    /// Looks for the run's end, and for whether it has become ready.
    pub(super) fn is_ready_by(&mut self, entries: &[Entry]) -> bool {
        let mut ready = false;
        let mut current = self.run.is_some();
        let starting = self.power.state() == State::Starting;
        for entry in entries {
            match entry {
                Entry::Line { line, output } => {
                    ready = ready || (starting && *output && self.matcher.matches(&line.text));
                }
                Entry::Started(start) => {
                    // Output and end of an earlier run say nothing about this one.
                    ready = false;
                    current = self.run.as_ref().is_some_and(|run| run.id == start.run_id);
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

    /// The shim is gone and the log is read: the run is over.
    async fn finish(&mut self) {
        self.shim_gone = false;
        let Some(run) = self.run.take() else { return };
        self.server.set_source(None);
        let unanswered: Vec<u64> = self.commands.keys().copied().collect();
        for id in unanswered {
            let text = "the game ended; whether it read the command is not known";
            self.answered(id, Err(Refused::new(RefusedKind::Offline, text))).await;
        }
        let exit = match run.exit {
            Some(exit) => Some(exit),
            None => recorded_exit(&self.server, &hex(&run.id)).await,
        };
        self.ended(exit, &run.leaf).await;
    }

    /// A run has ended; without `exit` nobody saw how, and its shim with it. Nothing of it may be left.
    async fn ended(&mut self, exit: Option<spool::ExitPayload>, leaf: &Leaf) {
        leaf.kill();
        if exit.is_none() {
            process::kill_leftovers(self.server.id()).await;
        }
        let out_of_memory = leaf.out_of_memory();
        leaf.remove();
        self.journal.take_back().await;
        let input = match exit {
            Some(exit) => {
                let kind =
                    exit.signal().map_or_else(|| ExitKind::Code(exit.code().unwrap_or_default()), ExitKind::Signal);
                Input::Exited(Exit { kind, oom: exit.oom || out_of_memory })
            }
            None => {
                self.journal.lost().await;
                Input::Lost { reason: "the process that held the game was killed, or the machine restarted".to_owned() }
            }
        };
        self.look_for(EVERYTHING);
        self.input(input).await;
        let last_exit = self.power.last_exit().map(ToString::to_string);
        self.server.update(|status| {
            status.pid = None;
            status.last_exit = last_exit;
        });
    }

    /// Keeps what a daemon after us needs to know of the run.
    pub(super) async fn remember(&mut self) {
        let wanted = self.power.wanted() == Wanted::Up;
        let run_id = self.run.as_ref().map(|run| hex(&run.id)).unwrap_or_default();
        let worth_it = self.run.is_some() || wanted;
        let record = worth_it.then(|| RunRecord { run_id, state: self.power.state(), wanted });
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

/// What the engine is told of a run that this daemon did not start.
fn adopted(state: State, wanted: bool) -> Input {
    match state {
        State::Stopping => Input::AdoptedStopping { wanted: if wanted { Wanted::Up } else { Wanted::Down } },
        state => Input::Adopted { matched: state != State::Starting },
    }
}
