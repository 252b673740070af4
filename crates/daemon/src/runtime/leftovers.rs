//! What a lost shim leaves behind: processes that carry a server's mark, sit in its control groups, or were seen below its shim. They get a while to end by
//! themselves, then they are killed, until none is left.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Signal, pidfd_send_signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wire::ids::ServerId;

use crate::runtime::cgroup::Leaf;
use crate::runtime::shim::{self, ShimProcess};
use crate::stats::process_tree;
use crate::tasks::blocking;

/// Marks every process of a server in its environment: its value is the server's folder, which no other server has, of no other node.
pub(crate) const RUN_VARIABLE: &str = "QUARTERDECK_RUN";
/// How long what a lost shim held may take to save and end: it has had its SIGTERM from the kernel.
pub(crate) const LEFTOVER_GRACE: Duration = Duration::from_secs(5);
/// Pause between two rounds of killing, unless a process ends before: what was forked meanwhile dies in the next.
const KILL_EVERY: Duration = Duration::from_millis(20);
/// How long killing goes on. What still lives hangs in the kernel, and is named.
const KILL_MAX: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Clone)]
pub(crate) struct Leftovers {
    id: ServerId,
    mark: PathBuf,
    leaf: Leaf,
    seen: Vec<ShimProcess>,
}

impl Leftovers {
    /// Of the server with this folder. `seen` are processes of it that were seen when their shim still lived: they may have taken
    /// the mark off.
    pub(crate) fn of(id: ServerId, dir: &Path, leaf: Leaf, seen: Vec<ShimProcess>) -> Self {
        Self { id, mark: dir.to_owned(), leaf, seen }
    }

    /// Whether there is any.
    pub(crate) async fn exist(&self) -> bool {
        !self.look(false).await.is_empty()
    }

    /// Waits until none is left: for the grace, or until `no_mercy` fires, they may end by themselves.
    pub(crate) async fn end(self, grace: Duration, no_mercy: CancellationToken) {
        let mut killing_since = None;
        let mercy_until = Instant::now() + grace;
        loop {
            if killing_since.is_none() && (no_mercy.is_cancelled() || Instant::now() >= mercy_until) {
                killing_since = Some(Instant::now());
            }
            let found = self.look(killing_since.is_some()).await;
            let Some(first) = found.first().cloned() else { break };
            match killing_since {
                None => {
                    tokio::select! {
                        _ = shim::ended(first, mercy_until.saturating_duration_since(Instant::now())) => {}
                        () = no_mercy.cancelled() => {}
                    }
                }
                Some(since) if since.elapsed() >= KILL_MAX => {
                    tracing::error!(server = %self.id, left = found.len(), "processes of the server cannot be killed and are left behind");
                    break;
                }
                // Over at the pause's end or before, it makes no difference.
                Some(_) => drop(shim::ended(first, KILL_EVERY).await),
            }
        }
        if let Err(error) = blocking(shim::reap_orphans).await {
            tracing::error!(server = %self.id, %error, "ended processes may stay as zombies");
        }
    }

    /// Those that live, killed if that is wanted.
    async fn look(&self, kill: bool) -> Vec<Arc<OwnedFd>> {
        let looker = self.clone();
        let found = blocking(move || {
            let found = looker.find();
            if kill {
                looker.leaf.kill();
                for pidfd in &found {
                    // It may have ended by now.
                    let _ = pidfd_send_signal(pidfd, Signal::KILL);
                }
            }
            found
        });
        let found = found.await.unwrap_or_else(|error| {
            tracing::error!(server = %self.id, %error, "looking for leftovers failed");
            Vec::new()
        });
        if kill && !found.is_empty() {
            tracing::warn!(server = %self.id, count = found.len(), "killing processes that nobody holds any more");
        }
        found
    }

    fn find(&self) -> Vec<Arc<OwnedFd>> {
        let mark = [RUN_VARIABLE.as_bytes(), b"=", self.mark.as_os_str().as_encoded_bytes()].concat();
        let mut grouped = self.leaf.pids();
        // And what those have started since.
        for seen in self.seen.iter().filter(|seen| seen.is_there()) {
            grouped.insert(seen.pid);
            grouped.extend(process_tree(seen.pid));
        }
        let own = std::process::id();
        let listed = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = listed.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        // Started from a console of a server, this program carries a mark itself.
        pids.filter(|pid| *pid != own)
            .filter_map(|pid| {
                // The descriptor first: what is read then is of this process, or it has ended.
                let pidfd = shim::open(pid)?;
                let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
                let is_ours = environ.split(|byte| *byte == 0).any(|variable| variable == mark)
                    || grouped.contains(&pid) && ShimProcess::of(pid).is_some();
                is_ours.then(|| Arc::new(pidfd))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};

    use super::*;
    use crate::runtime::cgroup::Machine;

    /// A process with a mark of its own that has said that it is ready.
    fn marked(script: &str) -> (Leftovers, Child) {
        let id = ServerId(uuid::Uuid::new_v4());
        let dir = PathBuf::from(format!("/servers/{id}"));
        let mut child = Command::new("/bin/sh")
            .args(["-c", script])
            .env(RUN_VARIABLE, &dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        (Leftovers::of(id, &dir, Machine::default().existing("none"), Vec::new()), child)
    }

    #[tokio::test]
    async fn a_leftover_that_saves_in_its_grace_is_not_killed() {
        let (left, mut child) = marked("echo ready; read line; exit 7");
        assert!(left.exist().await);
        drop(child.stdin.take());
        left.end(Duration::from_mins(1), CancellationToken::new()).await;
        // Its status is taken by whoever comes first, as where this program is the first process.
        assert!(child.wait().is_err() || child.try_wait().unwrap().unwrap().code() == Some(7));
    }

    #[tokio::test]
    async fn a_kill_does_not_wait_for_the_grace() {
        let (left, child) = marked("echo ready; read line");
        let no_mercy = CancellationToken::new();
        no_mercy.cancel();
        left.clone().end(Duration::from_hours(1), no_mercy).await;
        assert!(!left.exist().await);
        drop(child);
    }

    #[tokio::test]
    async fn leftovers_that_fork_on_are_killed_to_the_last() {
        let script = "echo ready; i=0; while [ $i -lt 300 ]; do i=$((i+1)); (sh -c 'sleep 60' &); done";
        let (left, child) = marked(script);
        left.clone().end(Duration::ZERO, CancellationToken::new()).await;
        assert!(!left.exist().await);
        drop(child);
    }
}
