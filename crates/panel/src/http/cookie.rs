//! The cookie of a session.

use axum::http::{HeaderMap, HeaderValue, header};
use cookie::{Cookie, SameSite, time::Duration};

use crate::clock;
use crate::store::sessions::{Session, SessionSecret};

/// Its name.
const NAME: &str = "quarterdeck_session";

/// The session secret a browser sends, if it sends one.
pub(crate) fn session_secret(headers: &HeaderMap) -> Option<SessionSecret> {
    // Other programs of this host send theirs here too, with whatever bytes in them.
    let texts = headers.get_all(header::COOKIE).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    let cookies = texts.flat_map(|text| Cookie::split_parse(text.into_owned())).flatten();
    cookies.filter(|cookie| cookie.name() == NAME).find_map(|cookie| SessionSecret::of(cookie.value()))
}

/// Hands a browser a session's secret. With `secure` it sends it over TLS only.
pub(crate) fn hand_out(headers: &mut HeaderMap, secret: &SessionSecret, session: &Session, secure: bool) {
    let left_s = session.expires_at.saturating_sub(clock::now_ms()) / 1000;
    write(headers, &cookie(secret.expose().to_owned(), secure).max_age(Duration::seconds(left_s)).build());
}

/// Takes it away again.
pub(crate) fn take_back(headers: &mut HeaderMap, secure: bool) {
    write(headers, &cookie(String::new(), secure).max_age(Duration::ZERO).build());
}

/// Scripts cannot read it, and requests that pages of others make do not carry it, except for following a link here.
fn cookie(value: String, secure: bool) -> cookie::CookieBuilder<'static> {
    Cookie::build((NAME, value)).path("/").http_only(true).same_site(SameSite::Lax).secure(secure)
}

fn write(headers: &mut HeaderMap, cookie: &Cookie<'static>) {
    // Letters, digits and what the library adds: always a header.
    if let Ok(value) = HeaderValue::try_from(cookie.to_string()) {
        headers.append(header::SET_COOKIE, value);
    }
}
