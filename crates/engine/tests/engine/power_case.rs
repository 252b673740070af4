//! One server for transcripts: brought to a state, given inputs, asked for actions.

use engine::power::{Effect, Exit, ExitKind, Input, Power, Refusal, Settings};
use wire::server::{PowerAction, State};

pub(crate) const GRACE_MS: u64 = 20_000;
pub(crate) const CLEAN: Exit = Exit { kind: ExitKind::Code(0), oom: false };
pub(crate) const CRASH: Exit = Exit { kind: ExitKind::Code(3), oom: false };

pub(crate) struct Case {
    pub(crate) power: Power,
    pub(crate) now_ms: u64,
    pub(crate) next_id: u64,
}

pub(crate) fn settings() -> Settings {
    Settings { stop_grace_ms: GRACE_MS, has_patterns: true, ..Settings::default() }
}

impl Case {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { power: Power::new(settings, 0), now_ms: 1_000, next_id: 1 }
    }

    pub(crate) fn offline() -> Self {
        Self::new(settings())
    }

    pub(crate) fn launching() -> Self {
        let mut case = Self::offline();
        case.ask(PowerAction::Start);
        case
    }

    pub(crate) fn starting() -> Self {
        let mut case = Self::launching();
        case.give(Input::LaunchOk { pid: 7 });
        case
    }

    pub(crate) fn running() -> Self {
        let mut case = Self::starting();
        case.give(Input::ReadyMatched);
        assert_eq!(case.power.state(), State::Running);
        case
    }

    pub(crate) fn stopping() -> Self {
        let mut case = Self::running();
        case.ask(PowerAction::Stop);
        case
    }

    pub(crate) fn give(&mut self, input: Input) -> Vec<Effect> {
        let mut out = Vec::new();
        self.power.input(self.now_ms, input, &mut out);
        out
    }

    pub(crate) fn ask(&mut self, action: PowerAction) -> Vec<Effect> {
        self.ask_and_wait(action, 0)
    }

    pub(crate) fn ask_and_wait(&mut self, action: PowerAction, wait_ms: u64) -> Vec<Effect> {
        let id = self.next_id;
        self.next_id += 1;
        self.give(Input::Request { id, action, wait_ms })
    }

    /// Goes to the deadline and says so.
    pub(crate) fn due(&mut self) -> Vec<Effect> {
        self.now_ms = self.power.deadline().unwrap();
        self.give(Input::Time)
    }
}

pub(crate) fn changed(from: State, to: State) -> Effect {
    Effect::StateChanged { from, to }
}

pub(crate) fn done(id: u64) -> Effect {
    Effect::Reply { id, result: Ok(()) }
}

pub(crate) fn refused(id: u64, refusal: Refusal) -> Effect {
    Effect::Reply { id, result: Err(refusal) }
}

pub(crate) fn notes(effects: &[Effect]) -> Vec<&str> {
    effects.iter().filter_map(|e| if let Effect::Note(text) = e { Some(text.as_str()) } else { None }).collect()
}

pub(crate) fn without_notes(effects: Vec<Effect>) -> Vec<Effect> {
    effects.into_iter().filter(|e| !matches!(e, Effect::Note(_))).collect()
}
