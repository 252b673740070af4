//! The ladder of isolation: what keeps a game from its neighbours and from the machine, rung by rung, as far as this machine has it.
//!
//! Every rung is wanted unless it is switched off. One that the machine does not have is left out with the reason, which is shown
//! wherever the server is; it never fails a start. What a game really has is what its shim says, also to a later daemon.

mod files;
mod kernel;
mod memory;
mod ownership;
mod seccomp;
mod user;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use spool::message::rung;
use spool::sandbox::{Landlock, PortRule};
use spool::spec::{Rlimit, User, resource};
use wire::node::Isolation;
use wire::remote::{Build, Definition};

use crate::config::{IsolationSettings, Rung};
use crate::removal;
use crate::runtime::cgroup::Machine;

pub(crate) use ownership::{create, rewrite};

/// Oldest version of Landlock with all that games need: before it, no rename from one folder to another could be allowed.
const ABI_FILES: u32 = 2;
/// The version that knows TCP ports.
const ABI_TCP: u32 = 4;
/// The version that keeps signals and abstract sockets in.
const ABI_SCOPES: u32 = 6;
const NET_BIND_TCP: u64 = 1;
const SCOPE_ABSTRACT_SOCKETS: u64 = 1;
const SCOPE_SIGNALS: u64 = 2;
/// Folder for what a game would put into `/tmp`, in its server's; emptied before each run.
const TEMPORARY_DIR: &str = "tmp";
/// Processes and threads of a game with a user of its own, where neither its definition nor a control group says less.
const PROCESSES_MAX: u64 = 16_384;
/// How the name of a copy of our program begins, in the folder of programs.
const PROGRAM_PREFIX: &str = "quarterdeck-";
/// For programs that look their own user up by name: there is none.
const USER_NAME: &str = "server";

/// Rungs that do not hold, with the reasons.
pub(crate) type Missing = BTreeMap<Rung, String>;

/// What this machine has, found once at the start.
#[derive(Debug)]
pub(crate) struct Ladder {
    settings: IsolationSettings,
    /// What no server has here.
    missing: Missing,
    abi: u32,
    filter: Vec<u8>,
    /// Files and folders that every game may read and run.
    readable: Vec<PathBuf>,
    /// What stood in the way of a server's own user at its last start, by its folder. Held while a user is looked for.
    refused: Mutex<HashMap<PathBuf, String>>,
}

/// What is known of a server's game.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Game {
    /// There is none: what its next one will have counts.
    Absent,
    /// Its shim says which rungs it has.
    Has(u32),
    /// Its shim is of a version that does not say.
    Unknown,
}

/// What one start needs of all this.
#[derive(Debug, Default)]
pub(crate) struct Cage {
    pub(crate) user: Option<User>,
    /// All that a game which runs as root has of root's powers.
    pub(crate) capabilities: Option<u64>,
    pub(crate) landlock: Option<Landlock>,
    pub(crate) seccomp: Vec<Vec<u8>>,
    /// The folder for temporary files, where the machine's is closed to the game.
    pub(crate) temporary: Option<PathBuf>,
}

