//! The game's process between fork and exec. Everything it needs is made before the fork; after it, system calls only.

use std::ffi::{CString, c_char};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::ptr;

use rustix::pipe::PipeFlags;
use rustix::process::Pid;
use spool::ready::Stage;
use spool::spec::{Console, LaunchSpec, Rlimit, User};

use crate::console::GameEnds;
use crate::sandbox::Sandbox;
use crate::system;

/// Exit code of a game that could not be run, as shells have it.
const CANNOT_RUN: i32 = 127;
/// Where a program without a slash is looked for if the environment has no `PATH`.
const PATH_DEFAULT: &[u8] = b"/usr/local/bin:/usr/bin:/bin";

/// What could not be done, as the child reports it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChildFailure {
    pub(crate) stage: Stage,
    pub(crate) errno: i32,
}

/// What came of starting the game.
pub(crate) enum Spawned {
    /// Its program runs.
    Running(Pid),
    /// It does not; the process has ended or is about to.
    Failed(Pid, ChildFailure),
}

/// Everything the child needs.
pub(crate) struct Plan {
    /// The program, at each place where it may be.
    candidates: Vec<CString>,
    argv: Vec<CString>,
    envp: Vec<CString>,
    cwd: CString,
    cgroup_procs: Vec<CString>,
    rlimits: Vec<Rlimit>,
    user: Option<User>,
    capabilities: Option<u64>,
    no_new_privs: bool,
    umask: u32,
    terminal: bool,
    ignore_hangup: bool,
}

impl Plan {
    /// Fails if a string has a zero byte in it, which no program can be given.
    pub(crate) fn new(spec: &LaunchSpec) -> io::Result<Self> {
        let text = |bytes: &[u8]| CString::new(bytes).map_err(io::Error::from);
        let path = spec.env.iter().find(|(name, _)| name == b"PATH").map_or(PATH_DEFAULT, |(_, value)| value);
        let program = spec.argv.first().map(Vec::as_slice).unwrap_or_default();
        let candidates = if program.contains(&b'/') {
            vec![text(program)?]
        } else {
            let folders = path.split(|&byte| byte == b':').filter(|folder| !folder.is_empty());
            folders.map(|folder| text(&[folder, b"/", program].concat())).collect::<Result<_, _>>()?
        };
        Ok(Self {
            candidates,
            argv: spec.argv.iter().map(|arg| text(arg)).collect::<Result<_, _>>()?,
            envp: spec
                .env
                .iter()
                .map(|(name, value)| text(&[name, &b"="[..], value].concat()))
                .collect::<Result<_, _>>()?,
            cwd: text(spec.cwd.as_os_str().as_bytes())?,
            cgroup_procs: spec
                .cgroup_procs
                .iter()
                .map(|path| text(path.as_os_str().as_bytes()))
                .collect::<Result<_, _>>()?,
            rlimits: spec.rlimits.clone(),
            user: spec.user,
            capabilities: spec.capabilities,
            no_new_privs: spec.no_new_privs,
            umask: spec.umask,
            terminal: matches!(spec.console, Console::Pty { .. }),
            ignore_hangup: spec.ignore_hangup,
        })
    }

    /// Starts the game and waits until its program runs, or until it is clear that it will not.
    pub(crate) fn spawn(&self, ends: GameEnds, sandbox: &Sandbox) -> io::Result<Spawned> {
        let (report_read, report_write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let argv = pointers(&self.argv);
        let envp = pointers(&self.envp);
        // SAFETY: takes no arguments and cannot fail.
        let shim = unsafe { libc::getpid() };
        let Some(pid) = system::fork()? else {
            let failure = self.become_game(&ends, sandbox, shim, &argv, &envp);
            let [a, b, c, d] = failure.errno.to_le_bytes();
            let _ = rustix::io::write(&report_write, &[failure.stage.code(), a, b, c, d]);
            system::exit_now(CANNOT_RUN);
        };
        drop(report_write);
        drop(ends);
        // The pipe closes when the program is run, because it is CLOEXEC.
        let mut report = Vec::new();
        std::fs::File::from(report_read).read_to_end(&mut report)?;
        Ok(match *report.as_slice() {
            [] => Spawned::Running(pid),
            [stage, ref errno @ ..] => {
                let errno = errno.try_into().map_or(0, i32::from_le_bytes);
                let stage = Stage::from_code(stage).unwrap_or(Stage::Exec);
                Spawned::Failed(pid, ChildFailure { stage, errno })
            }
        })
    }

    /// Turns this process into the game. Returns only if that fails.
    ///
    /// The order matters: the terminal needs the new session; cgroups and limits need the privileges that are given up next; the
    /// kernel forgets the death signal when the user changes; the folder and the program are entered as the game's user; what is
    /// given up last would stand in the way of all that.
    fn become_game(
        &self,
        ends: &GameEnds,
        sandbox: &Sandbox,
        shim: i32,
        argv: &[*const c_char],
        envp: &[*const c_char],
    ) -> ChildFailure {
        let prepared = at(Stage::Session, self.take_console(ends))
            .and_then(|()| at(Stage::Cgroup, self.join_cgroups()))
            .and_then(|()| at(Stage::Rlimit, self.limit()))
            .and_then(|()| at(Stage::Privileges, self.drop_capabilities()))
            .and_then(|()| at(Stage::User, self.change_user()))
            .and_then(|()| at(Stage::Privileges, self.bind_to(shim)))
            .and_then(|()| at(Stage::Cwd, self.enter_folder()))
            .and_then(|()| at(Stage::Landlock, sandbox.enter_landlock()))
            .and_then(|()| at(Stage::Seccomp, sandbox.enter_seccomp()));
        match prepared {
            Ok(()) => ChildFailure { stage: Stage::Exec, errno: self.exec(argv, envp) },
            Err(failure) => failure,
        }
    }

    fn take_console(&self, ends: &GameEnds) -> Result<(), i32> {
        let (stdin, stdout) = (ends.stdin.as_raw_fd(), ends.stdout.as_raw_fd());
        // SAFETY: the descriptors are open; 0, 1 and 2 belong to nobody in this process any more.
        unsafe {
            checked(libc::setsid())?;
            if self.terminal {
                checked(libc::ioctl(stdin, libc::TIOCSCTTY, 0))?;
            }
            checked(libc::dup2(stdin, 0))?;
            checked(libc::dup2(stdout, 1))?;
            checked(libc::dup2(stdout, 2))?;
        }
        Ok(())
    }

    fn join_cgroups(&self) -> Result<(), i32> {
        for path in &self.cgroup_procs {
            // SAFETY: the path is a C string, the buffer has one byte, the descriptor is closed once.
            unsafe {
                let fd = checked(libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC))?;
                // "0" is whoever writes it.
                let written = libc::write(fd, c"0".as_ptr().cast(), 1);
                let errno = errno();
                libc::close(fd);
                if written != 1 {
                    return Err(errno);
                }
            }
        }
        Ok(())
    }

