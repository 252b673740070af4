//! The owner of one server: one event at a time, decided by `engine::power`, carried out in order.
//!
//! Events come from people (the mailbox), from the shim (the link), from the log (what the game printed, when it started and
//! ended) and from the clock. Slow work (launching, reading) is a future polled here that ends in an event, so a kill never
//! waits behind it. The life of one run is in `server/run`.

use std::collections::{BTreeMap, HashMap};
use std::future::ready;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use engine::power::{Effect, Input, Power, Refusal};
use engine::startup::Matcher;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use spool::message::StopBy;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use wire::remote::{Definition, StatusChange, StopKind};
use wire::server::{PowerAction, State};

use crate::clock;
use crate::log::{Entry, News, Tail};
use crate::node::Node;
use crate::remote::Report;
use crate::runtime::cgroup::Leaf;
use crate::runtime::link::{Link, LinkEvent};
use crate::runtime::process::{self, Found, LaunchError, Launched};
use crate::server::journal::Journal;
use crate::server::record::{RunRecord, replace};
use crate::server::{Asker, DEFINITION_FILE, Refused, RefusedKind, Reply, Server, Standing};
use crate::tasks::blocking;

/// Commands that wait for the shim's answer; one more is refused.
const COMMANDS_MAX: usize = 128;
// After a lost connection they are sent again, and the shim must still know which of them it has done.
const _: () = assert!(COMMANDS_MAX * 2 <= spool::message::KNOWN_IDS, "the rest is for notes, which share the numbers");

/// How long a stopping node waits for the answers of a shim.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a command waits for the shim's answer.
const COMMAND_TIMEOUT_MS: u64 = 10_000;
/// Kills, one a second, after which a shim that does not carry them out is ended itself.
const SHIM_KILLS_MAX: u32 = 4;

/// What people ask of a server.
#[derive(Debug)]
pub(crate) enum Event {
    /// A power action.
    Power { action: PowerAction, asker: Asker, wait_ms: u64, reply: Reply },
    /// A line for stdin.
    Command { text: String, asker: Asker, reply: Reply },
    /// A new definition.
    Configure(Box<Definition>),
    /// End the game, then the actor.
    Delete { done: oneshot::Sender<()> },
}

pub(super) type Looked = (Tail, u64, io::Result<News>);

/// A position no log reaches: read all there is.
pub(super) const EVERYTHING: u64 = u64::MAX;

/// One run of the game.
pub(super) struct Run {
    pub(super) id: [u8; 16],
    /// How it ended, as the log says.
    pub(super) exit: Option<spool::ExitPayload>,
    pub(super) leaf: Leaf,
    /// Its shim, while one is known to live.
    pub(super) shim_pid: Option<u32>,
    /// How often its end was demanded.
    pub(super) kills: u32,
}

/// A power action that the engine has not answered yet.
pub(super) struct PendingPower {
    action: PowerAction,
    asker: Asker,
    reply: Reply,
}

/// A command that the shim has not answered yet.
pub(super) struct PendingCommand {
    text: String,
    asker: Asker,
    /// It is the configured stop command.
    stops: bool,
    asked_mono_ms: u64,
    reply: Reply,
}

/// See the module.
pub(crate) struct Actor {
    pub(super) node: Arc<Node>,
    pub(super) server: Server,
    pub(super) definition: Arc<Definition>,
    pub(super) power: Power,
    pub(super) matcher: Matcher,
    pub(super) journal: Journal,
    pub(super) run: Option<Run>,
    pub(super) link: Option<Link>,
    pub(super) link_events: Option<mpsc::Receiver<LinkEvent>>,
    /// The shim is gone; the run ends when the log is read to its end.
    pub(super) shim_gone: bool,
    pub(super) tail: Option<Tail>,
    pub(super) looking: Option<BoxFuture<'static, io::Result<Looked>>>,
    /// How far the log should be read, if there is something to read.
    pub(super) look_until: Option<u64>,
    pub(super) launching: Option<BoxFuture<'static, Result<Launched, LaunchError>>>,
    /// Cancelled when what is being launched is to end before it has begun.
    unwanted: CancellationToken,
    pub(super) reconnecting: Option<BoxFuture<'static, Found>>,
    pub(super) replies: HashMap<u64, PendingPower>,
    /// By number, which is the order they were asked in.
    pub(super) commands: BTreeMap<u64, PendingCommand>,
    pub(super) next_id: u64,
    pub(super) remembered: Option<RunRecord>,
    /// Who waits for the deletion; nobody unless it has begun.
    pub(super) deleting: Vec<oneshot::Sender<()>>,
}

