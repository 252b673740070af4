//! The life of a process: launched, ready, ended, and what follows an end that nobody asked for.

use super::exit::SIGKILL;
use super::{
    Effect, End, Ending, Exit, ExitKind, KILL_REPEAT_MS, Phase, Power, Refusal, SUSPEND_GRACE_MS, Start, Wanted, note,
};

impl Power {
    pub(super) fn launch(&mut self, start: Start, out: &mut Vec<Effect>) {
        self.wanted = Wanted::Up;
        self.enter(Phase::Launching { start, ready: false, end: None }, out);
        out.push(Effect::Launch);
    }

    pub(super) fn launched(&mut self, now_ms: u64, out: &mut Vec<Effect>) {
        let Phase::Launching { start, ready, end } = self.phase else { return };
        if let Start::Request(id) = start {
            out.push(Effect::Reply { id, result: Ok(()) });
        }
        match end {
            None => self.settle_from(now_ms, ready, out),
            Some(End::Stop { grace_ms }) => self.ask_to_stop(now_ms, grace_ms, out),
            Some(End::Kill) => self.kill_all(now_ms, out),
        }
    }

    fn settle_from(&mut self, now_ms: u64, ready: bool, out: &mut Vec<Effect>) {
        let settle_at_ms = now_ms.saturating_add(self.settings.settle_after_ms());
        self.enter(Phase::Starting { launched_ms: now_ms, settle_at_ms }, out);
        if ready {
            self.ready(out);
        }
    }

    pub(super) fn ready(&mut self, out: &mut Vec<Effect>) {
        match &mut self.phase {
            // The first lines may be read before the launch is reported.
            Phase::Launching { ready, .. } => *ready = true,
            Phase::Starting { launched_ms, .. } => {
                let launched_ms = *launched_ms;
                self.enter(Phase::Running { launched_ms }, out);
            }
            Phase::Offline { .. } | Phase::Running { .. } | Phase::Orphaned { .. } | Phase::Stopping { .. } => {}
        }
    }

    pub(super) fn launch_failed(&mut self, now_ms: u64, reason: String, out: &mut Vec<Effect>) {
        let Phase::Launching { start, end, .. } = self.phase else { return };
        self.enter(Phase::Offline { restart_at_ms: None }, out);
        out.push(Effect::Note(note::launch_failed(&reason)));
        match (start, end) {
            (Start::Planned, None) if self.settings.crash.enabled => {
                return self.back_off(now_ms, Exit { kind: ExitKind::Lost, oom: false }, out);
            }
            (Start::Request(id), _) => out.push(Effect::Reply { id, result: Err(Refusal::LaunchFailed(reason)) }),
            (Start::Planned | Start::Answered, _) => {}
        }
        self.wanted = Wanted::Down;
    }

    pub(super) fn adopted(&mut self, now_ms: u64, matched: bool, out: &mut Vec<Effect>) {
        match self.phase {
            Phase::Offline { .. } => {
                self.wanted = Wanted::Up;
                if matched {
                    self.enter(Phase::Running { launched_ms: now_ms }, out);
                } else {
                    self.settle_from(now_ms, false, out);
                }
                if self.settings.suspended {
                    self.ask_to_stop(now_ms, self.settings.grace_ms().min(SUSPEND_GRACE_MS), out);
                    out.push(Effect::Note(note::suspended()));
                }
            }
            Phase::Launching { .. } => {
                if matched {
                    self.ready(out);
                }
                self.launched(now_ms, out);
            }
            Phase::Starting { .. } if matched => self.ready(out),
            Phase::Starting { .. } | Phase::Running { .. } | Phase::Orphaned { .. } | Phase::Stopping { .. } => {}
        }
    }

    /// The count goes on where an earlier daemon left it, and so does the wait for a restart.
    pub(super) fn recalled(&mut self, now_ms: u64, in_a_row: u32, restart_in_ms: Option<u64>, out: &mut Vec<Effect>) {
        if !matches!(self.phase, Phase::Offline { .. }) {
            return;
        }
        self.crashes_in_a_row = in_a_row;
        let policy = &self.settings.crash;
        let Some(wait_ms) = restart_in_ms.filter(|_| policy.enabled && !self.settings.suspended) else { return };
        let wait_ms = wait_ms.min(policy.delay_ms(in_a_row).unwrap_or(0));
        self.wanted = Wanted::Up;
        self.phase = Phase::Offline { restart_at_ms: Some(now_ms.saturating_add(wait_ms)) };
        out.push(Effect::Note(note::restart_recalled(policy, in_a_row, wait_ms)));
    }

