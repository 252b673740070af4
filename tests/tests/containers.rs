//! What is special about games in containers. All else the tests of processes show as well, run with `QUARTERDECK_TEST_RUNTIME=docker`.
#![allow(clippy::unwrap_used, clippy::doc_markdown, clippy::print_stdout, missing_docs)]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use e2e::engine::{self, Dockerd, IMAGE};
use e2e::record::{self, numbers};
use e2e::socket::Heard;
use e2e::{DEADLINE, Deck, Engine, Socket, program};
use serde_json::{Value, json};

/// A program whose games run in this engine.
async fn deck(engine: &Engine) -> Deck {
    Deck::with_settings(&engine.settings(), &["--no-demo"]).await
}

/// A game in a container, its console, and the game's pid.
async fn started(deck: &Deck, command: &str, spec: Value) -> (String, Socket) {
    let mut body = json!({ "command": command, "image": IMAGE, "port": engine::free_port(), "ready": "Done" });
    body.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let server = deck.create(body).await;
    let mut console = Socket::console(deck, &server).await;
    console.say("set state", &json!(["start"])).await;
    console.status("running").await;
    deck.learn_node_token().await;
    (server, console)
}

fn play(arguments: &str) -> String {
    format!("{{{{QUARTERDECK}}}} fakegame play {arguments}")
}

async fn pid(deck: &Deck, server: &str) -> u64 {
    deck.details(server).await["quarterdeck"]["pid"].as_u64().unwrap()
}

async fn ended(console: &mut Socket) {
    console.say("set state", &json!(["kill"])).await;
    console.status("offline").await;
}

/// Program and engine are killed while a game in a container prints 2,000 lines a second, and started again, three times: the same game,
/// every line once, in order, and every command once.
#[tokio::test]
async fn killed_with_its_engine_under_load_nothing_is_lost_or_repeated() {
    if Engine::find("killed_with_its_engine_under_load_nothing_is_lost_or_repeated").is_none() {
        return;
    }
    // Its start would make the machine's packet filter anew, which engines of other tests stand on.
    let mut dockerd = Dockerd::start(&["--live-restore", "--iptables=false"]);
    let mut deck = deck(dockerd.engine()).await;
    let (server, mut console) = started(&deck, &play("--rate 2000 --echo-stdin"), json!({})).await;
    console.line("line 1000").await;
    let game = pid(&deck, &server).await;
    for round in 1..=3u64 {
        dockerd.kill();
        deck.kill().await;
        assert_eq!(console.end().await, Heard::Dropped);
        deck.up_again().await;
        // Without its engine the game is there all the same.
        console = Socket::console(&deck, &server).await;
        console.status("running").await;
        console.say("send command", &json!([format!("round {round}")])).await;
        console.line(&format!("cmd: round {round}")).await;
        dockerd.up();
        assert_eq!(pid(&deck, &server).await, game, "the same process");
        console.line("line ").await;
    }
    ended(&mut console).await;
    let lines = record::output(&deck.node(), &server, false);
    let found = numbers(&lines);
    assert!(found.len() > 3000, "{} lines", found.len());
    assert_eq!(found, (0..found.len() as u64).collect::<Vec<_>>(), "every line once, in order");
    assert_eq!(lines.iter().filter(|line| line.starts_with("cmd: round")).count(), 3, "each command once");
    // The engine has forgotten nothing: what ended is gone from it.
    let begun = Instant::now();
    while !dockerd.engine().containers_of(&server).is_empty() {
        assert!(begun.elapsed() < DEADLINE, "the container of an ended run stays");
    }
}

