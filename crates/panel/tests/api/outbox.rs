//! What a node must hear, it hears: also one that is away, one of the older generation, and after a restart of the panel.

use serde_json::{Value, json};

use crate::ground::Ground;

async fn narrowed(ground: &Ground, server: wire::ids::ServerId, who: &crate::ground::Person, permissions: &[&str]) {
    let path = format!("/api/client/servers/{server}/users/{}", who.user.uuid);
    let answer = ground.send("POST", &path, &ground.admin.key, &json!({ "permissions": permissions })).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn a_node_that_is_away_is_told_when_it_is_back() {
    let mut ground = Ground::new().await;
    let friend = ground.person("friend").await;
    let server = ground.server("one", &ground.admin).await;
    let doomed = ground.server("two", &ground.admin).await;
    ground.share(server, &friend, &["control.start", "control.stop"]).await;
    ground.node.stop().await;
    // Each of these is done for the caller, although the node does not know yet.
    narrowed(&ground, server, &friend, &["control.start"]).await;
    narrowed(&ground, server, &friend, &[]).await;
    ground.suspend(server).await;
    assert_eq!(
        ground.ask("DELETE", &format!("/api/application/servers/{doomed}"), &ground.admin.key).await.status,
        204
    );
    ground.node.take();
    ground.node.restart().await;
    let told = ground.node.wait_for("POST /api/deauthorize-user").await;
    assert_eq!(told.body, json!({ "user": friend.user.uuid, "servers": [server] }));
    ground.node.wait_for(&format!("POST /api/servers/{server}/sync")).await;
    ground.node.wait_for(&format!("DELETE /api/servers/{doomed}")).await;
    // Two changes of one person's rights on one server are one message.
    let lines = ground.node.take_lines();
    assert_eq!(lines.iter().filter(|line| line.contains("deauthorize")).count(), 1, "{lines:?}");
}

#[tokio::test]
async fn what_waits_survives_a_restart_of_the_panel() {
    let mut ground = Ground::new().await;
    let friend = ground.person("friend").await;
    let server = ground.server("one", &ground.admin).await;
    ground.share(server, &friend, &["control.start"]).await;
    ground.node.stop().await;
    narrowed(&ground, server, &friend, &[]).await;
    let Ground { dir, panel, mut node, .. } = ground;
    panel.close().await;
    node.restart().await;
    node.take();
    let again = panel::Panel::open(panel::Config::new(dir.path().join("panel.sqlite"))).await.unwrap();
    let told = node.wait_for("POST /api/deauthorize-user").await;
    assert_eq!(told.body["user"], json!(friend.user.uuid));
    again.close().await;
}

#[tokio::test]
async fn a_node_of_the_older_generation_is_told_by_token_id() {
    let ground = Ground::new().await;
    let friend = ground.person("friend").await;
    let server = ground.server("one", &ground.admin).await;
    ground.share(server, &friend, &["control.start"]).await;
    for status in [404, 405] {
        ground.node.take();
        ground.node.answer("POST /api/deauthorize-user", status, Value::Null);
        let socket = ground.get(&format!("/api/client/servers/{server}/websocket"), &friend.key).await.json();
        let token = socket["data"]["token"].as_str().unwrap();
        let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::HS256);
        rules.validate_aud = false;
        let key = jsonwebtoken::DecodingKey::from_secret(ground.node_token.as_bytes());
        let jti = jsonwebtoken::decode::<wire::token::Claims>(token, &key, &rules).unwrap().claims.jti;
        narrowed(&ground, server, &friend, if status == 404 { &["control.stop"] } else { &[] }).await;
        let asked = ground.node.take();
        let lines: Vec<&str> = asked.iter().map(|asked| asked.line.as_str()).collect();
        assert_eq!(lines, ["POST /api/deauthorize-user", &format!("POST /api/servers/{server}/ws/deny")]);
        // The very id that the person's tokens carry.
        assert_eq!(asked[1].body, json!({ "jtis": [jti] }));
    }
}

#[tokio::test]
async fn a_node_that_fails_is_asked_again() {
    let ground = Ground::new().await;
    let server = ground.server("one", &ground.admin).await;
    let line = format!("POST /api/servers/{server}/sync");
    ground.node.answer(&line, 500, json!({ "error": "busy" }));
    ground.suspend(server).await;
    assert_eq!(ground.node.take_lines(), [line.clone()]);
    ground.node.wait_for(&line).await;
    ground.node.take();
    ground.node.recover();
    ground.node.wait_for(&line).await;
}

#[tokio::test]
async fn people_who_lose_everything_are_ended_on_every_node() {
    let ground = Ground::new().await;
    let chief = ground.person("chief").await;
    let server = ground.server("one", &chief).await;
    let path = format!("/api/application/users/{}", chief.user.number);
    let set = async |body: Value| {
        let answer = ground.send("PATCH", &path, &ground.admin.key, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        ground.node.take()
    };
    assert_eq!(set(json!({ "root_admin": true })).await, []);
    let told = set(json!({ "root_admin": false })).await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].body, json!({ "user": chief.user.uuid, "servers": [] }));

    // A new owner: the old one is out, the node fetches the definition.
    let body = json!({ "user": "admin", "name": "renamed" });
    let done =
        ground.send("PATCH", &format!("/api/application/servers/{server}/details"), &ground.admin.key, &body).await;
    assert_eq!((done.status, &done.json()["attributes"]["user"]), (200, &json!(1)));
    let told = ground.node.take();
    assert_eq!(told[0].body, json!({ "user": chief.user.uuid, "servers": [server] }));
    assert_eq!(told[1].line, format!("POST /api/servers/{server}/sync"));
    assert_eq!(ground.get(&format!("/api/client/servers/{server}"), &chief.key).await.status, 404);

    assert_eq!(ground.ask("DELETE", &path, &ground.admin.key).await.status, 204);
    assert_eq!(ground.node.take()[0].body, json!({ "user": chief.user.uuid, "servers": [] }));
}
