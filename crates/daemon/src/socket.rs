//! One console connection: feeds the session, drains its actions, and copies lines from the log to the socket.
//!
//! It decides nothing and holds no lock across an await. Messages of one socket are handled in order; what takes time (power,
//! commands) is answered when it is done, without holding up the rest. Whatever happens is handled without waiting; what is to
//! be written waits in `outgoing`, and nothing more is taken on until it is empty. Only what may end the connection (a
//! revocation, suspension, the end of a token, of the node) is heeded meanwhile.

mod ending;
pub(crate) mod fanout;
pub(crate) mod handshake;
mod numbered;
mod outgoing;
mod telling;
mod transport;
mod viewer;

use std::collections::VecDeque;
use std::future::Future;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::Arc;

use engine::session::{Action, Context, Outcome, Session};
use engine::token::Rules;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tungstenite::Message;
use wire::close::CloseReason;
use wire::console::{Event, server as event};
use wire::ids::UserId;
use wire::numbered::StatusMembers;
use wire::server::{State, Stats};
use wire::token::Claims;

use crate::node::Node;
use crate::server::{Asker, Refused, RefusedKind, Server, Standing, Status};
use crate::socket::fanout::{Fanout, Membership, Taken};
use crate::socket::numbered::HEARTBEAT_EVERY;
use crate::socket::outgoing::Outgoing;
use crate::socket::transport::Transport;
use crate::socket::viewer::{News, Viewer};
use crate::tasks::Kind;
use crate::waiting::Place;
use crate::{clock, frame};

/// Requests of one connection that may be under way at once; one more is refused.
const REQUESTS_MAX: usize = 32;

/// Who is on the other side.
pub(crate) struct Peer {
    pub(crate) ip: IpAddr,
    /// Its place among those who have not authenticated.
    pub(crate) entry: Place,
    /// Whether it counts lines.
    pub(crate) is_numbered: bool,
}

/// Runs a connection to its end. `read` is what came behind its handshake.
pub(crate) fn run(
    stream: TcpStream,
    read: &[u8],
    node: Arc<Node>,
    server: Server,
    peer: Peer,
) -> impl Future<Output = ()> + Send + use<> {
    let now = clock::now();
    let is_numbered = peer.is_numbered;
    let policy = node.session_policy.clone();
    let session = if is_numbered { Session::numbered(policy, now) } else { Session::new(policy, now) };
    let mut interrupts = Interrupts {
        revoked: node.revocations.changed(),
        status: server.status(),
        cancel: Some(node.tasks.cancel_token()),
    };
    let mut connection = Connection {
        viewer: None,
        seat: None,
        unauthenticated: Some(peer.entry),
        requests: None,
        outgoing: Outgoing::new(),
        heartbeat_at: is_numbered.then(|| Instant::now() + HEARTBEAT_EVERY),
        status_told: None,
        sent_at: Instant::now(),
        heard_at: Instant::now(),
        pinged_at: None,
        actions: VecDeque::new(),
        transport: Transport::new(stream, read, node.config.frame_bytes_max),
        session,
        ip: peer.ip,
        node,
        server,
    };
    // All that a connection needs while it lasts is in this future, once: thousands last. What it needs at its end is not.
    async move {
        let reason = match connection.converse(&mut interrupts).await {
            ControlFlow::Break(reason) => reason,
            ControlFlow::Continue(()) => Box::pin(connection.drain(&mut interrupts)).await,
        };
        Box::pin(connection.end(reason)).await;
    }
}

struct Connection {
    transport: Transport,
    outgoing: Outgoing,
    node: Arc<Node>,
    server: Server,
    ip: IpAddr,
    session: Session,
    actions: VecDeque<Action>,
    viewer: Option<Viewer>,
    /// Where it sits while it only waits, from the first time on.
    seat: Option<Membership>,
    unauthenticated: Option<Place>,
    /// Under way; most connections never ask for anything.
    requests: Option<FuturesUnordered<BoxFuture<'static, Answer>>>,
    /// When the next sign of life is due; none for viewers of the plain protocol.
    heartbeat_at: Option<Instant>,
    /// What a viewer who counts lines was last told of the state.
    status_told: Option<Box<(State, StatusMembers)>>,
    sent_at: Instant,
    heard_at: Instant,
    /// The first ping that is still unanswered.
    pinged_at: Option<Instant>,
}

/// How a request has ended: what the client calls it, and why it failed if it did.
type Answer = (Option<String>, Option<Outcome>);

/// One thing that happened to a connection.
enum Happening {
    Ending,
    Revoked,
    Standing(Standing),
    Deadline,
    Written(Result<(), CloseReason>),
    Answered(Answer),
    Heard(Option<Result<Message, tungstenite::Error>>),
    News(News),
    /// What others could tell it, they have.
    Stands,
}