/// A viewer that reads nothing any more, while a game prints more than all buffers on the way hold: the game comes to its end.
#[tokio::test]
async fn a_viewer_that_does_not_read_does_not_stop_the_game() {
    let Some(engine) = Engine::find("a_viewer_that_does_not_read_does_not_stop_the_game") else { return };
    let deck = deck(&engine).await;
    let arguments = "--rate 0 --lines 300000 --line-len 100 --exit-when-done --echo-stdin";
    let server = deck.create(json!({ "command": play(arguments), "image": IMAGE, "port": engine::free_port() })).await;
    let stuck = Socket::console(&deck, &server).await;
    let mut rest = Socket::console(&deck, &server).await;
    rest.say("set state", &json!(["start"])).await;
    // Dropped before it reads: only states are of interest, and they come behind the lines.
    rest.close().await;
    deck.learn_node_token().await;
    let begun = Instant::now();
    loop {
        let details = deck.details(&server).await;
        if details["quarterdeck"]["last_exit"] == "exit code 0" {
            break;
        }
        assert!(begun.elapsed() < DEADLINE * 2, "the game has not ended: {details}");
    }
    drop(stuck);
    let found = numbers(&record::output(&deck.node(), &server, true));
    assert_eq!(found.last(), Some(&299_999), "all of it was printed");
}

/// What a game in a container can and cannot do, as it sees it itself.
#[tokio::test]
async fn a_game_has_nothing_of_the_machine_but_its_files() {
    let Some(engine) = Engine::find("a_game_has_nothing_of_the_machine_but_its_files") else { return };
    let deck = deck(&engine).await;
    let script = "cat /proc/self/status; echo uid $(id -u); \
        for place in / /bin /.quarterdeck /.quarterdeck/log /.quarterdeck/run /sys/fs/cgroup; do \
            touch $place/x 2> /dev/null && echo can write $place; done; \
        ls /.quarterdeck/log > /dev/null 2>&1 && echo can read the log; \
        touch /tmp/x && echo tmp works; touch here && echo files work; \
        set -- /proc/[0-9]*; echo processes $#; echo $0 looked at the end; echo Done; cat";
    let (server, mut console) = started(
        &deck,
        &format!("/bin/sh -c '{script}'"),
        json!({ "memory": 300, "pids": 50, "cpu": 70, "stop": "^C" }),
    )
    .await;
    let lines: Vec<String> = record::output(&deck.node(), &server, true);
    let has = |text: &str| lines.iter().any(|line| line.starts_with(text));
    let field = |name: &str| {
        let line = lines.iter().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().next().unwrap_or_default().to_owned()
    };
    for name in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(u64::from_str_radix(&field(name), 16), Ok(0), "{name} {lines:?}");
    }
    assert_eq!((field("NoNewPrivs:").as_str(), field("Seccomp:").as_str()), ("1", "2"));
    assert!(has("tmp works") && has("files work"), "{lines:?}");
    assert!(!has("can "), "{lines:?}");
    let processes: u32 = field("processes").parse().unwrap();
    assert!(processes <= 5, "it sees {processes} processes");
    if rustix::process::geteuid().is_root() {
        let uid: u32 = field("uid").parse().unwrap();
        assert!(uid >= 200_000, "a user of its own, not {uid}");
        let details = deck.details(&server).await;
        let active = details["quarterdeck"]["isolation"]["active"].clone();
        for rung in ["container", "network", "capabilities", "uid"] {
            assert!(active.as_array().unwrap().contains(&json!(rung)), "{rung}: {active}");
        }
        assert_eq!(details["quarterdeck"]["runtime"], "docker");
    }
    let id = engine.containers_of(&server).pop().unwrap();
    let inspected: Value = serde_json::from_str(&engine.docker(&["inspect", &id])).unwrap();
    let host = &inspected[0]["HostConfig"];
    assert_eq!((&host["PidsLimit"], &host["CpuQuota"]), (&json!(50), &json!(70_000)), "{host}");
    assert_eq!(host["Memory"], json!(300 * 1_048_576 / 100 * 115));
    let shown = &inspected[0]["Config"]["Env"];
    assert!(shown.is_null() || shown == &json!([]), "no secrets where the engine shows them: {shown}");
    ended(&mut console).await;
    assert!(engine.containers_of(&server).is_empty(), "nothing stays of a run");
}

