//! Addresses of nodes, for administrators.

use axum::Json;
use axum::extract::OriginalUri;
use axum::http::StatusCode;
use serde_json::json;
use wire::api::{ErrorBody, Item, List};
use wire::application::{Allocation as AllocationBody, CreateAllocations, Relationships};

use super::includes::json_of;
use super::nodes;
use crate::http::caller::Admin;
use crate::http::fields::Fields;
use crate::http::page::{Asked, paged};
use crate::http::path::Path;
use crate::http::problem::{Answer, Problem};
use crate::store::allocations::Allocation;

/// Characters of an address or its other name.
const IP_CHARS_MAX: usize = 191;
/// Ports and ranges in one request.
const PORTS_MAX: usize = 100;
/// Ports in one request, all ranges together.
const PORTS_IN_ALL_MAX: usize = 1000;

/// An address.
pub(super) fn item(allocation: &Allocation) -> Item<AllocationBody> {
    let shown = AllocationBody {
        id: allocation.number,
        ip: allocation.ip.clone(),
        alias: allocation.alias.clone(),
        port: allocation.port,
        notes: allocation.notes.clone(),
        assigned: allocation.server.is_some(),
        relationships: Relationships::new(),
    };
    Item::new("allocation", shown)
}

/// Addresses of a node, also those that servers have.
#[utoipa::path(
    get, path = "/api/application/nodes/{node}/allocations", tag = "application", operation_id = "list_node_allocations",
    params(
        ("node" = String, Path, description = "Number, uuid or name."),
        ("page" = Option<u64>, Query, description = "From 1."),
        ("per_page" = Option<u64>, Query, description = "50 unless told, 100 at most."),
        ("include" = Option<String>, Query, description = "`node`."),
    ),
    responses((status = 200, body = List<AllocationBody>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn list(
    Admin(call): Admin,
    Path(id): Path<String>,
    uri: OriginalUri,
    asked: Asked,
) -> Answer<Json<List<AllocationBody>>> {
    let node = nodes::find(&call, &id).await?;
    let page = asked.usual_page();
    let found = call.app.store.node_allocations(node.uuid, page.window()).await?;
    let mut items: Vec<Item<AllocationBody>> = found.rows.iter().map(item).collect();
    if asked.includes("node") {
        let servers = call.app.store.node_server_count(node.uuid).await?;
        let shown = json_of(&nodes::item(&node, servers))?;
        for item in &mut items {
            item.attributes.relationships.insert("node".to_owned(), shown.clone());
        }
    }
    Ok(Json(paged(&call, &uri, &asked, page, found.total, items)))
}

/// Makes free addresses that servers can be given; those that are there stay.
#[utoipa::path(
    post, path = "/api/application/nodes/{node}/allocations", tag = "application", operation_id = "create_node_allocations",
    params(("node" = String, Path, description = "Number, uuid or name.")),
    request_body = CreateAllocations,
    responses((status = 204, description = "They are there."), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn create(Admin(call): Admin, Path(id): Path<String>) -> Answer<StatusCode> {
    let node = nodes::find(&call, &id).await?;
    let mut fields = Fields::of(&call.body);
    let ip = fields.text("ip", IP_CHARS_MAX);
    if !ip.is_empty() && ip.parse::<std::net::IpAddr>().is_err() {
        fields.fail("ip", "ip", "The ip must be an IP address.");
    }
    let alias = fields.name_or_none("alias", IP_CHARS_MAX);
    let ranges = fields.ports("ports", PORTS_MAX);
    if fields.value("ports").is_none() {
        fields.fail(
            "ports",
            "required",
            "The ports field is required: a list of ports and ranges such as 25570-25580.",
        );
    }
    let count: usize = ranges.iter().map(ExactSizeIterator::len).sum();
    if count > PORTS_IN_ALL_MAX {
        fields.fail("ports", "max", format!("At most {PORTS_IN_ALL_MAX} ports can be made at once."));
    }
    fields.finish()?;
    let mut ports: Vec<u16> = ranges.into_iter().flatten().collect();
    ports.sort_unstable();
    ports.dedup();
    call.app.store.insert_allocations(&node, &ip, &ports, alias.as_deref()).await?;
    let metadata = json!({ "node": node.name, "ip": ip, "ports": ports.len() });
    call.app.record(&call.actor(), None, "node:allocation.create", metadata).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes an address that no server has.
#[utoipa::path(
    delete, path = "/api/application/nodes/{node}/allocations/{allocation}", tag = "application",
    operation_id = "delete_node_allocation",
    params(
        ("node" = String, Path, description = "Number, uuid or name."),
        ("allocation" = u64, Path, description = "Number."),
    ),
    responses((status = 204, description = "Gone."), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn delete(Admin(call): Admin, Path(ids): Path<(String, u64)>) -> Answer<StatusCode> {
    let (id, allocation) = ids;
    let node = nodes::find(&call, &id).await?;
    if !call.app.store.delete_allocation(node.uuid, allocation).await? {
        return Err(Problem::NotFound);
    }
    let metadata = json!({ "node": node.name, "allocation": allocation });
    call.app.record(&call.actor(), None, "node:allocation.delete", metadata).await;
    Ok(StatusCode::NO_CONTENT)
}
