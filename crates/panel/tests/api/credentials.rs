//! The credentials endpoint: the seed's answer, the claims of the token by caller, and the address by how the caller came.

use serde_json::{Value, json};
use wire::ids::ServerId;
use wire::token::Claims;

use crate::ground::{Answer, Ask, Ground, Person};

fn token(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["data"]["token"].as_str().unwrap().to_owned()
}

fn socket(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["data"]["socket"].as_str().unwrap().to_owned()
}

/// The claims, after the library has verified the signature with the node's token.
fn claims(token: &str, key: &str) -> Claims {
    let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::HS256);
    rules.validate_aud = false;
    rules.validate_nbf = true;
    let key = jsonwebtoken::DecodingKey::from_secret(key.as_bytes());
    jsonwebtoken::decode::<Claims>(token, &key, &rules).unwrap().claims
}

fn path(server: ServerId) -> String {
    format!("/api/client/servers/{server}/websocket")
}

#[tokio::test]
async fn the_answer_has_the_shape_of_the_public_document() {
    let ground = Ground::new().await;
    let server = ground.server("one", &ground.admin).await;
    // As in the documents: by short id, with these three headers.
    let answer = Ask::new("GET", &format!("/api/client/servers/{}/websocket", server.short()))
        .key(&ground.admin.key)
        .header("accept", "application/json")
        .header("content-type", "application/json")
        .of(&ground.router)
        .await;
    let body = answer.json();
    let members: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(members, ["data"]);
    let mut members: Vec<&String> = body["data"].as_object().unwrap().keys().collect();
    members.sort();
    assert_eq!(members, ["socket", "token"]);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(socket(&answer), format!("ws://panel.example:8080/api/servers/{server}/ws"));
    let token = token(&answer);
    // The very characters the documents print, but for the last, which depends on the first character of the jti.
    assert!(token.starts_with("eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiIsImp0aSI6I"), "{token}");
    assert_eq!(token.split('.').count(), 3);
    assert!(!token.contains('='));
    assert_eq!(ground.node.take(), [], "minting a token needs no node");
}

#[tokio::test]
async fn claims_by_caller() {
    let ground = Ground::with(|config| config.token_ttl_s = 700).await;
    let owner = ground.person("owner").await;
    let friend = ground.person("friend").await;
    let server = ground.server("one", &owner).await;
    ground.share(server, &friend, &["control.start", "activity.read"]).await;
    let all = every_permission(&ground).await;
    let all = || all.iter().map(String::as_str).filter(|text| *text != "websocket.connect");
    let of_admin = ["admin.websocket.errors", "admin.websocket.install", "admin.websocket.transfer"];
    let rows: [(&Person, Vec<&str>); 3] = [
        // The star for nodes that know it, and every name for those that do not.
        (&owner, ["*", "websocket.connect"].into_iter().chain(all()).collect()),
        (&ground.admin, ["*", "websocket.connect"].into_iter().chain(of_admin).chain(all()).collect()),
        (&friend, vec!["activity.read", "control.start", "websocket.connect"]),
    ];
    for (person, permissions) in rows {
        let before = jiff::Timestamp::now().as_second();
        let answer = ground.get(&path(server), &person.key).await;
        let after = jiff::Timestamp::now().as_second();
        let claims = claims(&token(&answer), &ground.node_token);
        let name = &person.user.username;
        let sorted = |mut list: Vec<String>| {
            list.sort();
            list
        };
        let expected = sorted(permissions.into_iter().map(str::to_owned).collect());
        assert_eq!(sorted(claims.permissions), expected, "{name}");
        // Other nodes take frames of 4 KiB; what is around the token needs little of that.
        assert!(token(&answer).len() < 3 * 1024, "{name}: {}", token(&answer).len());
        let iat = claims.iat.unwrap();
        assert!((before..=after).contains(&iat), "{name}");
        assert_eq!((claims.nbf, claims.exp), (Some(iat - 300), Some(iat + 700)), "{name}");
        assert_eq!(claims.iss, "http://panel.example:8080");
        assert_eq!(claims.aud, ["http://panel.example:8080"]);
        assert_eq!(claims.server_uuid, server.to_string());
        assert_eq!(claims.user_uuid, person.user.uuid.to_string());
        assert_eq!(claims.user_id, Some(person.user.number));
        assert_eq!(claims.scope, "websocket");
        assert_eq!(claims.unique_id.len(), 16);
        // What stays the same for a person on a server, and what does not.
        let again = self::claims(&token(&ground.get(&path(server), &person.key).await), &ground.node_token);
        assert_eq!(again.jti, claims.jti);
        assert_ne!(again.unique_id, claims.unique_id);
        assert!(again.serial > claims.serial && claims.serial.is_some(), "{name}");
    }
    let members = {
        let token = token(&ground.get(&path(server), &owner.key).await);
        decoded(token.split('.').nth(1).unwrap())
    };
    let mut names: Vec<&String> = members.as_object().unwrap().keys().collect();
    names.sort();
    let expected = "aud exp iat iss jti nbf permissions scope serial server_uuid unique_id user_id user_uuid";
    assert_eq!(names, expected.split(' ').collect::<Vec<_>>());
    for time in ["iat", "nbf", "exp"] {
        assert!(members[time].is_i64() || members[time].is_u64(), "{time} must be a whole number");
    }
}

