//! The console conversation on the shipped program: every event of the public documents and of protocol reference §3.5 and §4.
#![allow(clippy::unwrap_used, clippy::doc_markdown, clippy::print_stdout, missing_docs)]

use e2e::socket::Heard;
use e2e::token::{claims, now_s, sign};
use e2e::{Deck, Socket};
use serde_json::{Value, json};
use wire::server::Stats;

/// The whole of the public documents in one sitting: each thing a client may send, each thing it will receive.
#[tokio::test]
async fn everything_the_public_documents_promise() {
    let deck = Deck::new().await;
    let server = deck.game("--echo-stdin", json!({ "ready": ")! For help, type", "stop": "stop" })).await;
    let mut console = Socket::console(&deck, &server).await;
    assert_eq!(console.heard, [Heard::bare("auth success")]);
    assert_eq!(console.next().await, Heard::event("status", "offline"));
    let sample = console.next().await;
    let stats: Stats = serde_json::from_str(sample.arg_of("stats").unwrap()).unwrap();
    assert_eq!((stats.memory_bytes, stats.uptime), (0, 0));

    console.say("set state", &json!(["start"])).await;
    console.status("starting").await;
    console.status("running").await;
    console
        .wait_for("a sample of the running game", |heard| {
            heard.arg_of("stats").is_some_and(|text| {
                let stats: Value = serde_json::from_str(text).unwrap();
                stats["state"] == "running"
                    && stats["memory_bytes"].as_u64() > Some(0)
                    && stats["uptime"].as_u64() > Some(0)
            })
        })
        .await;

    console.say("send command", &json!(["hello there"])).await;
    console.line("cmd: hello there").await;
    console.say("send logs", &json!([null])).await;
    console.line("Done (0.000s)! For help, type").await;
    console.line("cmd: hello there").await;
    console.say("send stats", &json!([null])).await;
    console.wait_for("stats", |heard| heard.is("stats")).await;

    console.say("set state", &json!(["stop"])).await;
    console.status("stopping").await;
    console.status("offline").await;
    console
        .wait_for("the last sample", |heard| {
            heard
                .arg_of("stats")
                .is_some_and(|text| text.contains("\"state\":\"offline\"") && text.contains("\"uptime\":0"))
        })
        .await;
}

/// The stats event is a JSON document in a string, with every member clients parse.
#[tokio::test]
async fn stats_have_all_members_with_the_right_types() {
    let deck = Deck::new().await;
    let mut console = Socket::console(&deck, deck.demo()).await;
    console.say("send stats", &json!([null])).await;
    let heard = console.wait_for("stats", |heard| heard.is("stats")).await;
    let stats: Value = serde_json::from_str(heard.arg_of("stats").unwrap()).unwrap();
    for member in ["memory_bytes", "memory_limit_bytes", "uptime", "disk_bytes"] {
        assert!(stats[member].is_u64(), "{member}: {stats}");
    }
    assert!(stats["cpu_absolute"].is_f64() && stats["state"].is_string(), "{stats}");
    assert!(stats["network"]["rx_bytes"].is_u64() && stats["network"]["tx_bytes"].is_u64(), "{stats}");
}

/// A second `auth` on the same socket brings `auth success` and nothing else.
#[tokio::test]
async fn a_renewal_is_answered_by_auth_success_alone() {
    let deck = Deck::new().await;
    let server = deck.game("", json!({})).await;
    let mut console = Socket::console(&deck, &server).await;
    console.settle().await;
    let before = console.heard.len();
    let (token, _) = deck.credentials(&server).await;
    console.say("auth", &json!([token])).await;
    console.settle().await;
    assert_eq!(console.heard[before], Heard::bare("auth success"));
    assert_eq!(console.heard.len(), before + 2, "{:?}", &console.heard[before..]);
}

