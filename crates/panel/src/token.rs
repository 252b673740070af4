//! Mints the short-lived JWT that opens a console (protocol reference §2).

use std::borrow::Cow;

use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde::Serialize;
use serde_json::value::RawValue;
use wire::ids::{ServerId, UserId};
use wire::token::{Claims, SCOPE_WEBSOCKET};

use crate::secret::{self, Secret};

/// How far `nbf` lies before `iat`, as on stock panels.
const NOT_BEFORE_S: i64 = 300;
const UNIQUE_ID_CHARS: usize = 16;
/// Room for claims with all permissions.
const PAYLOAD_BYTES: usize = 2048;
/// Room for a signature of 32 bytes, and the dots.
const SIGNATURE_CHARS: usize = 48;

/// The token could not be signed.
#[derive(Debug, thiserror::Error)]
#[error("cannot sign a console token: {0}")]
pub(crate) struct SignError(String);

/// What a token says.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    /// The panel's address.
    pub(crate) issuer: String,
    /// The node's address.
    pub(crate) audience: String,
    pub(crate) server: ServerId,
    pub(crate) user: UserId,
    /// The user's number on this panel.
    pub(crate) user_number: u64,
    /// Texts, as JSON.
    pub(crate) permissions: Cow<'static, RawValue>,
    /// Seconds since 1970; the true current second, or nodes that booted since refuse it.
    pub(crate) issued_at: i64,
    pub(crate) ttl_s: u64,
    /// From before it was looked what the user may.
    pub(crate) serial: u64,
}

/// The same for every token of a user on a server: what `ws/deny` names.
pub(crate) fn jti(user_number: u64, server: ServerId) -> String {
    secret::digest(&format!("{user_number}{server}"))
}

impl Grant {
    /// The claims, with a new random `unique_id`.
    pub(crate) fn into_claims(self) -> Claims<Cow<'static, RawValue>> {
        Claims {
            iss: self.issuer,
            aud: vec![self.audience],
            jti: jti(self.user_number, self.server),
            iat: Some(self.issued_at),
            nbf: Some(self.issued_at - NOT_BEFORE_S),
            exp: Some(self.issued_at.saturating_add_unsigned(self.ttl_s)),
            server_uuid: self.server.to_string(),
            permissions: self.permissions,
            user_uuid: self.user.to_string(),
            user_id: Some(self.user_number),
            scope: SCOPE_WEBSOCKET.to_owned(),
            unique_id: secret::alphanumeric(UNIQUE_ID_CHARS),
            serial: Some(self.serial),
        }
    }
}

/// Signs claims with a node's token. The header's members stand in the order of stock panels, whose tokens clients know by
/// their first characters; the library's own header type has no `jti`.
pub(crate) fn sign<P: Serialize>(claims: &Claims<P>, key: &Secret) -> Result<String, SignError> {
    #[derive(Serialize)]
    struct Header<'a> {
        typ: &'static str,
        alg: &'static str,
        jti: &'a str,
    }
    let fail = |error: &dyn std::fmt::Display| SignError(error.to_string());
    let header = Header { typ: "JWT", alg: "HS256", jti: &claims.jti };
    let header = serde_json::to_vec(&header).map_err(|error| fail(&error))?;
    let mut payload = Vec::with_capacity(PAYLOAD_BYTES);
    serde_json::to_writer(&mut payload, claims).map_err(|error| fail(&error))?;
    let mut token = Vec::with_capacity((header.len() + payload.len()).div_ceil(3) * 4 + SIGNATURE_CHARS);
    push_base64url(&mut token, &header);
    token.push(b'.');
    push_base64url(&mut token, &payload);
    let key = EncodingKey::from_secret(key.expose().as_bytes());
    let signature = crypto::sign(&token, &key, Algorithm::HS256).map_err(|error| fail(&error))?;
    token.push(b'.');
    token.extend_from_slice(signature.as_bytes());
    String::from_utf8(token).map_err(|error| fail(&error))
}

