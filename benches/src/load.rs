//! The load: one thread that holds every connection, reads what comes and looks at each line of each: is one missing, did one come
//! twice or late, how long was it on its way.

use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use hdrhistogram::Histogram;
use rustix::event::epoll;

use crate::frame::{self, Frame};
use crate::line::{self, Stamp};

/// Read at once from a connection.
const READ_BYTES: usize = 256 * 1024;
const EVENTS: usize = 1024;
/// How often orders are looked for.
const LOOK: Duration = Duration::from_millis(2);
/// A pong without a payload; a client's frames are masked, with zeros here.
const PONG: [u8; 6] = [0x8a, 0x80, 0, 0, 0, 0];
/// The longest delay that is told apart: 100 s in microseconds.
const DELAY_MAX_US: u64 = 100_000_000;

/// What came to a group of connections since it was last asked.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    pub(crate) lines: u64,
    /// Frames that are no lines: figures, states.
    pub(crate) others: u64,
    pub(crate) bytes: u64,
    /// Numbers that were left out.
    pub(crate) lost: u64,
    /// Numbers that came again or late.
    pub(crate) repeated: u64,
    /// Connections that ended.
    pub(crate) ended: u64,
    /// The least number that every connection has seen.
    pub(crate) all_seen: Option<u64>,
    /// Microseconds from print to here.
    pub(crate) delays: Histogram<u32>,
}

impl Tally {
    #[allow(clippy::expect_used)]
    fn new() -> Self {
        let delays = Histogram::new_with_bounds(1, DELAY_MAX_US, 2).expect("bounds that make sense");
        Self { lines: 0, others: 0, bytes: 0, lost: 0, repeated: 0, ended: 0, all_seen: None, delays }
    }

    /// Nothing lost, repeated or cut off.
    pub(crate) fn is_whole(&self) -> bool {
        self.lost == 0 && self.repeated == 0 && self.ended == 0
    }
}

/// Which connections belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Group(usize);

enum Order {
    Add(Vec<TcpStream>, mpsc::SyncSender<Group>),
    /// Tell, and count anew.
    Take(Group, mpsc::SyncSender<Tally>),
    /// Tell what there is.
    Look(Group, mpsc::SyncSender<Tally>),
    Drop(Group),
}

