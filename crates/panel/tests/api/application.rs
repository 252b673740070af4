//! Administration from outside.

use serde_json::{Value, json};

use crate::ground::{Ask, Ground, pairs};

#[tokio::test]
async fn people() {
    let ground = Ground::new().await;
    let key = ground.panel.create_application_key(ground.admin.user.uuid, "robot").await.unwrap();
    let path = "/api/application/users";
    let body = json!({ "email": "Ann@Example.org", "username": "ann", "first_name": "Ann", "last_name": "A", "external_id": "x1" });
    let made = ground.send("POST", path, &key, &body).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json();
    let attributes = made["attributes"].clone();
    let expected = json!({ "id": 2, "external_id": "x1", "uuid": attributes["uuid"], "username": "ann", "email": "ann@example.org",
        "first_name": "Ann", "last_name": "A", "language": "en", "root_admin": false, "2fa": false,
        "created_at": attributes["created_at"], "updated_at": attributes["updated_at"] });
    let meta = json!({ "resource": "http://panel.example:8080/api/application/users/2" });
    assert_eq!(made, json!({ "object": "user", "attributes": expected, "meta": meta }));
    for id in ["2", "ann", attributes["uuid"].as_str().unwrap()] {
        let shown = ground.get(&format!("{path}/{id}"), &key).await.json();
        assert_eq!(shown, json!({ "object": "user", "attributes": expected }), "{id}");
    }
    let found = ground.get(&format!("{path}?filter[email]=ANN@"), &key).await.json();
    assert_eq!((found["meta"]["pagination"]["total"].clone(), &found["data"][0]["attributes"]), (json!(1), &expected));

    let change = json!({ "first_name": null, "email": "ann@elsewhere.example" });
    let changed = ground.send("PATCH", &format!("{path}/2"), &key, &change).await.json();
    assert_eq!((&changed["attributes"]["first_name"], &changed["attributes"]["last_name"]), (&json!(""), &json!("A")));
    assert_eq!(changed["attributes"]["email"], "ann@elsewhere.example");

    let rows: Vec<(&str, &str, Value, &[(&str, &str)])> = vec![
        ("POST", "", json!({}), &[("email", "required"), ("username", "required")]),
        ("POST", "", json!({ "email": "x", "username": "a b" }), &[("email", "email"), ("username", "username")]),
        ("POST", "", json!({ "email": "a@b", "username": "_a" }), &[("username", "username")]),
        ("POST", "", json!({ "email": "a@b", "username": "ann" }), &[("username", "unique")]),
        // Names that would lead to somebody else.
        ("POST", "", json!({ "email": "a@b", "username": "2" }), &[("username", "username")]),
        ("PATCH", "/2", json!({ "username": "0000001" }), &[("username", "username")]),
        ("PATCH", "/2", json!({ "username": attributes["uuid"] }), &[("username", "username")]),
        ("POST", "", json!({ "email": "ANN@elsewhere.example", "username": "b" }), &[("email", "unique")]),
        ("POST", "", json!({ "email": "a@b", "username": "b", "external_id": "x1" }), &[("external_id", "unique")]),
        ("POST", "", json!({ "email": "a@b", "username": "b", "password": "short" }), &[("password", "min")]),
        ("POST", "", json!({ "email": "a@b", "username": "b", "root_admin": "perhaps" }), &[("root_admin", "boolean")]),
        ("PATCH", "/2", json!({ "username": "" }), &[("username", "required")]),
        ("PATCH", "/2", json!({ "username": "admin" }), &[("username", "unique")]),
    ];
    for (method, rest, body, expected) in rows {
        let answer = ground.send(method, &format!("{path}{rest}"), &key, &body).await;
        assert_eq!(answer.invalid(), pairs(expected), "{method} {body}");
    }
    let rule = (400, "DisplayException".to_owned());
    assert_eq!(ground.ask("DELETE", &format!("{path}/1"), &key).await.refusal(), rule);
    assert_eq!(ground.send("PATCH", &format!("{path}/1"), &key, &json!({ "root_admin": false })).await.refusal(), rule);
    let ann = ground.person("owner").await;
    ground.server("hers", &ann).await;
    assert_eq!(ground.ask("DELETE", &format!("{path}/owner"), &key).await.refusal(), rule);
    assert_eq!(ground.ask("DELETE", &format!("{path}/2"), &key).await.status, 204);
    assert_eq!(ground.get(&format!("{path}/2"), &key).await.refusal(), (404, "NotFoundHttpException".into()));
    // A number is not given again.
    let next = ground.send("POST", path, &key, &json!({ "email": "n@e", "username": "n" })).await.json();
    assert_eq!(next["attributes"]["id"], 4);
}

