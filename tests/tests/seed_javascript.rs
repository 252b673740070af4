//! The JavaScript of the public documents, run with Node as it stands: only address and token are filled in.
#![allow(clippy::unwrap_used, clippy::doc_markdown, missing_docs)]

use std::process::Stdio;

use e2e::Deck;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// The example as documented. Its two blanks are `{socket}` and `{token}`.
const EXAMPLE: &str = include_str!("public_example.js");

/// Node before version 22 has no `WebSocket` of its own; its own library has one behind a flag.
async fn node() -> Option<Vec<&'static str>> {
    for flags in [vec![], vec!["--experimental-websocket"]] {
        let output =
            Command::new("node").args(&flags).args(["-e", "new WebSocket('ws://127.0.0.1:1')"]).output().await.ok()?;
        let text = String::from_utf8_lossy(&output.stderr).to_string();
        if !text.contains("WebSocket is not defined") && !text.contains("bad option") {
            return Some(flags);
        }
    }
    None
}

#[tokio::test]
async fn the_documented_javascript_sees_what_it_was_promised() {
    let Some(flags) = node().await else {
        return e2e::skip("the documented JavaScript", "there is no Node.js with a WebSocket here (20 or newer)", true);
    };
    let deck = Deck::new().await;
    let (token, socket) = deck.credentials(deck.demo()).await;
    let script = EXAMPLE.replace("{socket}", &socket).replace("{token}", &token);
    let mut child = Command::new("node")
        .args(flags)
        .args(["-e", &script])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut missing = vec!["auth success", "status", "console output", "stats"];
    let mut heard = String::new();
    while !missing.is_empty() {
        let next = tokio::time::timeout(e2e::DEADLINE, lines.next_line()).await;
        let Ok(Ok(Some(line))) = next else { panic!("never seen: {missing:?}; printed:\n{heard}") };
        missing.retain(|event| !line.contains(&format!("event: '{event}'")));
        heard.push_str(&line);
        heard.push('\n');
    }
    child.kill().await.unwrap();
}
