//! What holds for any conversation, whatever is said and however the clocks move.

use engine::session::Action;
use proptest::prelude::*;
use wire::console::Event;

use crate::talk::{Talk, auth, claims, frame, user};

#[derive(Clone, Debug)]
enum Step {
    Say(String),
    Pass { ms: u64, wall_drift_ms: i64, ask: bool },
    Deny,
    Outcome,
}

fn step() -> impl Strategy<Value = Step> {
    let permissions = prop_oneof![
        Just(vec!["*"]),
        Just(vec!["websocket.connect"]),
        Just(vec!["websocket.connect", "control.console"]),
        Just(vec!["control.start"])
    ];
    prop_oneof![
        4 => (-700i64..4000, permissions).prop_map(|(at_s, held)| Step::Say(auth(&claims(at_s, &held)))),
        1 => Just(Step::Say(frame("auth", "bad signature"))),
        2 => "[a-z\\[\\]{}\":, ]{0,40}".prop_map(Step::Say),
        4 => ("(send logs|send stats|set state|send command|x)", "\\PC{0,8}|start|kill|\n|\u{3}")
            .prop_map(|(event, arg)| Step::Say(frame(&event, &arg))),
        6 => (0u64..700_000, -1_000_000i64..1_000_000, any::<bool>())
            .prop_map(|(ms, wall_drift_ms, ask)| Step::Pass { ms, wall_drift_ms, ask }),
        1 => Just(Step::Deny),
        1 => Just(Step::Outcome),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn no_conversation_breaks_the_rules(steps in prop::collection::vec(step(), 1..60)) {
        let mut talk = Talk::new();
        let (mut attached, mut paused, mut closed) = (false, false, false);
        for step in steps {
            let (actions, asked) = match step {
                Step::Say(frame) => (talk.say(&frame), true),
                Step::Pass { ms, wall_drift_ms, ask } => {
                    talk.pass_ms(ms);
                    talk.now.wall_ms += wall_drift_ms;
                    (if ask { talk.tick() } else { Vec::new() }, ask)
                }
                Step::Deny => {
                    talk.denylist.deny_user(None, user(), None, talk.now);
                    (talk.revoked(), false)
                }
                Step::Outcome => (talk.outcome("x", true), false),
            };
            for action in actions {
                prop_assert!(!closed, "{:?} after the close", action);
                match action {
                    Action::Attach => {
                        prop_assert!(!attached, "attached twice");
                        attached = true;
                    }
                    Action::Pause => {
                        prop_assert!(attached && !paused);
                        paused = true;
                    }
                    Action::Resume => {
                        prop_assert!(paused);
                        paused = false;
                    }
                    Action::Close(_) => closed = true,
                    Action::Follow(_)
                    | Action::SendLogs
                    | Action::SendStats
                    | Action::Power { .. }
                    | Action::Command { .. } => {
                        prop_assert!(attached && !paused, "acted without a valid token");
                    }
                    Action::Send(Event::TokenExpired) => prop_assert!(paused),
                    Action::Send(Event::TokenExpiring) => prop_assert!(attached && !paused),
                    Action::Send(_) => {}
                }
            }
            prop_assert_eq!(talk.session.deadline().is_none(), closed);
            prop_assert_eq!(talk.session.may_receive("console output"), attached && !paused && !closed);
            if asked && !closed {
                // A fresh token near its end is announced right after; otherwise what is due has been done.
                let deadline_ms = talk.session.deadline().unwrap_or(u64::MAX);
                if deadline_ms <= talk.now.mono_ms {
                    prop_assert_eq!(talk.tick(), [Action::Send(Event::TokenExpiring)]);
                }
                prop_assert!(talk.session.deadline().unwrap_or(u64::MAX) > talk.now.mono_ms);
            }
        }
    }
}
