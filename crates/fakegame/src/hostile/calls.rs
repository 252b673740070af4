//! System calls that no honest game makes.
#![allow(unsafe_code)]

use std::io;
use std::ptr;

fn checked(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sends a signal; 0 only asks whether it could.
pub(super) fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: numbers only.
    checked(unsafe { libc::kill(pid, signal) }.into())
}

/// Attaches to a process as a debugger does, without stopping it, and lets go of it.
pub(super) fn seize(pid: i32) -> io::Result<()> {
    let none = ptr::null_mut::<u8>();
    // SAFETY: no memory of ours is given to the kernel.
    unsafe {
        checked(libc::ptrace(libc::PTRACE_SEIZE, pid, none, none))?;
        libc::ptrace(libc::PTRACE_DETACH, pid, none, none);
    }
    Ok(())
}

/// Types a character into our own terminal, as if a person had.
pub(super) fn type_into_terminal() -> io::Result<()> {
    let character = b'\n';
    // SAFETY: the kernel reads one byte, which outlives the call.
    checked(unsafe { libc::ioctl(0, libc::TIOCSTI, &raw const character) }.into())
}

pub(super) fn mount() -> io::Result<()> {
    // SAFETY: C strings, and no data.
    let result = unsafe { libc::mount(c"none".as_ptr(), c".".as_ptr(), c"tmpfs".as_ptr(), 0, ptr::null()) };
    checked(result.into())
}

pub(super) fn unshare(flags: i32) -> io::Result<()> {
    in_child(|| {
        // SAFETY: a number only.
        checked(unsafe { libc::unshare(flags) }.into())
    })
}

pub(super) fn chroot() -> io::Result<()> {
    in_child(|| {
        // SAFETY: a C string.
        checked(unsafe { libc::chroot(c".".as_ptr()) }.into())
    })
}

/// Makes a child in a user namespace of its own, by the call whose flags a filter can see and by the one whose it cannot.
pub(super) fn clone_namespace() -> io::Result<()> {
    let flags = libc::CLONE_NEWUSER | libc::SIGCHLD;
    // SAFETY: without a stack of its own the child is a copy, as of a fork; it ends at once.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    let by_clone = after(pid);
    let mut arguments = [0_u64; 11];
    (arguments[0], arguments[4]) = (flags.unsigned_abs().into(), u64::from(libc::SIGCHLD.unsigned_abs()));
    arguments[0] &= !u64::from(libc::SIGCHLD.unsigned_abs());
    // SAFETY: as above; the structure is longer than what the kernel asks for, and its size is passed.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, arguments.as_ptr(), 64_usize) };
    by_clone.or_else(|_| after(pid))
}

/// A call that cannot do anything with these arguments: what counts is whether it is looked at at all.
pub(super) fn nonsense(number: libc::c_long) -> io::Result<()> {
    // SAFETY: null pointers and numbers that are no descriptors.
    let result = unsafe { libc::syscall(number, -1_i64, 0, 0, -1_i64, 0) };
    match checked(result) {
        // It was looked at: that is as good as through.
        Err(error) if !matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOSYS | libc::EACCES)) => Ok(()),
        other => other,
    }
}

pub(super) fn socket(family: i32, kind: i32) -> io::Result<()> {
    // SAFETY: numbers only; the descriptor is closed here.
    unsafe {
        let fd = libc::socket(family, kind, 0);
        checked(fd.into())?;
        libc::close(fd);
    }
    Ok(())
}

/// Does it in a child, because it would change this process for good.
fn in_child(action: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    // SAFETY: this program has one thread here; the child makes system calls and ends.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let code = action().err().and_then(|error| error.raw_os_error()).unwrap_or(0);
        // SAFETY: ends this process at once.
        unsafe { libc::_exit(code) };
    }
    after(pid.into())
}

/// Waits for a child that ends with an error's number. In the child itself it ends.
fn after(pid: libc::c_long) -> io::Result<()> {
    if pid == 0 {
        // SAFETY: ends this process at once.
        unsafe { libc::_exit(0) };
    }
    checked(pid)?;
    let mut status = 0;
    // SAFETY: the status is written to a live value.
    unsafe { libc::waitpid(i32::try_from(pid).unwrap_or(0), &raw mut status, 0) };
    match libc::WEXITSTATUS(status) {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}