/// The whole catalogue.
async fn every_permission(ground: &Ground) -> Vec<String> {
    let body = ground.get("/api/client/permissions", &ground.admin.key).await.json();
    let groups = body["attributes"]["permissions"].as_object().unwrap().clone();
    let of = |(group, entry): (String, Value)| {
        let keys: Vec<String> = entry["keys"].as_object().unwrap().keys().map(|key| format!("{group}.{key}")).collect();
        keys
    };
    groups.into_iter().flat_map(of).collect()
}

#[tokio::test]
async fn a_token_with_every_permission_fits_into_the_frames_of_other_nodes() {
    let address = format!("https://{}.example", "x".repeat(200));
    let ground = Ground::with(|config| config.public_url = Some(address)).await;
    let friend = ground.person("friend").await;
    let server = ground.server("one", &ground.admin).await;
    let all = every_permission(&ground).await;
    ground.share(server, &friend, &all.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for person in [&ground.admin, &friend] {
        let token = token(&ground.get(&path(server), &person.key).await);
        assert!(token.len() < 3 * 1024, "{}", token.len());
    }
}

fn decoded(part: &str) -> Value {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for c in part.bytes() {
        bits = bits << 6 | u32::try_from(ALPHABET.iter().position(|known| *known == c).unwrap()).unwrap();
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).unwrap());
        }
    }
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test]
async fn the_life_of_tokens_can_be_set_within_its_range() {
    let dir = tempfile::TempDir::new().unwrap();
    for ttl in [0, 69, 901, u64::MAX] {
        let mut config = panel::Config::new(dir.path().join("x.sqlite"));
        config.token_ttl_s = ttl;
        let error = panel::Panel::open(config).await.unwrap_err().to_string();
        assert!(error.contains("70 to 900"), "{error}");
    }
}

#[tokio::test]
async fn the_socket_is_where_the_caller_found_the_panel() {
    let ground = Ground::with(|config| config.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()]).await;
    let server = ground.server("one", &ground.admin).await;
    let rows: &[(&str, &[(&str, &str)], &str)] = &[
        ("203.0.113.5", &[("host", "127.0.0.1:8080")], "ws://127.0.0.1:8080"),
        ("203.0.113.5", &[("host", "panel.example")], "ws://panel.example:80"),
        ("203.0.113.5", &[("host", "[::1]:9000")], "ws://[::1]:9000"),
        ("203.0.113.5", &[("host", "panel.example"), ("x-forwarded-proto", "https")], "ws://panel.example:80"),
        ("10.0.0.1", &[("host", "panel.example"), ("x-forwarded-proto", "https")], "wss://panel.example:443"),
        ("10.0.0.1", &[("host", "panel.example:8443"), ("x-forwarded-proto", "https")], "wss://panel.example:8443"),
        (
            "10.0.0.1",
            &[("host", "127.0.0.1:8080"), ("x-forwarded-host", "games.example"), ("x-forwarded-proto", "https")],
            "wss://games.example:443",
        ),
        (
            "10.0.0.1",
            &[
                ("host", "127.0.0.1:8080"),
                ("x-forwarded-host", "games.example"),
                ("x-forwarded-port", "444"),
                ("x-forwarded-proto", "https"),
            ],
            "wss://games.example:444",
        ),
    ];
    for (peer, headers, expected) in rows {
        let mut ask = Ask::new("GET", &path(server)).key(&ground.admin.key).from(peer);
        for (name, value) in *headers {
            ask = ask.header(name, value);
        }
        let answer = ask.of(&ground.router).await;
        assert_eq!(socket(&answer), format!("{expected}/api/servers/{server}/ws"), "{headers:?}");
        let audience = &claims(&token(&answer), &ground.node_token).aud[0];
        assert_eq!(*audience, expected.replacen("ws", "http", 1));
    }
    for host in ["", "a b", "x/y", "a:99999", "user@host"] {
        let answer =
            Ask::new("GET", &path(server)).key(&ground.admin.key).header("host", host).of(&ground.router).await;
        assert_eq!(answer.refusal(), (400, "BadRequestHttpException".into()), "{host:?}");
    }
    let none = Ask::new("GET", &path(server)).key(&ground.admin.key).without("host").of(&ground.router).await;
    assert_eq!(none.status, 400);
}

