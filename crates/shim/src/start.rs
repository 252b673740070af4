//! From a launch spec to a game that runs, or to the reason why not.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::Mode;
use rustix::process::{Pid, WaitOptions};
use spool::exit::{self, ExitRecord};
use spool::ready::{Ready, Stage};
use spool::spec::{LaunchSpec, SPEC_BYTES_MAX};
use spool::writer::OpenError;
use spool::{ExitPayload, Limits, StartPayload, Writer};

use crate::child::{ChildFailure, Plan, Spawned};
use crate::console::{self, Console};
use crate::contained::Contained;
use crate::game::{self, Game};
use crate::listener::Listener;
use crate::memory::OomKills;
use crate::sandbox::Sandbox;
use crate::{now_ms, system};

/// Everything a run needs.
pub(crate) struct Started {
    pub(crate) game: Game,
    pub(crate) console: Console,
    pub(crate) writer: Writer,
    pub(crate) listener: Listener,
    pub(crate) exit_file: File,
    pub(crate) child_signal: OwnedFd,
}

/// Starts the game that standard input describes, or, in a container, what lies in its folder. Outside, returns in another process than it was called in: detached, with no terminal, and
/// nobody's child but init's. The process that called ends on the way.
pub(crate) fn start(contained: Option<&Contained>) -> Result<Started, Ready> {
    let read = match contained {
        Some(contained) => contained.spec(),
        None => read_spec(io::stdin().lock()),
    };
    let spec = read.map_err(|text| failure(Stage::Spec, 0, text))?;
    let plan = Plan::new(&spec)
        .map_err(|_| failure(Stage::Spec, 0, "an argument, a variable or a path has a zero byte in it".to_owned()))?;
    for path in [&spec.log_dir, &spec.socket_dir, &spec.cwd] {
        if !path.is_absolute() {
            return Err(failure(Stage::Spec, 0, format!("{} is not an absolute path", path.display())));
        }
    }
    // What the shim makes is for its own user only; the game has a mask of its own.
    rustix::process::umask(Mode::from_raw_mode(0o077));

    let limits = Limits { segment_bytes: spec.segment_bytes, retain_bytes: spec.retain_bytes };
    let mut writer = Writer::open(&spec.log_dir, limits, spec.run_id, now_ms()).map_err(|error| log_failure(&error))?;
    let exit_file = exit::reserve(&spec.log_dir)
        .map_err(|error| io_failure(Stage::Log, "cannot make the exit record", &spec.log_dir, &error))?;
    let listener = Listener::bind(&spec.socket_dir)
        .map_err(|error| io_failure(Stage::Socket, "cannot make shim.sock", &spec.socket_dir, &error))?;
    let launched = launch(&spec, &plan, &mut writer, &exit_file, contained.is_some());
    match launched {
        Ok((game, console, child_signal)) => Ok(Started { game, console, writer, listener, exit_file, child_signal }),
        Err(failure) => {
            listener.unlink();
            Err(failure)
        }
    }
}

fn launch(
    spec: &LaunchSpec,
    plan: &Plan,
    writer: &mut Writer,
    exit_file: &File,
    contained: bool,
) -> Result<(Game, Console, OwnedFd), Ready> {
    let failed = |stage, what: &str| {
        let what = what.to_owned();
        move |error: io::Error| failure(stage, error.raw_os_error().unwrap_or(0), format!("{what}: {error}"))
    };
    let (console, ends) =
        console::make(spec.console, spec.user).map_err(failed(Stage::Console, "cannot make a terminal or pipes"))?;
    let sandbox = Sandbox::new(spec, console.terminal.then_some(&ends.stdin))
        .map_err(failed(Stage::Landlock, "cannot prepare what the game may reach"))?;
    if !contained {
        detach().map_err(failed(Stage::Fork, "cannot detach the shim"))?;
    }
    // No folder stays busy because of us. The root folder can always be entered.
    let _ = rustix::process::chdir("/");
    rustix::process::set_child_subreaper(rustix::process::getpid().into())
        .map_err(|errno| failed(Stage::Fork, "cannot become subreaper")(errno.into()))?;
    let child_signal = system::child_signal(contained).map_err(failed(Stage::Fork, "cannot watch for children"))?;
    let oom_kills = if contained { OomKills::of_container() } else { OomKills::watch(&spec.cgroup_procs) };

    let spawned = plan.spawn(ends, &sandbox).map_err(failed(Stage::Fork, "cannot make the game's process"))?;
    let started_ms = now_ms();
    match spawned {
        Spawned::Running(pid) => {
            if let Some(adjustment) = spec.oom_score_adj {
                // After the fork: the game keeps what it had. Without the privilege the shim is as likely a victim as others.
                let _ = std::fs::write("/proc/self/oom_score_adj", adjustment.to_string());
            }
            let game = Game::new(pid, started_ms, spec, oom_kills);
            let start = StartPayload { start_ticks: game.start_ticks, ..start_payload(spec, pid, started_ms) };
            // Dropped only if the disk fails between two writes; the run goes on without.
            let _ = writer.append_start(&start, started_ms);
            Ok((game, console, child_signal))
        }
        Spawned::Failed(pid, reason) => {
            record_failure(spec, pid, reason, writer, exit_file);
            Err(failure(reason.stage, reason.errno, child_text(spec, reason)))
        }
    }
}

