//! Eggs: in, out, and servers made from them.

use serde_json::{Value, json};

use crate::ground::{Answer, Ask, Ground, pairs};

/// An egg in the form of Pterodactyl's panels.
pub fn egg(name: &str) -> Value {
    json!({
        "_comment": "x", "meta": { "version": "PTDL_v2", "update_url": null }, "exported_at": "2026-01-01T00:00:00+00:00",
        "name": name, "author": "someone@example.org", "description": "A game.", "features": ["eula"],
        "docker_images": { "Default": "ghcr.io/example/yolks:java_21", "Java 17": "ghcr.io/example/yolks:java_17" },
        "file_denylist": [], "startup": "java -jar {{SERVER_JARFILE}} --port {{SERVER_PORT}} {{SECRET}}",
        "config": {
            "files": "{\"server.properties\": {\"parser\": \"properties\", \"find\": {\"server-port\": \"{{server.build.default.port}}\", \"motd\": \"{{server.build.env.MOTD}}\"}}}",
            "startup": "{\"done\": \"Done (\"}", "logs": "{}", "stop": "stop",
        },
        "scripts": { "installation": { "script": "echo hello\n", "container": "ghcr.io/example/installers:debian", "entrypoint": "bash" } },
        "variables": [
            { "name": "Jar", "description": "", "env_variable": "SERVER_JARFILE", "default_value": "server.jar",
                "user_viewable": true, "user_editable": true, "rules": "required|regex:/^[a-z.]+$/", "field_type": "text" },
            { "name": "Message", "description": "", "env_variable": "MOTD", "default_value": "hi",
                "user_viewable": true, "user_editable": false, "rules": "nullable|string|max:20", "field_type": "text" },
            { "name": "Secret", "description": "", "env_variable": "SECRET", "default_value": "s3cret",
                "user_viewable": false, "user_editable": false, "rules": "nullable|string", "field_type": "text" },
        ],
    })
}

pub async fn import(ground: &Ground, query: &str, text: &str) -> Answer {
    let path = format!("/api/application/eggs/import{query}");
    Ask::new("POST", &path).key(&ground.admin.key).text("text/plain", text).of(&ground.router).await
}

/// A server made from such an egg, with more members.
pub async fn server(ground: &Ground, more: Value) -> Value {
    let found = ground.get("/api/application/eggs/1", &ground.admin.key).await;
    if found.status == 404 {
        assert_eq!(import(ground, "", &egg("Game").to_string()).await.status, 201);
    }
    let mut body = json!({ "name": "one", "egg": 1, "environment": {} });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let made = ground.send("POST", "/api/application/servers", &ground.admin.key, &body).await;
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()["attributes"].clone()
}

#[tokio::test]
async fn an_egg_comes_in_and_goes_out() {
    let ground = Ground::new().await;
    let key = &ground.admin.key;
    ground.node.answer(
        "GET /api/system",
        200,
        json!({ "architecture": "amd64", "cpu_count": 2, "kernel_version": "6", "os": "linux", "version": "1", "programs": ["java:17"] }),
    );
    let made = import(&ground, "", &egg("Game").to_string()).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json();
    assert_eq!(
        (&made["object"], &made["attributes"]["id"], &made["attributes"]["nest"]),
        (&json!("egg"), &json!(1), &json!(1))
    );
    let nodes = &made["meta"]["nodes"][0];
    assert_eq!((&nodes["name"], &nodes["verdict"]), (&json!("local"), &json!("process")), "{made}");
    assert!(made["meta"]["notes"].is_array());
    let config = json!({
        "files": { "server.properties": { "parser": "properties",
            "find": { "server-port": "{{server.build.default.port}}", "motd": "{{server.build.env.MOTD}}" } } },
        "startup": made["attributes"]["config"]["startup"], "stop": "stop", "logs": {}, "file_denylist": [], "extends": null,
    });
    assert_eq!(made["attributes"]["config"], config);
    assert_eq!(made["attributes"]["docker_image"], "ghcr.io/example/yolks:java_21");
    let shown =
        ground.get("/api/application/nests/1/eggs/1?include=variables,nest,servers,config,script", key).await.json();
    let all = &shown["attributes"]["relationships"];
    let variable = &all["variables"]["data"][0];
    assert_eq!(
        (&variable["object"], &variable["attributes"]["env_variable"]),
        (&json!("egg_variable"), &json!("SERVER_JARFILE"))
    );
    assert_eq!(variable["attributes"]["rules"], "required|regex:/^[a-z.]+$/");
    assert_eq!((&all["nest"]["attributes"]["name"], &all["servers"]["data"]), (&json!("Imported"), &json!([])));
    assert_eq!(
        (&all["config"]["object"], &all["script"]["object"]),
        (&json!("null_resource"), &json!("null_resource"))
    );
    let list = ground.get("/api/application/nests/1/eggs", key).await.json();
    assert_eq!((list["data"].as_array().unwrap().len(), list.get("meta")), (1, None));
    let nests = ground.get("/api/application/nests?include=eggs", key).await.json();
    assert_eq!(nests["data"][0]["attributes"]["relationships"]["eggs"]["data"][0]["attributes"]["name"], "Game");

    let file = ground.get("/api/application/eggs/Game/export", key).await;
    assert_eq!(file.header("content-disposition"), Some("attachment; filename=\"egg-game.json\""));
    assert_eq!(file.json()["meta"]["version"], "PTDL_v2");
    // What goes out comes in again, in place of itself; its number stays.
    assert_eq!(import(&ground, "", &file.text()).await.invalid(), pairs(&[("egg", "unique")]));
    let again = import(&ground, "?replace=true", &file.text()).await;
    assert_eq!((again.status, &again.json()["attributes"]["id"]), (200, &json!(1)));
    assert_eq!(ground.ask("DELETE", "/api/application/eggs/1", key).await.status, 204);
    assert_eq!(ground.get("/api/application/eggs/1", key).await.status, 404);
}

