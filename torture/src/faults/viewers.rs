//! Hundreds of viewers of one game, some of whom stop reading: the others notice nothing, and the dead ones are closed in bounded time.

use std::time::Duration;

use e2e::Rest;
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::time::Instant;
use tokio_tungstenite::MaybeTlsStream;
use tokio_tungstenite::tungstenite::Message;

use crate::ground::Ground;
use crate::plan::Plan;
use crate::table::Row;
use crate::viewer::{Broken, Connection, Viewer, connect, percentile};

/// How much slower the others may become.
const SLOWER_MAX: f64 = 1.10;
/// Below this, a difference is the clock of the machine and not the viewers.
const NOISE: Duration = Duration::from_millis(2);
/// Memory of one stuck viewer, ours and not the kernel's.
const STUCK_BYTES_MAX: u64 = 256 * 1024;
/// Taking nothing for 30 s, and what the buffers of the kernel hold before that counts.
const CLOSED_AFTER_MAX: Duration = Duration::from_mins(1);

pub(super) async fn run(plan: Plan) -> Vec<Row> {
    let (all, stuck, rounds) = (plan.size(60_u64, 500), plan.size(10_u64, 50), plan.size(1_u64, 5));
    let window = plan.size(Duration::from_secs(3), Duration::from_secs(6));
    let mut ground = Ground::new().await;
    let game = ground.game("--rate 20 --stamp --line-len 2000", json!({ "console": "pipe" })).await;
    let readers: Vec<_> = (0..all - stuck).map(|_| Viewer::of_new_lines(&ground.deck, &game)).collect();
    for reader in &readers {
        reader.until("its first line", |seen| seen.lines > 0).await;
    }
    let measure = async || {
        for reader in &readers {
            reader.take_delays();
        }
        tokio::time::sleep(window).await;
        percentile(&mut readers.iter().flat_map(Viewer::take_delays).collect::<Vec<_>>(), 0.99)
    };
    let (mut without, mut with) = (Vec::new(), Vec::new());
    let (mut memory, mut closed_after, mut told) = (0, Duration::ZERO, 0);
    for _ in 0..rounds {
        // As many as will be stuck, reading: the same work for the program.
        let others: Vec<_> = (0..stuck).map(|_| Viewer::of_new_lines(&ground.deck, &game)).collect();
        for other in &others {
            other.until("its first line", |seen| seen.lines > 0).await;
        }
        without.push(measure().await);
        drop(others);
        let before = ground.memory_bytes();
        let begun = Instant::now();
        let mut dead = Vec::new();
        for _ in 0..stuck {
            dead.push(stop_reading(&ground.deck.rest(), &game).await.expect("a viewer"));
        }
        with.push(measure().await);
        memory = memory.max(ground.memory_bytes().saturating_sub(before) / stuck);
        wait_for_closed(&ground, &dead, CLOSED_AFTER_MAX).await;
        closed_after = closed_after.max(begun.elapsed());
        for connection in dead {
            told += u64::from(was_told(connection).await);
        }
    }
    let median = |mut times: Vec<Duration>| {
        times.sort();
        times.get(times.len() / 2).copied().unwrap_or_default()
    };
    let (without, with) = (median(without), median(with));
    let seen: Vec<_> = readers.iter().map(Viewer::seen).collect();
    let lines = seen.iter().map(|seen| seen.lines).sum();
    let lost = seen.iter().map(|seen| seen.lost + seen.expired).sum();
    let repeated = seen.iter().map(|seen| seen.repeated).sum();
    let cut_off = seen.iter().filter(|seen| seen.attached > 1).count();
    ground.end_games().await;
    let allowed = without.mul_f64(SLOWER_MAX).max(without + NOISE);
    let times = stuck * rounds;
    vec![
        Row::new(format!("{all} viewers, {stuck} of whom stop reading"), times)
            .stake(lines, "lines of the others")
            .lost(lost, repeated)
            .worst("p99 of the others", with, Some(plan.limit(allowed)))
            .note(format!("p99 when all read {without:.1?}, {rounds} rounds, medians"))
            .holds(cut_off == 0, || format!("{cut_off} of the others were cut off")),
        Row::new("viewers who take nothing", times)
            .stake(times, "connections")
            .worst("until they are closed", closed_after, Some(CLOSED_AFTER_MAX))
            .note(format!("{told} found the close that says come back, {} KiB of memory for each", memory / 1024))
            .holds(told == times, || format!("{} were not told to come back", times - told))
            .holds(memory <= STUCK_BYTES_MAX, || format!("{} KiB of memory for each", memory / 1024)),
    ]
}

/// Somebody who is attached and reads no more.
async fn stop_reading(rest: &Rest, game: &str) -> Result<Connection, Broken> {
    let mut stream = connect(rest, game).await?;
    let from = json!({ "last": 500 }).to_string();
    stream.send(Message::text(json!({ "event": "attach", "args": [from] }).to_string())).await?;
    Ok(stream)
}

/// Waits until the program has ended each of these, seen from outside: it has fewer sockets.
async fn wait_for_closed(ground: &Ground, dead: &[Connection], limit: Duration) {
    let until = Instant::now() + limit + Duration::from_secs(30);
    let ports: Vec<u16> = dead
        .iter()
        .filter_map(|connection| match connection.get_ref() {
            MaybeTlsStream::Plain(socket) => Some(socket.local_addr().ok()?.port()),
            _ => None,
        })
        .collect();
    loop {
        let open = open_sockets(ground.deck.pid().unwrap_or(0), &ports);
        if open == 0 {
            return;
        }
        assert!(Instant::now() < until, "{open} viewers who take nothing are still connected");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// How many sockets a process has whose other end is one of these ports.
fn open_sockets(pid: u32, ports: &[u16]) -> usize {
    let inode = |line: &str| -> Option<String> {
        let words: Vec<_> = line.split_whitespace().collect();
        let port = u16::from_str_radix(words.get(2)?.rsplit(':').next()?, 16).ok()?;
        ports.contains(&port).then(|| format!("socket:[{}]", words.get(9).copied().unwrap_or_default()))
    };
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let wanted: Vec<String> = table.lines().skip(1).filter_map(inode).collect();
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let links = files.filter_map(|file| std::fs::read_link(file.path()).ok());
    links.filter(|link| link.to_str().is_some_and(|link| wanted.iter().any(|inode| inode == link))).count()
}

/// Reads what is still on its way, and whether the close at its end says come back.
async fn was_told(mut connection: Connection) -> bool {
    while let Ok(Some(message)) = tokio::time::timeout(e2e::DEADLINE, connection.next()).await {
        match message {
            Ok(Message::Close(Some(frame))) => return u16::from(frame.code) == 1008 || u16::from(frame.code) == 1013,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
    false
}
