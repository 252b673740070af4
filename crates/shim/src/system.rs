//! System calls that have no safe form in the crates we use. Each wrapper here is safe to call in a process with one thread.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
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
///
/// With `and_term` also SIGTERM, which then ends nothing.
pub(crate) fn child_signal(and_term: bool) -> io::Result<OwnedFd> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigemptyset` initializes the set, the other calls read it; the descriptor returned is new and nobody else's.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGCHLD);
        if and_term {
            libc::sigaddset(set.as_mut_ptr(), libc::SIGTERM);
        }
        if libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        match libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}

/// Takes the signals off such a descriptor; whether one of them was SIGTERM.
pub(crate) fn take_signals(descriptor: &OwnedFd) -> bool {
    let mut asked_to_end = false;
    let mut info = MaybeUninit::<libc::signalfd_siginfo>::zeroed();
    loop {
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the kernel writes whole structures into a buffer for one; zeros are a valid value of it.
        let (count, signal) = unsafe {
            let count = libc::read(descriptor.as_raw_fd(), info.as_mut_ptr().cast(), size);
            (count, info.assume_init_ref().ssi_signo)
        };
        if usize::try_from(count) != Ok(size) {
            return asked_to_end;
        }
        asked_to_end |= i32::try_from(signal) == Ok(libc::SIGTERM);
    }
}

/// Who is at the other end of a socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// 0 for a process that is not to be seen from here: outside of the container that we are in.
    pub(crate) pid: i32,
    pub(crate) uid: u32,
}

/// Who that is; by hand, because the library's type has no place for the number 0.
pub(crate) fn peer(stream: &impl AsRawFd) -> Option<Peer> {
    let mut found = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut size = libc::socklen_t::try_from(size_of::<libc::ucred>()).ok()?;
    // SAFETY: the structure and its size are ours and valid; the kernel writes no more than that size.
    let result = unsafe {
        let option = (&raw mut found).cast();
        libc::getsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED, option, &raw mut size)
    };
    (result == 0).then_some(Peer { pid: found.pid, uid: found.uid })
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
