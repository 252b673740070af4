//! The conversation with numbers: where lines begin, and one receipt for each request that has an id.

use engine::session::{Action, Outcome};
use wire::console::Event;
use wire::numbered::{Attach, Receipt, ReceiptOutcome};
use wire::server::PowerAction;

use crate::talk::Talk;

const ALL: &[&str] = &["*", "websocket.connect"];

fn command(id: &str) -> String {
    format!(r#"{{"event":"send command","args":["list"],"id":"{id}"}}"#)
}

fn receipt(id: &str, outcome: ReceiptOutcome, reason: Option<&str>) -> Action {
    Action::Send(Event::Receipt(Receipt { id: id.into(), outcome, reason: reason.map(str::to_owned) }))
}

fn refused(id: &str, reason: &str) -> Action {
    receipt(id, ReceiptOutcome::Refused, Some(reason))
}

#[test]
fn lines_begin_where_the_viewer_says() {
    let mut talk = Talk::numbered(ALL);
    let attach = |document: &str| format!(r#"{{"event":"attach","args":[{}]}}"#, serde_json::Value::from(document));
    assert_eq!(talk.say(&attach(r#"{"after":119}"#)), [Action::Follow(Attach::After(119))]);
    assert_eq!(talk.say(&attach(r#"{"last":500}"#)), [Action::Follow(Attach::Last(500))]);
    for nonsense in ["", "7", "{}", r#"{"after":-1}"#, r#"{"after":"x"}"#] {
        talk.pass_ms(2000);
        assert!(talk.say(&attach(nonsense)).is_empty(), "{nonsense}");
    }
    // To the plain protocol it is an unknown event.
    assert!(Talk::live(ALL).say(&attach(r#"{"last":500}"#)).is_empty());
}

#[test]
fn a_request_carries_its_id_to_its_outcome() {
    let mut talk = Talk::numbered(ALL);
    let asked = talk.say(&command("c1"));
    assert!(matches!(&asked[..], [Action::Command { id: Some(id), .. }] if id == "c1"), "{asked:?}");
    let asked = talk.say(r#"{"event":"set state","args":["stop"],"id":"p1"}"#);
    let [Action::Power { action: PowerAction::Stop, id: Some(id), .. }] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!(id, "p1");
    let failed = Outcome::refused("no".into());
    let unknown = Outcome { unknown: true, ..failed.clone() };
    let told = |talk: &mut Talk, failed: Option<&Outcome>| {
        talk.decide(|session, _, out| session.receipt("c1".into(), failed, out))
    };
    assert_eq!(told(&mut talk, None), [receipt("c1", ReceiptOutcome::Done, None)]);
    assert_eq!(told(&mut talk, Some(&failed)), [refused("c1", "no")]);
    assert_eq!(told(&mut talk, Some(&unknown)), [receipt("c1", ReceiptOutcome::Unknown, Some("no"))]);
    // What was asked for in time is answered, also when the token has ended since.
    talk.pass_s(700);
    assert_eq!(told(&mut talk, None), [receipt("c1", ReceiptOutcome::Done, None)]);
}

#[test]
fn whatever_is_not_done_has_its_receipt_too() {
    let mut talk = Talk::numbered(&["websocket.connect"]);
    let missing = "you may not send commands to this server: the permission control.console is missing";
    assert_eq!(talk.say(&command("c1")), [refused("c1", missing)]);
    let mut talk = Talk::numbered(ALL);
    talk.pass_s(700);
    let expired = "jwt: exp claim is invalid";
    assert_eq!(talk.say(&command("c2")), [Action::Send(Event::JwtError(expired.into())), refused("c2", expired)]);
    let mut talk = Talk::numbered(ALL);
    let answers: Vec<Action> = (0..40).flat_map(|n| talk.say(&command(&format!("c{n}")))).collect();
    let with_id = |n: usize| {
        let id = format!("c{n}");
        answers.iter().filter(move |action| match action {
            Action::Command { id: Some(given), .. } => *given == id,
            Action::Send(Event::Receipt(receipt)) => receipt.id == id,
            _ => false,
        })
    };
    for n in 0..40 {
        assert_eq!(with_id(n).count(), 1, "{n}");
    }
    assert_eq!(answers.iter().filter(|action| matches!(action, Action::Send(Event::Throttled(_)))).count(), 1);
}

#[test]
fn an_id_means_something_only_where_it_was_agreed_on() {
    let asked = Talk::live(ALL).say(&command("c1"));
    assert!(matches!(&asked[..], [Action::Command { id: None, .. }]), "{asked:?}");
    let asked = Talk::numbered(ALL).say(&command(&"x".repeat(65)));
    assert!(matches!(&asked[..], [Action::Command { id: None, .. }]), "{asked:?}");
    assert!(Talk::numbered(ALL).say(r#"{"event":"nonsense","args":[],"id":"c1"}"#).is_empty());
}
