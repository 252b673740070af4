//! The program is killed at random moments, also while it comes up, and replaced by another file, while games print: no game notices,
//! and every viewer who comes back sees each line once and in order. And how fast it is back.

use std::path::PathBuf;
use std::time::Duration;

use rand::RngExt;
use tokio::time::Instant;

use crate::ground::Ground;
use crate::plan::Plan;
use crate::table::Row;
use crate::viewer::{Seen, Viewer};

/// Lines a second of all games together.
const LINES_PER_S: usize = 2000;
/// Longest time that the program is left alone between two kills.
const ALONE_MS_MAX: u64 = 700;
/// How long all consoles may take to be back, for 100 servers.
const BACK_MAX: Duration = Duration::from_secs(2);

pub(super) async fn run(plan: Plan) -> Vec<Row> {
    vec![killed(&plan).await, replaced(&plan).await, back(&plan).await]
}

/// What a row says of viewers who should have seen everything.
async fn settle(row: Row, ground: &Ground, viewers: &[Viewer], pids: &[Option<i32>]) -> Row {
    let same = ground.pids().await == pids;
    ground.end_games().await;
    let mut sum = Seen::default();
    for (viewer, game) in viewers.iter().zip(&ground.games) {
        let kept = e2e::record::numbers(&e2e::record::output(&ground.deck.node(), game, false));
        let printed = kept.last().map_or(0, |last| last + 1);
        let seen = viewer.until("the last line", |seen| seen.next >= printed).await;
        sum.lines += printed;
        sum.lost += seen.lost + printed.saturating_sub(seen.lines + seen.repeated + seen.lost);
        sum.repeated += seen.repeated;
        sum.expired += seen.expired;
    }
    row.stake(sum.lines, "lines")
        .lost(sum.lost + sum.expired, sum.repeated)
        .holds(same, || "a game was restarted".to_owned())
}

async fn killed(plan: &Plan) -> Row {
    let (times, servers) = (plan.size(6, 100), plan.size(6, 20));
    let mut random = plan.random("kill");
    let ground = Ground::new().await.games(servers, &format!("--rate {}", LINES_PER_S / servers)).await;
    let mut ground = ground;
    let (viewers, pids) = (ground.viewers().await, ground.pids().await);
    let (mut worst, mut on_the_way) = (Duration::ZERO, 0);
    for _ in 0..times {
        tokio::time::sleep(Duration::from_millis(random.random_range(0..ALONE_MS_MAX))).await;
        ground.deck.kill().await;
        // Now and then it is killed again before it has come up.
        if random.random_bool(0.2) {
            ground.deck.up_for(Duration::from_millis(random.random_range(1..300))).await;
            on_the_way += 1;
        }
        let attached: Vec<_> = viewers.iter().map(|viewer| viewer.seen().attached).collect();
        let begun = Instant::now();
        ground.deck.up_again().await;
        for (viewer, before) in viewers.iter().zip(attached) {
            viewer.until("a line after a kill", |seen| seen.attached > before && seen.since_attached > 0).await;
        }
        worst = worst.max(begun.elapsed());
    }
    let row = Row::new(format!("program killed, {servers} servers"), times + on_the_way);
    let row = row.worst("until all see new lines", worst, Some(plan.limit(BACK_MAX)));
    settle(row, &ground, &viewers, &pids).await.note(format!("{on_the_way} of the kills before it was up"))
}

/// Two files with the same program, which differ by what stands behind their end.
fn two_programs(ground: &Ground) -> [PathBuf; 2] {
    ["a", "b"].map(|name| {
        let to = ground.deck.data().join(format!("quarterdeck-{name}"));
        let mut program = std::fs::read(e2e::program::quarterdeck()).expect("the program");
        program.extend_from_slice(name.as_bytes());
        std::fs::write(&to, program).expect("a copy");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&to, mode).expect("a program");
        to
    })
}

async fn replaced(plan: &Plan) -> Row {
    let (times, servers) = (plan.size(3, 20), plan.size(4, 20));
    let mut random = plan.random("replace");
    let mut ground = Ground::new().await.games(servers, &format!("--rate {}", LINES_PER_S / servers)).await;
    let (viewers, pids, programs) = (ground.viewers().await, ground.pids().await, two_programs(&ground));
    let mut worst = Duration::ZERO;
    for n in 0..times {
        tokio::time::sleep(Duration::from_millis(random.random_range(0..ALONE_MS_MAX))).await;
        let attached: Vec<_> = viewers.iter().map(|viewer| viewer.seen().attached).collect();
        let begun = Instant::now();
        assert!(ground.deck.stop().await.success(), "an orderly end");
        let next = programs.get(usize::try_from(n % 2).unwrap_or(0)).expect("there are two").clone();
        ground.deck.use_program(next);
        ground.deck.up_again().await;
        for (viewer, before) in viewers.iter().zip(attached) {
            viewer.until("a line after an upgrade", |seen| seen.attached > before && seen.since_attached > 0).await;
        }
        worst = worst.max(begun.elapsed());
    }
    let told = viewers.iter().filter(|viewer| viewer.seen().closed == Some(1012)).count();
    let row = Row::new(format!("program replaced, {servers} servers"), times);
    let row = row.worst("from its end until all see new lines", worst, None);
    let row = row.holds(told == servers, || format!("only {told} of {servers} viewers were told to come back"));
    settle(row, &ground, &viewers, &pids).await
}

async fn back(plan: &Plan) -> Row {
    let (times, servers) = (plan.size(2, 10), plan.size(20, 100));
    let mut ground = Ground::new().await.games(servers, "--rate 10").await;
    let (viewers, pids) = (ground.viewers().await, ground.pids().await);
    let mut took = Vec::new();
    for _ in 0..times {
        ground.deck.kill().await;
        let attached: Vec<_> = viewers.iter().map(|viewer| viewer.seen().attached).collect();
        let begun = Instant::now();
        ground.deck.up_again().await;
        for (viewer, before) in viewers.iter().zip(attached) {
            viewer.until("a console that is back", |seen| seen.attached > before && seen.since_attached > 0).await;
        }
        took.push(begun.elapsed());
    }
    took.sort();
    let worst = took.last().copied().unwrap_or_default();
    let median = took.get(took.len() / 2).copied().unwrap_or_default();
    let row = Row::new(format!("program killed, {servers} servers with a viewer each"), times);
    let row = row
        .worst("until all consoles are live", worst, Some(plan.limit(BACK_MAX)))
        .note(format!("median {median:.1?}"));
    settle(row, &ground, &viewers, &pids).await
}
