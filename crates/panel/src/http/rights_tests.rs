//! Who may use what: every operation of the description against every permission alone, and against everybody who has none. An
//! operation that is new needs a row here.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::Value;
use tower::ServiceExt;
use wire::ids::ServerId;

use crate::access::CATALOGUE;
use crate::store::StoreError;
use crate::store::servers::{Server, Status};
use crate::store::subusers::Given;
use crate::store::users::User;
use crate::{Config, NewServer, NewUser, Panel};

/// Operations at a server of `/api/client`: a body, and what they need. Several rows where that depends on the body.
const AT_SERVER: &[(&str, &str, Option<&str>)] = &[
    ("show_server", "", None),
    ("show_resources", "", None),
    ("open_console", "", Some("websocket.connect")),
    ("read_console", "", Some("websocket.connect")),
    ("search_console", "", Some("websocket.connect")),
    ("list_runs", "", Some("websocket.connect")),
    ("read_run", "", Some("websocket.connect")),
    ("read_stats", "", Some("websocket.connect")),
    ("send_command", r#"{"command":"list"}"#, Some("control.console")),
    ("send_power", r#"{"signal":"start"}"#, Some("control.start")),
    ("send_power", r#"{"signal":"stop"}"#, Some("control.stop")),
    ("send_power", r#"{"signal":"kill"}"#, Some("control.stop")),
    ("send_power", r#"{"signal":"restart"}"#, Some("control.restart")),
    ("list_activity", "", Some("activity.read")),
    ("list_backups", "", Some("backup.read")),
    ("show_startup", "", Some("startup.read")),
    ("set_variable", r#"{"key":"WORD","value":"x"}"#, Some("startup.update")),
    ("set_docker_image", r#"{"docker_image":"x"}"#, Some("startup.docker-image")),
    ("rename_server", r#"{"name":"one"}"#, Some("settings.rename")),
    ("reinstall_server", "", Some("settings.reinstall")),
    ("abort_installation", "", Some("settings.reinstall")),
    ("list_allocations", "", Some("allocation.read")),
    ("create_allocation", "", Some("allocation.create")),
    ("note_allocation", r#"{"notes":"x"}"#, Some("allocation.update")),
    ("set_primary_allocation", "", Some("allocation.update")),
    ("delete_allocation", "", Some("allocation.delete")),
    ("list_subusers", "", Some("user.read")),
    ("show_subuser", "", Some("user.read")),
    ("create_subuser", r#"{"email":"target@example.org","permissions":[]}"#, Some("user.create")),
    ("update_subuser", r#"{"permissions":[]}"#, Some("user.update")),
    ("put_subuser", r#"{"permissions":[]}"#, Some("user.update")),
    ("delete_subuser", "", Some("user.delete")),
];
/// Whoever has a key or a session may use these, about themself or for a list of what they may see.
const ANYBODY: &[&str] = &[
    "list_servers",
    "list_permissions",
    "show_account",
    "list_account_activity",
    "list_keys",
    "create_key",
    "delete_key",
    "change_password",
    "offer_two_factor",
    "enable_two_factor",
    "disable_two_factor",
    "show_session",
    "sign_out",
    "sign_out_everywhere",
];
/// What needs nobody to be known yet.
const STRANGERS: &[&str] = &["sign_in", "sign_in_by_link"];

struct Operation {
    id: String,
    method: String,
    path: String,
}

struct Ground {
    panel: Panel,
    friend: User,
    target: User,
    server: ServerId,
    /// Of the administrator, the owner, the friend, somebody else, and an application key of the administrator.
    keys: [String; 5],
    operations: Vec<Operation>,
    _dir: tempfile::TempDir,
}

async fn ground() -> Ground {
    let dir = tempfile::TempDir::new().unwrap();
    let mut config = Config::new(dir.path().join("panel.sqlite"));
    (config.client_per_minute, config.application_per_minute, config.websocket_per_minute) = (99_999, 99_999, 99_999);
    let panel = Panel::open(config).await.unwrap();
    let node = axum::Router::new().fallback(|| async { StatusCode::ACCEPTED });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, node).await });
    panel.ensure_local_node("local", &url).await.unwrap();
    let admin = panel.create_admin("admin", "admin@example.org", None).await.unwrap();
    let mut people = Vec::new();
    for name in ["owner", "friend", "stranger", "target"] {
        let email = format!("{name}@example.org");
        let new = NewUser { username: name.to_owned(), email, ..NewUser::default() };
        people.push(panel.app.store.insert_user(new).await.unwrap());
    }
    let [owner, friend, stranger, target] = people.try_into().unwrap();
    let new = NewServer {
        name: "one".to_owned(),
        command: Some("x".to_owned()),
        owner: Some(owner.uuid),
        ..NewServer::default()
    };
    let server = panel.create_server(new).await.unwrap();
    let mut keys = Vec::new();
    for user in [admin.uuid, owner.uuid, friend.uuid, stranger.uuid] {
        keys.push(panel.create_client_key(user, "test").await.unwrap());
    }
    keys.push(panel.create_application_key(admin.uuid, "test").await.unwrap());
    let description: Value = serde_json::from_str(&panel.openapi().unwrap()).unwrap();
    let mut operations = Vec::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap().to_owned();
            operations.push(Operation { id, method: method.to_uppercase(), path: path.clone() });
        }
    }
    Ground { panel, friend, target, server, keys: keys.try_into().unwrap(), operations, _dir: dir }
}

impl Ground {
    fn operation(&self, id: &str) -> &Operation {
        self.operations.iter().find(|operation| operation.id == id).unwrap_or_else(|| panic!("there is no {id}"))
    }

    async fn ask(&self, operation: &Operation, key: Option<&str>, body: &str) -> u16 {
        let is_about_target = operation.path.starts_with("/api/client");
        let user = if is_about_target { self.target.uuid.to_string() } else { "nobody".to_owned() };
        let path = operation.path.replace("{server}", &self.server.to_string()).replace("{user}", &user);
        let path = path
            .replace("{run}", "11111111-2222-4333-8444-555555555555")
            .replace("{identifier}", "ptlc_abcdefghijk")
            .replace("{node}", "nothing")
            .replace("{allocation}", "1");
        let request = Request::builder().method(operation.method.as_str()).uri(&path).header("host", "panel.example");
        let request = match key {
            Some(key) => request.header("authorization", format!("Bearer {key}")),
            None => request,
        };
        let request = request.header("content-type", "application/json").body(Body::from(body.to_owned())).unwrap();
        let response = self.panel.router().oneshot(request).await.unwrap();
        response.status().as_u16()
    }

    /// Gives the friend these permissions and nothing else, as they stand in the database.
    async fn hold(&self, held: &[String]) {
        let store = &self.panel.app.store;
        // An operation may have it installed anew.
        let usable = |server: &mut Server| {
            server.status = Status::Normal;
            Ok::<_, StoreError>(Vec::new())
        };
        store.change_server(self.server, usable).await.unwrap();
        store.delete_subuser(self.server, self.friend.uuid, &[]).await.unwrap();
        assert_eq!(store.insert_subuser(self.server, self.friend.uuid, held).await.unwrap(), Given::New);
        // Whom an operation may be about: somebody who has rights, none of which the friend lacks.
        store.insert_subuser(self.server, self.target.uuid, &[]).await.unwrap();
    }
}

fn every_permission() -> Vec<String> {
    let catalogue = CATALOGUE.iter();
    catalogue.flat_map(|(group, _, keys)| keys.iter().map(move |(key, _)| format!("{group}.{key}"))).collect()
}

#[tokio::test]
async fn every_operation_at_a_server_against_every_permission() {
    let ground = ground().await;
    // Nothing, what is stored and means nothing, and each permission alone.
    let mut sets: Vec<Vec<String>> = every_permission().into_iter().map(|text| vec![text]).collect();
    sets.push(Vec::new());
    sets.extend(["*", "control", "admin.websocket.errors", "user.*"].map(|text| vec![text.to_owned()]));
    let [admin, owner, friend, stranger, application] = &ground.keys;
    for held in &sets {
        for (id, body, needed) in AT_SERVER {
            ground.hold(held).await;
            let status = ground.ask(ground.operation(id), Some(friend), body).await;
            let is_allowed = needed.is_none_or(|needed| held.iter().any(|text| text == needed));
            assert_eq!(status != 403, is_allowed, "{held:?}: {id} {body}: {status}");
            assert!(![401, 404, 405, 409, 429].contains(&status) || !is_allowed, "{held:?}: {id} {body}: {status}");
        }
    }
    for (id, body, _) in AT_SERVER {
        let operation = ground.operation(id);
        for (who, key, expected) in [
            ("nobody", None, Some(401)),
            ("somebody else", Some(stranger), Some(404)),
            ("an application key", Some(application), Some(403)),
            ("the owner", Some(owner), None),
            ("an administrator", Some(admin), None),
        ] {
            ground.hold(&[]).await;
            let status = ground.ask(operation, key.map(String::as_str), body).await;
            match expected {
                Some(expected) => assert_eq!(status, expected, "{who}: {id}"),
                None => assert!(![401, 403, 404].contains(&status), "{who}: {id}: {status}"),
            }
        }
    }
}

/// All of `/api/application` is for administrators and closed to everybody else, whatever they hold on servers.
#[tokio::test]
async fn operations_of_administrators_are_closed_to_everybody_else() {
    let ground = ground().await;
    ground.hold(&every_permission()).await;
    let [_, owner, friend, stranger, _] = &ground.keys;
    let of_administrators = |operation: &&Operation| operation.path.starts_with("/api/application/");
    assert!(ground.operations.iter().filter(of_administrators).count() > 20);
    for operation in ground.operations.iter().filter(of_administrators) {
        assert_eq!(ground.ask(operation, None, "{}").await, 401, "{}", operation.id);
        for key in [owner, friend, stranger] {
            assert_eq!(ground.ask(operation, Some(key), "{}").await, 403, "{}", operation.id);
        }
    }
    let list = ground.operation("list_users");
    assert_eq!(ground.ask(list, Some(&ground.keys[0]), "").await, 200);
    assert_eq!(ground.ask(list, Some(&ground.keys[4]), "").await, 200);
}

#[tokio::test]
async fn operations_about_oneself_need_a_key_and_no_right() {
    let ground = ground().await;
    for id in ANYBODY {
        let operation = ground.operation(id);
        assert_eq!(ground.ask(operation, None, "{}").await, 401, "{id}");
        let status = ground.ask(operation, Some(&ground.keys[3]), "{}").await;
        // What a session alone can do may be refused to a key, but not for want of a right.
        assert_ne!(status, 403, "{id}");
    }
    for id in STRANGERS {
        assert!([400, 401, 422].contains(&ground.ask(ground.operation(id), None, "{}").await), "{id}");
    }
}

#[tokio::test]
async fn every_operation_has_a_row() {
    let ground = ground().await;
    let rows: BTreeSet<&str> =
        AT_SERVER.iter().map(|row| row.0).chain(ANYBODY.iter().copied()).chain(STRANGERS.iter().copied()).collect();
    let operations = ground.operations.iter().filter(|operation| !operation.path.starts_with("/api/application/"));
    let operations: BTreeSet<&str> = operations.map(|operation| operation.id.as_str()).collect();
    assert_eq!(operations, rows, "an operation without a row, or a row without an operation");
    let at_server =
        ground.operations.iter().filter(|operation| operation.path.starts_with("/api/client/servers/{server}"));
    for operation in at_server {
        assert!(AT_SERVER.iter().any(|row| row.0 == operation.id), "{} is at a server", operation.id);
    }
}
