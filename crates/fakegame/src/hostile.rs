//! A game that tries to get at everything that is not its own, and says how each attempt ended. For the tests of isolation.
//!
//! Each attempt is one line: `attempt NAME: got through`, `attempt NAME: refused (EACCES)`, or `attempt NAME: failed (ENOENT)` when
//! what stopped it was no refusal. The last line is `attempts over`; then it waits for `stop`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

mod calls;

/// How long somebody who took our connection may take to say something.
const HEAR_TIMEOUT: Duration = Duration::from_secs(5);
/// What `--memory` takes at a time.
const MEMORY_STEP: usize = 1024 * 1024;

/// Where there is something to get at.
#[derive(Debug, clap::Args)]
pub struct HostileArgs {
    /// The folder of our own server, around our files
    #[arg(long, value_name = "FOLDER")]
    own: Option<PathBuf>,
    /// The folder of another server
    #[arg(long, value_name = "FOLDER")]
    victim: Option<PathBuf>,
    /// The data folder of the program
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// A folder that everybody may write
    #[arg(long, value_name = "FOLDER", default_value = "/tmp")]
    shared: PathBuf,
    /// A port of our own
    #[arg(long, value_name = "PORT")]
    own_port: Option<u16>,
    /// A port of another server
    #[arg(long, value_name = "PORT")]
    foreign_port: Option<u16>,
    /// An abstract socket of somebody else
    #[arg(long, value_name = "NAME")]
    abstract_socket: Option<String>,
    /// A process of somebody else; can be given again
    #[arg(long = "process", value_name = "NAME=PID", value_parser = named)]
    processes: Vec<(String, i32)>,
    /// Fork until it fails, at most so often
    #[arg(long, value_name = "COUNT")]
    forks: Option<u32>,
    /// Open files until it fails, at most so many
    #[arg(long, value_name = "COUNT")]
    files: Option<usize>,
    /// Where to make connections that say nothing
    #[arg(long, value_name = "ADDRESS", requires = "connections")]
    connect: Option<SocketAddr>,
    /// How many of them
    #[arg(long, value_name = "COUNT", requires = "connect")]
    connections: Option<usize>,
    /// At last, fill so much memory
    #[arg(long, value_name = "MIB")]
    memory: Option<usize>,
}

fn named(text: &str) -> Result<(String, i32), String> {
    let (name, pid) = text.split_once('=').ok_or("expected NAME=PID")?;
    Ok((name.to_owned(), pid.parse().map_err(|_| "expected a number after =")?))
}

/// Tries everything, and plays on until it is told to stop.
pub(crate) fn run(args: &HostileArgs) -> io::Result<u8> {
    files(args)?;
    for (name, pid) in &args.processes {
        processes(name, *pid)?;
    }
    sockets(args)?;
    kernel()?;
    if let Some(most) = args.files {
        let open: Result<Vec<File>, _> = (0..most).map(|_| File::open("/dev/null")).collect();
        tell("fds", open.map(drop))?;
    }
    if let Some(most) = args.forks {
        forks(most)?;
    }
    let held = match (args.connect, args.connections) {
        (Some(address), Some(count)) => connections(address, count)?,
        _ => Vec::new(),
    };
    if let Some(mib) = args.memory {
        say("filling memory")?;
        let filled: Vec<Vec<u8>> = (0..mib).map(|_| vec![1; MEMORY_STEP]).collect();
        tell("memory", Ok(()))?;
        drop(filled);
    }
    say("attempts over")?;
    for line in io::stdin().lock().lines() {
        if line?.trim() == "stop" {
            break;
        }
    }
    drop(held);
    Ok(0)
}

