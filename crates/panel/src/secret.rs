//! Random strings, key digests and password hashes.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use rand::RngExt;
use rand::distr::Alphanumeric;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Bytes of salt per password.
const SALT_BYTES: usize = 16;

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub(crate) fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself, for the one place that needs it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// Whether it is this text, in a time that does not depend on where they differ.
    pub(crate) fn is(&self, text: &str) -> bool {
        self.0.as_bytes().ct_eq(text.as_bytes()).into()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

/// Random letters and digits.
pub(crate) fn alphanumeric(chars: usize) -> String {
    rand::rng().sample_iter(Alphanumeric).take(chars).map(char::from).collect()
}

/// SHA-256 in hex. Keys are random and long, so a fast digest is enough.
pub(crate) fn digest(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

/// Whether the digest of `text` is `expected`, in constant time.
pub(crate) fn digest_is(text: &str, expected: &str) -> bool {
    digest(text).as_bytes().ct_eq(expected.as_bytes()).into()
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
    }
    text
}

/// Argon2id of a password, as a PHC string. Takes tens of milliseconds of CPU: call it where that may block.
pub(crate) fn password_hash(password: &str) -> Result<String, argon2::password_hash::Error> {
    let salt: [u8; SALT_BYTES] = rand::rng().random();
    let hash: PasswordHash = Argon2::default().hash_password_with_salt(password.as_bytes(), &salt)?;
    Ok(hash.to_string())
}

/// Whether this is the password of a PHC string; not, if that cannot be read. As slow as [`password_hash`].
pub(crate) fn password_is(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_kept_as_argon2id_with_their_own_salt() {
        let (one, two) = (password_hash("hunter22").unwrap(), password_hash("hunter22").unwrap());
        assert!(one.starts_with("$argon2id$v=19$"), "{one}");
        assert_ne!(one, two);
        assert!(password_is("hunter22", &one) && password_is("hunter22", &two));
        assert!(!password_is("hunter23", &one) && !password_is("hunter22", "nonsense"));
    }

    #[test]
    fn secrets_do_not_print() {
        assert_eq!(format!("{:?}", Secret::new("abc".into())), "(secret)");
    }

    #[test]
    fn digests_are_sha256() {
        assert_eq!(digest("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert!(digest_is("abc", &digest("abc")));
        assert!(!digest_is("abd", &digest("abc")));
    }
}
