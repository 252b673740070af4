//! Other people's rights: who may give which to whom, and that the node hears of what is taken.

use serde_json::{Value, json};

use crate::ground::{Ground, pairs};
use crate::node::Asked;

#[tokio::test]
async fn a_subuser_from_invitation_to_removal() {
    let ground = Ground::new().await;
    let owner = ground.person("owner").await;
    let friend = ground.person("friend").await;
    let server = ground.server("one", &owner).await;
    let path = format!("/api/client/servers/{server}/users");
    assert_eq!(ground.get(&path, &owner.key).await.json(), json!({ "object": "list", "data": [] }));
    assert_eq!(ground.get(&path, &friend.key).await.status, 404);

    let body = json!({ "email": "Friend@Example.org", "permissions": ["control.start", "control.start", "user.read"] });
    let made = ground.send("POST", &path, &owner.key, &body).await;
    assert_eq!(made.status, 200, "{}", made.text());
    let made = made.json();
    let created = made["attributes"]["created_at"].as_str().unwrap();
    let image = made["attributes"]["image"].as_str().unwrap();
    assert!(image.starts_with("https://gravatar.com/avatar/") && image.len() == 60, "{image}");
    let mut expected = json!({ "object": "server_subuser", "attributes": { "uuid": friend.user.uuid, "username": "friend",
        "email": "friend@example.org", "image": image, "2fa_enabled": false, "created_at": created,
        "permissions": ["control.start", "user.read", "websocket.connect"] } });
    assert_eq!(made, expected);
    assert_eq!(ground.get(&path, &friend.key).await.json(), json!({ "object": "list", "data": [expected] }));
    let one = format!("{path}/{}", friend.user.uuid);
    assert_eq!(ground.get(&one, &owner.key).await.json(), expected);
    // More rights are no reason to trouble anybody on the node.
    assert_eq!(ground.node.take(), []);

    let body = json!({ "permissions": ["control.stop"] });
    let changed = ground.send("POST", &one, &owner.key, &body).await;
    expected["attributes"]["permissions"] = json!(["control.stop", "websocket.connect"]);
    assert_eq!((changed.status, changed.json()), (200, expected.clone()));
    let deauthorized = Asked {
        user: None,
        query: String::new(),
        line: "POST /api/deauthorize-user".into(),
        authorization: format!("Bearer {}", ground.node_token),
        body: json!({ "user": friend.user.uuid, "servers": [server] }),
    };
    assert_eq!(ground.node.take(), [deauthorized.clone()]);
    // The same again changes nothing, so nobody loses their console.
    let same = ground.send("PUT", &one, &owner.key, &body).await;
    assert_eq!((same.status, same.json()), (200, expected));
    assert_eq!(ground.node.take(), []);

    let gone = ground.ask("DELETE", &one, &owner.key).await;
    assert_eq!((gone.status, gone.bytes.len()), (204, 0));
    assert_eq!(ground.node.take(), [deauthorized]);
    assert_eq!(ground.ask("DELETE", &one, &owner.key).await.status, 404);
    assert_eq!(ground.get(&format!("/api/client/servers/{server}"), &friend.key).await.status, 404);

    let record = ground.get(&format!("/api/client/servers/{server}/activity"), &owner.key).await.json();
    let entry = |index: usize| {
        let attributes = &record["data"][index]["attributes"];
        (attributes["event"].as_str().unwrap().to_owned(), attributes["properties"].clone())
    };
    assert_eq!(entry(0), ("server:subuser.delete".into(), json!({ "email": "friend@example.org" })));
    let change = json!({ "email": "friend@example.org", "old": ["control.start", "user.read", "websocket.connect"],
        "new": ["control.stop", "websocket.connect"] });
    assert_eq!(entry(1), ("server:subuser.update".into(), change));
    assert_eq!(entry(2).0, "server:subuser.create");
}

#[tokio::test]
async fn somebody_without_an_account_gets_one() {
    let ground = Ground::new().await;
    let server = ground.server("one", &ground.admin).await;
    let path = format!("/api/client/servers/{server}/users");
    let invite = async |email: &str| {
        let answer = ground.send("POST", &path, &ground.admin.key, &json!({ "email": email, "permissions": [] })).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["attributes"]["username"].as_str().unwrap().to_owned()
    };
    assert_eq!(invite("New.Person+x@example.org").await, "new.personx");
    // The name is taken: something is added to it.
    let second = invite("new.personx@elsewhere.example").await;
    assert!(second.starts_with("new.personx") && second.len() == 15, "{second}");
    assert!(invite("äö@example.org").await.starts_with("user"));
    assert!(invite("...@example.org").await.starts_with("user"));
    // A number or a uuid would be taken for somebody else's, see below.
    assert_eq!(invite("2@example.org").await, "user2");
    let uuid = ground.admin.user.uuid.to_string();
    assert_eq!(invite(&format!("{uuid}@example.org")).await, format!("user{uuid}"));
    let plain = uuid.replace('-', "");
    assert_eq!(invite(&format!("{plain}@example.org")).await, format!("user{plain}"));
    let users = ground.get("/api/application/users", &ground.admin.key).await.json();
    let emails: Vec<&Value> =
        users["data"].as_array().unwrap().iter().map(|user| &user["attributes"]["email"]).collect();
    let expected = [
        "admin@example.org",
        "new.person+x@example.org",
        "new.personx@elsewhere.example",
        "äö@example.org",
        "...@example.org",
        "2@example.org",
    ];
    assert_eq!(emails[..6], expected.map(|text| json!(text)).iter().collect::<Vec<_>>());
    let shown = ground.get(&format!("/api/client/servers/{server}"), &ground.admin.key).await.json();
    assert_eq!(shown["attributes"]["name"], "one");
}

