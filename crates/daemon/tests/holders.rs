//! A game and its shim outlive their daemon: what the next one shows and can do, whatever has become of the shim meanwhile.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "common/handover.rs"]
mod handover;

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use daemon::{Config, Daemon};
use futures_util::{SinkExt, StreamExt};
use jsonwebtoken::{EncodingKey, Header, encode};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

const SECRET: &str = "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk";
const DEADLINE: Duration = Duration::from_secs(30);
const ECHO: &str = "/bin/sh -c 'echo it is ready; while read line; do echo got $line; done'";

/// A node's folder with one server, which daemons come to and leave.
struct Place {
    data: tempfile::TempDir,
    server: uuid::Uuid,
    node: uuid::Uuid,
}

/// A daemon of it.
struct Node {
    daemon: Daemon,
    address: String,
    server: uuid::Uuid,
}

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

impl Place {
    fn new(invocation: &str, stop: &Value) -> Self {
        Self::with(invocation, stop, &json!({ "done": ["is ready"] }))
    }

    fn with(invocation: &str, stop: &Value, startup: &Value) -> Self {
        let place =
            Self { data: tempfile::tempdir().unwrap(), server: uuid::Uuid::new_v4(), node: uuid::Uuid::new_v4() };
        std::fs::create_dir_all(place.dir()).unwrap();
        let definition = json!({
            "settings": { "uuid": place.server, "invocation": invocation, "crash_detection_enabled": false },
            "process_configuration": { "startup": startup, "stop": stop },
        });
        std::fs::write(place.dir().join("definition.json"), definition.to_string()).unwrap();
        place
    }

    fn dir(&self) -> PathBuf {
        self.data.path().join("servers").join(self.server.to_string())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir().join("files").join(name)
    }

    async fn daemon(&self) -> Node {
        let config =
            Config::new(self.data.path().to_owned(), self.node, "0123456789abcdef", SECRET, "http://127.0.0.1:1");
        let daemon = Daemon::open(config).await.unwrap();
        assert!(daemon.boot().await.is_err(), "there is no panel");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(axum::serve(listener, daemon.router().layer(handover::handover())).into_future());
        Node { daemon, address, server: self.server }
    }

    /// Another daemon in the place of this one.
    async fn next(&self, node: Node) -> Node {
        node.daemon.shutdown().await;
        self.daemon().await
    }
}

impl Node {
    async fn socket(&self) -> Socket {
        let url = format!("ws://{}/api/servers/{}/ws", self.address, self.server);
        let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        let now = jiff::Timestamp::now().as_second();
        let claims = json!({
            "iat": now, "exp": now + 600, "server_uuid": self.server, "permissions": ["*"],
            "user_uuid": "99999999-8888-4777-8666-555555555555", "scope": "websocket", "jti": "x",
        });
        let token = encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap();
        say(&mut socket, "auth", &token).await;
        socket
    }

    async fn running(&self) -> Socket {
        let mut socket = self.socket().await;
        say(&mut socket, "set state", "start").await;
        hear(&mut socket, "status", "running").await;
        socket
    }

    async fn details(&self) -> Value {
        let url = format!("http://{}/api/servers/{}", self.address, self.server);
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client.get(url).bearer_auth(SECRET).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200);
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }

    async fn game(&self) -> Process {
        Process::of(i32::try_from(self.details().await["quarterdeck"]["pid"].as_i64().unwrap()).unwrap())
    }

    /// Everything the console has, oldest first.
    async fn log(&self) -> Vec<String> {
        let mut socket = self.socket().await;
        say(&mut socket, "send logs", "").await;
        say(&mut socket, "set state", "nonsense").await;
        let heard = hear(&mut socket, "daemon error", "nonsense").await;
        heard.into_iter().filter(|(event, _)| event == "console output").map(|(_, line)| line).collect()
    }
}

/// A process, whoever's child it is.
struct Process {
    pid: Pid,
    pidfd: OwnedFd,
}

impl Process {
    fn of(pid: i32) -> Self {
        let pid = Pid::from_raw(pid).unwrap();
        Self { pid, pidfd: pidfd_open(pid, PidfdFlags::empty()).unwrap() }
    }

    fn parent(&self) -> Self {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid.as_raw_nonzero())).unwrap();
        Self::of(status.lines().find_map(|line| line.strip_prefix("PPid:\t")).unwrap().parse().unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap();
    }

    fn has_ended(&self, limit: Duration) -> bool {
        let limit = Timespec { tv_sec: limit.as_secs().try_into().unwrap(), tv_nsec: i64::from(limit.subsec_nanos()) };
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut fds, Some(&limit))).unwrap() == 1
    }
}

async fn say(socket: &mut Socket, event: &str, arg: &str) {
    socket.send(Message::text(json!({ "event": event, "args": [arg] }).to_string())).await.unwrap();
}

