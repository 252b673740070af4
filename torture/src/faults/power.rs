//! Random power actions, crashes and kills of the program against real processes: what is shown never differs from what is there for long,
//! a kill ends every process of a game, and each request has one outcome. The same against the model in the engine.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rand::RngExt;
use rand::rngs::StdRng;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::{RwLock, watch};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use crate::ground::{Ground, LOOK, lives, processes};
use crate::plan::Plan;
use crate::table::Row;
use crate::viewer::{Connection, connect};

/// How long what is shown may differ from what is there.
const DIFFERS_MAX: Duration = Duration::from_secs(2);
/// How long a kill may take until nothing of a game is left.
const KILL_MAX: Duration = Duration::from_secs(1);
/// How long an answer to a request is waited for: a wait for another action is the longest.
const ANSWER_MAX: Duration = Duration::from_secs(310);
/// No limit to how fast actions come.
const SETTINGS: &str = "\
[inbound]
all = { burst = 1000000, refill_ms = 0 }
send_command = { burst = 1000000, refill_ms = 0 }
other = { burst = 1000000, refill_ms = 0 }
";

pub(super) async fn run(plan: Plan) -> Vec<Row> {
    let mut rows = vec![model(&plan).await];
    rows.extend(real(&plan).await);
    rows
}

/// The properties of the engine, with more cases than its tests have.
async fn model(plan: &Plan) -> Row {
    let cases = plan.size(5_000, 100_000);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["test", "--locked", "--package", "engine", "--test", "engine", "power_properties"]);
    if plan.size(false, true) {
        command.arg("--release");
    }
    let begun = Instant::now();
    let output = command.env("PROPTEST_CASES", cases.to_string()).output().await.expect("cargo");
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let row = Row::new("power actions, crashes and restarts against the model", cases).stake(cases, "sequences");
    let row = row.note(format!("{:.1} s", begun.elapsed().as_secs_f64()));
    row.holds(output.status.success() && text.contains("no_sequence_breaks_the_rules ... ok"), || text)
}

/// What a server shows, as its viewer hears it; nothing while the viewer is cut off.
type Shown = Arc<Mutex<Option<String>>>;

async fn real(plan: &Plan) -> Vec<Row> {
    let (servers, steps) = (plan.size(4, 12), plan.size(15, 350));
    let mut ground = Ground::with(SETTINGS).await;
    for n in 0..servers {
        // Some stop at once, some take their time, some do not stop at all; all have processes that got away.
        let stop = ["", "--stop-delay 300ms", "--stop-command never --ignore-signals TERM,INT"][n % 3];
        let arguments = format!("--obey --fork-children 2 --setsid --rate 20 {stop}");
        ground.game(&arguments, json!({ "grace_ms": 2000, "name": format!("game {n}") })).await;
    }
    let shown: Vec<Shown> = ground.games.iter().map(|_| Shown::default()).collect();
    let ended = CancellationToken::new();
    let watcher = tokio::task::spawn_blocking({
        let marks = ground.games.iter().map(|game| ground.deck.node().join("servers").join(game));
        let marks: Vec<String> = marks.map(|dir| format!("QUARTERDECK_RUN={}", dir.display())).collect();
        let (shown, ended) = (shown.clone(), ended.clone());
        move || watch_differences(&marks, &shown, &ended)
    });
    let games = ground.games.clone();
    let place = Arc::new(RwLock::new(ground));
    let drivers: Vec<_> = (games.iter().zip(&shown).enumerate())
        .map(|(n, (game, shown))| {
            let driver = Driver {
                ground: place.clone(),
                game: game.clone(),
                shown: shown.clone(),
                random: plan.random(&format!("power {n}")),
                sum: Sum::default(),
            };
            tokio::spawn(driver.drive(steps))
        })
        .collect();
    let all = futures_util::future::join_all(drivers);
    tokio::pin!(all);
    let (mut random, mut program_kills) = (plan.random("power kills"), 0);
    let sums = loop {
        let pause = Duration::from_millis(random.random_range(2_000..6_000));
        tokio::select! {
            sums = &mut all => break sums,
            () = tokio::time::sleep(pause) => {
                // Waits until nobody looks at processes: a kill's second does not run while the program is gone.
                let mut ground = place.write().await;
                ground.deck.kill().await;
                ground.deck.up_again().await;
                program_kills += 1;
            }
        }
    };
    ended.cancel();
    let (differs, looks) = watcher.await.expect("the watcher");
    let mut sum = Sum::default();
    for one in sums {
        sum.add(&one.expect("a driver"));
    }
    let ground = place.read().await;
    ground.end_games().await;
    let orphans: usize = games.iter().map(|game| processes(&ground.deck, game).len()).sum();
    vec![
        Row::new("power actions and crashes against real processes", sum.asked + sum.crashes + program_kills)
            .stake(sum.asked, "requests")
            .lost(sum.unanswered, sum.answered_twice)
            .worst("shown and real state differ", differs, Some(plan.limit(DIFFERS_MAX)))
            .note(format!("{} done, {} refused, {} cut off", sum.done, sum.refused, sum.cut_off))
            .note(format!("{} crashes, program killed {program_kills}×, {looks} looks", sum.crashes)),
        Row::new("kill, from any state", sum.kills)
            .stake(sum.kills, "trees")
            .lost(sum.survivors + orphans as u64, 0)
            .worst("until no process is left", sum.kill_worst, Some(plan.limit(KILL_MAX))),
    ]
}

