//! Watching a console: drives a [`Talk`] over sockets, fetches tokens, and comes back when a connection is lost.

use std::collections::VecDeque;
use std::future::pending;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, sleep_until};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use wire::close::CloseReason;

use crate::client::api::{Grant, Server};
use crate::client::link::{self, Socket};
use crate::client::pace::Backoff;
use crate::client::rest::Rest;
use crate::client::talk::{Do, Lines, Order, Seen, Talk};
use crate::fault::Fault;

/// Events between the socket and whoever shows them; when it is full, reading waits, and the node keeps the lines.
const SEEN_MAX: usize = 1024;
/// Orders under way; one more is refused by [`Watch::order`].
const ORDERS_MAX: usize = 64;
/// Events that an order answered by ourselves may add to those that wait to be shown; beyond it orders wait.
const OWN_EVENTS_MAX: usize = 1024;
/// How long commands that wait for their turn may still go out after somebody has left.
pub(crate) const LEAVE_WAIT: Duration = Duration::from_secs(10);
/// Nothing heard for so long: ask whether the other side is there.
const PING_AFTER: Duration = Duration::from_secs(30);
/// And with no answer to that, the connection counts as lost.
const SILENCE_MAX: Duration = Duration::from_secs(75);
/// The other side gets so long to take one frame.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);
/// A connection that lived so long was a good one: the next loss is met with the shortest wait again.
const STEADY_AFTER: Duration = Duration::from_secs(10);
const STUCK: &str = "the connection does not take anything";

/// A console being watched. Dropping it closes the connection.
#[derive(Debug)]
pub(crate) struct Watch {
    seen: mpsc::Receiver<Seen>,
    orders: mpsc::Sender<Order>,
    leave_by: watch::Sender<Option<Instant>>,
    driver: JoinHandle<Fault>,
}

/// What to do when a connection cannot be had or is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Fail if the first connection cannot be had; come back after a later loss.
    ComeBack,
    /// Fail at the first loss.
    Once,
}

impl Watch {
    /// Begins to connect.
    pub(crate) fn open(rest: Rest, server: &Server, wants: Lines, patience: Patience) -> Self {
        let (seen_in, seen) = mpsc::channel(SEEN_MAX);
        let (orders, orders_out) = mpsc::channel(ORDERS_MAX);
        let (leave_by, leave) = watch::channel(None);
        let driver = Driver {
            rest,
            server: server.uuid.clone(),
            name: crate::output::plain(&server.name),
            patience,
            seen: seen_in,
            orders: orders_out,
            leave,
            waiting: VecDeque::new(),
            backoff: Backoff::default(),
            attached: false,
            attached_at: None,
            hurried: false,
        };
        let talk = Talk::new(wants, Instant::now());
        Self { seen, orders, leave_by, driver: tokio::spawn(driver.run(talk)) }
    }

    /// The next event, or why there will be none any more.
    pub(crate) async fn next(&mut self) -> Result<Seen, Fault> {
        if let Some(seen) = self.seen.recv().await {
            return Ok(seen);
        }
        Err((&mut self.driver)
            .await
            .unwrap_or_else(|error| Fault::Failed(format!("the connection's task ended: {error}"))))
    }

    /// An event that is here already.
    pub(crate) fn try_next(&mut self) -> Option<Seen> {
        self.seen.try_recv().ok()
    }

    /// Hands over an order; false when too many are under way.
    pub(crate) fn order(&self, order: Order) -> bool {
        self.orders.try_send(order).is_ok()
    }

    /// Ends the connection, by then at the latest, as soon as all commands have gone out. Those that have not are named by
    /// [`Seen::NotSent`]; then [`Watch::next`] fails with [`Fault::OutputClosed`].
    pub(crate) fn leave(&self, by: Instant) {
        self.leave_by.send_replace(Some(by));
    }
}

/// Why one connection ended.
enum End {
    /// Nobody watches any more.
    Left,
    /// For good.
    Final(Fault),
    /// For now.
    Lost(String),
    /// For now: rights were changed, and only the panel knows to what.
    Changed,
}

