//! The node: what all its servers share, the registry of them, and boot and end.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use engine::line::daemon_line;
use engine::session::Policy;
use futures_util::StreamExt;
use tokio::sync::{Semaphore, oneshot};
use wire::ids::ServerId;
use wire::node::Isolation;
use wire::remote::{Activity, Definition, RuntimeKind};
use wire::server::State;

use crate::access::Revocations;
use crate::config::Config;
use crate::console::Console;
use crate::hub::Hub;
use crate::jwt::TokenKey;
use crate::log::{Presentation, Tail};
use crate::panel_time::PanelTime;
use crate::remote::{Remote, RemoteError, Report};
use crate::runtime::cgroup::Machine;
use crate::runtime::docker::{self, Engine};
use crate::runtime::isolation::{Game, Ladder};
use crate::runtime::{self, files_folder, holder, program};
use crate::server::actor::Actor;
use crate::server::install;
use crate::server::journal::Journal;
use crate::server::record::replace;
use crate::server::{Asker, Crashes, DEFINITION_FILE, Kept, LOG_DIR, Server, Standing, Status};
use crate::tasks::{Kind, Tasks, blocking};
use crate::waiting::WaitingRoom;
use crate::{clock, history, http, panel_time, removal, stats};

/// Folder of all servers, in the node's.
const SERVERS_DIR: &str = "servers";
/// Folder of unpacked programs, in the node's.
const PROGRAMS_DIR: &str = "bin";
/// How long connections and tasks may take to end.
const END_TIMEOUT: Duration = Duration::from_secs(5);
/// Servers taken up at the same time at boot: one whose shim does not answer holds up few others.
const TAKEN_UP_AT_ONCE: usize = 16;

