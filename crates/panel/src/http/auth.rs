//! Signing in and out from a browser, and what of it is told to the page.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use wire::api::{ErrorBody, Item};
use wire::session::{Session as SessionBody, SessionUser, SignIn, SignInByLink};

use super::caller::{Account, Call, Proof, parse_body, read_body};
use super::cookie;
use super::fields::Fields;
use super::problem::{Answer, Problem};
use super::reach::Reach;
use crate::app::App;
use crate::clock;
use crate::store::sessions::{Session, SessionSecret};
use crate::store::users::User;

/// Longest body of somebody who is not signed in: nobody's name and password are longer.
const BODY_BYTES_MAX: usize = 8 * 1024;
const LOGIN_CHARS_MAX: usize = 191;
const CODE_CHARS_MAX: usize = 32;
const TOKEN_CHARS_MAX: usize = 100;
/// Of what a browser calls itself, this much is kept.
const AGENT_CHARS_MAX: usize = 200;

/// Who is signed in.
#[utoipa::path(
    get, path = "/api/auth/session", tag = "session", operation_id = "show_session",
    responses((status = 200, body = Item<SessionBody>), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn session(Account(call): Account) -> Answer<Json<Item<SessionBody>>> {
    let Proof::Session { session, secret } = &call.proof else { return Err(Problem::Unauthenticated) };
    Ok(Json(described(&call.app, &call.user, secret, session).await?))
}

/// Signs in with a name or an e-mail address, a password and, where there is a second factor, a code. The answer sets the
/// session's cookie. After some failures attempts have to wait: 429 with `Retry-After`.
#[utoipa::path(
    post, path = "/api/auth/login", tag = "session", operation_id = "sign_in", request_body = SignIn, security(()),
    responses(
        (status = 200, body = Item<SessionBody>),
        (status = 400, description = "`TwoFactorAuthRequiredException`: send a code as well.", body = ErrorBody),
        (status = 401, description = "Name, password or code are wrong.", body = ErrorBody),
        (status = "4XX", body = ErrorBody),
    ),
)]
pub(crate) async fn login(State(app): State<App>, request: Request) -> Answer<Response> {
    let visit = Visit::of(app, request).await?;
    let mut fields = Fields::of(&visit.body);
    let login = fields.text("user", LOGIN_CHARS_MAX);
    let password = password(&mut fields, "password");
    let code = fields.text_or_none("code", CODE_CHARS_MAX);
    fields.finish()?;
    let signed_in = visit.app.sign_in(&login, password, code.as_deref(), visit.reach.ip, &visit.agent).await?;
    visit.welcome(signed_in).await
}

/// Signs in with a link that works once.
#[utoipa::path(
    post, path = "/api/auth/link", tag = "session", operation_id = "sign_in_by_link", request_body = SignInByLink, security(()),
    responses(
        (status = 200, body = Item<SessionBody>), (status = 401, description = "It has been used, or is too old.", body = ErrorBody),
        (status = "4XX", body = ErrorBody),
    ),
)]
pub(crate) async fn link(State(app): State<App>, request: Request) -> Answer<Response> {
    let visit = Visit::of(app, request).await?;
    let mut fields = Fields::of(&visit.body);
    let token = fields.text("token", TOKEN_CHARS_MAX);
    fields.finish()?;
    let signed_in = visit.app.sign_in_by_link(&token, visit.reach.ip, &visit.agent).await?;
    visit.welcome(signed_in).await
}

/// Signs out.
#[utoipa::path(
    post, path = "/api/auth/logout", tag = "session", operation_id = "sign_out",
    responses((status = 204, description = "The session has ended."), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn logout(Account(call): Account) -> Answer<Response> {
    let Proof::Session { session, .. } = &call.proof else { return Err(Problem::Unauthenticated) };
    call.app.store.end_session(session).await?;
    Ok(goodbye(&call))
}

/// Signs out everywhere: ends all sessions of the caller, this one included, and the consoles they have open.
#[utoipa::path(
    post, path = "/api/auth/logout-everywhere", tag = "session", operation_id = "sign_out_everywhere",
    responses((status = 204, description = "All sessions have ended."), (status = "4XX", body = ErrorBody)),
)]
pub(crate) async fn logout_everywhere(Account(call): Account) -> Answer<Response> {
    let notices = call.app.revocations(&call.user).await?;
    call.app.store.end_sessions(call.user.uuid, &notices).await?;
    call.app.outbox.first_try(&notices).await;
    call.app.record(&call.actor(), None, "auth:logout-everywhere", Value::Null).await;
    Ok(goodbye(&call))
}

fn goodbye(call: &Arc<Call>) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    cookie::take_back(response.headers_mut(), call.is_secure());
    response
}

/// A password as it was typed: white space is part of it, so it is not trimmed like other texts.
pub(crate) fn password(fields: &mut Fields<'_>, name: &str) -> String {
    match fields.value(name).and_then(Value::as_str) {
        Some(text) => text.to_owned(),
        None => {
            fields.fail(name, "required", format!("The {name} field is required."));
            String::new()
        }
    }
}

/// What a page is told of its session.
pub(crate) async fn described(
    app: &App,
    user: &User,
    secret: &SessionSecret,
    session: &Session,
) -> Answer<Item<SessionBody>> {
    let credentials = app.store.credentials(user.uuid).await?;
    let body = SessionBody {
        user: SessionUser {
            id: user.number,
            uuid: user.uuid.to_string(),
            username: user.username.clone(),
            email: user.email.clone(),
            admin: user.root_admin,
            two_factor: credentials.totp_confirmed,
        },
        csrf: secret.csrf(),
        expires_at: clock::iso(session.expires_at),
        must_set_password: credentials.password_hash.is_none(),
    };
    Ok(Item::new("session", body))
}

/// A request of somebody who is not signed in yet.
struct Visit {
    app: App,
    reach: Reach,
    agent: String,
    body: Value,
}

impl Visit {
    async fn of(app: App, request: Request) -> Answer<Self> {
        let (parts, body) = request.into_parts();
        let ((), bytes) = read_body(must_be_json(&parts.headers), &parts.headers, body, BODY_BYTES_MAX).await?;
        let body = parse_body(&parts.headers, &bytes)?;
        let agent = agent(&parts.headers);
        Ok(Self { reach: Reach::of(&parts, &app.config), app, agent, body })
    }

    async fn welcome(self, (user, secret, session): (User, SessionSecret, Session)) -> Answer<Response> {
        let body = described(&self.app, &user, &secret, &session).await?;
        let mut response = Json(body).into_response();
        let secure = self.reach.origin.is_some_and(|origin| origin.secure);
        cookie::hand_out(response.headers_mut(), &secret, &session, secure);
        Ok(response)
    }
}

/// What a browser calls itself.
pub(crate) fn agent(headers: &HeaderMap) -> String {
    let text = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.chars().take(AGENT_CHARS_MAX).collect()
}

/// A form of somebody else's page can send a body here, but not one that says it is JSON: nobody is signed in to an account that
/// is not theirs.
fn must_be_json(headers: &HeaderMap) -> Answer<()> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if kind.to_ascii_lowercase().starts_with("application/json") {
        return Ok(());
    }
    Err(Problem::BadRequest("Send the body as JSON, with Content-Type: application/json.".to_owned()))
}
