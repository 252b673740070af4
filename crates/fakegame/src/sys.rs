//! The calls that only the operating system has: the one file of the games with `unsafe` in it.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;

/// Hour, minute and second of this moment in the machine's time zone.
pub(crate) struct LocalTime {
    pub(crate) hour: u8,
    pub(crate) minute: u8,
    pub(crate) second: u8,
}

/// Keeps these signals from this thread and from those it starts, so that [`wait_for_signal`] gets them.
pub(crate) fn block_signals(signals: &[i32]) {
    let set = signal_set(signals);
    // SAFETY: `set` is initialized and outlives the call; a null old set is allowed.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
}

/// Gives all signals their way again: a process inherits the blocked ones from the one that started it.
pub(crate) fn unblock_signals() {
    let none = signal_set(&[]);
    // SAFETY: `none` is initialized and outlives the call; a null old set is allowed.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()) };
}

/// Waits for one of these signals, which must be blocked, and returns its number.
pub(crate) fn wait_for_signal(signals: &[i32]) -> Option<i32> {
    let set = signal_set(signals);
    let mut taken = 0;
    // SAFETY: both pointers are to live, initialized values.
    let failed = unsafe { libc::sigwait(&raw const set, &raw mut taken) };
    (failed == 0).then_some(taken)
}

fn signal_set(signals: &[i32]) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initializes the set it is given; sigaddset refuses numbers that are no signals.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), *signal);
        }
        set.assume_init()
    }
}

/// Dies of a segmentation fault, without a core file.
pub(crate) fn segfault() -> ! {
    let no_core = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: plain system calls on live values. The default action is restored first because Rust's own handler
    // for this signal would return from one that was only sent.
    unsafe {
        libc::setrlimit(libc::RLIMIT_CORE, &raw const no_core);
        libc::signal(libc::SIGSEGV, libc::SIG_DFL);
        libc::raise(libc::SIGSEGV);
    }
    // Only reached where the signal is blocked: die all the same.
    std::process::abort()
}

/// Leaves the session and process group of whoever started us. Fails silently for a group's leader, which has its own.
pub(crate) fn leave_session() {
    // SAFETY: takes and returns plain numbers.
    unsafe { libc::setsid() };
}

/// Nanoseconds of the machine's monotonic clock: the same clock in every process, unlike `Instant`.
pub(crate) fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a live value of the right type; this clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(now.tv_nsec).unwrap_or(0))
}

/// The time of day a person here would read off a clock; midnight where the machine cannot say.
pub(crate) fn local_time() -> LocalTime {
    let mut out = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: `time` accepts a null pointer; `localtime_r` writes only into `out`, and all-zero is a valid `tm`.
    let tm = unsafe {
        let now = libc::time(std::ptr::null_mut());
        libc::localtime_r(&raw const now, out.as_mut_ptr());
        out.assume_init()
    };
    let field = |value: i32| u8::try_from(value).unwrap_or(0);
    LocalTime { hour: field(tm.tm_hour), minute: field(tm.tm_min), second: field(tm.tm_sec) }
}
