//! Everything a shim is told at its start, on its standard input: not in its arguments, where `ps` would show secrets.
//!
//! ```text
//! "QDSPEC\x01\0" then fields: u16 tag | u32 length | value
//! ```
//! A field may stand several times where there are several (arguments, variables, limits, cgroups). A shim refuses a tag it
//! does not know, because leaving out a restriction would be worse than not starting; tags from 0x8000 on may be ignored.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::message::rung;
use crate::sandbox::{Landlock, PathRule, PortRule};
use crate::take::Take;
use crate::writer::{RETAIN_BYTES_DEFAULT, SEGMENT_BYTES_DEFAULT};

/// Largest encoded spec.
pub const SPEC_BYTES_MAX: usize = 4 * 1024 * 1024;

const MAGIC: [u8; 8] = *b"QDSPEC\x01\0";
const MAY_BE_IGNORED: u16 = 0x8000;
/// Bytes of one instruction of a system call filter.
const INSTRUCTION_BYTES: usize = 8;

mod tag {
    pub(super) const RUN_ID: u16 = 1;
    pub(super) const LOG_DIR: u16 = 2;
    pub(super) const SOCKET_DIR: u16 = 3;
    pub(super) const ARG: u16 = 4;
    pub(super) const VARIABLE: u16 = 5;
    pub(super) const CWD: u16 = 6;
    pub(super) const PTY: u16 = 7;
    pub(super) const PIPE: u16 = 8;
    pub(super) const USER: u16 = 9;
    pub(super) const RLIMIT: u16 = 10;
    pub(super) const CGROUP_PROCS: u16 = 11;
    pub(super) const NO_NEW_PRIVS: u16 = 12;
    pub(super) const UMASK: u16 = 13;
    pub(super) const SEGMENT_BYTES: u16 = 14;
    pub(super) const RETAIN_BYTES: u16 = 15;
    pub(super) const LANDLOCK: u16 = 16;
    pub(super) const PATH_RULE: u16 = 17;
    pub(super) const PORT_RULE: u16 = 18;
    pub(super) const SECCOMP: u16 = 19;
    pub(super) const CAPABILITIES: u16 = 20;
    pub(super) const OOM_SCORE_ADJ: u16 = 0x8001;
    pub(super) const IGNORE_HANGUP: u16 = 0x8002;
}

/// Numbers of resource limits, as Linux has them on x86-64, aarch64 and riscv64.
pub mod resource {
    /// Seconds of processor time.
    pub const CPU: u32 = 0;
    /// Bytes of one file.
    pub const FSIZE: u32 = 1;
    /// Bytes of data segments.
    pub const DATA: u32 = 2;
    /// Bytes of the stack.
    pub const STACK: u32 = 3;
    /// Bytes of a core dump.
    pub const CORE: u32 = 4;
    /// Processes and threads of the user.
    pub const NPROC: u32 = 6;
    /// Open files of a process.
    pub const NOFILE: u32 = 7;
    /// Bytes of locked memory.
    pub const MEMLOCK: u32 = 8;
    /// Bytes of address space.
    pub const AS: u32 = 9;
    /// "No limit".
    pub const INFINITY: u64 = u64::MAX;
}

/// What the game has for input and output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Console {
    /// A terminal of this size, without echo, line editing and signals from characters.
    Pty {
        /// Lines.
        rows: u16,
        /// Characters in a line.
        columns: u16,
    },
    /// Pipes: one for input, one for output and errors together.
    Pipe,
}

/// Whom the game runs as. It gets no supplementary groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// One resource limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rlimit {
    /// Which: see [`resource`].
    pub resource: u32,
    /// What applies.
    pub soft: u64,
    /// How far the game may raise it.
    pub hard: u64,
}

