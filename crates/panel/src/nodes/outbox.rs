//! What nodes must be told for certain: kept in the database, together with the change it is about, until the node has confirmed it,
//! so that neither an unreachable node nor the end of the panel at any moment loses a revocation.
//!
//! A message is tried at once, within the request that caused it, and then again with growing pauses by the one task that
//! runs [`Outbox::deliver`]. There is one message per subject: a newer wish takes the place of an older one.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, future, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use uuid::Uuid;
use wire::ids::{ServerId, UserId};

use super::{NodeFault, Nodes};
use crate::clock;
use crate::store::nodes::Node;
use crate::store::outbox::{NEVER, Waiting};
use crate::store::{Store, StoreError};
use crate::token;

/// How long the request that caused a message waits for it.
const FIRST_TRY_TIMEOUT: Duration = Duration::from_secs(5);
/// The same in milliseconds, for how long the task leaves a message to the request.
const FIRST_TRY_MS: i64 = 5_000;
/// When the task takes over from the first try, and the first pause between tries.
const PAUSE_MS_MIN: i64 = 1_000;
/// The longest pause between tries.
const PAUSE_MS_MAX: i64 = 60_000;
/// Messages taken from the database at once.
const BATCH: i64 = 50;
/// Messages of one request that are under way at once.
const FIRST_TRIES_MAX: usize = 50;
/// Servers of one node of the older generation that are told at once.
const DENIALS_MAX: usize = 8;
/// Sessions end by themselves when their token does, so an hour is more than enough.
const GIVE_UP_REVOCATION_MS: i64 = 60 * 60 * 1000;
/// Nothing is given up after fewer tries: with the pauses between them, they take a quarter of an hour, which is as long as a token
/// lives.
const ATTEMPTS_MIN: u32 = 20;
/// A node that was away longer fetches its servers when it comes back.
const GIVE_UP_SYNC_MS: i64 = 7 * 24 * 60 * 60 * 1000;

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
        /// Their number on this panel, of which the ids of their tokens are made: nodes of the older generation know only those. It is
        /// looked up when it is needed, unless the account is gone by then.
        #[serde(default)]
        number: Option<u64>,
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
    /// The message to a node, to be kept with the change it is about and then given to [`Outbox::first_try`].
    pub(crate) fn to(&self, node: Uuid) -> Waiting {
        let now = clock::now_ms();
        Waiting {
            subject: self.subject(node),
            revision: Uuid::new_v4().to_string(),
            node,
            notice: serde_json::to_string(self).unwrap_or_default(),
            attempts: 0,
            // The task leaves it alone while the first try is under way.
            due_at: now + FIRST_TRY_MS + PAUSE_MS_MIN,
            give_up_at: self.give_up_after_ms().map_or(NEVER, |after| now + after),
        }
    }

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

    /// None: as long as the node exists. A deletion that got lost would leave a game running that nobody can see.
    fn give_up_after_ms(&self) -> Option<i64> {
        match self {
            Self::Deauthorize { .. } => Some(GIVE_UP_REVOCATION_MS),
            Self::Sync { .. } => Some(GIVE_UP_SYNC_MS),
            Self::Delete { .. } => None,
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

    /// Sends messages that a change has kept, side by side, and waits a moment for the answers. What does not arrive is the task's,
    /// also when this is dropped half-way.
    pub(crate) async fn first_try(&self, notices: &[Waiting]) {
        if notices.is_empty() {
            return;
        }
        // It is to know when the first of these is due.
        self.more.notify_one();
        let tries = stream::iter(notices).for_each_concurrent(FIRST_TRIES_MAX, |waiting| async move {
            if let Err(error) = self.attempt(waiting, FIRST_TRY_TIMEOUT).await {
                tracing::error!(%error, notice = %waiting.subject, "the outbox cannot be written");
            }
        });
        tries.await;
        self.more.notify_one();
    }

    async fn send(&self, node: &Node, notice: &Notice) -> Result<(), NodeFault> {
        let sent = match notice {
            Notice::Deauthorize { user, servers, number } => self.deauthorize(node, *user, servers, *number).await,
            Notice::Sync { server } => self.nodes.sync(node, *server).await,
            Notice::Delete { server } => self.nodes.delete(node, *server).await,
        };
        match sent {
            // It never had the server, or has forgotten it: as good as told.
            Err(fault) if fault.is_not_found() => Ok(()),
            other => other,
        }
    }

    /// Ends a user's sessions and tokens. Nodes of the older generation know no users: they are told the ids of the tokens, server
    /// by server.
    async fn deauthorize(
        &self,
        node: &Node,
        user: UserId,
        servers: &[ServerId],
        number: Option<u64>,
    ) -> Result<(), NodeFault> {
        match self.nodes.deauthorize(node, user, servers).await {
            Err(NodeFault::Refused { status: 404 | 405, .. }) => {}
            other => return other,
        }
        let unknown = |error: StoreError| NodeFault::Unreachable(format!("what to tell it cannot be read: {error}"));
        let number = match number {
            Some(number) => Some(number),
            None => self.store.user(user).await.map_err(unknown)?.map(|user| user.number),
        };
        // An account that is gone has told of itself when it went.
        let Some(number) = number else { return Ok(()) };
        let servers = if servers.is_empty() {
            self.store.node_server_ids(node.uuid).await.map_err(unknown)?
        } else {
            servers.to_vec()
        };
        let denials = stream::iter(servers).map(|server| async move {
            match self.nodes.deny(node, server, token::jti(number, server)).await {
                Err(fault) if !fault.is_not_found() => Err(fault),
                _ => Ok(()),
            }
        });
        let told: Vec<_> = denials.buffer_unordered(DENIALS_MAX).collect().await;
        told.into_iter().collect()
    }

    /// Tries what waits, for ever. It may be aborted anywhere: what is not confirmed is still in the database.
    pub(crate) async fn deliver(self) {
        loop {
            let pause = match self.deliver_due().await {
                Ok(next_due) => next_due.map(|due| (due - clock::now_ms()).min(PAUSE_MS_MAX)),
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
        let due = self.store.due_notices(clock::now_ms(), PAUSE_MS_MAX, BATCH).await?;
        future::try_join_all(due.iter().map(|waiting| self.attempt(waiting, super::REQUEST_TIMEOUT))).await?;
        self.store.next_notice_due().await
    }

    /// One try.
    async fn attempt(&self, waiting: &Waiting, timeout: Duration) -> Result<(), StoreError> {
        let notice = serde_json::from_str::<Notice>(&waiting.notice);
        let node = self.store.node(waiting.node).await?;
        let (Ok(notice), Some(node)) = (notice, node) else {
            tracing::error!(notice = %waiting.subject, "dropping a notice that cannot be read");
            return self.store.drop_notice(waiting).await;
        };
        let sent = tokio::time::timeout(timeout, self.send(&node, &notice)).await;
        let fault = match sent.unwrap_or_else(|_| Err(NodeFault::Unreachable("no answer in time".to_owned()))) {
            Ok(()) => {
                tracing::info!(node = node.name, notice = %waiting.subject, "node told");
                return self.store.drop_notice(waiting).await;
            }
            Err(fault) => fault,
        };
        let now = clock::now_ms();
        // Both: a clock that was set ahead does not make an hour of a minute.
        if now >= waiting.give_up_at && waiting.attempts >= ATTEMPTS_MIN {
            tracing::error!(node = node.name, notice = %waiting.subject, error = %fault, "giving up telling the node");
            return self.store.drop_notice(waiting).await;
        }
        if waiting.attempts == 0 {
            tracing::warn!(node = node.name, notice = %waiting.subject, error = %fault, "node not told yet, will try again");
        }
        let pause = PAUSE_MS_MIN.saturating_mul(1 << waiting.attempts.min(16)).min(PAUSE_MS_MAX);
        self.store.delay_notice(waiting, now + pause).await?;
        if matches!(fault, NodeFault::Unreachable(_)) {
            self.store.delay_node_notices(waiting.node, now + pause).await?;
        }
        Ok(())
    }
}
