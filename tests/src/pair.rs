//! A panel and a node as two processes, each with a clock of its own if wanted. What is alive in a [`crate::Deck`] at the same time can
//! be down here one by one.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::{DEADLINE, Folder, Rest, program};

/// Where Debian's package `libfaketime` has its library, by the machine's architecture.
const LIBRARIES: [&str; 2] =
    ["/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1"];
/// File in a program's folder that says how far its wall clock is from the machine's.
const CLOCK_FILE: &str = "clock";

/// What gives a process a wall clock of its own, if it is installed.
pub fn faketime() -> Option<PathBuf> {
    LIBRARIES.iter().map(PathBuf::from).find(|path| path.exists())
}

/// One process of the program with a data folder.
pub struct Program {
    data: Folder,
    child: Option<Child>,
    /// Command and arguments, without the data folder.
    arguments: Vec<String>,
    clock: Option<PathBuf>,
}

impl Program {
    fn new(arguments: &[&str], clock: Option<PathBuf>) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Self { data: Folder::new(), child: None, arguments, clock }
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.data().join("test.log")).unwrap_or_default()
    }

    /// Sets its wall clock, also while it runs: so many seconds ahead of the machine's, behind if negative.
    ///
    /// # Panics
    /// When that cannot be written.
    #[allow(clippy::expect_used)]
    pub fn set_clock(&self, ahead_s: i64) {
        // In one step: it reads the file whenever it asks for the time.
        let (file, new) = (self.data().join(CLOCK_FILE), self.data().join("clock.new"));
        std::fs::write(&new, format!("{ahead_s:+}")).and_then(|()| std::fs::rename(new, file)).expect("a clock");
    }

    /// Starts it; its first line of output.
    ///
    /// # Panics
    /// When it does not come up.
    #[allow(clippy::expect_used)]
    pub async fn up(&mut self) -> Value {
        let log = std::fs::File::options().create(true).append(true).open(self.data().join("test.log"));
        let mut command = Command::new(program::quarterdeck());
        command
            .args(&self.arguments)
            .arg("--data")
            .arg(self.data())
            .env_remove("QUARTERDECK_URL")
            .env_remove("QUARTERDECK_KEY")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.expect("a log file"))
            .kill_on_drop(true);
        if let Some(library) = &self.clock {
            command
                .env("LD_PRELOAD", library)
                .env("FAKETIME_TIMESTAMP_FILE", self.data().join(CLOCK_FILE))
                .env("FAKETIME_NO_CACHE", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        let mut child = command.spawn().expect("the program starts");
        let stdout = child.stdout.take().expect("its output");
        let mut lines = BufReader::new(stdout).lines();
        let first = tokio::time::timeout(DEADLINE, lines.next_line()).await;
        let Ok(Ok(Some(greeting))) = first else { panic!("no greeting; its log:\n{}", self.log()) };
        self.child = Some(child);
        serde_json::from_str(&greeting).expect("a greeting in JSON")
    }

    /// Has the kernel hold it still: its connections stay, and nothing is answered.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.as_ref().and_then(Child::id).and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = id.and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }

    /// Ends it without warning.
    pub async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill().await;
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- the log of {:?} ---\n{}", self.arguments.first(), self.log());
        }
    }
}

/// See the module.
pub struct Pair {
    /// The panel.
    pub panel: Program,
    /// The node.
    pub node: Program,
    url: String,
    key: String,
    node_url: String,
    node_token_id: String,
    node_token: String,
}

/// Tests ask more often than people do.
const PATIENCE: &str = "client_per_minute = 100000\napplication_per_minute = 100000\nwebsocket_per_minute = 100000\n";

impl Pair {
    /// Both on the machine's clock.
    pub async fn new() -> Self {
        Self::begin(None, 0, 0).await
    }

    /// Both with wall clocks of their own, so many seconds ahead of the machine's. None when the machine cannot do that.
    pub async fn with_clocks(panel_s: i64, node_s: i64) -> Option<Self> {
        let pair = Self::begin(Some(faketime()?), panel_s, node_s).await;
        pair.panel_is_at(panel_s).await;
        pair.node_is_at(node_s).await;
        Some(pair)
    }

