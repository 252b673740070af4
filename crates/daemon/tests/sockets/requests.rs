//! Commands and power actions that are refused, and the exact words.

use engine::throttle::{InboundLimits, Rate};
use serde_json::{Value, json};

use crate::node::{Node, SERVER, Socket, connect, event, finish, node, parsed, running, say, until};

fn unlimited() -> InboundLimits {
    let free = Rate { burst: 0, refill_ms: 0 };
    InboundLimits { global: free, auth: free, send_logs: free, send_command: free, other: free }
}

async fn refusal(socket: &mut Socket) -> String {
    let seen = until(socket, event("daemon error", "")).await;
    let (_, text) = parsed(seen.last().unwrap());
    assert!(text.starts_with("Error Event ["), "{text}");
    text.split_once("]: ").unwrap().1.to_owned()
}

async fn commands(node: &Node, commands: Value) -> (u16, String) {
    let (status, body) = node.post("/commands", json!({ "commands": commands })).await;
    (status, body["error"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_command_to_a_stopped_server_is_refused_in_the_same_words_everywhere() {
    let node = node("/bin/cat", |_| {}).await;
    let mut socket = connect(&node, 600).await;
    let words = "the server is offline; start it first";
    say(&mut socket, "send command", "hello").await;
    assert_eq!(refusal(&mut socket).await, words);
    assert_eq!(commands(&node, json!(["hello"])).await, (502, words.to_owned()));
    assert_eq!(commands(&node, json!([])).await, (502, words.to_owned()), "none is a command, too");
    node.daemon.shutdown().await;
}

/// The list was validated while it was being sent: what stood before a bad command ran, and the answer was a refusal.
#[tokio::test]
async fn a_list_with_a_bad_command_is_not_begun() {
    let node = node("/bin/sh -c 'echo ready; while read line; do echo \"got $line\"; done'", |_| {}).await;
    let mut socket = running(&node).await;
    let (status, text) = commands(&node, json!(["say hi", "a\u{1b}b"])).await;
    assert!(status == 422 && text.contains("control characters"), "{status} {text}");
    assert_eq!(commands(&node, json!([])).await.0, 204);
    assert_eq!(commands(&node, json!(["first\r\n", "second"])).await.0, 204);
    let seen = until(&mut socket, event("console output", "got second")).await;
    assert!(seen.iter().any(event("console output", "got first")), "{seen:?}");
    assert!(!seen.iter().any(event("console output", "say hi")), "{seen:?}");
    finish(node, socket).await;
}

#[tokio::test]
async fn a_power_action_during_another_is_told_that_it_is_busy() {
    let node = node("/bin/sh -c 'trap \"\" TERM; echo ready; while :; do read line; done'", |config| {
        config.session.limits = unlimited();
    })
    .await;
    let mut socket = running(&node).await;
    say(&mut socket, "set state", "stop").await;
    until(&mut socket, event("status", "stopping")).await;
    say(&mut socket, "set state", "start").await;
    assert_eq!(
        refusal(&mut socket).await,
        "another power action is under way, the server is stopping; wait until it is done, or kill it"
    );
    // Over HTTP a wait outside of the range is the default one, no error: this start comes after the kill.
    let wait = |seconds: Value| json!({ "action": "start", "wait_seconds": seconds });
    let (waiting, ()) = tokio::join!(node.post("/power", wait(json!(-1))), async {
        say(&mut socket, "set state", "kill").await;
        until(&mut socket, event("status", "offline")).await;
    });
    assert_eq!(waiting.0, 202, "{}", waiting.1);
    until(&mut socket, event("status", "running")).await;
    for seconds in [json!(-1), json!(301), json!(1e30), json!(-5.5)] {
        let (status, body) = node.post("/power", wait(seconds)).await;
        assert_eq!(status, 409, "it runs already: {body}");
    }
    assert_eq!(node.post("/power", wait(json!("soon"))).await.0, 422);
    finish(node, socket).await;
}

/// One connection may not fill the server's queue.
#[tokio::test]
async fn the_requests_of_one_connection_under_way_are_bounded() {
    let node = node("/bin/sh -c 'echo ready; exec cat'", |config| config.session.limits = unlimited()).await;
    let mut socket = running(&node).await;
    // Nobody answers while the shim stands still.
    let shim = parent_of(node.pid().await);
    signal(shim, libc::SIGSTOP);
    for n in 0..33 {
        say(&mut socket, "send command", &format!("command {n}")).await;
    }
    let refused = refusal(&mut socket).await;
    signal(shim, libc::SIGCONT);
    assert_eq!(refused, "too many requests of this connection are under way; wait for one of them");
    let seen = until(&mut socket, event("console output", "command 31")).await;
    assert!(!seen.iter().any(event("console output", "command 32")), "{seen:?}");
    finish(node, socket).await;
}

fn parent_of(pid: i32) -> i32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse().unwrap()
}

fn signal(pid: i32, signal: i32) {
    let done = std::process::Command::new("/bin/kill").args([format!("-{signal}"), pid.to_string()]).status().unwrap();
    assert!(done.success());
}

#[tokio::test]
async fn the_machine_is_described_in_both_forms() {
    let node = node("/bin/cat", |_| {}).await;
    let (status, first) = node.ask("GET", "/api/system", None).await;
    assert!(status == 200 && first["cpu_count"].is_u64(), "{first}");
    let (status, second) = node.ask("GET", "/api/system?v=2", None).await;
    assert_eq!(status, 200);
    assert!(
        second["system"]["memory_bytes"].as_u64() > Some(0) && second["system"]["cpu_threads"].is_u64(),
        "{second}"
    );
    assert!(["architecture", "kernel_version", "os", "os_type"].iter().all(|name| second["system"][name].is_string()));
    assert_eq!(second["docker"]["containers"], json!({ "total": 1, "running": 0, "paused": 0, "stopped": 1 }));
    assert!(second["docker"]["cgroups"]["driver"].is_string() && second["version"] == first["version"], "{second}");
    assert_eq!(node.ask("GET", "/api/system?v=x", None).await.1, first);
    node.daemon.shutdown().await;
}

/// A node alone answered an address it does not know with nothing at all.
#[tokio::test]
async fn an_unknown_address_of_a_node_alone_gets_its_kind_of_answer() {
    let node = node("/bin/cat", |_| {}).await;
    for path in ["/", "/api/nothing", &format!("/api/servers/{SERVER}/files/list-directory")] {
        let (status, body) = node.ask("GET", path, None).await;
        assert_eq!((status, &body["error"]), (404, &json!("there is nothing at this address")), "{path}");
        assert!(body["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{body}");
    }
    node.daemon.shutdown().await;
}