/// How to run one game. What stands in the shim's own arguments is only for people who look at `ps`; the shim does not read them.
#[derive(Clone, PartialEq, Eq)]
pub struct LaunchSpec {
    /// The run: in the log's START frame, in the exit record and in the shim's HELLO.
    pub run_id: [u8; 16],
    /// The log folder, absolute. Made if missing.
    pub log_dir: PathBuf,
    /// Folder of `shim.sock`, absolute. Must exist.
    pub socket_dir: PathBuf,
    /// Program and arguments. A program without a slash is looked for in the `PATH` of `env`; one with, relative to `cwd`.
    pub argv: Vec<Vec<u8>>,
    /// The whole environment, nothing is inherited.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// Working folder.
    pub cwd: PathBuf,
    /// Terminal or pipes.
    pub console: Console,
    /// `None`: as whoever the shim runs as.
    pub user: Option<User>,
    /// Resource limits, set in this order before the user is changed.
    pub rlimits: Vec<Rlimit>,
    /// Files `cgroup.procs` (or, of version 1, `tasks`) of cgroups that are the game's alone.
    pub cgroup_procs: Vec<PathBuf>,
    /// Whether set-user-id programs lose their power.
    pub no_new_privs: bool,
    /// The only capabilities that root's programs can have, as bits; `None`: all that the shim can have. Lowering needs `SETPCAP`.
    pub capabilities: Option<u64>,
    /// What the game may reach of files, ports and other processes; `None`: what its user may.
    pub landlock: Option<Landlock>,
    /// Programs of the kernel's system call filter, in this order; each is whole instructions of 8 bytes, as the kernel reads them.
    pub seccomp: Vec<Vec<u8>>,
    /// File mode mask of the game.
    pub umask: u32,
    /// Size of a log segment, see [`crate::Limits`].
    pub segment_bytes: u64,
    /// What is kept of the log, see [`crate::Limits`].
    pub retain_bytes: u64,
    /// How gladly the kernel kills the *shim* when memory runs out, -1000 (never) to 1000; `None` as inherited. The game keeps what the
    /// shim inherited. Lowering needs privilege; without it, it stays as it is.
    pub oom_score_adj: Option<i32>,
    /// Start it with SIGHUP ignored, as `nohup` does: a terminal hangs up when the shim dies, before the kernel sends the SIGTERM on
    /// which a game saves. Older shims may leave this out.
    pub ignore_hangup: bool,
}

/// Says nothing of the values of arguments and variables: they may be secrets.
impl fmt::Debug for LaunchSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = self.argv.first().map(|program| String::from_utf8_lossy(program));
        f.debug_struct("LaunchSpec").field("program", &program).field("log_dir", &self.log_dir).finish_non_exhaustive()
    }
}

/// Why bytes are no spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Not a spec, or one of another version.
    #[error("not a launch spec of version 1")]
    NotASpec,
    /// It ends within a field, or a field's value makes no sense.
    #[error("the launch spec's field {tag} is damaged")]
    Field {
        /// Which.
        tag: u16,
    },
    /// The daemon is newer than the shim and asks for something that may not be left out.
    #[error("the launch spec has a field {tag} that this shim does not know")]
    Unknown {
        /// Which.
        tag: u16,
    },
    /// Something that every run needs is missing.
    #[error("the launch spec has no {what}")]
    Missing {
        /// What.
        what: &'static str,
    },
}

impl LaunchSpec {
    /// A run of `argv` in `cwd` with pipes, default log sizes, umask 027, no new privileges and nothing else.
    pub fn new(run_id: [u8; 16], log_dir: &Path, socket_dir: &Path, argv: Vec<Vec<u8>>, cwd: &Path) -> Self {
        Self {
            run_id,
            log_dir: log_dir.to_owned(),
            socket_dir: socket_dir.to_owned(),
            argv,
            env: Vec::new(),
            cwd: cwd.to_owned(),
            console: Console::Pipe,
            user: None,
            rlimits: Vec::new(),
            cgroup_procs: Vec::new(),
            no_new_privs: true,
            capabilities: None,
            landlock: None,
            seccomp: Vec::new(),
            umask: 0o027,
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            retain_bytes: RETAIN_BYTES_DEFAULT,
            oom_score_adj: None,
            ignore_hangup: false,
        }
    }

    /// What a game that was started with this has of isolation: bits of [`rung`].
    pub fn rungs(&self) -> u32 {
        let landlock = self.landlock.as_ref();
        let nproc = self.rlimits.iter().any(|limit| limit.resource == resource::NPROC);
        [
            (self.user.is_some(), rung::OWN_USER),
            (self.no_new_privs, rung::NO_NEW_PRIVS),
            (landlock.is_some_and(|landlock| landlock.files != 0), rung::FILES),
            (landlock.is_some_and(|landlock| landlock.net != 0), rung::TCP_PORTS),
            (landlock.is_some_and(|landlock| landlock.scopes != 0), rung::SCOPES),
            (!self.seccomp.is_empty(), rung::SECCOMP),
            (!self.cgroup_procs.is_empty(), rung::CGROUPS),
            (self.user.is_some() && nproc, rung::PROCESSES),
            (self.capabilities.is_some(), rung::CAPABILITIES),
        ]
        .into_iter()
        .fold(0, |bits, (holds, bit)| if holds { bits | bit } else { bits })
    }