fn start_payload(spec: &LaunchSpec, pid: Pid, started_ms: u64) -> StartPayload {
    StartPayload {
        pid: game::pid_number(pid),
        start_ticks: 0,
        started_ms,
        errno: 0,
        run_id: spec.run_id,
        boot_id: game::boot_id(),
    }
}

/// A start that failed stands in the log like any other run: START with the reason, EXIT, exit record.
fn record_failure(spec: &LaunchSpec, pid: Pid, reason: ChildFailure, writer: &mut Writer, exit_file: &File) {
    let status = rustix::process::waitpid(Some(pid), WaitOptions::empty());
    let status = status.ok().flatten().map_or(0, |(_, status)| status.as_raw());
    let time_ms = now_ms();
    let start = StartPayload { errno: reason.errno, ..start_payload(spec, pid, time_ms) };
    let exit = ExitPayload { status, pid: start.pid, ..ExitPayload::default() };
    let _ = writer.append_start(&start, time_ms);
    let _ = writer.append_exit(&exit, time_ms);
    writer.sync();
    let (pos, line) = writer.position();
    // The daemon learns the same from the answer; this is for one that dies meanwhile.
    let _ = exit::write(exit_file, &ExitRecord { run_id: spec.run_id, time_ms, pos, line, exit });
}

pub(crate) fn read_spec(from: impl Read) -> Result<LaunchSpec, String> {
    let mut bytes = Vec::new();
    let limit = SPEC_BYTES_MAX as u64 + 1;
    from.take(limit).read_to_end(&mut bytes).map_err(|error| format!("cannot read the launch spec: {error}"))?;
    if bytes.len() > SPEC_BYTES_MAX {
        return Err(format!("the launch spec is longer than {SPEC_BYTES_MAX} bytes"));
    }
    LaunchSpec::decode(&bytes).map_err(|error| error.to_string())
}

/// Forks away twice: the first time to lead no process group (so that a new session is possible), the second time to lead no
/// session (so that no terminal we open becomes ours).
fn detach() -> io::Result<()> {
    if let Some(first) = system::fork()? {
        // Not longer than the second fork takes. Whoever started us waits for this process.
        let _ = rustix::process::waitpid(Some(first), WaitOptions::empty());
        system::exit_now(0);
    }
    if rustix::process::setsid().is_err() || system::fork().is_ok_and(|pid| pid.is_some()) {
        system::exit_now(0);
    }
    Ok(())
}

/// Answers on standard output.
pub(crate) fn answer(ready: &Ready) -> io::Result<()> {
    write_answer(rustix::stdio::stdout(), ready)
}

/// Writes the whole answer.
pub(crate) fn write_answer(to: impl AsFd, ready: &Ready) -> io::Result<()> {
    let mut bytes = ready.encode();
    while !bytes.is_empty() {
        let count = rustix::io::write(&to, &bytes)?;
        bytes.drain(..count.min(bytes.len()));
    }
    Ok(())
}

/// Nothing standard stays open: the pipe of whoever started us must end, and a closed terminal must not matter.
pub(crate) fn leave_stdio() -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}

fn failure(stage: Stage, errno: i32, text: String) -> Ready {
    Ready::Failed { stage, errno, text }
}

fn io_failure(stage: Stage, what: &str, path: &Path, error: &io::Error) -> Ready {
    failure(stage, error.raw_os_error().unwrap_or(0), format!("{what} in {}: {error}", path.display()))
}

fn log_failure(error: &OpenError) -> Ready {
    let (stage, errno) = match error {
        OpenError::Locked { .. } => (Stage::Locked, 0),
        OpenError::Newer { .. } => (Stage::Log, 0),
        OpenError::Io { source, .. } => (Stage::Log, source.raw_os_error().unwrap_or(0)),
    };
    failure(stage, errno, error.to_string())
}

/// A sentence for people. Names the program, never its arguments: they may be secrets.
fn child_text(spec: &LaunchSpec, reason: ChildFailure) -> String {
    let error = io::Error::from_raw_os_error(reason.errno);
    let program = String::from_utf8_lossy(spec.argv.first().map(Vec::as_slice).unwrap_or_default()).into_owned();
    match reason.stage {
        Stage::Exec if reason.errno == libc::ENOENT => {
            format!("cannot run {program}: it does not exist, or the interpreter named in its first line does not")
        }
        Stage::Exec if reason.errno == libc::EACCES => {
            format!("cannot run {program}: it is not executable for the game's user, or not a file")
        }
        Stage::Exec if reason.errno == libc::ENOEXEC => {
            format!("cannot run {program}: it is not a program for this machine, nor a script that begins with #!")
        }
        Stage::Exec => format!("cannot run {program}: {error}"),
        Stage::Cwd => format!("cannot enter the working folder {}: {error}", spec.cwd.display()),
        Stage::User => format!("cannot become the game's user: {error}"),
        Stage::Cgroup => format!("cannot put the game into its cgroup: {error}"),
        Stage::Landlock => format!("cannot give up what the game may not reach: {error}"),
        Stage::Seccomp => format!("cannot give up the system calls the game may not make: {error}"),
        Stage::Rlimit => format!("cannot set the game's resource limits: {error}"),
        stage => format!("cannot start {program} ({stage}): {error}"),
    }
}
