//! Other people's rights on a server.

use std::sync::Arc;

use axum::Json;
use axum::http::StatusCode;
use serde_json::json;
use wire::api::{CreateSubuser, ErrorBody, Item, List, Subuser as SubuserBody, UpdateSubuser};
use wire::ids::UserId;

use super::caller::AtServer;
use super::fields::Fields;
use super::path::Path;
use super::problem::{Answer, Problem};
use super::show;
use crate::access::{self, Relation, asked};
use crate::app::is_taken_for_an_id;
use crate::nodes::outbox::Notice;
use crate::secret;
use crate::store::StoreError;
use crate::store::outbox::Waiting;
use crate::store::subusers::{Given, SUBUSERS_MAX, Subuser};
use crate::store::users::{NewUser, User};

/// Longer than the whole catalogue; repetitions count.
const PERMISSIONS_MAX: usize = 200;
/// Characters of a login name made from an e-mail address, before what makes it unique.
const NAME_CHARS_MAX: usize = 60;
const NAME_SUFFIX_CHARS: usize = 4;
/// Tries to find a free login name.
const NAME_TRIES_MAX: u32 = 8;

/// Who has rights on this server. Needs `user.read`.
#[utoipa::path(
    get, path = "/api/client/servers/{server}/users", tag = "subusers", operation_id = "list_subusers",
    params(("server" = String, Path, description = "The whole uuid or its first eight characters.")),
    responses((status = 200, body = List<SubuserBody>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn list(at: AtServer) -> Answer<Json<List<SubuserBody>>> {
    at.require(asked::USER_READ)?;
    let store = &at.call.app.store;
    let subusers = store.subusers(at.server.uuid).await?;
    let users = store.users_of(subusers.iter().map(|subuser| subuser.user)).await?;
    let shown = |subuser: Subuser| users.get(&subuser.user).map(|user| show::subuser(user, subuser.permissions));
    let data = subusers.into_iter().filter_map(shown).collect();
    Ok(Json(List { object: "list".to_owned(), data, meta: None }))
}

/// Gives somebody rights. An e-mail address without an account gets one, without a password. Needs `user.create`, and every
/// permission that is given.
#[utoipa::path(
    post, path = "/api/client/servers/{server}/users", tag = "subusers", operation_id = "create_subuser",
    params(("server" = String, Path, description = "The whole uuid or its first eight characters.")),
    request_body = CreateSubuser,
    responses(
        (status = 200, body = Item<SubuserBody>),
        (status = 400, description = "The owner, somebody who has rights already, or too many people.", body = ErrorBody),
        (status = 429, description = "Too many new accounts: wait for `Retry-After` seconds.", body = ErrorBody),
        (status = "4XX", body = ErrorBody),
    ),
)]
pub(crate) async fn create(at: AtServer) -> Answer<Json<Item<SubuserBody>>> {
    at.require(asked::USER_CREATE)?;
    let mut fields = Fields::of(&at.call.body);
    let email = fields.email("email");
    let permissions = permissions_of(&mut fields);
    fields.finish()?;
    let permissions = grantable(&at, permissions)?;
    let app = &at.call.app;
    let user = match app.store.user_by_email(&email).await? {
        Some(user) => user,
        None => invite(&at, &email).await?,
    };
    if user.uuid == at.server.owner {
        let text = "The owner of a server has every right on it already.".to_owned();
        return Err(Problem::Rule("UserIsServerOwnerException", text));
    }
    match app.store.insert_subuser(at.server.uuid, user.uuid, &permissions).await? {
        Given::New => {}
        Given::Before => {
            let text = "This person has rights on this server already: change those.".to_owned();
            return Err(Problem::Rule("ServerSubuserExistsException", text));
        }
        Given::Full => return Err(full()),
    }
    let metadata = json!({ "email": user.email, "permissions": permissions });
    app.record(&at.call.actor(), Some(at.server.uuid), "server:subuser.create", metadata).await;
    Ok(Json(show::subuser(&user, permissions)))
}

