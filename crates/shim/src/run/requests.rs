//! What daemons ask for.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use spool::InPayload;
use spool::message::{Hello, Outcome, Reply, Request, RunState, Scope, StopBy, VERSION_MAX, VERSION_MIN};

use super::{Phase, Run};
use crate::input::without_newline;
use crate::{now_ms, tree};

impl Run {
    /// Does it, and returns what to answer, if anything.
    pub(super) fn deal(&mut self, request: Request<'_>) -> Option<Reply> {
        match request {
            Request::Hello => return Some(Reply::Hello(self.hello())),
            Request::Write { request_id, user, bytes } => {
                let outcome = self.write(request_id, user, bytes);
                return Some(Reply::Answer { request_id, outcome });
            }
            Request::Note { request_id, text } => {
                let outcome = if self.known_ids.contains(request_id) {
                    Outcome::AlreadyDone
                } else {
                    self.known_ids.add(request_id);
                    // If the disk does not take it, it is counted with what else is missing.
                    let _ = self.writer.append_note(text, now_ms());
                    Outcome::Accepted
                };
                return Some(Reply::Answer { request_id, outcome });
            }
            Request::Signal { signal, scope } => self.signal(signal, scope),
            Request::Stop { grace_ms, by } => self.stop(grace_ms, by),
            Request::Resize { rows, columns } => self.console.resize(rows, columns),
            Request::Kill => self.kill(),
            Request::Unknown { letter } => return Some(Reply::Unknown { letter }),
        }
        None
    }

    pub(super) fn hello(&self) -> Hello {
        let (pos, line) = self.writer.position();
        let losses = self.writer.losses();
        Hello {
            versions: (VERSION_MIN, VERSION_MAX),
            state: match self.phase {
                Phase::Running => RunState::Running,
                Phase::Stopping { .. } => RunState::Stopping,
                Phase::Killing { .. } => RunState::Killing,
                Phase::Draining { .. } | Phase::Clearing { .. } | Phase::Over { .. } => RunState::Ended,
            },
            terminal: self.console.terminal,
            shim_pid: std::process::id(),
            game_pid: self.game.pid_number(),
            start_ticks: self.game.start_ticks,
            started_ms: self.game.started_ms,
            run_id: self.game.run_id,
            pos,
            line,
            lost_bytes: losses.bytes,
            lost_lines: losses.lines,
            queued_bytes: u32::try_from(self.input.queued_bytes()).unwrap_or(u32::MAX),
            rungs: Some(self.game.rungs),
            build: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// Whether the game can be talked to.
    fn is_alive(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Stopping { .. })
    }

    fn write(&mut self, request_id: u64, user: &str, bytes: &[u8]) -> Outcome {
        if self.known_ids.contains(request_id) {
            return Outcome::AlreadyDone;
        }
        if !self.is_alive() {
            return Outcome::NotRunning;
        }
        if self.input.is_closed() {
            return Outcome::InputClosed;
        }
        if !self.input.has_room_for(bytes.len()) {
            return Outcome::Busy;
        }
        self.known_ids.add(request_id);
        self.input_for_game(&InPayload { request_id, user, bytes: without_newline(bytes) }, bytes);
        self.flush_input();
        Outcome::Accepted
    }

    /// First the log, then the game: what it answers comes after what was asked. Returns where the bytes end in the input.
    fn input_for_game(&mut self, payload: &InPayload<'_>, bytes: &[u8]) -> u64 {
        let _ = self.writer.append_in(payload, now_ms());
        self.input.push(bytes)
    }

    pub(super) fn signal(&mut self, signal: i32, scope: Scope) {
        let Some(signal) = Signal::from_named_raw(signal).filter(|_| self.is_alive()) else { return };
        // Only while the main process has not been waited for, so its number is its own.
        let game = self.game.pid;
        match scope {
            Scope::Main => drop(rustix::process::kill_process(game, signal)),
            Scope::Group => drop(rustix::process::kill_process_group(game, signal)),
            Scope::All => tree::signal_all(Some(game), signal),
        }
    }

    /// The engine that runs our container stops it, and will kill all that is in it soon: the game gets the chance to save.
    pub(super) fn asked_to_end(&mut self) {
        self.note("The container is being stopped from outside; the game gets SIGTERM.");
        self.signal(Signal::TERM.as_raw(), Scope::Group);
    }

    fn stop(&mut self, grace_ms: u32, by: StopBy<'_>) {
        if !self.is_alive() {
            return;
        }
        let deadline = Instant::now() + Duration::from_millis(u64::from(grace_ms));
        // Asked before: then a closed input may just mean that it is about to end, and only the deadline is new.
        let earlier = if let Phase::Stopping { command_end, .. } = self.phase { Some(command_end) } else { None };
        self.phase = Phase::Stopping { deadline, command_end: earlier.flatten() };
        match by {
            StopBy::Signal(signal) => self.signal(signal, Scope::Group),
            StopBy::Input([]) => {}
            StopBy::Input(_) if self.input.is_closed() => {
                if earlier.is_none() {
                    self.stop_without_input();
                }
            }
            // Taken even if the queue is full: the deadline is near, and a stop cannot be asked to come again.
            StopBy::Input(bytes) => {
                let command = InPayload { request_id: 0, user: "", bytes: without_newline(bytes) };
                let end = self.input_for_game(&command, bytes);
                self.phase = Phase::Stopping { deadline, command_end: earlier.unwrap_or(Some(end)) };
                self.flush_input();
            }
        }
    }
}
