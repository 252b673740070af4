//! Every state and what each input does there, as transcripts.

use engine::power::{
    Effect, Exit, ExitKind, Input, READY_TIMEOUT_DEFAULT_MS, Refusal, SETTLE_DEFAULT_MS, Settings, Wanted,
};
use wire::server::PowerAction::{Kill, Restart, Start, Stop};
use wire::server::State::{Offline, Running, Starting, Stopping};

use crate::power_case::{CLEAN, CRASH, Case, GRACE_MS, changed, done, notes, refused, settings, without_notes};

#[test]
fn the_ordinary_life_of_a_server() {
    let mut case = Case::offline();
    assert_eq!(case.ask(Start), [changed(Offline, Starting), Effect::Launch]);
    assert_eq!(case.give(Input::LaunchOk { pid: 7 }), [done(1)]);
    assert_eq!(case.give(Input::ReadyMatched), [changed(Starting, Running)]);
    assert_eq!(case.give(Input::ReadyMatched), []);
    assert_eq!(case.power.deadline(), None);
    assert_eq!(case.ask(Stop), [changed(Running, Stopping), Effect::AskToStop { grace_ms: GRACE_MS }, done(2)]);
    assert_eq!(case.give(Input::Exited(CLEAN)), [changed(Stopping, Offline)]);
    assert_eq!(case.power.last_exit(), Some(&CLEAN));
    assert_eq!(case.power.deadline(), None);
    assert_eq!(case.power.wanted(), Wanted::Down);
}

#[test]
fn start_is_refused_with_a_reason_when_there_is_a_process() {
    for (mut case, state) in [(Case::launching(), Starting), (Case::starting(), Starting), (Case::running(), Running)] {
        let effects = case.ask(Start);
        assert_eq!(effects, [refused(2, Refusal::AlreadyRunning(state))]);
    }
    assert_eq!(
        Refusal::AlreadyRunning(Running).to_string(),
        "the server is already running; stop or restart it instead"
    );
    assert!(!Refusal::AlreadyRunning(Running).is_busy());
}

#[test]
fn while_stopping_only_kill_is_taken() {
    for action in [Start, Stop, Restart] {
        let mut case = Case::stopping();
        assert_eq!(case.ask(action), [refused(3, Refusal::Busy(Stopping))], "{action}");
    }
    assert!(Refusal::Busy(Stopping).is_busy());
    assert_eq!(Case::stopping().ask(Kill), [Effect::KillAll, done(3)]);
}

#[test]
fn stop_and_kill_of_an_offline_server_succeed_and_do_nothing() {
    assert_eq!(Case::offline().ask(Stop), [done(1)]);
    assert_eq!(Case::offline().ask(Kill), [done(1)]);
}

#[test]
fn restart_is_stop_then_start_and_a_plain_start_when_offline() {
    let mut case = Case::running();
    assert_eq!(case.ask(Restart), [changed(Running, Stopping), Effect::AskToStop { grace_ms: GRACE_MS }, done(2)]);
    assert_eq!(
        case.give(Input::Exited(CLEAN)),
        [changed(Stopping, Offline), changed(Offline, Starting), Effect::Launch]
    );
    assert_eq!(case.give(Input::LaunchOk { pid: 8 }), []);
    assert_eq!(Case::offline().ask(Restart), [changed(Offline, Starting), Effect::Launch]);
}

#[test]
fn a_stop_takes_the_start_out_of_a_restart() {
    let mut case = Case::running();
    case.ask(Restart);
    assert_eq!(without_notes(case.ask(Stop)), [done(3)]);
    assert_eq!(case.ask(Stop), [refused(4, Refusal::Busy(Stopping))]);
    assert_eq!(case.give(Input::Exited(CLEAN)), [changed(Stopping, Offline)]);
}

#[test]
fn a_stop_whose_grace_is_over_is_a_kill_repeated_until_it_is_gone() {
    let mut case = Case::stopping();
    assert_eq!(case.power.deadline(), Some(case.now_ms + GRACE_MS));
    let effects = case.due();
    assert_eq!(notes(&effects), ["The server did not stop within its grace and is being killed."]);
    assert_eq!(effects[1..], [Effect::KillAll]);
    for _ in 0..3 {
        let before_ms = case.now_ms;
        assert_eq!(case.due(), [Effect::KillAll]);
        assert_eq!(case.now_ms, before_ms + 1_000);
    }
    let killed = Exit { kind: ExitKind::Signal(9), oom: false };
    assert_eq!(case.give(Input::Exited(killed)), [changed(Stopping, Offline)]);
}

