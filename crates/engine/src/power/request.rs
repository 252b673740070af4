//! Requests: what each power action does in each state, who has to wait, and suspension.

use wire::server::{PowerAction, State};

use super::{
    Effect, End, KILL_REPEAT_MS, Phase, Power, Refusal, SUSPEND_GRACE_MS, Settings, Start, WAIT_MS_MAX, WAITING_MAX,
    Waiting, Wanted, note,
};

/// What comes of a request.
enum Answer {
    Now(Result<(), Refusal>),
    /// When the launch has succeeded or failed.
    Later,
}

impl Power {
    pub(super) fn request(&mut self, now_ms: u64, id: u64, action: PowerAction, wait_ms: u64, out: &mut Vec<Effect>) {
        let result = match self.answer(now_ms, id, action, out) {
            Answer::Later => return,
            Answer::Now(Err(Refusal::Busy(_))) if wait_ms > 0 => {
                if self.waiting.len() < WAITING_MAX {
                    let until_ms = now_ms.saturating_add(wait_ms.min(WAIT_MS_MAX));
                    self.waiting.push_back(Waiting { id, action, until_ms });
                    return;
                }
                Err(Refusal::TooManyWaiting)
            }
            Answer::Now(result) => result,
        };
        out.push(Effect::Reply { id, result });
    }

    /// Requests that waited get their turn in the order they came, until one finds the server busy again.
    pub(super) fn serve_waiting(&mut self, now_ms: u64, out: &mut Vec<Effect>) {
        while let Some(first) = self.waiting.pop_front() {
            match self.answer(now_ms, first.id, first.action, out) {
                Answer::Now(Err(Refusal::Busy(_))) => return self.waiting.push_front(first),
                Answer::Now(result) => out.push(Effect::Reply { id: first.id, result }),
                Answer::Later => {}
            }
        }
    }

    fn answer(&mut self, now_ms: u64, id: u64, action: PowerAction, out: &mut Vec<Effect>) -> Answer {
        match action {
            PowerAction::Kill => self.kill(now_ms, out),
            PowerAction::Stop => Answer::Now(self.stop(now_ms, out)),
            PowerAction::Start | PowerAction::Restart if self.settings.suspended => {
                Answer::Now(Err(Refusal::Suspended))
            }
            PowerAction::Start => self.start(id, out),
            PowerAction::Restart => self.restart(now_ms, id, out),
        }
    }

    fn start(&mut self, id: u64, out: &mut Vec<Effect>) -> Answer {
        match self.phase {
            Phase::Offline { .. } => {
                self.crashes_in_a_row = 0;
                self.launch(Start::Request(id), out);
                Answer::Later
            }
            Phase::Launching { end: None, .. } | Phase::Starting { .. } | Phase::Running { .. } => {
                Answer::Now(Err(Refusal::AlreadyRunning(self.state())))
            }
            Phase::Launching { end: Some(_), .. } | Phase::Orphaned { .. } | Phase::Stopping { .. } => self.busy(),
        }
    }

    fn restart(&mut self, now_ms: u64, id: u64, out: &mut Vec<Effect>) -> Answer {
        match self.phase {
            Phase::Offline { .. } => self.start(id, out),
            Phase::Launching { .. } | Phase::Orphaned { .. } | Phase::Stopping { .. } => self.busy(),
            Phase::Starting { .. } | Phase::Running { .. } => {
                self.crashes_in_a_row = 0;
                self.ask_to_stop(now_ms, self.settings.grace_ms(), out);
                self.wanted = Wanted::Up;
                Answer::Now(Ok(()))
            }
        }
    }

    fn stop(&mut self, now_ms: u64, out: &mut Vec<Effect>) -> Result<(), Refusal> {
        let grace_ms = self.settings.grace_ms();
        match &self.phase {
            Phase::Offline { .. } => self.cancel_restart(out),
            Phase::Launching { end: None, .. } => {
                self.end_launch(End::Stop { grace_ms }, &Refusal::Preempted(PowerAction::Stop), out);
            }
            Phase::Starting { .. } | Phase::Running { .. } => self.ask_to_stop(now_ms, grace_ms, out),
            Phase::Orphaned { .. } => self.expect_end(now_ms, grace_ms, out),
            // It is stopping for a restart: this takes the start out of it.
            Phase::Stopping { .. } if self.wanted == Wanted::Up => out.push(Effect::Note(note::restart_cancelled())),
            Phase::Launching { end: Some(_), .. } | Phase::Stopping { .. } => return Err(Refusal::Busy(self.state())),
        }
        self.wanted = Wanted::Down;
        self.crashes_in_a_row = 0;
        Ok(())
    }

