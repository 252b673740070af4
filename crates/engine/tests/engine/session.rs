//! What holds of a session and is no transcript: extremes, clocks that jump, counts under a flood. The conversations themselves are
//! in `crates/wire/testdata/transcripts` and run by `transcript`.

use engine::session::Action;
use wire::close::CloseReason;
use wire::console::Event;

use crate::talk::{Talk, auth, claims, frame, wrapped};

const CONNECT: &[&str] = &["websocket.connect"];
const OWNER: &[&str] = &["*"];
const ADMIN: &[&str] = &["*", "admin.websocket.errors", "admin.websocket.install", "admin.websocket.transfer"];

fn send(event: Event) -> Action {
    Action::Send(event)
}

fn daemon_error(text: &str) -> Vec<Action> {
    vec![send(Event::DaemonError(wrapped(text)))]
}

#[test]
fn arguments_that_are_deep_make_the_message_none() {
    let deep = format!(r#"{{"event":"send logs","args":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(Talk::new().say(&deep), []);
    assert_eq!(Talk::live(OWNER).say(&deep), []);
}

#[test]
fn members_nobody_knows_are_skipped_however_deep() {
    let deep = format!(r#"{{"event":"send logs","x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert!(Talk::live(CONNECT).say(&deep) == [Action::SendLogs]);
}

#[test]
fn the_wall_clock_cannot_extend_a_token_nor_end_it() {
    for jump_ms in [-86_400_000, 86_400_000] {
        let mut talk = Talk::live(OWNER);
        talk.now.wall_ms += jump_ms;
        assert_eq!(talk.pass_s(539), [], "{jump_ms}");
        let seen = talk.pass_s(62);
        assert_eq!(seen.last(), Some(&(62, send(Event::TokenExpired))), "{jump_ms}");
    }
}

#[test]
fn absurd_dates_overflow_nothing() {
    for exp in [i64::MAX, i64::MAX / 1000, 1 << 50] {
        let mut talk = Talk::new();
        let mut forever = claims(0, OWNER);
        forever.exp = Some(exp);
        assert_eq!(talk.say(&auth(&forever))[0], send(Event::AuthSuccess));
        assert!(talk.session.deadline().unwrap() > talk.now.mono_ms);
    }
    for date in [i64::MIN, i64::MAX, 0, -1] {
        let mut odd = claims(0, OWNER);
        (odd.exp, odd.nbf, odd.iat) = (Some(date), Some(date), Some(date));
        assert_eq!(Talk::new().say(&auth(&odd)).len(), 1, "{date}");
    }
}

#[test]
fn too_many_messages_are_discarded_and_announced_once() {
    let mut talk = Talk::live(OWNER);
    let mut actions = Vec::new();
    for _ in 0..1000 {
        actions.extend(talk.say(&frame("send logs", "")));
        talk.pass_ms(1);
    }
    let logs = actions.iter().filter(|action| **action == Action::SendLogs).count();
    assert_eq!(logs, 2);
    let named = |name: &str| actions.iter().filter(|a| **a == send(Event::Throttled(name.into()))).count();
    assert_eq!(named("send logs"), 1);
    // The global bucket lets one through every 200 ms, and each refusal after one that passed is a new period.
    assert!((1..=6).contains(&named("global")), "{actions:?}");
    assert_eq!(actions.len(), 2 + 1 + named("global"));
    talk.pass_ms(5_000);
    assert_eq!(talk.say(&frame("send logs", "")), [Action::SendLogs]);
}

#[test]
fn guessing_signatures_is_slow() {
    let mut talk = Talk::new();
    let tried = (0..290).filter(|_| {
        talk.pass_ms(100);
        matches!(&talk.say(&frame("auth", "bad signature"))[..], [Action::Send(Event::DaemonError(_)), ..])
    });
    assert_eq!(tried.count(), 5, "then the connection is closed");
}

#[test]
fn what_the_session_says_itself_goes_out_in_every_phase_and_nothing_else_does() {
    let mut lapsed = Talk::live(ADMIN);
    lapsed.pass_s(602);
    let mut closed = Talk::live(ADMIN);
    closed.session.suspended(&mut Vec::new());
    for talk in [Talk::new(), lapsed, closed] {
        for event in ["auth success", "token expired", "jwt error", "daemon error", "throttled", "deleted"] {
            assert!(talk.session.may_receive(event), "{event}");
        }
        for event in ["status", "stats", "console output", "daemon message", "install output", "an event to come"] {
            assert!(!talk.session.may_receive(event), "{event}");
        }
    }
}

#[test]
fn the_longest_command_passes_and_a_longer_one_is_refused() {
    let longest = "x".repeat(4096);
    assert!(matches!(&Talk::live(OWNER).say(&frame("send command", &longest))[..], [Action::Command { .. }]));
    assert!(matches!(
        &Talk::live(OWNER).say(&frame("send command", &(longest.clone() + "\n")))[..],
        [Action::Command { .. }]
    ));
    assert_eq!(
        Talk::live(OWNER).say(&frame("send command", &(longest + "x"))),
        daemon_error("this command is 4097 bytes long, 4096 are allowed")
    );
}

#[test]
fn a_refused_power_word_is_repeated_in_part_only() {
    let long = Talk::live(OWNER).say(&frame("set state", &"x".repeat(4000)));
    assert!(matches!(&long[..], [Action::Send(Event::DaemonError(text))] if text.len() < 200), "{long:?}");
}

#[test]
fn nothing_closes_a_connection_twice() {
    let mut out = Vec::new();
    let mut talk = Talk::live(OWNER);
    talk.session.suspended(&mut out);
    talk.session.deleted(&mut out);
    assert_eq!(out, [Action::Close(CloseReason::Suspended)]);
    assert_eq!(talk.session.access(), None);
}
