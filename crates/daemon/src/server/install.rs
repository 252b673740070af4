//! Installing a server: its egg's script, held by a shim of its own and written down in a log of its own, from the first line to the
//! report to the panel. It outlives the daemon as games do: the next one goes on where this one was.
//!
//! ```text
//! script fetched -> claimed -> the game is stopped -> recorded -> runs -> ended -> the panel is told -> released (-> start)
//! ```
//! While a server is claimed nobody starts it. Only a script that has ended with exit code 0 has installed something; how it ended stands
//! in the server's console for everybody, what it said in the log for those who may see it.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use wire::console::Event;
use wire::ids::ServerId;
use wire::remote::{InstallReport, InstallScript};
use wire::server::{PowerAction, State};

use crate::log::{Entry, Presentation, Tail};
use crate::node::Node;
use crate::remote::RemoteError;
use crate::runtime::holder::{self, Found, Holder};
use crate::runtime::install::{self, Begun};
use crate::runtime::leftovers::Leftovers;
use crate::runtime::link::LinkEvent;
use crate::runtime::{Place, Story};
use crate::server::record::replace;
use crate::server::{Asker, LOG_DIR, Refused, RefusedKind, Server};
use crate::tasks::{Kind, blocking};

/// Folder of a server's installation, in its own.
pub(crate) const INSTALL_DIR: &str = "install";
/// What a daemon after us needs to know of one that is under way.
const RECORD_FILE: &str = "install.json";
/// How long a game may take to stop for a new installation before it is killed; stock nodes wait as long.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// How long a killed game may take to be gone.
const KILL_GRACE: Duration = Duration::from_secs(30);
/// Pauses between tries to tell the panel: the first, and the longest.
const REPORT_PAUSE: Duration = Duration::from_secs(1);
const REPORT_PAUSE_MAX: Duration = Duration::from_mins(1);
/// Pause between tries to reach a shim that holds the log but does not answer.
const REACH_PAUSE: Duration = Duration::from_secs(2);
/// Read all there is.
const EVERYTHING: u64 = u64::MAX;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wish {
    /// The server has been installed before.
    pub(crate) reinstall: bool,
    /// Start it when it is installed.
    pub(crate) then_start: bool,
}

/// What is written down of one that is under way.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Record {
    wish: Wish,
    /// Its script has been started.
    begun: bool,
}

/// How a script ended.
enum Ending {
    Installed,
    Failed(String),
    /// The node ends; the script goes on.
    Left,
}

/// Begins an installation. Refused while another one is under way, or when the panel does not say what is to be installed. Where that is
/// nothing, the server is installed at once.
pub(crate) async fn begin(node: &Arc<Node>, server: &Server, wish: Wish) -> Result<(), Refused> {
    let skips = server.status().borrow().definition.settings.skip_egg_scripts;
    let script = if skips { InstallScript::default() } else { script(node, server).await? };
    if script.script.trim().is_empty() {
        let (node_too, id) = (node.clone(), server.id());
        let report = InstallReport { successful: true, reinstall: wish.reinstall };
        node.tasks.spawn(Kind::Install, id, async move {
            tell_panel(&node_too, id, report, &CancellationToken::new()).await;
        });
        server.console().hub().announce(Event::InstallStarted);
        server.console().hub().announce(Event::InstallCompleted);
        if wish.then_start {
            drop(server.power(PowerAction::Start, Asker { user: None, ip: None }, 0));
        }
        return Ok(());
    }
    let abort = server.claim()?;
    let task = Installation { node: node.clone(), server: server.clone(), wish, abort };
    node.tasks.spawn(Kind::Install, server.id(), task.run(script));
    Ok(())
}

/// What the panel says is to be installed. One that has nothing to say about that has nothing to install.
async fn script(node: &Node, server: &Server) -> Result<InstallScript, Refused> {
    match node.remote.install(server.id()).await {
        Ok(script) => Ok(script),
        Err(RemoteError::NotFound | RemoteError::Refused { status: 405, .. }) => Ok(InstallScript::default()),
        Err(error) => {
            let text = format!("what is to be installed cannot be had: {error}");
            Err(Refused::new(RefusedKind::Failed, text))
        }
    }
}

