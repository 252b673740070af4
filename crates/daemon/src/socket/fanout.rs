//! Sends what is new to everybody who has all that there is: one task for each server, from viewer to viewer, the same bytes for
//! all of them. What a line costs for one more viewer is what the kernel takes for it.
//!
//! A connection *sits* while it has nothing to do but wait for lines and samples; the walk writes to its socket meanwhile, and wakes
//! nobody. It *stands* for everything else: what it is told, a change of state, history, a socket that is full. It takes with it where it
//! is and what of a frame is still to be written, and goes on by itself, as far behind as it may be, until it sits again. Nobody
//! who does not read is waited for.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use engine::window::Window;
use futures_util::task::AtomicWaker;
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use wire::console::Event;
use wire::ids::Seq;
use wire::server::{State, Stats};

use crate::console::{BATCH_BYTES, Lines};
use crate::frame;
use crate::hub::{Hub, Read};
use crate::server::Server;
use crate::socket::sample_text;

/// Viewers between two chances for other tasks.
const STEP: usize = 64;
/// So many lines wait for no more to go with them.
const FULL_LINES: u64 = 256;

/// The seats of one server.
#[derive(Default)]
pub(crate) struct Fanout {
    seats: Mutex<Seats>,
    /// The last one has gone.
    deserted: Notify,
}

/// A seat keeps its index as long as its connection lasts, so that a walk under way misses nobody.
#[derive(Default)]
struct Seats {
    all: Vec<Option<Arc<Seat>>>,
    free: Vec<usize>,
    is_walked: bool,
}

/// Where one connection sits, or does not.
pub(super) struct Seat {
    stream: Arc<TcpStream>,
    is_numbered: bool,
    place: Mutex<Place>,
    has_to_stand: AtomicBool,
    task: AtomicWaker,
}

#[derive(Default)]
struct Place {
    is_taken: bool,
    taken: Taken,
    left: Left,
}

/// How somebody sits down.
#[derive(Clone, Copy, Default)]
pub(super) struct Taken {
    /// The next line.
    pub(super) next: Seq,
    /// State changes that were told.
    pub(super) changes: u64,
    /// Whether samples are wanted.
    pub(super) with_stats: bool,
}

/// What somebody who stands up takes along.
#[derive(Default)]
pub(super) struct Left {
    /// The next line.
    pub(super) next: Seq,
    /// Frames of which only so many bytes are written.
    pub(super) begun: Option<(Bytes, usize)>,
    /// When something was written last.
    pub(super) sent_at: Option<Instant>,
    /// The sample that was told last.
    pub(super) sample: Option<Stats>,
}

/// A connection's own part of its seat. Dropped, the seat is free.
pub(super) struct Membership {
    server: Server,
    seat: Arc<Seat>,
    index: usize,
}

impl Fanout {
    /// A seat for a connection, and whether somebody has to begin to [`walk`].
    pub(super) fn join(server: &Server, stream: Arc<TcpStream>, is_numbered: bool) -> (Membership, bool) {
        let seat = Arc::new(Seat {
            stream,
            is_numbered,
            place: Mutex::default(),
            has_to_stand: AtomicBool::new(false),
            task: AtomicWaker::new(),
        });
        let mut seats = server.fanout().seats();
        let index = seats.free.pop().unwrap_or_else(|| {
            seats.all.push(None);
            seats.all.len() - 1
        });
        if let Some(place) = seats.all.get_mut(index) {
            *place = Some(seat.clone());
        }
        let begin = !std::mem::replace(&mut seats.is_walked, true);
        (Membership { server: server.clone(), seat, index }, begin)
    }

    fn leave(&self, index: usize) {
        let mut seats = self.seats();
        if let Some(place) = seats.all.get_mut(index) {
            *place = None;
        }
        seats.free.push(index);
        if seats.free.len() == seats.all.len() {
            (seats.all, seats.free) = (Vec::new(), Vec::new());
            self.deserted.notify_one();
        }
    }

    /// Ends the walk when nobody is left.
    fn is_over(&self) -> bool {
        let mut seats = self.seats();
        seats.is_walked = !seats.all.is_empty();
        !seats.is_walked
    }

