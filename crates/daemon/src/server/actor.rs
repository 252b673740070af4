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
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use wire::history::Act;
use wire::remote::{Definition, StatusChange, StopKind};
use wire::server::{PowerAction, State};

use crate::clock;
use crate::log::{News, Tail};
use crate::node::Node;
use crate::remote::Report;
use crate::runtime::holder::Found;
use crate::runtime::link::{Link, LinkEvent};
use crate::runtime::shim::{self, ShimProcess};
use crate::runtime::{self, LaunchError, Launched, Place, Story};
use crate::server::commands::PendingCommand;
use crate::server::journal::Journal;
use crate::server::launch;
use crate::server::record::{RunRecord, replace};
use crate::server::run::Scanned;
use crate::server::{Asker, Crashes, DEFINITION_FILE, Refused, RefusedKind, Reply, Server, Standing, Status};
use crate::tasks::{Kind, blocking};

/// How long a stopping node waits for the answers of a shim.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a shim that was told to kill may give no sign of life before it is ended itself.
const SHIM_SILENCE_MAX_MS: u64 = 5_000;

/// What people ask of a server.
#[derive(Debug)]
pub(crate) enum Event {
    /// A power action.
    Power { action: PowerAction, asker: Asker, wait_ms: u64, reply: Reply },
    /// A line for stdin.
    Command { text: String, asker: Asker, reply: Reply },
    /// A new definition.
    Configure(Box<Definition>),
    /// A line of the node's own.
    Say(String),
    /// End the game, then the actor.
    Delete { done: oneshot::Sender<()> },
}

pub(super) type Looked = (Tail, u64, io::Result<News>);

/// A position no log reaches: read all there is.
pub(super) const EVERYTHING: u64 = u64::MAX;

/// One run of the game.
pub(super) struct Run {
    /// Not known while its shim has not said so.
    pub(super) id: Option<[u8; 16]>,
    /// How it ended, as the log says.
    pub(super) exit: Option<spool::ExitPayload>,
    pub(super) place: Place,
    /// Its shim, while one is known to live.
    pub(super) shim: Option<ShimProcess>,
    /// In which boot of the machine it began, if that is known.
    pub(super) boot_id: String,
    /// Since when the shim owes a sign of life: it was told to kill. On the monotonic clock.
    pub(super) silent_since_ms: Option<u64>,
}

/// A power action that the engine has not answered yet.
pub(super) struct PendingPower {
    action: PowerAction,
    asker: Asker,
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
    /// What a start has to tell.
    told: Option<mpsc::Receiver<String>>,
    /// Cancelled when what is being launched is to end before it has begun.
    unwanted: CancellationToken,
    pub(super) reconnecting: Option<BoxFuture<'static, Found>>,
    /// Ends the pause before the next try to reach a shim.
    pub(super) nudge: Arc<Notify>,
    /// Whether the log says that the run found at the daemon's start had become ready before.
    pub(super) scanning: Option<BoxFuture<'static, Scanned>>,
    /// What the run has left behind is ending; gives how the run itself ended, if anybody saw it.
    pub(super) sweeping: Option<BoxFuture<'static, Option<spool::ExitPayload>>>,
    /// Cancelled when that is to be killed at once.
    pub(super) no_mercy: CancellationToken,
    pub(super) replies: HashMap<u64, PendingPower>,
    /// By number, which is the order they were asked in.
    pub(super) commands: BTreeMap<u64, PendingCommand>,
    /// When it is started again and when it is killed, on the monotonic clock, and its crashes; as published.
    plans: (Option<u64>, Option<u64>, Crashes),
    pub(super) next_id: u64,
    pub(super) remembered: Option<RunRecord>,
    /// The last thing that somebody did.
    pub(super) last_act: Option<Act>,
    /// Who waits for the deletion; nobody unless it has begun.
    pub(super) deleting: Vec<oneshot::Sender<()>>,
}

