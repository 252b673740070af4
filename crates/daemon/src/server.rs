//! One game server as the rest of the node sees it: a handle to its actor, and what it publishes.
//!
//! `server/actor` owns the server, and `server/run` what runs; `server/commands` carries what people type; `server/launch` turns its definition into a process; `server/journal` is where the node's own
//! lines go. Everything published here is a value to wait on, never an event to miss.

pub(crate) mod actor;
mod chronicle;
mod commands;
pub(crate) mod crashes;
pub(crate) mod documents;
pub(crate) mod install;
pub(crate) mod journal;
pub(crate) mod launch;
pub(crate) mod record;
mod run;
pub(crate) mod runs;

use std::collections::HashMap;
use std::future::Future;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use engine::power::Power;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use wire::history::Run;
use wire::ids::{ServerId, UserId};
use wire::node::{Condition, Extra, Isolation, ServerDetails};
use wire::remote::{Definition, RuntimeKind};
use wire::server::{PowerAction, State, Stats};

use crate::clock;
use crate::console::Console;
use crate::figures::Figures;
use crate::runtime::shim::ShimProcess;
use crate::server::actor::Event;
use crate::server::runs::Runs;
use crate::socket::fanout::Fanout;
use crate::stats::Source;

/// Requests waiting for a server's actor; one more is refused.
const MAILBOX_MAX: usize = 256;
/// How long a caller over HTTP waits for a refusal before the answer is "accepted".
const QUICK_ANSWER: Duration = Duration::from_secs(4);

/// A server's definition as it was last known, in its folder.
pub(crate) const DEFINITION_FILE: &str = "definition.json";
/// Folder of a server's console log, in its own.
pub(crate) const LOG_DIR: &str = "log";
/// Folder of the game's files, in the server's own.
pub(crate) const FILES_DIR: &str = "files";

/// Whether a server may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// As usual.
    Active,
    /// No console, no start.
    Suspended,
    /// Removed from this node.
    Deleted,
}

/// What is known of a server, published whole on every change.
#[derive(Clone, Debug)]
pub(crate) struct Status {
    pub(crate) state: State,
    pub(crate) standing: Standing,
    pub(crate) definition: Arc<Definition>,
    /// The game's process id, while it runs.
    pub(crate) pid: Option<u32>,
    pub(crate) isolation: Isolation,
    /// Its files are being put in place; it cannot be started.
    pub(crate) installing: bool,
    /// How the last run ended, while none is under way.
    pub(crate) last_exit: Option<LastExit>,
    /// Unix milliseconds of the start that back-off has planned.
    pub(crate) restart_at_ms: Option<u64>,
    /// What there is to say of crashes since the last run that lasted.
    pub(crate) crashes: Crashes,
    /// Unix milliseconds of the end of a stop's grace.
    pub(crate) kill_at_ms: Option<u64>,
}

/// Crashes since the last run that lasted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Crashes {
    pub(crate) in_a_row: u32,
    pub(crate) condition: Option<Condition>,
    /// It is not started again by itself.
    pub(crate) gave_up: bool,
}

impl Crashes {
    /// As the engine counts them.
    pub(crate) fn of(power: &Power) -> Self {
        let crash_loop = power.crash_loop();
        Self {
            in_a_row: power.crashes_in_a_row(),
            condition: crash_loop.map(|_| Condition::CrashLooping),
            gave_up: crash_loop.is_some_and(|crash_loop| crash_loop.gave_up),
        }
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LastExit {
    /// Such as `exit code 3`.
    pub(crate) how: String,
    /// Nobody had asked for it.
    pub(crate) crashed: bool,
    /// Unix milliseconds.
    pub(crate) at_ms: u64,
}

/// Kinds of refusal, for those who must answer with a status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefusedKind {
    /// Something else is under way.
    Busy,
    /// Not in this state.
    State,
    /// The server is suspended.
    Suspended,
    /// There is no process to talk to.
    Offline,
    /// The request itself cannot be carried out.
    Invalid,
    /// It was tried and failed.
    Failed,
    /// It may have been carried out: nobody knows.
    Unknown,
}

impl LastExit {
    /// The end of a run; none while it goes on, and none if nobody saw how it ended.
    pub(crate) fn of(run: &Run) -> Option<Self> {
        Some(Self { how: run.exit.clone()?, crashed: run.crashed, at_ms: run.ended_at? })
    }
}

/// A request that was not carried out: what happened and what to do.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Refused {
    kind: RefusedKind,
    text: String,
}

