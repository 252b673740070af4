//! Panel and node whose wall clocks are apart, or are set while they run. The clocks are those of `libfaketime`; only the wall clock is
//! moved, as people and NTP do.
#![allow(clippy::unwrap_used, missing_docs)]

use e2e::access::{Person, Revocation, bring};
use e2e::{Pair, Rest, Socket};
use serde_json::json;

const RIGHTS: &[&str] = &["websocket.connect", "control.console"];
const HOUR_S: i64 = 3600;

async fn pair(test: &str, panel_s: i64, node_s: i64) -> Option<Pair> {
    let Some(pair) = Pair::with_clocks(panel_s, node_s).await else {
        e2e::skip(test, "there is no libfaketime; install Debian's package of this name", true);
        return None;
    };
    Some(pair)
}

/// A new console that shows what is printed now; a second try is allowed, as every client makes one when a token is refused because of
/// its date.
async fn opens(person: &Person, server: &str) -> Socket {
    for _ in 0..10 {
        let (token, url) = person.credentials().await;
        let mut socket = Socket::open(&url, None).await.unwrap();
        socket.say("auth", &json!([token])).await;
        let heard = socket.next().await;
        if heard.is("auth success") {
            socket.line("line ").await;
            return socket;
        }
        let text = heard.arg_of("jwt error").unwrap_or_else(|| panic!("{heard:?}"));
        assert!(text.contains("claim is invalid") || text.contains("denylist"), "{text}");
        socket.hear_for(std::time::Duration::from_millis(500)).await;
    }
    panic!("no console of {server} opens")
}

/// What the node says of the panel's clock.
async fn skew_s(pair: &Pair) -> Option<i64> {
    let system = pair.node_rest().get("/api/system").await;
    system.ok()["panel_clock_ahead_ms"].as_i64().map(|ms| ms / 1000)
}

/// Five minutes either way, less the seconds that a test takes: everything works at the first try, and ends at once.
#[tokio::test]
async fn five_minutes_apart_everything_works() {
    for (panel_s, node_s) in [(-295, 0), (295, 0), (150, -140)] {
        let Some(pair) = pair("five_minutes_apart_everything_works", panel_s, node_s).await else { return };
        let server = pair.game("--rate 200").await;
        let person = Person::invited(&pair.rest(), "person", &server, RIGHTS).await;
        let (mut ear, token) = person.watches().await;
        let mut lines = person.follows().await;
        ear.hears(20).await;
        lines.hears(5).await;
        assert!((skew_s(&pair).await.unwrap() - (panel_s - node_s)).abs() <= 2, "{:?}", skew_s(&pair).await);
        let url = person.credentials().await.1;
        let answered = person.lose(Revocation::CommandsTaken).await;
        for ear in [&mut ear, &mut lines] {
            assert!(ear.end(answered).await.0 < e2e::access::SILENT_AFTER);
        }
        assert!(bring(&url, &token).await.contains("(denylist)"));
        person.watches().await.0.hears(20).await;
        // Refused because of its date by the panel's clock, not by the node's.
        let mut claims = e2e::token::claims(&server);
        let now = e2e::token::now_s() + panel_s;
        (claims.iat, claims.nbf, claims.exp) = (Some(now - 100), None, Some(now - 3));
        let late = bring(&url, &e2e::token::sign(&claims, pair.node_token())).await;
        assert!(late.ends_with("jwt: exp claim is invalid"), "{late}");
    }
}

/// Twenty minutes are no skew to allow for but a clock that is wrong: the error, the log and the node's API say so.
#[tokio::test]
async fn beyond_five_minutes_the_error_names_the_skew() {
    for (panel_s, told) in [
        (-1200, "jwt: exp claim is invalid; the panel's clock is 20 minutes behind the node's"),
        (1200, "jwt: nbf claim is invalid; the panel's clock is 20 minutes ahead of the node's"),
    ] {
        let Some(pair) = pair("beyond_five_minutes_the_error_names_the_skew", panel_s, 0).await else { return };
        let server = pair.game("--rate 200").await;
        let person = Person::invited(&pair.rest(), "person", &server, RIGHTS).await;
        let (token, url) = person.credentials().await;
        let heard = bring(&url, &token).await;
        // The rest of a minute may be missing: an answer takes a moment.
        let told = told.replace("20 minutes", "");
        let (head, tail) = told.split_once("  ").unwrap();
        assert!(heard.contains(head) && heard.contains(tail) && heard.contains("set both by NTP"), "{heard}");
        assert!(heard.contains(" 20 minutes ") || heard.contains(" 21 minutes "), "{heard}");
        assert!((skew_s(&pair).await.unwrap() - panel_s).abs() <= 2);
        assert!(pair.node.log().contains("tokens may be refused"), "the log says it");
        // When the clock is right again, so is everything else.
        pair.panel.set_clock(0);
        pair.panel_is_at(0).await;
        opens(&person, &server).await;
    }
}

