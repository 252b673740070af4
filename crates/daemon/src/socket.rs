//! One console connection: feeds the session, drains its actions, and copies lines from the log to the socket.
//!
//! It decides nothing and holds no lock across an await. Messages of one socket are handled in order; what takes time (power,
//! commands) is answered when it is done, without holding up the rest. Every write has a time-out.

pub(crate) mod handshake;

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use bytes::Bytes;
use engine::session::{Action, Context, Outcome, Session};
use engine::token::Rules;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite;
use wire::close::CloseReason;
use wire::console::Event;
use wire::ids::UserId;
use wire::server::{State, Stats};
use wire::token::Claims;

use crate::clock;
use crate::console::{Batch, Cursor};
use crate::hub::Line;
use crate::node::Node;
use crate::server::{Asker, Refused, Server, Standing, Status, ViewerSlot};
use crate::waiting::Place;

/// Requests of one connection that may be under way at once; one more is refused.
const REQUESTS_MAX: usize = 32;
/// How long the other side may take to answer our close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long lines may go on flowing after the node was told to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs a connection to its end.
pub(crate) async fn run(ws: WebSocket, node: Arc<Node>, server: Server, ip: IpAddr, entry: Place) {
    let _guard = node.tasks.guard();
    let now = clock::now();
    let rules = Rules {
        server: server.id(),
        boot_wall_s: node.boot_wall_s,
        require_scope: node.config.require_scope,
        leeway_s: engine::token::LEEWAY_S,
    };
    let session = Session::new(node.config.session.clone(), now);
    let mut connection = Connection {
        viewer: None,
        unauthenticated: Some(entry),
        requests: FuturesUnordered::new(),
        sent_at: Instant::now(),
        heard_at: Instant::now(),
        pinged_at: None,
        actions: Vec::new(),
        ws,
        rules,
        session,
        ip,
        node,
        server,
    };
    let reason = connection.converse().await;
    connection.end(reason).await;
}

/// What an authenticated connection follows.
struct Viewer {
    cursor: Cursor,
    changed: watch::Receiver<u64>,
    changes_seen: u64,
    stats: watch::Receiver<Stats>,
    /// The token ran out: nothing flows until it is renewed.
    paused: bool,
    _slot: ViewerSlot,
}

struct Connection {
    ws: WebSocket,
    node: Arc<Node>,
    server: Server,
    ip: IpAddr,
    rules: Rules,
    session: Session,
    actions: Vec<Action>,
    viewer: Option<Viewer>,
    unauthenticated: Option<Place>,
    requests: FuturesUnordered<BoxFuture<'static, Option<Outcome>>>,
    sent_at: Instant,
    heard_at: Instant,
    /// The first ping that is still unanswered.
    pinged_at: Option<Instant>,
}

/// One thing that happened to a connection.
enum Happening {
    Heard(Option<Result<Message, axum::Error>>),
    Lines(Batch),
    Changed,
    Sampled,
    Answered(Option<Outcome>),
    Revoked,
    Server,
    Deadline,
    Quiet,
    Ending,
}

impl Connection {
    async fn converse(&mut self) -> Option<CloseReason> {
        let mut revoked = self.node.revocations.changed();
        let mut status = self.server.status();
        if let Some(reason) = self.check_standing(&mut status).await {
            return Some(reason);
        }
        let cancel = self.node.tasks.cancel_token();
        loop {
            let deadline = self.session.deadline().map(clock::instant);
            let quiet = self.sent_at + self.node.config.ping_after;
            let happening = tokio::select! {
                biased;
                () = cancel.cancelled() => Happening::Ending,
                _ = revoked.changed() => Happening::Revoked,
                _ = status.changed() => Happening::Server,
                () = sleep_until(deadline) => Happening::Deadline,
                Some(outcome) = self.requests.next() => Happening::Answered(outcome),
                message = self.ws.recv() => Happening::Heard(message),
                happening = follow(self.viewer.as_mut()) => happening,
                () = tokio::time::sleep_until(quiet) => Happening::Quiet,
            };
            let ended = match happening {
                Happening::Ending => {
                    self.drain().await;
                    self.farewell().await;
                    Some(CloseReason::GoingAway)
                }
                Happening::Heard(message) => match self.heard(message).await {
                    Ok(()) => None,
                    Err(reason) => return reason,
                },
                Happening::Lines(batch) => self.lines(batch).await,
                Happening::Changed => self.changes().await,
                Happening::Sampled => self.stats(true).await,
                Happening::Answered(outcome) => {
                    if let Some(outcome) = outcome {
                        self.decide(|session, cx, out| session.outcome(cx, &outcome, out));
                    }
                    self.act().await
                }
                Happening::Revoked => {
                    self.decide(Session::revoked);
                    self.act().await
                }
                Happening::Server => self.check_standing(&mut status).await,
                Happening::Deadline => {
                    self.decide(Session::time);
                    self.act().await
                }
                Happening::Quiet => self.ping().await,
            };
            if ended.is_some() {
                return ended;
            }
        }
    }

