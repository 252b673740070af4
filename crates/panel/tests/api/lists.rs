//! Lists, pages, filters, and the server object to the last member.

use serde_json::{Value, json};

use crate::ground::{Ask, Ground, Person};

fn names(list: &Value) -> Vec<&str> {
    list["data"].as_array().unwrap().iter().map(|item| item["attributes"]["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_server_object_is_whole() {
    let ground = Ground::new().await;
    let owner = ground.person("owner").await;
    let friend = ground.person("friend").await;
    let body = json!({ "name": "Näme \"1\"", "user": owner.user.number, "command": "run {{PORT}} {{NAME}} {{DIR}} {{X}} {{ {{",
        "environment": { "X": "secret" }, "memory": 512, "cpu": 150, "disk": 2048, "description": "about",
        "limits": { "swap": -1, "io": 600, "threads": "0-1,3" }, "feature_limits": { "backups": 3 } });
    let made = ground.send("POST", "/api/application/servers", &ground.admin.key, &body).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let uuid = made.json()["attributes"]["uuid"].as_str().unwrap().to_owned();
    let address =
        json!({ "id": 1, "ip": "0.0.0.0", "ip_alias": null, "port": 25565, "notes": null, "is_default": true });
    let mut expected = json!({
        "server_owner": true, "identifier": &uuid[..8], "internal_id": 1, "uuid": uuid, "name": "Näme \"1\"", "node": "local",
        "is_node_under_maintenance": false, "sftp_details": { "ip": "panel.example", "port": 2022 }, "description": "about",
        "limits": { "memory": 512, "swap": -1, "disk": 2048, "io": 600, "cpu": 150, "threads": "0-1,3", "oom_disabled": true },
        "invocation": "run 25565 Näme \"1\" {{DIR}} secret {{ {{", "docker_image": "", "egg_features": [],
        "feature_limits": { "databases": 0, "allocations": 0, "backups": 3 }, "status": null, "is_suspended": false,
        "is_installing": false, "is_transferring": false,
        "relationships": {
            "allocations": { "object": "list", "data": [{ "object": "allocation", "attributes": address }] },
            "variables": { "object": "list", "data": [] },
        },
    });
    let path = format!("/api/client/servers/{uuid}");
    let shown = ground.get(&path, &owner.key).await.json();
    let meta = json!({ "is_server_owner": true, "user_permissions": ["*", "websocket.connect"] });
    assert_eq!(shown, json!({ "object": "server", "attributes": expected, "meta": meta }));
    let list = ground.get("/api/client", &owner.key).await.json();
    assert_eq!(list["data"], json!([{ "object": "server", "attributes": expected }]));

    // Somebody with few rights sees no values and no notes.
    let id = uuid.parse().unwrap();
    ground.share(id, &friend, &["control.start"]).await;
    expected["server_owner"] = json!(false);
    expected["invocation"] = json!("run {{PORT}} {{NAME}} {{DIR}} {{X}} {{ {{");
    expected["relationships"]["variables"] = json!({ "object": "null_resource", "attributes": null });
    let shown = ground.get(&path, &friend.key).await.json();
    let meta = json!({ "is_server_owner": false, "user_permissions": ["control.start", "websocket.connect"] });
    assert_eq!(shown, json!({ "object": "server", "attributes": expected, "meta": meta }));
}

#[tokio::test]
async fn pages() {
    let ground = Ground::new().await;
    let empty = ground.get("/api/client", &ground.admin.key).await.json();
    let pagination =
        json!({ "total": 0, "count": 0, "per_page": 50, "current_page": 1, "total_pages": 1, "links": {} });
    assert_eq!(empty, json!({ "object": "list", "data": [], "meta": { "pagination": pagination } }));
    for number in 1..=5 {
        ground.server(&format!("server {number}"), &ground.admin).await;
    }
    let page = |query: &'static str| {
        let ground = &ground;
        async move { ground.get(&format!("/api/client{query}"), &ground.admin.key).await.json() }
    };
    let base = "http://panel.example:8080/api/client";
    let first = page("?per_page=2&filter[name]=server&foo=%26").await;
    assert_eq!(names(&first), ["server 1", "server 2"]);
    let expected = json!({ "total": 5, "count": 2, "per_page": 2, "current_page": 1, "total_pages": 3,
        "links": { "next": format!("{base}?per_page=2&filter[name]=server&foo=%26&page=2") } });
    assert_eq!(first["meta"]["pagination"], expected);
    let second = page("?per_page=2&page=2").await;
    assert_eq!(names(&second), ["server 3", "server 4"]);
    let links = json!({ "previous": format!("{base}?per_page=2&page=1"), "next": format!("{base}?per_page=2&page=3") });
    assert_eq!(second["meta"]["pagination"]["links"], links);
    // The last page has no `next` member at all.
    let last = page("?per_page=2&page=3").await;
    assert_eq!((names(&last), &last["meta"]["pagination"]["count"]), (vec!["server 5"], &json!(1)));
    assert_eq!(last["meta"]["pagination"]["links"], json!({ "previous": format!("{base}?per_page=2&page=2") }));
    let beyond = page("?per_page=2&page=99").await;
    assert_eq!((beyond["data"].clone(), &beyond["meta"]["pagination"]["total_pages"]), (json!([]), &json!(3)));
    assert_eq!(beyond["meta"]["pagination"]["links"], json!({ "previous": format!("{base}?per_page=2&page=3") }));
    assert_eq!(page("?page=18446744073709551615").await["data"], json!([]));
    assert_eq!(page("?per_page=1000").await["meta"]["pagination"]["per_page"], 100);
    assert_eq!(names(&page("/?page=1").await).len(), 5);
    // A link leads where it says.
    let next = first["meta"]["pagination"]["links"]["next"].as_str().unwrap().strip_prefix("http://panel.example:8080");
    assert_eq!(names(&ground.get(next.unwrap(), &ground.admin.key).await.json()), ["server 3", "server 4"]);
}

#[tokio::test]
async fn whose_servers() {
    let ground = Ground::new().await;
    let owner = ground.person("owner").await;
    let friend = ground.person("friend").await;
    let mine = ground.server("mine", &owner).await;
    ground.server("of the admin", &ground.admin).await;
    ground.server("of the friend", &friend).await;
    ground.share(mine, &friend, &["control.start"]).await;
    let rows: [(&Person, &str, &[&str]); 10] = [
        (&owner, "", &["mine"]),
        (&owner, "?type=owner", &["mine"]),
        (&owner, "?type=admin", &[]),
        (&owner, "?type=admin-all", &[]),
        (&friend, "", &["mine", "of the friend"]),
        (&friend, "?type=owner", &["of the friend"]),
        (&ground.admin, "", &["of the admin"]),
        (&ground.admin, "?type=admin", &["mine", "of the friend"]),
        (&ground.admin, "?type=admin-all", &["mine", "of the admin", "of the friend"]),
        (&ground.admin, "?type=nonsense", &["of the admin"]),
    ];
    for (person, query, expected) in rows {
        let list = ground.get(&format!("/api/client{query}"), &person.key).await.json();
        assert_eq!(names(&list), expected, "{} {query}", person.user.username);
        let total = &list["meta"]["pagination"]["total"];
        assert_eq!(*total, json!(expected.len()), "{} {query}", person.user.username);
    }
}

#[tokio::test]
async fn filters() {
    let ground = Ground::new().await;
    for (name, external, description) in
        [("Alpha 100%", "ext_1", "first"), ("beta_x", "ext%2", "second"), ("Gamma", "other", "ALPHA")]
    {
        let body = json!({ "name": name, "command": "x", "external_id": external, "description": description });
        assert_eq!(ground.send("POST", "/api/application/servers", &ground.admin.key, &body).await.status, 201);
    }
    let all = ground.get("/api/client", &ground.admin.key).await.json();
    let uuid = all["data"][1]["attributes"]["uuid"].as_str().unwrap().to_owned();
    for (filter, expected) in [
        ("filter[name]=alpha".to_owned(), vec!["Alpha 100%"]),
        ("filter[name]=100%25".into(), vec!["Alpha 100%"]),
        // Wildcards of the database are only text here.
        ("filter[name]=%25".into(), vec!["Alpha 100%"]),
        ("filter[name]=_".into(), vec!["beta_x"]),
        ("filter[name]=%5C".into(), vec![]),
        ("filter[name]='%20OR%20'1'='1".into(), vec![]),
        ("filter[description]=alpha".into(), vec!["Gamma"]),
        ("filter[external_id]=EXT".into(), vec!["Alpha 100%", "beta_x"]),
        (format!("filter[uuid]={}", &uuid[..13]), vec!["beta_x"]),
        ("filter[*]=ext_1".into(), vec!["Alpha 100%"]),
        ("filter[*]=second".into(), vec![]),
        (format!("filter%5B%2A%5D={uuid}"), vec!["beta_x"]),
        ("filter[name]=a&filter[description]=second".into(), vec!["beta_x"]),
        ("filter[nonsense]=x&sort=-name&include=egg".into(), vec!["Alpha 100%", "beta_x", "Gamma"]),
    ] {
        let list = ground.get(&format!("/api/client?{filter}"), &ground.admin.key).await.json();
        assert_eq!(names(&list), expected, "{filter}");
        let list = ground.get(&format!("/api/application/servers?{filter}"), &ground.admin.key).await.json();
        assert_eq!(names(&list), expected, "{filter}");
    }
}

#[tokio::test]
async fn filters_find_names_with_capitals_outside_of_ascii() {
    let ground = Ground::new().await;
    let path = "/api/application/servers";
    for (name, external, description) in [("Ägypten", "ÉTÉ", "ΟΔΟΣ"), ("МОСКВА", "other", "Straße")] {
        let body = json!({ "name": name, "command": "x", "external_id": external, "description": description });
        assert_eq!(ground.send("POST", path, &ground.admin.key, &body).await.status, 201);
    }
    let user = json!({ "username": "ann", "email": "Ölaf@example.org", "external_id": "ÜBER" });
    assert_eq!(ground.send("POST", "/api/application/users", &ground.admin.key, &user).await.status, 201);
    let escaped = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
    let found = async |filter: &str, text: &str| {
        let list = ground.get(&format!("{path}?filter[{filter}]={}", escaped(text)), &ground.admin.key).await.json();
        names(&list).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    for text in ["Ägypten", "ägypten", "ÄGYPT"] {
        assert_eq!(found("name", text).await, ["Ägypten"], "{text}");
        assert_eq!(found("*", text).await, ["Ägypten"], "{text}");
    }
    assert_eq!(found("name", "москва").await, ["МОСКВА"]);
    assert_eq!(found("external_id", "été").await, ["Ägypten"]);
    assert_eq!(found("description", "οδο").await, ["Ägypten"]);
    assert_eq!(found("description", "STRA").await, ["МОСКВА"]);
    // What is changed is found by its new name only.
    let changed =
        ground.send("PATCH", &format!("{path}/1/details"), &ground.admin.key, &json!({ "name": "Österreich" })).await;
    assert_eq!(changed.status, 200);
    assert_eq!(
        (found("name", "ägypten").await, found("name", "österreich").await),
        (vec![], vec!["Österreich".to_owned()])
    );
    for filter in ["external_id", "email"] {
        let text = if filter == "email" { "ÖLAF" } else { "über" };
        let path = format!("/api/application/users?filter[{filter}]={}", escaped(text));
        let list = ground.get(&path, &ground.admin.key).await.json();
        assert_eq!(list["data"][0]["attributes"]["username"], "ann", "{filter}");
    }
    let change = json!({ "external_id": "ÄRGER" });
    assert_eq!(ground.send("PATCH", "/api/application/users/ann", &ground.admin.key, &change).await.status, 200);
    let path = format!("/api/application/users?filter[external_id]={}", escaped("ärger"));
    assert_eq!(ground.get(&path, &ground.admin.key).await.json()["meta"]["pagination"]["total"], 1);
}

#[tokio::test]
async fn the_permission_catalogue() {
    let ground = Ground::new().await;
    let body = ground.get("/api/client/permissions", &ground.admin.key).await.json();
    assert_eq!(body["object"], "system_permissions");
    let groups = body["attributes"]["permissions"].as_object().unwrap();
    let mut all: Vec<String> = Vec::new();
    for (group, entry) in groups {
        assert!(!entry["description"].as_str().unwrap().is_empty());
        for (key, text) in entry["keys"].as_object().unwrap() {
            assert!(!text.as_str().unwrap().is_empty());
            all.push(format!("{group}.{key}"));
        }
    }
    assert_eq!((groups.len(), all.len()), (11, 40));
    for expected in
        ["websocket.connect", "control.console", "file.read-content", "database.view_password", "startup.docker-image"]
    {
        assert!(all.iter().any(|text| text == expected), "{expected}");
    }
    // Each of them can be given.
    let friend = ground.person("friend").await;
    let server = ground.server("one", &ground.admin).await;
    ground.share(server, &friend, &all.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let shown = ground.get(&format!("/api/client/servers/{server}"), &friend.key).await.json();
    all.sort();
    assert_eq!(shown["meta"]["user_permissions"], json!(all));
}

#[tokio::test]
async fn links_use_the_address_the_caller_knows() {
    let ground = Ground::with(|config| config.public_url = Some("https://panel.example/".into())).await;
    for number in 0..2 {
        ground.server(&format!("server {number}"), &ground.admin).await;
    }
    let list = ground.get("/api/client?per_page=1", &ground.admin.key).await.json();
    let next = "https://panel.example/api/client?per_page=1&page=2";
    assert_eq!(list["meta"]["pagination"]["links"]["next"], next);
    let bare =
        Ask::new("GET", "/api/client?per_page=1").key(&ground.admin.key).without("host").of(&ground.router).await;
    assert_eq!(bare.json()["meta"]["pagination"]["links"]["next"], next);
}
