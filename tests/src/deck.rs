//! One running `quarterdeck up` with a data folder of its own. Games outlive the program, so a deck ends them when it goes.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::engine::IMAGE;
use crate::{DEADLINE, Engine, Folder, Rest, engine, program};

/// The user and group that own nothing.
const NOBODY: u32 = 65_534;

/// See the module.
pub struct Deck {
    data: Folder,
    program: Option<PathBuf>,
    unprivileged: bool,
    child: Option<Child>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    url: String,
    key: String,
    demo: String,
}

impl Deck {
    /// A fresh one.
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    /// A fresh one with more arguments for `up`.
    ///
    /// # Panics
    /// When it does not come up.
    #[allow(clippy::expect_used)]
    pub async fn with(arguments: &[&str]) -> Self {
        let mut deck = Self::prepared(arguments);
        deck.up("127.0.0.1:0").await;
        deck
    }

    /// A fresh one whose `quarterdeck.toml` says this.
    ///
    /// # Panics
    /// When it does not come up.
    #[allow(clippy::expect_used)]
    pub async fn with_settings(settings: &str, arguments: &[&str]) -> Self {
        let mut deck = Self::prepared(arguments);
        deck.set(settings);
        deck.up("127.0.0.1:0").await;
        deck
    }

    /// What `quarterdeck.toml` says from the next start on.
    ///
    /// # Panics
    /// When it cannot be written.
    #[allow(clippy::expect_used)]
    pub fn set(&self, settings: &str) {
        let containers = Engine::of_all_games().map(|engine| engine.settings()).unwrap_or_default();
        let text = format!("{settings}\n{containers}");
        std::fs::write(self.data.path().join("quarterdeck.toml"), text).expect("the settings");
    }

    /// A fresh one with more in its environment.
    pub async fn in_environment(variables: &[(&str, &str)]) -> Self {
        let mut deck = Self::prepared(&[]);
        deck.environment = variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        deck.up("127.0.0.1:0").await;
        deck
    }

