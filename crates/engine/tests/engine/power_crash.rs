//! Ends nobody asked for, processes lost and found, and suspension, as transcripts.

use engine::power::{CrashLoop, CrashPolicy, Effect, Ending, Exit, ExitKind, Input, Refusal, Settings, Wanted};
use wire::server::PowerAction::{Kill, Restart, Start, Stop};
use wire::server::State::{Offline, Running, Starting, Stopping};

use crate::power_case::{CLEAN, CRASH, Case, GRACE_MS, changed, done, notes, refused, settings, without_notes};

// crashes

#[test]
fn a_crash_is_named_and_answered_by_a_restart() {
    for mut case in [Case::starting(), Case::running()] {
        let state = case.power.state();
        let at_ms = case.now_ms + 2_000;
        assert_eq!(
            case.give(Input::Exited(CRASH)),
            [
                changed(state, Offline),
                Effect::Note("The server crashed: exit code 3.".into()),
                Effect::Note("Restart 1 of 5 follows in 2 s.".into()),
                Effect::Crashed { exit: CRASH, in_a_row: 1, restart_at_ms: Some(at_ms) },
            ]
        );
        assert_eq!((case.power.restart_at(), case.power.wanted()), (Some(at_ms), Wanted::Up));
        assert_eq!(case.power.crash_loop(), None);
        assert_eq!(case.due(), [changed(Offline, Starting), Effect::Launch]);
        assert_eq!(case.now_ms, at_ms);
        assert_eq!(case.give(Input::LaunchOk { pid: 8 }), [], "nobody to tell");
    }
}

/// Crashes as soon as it runs, until nothing is due any more; gives the delays.
fn crash_until_given_up(case: &mut Case) -> Vec<u64> {
    let mut delays = Vec::new();
    loop {
        case.give(Input::LaunchOk { pid: 7 });
        case.give(Input::ReadyMatched);
        let effects = case.give(Input::Exited(CRASH));
        let Some(at_ms) = case.power.restart_at() else {
            assert!(matches!(effects.last(), Some(Effect::Crashed { restart_at_ms: None, .. })), "{effects:?}");
            return delays;
        };
        delays.push(at_ms - case.now_ms);
        assert!(delays.len() < 100, "never given up");
        case.due();
    }
}

#[test]
fn restarts_come_later_each_time_and_end() {
    let mut case = Case::launching();
    assert_eq!(crash_until_given_up(&mut case), [2_000, 4_000, 8_000, 16_000, 32_000]);
    assert_eq!(case.power.crash_loop(), Some(CrashLoop { in_a_row: 6, gave_up: true }));
    assert_eq!((case.power.deadline(), case.power.wanted()), (None, Wanted::Down));
    // Somebody steps in.
    assert_eq!(case.ask(Start), [changed(Offline, Starting), Effect::Launch]);
    assert_eq!(case.power.crash_loop(), None);
    assert_eq!(crash_until_given_up(&mut case).len(), 5);
}

#[test]
fn crash_looping_is_said_from_the_second_crash_on_until_a_run_lasts() {
    let looping = |in_a_row| Some(CrashLoop { in_a_row, gave_up: false });
    let mut case = Case::running();
    case.give(Input::Exited(CRASH));
    assert_eq!(case.power.crash_loop(), None, "one is none");
    case.due();
    case.give(Input::LaunchOk { pid: 8 });
    let effects = case.give(Input::Exited(CRASH));
    assert_eq!(
        notes(&effects)[1],
        "The server is crash-looping: 2 failures in a row, none of which ran for 1 min. Restart 2 of 5 follows in 4 s."
    );
    assert_eq!(case.power.crash_loop(), looping(2));
    // Also while the next one is tried.
    case.due();
    case.give(Input::LaunchOk { pid: 9 });
    case.give(Input::ReadyMatched);
    assert_eq!((case.power.state(), case.power.crash_loop()), (Running, looping(2)));
    case.due();
    assert_eq!(case.power.crash_loop(), None, "it has run for a minute");
}

