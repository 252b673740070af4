//! Servers that are deleted can be brought back for a while.

use serde_json::{Value, json};

use crate::ground::{Ground, Person};

const HOUR_MS: i64 = 60 * 60 * 1000;

async fn ground() -> (Ground, Person, String) {
    let ground = Ground::with(|config| config.delete_grace_h = 72).await;
    let owner = ground.person("owner").await;
    let server = ground.server("one", &owner).await.to_string();
    let body = json!({ "external_id": "order" });
    let path = format!("/api/application/servers/{server}/details");
    assert_eq!(ground.send("PATCH", &path, &ground.admin.key, &body).await.status, 200);
    ground.node.take();
    (ground, owner, server)
}

fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

async fn suspended_for_its_node(ground: &Ground, server: &str) -> bool {
    let definition = ground.as_node("GET", &format!("/api/remote/servers/{server}"), &Value::Null).await;
    definition.json()["settings"]["suspended"].as_bool().unwrap()
}

#[tokio::test]
async fn a_deleted_server_is_out_of_the_way_and_comes_back_as_it_was() {
    let (ground, owner, server) = ground().await;
    let key = &ground.admin.key;
    let one = format!("/api/application/servers/{server}");
    assert_eq!(ground.ask("DELETE", &one, key).await.status, 204);
    assert_eq!(ground.node.take_lines(), [format!("POST /api/servers/{server}/sync")]);
    assert!(suspended_for_its_node(&ground, &server).await);
    let client = format!("/api/client/servers/{server}");
    for key in [&owner.key, key] {
        assert_eq!(ground.get(&client, key).await.status, 404);
        assert_eq!(ground.get("/api/client", key).await.json()["data"], json!([]));
    }
    assert_eq!(ground.get("/api/application/servers", key).await.json()["data"], json!([]));
    assert_eq!(ground.get("/api/application/servers/external/order", key).await.status, 404);
    let deleted = ground.get("/api/application/servers?filter[deleted]=true", key).await.json();
    let shown = &deleted["data"][0]["attributes"];
    assert_eq!(
        (&shown["uuid"], &shown["status"], &shown["suspended"]),
        (&json!(server), &json!("deleting"), &json!(true))
    );
    assert!(shown["delete_at"].is_string());
    // Its port stays its own.
    let next = ground.server("two", &owner).await;
    let next = ground.get(&format!("/api/application/servers/{next}"), key).await.json();
    assert_eq!(next["attributes"]["port"], 25566);
    assert_eq!(ground.panel.delete_due(now() + 71 * HOUR_MS).await.unwrap(), 0);

    assert_eq!(ground.ask("POST", &format!("{one}/restore"), key).await.status, 204);
    assert!(!suspended_for_its_node(&ground, &server).await);
    let back = ground.get(&client, &owner.key).await.json();
    assert_eq!(
        (back["attributes"]["status"].clone(), ground.get("/api/application/servers/external/order", key).await.status),
        (Value::Null, 200)
    );
    assert_eq!(ground.panel.delete_due(now() + 1000 * HOUR_MS).await.unwrap(), 0);
}

#[tokio::test]
async fn it_is_gone_when_its_time_has_come() {
    let (ground, _, server) = ground().await;
    let key = &ground.admin.key;
    let one = format!("/api/application/servers/{server}");
    assert_eq!(ground.ask("DELETE", &one, key).await.status, 204);
    // Once more makes it no longer.
    assert_eq!(ground.ask("DELETE", &one, key).await.status, 204);
    ground.node.take();
    assert_eq!(ground.panel.delete_due(now() + 73 * HOUR_MS).await.unwrap(), 1);
    assert_eq!(ground.node.take_lines(), [format!("DELETE /api/servers/{server}")]);
    assert_eq!(ground.get(&one, key).await.status, 404);
    assert_eq!(ground.ask("POST", &format!("{one}/restore"), key).await.status, 404);
}

#[tokio::test]
async fn what_is_forced_is_gone_at_once() {
    let (ground, _, server) = ground().await;
    let key = &ground.admin.key;
    let one = format!("/api/application/servers/{server}");
    assert_eq!(ground.ask("DELETE", &format!("{one}/force"), key).await.status, 204);
    assert_eq!(ground.node.take_lines(), [format!("DELETE /api/servers/{server}")]);
    assert_eq!(ground.get(&one, key).await.status, 404);
}

#[tokio::test]
async fn a_name_elsewhere_that_is_another_ones_by_now_does_not_come_back() {
    let (ground, owner, server) = ground().await;
    let key = &ground.admin.key;
    let one = format!("/api/application/servers/{server}");
    assert_eq!(ground.ask("DELETE", &one, key).await.status, 204);
    let next = ground.server("two", &owner).await;
    let details = format!("/api/application/servers/{next}/details");
    assert_eq!(ground.send("PATCH", &details, key, &json!({ "external_id": "order" })).await.status, 200);
    assert_eq!(ground.ask("POST", &format!("{one}/restore"), key).await.status, 204);
    assert_eq!(ground.get(&one, key).await.json()["attributes"]["external_id"], Value::Null);
}
