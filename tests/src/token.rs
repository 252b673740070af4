//! Console tokens as a panel would sign them, and as an attacker would.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use wire::token::Claims;

/// Seconds since 1970.
pub fn now_s() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Good claims for a server: everything permitted, ten minutes.
pub fn claims(server: &str) -> Claims {
    let now = now_s();
    Claims {
        iss: "http://panel.example".into(),
        aud: vec!["http://node.example:8080".into()],
        jti: format!("jti-{}", uuid()),
        iat: Some(now),
        nbf: Some(now - 300),
        exp: Some(now + 600),
        server_uuid: server.into(),
        permissions: vec!["*".into()],
        user_uuid: uuid(),
        user_id: Some(1),
        scope: "websocket".into(),
        unique_id: "abcdefghijklmnop".into(),
        serial: None,
    }
}

/// A random uuid in its usual form.
pub fn uuid() -> String {
    let bytes = std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
    bytes.trim().to_owned()
}

/// Signs claims with HS256.
///
/// # Panics
/// Never for claims that have a JSON form.
#[allow(clippy::expect_used)]
pub fn sign(claims: &Claims, key: &str) -> String {
    encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(key.as_bytes())).expect("a token")
}