#[test]
fn whoever_steps_in_ends_the_crash_loop() {
    let no_more = CrashPolicy { enabled: false, ..CrashPolicy::default() };
    let inputs = [
        Input::Request { id: 90, action: Stop, wait_ms: 0 },
        Input::Request { id: 91, action: Kill, wait_ms: 0 },
        Input::Request { id: 92, action: Restart, wait_ms: 0 },
        Input::Suspend,
        Input::Settings(Settings { crash: no_more, ..settings() }),
    ];
    for input in inputs {
        let mut case = Case::running();
        case.give(Input::Exited(CRASH));
        case.due();
        case.give(Input::LaunchOk { pid: 8 });
        case.give(Input::Exited(CRASH));
        assert!(case.power.crash_loop().is_some());
        case.give(input.clone());
        assert_eq!(case.power.crash_loop(), None, "{input:?}");
    }
    // So does an end in good order.
    let mut case = Case::running();
    case.give(Input::Exited(CRASH));
    case.due();
    case.give(Input::LaunchOk { pid: 8 });
    case.give(Input::Exited(CRASH));
    case.due();
    case.give(Input::LaunchOk { pid: 9 });
    case.give(Input::Exited(CLEAN));
    assert_eq!((case.power.crash_loop(), case.power.crashes_in_a_row()), (None, 0));
}

#[test]
fn a_restarted_daemon_counts_on_and_waits_on() {
    let mut case = Case::new(settings());
    let effects = case.give(Input::Recalled { crashes_in_a_row: 3, restart_in_ms: Some(5_000), ran_ms: 0 });
    assert_eq!(notes(&effects), ["The node was restarted. Restart 3 of 5 after a crash follows in 5 s."]);
    assert_eq!(case.power.restart_at(), Some(case.now_ms + 5_000));
    assert_eq!(case.power.crash_loop(), Some(CrashLoop { in_a_row: 3, gave_up: false }));
    assert_eq!(case.due(), [changed(Offline, Starting), Effect::Launch]);
    case.give(Input::LaunchOk { pid: 8 });
    let effects = case.give(Input::Exited(CRASH));
    assert!(matches!(effects.last(), Some(Effect::Crashed { in_a_row: 4, .. })), "{effects:?}");

    // A clock that was set back meanwhile does not make it wait for long.
    let mut case = Case::new(settings());
    case.give(Input::Recalled { crashes_in_a_row: 1, restart_in_ms: Some(u64::MAX), ran_ms: 0 });
    assert_eq!(case.power.restart_at(), Some(case.now_ms + 2_000));

    // Given up stays given up, and a run that is found goes on with the count.
    let mut case = Case::new(settings());
    assert_eq!(case.give(Input::Recalled { crashes_in_a_row: 6, restart_in_ms: None, ran_ms: 0 }), []);
    assert_eq!((case.power.deadline(), case.power.wanted()), (None, Wanted::Down));
    assert_eq!(case.power.crash_loop(), Some(CrashLoop { in_a_row: 6, gave_up: true }));
    let mut case = Case::new(settings());
    case.give(Input::Recalled { crashes_in_a_row: 4, restart_in_ms: None, ran_ms: 0 });
    case.give(Input::Adopted { matched: true });
    let effects = case.give(Input::Exited(CRASH));
    assert!(matches!(effects.last(), Some(Effect::Crashed { in_a_row: 5, .. })), "{effects:?}");

    // Unless that run has lasted.
    let mut case = Case::new(settings());
    case.give(Input::Recalled { crashes_in_a_row: 4, restart_in_ms: None, ran_ms: 60_000 });
    assert_eq!(case.power.crashes_in_a_row(), 0);

    // What may not run does not wait to.
    let mut case = Case::new(Settings { suspended: true, ..settings() });
    assert_eq!(case.give(Input::Recalled { crashes_in_a_row: 3, restart_in_ms: Some(5_000), ran_ms: 0 }), []);
    assert_eq!(case.power.deadline(), None);
}

