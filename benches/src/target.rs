//! What is measured: the program, and the limit beside it. Both have viewers, and print what they are told.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use e2e::Deck;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::time::Instant;
use tungstenite::Message;

use crate::cpu::{self, parent};

/// Where what is measured runs; the load has the other core.
pub(crate) const SERVER_CORE: usize = 0;
/// Where the load runs.
pub(crate) const LOAD_CORE: usize = 1;

/// Thousands of viewers of one person ask more often than a person would.
pub(crate) const SETTINGS: &str = "\
client_per_minute = 100000000
application_per_minute = 1000000
websocket_per_minute = 100000000
connections_per_user_max = 100000
unauthenticated_max = 100000
unauthenticated_per_address_max = 100000
token_ttl_s = 900
";
/// The slowest rate there is: the one line that comes at once, and then none.
const SILENCE: f64 = 0.001;
const DEADLINE: Duration = Duration::from_mins(1);

/// The program, with a game on it.
pub(crate) struct Ours {
    pub(crate) deck: Deck,
    pub(crate) game: String,
}

impl Ours {
    /// Started on its core; the game prints nothing yet.
    pub(crate) async fn start(line_len: usize) -> Self {
        Self::start_with("", line_len).await
    }

    /// The same with more in its settings.
    pub(crate) async fn start_with(settings: &str, line_len: usize) -> Self {
        let deck = Self::without_game_but(settings).await;
        let arguments = format!("--stamp --obey --line-len {line_len}");
        let game = deck.game(&arguments, json!({ "ready": "Done", "stop": "stop", "console": "pipe" })).await;
        let ours = Self { deck, game };
        ours.power("start", "running").await;
        ours
    }

    /// The program alone.
    pub(crate) async fn without_game() -> Deck {
        Self::without_game_but("").await
    }

    async fn without_game_but(settings: &str) -> Deck {
        cpu::pin(SERVER_CORE);
        let deck = Deck::with_settings(&format!("{SETTINGS}{settings}"), &["--no-demo"]).await;
        cpu::pin(LOAD_CORE);
        deck.learn_node_token().await;
        deck
    }

    /// Asks for a power action and waits for what comes of it.
    pub(crate) async fn power(&self, action: &str, state: &str) {
        power(&self.deck, &self.game, action, state).await;
    }

    /// The program's process.
    #[allow(clippy::expect_used)]
    pub(crate) fn pid(&self) -> u32 {
        self.deck.pid().expect("a process")
    }

    /// Types into the game.
    pub(crate) async fn order(&self, text: &str) {
        let path = format!("/api/client/servers/{}/command", self.game);
        self.deck.rest().post(&path, &json!({ "command": text })).await.ok_or_panic(text);
    }

    /// Viewers who are authenticated and have read nothing yet.
    pub(crate) async fn viewers(&self, count: usize) -> Vec<TcpStream> {
        let mut viewers = Vec::with_capacity(count);
        for _ in 0..count {
            viewers.push(viewer(&self.deck, &self.game).await);
        }
        viewers
    }

    /// The process that holds the game.
    pub(crate) async fn shim(&self) -> u32 {
        let details = self.deck.details(&self.game).await;
        parent(details["quarterdeck"]["pid"].as_u64().unwrap_or_default())
    }
}

/// A viewer of a game who is about to be authenticated and has read nothing yet.
#[allow(clippy::expect_used)]
pub(crate) async fn viewer(deck: &Deck, game: &str) -> TcpStream {
    let (token, url) = deck.credentials(game).await;
    let address = url.trim_start_matches("ws://").split('/').next().unwrap_or_default();
    let stream = TcpStream::connect(address).expect("a connection");
    stream.set_nodelay(true).expect("no delay");
    let (mut socket, _) = tungstenite::client(&url, stream.try_clone().expect("a descriptor")).expect("a handshake");
    let auth = json!({ "event": "auth", "args": [token] }).to_string();
    // Nothing comes before this is answered: what is read from here on begins a frame.
    socket.send(Message::text(auth)).expect("auth");
    stream
}

/// Asks for a power action and waits for what comes of it.
pub(crate) async fn power(deck: &Deck, game: &str, action: &str, state: &str) {
    deck.power(game, action).await.ok_or_panic(action);
    let until = Instant::now() + DEADLINE;
    while deck.details(game).await["state"] != state {
        assert!(Instant::now() < until, "{game} does not become {state}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Something that stands beside the program on its core: this program in another role. It prints its port first, and ends when
/// dropped.
pub(crate) struct Beside {
    child: Child,
    orders: ChildStdin,
    pub(crate) port: u16,
}

impl Beside {
    /// Started on the core of the program.
    #[allow(clippy::expect_used)]
    pub(crate) fn start(arguments: &[&str]) -> Self {
        cpu::pin(SERVER_CORE);
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        cpu::pin(LOAD_CORE);
        let mut port = String::new();
        BufReader::new(child.stdout.take().expect("its output")).read_line(&mut port).expect("its port");
        let orders = child.stdin.take().expect("its input");
        Self { child, orders, port: port.trim().parse().expect("a port") }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The limit; see `limit`.
pub(crate) struct Limit(Beside);

impl Limit {
    /// Started on its core.
    pub(crate) fn start(line_len: usize) -> Self {
        Self(Beside::start(&["limit", "--line-len", &line_len.to_string()]))
    }

    #[allow(clippy::expect_used)]
    fn viewers(&self, count: usize) -> Vec<TcpStream> {
        (0..count).map(|_| TcpStream::connect(("127.0.0.1", self.0.port)).expect("a connection")).collect()
    }
}

/// A process stands still, or goes on.
pub(crate) fn hold(pid: u32, still: bool) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, if still { Signal::STOP } else { Signal::CONT });
    }
}

/// Either of them.
pub(crate) enum Target {
    Ours(Box<Ours>),
    Limit(Limit),
}

impl Target {
    pub(crate) fn pid(&self) -> u32 {
        match self {
            Self::Ours(ours) => ours.pid(),
            Self::Limit(limit) => limit.0.pid(),
        }
    }

    pub(crate) async fn viewers(&self, count: usize) -> Vec<TcpStream> {
        match self {
            Self::Ours(ours) => ours.viewers(count).await,
            Self::Limit(limit) => limit.viewers(count),
        }
    }

    /// Lines per second from here on; none with 0.
    pub(crate) async fn rate(&mut self, rate: f64) {
        let rate = if rate > 0.0 { rate } else { SILENCE };
        self.order(&format!("rate {rate}")).await;
    }

    /// So many lines, as fast as they are taken.
    pub(crate) async fn burst(&mut self, lines: u64) {
        self.order(&format!("burst {lines}")).await;
    }

    #[allow(clippy::expect_used)]
    async fn order(&mut self, text: &str) {
        match self {
            Self::Ours(ours) => ours.order(text).await,
            Self::Limit(limit) => writeln!(limit.0.orders, "{text}").expect("the limit listens"),
        }
    }

    /// Stands still while the other one is measured.
    pub(crate) fn hold(&self, still: bool) {
        hold(self.pid(), still);
    }
}