    fn kill(&mut self, now_ms: u64, out: &mut Vec<Effect>) -> Answer {
        self.wanted = Wanted::Down;
        self.crashes_in_a_row = 0;
        for waiting in std::mem::take(&mut self.waiting) {
            let result = match waiting.action {
                // No matter who asked: it is what they want.
                PowerAction::Stop | PowerAction::Kill => Ok(()),
                PowerAction::Start | PowerAction::Restart => Err(Refusal::Preempted(PowerAction::Kill)),
            };
            out.push(Effect::Reply { id: waiting.id, result });
        }
        match self.phase {
            Phase::Offline { .. } => self.cancel_restart(out),
            Phase::Launching { .. } => self.end_launch(End::Kill, &Refusal::Preempted(PowerAction::Kill), out),
            Phase::Starting { .. } | Phase::Running { .. } | Phase::Orphaned { .. } | Phase::Stopping { .. } => {
                self.kill_all(now_ms, out);
            }
        }
        Answer::Now(Ok(()))
    }

    fn busy(&self) -> Answer {
        Answer::Now(Err(Refusal::Busy(self.state())))
    }

    /// Takes a planned restart back, and says so.
    fn cancel_restart(&mut self, out: &mut Vec<Effect>) {
        self.wanted = Wanted::Down;
        self.crashes_in_a_row = 0;
        if let Phase::Offline { restart_at_ms } = &mut self.phase
            && restart_at_ms.take().is_some()
        {
            out.push(Effect::Note(note::restart_cancelled()));
        }
    }

    pub(super) fn ask_to_stop(&mut self, now_ms: u64, grace_ms: u64, out: &mut Vec<Effect>) {
        self.wanted = Wanted::Down;
        let kill_at_ms = now_ms.saturating_add(grace_ms);
        self.enter(Phase::Stopping { kill_at_ms, killed: false }, out);
        out.push(Effect::AskToStop { grace_ms });
    }

    /// It is ending already, and nobody is there to pass anything on: this only makes the end one that was asked for.
    fn expect_end(&mut self, now_ms: u64, grace_ms: u64, out: &mut Vec<Effect>) {
        self.enter(Phase::Stopping { kill_at_ms: now_ms.saturating_add(grace_ms), killed: false }, out);
    }

    pub(super) fn kill_all(&mut self, now_ms: u64, out: &mut Vec<Effect>) {
        let kill_at_ms = now_ms.saturating_add(KILL_REPEAT_MS);
        self.enter(Phase::Stopping { kill_at_ms, killed: true }, out);
        out.push(Effect::KillAll);
    }

    /// What is being launched is to end as soon as it exists; whoever wanted it is told.
    fn end_launch(&mut self, wanted_end: End, refusal: &Refusal, out: &mut Vec<Effect>) {
        self.wanted = Wanted::Down;
        let from = self.state();
        if let Phase::Launching { start, end, .. } = &mut self.phase {
            if let Start::Request(id) = std::mem::replace(start, Start::Answered) {
                out.push(Effect::Reply { id, result: Err(refusal.clone()) });
            }
            if !matches!(end, Some(End::Kill)) {
                *end = Some(wanted_end);
            }
        }
        if from != State::Stopping {
            out.push(Effect::StateChanged { from, to: State::Stopping });
        }
    }

    pub(super) fn suspend(&mut self, now_ms: u64, out: &mut Vec<Effect>) {
        if std::mem::replace(&mut self.settings.suspended, true) {
            return;
        }
        let grace_ms = self.settings.grace_ms().min(SUSPEND_GRACE_MS);
        match &mut self.phase {
            Phase::Offline { .. } => return self.cancel_restart(out),
            Phase::Launching { .. } => self.end_launch(End::Stop { grace_ms }, &Refusal::Suspended, out),
            Phase::Starting { .. } | Phase::Running { .. } => self.ask_to_stop(now_ms, grace_ms, out),
            Phase::Orphaned { .. } => self.expect_end(now_ms, grace_ms, out),
            Phase::Stopping { kill_at_ms, .. } => *kill_at_ms = now_ms.saturating_add(grace_ms).min(*kill_at_ms),
        }
        self.wanted = Wanted::Down;
        out.push(Effect::Note(note::suspended()));
    }

    pub(super) fn configure(&mut self, now_ms: u64, settings: Settings, out: &mut Vec<Effect>) {
        let suspended = settings.suspended;
        // Suspension is a change with consequences, so it goes the one way that has them.
        self.settings = Settings { suspended: self.settings.suspended && suspended, ..settings };
        if suspended {
            self.suspend(now_ms, out);
        }
        if !self.settings.crash.enabled {
            self.cancel_planned(out);
        }
    }

    fn cancel_planned(&mut self, out: &mut Vec<Effect>) {
        if matches!(self.phase, Phase::Offline { restart_at_ms: Some(_) }) {
            self.cancel_restart(out);
        }
    }
}
