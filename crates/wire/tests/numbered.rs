//! The messages of the protocol with numbers, each its fixture to the byte. The web interface reads the same files.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeSet;
use std::path::Path;

use wire::console::{Event, Incoming, frame, server};
use wire::history::LineKind;
use wire::node::Condition;
use wire::numbered::{
    self, Attach, Attached, Gap, Heartbeat, LineMembers, Receipt, ReceiptOutcome, StatusMembers, document, line_frame,
};

const AT: u64 = 1_800_000_000_000;

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/numbered")
}

fn fixture(name: &str) -> String {
    std::fs::read_to_string(folder().join(format!("{name}.json"))).unwrap().trim_end().to_owned()
}

/// What a node sends, by the name of its fixture.
fn sent() -> Vec<(&'static str, String)> {
    let receipt = |outcome, reason: Option<&str>| {
        Event::Receipt(Receipt { id: "c1".into(), outcome, reason: reason.map(str::to_owned) }).frame(false)
    };
    let line = |text, seq, kind, user| line_frame(text, &LineMembers { seq, at: AT + seq - 120, kind, user });
    let status = |state, members: StatusMembers| numbered::frame(server::STATUS, state, &members);
    let user = "99999999-8888-4777-8666-555555555555";
    let gap = Gap { from: 10, to: 20, reason: "no longer kept".into() };
    let unknown = "the game ended; whether it read the command is not known";
    let crashed = StatusMembers {
        exit: Some("exit code 3".into()),
        crashed: true,
        ended_at: Some(AT),
        restart_at: Some(AT + 2000),
        ..StatusMembers::default()
    };
    let condition = Some(Condition::CrashLooping);
    let looping = StatusMembers { condition, crashes_in_a_row: 2, restart_at: Some(AT + 4000), ..crashed.clone() };
    let given_up = StatusMembers { crashes_in_a_row: 6, gave_up: true, restart_at: None, ..looping.clone() };
    vec![
        ("attached", Event::Attached(Attached { next: 120, head: 128 }).frame(false)),
        ("heartbeat", Event::Heartbeat(Heartbeat { head: 128, at: AT }).frame(false)),
        ("gap", frame(server::GAP, Some(&document(&gap)), false)),
        ("receipt-done", receipt(ReceiptOutcome::Done, None)),
        ("receipt-refused", receipt(ReceiptOutcome::Refused, Some("the server is offline; start it first"))),
        ("receipt-unknown", receipt(ReceiptOutcome::Unknown, Some(unknown))),
        ("line-output", line("Done (2.5s)!", 120, LineKind::Output, None)),
        ("line-input", line("list", 121, LineKind::Input, Some(user))),
        ("line-notice", line("The server crashed: exit code 3.", 122, LineKind::Notice, None)),
        ("status-running", status("running", StatusMembers::default())),
        (
            "status-stopping",
            status("stopping", StatusMembers { kill_at: Some(AT + 10_000), ..StatusMembers::default() }),
        ),
        ("status-crashed", status("offline", crashed)),
        ("status-crash-looping", status("offline", looping)),
        ("status-given-up", status("offline", given_up)),
    ]
}

#[test]
fn what_a_node_sends_is_its_fixture_to_the_byte() {
    for (name, frame) in sent() {
        assert_eq!(frame, fixture(name), "{name}");
    }
    let files = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let clients = ["client-attach-after", "client-attach-last", "client-command"];
    let known = sent().into_iter().map(|(name, _)| name).chain(clients).map(|name| format!("{name}.json"));
    assert_eq!(files.collect::<BTreeSet<_>>(), known.collect::<BTreeSet<_>>());
}

#[test]
fn what_clients_send_is_read_from_its_fixture() {
    let attach = |name| serde_json::from_str::<Attach>(&Incoming::decode(&fixture(name)).unwrap().args).unwrap();
    assert_eq!(attach("client-attach-after"), Attach::After(119));
    assert_eq!(attach("client-attach-last"), Attach::Last(500));
    let command = Incoming::decode(&fixture("client-command")).unwrap();
    assert_eq!(
        (command.event.as_str(), command.args.as_str(), command.id.as_deref()),
        ("send command", "say hi", Some("c1"))
    );
    // An id of another kind is none, and costs the message nothing.
    for id in ["1", "null", "{}", "[\"x\"]"] {
        let read = Incoming::decode(&format!(r#"{{"event":"send command","args":["x"],"id":{id}}}"#)).unwrap();
        assert_eq!((read.args.as_str(), read.id), ("x", None), "{id}");
    }
}

#[test]
fn a_plain_client_reads_a_numbered_frame_like_any_other() {
    for (name, frame) in sent() {
        let message: wire::console::Message = serde_json::from_str(&frame).unwrap();
        assert!(!message.event.is_empty() && message.args.len() == 1, "{name}");
    }
}
