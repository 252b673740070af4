//! Games outlive the program: killed, restarted, stopped in good order, nothing is lost or repeated.
#![allow(clippy::unwrap_used, clippy::doc_markdown, clippy::print_stdout, missing_docs)]

use e2e::record::{self, numbers};
use e2e::socket::Heard;
use e2e::{Deck, Socket};
use serde_json::{Value, json};

/// The program is killed while the game prints 2,000 lines a second, and started again, three times: the same game, every line
/// once, in order.
#[tokio::test]
async fn killed_under_load_and_started_again_nothing_is_lost_or_repeated() {
    let mut deck = Deck::new().await;
    let server = deck.game("--rate 2000 --echo-stdin", json!({ "ready": "Done" })).await;
    let mut console = Socket::console(&deck, &server).await;
    console.say("set state", &json!(["start"])).await;
    console.line("line 1000").await;
    deck.learn_node_token().await;
    let pid = deck.details(&server).await["quarterdeck"]["pid"].clone();
    for round in 1..=3u64 {
        deck.kill().await;
        assert_eq!(console.end().await, Heard::Dropped);
        deck.up_again().await;
        console = Socket::console(&deck, &server).await;
        console.status("running").await;
        assert_eq!(deck.details(&server).await["quarterdeck"]["pid"], pid, "the same process");
        console.line("line ").await;
        console.say("send command", &json!([format!("round {round}")])).await;
        console.line(&format!("cmd: round {round}")).await;
    }
    console.say("set state", &json!(["kill"])).await;
    console.status("offline").await;
    console.close().await;
    // The record itself, from its first line to its last, as the node keeps it.
    let lines = record::output(&deck.node(), &server, false);
    let found = numbers(&lines);
    assert!(found.len() > 1000);
    assert_eq!(found, (0..found.len() as u64).collect::<Vec<_>>(), "every line once, in order");
    assert_eq!(lines.iter().filter(|line| line.starts_with("cmd: round")).count(), 3, "each command once");
}

/// Every number once, without holes.
fn in_order(found: &[u64], first: u64, what: &str) {
    let wrong = found.iter().zip(first..).find(|(found, expected)| *found != expected);
    assert_eq!(wrong, None, "{what}: (found, expected)");
}

/// A viewer that is cut off by the program's sudden end and comes back gets every line once: what it saw live, what `send logs` gives it
/// then, and what comes live behind that meet by number, in a terminal and in pipes.
#[tokio::test]
async fn a_viewer_across_restarts_under_load_sees_every_line_once() {
    for (mode, rounds) in [("pty", 1u64), ("pipe", 3)] {
        let mut deck = Deck::new().await;
        // From the next start on: enough history for the time that a viewer needs to come back.
        std::fs::write(deck.data().join("quarterdeck.toml"), "log_lines = 2000\n").unwrap();
        let spec = json!({ "ready": "Done", "console": mode });
        let server = deck.game("--rate 2000", spec).await;
        let mut console = Socket::console(&deck, &server).await;
        console.say("set state", &json!(["start"])).await;
        console.line("line 500").await;
        deck.learn_node_token().await;
        let pid = deck.details(&server).await["quarterdeck"]["pid"].clone();
        let mut before = numbers(&console.lines());
        in_order(&before, 0, &format!("{mode}: live from the first line on"));
        for round in 1..=rounds {
            deck.kill().await;
            assert_eq!(console.end().await, Heard::Dropped);
            let seen = before.last().copied().unwrap();
            before.extend(numbers(&console.lines()).into_iter().filter(|n| *n > seen));
            deck.up_again().await;
            assert_eq!(deck.details(&server).await["quarterdeck"]["pid"], pid, "{mode}, {round}: the same process");
            // Both at once, as our own client does.
            let (token, url) = deck.credentials(&server).await;
            console = Socket::open(&url, None).await.unwrap();
            console.say("auth", &json!([token])).await;
            console.say("send logs", &json!([null])).await;
            console.settle().await;
            let seam = console.lines().len();
            // Live lines behind the history, for a while.
            let last = *numbers(&console.lines()).last().unwrap();
            console.line(&format!("line {}", last + 1000)).await;
            assert!(console.lines().len() > seam);
            let mut after = numbers(&console.lines());
            // A live line that comes between the two requests is told again by the history, which begins before it.
            let history = after.windows(2).position(|pair| pair[1] < pair[0]).map_or(0, |at| at + 1);
            let between: Vec<u64> = after.drain(..history).collect();
            assert!(between.iter().all(|n| after.contains(n)), "{mode}, {round}: {between:?}");
            let first = after.first().copied().unwrap();
            assert_eq!(
                after,
                (first..first + after.len() as u64).collect::<Vec<_>>(),
                "{mode}, {round}: once, in order"
            );
            let seen = before.last().copied().unwrap();
            if first > seen + 1 {
                // A slow machine: more was printed meanwhile than `send logs` gives. The rest is in the record.
                println!("{mode}, {round}: seen up to {seen}, history from {first}");
                let lines = record::output(&deck.node(), &server, true);
                before.extend(numbers(&lines).into_iter().filter(|n| *n > seen && *n < first));
            }
            before.extend(after.into_iter().filter(|n| *n > seen));
            in_order(&before, 0, &format!("{mode}, {round}: before and after"));
        }
        console.say("set state", &json!(["kill"])).await;
        console.status("offline").await;
    }
}