/// Goes on with what an earlier daemon had begun, if it had. Whoever starts the server meanwhile is refused.
pub(crate) async fn resume(node: &Arc<Node>, server: &Server) {
    let dir = server.dir().join(INSTALL_DIR);
    let read = blocking(move || std::fs::read(dir.join(RECORD_FILE))).await.and_then(|read| read);
    let Ok(record) = read else { return };
    let record = serde_json::from_slice(&record).unwrap_or_else(|error| {
        tracing::error!(server = %server.id(), %error, "the record of an installation cannot be read");
        Record { wish: Wish { reinstall: true, then_start: false }, begun: true }
    });
    let Ok(abort) = server.claim() else { return };
    let task = Installation { node: node.clone(), server: server.clone(), wish: record.wish, abort };
    node.tasks.spawn(Kind::Install, server.id(), task.go_on(record.begun));
}

impl Server {
    /// Takes the server for an installation; the token ends it.
    fn claim(&self) -> Result<CancellationToken, Refused> {
        let mut installing = self.0.installing.lock().unwrap_or_else(PoisonError::into_inner);
        if installing.is_some() {
            return Err(Refused::new(RefusedKind::Busy, "the server is being installed already; wait, or abort it"));
        }
        let abort = CancellationToken::new();
        *installing = Some(abort.clone());
        self.update(|status| status.installing = true);
        Ok(abort)
    }

    fn release(&self) {
        *self.0.installing.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.update(|status| status.installing = false);
    }

    /// Ends an installation that is under way; whether there was one.
    pub(crate) fn abort_installation(&self) -> bool {
        let installing = self.0.installing.lock().unwrap_or_else(PoisonError::into_inner);
        installing.as_ref().inspect(|abort| abort.cancel()).is_some()
    }

    /// Ends an installation that is under way, and waits until it is over.
    pub(crate) async fn without_installation(&self) {
        if self.abort_installation() {
            let mut status = self.status();
            // A server whose actor is gone is installed by nobody.
            let _ = status.wait_for(|status| !status.installing).await;
        }
    }
}

/// One that is under way.
struct Installation {
    node: Arc<Node>,
    server: Server,
    wish: Wish,
    abort: CancellationToken,
}

impl Installation {
    async fn run(self, script: InstallScript) {
        let ending = self.node.tasks.cancel_token();
        let begun = tokio::select! {
            begun = self.begin(&script) => begun,
            () = ending.cancelled() => return,
        };
        let ended = match begun {
            Ok((begun, log)) => self.follow(begun.found, begun.place, log).await,
            Err(why) => Ending::Failed(why),
        };
        self.finish(ended).await;
    }

    /// An earlier daemon had written it down. What the script has said meanwhile is in its log.
    async fn go_on(self, begun: bool) {
        let found = holder::find(&self.node.tasks, self.server.id(), &self.dir()).await;
        let place = install::place(&self.node, &self.server, &found);
        let ended = match self.log().await {
            _ if !begun && matches!(found, Found::Nobody) => {
                Ending::Failed("the node was restarted before its script had begun".to_owned())
            }
            Ok(log) => self.follow(found, place, log).await,
            Err(why) => Ending::Failed(why),
        };
        self.finish(ended).await;
    }

    async fn log(&self) -> Result<Log, String> {
        let presentation = self.server.console().presentation().clone();
        Log::open(&self.dir(), presentation).await.map_err(|error| format!("its log cannot be read: {error}"))
    }

    fn dir(&self) -> PathBuf {
        self.server.dir().join(INSTALL_DIR)
    }

    /// Runs the script. An error is for people.
    async fn begin(&self, script: &InstallScript) -> Result<(Begun, Log), String> {
        self.stop_game().await?;
        self.server.console().hub().announce(Event::InstallStarted);
        // What is to be installed may depend on values that have just been changed.
        if let Ok(definition) = self.node.remote.server(self.server.id()).await {
            self.server.configure(definition).await;
        }
        let unwritten = |error: io::Error| format!("the installation cannot be written down: {error}");
        self.record(false).await.map_err(unwritten)?;
        // Before the script says anything.
        let log = self.log().await?;
        self.say("Installing the server; what its script says is in the log of the installation.");
        let begun = self.start(script).await.map_err(|error| error.to_string())?;
        self.record(true).await.map_err(unwritten)?;
        Ok((begun, log))
    }

