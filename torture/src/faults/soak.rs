//! Many servers for long, connections that come and go, commands, searches and failed sign-ins: memory, threads and open files of the
//! program do not grow.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::json;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use crate::ground::Ground;
use crate::plan::Plan;
use crate::table::Row;
use crate::viewer::{Broken, Viewer, connect};

const SERVERS: usize = 200;
/// Viewers who stay to the end, each on a server of its own.
const STAYERS: usize = 20;
/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// What the second half may have more than the first: caches that fill and the allocator's holes, no line per connection.
const GROWTH_MAX: f64 = 1.10;
/// Those for work that blocks, and some for the rest.
const THREADS_MAX: u64 = 128 + 16;
const SETTINGS: &str = "\
[inbound]
all = { burst = 1000000, refill_ms = 0 }
";

/// How often each thing was done.
#[derive(Default)]
struct Done {
    connections: AtomicU64,
    sign_ins: AtomicU64,
    failed: AtomicU64,
}

pub(super) async fn run(plan: Plan) -> Vec<Row> {
    let (servers, minutes) = (plan.size(SERVERS / 10, SERVERS), plan.minutes());
    let ground = Ground::with(SETTINGS).await.games(servers, "--rate 5 --echo-stdin").await;
    let stayers: Vec<_> =
        (ground.games.iter().step_by((servers / STAYERS).max(1))).map(|game| Viewer::of(&ground.deck, game)).collect();
    let (done, end) = (Arc::new(Done::default()), CancellationToken::new());
    let guests: Vec<_> = (0..8)
        .map(|n| {
            let guest = Guest {
                rest: ground.deck.rest(),
                games: ground.games.clone(),
                random: plan.random(&format!("guest {n}")),
                done: done.clone(),
            };
            let end = end.clone();
            tokio::spawn(async move { end.run_until_cancelled(Box::pin(guest.come_and_go())).await })
        })
        .collect();
    let until = Instant::now() + Duration::from_secs(minutes * 60);
    let mut looks = Vec::new();
    while Instant::now() < until {
        tokio::time::sleep(LOOK_EVERY).await;
        let (threads, files) = ground.threads_and_files();
        looks.push([ground.memory_bytes(), threads, files]);
        if looks.len() % 6 == 0 {
            let [memory, threads, files] = looks.last().copied().unwrap_or_default();
            println!("    {} min: {} KiB, {threads} threads, {files} files", looks.len() / 6, memory / 1024);
        }
    }
    end.cancel();
    for guest in guests {
        let _ = guest.await;
    }
    let lost = stayers.iter().map(|viewer| viewer.seen().lost + viewer.seen().expired).sum();
    let repeated = stayers.iter().map(|viewer| viewer.seen().repeated).sum();
    let lines = stayers.iter().map(|viewer| viewer.seen().lines).sum();
    let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
    let mut row = Row::new(format!("{minutes} minutes, {servers} servers"), count(&done.connections))
        .stake(lines, "lines")
        .lost(lost, repeated)
        .note(format!("{} connections, {} failed sign-ins", count(&done.connections), count(&done.sign_ins)))
        .holds(count(&done.failed) == 0, || format!("{} connections failed", count(&done.failed)));
    // The first fifth is warming up.
    let warm = looks.get(looks.len() / 5..).unwrap_or_default();
    let (first, second) = warm.split_at(warm.len() / 2);
    for (n, what) in ["KiB", "threads", "files"].into_iter().enumerate() {
        let unit = if n == 0 { 1024 } else { 1 };
        let [first, second] = [first, second].map(|half| median(half.iter().map(|look| look[n] / unit).collect()));
        row = row.note(format!("{what} {first} then {second}"));
        // Threads come as they are needed at once, up to a bound.
        let is_bounded = what == "threads" && second <= THREADS_MAX;
        row = row.holds(is_bounded || second <= grown(first), || format!("{what} grew from {first} to {second}"));
    }
    ground.end_games().await;
    vec![row]
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "far below")]
fn grown(value: u64) -> u64 {
    (value as f64 * GROWTH_MAX) as u64
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

/// Somebody who looks at one console after another, and forgets a password now and then.
struct Guest {
    rest: e2e::Rest,
    games: Vec<String>,
    random: StdRng,
    done: Arc<Done>,
}

impl Guest {
    async fn come_and_go(mut self) {
        loop {
            let game = self.random.random_range(0..self.games.len());
            let game = self.games.get(game).cloned().unwrap_or_default();
            match self.random.random_range(0..10) {
                0 => {
                    let body =
                        json!({ "user": format!("nobody{}", self.random.random_range(0..50)), "password": "wrong" });
                    let refused = self.rest.post("/api/auth/login", &body).await;
                    self.done.failed.fetch_add(u64::from(!matches!(refused.status, 401 | 429)), Ordering::Relaxed);
                    self.done.sign_ins.fetch_add(1, Ordering::Relaxed);
                }
                1 => {
                    let path = format!("/api/client/servers/{game}/console/search?q=9&limit=5");
                    let found = self.rest.get(&path).await;
                    self.done.failed.fetch_add(u64::from(found.status != 200), Ordering::Relaxed);
                }
                _ => {
                    let failed = self.look(&game).await.is_err();
                    self.done.failed.fetch_add(u64::from(failed), Ordering::Relaxed);
                    self.done.connections.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    async fn look(&mut self, game: &str) -> Result<(), Broken> {
        let mut stream = connect(&self.rest, game).await?;
        let from = json!({ "last": self.random.random_range(0..300) }).to_string();
        stream.send(Message::text(json!({ "event": "attach", "args": [from] }).to_string())).await?;
        stream
            .send(Message::text(json!({ "event": "send command", "args": ["hello"], "id": "1" }).to_string()))
            .await?;
        for _ in 0..self.random.random_range(3..40) {
            stream.next().await.ok_or("it ended")??;
        }
        // Some leave without a word.
        if self.random.random_bool(0.5) {
            stream.close(None).await?;
        }
        Ok(())
    }
}
