//! What was revoked since this node started, and which tokens that reaches.
//!
//! A revocation comes after a token if the panel's count says so; that is exact, whatever became of clocks meanwhile. Panels
//! without one (stock) leave two weaker signs, of which either is enough: the token's date, and that the token was taken here before
//! the revocation came.

use std::collections::BTreeMap;

use wire::ids::{ServerId, UserId};

use crate::time::Now;
use crate::token::{Access, Issued};

/// How long an entry of the denylist is kept as such; see [`Denylist::prune`].
pub const DENY_KEEP_MS: u64 = 3_600_000;
/// Entries of the denylist; above it the oldest is folded into the rule for all tokens.
pub const DENY_ENTRIES_MAX: usize = 10_000;

/// In memory only: a restart refuses every older token anyway.
#[derive(Clone, Debug, Default)]
pub struct Denylist {
    entries: BTreeMap<Entry, Denied>,
    /// Entries that were dropped live on as a rule for everybody.
    horizon: Horizon,
    /// Denials so far.
    known: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Entry {
    Token(String),
    User(Option<ServerId>, UserId),
}

#[derive(Clone, Copy, Debug)]
struct Denied {
    wall_s: i64,
    serial: Option<u64>,
    mono_ms: u64,
    /// Which of all denials it was.
    number: u64,
}

/// Tokens not younger than this are refused.
#[derive(Clone, Copy, Debug, Default)]
struct Horizon {
    /// Of denials without a count: for all tokens.
    wall_s: Option<i64>,
    /// Of denials with one: for tokens without.
    counted_wall_s: Option<i64>,
    /// Of the same: for tokens with one.
    serial: Option<u64>,
}

impl Denylist {
    /// Refuses every token with this `jti` that was issued up to now; `serial` is the panel's count when it said so.
    pub fn deny_jti(&mut self, jti: &str, serial: Option<u64>, now: Now) {
        self.deny(Entry::Token(jti.to_owned()), serial, now);
    }

    /// Refuses every token of this user that was issued up to now, on one server or, with `None`, on all.
    pub fn deny_user(&mut self, server: Option<ServerId>, user: UserId, serial: Option<u64>, now: Now) {
        self.deny(Entry::User(server, user), serial, now);
    }

    /// How many denials there were.
    pub const fn known(&self) -> u64 {
        self.known
    }

    /// Drops entries older than [`DENY_KEEP_MS`]. What they denied stays denied: tokens as old as the youngest dropped entry
    /// are refused for everybody. Hardly any lives that long, and its holder just renews.
    pub fn prune(&mut self, now: Now) {
        let Self { entries, horizon, .. } = self;
        entries.retain(|_, denied| {
            // One from the future, because a clock was set back since, would refuse everybody until then: it stays about its own.
            let is_young = now.mono_ms.saturating_sub(denied.mono_ms) < DENY_KEEP_MS;
            let keep = is_young || denied.wall_s > now.wall_s();
            if !keep {
                horizon.fold(*denied);
            }
            keep
        });
    }

    /// Whether a token that was taken before is refused by now.
    pub fn denies(&self, access: &Access, server: ServerId) -> bool {
        self.is_denied(&Entry::Token(access.jti().to_owned()), access.issued())
            || match access.user {
                Some(user) => self.denies_user(user, server, access.issued()),
                None => self.horizon.reaches(access.issued()),
            }
    }

    /// Whether what this user was given then is taken away by now.
    pub fn denies_user(&self, user: UserId, server: ServerId, issued: Issued) -> bool {
        self.horizon.reaches(issued)
            || self.is_denied(&Entry::User(Some(server), user), issued)
            || self.is_denied(&Entry::User(None, user), issued)
    }

    fn is_denied(&self, entry: &Entry, issued: Issued) -> bool {
        self.entries.get(entry).is_some_and(|denied| denied.reaches(issued))
    }

    fn deny(&mut self, entry: Entry, serial: Option<u64>, now: Now) {
        self.known += 1;
        let denied = Denied { wall_s: now.wall_s(), serial, mono_ms: now.mono_ms, number: self.known };
        let denied = self.entries.get(&entry).map_or(denied, |before| before.with(denied));
        self.entries.insert(entry, denied);
        if self.entries.len() > DENY_ENTRIES_MAX {
            let oldest = self.entries.iter().min_by_key(|(_, denied)| denied.number).map(|(entry, _)| entry.clone());
            if let Some(dropped) = oldest.and_then(|entry| self.entries.remove(&entry)) {
                self.horizon.fold(dropped);
            }
        }
    }
}

impl Denied {
    /// Whether it comes after what was allowed then.
    fn reaches(self, issued: Issued) -> bool {
        match (self.serial, issued.serial) {
            (Some(denied), Some(issued)) => issued <= denied,
            _ => issued.wall_s <= self.wall_s || issued.known < self.number,
        }
    }

    /// Both, this one and a later one: an earlier clock takes nothing back. A later one without a count reaches tokens that have one
    /// by the other signs.
    fn with(self, later: Self) -> Self {
        let serial = later.serial.map(|serial| self.serial.map_or(serial, |before| before.max(serial)));
        Self { wall_s: self.wall_s.max(later.wall_s), serial, ..later }
    }
}

impl Horizon {
    fn fold(&mut self, denied: Denied) {
        let wall_s = Some(denied.wall_s);
        if denied.serial.is_some() {
            self.serial = self.serial.max(denied.serial);
            self.counted_wall_s = self.counted_wall_s.max(wall_s);
        } else {
            self.wall_s = self.wall_s.max(wall_s);
        }
    }

    fn reaches(self, issued: Issued) -> bool {
        let is_before = |wall_s: Option<i64>| wall_s.is_some_and(|wall_s| issued.wall_s <= wall_s);
        is_before(self.wall_s)
            || match issued.serial {
                Some(serial) => self.serial.is_some_and(|horizon| serial <= horizon),
                None => is_before(self.counted_wall_s),
            }
    }
}
