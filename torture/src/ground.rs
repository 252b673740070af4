//! What a fault stands on: the program with games in it, and looks at its processes from outside.

use std::fs;
use std::time::Duration;

use e2e::{DEADLINE, Deck};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::viewer::Viewer;

/// Hundreds of viewers of one person ask more often than a person would.
pub(crate) const SETTINGS: &str = "\
client_per_minute = 1000000
application_per_minute = 1000000
websocket_per_minute = 1000000
connections_per_user_max = 10000
unauthenticated_max = 10000
unauthenticated_per_address_max = 10000
";
/// Between two looks at something that takes a while.
pub(crate) const LOOK: Duration = Duration::from_millis(10);

/// See the module.
pub(crate) struct Ground {
    pub(crate) deck: Deck,
    /// Uuids of the games.
    pub(crate) games: Vec<String>,
}

impl Ground {
    /// The program without a game.
    pub(crate) async fn new() -> Self {
        Self::with("").await
    }

    /// The same with more settings.
    pub(crate) async fn with(settings: &str) -> Self {
        let deck = Deck::with_settings(&format!("{SETTINGS}{settings}"), &["--no-demo"]).await;
        deck.learn_node_token().await;
        Self { deck, games: Vec::new() }
    }

    /// Adds so many games, every second one on pipes instead of a terminal, and waits until they run.
    pub(crate) async fn games(mut self, count: usize, arguments: &str) -> Self {
        for n in 0..count {
            let console = if n % 2 == 0 { "pty" } else { "pipe" };
            self.game(arguments, json!({ "console": console, "name": format!("game {n}") })).await;
        }
        self
    }

    /// Adds one, and waits until it runs.
    pub(crate) async fn game(&mut self, arguments: &str, spec: Value) -> String {
        let mut body = json!({ "ready": "Done", "stop": "stop" });
        if let (Some(body), Some(spec)) = (body.as_object_mut(), spec.as_object()) {
            body.extend(spec.clone());
        }
        let uuid = self.deck.game(arguments, body).await;
        self.deck.power(&uuid, "start").await.ok();
        self.reaches(&uuid, "running").await;
        self.games.push(uuid.clone());
        uuid
    }

    /// Waits for a state.
    ///
    /// # Panics
    /// When it does not come.
    pub(crate) async fn reaches(&self, uuid: &str, state: &str) {
        let until = Instant::now() + DEADLINE;
        loop {
            let details = self.deck.details(uuid).await;
            if details["state"] == state {
                return;
            }
            assert!(Instant::now() < until, "{uuid} does not become {state}: {details}");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The game's process, as the node says.
    pub(crate) async fn pid(&self, uuid: &str) -> Option<i32> {
        let pid = self.deck.details(uuid).await["quarterdeck"]["pid"].as_i64();
        pid.and_then(|pid| i32::try_from(pid).ok())
    }

    /// The processes of all games.
    pub(crate) async fn pids(&self) -> Vec<Option<i32>> {
        let mut pids = Vec::new();
        for game in &self.games {
            pids.push(self.pid(game).await);
        }
        pids
    }

    /// A viewer of each game who has seen its first lines.
    pub(crate) async fn viewers(&self) -> Vec<Viewer> {
        let viewers: Vec<_> = self.games.iter().map(|game| Viewer::of(&self.deck, game)).collect();
        for viewer in &viewers {
            viewer.until("its first line", |seen| seen.lines > 0).await;
        }
        viewers
    }

    /// Kills every game and waits until none runs.
    pub(crate) async fn end_games(&self) {
        for game in &self.games {
            self.deck.power(game, "kill").await.ok();
        }
        for game in &self.games {
            self.reaches(game, "offline").await;
        }
    }

    /// Resident memory of the program, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.deck.pid().map_or(0, |pid| status_kib(pid, "VmRSS:") * 1024)
    }

    /// Its threads and its open files.
    pub(crate) fn threads_and_files(&self) -> (u64, u64) {
        let Some(pid) = self.deck.pid() else { return (0, 0) };
        let files = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        (status_kib(pid, "Threads:"), files as u64)
    }
}

fn status_kib(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let value = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    value.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Whether a process exists and is more than its parent's memory of it.
pub(crate) fn lives(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next());
    state.is_some_and(|state| state != "Z" && state != "X")
}

/// Every living process of a server, found by the mark that its environment carries.
pub(crate) fn processes(deck: &Deck, uuid: &str) -> Vec<i32> {
    let mark = format!("QUARTERDECK_RUN={}", deck.node().join("servers").join(uuid).display());
    let marked = |pid: &i32| {
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    };
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(marked).filter(|pid| lives(*pid)).collect()
}
