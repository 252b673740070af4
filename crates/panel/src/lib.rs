//! The panel: users, API keys, servers and nodes over SQLite, behind an HTTP API. It never touches a game process: it asks
//! nodes over their own HTTP API, also the one that lives in the same process.

mod access;
mod app;
mod clock;
mod config;
mod http;
mod nodes;
mod secret;
mod serial;
mod store;
mod templates;
mod token;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::task::JoinHandle;
use uuid::Uuid;
use wire::ids::{ServerId, UserId};

pub use app::provision::NewServer;
pub use config::{Config, DELETE_GRACE_H_DEFAULT, TOKEN_TTL_S_DEFAULT, TOKEN_TTL_S_MAX, TOKEN_TTL_S_MIN};
pub use store::StoreError;
pub use store::users::User;

use app::{App, AppState};
use http::problem::Problem;
use nodes::Nodes;
use serial::Serials;
use store::Store;
use store::keys::{KeyKind, NewKey};
use store::nodes::{BIND_IP_DEFAULT, NewNode, Node, PORT_MAX_DEFAULT, PORT_MIN_DEFAULT};
use store::users::NewUser;

/// How often old activity is deleted.
const PRUNE_EVERY: Duration = Duration::from_hours(1);
/// Records kept of one server, and of what one person did with their account; the oldest go, when old ones are deleted.
const ACTIVITY_RECORDS_MAX: i64 = 10_000;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Why a panel could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The life of tokens.
    #[error("the life of console tokens must be {TOKEN_TTL_S_MIN} to {TOKEN_TTL_S_MAX} seconds, not {0}")]
    TokenTtl(u64),
    /// The panel's own address.
    #[error("{0:?} is not the address of a panel, such as https://panel.example")]
    PublicUrl(String),
    /// The client for nodes.
    #[error("cannot prepare the HTTP client: {0}")]
    HttpClient(#[from] reqwest::Error),
}

/// Why something could not be done from inside the program.
#[derive(Debug, thiserror::Error)]
pub enum PanelError {
    /// The database, or a value that is taken.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The password could not be hashed.
    #[error("cannot hash the password: {0}")]
    Password(String),
    /// The address of a node.
    #[error("{0:?} is not the address of a node, such as http://127.0.0.1:8080")]
    Url(String),
    /// A node of this name is there, and it is another machine.
    #[error("there is a node {0:?} already, and it is not the one of this process")]
    NodeName(String),
    /// The same refusal as over HTTP.
    #[error("{0}")]
    Refused(String),
}

/// What a daemon needs to serve a node.
#[derive(Clone)]
pub struct NodeCredentials {
    /// Number on this panel.
    pub id: u64,
    /// Which node.
    pub uuid: Uuid,
    /// The public half.
    pub token_id: String,
    /// The secret half, and the key of console tokens.
    pub token: String,
}

impl std::fmt::Debug for NodeCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeCredentials").field("id", &self.id).field("uuid", &self.uuid).finish_non_exhaustive()
    }
}

/// A task that ends with its panel, also when that is dropped without being closed.
struct Background(JoinHandle<()>);

impl Drop for Background {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An open panel.
pub struct Panel {
    app: App,
    background: [Background; 3],
}

impl std::fmt::Debug for Panel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Panel").field("database", &self.app.config.database).finish_non_exhaustive()
    }
}

impl Panel {
    /// Opens the database, brings its schema up to date, and begins to tell nodes what still waits for them.
    pub async fn open(config: Config) -> Result<Self, OpenError> {
        if !(TOKEN_TTL_S_MIN..=TOKEN_TTL_S_MAX).contains(&config.token_ttl_s) {
            return Err(OpenError::TokenTtl(config.token_ttl_s));
        }
        if let Some(url) = &config.public_url
            && http::reach::Origin::of_url(url).is_none()
        {
            return Err(OpenError::PublicUrl(url.clone()));
        }
        let store = Store::open(&config.database).await?;
        let now_s = clock::now_s();
        let run = store.next_run(now_s).await.unwrap_or_else(|error| {
            // A full disk, most likely: the time is larger than it was at any earlier start, unless it was set back since.
            tracing::error!(%error, "the start of the panel could not be counted");
            now_s
        });
        let app = Arc::new(AppState::new(config, store, Nodes::new(Serials::of_run(run))?));
        let outbox = Background(tokio::spawn(app.outbox.clone().deliver()));
        let pruner = Background(tokio::spawn(prune(app.clone())));
        let deletions = Background(tokio::spawn(app::deletion::run(app.clone())));
        Ok(Self { app, background: [outbox, pruner, deletions] })
    }

    /// All of `/api/client`, `/api/application`, `/api/remote` and `/api/docs`, and as fallback a JSON 404. Slashes at the end of
    /// paths are ignored in it, so it may be merged with other routers, but those must not have a fallback.
    ///
    /// The peer's address is read from a `ConnectInfo<SocketAddr>` among a request's extensions.
    pub fn router(&self) -> Router {
        http::router(&self.app)
    }

    /// The description of the API, as served at `/api/docs/openapi.json`.
    pub fn openapi(&self) -> serde_json::Result<String> {
        http::description(&self.app).to_pretty_json()
    }

    /// Whether nobody has an account yet.
    pub async fn is_empty(&self) -> Result<bool, PanelError> {
        Ok(self.app.store.user_count().await? == 0)
    }

    /// The administrator who was made first, of those there are now.
    pub async fn first_admin(&self) -> Result<Option<User>, PanelError> {
        Ok(self.app.store.first_admin().await?)
    }

