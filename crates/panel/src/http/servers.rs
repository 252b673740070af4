//! The caller's servers: list, one, resources, command, power, backups, and the permission catalogue.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::OriginalUri;
use axum::http::StatusCode;
use serde_json::{Value, json};
use wire::api::{
    CommandRequest, EggName, ErrorBody, Isolation, Item, List, PermissionGroup, Permissions, PowerRequest, ResourceUse,
    Resources, Server,
};
use wire::node;
use wire::server::PowerAction;
use wire::token::permission;

use super::caller::{Account, AtServer};
use super::fields::Fields;
use super::page::{Asked, paged};
use super::problem::{Answer, Problem};
use super::show;
use crate::access::{CATALOGUE, Relation};
use crate::app::definition::Whole;
use crate::clock;
use crate::nodes::NodeFault;
use crate::store::Found;
use crate::store::eggs::StoredEgg;
use crate::store::servers::{Scope, ServerFilter, Status};

/// The node refuses commands for a server that does not run with this status.
const NOT_RUNNING: u16 = 502;

/// Servers the caller owns or was given rights on.
///
/// Administrators see the servers of others with `type=admin` and all of them with `type=admin-all`.
#[utoipa::path(
    get, path = "/api/client", tag = "client", operation_id = "list_servers",
    params(
        ("page" = Option<u64>, Query, description = "From 1."),
        ("per_page" = Option<u64>, Query, description = "50 unless told, 100 at most."),
        ("type" = Option<String>, Query, description = "`owner`, `admin` or `admin-all`."),
        ("filter[name]" = Option<String>, Query, description = "Part of the name; likewise `uuid`, `description`, `external_id`, and `*` for name, uuid or external id."),
    ),
    responses((status = 200, body = List<Server>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn list(Account(call): Account, uri: OriginalUri, asked: Asked) -> Answer<Json<List<Server>>> {
    let own = call.user.uuid;
    let scope = match asked.get("type") {
        Some("owner") => Some(Scope::Owned(own)),
        Some("admin") => call.user.root_admin.then_some(Scope::Foreign(own)),
        Some("admin-all") => call.user.root_admin.then_some(Scope::All),
        _ => Some(Scope::Accessible(own)),
    };
    let filter = ServerFilter {
        name: asked.filter("name"),
        uuid: asked.filter("uuid"),
        description: asked.filter("description"),
        external_id: asked.filter("external_id"),
        any: asked.filter("*"),
        deleted: false,
    };
    let page = asked.usual_page();
    let found = match scope {
        Some(scope) => call.app.store.servers(scope, &filter, page.window()).await?,
        // Somebody who is no administrator asks for an administrator's list: an empty one.
        None => Found { rows: Vec::new(), total: 0 },
    };
    // One question for all of a page, and not some for each of its servers.
    let nodes = call.app.store.nodes_of(&found.rows).await?;
    let addresses = call.app.store.allocations_of(&found.rows).await?;
    let eggs = call.app.store.eggs_of(&found.rows).await?;
    let mut rights = call.app.store.rights_on(&found.rows, own).await?;
    let mut items = Vec::with_capacity(found.rows.len());
    for server in &found.rows {
        // One that was deleted meanwhile has none; it is not shown any more.
        let Some(node) = nodes.get(&server.node) else { continue };
        let allocations = addresses.get(&server.uuid).map(Vec::as_slice).unwrap_or_default();
        // The rows are those the caller has a relation to; one that was lost meanwhile shows as little as possible.
        let relation = call.relation_by(server, rights.remove(&server.uuid));
        let egg = server.egg.and_then(|egg| eggs.get(&egg));
        let whole = Whole { server, allocations, egg, place: &node.name };
        items.push(show::server(&call, whole, node, &relation.unwrap_or(Relation::Subuser(Vec::new()))));
    }
    Ok(Json(paged(&call, &uri, &asked, page, found.total, items)))
}

/// The catalogue of permissions.
#[utoipa::path(
    get, path = "/api/client/permissions", tag = "client", operation_id = "list_permissions",
    responses((status = 200, body = Item<Permissions>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn permissions(Account(_call): Account) -> Json<Item<Permissions>> {
    let group = |(name, description, keys): &(&str, &str, &[(&str, &str)])| {
        let keys: BTreeMap<_, _> = keys.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
        ((*name).to_owned(), PermissionGroup { description: (*description).to_owned(), keys })
    };
    Json(Item::new("system_permissions", Permissions { permissions: CATALOGUE.iter().map(group).collect() }))
}

/// One server, also while it is suspended, being installed or moved.
#[utoipa::path(
    get, path = "/api/client/servers/{server}", tag = "client", operation_id = "show_server",
    params(
        ("server" = String, Path, description = "The whole uuid or its first eight characters."),
        ("include" = Option<String>, Query, description = "`egg`."),
    ),
    responses((status = 200, body = Item<Server>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn read(at: AtServer, asked: Asked) -> Answer<Json<Item<Server>>> {
    let allocations = at.call.app.store.allocations(at.server.uuid).await?;
    let egg = at.call.app.egg_of(at.server.egg).await?;
    let whole = Whole { server: &at.server, allocations: &allocations, egg: egg.as_deref(), place: &at.node.name };
    let mut item = show::server(&at.call, whole, &at.node, &at.relation);
    if asked.includes("egg") {
        let name = |egg: &StoredEgg| EggName { uuid: egg.uuid.to_string(), name: egg.egg.name.clone() };
        let named = egg.as_deref().map(|egg| wire::api::Relation::One(Box::new(Item::new("egg", name(egg)))));
        item.attributes.relationships.egg = Some(named.unwrap_or_else(wire::api::Relation::null));
    }
    let meta = json!({
        "is_server_owner": at.server.owner == at.call.user.uuid,
        "user_permissions": at.relation.permissions(),
    });
    Ok(Json(item.with_meta(meta)))
}

/// What the server uses now; at most a second old.
#[utoipa::path(
    get, path = "/api/client/servers/{server}/resources", tag = "client", operation_id = "show_resources",
    params(("server" = String, Path, description = "The whole uuid or its first eight characters.")),
    responses(
        (status = 200, body = Item<Resources>), (status = "4XX", body = ErrorBody),
        (status = 504, description = "The node does not answer.", body = ErrorBody),
    ),
)]
pub(crate) async fn resources(at: AtServer) -> Answer<Json<Item<Resources>>> {
    let app = &at.call.app;
    if let Some(fresh) = app.samples.get(at.server.uuid) {
        return Ok(Json(Item::new("stats", fresh)));
    }
    // Whatever the node says instead of the details, stock panels call it a 504 here.
    let details = app.nodes.details(&at.node, at.server.uuid).await.map_err(|fault| {
        tracing::warn!(server = %at.server.uuid, error = %fault, "no resources from the node");
        Problem::NodeUnreachable
    })?;
    let usage = details.utilization;
    let known = details.quarterdeck.as_ref();
    let isolation = known.map(|extra| extra.isolation.clone());
    let unmeasured = known.map(|extra| extra.unmeasured.clone());
    let extra = details.quarterdeck.unwrap_or_default();
    let now_ms = u64::try_from(clock::now_ms()).unwrap_or_default();
    let resources = Resources {
        current_state: details.state.to_string(),
        is_suspended: at.server.status == Status::Suspended,
        resources: ResourceUse {
            memory_bytes: usage.memory_bytes,
            cpu_absolute: usage.cpu_absolute,
            disk_bytes: usage.disk_bytes,
            network_rx_bytes: usage.network.rx_bytes,
            network_tx_bytes: usage.network.tx_bytes,
            uptime: usage.uptime,
        },
        last_exit: extra.last_exit,
        crashed: extra.crashed,
        ended_at_ms: extra.ended_at_ms,
        isolation: isolation.map(|node::Isolation { active, missing }| Isolation { active, missing }),
        unmeasured,
        restart_in_ms: extra.restart_at_ms.map(|at| at.saturating_sub(now_ms)),
        restart_at: extra.restart_at_ms.and_then(|at| i64::try_from(at).ok()).map(clock::iso),
        condition: extra.condition.map(|condition| condition.as_str().to_owned()),
        crashes_in_a_row: Some(extra.crashes_in_a_row).filter(|count| *count > 0),
        gave_up: extra.gave_up,
    };
    app.samples.put(at.server.uuid, resources.clone());
    Ok(Json(Item::new("stats", resources)))
}

/// Types a line into the console. Needs `control.console`.
#[utoipa::path(
    post, path = "/api/client/servers/{server}/command", tag = "client", operation_id = "send_command",
    params(("server" = String, Path, description = "The whole uuid or its first eight characters.")),
    request_body = CommandRequest,
    responses(
        (status = 204, description = "The node has it."), (status = "4XX", body = ErrorBody),
        (status = 502, description = "The server is not running.", body = ErrorBody),
        (status = 504, description = "The node does not answer.", body = ErrorBody),
    ),
)]
pub(crate) async fn command(at: AtServer) -> Answer<StatusCode> {
    at.require(permission::CONSOLE)?;
    let mut fields = Fields::of(&at.call.body);
    // How long a line may be is the node's business; the body has its own limit.
    let command = fields.text("command", usize::MAX);
    fields.finish()?;
    let user = at.call.user.uuid;
    let sent = at.call.app.nodes.command(&at.node, at.server.uuid, command.clone(), user).await;
    sent.map_err(|fault| match fault {
        NodeFault::Refused { status: NOT_RUNNING, detail } => Problem::Offline(detail),
        other => other.into(),
    })?;
    let metadata = json!({ "command": command });
    at.call.app.record(&at.call.actor(), Some(at.server.uuid), "server:console.command", metadata).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Starts, stops, restarts or kills the server. Needs `control.start`, `control.stop` (also for kill) or `control.restart`.
#[utoipa::path(
    post, path = "/api/client/servers/{server}/power", tag = "client", operation_id = "send_power",
    params(("server" = String, Path, description = "The whole uuid or its first eight characters.")),
    request_body = PowerRequest,
    responses(
        (status = 204, description = "Accepted, not done: the state tells."), (status = "4XX", body = ErrorBody),
        (status = "5XX", description = "The node refuses or does not answer.", body = ErrorBody),
    ),
)]
pub(crate) async fn power(at: AtServer) -> Answer<StatusCode> {
    let word = at.call.body.get("signal").and_then(Value::as_str).unwrap_or_default().trim();
    let Some(action) = PowerAction::from_word(word) else {
        // The permission for a signal that does not exist is held by nobody but those who hold all.
        if matches!(at.relation, Relation::Subuser(_)) {
            return Err(Problem::unauthorized());
        }
        let (rule, detail) = if word.is_empty() {
            ("required", "The signal field is required.".to_owned())
        } else {
            ("in", "The selected signal is invalid: it must be start, stop, restart or kill.".to_owned())
        };
        return Err(Problem::field("signal", rule, detail));
    };
    at.require(match action {
        PowerAction::Start => permission::START,
        PowerAction::Stop | PowerAction::Kill => permission::STOP,
        PowerAction::Restart => permission::RESTART,
    })?;
    at.call.app.nodes.power(&at.node, at.server.uuid, action, at.call.user.uuid).await?;
    at.call.app.samples.forget(at.server.uuid);
    let event = format!("server:power.{action}");
    at.call.app.record(&at.call.actor(), Some(at.server.uuid), &event, json!({})).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Backups: none are made yet, and clients that ask first get the empty list they expect. Needs `backup.read`.
#[utoipa::path(
    get, path = "/api/client/servers/{server}/backups", tag = "client", operation_id = "list_backups",
    params(("server" = String, Path, description = "The whole uuid or its first eight characters.")),
    responses((status = 200, body = List<Object>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn backups(at: AtServer, uri: OriginalUri, asked: Asked) -> Answer<Json<List<Value>>> {
    at.require(permission::BACKUP_READ)?;
    let mut list = paged(&at.call, &uri, &asked, asked.page(20, 50), 0, Vec::new());
    if let Some(meta) = list.meta.as_mut() {
        // Nothing lies behind an empty list, whatever page was asked for.
        meta.pagination.links = wire::api::PageLinks::default();
    }
    Ok(Json(list))
}
