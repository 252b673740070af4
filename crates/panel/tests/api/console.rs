//! What is asked of the node: power, commands, resources; and a test per permission.

use serde_json::{Value, json};

use crate::ground::{Ground, pairs};
use crate::node::{Asked, details};

#[tokio::test]
async fn power_and_commands_reach_the_node_and_the_record() {
    let ground = Ground::new().await;
    let owner = ground.person("owner").await;
    let server = ground.server("one", &owner).await;
    let base = format!("/api/client/servers/{server}");
    let bearer = format!("Bearer {}", ground.node_token);
    for signal in ["start", "stop", "restart", "kill"] {
        let done = ground.send("POST", &format!("{base}/power"), &owner.key, &json!({ "signal": signal })).await;
        assert_eq!((done.status, done.bytes.len()), (204, 0), "{signal}");
        let line = format!("POST /api/servers/{server}/power");
        let body = json!({ "action": signal, "user": owner.user.uuid });
        assert_eq!(
            ground.node.take(),
            [Asked { line, query: String::new(), authorization: bearer.clone(), user: None, body }]
        );
    }
    let command = "  say \"ü\" \u{1b}[31m; rm -rf / \n";
    let done = ground.send("POST", &format!("{base}/command"), &owner.key, &json!({ "command": command })).await;
    assert_eq!((done.status, done.bytes.len()), (204, 0));
    let line = format!("POST /api/servers/{server}/commands");
    let body = json!({ "commands": [command.trim()], "user": owner.user.uuid });
    assert_eq!(ground.node.take(), [Asked { line, query: String::new(), authorization: bearer, user: None, body }]);

    let list = ground.get(&format!("{base}/activity"), &owner.key).await.json();
    let events: Vec<&str> =
        list["data"].as_array().unwrap().iter().map(|item| item["attributes"]["event"].as_str().unwrap()).collect();
    let expected = [
        "server:console.command",
        "server:power.kill",
        "server:power.restart",
        "server:power.stop",
        "server:power.start",
    ];
    assert_eq!(events, expected);
    let newest = &list["data"][0];
    assert_eq!(newest["object"], "activity_log");
    let attributes = &newest["attributes"];
    assert_eq!(attributes["properties"], json!({ "command": command.trim() }));
    assert_eq!((&attributes["is_api"], &attributes["ip"]), (&json!(true), &json!("127.0.0.1")));
    assert_eq!(attributes["has_additional_metadata"], json!(true));
    assert_eq!(attributes["relationships"]["actor"]["attributes"]["username"], "owner");
    assert_eq!(list["meta"]["pagination"]["per_page"], 25);
}

#[tokio::test]
async fn what_the_node_refuses_is_passed_on() {
    let mut ground = Ground::new().await;
    let server = ground.server("one", &ground.admin).await;
    let base = format!("/api/client/servers/{server}");
    let power = format!("POST /api/servers/{server}/power");
    let commands = format!("POST /api/servers/{server}/commands");
    let details_line = format!("GET /api/servers/{server}");
    let no = |text: &str| json!({ "error": text, "request_id": "x" });
    let send = async |rest: &str| {
        let body = json!({ "command": "list", "signal": "start" });
        ground.send("POST", &format!("{base}/{rest}"), &ground.admin.key, &body).await.error()
    };
    let daemon = "DaemonConnectionException";
    let rows: [(u16, Value, &str, u16, &str, &str); 9] = [
        (502, no("The server is not running."), "command", 502, "HttpException", "The server is not running."),
        (409, no("Another action is under way."), "power", 409, daemon, "Another action is under way."),
        (400, no("Commands may not hold line breaks."), "command", 400, daemon, "Commands may not hold line breaks."),
        (413, no("Too long."), "command", 413, daemon, "Too long."),
        (422, no("bad action"), "power", 422, daemon, "bad action"),
        (500, no("disk full"), "power", 500, daemon, "disk full"),
        (502, no("gone"), "power", 502, daemon, "gone"),
        (302, Value::Null, "power", 502, daemon, "The node answered 302 Found without saying why."),
        (
            401,
            no("secret details of the node"),
            "power",
            502,
            daemon,
            "The node refuses the panel's credentials. Ask an administrator.",
        ),
    ];
    for (status, body, rest, expected, code, detail) in rows {
        ground.node.answer(&power, status, body.clone());
        ground.node.answer(&commands, status, body);
        assert_eq!(send(rest).await, (expected, code.to_owned(), detail.to_owned()), "{status} {rest}");
    }
    // Resources: whatever the node says, it is a 504.
    for (status, body) in [(500, no("x")), (404, no("x")), (200, json!({ "state": "nonsense" }))] {
        ground.node.answer(&details_line, status, body);
        let answer = ground.get(&format!("{base}/resources"), &ground.admin.key).await;
        assert_eq!(answer.refusal(), (504, daemon.to_owned()), "{status}");
    }
    ground.node.stop().await;
    for rest in ["command", "power"] {
        let body = json!({ "command": "list", "signal": "start" });
        let answer = ground.send("POST", &format!("{base}/{rest}"), &ground.admin.key, &body).await;
        assert_eq!(answer.refusal(), (504, daemon.to_owned()), "{rest}");
    }
    assert_eq!(ground.get(&format!("{base}/resources"), &ground.admin.key).await.status, 504);
    // Nothing of it was done, so nothing of it is on record.
    let list = ground.get(&format!("{base}/activity"), &ground.admin.key).await.json();
    assert_eq!(list["data"], json!([]));
}

