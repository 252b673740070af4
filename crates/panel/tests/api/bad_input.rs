//! Requests that are wrong, each with its exact answer, and the order in which they fail.

use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use futures_util::StreamExt;
use serde_json::json;

use crate::ground::{Ask, Ground};

const UNAUTHENTICATED: &str =
    r#"{"errors":[{"code":"AuthenticationException","status":"401","detail":"Unauthenticated."}]}"#;

#[tokio::test]
async fn keys_that_open_nothing() {
    let ground = Ground::new().await;
    let server = ground.server("one", &ground.admin).await;
    let path = format!("/api/client/servers/{server}/websocket");
    let good = &ground.admin.key;
    let wrong_secret = format!("{}{}", &good[..16], "x".repeat(32));
    let unknown = format!("ptlc_{}", "x".repeat(43));
    let rows: Vec<Option<String>> = vec![
        None,
        Some(String::new()),
        Some("Bearer".into()),
        Some("Bearer ".into()),
        Some("Bearer x".into()),
        Some(format!("Bearer {wrong_secret}")),
        Some(format!("Bearer {unknown}")),
        Some(format!("Bearer {}", &good[..47])),
        Some(format!("Bearer {good}x")),
        Some(format!("Bearer {}", "ä".repeat(24))),
        Some(format!("Bearer {}", "x".repeat(100_000))),
        Some(format!("Basic {good}")),
        Some(good.clone()),
        Some(format!("Bearer {}", ground.node_token)),
    ];
    for authorization in rows {
        let mut ask = Ask::new("GET", &path);
        if let Some(value) = &authorization {
            ask = ask.header("authorization", value);
        }
        let answer = ask.of(&ground.router).await;
        assert_eq!((answer.status, answer.text().as_str()), (401, UNAUTHENTICATED), "{authorization:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("x-ratelimit-limit"), None);
    }
    // Never a redirect to a login page, whatever is accepted.
    for accept in ["text/html", "*/*", "application/json", "Application/vnd.pterodactyl.v1+json"] {
        let answer = Ask::new("GET", &path).header("accept", accept).of(&ground.router).await;
        assert_eq!((answer.status, answer.text().as_str()), (401, UNAUTHENTICATED), "{accept}");
        assert_eq!(Ask::new("GET", &path).header("accept", accept).key(good).of(&ground.router).await.status, 200);
    }
    let lower = Ask::new("GET", &path).header("authorization", &format!("bearer {good}"));
    assert_eq!(lower.of(&ground.router).await.status, 200);
}

#[tokio::test]
async fn keys_that_open_nothing_any_more() {
    // It asks as fast as it can until the key expires.
    let ground = Ground::with(|config| config.client_per_minute = 1_000_000).await;
    let friend = ground.person("friend").await;
    assert_eq!(ground.get("/api/client", &friend.key).await.status, 200);
    let gone = ground.ask("DELETE", "/api/application/users/friend", &ground.admin.key).await;
    assert_eq!(gone.status, 204);
    assert_eq!(ground.get("/api/client", &friend.key).await.text(), UNAUTHENTICATED);

    let soon = std::time::SystemTime::now() + Duration::from_millis(300);
    let millis = soon.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let time = jiff_text(i64::try_from(millis).unwrap());
    let body = json!({ "description": "short", "expires_at": time });
    let made = ground.send("POST", "/api/client/account/api-keys", &ground.admin.key, &body).await.json();
    let key = format!(
        "{}{}",
        made["attributes"]["identifier"].as_str().unwrap(),
        made["meta"]["secret_token"].as_str().unwrap()
    );
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let answer = ground.get("/api/client/account", &key).await;
        if answer.status == 401 {
            assert_eq!(answer.text(), UNAUTHENTICATED);
            assert!(std::time::SystemTime::now() >= soon - Duration::from_millis(1), "expired too early");
            break;
        }
        assert_eq!(answer.status, 200);
        assert!(Instant::now() < deadline, "the key does not expire");
        tokio::task::yield_now().await;
    }
}

fn jiff_text(millis: i64) -> String {
    jiff::Timestamp::from_millisecond(millis).unwrap().to_string()
}

