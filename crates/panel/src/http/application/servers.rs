//! Game servers, for administrators.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::OriginalUri;
use axum::http::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;
use wire::api::{ErrorBody, Item, List};
use wire::application::{
    CreateServer, Server as ServerBody, ServerContainer, ServerProcess, UpdateBuild, UpdateDetails, UpdateStartup,
};
use wire::ids::{ServerId, UserId};
use wire::remote::StopKind;

use super::{includes, number_or_word, resource_meta, settings};
use crate::app::definition::{Whole, environment, process};
use crate::clock::{self, iso};
use crate::http::caller::{Admin, Call};
use crate::http::fields::Fields;
use crate::http::page::{Asked, paged};
use crate::http::path::Path;
use crate::http::problem::{Answer, Problem};
use crate::http::show::limits;
use crate::nodes::outbox::Notice;
use crate::store::allocations::Allocation;
use crate::store::eggs::{Nest, StoredEgg};
use crate::store::nodes::Node;
use crate::store::outbox::Waiting;
use crate::store::servers::{Scope, Server, ServerFilter, Status};
use crate::store::users::User;
use crate::templates;

async fn show(call: &Call, asked: &Asked, server: &Server) -> Answer<Item<ServerBody>> {
    show_all(call, asked, std::slice::from_ref(server)).await?.pop().ok_or(Problem::Internal)
}

/// Servers as administrators see them, with one question per kind of thing that hangs on them.
pub(crate) async fn show_all(call: &Call, asked: &Asked, servers: &[Server]) -> Answer<Vec<Item<ServerBody>>> {
    let around = Around::of(call, servers).await?;
    servers.iter().map(|server| item(call, asked, server, &around)).collect()
}

/// All that hangs on some servers.
struct Around {
    addresses: HashMap<ServerId, Vec<Allocation>>,
    owners: HashMap<UserId, User>,
    nodes: HashMap<Uuid, Node>,
    eggs: HashMap<Uuid, StoredEgg>,
    nests: HashMap<Uuid, Nest>,
}

impl Around {
    async fn of(call: &Call, servers: &[Server]) -> Answer<Self> {
        let store = &call.app.store;
        let eggs = store.eggs_of(servers).await?;
        Ok(Self {
            addresses: store.allocations_of(servers).await?,
            owners: store.users_of(servers.iter().map(|server| server.owner)).await?,
            nodes: store.nodes_of(servers).await?,
            nests: store.nests_of(eggs.values()).await?,
            eggs,
        })
    }
}

fn item(call: &Call, asked: &Asked, server: &Server, around: &Around) -> Answer<Item<ServerBody>> {
    let allocations = around.addresses.get(&server.uuid).map(Vec::as_slice).unwrap_or_default();
    let node = around.nodes.get(&server.node);
    let egg = server.egg.and_then(|egg| around.eggs.get(&egg));
    let nest = egg.and_then(|egg| around.nests.get(&egg.nest));
    let whole = Whole { server, allocations, egg, place: node.map_or("", |node| node.name.as_str()) };
    let main = allocations.first();
    let process = process(whole);
    let stop = match process.stop.kind {
        StopKind::Signal => format!("^{}", process.stop.value),
        StopKind::Command | StopKind::Stop => process.stop.value.clone(),
    };
    let owner = around.owners.get(&server.owner);
    let shown = ServerBody {
        id: server.number,
        external_id: server.external_id.clone(),
        uuid: server.uuid.to_string(),
        identifier: server.uuid.short(),
        name: server.name.clone(),
        description: server.description.clone(),
        status: server.status_word(),
        suspended: server.is_closed(),
        limits: limits(server),
        feature_limits: server.features,
        user: owner.map_or(0, |user| user.number),
        node: node.map_or(0, |node| node.number),
        allocation: main.map_or(0, |main| main.number),
        nest: nest.map(|nest| nest.number),
        egg: egg.map(|egg| egg.number),
        container: ServerContainer {
            startup_command: server.invocation.clone(),
            image: server.image.clone(),
            installed: u8::from(!matches!(server.status, Status::Installing | Status::InstallFailed)),
            environment: environment(whole),
        },
        ip: main.map(|main| main.ip.clone()).unwrap_or_default(),
        port: main.map_or(0, |main| main.port),
        template: server.template.clone(),
        process: ServerProcess {
            ready: process.startup.done,
            stop,
            grace_ms: process.stop.grace_ms,
            settle_ms: process.startup.settle_ms,
            console: process.console,
            success_exit: process.success_exit,
        },
        state: call.app.last_state(server.uuid).map(|state| state.to_string()),
        hint: hint(server),
        runtime: server.runtime,
        installed_at: server.installed_at.map(iso),
        delete_at: server.delete_at.map(iso),
        created_at: iso(server.created_at),
        updated_at: iso(server.updated_at),
        relationships: includes::of_server(call, asked, whole, (owner, node, nest))?,
    };
    Ok(Item::new("server", shown))
}