    /// Also of a process that counted as starting or running until its holder could be asked.
    pub(super) fn adopted_stopping(&mut self, now_ms: u64, wanted: Wanted, ending: Ending, out: &mut Vec<Effect>) {
        if !matches!(self.phase, Phase::Offline { .. } | Phase::Starting { .. } | Phase::Running { .. }) {
            return;
        }
        let grace_ms = self.settings.grace_ms();
        match ending {
            Ending::Unasked => self.ask_to_stop(now_ms, grace_ms, out),
            Ending::Asked => {
                self.enter(Phase::Stopping { kill_at_ms: now_ms.saturating_add(grace_ms), killed: false }, out);
            }
            // Its holder is at it; it is told so again if that does not help.
            Ending::Killed => {
                self.enter(Phase::Stopping { kill_at_ms: now_ms.saturating_add(KILL_REPEAT_MS), killed: true }, out);
            }
        }
        self.wanted = if self.settings.suspended { Wanted::Down } else { wanted };
    }

    pub(super) fn orphaned(&mut self, out: &mut Vec<Effect>) {
        if let Phase::Starting { launched_ms, .. } | Phase::Running { launched_ms } = self.phase {
            self.enter(Phase::Orphaned { launched_ms }, out);
            out.push(Effect::Note(note::orphaned()));
        }
    }

    pub(super) fn lost(&mut self, now_ms: u64, reason: String, out: &mut Vec<Effect>) {
        match self.phase {
            Phase::Offline { .. } => {}
            Phase::Launching { .. } => self.launch_failed(now_ms, reason, out),
            Phase::Starting { .. } | Phase::Running { .. } | Phase::Orphaned { .. } | Phase::Stopping { .. } => {
                out.push(Effect::Note(note::lost(&reason)));
                self.exited(now_ms, Exit { kind: ExitKind::Lost, oom: false }, out);
            }
        }
    }

    pub(super) fn exited(&mut self, now_ms: u64, exit: Exit, out: &mut Vec<Effect>) {
        match self.phase {
            // Already known to be gone.
            Phase::Offline { .. } => {}
            Phase::Launching { start, end, .. } => {
                // It was there, if only for a moment: the launch itself was no failure.
                if let Start::Request(id) = start {
                    out.push(Effect::Reply { id, result: Ok(()) });
                }
                match end {
                    None => self.ended_by_itself(now_ms, now_ms, exit, out),
                    Some(_) => self.ended_as_asked(exit, false, out),
                }
            }
            Phase::Starting { launched_ms, .. } | Phase::Running { launched_ms } | Phase::Orphaned { launched_ms } => {
                self.ended_by_itself(now_ms, launched_ms, exit, out);
            }
            Phase::Stopping { killed, .. } => self.ended_as_asked(exit, !killed, out),
        }
    }

    fn ended_as_asked(&mut self, exit: Exit, in_grace: bool, out: &mut Vec<Effect>) {
        (self.last_exit, self.has_crashed) = (Some(exit), false);
        self.enter(Phase::Offline { restart_at_ms: None }, out);
        // The process' holder keeps the grace as well, and is often the first to act when it is over.
        if in_grace && exit.kind == ExitKind::Signal(SIGKILL) {
            out.push(Effect::Note(note::killed_after_grace()));
        }
        if self.wanted == Wanted::Up {
            self.launch(Start::Answered, out);
        }
    }

    fn ended_by_itself(&mut self, now_ms: u64, launched_ms: u64, exit: Exit, out: &mut Vec<Effect>) {
        (self.last_exit, self.has_crashed) = (Some(exit), !self.settings.is_success(&exit));
        self.enter(Phase::Offline { restart_at_ms: None }, out);
        if now_ms.saturating_sub(launched_ms) >= self.settings.crash.stable_after_ms() {
            self.crashes_in_a_row = 0;
        }
        if self.settings.is_success(&exit) {
            self.crashes_in_a_row = 0;
            self.wanted = Wanted::Down;
            out.push(Effect::Note(note::ended(&exit)));
        } else if self.settings.crash.enabled {
            out.push(Effect::Note(note::crashed(&exit)));
            self.back_off(now_ms, exit, out);
        } else {
            self.crashes_in_a_row = 0;
            self.wanted = Wanted::Down;
            out.push(Effect::Note(note::crashed_undetected(&exit)));
            out.push(Effect::Crashed { exit, in_a_row: 1, restart_at_ms: None });
        }
    }

    /// Plans the next start after a crash, or gives up.
    fn back_off(&mut self, now_ms: u64, exit: Exit, out: &mut Vec<Effect>) {
        self.crashes_in_a_row = self.crashes_in_a_row.saturating_add(1);
        let (policy, in_a_row) = (&self.settings.crash, self.crashes_in_a_row);
        let delay_ms = policy.delay_ms(in_a_row);
        let restart_at_ms = delay_ms.map(|delay_ms| now_ms.saturating_add(delay_ms));
        let text = match delay_ms {
            Some(delay_ms) => note::restart_planned(policy, in_a_row, delay_ms),
            None => note::given_up(policy, in_a_row),
        };
        out.push(Effect::Note(text));
        out.push(Effect::Crashed { exit, in_a_row, restart_at_ms });
        self.wanted = if restart_at_ms.is_some() { Wanted::Up } else { Wanted::Down };
        self.phase = Phase::Offline { restart_at_ms };
    }
}
