//! Games as processes of this machine: starting a shim with its game, and finding one that an earlier daemon started.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use engine::power::Settings;
use engine::startup::Matcher;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use spool::message::RunState;
use spool::ready::{Ready, Stage};
use spool::spec::{Console, LaunchSpec, Rlimit, resource};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wire::ids::ServerId;
use wire::remote::{ConsoleMode, Definition, StopKind};

use crate::config::Config;
use crate::node::Node;
use crate::runtime::cgroup::Leaf;
use crate::runtime::isolation::Game;
use crate::runtime::leftovers::{Leftovers, RUN_VARIABLE};
use crate::runtime::link::{self, Link, LinkEvent};
use crate::runtime::shim::ShimProcess;
use crate::server::launch::{self, DefinitionError};
use crate::server::{FILES_DIR, LOG_DIR, Server};
use crate::tasks::{Kind, Tasks, blocking};

/// The terminal's size: wide enough that games rarely wrap, the same for all viewers.
const PTY: Console = Console::Pty { rows: 50, columns: 200 };
/// How long a start waits for the panel's newest definition before it goes on with the one kept here.
const DEFINITION_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a shim may take to say how the start went. After that it is looked for as long as it holds the log.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause between two looks for a shim whose start takes that long.
const LATE_PAUSE: Duration = Duration::from_secs(1);
/// Pause between tries to reach a shim that has just started.
const CONNECT_PAUSE: Duration = Duration::from_millis(20);
/// How long that is tried before it counts as unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Open files of a game.
const OPEN_FILES_MAX: u64 = 65_536;
/// Others neither read nor write what a game writes.
const UMASK: u32 = 0o027;
/// How little the kernel should think of ending a shim for memory.
const SHIM_OOM_SCORE: i32 = -900;

/// Why there is no process; the text goes to the console and to whoever asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    #[error("the server is suspended")]
    Suspended,
    #[error("the panel has no such server any more")]
    Unknown,
    #[error("it was asked to end before it had begun")]
    Unwanted,
    #[error("the process that holds its last run does not answer; it is asked again every few seconds, try later")]
    Held,
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    #[error("the server's folder cannot be prepared: {0}")]
    Folder(io::Error),
    #[error(
        "the program `{program}` lies where games of this node may not read; put it into the server's files, or name its folder in `readable` of the node's [isolation] settings"
    )]
    Closed {
        /// Its path.
        program: String,
    },
    #[error("the limits cannot be set: {0}")]
    Limits(io::Error),
    #[error("the shim cannot be started: {0}")]
    Shim(io::Error),
    #[error("its start took more than {} s and came to nothing", START_TIMEOUT.as_secs())]
    Late,
    #[error("{text}")]
    Refused {
        /// A sentence for people.
        text: String,
    },
}

/// A shim that lives and answers.
pub(crate) struct Holder {
    pub(crate) link: Link,
    pub(crate) events: mpsc::Receiver<LinkEvent>,
    /// The game.
    pub(crate) pid: u32,
    pub(crate) shim_pid: u32,
    /// What the game is doing, as its shim sees it.
    pub(crate) state: RunState,
    pub(crate) start_ticks: u64,
    pub(crate) run_id: [u8; 16],
    /// What the game has of isolation.
    pub(crate) game: Game,
}

/// Who holds a server's log.
pub(crate) enum Found {
    /// A shim, and its game with it.
    Running(Holder),
    /// A shim that does not answer; no second game may be started.
    Unreachable,
    /// Nobody.
    Nobody,
}

/// A game that was started.
pub(crate) struct Launched {
    /// Who holds it by now; nobody if it has ended already.
    pub(crate) found: Found,
    pub(crate) run_id: [u8; 16],
    pub(crate) pid: u32,
    pub(crate) leaf: Leaf,
    /// The definition that was known when the launch began.
    pub(crate) kept: Arc<Definition>,
    /// The panel's, if it could be had.
    pub(crate) newer: Option<Definition>,
}

