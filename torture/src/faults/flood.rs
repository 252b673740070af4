//! Games that print without end: the record is complete up to what is kept, the program's memory stays bounded, other consoles stay quick,
//! and what a viewer is not sent it is told of and can fetch.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::ground::{Ground, LOOK};
use crate::plan::Plan;
use crate::table::Row;
use crate::viewer::{Viewer, percentile};

/// How slow the consoles of other servers may become.
const OTHERS_P99_MAX: Duration = Duration::from_millis(100);
/// Memory that a flood may cost, with its viewers.
const MEMORY_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Kept of a log unless told otherwise, less the segment that was deleted last and what the newest one has not got yet.
const KEPT_BYTES_MIN: u64 = 62 * 1024 * 1024;

pub(super) async fn run(plan: Plan) -> Vec<Row> {
    let mut rows = Vec::new();
    for console in ["pty", "pipe"] {
        rows.push(endless(&plan, console).await);
    }
    rows.push(numbered(&plan).await);
    rows.push(long_line(&plan).await);
    rows
}

/// The most memory that the program has during this time.
async fn peak_memory(ground: &Ground, time: Duration) -> u64 {
    let (mut peak, until) = (0, Instant::now() + time);
    while Instant::now() < until {
        peak = peak.max(ground.memory_bytes());
        tokio::time::sleep(LOOK).await;
    }
    peak
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes / (1024 * 1024))
}

/// `yes` beside three games that people look at.
async fn endless(plan: &Plan, console: &str) -> Row {
    let time = plan.size(Duration::from_secs(4), Duration::from_secs(30));
    // A server is offline when its log is read to its end, which takes unoptimised builds long for millions of lines.
    let kept = plan.size("retain_bytes = 4194304\n", "");
    let mut ground = Ground::with(kept).await.games(3, "--rate 100 --stamp").await;
    let others = ground.viewers().await;
    let quiet = ground.memory_bytes();
    let flood = ground.deck.create(json!({ "command": "/usr/bin/yes", "console": console })).await;
    ground.deck.power(&flood, "start").await.ok();
    let before: Vec<_> = others.iter().map(|other| other.take_delays().len()).collect();
    assert!(before.iter().all(|count| *count > 0), "the others are seen");
    let floods: Vec<_> = (0..3).map(|_| Viewer::of_new_lines(&ground.deck, &flood)).collect();
    let peak = peak_memory(&ground, time).await;
    let mut delays: Vec<u32> = others.iter().flat_map(Viewer::take_delays).collect();
    let p99 = percentile(&mut delays, 0.99);
    let printed = ground.deck.details(&flood).await["quarterdeck"]["next_line"].as_u64().unwrap_or(0);
    let lost: u64 = others.iter().map(|other| other.seen().lost + other.seen().expired).sum();
    let repeated = others.iter().chain(&floods).map(|viewer| viewer.seen().repeated).sum();
    let gaps: u64 = floods.iter().map(|viewer| viewer.seen().gaps).sum();
    ground.games.push(flood);
    ground.end_games().await;
    Row::new(format!("`yes` on a {console} for {} s", time.as_secs()), 1)
        .stake(delays.len() as u64, "lines of others")
        .lost(lost, repeated)
        .worst("p99 of other consoles", p99, Some(plan.limit(OTHERS_P99_MAX)))
        .note(format!("{printed} lines printed, memory {} at most ({} before)", mib(peak), mib(quiet)))
        .note(format!("{gaps} gaps told to 3 viewers of it"))
        .holds(peak <= quiet + MEMORY_BYTES_MAX, || format!("memory {} from {}", mib(peak), mib(quiet)))
}

