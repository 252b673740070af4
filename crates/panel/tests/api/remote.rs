//! What nodes ask of the panel.

use serde_json::{Value, json};
use wire::remote::{Definition, ServerPage};

use crate::ground::{Ask, Ground};

#[tokio::test]
async fn credentials_of_nodes() {
    let ground = Ground::new().await;
    let (id, token) = (ground.node_token_id.clone(), ground.node_token.clone());
    let path = "/api/remote/servers";
    let denied = (403, "AccessDeniedHttpException");
    let malformed = (400, "BadRequestHttpException");
    let rows = [
        (format!("Bearer {id}.{token}"), (200, "")),
        (format!("bearer {id}.{token}"), (200, "")),
        (format!("Bearer {token}"), malformed),
        (format!("Bearer {id}."), malformed),
        (format!("Bearer .{token}"), malformed),
        (format!("Bearer {id}.{token}.x"), malformed),
        ("Bearer".to_owned(), malformed),
        (format!("Basic {id}.{token}"), malformed),
        (format!("Bearer {id}.{token}x"), denied),
        (format!("Bearer {id}.x"), denied),
        (format!("Bearer x.{token}"), denied),
        (format!("Bearer {}", ground.admin.key), malformed),
    ];
    for (authorization, (status, code)) in rows {
        let answer = Ask::new("GET", path).header("authorization", &authorization).of(&ground.router).await;
        assert_eq!(answer.status, status, "{authorization:.20}");
        if status != 200 {
            assert_eq!(answer.refusal().1, code, "{authorization:.20}");
        }
        assert_eq!(answer.header("www-authenticate"), None);
    }
    let nobody = Ask::new("GET", path).of(&ground.router).await;
    assert_eq!((nobody.refusal(), nobody.header("www-authenticate")), ((401, "HttpException".into()), Some("Bearer")));
    // A node's credentials open nothing else.
    let answer = Ask::new("GET", "/api/client").header("authorization", &ground.node_bearer()).of(&ground.router).await;
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn definitions() {
    let ground = Ground::new().await;
    let body = json!({ "name": "game", "template": "minetest", "environment": { "X": "1", "PORT": "7" }, "memory": 300,
        "stop": "^C", "ready": ["up", "regex:^ok$"], "console": "pipe", "grace_ms": 1234, "success_exit": ["3"],
        "files": { "motd.txt": "hi" }, "crash_detection": false, "pids": 64, "start_on_completion": true });
    let made = ground.send("POST", "/api/application/servers", &ground.admin.key, &body).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let uuid = made.json()["attributes"]["uuid"].as_str().unwrap().to_owned();
    assert_eq!(ground.node.take()[0].body, json!({ "uuid": uuid, "start_on_completion": true }));
    let answer = ground.as_node("GET", &format!("/api/remote/servers/{uuid}"), &Value::Null).await;
    let definition = answer.json();
    let minetest = "server_name = {{NAME}}\nbind_address = {{BIND}}\nport = {{PORT}}\nserver_announce = false\n";
    let expected = json!({
        "settings": {
            "uuid": uuid, "meta": { "name": "game", "description": "" }, "suspended": false,
            "environment": { "HOME": "{{DIR}}", "X": "1", "PORT": "25565", "SERVER_PORT": "25565", "BIND": "0.0.0.0",
                "SERVER_IP": "0.0.0.0", "NAME": "game", "SERVER_MEMORY": "300", "P_SERVER_UUID": uuid },
            "invocation": "/usr/games/minetestserver --config minetest.conf --logfile debug.txt --gameid minetest_game --world world",
            "crash_detection_enabled": false, "skip_egg_scripts": true,
            "build": { "memory_limit": 300, "swap": 0, "io_weight": 500, "cpu_limit": 0, "threads": null, "disk_space": 0,
                "oom_disabled": true, "pids_limit": 64 },
            "container": { "image": "" }, "mounts": [], "egg": { "id": "", "file_denylist": [] },
            "allocations": { "default": { "ip": "0.0.0.0", "port": 25565 }, "mappings": { "0.0.0.0": [25565] },
                "force_outgoing_ip": false },
        },
        "process_configuration": {
            "startup": { "done": ["up", "regex:^ok$"], "strip_ansi": true },
            "stop": { "type": "signal", "value": "C", "grace_ms": 1234 },
            "console": "pipe", "success_exit": ["3"], "files": { "motd.txt": "hi", "minetest.conf": minetest },
            "configs": [],
        },
    });
    assert_eq!(definition, expected);
    let _: Definition = serde_json::from_value(definition.clone()).unwrap();

    let page = ground.as_node("GET", "/api/remote/servers?page=1&per_page=50", &Value::Null).await.json();
    let mut entry = definition;
    entry["uuid"] = json!(uuid);
    assert_eq!(page["data"], json!([entry]));
    let meta = json!({ "current_page": 1, "from": 1, "last_page": 1, "path": "/api/remote/servers", "per_page": 50, "to": 1, "total": 1 });
    assert_eq!(page["meta"], meta);
    let _: ServerPage = serde_json::from_value(page).unwrap();
}

#[tokio::test]
async fn a_node_sees_its_own_servers_only() {
    let ground = Ground::new().await;
    let mine = ground.server("mine", &ground.admin).await;
    let far = crate::node::ScriptedNode::start().await;
    let body = json!({ "name": "far", "url": far.url });
    assert_eq!(ground.send("POST", "/api/application/nodes", &ground.admin.key, &body).await.status, 201);
    let body = json!({ "name": "theirs", "command": "x", "node": "far" });
    let made = ground.send("POST", "/api/application/servers", &ground.admin.key, &body).await.json();
    let theirs = made["attributes"]["uuid"].as_str().unwrap().to_owned();
    let page = ground.as_node("GET", "/api/remote/servers", &Value::Null).await.json();
    assert_eq!((page["data"].as_array().unwrap().len(), &page["meta"]["total"]), (1, &json!(1)));
    assert_eq!(ground.as_node("GET", &format!("/api/remote/servers/{mine}"), &Value::Null).await.status, 200);
    for id in [theirs.as_str(), "00000000-0000-0000-0000-000000000000", "x", &mine.short()] {
        let answer = ground.as_node("GET", &format!("/api/remote/servers/{id}"), &Value::Null).await;
        assert_eq!(answer.refusal(), (404, "NotFoundHttpException".into()), "{id}");
    }
    let change = json!({ "data": { "previous_state": "running", "new_state": "offline" } });
    for (path, body) in [("container/status", change), ("install", json!({ "successful": false, "reinstall": false }))]
    {
        let answer = ground.as_node("POST", &format!("/api/remote/servers/{theirs}/{path}"), &body).await;
        assert_eq!(answer.status, 404, "{path}");
    }
    // Several pages, as nodes ask for them at boot.
    for number in 0..4 {
        ground.server(&format!("more {number}"), &ground.admin).await;
    }
    let page = ground.as_node("GET", "/api/remote/servers?page=2&per_page=2", &Value::Null).await.json();
    assert_eq!(
        page["meta"],
        json!({ "current_page": 2, "from": 3, "last_page": 3, "path": "/api/remote/servers", "per_page": 2,
        "to": 4, "total": 5 })
    );
    let beyond = ground.as_node("GET", "/api/remote/servers?page=9&per_page=2", &Value::Null).await.json();
    assert_eq!((&beyond["meta"]["from"], &beyond["meta"]["to"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn states_after_a_boot_and_an_installation() {
    let ground = Ground::new().await;
    let server = ground.server("one", &ground.admin).await;
    let status = async || {
        let shown = ground.get(&format!("/api/client/servers/{server}"), &ground.admin.key).await.json();
        shown["attributes"]["status"].clone()
    };
    let install = async |successful: bool, reinstall: bool| {
        let body = json!({ "successful": successful, "reinstall": reinstall });
        let path = format!("/api/remote/servers/{server}/install");
        assert_eq!(ground.as_node("POST", &path, &body).await.status, 204);
    };
    install(false, false).await;
    assert_eq!(status().await, "install_failed");
    // A boot ends what was under way; a failure is not under way.
    let reset = ground.as_node("POST", "/api/remote/servers/reset", &Value::Null).await;
    assert_eq!((reset.status, reset.bytes.len()), (204, 0));
    assert_eq!(status().await, "install_failed");
    install(true, false).await;
    assert_eq!(status().await, Value::Null);
    install(false, true).await;
    assert_eq!(status().await, "reinstall_failed");
    let usable = ground.get(&format!("/api/client/servers/{server}/websocket"), &ground.admin.key).await;
    assert_eq!(usable.status, 200);
    // An installation that ends does not lift a block.
    ground.suspend(server).await;
    install(true, false).await;
    assert_eq!(status().await, "suspended");
    let page = ground.as_node("GET", &format!("/api/remote/servers/{server}"), &Value::Null).await.json();
    assert_eq!(page["settings"]["suspended"], true);
    for body in [json!({}), json!({ "data": { "previous_state": "x", "new_state": "offline" } }), json!([])] {
        let answer = ground.as_node("POST", &format!("/api/remote/servers/{server}/container/status"), &body).await;
        assert_eq!(answer.status, 422, "{body}");
    }
}

fn entry(server: &str) -> Value {
    json!({ "user": null, "server": server, "event": "server:power.start", "metadata": null, "ip": null,
        "timestamp": "2026-11-22T10:00:00.123456789Z" })
}

#[tokio::test]
async fn activity_of_nodes_joins_the_record() {
    let ground = Ground::new().await;
    let server = ground.server("one", &ground.admin).await;
    let id = server.to_string();
    let with = |name: &str, value: Value| {
        let mut entry = entry(&id);
        entry[name] = value;
        entry
    };
    let mut by_admin = with("user", json!(ground.admin.user.uuid));
    by_admin["event"] = json!("server:console.command");
    by_admin["metadata"] = json!({ "command": "list" });
    by_admin["ip"] = json!("2001:db8::1");
    let batch = json!({ "data": [
        by_admin,
        entry(&id),
        with("event", json!("auth:fail")),
        entry("00000000-0000-0000-0000-000000000000"),
        with("ip", json!("")),
        with("metadata", json!([])),
        with("user", json!("00000000-0000-0000-0000-000000000009")),
    ] });
    let sent = ground.as_node("POST", "/api/remote/activity", &batch).await;
    assert_eq!((sent.status, sent.bytes.len()), (200, 0));
    let record = ground.get(&format!("/api/client/servers/{server}/activity"), &ground.admin.key).await.json();
    let all = record["data"].as_array().unwrap();
    assert_eq!(all.len(), 5);
    let oldest = &all[4]["attributes"];
    assert_eq!((&oldest["event"], &oldest["ip"]), (&json!("server:console.command"), &json!("2001:db8::1")));
    assert_eq!((&oldest["properties"], &oldest["is_api"]), (&json!({ "command": "list" }), &json!(false)));
    assert_eq!(oldest["timestamp"], "2026-11-22T10:00:00+00:00");
    assert_eq!(oldest["relationships"]["actor"]["attributes"]["username"], "admin");
    let system = &all[3]["attributes"];
    assert_eq!(system["relationships"]["actor"], json!({ "object": "null_resource", "attributes": null }));
    assert_eq!((&system["properties"], &system["has_additional_metadata"]), (&json!({}), &json!(false)));
    // Somebody else's address is not for everybody who may read the record.
    let friend = ground.person("friend").await;
    ground.share(server, &friend, &["activity.read"]).await;
    let theirs =
        ground.get(&format!("/api/client/servers/{server}/activity?per_page=1&page=6"), &friend.key).await.json();
    assert_eq!(theirs["data"][0]["attributes"]["event"], "server:console.command");
    assert_eq!(theirs["data"][0]["attributes"]["ip"], Value::Null);
    assert_eq!(theirs["meta"]["pagination"]["total"], 6);
}

#[tokio::test]
async fn one_bad_entry_rejects_the_batch() {
    let ground = Ground::new().await;
    let server = ground.server("one", &ground.admin).await;
    let id = server.to_string();
    let mut no_metadata = entry(&id);
    no_metadata.as_object_mut().unwrap().remove("metadata");
    let with = |name: &str, value: Value| {
        let mut entry = entry(&id);
        entry[name] = value;
        entry
    };
    let rows = [
        (no_metadata, "metadata", "present"),
        (with("metadata", json!("x")), "metadata", "array"),
        (with("user", json!("admin")), "user", "uuid"),
        (with("user", json!(1)), "user", "uuid"),
        (with("server", json!("x")), "server", "uuid"),
        (with("event", json!("")), "event", "required"),
        (with("event", json!("e".repeat(200))), "event", "required"),
        (with("ip", json!("somewhere")), "ip", "ip"),
        (with("timestamp", json!("yesterday")), "timestamp", "date"),
        (json!(null), "server", "uuid"),
    ];
    for (bad, field, rule) in rows {
        let batch = json!({ "data": [entry(&id), bad] });
        let answer = ground.as_node("POST", "/api/remote/activity", &batch).await;
        let failed = answer.invalid();
        assert!(failed.contains(&(format!("data.1.{field}"), rule.to_owned())), "{field} {failed:?}");
    }
    for (body, rule) in
        [(json!({}), "required"), (json!({ "data": {} }), "required"), (json!({ "data": vec![0; 1001] }), "max")]
    {
        let answer = ground.as_node("POST", "/api/remote/activity", &body).await;
        assert_eq!(answer.invalid(), [("data".to_owned(), rule.to_owned())]);
    }
    let broken = Ask::new("POST", "/api/remote/activity")
        .header("authorization", &ground.node_bearer())
        .text("application/json", "{")
        .of(&ground.router)
        .await;
    assert_eq!(broken.refusal(), (400, "BadRequestHttpException".into()));
    let record = ground.get(&format!("/api/client/servers/{server}/activity"), &ground.admin.key).await.json();
    assert_eq!(record["data"], json!([]));
    // A batch may be longer than what people send.
    let long = json!({ "data": (0..900).map(|_| {
        let mut entry = entry(&id);
        entry["metadata"] = json!({ "command": "x".repeat(1000) });
        entry
    }).collect::<Vec<_>>() });
    assert_eq!(ground.as_node("POST", "/api/remote/activity", &long).await.status, 200);
}