impl Refused {
    pub(crate) fn new(kind: RefusedKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }

    pub(crate) fn kind(&self) -> RefusedKind {
        self.kind
    }

    fn gone() -> Self {
        Self::new(RefusedKind::Failed, "the server is being removed or the node is stopping")
    }
}

/// Who asks something of a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    pub(crate) user: Option<UserId>,
    /// From where, for the record that this node reports; none when the panel asks, which keeps its own.
    pub(crate) ip: Option<IpAddr>,
}

/// The answer to a request to a server.
pub(crate) type Reply = oneshot::Sender<Result<(), Refused>>;

/// What is written down of a server's past beside its log.
pub(crate) struct Kept {
    pub(crate) runs: Runs,
    pub(crate) figures: Figures,
}

impl Kept {
    /// What is in a server's folder. Blocking.
    pub(crate) fn load(dir: &Path) -> Self {
        let now_ms = u64::try_from(clock::wall_ms()).unwrap_or(0);
        Self { runs: Runs::load(dir), figures: Figures::load(dir, now_ms) }
    }
}

/// A handle; clones are the same server.
#[derive(Clone)]
pub(crate) struct Server(Arc<Shared>);

struct Shared {
    id: ServerId,
    dir: PathBuf,
    console: Arc<Console>,
    mailbox: mpsc::Sender<Event>,
    status: watch::Sender<Status>,
    stats: watch::Sender<Stats>,
    figures: Mutex<Figures>,
    runs: Mutex<Runs>,
    source: Mutex<Option<Source>>,
    seen: Mutex<Vec<ShimProcess>>,
    viewers: Mutex<HashMap<Option<UserId>, usize>>,
    /// Ends the installation that is under way.
    installing: Mutex<Option<CancellationToken>>,
    fanout: Fanout,
}

impl Server {
    /// The handle, and the mailbox for its actor.
    pub(crate) fn new(
        id: ServerId,
        dir: PathBuf,
        console: Arc<Console>,
        mut status: Status,
        kept: Kept,
    ) -> (Self, mpsc::Receiver<Event>) {
        let (mailbox, receiver) = mpsc::channel(MAILBOX_MAX);
        status.last_exit = kept.runs.newest().and_then(LastExit::of);
        let stats = Stats { memory_limit_bytes: limit_bytes(&status.definition), ..Stats::default() };
        let shared = Shared {
            id,
            dir,
            console,
            mailbox,
            status: watch::Sender::new(status),
            stats: watch::Sender::new(stats),
            figures: Mutex::new(kept.figures),
            runs: Mutex::new(kept.runs),
            source: Mutex::default(),
            seen: Mutex::default(),
            viewers: Mutex::default(),
            installing: Mutex::default(),
            fanout: Fanout::default(),
        };
        (Self(Arc::new(shared)), receiver)
    }

    pub(crate) fn id(&self) -> ServerId {
        self.0.id
    }

    /// The folder with its log, its files and the shim's socket.
    pub(crate) fn dir(&self) -> &PathBuf {
        &self.0.dir
    }

    /// The game's own working directory.
    pub(crate) fn files_dir(&self) -> PathBuf {
        self.0.dir.join(FILES_DIR)
    }

    pub(crate) fn console(&self) -> &Arc<Console> {
        &self.0.console
    }

    /// Who is told what is new.
    pub(crate) fn fanout(&self) -> &Fanout {
        &self.0.fanout
    }

    /// Follows what is known of the server.
    pub(crate) fn status(&self) -> watch::Receiver<Status> {
        self.0.status.subscribe()
    }

    /// Follows its samples.
    pub(crate) fn stats(&self) -> watch::Receiver<Stats> {
        self.0.stats.subscribe()
    }

