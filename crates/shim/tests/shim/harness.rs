//! A game under a shim in a folder of its own, and what a daemon can see of it. Waiting is always for an event, with a deadline.

use std::ffi::OsString;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, WaitStatus};
use spool::exit::{self, ExitRecord};
use spool::format::SEGMENT_HEADER_BYTES;
use spool::message::{self, Hello, Outcome, Reply, Request};
use spool::ready::{Ready, Stage};
use spool::spec::{Console, LaunchSpec};
use spool::{Event, ExitPayload, Frames, GapPayload, LineKind, LineSplitter, StartPayload, Tail, segment};
use tempfile::TempDir;

/// Longest any single wait of a test may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
pub(crate) const RUN_ID: [u8; 16] = *b"the run of tests";

/// The folder of one server.
pub(crate) struct Server {
    dir: TempDir,
}

/// A game that runs. Killed and waited for when dropped.
pub(crate) struct Running {
    pub(crate) shim: Pid,
    pub(crate) game: Pid,
    socket_dir: PathBuf,
    ended: bool,
}

impl Server {
    pub(crate) fn new() -> Self {
        // Shims detach from us and would be left as zombies where nobody reaps: make them our children again.
        rustix::process::set_child_subreaper(rustix::process::getpid().into()).unwrap();
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn log_dir(&self) -> PathBuf {
        self.path().join("log")
    }

    /// A shell script as the game, with pipes.
    pub(crate) fn script(&self, script: &str) -> LaunchSpec {
        self.program(&["/bin/sh", "-c", script])
    }

    pub(crate) fn program(&self, argv: &[&str]) -> LaunchSpec {
        let argv = argv.iter().map(|arg| arg.as_bytes().to_vec()).collect();
        let mut spec = LaunchSpec::new(RUN_ID, &self.log_dir(), self.path(), argv, self.path());
        spec.env = vec![(b"PATH".to_vec(), b"/usr/local/bin:/usr/bin:/bin".to_vec())];
        spec
    }

    pub(crate) fn start(&self, spec: &LaunchSpec) -> Running {
        self.running(&answer_to(&spec.encode()))
    }

    /// Starts it through another program, which leaves the shim something to inherit.
    pub(crate) fn start_through(&self, program: &[&str], spec: &LaunchSpec) -> Running {
        let [first, rest @ ..] = program else { panic!("no program") };
        let mut command = Command::new(first);
        command.args(rest).arg(shim());
        self.running(&answer_from(&mut command, &spec.encode()))
    }

    fn running(&self, answer: &Ready) -> Running {
        match *answer {
            Ready::Ok { shim_pid, game_pid } => {
                Running { shim: pid(shim_pid), game: pid(game_pid), socket_dir: self.path().to_owned(), ended: false }
            }
            Ready::Failed { .. } => panic!("{answer:?}"),
        }
    }

    /// Expects a start to fail and returns where, and why.
    pub(crate) fn fail_to_start(spec: &LaunchSpec) -> (Stage, i32, String) {
        match answer_to(&spec.encode()) {
            Ready::Failed { stage, errno, text } => (stage, errno, text),
            ok @ Ready::Ok { .. } => panic!("it started: {ok:?}"),
        }
    }

    pub(crate) fn log(&self) -> Vec<Said> {
        read_log(&self.log_dir())
    }

    pub(crate) fn exit_record(&self) -> Option<ExitRecord> {
        exit::read(&self.log_dir()).unwrap()
    }

    /// Runs a game to its end and returns the log.
    pub(crate) fn run(&self, spec: &LaunchSpec) -> Vec<Said> {
        let running = self.start(spec);
        running.wait();
        self.log()
    }
}

/// The program; `QUARTERDECK_SHIM_UNDER_TEST` names another build, an older one for instance.
fn shim() -> OsString {
    std::env::var_os("QUARTERDECK_SHIM_UNDER_TEST").unwrap_or_else(|| env!("CARGO_BIN_EXE_quarterdeck-shim").into())
}

/// Starts a shim with these bytes on its standard input.
pub(crate) fn answer_to(spec: &[u8]) -> Ready {
    answer_from(&mut Command::new(shim()), spec)
}

fn answer_from(command: &mut Command, spec: &[u8]) -> Ready {
    let mut child = command.arg("test").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // A shim that refuses early does not read everything.
    let _ = child.stdin.take().unwrap().write_all(spec);
    let mut answer = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut answer).unwrap();
    child.wait().unwrap();
    Ready::decode(&answer).unwrap()
}

