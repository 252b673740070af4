//! Disks that are full, read-only or failing. Under a log: the game goes on, what is lost is counted and shown, and all is well again
//! without a restart. Under the panel's database: requests fail with a reason, consoles go on.

use std::time::Duration;

use e2e::{DEADLINE, Deck};
use serde_json::json;
use tokio::time::Instant;

use crate::ground::{Ground, LOOK};
use crate::mount::{Disk, Failing};
use crate::plan::Plan;
use crate::table::Row;
use crate::viewer::Viewer;

/// How long a log may take to go on once it can: it is tried each second.
const RECOVERS_MAX: Duration = Duration::from_secs(3);
/// Lines a second of the game.
const RATE: u64 = 500;
/// Their length: what a segment has room for is printed in two seconds.
const LINE_BYTES: u64 = 1000;

pub(super) async fn run(plan: Plan) -> Vec<Row> {
    vec![
        full(&plan).await,
        full_behind_a_long_log(&plan).await,
        failing(&plan, "I/O errors", "EIO").await,
        failing(&plan, "a read-only file system", "EROFS").await,
        read_only_before_the_start(&plan).await,
        database(&plan).await,
    ]
}

/// A game whose log has a disk of its own, and somebody who looks at it.
struct Logged {
    ground: Ground,
    game: String,
    viewer: Viewer,
    pid: Option<i32>,
}

impl Logged {
    async fn on(ground: Ground) -> Self {
        let mut ground = ground;
        let game = ground.game(&format!("--rate {RATE} --line-len {LINE_BYTES}"), json!({ "console": "pipe" })).await;
        let viewer = Viewer::of(&ground.deck, &game);
        viewer.until("its first lines", |seen| seen.lines > 100).await;
        let pid = ground.pid(&game).await;
        Self { ground, game, viewer, pid }
    }

    /// Waits until the log has stopped for a while: what is printed meanwhile cannot be kept.
    async fn stands_still(&self) {
        let (mut next, mut since) = (self.viewer.seen().next, Instant::now());
        let until = Instant::now() + DEADLINE;
        while since.elapsed() < Duration::from_millis(500) {
            tokio::time::sleep(LOOK).await;
            assert!(Instant::now() < until, "the fault has no effect");
            if self.viewer.seen().next != next {
                (next, since) = (self.viewer.seen().next, Instant::now());
            }
        }
    }

    /// How long it takes until new lines are seen.
    async fn goes_on(&self) -> Duration {
        let (before, begun) = (self.viewer.seen(), Instant::now());
        self.viewer.until("lines behind the fault", |seen| seen.next > before.next).await;
        begun.elapsed()
    }

    /// Ends the game and counts: it has to be the same, and every line seen or named as lost.
    async fn judge(&mut self, sum: &mut Sum) {
        sum.same &= self.ground.pid(&self.game).await == self.pid;
        self.ground.end_games().await;
        self.ground.games.clear();
        let kept = e2e::record::numbers(&e2e::record::output(&self.ground.deck.node(), &self.game, false));
        let printed = kept.last().map_or(0, |last| last + 1);
        let seen = self.viewer.until("the last line", |seen| seen.next >= printed).await;
        sum.printed += printed;
        sum.lost += seen.lost;
        sum.repeated += seen.repeated;
        sum.named += seen.expired;
        sum.missing += printed - seen.lines.min(printed);
        sum.gaps += seen.gaps;
    }
}

/// What came of it, over all times.
struct Sum {
    same: bool,
    printed: u64,
    lost: u64,
    repeated: u64,
    missing: u64,
    named: u64,
    gaps: u64,
}

impl Sum {
    fn new() -> Self {
        Self { same: true, printed: 0, lost: 0, repeated: 0, missing: 0, named: 0, gaps: 0 }
    }

    fn row(&self, row: Row) -> Row {
        row.stake(self.printed, "lines")
            .lost(self.lost, self.repeated)
            .note(format!("{} could not be kept, named by {} gaps", self.missing, self.gaps))
            .holds(self.same, || "the game was restarted".to_owned())
            .holds(self.named == self.missing, || format!("{} are missing, {} were named", self.missing, self.named))
    }
}

async fn full(plan: &Plan) -> Row {
    let times = plan.size(1, 5);
    let ground = Ground::new().await;
    let disk = Disk::on(&ground.deck.node().join("servers"), 24).await;
    let (mut sum, mut worst, mut ground) = (Sum::new(), Duration::ZERO, Some(ground));
    for _ in 0..times {
        // A log of its own each time: one that has older parts gives up those first.
        let mut logged = Logged::on(ground.take().expect("it is given back")).await;
        disk.fill();
        logged.stands_still().await;
        disk.make_room();
        worst = worst.max(logged.goes_on().await);
        logged.judge(&mut sum).await;
        ground = Some(logged.ground);
    }
    let row = Row::new("the log's disk is full", times);
    let row = row.worst("until the log goes on", worst, Some(plan.limit(RECOVERS_MAX)));
    sum.row(row).holds(sum.missing > 0, || "nothing was lost: the fault had no effect".to_owned())
}