/// Looks at the machine's processes again and again: the longest that a server was shown to be other than it is.
fn watch_differences(marks: &[String], shown: &[Shown], ended: &CancellationToken) -> (Duration, u64) {
    let mut since: Vec<Option<Instant>> = vec![None; marks.len()];
    let (mut worst, mut looks) = (Duration::ZERO, 0);
    while !ended.is_cancelled() {
        let living = living(marks);
        looks += 1;
        for (n, (since, shown)) in since.iter_mut().zip(shown).enumerate() {
            let there = living.get(&n).copied().unwrap_or(0) > 0;
            let shown = shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let differs = match shown.as_deref() {
                Some("running") => !there,
                Some("offline") => there,
                // On its way, or nobody is there to see it.
                _ => false,
            };
            *since = if differs { Some(since.unwrap_or_else(Instant::now)) } else { None };
            worst = worst.max(since.map_or(Duration::ZERO, |since| since.elapsed()));
        }
        std::thread::sleep(LOOK * 5);
    }
    (worst, looks)
}

/// How many processes carry each of these marks.
fn living(marks: &[String]) -> HashMap<usize, u64> {
    let mut found = HashMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        let whose = environ
            .split(|byte| *byte == 0)
            .find_map(|variable| marks.iter().position(|mark| mark.as_bytes() == variable));
        if let Some(n) = whose.filter(|_| lives(pid)) {
            *found.entry(n).or_default() += 1;
        }
    }
    found
}

#[derive(Debug, Default)]
struct Sum {
    asked: u64,
    done: u64,
    refused: u64,
    cut_off: u64,
    unanswered: u64,
    answered_twice: u64,
    crashes: u64,
    kills: u64,
    survivors: u64,
    kill_worst: Duration,
}

impl Sum {
    fn add(&mut self, other: &Self) {
        self.asked += other.asked;
        self.done += other.done;
        self.refused += other.refused;
        self.cut_off += other.cut_off;
        self.unanswered += other.unanswered;
        self.answered_twice += other.answered_twice;
        self.crashes += other.crashes;
        self.kills += other.kills;
        self.survivors += other.survivors;
        self.kill_worst = self.kill_worst.max(other.kill_worst);
    }
}

/// Somebody who does one thing after another to a server.
struct Driver {
    ground: Arc<RwLock<Ground>>,
    game: String,
    shown: Shown,
    random: StdRng,
    sum: Sum,
}

/// A connection whose messages are heard by a task of its own.
struct Ear {
    say: futures_util::stream::SplitSink<Connection, Message>,
    /// Outcomes of each request; `None` once the connection has ended.
    heard: watch::Receiver<Option<HashMap<String, Vec<String>>>>,
}

impl Driver {
    async fn drive(mut self, steps: u64) -> Sum {
        let mut ear = None;
        for step in 0..steps {
            let pause = Duration::from_millis(self.random.random_range(0..400));
            tokio::time::sleep(pause).await;
            if ear.is_none() {
                ear = Some(self.listen().await);
            }
            let Some(open) = &mut ear else { continue };
            let went_on = match self.random.random_range(0..10) {
                0..=2 => self.ask(open, "start", step).await,
                3..=4 => self.ask(open, "restart", step).await,
                5..=6 => self.ask(open, "stop", step).await,
                7 => self.kill(open, step).await,
                _ => self.crash().await,
            };
            if !went_on {
                ear = None;
            }
        }
        self.sum
    }