    /// One inbound message. `Err` ends the connection: with a reason to tell, or none when the other side is gone.
    async fn heard(&mut self, message: Option<Result<Message, axum::Error>>) -> Result<(), Option<CloseReason>> {
        self.heard_at = Instant::now();
        let text = match message {
            Some(Err(error)) => return Err(too_big(error).then_some(CloseReason::MessageTooBig)),
            None | Some(Ok(Message::Close(_))) => return Err(None),
            // Binary frames carry nothing in this protocol and are dropped, as newer Wings do; pings are answered below us.
            Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_))) => return Ok(()),
            Some(Ok(Message::Text(text))) => text,
        };
        self.decide(|session, cx, out| session.text(cx, text.as_str(), out));
        match self.act().await {
            Some(reason) => Err(Some(reason)),
            None => Ok(()),
        }
    }

    /// Lets the session decide something, with all it may look at.
    fn decide(&mut self, decision: impl FnOnce(&mut Session, &Context<'_>, &mut Vec<Action>)) {
        let denylist = self.node.revocations.list();
        let decode = |token: &str| -> Result<Claims, engine::token::TokenError> { self.node.token_key.decode(token) };
        let error_id = || uuid::Uuid::new_v4().to_string();
        let context = Context {
            now: clock::now(),
            rules: &self.rules,
            denylist: &denylist,
            decode: &decode,
            error_id: &error_id,
        };
        decision(&mut self.session, &context, &mut self.actions);
    }

    /// Carries out what the session decided, in order.
    async fn act(&mut self) -> Option<CloseReason> {
        for action in std::mem::take(&mut self.actions) {
            let ended = match action {
                Action::Send(event) => self.send(&event).await,
                Action::Attach => self.attach().await,
                Action::Pause => self.pause(true),
                Action::Resume => self.pause(false),
                Action::SendLogs => self.history().await,
                Action::SendStats => self.stats(false).await,
                Action::Power { action, user } => self.ask(user, |server, asker| server.power(action, asker, 0)).await,
                Action::Command { text, user } => self.ask(user, |server, asker| server.command(text, asker)).await,
                Action::Close(reason) => Some(reason),
            };
            if ended.is_some() {
                return ended;
            }
        }
        None
    }

    /// The first successful auth: the state, a sample if there will be no other, then live lines from here on.
    async fn attach(&mut self) -> Option<CloseReason> {
        let user = self.session.access().and_then(|access| access.user);
        let Some(slot) = self.server.enter(user, self.node.config.connections_per_user_max) else {
            let text = format!(
                "you have {} connections to this server open already; close one of them",
                self.node.config.connections_per_user_max
            );
            self.decide(|session, cx, out| session.outcome(cx, &Outcome { text, public: true }, out));
            // Only the error goes out: nothing else can be among the actions of an outcome.
            for action in std::mem::take(&mut self.actions) {
                if let Action::Send(event) = action {
                    self.send(&event).await;
                }
            }
            return Some(CloseReason::TooManyConnections);
        };
        self.unauthenticated = None;
        let console = self.server.console();
        let changed = console.hub().changed();
        let (_, changes_seen) = console.hub().changes_since(0);
        let mut stats = self.server.stats();
        let (state, sample) = (self.server.status().borrow().state, *stats.borrow_and_update());
        let cursor = Cursor::at_head(console);
        self.viewer = Some(Viewer { cursor, changed, changes_seen, stats, paused: false, _slot: slot });
        let mut frames = vec![self.frame(&Event::Status(state))];
        if state == State::Offline {
            frames.push(self.frame(&Event::Stats(sample_text(&sample))));
        }
        self.write(frames).await
    }

    fn pause(&mut self, paused: bool) -> Option<CloseReason> {
        if let Some(viewer) = &mut self.viewer {
            viewer.paused = paused;
        }
        None
    }

    /// `send logs`: the lines before the live cursor, so that history and live output meet without a seam.
    async fn history(&mut self) -> Option<CloseReason> {
        let before = self.viewer.as_ref()?.cursor.before(self.node.config.log_lines);
        let lines = match before.await {
            Ok(lines) => lines,
            Err(error) => {
                tracing::error!(server = %self.server.id(), %error, "console log not readable");
                let outcome = Outcome { text: format!("the console log cannot be read: {error}"), public: false };
                self.decide(|session, cx, out| session.outcome(cx, &outcome, out));
                return Box::pin(self.act()).await;
            }
        };
        self.write(shown(lines)).await
    }

    async fn lines(&mut self, batch: Batch) -> Option<CloseReason> {
        let frames = match batch {
            Batch::Lines(lines) => shown(lines),
            Batch::Gap { from, to } => vec![self.server.console().gap_line(from, to).frame],
            Batch::Failed(error) => {
                tracing::error!(server = %self.server.id(), %error, "console log not readable");
                return Some(CloseReason::Internal);
            }
        };
        self.write(frames).await
    }

    async fn changes(&mut self) -> Option<CloseReason> {
        // Lines that stand before the change are told before it, as far as one batch goes: a viewer far behind is not made to
        // wait for the news.
        if let Some(batch) = self.viewer.as_mut()?.cursor.next().now_or_never()
            && let Some(ended) = self.lines(batch).await
        {
            return Some(ended);
        }
        let viewer = self.viewer.as_mut()?;
        let (states, seen) = viewer.cursor.console().hub().changes_since(viewer.changes_seen);
        viewer.changes_seen = seen;
        let frames = states.into_iter().map(|state| self.frame(&Event::Status(state))).collect();
        self.write(frames).await
    }

    /// One `stats`: the newest sample, pushed only when there is a new one.
    async fn stats(&mut self, pushed: bool) -> Option<CloseReason> {
        let sample = match &mut self.viewer {
            Some(viewer) if pushed => *viewer.stats.borrow_and_update(),
            _ => *self.server.stats().borrow(),
        };
        self.send(&Event::Stats(sample_text(&sample))).await
    }

    /// Asks something of the server; a refusal comes back as a happening. What was done goes on the record whether or not this
    /// connection is still there to hear of it.
    async fn ask<A>(&mut self, user: Option<UserId>, request: impl FnOnce(&Server, Asker) -> A) -> Option<CloseReason>
    where
        A: Future<Output = Result<(), Refused>> + Send + 'static,
    {
        if self.requests.len() >= REQUESTS_MAX {
            return self.refuse("too many requests of this connection are under way; wait for one of them").await;
        }
        let answer = request(&self.server, Asker { user, ip: Some(self.ip) });
        let outcome = |refused: Refused| Outcome { text: refused.to_string(), public: true };
        self.requests.push(answer.map(move |answer| answer.err().map(outcome)).boxed());
        None
    }

    async fn refuse(&mut self, text: &str) -> Option<CloseReason> {
        let outcome = Outcome { text: text.to_owned(), public: true };
        self.decide(|session, cx, out| session.outcome(cx, &outcome, out));
        Box::pin(self.act()).await
    }

    /// Suspension and deletion reach everybody, authenticated or not.
    async fn check_standing(&mut self, status: &mut watch::Receiver<Status>) -> Option<CloseReason> {
        let standing = status.borrow_and_update().standing;
        match standing {
            Standing::Active => return None,
            Standing::Suspended => self.session.suspended(&mut self.actions),
            Standing::Deleted => self.session.deleted(&mut self.actions),
        }
        self.act().await
    }

    /// Tells people what is going on; programs have the close code for it.
    async fn farewell(&mut self) {
        if self.viewer.is_some() {
            let text =
                "The node is stopping or being upgraded; the game goes on, and this console comes back by itself.";
            self.send(&Event::DaemonMessage(text.to_owned())).await;
        }
    }

    /// The node is stopping: what is already in the log is still delivered, for a bounded time.
    async fn drain(&mut self) {
        let deadline = Instant::now() + DRAIN_TIMEOUT;
        let end = self.server.console().hub().next();
        while let Some(viewer) =
            self.viewer.as_mut().filter(|viewer| !viewer.paused && viewer.cursor.has_lines_before(end))
        {
            let Ok(batch) = tokio::time::timeout_at(deadline, viewer.cursor.next()).await else { return };
            if self.lines(batch).await.is_some() {
                return;
            }
        }
    }

    /// Nothing was sent for a while: a ping keeps proxies from cutting the connection, and finds out whether it is dead.
    async fn ping(&mut self) -> Option<CloseReason> {
        match self.pinged_at.filter(|at| self.heard_at < *at) {
            Some(at) if at.elapsed() >= self.node.config.pong_timeout => return Some(CloseReason::TooSlow),
            Some(_) => {}
            None => self.pinged_at = Some(Instant::now()),
        }
        self.write_messages(vec![Message::Ping(Bytes::new())]).await
    }

    fn frame(&self, event: &Event) -> Bytes {
        Bytes::from(event.frame(self.node.config.always_args))
    }

    async fn send(&mut self, event: &Event) -> Option<CloseReason> {
        let frame = self.frame(event);
        self.write(vec![frame]).await
    }

    async fn write(&mut self, frames: Vec<Bytes>) -> Option<CloseReason> {
        // Frames are made from strings, so this check never fails; it costs a few nanoseconds a line.
        let messages = frames.into_iter().filter_map(|frame| Utf8Bytes::try_from(frame).ok().map(Message::Text));
        self.write_messages(messages.collect()).await
    }

    /// Many frames, one flush: the library gathers them into as few system calls as it can.
    async fn write_messages(&mut self, messages: Vec<Message>) -> Option<CloseReason> {
        if messages.is_empty() {
            return None;
        }
        let ws = &mut self.ws;
        let write = async {
            for message in messages {
                ws.feed(message).await?;
            }
            ws.flush().await
        };
        match tokio::time::timeout(self.node.config.write_timeout, write).await {
            Ok(Ok(())) => {
                self.sent_at = Instant::now();
                None
            }
            Ok(Err(_)) => Some(CloseReason::Internal),
            Err(_) => Some(CloseReason::TooSlow),
        }
    }

    /// Sends a close frame and waits a little for the other side's, so that it is read before the connection goes.
    async fn end(mut self, reason: Option<CloseReason>) {
        let Some(reason) = reason else { return };
        tracing::debug!(server = %self.server.id(), code = reason.code(), text = reason.text(), "connection closed");
        let close = CloseFrame { code: reason.code(), reason: Utf8Bytes::from_static(reason.text()) };
        let goodbye = async {
            if self.ws.send(Message::Close(Some(close))).await.is_ok() {
                while let Some(Ok(message)) = self.ws.recv().await {
                    if matches!(message, Message::Close(_)) {
                        break;
                    }
                }
            }
        };
        // A viewer that never answers is let go all the same.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, goodbye).await;
    }
}

/// What an attached viewer waits for. Cancel-safe: the cursor moves only when its batch is handed over.
async fn follow(viewer: Option<&mut Viewer>) -> Happening {
    match viewer {
        Some(viewer) if !viewer.paused => tokio::select! {
            biased;
            _ = viewer.changed.changed() => Happening::Changed,
            _ = viewer.stats.changed() => Happening::Sampled,
            batch = viewer.cursor.next() => Happening::Lines(batch),
        },
        _ => std::future::pending().await,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn shown(lines: Vec<Line>) -> Vec<Bytes> {
    lines.into_iter().filter(Line::is_shown).map(|line| line.frame).collect()
}

fn sample_text(sample: &Stats) -> String {
    // A struct of numbers always has a JSON form.
    serde_json::to_string(sample).unwrap_or_default()
}

fn too_big(error: axum::Error) -> bool {
    let inner = error.into_inner();
    matches!(inner.downcast_ref::<tungstenite::Error>(), Some(tungstenite::Error::Capacity(_)))
}