pub(crate) fn pid(number: u32) -> Pid {
    Pid::from_raw(number.try_into().unwrap()).unwrap()
}

/// Waits for a process, ours or not, to end.
pub(crate) fn wait_gone(pid: Pid) {
    let Ok(fd) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else { return };
    wait_readable(&fd, "the end of a process");
}

fn wait_readable(fd: &OwnedFd, what: &str) {
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    let timeout = Timespec { tv_sec: DEADLINE.as_secs().try_into().unwrap(), tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut fds, Some(&timeout)).unwrap(), 1, "no {what} in {DEADLINE:?}");
}

/// Whether a process exists and is no zombie.
pub(crate) fn lives(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(')').unwrap().1.trim_start().starts_with(['Z', 'X']))
}

impl Running {
    /// Waits for the shim to end by itself.
    pub(crate) fn wait(mut self) -> WaitStatus {
        self.wait_shim()
    }

    fn wait_shim(&mut self) -> WaitStatus {
        let fd = rustix::process::pidfd_open(self.shim, PidfdFlags::empty()).unwrap();
        wait_readable(&fd, "end of the shim");
        self.ended = true;
        rustix::process::waitpid(Some(self.shim), WaitOptions::empty()).unwrap().unwrap().1
    }

    pub(crate) fn connect(&self) -> Client {
        self.try_connect().expect("the shim hung up at once")
    }

    /// Connects when the shim may have other plans; `None` if it hangs up.
    pub(crate) fn try_connect(&self) -> Option<Client> {
        Client::open(message::connect(&self.socket_dir).ok()?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            // A test that failed for want of time must not wait here for ever, nor panic while it panics.
            let _ = rustix::process::kill_process_group(self.game, Signal::KILL);
            if !std::thread::panicking() {
                self.wait_shim();
            }
        }
    }
}

/// A daemon's connection.
pub(crate) struct Client {
    pub(crate) stream: UnixStream,
    /// What the shim said of itself at the beginning.
    pub(crate) hello: Hello,
    received: Vec<u8>,
}

impl Client {
    fn open(stream: UnixStream) -> Option<Self> {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        let mut received = Vec::new();
        match next_reply(&stream, &mut received)? {
            Reply::Hello(hello) => Some(Self { stream, hello, received }),
            other => panic!("no greeting but {other:?}"),
        }
    }

    pub(crate) fn send(&mut self, request: &Request<'_>) {
        let mut bytes = Vec::new();
        request.encode(&mut bytes);
        self.stream.write_all(&bytes).unwrap();
    }

    /// The next message; `None` when the shim has hung up.
    pub(crate) fn next(&mut self) -> Option<Reply> {
        next_reply(&self.stream, &mut self.received)
    }

    pub(crate) fn write(&mut self, request_id: u64, bytes: &[u8]) -> Outcome {
        self.send(&Request::Write { request_id, user: "ann", bytes });
        self.outcome(request_id)
    }

    /// The answer to a request; doorbells and greetings before it are passed over.
    pub(crate) fn outcome(&mut self, id: u64) -> Outcome {
        loop {
            match self.next() {
                Some(Reply::Answer { request_id, outcome }) if request_id == id => return outcome,
                Some(Reply::Doorbell { .. } | Reply::Hello(_)) => {}
                other => panic!("no answer but {other:?}"),
            }
        }
    }

    /// Reads until the news of the end; its status.
    pub(crate) fn wait_exit(&mut self) -> i32 {
        loop {
            match self.next() {
                Some(Reply::Exited { status, .. }) => return status,
                Some(_) => {}
                None => panic!("hung up on without a word"),
            }
        }
    }