    /// Asks for a power action. Queued before this returns, so requests keep the order of the calls; the future is the answer.
    pub(crate) fn power(
        &self,
        action: PowerAction,
        asker: Asker,
        wait_ms: u64,
    ) -> impl Future<Output = Result<(), Refused>> + Send + use<> {
        let (reply, answer) = oneshot::channel();
        self.ask(Event::Power { action, asker, wait_ms, reply }, answer)
    }

    /// Sends one line to the game's stdin; otherwise as [`Server::power`].
    pub(crate) fn command(
        &self,
        text: String,
        asker: Asker,
    ) -> impl Future<Output = Result<(), Refused>> + Send + use<> {
        let (reply, answer) = oneshot::channel();
        self.ask(Event::Command { text, asker, reply }, answer)
    }

    /// Writes a line of the node's own into the console. One that finds no room is logged.
    fn say(&self, text: String) {
        if let Err(error) = self.0.mailbox.try_send(Event::Say(text)) {
            tracing::warn!(server = %self.0.id, %error, "a line of the node's own is left out");
        }
    }

    /// Puts a new definition in force.
    pub(crate) async fn configure(&self, definition: Definition) {
        // A server that is gone needs no definition.
        let _ = self.0.mailbox.send(Event::Configure(Box::new(definition))).await;
    }

    /// Ends the game and the actor; its files stay for the caller to remove.
    pub(crate) async fn delete(&self) {
        let (done, deleted) = oneshot::channel();
        if self.0.mailbox.send(Event::Delete { done }).await.is_ok() {
            let _ = deleted.await;
        }
    }

    /// Waits a little for an answer: a refusal that comes in time, else nothing.
    pub(crate) async fn quick(&self, answer: impl Future<Output = Result<(), Refused>>) -> Option<Refused> {
        tokio::time::timeout(QUICK_ANSWER, answer).await.ok().and_then(Result::err)
    }

    fn ask(
        &self,
        event: Event,
        answer: oneshot::Receiver<Result<(), Refused>>,
    ) -> impl Future<Output = Result<(), Refused>> + Send + use<> {
        let queued = self.0.mailbox.try_send(event);
        async move {
            match queued {
                Ok(()) => answer.await.unwrap_or_else(|_| Err(Refused::gone())),
                Err(mpsc::error::TrySendError::Full(_)) => {
                    Err(Refused::new(RefusedKind::Busy, "too many requests for this server are waiting; try again"))
                }
                Err(mpsc::error::TrySendError::Closed(_)) => Err(Refused::gone()),
            }
        }
    }

    /// Counts a viewer, unless this user has too many connections to this server.
    pub(crate) fn enter(&self, user: Option<UserId>, connections_max: usize) -> Option<ViewerSlot> {
        let mut viewers = self.0.viewers.lock().unwrap_or_else(PoisonError::into_inner);
        let count = viewers.entry(user).or_default();
        if *count >= connections_max {
            return None;
        }
        *count += 1;
        Some(ViewerSlot { server: self.clone(), user })
    }

