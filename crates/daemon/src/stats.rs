//! Samples what servers use, once a second: one task for all of them, and one that measures their directories. What comes of it is
//! told to viewers and kept (`figures`).
//!
//! From the server's control groups where it has them, else from `/proc`. CPU is the time used between two samples over the
//! time passed, so the first sample of a run says 0.

use std::cell::LazyCell;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wire::ids::ServerId;
use wire::server::{State, Stats};

use crate::node::Node;
use crate::runtime::cgroup::Leaf;
use crate::runtime::shim::ShimProcess;
use crate::server::Server;
use crate::tasks::blocking;

/// Time between samples.
const PERIOD: Duration = Duration::from_secs(1);
/// Time between two walks of a server's directory while its size changes; it doubles while it does not, up to a minute. A slow walk
/// also waits a hundred times its own duration.
const WALK_PAUSE_MIN: Duration = Duration::from_secs(4);
const WALK_PAUSE_MAX: Duration = Duration::from_mins(1);
const WALK_PAUSE_FACTOR: u32 = 100;
/// Folders within folders that a walk goes into; one descriptor each.
const WALK_DEPTH_MAX: usize = 128;
/// Files with several names that a walk remembers.
const LINKED_MAX: usize = 100_000;
/// Kernel clock ticks per second in `/proc/<pid>/stat`; fixed by the ABI on every platform we run on.
const TICKS_PER_S: u64 = 100;

/// Where a running server's figures come from.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// Its control groups.
    pub(crate) leaf: Leaf,
    /// Its shim: every process of the game is below it.
    pub(crate) shim_pid: u32,
    /// When the game's first process started, in ticks since boot.
    pub(crate) start_ticks: u64,
}

impl Source {
    /// Which members of [`Stats`] cannot be measured for this server on this machine, and why.
    pub(crate) fn unmeasured(&self) -> Vec<String> {
        match self.leaf.network() {
            Some(_) => Vec::new(),
            None => vec!["network: needs root, cgroup2 and BPF; traffic is not counted".to_owned()],
        }
    }
}

/// What is remembered of one server between samples.
#[derive(Default)]
struct Meter {
    cpu: Option<(Instant, u64)>,
}

/// The loop that walks the servers' directories, one at a time and apart from the samples, which must not wait for a slow disk.
/// Ends when the node does.
pub(crate) async fn walk(node: Arc<Node>) {
    let cancel = node.tasks.cancel_token();
    let mut walks: HashMap<ServerId, Walk> = HashMap::new();
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = cancel.cancelled() => return,
        }
        let servers = node.servers();
        let known: HashSet<ServerId> = servers.iter().map(Server::id).collect();
        walks.retain(|id, _| known.contains(id));
        for server in servers {
            let before = walks.get(&server.id()).copied();
            if before.is_some_and(|walk| walk.due > Instant::now()) {
                continue;
            }
            let started = Instant::now();
            let dir = server.files_dir();
            let walked = tokio::select! {
                walked = blocking(move || directory_bytes(&dir)) => walked,
                // The walk ends by itself; nobody waits for its figure.
                () = cancel.cancelled() => return,
            };
            let bytes = match walked {
                Ok(bytes) => {
                    server.set_disk_bytes(bytes);
                    Some(bytes)
                }
                Err(error) => {
                    tracing::error!(server = %server.id(), %error, "the size of the files is not known");
                    None
                }
            };
            walks.insert(server.id(), Walk::after(before, bytes, started));
        }
    }
}

/// A walk of a server's directory, and when the next one is due.
#[derive(Clone, Copy, Debug)]
struct Walk {
    bytes: Option<u64>,
    pause: Duration,
    due: Instant,
}

impl Walk {
    /// One that began then, and found so much.
    fn after(before: Option<Self>, bytes: Option<u64>, started: Instant) -> Self {
        let pause = match before {
            Some(before) if before.bytes == bytes => (before.pause * 2).min(WALK_PAUSE_MAX),
            _ => WALK_PAUSE_MIN,
        };
        let now = Instant::now();
        Self { bytes, pause, due: now + pause.max((now - started) * WALK_PAUSE_FACTOR) }
    }
}