/// Whether a connection goes on; if not, the reason to tell, or none when the other side is gone.
type Flow = ControlFlow<Option<CloseReason>>;

/// What a connection heeds at any time, also while it writes.
struct Interrupts {
    revoked: watch::Receiver<u64>,
    status: watch::Receiver<Status>,
    /// Until it has fired.
    cancel: Option<CancellationToken>,
}

impl Interrupts {
    async fn next(&mut self, deadline: Option<Instant>) -> Happening {
        let cancelled = async {
            match &self.cancel {
                Some(cancel) => cancel.cancelled().await,
                None => std::future::pending().await,
            }
        };
        let happening = tokio::select! {
            biased;
            _ = self.revoked.changed() => Happening::Revoked,
            _ = self.status.changed() => Happening::Standing(self.status.borrow_and_update().standing),
            () = sleep_until(deadline) => Happening::Deadline,
            () = cancelled => Happening::Ending,
        };
        if matches!(happening, Happening::Ending) {
            self.cancel = None;
        }
        happening
    }
}

impl Connection {
    /// Until the connection ends (`Break`) or the node does.
    async fn converse(&mut self, interrupts: &mut Interrupts) -> Flow {
        let standing = interrupts.status.borrow_and_update().standing;
        self.handle(Happening::Standing(standing))?;
        loop {
            let happening = match self.next(interrupts).await {
                Happening::Ending => return ControlFlow::Continue(()),
                happening => happening,
            };
            self.handle(happening)?;
        }
    }

    /// The next thing that happens. While something waits to be written, nothing else is taken on: the other side's own pace
    /// is the pace of its conversation, and what waits for it is bounded.
    async fn next(&mut self, interrupts: &mut Interrupts) -> Happening {
        let deadline = self.session.deadline().map(clock::instant);
        if !self.outgoing.is_empty() {
            let stalls_at = self.outgoing.stalls_at(self.node.config.write_timeout);
            let deadline = deadline.map_or(stalls_at, |at| at.min(stalls_at));
            return tokio::select! {
                biased;
                happening = interrupts.next(Some(deadline)) => happening,
                written = self.outgoing.write(self.transport.stream()) => Happening::Written(written),
            };
        }
        let quiet = Some(self.sent_at + self.node.config.ping_after);
        // One timer for all of them.
        let deadline = [deadline, self.heartbeat_at, quiet].into_iter().flatten().min();
        let is_listening = self.viewer.as_ref().is_none_or(Viewer::is_listening);
        if self.sit() {
            let happening = tokio::select! {
                biased;
                happening = interrupts.next(deadline) => happening,
                () = has_to_stand(self.seat.as_ref()) => Happening::Stands,
                Some(answer) = answered(self.requests.as_mut()) => Happening::Answered(answer),
                message = self.transport.recv(), if is_listening => Happening::Heard(message),
            };
            self.stand();
            return happening;
        }
        // Not beside what somebody needs who only waits: thousands do.
        let news = Box::pin(news(self.viewer.as_mut()));
        tokio::select! {
            biased;
            happening = interrupts.next(deadline) => happening,
            Some(answer) = answered(self.requests.as_mut()) => Happening::Answered(answer),
            message = self.transport.recv(), if is_listening => Happening::Heard(message),
            news = news => Happening::News(news),
        }
    }

    /// Lets others tell it what is new, if it has nothing else to do.
    fn sit(&mut self) -> bool {
        let Some(idle) = self.viewer.as_ref().and_then(Viewer::idle) else { return false };
        if !self.session.may_receive(event::CONSOLE_OUTPUT) || !self.session.may_receive(event::GAP) {
            return false;
        }
        let taken = Taken { with_stats: self.session.may_receive(event::STATS), ..idle };
        let seat = match &self.seat {
            Some(seat) => seat,
            None => {
                let (seat, begin) = Fanout::join(&self.server, self.transport.stream().clone(), self.is_numbered());
                if begin {
                    let walk = fanout::walk(self.server.clone(), self.node.config.always_args);
                    self.node.tasks.spawn(Kind::Fanout, self.server.id(), walk);
                }
                self.seat.insert(seat)
            }
        };
        seat.sit(taken, || self.viewer.as_ref().is_some_and(Viewer::has_sample));
        if let Some(viewer) = &mut self.viewer {
            viewer.rest();
        }
        self.outgoing.rest();
        true
    }

    /// Takes over from where others have got to.
    fn stand(&mut self) {
        let Some(left) = self.seat.as_ref().map(Membership::stand) else { return };
        if let Some(viewer) = &mut self.viewer {
            viewer.advance(left.next, left.sample);
        }
        if let Some((frames, written)) = left.begun {
            self.outgoing.begun(frames, written);
        }
        self.sent_at = left.sent_at.map_or(self.sent_at, |at| at.max(self.sent_at));
    }