/// Two clients see the same lines; what one types the other sees.
#[tokio::test]
async fn all_viewers_see_the_same_lines_in_the_same_order() {
    let deck = Deck::new().await;
    let server = deck.game("--obey", json!({ "ready": "Done" })).await;
    let mut first = Socket::console(&deck, &server).await;
    let mut second = Socket::console(&deck, &server).await;
    first.say("set state", &json!(["start"])).await;
    second.status("running").await;
    first.say("send command", &json!(["burst 500"])).await;
    first.line("line 499").await;
    second.line("line 499").await;
    assert_eq!(first.lines(), second.lines());
    let numbered: Vec<_> = first.lines().into_iter().filter(|line| line.starts_with("line ")).collect();
    let expected: Vec<_> = (0..500).map(|n| format!("line {n}")).collect();
    assert_eq!(numbered, expected);
}

/// `send logs` answers for a stopped server with the last lines of its last run.
#[tokio::test]
async fn a_stopped_server_still_shows_its_last_lines() {
    let deck = Deck::new().await;
    let server = deck.game("--lines 400 --exit-when-done", json!({})).await;
    let mut console = Socket::console(&deck, &server).await;
    console.say("set state", &json!(["start"])).await;
    console.line("line 399").await;
    console.status("offline").await;
    let mut late = Socket::console(&deck, &server).await;
    late.say("send logs", &json!([null])).await;
    late.line("line 399").await;
    late.settle().await;
    let lines = late.lines();
    assert_eq!(lines.len(), 150, "as many as the node promises");
    assert!(lines.contains(&"line 300"));
}

/// `token expiring` at 60 and 30 seconds before the end, a real `token expired`, silence, and a renewal that heals it.
#[tokio::test]
async fn a_token_expires_in_the_promised_order_and_a_renewal_heals_it() {
    let deck = Deck::new().await;
    let key = deck.learn_node_token().await;
    let server = deck.game("--rate 50", json!({ "start": false })).await;
    let (_, url) = deck.credentials(&server).await;
    let mut short = claims(&server);
    short.exp = Some(now_s() + 2);
    let mut console = Socket::open(&url, None).await.unwrap();
    console.say("auth", &json!([sign(&short, &key)])).await;
    console.wait_for("auth success", |heard| heard.is("auth success")).await;
    // Less than 30 seconds are left: the notice is due at once.
    console.wait_for("token expiring", |heard| *heard == Heard::bare("token expiring")).await;
    console.say("set state", &json!(["start"])).await;
    console.line("line 10").await;
    console.wait_for("token expired", |heard| *heard == Heard::bare("token expired")).await;
    let silent_from = console.heard.len();
    console.say("send stats", &json!([null])).await;
    let answer = console.next().await;
    assert_eq!(answer, Heard::event("jwt error", "jwt: exp claim is invalid"));
    console.say("auth", &json!([sign(&claims(&server), &key)])).await;
    console.wait_for("auth success", |heard| heard.is("auth success")).await;
    assert_eq!(
        console.heard.len(),
        silent_from + 2,
        "nothing but the answer while expired: {:?}",
        &console.heard[silent_from..]
    );
    // Nothing was lost meanwhile: the numbers go on where they stopped.
    let shown = console.lines().iter().filter(|line| line.starts_with("line ")).count();
    console.line(&format!("line {shown}")).await;
    console.line(&format!("line {}", shown + 50)).await;
    let numbered: Vec<_> =
        console.lines().into_iter().filter(|line| line.starts_with("line ")).map(str::to_owned).collect();
    let expected: Vec<_> = (0..numbered.len()).map(|n| format!("line {n}")).collect();
    assert_eq!(numbered, expected);
}