    /// The bytes to send.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        let mut field = |tag: u16, parts: &[&[u8]]| {
            let length: usize = parts.iter().map(|part| part.len()).sum();
            out.extend_from_slice(&tag.to_le_bytes());
            out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
            for part in parts {
                out.extend_from_slice(part);
            }
        };
        field(tag::RUN_ID, &[&self.run_id]);
        field(tag::LOG_DIR, &[self.log_dir.as_os_str().as_bytes()]);
        field(tag::SOCKET_DIR, &[self.socket_dir.as_os_str().as_bytes()]);
        for arg in &self.argv {
            field(tag::ARG, &[arg]);
        }
        for (name, value) in &self.env {
            let length = u32::try_from(name.len()).unwrap_or(u32::MAX).to_le_bytes();
            field(tag::VARIABLE, &[&length, name, value]);
        }
        field(tag::CWD, &[self.cwd.as_os_str().as_bytes()]);
        match self.console {
            Console::Pty { rows, columns } => field(tag::PTY, &[&rows.to_le_bytes(), &columns.to_le_bytes()]),
            Console::Pipe => field(tag::PIPE, &[]),
        }
        if let Some(User { uid, gid }) = self.user {
            field(tag::USER, &[&uid.to_le_bytes(), &gid.to_le_bytes()]);
        }
        for Rlimit { resource, soft, hard } in &self.rlimits {
            field(tag::RLIMIT, &[&resource.to_le_bytes(), &soft.to_le_bytes(), &hard.to_le_bytes()]);
        }
        for path in &self.cgroup_procs {
            field(tag::CGROUP_PROCS, &[path.as_os_str().as_bytes()]);
        }
        field(tag::NO_NEW_PRIVS, &[&[u8::from(self.no_new_privs)]]);
        if let Some(capabilities) = self.capabilities {
            field(tag::CAPABILITIES, &[&capabilities.to_le_bytes()]);
        }
        if let Some(landlock) = &self.landlock {
            let parts = [landlock.files, landlock.net, landlock.scopes, landlock.terminal].map(u64::to_le_bytes);
            field(tag::LANDLOCK, &parts.each_ref().map(<[u8; 8]>::as_slice));
            for PathRule { access, path } in &landlock.paths {
                field(tag::PATH_RULE, &[&access.to_le_bytes(), path.as_os_str().as_bytes()]);
            }
            for PortRule { access, port } in &landlock.ports {
                field(tag::PORT_RULE, &[&access.to_le_bytes(), &port.to_le_bytes()]);
            }
        }
        for program in &self.seccomp {
            field(tag::SECCOMP, &[program]);
        }
        field(tag::UMASK, &[&self.umask.to_le_bytes()]);
        field(tag::SEGMENT_BYTES, &[&self.segment_bytes.to_le_bytes()]);
        field(tag::RETAIN_BYTES, &[&self.retain_bytes.to_le_bytes()]);
        if let Some(adjustment) = self.oom_score_adj {
            field(tag::OOM_SCORE_ADJ, &[&adjustment.to_le_bytes()]);
        }
        if self.ignore_hangup {
            field(tag::IGNORE_HANGUP, &[]);
        }
        out
    }

    /// Reads a spec.
    pub fn decode(bytes: &[u8]) -> Result<Self, SpecError> {
        let mut take = Take(bytes);
        if take.array() != Some(MAGIC) {
            return Err(SpecError::NotASpec);
        }
        let mut parts = Parts::default();
        while !take.is_empty() {
            let tag = take.u16().ok_or(SpecError::Field { tag: 0 })?;
            let value = take.counted().ok_or(SpecError::Field { tag })?;
            match parts.field(tag, Take(value)) {
                Some(true) => {}
                Some(false) if tag & MAY_BE_IGNORED != 0 => {}
                Some(false) => return Err(SpecError::Unknown { tag }),
                None => return Err(SpecError::Field { tag }),
            }
        }
        parts.finish()
    }
}

/// A spec being read.
#[derive(Default)]
struct Parts {
    run_id: Option<[u8; 16]>,
    log_dir: Option<PathBuf>,
    socket_dir: Option<PathBuf>,
    argv: Vec<Vec<u8>>,
    env: Vec<(Vec<u8>, Vec<u8>)>,
    cwd: Option<PathBuf>,
    console: Option<Console>,
    user: Option<User>,
    rlimits: Vec<Rlimit>,
    cgroup_procs: Vec<PathBuf>,
    no_new_privs: Option<bool>,
    capabilities: Option<u64>,
    landlock: Option<Landlock>,
    path_rules: Vec<PathRule>,
    port_rules: Vec<PortRule>,
    seccomp: Vec<Vec<u8>>,
    umask: Option<u32>,
    segment_bytes: Option<u64>,
    retain_bytes: Option<u64>,
    oom_score_adj: Option<i32>,
    ignore_hangup: bool,
}

