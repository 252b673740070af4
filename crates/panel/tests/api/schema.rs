//! The description is true: what the panel answers, and what it takes, is what the description says.

use serde_json::{Value, json};

use crate::ground::Ground;

/// The part of JSON Schema that the description uses. Members that a schema with members does not know are a fault, too.
struct Description(Value);

impl Description {
    fn of(ground: &Ground) -> Self {
        Self(serde_json::from_str(&ground.panel.openapi().unwrap()).unwrap())
    }

    fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str() {
            Some(path) => self.resolved(self.0.pointer(path.strip_prefix('#').unwrap()).unwrap()),
            None => schema,
        }
    }

    /// Names of all members an object may have; none: any.
    fn members<'a>(&'a self, schema: &'a Value) -> Option<Vec<&'a str>> {
        let schema = self.resolved(schema);
        if let Some(parts) = schema["allOf"].as_array() {
            let parts: Option<Vec<Vec<&str>>> = parts.iter().map(|part| self.members(part)).collect();
            return parts.map(|parts| parts.concat());
        }
        if schema.get("additionalProperties").is_some() {
            return None;
        }
        schema["properties"].as_object().map(|members| members.keys().map(String::as_str).collect())
    }

    /// What is wrong with a value, each with where.
    fn faults(&self, schema: &Value, value: &Value, at: &str) -> Vec<String> {
        let mut faults = self.own_faults(schema, value, at);
        if let (Some(object), Some(known)) = (value.as_object(), self.members(schema)) {
            let unknown = object.keys().filter(|name| !known.contains(&name.as_str()));
            faults.extend(unknown.map(|name| format!("{at}.{name} is not described")));
        }
        faults
    }

    fn own_faults(&self, schema: &Value, value: &Value, at: &str) -> Vec<String> {
        let schema = self.resolved(schema);
        let mut faults = Vec::new();
        if let Some(parts) = schema["allOf"].as_array() {
            faults.extend(parts.iter().flat_map(|part| self.own_faults(part, value, at)));
        }
        for word in ["oneOf", "anyOf"] {
            if let Some(forms) = schema[word].as_array() {
                let tried: Vec<Vec<String>> = forms.iter().map(|form| self.faults(form, value, at)).collect();
                if tried.iter().all(|faults| !faults.is_empty()) {
                    faults.push(format!("{at} has none of its forms: {tried:?}"));
                }
            }
        }
        let kinds: Vec<&str> = match &schema["type"] {
            Value::String(kind) => vec![kind],
            Value::Array(kinds) => kinds.iter().map(|kind| kind.as_str().unwrap()).collect(),
            _ => Vec::new(),
        };
        if !kinds.is_empty() && !kinds.iter().any(|kind| is_a(kind, value)) {
            faults.push(format!("{at} is no {kinds:?}: {value}"));
        }
        if let Some(words) = schema["enum"].as_array()
            && !words.contains(value)
        {
            faults.push(format!("{at} is none of {words:?}: {value}"));
        }
        match value {
            Value::Object(object) => {
                for name in schema["required"].as_array().into_iter().flatten() {
                    if !object.contains_key(name.as_str().unwrap()) {
                        faults.push(format!("{at}.{name} is missing"));
                    }
                }
                for (name, inner) in object {
                    let schema = schema["properties"].get(name).or_else(|| schema.get("additionalProperties"));
                    faults.extend(
                        schema.into_iter().flat_map(|schema| self.faults(schema, inner, &format!("{at}.{name}"))),
                    );
                }
            }
            Value::Array(list) => {
                for (index, inner) in list.iter().enumerate() {
                    faults.extend(self.faults(&schema["items"], inner, &format!("{at}[{index}]")));
                }
            }
            _ => {}
        }
        faults
    }

    fn operation(&self, method: &str, path: &str) -> &Value {
        let operation = &self.0["paths"][path][method];
        assert!(operation.is_object(), "{method} {path} is not described");
        operation
    }

    fn check_answer(&self, method: &str, path: &str, answer: &crate::ground::Answer) {
        let responses = &self.operation(method, path)["responses"];
        let status = answer.status.to_string();
        let class = format!("{}XX", &status[..1]);
        let response = responses.get(&status).or_else(|| responses.get(&class));
        let response = response.unwrap_or_else(|| panic!("{method} {path}: {status} is not described"));
        match response["content"]["application/json"].get("schema") {
            Some(schema) => {
                let faults = self.faults(schema, &answer.json(), "body");
                assert!(faults.is_empty(), "{method} {path} {status}: {faults:#?}\n{}", answer.text());
            }
            None => assert!(answer.bytes.is_empty(), "{method} {path} {status}: {}", answer.text()),
        }
    }

    fn body_faults(&self, method: &str, path: &str, body: &Value) -> Vec<String> {
        let schema = &self.operation(method, path)["requestBody"]["content"]["application/json"]["schema"];
        assert!(!schema.is_null(), "{method} {path} has no body");
        self.faults(schema, body, "body")
    }
}