    /// Waits until the log satisfies `enough`; returns it.
    pub(crate) fn wait_log(&mut self, server: &Server, enough: impl Fn(&[Said]) -> bool) -> Vec<Said> {
        let until = Instant::now() + DEADLINE;
        loop {
            let log = server.log();
            if enough(&log) {
                return log;
            }
            assert!(Instant::now() < until, "the log never got there: {log:?}");
            match self.next() {
                Some(Reply::Doorbell { .. } | Reply::Answer { .. }) => {}
                other => panic!("no doorbell but {other:?}; the log: {:?}", server.log()),
            }
        }
    }

    /// Waits for a line of output and returns the log up to now.
    pub(crate) fn wait_line(&mut self, server: &Server, line: &str) -> Vec<Said> {
        self.wait_log(server, |log| output(log).iter().any(|text| text == line))
    }
}

fn next_reply(mut stream: &UnixStream, received: &mut Vec<u8>) -> Option<Reply> {
    loop {
        if let Some(raw) = message::first(received).unwrap() {
            let (reply, bytes) = (Reply::decode(raw).unwrap(), raw.bytes);
            received.drain(..bytes);
            return Some(reply);
        }
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer) {
            Ok(0) => return None,
            Ok(count) => received.extend_from_slice(&buffer[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => return None,
            Err(error) => panic!("nothing from the shim: {error}"),
        }
    }
}

/// One entry of a log, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Game(u64, Vec<u8>),
    Person { seq: u64, user: String, request_id: u64, text: Vec<u8> },
    Node(u64, String),
    Started(StartPayload),
    Exited(ExitPayload),
    Gap(u64, GapPayload),
}

/// Reads a whole log, checking that segments fit together.
pub(crate) fn read_log(dir: &Path) -> Vec<Said> {
    let mut said = Vec::new();
    let mut splitter: Option<LineSplitter> = None;
    let names = segment::list(dir).unwrap_or_default();
    for (index, name) in names.iter().enumerate() {
        // The oldest may have been deleted since it was listed.
        let Ok(bytes) = fs::read(dir.join(name.file_name())) else { continue };
        let mut add = |event: Event<'_>| said.push(owned(event));
        let splitter = splitter.get_or_insert_with(|| LineSplitter::new(name.base_line));
        splitter.begin_segment(name.base_line, &mut add);
        let mut frames = Frames::new(bytes.get(SEGMENT_HEADER_BYTES..).unwrap_or_default(), name.base_line);
        for frame in frames.by_ref() {
            assert_eq!(frame.line, splitter.next_line(), "the writer counts as the reader does");
            splitter.feed(&frame, &mut add);
        }
        assert!(frames.tail() == Tail::Clean || index + 1 == names.len(), "damage in {name:?}");
    }
    said
}

fn owned(event: Event<'_>) -> Said {
    match event {
        Event::Line(line) => match line.kind {
            LineKind::Output => Said::Game(line.seq, line.bytes.to_vec()),
            LineKind::Input { user, request_id } => {
                Said::Person { seq: line.seq, user: user.to_owned(), request_id, text: line.bytes.to_vec() }
            }
            LineKind::Note => Said::Node(line.seq, String::from_utf8(line.bytes.to_vec()).unwrap()),
        },
        Event::Started { start, .. } => Said::Started(start),
        Event::Exited { exit, .. } => Said::Exited(exit),
        Event::Gap { first_line, gap, .. } => Said::Gap(first_line, gap),
        Event::Unreadable { kind, .. } => panic!("unreadable {kind:?}"),
    }
}

/// The game's lines as text.
pub(crate) fn output(log: &[Said]) -> Vec<String> {
    let lines = log.iter().filter_map(|said| match said {
        Said::Game(_, bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    });
    lines.collect()
}

/// The one exit of a log with one run.
pub(crate) fn exit_of(log: &[Said]) -> ExitPayload {
    match log.last() {
        Some(Said::Exited(exit)) => *exit,
        _ => panic!("the log does not end with an exit: {log:?}"),
    }
}

/// A terminal of the usual size.
pub(crate) const TERMINAL: Console = Console::Pty { rows: 50, columns: 200 };