    /// Some of the seats, from an index on; none behind the last.
    fn some(&self, from: usize) -> Option<Vec<Arc<Seat>>> {
        let seats = self.seats();
        let some = seats.all.get(from..).filter(|rest| !rest.is_empty())?;
        Some(some.iter().take(STEP).flatten().cloned().collect())
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Membership {
    /// Sits down; only to stand up again if there is something new already, a sample among it.
    pub(super) fn sit(&self, taken: Taken, has_sample: impl FnOnce() -> bool) {
        {
            let mut place = self.seat.place();
            self.seat.has_to_stand.store(false, Ordering::Relaxed);
            place.is_taken = true;
            place.taken = taken;
        }
        // What came before that was not for somebody who stood; what comes from here on finds the seat taken.
        let hub = self.server.console().hub();
        if hub.next() > taken.next || hub.changes() != taken.changes || has_sample() {
            self.seat.get_up(&mut self.seat.place());
        }
    }

    /// Stands up.
    pub(super) fn stand(&self) -> Left {
        let mut place = self.seat.place();
        place.is_taken = false;
        Left { next: place.taken.next, ..std::mem::take(&mut place.left) }
    }

    /// Waits until the walk can do no more for this one. Cancel-safe.
    pub(super) async fn has_to_stand(&self) {
        poll_fn(|cx| {
            self.seat.task.register(cx.waker());
            if self.seat.has_to_stand.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.server.fanout().leave(self.index);
    }
}

impl Seat {
    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rest is for the connection itself.
    fn get_up(&self, place: &mut Place) {
        place.is_taken = false;
        self.has_to_stand.store(true, Ordering::Release);
        self.task.wake();
    }

    /// Writes whole frames. Whether they are on their way; if not, the connection has to do something about it.
    fn write(&self, place: &mut Place, frames: &Bytes, now: Instant) -> bool {
        if frames.is_empty() {
            return true;
        }
        match self.stream.try_write(frames) {
            Ok(written) => {
                place.left.sent_at = Some(now);
                if written < frames.len() {
                    place.left.begun = Some((frames.clone(), written));
                    self.get_up(place);
                }
                true
            }
            Err(_) => {
                self.get_up(place);
                false
            }
        }
    }
}

/// What all viewers of a kind who are at the same line get.
struct Portion {
    from: Seq,
    is_numbered: bool,
    frames: Bytes,
    to: Seq,
    /// Ready for the other protocol as well.
    _lines: Lines,
}

/// What one walk has made so far.
struct Portions<'a> {
    hub: &'a Hub,
    made: Vec<Portion>,
}

impl Portions<'_> {
    /// None when the lines are not in memory any more.
    fn get(&mut self, from: Seq, is_numbered: bool) -> Option<&Portion> {
        let is_it = |portion: &Portion| portion.from == from && portion.is_numbered == is_numbered;
        // Those who came later are at the end, and most of a walk is about one portion.
        if let Some(at) = self.made.iter().position(is_it) {
            return self.made.get(at);
        }
        let Read::Lines(lines) = self.hub.read(from, BATCH_BYTES) else { return None };
        let (frames, to) = (lines.frames(is_numbered), lines.end().unwrap_or(from));
        self.made.push(Portion { from, is_numbered, frames, to, _lines: lines });
        self.made.last()
    }
}

/// Sends new lines and samples to everybody who sits, until nobody has a seat any more.
pub(super) async fn walk(server: Server, always_args: bool) {
    let (fanout, hub) = (server.fanout(), server.console().hub());
    let (mut head, mut changed, mut stats) = (hub.head(), hub.changed(), server.stats());
    changed.mark_changed();
    let (mut window, started) = (Window::default(), Instant::now());
    let mut done = hub.next();
    // Who sat down before this began may have missed something.
    let mut is_behind = true;
    loop {
        if fanout.is_over() {
            hub.rest();
            return;
        }
        if is_behind {
            let walked = lines(fanout, hub).await;
            is_behind = !walked.is_done;
            if walked.is_done {
                let sent = walked.to.0.saturating_sub(done.0);
                done = walked.to;
                let wait = window.walked(micros(started.elapsed()), micros(walked.took), sent);
                if wait > 0 {
                    // A batch that is full goes at once.
                    let full = Seq(done.0.saturating_add(FULL_LINES));
                    tokio::select! {
                        () = tokio::time::sleep(Duration::from_micros(wait)) => {}
                        () = reaches(&mut head, full) => {}
                        // Whoever gets up has the lines in front of it by itself.
                        Ok(()) = changed.changed() => rouse(fanout, hub).await,
                    }
                }
            }
            continue;
        }
        tokio::select! {
            biased;
            Ok(()) = changed.changed() => rouse(fanout, hub).await,
            // In front of the lines, of which there may always be more.
            Ok(()) = stats.changed() => {
                let sample = *stats.borrow_and_update();
                // The sample of an end comes behind the end, which connections tell themselves.
                let frame = (sample.state != State::Offline)
                    .then(|| frame::text(Event::Stats(sample_text(&sample)).frame(always_args)));
                samples(fanout, hub, sample, frame.as_ref()).await;
            }
            () = reaches(&mut head, done.next()) => is_behind = true,
            () = fanout.deserted.notified() => {}
        }
    }
}

/// Waits for the head. Nothing is held of it.
async fn reaches(head: &mut watch::Receiver<Seq>, seq: Seq) {
    if head.wait_for(|head| *head >= seq).await.is_err() {
        // The console is there as long as we are.
        std::future::pending::<()>().await;
    }
}

/// What came of one walk.
struct Walked {
    /// Where it has got to.
    to: Seq,
    /// Whether everybody who sits is there.
    is_done: bool,
    /// What it took, without what others did meanwhile.
    took: Duration,
}

/// One walk with lines.
async fn lines(fanout: &Fanout, hub: &Hub) -> Walked {
    let head = hub.next();
    let changes = hub.changes();
    let mut portions = Portions { hub, made: Vec::new() };
    let (mut is_done, mut took) = (true, Duration::ZERO);
    let mut from = 0;
    while let Some(seats) = fanout.some(from) {
        let now = Instant::now();
        for seat in seats {
            let mut place = seat.place();
            if !place.is_taken || place.taken.next >= head {
                continue;
            }
            // Lines in front of a change and behind it: the connection has them in order.
            let portion =
                if place.taken.changes == changes { portions.get(place.taken.next, seat.is_numbered) } else { None };
            match portion {
                Some(portion) if seat.write(&mut place, &portion.frames, now) => {
                    place.taken.next = portion.to;
                    is_done &= portion.to >= head || !place.is_taken;
                }
                Some(_) => {}
                None => seat.get_up(&mut place),
            }
        }
        took += now.elapsed();
        from += STEP;
        tokio::task::yield_now().await;
    }
    Walked { to: head, is_done, took }
}

/// Those who were not told of the last change of the state tell it themselves.
async fn rouse(fanout: &Fanout, hub: &Hub) {
    let changes = hub.changes();
    let mut from = 0;
    while let Some(seats) = fanout.some(from) {
        for seat in seats {
            let mut place = seat.place();
            if place.is_taken && place.taken.changes != changes {
                seat.get_up(&mut place);
            }
        }
        from += STEP;
        tokio::task::yield_now().await;
    }
}

/// One walk with a sample; without a frame, connections have to tell it themselves.
async fn samples(fanout: &Fanout, hub: &Hub, sample: Stats, frame: Option<&Bytes>) {
    let changes = hub.changes();
    let now = Instant::now();
    let mut from = 0;
    while let Some(seats) = fanout.some(from) {
        for seat in seats {
            let mut place = seat.place();
            if !place.is_taken || !place.taken.with_stats {
                continue;
            }
            match frame {
                Some(frame) if place.taken.changes == changes => {
                    if seat.write(&mut place, frame, now) {
                        place.left.sample = Some(sample);
                    }
                }
                _ => seat.get_up(&mut place),
            }
        }
        from += STEP;
        tokio::task::yield_now().await;
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