    /// Handles one thing, without waiting for anything.
    fn handle(&mut self, happening: Happening) -> Flow {
        match happening {
            Happening::Ending | Happening::Stands | Happening::Answered((None, None)) => ControlFlow::Continue(()),
            Happening::Written(Ok(())) => {
                self.sent_at = Instant::now();
                ControlFlow::Continue(())
            }
            Happening::Written(Err(reason)) => ControlFlow::Break(Some(reason)),
            Happening::Revoked => {
                self.decide(Session::revoked);
                self.act()
            }
            // Suspension and deletion reach everybody, authenticated or not.
            Happening::Standing(standing) => {
                match standing {
                    Standing::Active => {}
                    Standing::Suspended => self.decide(|session, _, out| session.suspended(out)),
                    Standing::Deleted => self.decide(|session, _, out| session.deleted(out)),
                }
                self.act()?;
                self.status();
                ControlFlow::Continue(())
            }
            Happening::Deadline => self.time(),
            Happening::Answered((None, Some(outcome))) => {
                self.decide(|session, cx, out| session.outcome(cx, &outcome, out));
                self.act()
            }
            Happening::Answered((Some(id), outcome)) => {
                self.decide(|session, _, out| session.receipt(id, outcome.as_ref(), out));
                self.act()
            }
            Happening::Heard(message) => self.heard(message),
            Happening::News(News::History(more)) => self.history(more),
            Happening::News(News::Lines(batch)) => self.lines(batch),
            Happening::News(News::Changed) => self.changes(),
            Happening::News(News::Sampled) => {
                self.stats();
                ControlFlow::Continue(())
            }
        }
    }

