//! What a panel is told when it starts.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;

/// Shortest life of a console token, in seconds: nodes say a minute before the end that it is near.
pub const TOKEN_TTL_S_MIN: u64 = 70;
/// Life of a console token unless another one is set, in seconds.
pub const TOKEN_TTL_S_DEFAULT: u64 = 600;
/// Longest life of a console token, in seconds.
pub const TOKEN_TTL_S_MAX: u64 = 900;

/// Hours for which a deleted server can be brought back, unless another number is set.
pub const DELETE_GRACE_H_DEFAULT: u32 = 72;

/// Settings of a [`Panel`](crate::Panel).
#[derive(Clone, Debug)]
pub struct Config {
    /// The SQLite file. It is created with mode 0600 when it is not there; its folder must exist.
    pub database: PathBuf,
    /// Peers whose `X-Forwarded-*` headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Life of a console token in seconds, 70 to 900.
    pub token_ttl_s: u64,
    /// Requests per minute and user on `/api/client`.
    pub client_per_minute: u32,
    /// Requests per minute and user on `/api/application`.
    pub application_per_minute: u32,
    /// Console tokens per minute, for each user on each server.
    pub websocket_per_minute: u32,
    /// The panel's address as clients should see it. Without it, the address by which each caller came is used.
    pub public_url: Option<String>,
    /// Days after which activity records are deleted.
    pub activity_days: u32,
    /// Hours from the deletion of a server until its files are gone; until then it can be brought back. 0: at once.
    pub delete_grace_h: u32,
}

impl Config {
    /// Defaults around a database file.
    pub fn new(database: impl Into<PathBuf>) -> Self {
        Self {
            database: database.into(),
            trusted_proxies: Vec::new(),
            token_ttl_s: TOKEN_TTL_S_DEFAULT,
            client_per_minute: 720,
            application_per_minute: 240,
            websocket_per_minute: 30,
            public_url: None,
            activity_days: 90,
            delete_grace_h: DELETE_GRACE_H_DEFAULT,
        }
    }

    /// Whether the headers of this peer are believed.
    pub(crate) fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|net| net.contains(&peer))
    }
}
