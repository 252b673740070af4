//! Who may not enter any more: the node's denylist of tokens, shared by all its connections.

use std::sync::{Mutex, MutexGuard, PoisonError};

use engine::denylist::Denylist;
use engine::time::Now;
use tokio::sync::watch;
use wire::ids::{ServerId, UserId};

/// The denylist and a count of its changes: a connection that sees the count move asks its session again.
pub(crate) struct Revocations {
    denylist: Mutex<Denylist>,
    changed: watch::Sender<u64>,
}

impl Default for Revocations {
    fn default() -> Self {
        Self { denylist: Mutex::default(), changed: watch::Sender::new(0) }
    }
}

impl Revocations {
    /// The list, for one decision; never held across an await.
    pub(crate) fn list(&self) -> MutexGuard<'_, Denylist> {
        self.denylist.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows changes.
    pub(crate) fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Denies tokens by their `jti` (older panels). `serial` is the panel's count, if it has one.
    pub(crate) fn deny_tokens(&self, jtis: &[String], serial: Option<u64>, now: Now) {
        {
            let mut list = self.list();
            list.prune(now);
            for jti in jtis {
                list.deny_jti(jti, serial, now);
            }
        }
        self.changed.send_modify(|count| *count += 1);
    }

    /// Denies a user's tokens for some servers, or everywhere.
    pub(crate) fn deny_user(&self, user: UserId, servers: &[ServerId], serial: Option<u64>, now: Now) {
        {
            let mut list = self.list();
            list.prune(now);
            if servers.is_empty() {
                list.deny_user(None, user, serial, now);
            }
            for server in servers {
                list.deny_user(Some(*server), user, serial, now);
            }
        }
        self.changed.send_modify(|count| *count += 1);
    }
}
