//! A deck with a hostile game in it, which tries to get at everything that is not its own and says how each attempt ended; see
//! `fakegame/hostile`. And what each rung of isolation has to stop by itself.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use serde_json::{Value, json};

use crate::{Deck, Socket};

/// What an honest game does as well; it must always work.
pub const OWN: [&str; 8] =
    ["own-write", "own-rename", "own-temporary", "own-program", "own-null", "own-stdout", "bind-any", "bind-own"];
/// What a user of its own stops, by itself.
pub const STOPPED_BY_USER: [&str; 29] = [
    "read-shadow",
    "read-shadow-by-link",
    "read-root",
    "write-etc",
    "list-own-log",
    "forge-own-log",
    "write-beside-own",
    "read-own-definition",
    "move-own-files",
    "read-victim-files",
    "write-victim-files",
    "list-victim-log",
    "read-victim-definition",
    "list-servers",
    "read-database",
    "read-key",
    "replace-shim",
    "signal-shim",
    "stop-shim",
    "ptrace-shim",
    "environ-shim",
    "memory-shim",
    "signal-daemon",
    "stop-daemon",
    "ptrace-daemon",
    "signal-victim",
    "stop-victim",
    "shim-own",
    "shim-victim",
];
/// What Landlock stops by itself, also games of the daemon's own user.
pub const STOPPED_BY_LANDLOCK: [&str; 36] = [
    "read-shadow",
    "read-shadow-by-link",
    "read-root",
    "write-shared",
    "write-etc",
    "list-own-log",
    "forge-own-log",
    "write-beside-own",
    "read-own-definition",
    "move-own-files",
    "read-victim-files",
    "write-victim-files",
    "list-victim-log",
    "read-victim-definition",
    "list-servers",
    "read-database",
    "read-key",
    "replace-shim",
    "signal-shim",
    "stop-shim",
    "ptrace-shim",
    "environ-shim",
    "memory-shim",
    "signal-daemon",
    "stop-daemon",
    "ptrace-daemon",
    "environ-daemon",
    "memory-daemon",
    "signal-victim",
    "stop-victim",
    "ptrace-victim",
    "environ-victim",
    "memory-victim",
    "mount",
    "bind-foreign",
    "abstract-socket",
];
/// What the filter of system calls stops by itself, also as root.
pub const STOPPED_BY_SECCOMP: [&str; 19] = [
    "ptrace-shim",
    "ptrace-daemon",
    "ptrace-victim",
    "packet-socket",
    "crypto-socket",
    "terminal-input",
    "mount",
    "unshare-user",
    "unshare-mount",
    "clone-user",
    "chroot",
    "bpf",
    "perf",
    "keyctl",
    "io-uring",
    "userfaultfd",
    "modules",
    "kexec",
    "setns",
];
/// What a shim refuses by itself.
pub const STOPPED_BY_SHIM: [&str; 2] = ["shim-own", "shim-victim"];

/// A deck with two games: one that holds still, and one that is hostile to it and to the rest.
pub struct Scene {
    /// The program.
    pub deck: Deck,
    /// The one that holds still.
    pub victim: String,
    /// The other one.
    pub hostile: String,
    /// How each attempt ended.
    pub attempts: BTreeMap<String, String>,
    /// Rungs that hold.
    pub active: Vec<String>,
    /// Rungs that do not, each with the reason.
    pub missing: Vec<String>,
}

