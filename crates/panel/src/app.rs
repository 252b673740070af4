//! What every request shares, and what more than one endpoint does.

pub(crate) mod definition;
pub(crate) mod deletion;
pub(crate) mod eggs;
pub(crate) mod install;
pub(crate) mod lockout;
pub(crate) mod provision;
pub(crate) mod readers;
pub(crate) mod samples;
pub(crate) mod sign_in;
pub(crate) mod work;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde_json::Value;
use uuid::Uuid;
use wire::ids::{ServerId, UserId};
use wire::server::State;

use self::work::Work;
use crate::clock;
use crate::config::Config;
use crate::http::caller::Proof;
use crate::http::problem::{Answer, Problem};
use crate::http::throttle::Throttle;
use crate::nodes::Nodes;
use crate::nodes::outbox::{Notice, Outbox};
use crate::store::activity::NewRecord;
use crate::store::nodes::Node;
use crate::store::outbox::Waiting;
use crate::store::servers::Server;
use crate::store::users::User;
use crate::store::{Store, StoreError};

/// `last_used_at` is written at most this often per key; also the pause after one that could not be written.
const LAST_USED_EVERY_MS: i64 = 60_000;
/// Accounts that one person makes by giving rights to e-mail addresses; then one more every three minutes. Administrators, who
/// make accounts anyway, are exempt.
const INVITATIONS_PER_HOUR: u32 = 20;

/// Shared by all requests.
pub(crate) type App = Arc<AppState>;

/// What every request shares.
pub(crate) struct AppState {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) nodes: Nodes,
    pub(crate) outbox: Outbox,
    /// `/api/client`, by user.
    pub(crate) client_throttle: Throttle<UserId>,
    /// `/api/application`, by user.
    pub(crate) application_throttle: Throttle<UserId>,
    /// Accounts made by giving rights to an e-mail address, by the user who gives.
    pub(crate) invitation_throttle: Throttle<UserId>,
    /// Console tokens, by user and server.
    pub(crate) websocket_throttle: Throttle<(UserId, ServerId)>,
    pub(crate) samples: samples::Samples,
    /// Requests that change something.
    pub(crate) work: Work,
    /// The node of this very process.
    pub(crate) own_node: OnceLock<Uuid>,
    pub(crate) readers: readers::Readers,
    /// Wakes the task that deletes servers whose time has come.
    pub(crate) deletions: Arc<tokio::sync::Notify>,
    door: sign_in::Door,
    states: Mutex<HashMap<ServerId, State>>,
    /// Until then, by the clock that nobody sets, no key's last use is written, because that failed.
    uses_paused_until: AtomicI64,
}

/// Who did something, for the record.
#[derive(Clone, Debug)]
pub(crate) struct Actor {
    pub(crate) user: UserId,
    /// Identifier of the key; none in a session.
    pub(crate) api_key: Option<String>,
    pub(crate) ip: IpAddr,
}

/// Whether a name would be taken for a number or a uuid where things are named by either. A name like that would lead to somebody, or
/// something, else.
pub(crate) fn is_taken_for_an_id(name: &str) -> bool {
    (!name.is_empty() && name.bytes().all(|b| b.is_ascii_digit())) || Uuid::try_parse(name).is_ok()
}

/// What nodes must hear when somebody's tokens are worth nothing any more anywhere.
pub(crate) fn revocations(user: &User, nodes: Vec<Uuid>) -> Vec<Waiting> {
    let notice = Notice::Deauthorize { user: user.uuid, servers: Vec::new(), number: Some(user.number) };
    nodes.into_iter().map(|node| notice.to(node)).collect()
}

impl AppState {
    /// The same for the nodes that there are.
    pub(crate) async fn revocations(&self, user: &User) -> Answer<Vec<Waiting>> {
        Ok(revocations(user, self.store.node_ids().await?))
    }

    /// Around an open database.
    pub(crate) fn new(config: Config, store: Store, nodes: Nodes) -> Self {
        Self {
            outbox: Outbox::new(store.clone(), nodes.clone()),
            client_throttle: Throttle::per_minute(config.client_per_minute),
            application_throttle: Throttle::per_minute(config.application_per_minute),
            invitation_throttle: Throttle::per_hour(INVITATIONS_PER_HOUR),
            websocket_throttle: Throttle::per_minute(config.websocket_per_minute),
            samples: samples::Samples::default(),
            readers: readers::Readers::default(),
            deletions: Arc::default(),
            work: Work::default(),
            own_node: OnceLock::new(),
            door: sign_in::Door::default(),
            states: Mutex::default(),
            uses_paused_until: AtomicI64::new(i64::MIN),
            config,
            store,
            nodes,
        }
    }

    /// The node of a server. Foreign keys make sure there is one.
    pub(crate) async fn node_of(&self, server: &Server) -> Answer<Arc<Node>> {
        self.store.node(server.node).await?.ok_or(Problem::NotFound)
    }

