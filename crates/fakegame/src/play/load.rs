//! What the game does besides printing: processes, memory, processor time, files and a network port, to be measured or killed.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::PlayArgs;
use crate::sys;

/// Tells a process that we started ourselves what it is; its arguments are the same as ours.
const ROLE_VARIABLE: &str = "FAKEGAME_ROLE";
const ROLE_DAEMON: &str = "daemon";
const ROLE_CHILD: &str = "child";
const ROLE_CHILD_AWAY: &str = "child-setsid";
/// A child that nobody kills ends by itself after this time, so that a failed test leaves nothing behind for good.
const CHILD_LIFE_MAX: Duration = Duration::from_mins(10);
/// Processor time is burned in slices of this length.
const BURN_SLICE: Duration = Duration::from_millis(10);
const FILE_BYTES: usize = 1024;
const FILES_FOLDER: &str = "fakegame-files";
const DATAGRAM_BYTES_MAX: usize = 65_536;

/// What this process is when it is not the one that was started by somebody else.
pub(super) enum Role {
    /// The game itself, in the background.
    Daemon,
    /// A process that only exists.
    Child { leave_session: bool },
}

/// What we were started as.
pub(super) fn role() -> Option<Role> {
    match std::env::var(ROLE_VARIABLE).ok()?.as_str() {
        ROLE_DAEMON => Some(Role::Daemon),
        ROLE_CHILD => Some(Role::Child { leave_session: false }),
        ROLE_CHILD_AWAY => Some(Role::Child { leave_session: true }),
        _ => None,
    }
}

/// Ourselves again with the same arguments, as `role`.
fn ourselves(role: &str) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(std::env::args_os().skip(1)).env(ROLE_VARIABLE, role);
    Ok(command)
}

/// Starts the game again in the background and leaves it alone; returns the exit status of this process.
pub(super) fn continue_in_background(out: &mut File) -> io::Result<u8> {
    match ourselves(ROLE_DAEMON)?.spawn() {
        Ok(game) => writeln!(out, "Running in background as PID {}", game.id()).map(|()| 0),
        Err(error) => writeln!(out, "could not go on in the background: {error}").map(|()| 1),
    }
}

/// The life of a child: say that it is there (on standard error, where its parent listens), then exist.
pub(super) fn live_as_child(leave_session: bool) -> u8 {
    sys::unblock_signals();
    if leave_session {
        sys::leave_session();
    }
    // A parent that is gone already does not matter to a child that is there to outlive it.
    let _ = io::stderr().write_all(b"here\n");
    let end = Instant::now() + CHILD_LIFE_MAX;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        thread::sleep(left);
    }
    0
}

/// The memory that is held; threads and processes go on by themselves.
pub(super) struct Load {
    _memory: Vec<u8>,
}

impl Load {
    /// Begins everything that the flags ask for, with a line for each that a test can wait for.
    pub(super) fn begin(args: &PlayArgs, out: &mut File) -> io::Result<Self> {
        let end = args.line_end();
        for index in 0..args.fork_children {
            let said = match start_child(args.setsid) {
                Ok(pid) => format!("child {index} pid={pid}"),
                Err(error) => format!("child {index} not started: {error}"),
            };
            write!(out, "{said}{end}")?;
        }
        let mut memory = Vec::new();
        if args.alloc > 0 {
            let said = match memory.try_reserve_exact(args.alloc) {
                // Written to, because memory that was never touched costs nothing.
                Ok(()) => {
                    memory.resize(args.alloc, 1);
                    format!("alloc: {} bytes", args.alloc)
                }
                Err(error) => format!("alloc: refused: {error}"),
            };
            write!(out, "{said}{end}")?;
        }
        if args.burn_cpu > 0.0 {
            burn(args.burn_cpu)?;
            write!(out, "burn: {} cores{end}", args.burn_cpu)?;
        }
        if args.write_files > 0 {
            let said = match write_files(args.write_files) {
                Ok(()) => format!("files: {} of {FILE_BYTES} bytes", args.write_files),
                Err(error) => format!("files: {error}"),
            };
            write!(out, "{said}{end}")?;
        }
        if let Some(port) = args.udp_echo {
            let said = match echo_datagrams(args, port) {
                Ok(address) => format!("udp: {address}"),
                Err(error) => format!("udp: {error}"),
            };
            write!(out, "{said}{end}")?;
        }
        Ok(Self { _memory: memory })
    }
}

/// Starts a child and waits until it is what it is to be.
fn start_child(away: bool) -> io::Result<u32> {
    let mut child = ourselves(if away { ROLE_CHILD_AWAY } else { ROLE_CHILD })?
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(stderr) = child.stderr.take() {
        BufReader::new(stderr).read_line(&mut String::new())?;
    }
    Ok(child.id())
}

fn burn(cores: f64) -> io::Result<()> {
    let mut left = cores;
    while left > 0.0 {
        let share = left.min(1.0);
        left -= share;
        thread::Builder::new().name("burn".to_owned()).spawn(move || {
            loop {
                let start = Instant::now();
                while start.elapsed() < BURN_SLICE.mul_f64(share) {
                    std::hint::spin_loop();
                }
                thread::sleep(BURN_SLICE.saturating_sub(start.elapsed()));
            }
        })?;
    }
    Ok(())
}

fn write_files(count: u32) -> io::Result<()> {
    fs::create_dir_all(FILES_FOLDER)?;
    for index in 0..count {
        fs::write(format!("{FILES_FOLDER}/{index}"), [b'x'; FILE_BYTES])?;
    }
    Ok(())
}

fn echo_datagrams(args: &PlayArgs, port: u16) -> io::Result<std::net::SocketAddr> {
    let socket = UdpSocket::bind((args.bind, port))?;
    let address = socket.local_addr()?;
    thread::Builder::new().name("udp".to_owned()).spawn(move || {
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        // An error belongs to an earlier datagram (its sender is gone, say); the next may be fine.
        loop {
            if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(buffer.get(..length).unwrap_or_default(), from);
            }
        }
    })?;
    Ok(address)
}
