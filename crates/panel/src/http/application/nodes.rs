//! Machines with a daemon, for administrators.

use axum::Json;
use axum::extract::OriginalUri;
use axum::http::StatusCode;
use serde_json::json;
use wire::api::{ErrorBody, Item, List};
use wire::application::{
    Node as NodeBody, NodeApi, NodeConfiguration, NodeRequest, NodeSftp, NodeSsl, NodeSystem, UpdateNode,
};

use super::resource_meta;
use crate::app::is_taken_for_an_id;
use crate::clock::iso;
use crate::http::caller::{Admin, Call};
use crate::http::fields::Fields;
use crate::http::page::{Asked, paged};
use crate::http::path::Path;
use crate::http::problem::{Answer, Problem};
use crate::http::reach::Origin;
use crate::nodes::checked_url;
use crate::store::nodes::{BIND_IP_DEFAULT, NewNode, Node, PORT_MAX_DEFAULT, PORT_MIN_DEFAULT};

const NAME_CHARS_MAX: usize = 100;
const DESCRIPTION_CHARS_MAX: usize = 1000;
const URL_CHARS_MAX: usize = 500;
const DAEMON_PORT_DEFAULT: i64 = 8080;
const SFTP_PORT: u16 = 2022;
const UPLOAD_LIMIT_MIB: u32 = 100;

async fn show(call: &Call, node: &Node) -> Answer<Item<NodeBody>> {
    Ok(item(node, call.app.store.node_server_count(node.uuid).await?))
}

/// A node with this many servers.
pub(super) fn item(node: &Node, servers: u64) -> Item<NodeBody> {
    let origin = Origin::of_url(&node.url);
    let shown = NodeBody {
        id: node.number,
        uuid: node.uuid.to_string(),
        name: node.name.clone(),
        description: node.description.clone(),
        scheme: if origin.as_ref().is_some_and(|origin| origin.secure) { "https" } else { "http" }.to_owned(),
        daemon_listen: origin.as_ref().map_or(0, |origin| origin.port),
        fqdn: origin.map(|origin| origin.host).unwrap_or_default(),
        maintenance_mode: node.maintenance,
        url: node.url.clone(),
        is_local: node.local,
        bind_ip: node.bind_ip.clone(),
        port_min: node.port_min,
        port_max: node.port_max,
        servers,
        created_at: iso(node.created_at),
        updated_at: iso(node.updated_at),
    };
    Item::new("node", shown)
}

/// What the daemon of a node needs to know, secrets included.
fn configuration_of(call: &Call, node: &Node) -> NodeConfiguration {
    let origin = Origin::of_url(&node.url);
    let host = origin.as_ref().map(|origin| origin.host.clone()).unwrap_or_default();
    NodeConfiguration {
        debug: false,
        uuid: node.uuid.to_string(),
        token_id: node.token_id.clone(),
        token: node.token.expose().to_owned(),
        api: NodeApi {
            host: "0.0.0.0".to_owned(),
            port: origin.as_ref().map_or(0, |origin| origin.port),
            ssl: NodeSsl {
                enabled: origin.is_some_and(|origin| origin.secure),
                cert: format!("/etc/letsencrypt/live/{host}/fullchain.pem"),
                key: format!("/etc/letsencrypt/live/{host}/privkey.pem"),
            },
            upload_limit: UPLOAD_LIMIT_MIB,
        },
        system: NodeSystem { data: "/var/lib/pterodactyl/volumes".to_owned(), sftp: NodeSftp { bind_port: SFTP_PORT } },
        allowed_mounts: Vec::new(),
        remote: call.public_url(),
    }
}