/// Base64 for URLs, without padding.
fn push_base64url(text: &mut Vec<u8>, bytes: &[u8]) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let sextets = |[a, b, c]: [u8; 3]| {
        let bits = u32::from(a) << 16 | u32::from(b) << 8 | u32::from(c);
        [18, 12, 6, 0].map(|shift| ALPHABET[(bits >> shift & 63) as usize])
    };
    let (whole, rest) = bytes.as_chunks::<3>();
    let begin = text.len();
    text.resize(begin + 4 * whole.len(), 0);
    let (places, _) = text.split_at_mut(begin).1.as_chunks_mut::<4>();
    for (place, chunk) in places.iter_mut().zip(whole) {
        *place = sextets(*chunk);
    }
    if let Some(&first) = rest.first() {
        let padded = [first, rest.get(1).copied().unwrap_or_default(), 0];
        text.extend(sextets(padded).into_iter().take(rest.len() + 1));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all() -> Cow<'static, RawValue> {
        Cow::Owned(RawValue::from_string(r#"["*"]"#.to_owned()).unwrap())
    }

    /// The vector of protocol reference §2.5.
    #[test]
    fn the_test_vector_is_met_to_the_byte() {
        let grant = Grant {
            issuer: "https://panel.example".into(),
            audience: "https://node.example:8080".into(),
            server: "11111111-2222-3333-4444-555555555555".parse().unwrap(),
            user: "99999999-8888-4777-8666-555555555555".parse().unwrap(),
            user_number: 7,
            permissions: all(),
            issued_at: 1_800_000_000,
            ttl_s: 600,
            serial: 7,
        };
        let claims = Claims { unique_id: "abcdefghijklmnop".into(), serial: None, ..grant.into_claims() };
        assert_eq!(claims.jti, "8984d6bd7d9561313940b5045a3adb5bef228a2d6e7e5d0e357ab99bc8ce6a53");
        let token = sign(&claims, &Secret::new("k".repeat(64))).unwrap();
        assert!(token.starts_with("eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiIsImp0aSI6Ij"), "{token}");
        assert!(token.ends_with(".HAniVTHr0V3tMEfq-6ivUgivHDsxYsRG1GR0TcvDvp0"), "{token}");
    }

    #[test]
    fn two_tokens_differ_in_their_unique_id() {
        let grant = Grant {
            issuer: String::new(),
            audience: String::new(),
            server: ServerId(uuid::Uuid::nil()),
            user: UserId(uuid::Uuid::nil()),
            user_number: 1,
            permissions: all(),
            issued_at: 0,
            ttl_s: 600,
            serial: 7,
        };
        let (one, two) = (grant.clone().into_claims(), grant.into_claims());
        assert_eq!(one.unique_id.len(), 16);
        assert_ne!(one.unique_id, two.unique_id);
        assert_eq!(one.jti, two.jti);
    }

    proptest! {
        /// The library reads back what we wrote, whatever is in it.
        #[test]
        fn the_library_verifies_what_we_sign(name in "\\PC*", number in 0_u64..1 << 40) {
            let grant = Grant {
                issuer: name.clone(),
                audience: name,
                server: ServerId(uuid::Uuid::nil()),
                user: UserId(uuid::Uuid::nil()),
                user_number: number,
                permissions: all(),
                issued_at: crate::clock::now_s(),
                ttl_s: 600,
                serial: 7,
            };
            let claims = grant.into_claims();
            let token = sign(&claims, &Secret::new("secret".into())).unwrap();
            let mut rules = jsonwebtoken::Validation::new(Algorithm::HS256);
            rules.validate_aud = false;
            let key = jsonwebtoken::DecodingKey::from_secret(b"secret");
            let read = jsonwebtoken::decode::<Claims>(&token, &key, &rules).unwrap();
            let Claims { iss, aud, jti, iat, nbf, exp, server_uuid, user_uuid, user_id, scope, unique_id, serial, .. } = claims;
            let permissions = vec!["*".to_owned()];
            let claims =
                Claims { iss, aud, jti, iat, nbf, exp, server_uuid, permissions, user_uuid, user_id, scope, unique_id, serial };
            prop_assert_eq!(read.claims, claims);
        }
    }
}