#[test]
fn giving_up_says_why() {
    let crash = CrashPolicy { give_up_after: 1, ..CrashPolicy::default() };
    let mut case = Case::new(Settings { crash, ..settings() });
    case.ask(Start);
    case.give(Input::LaunchOk { pid: 7 });
    case.give(Input::Exited(CRASH));
    case.due();
    case.give(Input::LaunchOk { pid: 7 });
    let effects = case.give(Input::Exited(Exit { kind: ExitKind::Signal(11), oom: true }));
    assert_eq!(
        notes(&effects),
        [
            "The server crashed: killed by SIGSEGV, out of memory.",
            "The server is crash-looping: 2 failures in a row, none of which ran for 1 min. Given up. It stays down until somebody starts it.",
        ]
    );
}

#[test]
fn a_run_that_lasts_ends_the_row() {
    let mut case = Case::running();
    case.give(Input::Exited(CRASH));
    case.due();
    case.give(Input::LaunchOk { pid: 8 });
    case.give(Input::ReadyMatched);
    assert_eq!(case.power.deadline(), Some(case.now_ms + 60_000));
    assert_eq!(case.due(), []);
    assert_eq!(case.power.deadline(), None);
    let effects = case.give(Input::Exited(CRASH));
    assert!(matches!(effects.last(), Some(Effect::Crashed { in_a_row: 1, .. })));
    // The same when nobody asked the time meanwhile.
    case.due();
    case.give(Input::LaunchOk { pid: 9 });
    case.now_ms += 60_000;
    let effects = case.give(Input::Exited(CRASH));
    assert!(matches!(effects.last(), Some(Effect::Crashed { in_a_row: 1, .. })));
}

#[test]
fn what_the_game_may_choose_is_no_crash() {
    let sigterm = Exit { kind: ExitKind::Signal(15), oom: false };
    let oom = Exit { kind: ExitKind::Code(0), oom: true };
    let listed = Settings { success_exit: vec!["SIGTERM".parse().unwrap()], ..settings() };
    let strict = CrashPolicy { clean_exit_is_crash: true, ..CrashPolicy::default() };
    let strict = Settings { crash: strict, ..settings() };
    let table = [
        (settings(), CLEAN, false),
        (settings(), CRASH, true),
        (settings(), sigterm, true),
        (settings(), oom, true),
        (listed.clone(), sigterm, false),
        (listed.clone(), CLEAN, false),
        (listed, CRASH, true),
        (strict, CLEAN, true),
    ];
    for (settings, exit, is_crash) in table {
        let mut case = Case::new(settings);
        case.ask(Start);
        case.give(Input::LaunchOk { pid: 7 });
        let effects = case.give(Input::Exited(exit));
        assert_eq!(effects.iter().any(|e| matches!(e, Effect::Crashed { .. })), is_crash, "{exit}");
        assert_eq!(case.power.restart_at().is_some(), is_crash);
        assert_eq!(case.power.wanted() == Wanted::Up, is_crash);
        assert!(!notes(&effects).is_empty(), "always said");
    }
}

#[test]
fn without_crash_detection_the_end_is_told_and_that_is_all() {
    let crash = CrashPolicy { enabled: false, ..CrashPolicy::default() };
    let mut case = Case::new(Settings { crash, ..settings() });
    case.ask(Start);
    case.give(Input::LaunchOk { pid: 7 });
    let effects = case.give(Input::Exited(CRASH));
    assert_eq!(
        notes(&effects),
        ["The server ended by itself: exit code 3. Crash detection is off, so it stays down until somebody starts it."]
    );
    assert_eq!(case.power.deadline(), None);
}

#[test]
fn a_planned_restart_is_taken_back_by_stop_kill_suspension_and_settings() {
    let off = CrashPolicy { enabled: false, ..CrashPolicy::default() };
    let inputs = [
        Input::Request { id: 9, action: Stop, wait_ms: 0 },
        Input::Request { id: 9, action: Kill, wait_ms: 0 },
        Input::Suspend,
        Input::Settings(Settings { crash: off, ..settings() }),
        Input::Settings(Settings { suspended: true, ..settings() }),
    ];
    for input in inputs {
        let mut case = Case::running();
        case.give(Input::Exited(CRASH));
        let effects = case.give(input.clone());
        assert_eq!(notes(&effects), ["The planned restart is cancelled; the server stays down."], "{input:?}");
        assert_eq!((case.power.deadline(), case.power.wanted()), (None, Wanted::Down), "{input:?}");
    }
}