#[tokio::test]
async fn another_node_has_its_own_address_and_key() {
    let ground = Ground::with(|config| config.public_url = Some("https://panel.example/".into())).await;
    let node = crate::node::ScriptedNode::start().await;
    let body = json!({ "name": "far", "url": node.url });
    let made = ground.send("POST", "/api/application/nodes", &ground.admin.key, &body).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let secret = made.json()["meta"]["configuration"]["token"].as_str().unwrap().to_owned();
    let body = json!({ "name": "one", "command": "/bin/cat", "node": "far" });
    let made = ground.send("POST", "/api/application/servers", &ground.admin.key, &body).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let server: ServerId = made.json()["attributes"]["uuid"].as_str().unwrap().parse().unwrap();
    assert_eq!(node.take()[0].authorization, format!("Bearer {secret}"));
    assert_eq!(ground.node.take(), []);
    let answer = ground.get(&path(server), &ground.admin.key).await;
    assert_eq!(socket(&answer), format!("{}/api/servers/{server}/ws", node.url.replace("http", "ws")));
    let claims = claims(&token(&answer), &secret);
    assert_eq!(claims.aud, [node.url.clone()]);
    assert_eq!(claims.iss, "https://panel.example");
    // A https node without a port still gets one in the socket's address, and needs no Host header.
    let moved = json!({ "url": "https://far.example" });
    assert_eq!(ground.send("PATCH", "/api/application/nodes/far", &ground.admin.key, &moved).await.status, 200);
    let answer = Ask::new("GET", &path(server)).key(&ground.admin.key).without("host").of(&ground.router).await;
    assert_eq!(socket(&answer), format!("wss://far.example:443/api/servers/{server}/ws"));
}

#[tokio::test]
async fn states_that_block() {
    let ground = Ground::new().await;
    let owner = ground.person("owner").await;
    let server = ground.server("one", &owner).await;
    let base = format!("/api/client/servers/{server}");
    let status = |rest: &'static str, key: String| {
        let (ground, path) = (&ground, format!("{base}{rest}"));
        async move { ground.get(&path, &key).await.status }
    };
    let row = |owner_key: String, admin_key: String| {
        let status = &status;
        async move {
            [
                status("", owner_key.clone()).await,
                status("/websocket", owner_key.clone()).await,
                status("/resources", owner_key).await,
                status("", admin_key.clone()).await,
                status("/websocket", admin_key.clone()).await,
                status("/resources", admin_key).await,
            ]
        }
    };
    let now = || row(owner.key.clone(), ground.admin.key.clone());
    assert_eq!(now().await, [200; 6]);

    ground.maintenance(true).await;
    assert_eq!(now().await, [200, 409, 409, 200, 409, 409]);
    let conflict = ground.get(&format!("{base}/websocket"), &owner.key).await.error();
    assert_eq!((conflict.0, conflict.1.as_str()), (409, "ServerStateConflictException"));
    assert!(conflict.2.contains("maintenance"), "{}", conflict.2);
    // Suspended is said first.
    ground.suspend(server).await;
    assert!(ground.get(&format!("{base}/websocket"), &owner.key).await.error().2.contains("suspended"));
    ground.maintenance(false).await;
    assert_eq!(now().await, [200, 409, 409, 200, 409, 409]);
    let shown = ground.get(&base, &owner.key).await.json();
    assert_eq!(
        (&shown["attributes"]["is_suspended"], &shown["attributes"]["status"]),
        (&json!(true), &json!("suspended"))
    );
    let freed = format!("/api/application/servers/{server}/unsuspend");
    assert_eq!(ground.ask("POST", &freed, &ground.admin.key).await.status, 204);
    assert_eq!(now().await, [200; 6]);

    // An installation that failed: administrators may look at its console.
    ground.fail_installation(server).await;
    assert_eq!(now().await, [200, 409, 409, 200, 200, 409]);
    let shown = ground.get(&base, &owner.key).await.json();
    assert_eq!(
        (&shown["attributes"]["is_installing"], &shown["attributes"]["status"]),
        (&json!(true), &json!("install_failed"))
    );
    let body = json!({ "successful": true, "reinstall": false });
    let said = ground.as_node("POST", &format!("/api/remote/servers/{server}/install"), &body).await;
    assert_eq!(said.status, 204);
    assert_eq!(now().await, [200; 6]);
}