/// Starts a game: newest definition, files, limits, shim.
pub(crate) async fn launch(
    node: Arc<Node>,
    server: Server,
    kept: Arc<Definition>,
    unwanted: CancellationToken,
) -> Result<Launched, LaunchError> {
    let fetched = tokio::select! {
        biased;
        () = unwanted.cancelled() => return Err(LaunchError::Unwanted),
        fetched = tokio::time::timeout(DEFINITION_TIMEOUT, node.remote.server(server.id())) => fetched,
    };
    let fetched = match fetched {
        Ok(Ok(definition)) => Some(definition),
        Ok(Err(crate::remote::RemoteError::NotFound)) => return Err(LaunchError::Unknown),
        // The panel being away is no reason not to play.
        Ok(Err(error)) => {
            tracing::warn!(server = %server.id(), %error, "starting with the definition kept here");
            None
        }
        Err(_) => None,
    };
    let definition = fetched.clone().unwrap_or_else(|| (*kept).clone());
    if definition.settings.suspended {
        return Err(LaunchError::Suspended);
    }
    let (dir, short) = (server.dir().clone(), server.id().short());
    let prepared = {
        let node = node.clone();
        blocking(move || prepare(&node, &dir, &short, &definition))
    };
    let (spec, leaf) = prepared.await.map_err(LaunchError::Folder)??;
    if unwanted.is_cancelled() {
        leaf.remove();
        return Err(LaunchError::Unwanted);
    }
    let run_id = spec.run_id;
    let site = Site { tasks: &node.tasks, id: server.id(), dir: server.dir(), leaf: &leaf };
    match site.start(&node.shim, spec, START_TIMEOUT, &unwanted).await {
        Ok((found, pid)) => Ok(Launched { found, run_id, pid, leaf, kept, newer: fetched }),
        Err(error) => {
            leaf.remove();
            Err(error)
        }
    }
}

/// How far a start came.
pub(crate) enum Started {
    /// The game's program runs; its pid.
    Running(u32),
    /// Nobody has said so yet, or somebody else holds the log.
    Unclear(LaunchError),
}

/// Where a game is started.
struct Site<'a> {
    tasks: &'a Tasks,
    id: ServerId,
    dir: &'a Path,
    leaf: &'a Leaf,
}

impl Site<'_> {
    /// Starts a shim and joins it. An error means that nothing holds the log.
    async fn start(
        &self,
        program: &Path,
        spec: LaunchSpec,
        limit: Duration,
        unwanted: &CancellationToken,
    ) -> Result<(Found, u32), LaunchError> {
        let started = {
            let (program, short) = (program.to_owned(), self.id.short());
            blocking(move || start(&program, &short, &spec, limit))
        };
        match started.await.map_err(LaunchError::Shim)?? {
            Started::Running(pid) => Ok((self.join().await, pid)),
            Started::Unclear(error) => {
                tracing::warn!(server = %self.id, %error, "looking who holds the log");
                self.join_late(error, unwanted).await
            }
        }
    }

    async fn join(&self) -> Found {
        let given_up_at = Instant::now() + CONNECT_TIMEOUT;
        loop {
            match find(self.tasks, self.id, self.dir).await {
                // On its way out, or too busy to answer.
                Found::Unreachable if Instant::now() < given_up_at => tokio::time::sleep(CONNECT_PAUSE).await,
                found => return found,
            }
        }
    }

    /// Looks as long as somebody holds the log: a game may still come of it. Once it is unwanted, its holder is ended.
    async fn join_late(&self, error: LaunchError, unwanted: &CancellationToken) -> Result<(Found, u32), LaunchError> {
        loop {
            match find(self.tasks, self.id, self.dir).await {
                Found::Running(holder) => {
                    let pid = holder.pid;
                    return Ok((Found::Running(holder), pid));
                }
                Found::Nobody => {
                    let no_mercy = CancellationToken::new();
                    Leftovers::of(self.id, self.dir, self.leaf.clone(), Vec::new()).end(Duration::ZERO, no_mercy).await;
                    return Err(if unwanted.is_cancelled() { LaunchError::Unwanted } else { error });
                }
                Found::Unreachable => {}
            }
            if unwanted.is_cancelled() {
                self.leaf.kill();
                let log = self.dir.join(LOG_DIR);
                let ended = blocking(move || ShimProcess::holding(&log).map(ShimProcess::end)).await;
                tracing::warn!(server = %self.id, ended = matches!(ended, Ok(Some(()))), "ended a start that nobody wants any more");
            }
            // Cancelled already, this would not wait; the holder's end takes a moment.
            if unwanted.is_cancelled() {
                tokio::time::sleep(CONNECT_PAUSE).await;
            } else {
                let _ = tokio::time::timeout(LATE_PAUSE, unwanted.cancelled()).await;
            }
        }
    }
}