struct Driver {
    rest: Rest,
    /// Uuid.
    server: String,
    /// As people see it.
    name: String,
    patience: Patience,
    seen: mpsc::Sender<Seen>,
    orders: mpsc::Receiver<Order>,
    /// When to end, once somebody has left.
    leave: watch::Receiver<Option<Instant>>,
    /// Events that there is no room for in `seen`. Nothing is read from the socket while there are any, and everything else
    /// goes on: who shows events may be the one who waits for an order to be taken.
    waiting: VecDeque<Seen>,
    backoff: Backoff,
    /// A token was accepted once: whoever watches wants to come back.
    attached: bool,
    /// When it was accepted on the newest connection.
    attached_at: Option<Instant>,
    /// The last attempt did not wait, as the node said that only the token is no good any more.
    hurried: bool,
}

type Renewal = JoinHandle<Result<Grant, Fault>>;

impl Driver {
    /// Until the end, which leaves nothing unsaid.
    async fn run(mut self, mut talk: Talk) -> Fault {
        let fault = self.attend(&mut talk).await;
        talk.ended();
        self.orders.close();
        while let Ok(order) = self.orders.try_recv() {
            talk.order(order, Instant::now());
        }
        self.show_from(&mut talk);
        while let Some(seen) = self.waiting.pop_front() {
            if self.seen.send(seen).await.is_err() {
                break;
            }
        }
        fault
    }

    async fn attend(&mut self, talk: &mut Talk) -> Fault {
        loop {
            let connecting = Box::pin(connect(self.rest.clone(), self.server.clone()));
            let connected = match self.meanwhile(talk, connecting).await {
                Ok(connected) => connected,
                Err(fault) => return fault,
            };
            let why = match connected {
                Ok((socket, ordered, grant)) => {
                    talk.opened(&grant.token, ordered, Instant::now());
                    let end = self.converse(socket, talk).await;
                    if self.attached_at.take().is_some_and(|at| at.elapsed() >= STEADY_AFTER) {
                        self.backoff.reset();
                        self.hurried = false;
                    }
                    match end {
                        End::Left => return Fault::OutputClosed,
                        End::Final(fault) => return fault,
                        End::Lost(why) => why,
                        // Not twice without a good connection between: a node that always says so is not to be pestered.
                        End::Changed if !self.hurried && self.patience == Patience::ComeBack => {
                            self.hurried = true;
                            continue;
                        }
                        End::Changed => CloseReason::Deauthorized.text().to_owned(),
                    }
                }
                Err(fault) if !self.attached => return fault,
                Err(fault) if is_final(&fault) => return self.farewell(fault),
                Err(fault) => fault.to_string(),
            };
            if self.patience == Patience::Once || !self.attached {
                return Fault::Unreachable(format!("the connection was lost: {why}"));
            }
            let wait = self.backoff.next(rand::random());
            let retry_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            self.show(Seen::Lost { why, retry_ms });
            if let Err(fault) = self.meanwhile(talk, sleep(wait)).await {
                return fault;
            }
        }
    }

    /// The panel's last word to somebody who was in before.
    fn farewell(&self, fault: Fault) -> Fault {
        match fault.status() {
            Some(403 | 404) => Fault::Failed(format!("your access to {} was taken away", self.name)),
            _ => fault,
        }
    }

    /// Waits for what is no conversation. Orders are answered meanwhile.
    async fn meanwhile<T>(&mut self, talk: &mut Talk, work: impl Future<Output = T>) -> Result<T, Fault> {
        let seen = self.seen.clone();
        tokio::pin!(work);
        loop {
            self.deliver();
            if self.leave.borrow().is_some() {
                // Without a connection there is nothing to wait for.
                return Err(Fault::OutputClosed);
            }
            let room = self.waiting.len() < OWN_EVENTS_MAX;
            tokio::select! {
                done = &mut work => return Ok(done),
                room = seen.reserve(), if !self.waiting.is_empty() => match room {
                    Ok(room) => if let Some(next) = self.waiting.pop_front() { room.send(next) },
                    Err(_) => return Err(Fault::OutputClosed),
                },
                order = next_order(&mut self.orders), if room => {
                    talk.order(order, Instant::now());
                    self.show_from(talk);
                }
                asked = self.leave.changed() => if asked.is_err() { return Err(Fault::OutputClosed) },
            }
        }
    }