    async fn start(&self, script: &InstallScript) -> Result<Begun, crate::runtime::LaunchError> {
        let (story, mut told) = Story::new(self.server.clone());
        let dir = self.dir();
        let starting = install::begin(&self.node, &self.server, script, &dir, &self.abort, &story);
        tokio::pin!(starting);
        loop {
            tokio::select! {
                begun = &mut starting => return begun,
                Some(text) = told.recv() => self.say(&text),
            }
        }
    }

    /// A game that runs has to go first: in time, or at once.
    async fn stop_game(&self) -> Result<(), String> {
        for (action, grace) in [(PowerAction::Stop, STOP_GRACE), (PowerAction::Kill, KILL_GRACE)] {
            let mut status = self.server.status();
            if status.borrow().state == State::Offline {
                return Ok(());
            }
            // A refusal means that it is stopping, or has stopped.
            let _ = self.server.power(action, Asker { user: None, ip: None }, 0).await;
            let _ = tokio::time::timeout(grace, status.wait_for(|status| status.state == State::Offline)).await;
        }
        match self.server.status().borrow().state {
            State::Offline => Ok(()),
            state => Err(format!("the server is {state} and does not end")),
        }
    }

    /// Tells what the script says, until it has ended.
    async fn follow(&self, mut found: Found, place: Place, mut log: Log) -> Ending {
        let node_ends = self.node.tasks.cancel_token();
        loop {
            match found {
                Found::Running(holder) => {
                    if !self.hear(holder, &mut log, &node_ends).await {
                        return Ending::Left;
                    }
                }
                // It holds the log and will answer, or be gone.
                Found::Unreachable => tokio::select! {
                    () = tokio::time::sleep(REACH_PAUSE) => {}
                    () = node_ends.cancelled() => return Ending::Left,
                },
                Found::Nobody => break,
            }
            found = holder::find(&self.node.tasks, self.server.id(), &self.dir()).await;
        }
        self.tell(&mut log).await;
        let left = Leftovers::of(self.server.id(), &self.dir(), place.leaf.clone(), Vec::new());
        left.end(Duration::ZERO, CancellationToken::new()).await;
        let out_of_memory = place.leaf.out_of_memory();
        place.remove().await;
        log.ending(out_of_memory, self.abort.is_cancelled())
    }

    /// Listens to a shim until it is gone; false if the node ends before.
    async fn hear(&self, holder: Holder, log: &mut Log, node_ends: &CancellationToken) -> bool {
        let Holder { link, mut events, .. } = holder;
        self.tell(log).await;
        let mut is_asked_to_end = false;
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(LinkEvent::Doorbell { .. }) => self.tell(log).await,
                    Some(LinkEvent::Answered { .. } | LinkEvent::Alive) => {}
                    Some(LinkEvent::Closed { .. }) | None => return true,
                },
                () = self.abort.cancelled(), if !is_asked_to_end => {
                    is_asked_to_end = true;
                    link.kill();
                }
                () = node_ends.cancelled() => return false,
            }
        }
    }

    /// Tells what is new in the log.
    async fn tell(&self, log: &mut Log) {
        let hub = self.server.console().hub();
        match log.read().await {
            Ok(lines) => lines.into_iter().for_each(|line| hub.announce(Event::InstallOutput(line))),
            Err(error) => {
                tracing::error!(server = %self.server.id(), %error, "the log of an installation cannot be read");
            }
        }
    }

    async fn finish(self, ended: Ending) {
        let (successful, text) = match ended {
            Ending::Left => return,
            Ending::Installed => (true, "The server is installed.".to_owned()),
            Ending::Failed(why) => (false, format!("The installation failed: {why}. It can be tried again.")),
        };
        tracing::info!(server = %self.server.id(), successful, text, "an installation has ended");
        self.say(&text);
        let report = InstallReport { successful, reinstall: self.wish.reinstall };
        if !tell_panel(&self.node, self.server.id(), report, &self.abort).await {
            // The next daemon finds the record, the log and how it ended, and tells.
            return;
        }
        let record = self.dir().join(RECORD_FILE);
        // There is none if there was nothing to run.
        let _ = blocking(move || std::fs::remove_file(record)).await;
        self.server.release();
        self.server.console().hub().announce(Event::InstallCompleted);
        if successful && self.wish.then_start {
            drop(self.server.power(PowerAction::Start, Asker { user: None, ip: None }, 0));
        }
    }

    async fn record(&self, begun: bool) -> io::Result<()> {
        let (dir, record) = (self.dir(), serde_json::to_vec(&Record { wish: self.wish, begun })?);
        blocking(move || {
            // The script's user has to get through; what is in there has modes of its own.
            std::fs::DirBuilder::new().recursive(true).mode(0o711).create(&dir)?;
            replace(&dir.join(RECORD_FILE), &record)
        })
        .await?
    }

    /// A line in the server's own console.
    fn say(&self, text: &str) {
        self.server.say(text.to_owned());
    }
}