/// Every failed `auth` and its answer (protocol reference §3.5), each on a socket of its own that stays open.
#[tokio::test]
async fn every_way_to_fail_an_auth_has_its_answer() {
    let deck = Deck::new().await;
    let key = deck.learn_node_token().await;
    let server = deck.game("", json!({})).await;
    let (_, url) = deck.credentials(&server).await;
    let with = |change: &dyn Fn(&mut wire::token::Claims)| {
        let mut changed = claims(&server);
        change(&mut changed);
        sign(&changed, &key)
    };
    let none_alg =
        format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.", sign(&claims(&server), &key).split('.').nth(1).unwrap());
    let not_accepted = "this token was not accepted; get a new one";
    let table: Vec<(&str, String, &str, &str)> = vec![
        ("expired", with(&|c| c.exp = Some(now_s() - 1)), "jwt error", "jwt: exp claim is invalid"),
        ("no exp", with(&|c| c.exp = None), "jwt error", "jwt: exp claim is invalid"),
        (
            "from before the boot",
            with(&|c| c.iat = Some(now_s() - 3600)),
            "jwt error",
            "jwt: created too far in past (denylist)",
        ),
        ("no iat", with(&|c| c.iat = None), "jwt error", "jwt: created too far in past (denylist)"),
        ("another server", with(&|c| c.server_uuid = deck.demo().to_owned()), "jwt error", "jwt: server uuid mismatch"),
        (
            "no connect",
            with(&|c| c.permissions = vec!["control.console".into()]),
            "jwt error",
            "jwt: missing connect permission",
        ),
        ("no scope", with(&|c| c.scope = "file-download".into()), "jwt error", "jwt: missing connect permission"),
        ("bad signature", sign(&claims(&server), "another key"), "daemon error", not_accepted),
        ("alg none", none_alg, "daemon error", not_accepted),
        ("garbage", "garbage".to_owned(), "daemon error", not_accepted),
        ("nothing", String::new(), "daemon error", not_accepted),
    ];
    for (name, token, event, text) in table {
        let mut socket = Socket::open(&url, None).await.unwrap();
        socket.say("auth", &json!([token])).await;
        let heard = socket.next().await;
        let arg = heard.arg_of(event).unwrap_or_else(|| panic!("{name}: {heard:?}"));
        let (head, rest) = arg.split_once("]: ").unwrap_or_else(|| panic!("{name}: {arg}"));
        assert!(head.starts_with("Error Event [") && rest == text, "{name}: {arg}");
        // The socket is still good for a proper token.
        socket.say("auth", &json!([sign(&claims(&server), &key)])).await;
        assert_eq!(socket.next().await, Heard::bare("auth success"), "{name}");
    }
}

/// Permissions are decided on the node, for each event (§4.4); a refusal says why.
#[tokio::test]
async fn what_a_token_does_not_grant_is_refused_with_a_reason() {
    let deck = Deck::new().await;
    let key = deck.learn_node_token().await;
    let server = deck.game("--echo-stdin", json!({ "ready": "Done", "stop": "stop" })).await;
    let (_, url) = deck.credentials(&server).await;
    let mut owner = Socket::console(&deck, &server).await;
    owner.say("set state", &json!(["start"])).await;
    owner.status("running").await;
    let mut viewer_claims = claims(&server);
    viewer_claims.permissions = vec!["websocket.connect".into()];
    let mut viewer = Socket::open(&url, None).await.unwrap();
    viewer.say("auth", &json!([sign(&viewer_claims, &key)])).await;
    viewer.status("running").await;
    for (event, arg) in
        [("send command", "hello"), ("set state", "start"), ("set state", "stop"), ("set state", "restart")]
    {
        viewer.say(event, &json!([arg])).await;
        let heard = viewer.wait_for("a refusal", |heard| heard.is("daemon error")).await;
        assert!(heard.arg_of("daemon error").unwrap().contains("permission"), "{event} {arg}: {heard:?}");
    }
    owner.say("send command", &json!(["still here"])).await;
    viewer.line("cmd: still here").await;
    assert!(!viewer.lines().iter().any(|line| line.contains("cmd: hello")));
}