#[test]
fn a_kill_by_the_holder_at_the_end_of_the_grace_is_named() {
    let mut case = Case::stopping();
    let killed = Exit { kind: ExitKind::Signal(9), oom: false };
    let effects = case.give(Input::Exited(killed));
    assert_eq!(notes(&effects), ["The server did not stop within its grace and was killed."]);
}

#[test]
fn kill_works_in_every_state() {
    for (mut case, state) in [(Case::starting(), Starting), (Case::running(), Running)] {
        assert_eq!(case.ask(Kill), [changed(state, Stopping), Effect::KillAll, done(2)]);
        assert_eq!(case.ask(Kill), [Effect::KillAll, done(3)]);
        assert_eq!(case.give(Input::Exited(CRASH)), [changed(Stopping, Offline)]);
    }
    let mut case = Case::launching();
    assert_eq!(case.ask(Kill), [refused(1, Refusal::Preempted(Kill)), changed(Starting, Stopping), done(2)]);
    assert_eq!(case.give(Input::LaunchOk { pid: 7 }), [Effect::KillAll]);
    assert_eq!(case.give(Input::Exited(CRASH)), [changed(Stopping, Offline)]);
}

#[test]
fn kill_pre_empts_a_stop_a_restart_and_whoever_waits() {
    let mut case = Case::running();
    case.ask(Restart);
    assert_eq!(case.ask_and_wait(Start, 5_000), []);
    assert_eq!(case.ask_and_wait(Restart, 5_000), []);
    assert_eq!(
        case.ask(Kill),
        [refused(3, Refusal::Preempted(Kill)), refused(4, Refusal::Preempted(Kill)), Effect::KillAll, done(5)]
    );
    assert_eq!(case.give(Input::Exited(CRASH)), [changed(Stopping, Offline)]);
    assert_eq!(case.power.deadline(), None);
}

#[test]
fn a_stop_during_the_launch_is_carried_out_when_the_process_exists() {
    let mut case = Case::launching();
    assert_eq!(case.ask(Stop), [refused(1, Refusal::Preempted(Stop)), changed(Starting, Stopping), done(2)]);
    assert_eq!(case.ask(Start), [refused(3, Refusal::Busy(Stopping))]);
    assert_eq!(case.give(Input::LaunchOk { pid: 7 }), [Effect::AskToStop { grace_ms: GRACE_MS }]);
    assert_eq!(case.power.deadline(), Some(case.now_ms + GRACE_MS));
    assert_eq!(case.give(Input::Exited(CLEAN)), [changed(Stopping, Offline)]);
}

#[test]
fn a_failed_launch_is_told_to_the_asker_and_in_the_console() {
    let mut case = Case::launching();
    let reason = "no such file: ./game".to_owned();
    let effects = case.give(Input::LaunchFailed { reason: reason.clone() });
    assert_eq!(
        effects,
        [
            changed(Starting, Offline),
            Effect::Note("The server could not be started: no such file: ./game".into()),
            refused(1, Refusal::LaunchFailed(reason)),
        ]
    );
    assert_eq!(case.power.deadline(), None, "nobody tries again by itself");
}

#[test]
fn a_game_that_ends_before_its_launch_was_reported_was_launched() {
    let mut case = Case::launching();
    let effects = case.give(Input::Exited(CRASH));
    assert_eq!(effects[..2], [done(1), changed(Starting, Offline)]);
    assert!(matches!(effects.last(), Some(Effect::Crashed { in_a_row: 1, restart_at_ms: Some(_), .. })));
    assert_eq!(case.give(Input::LaunchOk { pid: 7 }), [], "the report comes late");
}

#[test]
fn a_pattern_may_match_before_the_launch_is_reported() {
    let mut case = Case::launching();
    assert_eq!(case.give(Input::ReadyMatched), []);
    assert_eq!(case.give(Input::LaunchOk { pid: 7 }), [done(1), changed(Starting, Running)]);
}

// waiting

#[test]
fn a_request_that_waits_gets_its_turn() {
    let mut case = Case::stopping();
    assert_eq!(case.ask_and_wait(Start, 30_000), []);
    assert_eq!(
        case.give(Input::Exited(CLEAN)),
        [changed(Stopping, Offline), changed(Offline, Starting), Effect::Launch]
    );
    assert_eq!(case.give(Input::LaunchOk { pid: 8 }), [done(3)]);
}

