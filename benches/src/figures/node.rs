//! What a node costs when nobody looks: servers that are there, games that run, what they print, and a start.

use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use e2e::Deck;
use serde_json::json;
use tokio::time::Instant;

use crate::cpu;
use crate::load::Load;
use crate::plan::Plan;
use crate::table::{Row, median};
use crate::target::{LOAD_CORE, Ours, SERVER_CORE, power, viewer};

/// Length of a line's text where much is printed.
const LINE_BYTES: usize = 127;

#[expect(clippy::cast_precision_loss, reason = "a figure")]
fn percent(used: Duration, of: Duration) -> f64 {
    used.as_nanos() as f64 * 100.0 / of.as_nanos() as f64
}

#[allow(clippy::expect_used)]
fn pid(deck: &Deck) -> u32 {
    deck.pid().expect("a process")
}

async fn share(deck: &Deck, window: Duration) -> f64 {
    let (before, begun) = (cpu::used(pid(deck)), Instant::now());
    tokio::time::sleep(window).await;
    percent(cpu::used(pid(deck)).saturating_sub(before), begun.elapsed())
}

/// Servers that do not run, and games that print nothing.
pub(crate) async fn idle(plan: Plan) -> Vec<Row> {
    let window = plan.size(Duration::from_secs(2), Duration::from_secs(20));
    let deck = Ours::without_game().await;
    let registered = plan.size(20, 1_000);
    for _ in 0..registered {
        deck.game("", json!({ "ready": "Done" })).await;
    }
    let (resident, cpu) = (cpu::resident(pid(&deck)) >> 20, share(&deck, window).await);
    let mut rows = vec![
        Row::new(format!("{registered} servers that do not run: memory, CPU"), format!("{resident} MiB, {cpu:.2} %"))
            .goal("under 150 MB, under 2 % of a core", resident < 143 && cpu < 2.0),
    ];
    drop(deck);
    let deck = Ours::without_game().await;
    let games = running(&deck, plan.size(5, 200)).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let alone = share(&deck, window).await;
    let load = Load::on(LOAD_CORE);
    let mut viewers = Vec::new();
    for game in &games {
        viewers.push(viewer(&deck, game).await);
    }
    let group = load.add(viewers);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let watched = share(&deck, window).await;
    load.end(group);
    rows.push(
        Row::new(
            format!("{} games that print nothing: CPU", games.len()),
            format!("{alone:.1} %, {watched:.1} % with a viewer each"),
        )
        .goal("under 5 % of a core", alone < 5.0 && watched < 5.0),
    );
    end(&deck, &games).await;
    rows
}

/// A start that finds games running.
pub(crate) async fn startup(plan: Plan) -> Vec<Row> {
    let mut deck = Ours::without_game().await;
    let games = running(&deck, plan.size(5, 200)).await;
    let mut times = Vec::new();
    for _ in 0..plan.rounds() {
        deck.kill().await;
        let begun = Instant::now();
        cpu::pin(SERVER_CORE);
        deck.up_again().await;
        cpu::pin(LOAD_CORE);
        for game in &games {
            // Authenticated is not enough: the state has to be that of the game.
            let mut viewer = viewer(&deck, game).await;
            assert!(hears(&mut viewer, b"\"running\""), "{game} is not found running");
        }
        times.push(begun.elapsed().as_secs_f64());
    }
    end(&deck, &games).await;
    let time = median(times);
    vec![
        Row::new(
            format!("start beside {} games that run, until every console has answered", games.len()),
            format!("{time:.2} s"),
        )
        .goal("under 2 s", time < 2.0)
        .note("killed before, on one core, one console after the other"),
    ]
}

/// What a game prints: to the log and one viewer, and by `cat` to a file.
pub(crate) async fn ingest(plan: Plan) -> Vec<Row> {
    let lines: u64 = plan.size(20_000, 500_000);
    #[expect(clippy::cast_precision_loss, reason = "a figure")]
    let mib = (lines * (LINE_BYTES as u64 + 1)) as f64 / 1_048_576.0;
    let (mut ours, mut cat) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds() {
        let node = Ours::start(LINE_BYTES).await;
        let load = Load::on(LOAD_CORE);
        let group = load.add(node.viewers(1).await);
        node.order("burst 1").await;
        let told = load.wait_for(group, 0, Duration::from_secs(10));
        let shim = node.shim().await;
        let before = cpu::used(node.pid()) + cpu::used(shim);
        node.order(&format!("burst {lines}")).await;
        let told = told.and_then(|_| load.wait_for(group, lines, Duration::from_mins(1)));
        assert!(told.is_ok(), "{told:?}");
        ours.push((cpu::used(node.pid()) + cpu::used(shim)).saturating_sub(before).as_secs_f64() * 1000.0 / mib);
        cat.push(by_cat(lines).as_secs_f64() * 1000.0 / mib);
    }
    let (a, b) = (median(ours), median(cat));
    vec![
        Row::new(
            format!("a flood of {mib:.0} MiB to the log and one viewer: CPU of shim and program for a MiB"),
            format!("{a:.1} ms"),
        )
        .beside(format!("{b:.1} ms, cat"))
        .goal(format!("{:.1}x, at most 3x", a / b), a / b <= 3.0),
    ]
}

/// The same lines through a pipe and `cat` into a file: what `cat` has used.
#[allow(clippy::expect_used)]
fn by_cat(lines: u64) -> Duration {
    let folder = tempfile::tempdir().expect("a folder");
    cpu::pin(SERVER_CORE);
    let program = std::env::var("QUARTERDECK_BIN").expect("QUARTERDECK_BIN");
    let mut game = Command::new(program)
        .args(["fakegame", "play", "--stamp", "--exit-when-done", "--line-len", &LINE_BYTES.to_string()])
        .args(["--lines", &lines.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a game");
    let file = std::fs::File::create(folder.path().join("log")).expect("a file");
    let from = game.stdout.take().expect("its output");
    let mut cat = Command::new("cat").stdin(from).stdout(file).spawn().expect("cat");
    cpu::pin(LOAD_CORE);
    let mut used = Duration::ZERO;
    while cat.try_wait().expect("cat").is_none() {
        used = used.max(cpu::used(cat.id()).total());
    }
    let _ = game.wait();
    used
}

async fn running(deck: &Deck, count: usize) -> Vec<String> {
    let mut games = Vec::new();
    for _ in 0..count {
        let game = deck.game("", json!({ "ready": "Done", "stop": "stop" })).await;
        power(deck, &game, "start", "running").await;
        games.push(game);
    }
    games
}

async fn end(deck: &Deck, games: &[String]) {
    for game in games {
        power(deck, game, "kill", "offline").await;
    }
}

/// Reads until this has come.
fn hears(viewer: &mut TcpStream, what: &[u8]) -> bool {
    use std::io::Read;
    let mut heard = Vec::new();
    let mut buffer = [0; 4096];
    let _ = viewer.set_read_timeout(Some(Duration::from_secs(10)));
    while let Ok(count @ 1..) = viewer.read(&mut buffer) {
        heard.extend_from_slice(buffer.get(..count).unwrap_or_default());
        if memchr::memmem::find(&heard, what).is_some() {
            return true;
        }
    }
    false
}