impl Ladder {
    /// Finds out what this machine has. `servers` is the folder of all servers.
    pub(crate) fn probe(settings: &IsolationSettings, servers: &Path) -> Self {
        let mut missing = Missing::new();
        let mut check = |rung: Rung, found: Result<(), String>| {
            let wanted =
                if settings.off.contains(&rung) { Err("switched off in the settings".to_owned()) } else { found };
            if let Err(why) = wanted {
                missing.insert(rung, why);
            }
        };
        let (abi, no_landlock) = match kernel::landlock_abi() {
            Ok(abi) => (abi, String::new()),
            Err(error) => (0, format!("this kernel has no Landlock or does not use it ({error})")),
        };
        let needs = |least: u32| match abi {
            0 => Err(no_landlock.clone()),
            abi if abi < least => Err(format!("this kernel has Landlock {abi}; it takes {least}")),
            _ => Ok(()),
        };
        check(Rung::Files, needs(ABI_FILES));
        check(Rung::Tcp, needs(ABI_TCP));
        check(Rung::Scopes, needs(ABI_SCOPES));
        let filter = seccomp::program();
        check(
            Rung::Seccomp,
            match (kernel::has_seccomp(), &filter) {
                (Err(error), _) => Err(format!("this kernel has no system call filters ({error})")),
                (Ok(()), None) => Err(format!("there is no list for {}", std::env::consts::ARCH)),
                (Ok(()), Some(_)) => Ok(()),
            },
        );
        check(Rung::Uid, user::possible(settings).and_then(|()| user::enterable(servers)));
        let readable = settings.readable.iter().filter_map(|path| match path.canonicalize() {
            Ok(real) => Some(real),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "no game can read what is not there");
                None
            }
        });
        Self {
            readable: readable.collect(),
            settings: settings.clone(),
            missing,
            abi,
            filter: filter.unwrap_or_default(),
            refused: Mutex::default(),
        }
    }

    /// Makes ready what all servers need, and gives the path under which games can run our own program.
    pub(crate) fn settle(&mut self, node: &Path, servers: &Path, programs: &Path, program: PathBuf) -> PathBuf {
        if user::possible(&self.settings).is_err() || self.settings.off.contains(&Rung::Uid) {
            return program;
        }
        // Ours, so it is ours to open; the folders above are somebody else's decision.
        let opened = [node, servers, programs].into_iter().try_for_each(user::let_through);
        let found = opened.map_err(|error| error.to_string()).and_then(|()| user::enterable(servers));
        let found = found.and_then(|()| {
            if user::runnable(&program) {
                return Ok(program.clone());
            }
            copy(&program, programs).map_err(|error| format!("games cannot run {}: {error}", program.display()))
        });
        match found {
            Ok(reachable) => {
                self.missing.remove(&Rung::Uid);
                reachable
            }
            Err(why) => {
                self.missing.insert(Rung::Uid, why);
                program
            }
        }
    }

    /// What a server's next game will be without. A few looks at folders; blocks.
    pub(crate) fn missing(&self, dir: &Path, definition: &Definition) -> Missing {
        let mut missing = self.missing.clone();
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner).get(dir).cloned();
        if let Some(why) = refused.or_else(|| user::enterable(dir).err()) {
            missing.entry(Rung::Uid).or_insert(why);
        }
        if ports(definition).is_empty() {
            missing.entry(Rung::Tcp).or_insert_with(|| "the server has no port of its own".to_owned());
        }
        missing
    }

    /// Prepares a start: the files get their owner, and what the game may do is put together. Blocks.
    pub(crate) fn cage(&self, dir: &Path, files: &Path, program: &Path, definition: &Definition) -> io::Result<Cage> {
        let user = self.own_user(dir, files, definition);
        self.build(dir, files, program, user, &self.missing(dir, definition), &ports(definition))
    }

    /// The same for a trial, without a user and ports of its own. Blocks.
    pub(crate) fn trial(&self, dir: &Path, files: &Path) -> io::Result<Cage> {
        self.build(dir, files, Path::new("/"), None, &self.missing, &[])
    }

    /// Frees what a server's ended game has left in shared memory. Blocks.
    pub(crate) fn clear_memory(&self, dir: &Path) {
        if let Some(user) = user::owner(dir, &self.settings) {
            memory::clear(Path::new(memory::SHARED), user);
        }
    }

    fn build(
        &self,
        dir: &Path,
        files: &Path,
        program: &Path,
        user: Option<User>,
        missing: &Missing,
        ports: &[u16],
    ) -> io::Result<Cage> {
        let holds = |rung: Rung| !missing.contains_key(&rung);
        let temporary = holds(Rung::Files).then(|| temporary_folder(dir, user)).transpose()?;
        let mut landlock = Landlock::default();
        if let Some(temporary) = &temporary {
            let files = files.canonicalize()?;
            let programs: Vec<&Path> = self.programs(program).collect();
            landlock.files = files::handled(self.abi);
            landlock.terminal = files::terminal(self.abi);
            landlock.paths = files::rules(self.abi, &[&files, temporary], &programs, user.is_some());
        }
        if holds(Rung::Tcp) {
            landlock.net = NET_BIND_TCP;
            // 0: any free port, which nobody else has.
            let ports = ports.iter().copied().chain([0]);
            landlock.ports = ports.map(|port| PortRule { access: NET_BIND_TCP, port }).collect();
        }
        if holds(Rung::Scopes) {
            landlock.scopes = SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS;
        }
        let is_empty = landlock == Landlock::default();
        let seccomp = if holds(Rung::Seccomp) { vec![self.filter.clone()] } else { Vec::new() };
        let capabilities = if user.is_none() { user::kept_by_root() } else { None };
        Ok(Cage { user, capabilities, landlock: (!is_empty).then_some(landlock), seccomp, temporary })
    }

    /// Whether a game in a container has a user of its own.
    pub(crate) fn has_users(&self) -> bool {
        !self.settings.off.contains(&Rung::Uid) && user::possible(&self.settings).is_ok()
    }

    /// The user of a server whose game runs in a container, with its files in its hands: there it is no matter which folders of this
    /// machine the user may enter. None if there are no users for servers here. Blocks.
    pub(crate) fn contained_user(&self, dir: &Path, files: &Path, definition: &Definition) -> Option<User> {
        if !self.has_users() {
            return None;
        }
        self.take_user(dir, files, definition)
    }

    /// Why a game could not run this file although it is there; none if it can, as far as Landlock is concerned.
    pub(crate) fn closed(&self, path: &Path, files: &Path, program: &Path) -> bool {
        let (Ok(real), Ok(files)) = (path.canonicalize(), files.canonicalize()) else { return false };
        let programs: Vec<&Path> = self.programs(program).collect();
        !self.missing.contains_key(&Rung::Files) && !files::is_reachable(&real, &[&files], &programs)
    }

    fn programs<'a>(&'a self, program: &'a Path) -> impl Iterator<Item = &'a Path> {
        self.readable.iter().map(PathBuf::as_path).chain([program])
    }

    /// The server's user, with its files in its hands; none if that is not to be had.
    fn own_user(&self, dir: &Path, files: &Path, definition: &Definition) -> Option<User> {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.remove(dir);
        if self.missing.contains_key(&Rung::Uid) || user::enterable(dir).is_err() {
            return None;
        }
        // A walk through many files takes a while, and others may start meanwhile.
        drop(refused);
        self.take_user(dir, files, definition)
    }

    fn take_user(&self, dir: &Path, files: &Path, definition: &Definition) -> Option<User> {
        let user = {
            let _one_at_a_time = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            user::of(dir, &self.settings).map_err(|error| error.to_string())
        };
        let given = user.and_then(|user| match give(dir, files, user) {
            Ok(()) => Ok(user),
            Err(error) => Err(format!("its files cannot be given to its user: {error}")),
        });
        match given {
            Ok(user) => Some(user),
            Err(why) => {
                tracing::warn!(server = %definition.settings.uuid, why, "starting without a user of its own");
                self.refused.lock().unwrap_or_else(PoisonError::into_inner).insert(dir.to_owned(), why);
                None
            }
        }
    }

    /// What holds for a game, and what does not and why.
    pub(crate) fn report(&self, machine: &Machine, missing: &Missing, game: Game) -> Isolation {
        let mut shown = machine.isolation();
        for rung in Rung::ALL {
            let (bit, shown_as) = match rung {
                Rung::Uid => (rung::OWN_USER, "uid".to_owned()),
                Rung::Files => (rung::FILES, format!("files:landlock{}", self.abi)),
                Rung::Tcp => (rung::TCP_PORTS, format!("tcp:landlock{}", self.abi)),
                Rung::Scopes => (rung::SCOPES, format!("scopes:landlock{}", self.abi)),
                Rung::Seccomp => (rung::SECCOMP, "seccomp".to_owned()),
            };
            let why = missing.get(&rung);
            let holds = match game {
                Game::Absent => why.is_none(),
                Game::Has(bits) => bits & bit != 0,
                Game::Unknown => false,
            };
            if holds {
                shown.active.push(shown_as);
                continue;
            }
            let why = match (game, why) {
                (Game::Unknown, _) => "not known: it was started by an older version; restart it",
                (_, Some(why)) => why,
                (_, None) => "it was started without; restart it",
            };
            shown.missing.push(format!("{}: {why}", rung.name()));
        }
        let lowered = match game {
            Game::Absent => missing.contains_key(&Rung::Uid) && user::kept_by_root().is_some(),
            Game::Has(bits) => bits & rung::CAPABILITIES != 0,
            Game::Unknown => false,
        };
        if lowered {
            shown.active.push("capabilities".to_owned());
        }
        shown
    }

    /// The same for this machine, whichever server it is.
    pub(crate) fn of_machine(&self, machine: &Machine) -> Isolation {
        self.report(machine, &self.missing, Game::Absent)
    }

    /// The version of Landlock; 0 for none.
    pub(crate) fn landlock_abi(&self) -> u32 {
        self.abi
    }

    /// Why a rung holds for no server of this machine.
    pub(crate) fn machine_missing(&self, rung: Rung) -> Option<&str> {
        self.missing.get(&rung).map(String::as_str)
    }
}