/// Numbered lines, as fast as they are taken: what is kept has none missing, and a viewer has seen each or was told.
async fn numbered(plan: &Plan) -> Row {
    let lines: u64 = plan.size(200_000, 10_000_000);
    let limit = plan.size(Duration::from_mins(1), Duration::from_mins(10));
    let mut ground = Ground::new().await;
    let quiet = ground.memory_bytes();
    let arguments = format!("--obey --rate 0 --lines {lines}");
    let begun = Instant::now();
    let game = ground.game(&arguments, json!({ "console": "pipe" })).await;
    let viewer = Viewer::of(&ground.deck, &game);
    let seen = viewer.within(limit, "the last line", |seen| seen.next == lines).await;
    let took = begun.elapsed();
    let memory = ground.memory_bytes();
    ground.end_games().await;
    let kept = e2e::record::numbers(&e2e::record::output(&ground.deck.node(), &game, false));
    let first = kept.first().copied().unwrap_or(0);
    let holes = kept.windows(2).filter(|pair| pair[1] != pair[0] + 1).count() as u64;
    let bytes: u64 = log_bytes(&ground, &game);
    let complete = kept.last() == Some(&(lines - 1)) && (first == 0 || bytes >= KEPT_BYTES_MIN);
    Row::new("numbered lines without a pause", 1)
        .stake(lines, "lines")
        .lost(seen.lost + holes, seen.repeated)
        .worst("until a viewer is through", took, None)
        .note(format!("kept from {first} on ({}), memory {}", mib(bytes), mib(memory)))
        .note(format!(
            "viewer: {} seen, {} fetched for {} gaps, {} too old",
            seen.lines, seen.fetched, seen.gaps, seen.expired
        ))
        .holds(complete, || format!("the record has {first} to {:?}, {}", kept.last(), mib(bytes)))
        .holds(memory <= quiet + MEMORY_BYTES_MAX, || format!("memory {} from {}", mib(memory), mib(quiet)))
        .holds(seen.lines + seen.expired == lines, || {
            format!("{} lines are unaccounted for", lines - seen.lines - seen.expired)
        })
}

fn log_bytes(ground: &Ground, game: &str) -> u64 {
    let dir = ground.deck.node().join("servers").join(game).join("log");
    let segments = spool::segment::list(&dir).expect("a log");
    segments.iter().map(|name| std::fs::metadata(dir.join(name.file_name())).map_or(0, |file| file.len())).sum()
}

/// One line that is longer than any memory should hold.
async fn long_line(plan: &Plan) -> Row {
    let bytes: u64 = plan.size(8, 100) * 1_000_000;
    let mut ground = Ground::with("retain_bytes = 268435456\n").await;
    let quiet = ground.memory_bytes();
    let game =
        ground.game(&format!("--obey --long-line {bytes} --rate 50 --stamp"), json!({ "console": "pipe" })).await;
    let viewer = Viewer::of(&ground.deck, &game);
    let peak = peak_memory(&ground, plan.size(Duration::from_secs(3), Duration::from_secs(15))).await;
    viewer.within(Duration::from_mins(2), "what comes behind it", |seen| seen.lines > 10).await;
    ground.end_games().await;
    // What stands between the line that says ready and the first numbered one.
    let (mut found, mut pieces, mut longest, mut between) = (0, 0_u64, 0, false);
    e2e::record::each(&ground.deck.node(), &game, false, |line| {
        let text = line.bytes;
        if line.kind != spool::LineKind::Output || text.starts_with(b"Done") || text.starts_with(b"line ") {
            between = text.starts_with(b"Done");
        } else if between {
            found += text.len() as u64;
            pieces += 1;
            longest = longest.max(text.len());
        }
    });
    Row::new(format!("one line of {} MB", bytes / 1_000_000), 1)
        .stake(bytes, "bytes")
        .lost(bytes.saturating_sub(found), found.saturating_sub(bytes) + viewer.seen().repeated)
        .note(format!("{pieces} lines of {longest} bytes at most, memory {} at most", mib(peak)))
        .holds(peak <= quiet + MEMORY_BYTES_MAX, || format!("memory {} from {}", mib(peak), mib(quiet)))
        .holds(viewer.seen().lost == 0, || "lines behind it are missing".to_owned())
}
