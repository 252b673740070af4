//! The program as a service: what it tells systemd, and the units that are shipped.
#![allow(clippy::unwrap_used, missing_docs)]

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use e2e::{DEADLINE, Deck, Socket, program};
use rustix::process::Signal;
use serde_json::json;

/// Plays systemd: a socket that is told things.
struct Systemd {
    _folder: tempfile::TempDir,
    path: PathBuf,
    socket: UnixDatagram,
}

impl Systemd {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        Self { _folder: folder, path, socket }
    }

    /// What comes within a time, if anything does.
    fn hear(&self, limit: Duration) -> Option<String> {
        let mut buffer = [0; 1000];
        self.socket.set_read_timeout(Some(limit)).unwrap();
        let length = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
    }

    /// Waits for something; gives what came before.
    fn wait_for(&self, part: &str) -> Vec<String> {
        let mut before = Vec::new();
        loop {
            let Some(heard) = self.hear(DEADLINE) else { panic!("{part} did not come: {before:?}") };
            if heard.contains(part) {
                return before;
            }
            before.push(heard);
        }
    }
}

const WATCHDOG: Duration = Duration::from_secs(3);

#[tokio::test]
async fn a_service_manager_is_told_that_it_is_ready_lives_and_ends() {
    let manager = Systemd::new();
    let usec = WATCHDOG.as_micros().to_string();
    let path = manager.path.to_str().unwrap().to_owned();
    let mut deck = Deck::in_environment(&[("NOTIFY_SOCKET", &path), ("WATCHDOG_USEC", &usec)]).await;
    assert_eq!(manager.wait_for("READY=1"), Vec::<String>::new(), "the first word");
    for _ in 0..4 {
        manager.wait_for("WATCHDOG=1");
    }
    let server = deck.game("--rate 10", json!({ "ready": "Done" })).await;
    let mut console = Socket::console(&deck, &server).await;
    console.say("set state", &json!(["start"])).await;
    console.status("running").await;
    // The demo, and this one.
    manager.wait_for("STATUS=2 of 2 servers run");
    deck.learn_node_token().await;
    let pid = deck.details(&server).await["quarterdeck"]["pid"].as_u64().unwrap();
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
    assert!(!String::from_utf8_lossy(&environment).contains("NOTIFY_SOCKET"), "a game has nothing to tell");

    // Whoever does not get on gives no sign of life.
    deck.signal(Signal::STOP);
    while manager.hear(Duration::from_millis(100)).is_some() {}
    assert_eq!(manager.hear(WATCHDOG), None);
    deck.signal(Signal::CONT);
    manager.wait_for("WATCHDOG=1");

    assert!(deck.stop().await.success(), "{}", deck.log());
    manager.wait_for("STOPPING=1");
    assert_eq!(manager.hear(Duration::from_millis(1)), None, "nothing behind the last word");
}

/// With the program that was built in the place where the package puts it.
fn verified(folder: &Path, unit: &str) -> String {
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd");
    let text = std::fs::read_to_string(units.join(unit)).unwrap();
    let shipped = "ExecStart=/usr/bin/quarterdeck ";
    assert!(text.contains(shipped), "{unit}");
    let here = format!("ExecStart={} ", program::quarterdeck().display());
    std::fs::write(folder.join(unit), text.replace(shipped, &here)).unwrap();
    let verified =
        Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(folder.join(unit)).output().unwrap();
    assert!(verified.status.success(), "{verified:?}");
    String::from_utf8_lossy(&verified.stderr).into_owned()
}

#[test]
fn the_units_are_what_systemd_understands() {
    let version = Command::new("systemd-analyze").arg("--version").output();
    let Ok(version) = version else {
        return e2e::skip("the_units_are_what_systemd_understands", "no systemd-analyze here", true);
    };
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let version: u32 =
        version.split(' ').nth(1).and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{version}"));
    let folder = tempfile::tempdir().unwrap();
    for unit in ["quarterdeck.service", "quarterdeck-node.service"] {
        assert_eq!(verified(folder.path(), unit), "", "{unit}");
    }
    // And with limits, for those versions that know them.
    let drop_ins = folder.path().join("quarterdeck.service.d");
    std::fs::create_dir(&drop_ins).unwrap();
    let limits = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd/limits.conf");
    std::fs::copy(limits, drop_ins.join("limits.conf")).unwrap();
    let said = verified(folder.path(), "quarterdeck.service");
    let is_known = |line: &str| version < 254 && line.contains("DelegateSubgroup");
    assert!(said.lines().all(is_known), "{said}");
}