/// Tells the panel until it has heard it; false if the node ends before.
async fn tell_panel(node: &Node, id: ServerId, report: InstallReport, abort: &CancellationToken) -> bool {
    let ending = node.tasks.cancel_token();
    let mut pause = REPORT_PAUSE;
    loop {
        match node.remote.installed(id, report).await {
            Ok(()) | Err(RemoteError::NotFound) => return true,
            Err(error) if error.is_about_content() => {
                tracing::error!(server = %id, %error, "the panel does not take the end of an installation");
                return true;
            }
            Err(error) => {
                tracing::warn!(server = %id, %error, "the end of an installation is told again later");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(REPORT_PAUSE_MAX),
            // Whoever has aborted it does not wait for a panel that is away.
            () = abort.cancelled() => return true,
            () = ending.cancelled() => return false,
        }
    }
}

/// The log of a server's installations.
struct Log {
    dir: PathBuf,
    tail: Option<Tail>,
    /// Of the run that is followed: its last end, as far as the log was read.
    exit: Option<spool::ExitPayload>,
}

impl Log {
    /// At its end.
    async fn open(dir: &Path, presentation: Presentation) -> io::Result<Self> {
        let dir = dir.join(LOG_DIR);
        let tail = {
            let dir = dir.clone();
            blocking(move || Tail::open(&dir, presentation)).await??
        };
        let (tail, _) = tail;
        Ok(Self { dir, tail: Some(tail), exit: None })
    }

    /// The lines that are new.
    async fn read(&mut self) -> io::Result<Vec<String>> {
        let mut said = Vec::new();
        while let Some(mut tail) = self.tail.take() {
            let (tail, news) = blocking(move || {
                let news = tail.look(EVERYTHING);
                (tail, news)
            })
            .await?;
            self.tail = Some(tail);
            let news = news?;
            for entry in news.entries {
                match entry {
                    Entry::Exited(exit) => self.exit = Some(exit),
                    Entry::Started(_) => self.exit = None,
                    entry @ Entry::Line { .. } => {
                        said.extend(entry.into_line().map(|line| line.text().into_owned()));
                    }
                }
            }
            if !news.more {
                break;
            }
        }
        Ok(said)
    }

    /// How the newest run ended.
    fn ending(&self, out_of_memory: bool, is_aborted: bool) -> Ending {
        let exit = self.exit.or_else(|| spool::exit::read(&self.dir).ok().flatten().map(|record| record.exit));
        if is_aborted {
            return Ending::Failed("it was aborted".to_owned());
        }
        let Some(exit) = exit else {
            return Ending::Failed(
                "the process that held the script was ended, or the machine was restarted".to_owned(),
            );
        };
        match (exit.code(), exit.signal()) {
            (Some(0), _) => Ending::Installed,
            _ if exit.oom || out_of_memory => Ending::Failed("it needed more memory than it may have".to_owned()),
            (Some(code), _) => Ending::Failed(format!("its script ended with exit code {code}")),
            (None, signal) => Ending::Failed(format!("its script was ended by signal {}", signal.unwrap_or_default())),
        }
    }
}
