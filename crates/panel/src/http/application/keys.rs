//! Other people's API keys, for administrators: how a person or a program gets its first key.

use axum::Json;
use axum::http::StatusCode;
use wire::api::{ApiKey, ErrorBody, Item, List};
use wire::application::CreateUserKey;

use super::users::find;
use crate::http::caller::Admin;
use crate::http::fields::Fields;
use crate::http::keys;
use crate::http::path::Path;
use crate::http::problem::Answer;
use crate::store::keys::KeyKind;
use crate::store::users::User;

const TYPE_CHARS_MAX: usize = 16;

/// Somebody's API keys, of both types, without their secrets. `ptlc_` begins an account key, `ptla_` an application key.
#[utoipa::path(
    get, path = "/api/application/users/{user}/api-keys", tag = "application", operation_id = "list_user_keys",
    params(("user" = String, Path, description = "Number, uuid or login name.")),
    responses((status = 200, body = List<ApiKey>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn list(Admin(call): Admin, Path(user): Path<String>) -> Answer<Json<List<ApiKey>>> {
    keys::list(&call, &find(&call, &user).await?, None).await
}

/// Makes an API key for somebody. The whole key is `attributes.identifier` followed by `meta.secret_token`, which is shown
/// only now.
#[utoipa::path(
    post, path = "/api/application/users/{user}/api-keys", tag = "application", operation_id = "create_user_key",
    params(("user" = String, Path, description = "Number, uuid or login name.")),
    request_body = CreateUserKey,
    responses(
        (status = 200, body = Item<ApiKey>), (status = 400, description = "There are 25 of this type already.", body = ErrorBody),
        (status = "4XX", body = ErrorBody),
    ),
)]
pub(crate) async fn create(Admin(call): Admin, Path(user): Path<String>) -> Answer<Json<Item<ApiKey>>> {
    let owner = find(&call, &user).await?;
    let mut fields = Fields::of(&call.body);
    let kind = kind(&mut fields, &owner);
    keys::create(&call, &owner, kind, fields).await
}

/// Deletes somebody's API key of either type, also the one this request is made with.
#[utoipa::path(
    delete, path = "/api/application/users/{user}/api-keys/{identifier}", tag = "application",
    operation_id = "delete_user_key",
    params(
        ("user" = String, Path, description = "Number, uuid or login name."),
        ("identifier" = String, Path, description = "The first 16 characters of the key."),
    ),
    responses((status = 204, description = "Gone."), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn delete(Admin(call): Admin, Path((user, identifier)): Path<(String, String)>) -> Answer<StatusCode> {
    keys::delete(&call, &find(&call, &user).await?, &identifier, None).await
}

/// An application key opens nothing for people who are no administrators, so they get none.
fn kind(fields: &mut Fields<'_>, owner: &User) -> KeyKind {
    match fields.text_or_none("type", TYPE_CHARS_MAX).as_deref() {
        None | Some("account") => KeyKind::Account,
        Some("application") => {
            if !owner.root_admin {
                let text = "Application keys are for administrators: make an account key for this person.";
                fields.fail("type", "admin", text);
            }
            KeyKind::Application
        }
        Some(_) => {
            fields.fail("type", "in", "The type must be account or application.");
            KeyKind::Account
        }
    }
}
