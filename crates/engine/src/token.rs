//! Who may do what, and for how long: the claims of a console token, judged, and the list of those that were revoked.
//!
//! The signature is checked elsewhere; here begins what the claims mean. Order and texts of the refusals are those existing
//! clients know (protocol reference §2.3, §2.4, §3.5).

use uuid::Uuid;
use wire::ids::{ServerId, UserId};
use wire::token::{Claims, SCOPE_WEBSOCKET, grants, permission};

use crate::denylist::Denylist;
use crate::time::Now;

/// How far a panel's clock may run ahead of ours, in seconds; for `nbf` and a future `iat` only.
pub const LEEWAY_S: i64 = 60;

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

impl Access {
    pub(crate) fn jti(&self) -> &str {
        &self.jti
    }

    /// When its token was issued.
    pub const fn issued(&self) -> Issued {
        self.issued
    }
}

impl TokenError {
    /// Whether a failed `auth` is told as `jwt error`; otherwise as `daemon error`, because a `jwt error` with a text it does
    /// not know makes the stock interface give up for good.
    pub const fn is_jwt_error(self) -> bool {
        !matches!(self, Self::Malformed | Self::Signature)
    }

    /// Whether a clock that is wrong may be the reason.
    pub const fn is_about_time(self) -> bool {
        matches!(self, Self::Expired | Self::NotYetValid | Self::Denylisted)
    }
}

/// What this node asks of every token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The server the socket belongs to.
    pub server: ServerId,
    /// When this node started, in seconds since 1970 of the clock that tokens are dated by: older tokens may have been revoked
    /// before, so none is taken.
    pub boot_wall_s: i64,
    /// The panel's count after this node started. Where a token has one as well, these are compared, and not the dates.
    pub boot_serial: Option<u64>,
    /// By how many seconds the panel's clock is ahead of ours, or behind if negative, when that is too much to allow for; to be
    /// told to whoever is refused because of a date.
    pub skew_s: Option<i64>,
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
    issued: Issued,
}

/// When something was allowed, as far as that can be compared with revocations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Issued {
    /// By the panel's clock, in seconds since 1970. Clocks are set back: two of these may be in the wrong order.
    pub wall_s: i64,
    /// By the panel's count, which is never set back; only our own panel has one.
    pub serial: Option<u64>,
    /// How many denials this node knew when it took it ([`Denylist::known`]): later ones come after it.
    pub known: u64,
}

/// The permissions a token carries, as far as a console asks for them: a bit for each of [`permission::ASKED`]. A panel writes
/// forty strings into a token, and thousands of viewers would hold theirs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permissions(u16);

impl Permissions {
    /// These permissions.
    pub fn new(held: &[String]) -> Self {
        let granted = permission::ASKED.iter().enumerate().filter(|(_, asked)| grants(held, asked));
        Self(granted.fold(0, |bits, (bit, _)| bits | 1 << bit))
    }

    /// Whether this one is granted, by name or by `*`. No name that is not in [`permission::ASKED`] is.
    pub fn has(self, permission: &str) -> bool {
        permission::ASKED.iter().position(|asked| *asked == permission).is_some_and(|bit| self.0 & 1 << bit != 0)
    }
}

/// Judges the claims of a token whose signature was found good.
pub fn judge(claims: &Claims, rules: &Rules, denylist: &Denylist, now: Now) -> Result<Access, TokenError> {
    let latest_s = now.wall_s().saturating_add(rules.leeway_s);
    let last_s = claims.exp.filter(|&exp_s| now.wall_s() <= exp_s).ok_or(TokenError::Expired)?;
    if claims.nbf.is_some_and(|nbf_s| nbf_s > latest_s) || claims.iat.is_some_and(|iat_s| iat_s > latest_s) {
        return Err(TokenError::NotYetValid);
    }
    let issued_wall_s = claims.iat.ok_or(TokenError::Denylisted)?;
    let is_older_than_node = match (claims.serial, rules.boot_serial) {
        (Some(serial), Some(boot)) => serial < boot,
        // The node has not heard its panel yet, and dates are whole seconds: a token of its start's own may be one whose rights were taken
        // away before. Clients fetch another on this error.
        (Some(_), None) => issued_wall_s <= rules.boot_wall_s,
        _ => issued_wall_s < rules.boot_wall_s,
    };
    if is_older_than_node {
        return Err(TokenError::Denylisted);
    }
    if claims.server_uuid.is_empty() || claims.user_uuid.is_empty() {
        return Err(TokenError::Denylisted);
    }
    let access = Access {
        // Any spelling of a uuid: the denylist must know its holder whichever way a panel writes it.
        user: Uuid::try_parse(&claims.user_uuid).ok().map(UserId),
        permissions: Permissions::new(&claims.permissions),
        expires_mono_ms: expires_mono_ms(last_s, now),
        jti: claims.jti.clone(),
        issued: Issued { wall_s: issued_wall_s, serial: claims.serial, known: denylist.known() },
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
