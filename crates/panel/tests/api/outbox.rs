//! What a node must hear, it hears: also one that is away, one of the older generation, and after a restart of the panel.

use std::time::{Duration, Instant};

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
    // Side by side, in any order.
    let told = ground.node.take();
    let ended = json!({ "user": chief.user.uuid, "servers": [server] });
    assert_eq!(told.iter().filter(|asked| asked.body == ended).count(), 1, "{told:?}");
    assert_eq!(told.iter().filter(|asked| asked.line == format!("POST /api/servers/{server}/sync")).count(), 1);
    assert_eq!(told.len(), 2);
    assert_eq!(ground.get(&format!("/api/client/servers/{server}"), &chief.key).await.status, 404);

    assert_eq!(ground.ask("DELETE", &path, &ground.admin.key).await.status, 204);
    assert_eq!(ground.node.take()[0].body, json!({ "user": chief.user.uuid, "servers": [] }));
}

#[tokio::test]
async fn people_who_lose_everything_are_ended_on_nodes_of_the_older_generation_too() {
    let ground = Ground::new().await;
    let chief = ground.person("chief").await;
    let [one, two] = [ground.server("one", &ground.admin).await, ground.server("two", &ground.admin).await];
    let path = format!("/api/application/users/{}", chief.user.number);
    let set = async |admin: bool| {
        let answer = ground.send("PATCH", &path, &ground.admin.key, &json!({ "root_admin": admin })).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    ground.node.answer("POST /api/deauthorize-user", 404, Value::Null);
    let jti = async |server: wire::ids::ServerId| {
        let socket = ground.get(&format!("/api/client/servers/{server}/websocket"), &chief.key).await.json();
        let token = socket["data"]["token"].as_str().unwrap().to_owned();
        let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::HS256);
        rules.validate_aud = false;
        let key = jsonwebtoken::DecodingKey::from_secret(ground.node_token.as_bytes());
        jsonwebtoken::decode::<wire::token::Claims>(token, &key, &rules).unwrap().claims.jti
    };
    let denied = |server: wire::ids::ServerId, jti: &str| {
        (format!("POST /api/servers/{server}/ws/deny"), json!({ "jtis": [jti] }))
    };
    set(true).await;
    let mut expected = vec![denied(one, &jti(one).await), denied(two, &jti(two).await)];
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    let told = || {
        let mut told: Vec<(String, Value)> =
            ground.node.take().into_iter().map(|asked| (asked.line, asked.body)).collect();
        told.retain(|(line, _)| line.ends_with("/ws/deny"));
        told.sort_by(|a, b| a.0.cmp(&b.0));
        told
    };
    set(false).await;
    assert_eq!(told(), expected);
    // Also when the account is gone by then.
    assert_eq!(ground.ask("DELETE", &path, &ground.admin.key).await.status, 204);
    assert_eq!(told(), expected);
}

#[tokio::test]
async fn many_silent_nodes_cost_the_time_of_one() {
    let ground = Ground::new().await;
    let chief = ground.person("chief").await;
    let mut silent = Vec::new();
    for number in 0..4 {
        let node = crate::node::ScriptedNode::start().await;
        let body = json!({ "name": format!("far {number}"), "url": node.url });
        assert_eq!(ground.send("POST", "/api/application/nodes", &ground.admin.key, &body).await.status, 201);
        node.hold("POST /api/deauthorize-user");
        silent.push(node);
    }
    let path = format!("/api/application/users/{}", chief.user.number);
    let ask = ground.ask("DELETE", &path, &ground.admin.key);
    let mut asking = std::pin::pin!(ask);
    // All of them hear of it although none has answered yet.
    for node in &silent {
        tokio::select! {
            _ = node.wait_for("POST /api/deauthorize-user") => {}
            answer = &mut asking => panic!("answered before the nodes were asked: {}", answer.status),
        }
    }
    for node in &silent {
        node.release();
    }
    assert_eq!(asking.await.status, 204);
}

/// The change and the message are one: a caller that hangs up in the middle, or a panel that ends, loses nothing.
#[tokio::test]
async fn a_caller_that_hangs_up_leaves_nothing_half_done() {
    let ground = Ground::new().await;
    let friend = ground.person("friend").await;
    let server = ground.server("one", &ground.admin).await;
    ground.share(server, &friend, &["control.start"]).await;
    let one = format!("/api/client/servers/{server}/users/{}", friend.user.uuid);

    ground.node.hold("POST /api/deauthorize-user");
    {
        let mut asking = std::pin::pin!(ground.ask("DELETE", &one, &ground.admin.key));
        tokio::select! {
            _ = ground.node.wait_for("POST /api/deauthorize-user") => {}
            answer = &mut asking => panic!("answered without the node: {}", answer.status),
        }
    }
    // The handler's last step is the record: it was not dropped with the connection.
    ground.node.release();
    let record = format!("/api/client/servers/{server}/activity");
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        assert!(Instant::now() < deadline, "the handler was dropped with its connection");
        let record = ground.get(&record, &ground.admin.key).await.json();
        if record["data"][0]["attributes"]["event"] == "server:subuser.delete" {
            break;
        }
        tokio::task::yield_now().await;
    }

    // A new server: taken by the node or gone, but never in between.
    ground.node.take();
    ground.node.answer("POST /api/servers", 500, json!({ "error": "no space left" }));
    ground.node.hold("POST /api/servers");
    {
        let body = json!({ "name": "two", "command": "x" });
        let mut asking = std::pin::pin!(ground.send("POST", "/api/application/servers", &ground.admin.key, &body));
        tokio::select! {
            _ = ground.node.wait_for("POST /api/servers") => {}
            answer = &mut asking => panic!("answered without the node: {}", answer.status),
        }
    }
    let made = ground.node.take()[0].body["uuid"].as_str().unwrap().to_owned();
    assert_eq!(ground.get(&format!("/api/application/servers/{made}"), &ground.admin.key).await.status, 200);
    ground.node.release();
    ground.node.wait_for(&format!("DELETE /api/servers/{made}")).await;
    assert_eq!(ground.get(&format!("/api/application/servers/{made}"), &ground.admin.key).await.status, 404);
}

#[tokio::test]
async fn a_panel_that_is_closed_finishes_what_it_has_begun() {
    let ground = Ground::new().await;
    ground.node.answer("POST /api/servers", 500, json!({ "error": "no space left" }));
    ground.node.hold("POST /api/servers");
    {
        let body = json!({ "name": "two", "command": "x" });
        let mut asking = std::pin::pin!(ground.send("POST", "/api/application/servers", &ground.admin.key, &body));
        tokio::select! {
            _ = ground.node.wait_for("POST /api/servers") => {}
            answer = &mut asking => panic!("answered without the node: {}", answer.status),
        }
    }
    let Ground { dir, panel, node, router, admin, .. } = ground;
    let ((), ()) = tokio::join!(panel.close(), async { node.release() });
    drop(router);
    let again = panel::Panel::open(panel::Config::new(dir.path().join("panel.sqlite"))).await.unwrap();
    let list = crate::ground::Ask::new("GET", "/api/application/servers").key(&admin.key).of(&again.router()).await;
    assert_eq!(list.json()["data"], json!([]));
    again.close().await;
}
