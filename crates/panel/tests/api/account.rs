//! The caller's account and keys.

use serde_json::{Value, json};

use crate::ground::{Ground, pairs};

#[tokio::test]
async fn the_account() {
    let ground = Ground::new().await;
    let expected = json!({ "object": "user", "attributes": { "id": 1, "admin": true, "username": "admin",
        "email": "admin@example.org", "first_name": "", "last_name": "", "language": "en" } });
    assert_eq!(ground.get("/api/client/account", &ground.admin.key).await.json(), expected);
    let friend = ground.person("friend").await;
    let body = ground.get("/api/client/account", &friend.key).await.json();
    assert_eq!((&body["attributes"]["id"], &body["attributes"]["admin"]), (&json!(2), &json!(false)));
}

#[tokio::test]
async fn a_key_from_its_making_to_its_end() {
    let ground = Ground::new().await;
    let friend = ground.person("friend").await;
    let path = "/api/client/account/api-keys";
    let body = json!({ "description": " my bot ", "allowed_ips": ["127.0.0.1", "10.0.0.0/8", "1.2.3.4-1.2.3.9"] });
    let made = ground.send("POST", path, &friend.key, &body).await;
    assert_eq!(made.status, 200, "{}", made.text());
    let made = made.json();
    let identifier = made["attributes"]["identifier"].as_str().unwrap();
    let secret = made["meta"]["secret_token"].as_str().unwrap();
    assert!(identifier.starts_with("ptlc_") && identifier.len() == 16, "{identifier}");
    assert!(secret.len() == 32 && secret.chars().all(|c| c.is_ascii_alphanumeric()), "{}", secret.len());
    let created = made["attributes"]["created_at"].as_str().unwrap();
    assert!(created.ends_with("+00:00") && created.len() == 25, "{created}");
    let mut expected = json!({ "object": "api_key", "meta": { "secret_token": secret }, "attributes": {
        "identifier": identifier, "description": "my bot", "allowed_ips": ["127.0.0.1", "10.0.0.0/8", "1.2.3.4-1.2.3.9"],
        "last_used_at": null, "created_at": created, "expires_at": null } });
    assert_eq!(made, expected);

    let key = format!("{identifier}{secret}");
    assert_eq!(ground.get(path, &key).await.status, 200);
    let list = ground.get(path, &key).await.json();
    assert_eq!(list["object"], "list");
    let shown =
        list["data"].as_array().unwrap().iter().find(|item| item["attributes"]["identifier"] == identifier).unwrap();
    let used = shown["attributes"]["last_used_at"].as_str().unwrap().to_owned();
    expected.as_object_mut().unwrap().remove("meta");
    expected["attributes"]["last_used_at"] = used.into();
    assert_eq!(*shown, expected);

    // Nobody deletes the key of somebody else, and a prefix is not a key.
    let one = format!("{path}/{identifier}");
    assert_eq!(ground.ask("DELETE", &one, &ground.admin.key).await.refusal(), (404, "NotFoundHttpException".into()));
    assert_eq!(ground.ask("DELETE", &one[..one.len() - 1], &friend.key).await.status, 404);
    assert_eq!(ground.get("/api/client", &key).await.status, 200);
    let gone = ground.ask("DELETE", &one, &key).await;
    assert_eq!((gone.status, gone.bytes.len()), (204, 0));
    assert_eq!(ground.get("/api/client", &key).await.status, 401);
    assert_eq!(ground.ask("DELETE", &one, &friend.key).await.status, 404);

    let record = ground.get("/api/client/account/activity", &friend.key).await.json();
    let events: Vec<(&Value, &Value)> = record["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (&item["attributes"]["event"], &item["attributes"]["properties"]["identifier"]))
        .collect();
    let (deleted, created) = (json!("user:api-key.delete"), json!("user:api-key.create"));
    let identifier = json!(identifier);
    assert_eq!(events, [(&deleted, &identifier), (&created, &identifier)]);
}

#[tokio::test]
async fn keys_that_are_not_made() {
    let ground = Ground::new().await;
    let path = "/api/client/account/api-keys";
    let many: Vec<String> = (0..51).map(|number| format!("10.0.0.{number}")).collect();
    let rows: Vec<(Value, &[(&str, &str)])> = vec![
        (json!({}), &[("description", "required")]),
        (json!({ "description": "" }), &[("description", "required")]),
        (json!({ "description": "x".repeat(501) }), &[("description", "max")]),
        (json!({ "description": [] }), &[("description", "string")]),
        (json!({ "description": "x", "allowed_ips": "1.2.3.4" }), &[("allowed_ips", "array")]),
        (json!({ "description": "x", "allowed_ips": many }), &[("allowed_ips", "max")]),
        (
            json!({ "description": "x", "allowed_ips": ["1.2.3.4", "1.2.3.4/33", 7, "here", "1.2.3.9-1.2.3.1"] }),
            &[("allowed_ips.2", "string"), ("allowed_ips.1", "ip"), ("allowed_ips.2", "ip"), ("allowed_ips.3", "ip")],
        ),
        (json!({ "description": "x", "expires_at": "2020-01-01T00:00:00Z" }), &[("expires_at", "after")]),
        (json!({ "description": "x", "expires_at": "soon" }), &[("expires_at", "after")]),
    ];
    for (body, expected) in rows {
        let answer = ground.send("POST", path, &ground.admin.key, &body).await;
        assert_eq!(answer.invalid(), pairs(expected), "{body}");
    }
    // 25 and no more; the first start has made one.
    for number in 1..25 {
        let made =
            ground.send("POST", path, &ground.admin.key, &json!({ "description": format!("key {number}") })).await;
        assert_eq!(made.status, 200, "{number}");
    }
    let refused = ground.send("POST", path, &ground.admin.key, &json!({ "description": "x" })).await;
    assert_eq!(refused.refusal(), (400, "DisplayException".into()));
    let list = ground.get(path, &ground.admin.key).await.json();
    assert_eq!(list["data"].as_array().unwrap().len(), 25);
}

#[tokio::test]
async fn everything_is_found_again_after_a_restart() {
    let ground = Ground::new().await;
    let friend = ground.person("friend").await;
    let server = ground.server("one", &friend).await;
    let crate::ground::Ground { dir, panel, node, node_token, .. } = ground;
    panel.close().await;
    let again = panel::Panel::open(panel::Config::new(dir.path().join("panel.sqlite"))).await.unwrap();
    assert!(!again.is_empty().await.unwrap());
    let credentials = again.ensure_local_node("local", "http://127.0.0.1:1").await.unwrap();
    assert_eq!(credentials.token, node_token);
    let back = again.ensure_local_node("local", &node.url).await.unwrap();
    assert_eq!((back.uuid, back.id), (credentials.uuid, 1));
    let path = format!("/api/client/servers/{server}/resources");
    let answer = crate::ground::Ask::new("GET", &path).key(&friend.key).of(&again.router()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}
