//! Who may do what, and for how long: the claims of a console token, judged, and the list of those that were revoked.
//!
//! The signature is checked elsewhere; here begins what the claims mean. Order and texts of the refusals are those existing
//! clients know (protocol reference §2.3, §2.4, §3.5).

use std::collections::BTreeMap;

use uuid::Uuid;
use wire::ids::{ServerId, UserId};
use wire::token::{Claims, SCOPE_WEBSOCKET, grants, permission};

use crate::time::Now;

/// How far a panel's clock may run ahead of ours, in seconds; for `nbf` and a future `iat` only.
pub const LEEWAY_S: i64 = 60;
/// How long an entry of the denylist is kept as such; see [`Denylist::prune`].
pub const DENY_KEEP_MS: u64 = 3_600_000;
/// Entries of the denylist; above it the oldest is folded into the rule for all tokens.
pub const DENY_ENTRIES_MAX: usize = 10_000;

/// Why a token is refused. The texts are wire values: clients look for some of them to decide whether to renew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TokenError {
    /// Not a token at all, or claims of the wrong types.
    #[error("jwt: malformed token")]
    Malformed,
    /// Not signed with this node's key.
    #[error("jwt: HMAC verification failed")]
    Signature,
    /// Past its last second, or it has none.
    #[error("jwt: exp claim is invalid")]
    Expired,
    /// From the future, beyond the leeway.
    #[error("jwt: nbf claim is invalid")]
    NotYetValid,
    /// Revoked, or too old to know.
    #[error("jwt: created too far in past (denylist)")]
    Denylisted,
    /// It does not grant `websocket.connect`.
    #[error("jwt: missing connect permission")]
    MissingConnect,
    /// Made for something else than a console. Clients know one text for this and the one above.
    #[error("jwt: missing connect permission")]
    MissingScope,
    /// Made for another server.
    #[error("jwt: server uuid mismatch")]
    WrongServer,
}

impl TokenError {
    /// Whether a failed `auth` is told as `jwt error`; otherwise as `daemon error`, because a `jwt error` with a text it does
    /// not know makes the stock interface give up for good.
    pub const fn is_jwt_error(self) -> bool {
        !matches!(self, Self::Malformed | Self::Signature)
    }
}

/// What this node asks of every token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The server the socket belongs to.
    pub server: ServerId,
    /// When this node started, in seconds since 1970: older tokens may have been revoked before, so none is taken.
    pub boot_wall_s: i64,
    /// Whether the `websocket` scope must be there; panels before 1.12.3 do not write it.
    pub require_scope: bool,
    /// Seconds of leeway for `nbf` and a future `iat`, usually [`LEEWAY_S`]. The end of a token has none.
    pub leeway_s: i64,
}

/// What a judged token allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Who holds it; `None` when the panel names its users by something that is no uuid.
    pub user: Option<UserId>,
    /// What they may do on this server.
    pub permissions: Permissions,
    /// The first millisecond of the monotonic clock in which it is no longer valid. Fixed when it was judged, so that moving
    /// the wall clock neither extends nor ends it.
    pub expires_mono_ms: u64,
    jti: String,
    issued_wall_s: i64,
}

/// The permissions a token carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions(Vec<String>);

impl Permissions {
    /// These permissions.
    pub fn new(held: Vec<String>) -> Self {
        Self(held)
    }

    /// Whether this one is granted, by name or by `*`.
    pub fn has(&self, permission: &str) -> bool {
        grants(&self.0, permission)
    }
}

/// Judges the claims of a token whose signature was found good.
pub fn judge(claims: &Claims, rules: &Rules, denylist: &Denylist, now: Now) -> Result<Access, TokenError> {
    let latest_s = now.wall_s().saturating_add(rules.leeway_s);
    let last_s = claims.exp.filter(|&exp_s| now.wall_s() <= exp_s).ok_or(TokenError::Expired)?;
    if claims.nbf.is_some_and(|nbf_s| nbf_s > latest_s) || claims.iat.is_some_and(|iat_s| iat_s > latest_s) {
        return Err(TokenError::NotYetValid);
    }
    let issued_wall_s = claims.iat.filter(|&iat_s| iat_s >= rules.boot_wall_s).ok_or(TokenError::Denylisted)?;
    if claims.server_uuid.is_empty() || claims.user_uuid.is_empty() {
        return Err(TokenError::Denylisted);
    }
    let access = Access {
        // Any spelling of a uuid: the denylist must know its holder whichever way a panel writes it.
        user: Uuid::try_parse(&claims.user_uuid).ok().map(UserId),
        permissions: Permissions::new(claims.permissions.clone()),
        expires_mono_ms: expires_mono_ms(last_s, now),
        jti: claims.jti.clone(),
        issued_wall_s,
    };
    if denylist.denies(&access, rules.server) {
        return Err(TokenError::Denylisted);
    }
    if !access.permissions.has(permission::CONNECT) {
        return Err(TokenError::MissingConnect);
    }
    if rules.require_scope && !claims.scope.split(' ').any(|scope| scope == SCOPE_WEBSOCKET) {
        return Err(TokenError::MissingScope);
    }
    if claims.server_uuid.parse() != Ok(rules.server) {
        return Err(TokenError::WrongServer);
    }
    Ok(access)
}

