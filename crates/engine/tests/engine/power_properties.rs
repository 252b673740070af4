//! What holds for any server, whatever is asked and whatever its process does.

use std::collections::BTreeMap;

use engine::power::{CrashPolicy, Effect, Ending, Exit, ExitKind, Input, Power, Refusal, Settings, Wanted};
use proptest::prelude::*;
use wire::server::{PowerAction, State};

#[derive(Clone, Debug)]
enum Step {
    Ask(PowerAction, u64),
    Input(Input),
    /// Time passes; whether or not the deadline is served, as when the daemon is slow.
    Pass(u64),
    /// The deadline is served exactly when it is due.
    Due,
}

fn exit() -> impl Strategy<Value = Exit> {
    let kind = prop_oneof![(0..4i32).prop_map(ExitKind::Code), (1..16i32).prop_map(ExitKind::Signal)];
    (kind, any::<bool>()).prop_map(|(kind, oom)| Exit { kind, oom })
}

fn ending() -> impl Strategy<Value = Ending> {
    prop::sample::select(vec![Ending::Unasked, Ending::Asked, Ending::Killed])
}

fn settings() -> impl Strategy<Value = Settings> {
    let ms = || prop_oneof![Just(0), Just(1), 0u64..100_000, Just(u64::MAX)];
    let crash = (any::<bool>(), any::<bool>(), ms(), 0u32..4, ms(), ms(), 0u32..4).prop_map(
        |(enabled, clean_exit_is_crash, first_delay_ms, factor, max_delay_ms, stable_ms, give_up_after)| CrashPolicy {
            enabled,
            clean_exit_is_crash,
            first_delay_ms,
            factor,
            max_delay_ms,
            stable_ms,
            give_up_after,
        },
    );
    (ms(), ms(), any::<bool>(), crash, prop::bool::weighted(0.1)).prop_map(
        |(stop_grace_ms, settle_ms, has_patterns, crash, suspended)| Settings {
            stop_grace_ms,
            settle_ms,
            has_patterns,
            crash,
            suspended,
            success_exit: vec![ExitKind::Code(2)],
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let action = prop::sample::select(PowerAction::ALL.to_vec());
    prop_oneof![
        8 => (action, prop_oneof![2 => Just(0), 1 => 0u64..400_000]).prop_map(|(action, wait)| Step::Ask(action, wait)),
        6 => prop_oneof![
            4 => (1u32..9).prop_map(|pid| Input::LaunchOk { pid }),
            1 => Just(Input::LaunchFailed { reason: "r".into() }),
            2 => Just(Input::ReadyMatched),
            4 => exit().prop_map(Input::Exited),
            1 => any::<bool>().prop_map(|matched| Input::Adopted { matched }),
            1 => (prop::sample::select(vec![Wanted::Up, Wanted::Down]), ending())
                .prop_map(|(wanted, ending)| Input::AdoptedStopping { wanted, ending }),
            1 => (0u32..6, prop::option::of(0u64..100_000), 0u64..100_000).prop_map(
                |(crashes_in_a_row, restart_in_ms, ran_ms)| Input::Recalled { crashes_in_a_row, restart_in_ms, ran_ms }
            ),
            1 => Just(Input::Orphaned),
            1 => Just(Input::Lost { reason: "r".into() }),
            1 => Just(Input::StopTyped),
        ].prop_map(Step::Input),
        1 => prop_oneof![Just(Input::Suspend), Just(Input::Unsuspend), settings().prop_map(Input::Settings)]
            .prop_map(Step::Input),
        2 => (0u64..100_000).prop_map(Step::Pass),
        4 => Just(Step::Due),
    ]
}

/// What a daemon around the engine would know.
struct World {
    power: Power,
    now_ms: u64,
    seen: State,
    /// A process exists, or a launch is under way.
    launch_open: bool,
    open_requests: BTreeMap<u64, PowerAction>,
    next_id: u64,
}

impl World {
    fn give(&mut self, input: Input) -> Result<Vec<Effect>, TestCaseError> {
        let mut out = Vec::new();
        // Inputs that end what a Launch began, before the effects that may begin the next.
        let ended = matches!(input, Input::Exited(_) | Input::Lost { .. } | Input::LaunchFailed { .. });
        let was_offline = self.power.state() == State::Offline;
        let adopted = matches!(input, Input::Adopted { .. } | Input::AdoptedStopping { .. });
        self.power.input(self.now_ms, input, &mut out);
        if ended && !out.is_empty() {
            self.launch_open = false;
        }
        if adopted && was_offline {
            self.launch_open = true;
        }
        for effect in &out {
            match effect {
                Effect::Launch => {
                    prop_assert!(!self.launch_open, "launched twice");
                    self.launch_open = true;
                }
                Effect::StateChanged { from, to } => {
                    prop_assert_eq!(*from, self.seen);
                    prop_assert_ne!(from, to);
                    self.seen = *to;
                }
                Effect::Reply { id, result } => {
                    let action = self.open_requests.remove(id);
                    prop_assert!(action.is_some(), "a second reply, or one to nobody");
                    prop_assert!(action != Some(PowerAction::Kill) || result.is_ok(), "kill refused");
                }
                Effect::KillAll | Effect::AskToStop { .. } => {
                    prop_assert_eq!(self.power.state(), State::Stopping);
                }
                Effect::Note(text) => prop_assert!(!text.is_empty() && !text.contains('\n')),
                Effect::Crashed { in_a_row, .. } => prop_assert!(*in_a_row > 0),
            }
        }
        prop_assert_eq!(self.seen, self.power.state());
        Ok(out)
    }

    fn serve_deadline(&mut self) -> Result<Vec<Effect>, TestCaseError> {
        let out = self.give(Input::Time)?;
        if let Some(next_ms) = self.power.deadline() {
            prop_assert!(next_ms > self.now_ms, "the same deadline again");
        }
        Ok(out)
    }
}

/// A thousand, or as many as `PROPTEST_CASES` says, which the torture raises.
fn cases() -> u32 {
    ProptestConfig::default().cases.max(1_000)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn no_sequence_breaks_the_rules(first in settings(), steps in prop::collection::vec(step(), 1..80)) {
        let mut world = World {
            power: Power::new(first, 0),
            now_ms: 0,
            seen: State::Offline,
            launch_open: false,
            open_requests: BTreeMap::new(),
            next_id: 0,
        };
        for step in steps {
            match step {
                Step::Ask(action, wait_ms) => {
                    let id = world.next_id;
                    world.next_id += 1;
                    world.open_requests.insert(id, action);
                    let out = world.give(Input::Request { id, action, wait_ms })?;
                    if action == PowerAction::Kill {
                        prop_assert!(!world.open_requests.contains_key(&id), "kill waits for nothing");
                        prop_assert_eq!(world.power.wanted(), Wanted::Down);
                        prop_assert_eq!(world.power.restart_at(), None);
                        prop_assert!(matches!(world.power.state(), State::Offline | State::Stopping), "{:?}", out);
                    }
                }
                // Also out of order: late, double and stray reports.
                Step::Input(input) => {
                    world.give(input)?;
                }
                Step::Pass(ms) => world.now_ms += ms,
                Step::Due => {
                    if let Some(at_ms) = world.power.deadline() {
                        world.now_ms = world.now_ms.max(at_ms.min(world.now_ms + 200_000_000));
                        world.serve_deadline()?;
                    }
                }
            }
            prop_assert!(world.power.deadline().is_none_or(|at_ms| at_ms <= world.now_ms + 90_000_000 ), "a deadline without end");
            prop_assert!(world.power.restart_at().is_none() || world.power.state() == State::Offline);
            prop_assert!(world.power.state() != State::Stopping || world.launch_open, "stopping what is not there");
        }

        // However it stands: kill, then the end, and it is down and stays down, and everybody has had a reply.
        let id = world.next_id;
        world.open_requests.insert(id, PowerAction::Kill);
        world.give(Input::Request { id, action: PowerAction::Kill, wait_ms: 0 })?;
        world.give(Input::LaunchOk { pid: 1 })?;
        world.give(Input::Exited(Exit { kind: ExitKind::Signal(9), oom: false }))?;
        prop_assert_eq!(world.power.state(), State::Offline);
        prop_assert_eq!(world.power.deadline(), None);
        prop_assert!(world.open_requests.is_empty(), "{:?}", world.open_requests);
    }

    #[test]
    fn what_is_stopping_ends_in_kills_however_long_nobody_looks(grace_ms in 1u64..1_000_000, waits in prop::collection::vec(1u64..10_000, 1..20)) {
        let mut power = Power::new(Settings { stop_grace_ms: grace_ms, ..Settings::default() }, 0);
        let mut out = Vec::new();
        power.input(0, Input::Request { id: 1, action: PowerAction::Start, wait_ms: 0 }, &mut out);
        power.input(0, Input::LaunchOk { pid: 1 }, &mut out);
        power.input(0, Input::Request { id: 2, action: PowerAction::Stop, wait_ms: 0 }, &mut out);
        out.clear();
        power.input(grace_ms - 1, Input::Time, &mut out);
        prop_assert_eq!(&out, &[]);
        let mut now_ms = grace_ms;
        for wait_ms in waits {
            now_ms = now_ms.max(power.deadline().unwrap()) + wait_ms;
            out.clear();
            power.input(now_ms, Input::Time, &mut out);
            prop_assert!(out.contains(&Effect::KillAll));
        }
    }

    #[test]
    fn the_same_inputs_give_the_same_effects(first in settings(), steps in prop::collection::vec(step(), 1..40)) {
        let run = || {
            let mut power = Power::new(first.clone(), 0);
            let (mut now_ms, mut id, mut out) = (0, 0, Vec::new());
            for step in &steps {
                match step.clone() {
                    Step::Ask(action, wait_ms) => {
                        id += 1;
                        power.input(now_ms, Input::Request { id, action, wait_ms }, &mut out);
                    }
                    Step::Input(input) => power.input(now_ms, input, &mut out),
                    Step::Pass(ms) => now_ms += ms,
                    Step::Due => power.input(now_ms, Input::Time, &mut out),
                }
            }
            out
        };
        prop_assert_eq!(run(), run());
    }
}

#[test]
fn refusals_are_sentences_for_people() {
    let all = [
        Refusal::Busy(State::Stopping),
        Refusal::TooManyWaiting,
        Refusal::AlreadyRunning(State::Starting),
        Refusal::Suspended,
        Refusal::LaunchFailed("no such file".into()),
        Refusal::Preempted(PowerAction::Kill),
    ];
    for refusal in all {
        let text = refusal.to_string();
        assert!(text.len() > 20 && !text.contains('\n'), "{text}");
    }
}
