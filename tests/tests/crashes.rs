//! Crashes: each leaves a record, and a server that crashes again and again says so, until somebody steps in, over restarts of the
//! program.
#![allow(clippy::unwrap_used, missing_docs)]

use e2e::{DEADLINE, Deck, Socket};
use serde_json::{Value, json};

/// Runs that crashed, newest first.
async fn crashed_runs(deck: &Deck, server: &str) -> Vec<Value> {
    let runs = deck.rest().get(&format!("/api/client/servers/{server}/console/runs")).await;
    let runs = runs.ok()["data"].as_array().unwrap().clone();
    runs.into_iter().map(|run| run["attributes"].clone()).filter(|run| run["crashed"] == true).collect()
}

/// The record of a run's crash.
async fn record(deck: &Deck, server: &str, run: &Value) -> Value {
    let path = format!("/api/client/servers/{server}/console/runs/{}", run["id"].as_str().unwrap());
    deck.rest().get(&path).await.ok()["attributes"]["crash"].clone()
}

/// What the panel tells of a server, once it is what is waited for; an answer may be a second old.
async fn resources(deck: &Deck, server: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        let answer = deck.rest().get(&format!("/api/client/servers/{server}/resources")).await;
        let told = answer.ok()["attributes"].clone();
        if wanted(&told) {
            return told;
        }
        assert!(tokio::time::Instant::now() < deadline, "never {what}: {told}");
    }
}

async fn start(deck: &Deck, server: &str) {
    let answer = deck.power(server, "start").await;
    assert_eq!(answer.status, 204, "{}", answer.text);
}

#[tokio::test]
async fn two_crashes_within_two_seconds_leave_two_whole_records() {
    let deck = Deck::new().await;
    let server = deck.game("--lines 600 --crash-after 200ms --exit-code 7", json!({ "ready": "Done" })).await;
    let mut console = Socket::console(&deck, &server).await;
    console.status("offline").await;
    for _ in 0..2 {
        start(&deck, &server).await;
        console.status("starting").await;
        console.status("offline").await;
    }
    let runs = crashed_runs(&deck, &server).await;
    assert_eq!(runs.len(), 2, "{runs:?}");
    let apart_ms = runs[0]["ended_at"].as_u64().unwrap() - runs[1]["ended_at"].as_u64().unwrap();
    assert!(apart_ms < 2_000, "{apart_ms} ms");
    let mut ends = Vec::new();
    for run in &runs {
        let record = record(&deck, &server, run).await;
        assert_eq!(run["exit"], "exit code 7");
        assert_eq!(
            (&record["code"], &record["signal"], &record["out_of_memory"]),
            (&json!(7), &Value::Null, &json!(false))
        );
        assert_eq!(record["last_act"]["event"], "server:power.start");
        // Figures are taken once a second: of a run as short as these there may be none.
        assert!(record["stats"].is_array(), "{}", record["stats"]);
        let lines = record["lines"].as_array().unwrap();
        assert_eq!((lines.len(), lines[499]["text"].as_str().unwrap().trim()), (500, "line 599"));
        ends.push(lines[499]["seq"].as_u64().unwrap());
        assert_eq!(ends.last().unwrap() + 1, run["end_line"].as_u64().unwrap());
    }
    assert!(ends[0] > ends[1], "each its own lines: {ends:?}");
}

#[tokio::test]
async fn a_game_out_of_memory_leaves_a_record_that_says_so() {
    let deck = Deck::new().await;
    let limits = json!({ "ready": "never", "limits": { "memory": 64, "swap": 0 } });
    let server = deck.game("--alloc 300M", limits).await;
    deck.learn_node_token().await;
    let details = deck.details(&server).await;
    let active = details["quarterdeck"]["isolation"]["active"].as_array().unwrap().clone();
    if !active.iter().any(|rung| rung.as_str().is_some_and(|rung| rung.starts_with("memory:"))) {
        return e2e::skip("a_game_out_of_memory", "no control group of memory on this machine", false);
    }
    let mut console = Socket::console(&deck, &server).await;
    console.status("offline").await;
    start(&deck, &server).await;
    console.status("starting").await;
    console.status("offline").await;
    let runs = crashed_runs(&deck, &server).await;
    assert_eq!(runs[0]["exit"], "killed by SIGKILL, out of memory");
    let record = record(&deck, &server, &runs[0]).await;
    assert_eq!((&record["signal"], &record["out_of_memory"], &record["code"]), (&json!(9), &json!(true), &Value::Null));
    assert!(record["lines"][0]["text"].as_str().unwrap().starts_with("fakegame pid="), "{record}");
    console.say("set state", &json!(["kill"])).await;
    console.settle().await;
}