/// The clock of the whole machine is set back by an hour while consoles are open, and then forth again.
#[tokio::test]
async fn a_machine_whose_clock_is_set_back_goes_on() {
    let Some(pair) = pair("a_machine_whose_clock_is_set_back_goes_on", 0, 0).await else { return };
    let server = pair.game("--rate 200").await;
    let rest = pair.rest();
    let victim = Person::invited(&rest, "victim", &server, RIGHTS).await;
    let other = Person::invited(&rest, "other", &server, RIGHTS).await;
    let (mut watching, live) = victim.watches().await;
    let (unused, url) = victim.credentials().await;
    let mut console = opens(&other, &server).await;
    for back_s in [-HOUR_S, 0] {
        pair.set_clocks(back_s).await;
        // What is open stays open, and what is new opens.
        watching.hears(20).await;
        console.line("line ").await;
        opens(&other, &server).await;
    }
    pair.set_clocks(-HOUR_S).await;
    // Tokens from the future end with the rights behind them, in use or not.
    let answered = victim.lose(Revocation::CommandsTaken).await;
    assert!(watching.end(answered).await.0 < e2e::access::SILENT_AFTER);
    assert!(bring(&url, &live).await.contains("jwt"));
    opens(&victim, &server).await;
    // And when their date comes again, they are still worth nothing.
    pair.set_clocks(0).await;
    for token in [&live, &unused] {
        let told = bring(&url, token).await;
        assert!(told.contains("(denylist)"), "{told}");
    }
    opens(&victim, &server).await;
    in_order(&other, &server).await;
}

/// The numbers of lines go up by one from line to line, whatever their times say.
async fn in_order(person: &Person, server: &str) {
    let path = format!("/api/client/servers/{server}/console/lines?limit=2000");
    let answer = person.rest.get(&path).await;
    let lines = answer.ok()["attributes"]["lines"].as_array().unwrap().clone();
    let numbers: Vec<u64> = lines.iter().filter_map(|line| line["seq"].as_u64()).collect();
    assert!(numbers.len() > 100 && numbers.is_sorted_by(|one, next| *next == one + 1), "{numbers:?}");
    let printed: Vec<u64> = lines
        .iter()
        .filter_map(|line| line["text"].as_str()?.strip_prefix("line ")?.split(' ').next()?.parse().ok())
        .collect();
    assert!(printed.len() > 100 && printed.is_sorted_by(|one, next| *next == one + 1), "{printed:?}");
}

/// Whoever guessed is kept out for seconds, not for the hour that a clock was set back; sessions and keys go on.
#[tokio::test]
async fn a_panel_whose_clock_is_set_back_locks_nobody_out() {
    let Some(pair) = pair("a_panel_whose_clock_is_set_back_locks_nobody_out", 0, 0).await else { return };
    let (rest, nobody) = (pair.rest(), pair.rest().with_key(None));
    let body = json!({ "username": "guessed", "email": "guessed@example.org", "password": "correct horse battery" });
    rest.post("/api/application/users", &body).await.ok();
    let login = |password: &str| json!({ "user": "guessed", "password": password });
    let good = login("correct horse battery");
    let session = nobody.post("/api/auth/login", &good).await;
    session.ok();
    let cookie = session.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let mut guesses = 0;
    while nobody.post("/api/auth/login", &login("wrong")).await.status != 429 {
        guesses += 1;
        assert!(guesses < 20, "guessing has no end");
    }
    pair.panel.set_clock(-HOUR_S);
    pair.panel_is_at(-HOUR_S).await;
    let is_in = async {
        loop {
            let answer = nobody.post("/api/auth/login", &good).await;
            if answer.status == 200 {
                return;
            }
            let wait = answer.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap();
            assert!(answer.status == 429 && wait <= 4, "{} {wait}", answer.text);
            // sleeps: as long as the answer says
            tokio::time::sleep(std::time::Duration::from_secs(wait)).await;
        }
    };
    tokio::time::timeout(e2e::DEADLINE, is_in).await.expect("it lets nobody in");
    let request = nobody.request(reqwest::Method::GET, "/api/auth/session").header("cookie", cookie);
    assert_eq!(Rest::send(request).await.status, 200, "the session from before");
    assert_eq!(rest.get("/api/client").await.status, 200, "the key");
}

/// What could not be told before the clock was set back is told soon after, not an hour later.
#[tokio::test]
async fn a_revocation_that_waits_does_not_wait_for_an_hour() {
    let Some(mut pair) = pair("a_revocation_that_waits_does_not_wait_for_an_hour", 0, 0).await else { return };
    let server = pair.game("--rate 200").await;
    let person = Person::invited(&pair.rest(), "person", &server, RIGHTS).await;
    pair.node.kill().await;
    person.lose(Revocation::CommandsTaken).await;
    pair.panel.set_clock(-HOUR_S);
    pair.panel_is_at(-HOUR_S).await;
    pair.node.set_clock(-HOUR_S);
    pair.node.up().await;
    let told = async {
        while !pair.panel.log().contains("node told") {
            // sleeps: a log says nothing of its growing
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(e2e::DEADLINE * 2, told).await.expect("it was told");
    opens(&person, &server).await;
}
