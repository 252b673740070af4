//! What nodes must be told for certain: kept in the database until the node has confirmed it, so that neither an unreachable
//! node nor a restart of the panel loses a revocation.
//!
//! A message is tried at once, within the request that caused it, and then again with growing pauses by the one task that
//! runs [`Outbox::deliver`]. There is one message per subject: a newer wish takes the place of an older one.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use uuid::Uuid;
use wire::ids::{ServerId, UserId};

use super::{NodeFault, Nodes};
use crate::clock;
use crate::store::nodes::Node;
use crate::store::outbox::Waiting;
use crate::store::{Store, StoreError};

/// Messages kept at most; beyond this a message that fails is lost, which is logged as an error.
const NOTICES_MAX: u64 = 10_000;
/// How long the request that caused a message waits for it.
const FIRST_TRY_TIMEOUT: Duration = Duration::from_secs(5);
/// When the task takes over from the first try, and the first pause between tries.
const PAUSE_MS_MIN: i64 = 1_000;
/// The longest pause between tries.
const PAUSE_MS_MAX: i64 = 60_000;
/// Messages taken from the database at once.
const BATCH: i64 = 50;
/// Sessions end by themselves when their token does, so an hour is more than enough.
const GIVE_UP_REVOCATION_MS: i64 = 60 * 60 * 1000;
/// A node that was away longer fetches its servers when it comes back.
const GIVE_UP_OTHER_MS: i64 = 7 * 24 * 60 * 60 * 1000;

/// What a node must be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Notice {
    /// These tokens and sessions of a user must end. No servers: everywhere on the node.
    Deauthorize {
        /// Whose.
        user: UserId,
        /// Where.
        servers: Vec<ServerId>,
        /// The `jti` of their tokens, one per server, for nodes of the older generation.
        jtis: Vec<String>,
    },
    /// Fetch the server's definition again.
    Sync {
        /// Which.
        server: ServerId,
    },
    /// The server is gone.
    Delete {
        /// Which.
        server: ServerId,
    },
}

impl Notice {
    fn subject(&self, node: Uuid) -> String {
        match self {
            Self::Deauthorize { user, servers, .. } => {
                let servers: Vec<String> = servers.iter().map(ServerId::to_string).collect();
                format!("{node} deauthorize {user} {}", servers.join(","))
            }
            Self::Sync { server } => format!("{node} sync {server}"),
            Self::Delete { server } => format!("{node} delete {server}"),
        }
    }

    fn give_up_after_ms(&self) -> i64 {
        match self {
            Self::Deauthorize { .. } => GIVE_UP_REVOCATION_MS,
            Self::Sync { .. } | Self::Delete { .. } => GIVE_UP_OTHER_MS,
        }
    }
}

/// Sends notices and keeps those that do not arrive.
#[derive(Clone, Debug)]
pub(crate) struct Outbox {
    store: Store,
    nodes: Nodes,
    more: Arc<Notify>,
}

impl Outbox {
    /// Sends nothing yet.
    pub(crate) fn new(store: Store, nodes: Nodes) -> Self {
        Self { store, nodes, more: Arc::new(Notify::new()) }
    }

    /// Keeps a notice, tries it once, and leaves it to the task when that fails. Fails only when the database does.
    pub(crate) async fn tell(&self, node: &Node, notice: Notice) -> Result<(), StoreError> {
        let now = clock::now_ms();
        let first_try_ms = i64::try_from(FIRST_TRY_TIMEOUT.as_millis()).unwrap_or(i64::MAX);
        let waiting = Waiting {
            subject: notice.subject(node.uuid),
            revision: Uuid::new_v4().to_string(),
            node: node.uuid,
            notice: serde_json::to_string(&notice).unwrap_or_default(),
            attempts: 0,
            // The task leaves it alone while the first try is under way.
            due_at: now + first_try_ms + PAUSE_MS_MIN,
            give_up_at: now + notice.give_up_after_ms(),
        };
        let kept = self.store.notice_count().await? < NOTICES_MAX;
        if kept {
            self.store.put_notice(&waiting).await?;
        }
        let failed = match tokio::time::timeout(FIRST_TRY_TIMEOUT, self.send(node, &notice)).await {
            Ok(Ok(())) => return self.store.drop_notice(&waiting).await,
            Ok(Err(fault)) => fault.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        if kept {
            tracing::warn!(node = node.name, notice = %waiting.subject, error = %failed, "node not told yet, will try again");
            self.store.delay_notice(&waiting, clock::now_ms() + PAUSE_MS_MIN).await?;
            self.more.notify_one();
        } else {
            tracing::error!(node = node.name, notice = %waiting.subject, error = %failed, "node not told, and too many notices wait");
        }
        Ok(())
    }

    async fn send(&self, node: &Node, notice: &Notice) -> Result<(), NodeFault> {
        let sent = match notice {
            Notice::Deauthorize { user, servers, jtis } => self.nodes.deauthorize(node, *user, servers, jtis).await,
            Notice::Sync { server } => self.nodes.sync(node, *server).await,
            Notice::Delete { server } => self.nodes.delete(node, *server).await,
        };
        match sent {
            // It never had the server, or has forgotten it: as good as told.
            Err(fault) if fault.is_not_found() => Ok(()),
            other => other,
        }
    }

    /// Tries what waits, for ever. It may be aborted anywhere: what is not confirmed is still in the database.
    pub(crate) async fn deliver(self) {
        loop {
            let pause = match self.deliver_due().await {
                Ok(next_due) => next_due.map(|due| due - clock::now_ms()),
                Err(error) => {
                    tracing::error!(%error, "cannot read the outbox");
                    Some(PAUSE_MS_MAX)
                }
            };
            let pause = Duration::from_millis(u64::try_from(pause.unwrap_or(PAUSE_MS_MAX)).unwrap_or(0));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.more.notified() => {}
            }
        }
    }

    /// Tries all whose time has come, side by side so that one silent node does not delay the others; when the next one's
    /// time will come.
    async fn deliver_due(&self) -> Result<Option<i64>, StoreError> {
        let due = self.store.due_notices(clock::now_ms(), BATCH).await?;
        future::try_join_all(due.iter().map(|waiting| self.deliver_one(waiting))).await?;
        self.store.next_notice_due().await
    }

    async fn deliver_one(&self, waiting: &Waiting) -> Result<(), StoreError> {
        let notice = serde_json::from_str::<Notice>(&waiting.notice);
        let node = self.store.node(waiting.node).await?;
        let (Ok(notice), Some(node)) = (notice, node) else {
            tracing::error!(notice = %waiting.subject, "dropping a notice that cannot be read");
            return self.store.drop_notice(waiting).await;
        };
        match self.send(&node, &notice).await {
            Ok(()) => {
                tracing::info!(node = node.name, notice = %waiting.subject, "node told");
                self.store.drop_notice(waiting).await
            }
            Err(fault) if clock::now_ms() >= waiting.give_up_at => {
                tracing::error!(node = node.name, notice = %waiting.subject, error = %fault, "giving up telling the node");
                self.store.drop_notice(waiting).await
            }
            Err(_) => {
                let pause = PAUSE_MS_MIN.saturating_mul(1 << waiting.attempts.min(16)).min(PAUSE_MS_MAX);
                self.store.delay_notice(waiting, clock::now_ms() + pause).await
            }
        }
    }
}
