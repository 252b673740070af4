//! Addresses: made by administrators, given to servers, added and left by users.

use serde_json::{Value, json};

use crate::ground::{Ground, pairs};

const POOL: &str = "/api/application/nodes/local/allocations";

fn ports(list: &Value) -> Vec<u64> {
    list["data"].as_array().unwrap().iter().map(|item| item["attributes"]["port"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn administrators_make_addresses() {
    let ground = Ground::new().await;
    let key = &ground.admin.key;
    let body = json!({ "ip": "10.0.0.1", "ports": ["30000", "30005-30006"], "alias": "play.example" });
    for _ in 0..2 {
        // What is there stays.
        let made = ground.send("POST", POOL, key, &body).await;
        assert_eq!((made.status, made.bytes.len()), (204, 0), "{}", made.text());
    }
    let list = ground.get(&format!("{POOL}?include=node"), key).await.json();
    assert_eq!(ports(&list), [30000, 30005, 30006]);
    let mut first = list["data"][0].clone();
    assert_eq!(first["attributes"]["relationships"]["node"]["attributes"]["name"], "local");
    first["attributes"].as_object_mut().unwrap().remove("relationships");
    let expected =
        json!({ "id": 1, "ip": "10.0.0.1", "alias": "play.example", "port": 30000, "notes": null, "assigned": false });
    assert_eq!(first, json!({ "object": "allocation", "attributes": expected }));
    // The same port of another address is another one; of the whole machine it is not.
    assert_eq!(ground.send("POST", POOL, key, &json!({ "ip": "10.0.0.2", "ports": ["30000"] })).await.status, 204);
    for (body, expected) in [
        (json!({ "ip": "0.0.0.0", "ports": ["30000"] }), ("ports", "unique")),
        (json!({ "ip": "here", "ports": ["30000"] }), ("ip", "ip")),
        (json!({ "ip": "10.0.0.1" }), ("ports", "required")),
        (json!({ "ip": "10.0.0.1", "ports": ["80"] }), ("ports.0", "port")),
        (json!({ "ip": "10.0.0.1", "ports": ["30010-30009"] }), ("ports.0", "port")),
        (json!({ "ip": "10.0.0.1", "ports": ["20000-29000"] }), ("ports", "max")),
    ] {
        assert_eq!(ground.send("POST", POOL, key, &body).await.invalid(), pairs(&[expected]), "{body}");
    }
    let body = json!({ "name": "one", "command": "x", "allocation": { "default": 2, "additional": ["3"] } });
    let made = ground.send("POST", "/api/application/servers", key, &body).await.json();
    assert_eq!((&made["attributes"]["allocation"], &made["attributes"]["port"]), (&json!(2), &json!(30005)));
    let taken = ground.send("POST", "/api/application/servers", key, &body).await;
    assert_eq!(taken.invalid(), pairs(&[("allocation", "exists")]));
    let in_use = ground.ask("DELETE", &format!("{POOL}/2"), key).await;
    assert_eq!(in_use.refusal(), (400, "ServerUsingAllocationException".to_owned()));
    assert_eq!(ground.ask("DELETE", &format!("{POOL}/1"), key).await.status, 204);
    assert_eq!(ground.ask("DELETE", &format!("{POOL}/1"), key).await.status, 404);
    // They stay when the server goes.
    assert_eq!(ground.ask("DELETE", "/api/application/servers/1", key).await.status, 204);
    let list = ground.get(POOL, key).await.json();
    assert_eq!(ports(&list), [30005, 30006, 30000]);
    assert!(list["data"].as_array().unwrap().iter().all(|item| item["attributes"]["assigned"] == false));
}

#[tokio::test]
async fn administrators_give_and_take_addresses() {
    let ground = Ground::new().await;
    let key = &ground.admin.key;
    ground.server("one", &ground.admin).await;
    ground.send("POST", POOL, key, &json!({ "ip": "10.0.0.1", "ports": ["30000-30001"] })).await;
    let build = "/api/application/servers/1/build";
    let change = async |body: Value| ground.send("PATCH", build, key, &body).await;
    assert_eq!(change(json!({ "add_allocations": [99] })).await.invalid(), pairs(&[("allocation", "exists")]));
    assert_eq!(change(json!({ "allocation": 2 })).await.refusal(), (400, "DisplayException".to_owned()));
    assert_eq!(change(json!({ "remove_allocations": [1] })).await.refusal(), (400, "DisplayException".to_owned()));
    let given = change(json!({ "add_allocations": [2, 3], "allocation": 2 })).await;
    assert_eq!((given.status, &given.json()["attributes"]["allocation"]), (200, &json!(2)));
    // The first of what is added takes the place of a main one that is left.
    let left = change(json!({ "remove_allocations": [1, 3] })).await;
    assert_eq!((left.status, &left.json()["attributes"]["port"]), (200, &json!(30000)));
    // One that only this server had is gone with it.
    assert_eq!(ports(&ground.get(POOL, key).await.json()), [30000, 30001]);
}

#[tokio::test]
async fn users_add_and_leave_addresses() {
    let ground = Ground::new().await;
    let owner = ground.person("owner").await;
    let server = ground.server("one", &owner).await;
    let path = format!("/api/client/servers/{server}/network/allocations");
    let rule = (400, "DisplayException".to_owned());
    assert_eq!(ground.ask("POST", &path, &owner.key).await.refusal(), rule);
    let more = json!({ "feature_limits": { "allocations": 2 } });
    let build = format!("/api/application/servers/{server}/build");
    assert_eq!(ground.send("PATCH", &build, &ground.admin.key, &more).await.status, 200);
    ground.node.take();
    let made = ground.ask("POST", &path, &owner.key).await;
    assert_eq!(made.status, 200, "{}", made.text());
    let expected =
        json!({ "id": 2, "ip": "0.0.0.0", "ip_alias": null, "port": 25566, "notes": null, "is_default": false });
    assert_eq!(made.json(), json!({ "object": "allocation", "attributes": expected }));
    assert_eq!(ground.node.take_lines(), [format!("POST /api/servers/{server}/sync")]);
    assert_eq!(ground.ask("POST", &path, &owner.key).await.refusal(), rule);
    let noted = ground.send("POST", &format!("{path}/2"), &owner.key, &json!({ "notes": "query" })).await;
    assert_eq!((noted.status, &noted.json()["attributes"]["notes"]), (200, &json!("query")));
    let missing = ground.send("POST", &format!("{path}/2"), &owner.key, &json!({})).await;
    assert_eq!(missing.invalid(), pairs(&[("notes", "present")]));
    assert_eq!(ground.ask("DELETE", &format!("{path}/1"), &owner.key).await.refusal(), rule);
    let main = ground.ask("POST", &format!("{path}/2/primary"), &owner.key).await;
    assert_eq!((main.status, &main.json()["attributes"]["is_default"]), (200, &json!(true)));
    assert_eq!(ground.ask("DELETE", &format!("{path}/1"), &owner.key).await.status, 204);
    assert_eq!(ports(&ground.get(&path, &owner.key).await.json()), [25566]);
    for id in ["1", "99"] {
        assert_eq!(ground.ask("DELETE", &format!("{path}/{id}"), &owner.key).await.status, 404);
        assert_eq!(ground.ask("POST", &format!("{path}/{id}/primary"), &owner.key).await.status, 404);
    }
    let record = ground.get(&format!("/api/client/servers/{server}/activity"), &owner.key).await.json();
    let mut events: Vec<&str> =
        record["data"].as_array().unwrap().iter().map(|one| one["attributes"]["event"].as_str().unwrap()).collect();
    events.truncate(4);
    let expected = ["delete", "primary", "notes", "create"].map(|word| format!("server:allocation.{word}"));
    assert_eq!(events, expected);
}