/// Says it from the second crash on, with the next try; a killed program neither forgets that nor cuts the wait short; when it is
/// given up the server stays down, over restarts, until somebody starts it. Its records can be read all the while.
#[tokio::test]
async fn crash_looping_is_told_and_outlives_the_program_until_somebody_steps_in() {
    let mut deck = Deck::new().await;
    let server = deck.create(json!({ "command": "/bin/sh -c 'echo I am off; exit 3'" })).await;
    let mut console = Socket::console(&deck, &server).await;
    start(&deck, &server).await;
    console.line("Restart 1 of 5").await;
    deck.learn_node_token().await;
    let once = deck.details(&server).await["quarterdeck"].clone();
    assert_eq!((&once["crashes_in_a_row"], &once["condition"]), (&json!(1), &Value::Null));
    console.line("crash-looping: 2 failures in a row").await;
    let told = resources(&deck, &server, "twice", |told| told["crashes_in_a_row"] == 2).await;
    assert_eq!((&told["condition"], &told["current_state"]), (&json!("crash-looping"), &json!("offline")));
    assert!(told["gave_up"].is_null() && told["restart_in_ms"].as_u64().unwrap() <= 4_000, "{told}");
    let planned = told["restart_at"].clone();

    deck.kill().await;
    deck.up_again().await;
    let told = resources(&deck, &server, "still so", |told| told["crashes_in_a_row"] == 2).await;
    assert_eq!((&told["condition"], &told["crashed"]), (&json!("crash-looping"), &json!(true)));
    let second = |time: &Value| time.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second();
    assert!((second(&told["restart_at"]) - second(&planned)).abs() <= 1, "{told} {planned}");
    let mut console = Socket::console(&deck, &server).await;
    console.line("Restart 3 of 5").await;

    // As an earlier program left it one crash before the last.
    deck.kill().await;
    let path = deck.data().join("node/servers").join(&server).join("run.json");
    let mut left: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(left["crashes_in_a_row"], 3);
    (left["crashes_in_a_row"], left["restart_at_ms"]) = (json!(5), json!(1));
    std::fs::write(&path, left.to_string()).unwrap();
    deck.up_again().await;
    let given_up = |told: &Value| told["gave_up"] == true;
    let told = resources(&deck, &server, "given up", given_up).await;
    assert_eq!((&told["condition"], &told["crashes_in_a_row"]), (&json!("crash-looping"), &json!(6)));
    assert!(told["restart_at"].is_null() && told["restart_in_ms"].is_null(), "{told}");
    deck.kill().await;
    deck.up_again().await;
    let told = resources(&deck, &server, "still given up", given_up).await;
    assert_eq!((&told["condition"], &told["current_state"]), (&json!("crash-looping"), &json!("offline")));
    let runs = crashed_runs(&deck, &server).await;
    assert_eq!(runs.len(), 4, "{runs:?}");
    for (run, in_a_row) in runs.iter().zip([6, 3, 2, 1]) {
        let record = record(&deck, &server, run).await;
        assert_eq!((&record["in_a_row"], &record["code"]), (&json!(in_a_row), &json!(3)));
        assert_eq!(record["lines"][0]["text"], "I am off");
    }

    start(&deck, &server).await;
    let told = resources(&deck, &server, "counted anew", |told| told["crashes_in_a_row"] == 1).await;
    assert!(told["condition"].is_null() && told["gave_up"].is_null(), "{told}");
}
