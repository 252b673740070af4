//! The limit: what the kernel costs. One epoll loop writes frames that are ready to N sockets; no handshake, no rights, no log.
//!
//! It is told over standard input what to print, one order per line: `rate <lines per second>` (0: none), `burst <lines>`, and
//! `window <ms>`, with which lines of a window go out together. Lines go out one write each unless a socket is behind.

use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::epoll;

use crate::frame;
use crate::line;

const EVENTS: usize = 1024;
const LISTENER: u64 = u64::MAX;
const STDIN: u64 = u64::MAX - 1;
/// Written at once to a socket that is behind.
const WRITE_BYTES_MAX: usize = 256 * 1024;
/// What is kept for sockets that are behind.
const KEPT_BYTES: usize = 256 * 1024 * 1024;

/// See the module.
#[derive(Debug, clap::Args)]
pub(crate) struct LimitArgs {
    /// Length of a line's text
    #[arg(long, default_value_t = 100)]
    line_len: usize,
}

struct Limit {
    args: LimitArgs,
    epoll: std::os::fd::OwnedFd,
    listener: TcpListener,
    viewers: Vec<Viewer>,
    /// Frames, ready to go; `begin` is the position of the first byte.
    kept: Vec<u8>,
    begin: u64,
    next: u64,
    pace: Option<(f64, Instant, u64)>,
    window: Duration,
    /// Since when there is something that nobody was sent.
    unsent_since: Option<Instant>,
}

struct Viewer {
    stream: TcpStream,
    /// What it has got.
    position: u64,
    is_behind: bool,
}

/// Serves until standard input ends. Prints the port first.
pub(crate) fn run(args: LimitArgs) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let mut out = io::stdout();
    writeln!(out, "{}", listener.local_addr()?.port())?;
    out.flush()?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
    epoll::add(&epoll, io::stdin().as_fd(), epoll::EventData::new_u64(STDIN), epoll::EventFlags::IN)?;
    let kept = Vec::new();
    let viewers = Vec::new();
    let window = Duration::ZERO;
    Limit { args, epoll, listener, viewers, kept, begin: 0, next: 0, pace: None, window, unsent_since: None }.serve()
}

impl Limit {
    fn serve(mut self) -> io::Result<()> {
        let mut events = [const { MaybeUninit::<epoll::Event>::uninit() }; EVENTS];
        let mut typed = Vec::new();
        loop {
            let timeout = self.wait().map(|wait| rustix::time::Timespec {
                tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: wait.subsec_nanos().into(),
            });
            let ready = match epoll::wait(&self.epoll, &mut events[..], timeout.as_ref()) {
                Ok((ready, _)) => ready,
                // It was held still meanwhile.
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            for event in ready {
                match event.data.u64() {
                    LISTENER => self.accept()?,
                    STDIN => {
                        let mut bytes = [0; 4096];
                        let count = io::stdin().read(&mut bytes)?;
                        if count == 0 {
                            return Ok(());
                        }
                        typed.extend_from_slice(&bytes[..count]);
                        while let Some(end) = typed.iter().position(|byte| *byte == b'\n') {
                            let order: Vec<u8> = typed.drain(..=end).collect();
                            self.obey(String::from_utf8_lossy(&order).trim());
                        }
                    }
                    viewer => self.send(usize::try_from(viewer).unwrap_or(usize::MAX)),
                }
            }
            self.print_due();
            if self.unsent_since.is_some_and(|since| since.elapsed() >= self.window) {
                self.send_all();
            }
        }
    }

    fn wait(&self) -> Option<Duration> {
        let due = self.pace.map(|(rate, since, given)| since + Duration::from_secs_f64(given_as_f64(given) / rate));
        let send = self.unsent_since.map(|since| since + self.window);
        let at = due.into_iter().chain(send).min()?;
        Some(at.saturating_duration_since(Instant::now()))
    }

    fn accept(&mut self) -> io::Result<()> {
        while let Ok((stream, _)) = self.listener.accept() {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let data = epoll::EventData::new_u64(self.viewers.len() as u64);
            epoll::add(&self.epoll, &stream, data, epoll::EventFlags::empty())?;
            self.viewers.push(Viewer { stream, position: self.end(), is_behind: false });
        }
        Ok(())
    }

    fn obey(&mut self, order: &str) {
        let mut words = order.split_whitespace();
        let word = words.next().unwrap_or_default();
        let number = words.next().and_then(|word| word.parse::<f64>().ok()).unwrap_or_default();
        match word {
            "rate" => self.pace = (number > 0.0).then(|| (number, Instant::now(), 0)),
            "window" => self.window = Duration::from_secs_f64(number / 1000.0),
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of lines")]
            "burst" => self.burst(number as u64),
            _ => {}
        }
    }

    /// Prints as fast as everybody takes it: sockets that are behind get large pieces.
    fn burst(&mut self, lines: u64) {
        for _ in 0..lines {
            self.print();
        }
        self.send_all();
    }

    fn print_due(&mut self) {
        let Some((rate, since, given)) = self.pace else { return };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive and far below")]
        let due = (since.elapsed().as_secs_f64() * rate) as u64 + 1;
        for _ in given..due {
            self.print();
            // A write for each line and viewer: what is behind a window goes out together.
            if self.window.is_zero() {
                self.send_all();
            }
        }
        self.pace = Some((rate, since, due.max(given)));
    }

    fn print(&mut self) {
        let mut text = format!("{{\"event\":\"console output\",\"args\":[\"seq={} t={} ", self.next, line::now_ns());
        self.next += 1;
        let filler = self.args.line_len.saturating_sub(text.len() - 35);
        text.extend(std::iter::repeat_n('x', filler));
        text.push_str("\"]}");
        frame::push_text(&mut self.kept, text.as_bytes());
        self.unsent_since.get_or_insert_with(Instant::now);
    }

    fn end(&self) -> u64 {
        self.begin + self.kept.len() as u64
    }

    fn send_all(&mut self) {
        self.unsent_since = None;
        for index in 0..self.viewers.len() {
            // Who is behind is written to when the kernel says so.
            if !self.viewers[index].is_behind {
                self.send(index);
            }
        }
        if self.kept.len() > KEPT_BYTES || self.viewers.iter().all(|viewer| viewer.position == self.end()) {
            self.begin = self.end();
            self.kept.clear();
        }
    }

    fn send(&mut self, index: usize) {
        let end = self.end();
        let Some(viewer) = self.viewers.get_mut(index) else { return };
        let from = usize::try_from(viewer.position.saturating_sub(self.begin)).unwrap_or(usize::MAX);
        let rest = self.kept.get(from..).unwrap_or_default();
        let written = (&viewer.stream).write(&rest[..rest.len().min(WRITE_BYTES_MAX)]);
        match written {
            Ok(count) => viewer.position += count as u64,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // It has hung up, and is sent no more.
            Err(_) => viewer.position = u64::MAX,
        }
        let is_behind = viewer.position < end;
        if is_behind != viewer.is_behind {
            viewer.is_behind = is_behind;
            let flags = if is_behind { epoll::EventFlags::OUT } else { epoll::EventFlags::empty() };
            let _ = epoll::modify(&self.epoll, &viewer.stream, epoll::EventData::new_u64(index as u64), flags);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 lines")]
fn given_as_f64(given: u64) -> f64 {
    given as f64
}