#[tokio::test]
async fn nobody_gives_what_they_do_not_have_or_changes_themself() {
    let ground = Ground::new().await;
    let owner = ground.person("owner").await;
    let helper = ground.person("helper").await;
    let friend = ground.person("friend").await;
    let server = ground.server("one", &owner).await;
    let held = ["user.create", "user.update", "user.delete", "user.read", "control.start"];
    ground.share(server, &helper, &held).await;
    let path = format!("/api/client/servers/{server}/users");
    let give = |email: &str, permissions: &[&str]| json!({ "email": email, "permissions": permissions });
    let forbidden = (403, "HttpForbiddenException".to_owned());

    let refused =
        ground.send("POST", &path, &helper.key, &give("friend@example.org", &["control.start", "control.stop"])).await;
    assert_eq!(refused.refusal(), forbidden);
    assert!(refused.text().contains("control.stop"));
    let given = ground.send("POST", &path, &helper.key, &give("friend@example.org", &["control.start"])).await;
    assert_eq!(given.status, 200);
    let one = format!("{path}/{}", friend.user.uuid);
    let more = json!({ "permissions": ["control.console"] });
    assert_eq!(ground.send("POST", &one, &helper.key, &more).await.refusal(), forbidden);

    let own = format!("{path}/{}", helper.user.uuid);
    let denied = (403, "AccessDeniedHttpException".to_owned());
    for method in ["POST", "PUT"] {
        let answer = ground.send(method, &own, &helper.key, &json!({ "permissions": ["user.read"] })).await;
        assert_eq!(answer.refusal(), denied, "{method}");
    }
    assert_eq!(ground.ask("DELETE", &own, &helper.key).await.refusal(), denied);
    assert_eq!(ground.get(&own, &helper.key).await.status, 200);

    for (email, code) in
        [("owner@example.org", "UserIsServerOwnerException"), ("friend@example.org", "ServerSubuserExistsException")]
    {
        for key in [&owner.key, &ground.admin.key, &helper.key] {
            let answer = ground.send("POST", &path, key, &give(email, &[])).await;
            assert_eq!(answer.refusal(), (400, code.to_owned()), "{email}");
        }
    }
}

#[tokio::test]
async fn bodies_that_name_nothing() {
    let ground = Ground::new().await;
    let friend = ground.person("friend").await;
    let server = ground.server("one", &ground.admin).await;
    ground.share(server, &friend, &[]).await;
    let path = format!("/api/client/servers/{server}/users");
    let one = format!("{path}/{}", friend.user.uuid);
    let rows: Vec<(Value, &[(&str, &str)])> = vec![
        (json!({}), &[("email", "required"), ("permissions", "required")]),
        (json!({ "email": "nobody", "permissions": [] }), &[("email", "email")]),
        (json!({ "email": "a@b", "permissions": null }), &[("permissions", "required")]),
        (json!({ "email": "a@b", "permissions": "control.start" }), &[("permissions", "array")]),
        (json!({ "email": "a@b", "permissions": ["control.start", "*"] }), &[("permissions.1", "in")]),
        (json!({ "email": "a@b", "permissions": ["admin.websocket.errors"] }), &[("permissions.0", "in")]),
        (json!({ "email": "a@b", "permissions": vec!["control.start"; 201] }), &[("permissions", "max")]),
        (json!({ "email": format!("{}@b", "a".repeat(200)), "permissions": [] }), &[("email", "max")]),
    ];
    for (body, expected) in rows {
        let answer = ground.send("POST", &path, &ground.admin.key, &body).await;
        assert_eq!(answer.invalid(), pairs(expected), "{body}");
        let of_permissions: Vec<_> =
            expected.iter().copied().filter(|(field, _)| field.starts_with("permissions")).collect();
        if !of_permissions.is_empty() {
            let answer = ground.send("POST", &one, &ground.admin.key, &body).await;
            assert_eq!(answer.invalid(), pairs(&of_permissions), "{body}");
        }
    }
    for id in ["x", "00000000-0000-0000-0000-000000000000", &ground.admin.user.uuid.to_string()] {
        for method in ["GET", "POST", "PUT", "DELETE"] {
            let answer = ground.send(method, &format!("{path}/{id}"), &ground.admin.key, &json!({})).await;
            assert_eq!(answer.refusal(), (404, "NotFoundHttpException".into()), "{method} {id}");
        }
    }
}

