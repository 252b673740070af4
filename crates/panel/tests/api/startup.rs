//! What users change of a server: variables, image, name, installation.

use serde_json::{Value, json};

use crate::eggs::server;
use crate::ground::{Ground, pairs};

/// A server from an egg that is installed: its path.
async fn installed(ground: &Ground) -> String {
    let made = server(ground, json!({ "skip_scripts": true })).await;
    ground.node.take();
    format!("/api/client/servers/{}", made["uuid"].as_str().unwrap())
}

async fn last_record(ground: &Ground, path: &str) -> (String, Value) {
    let list = ground.get(&format!("{path}/activity"), &ground.admin.key).await.json();
    let record = &list["data"][0]["attributes"];
    (record["event"].as_str().unwrap().to_owned(), record["properties"].clone())
}

#[tokio::test]
async fn variables_are_shown_and_set_by_their_rules() {
    let ground = Ground::new().await;
    let key = &ground.admin.key;
    let path = installed(&ground).await;
    let shown = ground.get(&format!("{path}/startup"), key).await.json();
    let names: Vec<&Value> =
        shown["data"].as_array().unwrap().iter().map(|item| &item["attributes"]["env_variable"]).collect();
    assert_eq!(names, ["SERVER_JARFILE", "MOTD"]);
    let first = json!({ "object": "egg_variable", "attributes": { "name": "Jar", "description": "", "env_variable": "SERVER_JARFILE",
        "default_value": "server.jar", "server_value": "server.jar", "is_editable": true, "rules": "required|regex:/^[a-z.]+$/" } });
    assert_eq!(shown["data"][0], first);
    assert_eq!(
        shown["meta"],
        json!({
            "startup_command": "java -jar server.jar --port 25565 [hidden]",
            "docker_images": { "Default": "ghcr.io/example/yolks:java_21", "Java 17": "ghcr.io/example/yolks:java_17" },
            "raw_startup_command": "java -jar {{SERVER_JARFILE}} --port {{SERVER_PORT}} {{SECRET}}",
        })
    );
    let variable = format!("{path}/startup/variable");
    let set = async |body: Value| ground.send("PUT", &variable, key, &body).await;
    let done = set(json!({ "key": "SERVER_JARFILE", "value": "other.jar" })).await;
    assert_eq!(done.status, 200, "{}", done.text());
    let done = done.json();
    assert_eq!(done["attributes"]["server_value"], "other.jar");
    assert_eq!(done["meta"]["startup_command"], "java -jar other.jar --port 25565 [hidden]");
    let record = json!({ "variable": "SERVER_JARFILE", "old": "server.jar", "new": "other.jar" });
    assert_eq!(last_record(&ground, &path).await, ("server:startup.edit".into(), record));
    assert!(ground.node.take_lines().iter().any(|line| line.ends_with("/sync")));
    assert_eq!(set(json!({})).await.invalid(), pairs(&[("key", "required"), ("value", "present")]));
    assert_eq!(set(json!({ "key": "SERVER_JARFILE", "value": "" })).await.invalid(), pairs(&[("value", "required")]));
    assert_eq!(set(json!({ "key": "SERVER_JARFILE", "value": "A B" })).await.invalid(), pairs(&[("value", "rules")]));
    for (name, word) in [("MOTD", "read-only"), ("SECRET", "does not exist"), ("NOTHING", "does not exist")] {
        let (status, code, detail) = set(json!({ "key": name, "value": "x" })).await.error();
        assert_eq!((status, code.as_str()), (400, "BadRequestHttpException"));
        assert!(detail.contains(word), "{name}: {detail}");
    }
}

