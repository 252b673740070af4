//! Access that is taken away ends at once, for good, and for nobody else.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::time::Duration;

use e2e::access::{Ear, Person, Revocation, SILENT_AFTER, bring};
use e2e::{Deck, Pair, Rest};
use serde_json::json;

const RIGHTS: &[&str] = &["websocket.connect", "control.console"];

/// What a token is told that was taken away.
fn is_refused(answer: &str) -> bool {
    answer.contains("created too far in past (denylist)") || answer.contains("404") || answer.contains("4409")
}

/// Ends both ways of watching, and says how long after the panel's answer the last byte came.
async fn ends(ears: &mut [Ear], answered: tokio::time::Instant, how: Revocation) -> Duration {
    let mut worst = Duration::ZERO;
    for ear in ears {
        let (after, code) = ear.end(answered).await;
        let expected = match how {
            Revocation::Suspended => 4409,
            Revocation::ServerDeleted => 1001,
            _ => 1008,
        };
        assert!(code.is_none_or(|code| code == expected), "{how:?}: closed with {code:?}");
        worst = worst.max(after);
    }
    assert!(worst < SILENT_AFTER, "{how:?}: something came {worst:?} after the answer");
    worst
}

/// While a game prints 200 lines a second: a socket and a `follow` of the same person end within a second of the panel's answer, the
/// token is worth nothing any more, and who has nothing to do with it goes on.
#[tokio::test]
async fn whatever_is_taken_away_nothing_comes_a_second_later() {
    let deck = Deck::new().await;
    let server = deck.game("--rate 200", json!({ "ready": "Done" })).await;
    assert_eq!(deck.power(&server, "start").await.status, 204);
    let admin = deck.rest();
    let bystander = Person::invited(&admin, "bystander", &server, &["websocket.connect"]).await;
    let (mut other_socket, _) = bystander.watches().await;
    let mut other_lines = bystander.follows().await;
    for (number, how) in Revocation::ALL.into_iter().enumerate() {
        let person = Person::invited(&admin, &format!("person{number}"), &server, RIGHTS).await;
        let (socket, token) = person.watches().await;
        let url = person.credentials().await.1;
        let mut ears = [socket, person.follows().await];
        for ear in &mut ears {
            ear.hears(20).await;
        }
        let answered = person.lose(how).await;
        let worst = ends(&mut ears, answered, how).await;
        println!("{how:?}: the last byte came {worst:?} after the answer");
        let replayed = bring(&url, &token).await;
        assert!(is_refused(&replayed), "{how:?}: {replayed}");
        if how == Revocation::Suspended {
            ends(&mut [other_socket, other_lines], answered, how).await;
            // For the next one, the deletion of a server that runs and is watched.
            admin.post(&format!("/api/application/servers/{server}/unsuspend"), &json!({})).await.ok();
            deck.power(&server, "start").await;
            other_socket = bystander.watches().await.0;
            other_lines = bystander.follows().await;
        } else if how == Revocation::ServerDeleted {
            ends(&mut [other_socket, other_lines], answered, how).await;
            return;
        } else {
            other_socket.hears(20).await;
            other_lines.hears(1).await;
        }
        after(&person, &server, how).await;
    }
}

/// What the person can still do.
async fn after(person: &Person, server: &str, how: Revocation) {
    let path = format!("/api/client/servers/{server}/websocket");
    let status = person.rest.get(&path).await.status;
    let expected = match how {
        Revocation::SubuserRemoved => 404,
        Revocation::KeyDeleted | Revocation::AccountDeleted => 401,
        // With a key of their own they may come back at once: the next token is a new one.
        _ => 200,
    };
    assert_eq!(status, expected, "{how:?}");
    if expected == 200 {
        let (mut ear, _) = person.watches().await;
        ear.hears(5).await;
    }
    if how == Revocation::CommandsTaken {
        let command = json!({ "command": "list" });
        let answer = person.rest.post(&format!("/api/client/servers/{server}/command"), &command).await;
        assert_eq!(answer.status, 403, "{}", answer.text);
    }
}

/// What was revoked before, or while, the node was down is refused by the node that comes back; so is every token from before, as it
/// cannot know. A new one is taken.
#[tokio::test]
async fn a_node_that_was_killed_forgets_no_revocation() {
    let mut pair = Pair::new().await;
    let server = pair.game("--rate 200").await;
    let admin = pair.rest();
    let [before, meanwhile, innocent] = ["before", "meanwhile", "innocent"]
        .map(|name| async { Person::invited(&pair.rest(), name, &server, RIGHTS).await });
    let (before, meanwhile, innocent) = (before.await, meanwhile.await, innocent.await);
    let (mut ear, lost_before) = before.watches().await;
    ear.hears(20).await;
    let (lost_meanwhile, url) = meanwhile.credentials().await;
    let (old, _) = innocent.credentials().await;
    before.lose(Revocation::SubuserRemoved).await;
    pair.node.kill().await;
    // The panel cannot tell the node, and keeps what it has to say.
    let answered = meanwhile.lose(Revocation::SubuserRemoved).await;
    assert!(answered.elapsed() < Duration::from_secs(10));
    pair.node.up().await;
    for (token, whose) in [(&lost_before, "before"), (&lost_meanwhile, "meanwhile"), (&old, "innocent")] {
        let told = bring(&url, token).await;
        assert!(told.contains("created too far in past (denylist)"), "{whose}: {told}");
    }
    let (mut ear, fresh) = innocent.watches().await;
    ear.hears(20).await;
    assert_eq!(admin.get(&format!("/api/client/servers/{server}")).await.status, 200);
    // Whoever is revoked now ends now, on the node that was restarted.
    let answered = innocent.lose(Revocation::KeyDeleted).await;
    ends(std::slice::from_mut(&mut ear), answered, Revocation::KeyDeleted).await;
    assert!(is_refused(&bring(&url, &fresh).await));
}

/// The panel is killed while it waits for the node to hear of a change: that is not lost.
#[tokio::test]
async fn a_panel_that_was_killed_still_tells_the_node() {
    let mut pair = Pair::new().await;
    let server = pair.game("--rate 200").await;
    let person = Person::invited(&pair.rest(), "person", &server, RIGHTS).await;
    let (mut ear, token) = person.watches().await;
    let url = person.credentials().await.1;
    ear.hears(20).await;
    // The node hears nothing while it is stopped, and the panel ends before it hears again.
    pair.node.pause();
    let rest = Rest::new(pair.rest().base(), pair.rest().key());
    let path = format!("/api/client/servers/{server}/users/{}", person.uuid);
    let asked = tokio::spawn(async move { rest.request(reqwest::Method::DELETE, &path).send().await.is_ok() });
    let gone = async {
        while person.rest.get(&format!("/api/client/servers/{server}")).await.status != 404 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(e2e::DEADLINE, gone).await.unwrap();
    pair.panel.kill().await;
    assert!(!asked.await.unwrap(), "the answer came before the panel's end");
    pair.panel.up().await;
    pair.node.go_on();
    let (_, code) = ear.end(tokio::time::Instant::now()).await;
    assert_eq!(code, Some(1008));
    assert!(is_refused(&bring(&url, &token).await));
}