#[tokio::test]
async fn nodes() {
    let ground = Ground::new().await;
    let key = &ground.admin.key;
    let path = "/api/application/nodes";
    let body = json!({ "name": "far", "fqdn": "node.example", "scheme": "https", "daemon_listen": 8443, "port_min": 30000, "port_max": 30001 });
    let made = ground.send("POST", path, key, &body).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json();
    let attributes = &made["attributes"];
    let expected = json!({ "id": 2, "uuid": attributes["uuid"], "name": "far", "description": "", "scheme": "https",
        "fqdn": "node.example", "daemon_listen": 8443, "maintenance_mode": false, "url": "https://node.example:8443",
        "is_local": false, "bind_ip": "0.0.0.0", "port_min": 30000, "port_max": 30001, "servers": 0,
        "created_at": attributes["created_at"], "updated_at": attributes["updated_at"] });
    assert_eq!(*attributes, expected);
    let configuration = ground.get(&format!("{path}/2/configuration"), key).await.json();
    assert_eq!(configuration, made["meta"]["configuration"]);
    let (id, token) = (configuration["token_id"].as_str().unwrap(), configuration["token"].as_str().unwrap());
    assert_eq!((id.len(), token.len()), (16, 64));
    let cert = |name: &str| format!("/etc/letsencrypt/live/node.example/{name}.pem");
    assert_eq!(
        configuration,
        json!({
            "debug": false, "uuid": attributes["uuid"], "token_id": id, "token": token,
            "api": { "host": "0.0.0.0", "port": 8443, "upload_limit": 100,
                "ssl": { "enabled": true, "cert": cert("fullchain"), "key": cert("privkey") } },
            "system": { "data": "/var/lib/pterodactyl/volumes", "sftp": { "bind_port": 2022 } },
            "allowed_mounts": [], "remote": "http://panel.example:8080",
        })
    );
    // The new credentials work.
    let bearer = format!("Bearer {id}.{token}");
    let asked = Ask::new("GET", "/api/remote/servers").header("authorization", &bearer).of(&ground.router).await;
    assert_eq!(asked.status, 200);

    let rows: Vec<(&str, &str, Value, &[(&str, &str)])> = vec![
        ("POST", "", json!({}), &[("name", "required"), ("url", "required")]),
        ("POST", "", json!({ "name": "x", "url": "node.example" }), &[("url", "url")]),
        ("POST", "", json!({ "name": "x", "url": "https://node.example/sub" }), &[("url", "url")]),
        ("POST", "", json!({ "name": "x", "fqdn": "a b" }), &[("fqdn", "url")]),
        ("POST", "", json!({ "name": "far", "url": "http://a" }), &[("name", "unique")]),
        ("POST", "", json!({ "name": "x", "url": "http://a", "port_min": 9, "port_max": 8 }), &[("port_max", "min")]),
        ("POST", "", json!({ "name": "x", "url": "http://a", "port_min": 0 }), &[("port_min", "min")]),
        ("POST", "", json!({ "name": "x", "url": "http://a", "bind_ip": "here" }), &[("bind_ip", "ip")]),
        ("PATCH", "/far", json!({ "name": "local" }), &[("name", "unique")]),
        ("PATCH", "/far", json!({ "name": "1" }), &[("name", "regex")]),
        ("PATCH", "/local", json!({ "url": "http://elsewhere" }), &[("url", "local")]),
    ];
    for (method, rest, body, expected) in rows {
        let answer = ground.send(method, &format!("{path}{rest}"), key, &body).await;
        assert_eq!(answer.invalid(), pairs(expected), "{method} {body}");
    }
    let moved = ground
        .send("PATCH", &format!("{path}/2"), key, &json!({ "fqdn": "other.example", "description": "d" }))
        .await
        .json();
    assert_eq!(moved["attributes"]["url"], "https://other.example:8443");
    assert_eq!(moved["attributes"]["description"], "d");
    let list = ground.get(path, key).await.json();
    assert_eq!(list["meta"]["pagination"]["total"], 2);
    ground.server("one", &ground.admin).await;
    assert_eq!(
        ground.ask("DELETE", &format!("{path}/local"), key).await.refusal(),
        (400, "HasActiveServersException".into())
    );
    assert_eq!(ground.ask("DELETE", &format!("{path}/far"), key).await.status, 204);
    assert_eq!(ground.get(&format!("{path}/far"), key).await.status, 404);
    assert!(ground.panel.ensure_local_node("bad", "not a url").await.is_err());
}

