//! The deterministic game: does what its flags say and proves by its text that nothing was lost, doubled or reordered.
//!
//! ```text
//!            ready-after                 stop command, signal, --exit-when-done
//! Starting ---------------> Running ------------------------------------------> Stopping --stop-delay--> exit-code
//!     |                        |
//!     +--- crash-after --------+--> dies at once (exit status or SIGSEGV), without a word
//! ```

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::inbox::{Event, Inbox};
use crate::{sys, units};

mod line;
mod load;
mod options;
mod pace;

use load::Load;
pub use options::PlayArgs;
use pace::Pace;

/// How much to write in one go when there is no rate to keep.
const BATCH_BYTES: usize = 64 * 1024;
/// The exit status of a crash when no other was asked for.
const EXIT_CRASHED: u8 = 1;
/// What these signals mean to a game that was not told otherwise: stop.
const STOP_SIGNALS: [i32; 3] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP];

/// How the game ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Exit(u8),
    Segfault,
}

enum State {
    Starting { ready_at: Instant },
    Running { pace: Pace },
    Stopping { stopped_at: Instant },
}

struct Game<'a> {
    args: &'a PlayArgs,
    /// Standard output without Rust's line buffer, which would cut our batches into pieces.
    out: File,
    state: State,
    next_line: u64,
    /// Lines that `burst` still owes.
    burst_left: u64,
    stop_signals_seen: u32,
    crash_at: Option<Instant>,
    /// What is held or kept busy only to be measured; dropped with the game.
    _load: Option<Load>,
}

/// Plays until the end and returns the exit status. Fails only when the output is gone.
pub(crate) fn run(args: &PlayArgs) -> io::Result<u8> {
    let mut out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    match load::role() {
        Some(load::Role::Child { leave_session }) => return Ok(load::live_as_child(leave_session)),
        Some(load::Role::Daemon) => sys::leave_session(),
        None if args.daemonize => return load::continue_in_background(&mut out),
        None => {}
    }
    let inbox = Inbox::open(!args.ignore_stdin, caught_signals(args))?;
    let started = Instant::now();
    out.write_all(format!("fakegame pid={}{}", std::process::id(), args.line_end()).as_bytes())?;
    let load = Load::begin(args, &mut out)?;
    let mut game = Game {
        args,
        out,
        state: State::Starting { ready_at: started + args.ready_after },
        next_line: args.first,
        burst_left: 0,
        stop_signals_seen: 0,
        crash_at: args.crash_at(started),
        _load: Some(load),
    };
    match game.play(&inbox)? {
        End::Exit(status) => Ok(status),
        End::Segfault => sys::segfault(),
    }
}

fn caught_signals(args: &PlayArgs) -> Vec<i32> {
    let mut signals = args.ignore_signals.clone();
    if !args.die_by_signal {
        signals.extend(STOP_SIGNALS);
    }
    signals.sort_unstable();
    signals.dedup();
    signals
}