impl Cage {
    /// Variables for what is elsewhere than programs expect. Those of the definition go before.
    pub(crate) fn settle(&self, env: &mut BTreeMap<String, String>) {
        let mut java = Vec::new();
        if let Some(temporary) = &self.temporary {
            env.entry("TMPDIR".to_owned()).or_insert_with(|| temporary.display().to_string());
            java.push(format!("-Djava.io.tmpdir={}", temporary.display()));
        }
        if self.user.is_some() {
            for name in ["USER", "LOGNAME"] {
                env.entry(name.to_owned()).or_insert_with(|| USER_NAME.to_owned());
            }
            // Java asks the list of users for the home, where there is none.
            java.extend(env.get("HOME").map(|home| format!("-Duser.home={home}")));
        }
        if java.is_empty() {
            return;
        }
        let options = java.into_iter().map(|option| if option.contains(' ') { format!("'{option}'") } else { option });
        let options = options.collect::<Vec<_>>().join(" ");
        // Java takes the last of two.
        env.entry("JAVA_TOOL_OPTIONS".to_owned())
            .and_modify(|theirs| *theirs = format!("{options} {theirs}"))
            .or_insert(options);
    }

    /// Processes are counted by user, so only where the user is the server's alone.
    pub(crate) fn processes(&self, build: &Build) -> Option<Rlimit> {
        self.user?;
        let most = if build.pids_limit > 0 { build.pids_limit.min(PROCESSES_MAX) } else { PROCESSES_MAX };
        Some(Rlimit { resource: resource::NPROC, soft: most, hard: most })
    }
}