#[test]
fn a_request_that_waited_long_enough_is_busy() {
    let mut case = Case::stopping();
    let asked_ms = case.now_ms;
    case.ask_and_wait(Start, 5_000);
    assert_eq!(case.due(), [refused(3, Refusal::Busy(Stopping))]);
    assert_eq!(case.now_ms, asked_ms + 5_000);
}

#[test]
fn waiting_is_bounded_in_time_and_number() {
    let mut case = Case::new(Settings { stop_grace_ms: u64::MAX, ..settings() });
    case.ask(Start);
    case.give(Input::LaunchOk { pid: 7 });
    case.ask(Stop);
    for _ in 0..16 {
        assert_eq!(case.ask_and_wait(Start, u64::MAX), []);
    }
    assert_eq!(case.ask_and_wait(Start, 1), [refused(19, Refusal::TooManyWaiting)]);
    assert!(Refusal::TooManyWaiting.is_busy());
    let now_ms = case.now_ms;
    assert_eq!(case.due().len(), 16);
    assert_eq!(case.now_ms, now_ms + 300_000);
    case.due();
    assert_eq!(case.now_ms, now_ms + 86_400_000, "a day is the longest grace");
}

#[test]
fn those_who_wait_are_served_in_their_order() {
    let mut case = Case::stopping();
    case.ask_and_wait(Start, 60_000);
    case.ask_and_wait(Stop, 60_000);
    case.ask_and_wait(Restart, 60_000);
    let effects = case.give(Input::Exited(CLEAN));
    // The start begins, the stop behind it is taken at once (and so pre-empts it), the restart waits on.
    assert_eq!(
        effects,
        [
            changed(Stopping, Offline),
            changed(Offline, Starting),
            Effect::Launch,
            refused(3, Refusal::Preempted(Stop)),
            changed(Starting, Stopping),
            done(4),
        ]
    );
    case.give(Input::LaunchOk { pid: 8 });
    assert_eq!(
        case.give(Input::Exited(CLEAN)),
        [changed(Stopping, Offline), changed(Offline, Starting), Effect::Launch]
    );
    assert_eq!(case.give(Input::LaunchOk { pid: 9 }), [done(5)]);
}

// ready and settled

#[test]
fn a_live_process_counts_as_running_after_a_while_and_a_note_says_so() {
    let table = [
        (
            false,
            0,
            SETTLE_DEFAULT_MS,
            "The server has been alive for 10 s and counts as running; it has no start-up pattern.",
        ),
        (
            true,
            0,
            READY_TIMEOUT_DEFAULT_MS,
            "No start-up pattern matched within 2 min; the server is alive and counts as running.",
        ),
        (true, 1_500, 1_500, "No start-up pattern matched within 1 s; the server is alive and counts as running."),
        (false, 250, 250, "The server has been alive for 250 ms and counts as running; it has no start-up pattern."),
        (
            false,
            90_000,
            90_000,
            "The server has been alive for 1 min 30 s and counts as running; it has no start-up pattern.",
        ),
    ];
    for (has_patterns, settle_ms, after_ms, text) in table {
        let mut case = Case::new(Settings { has_patterns, settle_ms, ..settings() });
        case.ask(Start);
        case.give(Input::LaunchOk { pid: 7 });
        let launched_ms = case.now_ms;
        assert_eq!(case.due(), [changed(Starting, Running), Effect::Note(text.into())]);
        assert_eq!(case.now_ms, launched_ms + after_ms);
        assert_eq!(case.power.deadline(), None);
    }
}

#[test]
fn a_typed_stop_command_is_a_stop_and_no_crash() {
    for mut case in [Case::starting(), Case::running()] {
        let state = case.power.state();
        assert_eq!(case.give(Input::StopTyped), [changed(state, Stopping)]);
        assert_eq!(case.power.deadline(), Some(case.now_ms + GRACE_MS));
        assert_eq!(case.give(Input::Exited(CRASH)), [changed(Stopping, Offline)]);
    }
    assert_eq!(Case::offline().give(Input::StopTyped), []);
    assert_eq!(Case::launching().give(Input::StopTyped), []);
    assert_eq!(Case::stopping().give(Input::StopTyped), []);
}
