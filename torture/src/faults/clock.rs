//! Clocks of panel and node that are apart, and clocks that are set back and forth while consoles are open.

use std::time::Duration;

use e2e::Pair;
use e2e::access::{Person, Revocation, SILENT_AFTER, bring};
use rand::RngExt;

use crate::plan::Plan;
use crate::table::Row;

const RIGHTS: &[&str] = &["websocket.connect", "control.console"];
/// How far apart clocks may be, less what a round takes.
const ALLOWED_S: i64 = 290;
const NO_LIBRARY: &str = "there is no libfaketime; install Debian's package of this name";

pub(super) async fn run(plan: Plan) -> Vec<Row> {
    vec![apart(&plan).await, set_back(&plan).await]
}

/// Up to five minutes apart: tokens are taken, and end with the rights behind them.
async fn apart(plan: &Plan) -> Row {
    let rounds = plan.size(4, 40);
    let mut random = plan.random("apart");
    let row = Row::new("clocks up to 5 min apart", rounds);
    let (mut worst, mut let_in) = (Duration::ZERO, 0);
    let mut fixed = [-ALLOWED_S, ALLOWED_S].into_iter();
    for _ in 0..rounds {
        let ahead_s = fixed.next().unwrap_or_else(|| random.random_range(-ALLOWED_S..=ALLOWED_S));
        let Some(pair) = Pair::with_clocks(ahead_s, 0).await else { return row.breaks(NO_LIBRARY) };
        let server = pair.game("--rate 200").await;
        let person = Person::invited(&pair.rest(), "person", &server, RIGHTS).await;
        let (mut ear, token) = person.watches().await;
        let url = person.credentials().await.1;
        ear.hears(10).await;
        let answered = person.lose(Revocation::CommandsTaken).await;
        worst = worst.max(ear.end(answered).await.0);
        let_in += u64::from(bring(&url, &token).await.starts_with("auth success"));
        person.watches().await.0.hears(10).await;
    }
    row.stake(rounds, "consoles")
        .worst("from the answer to the last byte", worst, Some(plan.limit(SILENT_AFTER)))
        .holds(let_in == 0, || format!("{let_in} tokens worked again"))
}

/// The clock of the machine is set back by up to an hour and forth again, with a revocation between.
async fn set_back(plan: &Plan) -> Row {
    let rounds = plan.size(3, 30);
    let mut random = plan.random("set back");
    let row = Row::new("clock set back by up to 1 h and forth again", rounds);
    let Some(pair) = Pair::with_clocks(0, 0).await else { return row.breaks(NO_LIBRARY) };
    let server = pair.game("--rate 200").await;
    let (mut worst, mut let_in, mut kept_out) = (Duration::ZERO, 0, 0);
    for round in 0..rounds {
        let person = Person::invited(&pair.rest(), &format!("person{round}"), &server, RIGHTS).await;
        let (mut ear, token) = person.watches().await;
        let (unused, url) = person.credentials().await;
        ear.hears(10).await;
        pair.set_clocks(-random.random_range(360..3600)).await;
        ear.hears(50).await;
        let answered = person.lose(Revocation::CommandsTaken).await;
        worst = worst.max(ear.end(answered).await.0);
        kept_out += u64::from(!bring(&url, &person.credentials().await.0).await.starts_with("auth success"));
        pair.set_clocks(0).await;
        for token in [&token, &unused] {
            let_in += u64::from(bring(&url, token).await.starts_with("auth success"));
        }
        kept_out += u64::from(!bring(&url, &person.credentials().await.0).await.starts_with("auth success"));
        person.lose(Revocation::SubuserRemoved).await;
    }
    row.stake(rounds * 2, "tokens")
        .worst("from the answer to the last byte", worst, Some(plan.limit(SILENT_AFTER)))
        .holds(let_in == 0, || format!("{let_in} tokens worked again"))
        .holds(kept_out == 0, || format!("{kept_out} new tokens were refused"))
}
