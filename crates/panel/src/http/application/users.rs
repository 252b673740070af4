//! People, for administrators.

use axum::Json;
use axum::extract::OriginalUri;
use axum::http::StatusCode;
use serde_json::json;
use wire::api::{ErrorBody, Item, List};
use wire::application::{UpdateUser, User as UserBody, UserRequest};

use super::resource_meta;
use crate::app::{is_taken_for_an_id, revocations};
use crate::clock::iso;
use crate::http::caller::{Admin, Call, Proof};
use crate::http::fields::Fields;
use crate::http::page::{Asked, paged_rows};
use crate::http::path::Path;
use crate::http::problem::{Answer, Problem};
use crate::store::users::{NewUser, User, UserFilter};

const NAME_CHARS_MAX: usize = 191;
const PASSWORD_CHARS_MIN: usize = 8;
const PASSWORD_CHARS_MAX: usize = 1024;
const LANGUAGE_CHARS_MAX: usize = 16;

pub(super) fn show(user: User) -> Item<UserBody> {
    let shown = UserBody {
        id: user.number,
        external_id: user.external_id,
        uuid: user.uuid.to_string(),
        username: user.username,
        email: user.email,
        first_name: user.first_name,
        last_name: user.last_name,
        language: user.language,
        root_admin: user.root_admin,
        two_factor: user.two_factor,
        created_at: iso(user.created_at),
        updated_at: iso(user.updated_at),
    };
    Item::new("user", shown)
}