/// Somebody stops the container with the engine's own tools: the game is asked to end and saves, and that is a crash like any other.
#[tokio::test]
async fn a_container_that_is_stopped_from_outside_lets_its_game_save() {
    let Some(engine) = Engine::find("a_container_that_is_stopped_from_outside_lets_its_game_save") else { return };
    let deck = deck(&engine).await;
    let script = "trap \"echo saved; exit 0\" TERM; echo Done; while :; do read -r line; done";
    let (server, mut console) =
        started(&deck, &format!("/bin/bash -c '{script}'"), json!({ "crash_detection": false })).await;
    let id = engine.containers_of(&server).pop().unwrap();
    engine.docker(&["stop", &id]);
    console.line("being stopped from outside").await;
    console.line("saved").await;
    console.status("offline").await;
    // And by force.
    console.say("set state", &json!(["start"])).await;
    console.status("running").await;
    let id = engine.containers_of(&server).pop().unwrap();
    engine.docker(&["kill", &id]);
    console.status("offline").await;
    console.say("set state", &json!(["start"])).await;
    console.status("running").await;
    ended(&mut console).await;
}

/// Counters of the kernel for a container's processes.
struct Kernel {
    cpu_ns: u64,
    memory_bytes: u64,
    network: (u64, u64),
}

impl Kernel {
    fn of(pid: u64) -> Self {
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let groups: BTreeMap<&str, &str> = groups
            .lines()
            .filter_map(|line| line.split_once(':')?.1.split_once(':'))
            .flat_map(|(names, path)| names.split(',').map(move |name| (name, path)))
            .collect();
        let number = |path: &Path| -> u64 { std::fs::read_to_string(path).unwrap().trim().parse().unwrap() };
        let field = |path: &Path, name: &str| -> u64 {
            let text = std::fs::read_to_string(path).unwrap();
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            value.unwrap().trim().parse().unwrap()
        };
        let at = |controller: &str, path: &str| {
            Path::new("/sys/fs/cgroup").join(controller).join(path.trim_start_matches('/'))
        };
        let (cpu_ns, memory_bytes) = match groups.get("memory") {
            Some(path) => {
                let memory = at("memory", path);
                let inactive = field(&memory.join("memory.stat"), "total_inactive_file");
                let cpu = at("cpuacct", groups.get("cpuacct").unwrap());
                (number(&cpu.join("cpuacct.usage")), number(&memory.join("memory.usage_in_bytes")) - inactive)
            }
            None => {
                let group = at("", groups.get("").unwrap());
                let inactive = field(&group.join("memory.stat"), "inactive_file");
                let cpu_us = field(&group.join("cpu.stat"), "usage_usec");
                (cpu_us * 1000, number(&group.join("memory.current")) - inactive)
            }
        };
        let devices = std::fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap();
        let mut network = (0, 0);
        for line in devices.lines().filter_map(|line| line.split_once(':')).filter(|(name, _)| name.trim() != "lo") {
            let figures: Vec<u64> = line.1.split_whitespace().map(|figure| figure.parse().unwrap()).collect();
            network = (network.0 + figures[0], network.1 + figures[8]);
        }
        Self { cpu_ns, memory_bytes, network }
    }
}

#[allow(clippy::cast_precision_loss)]
fn near(what: &str, told: f64, counted: f64) {
    println!("{what}: told {told}, counted {counted}");
    assert!((told - counted).abs() <= counted * 0.02 + 1.0, "{what}: told {told}, counted {counted}");
}