impl Parts {
    /// Takes one field; `Some(false)`: its tag is unknown, `None`: its value is damaged.
    fn field(&mut self, tag: u16, mut value: Take<'_>) -> Option<bool> {
        let path =
            |value: Take<'_>| (!value.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(value.rest()).to_owned()));
        match tag {
            tag::RUN_ID => self.run_id = Some(value.array()?),
            tag::LOG_DIR => self.log_dir = Some(path(value)?),
            tag::SOCKET_DIR => self.socket_dir = Some(path(value)?),
            tag::ARG => self.argv.push(value.rest().to_vec()),
            tag::VARIABLE => {
                let name = value.counted()?.to_vec();
                self.env.push((name, value.rest().to_vec()));
            }
            tag::CWD => self.cwd = Some(path(value)?),
            tag::PTY => self.console = Some(Console::Pty { rows: value.u16()?, columns: value.u16()? }),
            tag::PIPE => self.console = Some(Console::Pipe),
            tag::USER => self.user = Some(User { uid: value.u32()?, gid: value.u32()? }),
            tag::RLIMIT => {
                self.rlimits.push(Rlimit { resource: value.u32()?, soft: value.u64()?, hard: value.u64()? });
            }
            tag::CGROUP_PROCS => self.cgroup_procs.push(path(value)?),
            tag::NO_NEW_PRIVS => self.no_new_privs = Some(value.u8()? != 0),
            tag::CAPABILITIES => self.capabilities = Some(value.u64()?),
            tag::LANDLOCK => {
                let (files, net) = (value.u64()?, value.u64()?);
                let (scopes, terminal) = (value.u64()?, value.u64()?);
                self.landlock = Some(Landlock { files, net, scopes, terminal, ..Landlock::default() });
            }
            tag::PATH_RULE => self.path_rules.push(PathRule { access: value.u64()?, path: path(value)? }),
            tag::PORT_RULE => self.port_rules.push(PortRule { access: value.u64()?, port: value.u16()? }),
            tag::SECCOMP => {
                let program = value.rest();
                let is_whole = !program.is_empty() && program.len().is_multiple_of(INSTRUCTION_BYTES);
                self.seccomp.push(is_whole.then(|| program.to_vec())?);
            }
            tag::UMASK => self.umask = Some(value.u32()?),
            tag::SEGMENT_BYTES => self.segment_bytes = Some(value.u64()?),
            tag::RETAIN_BYTES => self.retain_bytes = Some(value.u64()?),
            tag::OOM_SCORE_ADJ => self.oom_score_adj = Some(value.i32()?),
            tag::IGNORE_HANGUP => self.ignore_hangup = true,
            _ => return Some(false),
        }
        Some(true)
    }

    fn finish(self) -> Result<LaunchSpec, SpecError> {
        let missing = |what| SpecError::Missing { what };
        if self.argv.first().is_none_or(Vec::is_empty) {
            return Err(missing("program to run"));
        }
        let landlock = match self.landlock {
            Some(landlock) => Some(Landlock { paths: self.path_rules, ports: self.port_rules, ..landlock }),
            None if self.path_rules.is_empty() && self.port_rules.is_empty() => None,
            None => return Err(missing("ruleset that its rules belong to")),
        };
        Ok(LaunchSpec {
            run_id: self.run_id.ok_or(missing("run id"))?,
            log_dir: self.log_dir.ok_or(missing("log folder"))?,
            socket_dir: self.socket_dir.ok_or(missing("socket folder"))?,
            argv: self.argv,
            env: self.env,
            cwd: self.cwd.ok_or(missing("working folder"))?,
            console: self.console.ok_or(missing("terminal or pipe"))?,
            user: self.user,
            rlimits: self.rlimits,
            cgroup_procs: self.cgroup_procs,
            no_new_privs: self.no_new_privs.ok_or(missing("answer about new privileges"))?,
            capabilities: self.capabilities,
            landlock,
            seccomp: self.seccomp,
            umask: self.umask.ok_or(missing("file mode mask"))?,
            segment_bytes: self.segment_bytes.ok_or(missing("segment size"))?,
            retain_bytes: self.retain_bytes.ok_or(missing("log size"))?,
            oom_score_adj: self.oom_score_adj,
            ignore_hangup: self.ignore_hangup,
        })
    }
}
