//! A shim as a process: told apart from a later one with the same number, woken, ended.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid};
use serde::{Deserialize, Serialize};
use spool::writer::LOCK_FILE_NAME;

use crate::runtime::program;
use crate::tasks::blocking;

/// Which process. A number alone may be another process by now; with its start time it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShimProcess {
    pub(crate) pid: u32,
    /// In clock ticks since boot.
    start_ticks: u64,
}

impl ShimProcess {
    /// The process of this number, now.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        Some(Self { pid, start_ticks: start_ticks(pid)? })
    }

    /// The shim that has a log's lock open, whatever else is known of it. Looks at every process; blocks.
    pub(crate) fn holding(log: &Path) -> Option<Self> {
        let lock = fs::metadata(log.join(LOCK_FILE_NAME)).ok()?;
        let is_lock = |meta: &fs::Metadata| meta.dev() == lock.dev() && meta.ino() == lock.ino();
        fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let shim = Self::of(pid)?;
            // Others may look at the lock; only a shim is ours to end.
            let exe = fs::read_link(entry.path().join("exe")).ok()?;
            let is_shim = exe.file_name()?.to_str()?.starts_with(program::NAME_PREFIX);
            let has_lock = || {
                let mut open = fs::read_dir(entry.path().join("fd")).ok()?.flatten();
                open.find(|fd| fs::metadata(fd.path()).is_ok_and(|meta| is_lock(&meta)))
            };
            (is_shim && has_lock().is_some()).then_some(shim)
        })
    }

    /// Whether it still is that process.
    pub(crate) fn is_there(self) -> bool {
        self.open().is_some()
    }

    /// Lets it go on if somebody has stopped it; its game may do that as long as both run as one user.
    pub(crate) fn wake(self) {
        self.signal(Signal::CONT);
    }

    /// Ends it because it does not do its work. Its game gets SIGTERM from the kernel; the rest is swept up when it is gone.
    pub(crate) fn end(self) {
        self.signal(Signal::KILL);
    }

    fn signal(self, signal: Signal) {
        if let Some(pidfd) = self.open() {
            // It may have ended meanwhile, which is what is wanted.
            let _ = pidfd_send_signal(pidfd, signal);
        }
    }

    /// The descriptor first: from then on the number cannot be another's unnoticed.
    fn open(self) -> Option<OwnedFd> {
        let pidfd = open(self.pid)?;
        (start_ticks(self.pid)? == self.start_ticks).then_some(pidfd)
    }
}

/// A descriptor of a process, whichever it is.
pub(crate) fn open(pid: u32) -> Option<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw)?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

/// Takes an ended process' status, if it is for us to take: the children of whoever ends become ours when we are a container's
/// first process, and would stay as zombies.
pub(crate) fn reap(pidfd: &impl AsFd) {
    // Not our child, or not ended: nothing to do.
    let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
}

/// Waits for the end of a process, and takes its status; whether it has ended in time. By then the kernel has closed its files and
/// freed its locks.
pub(crate) async fn ended(pidfd: Arc<OwnedFd>, limit: Duration) -> bool {
    let wait = move || {
        let limit = Timespec {
            tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: limit.subsec_nanos().into(),
        };
        let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
        let has_ended = matches!(rustix::io::retry_on_intr(|| poll(&mut fds, Some(&limit))), Ok(1..));
        reap(&pidfd);
        has_ended
    };
    blocking(wait).await.unwrap_or(false)
}

/// Takes the status of what became ours when the shim that held it was killed, and has ended. Processes that we start ourselves stay
/// in our session; the games' are in others.
pub(crate) fn reap_orphans() {
    let own = std::process::id();
    let Some(session) = stat(own).and_then(|stat| stat.session()) else { return };
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
        let is_orphan = |stat: &Stat| {
            stat.is_zombie() && stat.parent() == Some(own) && stat.session().is_some_and(|theirs| theirs != session)
        };
        if stat(pid).as_ref().is_some_and(is_orphan)
            && let Some(pidfd) = open(pid)
        {
            reap(&pidfd);
        }
    }
}

/// When a process began, in clock ticks since boot; none for a zombie.
fn start_ticks(pid: u32) -> Option<u64> {
    let stat = stat(pid).filter(|stat| !stat.is_zombie())?;
    stat.field(22)?.parse().ok()
}

/// `/proc/<pid>/stat` from its third field on. The second is a name that may have spaces and brackets in it.
struct Stat(String);

fn stat(pid: u32) -> Option<Stat> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')').map(|(_, fields)| Stat(fields.to_owned()))
}

impl Stat {
    /// By its number in `proc(5)`.
    fn field(&self, number: usize) -> Option<&str> {
        self.0.split_ascii_whitespace().nth(number.checked_sub(3)?)
    }

    fn is_zombie(&self) -> bool {
        self.field(3) == Some("Z")
    }

    fn parent(&self) -> Option<u32> {
        self.field(4)?.parse().ok()
    }

    fn session(&self) -> Option<u32> {
        self.field(6)?.parse().ok()
    }
}

/// This boot of the machine, as the kernel names it; empty if it does not.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_reused_number_is_not_the_shim() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let now = ShimProcess::of(child.id()).unwrap();
        assert!(now.is_there());
        let earlier = ShimProcess { start_ticks: now.start_ticks - 1, ..now };
        assert!(!earlier.is_there());
        earlier.end();
        assert!(child.try_wait().unwrap().is_none(), "another process' number is not signalled");
        now.end();
        assert!(!child.wait().unwrap().success());
        assert!(!now.is_there());
    }
}