fn hint(server: &Server) -> Option<String> {
    templates::find(server.template.as_deref()?)?.install_hint()
}

/// All servers.
#[utoipa::path(
    get, path = "/api/application/servers", tag = "application", operation_id = "list_all_servers",
    params(
        ("page" = Option<u64>, Query, description = "From 1."),
        ("per_page" = Option<u64>, Query, description = "50 unless told, 100 at most."),
        ("filter[name]" = Option<String>, Query, description = "Part of it; likewise `uuid`, `description`, `external_id`, and `*` for name, uuid or external id."),
        ("filter[deleted]" = Option<bool>, Query, description = "Those that are to be deleted, in place of those that are not."),
        ("include" = Option<String>, Query, description = "Some of `allocations`, `user`, `nest`, `egg`, `variables` and `node`, with commas between them."),
    ),
    responses((status = 200, body = List<ServerBody>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn list(Admin(call): Admin, uri: OriginalUri, asked: Asked) -> Answer<Json<List<ServerBody>>> {
    let filter = ServerFilter {
        name: asked.filter("name"),
        uuid: asked.filter("uuid"),
        description: asked.filter("description"),
        external_id: asked.filter("external_id"),
        any: asked.filter("*"),
        deleted: matches!(asked.filter("deleted").as_deref(), Some("1" | "true")),
    };
    let page = asked.usual_page();
    let found = call.app.store.servers(Scope::All, &filter, page.window()).await?;
    let items = show_all(&call, &asked, &found.rows).await?;
    Ok(Json(paged(&call, &uri, &asked, page, found.total, items)))
}

/// One server.
#[utoipa::path(
    get, path = "/api/application/servers/{server}", tag = "application", operation_id = "show_any_server",
    params(("server" = String, Path, description = "Number, uuid, or its first eight characters.")),
    responses((status = 200, body = Item<ServerBody>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn read(Admin(call): Admin, Path(id): Path<String>, asked: Asked) -> Answer<Json<Item<ServerBody>>> {
    let server = find(&call, &id).await?;
    Ok(Json(show(&call, &asked, &server).await?))
}

/// One server, by its name elsewhere.
#[utoipa::path(
    get, path = "/api/application/servers/external/{external_id}", tag = "application", operation_id = "show_server_by_external_id",
    params(
        ("external_id" = String, Path, description = "As it was given."),
        ("include" = Option<String>, Query, description = "As for one server."),
    ),
    responses((status = 200, body = Item<ServerBody>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn read_external(
    Admin(call): Admin,
    Path(id): Path<String>,
    asked: Asked,
) -> Answer<Json<Item<ServerBody>>> {
    let server = call.app.store.server_by_external_id(&id).await?.ok_or(Problem::NotFound)?;
    Ok(Json(show(&call, &asked, &server).await?))
}

/// Makes a server and hands it to its node. When the node does not take it, nothing is left of it.
///
/// `meta.hint` says what to do when the program turns out to be missing.
#[utoipa::path(
    post, path = "/api/application/servers", tag = "application", operation_id = "create_server",
    request_body = CreateServer,
    responses(
        (status = 201, body = Item<ServerBody>), (status = "4XX", body = ErrorBody),
        (status = "5XX", description = "The node refuses or does not answer.", body = ErrorBody),
    ),
)]
pub(crate) async fn create(Admin(call): Admin, asked: Asked) -> Answer<(StatusCode, Json<Item<ServerBody>>)> {
    let mut fields = Fields::of(&call.body);
    let new = settings::new_server(&mut fields);
    let owner = owner(&call, &mut fields).await?.unwrap_or_else(|| User::clone(&call.user));
    fields.finish()?;
    let (server, _node) = call.app.create_server(&new, owner.uuid).await?;
    record(&call, &server, "server:create").await;
    let mut meta = resource_meta(&call, "servers", server.number);
    if let (Some(meta), Some(hint)) = (meta.as_object_mut(), hint(&server)) {
        meta.insert("hint".to_owned(), hint.into());
    }
    Ok((StatusCode::CREATED, Json(show(&call, &asked, &server).await?.with_meta(meta))))
}

/// Changes name, description, owner. A former owner loses their open consoles at once.
#[utoipa::path(
    patch, path = "/api/application/servers/{server}/details", tag = "application", operation_id = "update_server_details",
    params(("server" = String, Path, description = "Number, uuid, or its first eight characters.")),
    request_body = UpdateDetails,
    responses((status = 200, body = Item<ServerBody>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn update_details(
    Admin(call): Admin,
    Path(id): Path<String>,
    asked: Asked,
) -> Answer<Json<Item<ServerBody>>> {
    let server = find(&call, &id).await?;
    let mut fields = Fields::of(&call.body);
    let owner = owner(&call, &mut fields).await?;
    let edit = |server: &mut Server| {
        settings::change_details(&mut fields, server);
        fields.finish()?;
        let former = owner.map_or(server.owner, |owner| std::mem::replace(&mut server.owner, owner.uuid));
        let lost = Notice::Deauthorize { user: former, servers: vec![server.uuid], number: None };
        let notices = [sync(server), lost.to(server.node)];
        Ok(notices.into_iter().take(if server.owner == former { 1 } else { 2 }).collect())
    };
    change(&call, &asked, &server, "server:details.update", edit).await
}

/// Changes limits and addresses.
#[utoipa::path(
    patch, path = "/api/application/servers/{server}/build", tag = "application", operation_id = "update_server_build",
    params(("server" = String, Path, description = "Number, uuid, or its first eight characters.")),
    request_body = UpdateBuild,
    responses((status = 200, body = Item<ServerBody>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn update_build(
    Admin(call): Admin,
    Path(id): Path<String>,
    asked: Asked,
) -> Answer<Json<Item<ServerBody>>> {
    let server = find(&call, &id).await?;
    let mut fields = Fields::of(&call.body);
    let addresses = settings::address_change(&mut fields);
    let edit = |server: &mut Server| {
        settings::change_build(&mut fields, &mut server.build);
        settings::change_features(&mut fields, &mut server.features);
        fields.finish()?;
        Ok(vec![sync(server)])
    };
    let changed = call.app.store.change_server_and_addresses::<Problem>(server.uuid, &addresses, edit).await?;
    let (server, notices) = changed.ok_or(Problem::NotFound)?;
    call.app.outbox.first_try(&notices).await;
    record(&call, &server, "server:build.update").await;
    Ok(Json(show(&call, &asked, &server).await?))
}

/// Changes how the server is started and stopped; it counts from the next start.
#[utoipa::path(
    patch, path = "/api/application/servers/{server}/startup", tag = "application", operation_id = "update_server_startup",
    params(("server" = String, Path, description = "Number, uuid, or its first eight characters.")),
    request_body = UpdateStartup,
    responses((status = 200, body = Item<ServerBody>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn update_startup(
    Admin(call): Admin,
    Path(id): Path<String>,
    asked: Asked,
) -> Answer<Json<Item<ServerBody>>> {
    let server = find(&call, &id).await?;
    let mut fields = Fields::of(&call.body);
    let egg = match fields.value("egg").and_then(number_or_word) {
        Some(text) => {
            let found = call.app.find_egg(&text).await?;
            Some(Arc::new(found.ok_or_else(|| Problem::field("egg", "exists", "There is no such egg on this panel."))?))
        }
        None => call.app.egg_of(server.egg).await?,
    };
    let edit = |server: &mut Server| {
        settings::change_startup(&mut fields, server, egg.as_deref());
        fields.finish()?;
        Ok(vec![sync(server)])
    };
    change(&call, &asked, &server, "server:startup.update", edit).await
}

/// Blocks a server: its node stops it and closes its consoles, and nobody can use it until it is unblocked.
#[utoipa::path(
    post, path = "/api/application/servers/{server}/suspend", tag = "application", operation_id = "suspend_server",
    params(("server" = String, Path, description = "Number, uuid, or its first eight characters.")),
    responses((status = 204, description = "Done; the node is told at once."), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn suspend(Admin(call): Admin, Path(id): Path<String>) -> Answer<StatusCode> {
    let server = find(&call, &id).await?;
    let edit = |server: &mut Server| {
        server.status = Status::Suspended;
        Ok(vec![sync(server)])
    };
    apply(&call, &server, "server:suspend", edit).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Unblocks a server.
#[utoipa::path(
    post, path = "/api/application/servers/{server}/unsuspend", tag = "application", operation_id = "unsuspend_server",
    params(("server" = String, Path, description = "Number, uuid, or its first eight characters.")),
    responses((status = 204, description = "Done; the node is told at once."), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn unsuspend(Admin(call): Admin, Path(id): Path<String>) -> Answer<StatusCode> {
    let server = find(&call, &id).await?;
    if server.status != Status::Suspended {
        return Ok(StatusCode::NO_CONTENT);
    }
    let edit = |server: &mut Server| {
        if server.status == Status::Suspended {
            server.status = Status::Normal;
        }
        Ok(vec![sync(server)])
    };
    apply(&call, &server, "server:unsuspend", edit).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Installs a server once more with the script of its egg. What is in its files stays, unless the script says otherwise.
#[utoipa::path(
    post, path = "/api/application/servers/{server}/reinstall", tag = "application", operation_id = "reinstall_any_server",
    params(("server" = String, Path, description = "Number, uuid, or its first eight characters.")),
    responses(
        (status = 204, description = "The node has begun."), (status = "4XX", body = ErrorBody),
        (status = "5XX", description = "The node refuses or does not answer.", body = ErrorBody),
    ),
)]
pub(crate) async fn reinstall(Admin(call): Admin, Path(id): Path<String>) -> Answer<StatusCode> {
    let server = find(&call, &id).await?;
    let node = call.app.node_of(&server).await?;
    call.app.reinstall_server(&server, &node).await?;
    record(&call, &server, "server:reinstall").await;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes a server: it is stopped and out of everybody's way at once, and gone with its files and its console log when the grace that
/// is set is over. Until then it can be restored.
#[utoipa::path(
    delete, path = "/api/application/servers/{server}", tag = "application", operation_id = "delete_server",
    params(("server" = String, Path, description = "Number, uuid, or its first eight characters.")),
    responses((status = 204, description = "Out of the way."), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn delete(Admin(call): Admin, Path(id): Path<String>) -> Answer<StatusCode> {
    let server = find(&call, &id).await?;
    call.app.retire_server(&server, clock::now_ms()).await?;
    record(&call, &server, "server:delete").await;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes a server with its files and its console log at once. A node that cannot be reached does it when it is back.
#[utoipa::path(
    delete, path = "/api/application/servers/{server}/force", tag = "application", operation_id = "force_delete_server",
    params(("server" = String, Path, description = "Number, uuid, or its first eight characters.")),
    responses((status = 204, description = "Gone."), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn force_delete(Admin(call): Admin, Path(id): Path<String>) -> Answer<StatusCode> {
    let server = find(&call, &id).await?;
    call.app.remove_server(&server).await?;
    record(&call, &server, "server:delete").await;
    Ok(StatusCode::NO_CONTENT)
}

/// Brings a server back that is to be deleted, as it was. Its name elsewhere is its own again, unless another one has it by now.
#[utoipa::path(
    post, path = "/api/application/servers/{server}/restore", tag = "application", operation_id = "restore_server",
    params(("server" = String, Path, description = "Number, uuid, or its first eight characters.")),
    responses((status = 204, description = "Back."), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn restore(Admin(call): Admin, Path(id): Path<String>) -> Answer<StatusCode> {
    let server = find(&call, &id).await?;
    if server.delete_at.is_none() {
        return Ok(StatusCode::NO_CONTENT);
    }
    let is_free = match &server.kept_external_id {
        Some(name) => call.app.store.server_by_external_id(name).await?.is_none(),
        None => false,
    };
    let edit = |server: &mut Server| {
        if server.delete_at.take().is_some() {
            server.external_id = server.kept_external_id.take().filter(|_| is_free);
        }
        Ok(vec![sync(server)])
    };
    apply(&call, &server, "server:restore", edit).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn find(call: &Call, id: &str) -> Answer<Server> {
    call.app.find_server_or_number(id).await?.map(Arc::unwrap_or_clone).ok_or(Problem::NotFound)
}

/// The `user` member as a person, if it is there.
async fn owner(call: &Call, fields: &mut Fields<'_>) -> Answer<Option<User>> {
    let Some(text) = fields.value("user").and_then(number_or_word) else { return Ok(None) };
    let user = call.app.find_user(&text).await?;
    if user.is_none() {
        fields.fail("user", "exists", "There is no such user on this panel.");
    }
    Ok(user)
}

/// Its node should fetch it again.
fn sync(server: &Server) -> Waiting {
    Notice::Sync { server: server.uuid }.to(server.node)
}

/// Changes a server: the node hears of it, the record has it.
async fn apply(
    call: &Call,
    server: &Server,
    event: &str,
    edit: impl FnOnce(&mut Server) -> Answer<Vec<Waiting>>,
) -> Answer<Server> {
    let changed = call.app.store.change_server(server.uuid, edit).await?;
    let (server, notices) = changed.ok_or(Problem::NotFound)?;
    call.app.outbox.first_try(&notices).await;
    record(call, &server, event).await;
    Ok(server)
}

/// The same, and the caller sees it.
async fn change(
    call: &Call,
    asked: &Asked,
    server: &Server,
    event: &str,
    edit: impl FnOnce(&mut Server) -> Answer<Vec<Waiting>>,
) -> Answer<Json<Item<ServerBody>>> {
    let server = apply(call, server, event, edit).await?;
    Ok(Json(show(call, asked, &server).await?))
}

async fn record(call: &Call, server: &Server, event: &str) {
    let metadata: Value = json!({ "name": server.name });
    call.app.record(&call.actor(), Some(server.uuid), event, metadata).await;
}