#[tokio::test]
async fn eggs_that_are_none_and_nests() {
    let mut ground = Ground::new().await;
    let key = ground.admin.key.clone();
    assert_eq!(import(&ground, "", " ").await.invalid(), pairs(&[("egg", "required")]));
    assert_eq!(import(&ground, "", "{ \"name\": ").await.invalid(), pairs(&[("egg", "json")]));
    assert_eq!(import(&ground, "", "{}").await.invalid(), pairs(&[("egg", "egg")]));
    assert_eq!(import(&ground, "?nest=none", &egg("Game").to_string()).await.invalid(), pairs(&[("nest", "exists")]));
    let body = json!({ "name": "Mine", "description": "d" });
    let nest = ground.send("POST", "/api/application/nests", &key, &body).await;
    assert_eq!((nest.status, &nest.json()["object"]), (201, &json!("nest")), "{}", nest.text());
    assert_eq!(
        ground.send("POST", "/api/application/nests", &key, &body).await.invalid(),
        pairs(&[("name", "unique")])
    );
    assert_eq!(
        ground.send("POST", "/api/application/nests", &key, &json!({ "name": "7" })).await.invalid(),
        pairs(&[("name", "regex")])
    );
    // A node that does not answer is said to be one.
    ground.node.stop().await;
    let made = import(&ground, "?nest=Mine", &egg("Game").to_string()).await.json();
    assert_eq!((&made["attributes"]["nest"], &made["meta"]["nodes"][0]["verdict"]), (&json!(1), &json!("unknown")));
    ground.node.restart().await;
    // An egg with a picture in it is longer than other bodies may be.
    let mut long = egg("Long");
    long["description"] = json!("x".repeat(300_000));
    let answer = import(&ground, "", &long.to_string()).await;
    assert!([201, 422].contains(&answer.status), "{}", answer.status);
    let friend = ground.person("friend").await;
    assert_eq!(ground.get("/api/application/eggs", &friend.key).await.status, 403);
}

#[tokio::test]
async fn a_server_from_an_egg_is_installed_by_its_node() {
    let ground = Ground::new().await;
    let key = &ground.admin.key;
    let stock = json!({
        "user": 1, "environment": { "MOTD": "welcome" }, "limits": { "memory": 512, "swap": 0, "disk": 0, "io": 500, "cpu": 0 },
        "feature_limits": { "databases": 0, "allocations": 2, "backups": 0 }, "deploy": { "locations": [1], "dedicated_ip": false, "port_range": [] },
        "start_on_completion": true, "skip_scripts": false, "oom_disabled": false, "external_id": "order 7", "nest": 1,
    });
    let made = server(&ground, stock).await;
    assert_eq!((&made["status"], &made["egg"], &made["nest"]), (&json!("installing"), &json!(1), &json!(1)));
    assert_eq!((&made["container"]["installed"], &made["runtime"]), (&json!(0), &json!("process")));
    assert_eq!(made["container"]["image"], "ghcr.io/example/yolks:java_21");
    let uuid = made["uuid"].as_str().unwrap();
    let told = ground.node.take().into_iter().find(|asked| asked.line == "POST /api/servers").unwrap();
    assert_eq!(told.body, json!({ "uuid": uuid, "start_on_completion": true }));

    let definition = ground.as_node("GET", &format!("/api/remote/servers/{uuid}"), &Value::Null).await.json();
    let settings = &definition["settings"];
    let line = "java -jar {{SERVER_JARFILE}} --port {{SERVER_PORT}} {{SECRET}}";
    assert_eq!((&settings["skip_egg_scripts"], &settings["invocation"]), (&json!(false), &json!(line)));
    let environment = json!({ "SERVER_JARFILE": "server.jar", "MOTD": "welcome", "SECRET": "s3cret", "STARTUP": line,
        "P_SERVER_LOCATION": "local", "P_SERVER_ALLOCATION_LIMIT": "2", "P_SERVER_UUID": uuid, "SERVER_MEMORY": "512",
        "SERVER_PORT": "25565", "SERVER_IP": "0.0.0.0", "PORT": "25565", "BIND": "0.0.0.0", "NAME": "one" });
    assert_eq!(settings["environment"], environment);
    assert_eq!(settings["container"], json!({ "image": "ghcr.io/example/yolks:java_21", "runtime": "process" }));
    let process = &definition["process_configuration"];
    assert_eq!(
        (&process["startup"]["done"], &process["stop"]),
        (&json!(["Done ("]), &json!({ "type": "command", "value": "stop" }))
    );
    let set: Vec<(&str, &str)> = process["configs"][0]["replace"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["match"].as_str().unwrap(), one["replace_with"].as_str().unwrap()))
        .collect();
    assert!(set.contains(&("server-port", "25565")) && set.contains(&("motd", "welcome")), "{set:?}");
    let script = ground.as_node("GET", &format!("/api/remote/servers/{uuid}/install"), &Value::Null).await.json();
    assert_eq!(
        script,
        json!({ "container_image": "ghcr.io/example/installers:debian", "entrypoint": "bash", "script": "echo hello\n" })
    );

    let blocked = ground.get(&format!("/api/client/servers/{uuid}/resources"), key).await;
    assert_eq!(blocked.refusal(), (409, "ServerStateConflictException".to_owned()));
    let report = json!({ "successful": true, "reinstall": false });
    assert_eq!(ground.as_node("POST", &format!("/api/remote/servers/{uuid}/install"), &report).await.status, 204);
    let path = "/api/application/servers/external/order%207?include=egg,nest,variables,allocations,user,node";
    let shown = ground.get(path, key).await.json();
    let attributes = &shown["attributes"];
    assert_eq!((&attributes["status"], &attributes["container"]["installed"]), (&Value::Null, &json!(1)));
    assert!(attributes["installed_at"].is_string());
    let all = &attributes["relationships"];
    let kinds = ["egg", "nest", "user", "node"].map(|name| all[name]["object"].as_str().unwrap());
    assert_eq!(kinds, ["egg", "nest", "user", "node"]);
    let variable = &all["variables"]["data"][1];
    assert_eq!(
        (&variable["object"], &variable["attributes"]["server_value"]),
        (&json!("server_variable"), &json!("welcome"))
    );
    assert_eq!(all["allocations"]["data"][0]["attributes"]["assigned"], true);
    let refused = ground.ask("DELETE", "/api/application/eggs/1", key).await;
    assert_eq!(refused.refusal(), (400, "HasActiveServersException".to_owned()));
}