    #[allow(clippy::expect_used)]
    async fn begin(clock: Option<PathBuf>, panel_s: i64, node_s: i64) -> Self {
        let mut panel = Program::new(&["panel", "--json", "--listen", "127.0.0.1:0"], clock.clone());
        panel.set_clock(panel_s);
        std::fs::write(panel.data().join("quarterdeck.toml"), PATIENCE).expect("the settings");
        let greeting = panel.up().await;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (url, key) = (text(&greeting["url"]), text(&greeting["key"]));
        // From now on the panel keeps its port, also across its own restarts.
        url.trim_start_matches("http://").clone_into(&mut panel.arguments[3]);
        let port = free_port();
        let rest = Rest::new(&url, Some(&key));
        let body = json!({ "name": "far", "fqdn": "127.0.0.1", "scheme": "http", "daemon_listen": port });
        let made = rest.post("/api/application/nodes", &body).await;
        let configuration = made.ok()["meta"]["configuration"].clone();
        let address = format!("127.0.0.1:{port}");
        let mut node = Program::new(&["node", "--json", "--listen", &address, "--config"], clock);
        node.set_clock(node_s);
        let file = node.data().join("config.json");
        std::fs::write(&file, configuration.to_string()).expect("a configuration");
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("a private file");
        node.arguments.push(file.display().to_string());
        node.up().await;
        let (node_token_id, node_token) = (text(&configuration["token_id"]), text(&configuration["token"]));
        Self { panel, node, url, key, node_url: format!("http://{address}"), node_token_id, node_token }
    }

    /// A client of the panel with the administrator's key.
    pub fn rest(&self) -> Rest {
        Rest::new(&self.url, Some(&self.key))
    }

    /// A client of the node, as its panel is one.
    pub fn node_rest(&self) -> Rest {
        Rest::new(&self.node_url, Some(&self.node_token))
    }

    /// Sets both clocks, and waits until both programs go by them.
    pub async fn set_clocks(&self, ahead_s: i64) {
        self.panel.set_clock(ahead_s);
        self.node.set_clock(ahead_s);
        self.panel_is_at(ahead_s).await;
        self.node_is_at(ahead_s).await;
    }

    /// Waits until the panel goes by the clock it was given: a machine on which that has no effect would test nothing.
    pub async fn panel_is_at(&self, ahead_s: i64) {
        is_at(&self.panel_as_node(), "/api/remote/servers", ahead_s).await;
    }

    /// The same of the node.
    pub async fn node_is_at(&self, ahead_s: i64) {
        is_at(&self.node_rest(), "/api/system", ahead_s).await;
    }

    /// A client of the panel, as its node is one.
    pub fn panel_as_node(&self) -> Rest {
        Rest::new(&self.url, Some(&format!("{}.{}", self.node_token_id, self.node_token)))
    }

    /// The key of this node's tokens.
    pub fn node_token(&self) -> &str {
        &self.node_token
    }

    /// Makes and starts a server that runs the deterministic game with these arguments; its uuid.
    ///
    /// # Panics
    /// When it does not run in time.
    pub async fn game(&self, arguments: &str) -> String {
        let command = format!("{{{{QUARTERDECK}}}} fakegame play {arguments}");
        let body = json!({ "name": "test", "command": command, "ready": "Done" });
        let made = self.rest().post("/api/application/servers", &body).await;
        let server = made.ok()["attributes"]["uuid"].as_str().unwrap_or_default().to_owned();
        let start = json!({ "signal": "start" });
        self.rest().post(&format!("/api/client/servers/{server}/power"), &start).await.ok();
        server
    }
}

/// Waits for answers that tell this time. Their `Date` does not do: the HTTP library keeps it, and never sets it back.
#[allow(clippy::expect_used)]
async fn is_at(rest: &Rest, path: &str, wanted_s: i64) {
    let ahead_s = async || {
        let answer = rest.get(path).await;
        let told = answer.headers.get("x-quarterdeck-time").and_then(|value| value.to_str().ok()?.parse::<i64>().ok());
        told.expect("a time in the answer") / 1000 - crate::token::now_s()
    };
    let is_at = async {
        while (ahead_s().await - wanted_s).abs() > 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, is_at).await.expect("the clock is in effect");
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0");
    listener.and_then(|listener| listener.local_addr()).map_or(0, |address| address.port())
}
