//! Starting, stopping, killing and crashing real processes, and what everybody is told about it.
#![allow(clippy::unwrap_used, clippy::doc_markdown, clippy::print_stdout, missing_docs)]

use std::path::Path;

use e2e::{DEADLINE, Deck, Engine, Socket};
use serde_json::{Value, json};

async fn console_of(deck: &Deck, server: &str) -> Socket {
    let mut console = Socket::console(deck, server).await;
    console.status("offline").await;
    console
}

/// Waits until a condition on the machine holds; a look every few milliseconds is the only way to see a process vanish that is
/// not our child.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::task::yield_now().await;
    }
}

fn alive(pid: u64) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    // Where nobody reaps orphans a dead one stays as a zombie.
    !status.is_empty() && !status.contains("State:\tZ")
}

async fn pid_of(deck: &Deck, server: &str) -> u64 {
    deck.learn_node_token().await;
    deck.details(server).await["quarterdeck"]["pid"].as_u64().unwrap()
}

/// A start command that cannot run is told to whoever asked, on the socket and over REST, and in the console.
#[tokio::test]
async fn a_start_that_cannot_be_says_why() {
    let deck = Deck::new().await;
    for (command, part) in [
        ("no-such-program-anywhere --x", "is not installed"),
        ("./not-there", "is not installed"),
        ("/etc/passwd", "not an executable file"),
        ("/bin/echo {{UNKNOWN_VALUE}}", "UNKNOWN_VALUE"),
        ("/bin/echo 'open quote", "unmatched quote"),
    ] {
        let server = deck.create(json!({ "command": command })).await;
        let mut console = console_of(&deck, &server).await;
        console.say("set state", &json!(["start"])).await;
        let heard = console.wait_for("a refusal", |heard| heard.is("daemon error")).await;
        assert!(heard.arg_of("daemon error").unwrap().contains(part), "{command}: {heard:?}");
        let answer = deck.power(&server, "start").await;
        assert!(answer.status >= 400, "{command}: {}", answer.status);
        assert!(answer.json["errors"][0]["detail"].as_str().unwrap().contains(part), "{command}: {}", answer.text);
        console.say("send logs", &json!([null])).await;
        console.line(part).await;
    }
}

/// A program that ends at once is a crash: shown with its exit code, started again later each time, and at last no more.
#[tokio::test]
async fn a_crash_is_told_and_started_again_until_the_limit() {
    let deck = Deck::new().await;
    let server = deck.create(json!({ "command": "/bin/sh -c 'echo I am off; exit 3'" })).await;
    let mut console = console_of(&deck, &server).await;
    console.say("set state", &json!(["start"])).await;
    console.line("I am off").await;
    console.line("exit code 3").await;
    deck.learn_node_token().await;
    let details = deck.details(&server).await;
    assert_eq!(details["quarterdeck"]["last_exit"], "exit code 3");
    assert_eq!(details["quarterdeck"]["crashed"], true);
    assert!(details["quarterdeck"]["ended_at_ms"].is_u64(), "{details}");
    assert!(details["quarterdeck"]["restart_at_ms"].is_u64(), "{details}");
    console.line("I am off").await;
    // A stop takes the planned restart back.
    console.line("exit code 3").await;
    console.say("set state", &json!(["stop"])).await;
    console.settle().await;
    assert!(deck.details(&server).await["quarterdeck"]["restart_at_ms"].is_null());
}

/// Death by a signal is named.
#[tokio::test]
async fn a_segmentation_fault_is_named() {
    let deck = Deck::new().await;
    let server = deck.game("--obey", json!({ "ready": "Done" })).await;
    let mut console = console_of(&deck, &server).await;
    console.say("set state", &json!(["start"])).await;
    console.status("running").await;
    console.say("send command", &json!(["segv"])).await;
    console.line("SIGSEGV").await;
}

/// Exit code 0 that nobody asked for is an end, not a crash; the stop command typed by hand is a stop.
#[tokio::test]
async fn a_clean_end_is_no_crash() {
    let deck = Deck::new().await;
    let server = deck.game("--obey", json!({ "ready": "Done", "stop": "stop" })).await;
    let mut console = console_of(&deck, &server).await;
    for command in ["exit 0", "stop"] {
        console.say("set state", &json!(["start"])).await;
        console.status("running").await;
        console.say("send command", &json!([command])).await;
        console.status("offline").await;
        console.settle().await;
        deck.learn_node_token().await;
        let details = deck.details(&server).await;
        assert!(details["quarterdeck"]["restart_at_ms"].is_null(), "{command}");
        assert_eq!(details["quarterdeck"]["last_exit"], "exit code 0", "{command}");
        assert_eq!(details["quarterdeck"]["crashed"], false, "{command}");
    }
    assert!(!console.lines().iter().any(|line| line.to_lowercase().contains("crash")), "{:?}", console.lines());
}