/// See the module. It ends when dropped.
pub(crate) struct Load {
    orders: Option<mpsc::SyncSender<Order>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Load {
    /// Begins, on this core.
    pub(crate) fn on(core: usize) -> Self {
        let (orders, given) = mpsc::sync_channel(1);
        let thread = std::thread::spawn(move || {
            crate::cpu::pin(core);
            Loop::new(given)?.run()
        });
        Self { orders: Some(orders), thread: Some(thread) }
    }

    /// Adds connections whose next bytes begin a frame.
    pub(crate) fn add(&self, streams: Vec<TcpStream>) -> Group {
        self.ask(|reply| Order::Add(streams, reply))
    }

    /// What came since this was last called.
    pub(crate) fn take(&self, group: Group) -> Tally {
        self.ask(|reply| Order::Take(group, reply))
    }

    /// What has come so far; it counts on.
    pub(crate) fn look(&self, group: Group) -> Tally {
        self.ask(|reply| Order::Look(group, reply))
    }

    /// Hangs up.
    pub(crate) fn end(&self, group: Group) {
        if let Some(orders) = &self.orders {
            let _ = orders.send(Order::Drop(group));
        }
    }

    /// Waits until every connection has seen this number.
    pub(crate) fn wait_for(&self, group: Group, seq: u64, limit: Duration) -> Result<Tally, String> {
        let until = std::time::Instant::now() + limit;
        loop {
            let tally = self.look(group);
            if tally.all_seen.is_some_and(|seen| seen >= seq) {
                return Ok(tally);
            }
            if std::time::Instant::now() >= until {
                return Err(format!(
                    "not all have seen line {seq} after {limit:?}: {:?}, {} ended",
                    tally.all_seen, tally.ended
                ));
            }
            std::thread::sleep(LOOK);
        }
    }

    #[allow(clippy::expect_used)]
    fn ask<T>(&self, order: impl FnOnce(mpsc::SyncSender<T>) -> Order) -> T {
        let (reply, answer) = mpsc::sync_channel(1);
        self.orders.as_ref().expect("until it is dropped").send(order(reply)).expect("the load's thread");
        answer.recv().expect("the load's thread")
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Connection {
    stream: TcpStream,
    group: usize,
    /// The beginning of a frame whose end has not come.
    partial: Vec<u8>,
    seen: Option<u64>,
}

struct Loop {
    orders: mpsc::Receiver<Order>,
    epoll: std::os::fd::OwnedFd,
    connections: Vec<Option<Connection>>,
    tallies: Vec<Tally>,
    buffer: Vec<u8>,
}

impl Loop {
    fn new(orders: mpsc::Receiver<Order>) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self { orders, epoll, connections: Vec::new(), tallies: Vec::new(), buffer: vec![0; READ_BYTES] })
    }

    fn run(mut self) -> io::Result<()> {
        let mut events = [const { MaybeUninit::<epoll::Event>::uninit() }; EVENTS];
        loop {
            loop {
                match self.orders.try_recv() {
                    Ok(order) => self.obey(order)?,
                    Err(mpsc::TryRecvError::Empty) => break,
                    Err(mpsc::TryRecvError::Disconnected) => return Ok(()),
                }
            }
            let timeout = rustix::time::Timespec { tv_sec: 0, tv_nsec: LOOK.subsec_nanos().into() };
            let ready = match epoll::wait(&self.epoll, &mut events[..], Some(&timeout)) {
                Ok((ready, _)) => ready,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            for event in ready {
                self.read(usize::try_from(event.data.u64()).unwrap_or(usize::MAX));
            }
        }
    }

    fn obey(&mut self, order: Order) -> io::Result<()> {
        match order {
            Order::Add(streams, reply) => {
                let group = self.tallies.len();
                self.tallies.push(Tally::new());
                for stream in streams {
                    stream.set_nonblocking(true)?;
                    let data = epoll::EventData::new_u64(self.connections.len() as u64);
                    epoll::add(&self.epoll, &stream, data, epoll::EventFlags::IN)?;
                    self.connections.push(Some(Connection { stream, group, partial: Vec::new(), seen: None }));
                }
                let _ = reply.send(Group(group));
            }
            Order::Take(Group(group), reply) => {
                let tally = self.tally(group);
                self.tallies[group] = Tally::new();
                let _ = reply.send(tally);
            }
            Order::Look(Group(group), reply) => drop(reply.send(self.tally(group))),
            Order::Drop(Group(group)) => {
                for connection in &mut self.connections {
                    if connection.as_ref().is_some_and(|connection| connection.group == group) {
                        *connection = None;
                    }
                }
            }
        }
        Ok(())
    }

    fn tally(&self, group: usize) -> Tally {
        let seen = self.connections.iter().flatten().filter(|connection| connection.group == group);
        // None for one is less than a number for all others.
        let all_seen = seen.map(|connection| connection.seen).min().flatten();
        Tally { all_seen, ..self.tallies[group].clone() }
    }

    fn read(&mut self, index: usize) {
        let Some(Some(connection)) = self.connections.get_mut(index) else { return };
        let tally = &mut self.tallies[connection.group];
        let kept = connection.partial.len();
        self.buffer[..kept].copy_from_slice(&connection.partial);
        let ended = match connection.stream.read(&mut self.buffer[kept..]) {
            Ok(0) => true,
            Ok(count) => {
                tally.bytes += count as u64;
                let now_ns = line::now_ns();
                let bytes = &self.buffer[..kept + count];
                let mut at = 0;
                let mut closed = false;
                while let Some(frame) = frame::first(&bytes[at..]) {
                    at += frame.length;
                    closed |= connection.take(&frame, now_ns, tally);
                }
                connection.partial.clear();
                connection.partial.extend_from_slice(&bytes[at..]);
                closed
            }
            Err(error) => !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
        };
        if ended {
            tally.ended += 1;
            self.connections[index] = None;
        }
    }
}

impl Connection {
    /// Counts a frame. Says whether it is the last.
    fn take(&mut self, frame: &Frame<'_>, now_ns: u64, tally: &mut Tally) -> bool {
        match frame.opcode {
            frame::CLOSE => return true,
            // Its own small write; when it does not fit the next ping is answered.
            frame::PING => drop((&self.stream).write(&PONG)),
            frame::TEXT => match line::stamp(frame.payload) {
                Some(Stamp { seq, at_ns }) => {
                    match self.seen.map(|seen| seq.checked_sub(seen + 1)) {
                        None | Some(Some(0)) => {}
                        Some(Some(left_out)) => tally.lost += left_out,
                        Some(None) => {
                            tally.repeated += 1;
                            return false;
                        }
                    }
                    self.seen = Some(seq);
                    tally.lines += 1;
                    tally.delays.saturating_record((now_ns.saturating_sub(at_ns) / 1000).max(1));
                }
                None => tally.others += 1,
            },
            _ => {}
        }
        false
    }
}