fn is_a(kind: &str, value: &Value) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("a type called {other}"),
    }
}

/// Fills in the parts of a described path.
fn filled(path: &str, parts: &[(&str, &str)]) -> String {
    parts.iter().fold(path.to_owned(), |path, (name, value)| path.replace(&format!("{{{name}}}"), value))
}

#[tokio::test]
async fn answers_are_what_the_description_says() {
    let ground = Ground::with(|config| config.websocket_per_minute = 2).await;
    let description = Description::of(&ground);
    let friend = ground.person("friend").await;
    let body = json!({ "name": "one", "template": "openttd", "external_id": "e", "limits": { "threads": "0" } });
    let made = ground.send("POST", "/api/application/servers", &ground.admin.key, &body).await;
    description.check_answer("post", "/api/application/servers", &made);
    let server = made.json()["attributes"]["uuid"].as_str().unwrap().to_owned();
    ground.share(server.parse().unwrap(), &friend, &["activity.read", "user.read"]).await;
    let mut details = crate::node::details("running");
    details["quarterdeck"] = json!({ "pid": 7, "next_line": 9, "last_exit": "exit code 3", "restart_at_ms": 1,
        "condition": "crash-looping", "crashes_in_a_row": 2, "gave_up": true,
        "isolation": { "active": ["session"], "missing": ["memory: no writable cgroup, watched only"] },
        "unmeasured": ["network: no namespace of its own"] });
    ground.node.answer(&format!("GET /api/servers/{server}"), 200, details);
    let key = ground.get("/api/client/account/api-keys", &ground.admin.key).await.json();
    let identifier = key["data"][0]["attributes"]["identifier"].as_str().unwrap().to_owned();
    let friend_id = friend.user.uuid.to_string();

    let mut asked = 0;
    for (path, item) in description.0["paths"].as_object().unwrap() {
        if item.get("get").is_none() {
            continue;
        }
        for (user, node, server) in [(friend_id.as_str(), "local", server.as_str()), ("x", "x", "zzzzzzzz")] {
            let parts = [("server", server), ("user", user), ("node", node), ("identifier", identifier.as_str())];
            for key in [ground.admin.key.as_str(), friend.key.as_str(), "x"] {
                let answer = ground.get(&filled(path, &parts), key).await;
                description.check_answer("get", path, &answer);
                asked += usize::from(answer.status == 200);
            }
        }
    }
    assert!(asked > 30, "{asked}");
    for (method, path, body) in [
        ("post", "/api/client/account/api-keys", json!({ "description": "x" })),
        ("post", "/api/client/account/api-keys", json!({})),
        ("post", "/api/client/servers/{server}/command", json!({ "command": "x" })),
        ("post", "/api/client/servers/{server}/power", json!({ "signal": "start" })),
        ("post", "/api/client/servers/{server}/users/{user}", json!({ "permissions": [] })),
        ("post", "/api/client/servers/{server}/users", json!({ "email": "new@example.org", "permissions": [] })),
        ("post", "/api/application/users", json!({ "email": "n@example.org", "username": "n" })),
        ("patch", "/api/application/users/{user}", json!({ "first_name": "N" })),
        ("post", "/api/application/users/{user}/api-keys", json!({ "description": "x" })),
        ("post", "/api/application/nodes", json!({ "name": "far", "url": "http://node.example" })),
        ("patch", "/api/application/nodes/{node}", json!({ "description": "d" })),
        ("patch", "/api/application/servers/{server}/details", json!({ "name": "two" })),
        ("patch", "/api/application/servers/{server}/build", json!({ "memory": 1 })),
        ("patch", "/api/application/servers/{server}/startup", json!({ "stop": "^C" })),
        ("post", "/api/application/servers/{server}/suspend", json!({})),
        ("get", "/api/client/servers/{server}/websocket", json!({})),
        ("delete", "/api/application/nodes/{node}", json!({})),
        ("delete", "/api/application/servers/{server}", json!({})),
    ] {
        let parts = [("server", server.as_str()), ("user", &friend_id), ("node", "local")];
        let answer = ground.send(&method.to_uppercase(), &filled(path, &parts), &ground.admin.key, &body).await;
        description.check_answer(method, path, &answer);
    }
}

