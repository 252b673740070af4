//! What the game gives up before it runs: Landlock's rules and the filter of system calls. Made before the fork, entered after it.
//! The only place that knows the kernel's structures for both.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use rustix::fs::{FileType, Mode, OFlags};
use spool::sandbox::{Landlock, PathRule};
use spool::spec::LaunchSpec;

// Types of rules, from the kernel's interface (include/uapi/linux/landlock.h).
const RULE_PATH_BENEATH: libc::c_int = 1;
const RULE_NET_PORT: libc::c_int = 2;
/// What has a meaning for a file that is no folder: to execute, write, read, truncate it, and to control a device.
const FOR_FILES: u64 = 1 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15;

#[repr(C)]
struct RulesetAttr {
    files: u64,
    net: u64,
    scopes: u64,
}

#[repr(C, packed)]
struct PathBeneathAttr {
    access: u64,
    parent: i32,
}

#[repr(C)]
struct NetPortAttr {
    access: u64,
    port: u64,
}

/// Ready to be entered.
pub(crate) struct Sandbox {
    ruleset: Option<OwnedFd>,
    filters: Vec<Vec<libc::sock_filter>>,
}

impl Sandbox {
    /// `terminal` is the game's end, if it has one.
    pub(crate) fn new(spec: &LaunchSpec, terminal: Option<&OwnedFd>) -> io::Result<Self> {
        let ruleset = spec.landlock.as_ref().map(|landlock| ruleset(landlock, terminal)).transpose()?;
        Ok(Self { ruleset, filters: spec.seccomp.iter().map(|program| instructions(program)).collect() })
    }

    /// Forbids this process, and all that come of it, what the ruleset handles and does not allow. System calls only.
    pub(crate) fn enter_landlock(&self) -> Result<(), i32> {
        let Some(ruleset) = &self.ruleset else { return Ok(()) };
        // SAFETY: numbers only.
        checked(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0_u32) }).map(drop)
    }

    /// Installs the filters. The last thing before the program is run: what comes after is filtered. System calls only.
    pub(crate) fn enter_seccomp(&self) -> Result<(), i32> {
        for filter in &self.filters {
            let program = libc::sock_fprog {
                len: u16::try_from(filter.len()).map_err(|_| libc::EINVAL)?,
                filter: filter.as_ptr().cast_mut(),
            };
            let (operation, flags) = (libc::SECCOMP_SET_MODE_FILTER, 0_u32);
            // SAFETY: the kernel copies the program, which outlives the call, and refuses one that makes no sense.
            checked(unsafe { libc::syscall(libc::SYS_seccomp, operation, flags, &raw const program) })?;
        }
        Ok(())
    }
}

fn ruleset(landlock: &Landlock, terminal: Option<&OwnedFd>) -> io::Result<OwnedFd> {
    let attr = RulesetAttr { files: landlock.files, net: landlock.net, scopes: landlock.scopes };
    // SAFETY: the structure outlives the call and its size is passed; a kernel that knows less of it refuses it unless the rest is
    // zero. The descriptor is new and nobody else's; the kernel makes it close-on-exec.
    let ruleset = unsafe {
        let fd = libc::syscall(libc::SYS_landlock_create_ruleset, &raw const attr, size_of::<RulesetAttr>(), 0_u32);
        match i32::try_from(fd) {
            Ok(fd @ 0..) => OwnedFd::from_raw_fd(fd),
            _ => return Err(io::Error::last_os_error()),
        }
    };
    for rule in &landlock.paths {
        allow_path(&ruleset, rule)?;
    }
    if let Some(terminal) = terminal.filter(|_| landlock.terminal != 0) {
        allow_beneath(&ruleset, terminal, landlock.terminal)?;
    }
    for rule in &landlock.ports {
        let attr = NetPortAttr { access: rule.access, port: rule.port.into() };
        add_rule(&ruleset, RULE_NET_PORT, &attr)?;
    }
    Ok(ruleset)
}

fn allow_path(ruleset: &OwnedFd, rule: &PathRule) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // What is not there needs no rule, and without a rule nothing is allowed.
    let Ok(fd) = rustix::fs::open(&rule.path, flags, Mode::empty()) else { return Ok(()) };
    match FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) {
        FileType::Symlink => Ok(()),
        FileType::Directory => allow_beneath(ruleset, &fd, rule.access),
        _ => allow_beneath(ruleset, &fd, rule.access & FOR_FILES),
    }
}

fn allow_beneath(ruleset: &OwnedFd, parent: &impl AsFd, access: u64) -> io::Result<()> {
    if access == 0 {
        return Ok(());
    }
    add_rule(ruleset, RULE_PATH_BENEATH, &PathBeneathAttr { access, parent: parent.as_fd().as_raw_fd() })
}

fn add_rule<T>(ruleset: &OwnedFd, kind: libc::c_int, attr: &T) -> io::Result<()> {
    // SAFETY: `attr` is the structure of this kind and outlives the call.
    let result =
        unsafe { libc::syscall(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), kind, ptr::from_ref(attr), 0_u32) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A program as the kernel reads it: u16 code, u8 and u8 jumps, u32 operand.
fn instructions(program: &[u8]) -> Vec<libc::sock_filter> {
    let (whole, _) = program.as_chunks::<8>();
    whole
        .iter()
        .map(|&[code, code_high, jt, jf, k @ ..]| libc::sock_filter {
            code: u16::from_ne_bytes([code, code_high]),
            jt,
            jf,
            k: u32::from_ne_bytes(k),
        })
        .collect()
}

fn checked(result: libc::c_long) -> Result<libc::c_long, i32> {
    if result < 0 { Err(io::Error::last_os_error().raw_os_error().unwrap_or(0)) } else { Ok(result) }
}