    fn limit(&self) -> Result<(), i32> {
        for limit in &self.rlimits {
            let value = libc::rlimit { rlim_cur: limit.soft, rlim_max: limit.hard };
            // SAFETY: the kernel only reads the structure, and refuses a number that is no resource.
            checked(unsafe { libc::setrlimit(limit.resource, &raw const value) })?;
        }
        Ok(())
    }

    /// What is left out here no program of the game's can have any more.
    fn drop_capabilities(&self) -> Result<(), i32> {
        let Some(kept) = self.capabilities else { return Ok(()) };
        for capability in (0..u64::BITS).filter(|bit| kept & (1 << bit) == 0) {
            // SAFETY: numbers only.
            match checked(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability), 0, 0, 0) }) {
                // The kernel has no more of them.
                Err(libc::EINVAL) => break,
                dropped => dropped?,
            };
        }
        Ok(())
    }

    fn change_user(&self) -> Result<(), i32> {
        let Some(User { uid, gid }) = self.user else { return Ok(()) };
        // SAFETY: plain numbers, and an empty list of groups.
        unsafe {
            // Shared memory and queues of System V of its own, which end with it. Where it is refused, in a container without the
            // power for it, a user of its own is a wall all the same.
            libc::unshare(libc::CLONE_NEWIPC);
            checked(libc::setgroups(0, ptr::null()))?;
            checked(libc::setresgid(gid, gid, gid))?;
            checked(libc::setresuid(uid, uid, uid))?;
        }
        Ok(())
    }

    /// If the shim dies the game gets SIGTERM, a chance to save, instead of running on with nobody there.
    fn bind_to(&self, shim: i32) -> Result<(), i32> {
        // SAFETY: numbers only.
        unsafe {
            checked(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM, 0, 0, 0))?;
            if libc::getppid() != shim {
                // It died before it could be asked for the signal.
                return Err(libc::ESRCH);
            }
            if self.no_new_privs {
                checked(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
            }
        }
        system::default_signals();
        if self.ignore_hangup {
            // SAFETY: numbers only; no code is installed.
            unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
        }
        system::unblock_signals().map_err(|error| error.raw_os_error().unwrap_or(0))?;
        Ok(())
    }

    fn enter_folder(&self) -> Result<(), i32> {
        // SAFETY: the path is a C string.
        unsafe {
            libc::umask(self.umask);
            checked(libc::chdir(self.cwd.as_ptr()))?;
        }
        Ok(())
    }

    /// Runs the first candidate that exists and returns why none could be run.
    fn exec(&self, argv: &[*const c_char], envp: &[*const c_char]) -> i32 {
        let mut reason = libc::ENOENT;
        for program in &self.candidates {
            // SAFETY: C strings, and two lists of them that end with a null pointer. The first call marks every descriptor above 2
            // to be closed by exec; the report pipe stays usable until then.
            unsafe {
                libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
                libc::execve(program.as_ptr(), argv.as_ptr(), envp.as_ptr());
            }
            match errno() {
                // Not in this folder; but a file that may not be run is the better reason, if there is no other.
                libc::ENOENT | libc::ENOTDIR => {}
                libc::EACCES => reason = libc::EACCES,
                other => return other,
            }
        }
        reason
    }
}

/// A C list of strings: pointers, then null. Valid as long as the strings are.
fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
}

fn at(stage: Stage, result: Result<(), i32>) -> Result<(), ChildFailure> {
    result.map_err(|errno| ChildFailure { stage, errno })
}

fn checked(result: i32) -> Result<i32, i32> {
    if result < 0 { Err(errno()) } else { Ok(result) }
}

fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}