/// A log that is longer gives up its own oldest part, and loses nothing that is new.
async fn full_behind_a_long_log(plan: &Plan) -> Row {
    let megabytes = plan.size(1_u64, 8);
    let ground = Ground::new().await;
    let disk = Disk::on(&ground.deck.node().join("servers"), 24).await;
    let mut logged = Logged::on(ground).await;
    let lines = |megabytes: u64| megabytes * 1_000_000 / LINE_BYTES;
    logged.viewer.until("three segments", |seen| seen.next > lines(3)).await;
    disk.fill();
    let full_at = logged.viewer.seen().next;
    let limit = Duration::from_mins(2);
    logged.viewer.within(limit, "more than fits", |seen| seen.next > full_at + lines(megabytes)).await;
    disk.make_room();
    let mut sum = Sum::new();
    logged.judge(&mut sum).await;
    let row = sum.row(Row::new("the same with older lines to give up", 1));
    row.holds(sum.missing == 0, || format!("{} lines are missing", sum.missing))
}

/// The shim's system calls fail as they do on such a disk.
async fn failing(plan: &Plan, what: &str, error: &str) -> Row {
    let times = plan.size(1, 5);
    let mut logged = Logged::on(Ground::new().await).await;
    let game = logged.pid.expect("a game");
    let status = std::fs::read_to_string(format!("/proc/{game}/status")).expect("its status");
    let shim = status.lines().find_map(|line| line.strip_prefix("PPid:\t")?.parse().ok()).expect("its parent");
    let mut worst = Duration::ZERO;
    for _ in 0..times {
        let failing = Failing::calls(shim, "writev,pwrite64,fallocate,openat,fdatasync", error).await;
        logged.stands_still().await;
        failing.end().await;
        worst = worst.max(logged.goes_on().await);
    }
    let row = Row::new(format!("{what} under the log"), times);
    let row = row.worst("until the log goes on", worst, Some(plan.limit(RECOVERS_MAX)));
    let mut sum = Sum::new();
    logged.judge(&mut sum).await;
    sum.row(row).holds(sum.missing > 0, || "nothing was lost: the fault had no effect".to_owned())
}

async fn read_only_before_the_start(_: &Plan) -> Row {
    let ground = Ground::new().await;
    let disk = Disk::on(&ground.deck.node().join("servers"), 24).await;
    let game = ground.deck.game("--rate 10", json!({ "ready": "Done" })).await;
    disk.is_read_only(true).await;
    let refused = ground.deck.power(&game, "start").await;
    disk.is_read_only(false).await;
    ground.deck.power(&game, "start").await.ok();
    ground.reaches(&game, "running").await;
    ground.deck.power(&game, "kill").await.ok();
    ground.reaches(&game, "offline").await;
    Row::new("a start on a read-only file system", 1)
        .stake(1, "starts")
        .note(format!("{}: {}", refused.status, refused.json["errors"][0]["detail"].as_str().unwrap_or_default()))
        .holds((400..600).contains(&refused.status), || format!("it was answered with {}", refused.status))
        .holds(refused.text.to_lowercase().contains("read-only"), || format!("it does not say why: {}", refused.text))
}

async fn database(plan: &Plan) -> Row {
    let (times, tries) = (plan.size(1, 3), 40);
    let mut deck = Deck::prepared(&["--no-demo"]);
    let disk = Disk::on(deck.data(), 16).await;
    // The node's part has room: what is tried is the panel's.
    let _node = Disk::on(&deck.node(), 64).await;
    deck.set("client_per_minute = 1000000\napplication_per_minute = 1000000\nwebsocket_per_minute = 1000000\n");
    deck.up("127.0.0.1:0").await;
    deck.learn_node_token().await;
    let mut ground = Ground { deck, games: Vec::new() };
    let game = ground.game(&format!("--rate {RATE}"), json!({ "console": "pipe" })).await;
    let viewer = Viewer::of(&ground.deck, &game);
    viewer.until("its first lines", |seen| seen.lines > 100).await;
    let (mut asked, mut refused, mut odd, mut wrong) = (0, 0, Vec::new(), 0);
    for time in 0..times {
        disk.fill();
        for n in 0..tries {
            let name = format!("user{time}x{n}");
            let body = json!({ "username": name, "email": format!("{name}@example.org") });
            let made = ground.deck.rest().post("/api/application/users", &body).await;
            asked += 1;
            match made.status {
                201 => {}
                503 if made.text.contains("the disk of its database is full") => refused += 1,
                _ => odd.push(format!("{} {}", made.status, made.text)),
            }
            // What was said is so.
            let there = ground.deck.rest().get(&format!("/api/application/users/{name}")).await.status == 200;
            wrong += u64::from(there != (made.status == 201));
        }
        let before = viewer.seen();
        viewer.until("lines while the database is full", |seen| seen.next > before.next + RATE).await;
        disk.make_room();
        let body = json!({ "username": format!("after{time}"), "email": format!("after{time}@example.org") });
        let again = ground.deck.rest().post("/api/application/users", &body).await;
        if again.status != 201 {
            odd.push(format!("with room again: {} {}", again.status, again.text));
        }
    }
    ground.end_games().await;
    let seen = viewer.seen();
    Row::new("the disk of the panel's database is full", times)
        .stake(asked, "requests")
        .lost(wrong + seen.lost, seen.repeated)
        .note(format!("{refused} refused, {} lines seen meanwhile", seen.lines))
        .holds(seen.attached == 1, || "the viewer was cut off".to_owned())
        .holds(refused > 0, || "none was refused: the fault had no effect".to_owned())
        .holds(odd.is_empty(), || odd.join("; "))
}
