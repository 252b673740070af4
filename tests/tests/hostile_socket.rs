//! What strangers and broken clients send to a console socket, and the exact answer to each.
#![allow(clippy::unwrap_used, clippy::doc_markdown, clippy::print_stdout, missing_docs)]

use std::time::Duration;

use e2e::socket::Heard;
use e2e::{Deck, Rest, Socket};
use reqwest::Method;
use serde_json::json;
use tokio_tungstenite::tungstenite::{Error, Message};

async fn connected() -> (Deck, String, String) {
    let deck = Deck::new().await;
    let server = deck.game("--echo-stdin", json!({ "ready": "Done", "stop": "stop" })).await;
    let (_, url) = deck.credentials(&server).await;
    (deck, server, url)
}

/// Silently ignored, before and after auth: the socket goes on as if nothing had been said.
#[tokio::test]
async fn what_is_no_message_is_ignored() {
    let (deck, server, _) = connected().await;
    let mut console = Socket::console(&deck, &server).await;
    console.settle().await;
    let before = console.heard.len();
    let deep = format!("{{\"event\":\"send stats\",\"args\":{}{}}}", "[".repeat(500), "]".repeat(500));
    for frame in ["garbage", "ping", "", "{", "[]", "null", "{\"event\":5}", "{\"args\":[]}", &deep] {
        console.text(frame).await;
    }
    for args in [json!([1]), json!([{}]), json!({}), json!(7)] {
        console.say("send command", &args).await;
    }
    console.message(Message::binary(vec![1u8, 2, 3])).await;
    console.say("no such event", &json!(["x"])).await;
    console.settle().await;
    let answers = &console.heard[before..console.heard.len() - 1];
    assert!(answers.iter().all(|heard| heard.is("throttled")), "{answers:?}");
}

/// A message before auth is told that there is no token.
#[tokio::test]
async fn a_message_before_auth_gets_a_jwt_error() {
    let (_deck, _, url) = connected().await;
    let mut socket = Socket::open(&url, None).await.unwrap();
    for event in ["send logs", "send stats", "no such event"] {
        socket.say(event, &json!([null])).await;
        assert_eq!(socket.next().await, Heard::event("jwt error", "jwt: no jwt present"), "{event}");
    }
}

/// A frame above the limit closes the connection with 1009.
#[tokio::test]
async fn a_frame_over_the_limit_is_closed_with_1009() {
    let (deck, server, url) = connected().await;
    let mut socket = Socket::open(&url, None).await.unwrap();
    socket.text(&"x".repeat(100_000)).await;
    assert_eq!(socket.end().await, Heard::Closed(1009, "message too big".into()));
    let mut console = Socket::console(&deck, &server).await;
    console.say("send command", &json!(["y".repeat(100_000)])).await;
    assert_eq!(console.end().await, Heard::Closed(1009, "message too big".into()));
}

/// A thousand messages at once: discarded beyond the limits, announced once a period, and the same socket lives on.
#[tokio::test]
async fn a_thousand_messages_are_throttled_and_survived() {
    let (deck, server, _) = connected().await;
    let mut console = Socket::console(&deck, &server).await;
    let started = tokio::time::Instant::now();
    for n in 0..1000 {
        console.say("send command", &json!([format!("n{n}")])).await;
    }
    // What is asked now is discarded as well until there is room again: asked anew until it is answered.
    let answered = |heard: &Heard| heard.arg_of("daemon error").is_some_and(|text| text.contains("no power action"));
    while !console.heard.iter().any(answered) {
        console.say("set state", &json!(["still there?"])).await;
        console.hear_for(Duration::from_millis(250)).await;
    }
    // There is room for one message every 200 ms, and each discarded one after one that passed is a new period.
    let periods = 2 + 2 * started.elapsed().as_millis() / 200;
    let throttled: Vec<_> = console.heard.iter().filter_map(|heard| heard.arg_of("throttled")).collect();
    assert!(throttled.iter().all(|name| ["send command", "global", "set state"].contains(name)), "{throttled:?}");
    assert!((1..=periods).contains(&(throttled.len() as u128)), "{throttled:?} in {:?}", started.elapsed());
}