    /// A fresh one that runs without root's rights, as an ordinary user's does; as root, it becomes `nobody`.
    ///
    /// # Panics
    /// When it does not come up.
    #[allow(clippy::expect_used)]
    pub async fn unprivileged() -> Self {
        let mut deck = Self::prepared(&[]);
        deck.unprivileged = rustix::process::geteuid().is_root();
        if deck.unprivileged {
            // The program may lie where nobody else may look.
            std::fs::copy(program::quarterdeck(), deck.program()).expect("a copy of the program");
            for path in [deck.data.path(), &deck.program()] {
                std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).expect("another owner");
            }
        }
        deck.up("127.0.0.1:0").await;
        deck
    }

    /// A fresh one with these lines in its `quarterdeck.toml`, and a data folder that others can pass through or cannot.
    ///
    /// # Panics
    /// When it does not come up.
    #[allow(clippy::expect_used)]
    pub async fn isolated(settings: &str, passable: bool) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let mut deck = Self::prepared(&["--no-demo"]);
        deck.set(settings);
        let mode = std::fs::Permissions::from_mode(if passable { 0o711 } else { 0o700 });
        std::fs::set_permissions(deck.data.path(), mode).expect("a mode");
        deck.up("127.0.0.1:0").await;
        deck
    }

    /// One that is not started yet: [`Deck::up`] does that.
    ///
    /// # Panics
    /// When its folder cannot be written.
    pub fn prepared(arguments: &[&str]) -> Self {
        let deck = Self {
            data: Folder::new(),
            program: None,
            unprivileged: false,
            child: None,
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            environment: Vec::new(),
            url: String::new(),
            key: String::new(),
            demo: String::new(),
        };
        if Engine::of_all_games().is_some() {
            deck.set("");
        }
        deck
    }

    fn program(&self) -> PathBuf {
        match &self.program {
            Some(program) => program.clone(),
            None if self.unprivileged => self.data.path().join("quarterdeck-copy"),
            None => program::quarterdeck().to_owned(),
        }
    }

    /// From the next start on, another file is run: an upgrade.
    pub fn use_program(&mut self, program: PathBuf) {
        self.program = Some(program);
    }

    /// Starts the program on an address, with the folder as it is.
    ///
    /// # Panics
    /// When it does not come up.
    #[allow(clippy::expect_used)]
    pub async fn up(&mut self, listen: &str) {
        let mut child = self.spawn(listen);
        let stdout = child.stdout.take().expect("its output");
        let mut lines = BufReader::new(stdout).lines();
        let first = tokio::time::timeout(DEADLINE, lines.next_line()).await;
        let Ok(Ok(Some(greeting))) = first else { panic!("no greeting; its log:\n{}", self.log()) };
        let greeting: Value = serde_json::from_str(&greeting).expect("a greeting in JSON");
        let text = |name: &str| greeting[name].as_str().unwrap_or_default().to_owned();
        (self.url, self.key, self.demo) = (text("url"), text("key"), text("demo"));
        self.child = Some(child);
    }

    #[allow(clippy::expect_used)]
    fn spawn(&self, listen: &str) -> Child {
        let mut command = Command::new(self.program());
        if self.unprivileged {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
            .args(["up", "--json", "--listen", listen, "--data"])
            .arg(self.data.path())
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env_remove("QUARTERDECK_URL")
            .env_remove("QUARTERDECK_KEY")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::from(self.log_file()))
            .spawn()
            .expect("the program starts")
    }

    /// The same address and folder again, after [`Deck::kill`] or [`Deck::stop`].
    pub async fn up_again(&mut self) {
        let address = self.address();
        self.up(&address).await;
    }

    /// The same address and folder again, and killed after this time, whether it has come up by then or not.
    pub async fn up_for(&mut self, time: Duration) {
        let mut child = self.spawn(&self.address());
        let _ = tokio::time::timeout(time, child.wait()).await;
        let _ = child.kill().await;
    }

    fn address(&self) -> String {
        self.url.trim_start_matches("http://").to_owned()
    }

    /// The program's process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    #[allow(clippy::expect_used)]
    fn log_file(&self) -> std::fs::File {
        let path = self.data.path().join("test.log");
        std::fs::File::options().create(true).append(true).open(path).expect("a log file")
    }

    /// What the program has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.data.path().join("test.log")).unwrap_or_default()
    }

    /// Ends the program without warning.
    pub async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill().await;
        }
    }

    /// Asks the program to end, and waits until it has.
    ///
    /// # Panics
    /// When it does not.
    #[allow(clippy::expect_used)]
    pub async fn stop(&mut self) -> std::process::ExitStatus {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// Sends the program a signal.
    ///
    /// # Panics
    /// When it does not run.
    #[allow(clippy::expect_used)]
    pub fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).unwrap_or(0))).expect("its pid");
        kill_process(pid, signal).expect("a signal");
    }

    /// Waits until the program has ended.
    ///
    /// # Panics
    /// When it does not.
    #[allow(clippy::expect_used)]
    pub async fn ended(&mut self) -> std::process::ExitStatus {
        let mut child = self.child.take().expect("it runs");
        tokio::time::timeout(DEADLINE, child.wait()).await.expect("it ends in time").expect("a status")
    }

    /// Waits until the program has logged something.
    ///
    /// # Panics
    /// When it does not.
    pub async fn logged(&self, part: &str) {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while !self.log().contains(part) {
            assert!(tokio::time::Instant::now() < deadline, "not logged: {part}\n{}", self.log());
            tokio::task::yield_now().await;
        }
    }

    /// The panel's address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The administrator's key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The demo server's id.
    pub fn demo(&self) -> &str {
        &self.demo
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// The node's folder in it.
    pub fn node(&self) -> PathBuf {
        self.data.path().join("node")
    }

    /// The folder of a server's files on the node.
    pub fn files(&self, uuid: &str) -> PathBuf {
        self.data.path().join("node/servers").join(uuid).join("files")
    }

    /// A client with the administrator's key.
    pub fn rest(&self) -> Rest {
        Rest::new(&self.url, Some(&self.key))
    }

    /// The program's own command line client, as this administrator.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program::quarterdeck());
        command
            .arg("--data")
            .arg(self.data.path())
            .args(arguments)
            .env_remove("QUARTERDECK_URL")
            .env_remove("QUARTERDECK_KEY")
            .kill_on_drop(true);
        command
    }

    /// Makes a server and gives its uuid. `spec` is merged over a name.
    pub async fn create(&self, spec: Value) -> String {
        let mut body = json!({ "name": "test" });
        if Engine::of_all_games().is_some() {
            body["image"] = IMAGE.into();
            // Published on this machine, which other tests have, too.
            body["port"] = engine::free_port().into();
        }
        if let (Some(body), Some(spec)) = (body.as_object_mut(), spec.as_object()) {
            body.extend(spec.clone());
        }
        let made = self.rest().post("/api/application/servers", &body).await;
        made.ok()["attributes"]["uuid"].as_str().unwrap_or_default().to_owned()
    }

    /// Makes a server that runs the deterministic game with these arguments.
    pub async fn game(&self, arguments: &str, spec: Value) -> String {
        let mut body = json!({ "command": format!("{{{{QUARTERDECK}}}} fakegame play {arguments}") });
        if let (Some(body), Some(spec)) = (body.as_object_mut(), spec.as_object()) {
            body.extend(spec.clone());
        }
        self.create(body).await
    }

    /// A token and the socket's address.
    pub async fn credentials(&self, server: &str) -> (String, String) {
        credentials(&self.rest(), server).await
    }

    /// Asks for a power action over REST.
    pub async fn power(&self, server: &str, signal: &str) -> crate::Answer {
        self.rest().post(&format!("/api/client/servers/{server}/power"), &json!({ "signal": signal })).await
    }

    /// What the node says of a server.
    pub async fn details(&self, uuid: &str) -> Value {
        let node = Rest::new(&self.url, Some(&self.node_token()));
        node.get(&format!("/api/servers/{uuid}")).await.ok().clone()
    }

    /// The secret of the node in this folder, as the panel gives it to administrators.
    fn node_token(&self) -> String {
        let path = self.data.path().join("test-node-token");
        std::fs::read_to_string(path).unwrap_or_default()
    }

    /// Fetches the node's secret, for tests that speak to the node as its panel does.
    pub async fn learn_node_token(&self) -> String {
        let nodes = self.rest().get("/api/application/nodes").await;
        let id = nodes.ok()["data"][0]["attributes"]["id"].clone();
        let answer = self.rest().get(&format!("/api/application/nodes/{id}/configuration")).await;
        let token = answer.ok()["token"].as_str().unwrap_or_default().to_owned();
        let _ = std::fs::write(self.data.path().join("test-node-token"), &token);
        token
    }
}

/// A token and the socket's address, as this client gets them.
pub async fn credentials(rest: &Rest, server: &str) -> (String, String) {
    let answer = rest.get(&format!("/api/client/servers/{server}/websocket")).await;
    let data = &answer.ok()["data"];
    let text = |name: &str| data[name].as_str().unwrap_or_default().to_owned();
    (text("token"), text("socket"))
}

impl Drop for Deck {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.start_kill();
        }
        if let Some(engine) = Engine::of_all_games() {
            let servers = std::fs::read_dir(self.node().join("servers")).into_iter().flatten().flatten();
            for server in servers.filter_map(|entry| entry.file_name().into_string().ok()) {
                engine.forget(&server);
            }
        }
        if std::thread::panicking() {
            println!("--- the program's log ---\n{}", self.log());
        }
    }
}