#[tokio::test]
async fn nobody_takes_what_they_could_not_have_given() {
    let ground = Ground::new().await;
    let owner = ground.person("owner").await;
    let helper = ground.person("helper").await;
    let friend = ground.person("friend").await;
    let server = ground.server("one", &owner).await;
    ground.share(server, &helper, &["user.update", "user.delete", "control.start"]).await;
    ground.share(server, &friend, &["control.start", "control.stop"]).await;
    let one = format!("/api/client/servers/{server}/users/{}", friend.user.uuid);
    let less = json!({ "permissions": ["control.start"] });
    let forbidden = (403, "HttpForbiddenException".to_owned());
    for method in ["POST", "PUT", "DELETE"] {
        let answer = ground.send(method, &one, &helper.key, &less).await;
        assert_eq!(answer.refusal(), forbidden, "{method}");
        assert!(answer.text().contains("control.stop"), "{}", answer.text());
    }
    let held = ground.get(&one, &owner.key).await.json()["attributes"]["permissions"].clone();
    assert_eq!(held, json!(["control.start", "control.stop", "websocket.connect"]));

    assert_eq!(ground.send("POST", &one, &owner.key, &less).await.status, 200);
    // They hold no more than the helper now.
    assert_eq!(ground.send("POST", &one, &helper.key, &json!({ "permissions": [] })).await.status, 200);
    assert_eq!(ground.ask("DELETE", &one, &helper.key).await.status, 204);
}

#[tokio::test]
async fn a_server_has_room_for_a_hundred_people() {
    let ground = Ground::new().await;
    let owner = ground.person("owner").await;
    let late = ground.person("late").await;
    let server = ground.server("one", &owner).await;
    let path = format!("/api/client/servers/{server}/users");
    let give = |email: &str| json!({ "email": email, "permissions": [] });
    let mut first = None;
    for number in 0..100 {
        let made = ground.send("POST", &path, &ground.admin.key, &give(&format!("guest{number}@example.org"))).await;
        assert_eq!(made.status, 200, "{number}: {}", made.text());
        first.get_or_insert_with(|| made.json()["attributes"]["uuid"].as_str().unwrap().to_owned());
    }
    for email in ["late@example.org", "nobody@example.org"] {
        for key in [&owner.key, &ground.admin.key] {
            let refused = ground.send("POST", &path, key, &give(email)).await;
            assert_eq!(refused.refusal(), (400, "DisplayException".into()), "{email}");
        }
    }
    // No account was made for nothing.
    let found = ground.get("/api/application/users?filter[email]=nobody@example.org", &ground.admin.key).await.json();
    assert_eq!(found["data"], json!([]));
    // Who is in already is told so.
    let again = ground.send("POST", &path, &owner.key, &give("guest7@example.org")).await;
    assert_eq!(again.refusal(), (400, "ServerSubuserExistsException".into()));
    assert_eq!(ground.ask("DELETE", &format!("{path}/{}", first.unwrap()), &owner.key).await.status, 204);
    assert_eq!(ground.send("POST", &path, &owner.key, &give(&late.user.email)).await.status, 200);
}

#[tokio::test]
async fn invitations_come_to_an_end() {
    let ground = Ground::new().await;
    let owner = ground.person("owner").await;
    let friend = ground.person("friend").await;
    let path = format!("/api/client/servers/{}/users", ground.server("one", &owner).await);
    let give = |email: &str| json!({ "email": email, "permissions": [] });
    for number in 0..20 {
        let made = ground.send("POST", &path, &owner.key, &give(&format!("guest{number}@example.org"))).await;
        assert_eq!(made.status, 200, "{number}: {}", made.text());
    }
    let refused = ground.send("POST", &path, &owner.key, &give("guest20@example.org")).await;
    assert_eq!(refused.refusal(), (429, "ThrottleRequestsException".into()));
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=180).contains(&wait), "{wait}");
    assert_eq!((refused.header("x-ratelimit-limit"), refused.header("x-ratelimit-remaining")), (Some("20"), Some("0")));
    // On another server neither; somebody who has an account can be added, and an administrator can add anybody.
    let other = format!("/api/client/servers/{}/users", ground.server("two", &owner).await);
    assert_eq!(ground.send("POST", &other, &owner.key, &give("guest20@example.org")).await.status, 429);
    assert_eq!(ground.send("POST", &other, &owner.key, &give(&friend.user.email)).await.status, 200);
    assert_eq!(ground.send("POST", &path, &ground.admin.key, &give("guest20@example.org")).await.status, 200);
    let found = ground.get("/api/application/users?filter[email]=guest20", &ground.admin.key).await.json();
    assert_eq!(found["data"].as_array().unwrap().len(), 1);
}
