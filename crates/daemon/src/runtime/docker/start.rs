//! Starts a game in a container: image, network, what the shim is to run, container, and the shim's one answer.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bollard::query_parameters::{CreateContainerOptions, StartContainerOptions, WaitContainerOptions};
use futures_util::StreamExt;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode};
use spool::contained::{ready_path, spec_path};
use spool::ready::Ready;
use spool::spec::{Console, LaunchSpec, Rlimit, resource};
use tokio_util::sync::CancellationToken;
use wire::remote::{ConsoleMode, Definition, InstallScript, StopKind};

use super::container::{self, FILES_TARGET, INSTALL_TARGET, SCRIPT_TARGET, Surroundings};
use super::network::Network;
use super::{Engine, EngineError, Known, image, network};
use crate::node::Node;
use crate::runtime::docker::image::Image;
use crate::runtime::holder::{self, Found};
use crate::runtime::install::{self, INSTALL_UMASK, SCRIPT_DIR, SCRIPT_FILE};
use crate::runtime::{
    CONTAINER_DIR, LaunchError, OPEN_FILES_MAX, PTY, START_TIMEOUT, Story, UMASK, files_folder, refused, signal_number,
};
use crate::server::launch::{self, Surroundings as GameSurroundings};
use crate::server::{LOG_DIR, Server};
use crate::tasks::blocking;

/// Variables of an image that are not the game's.
const NOT_OF_GAMES: [&str; 1] = ["HOSTNAME"];
/// Whom images of the community think they are.
const USER_NAME: &str = "container";
/// How often a container that has ended is asked about, until its answer has come: the last thing it did may be to give it.
const LAST_LOOK: Duration = Duration::from_millis(500);

/// What is prepared on disk for a start.
struct Prepared {
    spec: LaunchSpec,
    answer: fs::File,
    folders: Folders,
}

/// Folders of this machine that a container sees.
struct Folders {
    files: PathBuf,
    run: PathBuf,
    log: PathBuf,
    program: Option<PathBuf>,
    /// The script of an installation.
    script: Option<PathBuf>,
}

/// What there is for a start in the engine.
#[derive(Clone)]
struct Ground {
    known: Known,
    image: Image,
    network: Network,
}

/// Starts a game in a container of its own. An error means that there is none.
pub(crate) async fn launch(
    node: &Arc<Node>,
    server: &Server,
    definition: &Definition,
    unwanted: &CancellationToken,
    story: &Story,
) -> Result<(Found, u32, [u8; 16]), LaunchError> {
    let ground = clear(node, server, &definition.settings.container.image, unwanted, story).await?;
    let prepared = {
        let (node, dir, definition) = (node.clone(), server.dir().clone(), definition.clone());
        let (ground, story) = (ground.clone(), story.clone());
        blocking(move || prepare(&node, &dir, &definition, &ground, &story))
    };
    let prepared = prepared.await.map_err(LaunchError::Folder)??;
    let starting = Starting { node, server, definition, dir: server.dir(), ground: &ground, unwanted };
    starting.start(prepared).await
}

/// Runs an installation's script in a container of its own; `dir` is the installation's folder.
pub(crate) async fn install(
    node: &Arc<Node>,
    server: &Server,
    definition: &Definition,
    script: &InstallScript,
    dir: &Path,
    unwanted: &CancellationToken,
    story: &Story,
) -> Result<(Found, u32, [u8; 16]), LaunchError> {
    let ground = clear(node, server, &script.container_image, unwanted, story).await?;
    let prepared = {
        let (node, server, dir) = (node.clone(), server.clone(), dir.to_owned());
        let (definition, script, image) = (definition.clone(), script.clone(), ground.image.clone());
        blocking(move || prepare_install(&node, &server, &dir, &definition, &script, &image))
    };
    let prepared = prepared.await.map_err(LaunchError::Folder)??;
    Starting { node, server, definition, dir, ground: &ground, unwanted }.start(prepared).await
}

/// Makes room in the engine and gets what a container needs.
async fn clear(
    node: &Arc<Node>,
    server: &Server,
    image: &str,
    unwanted: &CancellationToken,
    story: &Story,
) -> Result<Ground, LaunchError> {
    let engine = &node.engine;
    // One of an earlier run, or one that was started by hand: its log is ours now.
    engine.remove(server.id()).await?;
    let known = engine.known().await?;
    let image = tokio::select! {
        biased;
        () = unwanted.cancelled() => return Err(LaunchError::Unwanted),
        image = image::have(engine, image, story) => image?,
    };
    Ok(Ground { known, image, network: network::have(engine, server.id()).await? })
}

