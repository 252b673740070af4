//! The shims of games are killed, all at once: each game is gone when its server says that it is offline, with whatever it has started.

use std::time::Duration;

use e2e::processes;
use serde_json::json;
use tokio::time::Instant;

use crate::ground::Ground;
use crate::plan::Plan;
use crate::table::Row;

/// Longest time from the death of a shim until its server is offline: five seconds in which a game may save, and some more.
const OFFLINE_MAX: Duration = Duration::from_secs(8);
/// What games are, in turn: some hear no signal, some have children that live in sessions of their own.
const KINDS: [&str; 3] = ["", "--fork-children 3 --setsid", "--ignore-signals TERM,INT,HUP --fork-children 1"];

pub(super) async fn run(plan: Plan) -> Vec<Row> {
    let (times, servers) = (plan.size(2, 10), plan.size(3, 12));
    let mut ground = Ground::new().await;
    let word = format!("shim-word-{}-{}", plan.seed(), std::process::id());
    for (n, kind) in (0..servers).zip(KINDS.iter().cycle()) {
        let console = if n % 2 == 0 { "pty" } else { "pipe" };
        let arguments = format!("--rate 50 {kind} --ready-line 'Done {word}'");
        ground.game(&arguments, json!({ "console": console, "crash_detection": false })).await;
    }
    let (mut stake, mut orphans, mut behind, mut worst) = (0, 0, 0, Duration::ZERO);
    for _ in 0..times {
        stake += processes::with_word(&word).len() as u64;
        let mut before = Vec::new();
        for game in &ground.games {
            let known = ground.deck.details(game).await["quarterdeck"].clone();
            before.push(known["next_line"].as_u64().unwrap_or(0));
            processes::kill(processes::holder(known["pid"].as_u64().expect("it runs")));
        }
        let begun = Instant::now();
        for game in &ground.games {
            ground.reaches(game, "offline").await;
        }
        worst = worst.max(begun.elapsed());
        orphans += processes::with_word(&word).len() as u64;
        for (game, before) in ground.games.iter().zip(before) {
            ground.deck.power(game, "start").await.ok();
            ground.reaches(game, "running").await;
            let next = ground.deck.details(game).await["quarterdeck"]["next_line"].as_u64();
            behind += u64::from(next < Some(before));
        }
    }
    ground.end_games().await;
    let row = Row::new(format!("shims killed, {servers} servers at once"), times * servers).stake(stake, "processes");
    let row = row.lost(orphans, 0).worst("until offline", worst, Some(plan.limit(OFFLINE_MAX)));
    vec![row.holds(behind == 0, || format!("{behind} starts did not go on with the numbers"))]
}