#[tokio::test]
async fn values_are_hidden_from_those_who_may_not_see_them() {
    let ground = Ground::new().await;
    let path = installed(&ground).await;
    let friend = ground.person("friend").await;
    let uuid = path.rsplit('/').next().unwrap().parse().unwrap();
    ground.share(uuid, &friend, &["control.console"]).await;
    let seen = ground.get(&format!("{path}?include=egg"), &friend.key).await.json();
    assert_eq!(seen["attributes"]["invocation"], "java -jar [hidden] --port 25565 [hidden]");
    assert_eq!(seen["attributes"]["relationships"]["variables"]["object"], "null_resource");
    assert_eq!(seen["attributes"]["egg_features"], json!(["eula"]));
    assert_eq!(seen["attributes"]["relationships"]["egg"]["attributes"]["name"], "Game");
    let seen = ground.get("/api/client", &ground.admin.key).await.json();
    assert_eq!(seen["data"][0]["attributes"]["relationships"]["variables"]["data"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn images_are_those_of_the_egg() {
    let ground = Ground::new().await;
    let key = &ground.admin.key;
    let path = installed(&ground).await;
    let image = format!("{path}/settings/docker-image");
    let wrong = ground.send("PUT", &image, key, &json!({ "docker_image": "evil" })).await;
    assert_eq!(wrong.invalid(), pairs(&[("docker_image", "in")]));
    let body = json!({ "docker_image": "ghcr.io/example/yolks:java_17" });
    assert_eq!(ground.send("PUT", &image, key, &body).await.status, 204);
    assert_eq!(last_record(&ground, &path).await.0, "server:startup.image");
    assert_eq!(ground.get(&path, key).await.json()["attributes"]["docker_image"], "ghcr.io/example/yolks:java_17");
    let by_hand = json!({ "image": "own" });
    assert_eq!(ground.send("PATCH", "/api/application/servers/1/startup", key, &by_hand).await.status, 200);
    assert_eq!(ground.send("PUT", &image, key, &body).await.refusal(), (400, "BadRequestHttpException".to_owned()));
}

#[tokio::test]
async fn a_server_gets_another_name() {
    let ground = Ground::new().await;
    let key = &ground.admin.key;
    let path = installed(&ground).await;
    let rename = format!("{path}/settings/rename");
    assert_eq!(ground.send("POST", &rename, key, &json!({})).await.invalid(), pairs(&[("name", "required")]));
    let done = ground.send("POST", &rename, key, &json!({ "name": "two", "description": "d" })).await;
    assert_eq!((done.status, done.bytes.len()), (204, 0));
    let shown = ground.get(&path, key).await.json()["attributes"].clone();
    assert_eq!((&shown["name"], &shown["description"]), (&json!("two"), &json!("d")));
    let list = ground.get(&format!("{path}/activity"), key).await.json();
    let mut events: Vec<&str> =
        list["data"].as_array().unwrap().iter().map(|one| one["attributes"]["event"].as_str().unwrap()).collect();
    events.truncate(2);
    assert_eq!(events, ["server:settings.description", "server:settings.rename"]);
    // What is left out stays.
    assert_eq!(ground.send("POST", &rename, key, &json!({ "name": "three" })).await.status, 204);
    assert_eq!(ground.get(&path, key).await.json()["attributes"]["description"], "d");
}

#[tokio::test]
async fn a_server_is_installed_anew_and_that_is_ended() {
    let ground = Ground::new().await;
    let key = &ground.admin.key;
    let path = installed(&ground).await;
    let uuid = path.rsplit('/').next().unwrap().to_owned();
    let reinstall = format!("{path}/settings/reinstall");
    let asked = format!("POST /api/servers/{uuid}/reinstall");
    // A node that refuses leaves all as it was.
    ground.node.answer(&asked, 409, json!({ "error": "busy" }));
    assert_eq!(ground.ask("POST", &reinstall, key).await.refusal(), (409, "DaemonConnectionException".to_owned()));
    assert_eq!(ground.get(&path, key).await.json()["attributes"]["status"], Value::Null);
    ground.node.recover();
    let done = ground.ask("POST", &reinstall, key).await;
    assert_eq!((done.status, done.json()), (202, json!([])));
    assert_eq!(ground.get(&path, key).await.json()["attributes"]["status"], "installing");
    let conflict = (409, "ServerStateConflictException".to_owned());
    assert_eq!(ground.ask("POST", &reinstall, key).await.refusal(), conflict);
    let again = format!("/api/application/servers/{uuid}/reinstall");
    assert_eq!(ground.ask("POST", &again, key).await.refusal(), conflict);
    ground.node.take();
    assert_eq!(ground.ask("DELETE", &reinstall, key).await.status, 204);
    assert_eq!(ground.node.take_lines(), [format!("DELETE /api/servers/{uuid}/install")]);
    let report = json!({ "successful": false, "reinstall": true });
    assert_eq!(ground.as_node("POST", &format!("/api/remote/servers/{uuid}/install"), &report).await.status, 204);
    let (event, _) = last_record(&ground, &path).await;
    assert_eq!(event, "server:reinstall.abort");
    assert_eq!(ground.get(&path, key).await.json()["attributes"]["status"], "reinstall_failed");
    assert_eq!(ground.ask("POST", &again, key).await.status, 204);
}