#[test]
fn a_start_does_not_wait_for_a_planned_restart() {
    let mut case = Case::running();
    case.give(Input::Exited(CRASH));
    assert_eq!(case.ask(Start), [changed(Offline, Starting), Effect::Launch]);
    assert_eq!(case.power.restart_at(), None);
}

#[test]
fn a_planned_restart_that_fails_to_launch_goes_on_with_the_row() {
    let mut case = Case::running();
    case.give(Input::Exited(CRASH));
    case.due();
    let effects = case.give(Input::LaunchFailed { reason: "disk full".into() });
    assert_eq!(
        notes(&effects),
        [
            "The server could not be started: disk full",
            "The server is crash-looping: 2 failures in a row, none of which ran for 1 min. Restart 2 of 5 follows in 4 s.",
        ]
    );
    assert!(case.power.restart_at().is_some());
}

#[test]
fn a_planned_restart_that_fails_after_crash_detection_was_turned_off_is_the_last() {
    let mut case = Case::running();
    case.give(Input::Exited(CRASH));
    case.due();
    let crash = CrashPolicy { enabled: false, ..CrashPolicy::default() };
    case.give(Input::Settings(Settings { crash, ..settings() }));
    let effects = case.give(Input::LaunchFailed { reason: "disk full".into() });
    assert_eq!(notes(&effects), ["The server could not be started: disk full"]);
    assert_eq!((case.power.deadline(), case.power.wanted()), (None, Wanted::Down));
}

// lost and found

#[test]
fn a_process_that_was_found_alive_goes_on() {
    let mut case = Case::offline();
    assert_eq!(case.give(Input::Adopted { matched: true }), [changed(Offline, Running)]);
    assert_eq!(case.give(Input::Adopted { matched: true }), []);
    let mut case = Case::offline();
    assert_eq!(case.give(Input::Adopted { matched: false }), [changed(Offline, Starting)]);
    assert_eq!(case.give(Input::Adopted { matched: true }), [changed(Starting, Running)]);
    assert_eq!(case.power.wanted(), Wanted::Up);
    assert!(matches!(case.give(Input::Exited(CRASH)).last(), Some(Effect::Crashed { .. })));
}

#[test]
fn a_process_that_was_found_stopping_is_no_crash_when_it_ends_and_is_not_asked_again() {
    for (wanted, follows) in [(Wanted::Down, false), (Wanted::Up, true)] {
        let mut case = Case::offline();
        assert_eq!(case.give(Input::AdoptedStopping { wanted, ending: Ending::Asked }), [changed(Offline, Stopping)]);
        assert_eq!(case.power.deadline(), Some(case.now_ms + GRACE_MS));
        assert_eq!(case.give(Input::AdoptedStopping { wanted, ending: Ending::Asked }), []);
        let effects = case.give(Input::Exited(CRASH));
        assert_eq!(effects.contains(&Effect::Launch), follows);
        assert!(effects.contains(&changed(Stopping, Offline)));
    }
    let mut case = Case::new(Settings { suspended: true, ..settings() });
    case.give(Input::AdoptedStopping { wanted: Wanted::Up, ending: Ending::Asked });
    assert_eq!(case.give(Input::Exited(CRASH)), [changed(Stopping, Offline)]);
}

#[test]
fn a_stop_that_never_reached_the_process_is_asked_for_when_it_is_found() {
    for mut case in [Case::offline(), Case::running()] {
        let state = case.power.state();
        let unasked = Input::AdoptedStopping { wanted: Wanted::Up, ending: Ending::Unasked };
        assert_eq!(case.give(unasked), [changed(state, Stopping), Effect::AskToStop { grace_ms: GRACE_MS }]);
        assert_eq!(case.power.grace_until(), Some(case.now_ms + GRACE_MS));
        assert!(case.give(Input::Exited(CRASH)).contains(&Effect::Launch), "a restart stays one");
    }
}

