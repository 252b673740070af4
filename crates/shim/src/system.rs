//! System calls that have no safe form in the crates we use. Each wrapper here is safe to call in a process with one thread.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr;

use rustix::process::Pid;

/// Signals that must not end the shim: whatever a terminal, a logout, a service manager, a closed socket or a limit sends. Stopping
/// signals too, because a stopped shim would stop its game at the next print.
const IGNORED: [i32; 17] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGPIPE,
    libc::SIGALRM,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGXCPU,
    libc::SIGXFSZ,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGIO,
    libc::SIGPWR,
];

const SIGNAL_MAX: i32 = 64;
/// At least as long as the kernel's `struct sigaction`, whose zeros mean the default, on every machine.
const KERNEL_SIGACTION_WORDS: usize = 8;

/// Lets every signal do what it does by default. Whoever started us may have left anything: a child that is ignored, for one, is
/// never waited for.
pub(crate) fn default_signals() {
    let default = [0_u64; KERNEL_SIGACTION_WORDS];
    for signal in 1..=SIGNAL_MAX {
        // SAFETY: the kernel reads the structure, and a default installs no code. The library's own function is not asked, because
        // it leaves out the two signals it keeps for itself.
        unsafe {
            let before = ptr::null_mut::<u64>();
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), before, size_of::<u64>());
        }
    }
}

/// Blocks no signal.
pub(crate) fn unblock_signals() -> io::Result<()> {
    let mut none = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the set is initialized before it is used.
    let result = unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Ignores what must not end us and nothing else, whatever was inherited. The child side sets everything back before it runs the game.
pub(crate) fn ignore_signals() {
    default_signals();
    for signal in IGNORED {
        // SAFETY: setting a disposition to "ignore" installs no code.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    // Last, because one may have been waiting for it. The call fails only if it is not told what to do with the set.
    let _ = unblock_signals();
}

/// Closes everything but the three standard descriptors: what a careless parent left open must not reach the game.
pub(crate) fn close_inherited() {
    // SAFETY: called first thing in `main`; no value of this program owns a descriptor above 2 yet. Kernels before 5.9 refuse the
    // call, then only descriptors without CLOEXEC of a careless parent stay open.
    unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
}

/// A descriptor that becomes readable when a child ends. Also keeps SIGCHLD from interrupting anything.
pub(crate) fn child_signal() -> io::Result<OwnedFd> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigemptyset` initializes the set, the other calls read it; the descriptor returned is new and nobody else's.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGCHLD);
        if libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        match libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}

/// Forks; `None` in the child. The child may do anything: there was and is one thread only.
pub(crate) fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: one thread, so no lock can be held by a thread that is missing in the child.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(Pid::from_raw(pid)),
    }
}

/// Gives back what starting took: a shim is there for as long as its game, and there are many.
pub(crate) fn give_back_memory() {
    // SAFETY: takes a number, and frees only what nobody has.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Ends this process at once. Nothing is dropped: in a forked copy, what would be dropped belongs to the other one.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` takes any number and does not return.
    unsafe { libc::_exit(code) }
}

/// What all children that have been waited for used, and their descendants that they waited for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) user_ms: u64,
    pub(crate) system_ms: u64,
    pub(crate) maxrss_kib: u64,
}

pub(crate) fn children_usage() -> Usage {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the call fills the structure; if it should not, the zeros in it are a valid value.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr());
        usage.assume_init()
    };
    let ms = |time: libc::timeval| {
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        seconds * 1000 + u64::try_from(time.tv_usec).unwrap_or(0) / 1000
    };
    Usage {
        user_ms: ms(usage.ru_utime),
        system_ms: ms(usage.ru_stime),
        maxrss_kib: u64::try_from(usage.ru_maxrss).unwrap_or(0),
    }
}
