//! Keys that administrators make for others.

use serde_json::{Value, json};

use crate::ground::{Ground, Person, pairs};

fn path_of(person: &Person) -> String {
    format!("/api/application/users/{}/api-keys", person.user.uuid)
}

/// Makes a key of this type; the whole of it.
async fn make(ground: &Ground, by: &str, path: &str, kind: &str) -> String {
    let made = ground.send("POST", path, by, &json!({ "description": "made", "type": kind })).await;
    assert_eq!(made.status, 200, "{}", made.text());
    let made = made.json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    text(&made["attributes"]["identifier"]) + &text(&made["meta"]["secret_token"])
}

#[tokio::test]
async fn somebody_gets_their_first_key_and_loses_it() {
    let ground = Ground::new().await;
    let robot = ground.panel.create_application_key(ground.admin.user.uuid, "robot").await.unwrap();
    let body = json!({ "email": "invited@example.org", "username": "invited" });
    let invited = ground.send("POST", "/api/application/users", &robot, &body).await.json()["attributes"].clone();
    let path = "/api/application/users/invited/api-keys";
    assert_eq!(ground.get(path, &robot).await.json(), json!({ "object": "list", "data": [] }));

    // An application key may make it as well as the account key of an administrator.
    let body =
        json!({ "description": " from Ann ", "allowed_ips": ["127.0.0.0/8"], "expires_at": "2099-01-31T12:00:00Z" });
    let made = ground.send("POST", path, &robot, &body).await;
    assert_eq!(made.status, 200, "{}", made.text());
    let made = made.json();
    let identifier = made["attributes"]["identifier"].as_str().unwrap();
    let secret = made["meta"]["secret_token"].as_str().unwrap();
    assert!(identifier.starts_with("ptlc_") && identifier.len() == 16, "{identifier}");
    assert!(secret.len() == 32 && secret.chars().all(|c| c.is_ascii_alphanumeric()), "{}", secret.len());
    let mut expected = json!({ "object": "api_key", "meta": { "secret_token": secret }, "attributes": {
        "identifier": identifier, "description": "from Ann", "allowed_ips": ["127.0.0.0/8"], "last_used_at": null,
        "created_at": made["attributes"]["created_at"], "expires_at": "2099-01-31T12:00:00+00:00" } });
    assert_eq!(made, expected);

    // It is theirs: who they are, and their own list, but no administration.
    let key = format!("{identifier}{secret}");
    assert_eq!(ground.get("/api/client/account", &key).await.json()["attributes"]["username"], "invited");
    let denied = (403, "AccessDeniedHttpException".to_owned());
    assert_eq!(ground.get("/api/application/users", &key).await.refusal(), denied);
    let own = ground.get("/api/client/account/api-keys", &key).await.json();
    expected.as_object_mut().unwrap().remove("meta");
    expected["attributes"]["last_used_at"] = own["data"][0]["attributes"]["last_used_at"].clone();
    assert_eq!(own, json!({ "object": "list", "data": [expected] }));
    for id in [invited["id"].to_string(), invited["uuid"].as_str().unwrap().to_owned(), "invited".to_owned()] {
        let listed = ground.get(&format!("/api/application/users/{id}/api-keys"), &ground.admin.key).await;
        assert_eq!(listed.json(), own, "{id}");
    }

    let one = format!("{path}/{identifier}");
    let gone = ground.ask("DELETE", &one, &ground.admin.key).await;
    assert_eq!((gone.status, gone.bytes.len()), (204, 0));
    assert_eq!(ground.get("/api/client/account", &key).await.status, 401);
    assert_eq!(ground.ask("DELETE", &one, &robot).await.refusal(), (404, "NotFoundHttpException".into()));

    // The record of the administrator says whose key it was.
    let record = ground.get("/api/client/account/activity", &ground.admin.key).await.json();
    let deeds: Vec<Value> = record["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| json!([item["attributes"]["event"], item["attributes"]["properties"]]))
        .filter(|deed| deed[0].as_str().unwrap().starts_with("user:api-key."))
        .collect();
    let about = json!({ "identifier": identifier, "username": "invited", "uuid": invited["uuid"] });
    assert_eq!(deeds, [json!(["user:api-key.delete", about]), json!(["user:api-key.create", about])]);
}

#[tokio::test]
async fn application_keys_are_made_for_administrators() {
    let ground = Ground::new().await;
    let path = path_of(&ground.admin);
    let key = make(&ground, &ground.admin.key, &path, "application").await;
    assert!(key.starts_with("ptla_") && key.len() == 48, "{}", key.len());
    assert_eq!(ground.get("/api/application/users", &key).await.status, 200);
    assert_eq!(ground.get("/api/client", &key).await.status, 403);
    let listed = ground.get(&path, &key).await.json();
    let shown: Vec<&str> = listed["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["attributes"]["identifier"])
        .map(|id| id.as_str().unwrap())
        .collect();
    assert_eq!(shown, [&ground.admin.key[..16], &key[..16]], "both types, oldest first");
    assert!(!listed.to_string().contains(&key[16..]));

    // The account route knows account keys only.
    let account = "/api/client/account/api-keys";
    let own = ground.get(account, &ground.admin.key).await.json();
    assert_eq!(own["data"].as_array().unwrap().len(), 1);
    assert_eq!(ground.ask("DELETE", &format!("{account}/{}", &key[..16]), &ground.admin.key).await.status, 404);
    // Also the key that asks can be deleted.
    assert_eq!(ground.ask("DELETE", &format!("{path}/{}", &key[..16]), &key).await.status, 204);
    assert_eq!(ground.get("/api/application/users", &key).await.status, 401);
}

#[tokio::test]
async fn keys_of_others_that_are_not_made_shown_or_deleted() {
    let ground = Ground::new().await;
    let friend = ground.person("friend").await;
    let path = path_of(&friend);
    let rows: Vec<(Value, &[(&str, &str)])> = vec![
        (json!({}), &[("description", "required")]),
        (json!([]), &[("description", "required")]),
        (json!({ "description": "x".repeat(501) }), &[("description", "max")]),
        (json!({ "description": "x", "allowed_ips": ["here"] }), &[("allowed_ips.0", "ip")]),
        (json!({ "description": "x", "expires_at": "2020-01-01T00:00:00Z" }), &[("expires_at", "after")]),
        (json!({ "description": "x", "type": "client" }), &[("type", "in")]),
        (json!({ "description": "x", "type": ["account"] }), &[("type", "string")]),
        (json!({ "description": "x", "type": "application" }), &[("type", "admin")]),
        (json!({ "type": "application" }), &[("type", "admin"), ("description", "required")]),
    ];
    for (body, expected) in rows {
        let answer = ground.send("POST", &path, &ground.admin.key, &body).await;
        assert_eq!(answer.invalid(), pairs(expected), "{body}");
    }
    let shown = ground.get(&path, &friend.key).await;
    assert_eq!(shown.refusal(), (403, "AccessDeniedHttpException".into()), "not even one's own by this road");

    // A key under the wrong name, a prefix of one, and somebody who is not there.
    let missing = (404, "NotFoundHttpException".to_owned());
    let (theirs, ours) = (&friend.key[..16], &ground.admin.key[..16]);
    for path in [
        format!("{path}/{ours}"),
        format!("{path}/{}", &theirs[..15]),
        format!("/api/application/users/99/api-keys/{theirs}"),
    ] {
        assert_eq!(ground.ask("DELETE", &path, &ground.admin.key).await.refusal(), missing, "{path}");
    }
    for method in ["GET", "POST"] {
        let answer = ground.send(method, "/api/application/users/nobody/api-keys", &ground.admin.key, &json!({})).await;
        assert_eq!(answer.refusal(), missing, "{method}");
    }
    assert_eq!(ground.get("/api/client/account", &friend.key).await.status, 200);
}

#[tokio::test]
async fn there_are_25_keys_of_each_type_and_no_more() {
    let ground = Ground::new().await;
    let path = path_of(&ground.admin);
    // The first start has made one.
    for (kind, there) in [("account", 1), ("application", 0)] {
        for _ in there..25 {
            make(&ground, &ground.admin.key, &path, kind).await;
        }
        let refused = ground.send("POST", &path, &ground.admin.key, &json!({ "description": "x", "type": kind })).await;
        assert_eq!(refused.refusal(), (400, "DisplayException".into()), "{kind}");
    }
    assert_eq!(ground.get(&path, &ground.admin.key).await.json()["data"].as_array().unwrap().len(), 50);
}
