//! Everything that reaches the game from outside: lines of its standard input and signals, in one channel.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::sys;

/// How many events may wait for the game; more stay in the pipe, whose writer then has to wait.
const EVENTS_MAX: usize = 1024;
/// A longer line of input is handed over in pieces of this size.
const INPUT_LINE_BYTES_MAX: u64 = 1024 * 1024;
/// How long to wait when nothing is due at all.
const IDLE_WAIT: Duration = Duration::from_hours(1);

/// Something that came in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A line of standard input, without its line end `\n`.
    Line(Vec<u8>),
    /// Standard input has ended; nothing follows.
    InputEnded,
    /// A signal that was blocked for us.
    Signal(i32),
}

/// The receiving end of it all.
pub(crate) struct Inbox {
    events: Receiver<Event>,
    // Held so that the channel stays open when both threads have ended; receiving then simply waits.
    _sender: SyncSender<Event>,
}

impl Inbox {
    /// Starts the threads that wait for input (if `read_input`) and for `signals`, blocking these in this thread.
    pub(crate) fn open(read_input: bool, signals: Vec<i32>) -> io::Result<Self> {
        sys::block_signals(&signals);
        let (sender, events) = sync_channel(EVENTS_MAX);
        if read_input {
            let sender = sender.clone();
            thread::Builder::new().name("stdin".to_owned()).spawn(move || forward_input(&sender))?;
        }
        if !signals.is_empty() {
            let sender = sender.clone();
            thread::Builder::new().name("signals".to_owned()).spawn(move || {
                while let Some(signal) = sys::wait_for_signal(&signals) {
                    if sender.send(Event::Signal(signal)).is_err() {
                        break;
                    }
                }
            })?;
        }
        Ok(Self { events, _sender: sender })
    }

    /// The next event, or `None` when `until` has come first.
    pub(crate) fn next(&self, until: Option<Instant>) -> Option<Event> {
        loop {
            let wait = until.map_or(IDLE_WAIT, |until| until.saturating_duration_since(Instant::now()));
            match self.events.recv_timeout(wait) {
                Ok(event) => return Some(event),
                Err(RecvTimeoutError::Timeout) if until.is_none() => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            }
        }
    }
}

fn forward_input(sender: &SyncSender<Event>) {
    let mut input = io::stdin().lock();
    loop {
        let mut line = Vec::new();
        match input.by_ref().take(INPUT_LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        if sender.send(Event::Line(line)).is_err() {
            return;
        }
    }
    // Nobody receives any more when this fails, and nothing is lost.
    let _ = sender.send(Event::InputEnded);
}
