//! The node's own HTTP API as its panel uses it, and what it says to everybody else.
#![allow(clippy::unwrap_used, clippy::doc_markdown, missing_docs)]

use e2e::{Answer, Deck, Rest, Socket};
use reqwest::Method;
use serde_json::{Value, json};

async fn node_of(deck: &Deck) -> Rest {
    let token = deck.learn_node_token().await;
    deck.rest().with_key(Some(&token))
}

/// The status, and that the body is the node's error envelope with a sentence and the request's id.
fn refused(answer: &Answer) -> u16 {
    assert!(answer.json["error"].as_str().is_some_and(|text| text.len() > 10), "{}", answer.text);
    let id = answer.headers.get("x-request-id").unwrap().to_str().unwrap();
    assert_eq!(answer.json["request_id"], id);
    answer.status
}

#[tokio::test]
async fn strangers_are_told_to_identify_themselves() {
    let deck = Deck::new().await;
    let server = deck.game("", json!({})).await;
    let paths =
        ["/api/system", "/api/servers", &format!("/api/servers/{server}"), &format!("/api/servers/{server}/logs")];
    for path in paths {
        let none = deck.rest().with_key(None).get(path).await;
        assert_eq!(refused(&none), 401, "{path}");
        assert_eq!(none.headers.get("www-authenticate").unwrap(), "Bearer");
        assert_eq!(refused(&deck.rest().get(path).await), 403, "a panel's key is not the node's: {path}");
        assert_eq!(refused(&deck.rest().with_key(Some("x")).get(path).await), 403, "{path}");
    }
    for (method, path) in [
        (Method::POST, format!("/api/servers/{server}/power")),
        (Method::POST, format!("/api/servers/{server}/commands")),
        (Method::POST, "/api/deauthorize-user".to_owned()),
        (Method::DELETE, format!("/api/servers/{server}")),
    ] {
        let answer = Rest::send(deck.rest().with_key(None).request(method.clone(), &path).json(&json!({}))).await;
        assert_eq!(refused(&answer), 401, "{method} {path}");
    }
    let node_token = deck.learn_node_token().await;
    let swapped = deck.rest().with_key(Some(&node_token)).get("/api/client").await;
    assert_eq!(swapped.error().0, 401, "the node's secret opens nothing at the panel");
}

#[tokio::test]
async fn bad_requests_of_a_panel_are_named() {
    let deck = Deck::new().await;
    let node = node_of(&deck).await;
    let server = deck.game("", json!({})).await;
    let at = |path: &str| format!("/api/servers/{server}{path}");
    let unknown = "/api/servers/11111111-2222-3333-4444-555555555555";
    assert_eq!(refused(&node.get(unknown).await), 404);
    assert_eq!(refused(&node.get("/api/servers/not-a-uuid").await), 404);
    assert_eq!(refused(&node.get(&format!("/api/servers/{}", &server[..8])).await), 404, "full uuids only");
    assert_eq!(refused(&Rest::send(node.request(Method::PATCH, "/api/system")).await), 405);
    assert_eq!(refused(&node.post(&at("/power"), &json!({ "action": "explode" })).await), 422);
    assert_eq!(refused(&node.post(&at("/power"), &json!({})).await), 422);
    let below = node.post(&at("/power"), &json!({ "action": "stop", "wait_seconds": -1 })).await;
    assert_eq!(below.status, 202, "a wait out of range is the default: {}", below.text);
    let broken = node.request(Method::POST, &at("/power")).header("Content-Type", "application/json").body("{");
    assert_eq!(refused(&Rest::send(broken).await), 422);
    // A little more than may be: what is left of it when it is refused is taken, so that the answer is not lost with the connection.
    let huge = json!({ "commands": ["x".repeat(256 * 1024)] });
    assert_eq!(refused(&node.post(&at("/commands"), &huge).await), 413);
    assert_eq!(refused(&node.post(&at("/commands"), &json!({ "commands": ["hello"] })).await), 502, "it is offline");
    assert_eq!(refused(&node.post(&at("/commands"), &json!({ "commands": [] })).await), 502, "so it is for none");
    assert_eq!(refused(&node.post(&at("/commands"), &json!({ "commands": ["a\u{1b}b"] })).await), 422);
    let stranger = json!({ "uuid": "11111111-2222-3333-4444-555555555555" });
    assert_eq!(refused(&node.post("/api/servers", &stranger).await), 422, "the panel does not know it either");
}

#[tokio::test]
async fn a_panel_sees_and_steers_its_servers() {
    let deck = Deck::new().await;
    let node = node_of(&deck).await;
    let system = node.get("/api/system").await;
    assert!(
        system.ok()["cpu_count"].as_u64() >= Some(1) && system.json["isolation"]["active"].is_array(),
        "{}",
        system.text
    );
    assert!(system.headers.get("user-agent").unwrap().to_str().unwrap().starts_with("Quarterdeck/v"));
    let server = deck.game("--echo-stdin", json!({ "ready": "Done", "stop": "stop" })).await;
    let at = |path: &str| format!("/api/servers/{server}{path}");
    let listed = node.get("/api/servers").await;
    assert!(listed.ok().as_array().unwrap().iter().any(|entry| entry["configuration"]["uuid"] == server.as_str()));
    let mut console = Socket::console(&deck, &server).await;
    assert_eq!(node.post(&at("/power"), &json!({ "action": "start" })).await.status, 202);
    console.status("running").await;
    assert_eq!(refused(&node.post(&at("/power"), &json!({ "action": "start" })).await), 409, "it runs already");
    let sent = node.post(&at("/commands"), &json!({ "commands": ["one", "two"] })).await;
    assert_eq!((sent.status, sent.text.as_str()), (204, ""));
    console.line("cmd: one").await;
    console.line("cmd: two").await;
    let logs = node.get(&at("/logs?size=2")).await;
    assert_eq!(logs.ok()["data"].as_array().unwrap().len(), 2);
    let logs = node.get(&at("/logs")).await;
    assert!(logs.ok()["data"].as_array().unwrap().contains(&json!("cmd: two")), "{}", logs.text);
    let details: Value = node.get(&at("")).await.ok().clone();
    assert_eq!((&details["state"], &details["is_suspended"]), (&json!("running"), &json!(false)));
    assert_eq!(node.post(&at("/sync"), &Value::Null).await.status, 204);
    // A start that waits for the stop under way.
    assert_eq!(node.post(&at("/power"), &json!({ "action": "stop" })).await.status, 202);
    let waited = node.post(&at("/power"), &json!({ "action": "start", "wait_seconds": 30 })).await;
    assert_eq!(waited.status, 202, "{}", waited.text);
    console.status("offline").await;
    console.status("running").await;
    assert_eq!(node.post(&at("/power"), &json!({ "action": "kill" })).await.status, 202);
    console.status("offline").await;
    assert_eq!(Rest::send(node.request(Method::DELETE, &at(""))).await.status, 204);
    assert_eq!(refused(&node.get(&at("")).await), 404);
}