/// Makes the folder of a game's files, if it is not there, in the folder of its server.
pub(crate) fn files_folder(dir: &Path) -> std::io::Result<PathBuf> {
    let files = dir.join(FILES_DIR);
    std::fs::DirBuilder::new().recursive(true).mode(0o750).create(&files)?;
    Ok(files)
}

fn prepare(node: &Node, dir: &Path, short: &str, definition: &Definition) -> Result<(LaunchSpec, Leaf), LaunchError> {
    let files = files_folder(dir).map_err(LaunchError::Folder)?;
    let cage = node.ladder.cage(dir, &files, &node.program, definition).map_err(LaunchError::Folder)?;
    launch::write_files(definition, &files, &node.program, cage.user)?;
    let command = launch::command(definition, &files, &node.program)?;
    if let Some(program) =
        command.argv.first().filter(|path| node.ladder.closed(Path::new(path), &files, &node.program))
    {
        return Err(LaunchError::Closed { program: program.clone() });
    }
    let leaf = node.machine.leaf(short, &definition.settings.build).map_err(LaunchError::Limits)?;
    let mut env: BTreeMap<String, String> = command.env;
    env.remove(RUN_VARIABLE);
    cage.settle(&mut env);
    let mark = (RUN_VARIABLE.as_bytes().to_vec(), dir.as_os_str().as_encoded_bytes().to_vec());
    let stop = &definition.process_configuration.stop;
    let same = |resource, value| Rlimit { resource, soft: value, hard: value };
    let files_max = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(OPEN_FILES_MAX);
    let spec = LaunchSpec {
        run_id: *uuid::Uuid::new_v4().as_bytes(),
        log_dir: dir.join(LOG_DIR),
        socket_dir: dir.to_owned(),
        argv: command.argv.into_iter().map(String::into_bytes).collect(),
        env: env.into_iter().map(|(name, value)| (name.into_bytes(), value.into_bytes())).chain([mark]).collect(),
        cwd: files,
        console: match definition.process_configuration.console {
            ConsoleMode::Pty => PTY,
            ConsoleMode::Pipe => Console::Pipe,
        },
        user: cage.user,
        rlimits: [same(resource::CORE, 0), same(resource::NOFILE, files_max.min(OPEN_FILES_MAX))]
            .into_iter()
            .chain(cage.processes(&definition.settings.build))
            .collect(),
        cgroup_procs: leaf.procs(),
        no_new_privs: true,
        capabilities: cage.capabilities,
        landlock: cage.landlock,
        seccomp: cage.seccomp,
        umask: UMASK,
        segment_bytes: node.config.segment_bytes,
        retain_bytes: node.config.retain_bytes,
        oom_score_adj: Some(SHIM_OOM_SCORE),
        // Unless that is how it is stopped.
        ignore_hangup: stop.kind != StopKind::Signal || signal_number(&stop.value) != libc::SIGHUP,
    };
    Ok((spec, leaf))
}