/// A game that ignores its signals is killed when its grace is over, and the console says so.
#[tokio::test]
async fn a_game_that_will_not_stop_is_killed_after_its_grace() {
    let deck = Deck::new().await;
    let spec = json!({ "ready": "Done", "stop": "^C", "grace_ms": 300 });
    let server = deck.game("--ignore-signals TERM,INT --stop-command ''", spec).await;
    let mut console = console_of(&deck, &server).await;
    console.say("set state", &json!(["start"])).await;
    console.status("running").await;
    let pid = pid_of(&deck, &server).await;
    console.say("set state", &json!(["stop"])).await;
    console.status("stopping").await;
    console.line("ignored: SIGINT").await;
    console.status("offline").await;
    until("the game is gone", || !alive(pid)).await;
}

/// Kill works in every state, on the whole tree, and is done within a second or so.
#[tokio::test]
async fn kill_ends_the_whole_tree_from_every_state() {
    let deck = Deck::new().await;
    let arguments = "--fork-children 3 --setsid --ignore-signals TERM,INT --stop-command '' --echo-stdin";
    let ready = deck.game(arguments, json!({ "ready": "Done", "stop": "^C", "grace_ms": 60_000 })).await;
    let never_ready = deck.game(arguments, json!({ "ready": "never printed", "stop": "^C" })).await;
    for (server, state, stop_first) in
        [(&never_ready, "starting", false), (&ready, "running", false), (&ready, "running", true)]
    {
        let mut console = console_of(&deck, server).await;
        console.say("set state", &json!(["start"])).await;
        let mut children = Vec::new();
        for _ in 0..3 {
            let line = console.line("child ").await;
            children.push(line.rsplit("pid=").next().unwrap().trim().parse::<u64>().unwrap());
        }
        if state == "running" {
            console.status("running").await;
        }
        if stop_first {
            console.say("set state", &json!(["stop"])).await;
            console.status("stopping").await;
        }
        let game = pid_of(&deck, server).await;
        console.say("set state", &json!(["kill"])).await;
        console.status("offline").await;
        match Engine::of_all_games() {
            // The children know themselves by other numbers; none of them is there without the container.
            Some(engine) => until("the container is gone", || engine.containers_of(server).is_empty()).await,
            None => until("the tree is gone", || children.iter().all(|pid| !alive(*pid))).await,
        }
        assert!(!alive(game));
    }
    let mut console = console_of(&deck, &ready).await;
    console.say("set state", &json!(["kill"])).await;
    console.settle().await;
    assert!(
        !console.heard.iter().any(|heard| heard.arg_of("daemon error").is_some_and(|text| !text.contains("settled")))
    );
}

/// While one action is under way another is refused as busy; a restart is a stop and a start.
#[tokio::test]
async fn actions_out_of_turn_are_busy_and_a_restart_is_both() {
    let deck = Deck::new().await;
    let server = deck.game("--stop-delay 1s", json!({ "ready": "Done", "stop": "stop" })).await;
    let mut console = console_of(&deck, &server).await;
    console.say("set state", &json!(["start"])).await;
    console.status("running").await;
    let first = pid_of(&deck, &server).await;
    console.say("set state", &json!(["restart"])).await;
    console.status("stopping").await;
    let refused = deck.power(&server, "start").await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    console.status("offline").await;
    console.status("starting").await;
    console.status("running").await;
    assert_ne!(pid_of(&deck, &server).await, first);
}

/// Without a pattern a server counts as running after its settle time, and the console says that it was so.
#[tokio::test]
async fn a_server_without_a_pattern_settles() {
    let deck = Deck::new().await;
    let server = deck.game("--ready-line ''", json!({ "settle_ms": 300 })).await;
    let mut console = console_of(&deck, &server).await;
    console.say("set state", &json!(["start"])).await;
    console.status("running").await;
    console.line("Daemon]").await;
}

/// A pattern matches through colours, and as a regular expression.
#[tokio::test]
async fn readiness_is_found_through_colours_and_by_regular_expression() {
    let deck = Deck::new().await;
    let shell = "/bin/sh -c 'printf \"\\033[32mDo\\033[0mne (1.5s)!\\n\"; read x'";
    for ready in ["Done (", "regex:^Done \\([0-9.]+s\\)!$"] {
        let server = deck.create(json!({ "command": shell, "ready": ready })).await;
        let mut console = console_of(&deck, &server).await;
        console.say("set state", &json!(["start"])).await;
        console.status("running").await;
    }
}

/// A prompt says that a game is ready although its line does not end before somebody types.
#[tokio::test]
async fn a_prompt_without_an_end_makes_a_server_ready() {
    let deck = Deck::new().await;
    let shell = "/bin/sh -c 'printf \"console> \"; read x; echo got $x'";
    let server = deck.create(json!({ "command": shell, "ready": "console>" })).await;
    let mut console = console_of(&deck, &server).await;
    console.say("set state", &json!(["start"])).await;
    console.status("running").await;
}