/// Busy threads, memory and traffic of a container, as they are told, are within 2 % of the kernel's own counters.
#[tokio::test]
#[allow(clippy::cast_precision_loss)]
async fn what_is_told_of_a_container_is_what_the_kernel_counts() {
    let Some(engine) = Engine::find("what_is_told_of_a_container_is_what_the_kernel_counts") else { return };
    let deck = deck(&engine).await;
    let port = engine::free_port();
    let arguments = format!("--burn-cpu 0.6 --alloc 100M --udp-echo {port} --bind 0.0.0.0");
    let (server, mut console) =
        started(&deck, &play(&arguments), json!({ "port": port, "memory": 500, "cpu": 100 })).await;
    let game = pid(&deck, &server).await;
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for _ in 0..500 {
        socket.send_to(&[7; 1000], ("127.0.0.1", port)).await.unwrap();
        let answered = tokio::time::timeout(DEADLINE, socket.recv(&mut [0; 1500])).await;
        assert_eq!(answered.unwrap().unwrap(), 1000, "it is reached through the published port");
    }
    let sample = |heard: &Heard| -> Option<Value> { serde_json::from_str(heard.arg_of("stats")?).ok() };
    console.wait_for("a sample", |heard| sample(heard).is_some()).await;
    let (mut begun, mut before) = (Instant::now(), Kernel::of(game));
    let first = before.cpu_ns;
    let (mut told_ns, mut newest) = (0.0, Value::Null);
    for _ in 0..8 {
        let heard = console.wait_for("a sample", |heard| sample(heard).is_some()).await;
        let (now, counted) = (Instant::now(), Kernel::of(game));
        newest = sample(&heard).unwrap();
        told_ns += newest["cpu_absolute"].as_f64().unwrap() / 100.0 * (now - begun).as_nanos() as f64;
        (begun, before) = (now, counted);
    }
    near("cpu", told_ns, (before.cpu_ns - first) as f64);
    near("memory", newest["memory_bytes"].as_f64().unwrap(), before.memory_bytes as f64);
    near("taken", newest["network"]["rx_bytes"].as_f64().unwrap(), before.network.0 as f64);
    near("sent", newest["network"]["tx_bytes"].as_f64().unwrap(), before.network.1 as f64);
    assert!(before.network.0 > 500_000 && before.network.1 > 500_000);
    ended(&mut console).await;
}

/// Without an engine, games that need one say so, in words that help; all others are as they were.
#[tokio::test]
async fn without_an_engine_only_containers_do_not_start() {
    let settings = "[containers]\nmode = \"on\"\nsocket = \"/nowhere/docker.sock\"\n";
    let deck = Deck::prepared(&["--no-demo"]);
    std::fs::write(deck.data().join("quarterdeck.toml"), settings).unwrap();
    let mut deck = deck;
    deck.up("127.0.0.1:0").await;
    let contained = deck.create(json!({ "command": "cat", "image": "some/image" })).await;
    let mut console = Socket::console(&deck, &contained).await;
    console.say("set state", &json!(["start"])).await;
    let refused = console.wait_for("a refusal", |heard| heard.is("daemon error")).await;
    let text = refused.arg_of("daemon error").unwrap();
    assert!(text.contains("/nowhere/docker.sock") && text.contains("install Docker or Podman"), "{text}");
    let command = format!("{} fakegame play", program::quarterdeck().display());
    let process = deck.create(json!({ "command": command, "ready": "Done", "image": "" })).await;
    let mut console = Socket::console(&deck, &process).await;
    console.say("set state", &json!(["start"])).await;
    console.status("running").await;
    let token = deck.learn_node_token().await;
    let node = e2e::Rest::new(deck.url(), Some(&token));
    let system = node.get("/api/system").await.ok().clone();
    assert!(system["engine"]["error"].as_str().unwrap().contains("/nowhere/docker.sock"), "{system}");
    assert!(system["programs"].as_array().is_some_and(|programs| programs.contains(&json!("bash"))), "{system}");
    let doctor = deck.command(&["doctor"]).output().await.unwrap();
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(!doctor.status.success() && said.contains("/nowhere/docker.sock"), "{said}");
    ended(&mut console).await;
}