/// Runs the shim and waits for its one answer: the game's pid. The shim detaches itself, so what is waited for is its first process only.
pub(crate) fn start(program: &Path, short: &str, spec: &LaunchSpec, limit: Duration) -> Result<Started, LaunchError> {
    let mut child = Command::new(program)
        .arg(short)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(LaunchError::Shim)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A shim that refuses the spec early stops reading it; its answer says why.
        let _ = stdin.write_all(&spec.encode());
    }
    let mut answer = Vec::new();
    if let Some(mut stdout) = child.stdout.take() {
        let mut fds = [PollFd::new(&stdout, PollFlags::IN)];
        let limit = Timespec {
            tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: limit.subsec_nanos().into(),
        };
        if !matches!(rustix::io::retry_on_intr(|| poll(&mut fds, Some(&limit))), Ok(1..)) {
            // This ends a shim that has not detached itself yet. One that has goes on, and holds the log: its own first process is
            // gone by then, and only waited for.
            child.kill().and_then(|()| child.wait()).map_err(LaunchError::Shim)?;
            return Ok(Started::Unclear(LaunchError::Late));
        }
        stdout.read_to_end(&mut answer).map_err(LaunchError::Shim)?;
    }
    child.wait().map_err(LaunchError::Shim)?;
    match Ready::decode(&answer) {
        Ok(Ready::Ok { game_pid, .. }) => Ok(Started::Running(game_pid)),
        Ok(Ready::Failed { stage, errno, text }) => {
            let reason = io::Error::from_raw_os_error(errno);
            let program = spec.argv.first().map(|name| String::from_utf8_lossy(name)).unwrap_or_default();
            let text = match stage {
                Stage::Exec => format!("`{program}` cannot be run: {reason}; correct the start command"),
                _ => format!("the start failed at `{stage}`: {text}"),
            };
            match stage {
                Stage::Locked => Ok(Started::Unclear(LaunchError::Refused { text })),
                _ => Err(LaunchError::Refused { text }),
            }
        }
        // It ended on the way; what it had begun may be there.
        Err(error) => Ok(Started::Unclear(LaunchError::Shim(io::Error::other(error)))),
    }
}

async fn connect(tasks: &Tasks, id: ServerId, dir: &Path) -> io::Result<Holder> {
    let dir: PathBuf = dir.to_owned();
    let stream = blocking(move || spool::message::connect(&dir)).await??;
    let opened = link::open(stream).await?;
    tasks.spawn(Kind::Shim, id, opened.task.run());
    let hello = opened.hello;
    Ok(Holder {
        link: opened.link,
        events: opened.events,
        pid: hello.game_pid,
        shim_pid: hello.shim_pid,
        state: hello.state,
        start_ticks: hello.start_ticks,
        run_id: hello.run_id,
        game: hello.rungs.map_or(Game::Unknown, Game::Has),
    })
}

/// Looks who holds a server's log: its lock says whether anybody does, the socket who.
pub(crate) async fn find(tasks: &Tasks, id: ServerId, dir: &Path) -> Found {
    match connect(tasks, id, dir).await {
        Ok(holder) => Found::Running(holder),
        Err(error) => {
            let log = dir.join(LOG_DIR);
            let locked = blocking(move || spool::writer::is_locked(&log)).await.and_then(|locked| locked);
            match locked {
                Ok(true) => {
                    tracing::debug!(server = %id, %error, "a shim holds the log and cannot be reached");
                    Found::Unreachable
                }
                Ok(false) => Found::Nobody,
                Err(error) if error.kind() == io::ErrorKind::NotFound => Found::Nobody,
                Err(error) => {
                    tracing::error!(server = %id, %error, "the log's lock cannot be looked at");
                    Found::Unreachable
                }
            }
        }
    }
}

/// What the engine needs to know of a definition.
pub(crate) fn power_settings(config: &Config, definition: &Definition) -> (Settings, Matcher) {
    let process = &definition.process_configuration;
    let (matcher, unusable) = Matcher::usable(&process.startup.done);
    for error in unusable {
        tracing::warn!(server = %definition.settings.uuid, %error, "a start-up pattern is left out");
    }
    let exits: Vec<Result<_, _>> = process.success_exit.iter().map(|word| word.parse()).collect();
    for error in exits.iter().filter_map(|exit| exit.as_ref().err()) {
        tracing::warn!(server = %definition.settings.uuid, %error, "a way to end well is left out");
    }
    let mut settings = Settings {
        stop_grace_ms: match process.stop.grace_ms {
            0 => u64::try_from(config.stop_grace.as_millis()).unwrap_or(u64::MAX),
            grace_ms => grace_ms,
        },
        settle_ms: process.startup.settle_ms,
        has_patterns: !matcher.is_empty(),
        suspended: definition.settings.suspended,
        success_exit: exits.into_iter().flatten().collect(),
        ..Settings::default()
    };
    settings.crash.enabled = definition.settings.crash_detection_enabled.unwrap_or(true);
    (settings, matcher)
}

/// The signal of a stop: `C` (a terminal's ^C) is SIGINT, names with or without `SIG`, anything else SIGTERM.
pub(crate) fn signal_number(name: &str) -> i32 {
    match name.trim() {
        "C" | "c" => libc::SIGINT,
        // What panels make of `^^C`.
        "^C" | "^c" => libc::SIGKILL,
        name => match name.parse() {
            Ok(engine::power::ExitKind::Signal(number)) => number,
            _ => libc::SIGTERM,
        },
    }
}

