//! The program is told to end while games print, viewers watch and requests hang: it is gone in time, and no line is lost.

use std::time::Duration;

use rustix::process::Signal;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::ground::Ground;
use crate::plan::Plan;
use crate::table::Row;

/// The deadline that is set, and how much longer the end may take.
const WITHIN: Duration = Duration::from_secs(2);
const BEYOND_MAX: Duration = Duration::from_secs(1);
/// Requests that never become whole.
const HANGING: usize = 10;
const LINES_PER_S: usize = 2000;

pub(super) async fn run(plan: Plan) -> Vec<Row> {
    let (times, servers) = (plan.size(3, 30), plan.size(4, 20));
    let settings = format!("end_within_s = {}\n", WITHIN.as_secs());
    let ground = Ground::with(&settings).await;
    let mut ground = ground.games(servers, &format!("--rate {}", LINES_PER_S / servers)).await;
    let (viewers, pids) = (ground.viewers().await, ground.pids().await);
    let (mut worst, mut codes) = (Duration::ZERO, Vec::new());
    for n in 0..times {
        let hanging = if n % 3 == 0 { 0 } else { HANGING };
        let mut streams = Vec::new();
        for _ in 0..hanging {
            streams.push(half_a_request(&ground).await);
        }
        let attached: Vec<_> = viewers.iter().map(|viewer| viewer.seen().attached).collect();
        let begun = Instant::now();
        ground.deck.signal(Signal::TERM);
        let code = ground.deck.ended().await.code();
        worst = worst.max(begun.elapsed());
        codes.push((hanging > 0, code));
        ground.deck.up_again().await;
        for (viewer, before) in viewers.iter().zip(attached) {
            viewer.until("a line after an end", |seen| seen.attached > before && seen.since_attached > 0).await;
        }
    }
    let same = ground.pids().await == pids;
    ground.end_games().await;
    let (mut lines, mut lost) = (0, 0);
    for game in &ground.games {
        let kept = e2e::record::numbers(&e2e::record::output(&ground.deck.node(), game, false));
        let printed = kept.last().map_or(0, |last| last + 1);
        lines += printed;
        lost += printed.abs_diff(kept.len() as u64);
    }
    let wrong = codes.iter().filter(|(hangs, code)| *code != Some(i32::from(*hangs))).count();
    let row = Row::new(format!("SIGTERM under load, {servers} servers, requests that hang"), times);
    let row = row.stake(lines, "lines").lost(lost, 0);
    let row = row.worst("until it has ended", worst, Some(plan.limit(WITHIN + BEYOND_MAX)));
    let row = row.holds(same, || "a game was restarted".to_owned());
    vec![row.holds(wrong == 0, || format!("{wrong} wrong exit codes: {codes:?}"))]
}

async fn half_a_request(ground: &Ground) -> TcpStream {
    let address = ground.deck.url().trim_start_matches("http://").to_owned();
    let head = format!(
        "POST /api/application/users HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: 1000\r\n\r\n{{",
        ground.deck.key()
    );
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(head.as_bytes()).await.expect("half a request");
    // Asked behind it and answered: the first half is read by now, or about to be.
    ground.deck.rest().get("/api/client/account").await.ok();
    stream
}