#[test]
fn a_process_that_was_found_being_killed_did_not_outlive_its_grace() {
    let mut case = Case::offline();
    case.give(Input::AdoptedStopping { wanted: Wanted::Down, ending: Ending::Killed });
    assert_eq!(case.power.grace_until(), None);
    assert_eq!(case.due(), [Effect::KillAll], "its holder is told again");
    let killed = Exit { kind: ExitKind::Signal(9), oom: false };
    assert_eq!(case.give(Input::Exited(killed)), [changed(Stopping, Offline)]);
}

#[test]
fn what_a_lost_holder_leaves_shows_as_stopping_and_its_end_is_a_crash_unless_asked_for() {
    let orphaned = || {
        let mut case = Case::running();
        assert_eq!(without_notes(case.give(Input::Orphaned)), [changed(Running, Stopping)]);
        assert_eq!(case.power.deadline(), None);
        case
    };
    let lost = || Input::Lost { reason: "r".into() };
    assert!(matches!(orphaned().give(lost()).last(), Some(Effect::Crashed { .. })));
    for action in [Start, Restart] {
        assert_eq!(orphaned().ask(action), [refused(2, Refusal::Busy(Stopping))], "{action}");
    }
    let mut case = orphaned();
    assert_eq!(case.ask(Stop), [done(2)], "there is nobody to pass it on to");
    assert_eq!(without_notes(case.give(lost())), [changed(Stopping, Offline)]);
    let mut case = orphaned();
    assert_eq!(case.ask(Kill), [Effect::KillAll, done(2)]);
    assert_eq!(without_notes(case.give(lost())), [changed(Stopping, Offline)]);
    let mut case = orphaned();
    assert_eq!(without_notes(case.give(Input::Suspend)), []);
    assert_eq!(without_notes(case.give(lost())), [changed(Stopping, Offline)]);
    let mut case = Case::stopping();
    assert_eq!(case.give(Input::Orphaned), [], "its end was asked for already");
}

#[test]
fn a_suspended_server_that_was_found_alive_is_stopped() {
    let mut case = Case::new(Settings { suspended: true, ..settings() });
    let effects = case.give(Input::Adopted { matched: true });
    assert_eq!(
        without_notes(effects),
        [changed(Offline, Running), changed(Running, Stopping), Effect::AskToStop { grace_ms: GRACE_MS }]
    );
}

#[test]
fn a_lost_process_counts_as_a_crash_unless_it_was_to_end() {
    let mut case = Case::running();
    let effects = case.give(Input::Lost { reason: "its holder is gone".into() });
    assert_eq!(
        notes(&effects),
        [
            "The server's process is out of reach: its holder is gone",
            "The server crashed: nobody saw it end.",
            "Restart 1 of 5 follows in 2 s.",
        ]
    );
    let mut case = Case::stopping();
    assert_eq!(without_notes(case.give(Input::Lost { reason: "x".into() })), [changed(Stopping, Offline)]);
    let mut case = Case::launching();
    let effects = case.give(Input::Lost { reason: "x".into() });
    assert_eq!(effects.last(), Some(&refused(1, Refusal::LaunchFailed("x".into()))));
    assert_eq!(Case::offline().give(Input::Lost { reason: "x".into() }), []);
}

// suspension

#[test]
fn a_suspended_server_stops_and_does_not_start() {
    let mut case = Case::new(Settings { stop_grace_ms: 0, ..settings() });
    case.ask(Start);
    case.give(Input::LaunchOk { pid: 7 });
    let effects = case.give(Input::Suspend);
    assert_eq!(without_notes(effects), [changed(Starting, Stopping), Effect::AskToStop { grace_ms: 60_000 }]);
    assert_eq!(case.give(Input::Suspend), []);
    case.give(Input::Exited(CRASH));
    for action in [Start, Restart] {
        let id = case.next_id;
        assert_eq!(case.ask_and_wait(action, 5_000), [refused(id, Refusal::Suspended)]);
    }
    for action in [Stop, Kill] {
        let id = case.next_id;
        assert_eq!(case.ask(action), [done(id)]);
    }
    assert_eq!(case.give(Input::Unsuspend), []);
    assert_eq!(case.ask(Start), [changed(Offline, Starting), Effect::Launch]);
}