/// A start that is under way.
struct Starting<'a> {
    node: &'a Arc<Node>,
    server: &'a Server,
    definition: &'a Definition,
    /// Where log and socket are.
    dir: &'a Path,
    ground: &'a Ground,
    unwanted: &'a CancellationToken,
}

impl Starting<'_> {
    async fn start(&self, prepared: Prepared) -> Result<(Found, u32, [u8; 16]), LaunchError> {
        if self.unwanted.is_cancelled() {
            return Err(LaunchError::Unwanted);
        }
        let run_id = prepared.spec.run_id;
        match self.begin(prepared).await {
            Ok((found, pid)) => Ok((found, pid, run_id)),
            Err(error) => {
                if let Err(left) = self.node.engine.remove(self.server.id()).await {
                    tracing::error!(server = %self.server.id(), error = %left, "the container of a failed start is left behind");
                }
                Err(error)
            }
        }
    }

    async fn begin(&self, prepared: Prepared) -> Result<(Found, u32), LaunchError> {
        let Self { node, server, definition, .. } = self;
        let Prepared { spec, answer: pipe, folders } = prepared;
        let (engine, settings) = (&node.engine, node.engine.settings());
        let around = Surroundings {
            image: &self.ground.image.name,
            network: &self.ground.network.name,
            labels: engine.labels(server.id()),
            shim: &node.shim,
            program: folders.program.as_deref(),
            log: &folders.log,
            run: &folders.run,
            files: &folders.files,
            script: folders.script.as_deref(),
            allowed_mounts: &settings.allowed_mounts,
            dns: &settings.dns,
            tmpfs_mib: settings.tmpfs_mib,
            user: own_user(),
            open_files_max: open_files_max(),
            maps_users: self.ground.known.maps_users,
        };
        let body = container::body(definition, &around);
        let body = body.map_err(|why| EngineError::Refused { what: "make the container", why })?;
        let client = engine.client().await?;
        let run = uuid::Uuid::from_bytes(spec.run_id).simple().to_string();
        let name = format!("quarterdeck-{}-{}", server.id().short(), run.get(..8).unwrap_or_default());
        let options = CreateContainerOptions { name: Some(name), ..Default::default() };
        let made = client.create_container(Some(options), body).await;
        let made = made.map_err(|error| engine.failed("make the container", &error))?;
        let started = client.start_container(&made.id, None::<StartContainerOptions>).await;
        started.map_err(|error| engine.failed("start the container", &error))?;
        match answer(engine, &made.id, pipe, self.unwanted).await? {
            Ready::Ok { game_pid, .. } => {
                let found = holder::join(&node.tasks, server.id(), self.dir).await;
                let pid = if let Found::Running(holder) = &found { holder.pid } else { game_pid };
                Ok((found, pid))
            }
            Ready::Failed { stage, errno, text } => {
                let program = spec.argv.first().map(|program| String::from_utf8_lossy(program)).unwrap_or_default();
                Err(LaunchError::Refused { text: refused(stage, errno, &text, &program) })
            }
        }
    }
}

/// The shim's answer, unless its container ends without one.
async fn answer(engine: &Engine, id: &str, pipe: fs::File, unwanted: &CancellationToken) -> Result<Ready, LaunchError> {
    let client = engine.client().await?;
    let reading = blocking(move || read_answer(&pipe, START_TIMEOUT));
    let mut ended = client.wait_container(id, None::<WaitContainerOptions>);
    tokio::pin!(reading);
    let read = tokio::select! {
        read = &mut reading => read,
        () = unwanted.cancelled() => return Err(LaunchError::Unwanted),
        _ = ended.next() => match tokio::time::timeout(LAST_LOOK, &mut reading).await {
            Ok(read) => read,
            Err(_) => return Err(LaunchError::Refused { text: died(engine, id).await }),
        },
    };
    match read.and_then(|read| read) {
        Ok(bytes) => Ready::decode(&bytes).map_err(|error| LaunchError::Shim(io::Error::other(error))),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(LaunchError::Late),
        Err(error) => Err(LaunchError::Shim(error)),
    }
}