    /// Where figures come from while the game runs.
    pub(crate) fn source(&self) -> Option<Source> {
        self.0.source.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_source(&self, source: Option<Source>) {
        *self.0.source.lock().unwrap_or_else(PoisonError::into_inner) = source;
    }

    /// The processes of the game when its shim was last seen, where no control group knows them.
    pub(crate) fn seen(&self) -> Vec<ShimProcess> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_seen(&self, seen: Vec<ShimProcess>) {
        *self.0.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }

    /// Publishes a sample made from the last one. Dropped when the server went offline meanwhile: zeros are right then.
    pub(crate) fn publish(&self, sample: impl FnOnce(&Stats) -> Stats) {
        self.0.stats.send_if_modified(|stats| {
            let live = stats.state != State::Offline;
            if live {
                *stats = sample(stats);
            }
            live
        });
    }

    /// Keeps the sample of now for those who ask for figures over time. Blocking.
    pub(crate) fn keep_figures(&self) {
        let stats = *self.0.stats.borrow();
        if stats.state == State::Offline {
            return;
        }
        let at_ms = u64::try_from(clock::wall_ms()).unwrap_or(0);
        let change = self.0.figures.lock().unwrap_or_else(PoisonError::into_inner).add(at_ms, &stats);
        let written = change.map_err(std::io::Error::from).and_then(|change| match change {
            Some(change) => change.write(&self.0.dir),
            None => Ok(()),
        });
        if let Err(error) = written {
            self.0.figures.lock().unwrap_or_else(PoisonError::into_inner).failed();
            tracing::warn!(server = %self.0.id, %error, "the figures of this minute are not written down");
        }
    }

    /// Looks at the figures over time.
    pub(crate) fn figures<T>(&self, look: impl FnOnce(&Figures) -> T) -> T {
        look(&self.0.figures.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at its runs.
    pub(crate) fn runs<T>(&self, look: impl FnOnce(&mut Runs) -> T) -> T {
        look(&mut self.0.runs.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes the size of the files; told to viewers with the next sample.
    pub(crate) fn set_disk_bytes(&self, bytes: u64) {
        self.0.stats.send_if_modified(|stats| {
            stats.disk_bytes = bytes;
            false
        });
    }

    /// Publishes a new state, with what is planned from then on: in the status, in the samples (zeros when offline), and to every
    /// viewer.
    fn set_state(&self, state: State, plans: Option<impl FnOnce(&mut Status)>) {
        self.0.status.send_modify(|status| {
            status.state = state;
            if let Some(plans) = plans {
                plans(status);
            }
        });
        self.0.console.hub().set_state(state);
        self.0.stats.send_if_modified(|stats| {
            stats.state = state;
            if state == State::Offline {
                *stats = Stats {
                    disk_bytes: stats.disk_bytes,
                    memory_limit_bytes: stats.memory_limit_bytes,
                    ..Stats::default()
                };
            }
            // The end is told at once; other states come with the next sample of the running game.
            state == State::Offline
        });
    }

    fn update(&self, change: impl FnOnce(&mut Status)) {
        self.0.status.send_modify(change);
    }

    fn set_limit(&self, definition: &Definition) {
        let limit = limit_bytes(definition);
        self.0.stats.send_if_modified(|stats| {
            if stats.state == State::Offline {
                stats.memory_limit_bytes = limit;
            }
            false
        });
    }

    /// The memory limit as the definition has it, for machines whose kernel keeps none.
    pub(crate) fn defined_limit_bytes(&self) -> u64 {
        limit_bytes(&self.0.status.borrow().definition)
    }

    /// Everything the node's API tells of a server.
    pub(crate) fn details(&self, runtime: RuntimeKind) -> ServerDetails {
        let status = self.0.status.borrow().clone();
        ServerDetails {
            state: status.state,
            is_suspended: status.standing == Standing::Suspended,
            utilization: *self.0.stats.borrow(),
            configuration: serde_json::to_value(&status.definition.settings).unwrap_or_default(),
            quarterdeck: Some(Extra {
                runtime: Some(runtime),
                installing: status.installing,
                pid: status.pid,
                next_line: self.0.console.hub().next().0,
                isolation: status.isolation,
                unmeasured: self.source().map(|source| source.unmeasured()).unwrap_or_default(),
                crashed: status.last_exit.as_ref().is_some_and(|exit| exit.crashed),
                ended_at_ms: status.last_exit.as_ref().map(|exit| exit.at_ms),
                last_exit: status.last_exit.map(|exit| exit.how),
                restart_at_ms: status.restart_at_ms,
                condition: status.crashes.condition,
                crashes_in_a_row: status.crashes.in_a_row,
                gave_up: status.crashes.gave_up,
            }),
        }
    }
}

fn limit_bytes(definition: &Definition) -> u64 {
    crate::runtime::cgroup::memory_limit_bytes(&definition.settings.build)
        .unwrap_or_else(crate::stats::machine_memory_bytes)
}

/// One viewer's place; given back when dropped.
pub(crate) struct ViewerSlot {
    server: Server,
    user: Option<UserId>,
}

impl Drop for ViewerSlot {
    fn drop(&mut self) {
        let mut viewers = self.server.0.viewers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = viewers.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                viewers.remove(&self.user);
            }
        }
    }
}
