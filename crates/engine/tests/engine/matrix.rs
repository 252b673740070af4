//! Who may do what: every event a client sends and every event a node sends, against every permission alone. An event or a permission
//! that is new needs a row here: the lists are read from the sources.

use std::collections::BTreeSet;

use engine::session::Action;
use wire::console::Event;

use crate::talk::{Talk, auth, claims, frame};

/// What a client asks for, with an argument that makes sense, and the permission it needs beside `websocket.connect`.
const ASKED: &[(&str, &str, Option<&str>)] = &[
    ("send logs", "", None),
    ("send stats", "", None),
    ("set state", "start", Some("control.start")),
    ("set state", "stop", Some("control.stop")),
    ("set state", "restart", Some("control.restart")),
    ("set state", "kill", Some("control.stop")),
    ("send command", "list", Some("control.console")),
];
/// The same for clients who count lines.
const ASKED_WITH_NUMBERS: &[(&str, &str, Option<&str>)] = &[("attach", r#"{"last":5}"#, None)];
/// What a node sends to whoever is authenticated, and the permission it needs beside `websocket.connect`.
const TOLD: &[(&str, Option<&str>)] = &[
    ("status", None),
    ("stats", None),
    ("console output", None),
    ("daemon message", None),
    ("attached", None),
    ("gap", None),
    ("heartbeat", None),
    ("an event that is to come", None),
    ("install output", Some("admin.websocket.install")),
    ("transfer logs", Some("admin.websocket.transfer")),
    ("backup completed", Some("backup.read")),
    ("backup completed:0a1b2c3d", Some("backup.read")),
    ("install started", None),
    ("install completed", None),
];
/// What only the session itself says, in answer to what somebody may have asked without any right.
const OWN_WORDS: &[&str] = &[
    "auth success",
    "token expiring",
    "token expired",
    "jwt error",
    "daemon error",
    "throttled",
    "deleted",
    "receipt",
];

/// The strings of the constants in a module of a source file.
fn constants(source: &str, module: &str) -> BTreeSet<String> {
    let start = source.find(&format!("pub mod {module} {{")).unwrap();
    let body = source[start..].split("\n}").next().unwrap();
    body.lines().filter_map(|line| Some(line.split_once(": &str = \"")?.1.split('"').next()?.to_owned())).collect()
}

fn every_permission() -> BTreeSet<String> {
    let mut all = constants(include_str!("../../../wire/src/token.rs"), "permission");
    // Names that look like one and are none.
    all.extend(
        ["control", "control.", "control.start.x", "Control.start", "websocket", "admin", "admin.websocket", "backup"]
            .map(str::to_owned),
    );
    all
}

fn grants(held: &str, needed: Option<&str>) -> bool {
    needed.is_none_or(|needed| held == needed || (held == "*" && !needed.starts_with("admin")))
}

fn is_carried_out(actions: &[Action], event: &str, arg: &str) -> bool {
    matches!(
        (event, actions),
        ("send logs", [Action::SendLogs]) | ("send stats", [Action::SendStats]) | ("attach", [Action::Follow(_)])
    ) || match actions {
        [Action::Power { action, .. }] => event == "set state" && action.as_str() == arg,
        [Action::Command { text, .. }] => event == "send command" && text == arg,
        _ => false,
    }
}

#[test]
fn every_event_of_a_client_against_every_permission() {
    for held in every_permission() {
        for (numbered, rows) in [(false, ASKED), (true, ASKED), (true, ASKED_WITH_NUMBERS)] {
            for (event, arg, needed) in rows {
                let permissions = ["websocket.connect", &held];
                let mut talk = if numbered { Talk::numbered(&permissions) } else { Talk::live(&permissions) };
                let actions = talk.say(&frame(event, arg));
                if grants(&held, *needed) {
                    assert!(is_carried_out(&actions, event, arg), "{held} / {event} {arg}: {actions:?}");
                } else {
                    let needed = needed.unwrap();
                    let [Action::Send(Event::DaemonError(text))] = &actions[..] else {
                        panic!("{held} / {event} {arg}: {actions:?}")
                    };
                    assert!(text.ends_with(&format!("the permission {needed} is missing")), "{text}");
                }
            }
        }
    }
}

/// Without `websocket.connect` no other permission is of any use, and none of the events does anything.
#[test]
fn nothing_without_the_right_to_connect() {
    let mut held: Vec<Option<String>> = every_permission().into_iter().map(Some).collect();
    held.push(None);
    for held in held.iter().filter(|held| !matches!(held.as_deref(), Some("*" | "websocket.connect"))) {
        let permissions: Vec<&str> = held.iter().map(String::as_str).collect();
        for (event, arg, _) in ASKED.iter().chain(ASKED_WITH_NUMBERS) {
            let mut talk = Talk::new();
            let refused = talk.say(&auth(&claims(0, &permissions)));
            let [Action::Send(Event::JwtError(text))] = &refused[..] else { panic!("{held:?}: {refused:?}") };
            assert!(text.ends_with("jwt: missing connect permission"), "{text}");
            let expected = [Action::Send(Event::JwtError("jwt: no jwt present".to_owned()))];
            assert_eq!(talk.say(&frame(event, arg)), expected, "{held:?} / {event}");
            for (told, _) in TOLD {
                assert!(!talk.session.may_receive(told), "{held:?} / {told}");
            }
        }
    }
}

#[test]
fn every_event_of_a_node_against_every_permission() {
    for held in every_permission() {
        let talk = Talk::live(&["websocket.connect", &held]);
        for (event, needed) in TOLD {
            assert_eq!(talk.session.may_receive(event), grants(&held, *needed), "{held} / {event}");
        }
    }
}

/// What was taken away shows with the renewal, not only with a new connection.
#[test]
fn a_renewal_replaces_what_was_held() {
    let mut talk = Talk::live(&["*", "admin.websocket.install"]);
    assert!(talk.session.may_receive("install output"));
    assert_eq!(talk.say(&auth(&claims(0, &["websocket.connect"]))), [Action::Send(Event::AuthSuccess)]);
    assert!(!talk.session.may_receive("install output"));
    assert!(matches!(&talk.say(&frame("set state", "kill"))[..], [Action::Send(Event::DaemonError(_))]));
}

#[test]
fn every_event_has_a_row() {
    let source = include_str!("../../../wire/src/console.rs");
    let asked: BTreeSet<String> =
        ASKED.iter().chain(ASKED_WITH_NUMBERS).map(|row| row.0).chain(["auth"]).map(str::to_owned).collect();
    assert_eq!(constants(source, "client"), asked);
    let told: BTreeSet<String> =
        TOLD.iter().map(|row| row.0).chain(OWN_WORDS.iter().copied()).map(str::to_owned).collect();
    let missing: Vec<String> = constants(source, "server").difference(&told).cloned().collect();
    assert!(missing.is_empty(), "{missing:?}");
}