/// Reads until an event of this name has this in its argument; gives everything up to there.
async fn hear(socket: &mut Socket, name: &str, part: &str) -> Vec<(String, String)> {
    let mut heard = Vec::new();
    let hear = async {
        loop {
            let Some(Ok(message)) = socket.next().await else { return false };
            let value: Value = serde_json::from_str(&message.into_text().unwrap_or_default()).unwrap_or_default();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (event, arg) = (text(&value["event"]), text(&value["args"][0]));
            let found = event == name && arg.contains(part);
            heard.push((event, arg));
            if found {
                return true;
            }
        }
    };
    let in_time = tokio::time::timeout(DEADLINE, hear).await;
    assert!(in_time == Ok(true), "{name} {part} did not come: {heard:#?}");
    heard
}

async fn end(node: Node) {
    let mut socket = node.socket().await;
    say(&mut socket, "set state", "kill").await;
    hear(&mut socket, "status", "offline").await;
    node.daemon.shutdown().await;
}

fn sigterm() -> Value {
    json!({ "type": "signal", "value": "SIGTERM" })
}

#[tokio::test]
async fn a_definition_that_can_be_neither_read_nor_written_does_not_hide_a_running_game() {
    let place = Place::new(ECHO, &sigterm());
    let node = place.daemon().await;
    node.running().await;
    let game = node.game().await;
    // What a full disk does, for root too: the new file cannot be made.
    std::fs::create_dir(place.dir().join("definition.new")).unwrap();
    let node = place.next(node).await;
    let mut socket = node.socket().await;
    hear(&mut socket, "status", "running").await;
    assert_eq!(node.game().await.pid, game.pid);
    std::fs::write(place.dir().join("definition.json"), "{ half a def").unwrap();
    let node = place.next(node).await;
    let mut socket = node.socket().await;
    hear(&mut socket, "status", "running").await;
    say(&mut socket, "send command", "hello").await;
    hear(&mut socket, "console output", "got hello").await;
    end(node).await;
    assert!(game.has_ended(DEADLINE));
}

#[tokio::test]
async fn a_stopped_shim_at_boot_shows_its_game_and_can_be_killed() {
    let place = Place::new(ECHO, &sigterm());
    let node = place.daemon().await;
    node.running().await;
    let (game, shim) = (node.game().await, node.game().await.parent());
    shim.signal(Signal::STOP);
    let node = place.next(node).await;
    let mut socket = node.socket().await;
    // From the first moment on: nobody is told that it is offline while the node looks.
    let heard = hear(&mut socket, "status", "").await;
    assert_eq!(heard.last(), Some(&("status".to_owned(), "running".to_owned())));
    say(&mut socket, "set state", "start").await;
    hear(&mut socket, "daemon error", "already running").await;
    say(&mut socket, "set state", "kill").await;
    hear(&mut socket, "status", "offline").await;
    assert!(game.has_ended(DEADLINE) && shim.has_ended(DEADLINE));
    node.daemon.shutdown().await;
}

#[tokio::test]
async fn a_stopped_shim_of_which_nothing_is_written_down_can_be_killed_too() {
    let place = Place::new(ECHO, &sigterm());
    let node = place.daemon().await;
    node.running().await;
    let (game, shim) = (node.game().await, node.game().await.parent());
    shim.signal(Signal::STOP);
    node.daemon.shutdown().await;
    std::fs::remove_file(place.dir().join("run.json")).unwrap();
    let node = place.daemon().await;
    end(node).await;
    assert!(game.has_ended(DEADLINE) && shim.has_ended(DEADLINE));
}

#[tokio::test]
async fn a_stop_without_a_connection_reaches_the_shim_that_comes_back() {
    let script = "trap 'echo saving; exit 0' TERM; echo it is ready; while :; do sleep 1000 & wait; done";
    let place = Place::new(script, &sigterm());
    let node = place.daemon().await;
    node.running().await;
    let shim = node.game().await.parent();
    shim.signal(Signal::STOP);
    let node = place.next(node).await;
    let mut socket = node.socket().await;
    hear(&mut socket, "status", "running").await;
    say(&mut socket, "set state", "stop").await;
    hear(&mut socket, "status", "stopping").await;
    shim.signal(Signal::CONT);
    let heard = hear(&mut socket, "status", "offline").await;
    let log = node.log().await;
    assert!(log.iter().any(|line| line == "saving"), "{heard:#?} {log:#?}");
    assert!(!log.iter().any(|line| line.contains("ended by itself") || line.contains("was killed")), "{log:#?}");
    node.daemon.shutdown().await;
}

#[tokio::test]
async fn the_game_of_a_killed_shim_gets_to_save() {
    // The second process does not hear that the shim is gone: it is killed when the grace is over. A terminal that hangs up would
    // end both.
    let script = "trap '' HUP; (trap '' TERM; sleep 1000) & trap 'echo x > saved; exit 0' TERM; echo it is ready; \
                  while :; do sleep 1000 & wait; done";
    let place = Place::new(script, &sigterm());
    let node = place.daemon().await;
    let mut socket = node.running().await;
    let game = node.game().await;
    game.parent().signal(Signal::KILL);
    hear(&mut socket, "status", "stopping").await;
    hear(&mut socket, "status", "offline").await;
    assert!(game.has_ended(Duration::ZERO));
    assert_eq!(std::fs::read_to_string(place.file("saved")).unwrap(), "x\n");
    node.daemon.shutdown().await;
}