    /// One inbound message.
    fn heard(&mut self, message: Option<Result<Message, tungstenite::Error>>) -> Flow {
        self.heard_at = Instant::now();
        // Pongs, and the answer to a close.
        if let Some(replies) = self.transport.replies() {
            self.outgoing.push(replies);
        }
        let text = match message {
            Some(Err(error)) => return ControlFlow::Break(transport::fault(&error)),
            None | Some(Ok(Message::Close(_))) => return ControlFlow::Break(None),
            // Binary frames carry nothing in this protocol and are dropped, as newer Wings do; pings are answered below us.
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(_)) => return ControlFlow::Continue(()),
        };
        self.decide(|session, cx, out| session.text(cx, text.as_str(), out));
        self.act()
    }

    /// Lets the session decide something, with all it may look at.
    fn decide(&mut self, decision: impl FnOnce(&mut Session, &Context<'_>, &mut Vec<Action>)) {
        let time = &self.node.time;
        let reading = time.read();
        let rules = Rules {
            server: self.server.id(),
            boot_wall_s: time.boot_wall_s(),
            boot_serial: time.boot_serial(),
            skew_s: reading.excess_s(),
            require_scope: self.node.config.require_scope,
            leeway_s: engine::token::LEEWAY_S,
        };
        let denylist = self.node.revocations.list();
        let decode = |token: &str| -> Result<Claims, engine::token::TokenError> { self.node.token_key.decode(token) };
        let doubt = || time.doubt();
        let error_id = || uuid::Uuid::new_v4().to_string();
        let context = Context {
            now: reading.now,
            rules: &rules,
            denylist: &denylist,
            decode: &decode,
            error_id: &error_id,
            doubt: &doubt,
        };
        let mut decided = Vec::new();
        decision(&mut self.session, &context, &mut decided);
        self.actions.extend(decided);
    }

    /// Carries out what the session decided, in order.
    fn act(&mut self) -> Flow {
        // What was not written before an end is not written after it.
        if self.actions.iter().any(|action| matches!(action, Action::Close(_))) {
            self.outgoing.take();
        }
        while let Some(action) = self.actions.pop_front() {
            match action {
                Action::Send(event) => self.send(&event),
                Action::Attach => self.attach(),
                Action::Pause => {
                    if let Some(viewer) = &mut self.viewer {
                        viewer.pause(self.outgoing.take());
                    }
                }
                Action::Resume => {
                    let held = self.viewer.as_mut().map(Viewer::resume).unwrap_or_default();
                    for message in held {
                        self.outgoing.push(message);
                    }
                }
                Action::Follow(attach) => {
                    if let Some(attached) = self.viewer.as_mut().map(|viewer| viewer.follow(attach)) {
                        self.send(&Event::Attached(attached));
                    }
                }
                Action::SendLogs => {
                    if let Some(viewer) = &mut self.viewer {
                        viewer.tell_history(self.node.config.log_lines);
                    }
                }
                Action::SendStats => self.stats(),
                Action::Power { action, user, id } => {
                    self.ask(user, id, |server, asker| server.power(action, asker, 0));
                }
                Action::Command { text, user, id } => {
                    self.ask(user, id, |server, asker| server.command(text, asker));
                }
                Action::Close(reason) => return ControlFlow::Break(Some(reason)),
            }
        }
        // Most connections say nothing more after their token.
        self.actions = VecDeque::new();
        ControlFlow::Continue(())
    }

    /// The first successful auth: the state, a sample if there will be no other, then live lines from here on.
    fn attach(&mut self) {
        let user = self.session.access().and_then(|access| access.user);
        let connections_max = self.node.config.connections_per_user_max;
        let Some(slot) = self.server.enter(user, connections_max) else {
            let text = format!("you have {connections_max} connections to this server open already; close one of them");
            self.refuse(None, text);
            self.actions.push_back(Action::Close(CloseReason::TooManyConnections));
            return;
        };
        self.unauthenticated = None;
        let (viewer, state, sample) = Viewer::new(&self.server, slot, !self.is_numbered());
        self.viewer = Some(viewer);
        self.tell_state(state);
        if state == State::Offline {
            self.send(&Event::Stats(sample_text(&sample)));
        }
    }

    /// Asks something of the server; a refusal comes back as a happening. What was done goes on the record whether or not this
    /// connection is still there to hear of it.
    fn ask<A>(&mut self, user: Option<UserId>, id: Option<String>, request: impl FnOnce(&Server, Asker) -> A)
    where
        A: Future<Output = Result<(), Refused>> + Send + 'static,
    {
        let requests = self.requests.get_or_insert_default();
        if requests.len() >= REQUESTS_MAX {
            let text = "too many requests of this connection are under way; wait for one of them";
            return self.refuse(id, text.to_owned());
        }
        let answer = request(&self.server, Asker { user, ip: Some(self.ip) });
        let outcome = |refused: Refused| Outcome {
            unknown: refused.kind() == RefusedKind::Unknown,
            ..Outcome::refused(refused.to_string())
        };
        requests.push(answer.map(move |answer| (id, answer.err().map(outcome))).boxed());
    }

    /// Says why something is not done. To be followed by [`Connection::act`], or called from there.
    fn refuse(&mut self, id: Option<String>, text: String) {
        let outcome = Outcome::refused(text);
        self.decide(|session, cx, out| match id {
            Some(id) => session.receipt(id, Some(&outcome), out),
            None => session.outcome(cx, &outcome, out),
        });
    }

    /// Some time has come.
    fn time(&mut self) -> Flow {
        let now = Instant::now();
        if self.session.deadline().is_some_and(|at_ms| clock::instant(at_ms) <= now) {
            self.decide(Session::time);
            self.act()?;
        }
        // Signs of life are for those who take what they are sent.
        if !self.outgoing.is_empty() {
            return self.stalled();
        }
        if self.heartbeat_at.is_some_and(|at| at <= now) {
            self.heartbeat();
        }
        // Others may have sent something meanwhile.
        if self.outgoing.is_empty() && self.sent_at + self.node.config.ping_after <= now {
            return self.ping();
        }
        ControlFlow::Continue(())
    }

    /// Lets somebody go who has taken nothing for too long.
    fn stalled(&mut self) -> Flow {
        let limit = self.node.config.write_timeout;
        // A last try: it may have been us who stood still.
        let is_over = self.outgoing.stalls_at(limit) <= Instant::now() && {
            if self.outgoing.write_now(self.transport.stream()).is_ok() {
                self.sent_at = Instant::now();
            }
            !self.outgoing.is_empty() && self.outgoing.stalls_at(limit) <= Instant::now()
        };
        if is_over { ControlFlow::Break(Some(CloseReason::TooSlow)) } else { ControlFlow::Continue(()) }
    }

    /// Nothing was sent for a while: a ping keeps proxies from cutting the connection, and finds out whether it is dead.
    fn ping(&mut self) -> Flow {
        match self.pinged_at.filter(|at| self.heard_at < *at) {
            Some(at) if at.elapsed() >= self.node.config.pong_timeout => {
                return ControlFlow::Break(Some(CloseReason::TooSlow));
            }
            Some(_) => {}
            None => self.pinged_at = Some(Instant::now()),
        }
        self.outgoing.push(frame::ping());
        ControlFlow::Continue(())
    }
}

async fn has_to_stand(seat: Option<&Membership>) {
    match seat {
        Some(seat) => seat.has_to_stand().await,
        None => std::future::pending().await,
    }
}

async fn answered(requests: Option<&mut FuturesUnordered<BoxFuture<'static, Answer>>>) -> Option<Answer> {
    requests?.next().await
}

async fn news(viewer: Option<&mut Viewer>) -> News {
    match viewer {
        Some(viewer) => viewer.next().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn sample_text(sample: &Stats) -> String {
    // A struct of numbers always has a JSON form.
    serde_json::to_string(sample).unwrap_or_default()
}