    /// Connects, however long it takes for the program to be there again.
    async fn listen(&self) -> Ear {
        let rest = self.ground.read().await.deck.rest();
        let connection = loop {
            match connect(&rest, &self.game).await {
                Ok(connection) => break connection,
                Err(_) => tokio::time::sleep(LOOK).await,
            }
        };
        let (say, mut messages) = connection.split();
        let (tell, heard) = watch::channel(Some(HashMap::<String, Vec<String>>::new()));
        let shown = self.shown.clone();
        tokio::spawn(async move {
            while let Some(Ok(message)) = messages.next().await {
                let Message::Text(text) = message else { continue };
                let Ok(message) = serde_json::from_str::<Value>(text.as_str()) else { break };
                let argument = message["args"][0].as_str().unwrap_or_default();
                if message["event"] == "jwt error" {
                    break;
                }
                if message["event"] == "status" {
                    *shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(argument.to_owned());
                } else if message["event"] == "receipt" {
                    let receipt: Value = serde_json::from_str(argument).unwrap_or_default();
                    let text = |name: &str| receipt[name].as_str().unwrap_or_default().to_owned();
                    tell.send_modify(|all| {
                        if let Some(all) = all {
                            all.entry(text("id")).or_default().push(text("outcome"));
                        }
                    });
                }
            }
            *shown.lock().unwrap_or_else(PoisonError::into_inner) = None;
            tell.send_replace(None);
        });
        Ear { say, heard }
    }

    /// Asks and waits for the outcome; whether the connection is still there.
    async fn ask(&mut self, ear: &mut Ear, action: &str, step: u64) -> bool {
        self.sum.asked += 1;
        let id = format!("{action} {step}");
        let message = json!({ "event": "set state", "args": [action], "id": id }).to_string();
        if ear.say.send(Message::text(message)).await.is_err() {
            self.sum.cut_off += 1;
            return false;
        }
        let answered = ear.heard.wait_for(|heard| heard.as_ref().is_none_or(|heard| heard.contains_key(&id)));
        let outcomes = match tokio::time::timeout(ANSWER_MAX, answered).await {
            Ok(Ok(heard)) => heard.as_ref().map(|heard| heard.get(&id).cloned().unwrap_or_default()),
            Ok(Err(_)) => None,
            Err(_) => Some(Vec::new()),
        };
        match outcomes {
            None => {
                self.sum.cut_off += 1;
                return false;
            }
            Some(outcomes) => match outcomes.as_slice() {
                [] => self.sum.unanswered += 1,
                [one] if one == "done" => self.sum.done += 1,
                [_] => self.sum.refused += 1,
                _ => self.sum.answered_twice += 1,
            },
        }
        let heard = ear.heard.borrow().clone();
        self.sum.answered_twice +=
            heard.map_or(0, |heard| heard.values().filter(|outcomes| outcomes.len() > 1).count() as u64);
        true
    }

    /// Kills and waits until nothing is left of the game.
    async fn kill(&mut self, ear: &mut Ear, step: u64) -> bool {
        let ground = self.ground.clone();
        // Nobody ends the program meanwhile.
        let ground = ground.read().await;
        let begun = Instant::now();
        if !self.ask(ear, "kill", step).await {
            return false;
        }
        self.sum.kills += 1;
        while !processes(&ground.deck, &self.game).is_empty() {
            if begun.elapsed() > KILL_MAX * 10 {
                self.sum.survivors += 1;
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        self.sum.kill_worst = self.sum.kill_worst.max(begun.elapsed());
        true
    }

    /// Ends the game's main process behind everybody's back.
    async fn crash(&mut self) -> bool {
        let ground = self.ground.read().await;
        let pid = ground.pid(&self.game).await.and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let signal = if self.random.random_bool(0.5) { Signal::KILL } else { Signal::SEGV };
            self.sum.crashes += u64::from(kill_process(pid, signal).is_ok());
        }
        true
    }
}
