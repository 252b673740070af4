//! Real games from Debian's packages, as the templates define them: ready, commands answered, stopped cleanly. A game that is
//! not installed is skipped with a message; CI insists on those that it installs.
#![allow(clippy::unwrap_used, clippy::doc_markdown, missing_docs)]

use std::path::Path;

use e2e::{Deck, Socket};
use serde_json::json;

/// Games that CI installs.
const INSISTED_ON: [&str; 3] = ["openttd", "bzflag", "freeciv"];
/// Each game has a port of its own: these tests run side by side, each with a panel that gives out the same first port.
const PORTS: [(&str, u16); 9] = [
    ("openttd", 26_001),
    ("bzflag", 26_002),
    ("freeciv", 26_003),
    ("minetest", 26_004),
    ("teeworlds", 26_005),
    ("ddnet", 26_006),
    ("mumble", 26_007),
    ("crossfire", 26_008),
    ("cube2", 26_010),
];

async fn play(template: &str, program: &str, commands: &[(&str, &str)], end: &str) {
    if !Path::new(program).exists() {
        return e2e::skip(template, &format!("{program} is not installed"), INSISTED_ON.contains(&template));
    }
    // As an ordinary user: some of them refuse to run as root.
    let deck = Deck::unprivileged().await;
    let port = PORTS.iter().find(|(name, _)| *name == template).map(|(_, port)| *port);
    let server = deck.create(json!({ "template": template, "name": template, "port": port })).await;
    let mut console = Socket::console(&deck, &server).await;
    console.status("offline").await;
    console.say("set state", &json!(["start"])).await;
    console.status("running").await;
    for (command, answer) in commands {
        console.say("send command", &json!([command])).await;
        console
            .wait_for(answer, |heard| {
                heard
                    .arg_of("console output")
                    .is_some_and(|line| line.contains(answer) && !line.contains(&format!("> {command}")))
            })
            .await;
    }
    console.say("set state", &json!(["stop"])).await;
    console.status("stopping").await;
    console.status("offline").await;
    deck.learn_node_token().await;
    let details = deck.details(&server).await;
    assert_eq!(details["quarterdeck"]["last_exit"], end, "{template}: {details}");
}

#[tokio::test]
async fn openttd_starts_answers_and_stops() {
    play(
        "openttd",
        "/usr/games/openttd",
        &[("server_info", "Current/maximum clients"), ("say \"hi\"", "hi")],
        "exit code 0",
    )
    .await;
}

#[tokio::test]
async fn bzflag_starts_and_stops() {
    play("bzflag", "/usr/games/bzfs", &[], "exit code 0").await;
}

#[tokio::test]
async fn freeciv_starts_answers_and_stops() {
    play("freeciv", "/usr/games/freeciv-server", &[("list players", "List of players")], "exit code 0").await;
}

#[tokio::test]
async fn minetest_starts_and_stops() {
    play("minetest", "/usr/games/minetestserver", &[], "exit code 0").await;
}

#[tokio::test]
async fn teeworlds_starts_and_stops() {
    play("teeworlds", "/usr/games/teeworlds-server", &[], "killed by SIGTERM").await;
}

#[tokio::test]
async fn ddnet_starts_and_stops() {
    play("ddnet", "/usr/games/DDNet-Server", &[], "exit code 0").await;
}

#[tokio::test]
async fn mumble_starts_and_stops() {
    play("mumble", "/usr/sbin/murmurd", &[], "exit code 0").await;
}

#[tokio::test]
async fn crossfire_starts_and_stops() {
    play("crossfire", "/usr/sbin/crossfire-server", &[], "exit code 0").await;
}

#[tokio::test]
async fn cube2_starts_and_stops() {
    play("cube2", "/usr/games/cube2-server", &[], "killed by SIGTERM").await;
}