#[tokio::test]
async fn resources_have_the_stock_shape_and_are_shared_for_a_moment() {
    let ground = Ground::new().await;
    let server = ground.server("one", &ground.admin).await;
    let path = format!("/api/client/servers/{server}/resources");
    let line = format!("GET /api/servers/{server}");
    ground.node.answer(&line, 200, details("running"));
    let expected = json!({ "object": "stats", "attributes": {
        "current_state": "running", "is_suspended": false,
        "resources": { "memory_bytes": 1000, "cpu_absolute": 12.5, "disk_bytes": 77, "network_rx_bytes": 3,
            "network_tx_bytes": 4, "uptime": 60000 } } });
    let first = ground.get(&path, &ground.admin.key).await;
    assert_eq!((first.status, first.json()), (200, expected.clone()));
    for _ in 0..5 {
        assert_eq!(ground.get(&path, &ground.admin.key).await.json(), expected);
    }
    let asked = ground.node.take_lines();
    assert!(asked.len() < 3, "{asked:?}");
    // A report of the node ends the moment.
    ground.node.answer(&line, 200, details("offline"));
    let change = json!({ "data": { "previous_state": "running", "new_state": "offline" } });
    let report = format!("/api/remote/servers/{server}/container/status");
    let said = ground.as_node("POST", &report, &change).await;
    assert_eq!((said.status, said.text().as_str()), (200, "[]"));
    let now = ground.get(&path, &ground.admin.key).await.json();
    let zeros = json!({ "memory_bytes": 0, "cpu_absolute": 0.0, "disk_bytes": 77, "network_rx_bytes": 0,
        "network_tx_bytes": 0, "uptime": 0 });
    assert_eq!((&now["attributes"]["current_state"], &now["attributes"]["resources"]), (&json!("offline"), &zeros));
    let shown = ground.get(&format!("/api/application/servers/{server}"), &ground.admin.key).await.json();
    assert_eq!(shown["attributes"]["state"], "offline");
}

#[tokio::test]
async fn signals_that_do_not_exist() {
    let ground = Ground::new().await;
    let owner = ground.person("owner").await;
    let friend = ground.person("friend").await;
    let server = ground.server("one", &owner).await;
    ground.share(server, &friend, &["control.start", "control.stop", "control.restart"]).await;
    let path = format!("/api/client/servers/{server}/power");
    for (body, rule) in [
        (json!({ "signal": "explode" }), "in"),
        (json!({ "signal": "START" }), "in"),
        (json!({ "signal": "" }), "required"),
        (json!({ "signal": null }), "required"),
        (json!({}), "required"),
        (json!({ "signal": 7 }), "required"),
    ] {
        for key in [&owner.key, &ground.admin.key] {
            assert_eq!(ground.send("POST", &path, key, &body).await.invalid(), pairs(&[("signal", rule)]), "{body}");
        }
        let refused = ground.send("POST", &path, &friend.key, &body).await.refusal();
        assert_eq!(refused, (403, "AccessDeniedHttpException".into()), "{body}");
    }
    assert_eq!(ground.node.take(), []);
}