    /// Notes the state that a node reports.
    pub(crate) fn note_state(&self, server: ServerId, state: State) {
        self.states.lock().unwrap_or_else(PoisonError::into_inner).insert(server, state);
    }

    /// The state a node reported last, since this panel started.
    pub(crate) fn last_state(&self, server: ServerId) -> Option<State> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner).get(&server).copied()
    }

    pub(crate) fn forget(&self, server: ServerId) {
        self.states.lock().unwrap_or_else(PoisonError::into_inner).remove(&server);
        self.samples.forget(server);
    }

    /// Writes down that a key or a session is used. One that cannot be written does not keep anybody out: with a full disk people
    /// can still look, and stop what fills it.
    pub(crate) async fn note_use(&self, proof: &Proof) {
        let now = clock::now_ms();
        let is_due = match proof {
            Proof::Key(key) => key.last_used_at.is_none_or(|last| now - last >= LAST_USED_EVERY_MS),
            Proof::Session { session, .. } => session.is_stale(now),
        };
        if !is_due || clock::mono_ms() < self.uses_paused_until.load(Ordering::Relaxed) {
            return;
        }
        let noted = match proof {
            Proof::Key(key) => self.store.touch_key(key, now).await,
            Proof::Session { session, .. } => self.store.touch_session(session, now).await,
        };
        if let Err(error) = noted {
            self.uses_paused_until.store(clock::mono_ms() + LAST_USED_EVERY_MS, Ordering::Relaxed);
            tracing::error!(%error, "the last use of a key or session could not be written");
        }
    }

    /// Adds to the record. A record that cannot be written does not undo what was done: it is logged.
    pub(crate) async fn record(&self, actor: &Actor, server: Option<ServerId>, event: &str, metadata: Value) {
        let record = NewRecord {
            event: event.to_owned(),
            server,
            user: Some(actor.user),
            api_key: actor.api_key.clone(),
            ip: Some(actor.ip.to_string()),
            metadata,
            happened_at: clock::now_ms(),
        };
        if let Err(error) = self.store.insert_activity(vec![record]).await {
            tracing::error!(%error, event, "activity not recorded");
        }
    }

    /// Removes a server here and on its node.
    pub(crate) async fn remove_server(&self, server: &Server) -> Answer<()> {
        let notices = [Notice::Delete { server: server.uuid }.to(server.node)];
        self.store.delete_server(server.uuid, &notices).await?;
        self.forget(server.uuid);
        self.outbox.first_try(&notices).await;
        Ok(())
    }

    /// A node by number, uuid or name.
    pub(crate) async fn find_node(&self, text: &str) -> Result<Option<Node>, StoreError> {
        if let Ok(number) = text.parse() {
            return self.store.node_by_number(number).await;
        }
        if let Ok(id) = Uuid::try_parse(text)
            && let Some(node) = self.store.node(id).await?
        {
            return Ok(Some(Arc::unwrap_or_clone(node)));
        }
        self.store.node_by_name(text).await
    }

    /// A user by number, uuid or login name. Whatever may be a number or a uuid is one: new login names are neither, see
    /// [`is_taken_for_an_id`].
    pub(crate) async fn find_user(&self, text: &str) -> Result<Option<User>, StoreError> {
        if let Ok(number) = text.parse() {
            return self.store.user_by_number(number).await;
        }
        if let Ok(id) = text.to_ascii_lowercase().parse() {
            return Ok(self.store.user(id).await?.map(Arc::unwrap_or_clone));
        }
        self.store.user_by_name(text).await
    }

    /// A server by uuid or by the first eight characters of it, unless it is to be deleted.
    pub(crate) async fn find_server(&self, text: &str) -> Result<Option<Arc<Server>>, StoreError> {
        Ok(self.find_any_server(text).await?.filter(|server| server.delete_at.is_none()))
    }

    /// The same, also when it is to be deleted: for administrators and nodes.
    pub(crate) async fn find_any_server(&self, text: &str) -> Result<Option<Arc<Server>>, StoreError> {
        let text = text.to_ascii_lowercase();
        match text.len() {
            8 => self.store.server_by_short(&text).await,
            36 => match text.parse() {
                Ok(id) => self.store.server(id).await,
                Err(_) => Ok(None),
            },
            _ => Ok(None),
        }
    }

    /// The same, or by number.
    pub(crate) async fn find_server_or_number(&self, text: &str) -> Result<Option<Arc<Server>>, StoreError> {
        // Eight digits may be a short id; those win, as numbers that long take a while to come.
        if let Some(server) = self.find_any_server(text).await? {
            return Ok(Some(server));
        }
        match text.parse() {
            Ok(number) => Ok(self.store.server_by_number(number).await?.map(Arc::new)),
            Err(_) => Ok(None),
        }
    }
}