#[tokio::test]
async fn keys_with_a_list_of_addresses() {
    let ground = Ground::with(|config| config.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()]).await;
    let body = json!({ "description": "office", "allowed_ips": ["203.0.113.0/24", "2001:db8::1"] });
    let made = ground.send("POST", "/api/client/account/api-keys", &ground.admin.key, &body).await.json();
    let key = format!(
        "{}{}",
        made["attributes"]["identifier"].as_str().unwrap(),
        made["meta"]["secret_token"].as_str().unwrap()
    );
    let ask = || Ask::new("GET", "/api/client").key(&key);
    assert_eq!(ask().from("203.0.113.7").of(&ground.router).await.status, 200);
    assert_eq!(ask().from("2001:db8::1").of(&ground.router).await.status, 200);
    let refused = ask().from("198.51.100.1").of(&ground.router).await;
    assert_eq!(refused.refusal(), (403, "AccessDeniedHttpException".into()));
    // Without a listener the peer is this machine, which is not in the list either.
    assert_eq!(ask().of(&ground.router).await.status, 403);
    // A stranger cannot claim an address; a trusted proxy can pass it on.
    let claimed = ask().from("198.51.100.1").header("x-forwarded-for", "203.0.113.7").of(&ground.router).await;
    assert_eq!(claimed.status, 403);
    let passed = ask().from("10.1.1.1").header("x-forwarded-for", "203.0.113.7").of(&ground.router).await;
    assert_eq!(passed.status, 200);
}

#[tokio::test]
async fn servers_that_are_not_there() {
    let ground = Ground::new().await;
    let stranger = ground.person("stranger").await;
    let server = ground.server("one", &ground.admin).await;
    let short = server.short();
    let not_found = ground.get("/api/client/nothing/here", &stranger.key).await.text();
    for id in [
        "00000000-0000-0000-0000-000000000000",
        "zzzzzzzz",
        "1",
        "x",
        "%FF%FE%FF%FF%FF%FF%FF%FF",
        "'%20OR%201=1--",
        &server.to_string(),
        &short,
        &server.to_string().replace('-', ""),
    ] {
        for rest in ["", "/websocket", "/resources", "/activity", "/users"] {
            let answer = ground.get(&format!("/api/client/servers/{id}{rest}"), &stranger.key).await;
            assert_eq!(answer.refusal(), (404, "NotFoundHttpException".into()), "{id}{rest}");
            // A server that is not there and one that is not theirs look the same to the byte.
            assert_eq!(answer.text(), not_found, "{id}{rest}");
        }
    }
    for id in [server.to_string(), short.clone(), short.to_uppercase(), server.to_string().to_uppercase()] {
        assert_eq!(ground.get(&format!("/api/client/servers/{id}"), &ground.admin.key).await.status, 200, "{id}");
    }
    // A number is only known to administrators' routes.
    assert_eq!(ground.get("/api/client/servers/1", &ground.admin.key).await.status, 404);
    assert_eq!(ground.get("/api/application/servers/1", &ground.admin.key).await.status, 200);
}

/// Bytes that are no UTF-8 name nothing. A route that reads its path in another way answers with a text and 400.
#[tokio::test]
async fn paths_that_are_no_text_are_not_found() {
    let ground = Ground::with(|config| config.application_per_minute = 10_000).await;
    let description: serde_json::Value = serde_json::from_str(&ground.panel.openapi().unwrap()).unwrap();
    let mut routes: Vec<(String, String)> = Vec::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        routes.extend(item.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.clone())));
    }
    for (method, path) in [("GET", ""), ("POST", "/install"), ("POST", "/container/status")] {
        routes.push((method.to_owned(), format!("/api/remote/servers/{{server}}{path}")));
    }
    routes.push(("GET".to_owned(), "/api/docs/{file}".to_owned()));
    let server = ground.server("one", &ground.admin).await.to_string();
    let not_found = r#"{"errors":[{"code":"NotFoundHttpException","status":"404","detail":"The requested resource could not be found on this panel."}]}"#;
    let mut asked = 0;
    for (method, path) in routes.iter().filter(|(_, path)| path.contains('{')) {
        let names = path.split('{').skip(1).map(|part| part.split('}').next().unwrap());
        for bad in names {
            let filled = path.replace(&format!("{{{bad}}}"), "%FF%FE");
            let filled = filled.replace("{server}", &server).replace("{user}", "1").replace("{identifier}", "x");
            let key = if path.starts_with("/api/remote") {
                ground.node_bearer()
            } else {
                format!("Bearer {}", ground.admin.key)
            };
            let answer = Ask::new(method, &filled).header("authorization", &key).of(&ground.router).await;
            assert_eq!((answer.status, answer.text().as_str()), (404, not_found), "{method} {filled}");
            assert_eq!(answer.header("content-type"), Some("application/json"), "{method} {filled}");
            asked += 1;
        }
    }
    assert!(asked > 40, "{asked}");
}