impl Actor {
    pub(crate) fn new(node: Arc<Node>, server: Server, definition: Definition, tail: Tail, journal: Journal) -> Self {
        let (settings, matcher) = process::power_settings(&node.config, &definition);
        Self {
            power: Power::new(settings, clock::mono_ms()),
            definition: Arc::new(definition),
            matcher,
            journal,
            node,
            server,
            run: None,
            link: None,
            link_events: None,
            shim_gone: false,
            tail: Some(tail),
            looking: None,
            look_until: Some(EVERYTHING),
            launching: None,
            unwanted: CancellationToken::new(),
            reconnecting: None,
            replies: HashMap::new(),
            commands: BTreeMap::new(),
            // Unique across restarts of the daemon: the shim and the log remember ids of requests.
            next_id: u64::try_from(clock::wall_ms()).unwrap_or(0) << 20,
            remembered: None,
            deleting: Vec::new(),
        }
    }

    /// Takes up what an earlier daemon left, then serves until the server is deleted or the node stops. Games go on.
    /// `newest` is what stands before the place where the tail begins.
    pub(crate) async fn run(mut self, found: Found, newest: Vec<Entry>, mut mailbox: mpsc::Receiver<Event>) {
        let cancel = self.node.tasks.cancel_token();
        self.take_up(found).await;
        if self.is_ready_by(&newest) {
            self.input(Input::ReadyMatched).await;
        }
        drop(newest);
        loop {
            self.look();
            let deadline = self.power.deadline().map(clock::instant);
            let commands_due = self.commands_due().map(clock::instant);
            tokio::select! {
                biased;
                () = cancel.cancelled() => return self.drain().await,
                Some(event) = mailbox.recv() => self.asked(event).await,
                looked = slot(&mut self.looking) => self.looked(looked).await,
                launched = slot(&mut self.launching) => self.launched(launched).await,
                found = slot(&mut self.reconnecting) => self.take_up(found).await,
                event = heard(&mut self.link_events) => self.heard(event).await,
                () = until(deadline) => self.input(Input::Time).await,
                () = until(commands_due) => self.give_up_commands(),
                else => return,
            }
            if self.is_deleted().await {
                return;
            }
        }
    }