    /// Makes an account that may do everything. Without a password nobody can log in to it, but keys can be made for it.
    pub async fn create_admin(&self, username: &str, email: &str, password: Option<&str>) -> Result<User, PanelError> {
        let password_hash = match password.map(str::to_owned) {
            None => None,
            Some(password) => {
                let failed = |error: &dyn std::fmt::Display| PanelError::Password(error.to_string());
                let hash = tokio::task::spawn_blocking(move || secret::password_hash(&password)).await;
                Some(hash.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?)
            }
        };
        let new = NewUser {
            username: username.to_owned(),
            email: email.to_owned(),
            language: "en".to_owned(),
            password_hash,
            root_admin: true,
            ..NewUser::default()
        };
        Ok(self.app.store.insert_user(new).await?)
    }

    /// Makes a link that signs somebody in once, within a day, at a panel of this address. Earlier ones open nothing any more.
    pub async fn create_sign_in_link(&self, user: UserId, url: &str) -> Result<String, PanelError> {
        let made = self.app.make_link(user).await;
        made.map(|(token, _)| sign_in_url(url, &token)).map_err(|problem| refused(&problem))
    }

    /// Whether somebody has a password.
    pub async fn has_password(&self, user: UserId) -> Result<bool, PanelError> {
        Ok(self.app.store.credentials(user).await?.password_hash.is_some())
    }

    /// Makes an account key without expiry or address list; the whole key, which is kept nowhere.
    pub async fn create_client_key(&self, user: UserId, memo: &str) -> Result<String, PanelError> {
        self.create_key(KeyKind::Account, user, memo).await
    }

    /// Makes a key for `/api/application` that works while its owner is an administrator; the whole key, which is kept nowhere.
    pub async fn create_application_key(&self, user: UserId, memo: &str) -> Result<String, PanelError> {
        self.create_key(KeyKind::Application, user, memo).await
    }

    async fn create_key(&self, kind: KeyKind, user: UserId, memo: &str) -> Result<String, PanelError> {
        let new = NewKey { kind, user, memo: memo.to_owned(), allowed_ips: Vec::new(), expires_at: None };
        let (key, secret) = self.app.store.insert_key(new).await?;
        Ok(format!("{}{secret}", key.identifier))
    }

    /// The node that answers at the panel's own address: clients find it where they found the panel. `internal_url` is where the
    /// panel itself asks it; it is corrected when it has changed. `name` is for a new one: it may have been renamed since.
    pub async fn ensure_local_node(&self, name: &str, internal_url: &str) -> Result<NodeCredentials, PanelError> {
        let url = nodes::checked_url(internal_url).ok_or_else(|| PanelError::Url(internal_url.to_owned()))?;
        let store = &self.app.store;
        let known = match store.local_node().await? {
            Some(node) if node.url == url => Some(node),
            Some(node) => {
                let edit = |node: &mut Node| {
                    node.url.clone_from(&url);
                    Ok::<_, StoreError>(())
                };
                store.change_node(node.uuid, edit).await?
            }
            None => None,
        };
        let node = match known {
            Some(node) => node,
            None if store.node_by_name(name).await?.is_some() => return Err(PanelError::NodeName(name.to_owned())),
            None => {
                let new = NewNode {
                    name: name.to_owned(),
                    description: String::new(),
                    url,
                    local: true,
                    maintenance: false,
                    bind_ip: BIND_IP_DEFAULT.to_owned(),
                    port_min: PORT_MIN_DEFAULT,
                    port_max: PORT_MAX_DEFAULT,
                };
                store.insert_node(new).await?
            }
        };
        // Once: a process has one node.
        let _ = self.app.own_node.set(node.uuid);
        Ok(NodeCredentials {
            id: node.number,
            uuid: node.uuid,
            token_id: node.token_id,
            token: node.token.expose().to_owned(),
        })
    }

    /// Makes a server, as `POST /api/application/servers` does. `owner` must be set.
    pub async fn create_server(&self, new: NewServer) -> Result<ServerId, PanelError> {
        let owner = new.owner.ok_or_else(|| PanelError::Refused("a new server needs an owner".to_owned()))?;
        let app = self.app.clone();
        let made = self.app.work.finish(async move { app.create_server(&new, owner).await }).await;
        let (server, _) = made.unwrap_or(Err(Problem::Internal)).map_err(|problem| refused(&problem))?;
        Ok(server.uuid)
    }

    /// Deletes servers whose time has come at this moment, in Unix milliseconds; how many. The panel does it by itself at the right time.
    pub async fn delete_due(&self, now_ms: i64) -> Result<usize, PanelError> {
        self.app.delete_due(now_ms).await.map_err(|problem| refused(&problem))
    }

    /// Waits for what is being changed, ends background work and closes the database. What nodes have not been told yet is in it, for the next time.
    pub async fn close(self) {
        self.app.work.close().await;
        for mut task in self.background {
            task.0.abort();
            // Aborted is what it should be.
            let _ = (&mut task.0).await;
        }
        self.app.store.close().await;
    }
}

/// The token stands behind the `#`, which browsers send to nobody.
fn sign_in_url(panel: &str, token: &str) -> String {
    format!("{}/link#{token}", panel.trim_end_matches('/'))
}

fn refused(problem: &Problem) -> PanelError {
    let errors = problem.body().errors;
    PanelError::Refused(errors.into_iter().map(|error| error.detail).collect::<Vec<_>>().join(" "))
}

/// Deletes old activity, now and then, for ever.
async fn prune(app: App) {
    loop {
        let before = clock::now_ms() - i64::from(app.config.activity_days) * DAY_MS;
        match app.store.prune_activity(before, ACTIVITY_RECORDS_MAX).await {
            Ok(0) => {}
            Ok(records) => tracing::info!(records, "old activity deleted"),
            Err(error) => tracing::error!(%error, "old activity could not be deleted"),
        }
        tokio::time::sleep(PRUNE_EVERY).await;
    }
}
