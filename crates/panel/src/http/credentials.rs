//! What the caller proves who they are with: their password and second factor.

use axum::Json;
use axum::http::StatusCode;
use serde_json::Value;
use wire::api::{ErrorBody, Item};
use wire::session::{
    ChangePassword, ConfirmTwoFactor, DisableTwoFactor, RecoveryTokens, TwoFactorOffer, TwoFactorSecret,
};

use super::application::users::check_password;
use super::auth::password;
use super::caller::{Account, Call, Proof};
use super::fields::Fields;
use super::problem::{Answer, Problem};

const CODE_CHARS_MAX: usize = 32;

/// Changes the caller's password, and ends their other sessions. API keys go on; consoles that are open need a new token.
#[utoipa::path(
    put, path = "/api/client/account/password", tag = "session", operation_id = "change_password", request_body = ChangePassword,
    responses((status = 204, description = "Changed."), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn change_password(Account(call): Account) -> Answer<StatusCode> {
    let mut fields = Fields::of(&call.body);
    let new = check_password(&mut fields, "password");
    if new.is_none() {
        fields.fail("password", "required", "The password field is required.");
    }
    let again = fields.value("password_confirmation").and_then(Value::as_str).map(str::to_owned);
    if new.is_some() && again != new {
        fields.fail("password_confirmation", "same", "The password and its confirmation must be the same.");
    }
    let credentials = call.app.store.credentials(call.user.uuid).await?;
    let current = credentials.password_hash.as_ref().map(|_| password(&mut fields, "current_password"));
    fields.finish()?;
    if let Some(current) = current {
        must_be(&call, current, "current_password").await?;
    }
    let hash = call.app.new_password_hash(new.unwrap_or_default()).await?;
    let this = match &call.proof {
        Proof::Session { session, .. } => Some(session),
        Proof::Key(_) => None,
    };
    // A console that somebody else has open with the old password lives on a token of its own.
    let notices = call.app.revocations(&call.user).await?;
    let old = credentials.password_hash.as_deref();
    if !call.app.store.set_password(call.user.uuid, old, &hash, this, &notices).await? {
        // Somebody was faster: what was given is the password no longer.
        return Err(Problem::field("current_password", "password", "The current_password is wrong."));
    }
    call.app.outbox.first_try(&notices).await;
    call.app.record(&call.actor(), None, "user:account.password-changed", Value::Null).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Offers a second factor: what to set an authenticator app up with. It counts once a code has confirmed it.
#[utoipa::path(
    get, path = "/api/client/account/two-factor", tag = "session", operation_id = "offer_two_factor",
    responses((status = 200, body = TwoFactorOffer), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn offer_two_factor(Account(call): Account) -> Answer<Json<TwoFactorOffer>> {
    let (image_url_data, secret) = call.app.offer_totp(&call.user).await?;
    Ok(Json(TwoFactorOffer { data: TwoFactorSecret { image_url_data, secret } }))
}

/// Turns the second factor on. The recovery codes are shown only now.
#[utoipa::path(
    post, path = "/api/client/account/two-factor", tag = "session", operation_id = "enable_two_factor",
    request_body = ConfirmTwoFactor,
    responses((status = 200, body = Item<RecoveryTokens>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn enable_two_factor(Account(call): Account) -> Answer<Json<Item<RecoveryTokens>>> {
    let mut fields = Fields::of(&call.body);
    let code = fields.text("code", CODE_CHARS_MAX);
    let given = password(&mut fields, "password");
    fields.finish()?;
    must_be(&call, given, "password").await?;
    let tokens = call.app.confirm_totp(&call.user, &code).await?;
    call.app.record(&call.actor(), None, "user:two-factor.create", Value::Null).await;
    Ok(Json(Item::new("recovery_tokens", RecoveryTokens { tokens })))
}

/// Turns the second factor off.
#[utoipa::path(
    delete, path = "/api/client/account/two-factor", tag = "session", operation_id = "disable_two_factor",
    request_body = DisableTwoFactor,
    responses((status = 204, description = "It is off."), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn disable_two_factor(Account(call): Account) -> Answer<StatusCode> {
    let mut fields = Fields::of(&call.body);
    let given = password(&mut fields, "password");
    fields.finish()?;
    must_be(&call, given, "password").await?;
    call.app.store.drop_totp(call.user.uuid).await?;
    call.app.record(&call.actor(), None, "user:two-factor.delete", Value::Null).await;
    Ok(StatusCode::NO_CONTENT)
}

/// A session or key alone is not enough for these: somebody may have left a browser open.
async fn must_be(call: &Call, given: String, field: &str) -> Answer<()> {
    let credentials = call.app.store.credentials(call.user.uuid).await?;
    call.app.try_password(call.user.uuid, call.ip)?;
    if !call.app.is_password(&credentials, given).await? {
        return Err(Problem::field(field, "password", format!("The {field} is wrong.")));
    }
    call.app.password_was_right(call.user.uuid, call.ip);
    Ok(())
}