/// Makes connections and keeps those that stay open. They are taken one after the other: when the last is refused, all are judged.
fn connections(address: SocketAddr, count: usize) -> io::Result<Vec<TcpStream>> {
    let mut streams = Vec::with_capacity(count);
    for _ in 0..count {
        streams.push(TcpStream::connect(address)?);
    }
    let is_open = |mut stream: &TcpStream| {
        let read = stream.read(&mut [0]);
        read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    };
    if let Some(last) = streams.last() {
        last.set_read_timeout(Some(HEAR_TIMEOUT))?;
        let _ = is_open(last);
    }
    for stream in &streams {
        stream.set_nonblocking(true)?;
    }
    streams.retain(is_open);
    say(&format!("attempt connections: {} of {count} were kept", streams.len()))?;
    Ok(streams)
}

fn files(args: &HostileArgs) -> io::Result<()> {
    tell("own-write", fs::write("hostile.txt", "mine").and_then(|()| fs::read("hostile.txt")).map(drop))?;
    let inner = fs::create_dir_all("inner").and_then(|()| fs::rename("hostile.txt", "inner/moved.txt"));
    tell("own-rename", inner)?;
    let temporary = std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
    let passing = temporary.join(format!("quarterdeck-own-{}", std::process::id()));
    tell("own-temporary", fs::write(&passing, "mine").and_then(|()| fs::remove_file(&passing)))?;
    tell("own-program", Command::new("/bin/sh").args(["-c", "exit 0"]).status().map(drop))?;
    tell("own-null", fs::write("/dev/null", "x"))?;
    tell("own-stdout", OpenOptions::new().append(true).open("/dev/stdout").map(drop))?;
    tell("read-shadow", read("/etc/shadow"))?;
    let _ = std::os::unix::fs::symlink("/etc/shadow", "shadow-link");
    tell("read-shadow-by-link", read("shadow-link"))?;
    tell("read-root", list("/root"))?;
    let name = format!("quarterdeck-hostile-{}", std::process::id());
    for (attempt, folder) in [("write-shared", args.shared.as_path()), ("write-etc", Path::new("/etc"))] {
        let path = folder.join(&name);
        tell(attempt, fs::write(&path, "x").and_then(|()| fs::remove_file(&path)))?;
    }
    if let Some(own) = &args.own {
        tell("list-own-log", list(own.join("log")))?;
        tell("forge-own-log", append(own.join("log/lock")))?;
        tell("write-beside-own", fs::write(own.join("uid"), "0"))?;
        tell("read-own-definition", read(own.join("definition.json")))?;
        tell("move-own-files", fs::rename(own.join("files"), own.join("elsewhere")))?;
    }
    if let Some(victim) = &args.victim {
        tell("read-victim-files", read(victim.join("files/secret.txt")))?;
        tell("write-victim-files", fs::write(victim.join("files/planted.txt"), "x"))?;
        tell("list-victim-log", list(victim.join("log")))?;
        tell("read-victim-definition", read(victim.join("definition.json")))?;
    }
    if let Some(data) = &args.data {
        tell("list-servers", list(data.join("node/servers")))?;
        tell("read-database", read(data.join("panel.db")))?;
        tell("read-key", read(data.join("cli.toml")))?;
        tell("replace-shim", fs::write(data.join("node/bin/shim-planted"), "x"))?;
    }
    Ok(())
}

fn processes(name: &str, pid: i32) -> io::Result<()> {
    tell(&format!("signal-{name}"), calls::kill(pid, 0))?;
    let stopped = calls::kill(pid, libc::SIGSTOP);
    if stopped.is_ok() {
        let _ = calls::kill(pid, libc::SIGCONT);
    }
    tell(&format!("stop-{name}"), stopped)?;
    tell(&format!("ptrace-{name}"), calls::seize(pid))?;
    tell(&format!("environ-{name}"), read(format!("/proc/{pid}/environ")))?;
    tell(&format!("memory-{name}"), append(format!("/proc/{pid}/mem")))
}

