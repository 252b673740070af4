//! A transcript for each row of the protocol reference's §3.5, §4.1-§4.4 and §5, and for each message known clients send.

use engine::session::{Action, Policy};
use engine::throttle::{InboundLimits, Rate};
use wire::close::CloseReason;
use wire::console::Event;
use wire::server::PowerAction;
use wire::token::permission;

use crate::talk::{LIFE_S, OTHER_SERVER, Talk, USER, auth, claims, frame, user, wrapped};

const CONNECT: &[&str] = &["websocket.connect"];
const OWNER: &[&str] = &["*"];
const ADMIN: &[&str] = &["*", "admin.websocket.errors", "admin.websocket.install", "admin.websocket.transfer"];

fn send(event: Event) -> Action {
    Action::Send(event)
}

fn jwt_error(text: &str) -> Vec<Action> {
    vec![send(Event::JwtError(text.into()))]
}

fn daemon_error(text: &str) -> Vec<Action> {
    vec![send(Event::DaemonError(wrapped(text)))]
}

fn unlimited() -> InboundLimits {
    let free = Rate { burst: 0, refill_ms: 0 };
    InboundLimits { global: free, auth: free, send_logs: free, send_command: free, other: free }
}

// §4.1, §4.2

#[test]
fn the_first_auth_attaches_and_a_renewal_only_succeeds() {
    let mut talk = Talk::new();
    assert_eq!(talk.say(&auth(&claims(0, OWNER))), [send(Event::AuthSuccess), Action::Attach]);
    talk.pass_ms(10_000);
    assert_eq!(talk.say(&auth(&claims(10, OWNER))), [send(Event::AuthSuccess)]);
}

#[test]
fn a_renewal_replaces_the_permissions() {
    let mut talk = Talk::live(OWNER);
    talk.say(&auth(&claims(0, CONNECT)));
    assert!(!talk.session.access().unwrap().permissions.has(permission::START));
    assert_eq!(
        talk.say(&frame("set state", "start")),
        daemon_error("you may not start this server: the permission control.start is missing")
    );
}

// §3.5: before auth

#[test]
fn whatever_comes_before_auth_is_answered_with_a_raw_jwt_error() {
    for event in ["send logs", "send stats", "set state", "send command", "status", "send", ""] {
        let mut talk = Talk::new();
        assert_eq!(talk.say(&frame(event, "start")), jwt_error("jwt: no jwt present"), "{event}");
        assert_eq!(talk.say(&auth(&claims(0, OWNER)))[0], send(Event::AuthSuccess), "{event}: still open");
    }
}