/// What the engine knows of a container that ended before its shim said anything.
async fn died(engine: &Engine, id: &str) -> String {
    let inspected = match engine.client().await {
        Ok(client) => {
            client.inspect_container(id, None::<bollard::query_parameters::InspectContainerOptions>).await.ok()
        }
        Err(_) => None,
    };
    let state = inspected.and_then(|inspected| inspected.state).unwrap_or_default();
    let code = state.exit_code.unwrap_or_default();
    match state.error.filter(|error| !error.is_empty()) {
        Some(error) => format!("the container ended before the game was started: {error}"),
        None => format!("the container ended before the game was started, with exit code {code}"),
    }
}

/// Waits until the shim has written and closed the pipe.
fn read_answer(mut pipe: &fs::File, limit: Duration) -> io::Result<Vec<u8>> {
    let limit =
        Timespec { tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX), tv_nsec: limit.subsec_nanos().into() };
    let mut fds = [PollFd::new(&pipe, PollFlags::IN)];
    if !matches!(rustix::io::retry_on_intr(|| poll(&mut fds, Some(&limit))), Ok(1..)) {
        return Err(io::ErrorKind::TimedOut.into());
    }
    rustix::fs::fcntl_setfl(pipe, rustix::fs::OFlags::empty())?;
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// As whom the shim runs in its container. Root, where we are root: the game's user is another one then. Else we ourselves, or the
/// log would be somebody else's.
fn own_user() -> String {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    if uid.is_root() { "0:0".to_owned() } else { format!("{}:{}", uid.as_raw(), gid.as_raw()) }
}

fn open_files_max() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(OPEN_FILES_MAX).min(OPEN_FILES_MAX)
}

fn prepare(
    node: &Node,
    dir: &Path,
    definition: &Definition,
    ground: &Ground,
    story: &Story,
) -> Result<Prepared, LaunchError> {
    let dir = dir.canonicalize().map_err(LaunchError::Folder)?;
    let files = files_folder(&dir).map_err(LaunchError::Folder)?;
    // In an engine without root only a few users exist; the game is then who the shim is.
    let user = if ground.known.is_rootless { None } else { node.ladder.contained_user(&dir, &files, definition) };
    let uses_us = [&definition.settings.invocation].into_iter().chain(definition.settings.environment.values());
    let program = uses_us.clone().any(|text| text.contains("{{QUARTERDECK}}")).then(|| node.program.clone());
    let around = GameSurroundings {
        files: Path::new(FILES_TARGET),
        program: &program.as_deref().map(container::own).unwrap_or_default(),
        // The game listens on all addresses of its container; which of the machine's lead there is the engine's to see to.
        bind: Some("0.0.0.0"),
    };
    launch::write_files(definition, &files, &around, user)?;
    for text in launch::set_values(definition, &files, &ground.network.gateway, user) {
        story.note(text);
    }
    let command = command(definition, &ground.image, &around)?;
    let (run, log) = own_folders(&dir).map_err(LaunchError::Folder)?;
    let stop = &definition.process_configuration.stop;
    let spec = LaunchSpec {
        run_id: *uuid::Uuid::new_v4().as_bytes(),
        log_dir: container::log_target(),
        socket_dir: container::run_target(),
        argv: command.argv.into_iter().map(String::into_bytes).collect(),
        env: command.env.into_iter().map(|(name, value)| (name.into_bytes(), value.into_bytes())).collect(),
        cwd: FILES_TARGET.into(),
        console: match definition.process_configuration.console {
            ConsoleMode::Pty => PTY,
            ConsoleMode::Pipe => Console::Pipe,
        },
        user,
        rlimits: vec![Rlimit { resource: resource::CORE, soft: 0, hard: 0 }],
        cgroup_procs: Vec::new(),
        no_new_privs: true,
        // Neither the game nor what it starts has any.
        capabilities: Some(0),
        landlock: None,
        seccomp: Vec::new(),
        umask: UMASK,
        segment_bytes: node.config.segment_bytes,
        retain_bytes: node.config.retain_bytes,
        oom_score_adj: None,
        ignore_hangup: stop.kind != StopKind::Signal || signal_number(&stop.value) != libc::SIGHUP,
    };
    let answer = lay_out(&run, &spec).map_err(LaunchError::Folder)?;
    Ok(Prepared { spec, answer, folders: Folders { files, run, log, program, script: None } })
}