/// All nodes.
#[utoipa::path(
    get, path = "/api/application/nodes", tag = "application", operation_id = "list_nodes",
    params(
        ("page" = Option<u64>, Query, description = "From 1."),
        ("per_page" = Option<u64>, Query, description = "50 unless told, 100 at most."),
    ),
    responses((status = 200, body = List<NodeBody>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn list(Admin(call): Admin, uri: OriginalUri, asked: Asked) -> Answer<Json<List<NodeBody>>> {
    let page = asked.usual_page();
    let found = call.app.store.nodes(page.window()).await?;
    let mut items = Vec::with_capacity(found.rows.len());
    for node in &found.rows {
        items.push(show(&call, node).await?);
    }
    Ok(Json(paged(&call, &uri, &asked, page, found.total, items)))
}

/// One node.
#[utoipa::path(
    get, path = "/api/application/nodes/{node}", tag = "application", operation_id = "show_node",
    params(("node" = String, Path, description = "Number, uuid or name.")),
    responses((status = 200, body = Item<NodeBody>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn read(Admin(call): Admin, Path(id): Path<String>) -> Answer<Json<Item<NodeBody>>> {
    let node = find(&call, &id).await?;
    Ok(Json(show(&call, &node).await?))
}

/// What the node's daemon needs to know: its configuration file as JSON, with its credentials.
#[utoipa::path(
    get, path = "/api/application/nodes/{node}/configuration", tag = "application", operation_id = "show_node_configuration",
    params(("node" = String, Path, description = "Number, uuid or name.")),
    responses((status = 200, body = NodeConfiguration), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn configuration(Admin(call): Admin, Path(id): Path<String>) -> Answer<Json<NodeConfiguration>> {
    let node = find(&call, &id).await?;
    Ok(Json(configuration_of(&call, &node)))
}

/// Makes a node. Beside it, `meta.configuration` is what its daemon needs to know.
#[utoipa::path(
    post, path = "/api/application/nodes", tag = "application", operation_id = "create_node",
    request_body = NodeRequest,
    responses((status = 201, body = Item<NodeBody>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn create(Admin(call): Admin) -> Answer<(StatusCode, Json<Item<NodeBody>>)> {
    let mut fields = Fields::of(&call.body);
    let name = fields.name("name", NAME_CHARS_MAX);
    check_name(&mut fields, &name);
    let url = url_of(&mut fields, None);
    if url.is_none() && !fields.has("url") && !fields.has("fqdn") {
        fields.fail("url", "required", "The url field is required, such as https://node.example:8080.");
    }
    let new = NewNode {
        name,
        description: fields.text_or_none("description", DESCRIPTION_CHARS_MAX).unwrap_or_default(),
        url: url.unwrap_or_default(),
        local: false,
        maintenance: fields.flag("maintenance_mode").unwrap_or(false),
        bind_ip: bind_ip(&mut fields).unwrap_or_else(|| BIND_IP_DEFAULT.to_owned()),
        port_min: port(&mut fields, "port_min").unwrap_or(PORT_MIN_DEFAULT),
        port_max: port(&mut fields, "port_max").unwrap_or(PORT_MAX_DEFAULT),
    };
    check_range(&mut fields, new.port_min, new.port_max);
    fields.finish()?;
    let node = call.app.store.insert_node(new).await?;
    record(&call, "node:create", &node).await;
    let mut meta = resource_meta(&call, "nodes", node.number);
    if let (Some(meta), Ok(configuration)) =
        (meta.as_object_mut(), serde_json::to_value(configuration_of(&call, &node)))
    {
        meta.insert("configuration".to_owned(), configuration);
    }
    Ok((StatusCode::CREATED, Json(show(&call, &node).await?.with_meta(meta))))
}

/// Changes a node; what is left out stays.
#[utoipa::path(
    patch, path = "/api/application/nodes/{node}", tag = "application", operation_id = "update_node",
    params(("node" = String, Path, description = "Number, uuid or name.")),
    request_body = UpdateNode,
    responses((status = 200, body = Item<NodeBody>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn update(Admin(call): Admin, Path(id): Path<String>) -> Answer<Json<Item<NodeBody>>> {
    let node = find(&call, &id).await?;
    let mut fields = Fields::of(&call.body);
    let edit = |node: &mut Node| {
        change(&mut fields, node);
        fields.finish()
    };
    let node = call.app.store.change_node(node.uuid, edit).await?.ok_or(Problem::NotFound)?;
    record(&call, "node:update", &node).await;
    Ok(Json(show(&call, &node).await?))
}

fn change(fields: &mut Fields<'_>, node: &mut Node) {
    if fields.has("name") {
        node.name = fields.name("name", NAME_CHARS_MAX);
        check_name(fields, &node.name);
    }
    if fields.has("description") {
        node.description = fields.text_or_none("description", DESCRIPTION_CHARS_MAX).unwrap_or_default();
    }
    let old = Origin::of_url(&node.url);
    if let Some(url) = url_of(fields, old) {
        if node.local && url != node.url {
            fields.fail("url", "local", "This node lives with the panel, which sets its address itself.");
        }
        node.url = url;
    }
    if let Some(maintenance) = fields.flag("maintenance_mode") {
        node.maintenance = maintenance;
    }
    if let Some(ip) = bind_ip(fields) {
        node.bind_ip = ip;
    }
    node.port_min = port(fields, "port_min").unwrap_or(node.port_min);
    node.port_max = port(fields, "port_max").unwrap_or(node.port_max);
    check_range(fields, node.port_min, node.port_max);
}

/// Deletes a node that has no servers. The node of the panel's own process stays.
#[utoipa::path(
    delete, path = "/api/application/nodes/{node}", tag = "application", operation_id = "delete_node",
    params(("node" = String, Path, description = "Number, uuid or name.")),
    responses((status = 204, description = "Gone."), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn delete(Admin(call): Admin, Path(id): Path<String>) -> Answer<StatusCode> {
    let node = find(&call, &id).await?;
    if call.app.store.node_server_count(node.uuid).await? > 0 {
        let text = "This node has servers: delete those first.".to_owned();
        return Err(Problem::Rule("HasActiveServersException", text));
    }
    if call.app.own_node.get() == Some(&node.uuid) {
        let text = "This node is part of the running program: it cannot be deleted while that serves it.".to_owned();
        return Err(Problem::Rule("DisplayException", text));
    }
    call.app.store.delete_node(node.uuid).await?;
    record(&call, "node:delete", &node).await;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn find(call: &Call, id: &str) -> Answer<Node> {
    call.app.find_node(id).await?.ok_or(Problem::NotFound)
}

async fn record(call: &Call, event: &str, node: &Node) {
    call.app.record(&call.actor(), None, event, json!({ "name": node.name, "uuid": node.uuid })).await;
}

fn check_name(fields: &mut Fields<'_>, name: &str) {
    if name.chars().any(char::is_control) {
        fields.fail("name", "regex", "The name may not hold control characters.");
    }
    if is_taken_for_an_id(name) {
        fields.fail("name", "regex", "The name may not be a number or a uuid: it would be taken for another node's.");
    }
}

/// `url`, or the stock members `scheme`, `fqdn` and `daemon_listen`; those left out are those of `old`.
fn url_of(fields: &mut Fields<'_>, old: Option<Origin>) -> Option<String> {
    let text = if fields.has("url") {
        fields.text("url", URL_CHARS_MAX)
    } else if ["fqdn", "scheme", "daemon_listen"].iter().any(|name| fields.has(name)) {
        let host = fields.text_or_none("fqdn", URL_CHARS_MAX).or_else(|| old.as_ref().map(|old| old.host.clone()))?;
        let old_scheme = old.as_ref().map_or("https", |old| if old.secure { "https" } else { "http" });
        let scheme = fields.text_or_none("scheme", 5).unwrap_or_else(|| old_scheme.to_owned());
        let old_port = old.map_or(DAEMON_PORT_DEFAULT, |old| i64::from(old.port));
        let port = fields.integer("daemon_listen", 1..=65535).unwrap_or(old_port);
        format!("{scheme}://{host}:{port}")
    } else {
        return None;
    };
    let checked = checked_url(&text);
    if checked.is_none() && !text.is_empty() {
        let detail = format!("{text:?} is not the address of a node, such as https://node.example:8080.");
        fields.fail(if fields.has("url") { "url" } else { "fqdn" }, "url", detail);
    }
    checked
}

fn bind_ip(fields: &mut Fields<'_>) -> Option<String> {
    let text = fields.text_or_none("bind_ip", 45)?;
    if text.parse::<std::net::IpAddr>().is_err() {
        fields.fail("bind_ip", "ip", "The bind_ip must be an IP address.");
    }
    Some(text)
}

fn port(fields: &mut Fields<'_>, name: &str) -> Option<u16> {
    fields.integer(name, 1..=65535).and_then(|port| port.try_into().ok())
}

fn check_range(fields: &mut Fields<'_>, min: u16, max: u16) {
    if min > max {
        fields.fail("port_max", "min", "The port_max must not be below port_min.");
    }
}