impl Actor {
    pub(crate) fn new(node: Arc<Node>, server: Server, definition: Definition, tail: Tail, journal: Journal) -> Self {
        let (settings, matcher) = launch::power_settings(&node.config, &definition);
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
            told: None,
            unwanted: CancellationToken::new(),
            reconnecting: None,
            nudge: Arc::default(),
            scanning: None,
            sweeping: None,
            no_mercy: CancellationToken::new(),
            replies: HashMap::new(),
            commands: BTreeMap::new(),
            // Unique across restarts of the daemon: the shim and the log remember ids of requests.
            plans: (None, None, Crashes::default()),
            next_id: u64::try_from(clock::wall_ms()).unwrap_or(0) << 20,
            remembered: None,
            last_act: None,
            deleting: Vec::new(),
        }
    }

    /// Takes up what an earlier daemon left, then serves until the server is deleted or the node stops. Games go on.
    pub(crate) async fn run(mut self, found: Found, mut mailbox: mpsc::Receiver<Event>, taken_up: oneshot::Sender<()>) {
        let cancel = self.node.tasks.cancel_token();
        self.take_up(found).await;
        // Nobody may wait for it any more.
        let _ = taken_up.send(());
        loop {
            self.look();
            let journal_due = self.journal.next_tick().map(tokio::time::Instant::from);
            let deadline = self.power.deadline().map(clock::instant);
            let commands_due = self.commands_due().map(clock::instant);
            tokio::select! {
                biased;
                () = cancel.cancelled() => return self.drain().await,
                Some(event) = mailbox.recv() => self.asked(event).await,
                looked = slot(&mut self.looking) => self.looked(looked).await,
                Some(text) = told(&mut self.told) => self.note(text).await,
                launched = slot(&mut self.launching) => self.launched(launched).await,
                found = slot(&mut self.reconnecting) => self.take_up(found).await,
                exit = slot(&mut self.sweeping) => self.ended(exit).await,
                scanned = slot(&mut self.scanning) => self.scanned(scanned).await,
                event = heard(&mut self.link_events) => self.heard(event).await,
                () = until(deadline) => self.input(Input::Time).await,
                () = until(commands_due) => self.give_up_commands(),
                () = until(journal_due) => self.tick_journal().await,
                else => return,
            }
            if self.is_deleted().await {
                return;
            }
        }
    }

    /// The node stops: what the shim has carried out goes on the record before this ends, and our last lines into the log.
    async fn drain(mut self) {
        let answers = async {
            while self.awaits_answers() || self.journal.is_unanswered() {
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
            Event::Power { action: PowerAction::Start | PowerAction::Restart, reply, .. }
                if self.server.status().borrow().installing =>
            {
                let text = "the server is being installed; start it when that is done";
                // Whoever asked may be gone.
                let _ = reply.send(Err(Refused::new(RefusedKind::State, text)));
            }
            Event::Power { action, asker, wait_ms, reply } => {
                tracing::info!(server = %self.server.id(), %action, user = ?asker.user, "power action asked for");
                let id = self.id();
                self.replies.insert(id, PendingPower { action, asker, reply });
                self.input(Input::Request { id, action, wait_ms }).await;
            }
            Event::Say(text) => self.note(text).await,
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

    async fn configure(&mut self, definition: Definition) {
        let (settings, matcher) = launch::power_settings(&self.node.config, &definition);
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
        let effects = self.decide(input);
        self.carry_out(effects).await;
    }

    /// What the engine says to an event.
    pub(super) fn decide(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.power.input(clock::mono_ms(), input, &mut effects);
        effects
    }

    pub(super) async fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Launch => self.launch().await,
                Effect::AskToStop { grace_ms } => self.ask_to_stop(grace_ms),
                Effect::KillAll => self.kill(),
                Effect::StateChanged { from, to } => {
                    tracing::info!(server = %self.server.id(), %from, %to, "state changed");
                    let plans = self.newer_plans();
                    self.server.set_state(to, plans);
                    let change = StatusChange { previous_state: from, new_state: to };
                    self.node.remote.report(Report::Status(self.server.id(), change));
                }
                Effect::Reply { id, result } => {
                    if let Some(PendingPower { action, asker, reply }) = self.replies.remove(&id) {
                        if result.is_ok() {
                            let event = format!("server:power.{action}");
                            self.node.record(self.server.id(), asker, &event, None);
                            self.acted(asker, &event);
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
        if let Some(plans) = self.newer_plans() {
            self.server.update(plans);
        }
        self.remember().await;
    }

    /// When what the engine has planned will happen, by the clock on the wall, and what it counts, if that is not published yet.
    /// Once per plan: the two clocks never agree to the millisecond.
    fn newer_plans(&mut self) -> Option<impl FnOnce(&mut Status) + use<>> {
        let plans = (self.power.restart_at(), self.power.kill_at(), Crashes::of(&self.power));
        if plans == std::mem::replace(&mut self.plans, plans) {
            return None;
        }
        let (now_ms, wall_ms) = (clock::mono_ms(), u64::try_from(clock::wall_ms()).unwrap_or(0));
        let on_the_wall = move |at_ms: u64| wall_ms.saturating_add(at_ms.saturating_sub(now_ms));
        Some(move |status: &mut Status| {
            status.restart_at_ms = plans.0.map(on_the_wall);
            status.kill_at_ms = plans.1.map(on_the_wall);
            status.crashes = plans.2;
        })
    }

    pub(super) async fn note(&mut self, text: String) {
        let id = self.id();
        if self.journal.note(id, text).await {
            self.look_for(EVERYTHING);
        }
    }

    async fn tick_journal(&mut self) {
        self.journal.tick().await;
        // A disk that was full may have taken the gap.
        self.look_for(EVERYTHING);
    }

    async fn launch(&mut self) {
        self.unwanted = CancellationToken::new();
        if self.reconnecting.is_some() {
            self.launching = Some(ready(Err(LaunchError::Held)).boxed());
            return;
        }
        self.journal.hand_over().await;
        let (node, server, definition) = (self.node.clone(), self.server.clone(), self.definition.clone());
        let (story, told) = Story::new(server.clone());
        self.told = Some(told);
        self.launching = Some(runtime::launch(node, server, definition, self.unwanted.clone(), story).boxed());
    }

    async fn launched(&mut self, launched: Result<Launched, LaunchError>) {
        match launched {
            Ok(launched) => {
                let Launched { found, run_id, pid, place, kept, newer } = launched;
                // One that came in the meantime is newer still.
                if let Some(definition) = newer.filter(|_| Arc::ptr_eq(&kept, &self.definition)) {
                    self.configure(definition).await;
                }
                self.run = Some(Run::new(Some(run_id), place));
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

    /// Without a connection the stop waits for it, with what is left of its grace: see [`Actor::take_up`].
    pub(super) fn ask_to_stop(&mut self, grace_ms: u64) {
        let stop = &self.definition.process_configuration.stop;
        let text = format!("{}\n", stop.value);
        let by = match stop.kind {
            StopKind::Command => StopBy::Input(text.as_bytes()),
            StopKind::Signal => StopBy::Signal(runtime::signal_number(&stop.value)),
            StopKind::Stop => StopBy::Signal(libc::SIGTERM),
        };
        match &self.link {
            Some(link) => link.stop(grace_ms, by),
            None => {
                tracing::warn!(server = %self.server.id(), "no shim to pass the stop on to; it is when there is one");
            }
        }
    }

    /// Ends every process of the game. A shim that somebody has stopped is woken; one that gives no sign of life for too long is
    /// ended itself, and what it held is swept up when it is gone.
    fn kill(&mut self) {
        self.no_mercy.cancel();
        if let Some(link) = &self.link {
            link.kill();
        }
        let Some(run) = &mut self.run else { return };
        run.place.leaf.kill();
        let now_ms = clock::mono_ms();
        let silent_ms = now_ms - *run.silent_since_ms.get_or_insert(now_ms);
        if let Some(shim) = run.shim {
            if silent_ms >= SHIM_SILENCE_MAX_MS {
                tracing::error!(server = %self.server.id(), pid = shim.pid, silent_ms, "the shim gives no sign of life; ending it");
                shim.end();
                if let Some(container) = run.place.container.clone() {
                    let tasks = &self.node.tasks;
                    tasks.spawn(Kind::Shim, self.server.id(), container.kill());
                }
            } else {
                shim.wake();
            }
        }
        self.nudge.notify_one();
    }

    pub(super) fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

impl Run {
    pub(super) fn new(id: Option<[u8; 16]>, place: Place) -> Self {
        Self { id, exit: None, place, shim: None, boot_id: shim::boot_id(), silent_since_ms: None }
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

/// The next thing that a start has to tell; none when it has told everything.
async fn told(story: &mut Option<mpsc::Receiver<String>>) -> Option<String> {
    match story {
        Some(receiver) => {
            let text = receiver.recv().await;
            if text.is_none() {
                *story = None;
            }
            text
        }
        None => std::future::pending().await,
    }
}

async fn until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