/// A command of the largest size reaches the game whatever JSON makes of it.
#[tokio::test]
async fn the_largest_commands_fit_into_a_frame() {
    let (deck, server, _) = connected().await;
    let mut console = Socket::console(&deck, &server).await;
    console.say("set state", &json!(["start"])).await;
    console.status("running").await;
    for (spelled, typed) in [(r#"\""#, "\"".repeat(4096)), (r"\u0436", "\u{436}".repeat(2048))] {
        let arg = spelled.repeat(typed.chars().count());
        console.text(&format!(r#"{{"event":"send command","args":["{arg}"]}}"#)).await;
        assert_eq!(console.line(&format!("cmd: {}", &typed[..64])).await, format!("cmd: {typed}"));
    }
}

/// Somebody who connects and says nothing is closed with 1008 after the time for auth.
#[tokio::test]
async fn never_authenticating_is_closed_with_1008() {
    let (_deck, _, url) = connected().await;
    let mut socket = Socket::open(&url, None).await.unwrap();
    let started = tokio::time::Instant::now();
    let end = socket.wait_for_end(Duration::from_mins(1)).await;
    assert_eq!(end, Heard::Closed(1008, "no auth in time".into()));
    assert!(started.elapsed() >= Duration::from_secs(29), "not before the promised time: {:?}", started.elapsed());
}

/// Several wrong tokens in a row are closed with 1008.
#[tokio::test]
async fn guessing_tokens_is_closed_with_1008() {
    let (_deck, _, url) = connected().await;
    let mut socket = Socket::open(&url, None).await.unwrap();
    for _ in 0..200 {
        socket.say("auth", &json!(["guess"])).await;
        // The throttle discards most guesses; the clock refills it.
        match socket.next().await {
            Heard::Closed(1008, _) => return,
            Heard::Dropped => panic!("dropped without a close frame"),
            _ => {}
        }
    }
    panic!("never closed");
}

/// The commands that never reach a game, and why.
#[tokio::test]
async fn bad_commands_are_refused_with_a_reason() {
    let (deck, server, _) = connected().await;
    let mut console = Socket::console(&deck, &server).await;
    let refused = async |console: &mut Socket, command: &str, part: &str| {
        console.say("send command", &json!([command])).await;
        let heard = console.wait_for("a refusal", |heard| heard.is("daemon error")).await;
        let text = heard.arg_of("daemon error").unwrap().to_owned();
        assert!(text.contains(part), "{command:?}: {text}");
    };
    refused(&mut console, "hello", "]: the server is offline; start it first").await;
    console.say("set state", &json!(["start"])).await;
    console.status("running").await;
    refused(&mut console, "a\u{1b}[2Jb", "control character").await;
    refused(&mut console, "a\u{0}b", "control character").await;
    refused(&mut console, &"x".repeat(5000), "4096").await;
    console.say("send command", &json!(["good\r\n"])).await;
    console.line("cmd: good").await;
}

/// An unknown power word and a power action out of turn are answered.
#[tokio::test]
async fn power_actions_that_cannot_be_are_refused_with_a_reason() {
    let (deck, server, _) = connected().await;
    let mut console = Socket::console(&deck, &server).await;
    console.say("set state", &json!(["explode"])).await;
    console.wait_for("a refusal", |heard| heard.is("daemon error")).await;
    console.say("set state", &json!(["start"])).await;
    console.status("running").await;
    console.say("set state", &json!(["start"])).await;
    let heard = console.wait_for("a refusal", |heard| heard.is("daemon error")).await;
    assert!(heard.arg_of("daemon error").unwrap().contains("already running"), "{heard:?}");
}

/// What the handshake refuses: unknown servers, foreign pages, short ids; a query and an Authorization header are not heeded.
#[tokio::test]
async fn the_handshake_refuses_strangers_and_heeds_nothing_else() {
    let (deck, server, url) = connected().await;
    let status = |result: Result<Socket, Box<Error>>| match result.map_err(|error| *error) {
        Err(Error::Http(answer)) => answer.status().as_u16(),
        Ok(_) => 101,
        Err(error) => panic!("{error}"),
    };
    let unknown = url.replace(&server, "11111111-2222-3333-4444-555555555555");
    assert_eq!(status(Socket::open(&unknown, None).await), 404);
    assert_eq!(status(Socket::open(&url.replace(&server, &server[..8]), None).await), 404);
    assert_eq!(status(Socket::open(&url, Some("https://evil.example")).await), 403);
    assert_eq!(status(Socket::open(&url, Some(deck.url())).await), 101);
    assert_eq!(status(Socket::open(&format!("{url}?token=whatever"), None).await), 101);
    let plain = Rest::send(deck.rest().request(Method::GET, &format!("/api/servers/{server}/ws"))).await;
    assert!((400..500).contains(&plain.status), "{}", plain.text);
    assert!(plain.json["error"].is_string(), "{}", plain.text);
}

/// A token from before a restart of the node is refused with the text that makes clients renew.
#[tokio::test]
async fn a_token_from_before_a_restart_is_refused_and_renewable() {
    let (mut deck, server, url) = connected().await;
    let (token, _) = deck.credentials(&server).await;
    // The boot rule counts in whole seconds: a restart within the second of the token could not tell.
    let minted = e2e::token::now_s();
    while e2e::token::now_s() <= minted {
        std::hint::spin_loop();
    }
    deck.kill().await;
    deck.up_again().await;
    let mut socket = Socket::open(&url, None).await.unwrap();
    socket.say("auth", &json!([token])).await;
    let heard = socket.next().await;
    assert!(heard.arg_of("jwt error").unwrap().ends_with("jwt: created too far in past (denylist)"), "{heard:?}");
}

/// Denying a token, or a user, ends their connections with a code that says come back, and no other's.
#[tokio::test]
async fn deauthorizing_a_user_closes_their_sockets_with_1008() {
    let (deck, server, url) = connected().await;
    let node_key = deck.learn_node_token().await;
    let node = deck.rest().with_key(Some(&node_key));
    let claims = e2e::token::claims(&server);
    let mut theirs = Socket::open(&url, None).await.unwrap();
    theirs.say("auth", &json!([e2e::token::sign(&claims, &node_key)])).await;
    theirs.status("offline").await;
    let mut ours = Socket::console(&deck, &server).await;
    let denied = node.post("/api/deauthorize-user", &json!({ "user": claims.user_uuid, "servers": [server] })).await;
    assert_eq!(denied.status, 204);
    assert!(matches!(theirs.end().await, Heard::Closed(1008, _)));
    ours.settle().await;
    let mut again = Socket::open(&url, None).await.unwrap();
    again.say("auth", &json!([e2e::token::sign(&claims, &node_key)])).await;
    let heard = again.next().await;
    assert!(heard.arg_of("jwt error").unwrap().ends_with("jwt: created too far in past (denylist)"), "{heard:?}");

    let mut by_jti = Socket::open(&url, None).await.unwrap();
    let claims = e2e::token::claims(&server);
    by_jti.say("auth", &json!([e2e::token::sign(&claims, &node_key)])).await;
    by_jti.status("offline").await;
    let denied = node.post(&format!("/api/servers/{server}/ws/deny"), &json!({ "jtis": [claims.jti] })).await;
    assert_eq!(denied.status, 204);
    assert!(matches!(by_jti.end().await, Heard::Closed(1008, _)));
}

/// Suspension closes with 4409, at once and at the door; deletion says `deleted` and closes with 1001.
#[tokio::test]
async fn suspension_and_deletion_reach_everybody() {
    let (deck, server, url) = connected().await;
    let mut console = Socket::console(&deck, &server).await;
    let id = deck.rest().get(&format!("/api/application/servers/{server}")).await.ok()["attributes"]["id"].clone();
    let answer = deck.rest().post(&format!("/api/application/servers/{id}/suspend"), &json!({})).await;
    assert_eq!(answer.status, 204, "{}", answer.text);
    assert_eq!(console.end().await, Heard::Closed(4409, "server is suspended".into()));
    let mut refused = Socket::open(&url, None).await.unwrap();
    assert_eq!(refused.end().await, Heard::Closed(4409, "server is suspended".into()));
    deck.rest().post(&format!("/api/application/servers/{id}/unsuspend"), &json!({})).await.ok();

    let mut console = Socket::console(&deck, &server).await;
    let answer = deck.rest().delete(&format!("/api/application/servers/{id}/force")).await;
    assert_eq!(answer.status, 204, "{}", answer.text);
    console.wait_for("deleted", |heard| *heard == Heard::event("deleted", "null")).await;
    assert_eq!(console.end().await, Heard::Closed(1001, "server deleted".into()));
    assert!(!deck.files(&server).exists());
}

/// More connections of one user to one server than allowed: the one too many is told so and closed with 1013.
#[tokio::test]
async fn one_connection_too_many_is_told_so() {
    let (deck, server, url) = connected().await;
    let node_key = deck.learn_node_token().await;
    let token = e2e::token::sign(&e2e::token::claims(&server), &node_key);
    let mut open = Vec::new();
    for _ in 0..64 {
        let mut socket = Socket::open(&url, None).await.unwrap();
        socket.say("auth", &json!([token])).await;
        socket.status("offline").await;
        open.push(socket);
    }
    let mut extra = Socket::open(&url, None).await.unwrap();
    extra.say("auth", &json!([token])).await;
    let heard = extra.wait_for("the reason", |heard| heard.is("daemon error")).await;
    assert!(heard.arg_of("daemon error").unwrap().contains("64 connections"), "{heard:?}");
    assert!(matches!(extra.end().await, Heard::Closed(1013, _)));
    open.pop().unwrap().close().await;
    let mut next = Socket::console(&deck, &server).await;
    next.settle().await;
}
