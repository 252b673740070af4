//! The API keys of a person, whoever asks: that person, or an administrator.

use axum::Json;
use axum::http::StatusCode;
use serde_json::{Value, json};
use wire::api::{ApiKey, Item, List};

use super::caller::{Call, IpRule};
use super::fields::Fields;
use super::problem::{Answer, Problem};
use super::show;
use crate::clock;
use crate::store::keys::{KEYS_MAX, KeyKind, NewKey};
use crate::store::users::User;

const DESCRIPTION_CHARS_MAX: usize = 500;
const ALLOWED_IPS_MAX: usize = 50;
const TIME_CHARS_MAX: usize = 64;

/// Somebody's keys of a kind, or of both, without their secrets.
pub(crate) async fn list(call: &Call, owner: &User, kind: Option<KeyKind>) -> Answer<Json<List<ApiKey>>> {
    let keys = call.app.store.keys(owner.uuid, kind).await?;
    Ok(Json(List::whole("api_key", keys.into_iter().map(show::key))))
}

/// Makes a key for somebody. What already failed in `fields` is told together with what fails here.
pub(crate) async fn create(
    call: &Call,
    owner: &User,
    kind: KeyKind,
    mut fields: Fields<'_>,
) -> Answer<Json<Item<ApiKey>>> {
    let new = NewKey {
        kind,
        user: owner.uuid,
        memo: fields.name("description", DESCRIPTION_CHARS_MAX),
        allowed_ips: allowed_ips(&mut fields),
        expires_at: expires_at(&mut fields),
    };
    fields.finish()?;
    if call.app.store.key_count(owner.uuid, kind).await? >= KEYS_MAX {
        let text =
            format!("There are {KEYS_MAX} of these API keys, which is as many as there can be: delete one first.");
        return Err(Problem::Rule("DisplayException", text));
    }
    let (key, secret) = call.app.store.insert_key(new).await?;
    call.app.record(&call.actor(), None, "user:api-key.create", metadata(call, owner, &key.identifier)).await;
    Ok(Json(Item::new("api_key", show::key(key)).with_meta(json!({ "secret_token": secret }))))
}

/// Deletes somebody's key of a kind, or of either, and ends the consoles that it may have opened.
pub(crate) async fn delete(call: &Call, owner: &User, identifier: &str, kind: Option<KeyKind>) -> Answer<StatusCode> {
    // Nobody knows which of their consoles it opened: all of them need a new token.
    let notices = call.app.revocations(owner).await?;
    if !call.app.store.delete_key(owner.uuid, identifier, kind, &notices).await? {
        return Err(Problem::NotFound);
    }
    call.app.outbox.first_try(&notices).await;
    call.app.record(&call.actor(), None, "user:api-key.delete", metadata(call, owner, identifier)).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Of the record. It stands among the deeds of the caller, so it says whose key it was if that is somebody else.
fn metadata(call: &Call, owner: &User, identifier: &str) -> Value {
    if owner.uuid == call.user.uuid {
        json!({ "identifier": identifier })
    } else {
        json!({ "identifier": identifier, "username": owner.username, "uuid": owner.uuid })
    }
}

fn allowed_ips(fields: &mut Fields<'_>) -> Vec<String> {
    let entries = fields.texts("allowed_ips", ALLOWED_IPS_MAX).unwrap_or_default();
    for (index, entry) in entries.iter().enumerate() {
        if IpRule::parse(entry).is_none() {
            let field = format!("allowed_ips.{index}");
            fields.fail(&field, "ip", format!("{entry:?} is no address, network (a/24) or range (a-b)."));
        }
    }
    entries
}

fn expires_at(fields: &mut Fields<'_>) -> Option<i64> {
    let text = fields.text_or_none("expires_at", TIME_CHARS_MAX)?;
    let time = clock::parse(&text).filter(|time| *time > clock::now_ms());
    if time.is_none() {
        let detail = "The expires_at must be a time to come, such as 2030-01-31T12:00:00Z.";
        fields.fail("expires_at", "after", detail);
    }
    time
}