#[tokio::test]
async fn a_server_from_a_template() {
    let ground = Ground::new().await;
    let body = json!({ "name": "Trains", "template": "openttd" });
    let made = ground.send("POST", "/api/application/servers", &ground.admin.key, &body).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json();
    let hint = "If the program is missing on the node: apt-get install openttd openttd-opengfx";
    assert_eq!(
        made["meta"],
        json!({ "resource": "http://panel.example:8080/api/application/servers/1", "hint": hint })
    );
    let attributes = &made["attributes"];
    let uuid = attributes["uuid"].as_str().unwrap();
    let expected = json!({
        "id": 1, "external_id": null, "uuid": uuid, "identifier": &uuid[..8], "name": "Trains", "description": "", "status": null,
        "suspended": false, "user": 1, "node": 1, "allocation": 1, "nest": null, "egg": null, "ip": "0.0.0.0", "port": 25565, "template": "openttd",
        "state": null, "hint": hint, "feature_limits": { "databases": 0, "allocations": 0, "backups": 0 },
        "limits": { "memory": 256, "swap": 0, "disk": 0, "io": 500, "cpu": 0, "threads": null, "oom_disabled": true },
        "container": { "startup_command": "/usr/games/openttd -D {{BIND}}:{{PORT}} -d net=3", "image": "", "installed": 1,
            "environment": { "HOME": "{{DIR}}", "PORT": "25565", "SERVER_PORT": "25565", "BIND": "0.0.0.0", "SERVER_IP": "0.0.0.0",
                "NAME": "Trains", "SERVER_MEMORY": "256", "P_SERVER_UUID": uuid } },
        "process": { "ready": ["Map generated, starting game", "Loading savegame"], "stop": "quit", "grace_ms": 20000, "settle_ms": 0,
            "console": "pty", "success_exit": ["0", "SIGTERM"] },
        "created_at": attributes["created_at"], "updated_at": attributes["updated_at"],
    });
    assert_eq!(*attributes, expected);
    assert_eq!(ground.node.take_lines(), ["POST /api/servers"]);
    let shown = ground.get(&format!("/api/application/servers/{uuid}"), &ground.admin.key).await.json();
    assert_eq!(shown, json!({ "object": "server", "attributes": expected }));
    let list = ground.get("/api/application/templates", &ground.admin.key).await.json();
    let names: Vec<&Value> = list["data"].as_array().unwrap().iter().map(|item| &item["attributes"]["name"]).collect();
    let expected =
        ["demo", "openttd", "freeciv", "bzflag", "minetest", "teeworlds", "ddnet", "mumble", "crossfire", "cube2"];
    assert_eq!(names, expected.map(|name| json!(name)).iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn servers_that_are_not_made() {
    let mut ground = Ground::new().await;
    let path = "/api/application/servers";
    let rows: Vec<(Value, &[(&str, &str)])> = vec![
        (json!({}), &[("name", "required")]),
        (json!({ "name": "x" }), &[("command", "required")]),
        (json!({ "name": "x", "template": "pong" }), &[("template", "exists")]),
        (json!({ "name": "a\nb", "command": "x" }), &[("name", "regex")]),
        (json!({ "name": "x", "command": "a\nb" }), &[("command", "regex")]),
        (json!({ "name": "x", "command": "x", "node": "nowhere" }), &[("node", "exists")]),
        (json!({ "name": "x", "command": "x", "user": "nobody" }), &[("user", "exists")]),
        (json!({ "name": "x", "command": "x", "user": 99 }), &[("user", "exists")]),
        (json!({ "name": "x", "command": "x", "port": 0 }), &[("port", "min")]),
        (json!({ "name": "x", "command": "x", "port": 65536 }), &[("port", "max")]),
        (json!({ "name": "x", "command": "x", "memory": -1 }), &[("memory", "min")]),
        (json!({ "name": "x", "command": "x", "memory": "much" }), &[("memory", "integer")]),
        (
            json!({ "name": "x", "command": "x", "limits": { "io": 5, "threads": "all" } }),
            &[("limits.io", "min"), ("limits.threads", "regex")],
        ),
        (json!({ "name": "x", "command": "x", "console": "tv" }), &[("console", "in")]),
        (json!({ "name": "x", "command": "x", "environment": { "A B": "x" } }), &[("environment.A B", "regex")]),
        (json!({ "name": "x", "command": "x", "files": { "../x": "" } }), &[("files.../x", "regex")]),
        (json!({ "name": "x", "command": "x", "files": { "/etc/passwd": "" } }), &[("files./etc/passwd", "regex")]),
        (json!({ "name": "x", "command": "x", "ready": 5 }), &[("ready", "array")]),
    ];
    for (body, expected) in rows {
        let answer = ground.send("POST", path, &ground.admin.key, &body).await;
        assert_eq!(answer.invalid(), pairs(expected), "{body}");
    }
    assert_eq!(ground.node.take(), []);
    // A node that refuses, and one that is away: nothing is left, not even the port.
    let body = json!({ "name": "x", "command": "x", "port": 30000, "external_id": "e" });
    ground.node.answer("POST /api/servers", 500, json!({ "error": "no space left" }));
    let refused = ground.send("POST", path, &ground.admin.key, &body).await;
    assert_eq!(refused.error(), (500, "DaemonConnectionException".into(), "no space left".into()));
    let asked = ground.node.take();
    assert_eq!(asked[0].line, "POST /api/servers");
    // It may have done it all the same, so it is told to forget it.
    assert_eq!(asked[1].line, format!("DELETE /api/servers/{}", asked[0].body["uuid"].as_str().unwrap()));
    ground.node.stop().await;
    let away = ground.send("POST", path, &ground.admin.key, &body).await;
    assert_eq!(away.refusal(), (504, "DaemonConnectionException".into()));
    let list = ground.get(path, &ground.admin.key).await.json();
    assert_eq!(list["data"], json!([]));
    ground.node.recover();
    ground.node.restart().await;
    assert_eq!(ground.send("POST", path, &ground.admin.key, &body).await.status, 201);
    let twice = ground.send("POST", path, &ground.admin.key, &body).await;
    assert_eq!(twice.invalid(), pairs(&[("external_id", "unique")]));
    let port = json!({ "name": "x", "command": "x", "port": 30000 });
    assert_eq!(ground.send("POST", path, &ground.admin.key, &port).await.invalid(), pairs(&[("port", "unique")]));
}

#[tokio::test]
async fn ports_come_from_the_nodes_range() {
    let ground = Ground::new().await;
    let range = json!({ "port_min": 40000, "port_max": 40002, "bind_ip": "127.0.0.1" });
    assert_eq!(ground.send("PATCH", "/api/application/nodes/local", &ground.admin.key, &range).await.status, 200);
    let path = "/api/application/servers";
    let make = async |port: Option<u16>| {
        let body = json!({ "name": "x", "command": "x", "port": port });
        ground.send("POST", path, &ground.admin.key, &body).await
    };
    let port = |answer: &crate::ground::Answer| answer.json()["attributes"]["port"].as_u64();
    assert_eq!(port(&make(Some(40001)).await), Some(40001));
    let first = make(None).await;
    assert_eq!((port(&first), first.json()["attributes"]["ip"].clone()), (Some(40000), json!("127.0.0.1")));
    assert_eq!(port(&make(None).await), Some(40002));
    assert_eq!(make(None).await.refusal(), (400, "NoViableAllocationException".into()));
    assert_eq!(port(&make(Some(50000)).await), Some(50000));
    // A port is free again when its server is gone.
    assert_eq!(ground.ask("DELETE", &format!("{path}/1"), &ground.admin.key).await.status, 204);
    assert_eq!(port(&make(None).await), Some(40001));
}

#[tokio::test]
async fn changes_reach_the_node() {
    let ground = Ground::new().await;
    let server = ground.server("one", &ground.admin).await;
    let path = format!("/api/application/servers/{server}");
    let sync = format!("POST /api/servers/{server}/sync");
    let change = async |rest: &str, body: Value| {
        let answer = ground.send("PATCH", &format!("{path}/{rest}"), &ground.admin.key, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(ground.node.take_lines(), [sync.clone()], "{rest}");
        answer.json()["attributes"].clone()
    };
    let shown =
        change("build", json!({ "memory": 64, "limits": { "cpu": 50 }, "feature_limits": { "backups": 1 } })).await;
    assert_eq!((&shown["limits"]["memory"], &shown["limits"]["cpu"]), (&json!(64), &json!(50)));
    assert_eq!(shown["feature_limits"]["backups"], 1);
    let body = json!({ "startup": "/bin/true", "environment": { "A": 1, "B": true }, "stop": "^C", "ready": "x ", "console": "pipe" });
    let shown = change("startup", body).await;
    assert_eq!(shown["container"]["startup_command"], "/bin/true");
    assert_eq!(
        (&shown["container"]["environment"]["A"], &shown["container"]["environment"]["B"]),
        (&json!("1"), &json!("true"))
    );
    assert_eq!((&shown["process"]["stop"], &shown["process"]["ready"]), (&json!("^C"), &json!(["x "])));
    let shown = change("details", json!({ "name": "two", "description": "d", "external_id": "e" })).await;
    assert_eq!(
        (&shown["name"], &shown["description"], &shown["external_id"]),
        (&json!("two"), &json!("d"), &json!("e"))
    );
    let refused = ground.send("PATCH", &format!("{path}/details"), &ground.admin.key, &json!({ "name": "" })).await;
    assert_eq!(refused.invalid(), pairs(&[("name", "required")]));
    assert_eq!(ground.node.take(), []);

    for (rest, suspended) in [("suspend", true), ("unsuspend", false)] {
        let done = ground.ask("POST", &format!("{path}/{rest}"), &ground.admin.key).await;
        assert_eq!((done.status, done.bytes.len()), (204, 0), "{rest}");
        assert_eq!(ground.node.take_lines(), [sync.clone()], "{rest}");
        let shown = ground.get(&path, &ground.admin.key).await.json();
        assert_eq!(shown["attributes"]["suspended"], suspended);
    }
    // Nothing to unblock: nobody is troubled.
    assert_eq!(ground.ask("POST", &format!("{path}/unsuspend"), &ground.admin.key).await.status, 204);
    assert_eq!(ground.node.take(), []);
    let gone = ground.ask("DELETE", &format!("{path}/force"), &ground.admin.key).await;
    assert_eq!((gone.status, gone.bytes.len()), (204, 0));
    assert_eq!(ground.node.take_lines(), [format!("DELETE /api/servers/{server}")]);
    assert_eq!(ground.get(&path, &ground.admin.key).await.status, 404);
    assert_eq!(ground.get(&format!("/api/client/servers/{server}"), &ground.admin.key).await.status, 404);
    assert_eq!(ground.as_node("GET", &format!("/api/remote/servers/{server}"), &Value::Null).await.status, 404);
}

#[tokio::test]
async fn settings_that_a_node_could_not_use_are_refused() {
    let ground = Ground::new().await;
    let server = ground.server("one", &ground.admin).await;
    let path = "/api/application/servers";
    let long = "x".repeat(5000);
    let rows = [
        ("startup", json!({ "ready": "regex:((((" }), vec![("ready", "regex")]),
        ("startup", json!({ "ready": ["up", "regex:a{1000}{1000}"] }), vec![("ready", "regex")]),
        ("startup", json!({ "ready": [long] }), vec![("ready", "regex")]),
        ("startup", json!({ "success_exit": ["0", "SIGTERM", "SIGNOTHING"] }), vec![("success_exit.2", "in")]),
        ("startup", json!({ "success_exit": [""] }), vec![("success_exit.0", "in")]),
        ("build", json!({ "limits": { "threads": "0-99999999999" } }), vec![("limits.threads", "regex")]),
        ("build", json!({ "limits": { "threads": "8192" } }), vec![("limits.threads", "regex")]),
        ("build", json!({ "limits": { "threads": "3-1" } }), vec![("limits.threads", "regex")]),
        ("build", json!({ "limits": { "threads": "0,,1" } }), vec![("limits.threads", "regex")]),
        ("build", json!({ "limits": { "threads": "1-" } }), vec![("limits.threads", "regex")]),
        ("build", json!({ "limits": { "threads": "+1" } }), vec![("limits.threads", "regex")]),
    ];
    for (part, body, expected) in rows {
        let changed = ground.send("PATCH", &format!("{path}/{server}/{part}"), &ground.admin.key, &body).await;
        assert_eq!(changed.invalid(), pairs(&expected), "{body}");
        let mut new = json!({ "name": "two", "command": "cat" });
        new.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        let made = ground.send("POST", path, &ground.admin.key, &new).await;
        assert_eq!(made.invalid(), pairs(&expected), "{body}");
    }
    // An empty command is no command; what is null or left out stays.
    for name in ["command", "startup"] {
        for blank in ["", "  "] {
            let changed = ground
                .send("PATCH", &format!("{path}/{server}/startup"), &ground.admin.key, &json!({ name: blank }))
                .await;
            assert_eq!(changed.invalid(), pairs(&[(name, "required")]));
        }
    }
    assert_eq!(ground.node.take(), []);
    let fine = json!({ "command": null, "ready": "regex:^up$", "success_exit": ["0", "SIGTERM", "int"] });
    let changed = ground.send("PATCH", &format!("{path}/{server}/startup"), &ground.admin.key, &fine).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert_eq!(changed.json()["attributes"]["container"]["startup_command"], "/bin/cat {{PORT}}");
    let fine = json!({ "limits": { "threads": "0-3,7,8191" } });
    let changed = ground.send("PATCH", &format!("{path}/{server}/build"), &ground.admin.key, &fine).await;
    assert_eq!(changed.json()["attributes"]["limits"]["threads"], "0-3,7,8191");
}

#[tokio::test]
async fn names_are_what_they_look_like() {
    let ground = Ground::new().await;
    let server = ground.server("one", &ground.admin).await;
    let key = &ground.admin.key;
    let hidden = "abc\u{202e}fed";
    for (method, path, mut body, fields) in [
        ("POST", "/api/application/servers".to_owned(), json!({ "command": "cat" }), vec!["name"]),
        ("PATCH", format!("/api/application/servers/{server}/details"), json!({}), vec!["name"]),
        (
            "POST",
            "/api/application/users".into(),
            json!({ "username": "two", "email": "two@example.org" }),
            vec!["first_name", "last_name"],
        ),
        ("PATCH", "/api/application/users/admin".into(), json!({}), vec!["first_name", "last_name"]),
        ("PATCH", "/api/application/nodes/local".into(), json!({}), vec!["name"]),
        ("POST", "/api/client/account/api-keys".into(), json!({}), vec!["description"]),
    ] {
        for field in &fields {
            body[field] = json!(hidden);
        }
        let refused = ground.send(method, &path, key, &body).await;
        assert_eq!(
            refused.invalid(),
            pairs(&fields.iter().map(|field| (*field, "regex")).collect::<Vec<_>>()),
            "{path}"
        );
    }

    // One login name in any case of letters, as with e-mail addresses.
    let user = |name: &str, email: &str| json!({ "username": name, "email": email });
    let refused = ground.send("POST", "/api/application/users", key, &user("ADMIN", "two@example.org")).await;
    assert_eq!(refused.invalid(), pairs(&[("username", "unique")]));
    ground.person("friend").await;
    let refused = ground.send("PATCH", "/api/application/users/friend", key, &json!({ "username": "Admin" })).await;
    assert_eq!(refused.invalid(), pairs(&[("username", "unique")]));
    let changed = ground.send("PATCH", "/api/application/users/friend", key, &json!({ "username": "FRIEND" })).await;
    assert_eq!((changed.status, changed.json()["attributes"]["username"].clone()), (200, json!("FRIEND")));
    assert_eq!(ground.get("/api/application/users/Friend", key).await.json()["attributes"]["username"], "FRIEND");
}

#[tokio::test]
async fn administration_is_for_administrators() {
    let ground = Ground::new().await;
    let friend = ground.person("friend").await;
    let server = ground.server("one", &friend).await;
    for (method, path) in [
        ("GET", "/users".to_owned()),
        ("POST", "/users".into()),
        ("GET", "/users/1".into()),
        ("PATCH", "/users/1".into()),
        ("DELETE", "/users/1".into()),
        ("GET", "/nodes".into()),
        ("POST", "/nodes".into()),
        ("GET", "/nodes/1".into()),
        ("PATCH", "/nodes/1".into()),
        ("DELETE", "/nodes/1".into()),
        ("GET", "/nodes/1/configuration".into()),
        ("GET", "/servers".into()),
        ("POST", "/servers".into()),
        ("GET", format!("/servers/{server}")),
        ("DELETE", format!("/servers/{server}")),
        ("DELETE", format!("/servers/{server}/force")),
        ("PATCH", format!("/servers/{server}/details")),
        ("PATCH", format!("/servers/{server}/build")),
        ("PATCH", format!("/servers/{server}/startup")),
        ("POST", format!("/servers/{server}/suspend")),
        ("POST", format!("/servers/{server}/unsuspend")),
        ("GET", "/templates".into()),
        // Nor does anybody learn what is there.
        ("GET", "/servers/zzzzzzzz".into()),
    ] {
        let path = format!("/api/application{path}");
        assert_eq!(Ask::new(method, &path).of(&ground.router).await.refusal().0, 401, "{method} {path}");
        let answer = ground.send(method, &path, &friend.key, &json!({})).await;
        assert_eq!(answer.refusal(), (403, "AccessDeniedHttpException".into()), "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_at_once_do_not_get_in_each_others_way() {
    let ground = Ground::with(|config| config.application_per_minute = 10_000).await;
    let asked = (0..40).map(|number| {
        let (router, key) = (ground.router.clone(), ground.admin.key.clone());
        tokio::spawn(async move {
            let body = json!({ "name": format!("server {number}"), "command": "x" });
            Ask::new("POST", "/api/application/servers").key(&key).json(&body).of(&router).await
        })
    });
    let asked: Vec<_> = asked.collect();
    let (mut ports, mut ids) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
    for answer in asked {
        let answer = answer.await.unwrap();
        assert_eq!(answer.status, 201, "{}", answer.text());
        let attributes = answer.json()["attributes"].clone();
        ports.insert(attributes["port"].as_u64().unwrap());
        ids.insert(attributes["id"].as_u64().unwrap());
    }
    assert_eq!(ports, (25565..25605).collect());
    assert_eq!(ids, (1..41).collect());
}

/// A renamed node was not found again by its name, and its servers were left with a node that nobody serves.
#[tokio::test]
async fn the_local_node_is_the_same_after_it_was_renamed() {
    let ground = Ground::new().await;
    let server = ground.server("one", &ground.admin).await;
    let path = "/api/application/nodes";
    let renamed = ground.send("PATCH", &format!("{path}/local"), &ground.admin.key, &json!({ "name": "home" })).await;
    assert_eq!(renamed.json()["attributes"]["name"], "home");
    let before = ground.panel.ensure_local_node("local", &ground.node.url).await.unwrap();
    let moved = ground.panel.ensure_local_node("local", "http://127.0.0.1:9").await.unwrap();
    for again in [&before, &moved] {
        assert_eq!((&again.token_id, &again.token), (&ground.node_token_id, &ground.node_token));
    }
    let list = ground.get(path, &ground.admin.key).await.json();
    assert_eq!(list["meta"]["pagination"]["total"], 1);
    let shown = &list["data"][0]["attributes"];
    assert_eq!(
        (&shown["name"], &shown["url"], &shown["servers"]),
        (&json!("home"), &json!("http://127.0.0.1:9"), &json!(1))
    );
    // It cannot be deleted while its process runs, also without servers.
    ground.panel.ensure_local_node("local", &ground.node.url).await.unwrap();
    assert_eq!(
        ground.ask("DELETE", &format!("/api/application/servers/{server}"), &ground.admin.key).await.status,
        204
    );
    let refused = ground.ask("DELETE", &format!("{path}/home"), &ground.admin.key).await;
    let text = "This node is part of the running program: it cannot be deleted while that serves it.";
    assert_eq!(refused.error(), (400, "DisplayException".into(), text.into()));
    // A node of that name on another machine is another node.
    let Ground { dir, panel, router, .. } = Ground::new().await;
    panel.close().await;
    drop(router);
    std::fs::remove_file(dir.path().join("panel.sqlite")).unwrap();
    let panel = panel::Panel::open(panel::Config::new(dir.path().join("panel.sqlite"))).await.unwrap();
    let user = panel.create_admin("admin", "admin@example.org", None).await.unwrap();
    let key = panel.create_client_key(user.uuid, "test").await.unwrap();
    let body = json!({ "name": "local", "url": "http://node.example" });
    let made = Ask::new("POST", path).key(&key).json(&body).of(&panel.router()).await;
    assert_eq!(made.status, 201);
    assert!(panel.ensure_local_node("local", "http://127.0.0.1:9").await.is_err());
}

/// Two changes at once: what one has done is not undone by what the other has read before.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_at_once_do_not_bring_back_what_was_taken_away() {
    let ground = Ground::with(|config| config.application_per_minute = 100_000).await;
    let chief = ground.person("chief").await;
    let server = ground.server("one", &chief).await;
    let user = format!("/api/application/users/{}", chief.user.uuid);
    let details = format!("/api/application/servers/{server}/details");
    let build = format!("/api/application/servers/{server}/build");
    for round in 0..40 {
        for (path, body) in [(&user, json!({ "root_admin": true })), (&details, json!({ "user": "chief" }))] {
            assert_eq!(ground.send("PATCH", path, &ground.admin.key, &body).await.status, 200);
        }
        let harmless = json!({ "first_name": format!("round {round}") });
        let (demoted_body, owner_body, limits) =
            (json!({ "root_admin": false }), json!({ "user": "admin" }), json!({ "memory": round }));
        let (a, b, c, d) = tokio::join!(
            ground.send("PATCH", &user, &ground.admin.key, &harmless),
            ground.send("PATCH", &user, &ground.admin.key, &demoted_body),
            ground.send("PATCH", &build, &ground.admin.key, &limits),
            ground.send("PATCH", &details, &ground.admin.key, &owner_body),
        );
        assert_eq!([a.status, b.status, c.status, d.status], [200; 4]);
        let shown = ground.get(&user, &ground.admin.key).await.json();
        assert_eq!(shown["attributes"]["root_admin"], false, "round {round}");
        assert_eq!(shown["attributes"]["first_name"], format!("round {round}"));
        let shown = ground.get(&format!("/api/application/servers/{server}"), &ground.admin.key).await.json();
        assert_eq!(
            (&shown["attributes"]["user"], &shown["attributes"]["limits"]["memory"]),
            (&json!(1), &json!(round))
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_installation_that_ends_does_not_lift_a_block_that_comes_at_the_same_time() {
    let ground = Ground::with(|config| config.application_per_minute = 100_000).await;
    let server = ground.server("one", &ground.admin).await;
    let path = format!("/api/application/servers/{server}");
    let (body, install) =
        (json!({ "successful": true, "reinstall": false }), format!("/api/remote/servers/{server}/install"));
    let suspend = format!("{path}/suspend");
    for round in 0..40 {
        assert_eq!(ground.ask("POST", &format!("{path}/unsuspend"), &ground.admin.key).await.status, 204);
        let (said, blocked) =
            tokio::join!(ground.as_node("POST", &install, &body), ground.ask("POST", &suspend, &ground.admin.key));
        assert_eq!((said.status, blocked.status), (204, 204));
        let shown = ground.get(&path, &ground.admin.key).await.json();
        assert_eq!(shown["attributes"]["suspended"], true, "round {round}");
    }
}