impl Game<'_> {
    fn play(&mut self, inbox: &Inbox) -> io::Result<End> {
        loop {
            let now = Instant::now();
            if self.crash_at.is_some_and(|at| at <= now) {
                return Ok(if self.args.segv { End::Segfault } else { End::Exit(self.args.crash_status()) });
            }
            if let Some(end) = self.advance(now)? {
                return Ok(end);
            }
            if let Some(event) = inbox.next(self.deadline(now))
                && let Some(end) = self.take(event)?
            {
                return Ok(end);
            }
        }
    }

    /// When something is to be done by itself; `None` when only an event can bring the game on.
    fn deadline(&self, now: Instant) -> Option<Instant> {
        let own = match &self.state {
            State::Starting { ready_at } => Some(*ready_at),
            State::Stopping { stopped_at } => Some(*stopped_at),
            State::Running { .. } if self.burst_left > 0 => Some(now),
            State::Running { pace } => pace.next_due(now).filter(|_| self.lines_left() > 0),
        };
        own.into_iter().chain(self.crash_at).min()
    }

    fn lines_left(&self) -> u64 {
        match self.args.lines {
            Some(lines) => lines.saturating_sub(self.next_line - self.args.first),
            None => u64::MAX,
        }
    }

    /// Does whatever is due at `now`.
    fn advance(&mut self, now: Instant) -> io::Result<Option<End>> {
        match &mut self.state {
            State::Starting { ready_at } if *ready_at <= now => self.become_ready(now)?,
            State::Stopping { stopped_at } if *stopped_at <= now => {
                self.say("stopped")?;
                return Ok(Some(End::Exit(self.args.exit_code.unwrap_or(0))));
            }
            State::Running { pace } => {
                let due = pace.take_due(now);
                let due = due.min(self.lines_left()).saturating_add(self.burst_left);
                let written = self.write_lines(due)?;
                self.burst_left = self.burst_left.saturating_sub(written);
                if self.args.exit_when_done && self.lines_left() == 0 && self.burst_left == 0 {
                    self.stop("done")?;
                }
            }
            State::Starting { .. } | State::Stopping { .. } => {}
        }
        Ok(None)
    }

    fn become_ready(&mut self, now: Instant) -> io::Result<()> {
        if !self.args.ready_line.is_empty() {
            self.say(&self.args.ready_line)?;
        }
        if let Some(length) = self.args.long_line {
            let mut text = line::long(length);
            text.extend_from_slice(self.args.line_end().as_bytes());
            self.out.write_all(&text)?;
        }
        self.state = State::Running { pace: Pace::new(self.args.rate_wanted(), now) };
        self.prompt()
    }

    /// Writes up to `due` lines in one go, fewer when they are many, and returns how many.
    fn write_lines(&mut self, due: u64) -> io::Result<u64> {
        let mut batch = Vec::new();
        let mut written = 0;
        while written < due && batch.len() < BATCH_BYTES {
            line::push(&mut batch, self.next_line, self.args);
            self.next_line += 1;
            written += 1;
        }
        self.out.write_all(&batch)?;
        Ok(written)
    }

    fn take(&mut self, event: Event) -> io::Result<Option<End>> {
        match event {
            Event::InputEnded => Ok(None),
            Event::Signal(signal) => self.take_signal(signal).map(|()| None),
            Event::Line(text) if matches!(self.state, State::Stopping { .. }) => {
                // A real game that saves its world does not listen any more; say so, a test may count the lines.
                self.say(&format!("ignored while stopping: {}", String::from_utf8_lossy(&text))).map(|()| None)
            }
            Event::Line(text) => self.take_line(&text),
        }
    }

    fn take_signal(&mut self, signal: i32) -> io::Result<()> {
        let name = units::signal_name(signal);
        if self.args.ignore_signals.contains(&signal) {
            return self.say(&format!("ignored: {name}"));
        }
        self.stop_signals_seen += 1;
        if self.stop_signals_seen < self.args.signals_needed {
            return self.say(&format!("{name}: {} of {}", self.stop_signals_seen, self.args.signals_needed));
        }
        self.stop(&name)
    }

    fn take_line(&mut self, text: &[u8]) -> io::Result<Option<End>> {
        let command = text.strip_suffix(b"\r").unwrap_or(text);
        if self.args.echo_stdin {
            let mut answer = b"cmd: ".to_vec();
            answer.extend_from_slice(text);
            answer.extend_from_slice(self.args.line_end().as_bytes());
            self.out.write_all(&answer)?;
        }
        if command == self.args.stop_command.as_bytes() && !command.is_empty() {
            self.stop("command")?;
            return Ok(None);
        }
        if self.args.obey
            && let Some(end) = self.obey(command)?
        {
            return Ok(Some(end));
        }
        self.prompt()?;
        Ok(None)
    }

    /// The commands with which a test steers a running game, see `--obey`.
    fn obey(&mut self, command: &[u8]) -> io::Result<Option<End>> {
        let split = command.iter().position(|byte| *byte == b' ').unwrap_or(command.len());
        let (word, rest) = command.split_at(split);
        let rest = rest.strip_prefix(b" ").unwrap_or(rest);
        let number = std::str::from_utf8(rest).unwrap_or_default();
        match word {
            b"raw" => self.out.write_all(&units::unescape(rest))?,
            b"segv" => return Ok(Some(End::Segfault)),
            b"exit" => return Ok(Some(End::Exit(number.parse().unwrap_or(0)))),
            b"burst" => match number.parse::<u64>() {
                Ok(lines) => self.burst_left = self.burst_left.saturating_add(lines),
                Err(_) => self.say("burst needs a number of lines")?,
            },
            b"rate" => match (units::rate(number), &mut self.state) {
                (Ok(rate), State::Running { pace }) => *pace = Pace::new(Some(rate), Instant::now()),
                (Ok(_), _) => self.say("rate is for a running game")?,
                (Err(error), _) => self.say(&error)?,
            },
            _ => {}
        }
        Ok(None)
    }

    fn stop(&mut self, why: &str) -> io::Result<()> {
        if !matches!(self.state, State::Stopping { .. }) {
            self.say(&format!("stopping: {why}"))?;
            self.state = State::Stopping { stopped_at: Instant::now() + self.args.stop_delay };
        }
        Ok(())
    }

    fn say(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(format!("{text}{}", self.args.line_end()).as_bytes())
    }

    fn prompt(&mut self) -> io::Result<()> {
        match &self.args.no_newline_prompt {
            Some(prompt) => self.out.write_all(prompt.as_bytes()),
            None => Ok(()),
        }
    }
}

impl PlayArgs {
    /// A number of lines without a rate means: at once.
    fn rate_wanted(&self) -> Option<f64> {
        self.rate.or(self.lines.map(|_| 0.0))
    }

    fn crash_at(&self, started: Instant) -> Option<Instant> {
        let after = self.crash_after.or(self.segv.then_some(Duration::ZERO))?;
        Some(started + after)
    }

    fn crash_status(&self) -> u8 {
        self.exit_code.unwrap_or(EXIT_CRASHED)
    }
}
