//! What was done with a server, and by whom.

use axum::Json;
use axum::extract::OriginalUri;
use wire::api::{ActivityLog, ErrorBody, List};

use super::caller::AtServer;
use super::page::{Asked, PER_PAGE_MAX, paged_rows};
use super::problem::Answer;
use super::show;
use crate::access::asked as permission;

/// Records of stock panels come in pages of 25.
pub(crate) const PER_PAGE_DEFAULT: u64 = 25;

/// What was done with this server, newest first. Needs `activity.read`.
#[utoipa::path(
    get, path = "/api/client/servers/{server}/activity", tag = "client", operation_id = "list_activity",
    params(
        ("server" = String, Path, description = "The whole uuid or its first eight characters."),
        ("page" = Option<u64>, Query, description = "From 1."),
        ("per_page" = Option<u64>, Query, description = "25 unless told, 100 at most."),
    ),
    responses((status = 200, body = List<ActivityLog>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn list(at: AtServer, uri: OriginalUri, asked: Asked) -> Answer<Json<List<ActivityLog>>> {
    at.require(permission::ACTIVITY_READ)?;
    let store = &at.call.app.store;
    let page = asked.page(PER_PAGE_DEFAULT, PER_PAGE_MAX);
    let found = store.server_activity(at.server.uuid, page.window()).await?;
    let actors = store.users_of(found.rows.iter().filter_map(|record| record.user)).await?;
    let item = |record: crate::store::activity::Record| {
        let actor = record.user.and_then(|user| actors.get(&user));
        show::activity(&at.call, record, actor)
    };
    Ok(Json(paged_rows(&at.call, &uri, &asked, page, found, item)))
}