    /// The node stops: what the shim has carried out goes on the record before this ends.
    async fn drain(mut self) {
        let answers = async {
            while !self.commands.is_empty() {
                let event = heard(&mut self.link_events).await;
                self.heard(event).await;
            }
        };
        // A shim that does not answer is asked again by nobody: whoever sent the command is told so.
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, answers).await;
    }

    // --- people ---------------------------------------------------------------------------------------------------------------

    async fn asked(&mut self, event: Event) {
        match event {
            // Nothing may begin any more; whoever asked is told when the event is dropped.
            Event::Power { .. } | Event::Command { .. } | Event::Configure(_) if !self.deleting.is_empty() => {}
            Event::Power { action, asker, wait_ms, reply } => {
                tracing::info!(server = %self.server.id(), %action, user = ?asker.user, "power action asked for");
                let id = self.id();
                self.replies.insert(id, PendingPower { action, asker, reply });
                self.input(Input::Request { id, action, wait_ms }).await;
            }
            Event::Command { text, asker, reply } => self.command(text, asker, reply),
            Event::Configure(definition) => self.configure(*definition).await,
            Event::Delete { done } => {
                self.deleting.push(done);
                self.server.update(|status| status.standing = Standing::Deleted);
                let id = self.id();
                self.input(Input::Request { id, action: PowerAction::Kill, wait_ms: 0 }).await;
            }
        }
    }

    fn command(&mut self, text: String, asker: Asker, reply: Reply) {
        let refusal = match (&self.link, self.power.state()) {
            _ if self.server.status().borrow().standing == Standing::Suspended => {
                Some(Refused::new(RefusedKind::Suspended, "the server is suspended; commands are not taken"))
            }
            (_, State::Offline) => Some(Refused::new(RefusedKind::Offline, "the server is offline; start it first")),
            (None, _) => Some(Refused::new(
                RefusedKind::Offline,
                "the server cannot take commands right now; try again in a moment",
            )),
            (Some(_), _) if self.commands.len() >= COMMANDS_MAX => {
                Some(Refused::new(RefusedKind::Busy, "the server has too many commands waiting; try again in a moment"))
            }
            _ => None,
        };
        if let Some(refused) = refusal {
            // Whoever asked may be gone.
            let _ = reply.send(Err(refused));
            return;
        }
        let stop = &self.definition.process_configuration.stop;
        let stops = stop.kind == StopKind::Command && text.trim() == stop.value.trim();
        let id = self.id();
        self.write(id, PendingCommand { text, asker, stops, asked_mono_ms: clock::mono_ms(), reply });
    }

    pub(super) fn write(&mut self, id: u64, command: PendingCommand) {
        if let Some(link) = &self.link {
            let user = command.asker.user.map(|user| user.to_string()).unwrap_or_default();
            link.write(id, &user, format!("{}\n", command.text).as_bytes());
        }
        self.commands.insert(id, command);
    }

    async fn configure(&mut self, definition: Definition) {
        let (settings, matcher) = process::power_settings(&self.node.config, &definition);
        self.matcher = matcher;
        let suspended = definition.settings.suspended;
        self.definition = Arc::new(definition);
        self.server.set_limit(&self.definition);
        let definition = self.definition.clone();
        self.server.update(|status| {
            status.definition = definition;
            if status.standing != Standing::Deleted {
                status.standing = if suspended { Standing::Suspended } else { Standing::Active };
            }
        });
        let (path, text) = (self.server.dir().join(DEFINITION_FILE), serde_json::to_vec(&*self.definition));
        let saved = blocking(move || replace(&path, &text.map_err(io::Error::other)?)).await.and_then(|saved| saved);
        if let Err(error) = saved {
            tracing::error!(server = %self.server.id(), %error, "the definition is not saved: a restart without the panel would not know it");
        }
        self.input(Input::Settings(settings)).await;
        self.input(if suspended { Input::Suspend } else { Input::Unsuspend }).await;
    }

    async fn is_deleted(&mut self) -> bool {
        let is_busy = self.run.is_some() || self.launching.is_some() || self.reconnecting.is_some();
        if self.deleting.is_empty() || is_busy {
            return false;
        }
        self.journal.hand_over().await;
        for done in self.deleting.drain(..) {
            // Whoever asked may be gone.
            let _ = done.send(());
        }
        true
    }

    // --- decisions ------------------------------------------------------------------------------------------------------------

    /// Lets the engine decide and carries out what it decided, in order.
    pub(super) async fn input(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.power.input(clock::mono_ms(), input, &mut effects);
        for effect in effects {
            match effect {
                Effect::Launch => self.launch().await,
                Effect::AskToStop { grace_ms } => self.ask_to_stop(grace_ms),
                Effect::KillAll => self.kill(),
                Effect::StateChanged { from, to } => {
                    tracing::info!(server = %self.server.id(), %from, %to, "state changed");
                    self.server.set_state(to);
                    let change = StatusChange { previous_state: from, new_state: to };
                    self.node.remote.report(Report::Status(self.server.id(), change));
                }
                Effect::Reply { id, result } => {
                    if let Some(PendingPower { action, asker, reply }) = self.replies.remove(&id) {
                        if result.is_ok() {
                            self.node.record(self.server.id(), asker, &format!("server:power.{action}"), None);
                        }
                        // Whoever asked may be gone.
                        let _ = reply.send(result.map_err(|refusal| refused(&refusal)));
                    }
                }
                Effect::Note(text) => self.note(text).await,
                Effect::Crashed { exit, in_a_row, .. } => {
                    tracing::warn!(server = %self.server.id(), %exit, in_a_row, "the game crashed");
                }
            }
        }
        if self.launching.is_some() && self.power.state() == State::Stopping {
            self.unwanted.cancel();
        }
        let restart_at_ms = self.power.restart_at().map(|at| {
            let ahead = i64::try_from(at.saturating_sub(clock::mono_ms())).unwrap_or(0);
            u64::try_from(clock::wall_ms() + ahead).unwrap_or(0)
        });
        if self.server.status().borrow().restart_at_ms != restart_at_ms {
            self.server.update(|status| status.restart_at_ms = restart_at_ms);
        }
        self.remember().await;
    }

    pub(super) async fn note(&mut self, text: String) {
        let id = self.id();
        if self.journal.note(id, text).await {
            self.look_for(EVERYTHING);
        }
    }

    async fn launch(&mut self) {
        self.unwanted = CancellationToken::new();
        if self.reconnecting.is_some() {
            self.launching = Some(ready(Err(LaunchError::Held)).boxed());
            return;
        }
        self.journal.hand_over().await;
        let (node, server, definition) = (self.node.clone(), self.server.clone(), self.definition.clone());
        self.launching = Some(process::launch(node, server, definition, self.unwanted.clone()).boxed());
    }

    async fn launched(&mut self, launched: Result<Launched, LaunchError>) {
        match launched {
            Ok(launched) => {
                let Launched { found, run_id, pid, leaf, kept, newer } = launched;
                // One that came in the meantime is newer still.
                if let Some(definition) = newer.filter(|_| Arc::ptr_eq(&kept, &self.definition)) {
                    self.configure(definition).await;
                }
                self.run = Some(Run { id: run_id, exit: None, leaf, shim_pid: None, kills: 0 });
                self.take_up(found).await;
                self.input(Input::LaunchOk { pid }).await;
            }
            Err(error) => {
                tracing::warn!(server = %self.server.id(), %error, "start failed");
                if self.reconnecting.is_none() && self.link.is_none() {
                    self.journal.take_back().await;
                }
                // What a failed start left in the log (its own start and end) is read, and belongs to no run.
                self.look_for(EVERYTHING);
                self.input(Input::LaunchFailed { reason: error.to_string() }).await;
            }
        }
    }

    fn ask_to_stop(&mut self, grace_ms: u64) {
        let stop = &self.definition.process_configuration.stop;
        let text = format!("{}\n", stop.value);
        let by = match stop.kind {
            StopKind::Command => StopBy::Input(text.as_bytes()),
            StopKind::Signal => StopBy::Signal(process::signal_number(&stop.value)),
            StopKind::Stop => StopBy::Signal(libc::SIGTERM),
        };
        match &self.link {
            Some(link) => link.stop(grace_ms, by),
            None => tracing::warn!(server = %self.server.id(), "no shim to pass the stop on to; the deadline stands"),
        }
    }

    /// Ends every process of the game. A shim that a game has stopped is woken; one that does not act after several demands is
    /// ended itself, and what it held is swept up when it is gone.
    fn kill(&mut self) {
        if let Some(link) = &self.link {
            link.kill();
        }
        let Some(run) = &mut self.run else { return };
        run.leaf.kill();
        run.kills += 1;
        // Without a connection nobody knows whose pid it is by now.
        if let Some(shim_pid) = run.shim_pid.filter(|_| self.link.is_some()) {
            if run.kills > SHIM_KILLS_MAX {
                tracing::error!(server = %self.server.id(), shim_pid, "the shim does not carry out the kill; ending it");
                process::end_shim(shim_pid);
            } else {
                process::wake_shim(shim_pid);
            }
        }
    }

    /// When the oldest command has waited long enough for the shim's answer.
    fn commands_due(&self) -> Option<u64> {
        self.commands.values().map(|command| command.asked_mono_ms + COMMAND_TIMEOUT_MS).min()
    }

    /// Tells whoever asked that their commands were not answered in time.
    fn give_up_commands(&mut self) {
        let now_ms = clock::mono_ms();
        let late = self.commands.extract_if(.., |_, command| command.asked_mono_ms + COMMAND_TIMEOUT_MS <= now_ms);
        for (_, command) in late {
            let text = "the game's holder does not answer; whether the command reached the game is not known";
            // Whoever asked may be gone.
            let _ = command.reply.send(Err(Refused::new(RefusedKind::Failed, text)));
        }
    }

    /// The shim has said what became of a command.
    pub(super) async fn answered(&mut self, id: u64, result: Result<(), Refused>) {
        let Some(PendingCommand { text, asker, stops, reply, .. }) = self.commands.remove(&id) else { return };
        if result.is_ok() {
            let details = serde_json::json!({ "command": text });
            self.node.record(self.server.id(), asker, "server:console.command", Some(details));
        }
        let typed_stop = stops && result.is_ok();
        // Whoever asked may be gone.
        let _ = reply.send(result);
        if typed_stop {
            // Whoever types the stop command means a stop, not a crash.
            self.input(Input::StopTyped).await;
        }
    }

    pub(super) fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

fn refused(refusal: &Refusal) -> Refused {
    let kind = match refusal {
        Refusal::Busy(_) | Refusal::TooManyWaiting | Refusal::Preempted(_) => RefusedKind::Busy,
        Refusal::AlreadyRunning(_) => RefusedKind::State,
        Refusal::Suspended => RefusedKind::Suspended,
        Refusal::LaunchFailed(_) => RefusedKind::Failed,
    };
    Refused::new(kind, refusal.to_string())
}

async fn slot<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(running) => {
            let done = running.await;
            *future = None;
            done
        }
        None => std::future::pending().await,
    }
}

async fn heard(events: &mut Option<mpsc::Receiver<LinkEvent>>) -> LinkEvent {
    match events {
        Some(receiver) => match receiver.recv().await {
            Some(event) => event,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

async fn until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
