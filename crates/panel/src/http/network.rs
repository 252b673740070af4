//! A server's addresses, for those who use it.

use axum::Json;
use axum::http::StatusCode;
use serde_json::{Value, json};
use wire::api::{Allocation as AllocationBody, ErrorBody, Item, List, NoteAllocation};

use super::caller::AtServer;
use super::fields::Fields;
use super::path::Path;
use super::problem::{Answer, Problem};
use super::show;
use crate::access::asked;
use crate::nodes::outbox::Notice;
use crate::store::allocations::{AddressChange, Allocation};
use crate::store::outbox::Waiting;
use crate::store::{AddressFault, StoreError};

const NOTES_CHARS_MAX: usize = 256;

fn item(allocation: &Allocation) -> Item<AllocationBody> {
    Item::new("allocation", show::address(allocation, true))
}

fn text(allocation: &Allocation) -> String {
    let host = allocation.alias.as_deref().unwrap_or(&allocation.ip);
    if host.contains(':') { format!("[{host}]:{}", allocation.port) } else { format!("{host}:{}", allocation.port) }
}

/// One of the server's own addresses.
async fn own(at: &AtServer, id: u64) -> Answer<Allocation> {
    let found = at.call.app.store.allocation(id).await?;
    found.filter(|allocation| allocation.server == Some(at.server.uuid)).ok_or(Problem::NotFound)
}

/// All addresses. Needs `allocation.read`.
#[utoipa::path(
    get, path = "/api/client/servers/{server}/network/allocations", tag = "client", operation_id = "list_allocations",
    params(("server" = String, Path, description = "The whole uuid or its first eight characters.")),
    responses((status = 200, body = List<AllocationBody>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn list(at: AtServer) -> Answer<Json<List<AllocationBody>>> {
    at.require(asked::ALLOCATION_READ)?;
    let all = at.call.app.store.allocations(at.server.uuid).await?;
    Ok(Json(List { object: "list".to_owned(), data: all.iter().map(item).collect(), meta: None }))
}

/// Adds an address, up to as many as the server may have; its main one counts. Needs `allocation.create`.
#[utoipa::path(
    post, path = "/api/client/servers/{server}/network/allocations", tag = "client", operation_id = "create_allocation",
    params(("server" = String, Path, description = "The whole uuid or its first eight characters.")),
    responses((status = 200, body = Item<AllocationBody>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn create(at: AtServer) -> Answer<Json<Item<AllocationBody>>> {
    at.require(asked::ALLOCATION_CREATE)?;
    let app = &at.call.app;
    let notices = [sync(&at)];
    let made = app.store.add_allocation(&at.server, &at.node, &notices).await?;
    app.outbox.first_try(&notices).await;
    record(&at, "server:allocation.create", json!({ "allocation": text(&made) })).await;
    Ok(Json(item(&made)))
}

/// Notes on an address. Needs `allocation.update`.
#[utoipa::path(
    post, path = "/api/client/servers/{server}/network/allocations/{allocation}", tag = "client",
    operation_id = "note_allocation",
    params(
        ("server" = String, Path, description = "The whole uuid or its first eight characters."),
        ("allocation" = u64, Path, description = "Number."),
    ),
    request_body = NoteAllocation,
    responses((status = 200, body = Item<AllocationBody>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn note(at: AtServer, Path(ids): Path<(String, u64)>) -> Answer<Json<Item<AllocationBody>>> {
    let (_, id) = ids;
    at.require(asked::ALLOCATION_UPDATE)?;
    let former = own(&at, id).await?;
    let mut fields = Fields::of(&at.call.body);
    let notes = fields.text_or_none("notes", NOTES_CHARS_MAX);
    if !fields.has("notes") {
        fields.fail("notes", "present", "The notes field must be present; null takes them away.");
    }
    fields.finish()?;
    let noted = at.call.app.store.note_allocation(at.server.uuid, id, notes).await?.ok_or(Problem::NotFound)?;
    if noted.notes != former.notes {
        let metadata = json!({ "allocation": text(&noted), "old": former.notes, "new": noted.notes });
        record(&at, "server:allocation.notes", metadata).await;
    }
    Ok(Json(item(&noted)))
}

/// Makes an address the main one; it counts from the next start. Needs `allocation.update`.
#[utoipa::path(
    post, path = "/api/client/servers/{server}/network/allocations/{allocation}/primary", tag = "client",
    operation_id = "set_primary_allocation",
    params(
        ("server" = String, Path, description = "The whole uuid or its first eight characters."),
        ("allocation" = u64, Path, description = "Number."),
    ),
    responses((status = 200, body = Item<AllocationBody>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn primary(at: AtServer, Path(ids): Path<(String, u64)>) -> Answer<Json<Item<AllocationBody>>> {
    let (_, id) = ids;
    at.require(asked::ALLOCATION_UPDATE)?;
    own(&at, id).await?;
    change(&at, AddressChange { main: Some(id), ..AddressChange::default() }).await?;
    let now = own(&at, id).await?;
    record(&at, "server:allocation.primary", json!({ "allocation": text(&now) })).await;
    Ok(Json(item(&now)))
}

/// Takes an address away that is not the main one. Needs `allocation.delete`.
#[utoipa::path(
    delete, path = "/api/client/servers/{server}/network/allocations/{allocation}", tag = "client",
    operation_id = "delete_allocation",
    params(
        ("server" = String, Path, description = "The whole uuid or its first eight characters."),
        ("allocation" = u64, Path, description = "Number."),
    ),
    responses((status = 204, description = "Gone."), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn delete(at: AtServer, Path(ids): Path<(String, u64)>) -> Answer<StatusCode> {
    let (_, id) = ids;
    at.require(asked::ALLOCATION_DELETE)?;
    let former = own(&at, id).await?;
    if at.server.features.allocations == 0 {
        let text = "You cannot delete allocations for this server: no allocation limit is set.".to_owned();
        return Err(Problem::Rule("DisplayException", text));
    }
    if former.is_default {
        return Err(StoreError::Address(AddressFault::Main).into());
    }
    change(&at, AddressChange { remove: vec![id], ..AddressChange::default() }).await?;
    record(&at, "server:allocation.delete", json!({ "allocation": text(&former) })).await;
    Ok(StatusCode::NO_CONTENT)
}

fn sync(at: &AtServer) -> Waiting {
    Notice::Sync { server: at.server.uuid }.to(at.server.node)
}

async fn change(at: &AtServer, addresses: AddressChange) -> Answer<()> {
    let app = &at.call.app;
    let notices = vec![sync(at)];
    let edit = |_: &mut crate::store::servers::Server| Ok::<_, Problem>(notices);
    let changed = app.store.change_server_and_addresses(at.server.uuid, &addresses, edit).await?;
    let (_, notices) = changed.ok_or(Problem::NotFound)?;
    app.outbox.first_try(&notices).await;
    Ok(())
}

async fn record(at: &AtServer, event: &str, metadata: Value) {
    at.call.app.record(&at.call.actor(), Some(at.server.uuid), event, metadata).await;
}