/// Why a node cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data folder.
    #[error("the node's folder {} cannot be used: {source}", .dir.display())]
    Folder {
        /// Which.
        dir: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The HTTP client.
    #[error("no HTTP client: {0}")]
    Http(#[from] reqwest::Error),
}

/// What all servers of a node share.
pub(crate) struct Node {
    pub(crate) config: Config,
    /// That of the configuration, for all connections.
    pub(crate) session_policy: Arc<Policy>,
    pub(crate) tasks: Tasks,
    pub(crate) revocations: Revocations,
    pub(crate) token_key: TokenKey,
    /// What the dates of tokens mean.
    pub(crate) time: Arc<PanelTime>,
    /// Places for connections that have not authenticated yet.
    pub(crate) waiting: Arc<WaitingRoom>,
    pub(crate) remote: Remote,
    pub(crate) machine: Machine,
    /// What runs containers, if there is one.
    pub(crate) engine: Engine,
    pub(crate) ladder: Ladder,
    /// Places for those who read logs as a whole.
    pub(crate) log_readers: Arc<Semaphore>,
    /// The shim's program.
    pub(crate) shim: PathBuf,
    /// Our own program, for definitions that run a part of it.
    pub(crate) program: PathBuf,
    servers: Mutex<HashMap<ServerId, Server>>,
}

impl Node {
    /// The server of this id.
    pub(crate) fn server(&self, id: ServerId) -> Option<Server> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// All servers, in no order.
    pub(crate) fn servers(&self) -> Vec<Server> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// What keeps a server's game apart, and what does not and why. Blocks.
    pub(crate) fn isolation(&self, dir: &Path, definition: &Definition, game: Game) -> Isolation {
        match runtime::kind(self, definition) {
            RuntimeKind::Process => self.ladder.report(&self.machine, &self.ladder.missing(dir, definition), game),
            RuntimeKind::Docker => docker::isolation(self.ladder.has_users(), game),
        }
    }

    /// Tells the panel who did what, unless it was the panel that asked.
    pub(crate) fn record(&self, server: ServerId, asker: Asker, event: &str, metadata: Option<serde_json::Value>) {
        let Asker { user, ip: Some(ip) } = asker else { return };
        let timestamp = jiff::Timestamp::from_millisecond(clock::wall_ms()).unwrap_or_default();
        self.remote.report(Report::Activity(Activity {
            user,
            server,
            event: event.to_owned(),
            metadata,
            ip: Some(ip.to_string()),
            timestamp: format!("{timestamp:.3}"),
        }));
    }

    /// Takes up a server that the panel tells of: known ones get the new definition, others are set up and, if a game of theirs
    /// lives, joined to it.
    pub(crate) async fn add(self: &Arc<Self>, definition: Definition) -> std::io::Result<Server> {
        let id = definition.settings.uuid;
        if let Some(server) = self.server(id) {
            server.configure(definition).await;
            return Ok(server);
        }
        let dir = self.dir_of(id);
        let saved = serde_json::to_vec(&definition)?;
        let written = blocking(move || {
            folder(&dir)?;
            if let Err(error) = files_folder(&dir) {
                tracing::warn!(folder = %dir.display(), %error, "no folder for the game's files; the first start tries again");
            }
            Ok::<_, std::io::Error>(replace(&dir.join(DEFINITION_FILE), &saved))
        });
        // Without its folder a server cannot be; without the file in it only a restart without the panel would miss it.
        if let Err(error) = written.await?? {
            tracing::error!(server = %id, %error, "the definition is not saved: a restart without the panel would not know it");
        }
        self.set_up(definition).await
    }

    fn dir_of(&self, id: ServerId) -> PathBuf {
        self.config.data_dir.join(SERVERS_DIR).join(id.to_string())
    }

    /// Sets up a server that is not known yet. Whatever cannot be read or written is logged and does without: a game may be running.
    async fn set_up(self: &Arc<Self>, definition: Definition) -> std::io::Result<Server> {
        let id = definition.settings.uuid;
        let dir = self.dir_of(id);
        let presentation = Presentation {
            app_name: Arc::from(self.config.app_name.as_str()),
            echo_commands: self.config.echo_commands,
        };
        let (tail, newest, kept, isolation) = {
            let (dir, log, presentation) = (dir.clone(), dir.join(LOG_DIR), presentation.clone());
            let (node, definition) = (self.clone(), definition.clone());
            blocking(move || {
                let (tail, newest) = Tail::open(&log, presentation.clone()).unwrap_or_else(|error| {
                    tracing::error!(server = %id, %error, "the console log cannot be read");
                    (Tail::unread(&log, presentation), Vec::new())
                });
                (tail, newest, Kept::load(&dir), node.isolation(&dir, &definition, Game::Absent))
            })
            .await?
        };
        // What was printed before is history from the first viewer on; nobody gets it as if it were new.
        let hub = Hub::new(tail.next(), State::Offline);
        hub.push(newest, tail.next());
        let console = Arc::new(Console::new(hub, dir.join(LOG_DIR), presentation));
        let status = Status {
            state: State::Offline,
            standing: if definition.settings.suspended { Standing::Suspended } else { Standing::Active },
            definition: Arc::new(definition.clone()),
            pid: None,
            isolation,
            installing: false,
            last_exit: None,
            restart_at_ms: None,
            kill_at_ms: None,
            crashes: Crashes::default(),
        };
        let (server, mailbox) = Server::new(id, dir.clone(), console, status, kept);
        let known = {
            let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
            // Two requests at once: the first one sets it up.
            match servers.get(&id).cloned() {
                Some(first) => Some(first),
                None => servers.insert(id, server.clone()),
            }
        };
        if let Some(first) = known {
            first.configure(definition).await;
            return Ok(first);
        }
        let limits = spool::Limits { segment_bytes: self.config.segment_bytes, retain_bytes: self.config.retain_bytes };
        let journal = Journal::new(&dir.join(LOG_DIR), limits);
        let found = holder::find(&self.tasks, id, &dir).await;
        let actor = Actor::new(self.clone(), server.clone(), definition, tail, journal);
        let (taken_up, is_taken_up) = oneshot::channel();
        self.tasks.spawn(Kind::Server, id, actor.run(found, mailbox, taken_up));
        // From then on it shows the state of the game that was found. An actor that has ended already has nothing to show.
        let _ = is_taken_up.await;
        install::resume(self, &server).await;
        Ok(server)
    }

    /// Takes up the servers that are kept here and not known yet, joining games that run.
    async fn take_up_kept(self: &Arc<Self>) {
        let kept = self.kept().await;
        let new = kept.into_iter().filter(|definition| self.server(definition.settings.uuid).is_none());
        let taking_up = futures_util::stream::iter(new);
        let taking_up = taking_up.for_each_concurrent(TAKEN_UP_AT_ONCE, |definition| async {
            let id = definition.settings.uuid;
            logged(id, self.set_up(definition).await);
        });
        taking_up.await;
    }

    /// Deletes a server: its game, its log, its files.
    pub(crate) async fn remove(&self, server: &Server) -> std::io::Result<()> {
        server.without_installation().await;
        server.delete().await;
        if let Err(error) = self.engine.forget(server.id()).await {
            tracing::warn!(server = %server.id(), %error, "what the container engine has of a deleted server is left behind");
        }
        let dir = server.dir().clone();
        blocking(move || removal::remove_all(&dir)).await??;
        self.servers.lock().unwrap_or_else(PoisonError::into_inner).remove(&server.id());
        tracing::info!(server = %server.id(), "server deleted");
        Ok(())
    }

    /// The definitions that are kept here, for a start without the panel.
    async fn kept(&self) -> Vec<Definition> {
        let dir = self.config.data_dir.join(SERVERS_DIR);
        let read = blocking(move || {
            let mut kept = Vec::new();
            for entry in std::fs::read_dir(dir)?.flatten() {
                let path = entry.path().join(DEFINITION_FILE);
                let definition = std::fs::read(&path).and_then(|bytes| Ok(serde_json::from_slice(&bytes)?));
                let definition = definition.or_else(|error| {
                    tracing::error!(path = %path.display(), %error, "a kept definition cannot be read");
                    unreadable(&entry.path()).ok_or(error)
                });
                kept.extend(definition);
            }
            Ok::<_, std::io::Error>(kept)
        });
        read.await.and_then(|kept| kept).unwrap_or_else(|error| {
            tracing::error!(%error, "the servers kept here cannot be listed");
            Vec::new()
        })
    }
}

/// A node's daemon: its servers, its HTTP API, its sockets.
#[derive(Clone)]
pub struct Daemon {
    node: Arc<Node>,
}

impl Daemon {
    /// Prepares the folder, finds out what the machine allows, and takes up the servers kept here, joining games that run. Nobody
    /// is served before that: a viewer who comes back would be told that a running game is offline.
    pub async fn open(config: Config) -> Result<Self, OpenError> {
        let dir = config.data_dir.clone();
        let failed = |source| OpenError::Folder { dir: dir.clone(), source };
        let name = format!("quarterdeck-{}", config.node_uuid.simple().to_string().get(..8).unwrap_or_default());
        let (machine, shim, ladder, program) = {
            let (dir, settings) = (dir.clone(), config.isolation.clone());
            blocking(move || {
                let (servers, programs) = (dir.join(SERVERS_DIR), dir.join(PROGRAMS_DIR));
                folder(&dir)?;
                folder(&servers)?;
                let shim = program::unpack(&programs)?;
                let mut ladder = Ladder::probe(&settings, &servers);
                let program = ladder.settle(&dir, &servers, &programs, own_program());
                Ok::<_, std::io::Error>((Machine::probe(&name), shim, ladder, program))
            })
            .await
            .and_then(|made| made)
            .map_err(failed)?
        };
        let time = Arc::new(PanelTime::new());
        let (remote, reports) = Remote::new(&config, time.clone())?;
        let tasks = Tasks::default();
        tasks.spawn_last(Kind::Report, "panel", |ending| remote.clone().deliver(reports, ending));
        let node = Arc::new(Node {
            token_key: TokenKey::new(&config.token),
            waiting: WaitingRoom::new(config.unauthenticated_max, config.unauthenticated_per_address_max),
            time,
            program,
            ladder,
            revocations: Revocations::default(),
            servers: Mutex::default(),
            log_readers: Arc::new(Semaphore::new(history::READERS_AT_ONCE)),
            session_policy: Arc::new(config.session.clone()),
            engine: Engine::new(config.containers.clone(), config.node_uuid),
            config,
            tasks,
            remote,
            machine,
            shim,
        });
        let keeping = panel_time::keep(node.time.clone(), node.remote.clone());
        let ending = node.tasks.cancel_token();
        node.tasks.spawn(Kind::Clock, "panel", async move {
            ending.run_until_cancelled(keeping).await;
        });
        node.tasks.spawn(Kind::Stats, "all", stats::run(node.clone()));
        node.tasks.spawn(Kind::Stats, "directories", stats::walk(node.clone()));
        node.take_up_kept().await;
        Ok(Self { node })
    }

    /// The node's routes, to be merged with a panel's: unknown paths are left to it.
    pub fn router(&self) -> axum::Router {
        http::router(self.node.clone())
    }

    /// The node's routes for a port of its own: unknown paths are answered in the node's way.
    pub fn standalone_router(&self) -> axum::Router {
        http::standalone(self.node.clone())
    }

    /// Asks the panel for the newest definitions. Call it when the panel can be reached, if it can: an error leaves everything that
    /// is kept here in service.
    pub async fn boot(&self) -> Result<(), RemoteError> {
        // What could not be taken up at the start may be there by now.
        self.node.take_up_kept().await;
        // It would make usable what is being installed still; how that ends the panel is told.
        if !self.node.servers().iter().any(|server| server.status().borrow().installing) {
            self.node.remote.reset().await?;
        }
        let listed = self.node.remote.servers().await?;
        for server in self.node.servers() {
            if !listed.iter().any(|remote| remote.uuid == server.id()) {
                // Deleting is the panel's to say: it does so by itself when it means it.
                tracing::warn!(server = %server.id(), "the panel does not list this server; it stays until the panel deletes it");
            }
        }
        for remote in listed {
            logged(remote.uuid, self.node.add(remote.definition).await);
        }
        tracing::info!(servers = self.node.servers().len(), "node is up");
        Ok(())
    }

    /// How many servers run, and how many there are. Takes the locks that everybody needs.
    pub fn games(&self) -> (usize, usize) {
        let servers = self.node.servers();
        let running = servers.iter().filter(|server| server.status().borrow().state != State::Offline).count();
        (running, servers.len())
    }

    /// Tells viewers to come back, delivers what is under way, and ends. Games go on, held by their shims.
    pub async fn shutdown(&self) {
        self.node.tasks.end(END_TIMEOUT).await;
        self.node.machine.tidy();
    }

    /// A line in the node's own voice, as consoles show it.
    pub fn voice(&self, text: &str) -> String {
        daemon_line(&self.node.config.app_name, text)
    }
}

/// What is known of a server whose definition cannot be read: that its folder is here, and a log in it. Enough to show what it
/// prints and to end it; a start needs the panel.
fn unreadable(dir: &Path) -> Option<Definition> {
    let uuid: uuid::Uuid = dir.file_name()?.to_str()?.parse().ok()?;
    let settings = serde_json::json!({ "uuid": uuid });
    let definition = serde_json::json!({ "settings": settings, "process_configuration": {} });
    dir.join(LOG_DIR).is_dir().then(|| serde_json::from_value(definition).ok())?
}

fn logged(id: ServerId, set_up: std::io::Result<Server>) {
    if let Err(error) = set_up {
        tracing::error!(server = %id, %error, "the server cannot be set up");
    }
}

/// Our own program's path. When it was replaced while we run, the kernel marks the path as deleted; what is there now is the one to
/// start.
fn own_program() -> PathBuf {
    let path = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("quarterdeck"));
    match path.to_str().and_then(|text| text.strip_suffix(" (deleted)")) {
        Some(replaced) => PathBuf::from(replaced),
        None => path,
    }
}

/// Makes a folder that only we may look into.
fn folder(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}
