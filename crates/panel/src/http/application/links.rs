//! Links that sign somebody in once: how a person gets in for the first time, or again after forgetting a password.

use axum::Json;
use serde_json::json;
use wire::api::{ErrorBody, Item};
use wire::session::SignInLink;

use super::users::find;
use crate::clock;
use crate::http::caller::Admin;
use crate::http::path::Path;
use crate::http::problem::Answer;

/// Makes a link that signs somebody in once, within a day. An earlier link of theirs opens nothing any more. Hand it over
/// yourself: nothing is mailed.
#[utoipa::path(
    post, path = "/api/application/users/{user}/sign-in-link", tag = "application", operation_id = "create_sign_in_link",
    params(("user" = String, Path, description = "Number, uuid or login name.")),
    responses((status = 200, body = Item<SignInLink>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn create(Admin(call): Admin, Path(user): Path<String>) -> Answer<Json<Item<SignInLink>>> {
    let user = find(&call, &user).await?;
    let (token, expires_at) = call.app.make_link(user.uuid).await?;
    let metadata = json!({ "username": user.username, "uuid": user.uuid });
    call.app.record(&call.actor(), None, "user:sign-in-link.create", metadata).await;
    let url = crate::sign_in_url(&call.public_url(), &token);
    Ok(Json(Item::new("sign_in_link", SignInLink { url, expires_at: clock::iso(expires_at) })))
}
