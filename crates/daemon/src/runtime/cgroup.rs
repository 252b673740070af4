//! Control groups: what this machine allows, and one leaf per server with its limits (v2, v1, or both side by side).
//!
//! Only groups of our own are made: `quarterdeck-<node>/<server>` in each usable tree. The shim joins the game to them before it
//! becomes the game; the shim itself stays outside, so that a memory limit never ends it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wire::node::Isolation;
use wire::remote::Build;
use wire::server::Network;

use crate::runtime::traffic::Traffic;

/// Length of a scheduling period, microseconds.
const CPU_PERIOD_US: u64 = 100_000;
const MIB: u64 = 1024 * 1024;
/// Hexadecimal digits of a container's id.
const CONTAINER_ID_DIGITS: usize = 64;
/// Controllers that carry a limit or a figure.
const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];
/// Our own group inside that of the service, as `DelegateSubgroup` of the unit file names it: the one around it has no processes of its
/// own, so games with limits can live in it beside us, also while the service is started again.
const SUBGROUP: &str = "daemon";

/// One mounted tree in which we may make groups.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Tree {
    /// Our parent group there.
    base: PathBuf,
    /// 1 or 2.
    version: u8,
    /// Controllers usable in this tree; a bare v2 tree still counts CPU time and kills.
    controllers: Vec<String>,
}

/// What the machine allows, found once at start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    trees: Vec<Tree>,
    missing: Vec<String>,
}

impl Machine {
    /// Looks for usable trees and makes our parent group in each. `name` tells nodes on one machine apart.
    pub(crate) fn probe(name: &str) -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mut machine = Self::default();
        let mut reason = "no cgroup tree is mounted".to_owned();
        for (mount, kind, options) in mounts.lines().filter_map(cgroup_mount) {
            let found = if kind == "cgroup2" {
                probe_v2(mount, &own, name).map(|(tree, refused)| {
                    if let Some(error) = refused {
                        reason = format!("{} has no place for limits ({error})", mount.display());
                    }
                    tree
                })
            } else {
                let named: Vec<_> = options.split(',').filter(is_wanted_v1).map(str::to_owned).collect();
                if named.is_empty() {
                    continue;
                }
                let base = mount.join(name);
                make(&base).map(|()| Tree { base, version: 1, controllers: named })
            };
            match found {
                Ok(tree) => machine.trees.push(tree),
                Err(error) => reason = format!("{} is not writable ({error})", mount.display()),
            }
        }
        for controller in CONTROLLERS {
            if machine.tree(controller).is_none() {
                let effect =
                    if controller == "memory" { "the limit is not enforced by the kernel" } else { "no limit" };
                machine.missing.push(format!("{controller}: {effect}, {reason}"));
            }
        }
        machine
    }

    /// Controllers that carry limits here, with the tree's version, and those that do not and why.
    pub(crate) fn controllers(&self) -> (Vec<String>, &[String]) {
        let usable = |name: &&str| self.tree(name).map(|tree| format!("{name}:cgroup{}", tree.version));
        (CONTROLLERS.iter().filter_map(usable).collect(), &self.missing)
    }

    /// What of limits holds for every server of this machine, and what holds for every game anywhere.
    pub(crate) fn isolation(&self) -> Isolation {
        let mut active: Vec<String> =
            ["session", "rlimits", "clean_env", "no_new_privs"].into_iter().map(str::to_owned).collect();
        active.extend(self.controllers().0);
        if self.trees.iter().any(|tree| tree.version == 2) {
            active.push("kill:cgroup2".to_owned());
        }
        let mut missing = self.missing.clone();
        missing.push("namespaces: not used; games see each other's processes".to_owned());
        missing.push("disk, io, threads: these limits are kept with the server and not enforced".to_owned());
        Isolation { active, missing }
    }

    /// Makes a server's leaf and sets its limits.
    pub(crate) fn leaf(&self, server: &str, build: &Build) -> io::Result<Leaf> {
        let mut leaf = self.at(server);
        for (tree, dir) in &leaf.dirs {
            make(dir)?;
            limit(tree, dir, build).map_err(|error| {
                io::Error::new(error.kind(), format!("the limits cannot be set in {}: {error}", dir.display()))
            })?;
        }
        leaf.oom_kills_before = leaf.oom_kills();
        leaf.counts = match leaf.unified().map(Traffic::attach) {
            Some(Ok(traffic)) => Counts::Group(Arc::new(traffic)),
            Some(Err(error)) => {
                tracing::debug!(server, %error, "traffic is not counted");
                Counts::None
            }
            None => Counts::None,
        };
        Ok(leaf)
    }

    /// A server's leaf as an earlier daemon may have left it.
    pub(crate) fn existing(&self, server: &str) -> Leaf {
        let mut leaf = self.at(server);
        let traffic = leaf.unified().and_then(|dir| Traffic::find(dir).ok());
        leaf.counts = traffic.map_or(Counts::None, |traffic| Counts::Group(Arc::new(traffic)));
        leaf
    }

    /// The groups of a process that somebody else has put into groups of its own: a container's. None of ours to change.
    pub(crate) fn of_process(pid: u32) -> Leaf {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let theirs = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let dirs = mounts.lines().filter_map(cgroup_mount).filter_map(|mount| foreign(mount, &theirs)).collect();
        Leaf { dirs, counts: Counts::Interfaces(pid), oom_kills_before: 0, is_ours: false }
    }

    fn at(&self, server: &str) -> Leaf {
        let dirs = self.trees.iter().map(|tree| (tree.clone(), tree.base.join(server))).collect();
        let mut leaf = Leaf { dirs, counts: Counts::None, oom_kills_before: 0, is_ours: true };
        leaf.oom_kills_before = leaf.oom_kills();
        leaf
    }

    /// Our parent group in the v2 tree.
    #[cfg(test)]
    pub(crate) fn unified_base(&self) -> Option<PathBuf> {
        self.trees.iter().find(|tree| tree.version == 2).map(|tree| tree.base.clone())
    }

    /// Removes our parent groups if no server is left in them.
    pub(crate) fn tidy(&self) {
        for tree in &self.trees {
            // Fails while a game lives in there, which is as it should be.
            let _ = fs::remove_dir(&tree.base);
        }
    }

    fn tree(&self, controller: &str) -> Option<&Tree> {
        self.trees.iter().find(|tree| tree.controllers.iter().any(|name| name == controller))
    }
}