/// One person's rights. Needs `user.read`.
#[utoipa::path(
    get, path = "/api/client/servers/{server}/users/{user}", tag = "subusers", operation_id = "show_subuser",
    params(
        ("server" = String, Path, description = "The whole uuid or its first eight characters."),
        ("user" = String, Path, description = "The whole uuid."),
    ),
    responses((status = 200, body = Item<SubuserBody>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn read(at: AtServer, path: Path<(String, String)>) -> Answer<Json<Item<SubuserBody>>> {
    let (user, permissions) = find(&at, &path.0.1).await?;
    at.require(asked::USER_READ)?;
    Ok(Json(show::subuser(&user, permissions)))
}

/// Replaces somebody's rights; their open consoles come back with the new ones. Needs `user.update`, and every permission that is
/// given and that the person has; nobody can change their own.
#[utoipa::path(
    post, path = "/api/client/servers/{server}/users/{user}", tag = "subusers", operation_id = "update_subuser",
    params(
        ("server" = String, Path, description = "The whole uuid or its first eight characters."),
        ("user" = String, Path, description = "The whole uuid."),
    ),
    request_body = UpdateSubuser,
    responses((status = 200, body = Item<SubuserBody>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn update(at: AtServer, path: Path<(String, String)>) -> Answer<Json<Item<SubuserBody>>> {
    let (user, before) = find(&at, &path.0.1).await?;
    must_be_another(&at, &user)?;
    at.require(asked::USER_UPDATE)?;
    must_not_hold_more(&at, &before)?;
    let mut fields = Fields::of(&at.call.body);
    let permissions = permissions_of(&mut fields);
    fields.finish()?;
    let permissions = grantable(&at, permissions)?;
    if permissions != before {
        let app = &at.call.app;
        let notices = [revocation(&at, &user)];
        if !app.store.update_subuser(at.server.uuid, user.uuid, &permissions, &notices).await? {
            return Err(Problem::NotFound);
        }
        app.outbox.first_try(&notices).await;
        let metadata = json!({ "email": user.email, "old": before, "new": permissions });
        app.record(&at.call.actor(), Some(at.server.uuid), "server:subuser.update", metadata).await;
    }
    Ok(Json(show::subuser(&user, permissions)))
}

/// The same by PUT.
#[utoipa::path(
    put, path = "/api/client/servers/{server}/users/{user}", tag = "subusers", operation_id = "put_subuser",
    params(
        ("server" = String, Path, description = "The whole uuid or its first eight characters."),
        ("user" = String, Path, description = "The whole uuid."),
    ),
    request_body = UpdateSubuser,
    responses((status = 200, body = Item<SubuserBody>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn put(at: AtServer, path: Path<(String, String)>) -> Answer<Json<Item<SubuserBody>>> {
    update(at, path).await
}

/// Takes somebody's rights away and ends their consoles. Needs `user.delete`, and every permission that the person has; nobody can
/// remove themself.
#[utoipa::path(
    delete, path = "/api/client/servers/{server}/users/{user}", tag = "subusers", operation_id = "delete_subuser",
    params(
        ("server" = String, Path, description = "The whole uuid or its first eight characters."),
        ("user" = String, Path, description = "The whole uuid."),
    ),
    responses((status = 204, description = "Gone."), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn delete(at: AtServer, path: Path<(String, String)>) -> Answer<StatusCode> {
    let (user, held) = find(&at, &path.0.1).await?;
    must_be_another(&at, &user)?;
    at.require(asked::USER_DELETE)?;
    must_not_hold_more(&at, &held)?;
    let app = &at.call.app;
    let notices = [revocation(&at, &user)];
    if !app.store.delete_subuser(at.server.uuid, user.uuid, &notices).await? {
        return Err(Problem::NotFound);
    }
    app.outbox.first_try(&notices).await;
    let metadata = json!({ "email": user.email });
    app.record(&at.call.actor(), Some(at.server.uuid), "server:subuser.delete", metadata).await;
    Ok(StatusCode::NO_CONTENT)
}

/// What the node must hear when somebody's rights on this server change: their sessions and tokens there end.
fn revocation(at: &AtServer, user: &User) -> Waiting {
    Notice::Deauthorize { user: user.uuid, servers: vec![at.server.uuid], number: Some(user.number) }.to(at.server.node)
}

async fn find(at: &AtServer, id: &str) -> Answer<(User, Vec<String>)> {
    let id: UserId = id.to_ascii_lowercase().parse().map_err(|_| Problem::NotFound)?;
    let store = &at.call.app.store;
    let subuser = store.subuser(at.server.uuid, id).await?.ok_or(Problem::NotFound)?;
    let user = store.user(id).await?.map(Arc::unwrap_or_clone).ok_or(Problem::NotFound)?;
    Ok((user, subuser.permissions))
}

fn must_be_another(at: &AtServer, user: &User) -> Answer<()> {
    if user.uuid == at.call.user.uuid { Err(Problem::unauthorized()) } else { Ok(()) }
}

/// Nobody takes what they could not have given. What is stored and means nothing (any more) is nobody's loss.
fn must_not_hold_more(at: &AtServer, held: &[String]) -> Answer<()> {
    let held = Relation::Subuser(held.to_vec()).permissions();
    match at.relation.first_not_held(&held) {
        Some(text) => Err(Problem::Forbidden(format!(
            "You cannot change the rights of somebody who has {text}: you do not have it yourself."
        ))),
        None => Ok(()),
    }
}

fn full() -> Problem {
    let text =
        format!("{SUBUSERS_MAX} people have rights on this server, and there can be no more: remove somebody first.");
    Problem::Rule("DisplayException", text)
}

fn permissions_of(fields: &mut Fields<'_>) -> Vec<String> {
    // An empty list is a list: the right to look.
    if fields.value("permissions").is_none() {
        fields.fail("permissions", "required", "The permissions field is required.");
    }
    let permissions = fields.texts("permissions", PERMISSIONS_MAX).unwrap_or_default();
    for (index, text) in permissions.iter().enumerate() {
        if !access::is_known(text) {
            let field = format!("permissions.{index}");
            fields.fail(&field, "in", format!("There is no permission {text:?}: see /api/client/permissions."));
        }
    }
    permissions
}

fn grantable(at: &AtServer, permissions: Vec<String>) -> Answer<Vec<String>> {
    match at.relation.first_not_held(&permissions) {
        Some(text) => Err(Problem::Forbidden(format!("You cannot give {text}: you do not have it yourself."))),
        None => Ok(show::with_connect(permissions)),
    }
}

/// An account without password for an e-mail address that has none.
async fn invite(at: &AtServer, email: &str) -> Answer<User> {
    let app = &at.call.app;
    // Asked before, so that no account is made for nothing.
    if app.store.subuser_count(at.server.uuid).await? >= SUBUSERS_MAX {
        return Err(full());
    }
    if !at.call.user.root_admin {
        let standing = app.invitation_throttle.take(&at.call.user.uuid);
        if !standing.is_allowed() {
            return Err(Problem::TooManyInvitations(standing));
        }
    }
    let local = email.split('@').next().unwrap_or_default();
    let plain: String =
        local.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).take(NAME_CHARS_MAX).collect();
    let base = plain.trim_matches(['-', '_', '.']).to_owned();
    let mut username = if base.is_empty() { format!("user{}", suffix()) } else { base.clone() };
    for _ in 0..NAME_TRIES_MAX {
        if is_taken_for_an_id(&username) {
            username = format!("user{username}");
        }
        let new = NewUser {
            username: username.clone(),
            email: email.to_owned(),
            language: "en".to_owned(),
            ..NewUser::default()
        };
        match app.store.insert_user(new).await {
            Err(StoreError::Taken("username")) => username = format!("{base}{}", suffix()),
            // Somebody else invited the same person in this moment.
            Err(StoreError::Taken("email")) => {
                return app.store.user_by_email(email).await?.ok_or(Problem::Internal);
            }
            other => return Ok(other?),
        }
    }
    Err(StoreError::Taken("username").into())
}

fn suffix() -> String {
    secret::alphanumeric(NAME_SUFFIX_CHARS).to_ascii_lowercase()
}