/// Every permission that an endpoint asks for: whoever holds only this one may do this and nothing else.
#[tokio::test]
async fn a_permission_opens_its_endpoint_and_no_other() {
    let ground = Ground::with(|config| config.client_per_minute = 10_000).await;
    let friend = ground.person("friend").await;
    let other = ground.person("other").await;
    let server = ground.server("one", &ground.admin).await;
    ground.share(server, &friend, &[]).await;
    ground.share(server, &other, &[]).await;
    let base = format!("/api/client/servers/{server}");
    let them = format!("/users/{}", other.user.uuid);
    let none = json!({});
    let rows: Vec<(&str, &str, String, Value, u16)> = vec![
        ("control.start", "POST", "/power".into(), json!({ "signal": "start" }), 204),
        ("control.stop", "POST", "/power".into(), json!({ "signal": "stop" }), 204),
        ("control.stop", "POST", "/power".into(), json!({ "signal": "kill" }), 204),
        ("control.restart", "POST", "/power".into(), json!({ "signal": "restart" }), 204),
        ("control.console", "POST", "/command".into(), json!({ "command": "list" }), 204),
        ("activity.read", "GET", "/activity".into(), none.clone(), 200),
        ("backup.read", "GET", "/backups".into(), none.clone(), 200),
        ("user.read", "GET", "/users".into(), none.clone(), 200),
        ("user.read", "GET", them.clone(), none.clone(), 200),
        // 400: it is there already; what matters is that it was not a 403.
        ("user.create", "POST", "/users".into(), json!({ "email": "other@example.org", "permissions": [] }), 400),
        ("user.update", "POST", them.clone(), json!({ "permissions": [] }), 200),
        ("user.update", "PUT", them.clone(), json!({ "permissions": [] }), 200),
    ];
    let everything: Vec<&str> = {
        let mut all: Vec<&str> = rows.iter().map(|row| row.0).collect();
        all.extend(["user.delete", "file.read", "startup.read", "allocation.read", "settings.rename"]);
        all.dedup();
        all
    };
    for held in everything {
        let body = json!({ "permissions": [held] });
        let path = format!("{base}/users/{}", friend.user.uuid);
        assert_eq!(ground.send("POST", &path, &ground.admin.key, &body).await.status, 200, "{held}");
        for (asked, method, rest, body, status) in &rows {
            let answer = ground.send(method, &format!("{base}{rest}"), &friend.key, body).await;
            if *asked == held {
                assert_eq!(answer.status, *status, "{held}: {method} {rest} {}", answer.text());
            } else {
                assert_eq!(answer.refusal(), (403, "AccessDeniedHttpException".into()), "{held}: {method} {rest}");
            }
        }
        for rest in ["", "/resources", "/websocket"] {
            assert_eq!(ground.get(&format!("{base}{rest}"), &friend.key).await.status, 200, "{held}: {rest}");
        }
    }
    // Last, because it ends what the others need.
    let path = format!("{base}{them}");
    assert_eq!(ground.ask("DELETE", &path, &friend.key).await.status, 403);
    let body = json!({ "permissions": ["user.delete"] });
    let mine = format!("{base}/users/{}", friend.user.uuid);
    assert_eq!(ground.send("POST", &mine, &ground.admin.key, &body).await.status, 200);
    assert_eq!(ground.ask("DELETE", &path, &friend.key).await.status, 204);
}

#[tokio::test]
async fn backups_are_an_empty_list() {
    let ground = Ground::new().await;
    let server = ground.server("one", &ground.admin).await;
    let answer = ground.get(&format!("/api/client/servers/{server}/backups?page=9"), &ground.admin.key).await;
    let expected = json!({ "object": "list", "data": [], "meta": { "pagination": {
        "total": 0, "count": 0, "per_page": 20, "current_page": 9, "total_pages": 1, "links": {} } } });
    assert_eq!((answer.status, answer.json()), (200, expected));
}