/// A run's id as it stands in files.
pub(crate) fn hex(id: &[u8; 16]) -> String {
    uuid::Uuid::from_bytes(*id).simple().to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::runtime::cgroup::Machine;
    use crate::runtime::program;

    /// A start that hangs until somebody reads from the pipe that stands in for a control group.
    async fn hanging(
        dir: &Path,
        unwanted: &CancellationToken,
        meanwhile: impl Future<Output = ()>,
    ) -> Result<(Found, u32), LaunchError> {
        let pipe = dir.join("group");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
        let spec = LaunchSpec {
            run_id: [7; 16],
            log_dir: dir.join(LOG_DIR),
            socket_dir: dir.to_owned(),
            argv: vec![b"/bin/sleep".to_vec(), b"1000".to_vec()],
            env: vec![(RUN_VARIABLE.as_bytes().to_vec(), dir.as_os_str().as_encoded_bytes().to_vec())],
            cwd: dir.to_owned(),
            console: Console::Pipe,
            user: None,
            rlimits: Vec::new(),
            cgroup_procs: vec![pipe],
            no_new_privs: true,
            capabilities: None,
            landlock: None,
            seccomp: Vec::new(),
            umask: UMASK,
            segment_bytes: spool::writer::SEGMENT_BYTES_DEFAULT,
            retain_bytes: spool::writer::RETAIN_BYTES_DEFAULT,
            oom_score_adj: None,
            ignore_hangup: false,
        };
        let (tasks, leaf) = (Tasks::default(), Machine::default().existing("none"));
        let site = Site { tasks: &tasks, id: ServerId(uuid::Uuid::new_v4()), dir, leaf: &leaf };
        let shim = program::unpack(&dir.join("bin")).unwrap();
        let limit = Duration::from_millis(200);
        tokio::join!(site.start(&shim, spec, limit, unwanted), meanwhile).0
    }

    async fn is_held(dir: &Path) -> bool {
        let log = dir.join(LOG_DIR);
        blocking(move || spool::writer::is_locked(&log)).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn a_game_that_comes_up_after_the_time_out_is_joined() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("group");
        let let_go = async {
            // The time-out has come when the start is looked for; reading is what it waits for.
            blocking(move || std::fs::read(pipe)).await.unwrap().unwrap();
        };
        // Held back until the limit is over: the pipe has no reader before.
        let late = async {
            // sleeps: that the time-out has come is seen by nobody but the one who waited for it
            tokio::time::sleep(Duration::from_millis(400)).await;
            let_go.await;
        };
        let (found, pid) = hanging(dir.path(), &CancellationToken::new(), late).await.unwrap();
        let Found::Running(holder) = found else { panic!("not joined") };
        assert_eq!((holder.run_id, holder.pid), ([7; 16], pid));
        let shim = ShimProcess::of(holder.shim_pid).unwrap();
        holder.link.kill();
        let pidfd = Arc::new(crate::runtime::shim::open(shim.pid).unwrap());
        assert!(crate::runtime::shim::ended(pidfd, Duration::from_secs(30)).await);
    }

    #[tokio::test]
    async fn a_late_start_that_nobody_wants_any_more_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let unwanted = CancellationToken::new();
        let kill = async {
            while !is_held(dir.path()).await {
                tokio::task::yield_now().await;
            }
            unwanted.cancel();
        };
        let refused = hanging(dir.path(), &unwanted, kill).await;
        assert!(matches!(refused, Err(LaunchError::Unwanted)));
        assert!(!is_held(dir.path()).await, "nothing holds the log");
    }

    #[test]
    fn stop_signals_are_those_that_definitions_mean() {
        assert_eq!(signal_number("C"), libc::SIGINT);
        assert_eq!(signal_number("SIGINT"), libc::SIGINT);
        assert_eq!(signal_number("TERM"), libc::SIGTERM);
        assert_eq!(signal_number("^C"), libc::SIGKILL);
        assert_eq!(signal_number("SIGQUIT"), libc::SIGQUIT);
        assert_eq!(signal_number("banana"), libc::SIGTERM);
    }
}