#[test]
fn what_is_no_message_is_ignored_before_and_after_auth() {
    let deep = format!(r#"{{"event":"send logs","args":{}{}}}"#, "[".repeat(500), "]".repeat(500));
    let garbage = [
        "",
        "ping",
        "null",
        "42",
        "[]",
        r#""auth""#,
        "{",
        "{}",
        r#"["auth",["x"]]"#,
        r#"{"event":1}"#,
        r#"{"event":null,"args":[]}"#,
        r#"{"args":["start"]}"#,
        r#"{"event":"send logs","args":[1]}"#,
        r#"{"event":"send logs","args":[{}]}"#,
        r#"{"event":"send logs","args":[["a"]]}"#,
        r#"{"event":"send logs","args":{}}"#,
        r#"{"event":"send logs","args":7}"#,
        r#"{"event":"send logs","args":true}"#,
        r#"{"event":"send logs"} x"#,
        "{\"event\":\"send logs\u{0}\"",
        &deep,
    ];
    for frame in garbage {
        assert_eq!(Talk::new().say(frame), [], "{frame}");
        assert_eq!(Talk::live(OWNER).say(frame), [], "{frame}");
    }
}

#[test]
fn members_nobody_knows_are_skipped_however_deep() {
    let deep = format!(r#"{{"event":"send logs","x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert!(Talk::live(CONNECT).say(&deep) == [Action::SendLogs]);
}

#[test]
fn every_spelling_of_no_arguments_is_taken() {
    for args in ["", r#","args":null"#, r#","args":[]"#, r#","args":[null]"#, r#","args":[""]"#, r#","args":"","id":3"#]
    {
        let said = format!("{{\"event\":\"send logs\"{args}}}\n");
        assert_eq!(Talk::live(CONNECT).say(&said), [Action::SendLogs], "{said}");
        let said = format!("{{\"event\":\"send stats\"{args}}}");
        assert_eq!(Talk::live(CONNECT).say(&said), [Action::SendStats], "{said}");
    }
}

#[test]
fn arguments_are_joined_and_a_bare_string_is_taken() {
    for args in [r#"["st","art"]"#, r#"["start"]"#, r#""start""#, r#"[null,"start"]"#] {
        let said = format!(r#"{{"event":"set state","args":{args}}}"#);
        let expected = Action::Power { action: PowerAction::Start, user: Some(user()) };
        assert_eq!(Talk::live(OWNER).say(&said), [expected], "{said}");
    }
}

#[test]
fn unknown_events_are_ignored_once_authenticated() {
    let mut talk = Talk::live(OWNER);
    for event in ["status", "stats", "console output", "Send Logs", "send", ""] {
        assert_eq!(talk.say(&frame(event, "x")), [], "{event}");
        talk.pass_ms(5_000);
    }
}

// §3.5: failed auth

#[test]
fn a_refused_token_is_told_by_the_texts_clients_know() {
    let with = |change: &dyn Fn(&mut wire::token::Claims)| {
        let mut refused = claims(0, OWNER);
        change(&mut refused);
        refused
    };
    let table = [
        ("expired", with(&|c| c.exp = Some(c.iat.unwrap() - 1)), "jwt: exp claim is invalid"),
        ("endless", with(&|c| c.exp = None), "jwt: exp claim is invalid"),
        ("from the future", with(&|c| c.nbf = Some(c.iat.unwrap() + 61)), "jwt: nbf claim is invalid"),
        (
            "older than the node",
            with(&|c| c.iat = Some(c.iat.unwrap() - 3601)),
            "jwt: created too far in past (denylist)",
        ),
        ("without iat", with(&|c| c.iat = None), "jwt: created too far in past (denylist)"),
        ("without connect", with(&|c| c.permissions = vec!["control.start".into()]), "jwt: missing connect permission"),
        ("without scope", with(&|c| c.scope = "file-download".into()), "jwt: missing connect permission"),
        ("of another server", with(&|c| c.server_uuid = OTHER_SERVER.into()), "jwt: server uuid mismatch"),
    ];
    for (name, refused, text) in table {
        let mut talk = Talk::new();
        assert_eq!(talk.say(&auth(&refused)), jwt_error(&wrapped(text)), "{name}");
        assert!(talk.session.access().is_none(), "{name}: not kept");
        assert_eq!(
            talk.say(&frame("send logs", "")),
            jwt_error("jwt: no jwt present"),
            "{name}: still unauthenticated"
        );
        assert_eq!(talk.say(&auth(&claims(0, OWNER)))[0], send(Event::AuthSuccess), "{name}: may retry");
    }
}

#[test]
fn a_token_that_is_none_is_a_daemon_error_so_that_no_interface_gives_up() {
    for token in ["", "garbage", "bad signature", "a.b.c"] {
        let mut talk = Talk::new();
        assert_eq!(
            talk.say(&frame("auth", token)),
            daemon_error("this token was not accepted; get a new one"),
            "{token}"
        );
        assert_eq!(talk.say(&auth(&claims(0, OWNER)))[0], send(Event::AuthSuccess), "{token}: may retry");
    }
    assert_eq!(Talk::new().say(r#"{"event":"auth"}"#), daemon_error("this token was not accepted; get a new one"));
}

#[test]
fn the_reason_is_told_to_those_who_may_see_errors_already() {
    let mut talk = Talk::live(ADMIN);
    assert_eq!(talk.say(&frame("auth", "bad signature")), daemon_error("jwt: HMAC verification failed"));
}

#[test]
fn a_failed_renewal_leaves_the_token_before_it_in_force() {
    let mut talk = Talk::live(OWNER);
    assert_eq!(talk.say(&auth(&claims(-4000, CONNECT))), jwt_error(&wrapped("jwt: exp claim is invalid")));
    assert_eq!(talk.say(&frame("set state", "kill")).len(), 1);
    assert!(talk.session.access().unwrap().permissions.has(permission::STOP));
    assert!(talk.session.may_receive("console output"));
}

#[test]
fn failed_auths_in_a_row_close_the_connection_and_a_good_one_starts_anew() {
    let mut talk = Talk::with(Policy { limits: unlimited(), ..Policy::default() });
    for _ in 0..4 {
        assert_eq!(talk.say(&frame("auth", "x")).len(), 1);
    }
    talk.say(&auth(&claims(0, OWNER)));
    for _ in 0..4 {
        assert_eq!(talk.say(&frame("auth", "x")).len(), 1);
    }
    let last = talk.say(&frame("auth", "x"));
    assert_eq!(last[1..], [Action::Close(CloseReason::AuthFailures)]);
    assert_eq!(talk.say(&auth(&claims(0, OWNER))), [], "closed is closed");
    assert_eq!(talk.session.deadline(), None);
}

#[test]
fn nobody_stays_without_authenticating() {
    let mut talk = Talk::new();
    assert_eq!(talk.pass_s(29), []);
    assert_eq!(talk.pass_s(2), [(1, Action::Close(CloseReason::AuthTimeout))]);
    assert_eq!(talk.pass_s(3600), []);
}

#[test]
fn a_message_after_the_deadline_finds_the_connection_closed_even_if_nobody_asked_the_time() {
    let mut talk = Talk::new();
    talk.pass_ms(30_000);
    assert_eq!(talk.say(&auth(&claims(30, OWNER))), [Action::Close(CloseReason::AuthTimeout)]);
}

// §4.3

#[test]
fn the_end_of_a_token_is_announced_twice_then_told_and_repeated_and_at_last_final() {
    let mut talk = Talk::live(OWNER);
    let life = u64::try_from(LIFE_S).unwrap();
    let seen = talk.pass_s(life + 400);
    let mut expected = vec![
        (life - 60, send(Event::TokenExpiring)),
        (life - 30, send(Event::TokenExpiring)),
        (life + 1, Action::Pause),
    ];
    expected.extend((0..10).map(|n| (life + 1 + 30 * n, send(Event::TokenExpired))));
    expected.push((life + 301, send(Event::TokenExpired)));
    expected.push((life + 301, Action::Close(CloseReason::TokenLapsed)));
    assert_eq!(seen, expected);
}

#[test]
fn the_last_second_of_a_token_is_still_valid() {
    let mut talk = Talk::live(OWNER);
    talk.pass_ms(u64::try_from(LIFE_S).unwrap() * 1000 + 999);
    assert_eq!(talk.say(&frame("send stats", "")), [send(Event::TokenExpiring), Action::SendStats]);
    talk.pass_ms(1);
    assert_eq!(
        talk.say(&frame("send stats", "")),
        [Action::Pause, send(Event::TokenExpired), send(Event::JwtError("jwt: exp claim is invalid".into())),]
    );
}

#[test]
fn after_its_end_nothing_goes_out_and_everything_is_answered_with_the_renewable_error() {
    let mut talk = Talk::live(OWNER);
    talk.pass_s(602);
    assert!(!talk.session.may_receive("console output"));
    assert!(!talk.session.may_receive("status"));
    for said in [frame("send logs", ""), frame("set state", "kill"), frame("no such event", "")] {
        assert_eq!(talk.say(&said), jwt_error("jwt: exp claim is invalid"), "{said}");
    }
    assert_eq!(talk.outcome("too late", true), []);
    assert_eq!(talk.say("ping"), [], "not a message");
}

#[test]
fn a_renewal_after_the_end_resumes_without_a_second_status() {
    let mut talk = Talk::live(OWNER);
    talk.pass_s(700);
    assert_eq!(talk.say(&auth(&claims(700, OWNER))), [send(Event::AuthSuccess), Action::Resume]);
    assert!(talk.session.may_receive("console output"));
    assert_eq!(talk.pass_s(539), []);
    assert_eq!(talk.pass_s(1), [(1, send(Event::TokenExpiring))]);
}

#[test]
fn a_renewal_starts_the_timers_anew() {
    let mut talk = Talk::live(OWNER);
    assert_eq!(talk.pass_s(545).len(), 1);
    talk.say(&auth(&claims(545, OWNER)));
    assert_eq!(talk.pass_s(500), []);
}

#[test]
fn a_token_near_its_end_is_announced_at_once_and_only_once() {
    let mut talk = Talk::new();
    assert_eq!(talk.say(&auth(&claims(20 - LIFE_S, OWNER))), [send(Event::AuthSuccess), Action::Attach]);
    assert_eq!(talk.pass_s(0), [(0, send(Event::TokenExpiring))]);
    assert_eq!(talk.pass_s(21), [(21, Action::Pause), (21, send(Event::TokenExpired))]);
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

// §2.4, §3.5: revocation

#[test]
fn a_revoked_connection_is_closed_so_that_it_comes_back() {
    let denials: [&dyn Fn(&mut Talk); 3] = [
        &|talk| talk.denylist.deny_jti("some-jti", talk.now),
        &|talk| talk.denylist.deny_user(Some(crate::talk::server()), user(), talk.now),
        &|talk| talk.denylist.deny_user(None, user(), talk.now),
    ];
    for deny in denials {
        let mut talk = Talk::live(OWNER);
        talk.pass_ms(10_000);
        deny(&mut talk);
        assert_eq!(talk.revoked(), [Action::Close(CloseReason::Deauthorized)]);
        assert_eq!(talk.revoked(), []);
        // The old token is refused on the next connection, a fresh one is not.
        let mut again = Talk { denylist: talk.denylist.clone(), now: talk.now, ..Talk::new() };
        assert_eq!(again.say(&auth(&claims(0, OWNER))), jwt_error(&wrapped("jwt: created too far in past (denylist)")));
        again.pass_ms(1_000);
        assert_eq!(again.say(&auth(&claims(11, OWNER)))[0], send(Event::AuthSuccess));
    }
}

#[test]
fn a_message_of_a_revoked_connection_does_nothing_but_close_it() {
    let mut talk = Talk::live(OWNER);
    talk.denylist.deny_user(None, user(), talk.now);
    assert_eq!(talk.say(&frame("set state", "kill")), [Action::Close(CloseReason::Deauthorized)]);
}

#[test]
fn the_revocation_of_somebody_else_changes_nothing() {
    let mut talk = Talk::live(OWNER);
    talk.denylist.deny_user(Some(OTHER_SERVER.parse().unwrap()), user(), talk.now);
    talk.denylist.deny_user(None, OTHER_SERVER.parse().unwrap(), talk.now);
    talk.denylist.deny_jti("another", talk.now);
    assert_eq!(talk.revoked(), []);
    assert_eq!(Talk::new().revoked(), []);
}

// §3.3

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
fn throttling_comes_before_the_token() {
    let mut talk = Talk::new();
    for _ in 0..4 {
        assert_eq!(talk.say(&frame("set state", "start")), jwt_error("jwt: no jwt present"));
    }
    assert_eq!(talk.say(&frame("set state", "start")), [send(Event::Throttled("set state".into()))]);
    assert_eq!(talk.say(&frame("set state", "start")), []);
    assert_eq!(talk.say(&auth(&claims(0, OWNER)))[0], send(Event::AuthSuccess), "auth has a bucket of its own");
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

// §4.4, §5.3

#[test]
fn each_power_action_needs_its_permission_and_says_so() {
    let table = [
        (PowerAction::Start, "control.start"),
        (PowerAction::Stop, "control.stop"),
        (PowerAction::Restart, "control.restart"),
        (PowerAction::Kill, "control.stop"),
    ];
    for (action, needed) in table {
        let said = frame("set state", action.as_str());
        for held in ["control.start", "control.stop", "control.restart", "control.console", "control"] {
            let actions = Talk::live(&["websocket.connect", held]).say(&said);
            if held == needed {
                assert_eq!(actions, [Action::Power { action, user: Some(user()) }], "{action} with {held}");
            } else {
                let text = format!("you may not {action} this server: the permission {needed} is missing");
                assert_eq!(actions, daemon_error(&text), "{action} with {held}");
            }
        }
        assert_eq!(Talk::live(OWNER).say(&said), [Action::Power { action, user: Some(user()) }]);
    }
}

#[test]
fn an_unknown_power_word_is_refused_whatever_the_permissions() {
    for permissions in [CONNECT, OWNER] {
        assert_eq!(
            Talk::live(permissions).say(&frame("set state", "reboot")),
            daemon_error(r#"there is no power action "reboot"; use start, stop, restart or kill"#)
        );
    }
    assert_eq!(
        Talk::live(OWNER).say(r#"{"event":"set state","args":[]}"#),
        daemon_error(r#"there is no power action ""; use start, stop, restart or kill"#)
    );
    let long = Talk::live(OWNER).say(&frame("set state", &"x".repeat(4000)));
    assert!(matches!(&long[..], [Action::Send(Event::DaemonError(text))] if text.len() < 200), "{long:?}");
}

#[test]
fn outgoing_events_need_their_permissions() {
    let table: [(&str, &[&str], bool); 10] = [
        ("console output", CONNECT, true),
        ("status", CONNECT, true),
        ("install output", OWNER, false),
        ("install output", ADMIN, true),
        ("transfer logs", OWNER, false),
        ("transfer logs", ADMIN, true),
        ("backup completed", CONNECT, false),
        ("backup completed:some-uuid", CONNECT, false),
        ("backup completed:some-uuid", &["websocket.connect", "backup.read"], true),
        ("backup completed", OWNER, true),
    ];
    for (event, permissions, may) in table {
        assert_eq!(Talk::live(permissions).session.may_receive(event), may, "{event} with {permissions:?}");
    }
    assert!(!Talk::new().session.may_receive("console output"));
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

// §5.4

#[test]
fn commands_go_to_the_game_as_one_line() {
    let table = [
        ("say hi", "say hi"),
        ("say hi\r\n", "say hi"),
        ("", ""),
        ("\n", ""),
        ("tab\there", "tab\there"),
        ("ümläut ✓", "ümläut ✓"),
    ];
    for (said, text) in table {
        let expected = Action::Command { text: text.into(), user: Some(user()) };
        assert_eq!(Talk::live(&["websocket.connect", "control.console"]).say(&frame("send command", said)), [expected]);
    }
}

#[test]
fn commands_that_are_no_line_of_text_are_refused_with_the_reason() {
    let control = |code| {
        format!("a command cannot contain control characters, this one has U+{code}; only text and tabs reach the game")
    };
    let many = "a command is one line; send one message for each".to_owned();
    let table = [
        ("\u{3}", control("0003")),
        ("say \u{1b}[31mred", control("001B")),
        ("nul\0", control("0000")),
        ("\u{7f}", control("007F")),
        ("\u{9b}31m", control("009B")),
        ("say hi\nop me", many.clone()),
        ("say hi\rop me", many),
    ];
    for (said, text) in table {
        assert_eq!(Talk::live(OWNER).say(&frame("send command", said)), daemon_error(&text), "{said:?}");
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
fn a_command_needs_the_permission_before_anything_else() {
    for said in ["say hi", "\u{3}"] {
        assert_eq!(
            Talk::live(CONNECT).say(&frame("send command", said)),
            daemon_error("you may not send commands to this server: the permission control.console is missing")
        );
    }
}

// §3.5: failed actions

#[test]
fn the_real_reason_of_a_failure_is_for_admins_unless_it_is_public() {
    let generic = "the request failed; an administrator finds the reason in the node's log";
    assert_eq!(Talk::live(OWNER).outcome("disk on fire", false), daemon_error(generic));
    assert_eq!(Talk::live(ADMIN).outcome("disk on fire", false), daemon_error("disk on fire"));
    assert_eq!(Talk::live(CONNECT).outcome("busy", true), daemon_error("busy"));
}

// §3.5: suspension, deletion

#[test]
fn suspension_closes_whoever_is_there() {
    for mut talk in [Talk::new(), Talk::live(OWNER)] {
        let mut out = Vec::new();
        talk.session.suspended(&mut out);
        assert_eq!(out, [Action::Close(CloseReason::Suspended)]);
        assert_eq!(talk.session.access(), None);
    }
}

#[test]
fn deletion_is_an_event_for_viewers_and_a_close_for_everybody() {
    let mut out = Vec::new();
    Talk::live(CONNECT).session.deleted(&mut out);
    assert_eq!(out, [send(Event::Deleted), Action::Close(CloseReason::Deleted)]);
    out.clear();
    Talk::new().session.deleted(&mut out);
    assert_eq!(out, [Action::Close(CloseReason::Deleted)]);
}

#[test]
fn the_holder_of_the_token_is_the_one_who_acts() {
    let mut talk = Talk::live(OWNER);
    let mut other = claims(0, OWNER);
    other.user_uuid = USER.replace('9', "8");
    talk.say(&auth(&other));
    let expected = Action::Power { action: PowerAction::Stop, user: Some(other.user_uuid.parse().unwrap()) };
    assert_eq!(talk.say(&frame("set state", "stop")), [expected]);
}