impl Scene {
    /// Makes both games and lets the hostile one try.
    ///
    /// # Panics
    /// When something other than an attempt fails.
    pub async fn play(deck: Deck) -> Self {
        deck.learn_node_token().await;
        let victim = deck.game("", json!({ "ready": "Done" })).await;
        std::fs::write(deck.files(&victim).join("secret.txt"), "secret").unwrap();
        let mut console = Socket::console(&deck, &victim).await;
        console.say("set state", &json!(["start"])).await;
        console.status("running").await;
        let victims = extra(&deck, &victim).await;
        let hostile = deck.create(json!({ "command": "true", "ready": "attempts over", "stop": "stop" })).await;
        let socket = format!("quarterdeck-test-{}", std::process::id());
        let _listening = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&socket).unwrap()).unwrap();
        let folder = |uuid: &str| deck.data().join("node/servers").join(uuid).display().to_string();
        let command = format!(
            "{{{{QUARTERDECK}}}} fakegame hostile --own {} --victim {} --data {} --own-port {{{{SERVER_PORT}}}} --foreign-port {} \
             --abstract-socket {socket} --process shim={} --process daemon={} --process victim={}",
            folder(&hostile),
            folder(&victim),
            deck.data().display(),
            port(&deck, &victim).await,
            parent(victims["pid"].as_u64().unwrap()),
            deck.pid().unwrap(),
            victims["pid"],
        );
        set_command(&deck, &hostile, &command).await;
        let attempts = attempts(&deck, &hostile).await;
        let isolation = extra(&deck, &hostile).await["isolation"].clone();
        let list = |name: &str| serde_json::from_value(isolation[name].clone()).unwrap();
        Self { victim, hostile, attempts, active: list("active"), missing: list("missing"), deck }
    }

    /// Those of these attempts that were not refused.
    pub fn let_through(&self, attempts: &[&str]) -> Vec<String> {
        let outcome = |name: &str| self.attempts.get(name).map_or("was not made", String::as_str);
        let through = attempts.iter().filter(|name| !outcome(name).starts_with("refused"));
        through.map(|name| format!("{name}: {}", outcome(name))).collect()
    }

    /// What an honest game does as well and this one could not.
    pub fn hindered(&self) -> Vec<&'static str> {
        OWN.into_iter().filter(|name| self.attempts.get(*name).is_none_or(|how| how != "got through")).collect()
    }

    /// # Panics
    /// When one of these attempts was not refused.
    pub fn assert_stopped(&self, attempts: &[&str]) {
        let through = self.let_through(attempts);
        assert!(through.is_empty(), "{through:#?}");
    }

    /// # Panics
    /// When an honest game could not live like this.
    pub fn assert_own_works(&self) {
        assert!(self.hindered().is_empty(), "{:?}\n{:#?}", self.hindered(), self.attempts);
    }

    /// Whether a rung holds; the reason stands in the other list if not.
    ///
    /// # Panics
    /// When both or none of it is said.
    pub fn has(&self, rung: &str) -> bool {
        let names = |text: &String| text == rung || text.starts_with(&format!("{rung}:"));
        let (active, missing) = (self.active.iter().any(names), self.missing.iter().any(names));
        assert!(active != missing, "{rung}: {:?} {:?}", self.active, self.missing);
        active
    }

    /// Why a rung does not hold.
    pub fn why_not(&self, rung: &str) -> &str {
        let named = |text: &&String| text.starts_with(&format!("{rung}: "));
        self.missing.iter().find(named).map_or("", String::as_str)
    }
}

/// Starts a hostile game and gives how each of its attempts ended.
pub async fn attempts(deck: &Deck, server: &str) -> BTreeMap<String, String> {
    let mut console = Socket::console(deck, server).await;
    console.say("set state", &json!(["start"])).await;
    console.line("attempts over").await;
    let lines = console.lines();
    let attempts = lines.iter().filter_map(|line| line.trim().strip_prefix("attempt ")?.split_once(": "));
    attempts.map(|(name, outcome)| (name.to_owned(), outcome.to_owned())).collect()
}

/// What only our node says of a server.
pub async fn extra(deck: &Deck, server: &str) -> Value {
    deck.details(server).await["quarterdeck"].clone()
}

/// Gives a server another start command.
///
/// # Panics
/// When it does not take it.
pub async fn set_command(deck: &Deck, server: &str, command: &str) {
    let done = deck.command(&["server", "set", server, "--command", command]).output().await.unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

async fn port(deck: &Deck, server: &str) -> u64 {
    deck.details(server).await["configuration"]["allocations"]["default"]["port"].as_u64().unwrap()
}

fn parent(pid: u64) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}
