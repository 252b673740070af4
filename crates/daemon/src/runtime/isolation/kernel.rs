//! What this kernel has of Landlock and of system call filters. Two calls that have no safe wrapper in the crates we use.
#![allow(unsafe_code)]

use std::io;

/// Asks for the version instead of making a ruleset.
const CREATE_RULESET_VERSION: u32 = 1;

/// The version of Landlock's interface; an error where there is none.
pub(super) fn landlock_abi() -> io::Result<u32> {
    // SAFETY: with this flag the kernel takes no structure and makes nothing.
    let version = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0_usize, CREATE_RULESET_VERSION)
    };
    u32::try_from(version).map_err(|_| io::Error::last_os_error())
}

/// Whether the kernel takes system call filters that refuse with an error number.
pub(super) fn has_seccomp() -> io::Result<()> {
    let action: u32 = libc::SECCOMP_RET_ERRNO;
    // SAFETY: the kernel reads one number, which outlives the call, and changes nothing.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0_u32, &raw const action) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
