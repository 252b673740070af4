//! Every message, close code and body against a file of its own in `testdata`, which other languages' tests read as well; its README
//! says what is there.
//!
//! A file holds exactly what is on the wire, and a newline that is not. A new event or close code does not compile here without
//! a fixture, and a fixture that nothing reads fails.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wire::api::{CommandRequest, Credentials, ErrorBody, PowerRequest};
use wire::close::CloseReason;
use wire::console::{Event, Incoming, Message, client, console_output_frame};
use wire::server::{Network, PowerAction, State, Stats};
use wire::token::Claims;

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

/// A fixture as it is on the wire.
fn fixture(path: &str) -> String {
    let text = std::fs::read_to_string(folder(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.strip_suffix('\n').unwrap_or_else(|| panic!("{path}: no newline at the end")).to_owned()
}

/// Rows of a table of cases.
fn table<T: DeserializeOwned>(path: &str) -> Vec<T> {
    let rows: Vec<T> = serde_json::from_str(&fixture(path)).unwrap();
    assert!(!rows.is_empty(), "{path}");
    rows
}

/// Fails when a folder holds a fixture that was not read.
fn assert_all_read(name: &str, read: impl IntoIterator<Item = String>) {
    let files = std::fs::read_dir(folder(name)).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let expected: BTreeSet<String> = read.into_iter().map(|name| format!("{name}.json")).collect();
    assert_eq!(files.collect::<BTreeSet<_>>(), expected, "{name}");
}

/// What stands beside the folders above: `transcripts` are conversations, which the engine's tests hold.
#[test]
fn nothing_stands_in_the_folder_that_no_test_reads() {
    let names = std::fs::read_dir(folder("")).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let known = [
        "README.md",
        "client",
        "close",
        "incoming.json",
        "numbered",
        "outgoing.json",
        "rest",
        "server",
        "stats.json",
        "token",
        "transcripts",
    ];
    assert_eq!(names.collect::<BTreeSet<_>>(), known.map(str::to_owned).into());
}

/// Every event with the names and values of its fixtures.
fn events() -> Vec<(&'static str, Event)> {
    const ID: &str = "Error Event [5f2f0ed1-7a7f-4c1e-9c0e-2f6c1d3b4a59]";
    let stats = Stats {
        memory_bytes: 526_626_816,
        memory_limit_bytes: 588_800_000,
        cpu_absolute: 588.815,
        network: Network { rx_bytes: 0, tx_bytes: 1024 },
        uptime: 61_234,
        state: State::Running,
        disk_bytes: 1_048_576,
    };
    let odd =
        "\u{1b}[32mgreen\u{1b}[0m \"quoted\" back\\slash tab\t 10%\r50%\rnul\0 \u{7f} <b>&amp;</b> grüße ✓ 🎉 \u{fffd}";
    let already = format!("{ID}: the server is already running; stop or restart it instead");
    vec![
        ("auth-success", Event::AuthSuccess),
        ("token-expiring", Event::TokenExpiring),
        ("token-expired", Event::TokenExpired),
        ("jwt-error", Event::JwtError("jwt: no jwt present".into())),
        ("jwt-error-wrapped", Event::JwtError(format!("{ID}: jwt: exp claim is invalid"))),
        ("daemon-error", Event::DaemonError(already)),
        ("daemon-message", Event::DaemonMessage("installation begins".into())),
        ("throttled", Event::Throttled(client::SEND_LOGS.into())),
        ("throttled-global", Event::Throttled("global".into())),
        ("status-offline", Event::Status(State::Offline)),
        ("status-starting", Event::Status(State::Starting)),
        ("status-running", Event::Status(State::Running)),
        ("status-stopping", Event::Status(State::Stopping)),
        ("stats", Event::Stats(serde_json::to_string(&stats).unwrap())),
        (
            "console-output",
            Event::ConsoleOutput("[14:07:12] [Query Listener #1/INFO]: Query running on 0.0.0.0:25565".into()),
        ),
        ("console-output-empty", Event::ConsoleOutput(String::new())),
        ("console-output-odd", Event::ConsoleOutput(odd.into())),
        ("deleted", Event::Deleted),
        ("install-started", Event::InstallStarted),
        ("install-output", Event::InstallOutput("Downloading the server …".into())),
        ("install-completed", Event::InstallCompleted),
    ]
}

/// One number per event. A new one does not compile until it is here, and then needs a fixture.
const fn ordinal(event: &Event) -> usize {
    match event {
        Event::AuthSuccess => 0,
        Event::TokenExpiring => 1,
        Event::TokenExpired => 2,
        Event::JwtError(_) => 3,
        Event::DaemonError(_) => 4,
        Event::DaemonMessage(_) => 5,
        Event::Throttled(_) => 6,
        Event::Status(_) => 7,
        Event::Stats(_) => 8,
        Event::ConsoleOutput(_) => 9,
        Event::Deleted => 10,
        Event::InstallStarted => 11,
        Event::InstallOutput(_) => 12,
        Event::InstallCompleted => 13,
        // Of the protocol with numbers: see `numbered.rs`.
        Event::Attached(_) | Event::Heartbeat(_) | Event::Receipt(_) => usize::MAX,
    }
}

#[test]
fn what_a_node_sends_is_its_fixture_to_the_byte() {
    for (name, event) in events() {
        let file = fixture(&format!("server/{name}.json"));
        assert_eq!(event.frame(false), file, "{name}");
        let message: Message = serde_json::from_str(&file).unwrap();
        assert_eq!(message.event, event.name(), "{name}");
        assert_eq!(message.args.first().map(String::as_str), event.arg().as_deref(), "{name}");
        assert_eq!(serde_json::to_string(&message).unwrap(), file, "{name}: written again");
        if let Event::ConsoleOutput(line) = &event {
            assert_eq!(console_output_frame(line), file);
        }
    }
    assert_eq!(Event::AuthSuccess.frame(true), fixture("server/auth-success-with-args.json"));
    let read = events().into_iter().map(|(name, _)| name).chain(["auth-success-with-args"]);
    assert_all_read("server", read.map(str::to_owned));
}

#[test]
fn every_event_has_a_fixture_and_a_name_of_its_own() {
    let events = events();
    let ordinals: BTreeSet<usize> = events.iter().map(|(_, event)| ordinal(event)).collect();
    assert_eq!(ordinals, (0..ordinals.len()).collect());
    let names: BTreeSet<&str> = events.iter().map(|(_, event)| event.name()).collect();
    assert_eq!(names.len(), ordinals.len());
}

#[test]
fn args_are_added_only_where_there_are_none() {
    for (name, event) in events() {
        let frame = event.frame(true);
        if event.arg().is_some() {
            assert_eq!(frame, fixture(&format!("server/{name}.json")));
        } else {
            assert_eq!(frame, format!(r#"{{"event":"{}","args":[]}}"#, event.name()));
        }
    }
}

#[test]
fn what_clients_send_is_read_from_its_fixture() {
    let table = [
        ("auth", client::AUTH, "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiIsImp0aSI6Ij..."),
        ("send-logs", client::SEND_LOGS, ""),
        ("send-stats", client::SEND_STATS, ""),
        ("set-state-start", client::SET_STATE, "start"),
        ("set-state-stop", client::SET_STATE, "stop"),
        ("set-state-restart", client::SET_STATE, "restart"),
        ("set-state-kill", client::SET_STATE, "kill"),
        ("send-command", client::SEND_COMMAND, "say hello"),
    ];
    for (name, event, args) in table {
        let file = fixture(&format!("client/{name}.json"));
        assert_eq!(
            Incoming::decode(&file).unwrap(),
            Incoming { event: event.into(), args: args.into(), id: None },
            "{name}"
        );
        if !args.is_empty() {
            let message = Message { event: event.into(), args: vec![args.into()] };
            assert_eq!(serde_json::to_string(&message).unwrap(), file, "{name}: as a client of ours writes it");
        }
    }
    assert_all_read("client", table.map(|(name, ..)| name.to_owned()));
    for action in PowerAction::ALL {
        assert!(table.iter().any(|(_, event, args)| *event == client::SET_STATE && *args == action.as_str()));
        assert_eq!(PowerAction::from_word(action.as_str()), Some(action));
    }
}

#[derive(Deserialize)]
struct IncomingCase {
    why: String,
    frame: String,
    event: Option<String>,
    args: Option<String>,
    #[serde(default)]
    ignored: bool,
}

#[test]
fn a_node_reads_what_known_clients_send_and_ignores_the_rest() {
    for case in table::<IncomingCase>("incoming.json") {
        let expected =
            (!case.ignored).then(|| Incoming { event: case.event.unwrap(), args: case.args.unwrap(), id: None });
        assert_eq!(Incoming::decode(&case.frame), expected, "{}", case.why);
    }
}

#[derive(Deserialize)]
struct OutgoingCase {
    why: String,
    frame: String,
    event: String,
    args: Vec<String>,
}

#[test]
fn a_client_of_ours_reads_what_other_nodes_send() {
    for case in table::<OutgoingCase>("outgoing.json") {
        let message: Message = serde_json::from_str(&case.frame).unwrap();
        assert_eq!(message, Message { event: case.event, args: case.args }, "{}", case.why);
    }
}

#[derive(Deserialize)]
struct StatsCase {
    why: String,
    document: String,
    reads: Value,
}

#[test]
fn stats_are_read_whoever_wrote_them() {
    for case in table::<StatsCase>("stats.json") {
        let stats: Stats = serde_json::from_str(&case.document).unwrap();
        assert_eq!(serde_json::to_value(stats).unwrap(), case.reads, "{}", case.why);
    }
}

#[test]
fn every_close_has_a_fixture_that_fits_into_a_frame() {
    let name = |reason| match reason {
        CloseReason::Deleted => "deleted",
        CloseReason::Suspended => "suspended",
        CloseReason::GoingAway => "going-away",
        CloseReason::Deauthorized => "deauthorized",
        CloseReason::AuthTimeout => "auth-timeout",
        CloseReason::AuthFailures => "auth-failures",
        CloseReason::TokenLapsed => "token-lapsed",
        CloseReason::MessageTooBig => "message-too-big",
        CloseReason::ProtocolError => "protocol-error",
        CloseReason::InvalidText => "invalid-text",
        CloseReason::TooSlow => "too-slow",
        CloseReason::TooManyConnections => "too-many-connections",
        CloseReason::Internal => "internal",
    };
    for reason in CloseReason::ALL {
        let written = json!({ "code": reason.code(), "reason": reason.text(), "come_back": reason.come_back() });
        let file: Value = serde_json::from_str(&fixture(&format!("close/{}.json", name(reason)))).unwrap();
        assert_eq!(written, file, "{reason:?}");
        assert!(reason.text().len() <= 123, "{reason:?}");
        // These four make the stock interface stay away for good, which only a final close may do.
        let stays_away = [1000, 1001, 1005, 4409].contains(&reason.code());
        assert_eq!(stays_away, !reason.come_back(), "{reason:?}");
    }
    assert_all_read("close", CloseReason::ALL.map(|reason| name(reason).to_owned()));
}

/// Reads a body and writes it again, to the byte.
fn round_trip<T: Serialize + DeserializeOwned>(path: &str) -> T {
    let file = fixture(path);
    let body: T = serde_json::from_str(&file).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert_eq!(serde_json::to_string(&body).unwrap(), file, "{path}");
    body
}

#[test]
fn rest_bodies_are_their_fixtures() {
    let credentials: Credentials = round_trip("rest/credentials.json");
    assert!(credentials.data.socket.starts_with("wss://") && credentials.data.socket.ends_with("/ws"));
    assert!(!format!("{credentials:?}").contains(&credentials.data.token), "a token is no text for logs");
    let error: ErrorBody = round_trip("rest/error.json");
    assert_eq!(error.errors[0].status, "404");
    let validation: ErrorBody = round_trip("rest/error-validation.json");
    assert_eq!(validation.errors[0].meta.as_ref().unwrap().source_field, "signal");
    assert_eq!(
        PowerAction::from_word(&round_trip::<PowerRequest>("rest/power.json").signal),
        Some(PowerAction::Restart)
    );
    assert_eq!(round_trip::<CommandRequest>("rest/command.json").command, "say hello");
    assert_all_read("rest", ["command", "credentials", "error", "error-validation", "power"].map(str::to_owned));
}

#[test]
fn claims_are_written_in_the_order_of_the_test_vector() {
    let claims: Claims = round_trip("token/claims.json");
    assert_eq!((claims.iat, claims.exp), (Some(1_800_000_000), Some(1_800_000_600)));
    assert_eq!(claims.aud.len(), 1);
    let vector: Value = serde_json::from_str(&fixture("token/vector.json")).unwrap();
    assert_eq!(vector["token"].as_str().unwrap().split('.').count(), 3);
    // The kinds are read with the transcripts.
    assert_all_read("token", ["claims", "kinds", "vector"].map(str::to_owned));
}

#[test]
fn dates_with_fractions_are_no_claims() {
    for date in ["1800000000.5", "\"1800000000\"", "1e400", "9223372036854775808", "[]"] {
        assert!(serde_json::from_str::<Claims>(&format!(r#"{{"exp":{date}}}"#)).is_err(), "{date}");
    }
    assert_eq!(serde_json::from_str::<Claims>("{}").unwrap(), Claims::default());
}
