//! Games as processes of this machine: what the shim is to run, and starting it.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use spool::ready::{Ready, Stage};
use spool::spec::{Console, LaunchSpec, Rlimit, resource};
use tokio_util::sync::CancellationToken;
use wire::ids::ServerId;
use wire::remote::{ConsoleMode, Definition, StopKind};

use crate::node::Node;
use crate::runtime::cgroup::Leaf;
use crate::runtime::holder::{self, CONNECT_PAUSE, Found};
use crate::runtime::leftovers::{Leftovers, RUN_VARIABLE};
use crate::runtime::shim::ShimProcess;
use crate::runtime::{
    LaunchError, OPEN_FILES_MAX, PTY, Place, START_TIMEOUT, Story, UMASK, files_folder, refused, signal_number,
};
use crate::server::launch::{self, Surroundings};
use crate::server::{LOG_DIR, Server};
use crate::tasks::{Tasks, blocking};

/// Pause between two looks for a shim whose start takes that long.
const LATE_PAUSE: Duration = Duration::from_secs(1);
/// Where a game reaches this machine.
const OWN_ADDRESS: &str = "127.0.0.1";
/// How little the kernel should think of ending a shim for memory.
const SHIM_OOM_SCORE: i32 = -900;

/// Starts a game: files, limits, shim. An error means that nothing holds the log.
pub(super) async fn launch(
    node: &Arc<Node>,
    server: &Server,
    definition: &Definition,
    unwanted: &CancellationToken,
    story: &Story,
) -> Result<(Found, u32, [u8; 16], Place), LaunchError> {
    let (dir, short) = (server.dir().clone(), server.id().short());
    let prepared = {
        let (node, definition, story) = (node.clone(), definition.clone(), story.clone());
        blocking(move || prepare(&node, &dir, &short, &definition, &story))
    };
    let (spec, leaf) = prepared.await.map_err(LaunchError::Folder)??;
    if unwanted.is_cancelled() {
        leaf.remove();
        return Err(LaunchError::Unwanted);
    }
    let run_id = spec.run_id;
    match start_at(node, server.id(), server.dir(), &leaf, spec, unwanted).await {
        Ok((found, pid)) => Ok((found, pid, run_id, Place { leaf, container: None })),
        Err(error) => {
            leaf.remove();
            Err(error)
        }
    }
}

/// Starts what a spec says, where log and socket are in `dir`. An error means that nothing holds the log.
pub(super) async fn start_at(
    node: &Arc<Node>,
    id: ServerId,
    dir: &Path,
    leaf: &Leaf,
    spec: LaunchSpec,
    unwanted: &CancellationToken,
) -> Result<(Found, u32), LaunchError> {
    Site { tasks: &node.tasks, id, dir, leaf }.start(&node.shim, spec, START_TIMEOUT, unwanted).await
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
            Started::Running(pid) => Ok((holder::join(self.tasks, self.id, self.dir).await, pid)),
            Started::Unclear(error) => {
                tracing::warn!(server = %self.id, %error, "looking who holds the log");
                self.join_late(error, unwanted).await
            }
        }
    }

    /// Looks as long as somebody holds the log: a game may still come of it. Once it is unwanted, its holder is ended.
    async fn join_late(&self, error: LaunchError, unwanted: &CancellationToken) -> Result<(Found, u32), LaunchError> {
        loop {
            match holder::find(self.tasks, self.id, self.dir).await {
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

fn prepare(
    node: &Node,
    dir: &Path,
    short: &str,
    definition: &Definition,
    story: &Story,
) -> Result<(LaunchSpec, Leaf), LaunchError> {
    let files = files_folder(dir).map_err(LaunchError::Folder)?;
    let cage = node.ladder.cage(dir, &files, &node.program, definition).map_err(LaunchError::Folder)?;
    let around = Surroundings { files: &files, program: &node.program, bind: None };
    launch::write_files(definition, &files, &around, cage.user)?;
    for text in launch::set_values(definition, &files, OWN_ADDRESS, cage.user) {
        story.note(text);
    }
    let command = launch::command(definition, &around)?;
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
            let program = spec.argv.first().map(|name| String::from_utf8_lossy(name)).unwrap_or_default();
            let text = refused(stage, errno, &text, &program);
            match stage {
                Stage::Locked => Ok(Started::Unclear(LaunchError::Refused { text })),
                _ => Err(LaunchError::Refused { text }),
            }
        }
        // It ended on the way; what it had begun may be there.
        Err(error) => Ok(Started::Unclear(LaunchError::Shim(io::Error::other(error)))),
    }
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
}
