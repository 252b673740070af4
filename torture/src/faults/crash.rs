//! Games crash, soon again, also while the program is killed: each crash leaves a record.

use std::time::Duration;

use rand::RngExt;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::ground::Ground;
use crate::plan::Plan;
use crate::table::Row;

/// Records that a node keeps of one server.
const KEPT: u64 = 20;
/// Lines in one.
const LINES: usize = 500;

pub(super) async fn run(plan: Plan) -> Vec<Row> {
    let (rounds, servers) = (plan.size(4, KEPT), plan.size(2, 8));
    let mut random = plan.random("crash");
    let mut ground = Ground::new().await;
    for _ in 0..servers {
        ground.game("--lines 600 --obey --ignore-signals HUP", json!({ "crash_detection": false })).await;
    }
    let (mut killed, mut worst) = (0, Duration::ZERO);
    for _ in 0..rounds {
        for game in &ground.games {
            let path = format!("/api/client/servers/{game}/command");
            ground.deck.rest().post(&path, &json!({ "command": "exit 7" })).await.ok();
        }
        if random.random_bool(0.5) {
            tokio::time::sleep(Duration::from_millis(random.random_range(0..50))).await;
            ground.deck.kill().await;
            ground.deck.up_again().await;
            killed += 1;
        }
        let begun = Instant::now();
        for game in &ground.games {
            ground.reaches(game, "offline").await;
        }
        worst = worst.max(begun.elapsed());
        for game in &ground.games {
            ground.deck.power(game, "start").await.ok();
            ground.reaches(game, "running").await;
        }
    }
    let mut missing = 0;
    for game in &ground.games {
        missing += rounds.saturating_sub(whole_records(&ground, game).await);
    }
    ground.end_games().await;
    let row = Row::new(format!("games crash, {servers} servers"), rounds * servers).stake(rounds * servers, "records");
    vec![row.lost(missing, 0).worst("until offline", worst, None).note(format!("program killed {killed}×"))]
}

/// Crashes of a server whose record has everything.
async fn whole_records(ground: &Ground, game: &str) -> u64 {
    let path = format!("/api/client/servers/{game}/console/runs");
    let runs = ground.deck.rest().get(&path).await.ok()["data"].as_array().cloned().unwrap_or_default();
    let mut whole = 0;
    for run in runs.iter().map(|run| &run["attributes"]).filter(|run| run["crashed"] == true) {
        let told = ground.deck.rest().get(&format!("{path}/{}", run["id"].as_str().unwrap_or_default())).await;
        let crash = told.ok()["attributes"]["crash"].clone();
        let has_lines = crash["lines"].as_array().is_some_and(|lines| lines.len() == LINES);
        whole += u64::from(crash["code"] == 7 && has_lines && crash["stats"] != Value::Null);
    }
    whole
}