fn is_wanted_v1(option: &&str) -> bool {
    CONTROLLERS.contains(option) || *option == "cpuacct"
}

/// Mount point, type and options of one line of `mountinfo`.
fn cgroup_mount(line: &str) -> Option<(&Path, &str, &str)> {
    let (left, right) = line.split_once(" - ")?;
    let mut right = right.split(' ');
    let kind = right.next().filter(|kind| matches!(*kind, "cgroup" | "cgroup2"))?;
    Some((Path::new(left.split(' ').nth(4)?), kind, right.nth(1)?))
}

/// A place in the v2 tree, and why it has no controllers if it has none.
type PlaceV2 = (Tree, Option<io::Error>);

/// Finds a place in the v2 tree: beside the group we live in, if that one was made for us alone and the one around it is ours; else at
/// the tree's root, beside everybody else's groups, where we may; else in our own group. With limits only where that keeps nobody from
/// living in it: the manager of a service puts the program it starts again into the service's own group, beside games that live there.
fn probe_v2(mount: &Path, own: &str, name: &str) -> io::Result<PlaceV2> {
    let inside = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let home = mount.join(inside);
    let around = home.parent().filter(|_| home.file_name().is_some_and(|name| name == SUBGROUP));
    let homes = around.into_iter().chain([mount]);
    let mut refused = io::Error::other("nobody said why");
    for home in homes.clone() {
        match group_v2(home, name) {
            Ok(tree) => return Ok((tree, None)),
            Err(error) => refused = error,
        }
    }
    let within = (!inside.is_empty()).then_some(home.as_path());
    let bare = homes.chain(within).find_map(|home| {
        let base = home.join(name);
        make(&base).ok().map(|()| Tree { base, version: 2, controllers: Vec::new() })
    });
    match bare {
        Some(tree) => Ok((tree, Some(refused))),
        None => Err(refused),
    }
}

/// Makes our parent group in another, with all controllers that are to be had there.
fn group_v2(home: &Path, name: &str) -> io::Result<Tree> {
    let base = home.join(name);
    make(&base)?;
    let available = fs::read_to_string(home.join("cgroup.controllers")).unwrap_or_default();
    let wanted: Vec<_> =
        available.split_whitespace().filter(|name| CONTROLLERS.contains(name)).map(str::to_owned).collect();
    if !wanted.is_empty() {
        let request: Vec<_> = wanted.iter().map(|name| format!("+{name}")).collect();
        let request = request.join(" ");
        // Fails in a group with processes of its own; then there is no place for limits in it.
        let enabled = fs::write(home.join("cgroup.subtree_control"), &request)
            .and_then(|()| fs::write(base.join("cgroup.subtree_control"), &request));
        if let Err(error) = enabled {
            let _ = fs::remove_dir(&base);
            return Err(error);
        }
    }
    Ok(Tree { base, version: 2, controllers: wanted })
}

