//! What a console's token costs: the endpoint that every page, reload and renewal asks, beside a route that looks at nothing.

use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::cpu;
use crate::plan::Plan;
use crate::table::{Row, median};
use crate::target::{Beside, Ours, hold};

/// The load: a tool of others, so that neither side is measured with what it was built from.
const WRK: &str = "wrk";
/// Connections that ask, each for the next token when it has the last one.
const CONNECTIONS: u32 = 16;

/// Tokens per second, ours and an answer of the same length that is made of nothing.
pub(crate) async fn credentials(plan: Plan) -> Vec<Row> {
    let what = format!("GET …/websocket with a key, {CONNECTIONS} connections: requests per second");
    if Command::new(WRK).arg("-v").output().is_err() {
        return vec![Row::new(what, "").note("not measured: there is no wrk here")];
    }
    let deck = Ours::without_game().await;
    let game = deck.game("", json!({ "ready": "Done" })).await;
    let (token, _) = deck.credentials(&game).await;
    let trivial = Beside::start(&["trivial", "--token-len", &token.len().to_string()]);
    let url = format!("{}/api/client/servers/{game}/websocket", deck.url());
    let beside_url = format!("http://127.0.0.1:{}/", trivial.port);
    let key = format!("Authorization: Bearer {}", deck.key());
    let pid = deck.pid().unwrap_or_default();
    let (mut ours, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds() {
        let sides = [(&url, &mut ours, pid, trivial.pid()), (&beside_url, &mut beside, trivial.pid(), pid)];
        for (url, figures, asked_pid, other) in sides {
            hold(other, true);
            figures.push(asked(url, &key, plan.window(), asked_pid));
            hold(other, false);
        }
    }
    let failed: u64 = ours.iter().chain(&beside).map(|asked| asked.failed).sum();
    let cpu = [&ours, &beside].map(|all| median(all.iter().map(|asked| asked.cpu_us).collect()));
    let [a, b] = [ours, beside].map(|all| median(all.iter().map(|asked| asked.per_second).collect()));
    vec![
        Row::new(what, format!("{a:.0}"))
            .beside(format!("{b:.0}, a route of axum that looks at nothing"))
            .goal(format!("{:.2}x, at least 0.5x", a / b), a / b >= 0.5 && failed == 0)
            .note(format!("CPU of a request {:.1} µs, {:.1} µs beside us; {failed} failed", cpu[0], cpu[1]))
            .note(format!("{} bytes of token, of nothing beside us", token.len())),
    ]
}

/// What `wrk` says.
struct Asked {
    per_second: f64,
    /// Answers that were no success.
    failed: u64,
    /// Microseconds of processor time that whoever was asked took for one.
    cpu_us: f64,
}

/// Asks as fast as there are answers.
#[allow(clippy::expect_used)]
#[expect(clippy::cast_precision_loss, reason = "a figure")]
fn asked(url: &str, header: &str, window: Duration, pid: u32) -> Asked {
    let before = cpu::used(pid);
    let output = Command::new(WRK)
        .args(["-t1", &format!("-c{CONNECTIONS}"), &format!("-d{}s", window.as_secs()), "-H", header, url])
        .output()
        .expect("wrk runs");
    let used = cpu::used(pid).saturating_sub(before);
    let text = String::from_utf8_lossy(&output.stdout);
    let figure = |name: &str| text.lines().find_map(|line| line.trim().strip_prefix(name)?.trim().parse::<f64>().ok());
    let failed =
        text.lines().find_map(|line| line.trim().strip_prefix("Non-2xx or 3xx responses:")?.trim().parse().ok());
    let requests = text.lines().find_map(|line| line.split_once(" requests in ")?.0.trim().parse::<u64>().ok());
    Asked {
        per_second: figure("Requests/sec:").unwrap_or(f64::NAN),
        failed: failed.unwrap_or_default(),
        cpu_us: used.as_nanos() as f64 / 1000.0 / requests.unwrap_or_default() as f64,
    }
}
