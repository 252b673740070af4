//! Commands with ids while the program is killed and connections are cut: each has one final answer at most, none that was said to be
//! done is missing, none that was refused was written, and none was written twice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rand::RngExt;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use crate::ground::Ground;
use crate::plan::Plan;
use crate::table::Row;
use crate::viewer::{Broken, connect};

/// No limit to how fast commands come.
const SETTINGS: &str = "\
[inbound]
all = { burst = 1000000, refill_ms = 0 }
send_command = { burst = 1000000, refill_ms = 0 }
";
/// Time between two commands of one person.
const PACE: Duration = Duration::from_millis(4);
/// Pause before another try to come back.
const PAUSE: Duration = Duration::from_millis(20);
/// How long an answer may take at most, as ARCHITECTURE.md says.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// What became of one command, as its sender was told.
#[derive(Debug)]
struct Sent {
    at: Instant,
    outcomes: Vec<String>,
    took: Duration,
}

type Told = Arc<Mutex<HashMap<String, Sent>>>;

pub(super) async fn run(plan: Plan) -> Vec<Row> {
    let (servers, times) = (plan.size(3, 6), plan.size(8, 120));
    let mut random = plan.random("commands");
    let mut ground = Ground::with(SETTINGS).await.games(servers, "--echo-stdin").await;
    let (cut, end) = (Arc::new(Notify::new()), CancellationToken::new());
    let told: Vec<Told> = ground.games.iter().map(|_| Told::default()).collect();
    let senders: Vec<_> = (ground.games.iter().zip(&told))
        .map(|(game, told)| {
            let sender = Sender { game: game.clone(), told: told.clone(), cut: cut.clone(), end: end.clone() };
            tokio::spawn(sender.send(ground.deck.rest()))
        })
        .collect();
    let (mut kills, mut cuts) = (0, 0);
    for _ in 0..times {
        tokio::time::sleep(Duration::from_millis(random.random_range(50..700))).await;
        if random.random_bool(0.5) {
            ground.deck.kill().await;
            ground.deck.up_again().await;
            kills += 1;
        } else {
            cut.notify_waiters();
            cuts += 1;
        }
    }
    end.cancel();
    for sender in senders {
        sender.await.expect("a sender");
    }
    ground.end_games().await;
    let mut sum = Sum::default();
    for (game, told) in ground.games.iter().zip(&told) {
        sum.count(&told.lock().unwrap_or_else(PoisonError::into_inner), &written(&ground, game));
    }
    vec![
        Row::new(format!("commands while killed ({kills}×) and cut off ({cuts}×)"), kills + cuts)
            .stake(sum.sent, "commands")
            .lost(sum.lost, sum.twice)
            .worst("for an answer", sum.worst, Some(plan.limit(ANSWER_MAX + Duration::from_secs(1))))
            .note(format!("{} done, {} refused, {} not known", sum.done, sum.refused, sum.unknown))
            .note(format!("{} without an answer, cut off with their connection", sum.unanswered))
            .holds(sum.done > 0 && sum.unanswered > 0, || "the fault met no command under way".to_owned())
            .holds(sum.answered_twice == 0, || format!("{} answered more than once", sum.answered_twice))
            .holds(sum.refused_and_written == 0, || format!("{} refused and written", sum.refused_and_written)),
    ]
}

/// How often each command stands in the record as typed, and how often the game has had it.
fn written(ground: &Ground, game: &str) -> HashMap<String, (u64, u64)> {
    let mut found: HashMap<String, (u64, u64)> = HashMap::new();
    e2e::record::each(&ground.deck.node(), game, false, |line| {
        let text = String::from_utf8_lossy(line.bytes).trim_end().to_owned();
        match (line.kind, text.strip_prefix("cmd: ")) {
            (spool::LineKind::Input { .. }, _) => found.entry(text).or_default().0 += 1,
            (spool::LineKind::Output, Some(command)) => found.entry(command.to_owned()).or_default().1 += 1,
            _ => {}
        }
    });
    found
}

#[derive(Default)]
struct Sum {
    sent: u64,
    lost: u64,
    twice: u64,
    done: u64,
    refused: u64,
    unknown: u64,
    unanswered: u64,
    answered_twice: u64,
    refused_and_written: u64,
    worst: Duration,
}

impl Sum {
    fn count(&mut self, told: &HashMap<String, Sent>, written: &HashMap<String, (u64, u64)>) {
        for (command, sent) in told {
            let (typed, received) = written.get(command).copied().unwrap_or_default();
            self.sent += 1;
            self.twice += u64::from(typed > 1 || received > 1);
            self.answered_twice += u64::from(sent.outcomes.len() > 1);
            self.worst = self.worst.max(sent.took);
            match sent.outcomes.first().map(String::as_str) {
                Some("done") => {
                    self.done += 1;
                    self.lost += u64::from(typed == 0 || received == 0);
                }
                Some("refused") => {
                    self.refused += 1;
                    self.refused_and_written += u64::from(typed > 0 || received > 0);
                }
                Some(_) => self.unknown += 1,
                None => self.unanswered += 1,
            }
        }
    }
}

/// Somebody who sends one command after another, on a new connection when one ends.
struct Sender {
    game: String,
    told: Told,
    cut: Arc<Notify>,
    end: CancellationToken,
}

impl Sender {
    async fn send(self, rest: e2e::Rest) {
        let mut number = 0;
        while !self.end.is_cancelled() {
            // An error is the end of a connection, which is what this is about.
            let _ = self.converse(&rest, &mut number).await;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn converse(&self, rest: &e2e::Rest, number: &mut u64) -> Result<(), Broken> {
        let mut stream = connect(rest, &self.game).await?;
        let mut pace = tokio::time::interval(PACE);
        let mut open = 0_u64;
        let mut leaving = None;
        loop {
            let left = async {
                match leaving {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // Dropped without a word, with commands under way.
                () = self.cut.notified() => return Ok(()),
                () = left => return Ok(()),
                () = self.end.cancelled(), if leaving.is_none() => leaving = Some(Instant::now() + ANSWER_MAX),
                _ = pace.tick(), if leaving.is_none() => {
                    let command = format!("command {number}");
                    *number += 1;
                    let sent = Sent { at: Instant::now(), outcomes: Vec::new(), took: Duration::ZERO };
                    self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(command.clone(), sent);
                    open += 1;
                    let message = json!({ "event": "send command", "args": [command], "id": command });
                    stream.send(Message::text(message.to_string())).await?;
                }
                message = stream.next() => match message {
                    Some(Ok(Message::Text(text))) => {
                        let message: Value = serde_json::from_str(text.as_str())?;
                        if message["event"] == "jwt error" {
                            return Ok(());
                        }
                        open -= self.hear(&message);
                        if leaving.is_some() && open == 0 {
                            return Ok(());
                        }
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    _ => return Ok(()),
                },
            }
        }
    }

    /// Notes a receipt; how many commands it answers.
    fn hear(&self, message: &Value) -> u64 {
        if message["event"] != "receipt" {
            return 0;
        }
        let receipt: Value = serde_json::from_str(message["args"][0].as_str().unwrap_or_default()).unwrap_or_default();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sent) = receipt["id"].as_str().and_then(|id| told.get_mut(id)) else { return 0 };
        sent.took = sent.took.max(sent.at.elapsed());
        sent.outcomes.push(receipt["outcome"].as_str().unwrap_or_default().to_owned());
        u64::from(sent.outcomes.len() == 1)
    }
}