#[tokio::test]
async fn a_kill_does_not_wait_for_the_game_of_a_killed_shim_to_save() {
    let script = "trap '' TERM HUP; echo it is ready; while :; do sleep 1000; done";
    let place = Place::new(script, &sigterm());
    let node = place.daemon().await;
    let mut socket = node.running().await;
    let game = node.game().await;
    game.parent().signal(Signal::KILL);
    hear(&mut socket, "status", "stopping").await;
    let asked = std::time::Instant::now();
    say(&mut socket, "set state", "kill").await;
    hear(&mut socket, "status", "offline").await;
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
    assert!(game.has_ended(Duration::ZERO));
    node.daemon.shutdown().await;
}

#[tokio::test]
async fn a_game_without_a_shim_and_without_a_record_does_not_stay() {
    let script = "trap '' TERM HUP; echo it is ready; while :; do sleep 1000; done";
    let place = Place::new(script, &sigterm());
    let node = place.daemon().await;
    node.running().await;
    let game = node.game().await;
    let shim = game.parent();
    node.daemon.shutdown().await;
    shim.signal(Signal::KILL);
    assert!(shim.has_ended(DEADLINE));
    std::fs::remove_file(place.dir().join("run.json")).unwrap();
    let node = place.daemon().await;
    let mut socket = node.socket().await;
    hear(&mut socket, "status", "stopping").await;
    hear(&mut socket, "status", "offline").await;
    assert!(game.has_ended(Duration::ZERO));
    node.daemon.shutdown().await;
}

#[tokio::test]
async fn a_typed_stop_that_is_answered_late_is_a_stop() {
    let script = "/bin/sh -c 'echo it is ready; read line; exit 3'";
    let place = Place::new(script, &json!({ "type": "command", "value": "quit" }));
    let node = place.daemon().await;
    let mut socket = node.running().await;
    let shim = node.game().await.parent();
    shim.signal(Signal::STOP);
    say(&mut socket, "send command", "quit").await;
    hear(&mut socket, "daemon error", "not known").await;
    shim.signal(Signal::CONT);
    hear(&mut socket, "status", "stopping").await;
    hear(&mut socket, "status", "offline").await;
    let log = node.log().await;
    assert!(!log.iter().any(|line| line.contains("crash") || line.contains("by itself")), "{log:#?}");
    node.daemon.shutdown().await;
}

#[tokio::test]
async fn a_game_that_became_ready_long_ago_is_found_ready() {
    let script = "/bin/sh -c 'mkfifo go done; echo hello; read line < go; echo it is ready; \
                  yes chatter | head -c 4000000; echo x > done; read line'";
    let place = Place::new(script, &sigterm());
    let node = place.daemon().await;
    let mut socket = node.socket().await;
    say(&mut socket, "set state", "start").await;
    hear(&mut socket, "console output", "hello").await;
    node.daemon.shutdown().await;
    let (go, done) = (place.file("go"), place.file("done"));
    let told = tokio::task::spawn_blocking(move || {
        std::fs::write(go, "x\n").unwrap();
        std::fs::read_to_string(done).unwrap()
    });
    tokio::time::timeout(DEADLINE, told).await.unwrap().unwrap();
    let node = place.daemon().await;
    let mut socket = node.socket().await;
    hear(&mut socket, "status", "running").await;
    end(node).await;
}

#[tokio::test]
async fn a_note_that_the_shim_never_wrote_is_written_by_the_node() {
    let place = Place::with(ECHO, &sigterm(), &json!({ "done": ["never printed"], "settle_ms": 3000 }));
    let node = place.daemon().await;
    let mut socket = node.socket().await;
    say(&mut socket, "set state", "start").await;
    hear(&mut socket, "console output", "it is ready").await;
    let shim = node.game().await.parent();
    shim.signal(Signal::STOP);
    // Said to a shim that does not listen.
    hear(&mut socket, "status", "running").await;
    shim.signal(Signal::KILL);
    hear(&mut socket, "status", "offline").await;
    let log = node.log().await;
    let told = log.iter().filter(|line| line.contains("No start-up pattern matched")).count();
    assert_eq!(told, 1, "{log:#?}");
    node.daemon.shutdown().await;
}

#[tokio::test]
async fn nothing_stays_as_a_zombie_where_we_are_the_first_process() {
    // Orphans come to us, as they do to the first process of a container.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let place = Place::new(ECHO, &sigterm());
    let node = place.daemon().await;
    let mut socket = node.running().await;
    say(&mut socket, "set state", "stop").await;
    hear(&mut socket, "status", "offline").await;
    say(&mut socket, "set state", "start").await;
    hear(&mut socket, "status", "running").await;
    let game = node.game().await;
    game.parent().signal(Signal::KILL);
    hear(&mut socket, "status", "offline").await;
    let ours = std::process::id().to_string();
    let children = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let status = std::fs::read_to_string(entry.path().join("status")).ok()?;
        status.contains(&format!("PPid:\t{ours}\n")).then_some(status)
    });
    assert_eq!(children.collect::<Vec<_>>(), Vec::<String>::new());
    node.daemon.shutdown().await;
}