fn make(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        other => other,
    }
}

fn limit(tree: &Tree, dir: &Path, build: &Build) -> io::Result<()> {
    let memory = memory_limit_bytes(build);
    let has = |name: &str| tree.controllers.iter().any(|controller| controller == name);
    let set = |file: &str, value: String| fs::write(dir.join(file), value);
    let swap = u64::try_from(build.swap).ok().map(|mib| mib.saturating_mul(MIB));
    match tree.version {
        2.. => {
            let or_max = |value: Option<u64>| value.map_or_else(|| "max".to_owned(), |value| value.to_string());
            if has("memory") {
                set("memory.max", or_max(memory))?;
                // Without swap accounting in the kernel the file does not exist; then there is nothing to limit.
                let _ = set("memory.swap.max", or_max(swap.filter(|_| memory.is_some())));
                let _ = set("memory.oom.group", "1".to_owned());
            }
            if has("cpu") {
                let quota = cpu_quota_us(build);
                set("cpu.max", format!("{} {CPU_PERIOD_US}", or_max(quota)))?;
            }
            if has("pids") {
                set("pids.max", or_max((build.pids_limit > 0).then_some(build.pids_limit)))?;
            }
        }
        _ => {
            let or_minus = |value: Option<u64>| value.map_or_else(|| "-1".to_owned(), |value| value.to_string());
            if has("memory") {
                // The sum with swap may never be below the memory limit, so it is lifted first and set last.
                let _ = set("memory.memsw.limit_in_bytes", "-1".to_owned());
                set("memory.limit_in_bytes", or_minus(memory))?;
                if let (Some(memory), Some(swap)) = (memory, swap) {
                    let _ = set("memory.memsw.limit_in_bytes", memory.saturating_add(swap).to_string());
                }
            }
            if has("cpu") {
                set("cpu.cfs_period_us", CPU_PERIOD_US.to_string())?;
                let quota = cpu_quota_us(build);
                set("cpu.cfs_quota_us", or_minus(quota))?;
            }
            if has("pids") {
                let value = if build.pids_limit > 0 { build.pids_limit.to_string() } else { "max".to_owned() };
                set("pids.max", value)?;
            }
        }
    }
    Ok(())
}

/// CPU time per period; none for 0.
fn cpu_quota_us(build: &Build) -> Option<u64> {
    (build.cpu_limit > 0).then(|| build.cpu_limit.saturating_mul(CPU_PERIOD_US) / 100)
}

/// The limit in bytes with the head-room that game images expect of their panel: 15 % up to 2 GiB, 10 % up to 4, 5 % above
/// (protocol reference §6.2); none for 0.
pub(crate) fn memory_limit_bytes(build: &Build) -> Option<u64> {
    let percent = match build.memory_limit {
        0 => return None,
        1..=2048 => 115,
        2049..=4096 => 110,
        _ => 105,
    };
    Some((build.memory_limit.saturating_mul(MIB) / 100).saturating_mul(percent))
}

/// One server's groups.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    dirs: Vec<(Tree, PathBuf)>,
    counts: Counts,
    oom_kills_before: u64,
    /// Made by us, so ours to end and to remove.
    is_ours: bool,
}

/// What counts the traffic of a game.
#[derive(Clone, Debug)]
enum Counts {
    None,
    /// A program of the kernel at its control group.
    Group(Arc<Traffic>),
    /// The interfaces that this process sees, which are its container's own.
    Interfaces(u32),
}

/// The group of a process in a mounted tree, if somebody made it for that process and what it starts.
fn foreign((mount, kind, options): (&Path, &str, &str), theirs: &str) -> Option<(Tree, PathBuf)> {
    let is_v2 = kind == "cgroup2";
    let controllers: Vec<String> =
        if is_v2 { Vec::new() } else { options.split(',').filter(is_wanted_v1).map(str::to_owned).collect() };
    let path = theirs.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (names, path) = rest.split_once(':')?;
        let is_it = if is_v2 {
            names.is_empty()
        } else {
            names.split(',').any(|name| controllers.iter().any(|controller| controller == name))
        };
        is_it.then_some(path)
    })?;
    // Engines name the group after the container; in others live strangers as well.
    let name = path.rsplit('/').next().unwrap_or_default();
    let digits = name.trim_end_matches(".scope").rsplit('-').next().unwrap_or_default();
    if digits.len() < CONTAINER_ID_DIGITS || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let dir = mount.join(path.trim_start_matches('/'));
    let controllers = if is_v2 {
        let has = fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
        has.split_whitespace().filter(|name| CONTROLLERS.contains(name)).map(str::to_owned).collect()
    } else {
        controllers
    };
    let version = if is_v2 { 2 } else { 1 };
    Some((Tree { base: dir.parent()?.to_owned(), version, controllers }, dir))
}

