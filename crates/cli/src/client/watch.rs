//! Watching a console: drives a [`Talk`] over sockets, fetches tokens, and comes back when a connection is lost.

use std::future::pending;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use tokio::sync::mpsc;
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
use crate::client::talk::{Do, Order, Seen, Talk};
use crate::fault::Fault;

/// Events between the socket and whoever shows them; when it is full, reading waits, and the node keeps the lines.
const SEEN_MAX: usize = 1024;
/// Orders under way; one more is refused by [`Watch::order`].
const ORDERS_MAX: usize = 64;
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
    pub(crate) fn open(rest: Rest, server: &Server, wants_history: bool, patience: Patience) -> Self {
        let (seen_in, seen) = mpsc::channel(SEEN_MAX);
        let (orders, orders_out) = mpsc::channel(ORDERS_MAX);
        let driver = Driver {
            rest,
            server: server.uuid.clone(),
            name: crate::output::plain(&server.name),
            patience,
            seen: seen_in,
            orders: orders_out,
            backoff: Backoff::default(),
            attached: false,
            attached_at: None,
            hurried: false,
        };
        let talk = Talk::new(wants_history, Instant::now());
        Self { seen, orders, driver: tokio::spawn(driver.run(talk)) }
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
    async fn run(mut self, mut talk: Talk) -> Fault {
        loop {
            let why = match self.connect().await {
                Ok((socket, ordered, grant)) => {
                    talk.opened(&grant.token, ordered, Instant::now());
                    let end = self.converse(socket, &mut talk).await;
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
                Err(fault) if is_final(&fault) => return self.farewell(fault),
                Err(fault) if !self.attached => return fault,
                Err(fault) => fault.to_string(),
            };
            if self.patience == Patience::Once || !self.attached {
                return Fault::Unreachable(format!("the connection was lost: {why}"));
            }
            if let Err(fault) = self.wait(why, &mut talk).await {
                return fault;
            }
        }
    }

    /// The panel's last word to somebody who was in before.
    fn farewell(&self, fault: Fault) -> Fault {
        match fault.status() {
            Some(403 | 404) if self.attached => Fault::Failed(format!("your access to {} was taken away", self.name)),
            _ => fault,
        }
    }

    async fn connect(&self) -> Result<(Socket, bool, Grant), Fault> {
        let grant = self.rest.grant(&self.server).await?;
        let (socket, ordered) = link::open(&grant.socket, &self.rest.origin()).await?;
        Ok((socket, ordered, grant))
    }

    /// Between two attempts. Orders are answered meanwhile.
    async fn wait(&mut self, why: String, talk: &mut Talk) -> Result<(), Fault> {
        let wait = self.backoff.next(rand::random());
        let retry_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self.show(Seen::Lost { why, retry_ms }).await?;
        let over = sleep(wait);
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = &mut over => return Ok(()),
                order = self.orders.recv() => {
                    let Some(order) = order else { return Err(Fault::OutputClosed) };
                    talk.order(order, Instant::now());
                    for action in talk.actions() {
                        if let Do::Show(seen) = action {
                            self.show(seen).await?;
                        }
                    }
                }
            }
        }
    }

    async fn show(&self, seen: Seen) -> Result<(), Fault> {
        self.seen.send(seen).await.map_err(|_| Fault::OutputClosed)
    }

    async fn converse(&mut self, mut socket: Socket, talk: &mut Talk) -> End {
        let mut renewal: Option<Renewal> = None;
        let mut heard = Instant::now();
        let mut pinged = false;
        let end = loop {
            if let Some(end) = self.act(&mut socket, talk, &mut renewal).await {
                break end;
            }
            let silence = heard + if pinged { SILENCE_MAX } else { PING_AFTER };
            let deadline = talk.deadline();
            tokio::select! {
                frame = socket.next() => {
                    (heard, pinged) = (Instant::now(), false);
                    match frame {
                        Some(Ok(Message::Text(text))) => talk.text(text.as_str(), heard),
                        Some(Ok(Message::Close(frame))) => break self.on_close(frame.as_ref(), talk).await,
                        Some(Ok(_)) => {}
                        Some(Err(error)) => break self.on_loss(&link_text(&error), talk).await,
                        None => break self.on_loss("the connection ended", talk).await,
                    }
                }
                order = self.orders.recv() => match order {
                    Some(order) => talk.order(order, Instant::now()),
                    None => break End::Left,
                },
                answer = finished(&mut renewal) => {
                    renewal = None;
                    match answer {
                        Ok(grant) => talk.token(&grant.token),
                        Err(fault) if is_final(&fault) => break End::Final(self.farewell(fault)),
                        Err(fault) => talk.token_failed(&fault.to_string()),
                    }
                }
                () = until(deadline) => talk.tick(Instant::now()),
                () = sleep_until(silence.into()) => {
                    if pinged {
                        break self.on_loss("nothing was heard for too long", talk).await;
                    }
                    pinged = true;
                    if !in_time(socket.send(Message::Ping(Bytes::new()))).await {
                        break self.on_loss(STUCK, talk).await;
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

    /// Does what the conversation wants done.
    async fn act(&mut self, socket: &mut Socket, talk: &mut Talk, renewal: &mut Option<Renewal>) -> Option<End> {
        let mut written = false;
        for action in talk.actions() {
            match action {
                Do::Send(frame) => {
                    // What belongs together goes out together, below.
                    written = true;
                    if !in_time(socket.feed(Message::text(frame))).await {
                        return Some(self.on_loss(STUCK, talk).await);
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
                    if self.show(seen).await.is_err() {
                        return Some(End::Left);
                    }
                }
                Do::GiveUp(why) => return Some(End::Final(Fault::Failed(why))),
            }
        }
        if written && !in_time(socket.flush()).await {
            return Some(self.on_loss(STUCK, talk).await);
        }
        None
    }

    async fn on_close(&mut self, frame: Option<&CloseFrame>, talk: &mut Talk) -> End {
        let Some(frame) = frame else { return self.on_loss("the node closed the connection", talk).await };
        let code = u16::from(frame.code);
        if talk.closed(Some(code), frame.reason.as_str()) {
            let changed = CloseReason::Deauthorized;
            if code == changed.code() && frame.reason.as_str() == changed.text() {
                return self.flush(talk, End::Changed).await;
            }
            let why = link::close_text(code, &frame.reason);
            self.flush(talk, End::Lost(why)).await
        } else {
            self.flush(talk, End::Lost(String::new())).await
        }
    }

    async fn on_loss(&mut self, why: &str, talk: &mut Talk) -> End {
        talk.closed(None, "");
        self.flush(talk, End::Lost(why.to_owned())).await
    }

    /// Shows what is still to be shown after the socket has gone.
    async fn flush(&mut self, talk: &mut Talk, end: End) -> End {
        for action in talk.actions() {
            match action {
                Do::Show(seen) => {
                    if self.show(seen).await.is_err() {
                        return End::Left;
                    }
                }
                Do::GiveUp(why) => return End::Final(Fault::Failed(why)),
                Do::Send(_) | Do::Renew => {}
            }
        }
        end
    }
}

/// Whether asking again cannot help: the panel has decided.
fn is_final(fault: &Fault) -> bool {
    match fault {
        Fault::Refused(problem) => matches!(problem.status, 401 | 403 | 404 | 405 | 409 | 422),
        Fault::Usage(_) | Fault::Failed(_) | Fault::OutputClosed => true,
        Fault::Unreachable(_) => false,
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
