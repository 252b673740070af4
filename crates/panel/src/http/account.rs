//! The caller's own account: who they are, their API keys, what they did.

use axum::Json;
use axum::extract::OriginalUri;
use axum::http::StatusCode;
use wire::api::{Account as AccountBody, ActivityLog, ApiKey, CreateApiKey, ErrorBody, Item, List};

use super::caller::Account;
use super::fields::Fields;
use super::page::{Asked, paged_rows};
use super::path::Path;
use super::problem::Answer;
use super::{keys, show};
use crate::store::keys::KeyKind;

/// Who the caller is.
#[utoipa::path(
    get, path = "/api/client/account", tag = "account", operation_id = "show_account",
    responses((status = 200, body = Item<AccountBody>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn read(Account(call): Account) -> Json<Item<AccountBody>> {
    Json(show::account(&call.user))
}

/// The caller's API keys, without their secrets.
#[utoipa::path(
    get, path = "/api/client/account/api-keys", tag = "account", operation_id = "list_keys",
    responses((status = 200, body = List<ApiKey>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn list_keys(Account(call): Account) -> Answer<Json<List<ApiKey>>> {
    keys::list(&call, &call.user, Some(KeyKind::Account)).await
}

/// Makes an API key. The whole key is `attributes.identifier` followed by `meta.secret_token`, which is shown only now.
#[utoipa::path(
    post, path = "/api/client/account/api-keys", tag = "account", operation_id = "create_key",
    request_body = CreateApiKey,
    responses(
        (status = 200, body = Item<ApiKey>), (status = 400, description = "There are 25 already.", body = ErrorBody),
        (status = "4XX", body = ErrorBody),
    ),
)]
pub(crate) async fn create_key(Account(call): Account) -> Answer<Json<Item<ApiKey>>> {
    keys::create(&call, &call.user, KeyKind::Account, Fields::of(&call.body)).await
}

/// Deletes an API key, also the one this request is made with.
#[utoipa::path(
    delete, path = "/api/client/account/api-keys/{identifier}", tag = "account", operation_id = "delete_key",
    params(("identifier" = String, Path, description = "The first 16 characters of the key.")),
    responses((status = 204, description = "Gone."), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn delete_key(Account(call): Account, Path(identifier): Path<String>) -> Answer<StatusCode> {
    keys::delete(&call, &call.user, &identifier, Some(KeyKind::Account)).await
}

/// What the caller did with their account, newest first.
#[utoipa::path(
    get, path = "/api/client/account/activity", tag = "account", operation_id = "list_account_activity",
    params(
        ("page" = Option<u64>, Query, description = "From 1."),
        ("per_page" = Option<u64>, Query, description = "25 unless told, 100 at most."),
    ),
    responses((status = 200, body = List<ActivityLog>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn activity(
    Account(call): Account,
    uri: OriginalUri,
    asked: Asked,
) -> Answer<Json<List<ActivityLog>>> {
    let page = asked.page(super::activity::PER_PAGE_DEFAULT, super::page::PER_PAGE_MAX);
    let found = call.app.store.account_activity(call.user.uuid, page.window()).await?;
    let item = |record| show::activity(&call, record, Some(&call.user));
    Ok(Json(paged_rows(&call, &uri, &asked, page, found, item)))
}
