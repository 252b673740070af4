//! The shim's one loop, from the game's start to its end.
//!
//! ```text
//!              T              deadline, K
//! Running ──────────▶ Stopping ──────────▶ Killing
//!    │ main process ended │ main process ended │ main process ended
//!    ▼                    ▼                    │
//! Draining: what it printed, at most 300 ms    │
//!    │                                         ▼
//!    └───────────────────────────────────▶ Clearing: what it left behind is killed ──▶ EXIT, the end
//! ```
//! K also leads from Running to Killing, and from Draining to Clearing.

mod lifecycle;
mod requests;

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use spool::format::PAYLOAD_BYTES_MAX;
use spool::message::Reply;
use spool::{ExitPayload, Writer};

use crate::clients::{CLIENTS_MAX, Client};
use crate::console::Console;
use crate::game::Game;
use crate::input::{Input, KnownIds};
use crate::start::{self, Started};
use crate::system;
use crate::throttle::Throttle;

/// How long the output of an ended game is waited for, if something it left behind keeps its terminal or pipe open.
const DRAIN: Duration = Duration::from_millis(300);
/// Between two rounds of killing: what was forked meanwhile, what has become our child meanwhile.
const KILL_EVERY: Duration = Duration::from_millis(10);
/// After this, rounds of killing are [`KILL_SLOWLY_EVERY`] apart: what still lives hangs in the kernel.
const KILL_FAST: Duration = Duration::from_secs(1);
const KILL_SLOWLY_EVERY: Duration = Duration::from_secs(1);
/// How long leftovers that cannot be killed keep the run from ending.
const CLEAR: Duration = Duration::from_secs(1);
/// Bursts read at the very end, when everybody who could print is gone: more than any terminal or pipe holds.
const LAST_BURSTS_MAX: usize = 64;
/// How often a terminal that the living game has closed is looked at again.
const HUNG_UP_CHECK: Duration = Duration::from_secs(1);
/// How long the end of the run may wait for clients to take the news.
const FAREWELL: Duration = Duration::from_millis(200);

/// Where the run is.
#[derive(Clone, Copy, Debug)]
enum Phase {
    Running,
    Stopping {
        deadline: Instant,
        /// Where the stop command ends in the input, if the game was asked by one and may still get it.
        command_end: Option<u64>,
    },
    Killing {
        since: Instant,
        next: Instant,
    },
    Draining {
        status: i32,
        until: Instant,
    },
    Clearing {
        status: i32,
        since: Instant,
        next: Instant,
    },
    Over {
        status: i32,
    },
}

/// Whether the game can print.
#[derive(Clone, Copy, Debug)]
enum Output {
    Open,
    /// Closed on the game's side. A terminal can be opened again.
    HungUp {
        check: Option<Instant>,
    },
}

/// A run.
struct Run {
    game: Game,
    console: Console,
    output: Output,
    input: Input,
    known_ids: KnownIds,
    writer: Writer,
    throttle: Throttle,
    phase: Phase,
    buffer: Vec<u8>,
}

/// What woke the loop.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, one per descriptor")]
#[derive(Default)]
struct Woken {
    child: bool,
    output: bool,
    input: bool,
    connection: bool,
    /// As in the list of clients.
    readable: [bool; CLIENTS_MAX],
}