/// Everybody with an account.
#[utoipa::path(
    get, path = "/api/application/users", tag = "application", operation_id = "list_users",
    params(
        ("page" = Option<u64>, Query, description = "From 1."),
        ("per_page" = Option<u64>, Query, description = "50 unless told, 100 at most."),
        ("filter[email]" = Option<String>, Query, description = "Part of it; likewise `username`, `uuid`, `external_id`."),
    ),
    responses((status = 200, body = List<UserBody>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn list(Admin(call): Admin, uri: OriginalUri, asked: Asked) -> Answer<Json<List<UserBody>>> {
    let filter = UserFilter {
        email: asked.filter("email"),
        username: asked.filter("username"),
        uuid: asked.filter("uuid"),
        external_id: asked.filter("external_id"),
    };
    let page = asked.usual_page();
    let found = call.app.store.users(&filter, page.window()).await?;
    Ok(Json(paged_rows(&call, &uri, &asked, page, found, show)))
}

/// One of them.
#[utoipa::path(
    get, path = "/api/application/users/{user}", tag = "application", operation_id = "show_user",
    params(("user" = String, Path, description = "Number, uuid or login name.")),
    responses((status = 200, body = Item<UserBody>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn read(Admin(call): Admin, Path(id): Path<String>) -> Answer<Json<Item<UserBody>>> {
    Ok(Json(show(find(&call, &id).await?)))
}

/// One of them, by their name elsewhere.
#[utoipa::path(
    get, path = "/api/application/users/external/{external_id}", tag = "application", operation_id = "show_user_by_external_id",
    params(("external_id" = String, Path, description = "As it was given.")),
    responses((status = 200, body = Item<UserBody>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn read_external(Admin(call): Admin, Path(id): Path<String>) -> Answer<Json<Item<UserBody>>> {
    Ok(Json(show(call.app.store.user_by_external_id(&id).await?.ok_or(Problem::NotFound)?)))
}

/// Makes an account. Without a password nobody can log in to it, but keys can be made for it.
#[utoipa::path(
    post, path = "/api/application/users", tag = "application", operation_id = "create_user",
    request_body = UserRequest,
    responses((status = 201, body = Item<UserBody>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn create(Admin(call): Admin) -> Answer<(StatusCode, Json<Item<UserBody>>)> {
    let mut fields = Fields::of(&call.body);
    let email = fields.email("email");
    let username = fields.text("username", NAME_CHARS_MAX);
    check_username(&mut fields, &username);
    let password = check_password(&mut fields, "password");
    let new = NewUser {
        external_id: fields.text_or_none("external_id", NAME_CHARS_MAX),
        username,
        email,
        first_name: fields.name_or_none("first_name", NAME_CHARS_MAX).unwrap_or_default(),
        last_name: fields.name_or_none("last_name", NAME_CHARS_MAX).unwrap_or_default(),
        language: fields.name_or_none("language", LANGUAGE_CHARS_MAX).unwrap_or_else(|| "en".to_owned()),
        password_hash: None,
        root_admin: fields.flag("root_admin").unwrap_or(false),
    };
    fields.finish()?;
    let new = NewUser { password_hash: hashed(&call, password).await?, ..new };
    let user = call.app.store.insert_user(new).await?;
    let metadata = json!({ "username": user.username, "uuid": user.uuid });
    call.app.record(&call.actor(), None, "user:account.create", metadata).await;
    let meta = resource_meta(&call, "users", user.number);
    Ok((StatusCode::CREATED, Json(show(user).with_meta(meta))))
}

/// Changes an account; what is left out stays. Somebody who is no administrator any more loses their open consoles at once.
#[utoipa::path(
    patch, path = "/api/application/users/{user}", tag = "application", operation_id = "update_user",
    params(("user" = String, Path, description = "Number, uuid or login name.")),
    request_body = UpdateUser,
    responses((status = 200, body = Item<UserBody>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn update(Admin(call): Admin, Path(id): Path<String>) -> Answer<Json<Item<UserBody>>> {
    let id = find(&call, &id).await?.uuid;
    let mut fields = Fields::of(&call.body);
    let change = Change::of(&mut fields);
    let password = check_password(&mut fields, "password");
    fields.finish()?;
    if id == call.user.uuid && change.root_admin == Some(false) {
        let text = "You cannot take your own administrator's rights: let another administrator do it.".to_owned();
        return Err(Problem::Rule("DisplayException", text));
    }
    // A session is not enough for that: somebody may have left a browser open.
    if id == call.user.uuid && password.is_some() && matches!(call.proof, Proof::Session { .. }) {
        let text = "Change your own password with PUT /api/client/account/password, which asks for the one you have.";
        return Err(Problem::Rule("DisplayException", text.to_owned()));
    }
    let store = &call.app.store;
    let hash = hashed(&call, password).await?;
    let nodes = store.node_ids().await?;
    let has_new_password = hash.is_some();
    let edit = |user: &mut User| {
        let was_admin = user.root_admin;
        change.apply(user);
        if has_new_password || (was_admin && !user.root_admin) { revocations(user, nodes) } else { Vec::new() }
    };
    let changed = store.change_user(id, hash, edit).await?;
    let (user, notices) = changed.ok_or(Problem::NotFound)?;
    if has_new_password {
        store.end_sessions(id, &[]).await?;
    }
    call.app.outbox.first_try(&notices).await;
    let metadata = json!({ "username": user.username, "uuid": user.uuid });
    call.app.record(&call.actor(), None, "user:account.update", metadata).await;
    Ok(Json(show(user)))
}

/// What is to become of an account; what is none stays as it is.
#[derive(Debug)]
struct Change {
    email: Option<String>,
    username: Option<String>,
    /// Empty: none any more.
    external_id: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    language: Option<String>,
    root_admin: Option<bool>,
}

impl Change {
    fn of(fields: &mut Fields<'_>) -> Self {
        let email = fields.has("email").then(|| fields.email("email"));
        let username = fields.has("username").then(|| fields.text("username", NAME_CHARS_MAX));
        if let Some(username) = &username {
            check_username(fields, username);
        }
        let external_id =
            fields.has("external_id").then(|| fields.text_or_none("external_id", NAME_CHARS_MAX).unwrap_or_default());
        let [first_name, last_name] = ["first_name", "last_name"]
            .map(|name| fields.has(name).then(|| fields.name_or_none(name, NAME_CHARS_MAX).unwrap_or_default()));
        Self {
            email,
            username,
            external_id,
            first_name,
            last_name,
            language: fields.name_or_none("language", LANGUAGE_CHARS_MAX),
            root_admin: fields.flag("root_admin"),
        }
    }

    fn apply(self, user: &mut User) {
        fn set<T>(slot: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *slot = value;
            }
        }
        set(&mut user.email, self.email);
        set(&mut user.username, self.username);
        set(&mut user.external_id, self.external_id.map(|text| (!text.is_empty()).then_some(text)));
        set(&mut user.first_name, self.first_name);
        set(&mut user.last_name, self.last_name);
        set(&mut user.language, self.language);
        set(&mut user.root_admin, self.root_admin);
    }
}

/// Deletes an account with its keys and rights. Whoever owns servers cannot be deleted.
#[utoipa::path(
    delete, path = "/api/application/users/{user}", tag = "application", operation_id = "delete_user",
    params(("user" = String, Path, description = "Number, uuid or login name.")),
    responses((status = 204, description = "Gone."), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn delete(Admin(call): Admin, Path(id): Path<String>) -> Answer<StatusCode> {
    let user = find(&call, &id).await?;
    if user.uuid == call.user.uuid {
        return Err(Problem::Rule("DisplayException", "You cannot delete your own account.".to_owned()));
    }
    let notices = call.app.revocations(&user).await?;
    call.app.store.delete_user(user.uuid, &notices).await?;
    call.app.outbox.first_try(&notices).await;
    let metadata = json!({ "username": user.username, "uuid": user.uuid });
    call.app.record(&call.actor(), None, "user:account.delete", metadata).await;
    Ok(StatusCode::NO_CONTENT)
}

/// By number, uuid or login name.
pub(super) async fn find(call: &Call, id: &str) -> Answer<User> {
    call.app.find_user(id).await?.ok_or(Problem::NotFound)
}

fn check_username(fields: &mut Fields<'_>, username: &str) {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let ends = username.starts_with(char::is_alphanumeric) && username.ends_with(char::is_alphanumeric);
    let fine = username.chars().all(plain) && ends;
    if !fine && !username.is_empty() {
        let text = "The username may hold letters, digits, and - _ . in between.";
        fields.fail("username", "username", text);
    }
    if is_taken_for_an_id(username) {
        let text = "The username may not be a number or a uuid: it would be taken for somebody else's.";
        fields.fail("username", "username", text);
    }
}

/// A new password, if one is given; what is wrong with it is noted.
pub(crate) fn check_password(fields: &mut Fields<'_>, name: &str) -> Option<String> {
    // White space is part of a password, so it is not trimmed like other texts.
    let password = fields.value(name)?.as_str().map(str::to_owned);
    let chars = password.as_ref().map_or(0, |text| text.chars().count());
    if !(PASSWORD_CHARS_MIN..=PASSWORD_CHARS_MAX).contains(&chars) {
        let rule = if chars < PASSWORD_CHARS_MIN { "min" } else { "max" };
        let text = format!("The {name} must have {PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX} characters.");
        fields.fail(name, rule, text);
    }
    password
}

async fn hashed(call: &Call, password: Option<String>) -> Answer<Option<String>> {
    match password {
        Some(password) => call.app.new_password_hash(password).await.map(Some),
        None => Ok(None),
    }
}
