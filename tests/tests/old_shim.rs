//! A game that was started before an upgrade, under a shim that speaks an earlier protocol, in the hands of today's program.
#![allow(clippy::unwrap_used, missing_docs)]
#![cfg(target_arch = "x86_64")]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use e2e::{DEADLINE, Deck, Socket, program};
use serde_json::{Value, json};

/// Unpacks the shim of protocol version 1 beside those of the node.
fn old_shim(deck: &Deck) -> PathBuf {
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/shim-protocol-1.x86_64.xz");
    let unpacked = Command::new("xz").args(["--decompress", "--stdout"]).arg(packed).output().unwrap();
    assert!(unpacked.status.success(), "{unpacked:?}");
    let path = deck.data().join("node/bin/shim-protocol-1");
    fs::write(&path, unpacked.stdout).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// A launch spec as the program of that time wrote it. Today's encoder may know more, so this is a copy of what it was.
fn spec(dir: &Path, console: &str, arguments: &str) -> Vec<u8> {
    let mut out = b"QDSPEC\x01\0".to_vec();
    let mut field = |tag: u16, value: &[u8]| {
        out.extend_from_slice(&tag.to_le_bytes());
        out.extend_from_slice(&u32::try_from(value.len()).unwrap().to_le_bytes());
        out.extend_from_slice(value);
    };
    let path = |path: PathBuf| path.into_os_string().into_encoded_bytes();
    field(1, &rustix::process::getpid().as_raw_nonzero().get().to_le_bytes().repeat(4));
    field(2, &path(dir.join("log")));
    field(3, &path(dir.to_owned()));
    field(4, &path(program::quarterdeck().to_owned()));
    for argument in ["fakegame", "play"].into_iter().chain(arguments.split(' ')) {
        field(4, argument.as_bytes());
    }
    for (name, value) in [("PATH", "/usr/bin:/bin"), ("QUARTERDECK_RUN", dir.to_str().unwrap())] {
        let length = u32::try_from(name.len()).unwrap().to_le_bytes();
        field(5, &[&length, name.as_bytes(), value.as_bytes()].concat());
    }
    field(6, &path(dir.join("files")));
    match console {
        "pty" => field(7, &[50_u16.to_le_bytes(), 200_u16.to_le_bytes()].concat()),
        _ => field(8, &[]),
    }
    field(10, &[&7_u32.to_le_bytes()[..], &4096_u64.to_le_bytes(), &4096_u64.to_le_bytes()].concat());
    field(12, &[1]);
    field(13, &0o027_u32.to_le_bytes());
    field(14, &(1_u64 << 20).to_le_bytes());
    field(15, &(64_u64 << 20).to_le_bytes());
    field(0x8001, &(-900_i32).to_le_bytes());
    out
}

/// Starts a game under it, with nobody else there.
fn start(shim: &Path, spec: &[u8]) {
    let mut child =
        Command::new(shim).arg("old").env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(spec).unwrap();
    let mut answer = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut answer).unwrap();
    child.wait().unwrap();
    assert_eq!(answer.first(), Some(&b'O'), "{}", String::from_utf8_lossy(&answer));
}

async fn pid(deck: &Deck, server: &str) -> Value {
    deck.learn_node_token().await;
    deck.details(server).await["quarterdeck"]["pid"].clone()
}

/// The program that holds a game.
fn holder_of(pid: &Value) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).unwrap().to_owned();
    fs::read_link(format!("/proc/{parent}/exe")).unwrap().file_name().unwrap().to_str().unwrap().to_owned()
}

/// Everything the console has, by number.
async fn lines(deck: &Deck, server: &str) -> Vec<(u64, String)> {
    let mut all: Vec<(u64, String)> = Vec::new();
    loop {
        let after = all.last().map_or_else(String::new, |(seq, _)| format!("&after={seq}"));
        let first = if all.is_empty() { "&before=5000" } else { "" };
        let path = format!("/api/client/servers/{server}/console/lines?limit=5000{after}{first}");
        let answer = deck.rest().get(&path).await.ok()["attributes"].clone();
        assert_eq!(answer["gaps"], json!([]));
        let lines = answer["lines"].as_array().unwrap();
        if lines.is_empty() {
            return all;
        }
        let read = lines.iter().map(|line| (line["seq"].as_u64().unwrap(), line["text"].as_str().unwrap().to_owned()));
        all.extend(read);
    }
}

#[tokio::test]
async fn a_game_under_the_shim_of_protocol_1_is_served_until_its_next_start() {
    for (console, end, exit) in [("pty", "stop", "exit code 0"), ("pipe", "kill", "killed by SIGKILL")] {
        let mut deck = Deck::new().await;
        let server = deck.game("--rate 10", json!({ "ready": "Done", "stop": "stop", "console": console })).await;
        assert!(deck.stop().await.success());
        let dir = deck.data().join("node/servers").join(&server);
        fs::DirBuilder::new().recursive(true).mode(0o750).create(dir.join("files")).unwrap();
        start(&old_shim(&deck), &spec(&dir, console, "--rate 200 --echo-stdin"));

        deck.up_again().await;
        let mut socket = Socket::console(&deck, &server).await;
        socket.status("running").await;
        let game = pid(&deck, &server).await;
        assert_eq!(holder_of(&game), "shim-protocol-1", "{console}");
        socket.line("line ").await;
        // Whatever becomes of the connection with which it was sent.
        for round in 0..3 {
            socket.say("send command", &json!([format!("round {round}")])).await;
            socket.line(&format!("cmd: round {round}")).await;
            deck.kill().await;
            deck.up_again().await;
            socket = Socket::console(&deck, &server).await;
            socket.status("running").await;
            assert_eq!(pid(&deck, &server).await, game, "{console}: the same game");
        }
        socket.line("line ").await;
        socket.say("set state", &json!([end])).await;
        socket.status("offline").await;
        let runs = deck.rest().get(&format!("/api/client/servers/{server}/console/runs")).await;
        let run = runs.ok()["data"][0]["attributes"].clone();
        assert_eq!((&run["exit"], &run["crashed"]), (&json!(exit), &json!(false)), "{console}");

        let all = lines(&deck, &server).await;
        let numbers: Vec<u64> = all.iter().map(|(seq, _)| *seq).collect();
        assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>(), "{console}: no hole");
        let printed: Vec<u64> =
            all.iter().filter_map(|(_, text)| text.trim().strip_prefix("line ")?.parse().ok()).collect();
        assert!(printed.len() > 100, "{console}: {}", printed.len());
        assert_eq!(printed, (0..printed.len() as u64).collect::<Vec<_>>(), "{console}: every line once, in order");
        for round in 0..3 {
            let times = all.iter().filter(|(_, text)| text.trim() == format!("cmd: round {round}")).count();
            assert_eq!(times, 1, "{console}: command {round}");
        }

        socket.say("set state", &json!(["start"])).await;
        socket.status("running").await;
        let game = pid(&deck, &server).await;
        let holder = holder_of(&game);
        assert!(holder.starts_with("shim-") && holder != "shim-protocol-1", "{console}: {holder}");
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while lines(&deck, &server).await.len() <= all.len() {
            assert!(tokio::time::Instant::now() < deadline, "{console}: numbers do not go on");
        }
    }
}