/// The sampling loop; ends when the node does.
pub(crate) async fn run(node: Arc<Node>) {
    let cancel = node.tasks.cancel_token();
    let mut meters: HashMap<ServerId, Meter> = HashMap::new();
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = cancel.cancelled() => return,
        }
        let servers = node.servers();
        let due: Vec<Server> = servers.into_iter().filter(|server| server.source().is_some()).collect();
        let known: HashSet<ServerId> = due.iter().map(Server::id).collect();
        // A meter of an earlier run would make nonsense of the first sample of the next one.
        meters.retain(|id, _| known.contains(id));
        if due.is_empty() {
            continue;
        }
        let mut taken = std::mem::take(&mut meters);
        let sampled = blocking(move || {
            for server in &due {
                sample(server, taken.entry(server.id()).or_default());
            }
            taken
        });
        match sampled.await {
            Ok(returned) => meters = returned,
            Err(error) => tracing::error!(%error, "sampling failed"),
        }
    }
}

/// The first sample of a game that was found running, so that nobody is told it uses nothing.
pub(crate) async fn first(server: &Server) {
    let server = server.clone();
    // A sample that cannot be taken is taken again within a second.
    let _ = blocking(move || sample(&server, &mut Meter::default())).await;
}

fn sample(server: &Server, meter: &mut Meter) {
    let Some(source) = server.source() else { return };
    let now = Instant::now();
    // Looked up only for what the control groups do not say: a game may have hundreds of threads.
    let tree = LazyCell::new(|| process_tree(source.shim_pid));
    let cpu_ns = source.leaf.cpu_ns().unwrap_or_else(|| tree_cpu_ns(source.shim_pid, &tree));
    let cpu_absolute = match meter.cpu.replace((now, cpu_ns)) {
        Some((then, before)) if cpu_ns >= before => percent(cpu_ns - before, now - then),
        _ => 0.0,
    };
    let memory_bytes = source.leaf.memory_bytes().unwrap_or_else(|| tree_memory_bytes(&tree));
    if !source.leaf.knows_its_processes() {
        server.set_seen(seen_now(&source, &server.seen(), &tree));
    }
    server.publish(|stats| Stats {
        memory_bytes,
        memory_limit_bytes: source.leaf.memory_limit_bytes().unwrap_or_else(|| server.defined_limit_bytes()),
        cpu_absolute,
        network: source.leaf.network().unwrap_or_default(),
        uptime: if stats.state == State::Offline { 0 } else { uptime_ms(source.start_ticks) },
        ..*stats
    });
    server.keep_figures();
}

/// The processes of a game, and those of before that still live. A shim that has just died has nothing below it any more.
fn seen_now(source: &Source, before: &[ShimProcess], tree: &[u32]) -> Vec<ShimProcess> {
    let mut seen: Vec<ShimProcess> = before.iter().copied().filter(|seen| seen.is_there()).collect();
    for pid in tree {
        if !seen.iter().any(|known| known.pid == *pid) {
            seen.extend(ShimProcess::of(*pid));
        }
    }
    seen.retain(|seen| seen.pid != source.shim_pid);
    seen
}

/// Percent of one core with three decimals.
#[allow(clippy::cast_precision_loss)] // nanoseconds of a second or ten fit a double exactly
fn percent(used_ns: u64, passed: Duration) -> f64 {
    let passed_ns = passed.as_nanos().max(1) as f64;
    (used_ns as f64 / passed_ns * 100_000.0).round() / 1000.0
}

/// Milliseconds since a process started.
fn uptime_ms(start_ticks: u64) -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let now_ms = u64::try_from(now.tv_sec).unwrap_or(0) * 1000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000;
    now_ms.saturating_sub(start_ticks * (1000 / TICKS_PER_S))
}

/// The memory of the machine, which is the limit of a server without one.
pub(crate) fn machine_memory_bytes() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok());
    total.unwrap_or(0u64) * 1024
}

/// Every process below a pid, not the pid itself.
pub(crate) fn process_tree(root: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut open = vec![root];
    while let Some(pid) = open.pop() {
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for thread in threads.flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
                found.push(child);
                open.push(child);
            }
        }
    }
    found
}

/// CPU time of a tree: of what lives and of what the shim has reaped (it is the subreaper of all).
fn tree_cpu_ns(shim: u32, tree: &[u32]) -> u64 {
    let reaped = stat_fields(shim).map_or(0, |fields| fields.0[2] + fields.0[3]);
    let living: u64 = tree.iter().filter_map(|pid| stat_fields(*pid)).map(|fields| fields.0.iter().sum::<u64>()).sum();
    (reaped + living) * (1_000_000_000 / TICKS_PER_S)
}

/// utime, stime, cutime and cstime of a process, in ticks.
struct CpuFields([u64; 4]);