/// What is wrong with a request, in its exact words.
#[tokio::test]
async fn the_words_of_refusals() {
    let ground = Ground::new().await;
    let friend = ground.person("friend").await;
    let one = ground.server("one", &friend).await;
    let [suspended, failed] = [ground.server("two", &friend).await, ground.server("three", &friend).await];
    ground.suspend(suspended).await;
    ground.fail_installation(failed).await;
    let application = ground.panel.create_application_key(ground.admin.user.uuid, "robot").await.unwrap();
    let at = |server: wire::ids::ServerId, rest: &str| format!("/api/client/servers/{server}{rest}");
    let ask = |method: &str, path: &str, key: &str| Ask::new(method, path).key(key);
    let json = |path: &str, body: &str| ask("POST", path, &friend.key).text("application/json", body);
    let denied = "An application key opens /api/application only: use an account key here.";
    let method = "This method is not supported here; the Allow header lists those that are.";
    let not_installed = "This server is not installed yet. Try again when its installation has finished.";
    let rows = [
        (ask("GET", "/api/client", &application), 403, "AccessDeniedHttpException", denied),
        (ask("GET", &at(one, "/websocket"), &application), 403, "AccessDeniedHttpException", denied),
        (ask("DELETE", &at(one, "/websocket"), &friend.key), 405, "MethodNotAllowedHttpException", method),
        (
            json(&at(one, "/command"), "{\"command\":"),
            400,
            "BadRequestHttpException",
            "The body is not valid JSON: EOF while parsing a value at line 1 column 11.",
        ),
        (
            json(&at(one, "/command"), &format!("{{\"command\":\"{}\"}}", "x".repeat(1 << 20))),
            413,
            "PostTooLargeException",
            "The body is longer than 262144 bytes.",
        ),
        (
            ask("GET", &at(suspended, "/websocket"), &friend.key),
            409,
            "ServerStateConflictException",
            "This server is suspended. Ask an administrator.",
        ),
        (ask("GET", &at(failed, "/websocket"), &friend.key), 409, "ServerStateConflictException", not_installed),
    ];
    for (ask, status, code, detail) in rows {
        assert_eq!(ask.of(&ground.router).await.error(), (status, code.to_owned(), detail.to_owned()));
    }
    // How long a command may be is the node's to say; its words reach the caller.
    let line = format!("POST /api/servers/{one}/commands");
    let text = "this command is 100000 bytes long, 4096 are allowed";
    ground.node.answer(&line, 422, json!({ "error": text, "request_id": "x" }));
    ground.node.take();
    let body = json!({ "command": "x".repeat(100_000) });
    let refused = ground.send("POST", &at(one, "/command"), &friend.key, &body).await;
    assert_eq!(refused.error(), (422, "DaemonConnectionException".into(), text.into()));
    let asked = ground.node.take();
    assert_eq!((asked[0].line.as_str(), &asked[0].body["commands"]), (line.as_str(), &json!(["x".repeat(100_000)])));
    let record = ground.get(&at(one, "/activity"), &friend.key).await.json();
    assert_eq!(record["data"], json!([]), "what was refused is not in the record");
}