    /// Shows it as soon as there is room.
    fn show(&mut self, seen: Seen) {
        self.waiting.push_back(seen);
    }

    /// Shows what the conversation says, for when there is no socket for the rest.
    fn show_from(&mut self, talk: &mut Talk) {
        self.waiting.extend(talk.actions().into_iter().filter_map(|action| match action {
            Do::Show(seen) => Some(seen),
            Do::Send(_) | Do::Renew | Do::GiveUp(_) => None,
        }));
    }

    /// Hands over what there is room for.
    fn deliver(&mut self) {
        while !self.waiting.is_empty()
            && let Ok(room) = self.seen.try_reserve()
            && let Some(seen) = self.waiting.pop_front()
        {
            room.send(seen);
        }
    }

    async fn converse(&mut self, mut socket: Socket, talk: &mut Talk) -> End {
        let seen = self.seen.clone();
        let mut renewal: Option<Renewal> = None;
        let mut heard = Instant::now();
        let mut pinged = false;
        let end = loop {
            if let Some(end) = self.act(&mut socket, talk, &mut renewal).await {
                break end;
            }
            if self.has_left(&mut socket, talk).await {
                break End::Left;
            }
            self.deliver();
            let (reads, room) = (self.waiting.is_empty(), self.waiting.len() < OWN_EVENTS_MAX);
            let silence = heard + if pinged { SILENCE_MAX } else { PING_AFTER };
            let (deadline, leave_by) = (talk.deadline(), *self.leave.borrow());
            tokio::select! {
                frame = socket.next(), if reads => {
                    (heard, pinged) = (Instant::now(), false);
                    match frame {
                        Some(Ok(Message::Text(text))) => talk.text(text.as_str(), heard),
                        Some(Ok(Message::Close(frame))) => break self.on_close(frame.as_ref(), talk),
                        Some(Ok(_)) => {}
                        Some(Err(error)) => break self.on_loss(&link_text(&error), talk),
                        None => break self.on_loss("the connection ended", talk),
                    }
                }
                room = seen.reserve(), if !reads => {
                    // What came meanwhile was not heard, as nobody listened.
                    heard = Instant::now();
                    match room {
                        Ok(room) => if let Some(next) = self.waiting.pop_front() { room.send(next) },
                        Err(_) => break End::Left,
                    }
                }
                order = next_order(&mut self.orders), if room => talk.order(order, Instant::now()),
                asked = self.leave.changed() => if asked.is_err() { break End::Left },
                answer = finished(&mut renewal) => {
                    renewal = None;
                    match answer {
                        Ok(grant) => talk.token(&grant.token),
                        Err(fault) if is_final(&fault) => break End::Final(self.farewell(fault)),
                        Err(fault) => talk.token_failed(&fault.to_string()),
                    }
                }
                () = until(deadline) => talk.tick(Instant::now()),
                () = until(leave_by) => {}
                () = sleep_until(silence.into()), if reads => {
                    if pinged {
                        break self.on_loss("nothing was heard for too long", talk);
                    }
                    pinged = true;
                    if !in_time(socket.send(Message::Ping(Bytes::new()))).await {
                        break self.on_loss(STUCK, talk);
                    }
                }
            }
        };
        if let Some(renewal) = renewal {
            renewal.abort();
        }
        let farewell = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        // The other side may be gone; then there is nobody to say goodbye to.
        let _ = tokio::time::timeout(Duration::from_secs(1), socket.close(Some(farewell))).await;
        end
    }

    /// Somebody has left, and all that was ordered before is done, or its time is over.
    async fn has_left(&mut self, socket: &mut Socket, talk: &mut Talk) -> bool {
        let Some(by) = *self.leave.borrow() else { return false };
        while let Ok(order) = self.orders.try_recv() {
            talk.order(order, Instant::now());
        }
        // Sends what may go at once. Only whether something waits counts from here on.
        let ended = self.act(socket, talk, &mut None).await.is_some();
        ended || !talk.has_waiting() || Instant::now() >= by
    }