/// A game in pipes gets and gives the same lines as one in a terminal.
#[tokio::test]
async fn pipes_work_like_a_terminal() {
    let deck = Deck::new().await;
    for (mode, expected) in [("pipe", "pipes"), ("pty", "terminal")] {
        let shell = "/bin/sh -c 'if [ -t 0 ]; then echo terminal; else echo pipes; fi; read x; echo got $x'";
        let server = deck.create(json!({ "command": shell, "ready": "", "console": mode })).await;
        let mut console = console_of(&deck, &server).await;
        console.say("set state", &json!(["start"])).await;
        assert_eq!(console.line(expected).await, expected);
        console.say("send command", &json!(["this"])).await;
        console.line("got this").await;
    }
}

/// Limits are enforced where the machine allows it, and the API says which are.
#[tokio::test]
async fn limits_hold_where_the_api_says_so() {
    let deck = Deck::new().await;
    let spec = json!({ "ready": "Done", "limits": { "memory": 64, "cpu": 50, "swap": 0, "disk": 0, "io": 500 } });
    let server = deck.game("--obey --burn-cpu 1", spec).await;
    let mut console = console_of(&deck, &server).await;
    console.say("set state", &json!(["start"])).await;
    console.status("running").await;
    deck.learn_node_token().await;
    let details = deck.details(&server).await;
    let active: Vec<String> = serde_json::from_value(details["quarterdeck"]["isolation"]["active"].clone()).unwrap();
    assert!(active.iter().any(|rung| rung == "no_new_privs"), "{active:?}");
    let pid = details["quarterdeck"]["pid"].as_u64().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    if active.iter().any(|rung| rung.starts_with("cpu:")) {
        let mut seen = Vec::new();
        while seen.len() < 4 {
            let heard = console.wait_for("a sample", |heard| heard.is("stats")).await;
            let stats: Value = serde_json::from_str(heard.arg_of("stats").unwrap()).unwrap();
            seen.push(stats["cpu_absolute"].as_f64().unwrap());
        }
        // The first sample of a run is 0 by definition; a free core would show about 100.
        assert!(seen.iter().skip(1).all(|cpu| *cpu < 80.0), "{seen:?}");
    }
    if active.iter().any(|rung| rung.starts_with("memory:")) {
        let hungry =
            deck.game("--alloc 300M", json!({ "ready": "never", "limits": { "memory": 64, "swap": 0 } })).await;
        let mut console = console_of(&deck, &hungry).await;
        console.say("set state", &json!(["start"])).await;
        console.line("out of memory").await;
    }
}

/// Traffic of the game's own sockets is counted, where the machine lets us.
#[tokio::test]
async fn traffic_is_counted_or_named_as_unmeasured() {
    let deck = Deck::new().await;
    let server = deck.game("--udp-echo 0", json!({ "ready": "Done" })).await;
    let mut console = console_of(&deck, &server).await;
    console.say("set state", &json!(["start"])).await;
    let line = console.line("udp: ").await;
    let address = line.split("udp: ").nth(1).unwrap().trim().to_owned();
    console.status("running").await;
    deck.learn_node_token().await;
    let unmeasured = deck.details(&server).await["quarterdeck"]["unmeasured"].clone();
    if unmeasured.as_array().is_some_and(Vec::is_empty) {
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(&[0; 500], &address).await.unwrap();
        socket.recv(&mut [0; 600]).await.unwrap();
        console
            .wait_for("500 bytes and their headers both ways", |heard| {
                heard.arg_of("stats").is_some_and(|text| {
                    let stats: Value = serde_json::from_str(text).unwrap();
                    stats["network"] == json!({ "rx_bytes": 528, "tx_bytes": 528 })
                })
            })
            .await;
    } else {
        assert!(unmeasured[0].as_str().unwrap().starts_with("network"), "{unmeasured}");
    }
}

/// An idle shim is smaller than a megabyte.
#[tokio::test]
async fn an_idle_shim_is_smaller_than_a_megabyte() {
    let deck = Deck::new().await;
    let server = deck.game("", json!({ "ready": "Done" })).await;
    let mut console = console_of(&deck, &server).await;
    console.say("set state", &json!(["start"])).await;
    console.status("running").await;
    let game = pid_of(&deck, &server).await;
    let field = |pid: u64, name: &str| -> u64 {
        let status = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).unwrap();
        let value = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        value.trim().trim_end_matches(" kB").parse().unwrap()
    };
    let shim = field(game, "PPid:");
    // In a container it is the process that began, with all that it needed for that.
    let most = if Engine::of_all_games().is_some() { 1536 } else { 1024 };
    assert!(field(shim, "VmRSS:") < most, "{} KiB", field(shim, "VmRSS:"));
}