/// Anybody could fill the panel's memory: bodies were kept before it was known whose they were.
#[tokio::test]
async fn bodies_of_strangers_are_not_kept() {
    const STRANGERS: usize = 48;
    let ground = Ground::new().await;
    let kib = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap()
    };
    // All pieces of all bodies are the same memory, so what grows is what is kept of them.
    let piece = Bytes::from(vec![b' '; 64 * 1024]);
    for (path, authorization, pieces, status) in [
        ("/api/remote/activity", Some("Bearer a.b"), 31, 403),
        ("/api/remote/activity", Some("Bearer a"), 31, 400),
        ("/api/remote/activity", None, 31, 401),
        ("/api/client/account/api-keys", Some("Bearer x"), 3, 401),
    ] {
        let before = kib();
        let (read, mut all_read) = tokio::sync::watch::channel(0_usize);
        let (end, ended) = tokio::sync::watch::channel(false);
        let asked: Vec<_> = (0..STRANGERS)
            .map(|_| {
                let (piece, read, mut ended) = (piece.clone(), read.clone(), ended.clone());
                let pieces = futures_util::stream::iter(vec![piece; pieces]).map(Ok::<_, std::io::Error>);
                let last = futures_util::stream::once(async move {
                    read.send_modify(|count| *count += 1);
                    ended.wait_for(|ended| *ended).await.unwrap();
                    Ok(Bytes::new())
                });
                let mut ask = Ask::new("POST", path).stream(Body::from_stream(pieces.chain(last)));
                if let Some(authorization) = authorization {
                    ask = ask.header("authorization", authorization);
                }
                let router = ground.router.clone();
                tokio::spawn(async move { ask.of(&router).await.status })
            })
            .collect();
        all_read.wait_for(|count| *count == STRANGERS).await.unwrap();
        let grown = kib().saturating_sub(before);
        assert!(grown < STRANGERS * pieces * 64 / 4, "{path} {authorization:?}: {grown} KiB");
        end.send(true).unwrap();
        for asked in asked {
            assert_eq!(asked.await.unwrap(), status, "{path} {authorization:?}");
        }
    }
    // One that is too long is still the earlier fault, also without end.
    for (path, piece) in [("/api/remote/activity", piece.clone()), ("/api/client/account/api-keys", piece)] {
        let endless = futures_util::stream::repeat_with(move || Ok::<_, std::io::Error>(piece.clone()));
        let answer = Ask::new("POST", path).stream(Body::from_stream(endless)).of(&ground.router).await;
        assert_eq!(answer.refusal(), (413, "PostTooLargeException".into()), "{path}");
    }
}

#[tokio::test]
async fn application_keys_open_the_application_api_only() {
    let ground = Ground::new().await;
    let server = ground.server("one", &ground.admin).await;
    let key = ground.panel.create_application_key(ground.admin.user.uuid, "robot").await.unwrap();
    assert!(key.starts_with("ptla_") && key.len() == 48, "{}", key.len());
    assert_eq!(ground.get("/api/application/users", &key).await.status, 200);
    let denied = (403, "AccessDeniedHttpException".to_owned());
    for path in ["", "/account", "/permissions", "/account/api-keys"] {
        assert_eq!(ground.get(&format!("/api/client{path}"), &key).await.refusal(), denied, "{path}");
    }
    for rest in ["", "/websocket", "/resources", "/users"] {
        assert_eq!(ground.get(&format!("/api/client/servers/{server}{rest}"), &key).await.refusal(), denied, "{rest}");
    }
    // An unknown server comes before the kind of key.
    assert_eq!(ground.get("/api/client/servers/zzzzzzzz", &key).await.status, 404);
    let nobody = ground.person("nobody").await;
    assert_eq!(ground.get("/api/application/users", &nobody.key).await.refusal(), denied);
    let foreign = ground.panel.create_application_key(nobody.user.uuid, "robot").await.unwrap();
    assert_eq!(ground.get("/api/application/users", &foreign).await.refusal(), denied);
}