/// The last second is still valid, whole.
fn expires_mono_ms(last_s: i64, now: Now) -> u64 {
    let end_ms = last_s.saturating_add(1).saturating_mul(1000);
    let left_ms = u64::try_from(end_ms.saturating_sub(now.wall_ms)).unwrap_or(0);
    now.mono_ms.saturating_add(left_ms)
}

/// What was revoked since this node started. In memory only: a restart refuses every older token anyway.
#[derive(Clone, Debug, Default)]
pub struct Denylist {
    entries: BTreeMap<Entry, Denied>,
    /// Entries that were dropped live on as one rule for everybody: tokens not younger than this are refused.
    horizon_wall_s: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Entry {
    Token(String),
    User(Option<ServerId>, UserId),
}

#[derive(Clone, Copy, Debug)]
struct Denied {
    wall_s: i64,
    mono_ms: u64,
}

impl Denylist {
    /// Refuses every token with this `jti` that was issued up to now.
    pub fn deny_jti(&mut self, jti: &str, now: Now) {
        self.deny(Entry::Token(jti.to_owned()), now);
    }

    /// Refuses every token of this user that was issued up to now, on one server or, with `None`, on all.
    pub fn deny_user(&mut self, server: Option<ServerId>, user: UserId, now: Now) {
        self.deny(Entry::User(server, user), now);
    }

    /// Drops entries older than [`DENY_KEEP_MS`]. What they denied stays denied: tokens as old as the youngest dropped entry
    /// are refused for everybody. Hardly any lives that long, and its holder just renews.
    pub fn prune(&mut self, now: Now) {
        let Self { entries, horizon_wall_s } = self;
        entries.retain(|_, denied| {
            let keep = now.mono_ms.saturating_sub(denied.mono_ms) < DENY_KEEP_MS;
            if !keep {
                *horizon_wall_s = (*horizon_wall_s).max(Some(denied.wall_s));
            }
            keep
        });
    }

    /// Whether a token that was taken before is refused by now.
    pub fn denies(&self, access: &Access, server: ServerId) -> bool {
        let issued_s = access.issued_wall_s;
        self.is_denied(&Entry::Token(access.jti.clone()), issued_s)
            || match access.user {
                Some(user) => self.denies_user(user, server, issued_s),
                None => self.is_before_horizon(issued_s),
            }
    }

    /// Whether what this user was given at that second is taken away by now.
    pub fn denies_user(&self, user: UserId, server: ServerId, since_wall_s: i64) -> bool {
        self.is_before_horizon(since_wall_s)
            || self.is_denied(&Entry::User(Some(server), user), since_wall_s)
            || self.is_denied(&Entry::User(None, user), since_wall_s)
    }

    fn is_before_horizon(&self, issued_s: i64) -> bool {
        self.horizon_wall_s.is_some_and(|horizon_s| issued_s <= horizon_s)
    }

    fn is_denied(&self, entry: &Entry, issued_s: i64) -> bool {
        self.entries.get(entry).is_some_and(|denied| issued_s <= denied.wall_s)
    }

    fn deny(&mut self, entry: Entry, now: Now) {
        let denied = Denied { wall_s: now.wall_s(), mono_ms: now.mono_ms };
        let wall_s = self.entries.get(&entry).map_or(denied.wall_s, |before| before.wall_s.max(denied.wall_s));
        self.entries.insert(entry, Denied { wall_s, ..denied });
        if self.entries.len() > DENY_ENTRIES_MAX {
            let oldest = self.entries.iter().min_by_key(|(_, denied)| denied.mono_ms).map(|(entry, _)| entry.clone());
            if let Some(dropped) = oldest.and_then(|entry| self.entries.remove(&entry)) {
                self.horizon_wall_s = self.horizon_wall_s.max(Some(dropped.wall_s));
            }
        }
    }
}