#[tokio::test]
async fn resources_say_what_holds_and_what_cannot_be_measured() {
    let ground = Ground::new().await;
    let server = ground.server("one", &ground.admin).await;
    let path = format!("/api/client/servers/{server}/resources");
    // A node of another kind says nothing of it, so nothing is there.
    let plain = ground.get(&path, &ground.admin.key).await.json();
    let attributes = plain["attributes"].as_object().unwrap();
    assert!(!attributes.contains_key("isolation") && !attributes.contains_key("unmeasured"), "{plain}");
    // A power action makes the panel ask anew.
    let start = json!({ "signal": "start" });
    let sent = ground.send("POST", &format!("/api/client/servers/{server}/power"), &ground.admin.key, &start).await;
    assert_eq!(sent.status, 204);
    let isolation =
        json!({ "active": ["session", "rlimits"], "missing": ["memory: no writable cgroup, watched only"] });
    let unmeasured = json!(["network: no namespace of its own"]);
    let mut details = crate::node::details("running");
    details["quarterdeck"] = json!({ "pid": 7, "next_line": 9, "isolation": isolation, "unmeasured": unmeasured });
    ground.node.answer(&format!("GET /api/servers/{server}"), 200, details);
    let shown = ground.get(&path, &ground.admin.key).await.json();
    assert_eq!((&shown["attributes"]["isolation"], &shown["attributes"]["unmeasured"]), (&isolation, &unmeasured));
}

/// Bodies that handlers take, with every member they read: the description has all of them.
#[tokio::test]
async fn bodies_that_are_taken_are_what_the_description_says() {
    let ground = Ground::new().await;
    let description = Description::of(&ground);
    let stock_limits = json!({ "memory": 64, "swap": -1, "disk": 5, "io": 500, "cpu": 50, "threads": "0-1" });
    let start = json!({ "ready": "up", "stop": "^C", "console": "pipe", "grace_ms": 1, "settle_ms": 2, "success_exit": ["0"],
        "image": "i", "docker_image": "i", "crash_detection": false, "command": "cat", "startup": "cat" });
    let with = |base: &Value, more: Value| {
        let mut base = base.clone();
        base.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        base
    };
    let create = with(
        &start,
        json!({ "name": "one", "description": "d", "external_id": "e", "user": 1, "node": 1, "node_id": "local",
            "environment": { "A": "x", "B": 1, "C": true }, "files": { "a.txt": "x" }, "port": 30000, "memory": 1, "cpu": 2,
            "disk": 3, "pids": 4, "oom_disabled": true, "limits": stock_limits, "feature_limits": { "backups": 1 },
            "start_on_completion": true, "template": "demo" }),
    );
    let limits = with(&stock_limits, json!({ "pids": 3, "oom_disabled": false }));
    let build = with(&limits, json!({ "limits": limits, "feature_limits": { "databases": 2 } }));
    let startup = with(&start, json!({ "environment": { "A": 1, "B": false }, "ready": ["a", "regex:b"] }));
    let server = "/api/application/servers/{server}";
    let rows = [
        ("post", "/api/application/servers".to_owned(), create),
        (
            "post",
            "/api/application/servers".into(),
            json!({ "name": "two", "command": "x", "user": "admin", "node": "local" }),
        ),
        ("patch", format!("{server}/build"), build),
        ("patch", format!("{server}/build"), json!({})),
        ("patch", format!("{server}/startup"), startup),
        ("patch", format!("{server}/startup"), json!({ "stop": null, "crash_detection": null })),
        (
            "patch",
            format!("{server}/details"),
            json!({ "name": "x", "description": null, "external_id": null, "user": 1 }),
        ),
        ("patch", format!("{server}/details"), json!({ "user": "admin" })),
        ("post", "/api/application/users".into(), json!({ "email": "a@b", "username": "ann", "external_id": "e" })),
        (
            "patch",
            "/api/application/users/{user}".into(),
            json!({ "last_name": null, "root_admin": true, "language": "de" }),
        ),
        (
            "patch",
            "/api/application/users/{user}".into(),
            json!({ "password": "correct horse", "email": "a@b.example" }),
        ),
        ("post", "/api/application/nodes".into(), json!({ "name": "far", "fqdn": "a.example", "daemon_listen": 80 })),
        (
            "patch",
            "/api/application/nodes/{node}".into(),
            json!({ "maintenance_mode": false, "port_min": 30000, "port_max": 30001 }),
        ),
    ];
    for (method, path, body) in rows {
        let faults = description.body_faults(method, &path, &body);
        assert!(faults.is_empty(), "{method} {path}: {faults:#?}");
        let parts = [("server", "1"), ("user", "ann"), ("node", "local")];
        let answer = ground.send(&method.to_uppercase(), &filled(&path, &parts), &ground.admin.key, &body).await;
        assert!(matches!(answer.status, 200 | 201), "{method} {path}: {}", answer.text());
    }
    // The rest of the features stay as they were.
    let shown = ground.get("/api/application/servers/1", &ground.admin.key).await.json();
    assert_eq!(shown["attributes"]["feature_limits"], json!({ "databases": 2, "allocations": 0, "backups": 1 }));
    // The other way round: what is described as needed is.
    for (path, needed) in [("/api/application/servers", "name"), ("/api/application/users", "email")] {
        let faults = description.body_faults("post", path, &json!({ "username": "x", "command": "x" }));
        assert!(faults.iter().any(|fault| fault.contains(needed)), "{faults:?}");
    }
}
