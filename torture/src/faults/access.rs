//! Access is taken away in every way there is, while games print: nothing comes a second after the answer, and no token works again, also on
//! a node that was killed meanwhile.

use std::time::Duration;

use e2e::access::{Person, Revocation, SILENT_AFTER, bring};
use e2e::{Deck, Pair};
use serde_json::json;

use crate::ground::SETTINGS;
use crate::plan::Plan;
use crate::table::Row;

const RIGHTS: &[&str] = &["websocket.connect", "control.console"];
const GAME: &str = "--rate 200";

pub(super) async fn run(plan: Plan) -> Vec<Row> {
    vec![taken_away(&plan).await, node_killed(&plan).await]
}

async fn taken_away(plan: &Plan) -> Row {
    let rounds = plan.size(1, 10);
    let deck = Deck::with_settings(SETTINGS, &[]).await;
    let (mut worst, mut worst_how, mut viewers, mut let_in) = (Duration::ZERO, String::new(), 0, Vec::new());
    for round in 0..rounds {
        for how in Revocation::ALL {
            // One that ends the server leaves none for the next.
            let server = deck.game(GAME, json!({ "ready": "Done" })).await;
            deck.power(&server, "start").await.ok_or_panic("start");
            let name = format!("{how:?}{round}");
            let person = Person::invited(&deck.rest(), &name, &server, RIGHTS).await;
            let (socket, token) = person.watches().await;
            let url = person.credentials().await.1;
            let mut ears = [socket, person.follows().await];
            for ear in &mut ears {
                ear.hears(10).await;
            }
            let answered = person.lose(how).await;
            for ear in &mut ears {
                let (after, _) = ear.end(answered).await;
                viewers += 1;
                if after >= worst {
                    (worst, worst_how) = (after, format!("{how:?}"));
                }
            }
            if bring(&url, &token).await.starts_with("auth success") {
                let_in.push(name);
            }
            if how != Revocation::ServerDeleted {
                deck.rest().delete(&format!("/api/application/servers/{server}/force")).await.ok_or_panic("delete");
            }
        }
    }
    let times = rounds * Revocation::ALL.len() as u64;
    Row::new("access taken away, 8 ways", times)
        .stake(viewers, "viewers")
        .worst("from the answer to the last byte", worst, Some(plan.limit(SILENT_AFTER)))
        .note(format!("worst: {worst_how}"))
        .holds(let_in.is_empty(), || format!("a token worked again: {let_in:?}"))
}

/// Whether somebody gets in with a new token, and another one if a node that has just started finds that too old, as clients do.
async fn gets_in(person: &Person, url: &str) -> bool {
    let until = tokio::time::Instant::now() + SILENT_AFTER;
    loop {
        let fresh = person.credentials().await.0;
        if bring(url, &fresh).await.starts_with("auth success") {
            return true;
        }
        if tokio::time::Instant::now() > until {
            return false;
        }
    }
}

async fn node_killed(plan: &Plan) -> Row {
    let rounds = plan.size(3, 30);
    let mut pair = Pair::new().await;
    let server = pair.game(GAME).await;
    let (mut let_in, mut kept_out) = (0, 0);
    for round in 0..rounds {
        let before = Person::invited(&pair.rest(), &format!("before{round}"), &server, RIGHTS).await;
        let meanwhile = Person::invited(&pair.rest(), &format!("meanwhile{round}"), &server, RIGHTS).await;
        let (first, url) = before.credentials().await;
        let (second, _) = meanwhile.credentials().await;
        before.lose(Revocation::SubuserRemoved).await;
        pair.node.kill().await;
        meanwhile.lose(Revocation::CommandsTaken).await;
        pair.node.up().await;
        for token in [&first, &second] {
            let_in += u64::from(bring(&url, token).await.starts_with("auth success"));
        }
        kept_out += u64::from(!gets_in(&meanwhile, &url).await);
        meanwhile.lose(Revocation::SubuserRemoved).await;
    }
    Row::new("access taken away around a kill of the node", rounds)
        .stake(rounds * 2, "tokens")
        .holds(let_in == 0, || format!("{let_in} tokens worked again"))
        .holds(kept_out == 0, || format!("{kept_out} new tokens were refused"))
}