#[tokio::test]
async fn what_a_new_server_of_an_egg_needs() {
    let ground = Ground::new().await;
    let key = &ground.admin.key;
    let path = "/api/application/servers";
    import(&ground, "", &egg("Game").to_string()).await;
    for (more, expected) in [
        (json!({ "egg": 9 }), ("egg", "exists")),
        (json!({ "environment": { "SERVER_JARFILE": "" } }), ("environment.SERVER_JARFILE", "required")),
        (json!({ "environment": { "SERVER_JARFILE": "UPPER" } }), ("environment.SERVER_JARFILE", "rules")),
        (json!({ "runtime": "moon" }), ("runtime", "in")),
        (json!({ "allocation": { "default": 99 } }), ("allocation.default", "exists")),
        (json!({ "deploy": { "locations": [2] } }), ("deploy.locations", "exists")),
        (json!({ "deploy": { "port_range": ["1-5"] } }), ("deploy.port_range.0", "port")),
    ] {
        let mut body = json!({ "name": "x", "egg": 1 });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert_eq!(ground.send("POST", path, key, &body).await.invalid(), pairs(&[expected]), "{body}");
    }
    // Where an engine answers, games with an image are in containers.
    let engine = json!({ "architecture": "amd64", "cpu_count": 2, "kernel_version": "6", "os": "linux", "version": "1",
        "engine": { "endpoint": "/var/run/docker.sock", "name": "Docker", "version": "27" } });
    ground.node.answer("GET /api/system", 200, engine);
    assert_eq!(server(&ground, json!({})).await["runtime"], "docker");
    assert_eq!(server(&ground, json!({ "runtime": "process" })).await["runtime"], "process");
    let skipped = server(&ground, json!({ "skip_scripts": true, "deploy": { "port_range": ["30000-30005"] } })).await;
    assert_eq!((&skipped["status"], &skipped["port"]), (&Value::Null, &json!(30000)));
    // Another egg brings its own line and image, and keeps what both know.
    assert_eq!(import(&ground, "", &egg("Other").to_string()).await.status, 201);
    let body =
        json!({ "egg": "Other", "environment": { "MOTD": "new" }, "startup": "java -version", "skip_scripts": true });
    let changed = ground.send("PATCH", &format!("{path}/1/startup"), key, &body).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    let changed = &changed.json()["attributes"];
    assert_eq!((&changed["egg"], &changed["container"]["startup_command"]), (&json!(2), &json!("java -version")));
    assert_eq!(changed["container"]["environment"]["SERVER_JARFILE"], "server.jar");
    let wrong = json!({ "environment": { "SERVER_JARFILE": "" } });
    assert_eq!(
        ground.send("PATCH", &format!("{path}/1/startup"), key, &wrong).await.invalid(),
        pairs(&[("environment.SERVER_JARFILE", "required")])
    );
}