#[tokio::test]
async fn paths_and_methods() {
    let ground = Ground::new().await;
    let server = ground.server("one", &ground.admin).await;
    let key = &ground.admin.key;
    for path in [
        "/api",
        "/api/",
        "/api/nothing",
        "/api/client/nothing",
        "/api/remote/nothing",
        "/api/client/servers",
        "/nothing",
        "/",
    ] {
        let answer = Ask::new("GET", path).of(&ground.router).await;
        assert_eq!(answer.refusal(), (404, "NotFoundHttpException".into()), "{path}");
    }
    // The method is refused before anything else is looked at.
    for (method, path, allow) in [
        ("POST", "/api/client".to_owned(), "GET,HEAD"),
        ("DELETE", format!("/api/client/servers/{server}/websocket"), "GET,HEAD"),
        ("GET", format!("/api/client/servers/{server}/power"), "POST"),
        ("PATCH", "/api/client/account/api-keys".to_owned(), "GET,HEAD,POST"),
        ("BREW", "/api/application/nodes".to_owned(), "GET,HEAD,POST"),
        ("PUT", "/api/remote/activity".to_owned(), "POST"),
        ("POST", "/api/docs/openapi.json".to_owned(), "GET,HEAD"),
    ] {
        let answer = Ask::new(method, &path).of(&ground.router).await;
        assert_eq!(answer.refusal(), (405, "MethodNotAllowedHttpException".into()), "{method} {path}");
        let mut allowed: Vec<&str> = answer.header("allow").unwrap().split(',').collect();
        allowed.sort_unstable();
        assert_eq!(allowed.join(","), allow, "{method} {path}");
    }
    for path in ["/api/client/", "/api/client?x=y", "/api/client/?page=1", "/api/client//", "/api/client/account/"] {
        assert_eq!(ground.get(path, key).await.status, 200, "{path}");
    }
    for rest in ["/", "/websocket/", "/resources/?page=1&include=x"] {
        assert_eq!(ground.get(&format!("/api/client/servers/{server}{rest}"), key).await.status, 200, "{rest}");
    }
    let head = ground.ask("HEAD", "/api/client/account", key).await;
    assert_eq!((head.status, head.bytes.len()), (200, 0));
    assert_eq!(head.header("content-type"), Some("application/json"));
    assert_eq!(ground.ask("HEAD", "/api/client/account", "x").await.status, 401);
    // Clients send a content type with everything.
    let typed = Ask::new("GET", "/api/client").key(key).header("content-type", "application/json");
    assert_eq!(typed.of(&ground.router).await.status, 200);
}