/// All ports of a server.
fn ports(definition: &Definition) -> Vec<u16> {
    let allocations = &definition.settings.allocations;
    let more = allocations.mappings.values().flatten().copied();
    let mut ports: Vec<u16> = more.chain([allocations.default.port]).filter(|port| *port != 0).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// Gives a server's files to its user. The folder around them stays ours: its group may go through, nobody else may.
fn give(dir: &Path, files: &Path, user: User) -> io::Result<()> {
    ownership::let_group_through(dir, user)?;
    let given = ownership::give(files, user)?;
    if given.changed > 0 || given.kept > 0 {
        tracing::info!(folder = %files.display(), uid = user.uid, changed = given.changed, kept = given.kept, "files belong to the server's user");
    }
    Ok(())
}

fn temporary_folder(dir: &Path, user: Option<User>) -> io::Result<PathBuf> {
    let path = dir.canonicalize()?.join(TEMPORARY_DIR);
    if let Err(error) = removal::remove_all(&path) {
        // Whatever the last run left there is the game's own affair, and no reason not to start it.
        tracing::warn!(folder = %path.display(), %error, "the temporary folder cannot be emptied");
    }
    match fs::DirBuilder::new().mode(0o700).create(&path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    if let Some(User { uid, gid }) = user {
        std::os::unix::fs::lchown(&path, Some(uid), Some(gid))?;
    }
    Ok(path)
}

/// Puts a copy of our program where games can reach it, under a name that says which one it is. Older copies go: who runs one keeps
/// it.
fn copy(program: &Path, programs: &Path) -> io::Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let meta = fs::metadata(program)?;
    let name = format!("{PROGRAM_PREFIX}{:x}-{:x}-{:x}", meta.ino(), meta.len(), meta.mtime_nsec());
    let path = programs.join(&name);
    if !user::runnable(&path) {
        let new = programs.join(format!("{name}.{}", std::process::id()));
        fs::copy(program, &new)?;
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755))?;
        fs::rename(&new, &path)?;
    }
    for entry in fs::read_dir(programs)?.flatten() {
        let other = entry.file_name();
        let is_copy = other.to_str().is_some_and(|other| other.starts_with(PROGRAM_PREFIX) && other != name);
        if is_copy {
            // One that cannot be deleted is in nobody's way.
            let _ = fs::remove_file(entry.path());
        }
    }
    if user::runnable(&path) { Ok(path) } else { Err(io::Error::other("nor a copy of it")) }
}