/// The same for an installation: the shim runs the script as root of its container, as scripts of the community expect it.
fn prepare_install(
    node: &Node,
    server: &Server,
    dir: &Path,
    definition: &Definition,
    script: &InstallScript,
    image: &Image,
) -> Result<Prepared, LaunchError> {
    let files = server.dir().canonicalize().and_then(|dir| files_folder(&dir)).map_err(LaunchError::Folder)?;
    let dir = dir.canonicalize().map_err(LaunchError::Folder)?;
    let (run, log) = own_folders(&dir).map_err(LaunchError::Folder)?;
    let folder = dir.join(SCRIPT_DIR);
    install::write_script(&folder, &script.script).map_err(LaunchError::Folder)?;
    let around = GameSurroundings { files: Path::new(INSTALL_TARGET), program: Path::new(""), bind: Some("0.0.0.0") };
    let env = environment(definition, image, &around);
    let target = Path::new(SCRIPT_TARGET).join(SCRIPT_FILE);
    let argv = install::interpreter(&script.entrypoint).into_iter().chain([target.display().to_string()]);
    let spec = LaunchSpec {
        env: env.into_iter().map(|(name, value)| (name.into_bytes(), value.into_bytes())).collect(),
        no_new_privs: false,
        umask: INSTALL_UMASK,
        segment_bytes: node.config.segment_bytes,
        retain_bytes: node.config.retain_bytes,
        ignore_hangup: true,
        ..LaunchSpec::new(
            *uuid::Uuid::new_v4().as_bytes(),
            &container::log_target(),
            &container::run_target(),
            argv.map(String::into_bytes).collect(),
            Path::new("/"),
        )
    };
    let answer = lay_out(&run, &spec).map_err(LaunchError::Folder)?;
    Ok(Prepared { spec, answer, folders: Folders { files, run, log, program: None, script: Some(folder) } })
}

/// The folders of a container's shim in a folder of a server: for what it is told, and for its log.
fn own_folders(dir: &Path) -> io::Result<(PathBuf, PathBuf)> {
    let (run, log) = (dir.join(CONTAINER_DIR), dir.join(LOG_DIR));
    for folder in [&run, &log] {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    Ok((run, log))
}

/// Puts what the shim reads into its folder, and gives the end of the pipe that is read here.
fn lay_out(run: &Path, spec: &LaunchSpec) -> io::Result<fs::File> {
    let (spec_file, pipe) = (spec_path(run), ready_path(run));
    for old in [&spec_file, &pipe] {
        match fs::remove_file(old) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
    // Does not wait for somebody who writes.
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let answer = fs::OpenOptions::new().read(true).custom_flags(nonblocking).open(&pipe)?;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&spec_file)?;
    io::Write::write_all(&mut file, &spec.encode())?;
    Ok(answer)
}

/// What is run in the container. An image with an entrypoint knows what to do with the variable `STARTUP`; in one without, the command
/// line is run as it would be outside.
fn command(
    definition: &Definition,
    image: &Image,
    around: &GameSurroundings<'_>,
) -> Result<launch::Command, LaunchError> {
    let env = environment(definition, image, around);
    let argv = if image.entrypoint.is_empty() {
        launch::arguments(definition, &env)?
    } else {
        image.entrypoint.iter().chain(&image.cmd).cloned().collect()
    };
    Ok(launch::Command { argv, env })
}

/// The image's variables, and those of a game over them.
fn environment(definition: &Definition, image: &Image, around: &GameSurroundings<'_>) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    for text in &image.env {
        if let Some((name, value)) = text.split_once('=').filter(|(name, _)| !NOT_OF_GAMES.contains(name)) {
            env.insert(name.to_owned(), value.to_owned());
        }
    }
    let path = env.get("PATH").cloned();
    env.extend(launch::environment(definition, around).into_iter().filter(|(_, value)| !value.is_empty()));
    // Programs of an image are where the image says.
    env.extend(path.map(|path| ("PATH".to_owned(), path)));
    for name in ["USER", "LOGNAME"] {
        env.entry(name.to_owned()).or_insert_with(|| USER_NAME.to_owned());
    }
    env
}
