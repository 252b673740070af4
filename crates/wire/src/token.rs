//! The short-lived token of a console socket: its claims and the permissions they carry.

use serde::{Deserialize, Serialize};

/// The scope a console token must carry; the same key also signs other short-lived URLs.
pub const SCOPE_WEBSOCKET: &str = "websocket";

/// Claims of a console token (protocol reference §2.1 and §2.6), in the order they are written.
///
/// Times are whole seconds since 1970. Reading is lenient where older or other panels leave something out; what must be there
/// is decided by `engine::token`. Whoever only writes them may have the permissions in another form, `P`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims<P = Vec<String>> {
    /// The panel's address.
    #[serde(default)]
    pub iss: String,
    /// The node's address; always an array of one.
    #[serde(default)]
    pub aud: Vec<String>,
    /// Stable for a user and server: the key of Wings' older denylist.
    #[serde(default)]
    pub jti: String,
    /// Issued at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iat: Option<i64>,
    /// Not before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
    /// Last second in which it is valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exp: Option<i64>,
    /// The one server it opens.
    #[serde(default)]
    pub server_uuid: String,
    /// What its holder may do there.
    #[serde(default)]
    pub permissions: P,
    /// Who holds it.
    #[serde(default)]
    pub user_uuid: String,
    /// The holder's number on the panel; deprecated by newer panels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<u64>,
    /// Space-separated scopes.
    #[serde(default)]
    pub scope: String,
    /// 16 random characters.
    #[serde(default)]
    pub unique_id: String,
    /// Ours: the panel's count of what it has allowed and taken away, from before it looked what the holder may. Orders a token and
    /// a revocation without any clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<u64>,
}

/// The permission strings that the console knows by name (protocol reference §4.4, §8.5).
pub mod permission {
    /// Everything except `admin.*`.
    pub const ALL: &str = "*";
    /// See the console at all.
    pub const CONNECT: &str = "websocket.connect";
    /// Type commands.
    pub const CONSOLE: &str = "control.console";
    /// Start.
    pub const START: &str = "control.start";
    /// Stop, and kill.
    pub const STOP: &str = "control.stop";
    /// Restart.
    pub const RESTART: &str = "control.restart";
    /// See the real text of `daemon error`.
    pub const ADMIN_ERRORS: &str = "admin.websocket.errors";
    /// See `install output`.
    pub const ADMIN_INSTALL: &str = "admin.websocket.install";
    /// See `transfer logs`.
    pub const ADMIN_TRANSFER: &str = "admin.websocket.transfer";
    /// See `backup completed`.
    pub const BACKUP_READ: &str = "backup.read";

    /// All that the console ever asks for.
    pub const ASKED: [&str; 9] =
        [CONNECT, CONSOLE, START, STOP, RESTART, ADMIN_ERRORS, ADMIN_INSTALL, ADMIN_TRANSFER, BACKUP_READ];
}

/// Whether a list of held permissions grants one: an equal string, or `*` for everything that does not start with `admin`
/// (protocol reference §2.3).
pub fn grants<S: AsRef<str>>(held: &[S], asked: &str) -> bool {
    held.iter().map(AsRef::as_ref).any(|h| h == asked || (h == permission::ALL && !asked.starts_with("admin")))
}