fn stat_fields(pid: u32) -> Option<CpuFields> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, parentheses included: fields are counted after the last one.
    let mut fields = text.get(text.rfind(')')? + 1..)?.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse().ok();
    Some(CpuFields([next()?, next()?, next()?, next()?]))
}

fn tree_memory_bytes(tree: &[u32]) -> u64 {
    let of = |pid: &u32| -> u64 {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let field = |name: &str| -> u64 {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB")?.parse().ok());
            value.unwrap_or(0)
        };
        // Files mapped by several processes would count once each, so only the first process brings its own.
        let files = if Some(pid) == tree.first() { field("RssFile:") } else { 0 };
        (field("RssAnon:") + field("RssShmem:") + files) * 1024
    };
    tree.iter().map(of).sum()
}

/// Bytes of all regular files below a directory, each inode once; what cannot be read counts nothing, and what lies deeper than
/// [`WALK_DEPTH_MAX`] neither. What is held meanwhile does not grow with the tree, which its game chose.
fn directory_bytes(root: &Path) -> u64 {
    let mut total = 0;
    let mut linked: HashSet<(u64, u64)> = HashSet::new();
    let mut open: Vec<fs::ReadDir> = fs::read_dir(root).into_iter().collect();
    while let Some(folder) = open.last_mut() {
        let Some(entry) = folder.next() else {
            open.pop();
            continue;
        };
        let Ok(entry) = entry else { continue };
        let Ok(meta) = entry.path().symlink_metadata() else { continue };
        if meta.is_dir() {
            if open.len() < WALK_DEPTH_MAX {
                open.extend(fs::read_dir(entry.path()));
            }
        } else if meta.is_file() && (meta.nlink() == 1 || is_new(&mut linked, &meta)) {
            total += meta.len();
        }
    }
    total
}

/// Whether a file with several names was not met before. Too many of them to remember count each time.
fn is_new(linked: &mut HashSet<(u64, u64)>, meta: &fs::Metadata) -> bool {
    let inode = (meta.dev(), meta.ino());
    !linked.contains(&inode) && (linked.len() >= LINKED_MAX || linked.insert(inode))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn cpu_is_percent_of_one_core_with_three_decimals() {
        assert!((percent(500_000_000, Duration::from_secs(1)) - 50.0).abs() < f64::EPSILON);
        assert!((percent(5_888_154_321, Duration::from_secs(1)) - 588.815).abs() < f64::EPSILON);
        assert!((percent(0, Duration::ZERO) - 0.0).abs() < f64::EPSILON);
    }

    #[test]
    fn this_process_has_cpu_fields_and_memory() {
        assert!(stat_fields(std::process::id()).is_some());
        assert!(tree_memory_bytes(&[std::process::id()]) > 100_000);
        assert!(machine_memory_bytes() > 100_000_000);
    }

    #[test]
    fn files_are_counted_once_and_no_tree_is_too_deep() {
        let dir = tempfile::tempdir().unwrap();
        let chain: std::path::PathBuf = std::iter::repeat_n("d", WALK_DEPTH_MAX + 50).collect();
        fs::create_dir_all(dir.path().join(chain)).unwrap();
        fs::write(dir.path().join("d/d/file"), [0; 1000]).unwrap();
        fs::hard_link(dir.path().join("d/d/file"), dir.path().join("second")).unwrap();
        std::os::unix::fs::symlink("/usr", dir.path().join("link")).unwrap();
        assert_eq!(directory_bytes(dir.path()), 1000);
    }

    #[test]
    fn a_directory_that_changes_is_looked_at_more_often() {
        let now = Instant::now();
        let first = Walk::after(None, Some(0), now);
        assert_eq!(first.pause, WALK_PAUSE_MIN);
        let mut same = first;
        for _ in 0..9 {
            same = Walk::after(Some(same), Some(0), now);
        }
        assert_eq!(same.pause, WALK_PAUSE_MAX);
        assert_eq!(Walk::after(Some(same), Some(7), now).pause, WALK_PAUSE_MIN);
    }

    #[test]
    fn a_directory_counts_each_file_once() {
        let dir = std::env::temp_dir().join(format!("quarterdeck-walk-{}", std::process::id()));
        fs::create_dir_all(dir.join("sub")).unwrap();
        fs::write(dir.join("a"), [0; 100]).unwrap();
        fs::write(dir.join("sub/b"), [0; 11]).unwrap();
        fs::hard_link(dir.join("a"), dir.join("sub/again")).unwrap();
        std::os::unix::fs::symlink("/etc", dir.join("link")).unwrap();
        let bytes = directory_bytes(&dir);
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(bytes, 111);
    }
}
