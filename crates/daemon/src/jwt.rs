//! Checks the signature of console tokens. What the claims mean is decided by `engine::token`.

use engine::token::TokenError;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, errors::ErrorKind};
use wire::token::Claims;

/// The key of this node's tokens: the raw ASCII bytes of its secret, as panels sign with them (protocol reference §2.1).
pub(crate) struct TokenKey {
    key: DecodingKey,
    validation: Validation,
}

impl TokenKey {
    pub(crate) fn new(token: &str) -> Self {
        // Only the signature is judged here, and only HS256: `alg:none` and every other algorithm fail.
        let mut validation = Validation::new(Algorithm::HS256);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        Self { key: DecodingKey::from_secret(token.as_bytes()), validation }
    }

    /// The claims, if the signature is this node's.
    pub(crate) fn decode(&self, token: &str) -> Result<Claims, TokenError> {
        decode::<Claims>(token, &self.key, &self.validation).map(|data| data.claims).map_err(|error| {
            match error.kind() {
                ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm => TokenError::Signature,
                _ => TokenError::Malformed,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use jsonwebtoken::{EncodingKey, Header, encode};

    use super::*;

    const KEY: &str = "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk";

    fn claims() -> Claims {
        Claims { server_uuid: "s".into(), exp: Some(1), ..Claims::default() }
    }

    #[test]
    fn a_token_of_this_node_decodes_even_when_expired() {
        let token = encode(&Header::default(), &claims(), &EncodingKey::from_secret(KEY.as_bytes())).unwrap();
        assert_eq!(TokenKey::new(KEY).decode(&token).unwrap(), claims());
    }

    #[test]
    fn another_key_another_algorithm_and_garbage_are_refused() {
        let key = TokenKey::new(KEY);
        let secret = EncodingKey::from_secret(KEY.as_bytes());
        let foreign = encode(&Header::default(), &claims(), &EncodingKey::from_secret(b"other")).unwrap();
        assert!(matches!(key.decode(&foreign), Err(TokenError::Signature)));
        let longer = encode(&Header::new(Algorithm::HS512), &claims(), &secret).unwrap();
        assert!(matches!(key.decode(&longer), Err(TokenError::Signature)));
        // {"alg":"none","typ":"JWT"} . {} .
        assert!(key.decode("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.e30.").is_err());
        for garbage in ["", ".", "..", "a.b.c", "ä"] {
            assert!(matches!(key.decode(garbage), Err(TokenError::Malformed)), "{garbage}");
        }
    }

    #[test]
    fn the_test_vector_of_the_protocol_is_decoded() {
        #[derive(serde::Deserialize)]
        struct Vector {
            key: String,
            token: String,
        }
        let vector: Vector = serde_json::from_str(include_str!("../../wire/testdata/token/vector.json")).unwrap();
        let claims: Claims = serde_json::from_str(include_str!("../../wire/testdata/token/claims.json")).unwrap();
        assert_eq!(TokenKey::new(&vector.key).decode(&vector.token).unwrap(), claims);
        assert!(matches!(TokenKey::new("another").decode(&vector.token), Err(TokenError::Signature)));
    }
}