    /// Does what the conversation wants done.
    async fn act(&mut self, socket: &mut Socket, talk: &mut Talk, renewal: &mut Option<Renewal>) -> Option<End> {
        let mut written = false;
        for action in talk.actions() {
            match action {
                Do::Send(frame) => {
                    // What belongs together goes out together, below.
                    written = true;
                    if !in_time(socket.feed(Message::text(frame))).await {
                        return Some(self.on_loss(STUCK, talk));
                    }
                }
                Do::Renew => {
                    let (rest, server) = (self.rest.clone(), self.server.clone());
                    *renewal = Some(tokio::spawn(async move { rest.grant(&server).await }));
                }
                Do::Show(seen) => {
                    if matches!(seen, Seen::Attached { .. }) {
                        self.attached = true;
                        self.attached_at = Some(Instant::now());
                    }
                    self.show(seen);
                }
                Do::GiveUp(why) => return Some(End::Final(Fault::Failed(why))),
            }
        }
        if written && !in_time(socket.flush()).await {
            return Some(self.on_loss(STUCK, talk));
        }
        None
    }

    fn on_close(&mut self, frame: Option<&CloseFrame>, talk: &mut Talk) -> End {
        let Some(frame) = frame else { return self.on_loss("the node closed the connection", talk) };
        let (code, changed) = (u16::from(frame.code), CloseReason::Deauthorized);
        talk.closed(Some(code), frame.reason.as_str());
        self.after(
            talk,
            if code == changed.code() && frame.reason.as_str() == changed.text() {
                End::Changed
            } else {
                End::Lost(link::close_text(code, &frame.reason))
            },
        )
    }

    fn on_loss(&mut self, why: &str, talk: &mut Talk) -> End {
        talk.closed(None, "");
        self.after(talk, End::Lost(why.to_owned()))
    }

    /// Shows what is still to be shown after the socket has gone. The conversation may know that it has gone for good.
    fn after(&mut self, talk: &mut Talk, end: End) -> End {
        for action in talk.actions() {
            match action {
                Do::Show(seen) => self.show(seen),
                Do::GiveUp(why) => return End::Final(Fault::Failed(why)),
                Do::Send(_) | Do::Renew => {}
            }
        }
        end
    }
}

async fn connect(rest: Rest, server: String) -> Result<(Socket, bool, Grant), Fault> {
    let grant = rest.grant(&server).await?;
    let (socket, ordered) = link::open(&grant.socket, &rest.origin()).await?;
    Ok((socket, ordered, grant))
}

/// The next order. That nobody can give one any more is noticed elsewhere.
async fn next_order(orders: &mut mpsc::Receiver<Order>) -> Order {
    match orders.recv().await {
        Some(order) => order,
        None => pending().await,
    }
}

/// Whether asking again cannot help: the panel has decided. What stands between may say anything while the panel is away.
fn is_final(fault: &Fault) -> bool {
    match fault {
        Fault::Refused(problem) => {
            problem.is_the_panels() && matches!(problem.status, 401 | 403 | 404 | 405 | 409 | 422)
        }
        Fault::Usage(_) | Fault::Failed(_) | Fault::OutputClosed => true,
        Fault::Unreachable(_) | Fault::Foreign(_) => false,
    }
}

fn link_text(error: &tokio_tungstenite::tungstenite::Error) -> String {
    crate::client::rest::chain(error)
}

async fn in_time<E>(write: impl Future<Output = Result<(), E>>) -> bool {
    matches!(tokio::time::timeout(WRITE_TIMEOUT, write).await, Ok(Ok(())))
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => pending().await,
    }
}

async fn finished(renewal: &mut Option<Renewal>) -> Result<Grant, Fault> {
    match renewal {
        Some(task) => match task.await {
            Ok(result) => result,
            Err(error) => Err(Fault::Unreachable(format!("the request for a token broke off: {error}"))),
        },
        None => pending().await,
    }
}