/// Runs until the game has ended. Returns its exit code, or 128 and its signal, as shells do.
pub(crate) fn run(started: Started) -> ExitCode {
    // A full descriptor table could make this fail; the game runs on with the old ones.
    let _ = start::leave_stdio();
    let Started { game, console, writer, mut listener, exit_file, child_signal } = started;
    let mut run = Run {
        game,
        console,
        output: Output::Open,
        input: Input::default(),
        known_ids: KnownIds::default(),
        writer,
        throttle: Throttle::new(Instant::now()),
        phase: Phase::Running,
        buffer: vec![0; PAYLOAD_BYTES_MAX],
    };
    let mut clients: Vec<Client> = Vec::with_capacity(CLIENTS_MAX);
    system::give_back_memory();
    let mut rung = run.writer.position();
    let status = loop {
        let now = Instant::now();
        if let Phase::Over { status } = run.phase {
            break status;
        }
        let (reads, deadline) = run.plan(now);
        let until = deadline.map_or(listener.check_at(), |deadline| deadline.min(listener.check_at()));
        let woken = wait(&run, reads, &child_signal, listener.socket(), &clients, until.saturating_duration_since(now));
        if woken.output {
            run.read_output();
        }
        if woken.input {
            run.flush_input();
        }
        if woken.child {
            if system::take_signals(&child_signal) {
                run.asked_to_end();
            }
            run.reap();
        }
        if woken.connection
            && let Some(stream) = listener.accept()
        {
            welcome(&mut clients, stream, &run);
        }
        for (client, _) in clients.iter_mut().zip(woken.readable).filter(|(_, readable)| *readable) {
            client.receive();
            client.requests(|request| run.deal(request));
        }
        run.advance(Instant::now());
        listener.check(Instant::now());
        let (pos, line) = run.writer.position();
        for client in &mut clients {
            if rung != (pos, line) {
                client.ring();
            }
            client.flush(pos, line);
        }
        rung = (pos, line);
        clients.retain(Client::is_open);
    };
    let (pos, line) = run.finish(status, &exit_file);
    listener.unlink();
    // The lock is free before anybody is told: who hears of the end may start the next run at once.
    drop(run);
    farewell(clients, &Reply::Exited { status, pos, line });
    let exit = ExitPayload { status, ..ExitPayload::default() };
    let code = exit.code().unwrap_or_else(|| 128 + exit.signal().unwrap_or(0));
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

/// Waits for anything to happen, at most this long.
fn wait(
    run: &Run,
    reads: bool,
    child_signal: &OwnedFd,
    listener: &impl AsFd,
    clients: &[Client],
    timeout: Duration,
) -> Woken {
    let mut fds = Vec::with_capacity(4 + CLIENTS_MAX);
    fds.push(PollFd::new(child_signal, PollFlags::IN));
    fds.push(PollFd::new(listener, PollFlags::IN));
    // A descriptor without interest would still report a hang-up, again and again: point to a quiet one instead.
    let output = if reads { run.console.output.as_fd() } else { child_signal.as_fd() };
    fds.push(PollFd::from_borrowed_fd(output, if reads { PollFlags::IN } else { PollFlags::empty() }));
    let writes = run.input.queued_bytes() > 0;
    let input = if writes { run.console.input.as_fd() } else { child_signal.as_fd() };
    fds.push(PollFd::from_borrowed_fd(input, if writes { PollFlags::OUT } else { PollFlags::empty() }));
    for client in clients {
        let write = if client.wants_to_write() { PollFlags::OUT } else { PollFlags::empty() };
        fds.push(PollFd::new(client.stream(), PollFlags::IN | write));
    }
    let mut woken = Woken::default();
    // Interrupted or out of memory: look again; deadlines are looked at in any case.
    if rustix::event::poll(&mut fds, Some(&timespec(timeout))).is_err() {
        return woken;
    }
    let happened: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
    if let [child, connection, output, input, rest @ ..] = happened.as_slice() {
        woken.child = !child.is_empty();
        woken.connection = !connection.is_empty();
        woken.output = reads && !output.is_empty();
        woken.input = writes && !input.is_empty();
        for (readable, events) in woken.readable.iter_mut().zip(rest) {
            *readable = events.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR);
        }
    }
    woken
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

fn welcome(clients: &mut Vec<Client>, stream: UnixStream, run: &Run) {
    if clients.len() < CLIENTS_MAX {
        let mut client = Client::new(stream);
        client.send(&Reply::Hello(run.hello()));
        clients.push(client);
    }
}

/// Tells everybody, for a moment.
fn farewell(mut clients: Vec<Client>, news: &Reply) {
    let until = Instant::now() + FAREWELL;
    for client in &mut clients {
        client.send(news);
    }
    loop {
        for client in &mut clients {
            client.flush(0, 0);
        }
        clients.retain(|client| client.is_open() && client.wants_to_write());
        let left = until.saturating_duration_since(Instant::now());
        if clients.is_empty() || left.is_zero() {
            return;
        }
        let mut fds: Vec<PollFd<'_>> =
            clients.iter().map(|client| PollFd::new(client.stream(), PollFlags::OUT)).collect();
        if rustix::event::poll(&mut fds, Some(&timespec(left))).is_err_and(|errno| errno != Errno::INTR) {
            return;
        }
    }
}