/// An orderly stop tells viewers to come back, and leaves the game alone.
#[tokio::test]
async fn an_orderly_stop_says_come_back_and_leaves_games_alone() {
    let mut deck = Deck::new().await;
    let server = deck.game("--rate 100", json!({ "ready": "Done" })).await;
    let mut console = Socket::console(&deck, &server).await;
    console.say("set state", &json!(["start"])).await;
    console.line("line 10").await;
    deck.learn_node_token().await;
    let pid = deck.details(&server).await["quarterdeck"]["pid"].clone();
    assert!(deck.stop().await.success(), "{}", deck.log());
    console.wait_for("the reason", |heard| heard.is("daemon message")).await;
    assert!(matches!(console.end().await, Heard::Closed(1012, _)), "{:?}", console.heard.last());
    deck.up_again().await;
    let details = deck.details(&server).await;
    assert_eq!(details["quarterdeck"]["pid"], pid);
    assert!(details["utilization"]["uptime"].as_u64() > Some(0), "no false zeros: {details}");
    let mut console = Socket::console(&deck, &server).await;
    console.status("running").await;
    console.line("line ").await;
}

/// A game that ends while nobody looks has ended when the program is back, with its reason.
#[tokio::test]
async fn an_end_nobody_saw_is_reported_afterwards() {
    let mut deck = Deck::new().await;
    let server = deck.game("--obey --stop-command stop", json!({ "ready": "Done", "stop": "stop" })).await;
    let mut console = Socket::console(&deck, &server).await;
    console.say("set state", &json!(["start"])).await;
    console.status("running").await;
    deck.learn_node_token().await;
    let pid = deck.details(&server).await["quarterdeck"]["pid"].as_i64().unwrap();
    deck.kill().await;
    let game = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(game, rustix::process::Signal::KILL).unwrap();
    deck.up_again().await;
    let mut console = Socket::console(&deck, &server).await;
    console.say("send logs", &json!([null])).await;
    console.line("SIGKILL").await;
    let details: Value = deck.details(&server).await;
    assert_eq!(details["quarterdeck"]["last_exit"], "killed by SIGKILL", "{details}");
}

/// A shim that is killed takes its game with it, the loss is shown, and the next start continues the numbering.
#[tokio::test]
async fn a_killed_shim_leaves_no_orphan_and_the_numbering_goes_on() {
    let deck = Deck::new().await;
    let server = deck.game("--rate 100 --fork-children 2 --setsid", json!({ "ready": "Done" })).await;
    let mut console = Socket::console(&deck, &server).await;
    console.say("set state", &json!(["start"])).await;
    console.line("line 10").await;
    deck.learn_node_token().await;
    let before = deck.details(&server).await;
    let pid = before["quarterdeck"]["pid"].as_i64().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let shim = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).unwrap().parse().unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(shim).unwrap(), rustix::process::Signal::KILL)
        .unwrap();
    console.status("offline").await;
    let mark = format!("QUARTERDECK_RUN={}", deck.data().join("node/servers").join(&server).display());
    let left = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|entry| {
            let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            environ.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
        })
        .count();
    assert_eq!(left, 0, "no process of the game is left");
    // The crash policy starts it again; its lines go on behind those of the lost run.
    console.status("running").await;
    console.line("line 10").await;
    let after = deck.details(&server).await;
    assert!(after["quarterdeck"]["next_line"].as_u64() > before["quarterdeck"]["next_line"].as_u64());
}

/// A restart that back-off has planned is not forgotten when the program is killed meanwhile.
#[tokio::test]
async fn a_planned_restart_survives_the_program() {
    let mut deck = Deck::new().await;
    let server = deck.create(json!({ "command": "/bin/sh -c 'echo I am off; exit 3'" })).await;
    let mut console = Socket::console(&deck, &server).await;
    console.say("set state", &json!(["start"])).await;
    console.line("exit code 3").await;
    deck.kill().await;
    deck.up_again().await;
    let mut console = Socket::console(&deck, &server).await;
    console.say("send logs", &json!([null])).await;
    console.line("I am off").await;
    console.line("I am off").await;
}

/// A game that stops its own shim (both run as one user) neither escapes a kill nor keeps its server from being used again; a
/// command meanwhile is answered, if only by saying that nobody knows.
#[tokio::test]
async fn a_game_that_stops_its_shim_can_still_be_killed() {
    let deck = Deck::new().await;
    let server = deck.game("--echo-stdin", json!({ "ready": "Done" })).await;
    let mut console = Socket::console(&deck, &server).await;
    console.say("set state", &json!(["start"])).await;
    console.status("running").await;
    deck.learn_node_token().await;
    let pid = deck.details(&server).await["quarterdeck"]["pid"].as_i64().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let shim = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).unwrap().parse().unwrap();
    let shim = rustix::process::Pid::from_raw(shim).unwrap();
    rustix::process::kill_process(shim, rustix::process::Signal::STOP).unwrap();
    console.say("send command", &json!(["anybody there?"])).await;
    let heard = console.wait_for("an answer", |heard| heard.is("daemon error")).await;
    assert!(heard.arg_of("daemon error").unwrap().contains("not known"), "{heard:?}");
    console.say("set state", &json!(["kill"])).await;
    console.status("offline").await;
    console.say("set state", &json!(["start"])).await;
    console.status("running").await;
}

/// The panel's folder is its own: a second program on it is refused with a reason.
#[tokio::test]
async fn a_second_program_on_the_same_folder_is_refused() {
    let deck = Deck::new().await;
    let output = deck.command(&["up", "--listen", "127.0.0.1:0"]).output().await.unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).to_string();
    assert!(text.contains(deck.data().to_str().unwrap()), "{text}");
}