fn sockets(args: &HostileArgs) -> io::Result<()> {
    tell("bind-any", TcpListener::bind("127.0.0.1:0").map(drop))?;
    for (name, port) in [("bind-own", args.own_port), ("bind-foreign", args.foreign_port)] {
        if let Some(port) = port {
            tell(name, TcpListener::bind(("127.0.0.1", port)).map(drop))?;
        }
    }
    for (name, folder) in [("shim-own", &args.own), ("shim-victim", &args.victim)] {
        if let Some(folder) = folder {
            tell(name, greeting(folder))?;
        }
    }
    if let Some(name) = &args.abstract_socket {
        use std::os::linux::net::SocketAddrExt;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
        tell("abstract-socket", UnixStream::connect_addr(&address).map(drop))?;
    }
    tell("packet-socket", calls::socket(libc::AF_PACKET, libc::SOCK_RAW))?;
    tell("crypto-socket", calls::socket(libc::AF_ALG, libc::SOCK_SEQPACKET))
}

/// What whoever listens in a folder says first. Its path may be too long for a socket's address, a name in it is not.
fn greeting(folder: &Path) -> io::Result<()> {
    let home = std::env::current_dir()?;
    std::env::set_current_dir(folder)?;
    let connected = UnixStream::connect("shim.sock");
    std::env::set_current_dir(home)?;
    let mut stream = connected?;
    stream.set_read_timeout(Some(HEAR_TIMEOUT))?;
    match stream.read(&mut [0; 8])? {
        0 => Err(io::Error::from_raw_os_error(libc::ECONNREFUSED)),
        _ => Ok(()),
    }
}

fn kernel() -> io::Result<()> {
    tell("terminal-input", calls::type_into_terminal())?;
    tell("mount", calls::mount())?;
    tell("unshare-user", calls::unshare(libc::CLONE_NEWUSER))?;
    tell("unshare-mount", calls::unshare(libc::CLONE_NEWNS))?;
    tell("clone-user", calls::clone_namespace())?;
    tell("chroot", calls::chroot())?;
    for (name, number) in [
        ("bpf", libc::SYS_bpf),
        ("perf", libc::SYS_perf_event_open),
        ("keyctl", libc::SYS_keyctl),
        ("io-uring", libc::SYS_io_uring_setup),
        ("userfaultfd", libc::SYS_userfaultfd),
        ("modules", libc::SYS_finit_module),
        ("kexec", libc::SYS_kexec_load),
        ("setns", libc::SYS_setns),
    ] {
        tell(name, calls::nonsense(number))?;
    }
    Ok(())
}

fn forks(most: u32) -> io::Result<()> {
    let mut children = Vec::new();
    let mut ended = Ok(());
    for _ in 0..most {
        match Command::new("/bin/sleep").arg("1000").spawn() {
            Ok(child) => children.push(child),
            Err(error) => {
                ended = Err(error);
                break;
            }
        }
    }
    say(&format!("forked {} times", children.len()))?;
    for child in &mut children {
        let _ = child.kill();
        let _ = child.wait();
    }
    tell("forks", ended)
}

fn read(path: impl AsRef<Path>) -> io::Result<()> {
    File::open(path)?.read(&mut [0; 16]).map(drop)
}

fn append(path: impl AsRef<Path>) -> io::Result<()> {
    OpenOptions::new().append(true).open(path).map(drop)
}

fn list(path: impl AsRef<Path>) -> io::Result<()> {
    fs::read_dir(path).map(drop)
}

/// One line about one attempt.
fn tell(name: &str, result: io::Result<()>) -> io::Result<()> {
    let outcome = match result {
        Ok(()) => "got through".to_owned(),
        Err(error) => {
            let number = error.raw_os_error().unwrap_or(0);
            let name = [
                (libc::EACCES, "EACCES"),
                (libc::EPERM, "EPERM"),
                (libc::ENOSYS, "ENOSYS"),
                (libc::EAGAIN, "EAGAIN"),
                (libc::EMFILE, "EMFILE"),
                (libc::ECONNREFUSED, "ECONNREFUSED"),
            ];
            match name.into_iter().find(|(refusal, _)| *refusal == number) {
                Some((_, name)) => format!("refused ({name})"),
                None => format!("failed ({error})"),
            }
        }
    };
    say(&format!("attempt {name}: {outcome}"))
}

fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}