#[test]
fn suspension_ends_a_launch_a_long_grace_and_a_wait() {
    let mut case = Case::launching();
    let effects = case.give(Input::Suspend);
    assert_eq!(without_notes(effects), [refused(1, Refusal::Suspended), changed(Starting, Stopping)]);
    assert_eq!(case.give(Input::LaunchOk { pid: 7 }), [Effect::AskToStop { grace_ms: GRACE_MS }]);

    let mut case = Case::new(Settings { stop_grace_ms: 600_000, ..settings() });
    case.ask(Start);
    case.give(Input::LaunchOk { pid: 7 });
    case.ask(Restart);
    case.ask_and_wait(Start, 300_000);
    assert_eq!(without_notes(case.give(Input::Suspend)), [refused(3, Refusal::Suspended)]);
    assert_eq!(case.power.deadline(), Some(case.now_ms + 60_000));
    assert_eq!(case.give(Input::Exited(CLEAN)), [changed(Stopping, Offline)]);
}

#[test]
fn suspension_gives_nothing_more_time() {
    let mut case = Case::stopping();
    let kill_at_ms = case.power.deadline();
    case.now_ms += 15_000;
    case.give(Input::Suspend);
    assert_eq!(case.power.deadline(), kill_at_ms);

    let mut case = Case::launching();
    case.ask(Kill);
    case.give(Input::Suspend);
    assert_eq!(case.give(Input::LaunchOk { pid: 7 }), [Effect::KillAll]);
}

#[test]
fn settings_with_a_changed_suspension_are_a_suspension() {
    let mut case = Case::running();
    assert_eq!(case.give(Input::Settings(settings())), []);
    assert_eq!(without_notes(case.give(Input::Settings(Settings { suspended: true, ..settings() }))).len(), 2);
    assert_eq!(case.give(Input::Settings(Settings { suspended: true, ..settings() })), []);
    case.give(Input::Exited(CLEAN));
    case.give(Input::Settings(settings()));
    assert_eq!(case.ask(Start), [changed(Offline, Starting), Effect::Launch]);
}

#[test]
fn new_settings_hold_from_the_next_stop() {
    let mut case = Case::running();
    case.give(Input::Settings(Settings { stop_grace_ms: 1_234, ..settings() }));
    assert!(case.ask(Stop).contains(&Effect::AskToStop { grace_ms: 1_234 }));
}

#[test]
fn the_longest_grace_without_a_setting_is_that_of_wings() {
    let mut case = Case::new(Settings::default());
    case.ask(Start);
    case.give(Input::LaunchOk { pid: 7 });
    assert!(case.ask(Stop).contains(&Effect::AskToStop { grace_ms: 600_000 }));
}

#[test]
fn exits_have_names_and_names_are_read() {
    let table = [
        ("0", ExitKind::Code(0), "exit code 0"),
        ("-1", ExitKind::Code(-1), "exit code -1"),
        ("SIGTERM", ExitKind::Signal(15), "killed by SIGTERM"),
        ("int", ExitKind::Signal(2), "killed by SIGINT"),
        ("sys", ExitKind::Signal(31), "killed by SIGSYS"),
    ];
    for (word, kind, text) in table {
        assert_eq!(word.parse::<ExitKind>().unwrap(), kind);
        assert_eq!(kind.to_string(), text);
    }
    for number in [0, -3, 32, 64, i32::MIN] {
        assert_eq!(ExitKind::Signal(number).to_string(), format!("killed by signal {number}"));
    }
    for word in ["", "SIG", "SIGNOPE", "0x1", "99999999999"] {
        assert!(word.parse::<ExitKind>().unwrap_err().to_string().contains("names no exit"), "{word}");
    }
}