/// Bytes that a process' network has taken and sent, but for what stays in it.
fn interfaces(pid: u32) -> Option<Network> {
    let text = fs::read_to_string(format!("/proc/{pid}/net/dev")).ok()?;
    let mut sum = Network::default();
    for line in text.lines() {
        let Some((_, figures)) = line.split_once(':').filter(|(name, _)| name.trim() != "lo") else { continue };
        let mut figures = figures.split_whitespace().map(|figure| figure.parse::<u64>().unwrap_or(0));
        sum.rx_bytes += figures.next().unwrap_or(0);
        // Behind what was taken: packets, errors, drops, fifo, frame, compressed, multicast.
        sum.tx_bytes += figures.nth(7).unwrap_or(0);
    }
    Some(sum)
}

impl Leaf {
    /// Files into which a process writes `0` to join.
    pub(crate) fn procs(&self) -> Vec<PathBuf> {
        self.dirs.iter().map(|(_, dir)| dir.join("cgroup.procs")).collect()
    }

    /// Whether no process of the game can leave it unnoticed.
    pub(crate) fn knows_its_processes(&self) -> bool {
        !self.dirs.is_empty()
    }

    /// The processes in it.
    pub(crate) fn pids(&self) -> BTreeSet<u32> {
        let lists = self.procs().into_iter().filter_map(|path| fs::read_to_string(path).ok());
        lists.flat_map(|list| list.lines().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
    }

    /// Bytes in use without page cache that is easy to drop.
    pub(crate) fn memory_bytes(&self) -> Option<u64> {
        let (tree, dir) = self.with("memory")?;
        let (usage, field) = match tree.version {
            2 => (number(&dir.join("memory.current"))?, "inactive_file"),
            _ => (number(&dir.join("memory.usage_in_bytes"))?, "total_inactive_file"),
        };
        let inactive = field_of(&dir.join("memory.stat"), field).unwrap_or(0);
        Some(usage.checked_sub(inactive).unwrap_or(usage))
    }

    /// The limit the kernel enforces.
    pub(crate) fn memory_limit_bytes(&self) -> Option<u64> {
        let (tree, dir) = self.with("memory")?;
        match tree.version {
            2 => number(&dir.join("memory.max")),
            // Without a limit v1 shows the largest multiple of the page size.
            _ => number(&dir.join("memory.limit_in_bytes")).filter(|limit| *limit < u64::MAX / 4),
        }
    }

    /// CPU time so far, nanoseconds.
    pub(crate) fn cpu_ns(&self) -> Option<u64> {
        self.unified().and_then(|dir| field_of(&dir.join("cpu.stat"), "usage_usec").map(|us| us * 1000)).or_else(|| {
            let (_, dir) = self.with("cpuacct")?;
            number(&dir.join("cpuacct.usage"))
        })
    }

    /// Bytes in and out since the leaf was made.
    pub(crate) fn network(&self) -> Option<Network> {
        match &self.counts {
            Counts::None => None,
            Counts::Group(traffic) => traffic.read().ok(),
            Counts::Interfaces(pid) => interfaces(*pid),
        }
    }

    fn unified(&self) -> Option<&Path> {
        self.dirs.iter().find(|(tree, _)| tree.version == 2).map(|(_, dir)| dir.as_path())
    }

    /// Whether the kernel has killed for memory since the leaf was set up.
    pub(crate) fn out_of_memory(&self) -> bool {
        self.oom_kills() > self.oom_kills_before
    }

    fn oom_kills(&self) -> u64 {
        let Some((tree, dir)) = self.with("memory") else { return 0 };
        let file = if tree.version == 2 { "memory.events" } else { "memory.oom_control" };
        field_of(&dir.join(file), "oom_kill").unwrap_or(0)
    }

    /// Ends every process in it, where the kernel can.
    pub(crate) fn kill(&self) {
        if !self.is_ours {
            return;
        }
        if let Some(dir) = self.unified() {
            // Kernels before 5.14 lack the file; the shim's own loop ends the tree then.
            let _ = fs::write(dir.join("cgroup.kill"), "1");
        }
    }

    /// Removes the groups; fails silently while a process is left.
    pub(crate) fn remove(&self) {
        if !self.is_ours {
            return;
        }
        for (_, dir) in &self.dirs {
            let _ = fs::remove_dir(dir);
        }
    }

    fn with(&self, controller: &str) -> Option<&(Tree, PathBuf)> {
        self.dirs.iter().find(|(tree, _)| tree.controllers.iter().any(|name| name == controller))
    }
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn field_of(file: &Path, field: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_lines_of_both_generations_are_read() {
        let v1 = "33 24 0:29 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory";
        assert_eq!(cgroup_mount(v1), Some((Path::new("/sys/fs/cgroup/memory"), "cgroup", "rw,memory")));
        let v2 = "34 24 0:30 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw";
        assert_eq!(cgroup_mount(v2), Some((Path::new("/sys/fs/cgroup/unified"), "cgroup2", "rw")));
        assert_eq!(cgroup_mount("35 24 0:31 / /proc rw - proc proc rw"), None);
        assert_eq!(cgroup_mount("garbage"), None);
    }

    /// Folders and files stand in for the kernel's: what matters is where we look for a place, in which order.
    #[test]
    #[allow(clippy::unwrap_used)]
    fn a_place_for_games_is_found_where_a_service_can_still_be_started_again() {
        const SERVICE: &str = "system.slice/q.service";
        // Where we live; where nothing can be made; whose controllers are refused; where games come to live, and with limits or not.
        let table = [
            ("system.slice/q.service/daemon", "", "", SERVICE, true),
            ("system.slice/q.service/daemon", "", SERVICE, "", true),
            ("system.slice/q.service", "", "", "", true),
            ("system.slice/q.service", "root", "", SERVICE, false),
            ("", "", "", "", true),
        ];
        for (own, closed, refusing, expected, limits) in table {
            let tree = tempfile::tempdir().unwrap();
            let mount = tree.path();
            fs::create_dir_all(mount.join("system.slice/q.service/daemon")).unwrap();
            for home in ["", SERVICE, "system.slice/q.service/daemon"] {
                fs::write(mount.join(home).join("cgroup.controllers"), "cpuset cpu memory pids\n").unwrap();
            }
            if closed == "root" {
                // Not even for root can a folder be made where a link leads nowhere.
                std::os::unix::fs::symlink("/nowhere/at/all", mount.join("games")).unwrap();
            }
            if !refusing.is_empty() {
                fs::create_dir(mount.join(refusing).join("cgroup.subtree_control")).unwrap();
            }
            let (found, refused) = probe_v2(mount, &format!("5:pids:/\n0::/{own}\n"), "games").unwrap();
            assert_eq!(found.base, mount.join(expected).join("games"), "{own}, {closed}, {refusing}");
            assert_eq!((!found.controllers.is_empty(), refused.is_none()), (limits, limits), "{own}, {closed}");
        }
    }

    #[test]
    fn the_memory_limit_has_the_known_head_room() {
        let of = |mib| memory_limit_bytes(&Build { memory_limit: mib, ..Build::default() });
        assert_eq!(of(0), None);
        assert_eq!(of(100), Some(115 * MIB));
        assert_eq!(of(4096), Some(4096 * MIB / 100 * 110));
        assert_eq!(of(10_000), Some(10_500 * MIB));
        assert_eq!(of(u64::MAX), Some(u64::MAX), "nonsense is no limit, and no overflow");
    }

    #[test]
    #[allow(clippy::unwrap_used, clippy::print_stdout)]
    fn a_game_may_not_have_more_processes_than_its_limit() {
        let machine = Machine::probe(&format!("quarterdeck-test-{}", std::process::id()));
        if machine.tree("pids").is_none() {
            println!("skipped: {:?}", machine.missing);
            return machine.tidy();
        }
        let leaf = machine.leaf("pids", &Build { pids_limit: 8, ..Build::default() }).unwrap();
        let join: Vec<String> = leaf.procs().iter().map(|path| format!("echo 0 > {}", path.display())).collect();
        let fork = "for n in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1000 & done";
        let script = format!("{} && {fork}", join.join(" && "));
        let null = std::process::Stdio::null;
        let mut shell = std::process::Command::new("/bin/sh");
        let ended = shell.args(["-c", &script]).stdin(null()).stdout(null()).stderr(null()).status().unwrap();
        let count = leaf.pids().len();
        leaf.kill();
        for pid in leaf.pids() {
            let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        while !leaf.pids().is_empty() {
            std::thread::yield_now();
        }
        leaf.remove();
        machine.tidy();
        assert!(!ended.success() && count <= 8, "{ended}, {count} processes");
    }
}