#[tokio::test]
async fn bodies() {
    let ground = Ground::new().await;
    let server = ground.server("one", &ground.admin).await;
    let path = format!("/api/client/servers/{server}/command");
    let ask = || Ask::new("POST", &path).key(&ground.admin.key);
    let router = &ground.router;

    for broken in ["{", "{\"command\":", "nonsense", "{\"command\":\"a\"} x", "\u{0}", &"[".repeat(100_000)] {
        for kind in
            ["application/json", "application/json; charset=utf-8", "application/vnd.pterodactyl.v1+json", "TEXT/JSON"]
        {
            let answer = ask().text(kind, broken).of(router).await;
            assert_eq!(answer.refusal(), (400, "BadRequestHttpException".into()), "{kind} {broken:.20}");
        }
        let other = ask().text("text/plain", broken).of(router).await;
        assert_eq!(other.invalid(), crate::ground::pairs(&[("command", "required")]), "{broken:.20}");
    }
    let latin1 = ask().header("content-type", "application/json").stream(Body::from(&b"{\"command\":\"\xff\"}"[..]));
    assert_eq!(latin1.of(router).await.status, 400);

    // Nothing, or something that is no object, has no fields.
    for body in ["", "  ", "null", "[]", "1", "\"x\"", "{}", "{\"command\":null}", "{\"command\":\" \"}"] {
        let answer = ask().text("application/json", body).of(router).await;
        assert_eq!(answer.invalid(), crate::ground::pairs(&[("command", "required")]), "{body}");
    }
    let wrong = ask().json(&json!({ "command": ["a"] })).of(router).await;
    assert_eq!(wrong.invalid(), crate::ground::pairs(&[("command", "string")]));
    let text = "The command must be a string.";
    let expected = json!({ "errors": [{ "code": "ValidationException", "status": "422", "detail": text,
        "meta": { "source_field": "command", "rule": "string" } }] });
    assert_eq!(wrong.json(), expected);
    assert_eq!(ground.node.take(), [], "the node was asked about nonsense");

    // A body without a type that happens to be JSON is taken, as curl's -d sends it.
    let form = ask().text("application/x-www-form-urlencoded", r#"{"command":"say hi"}"#).of(router).await;
    assert_eq!(form.status, 204);
}

#[tokio::test]
async fn bodies_that_are_too_long() {
    let ground = Ground::new().await;
    let server = ground.server("one", &ground.admin).await;
    let path = format!("/api/client/servers/{server}/command");
    let long = |bytes: usize| json!({ "command": "x".repeat(bytes) });
    let too_long = (413, "PostTooLargeException".to_owned());
    let sent = ground.send("POST", &path, &ground.admin.key, &long(1 << 20)).await;
    assert_eq!(sent.refusal(), too_long);
    // The length is looked at before the key, as it is a matter of the whole server.
    assert_eq!(ground.send("POST", &path, "x", &long(1 << 20)).await.refusal(), too_long);
    let announced = Ask::new("POST", &path).key(&ground.admin.key).header("content-length", "1000000000000");
    assert_eq!(announced.of(&ground.router).await.refusal(), too_long);
    // Without an announced length, in pieces, and without end.
    let piece = Bytes::from(vec![b' '; 64 * 1024]);
    let endless = futures_util::stream::repeat_with(move || Ok::<_, std::io::Error>(piece.clone()));
    let chunked = Ask::new("POST", &path).key(&ground.admin.key).stream(Body::from_stream(endless));
    assert_eq!(chunked.of(&ground.router).await.refusal(), too_long);
    // Just below the limit it is a matter of the node.
    assert_eq!(ground.send("POST", &path, &ground.admin.key, &long(250_000)).await.status, 204);
    let broken = futures_util::stream::iter([Ok(Bytes::from("{")), Err(std::io::Error::other("gone"))]);
    let broken = Ask::new("POST", &path).key(&ground.admin.key).stream(Body::from_stream(broken));
    assert_eq!(broken.of(&ground.router).await.refusal(), (400, "BadRequestHttpException".into()));
}

/// 413, 401, 400, 403 (address), 429, 404, 403 (kind of key), 404 (no relation), 409, 403 (permission): each request below has
/// all the later faults as well, so it shows that the earlier one decides.
#[tokio::test]
async fn the_order_of_failures() {
    let ground = Ground::with(|config| config.client_per_minute = 9).await;
    let stranger = ground.person("stranger").await;
    let friend = ground.person("friend").await;
    let theirs = ground.server("theirs", &ground.admin).await;
    let shared = ground.server("shared", &ground.admin).await;
    ground.share(shared, &friend, &["websocket.connect"]).await;
    ground.suspend(theirs).await;
    let body = json!({ "description": "nowhere", "allowed_ips": ["192.0.2.1"] });
    let made = ground.send("POST", "/api/client/account/api-keys", &stranger.key, &body).await.json();
    let fenced = format!(
        "{}{}",
        made["attributes"]["identifier"].as_str().unwrap(),
        made["meta"]["secret_token"].as_str().unwrap()
    );
    let application = ground.panel.create_application_key(stranger.user.uuid, "robot").await.unwrap();
    let theirs = format!("/api/client/servers/{theirs}/command");
    let unknown = "/api/client/servers/zzzzzzzz/command";
    let long = "{".repeat(300_000);
    let ask = |path: &str, key: &str, body: &str| Ask::new("POST", path).key(key).text("application/json", body);
    let shared = format!("/api/client/servers/{shared}/command");
    // The last column: whether the request was counted.
    let rows = [
        (ask(unknown, "x", &long), 413, "PostTooLargeException", false),
        (ask(unknown, "x", "{"), 401, "AuthenticationException", false),
        (ask(unknown, &fenced, "{"), 400, "BadRequestHttpException", false),
        (ask(unknown, &fenced, "{}"), 403, "AccessDeniedHttpException", false),
        (ask(unknown, &application, "{}"), 404, "NotFoundHttpException", true),
        (ask(&theirs, &application, "{}"), 403, "AccessDeniedHttpException", true),
        (ask(&theirs, &stranger.key, "{}"), 404, "NotFoundHttpException", true),
        (ask(&theirs, &ground.admin.key, "{}"), 409, "ServerStateConflictException", true),
        (ask(&shared, &friend.key, "{}"), 403, "AccessDeniedHttpException", true),
        (ask(&shared, &ground.admin.key, "{}"), 422, "ValidationException", true),
    ];
    for (ask, status, code, counted) in rows {
        let answer = ask.of(&ground.router).await;
        assert_eq!(answer.refusal(), (status, code.to_owned()));
        assert_eq!(answer.header("x-ratelimit-remaining").is_some(), counted, "{status} {code}");
    }
    // Use up the stranger's budget: from then on the limit hides what is behind it, but not what is before.
    let mut last = ground.get("/api/client", &stranger.key).await;
    for _ in 0..20 {
        last = ground.get("/api/client", &stranger.key).await;
    }
    assert_eq!(last.refusal(), (429, "ThrottleRequestsException".into()));
    assert_eq!(ask(unknown, &stranger.key, "{}").of(&ground.router).await.status, 429);
    assert_eq!(ask(unknown, &fenced, "{}").of(&ground.router).await.status, 403);
    assert_eq!(ask(unknown, &fenced, "{").of(&ground.router).await.status, 400);
}

#[tokio::test]
async fn rate_limits() {
    let ground = Ground::with(|config| {
        config.client_per_minute = 10;
        config.application_per_minute = 100;
        config.websocket_per_minute = 2;
    })
    .await;
    let friend = ground.person("friend").await;
    let one = ground.server("one", &friend).await;
    let two = ground.server("two", &friend).await;
    let figures = |answer: &crate::ground::Answer| {
        let number = |name: &str| answer.header(name).map(|text| text.parse::<i64>().unwrap());
        (answer.status, number("x-ratelimit-limit"), number("x-ratelimit-remaining"))
    };
    assert_eq!(figures(&ground.get("/api/client", &friend.key).await), (200, Some(10), Some(9)));
    // Of two limits the one that is nearer to its end shows.
    let path = format!("/api/client/servers/{one}/websocket");
    assert_eq!(figures(&ground.get(&path, &friend.key).await), (200, Some(2), Some(1)));
    assert_eq!(figures(&ground.get(&path, &friend.key).await), (200, Some(2), Some(0)));
    let refused = ground.get(&path, &friend.key).await;
    assert_eq!(figures(&refused), (429, Some(2), Some(0)));
    assert_eq!(refused.error(), (429, "ThrottleRequestsException".into(), "Too Many Attempts.".into()));
    let retry_after: i64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=30).contains(&retry_after), "{retry_after}");
    let reset: i64 = refused.header("x-ratelimit-reset").unwrap().parse().unwrap();
    let now = jiff::Timestamp::now().as_second();
    assert!((now..=now + 31).contains(&reset), "{reset} at {now}");
    // Another server, and another person on the same one, have budgets of their own.
    let other = format!("/api/client/servers/{two}/websocket");
    assert_eq!(figures(&ground.get(&other, &friend.key).await), (200, Some(2), Some(1)));
    assert_eq!(figures(&ground.get(&path, &ground.admin.key).await), (200, Some(2), Some(1)));
    // What is not found costs as well, and a second key of the same person has the same budget.
    let second = ground.panel.create_client_key(friend.user.uuid, "second").await.unwrap();
    let (status, limit, before) = figures(&ground.get("/api/client/servers/zzzzzzzz", &second).await);
    assert_eq!((status, limit), (404, Some(10)));
    let (_, _, after) = figures(&ground.get("/api/client/account", &friend.key).await);
    assert!(after.unwrap() < before.unwrap() && before.unwrap() < 6, "{before:?} {after:?}");
    for _ in 0..20 {
        ground.get("/api/client/account", &second).await;
    }
    let refused = ground.get("/api/client/account", &friend.key).await;
    assert_eq!(figures(&refused), (429, Some(10), Some(0)));
    assert!(refused.header("retry-after").is_some());
    // Administration counts apart.
    let (status, limit, _) = figures(&ground.get("/api/application/users", &ground.admin.key).await);
    assert_eq!((status, limit), (200, Some(100)));
}

#[tokio::test]
async fn nothing_of_a_secret_is_in_an_answer_or_a_file() {
    let ground = Ground::new().await;
    let secret = &ground.admin.key[16..];
    let shown = ground.get("/api/client/account/api-keys", &ground.admin.key).await;
    assert_eq!(shown.json()["data"].as_array().unwrap().len(), 1);
    for path in [
        "/api/client/account/api-keys",
        "/api/application/users",
        "/api/application/users/1/api-keys",
        "/api/application/nodes",
        "/api/application/nodes/1",
    ] {
        let text = ground.get(path, &ground.admin.key).await.text();
        assert!(!text.contains(secret) && !text.contains(&ground.node_token) && !text.contains("argon2"), "{path}");
    }
    let file = ground.dir.path().join("panel.sqlite");
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&file).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    for entry in std::fs::read_dir(ground.dir.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(!holds(secret) && !holds("hunter22"), "{}", path.display());
        assert_eq!(std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap()) & 0o077, 0);
    }
}
