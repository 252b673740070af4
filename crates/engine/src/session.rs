//! One console connection's conversation: what is answered, what is let through, and when it ends.
//!
//! ```text
//! unauthenticated --auth--> live --last second over--> lapsed
//!                            ^ |  \                    |  |
//!             auth: replaces | +   +<------auth--------+  |
//!                            +-+                          |
//! any --deadline, too many failures, revoked, suspended, deleted--> closed
//! ```
//!
//! A failed `auth` changes nothing but a counter: the token before it stays in force. Permission to ask for something is decided
//! here, in one match, before an [`Action`] exists. Everything a connection has to do by itself later is behind one
//! [`Session::deadline`].

use std::sync::Arc;

use wire::close::CloseReason;
use wire::console::{Event, Incoming, client, server};
use wire::ids::UserId;
use wire::numbered::{Attach, REQUEST_ID_CHARS_MAX, Receipt, ReceiptOutcome};
use wire::server::PowerAction;
use wire::token::{Claims, permission};

use crate::denylist::Denylist;
use crate::panel_clock::skew_text;
use crate::throttle::{Inbound, InboundLimits, Verdict};
use crate::time::Now;
use crate::token::{self, Access, Rules, TokenError};

mod command;

pub use command::{BadCommand, command_text};

/// Wire text for a message before the first `auth`.
const NO_TOKEN: &str = "jwt: no jwt present";
/// What a failed `auth` says to those who may not see why.
const TOKEN_REFUSED: &str = "this token was not accepted; get a new one";
/// What a failed request says to those who may not see why.
const REQUEST_FAILED: &str = "the request failed; an administrator finds the reason in the node's log";
/// Events that only a session decides to send.
const OWN_WORDS: [&str; 8] = [
    server::AUTH_SUCCESS,
    server::TOKEN_EXPIRING,
    server::TOKEN_EXPIRED,
    server::JWT_ERROR,
    server::DAEMON_ERROR,
    server::THROTTLED,
    server::DELETED,
    server::RECEIPT,
];
/// What a request that was discarded is told.
const TOO_FAST: &str = "too many messages in a short time; this one was discarded, send it again in a moment";
/// Characters of a user's own words that an error repeats.
const QUOTE_CHARS_MAX: usize = 40;

/// Times and limits of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Milliseconds until the first successful `auth`; then the connection is closed.
    pub auth_timeout_ms: u64,
    /// Failed `auth` in a row that close the connection.
    pub auth_failures_max: u32,
    /// Seconds before a token's last second at which `token expiring` is sent, longest first.
    pub expiring_at_s: [u64; 2],
    /// Milliseconds between repetitions of `token expired`.
    pub expired_repeat_ms: u64,
    /// Milliseconds after the token's end until the connection is closed.
    pub lapse_grace_ms: u64,
    /// Bytes of one command, without its line end; longer ones are refused.
    pub command_bytes_max: usize,
    /// How fast the other side may talk; what is above is discarded and announced.
    pub limits: InboundLimits,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            auth_timeout_ms: 30_000,
            auth_failures_max: 5,
            expiring_at_s: [60, 30],
            expired_repeat_ms: 30_000,
            lapse_grace_ms: 300_000,
            command_bytes_max: 4096,
            limits: InboundLimits::default(),
        }
    }
}

/// What a decision may look at, put together anew for each.
pub struct Context<'a> {
    /// Both clocks.
    pub now: Now,
    /// What the node asks of tokens.
    pub rules: &'a Rules,
    /// What was revoked.
    pub denylist: &'a Denylist,
    /// Checks a token's signature.
    pub decode: &'a dyn Fn(&str) -> Result<Claims, TokenError>,
    /// A token was refused because of a date: to find out whether it is the clocks that are wrong.
    pub doubt: &'a dyn Fn(),
    /// A fresh uuid (v4), by which an error a user reports can be found in the log.
    pub error_id: &'a dyn Fn() -> String,
}

/// What to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this.
    Send(Event),
    /// The first successful `auth`: send the state (and, when offline, stats), then live lines.
    Attach,
    /// The token ran out: from here on send nothing but what actions say.
    Pause,
    /// Renewed after [`Action::Pause`]: go on where it stopped.
    Resume,
    /// Let lines begin here; only in a conversation with numbers, where none flow before.
    Follow(Attach),
    /// Send the last lines.
    SendLogs,
    /// Send one sample.
    SendStats,
    /// Ask the server for this; how it ends comes back as [`Session::outcome`].
    Power {
        /// What.
        action: PowerAction,
        /// On whose behalf.
        user: Option<UserId>,
        /// What the client calls it; to be given back with the outcome.
        id: Option<String>,
    },
    /// Give this to the game; how it ends comes back as [`Session::outcome`].
    Command {
        /// One line without its end.
        text: String,
        /// On whose behalf.
        user: Option<UserId>,
        /// What the client calls it; to be given back with the outcome.
        id: Option<String>,
    },
    /// Close the connection. Nothing follows.
    Close(CloseReason),
}

/// Why something that was asked for failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What happened and what to do.
    pub text: String,
    /// Whether everybody may read it; otherwise only holders of `admin.websocket.errors`, others get a general text.
    pub public: bool,
    /// It may have been done all the same: nobody knows.
    pub unknown: bool,
}

impl Outcome {
    /// A failure that everybody may read.
    pub fn refused(text: String) -> Self {
        Self { text, public: true, unknown: false }
    }
}

/// The conversation; see the module.
#[derive(Debug)]
pub struct Session {
    policy: Arc<Policy>,
    /// Whether the client speaks the subprotocol with numbers ([`wire::numbered`]).
    numbered: bool,
    phase: Phase,
    inbound: Inbound,
    auth_failures: u32,
}

#[derive(Debug)]
enum Phase {
    Unauthenticated {
        close_at_ms: u64,
    },
    Live {
        access: Access,
        /// How many of the policy's `token expiring` have been sent.
        notices: usize,
    },
    Lapsed {
        access: Access,
        repeat_at_ms: u64,
        close_at_ms: u64,
    },
    Closed,
}

impl Session {
    /// A connection that was just accepted.
    pub fn new(policy: Arc<Policy>, now: Now) -> Self {
        let inbound = Inbound::new(&policy.limits);
        let close_at_ms = now.mono_ms.saturating_add(policy.auth_timeout_ms);
        Self { policy, numbered: false, phase: Phase::Unauthenticated { close_at_ms }, inbound, auth_failures: 0 }
    }

    /// The same, of a client that speaks the subprotocol with numbers.
    pub fn numbered(policy: Arc<Policy>, now: Now) -> Self {
        Self { numbered: true, ..Self::new(policy, now) }
    }

    /// One inbound text frame.
    pub fn text(&mut self, cx: &Context<'_>, frame: &str, out: &mut Vec<Action>) {
        // What is due is decided first, so that a message is judged by the state it really finds.
        self.time(cx, out);
        self.revoked(cx, out);
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        let Some(Incoming { event, args, id }) = Incoming::decode(frame) else { return };
        let asks = matches!(event.as_str(), client::SET_STATE | client::SEND_COMMAND);
        let id = id.filter(|id| self.numbered && asks && id.chars().count() <= REQUEST_ID_CHARS_MAX);
        if let Verdict::Discard { announce } = self.inbound.check(&event, cx.now) {
            out.extend(announce.map(|name| Action::Send(Event::Throttled(name))));
            out.extend(id.map(|id| refused(id, TOO_FAST)));
            return;
        }
        if event == client::AUTH {
            return self.auth(cx, &args, out);
        }
        if event == client::ATTACH && self.numbered && matches!(self.phase, Phase::Live { .. }) {
            out.extend(serde_json::from_str(&args).ok().map(Action::Follow));
            return;
        }
        let token_error = match &self.phase {
            Phase::Unauthenticated { .. } => NO_TOKEN.to_owned(),
            Phase::Lapsed { .. } => TokenError::Expired.to_string(),
            Phase::Live { access, .. } => {
                match (request(access, &self.policy, &event, &args, id.clone()), id) {
                    (Ok(action), _) => out.extend(action),
                    (Err(text), Some(id)) => out.push(refused(id, &text)),
                    (Err(text), None) => out.push(daemon_error(cx, &text)),
                }
                return;
            }
            Phase::Closed => return,
        };
        out.push(Action::Send(Event::JwtError(token_error.clone())));
        out.extend(id.map(|id| refused(id, &token_error)));
    }

    /// To be called at or after [`Session::deadline`].
    pub fn time(&mut self, cx: &Context<'_>, out: &mut Vec<Action>) {
        let now_ms = cx.now.mono_ms;
        if let Phase::Live { access, notices } = &mut self.phase {
            if now_ms < access.expires_mono_ms {
                let before = *notices;
                while notice_at_ms(&self.policy, access, *notices).is_some_and(|at_ms| at_ms <= now_ms) {
                    *notices += 1;
                }
                if *notices > before {
                    out.push(Action::Send(Event::TokenExpiring));
                }
                return;
            }
            self.phase = Phase::Lapsed {
                repeat_at_ms: access.expires_mono_ms,
                close_at_ms: access.expires_mono_ms.saturating_add(self.policy.lapse_grace_ms),
                access: access.clone(),
            };
            out.push(Action::Pause);
        }
        match &mut self.phase {
            Phase::Unauthenticated { close_at_ms } if *close_at_ms <= now_ms => {
                self.close(CloseReason::AuthTimeout, out);
            }
            Phase::Lapsed { repeat_at_ms, close_at_ms, .. } => {
                if *repeat_at_ms <= now_ms {
                    *repeat_at_ms = now_ms.saturating_add(self.policy.expired_repeat_ms.max(1));
                    out.push(Action::Send(Event::TokenExpired));
                }
                if *close_at_ms <= now_ms {
                    self.close(CloseReason::TokenLapsed, out);
                }
            }
            Phase::Unauthenticated { .. } | Phase::Live { .. } | Phase::Closed => {}
        }
    }

    /// The denylist has changed: ends the connection if its token is on it now. The other side comes back with a new token,
    /// and so with its new permissions, or finds out that it may not.
    pub fn revoked(&mut self, cx: &Context<'_>, out: &mut Vec<Action>) {
        if self.access().is_some_and(|access| cx.denylist.denies(access, cx.rules.server)) {
            self.close(CloseReason::Deauthorized, out);
        }
    }

    /// Something this connection asked for was refused or failed. With no valid token nothing is told.
    pub fn outcome(&mut self, cx: &Context<'_>, outcome: &Outcome, out: &mut Vec<Action>) {
        if let Phase::Live { access, .. } = &self.phase {
            out.push(daemon_error(cx, reason(access, outcome)));
        }
    }

    /// How something that this connection called by an id has ended. That it was asked for says that it may be told, also when
    /// the token has ended since.
    pub fn receipt(&mut self, id: String, failed: Option<&Outcome>, out: &mut Vec<Action>) {
        let Some(access) = self.access() else { return };
        let (outcome, reason) = match failed {
            None => (ReceiptOutcome::Done, None),
            Some(failed) if failed.unknown => (ReceiptOutcome::Unknown, Some(reason(access, failed).to_owned())),
            Some(failed) => (ReceiptOutcome::Refused, Some(reason(access, failed).to_owned())),
        };
        out.push(Action::Send(Event::Receipt(Receipt { id, outcome, reason })));
    }

    /// The server is suspended, now or since before the connection.
    pub fn suspended(&mut self, out: &mut Vec<Action>) {
        self.close(CloseReason::Suspended, out);
    }

    /// The server was removed from this node. The event is for those who may see events; the close tells everybody.
    pub fn deleted(&mut self, out: &mut Vec<Action>) {
        if matches!(self.phase, Phase::Live { .. }) {
            out.push(Action::Send(Event::Deleted));
        }
        self.close(CloseReason::Deleted, out);
    }

    /// Whether an event of this name may go out: only while the token is valid, and some only with a permission of their own
    /// (protocol reference §4.4). Every event on its way out is asked about, so one that is new is held to this as well. What
    /// the session itself has to say (answers, notices of the token's end, the last word about a deleted server) was decided
    /// when its action came to be.
    pub fn may_receive(&self, event: &str) -> bool {
        if OWN_WORDS.contains(&event) {
            return true;
        }
        let Phase::Live { access, .. } = &self.phase else { return false };
        let needed = match event {
            "install output" => permission::ADMIN_INSTALL,
            "transfer logs" => permission::ADMIN_TRANSFER,
            name if name.starts_with("backup completed") => permission::BACKUP_READ,
            _ => permission::CONNECT,
        };
        access.permissions.has(needed)
    }

    /// When [`Session::time`] has something to do next, on the monotonic clock.
    pub fn deadline(&self) -> Option<u64> {
        match &self.phase {
            Phase::Unauthenticated { close_at_ms } => Some(*close_at_ms),
            Phase::Live { access, notices } => {
                let end_ms = access.expires_mono_ms;
                Some(notice_at_ms(&self.policy, access, *notices).map_or(end_ms, |at_ms| at_ms.min(end_ms)))
            }
            Phase::Lapsed { repeat_at_ms, close_at_ms, .. } => Some(*repeat_at_ms.min(close_at_ms)),
            Phase::Closed => None,
        }
    }

    /// What the token in force allows, or the last one that was.
    pub fn access(&self) -> Option<&Access> {
        match &self.phase {
            Phase::Live { access, .. } | Phase::Lapsed { access, .. } => Some(access),
            Phase::Unauthenticated { .. } | Phase::Closed => None,
        }
    }

    fn auth(&mut self, cx: &Context<'_>, token: &str, out: &mut Vec<Action>) {
        let judged = (cx.decode)(token).and_then(|claims| token::judge(&claims, cx.rules, cx.denylist, cx.now));
        match judged {
            Ok(access) => {
                out.push(Action::Send(Event::AuthSuccess));
                out.extend(match self.phase {
                    Phase::Unauthenticated { .. } => Some(Action::Attach),
                    Phase::Lapsed { .. } => Some(Action::Resume),
                    Phase::Live { .. } | Phase::Closed => None,
                });
                self.auth_failures = 0;
                self.phase = Phase::Live { access, notices: 0 };
            }
            Err(error) => {
                if error.is_about_time() {
                    (cx.doubt)();
                }
                out.push(self.auth_error(cx, error));
                self.auth_failures += 1;
                if self.auth_failures >= self.policy.auth_failures_max {
                    self.close(CloseReason::AuthFailures, out);
                }
            }
        }
    }

    fn auth_error(&self, cx: &Context<'_>, error: TokenError) -> Action {
        if error.is_jwt_error() {
            // Clients look for the first words, people need the others.
            let text = match cx.rules.skew_s.filter(|_| error.is_about_time()) {
                Some(skew_s) => format!("{error}; {}", skew_text(skew_s)),
                None => error.to_string(),
            };
            return Action::Send(Event::JwtError(wrapped(cx, &text)));
        }
        match &self.phase {
            Phase::Live { access, .. } if access.permissions.has(permission::ADMIN_ERRORS) => {
                daemon_error(cx, &error.to_string())
            }
            _ => daemon_error(cx, TOKEN_REFUSED),
        }
    }

    fn close(&mut self, reason: CloseReason, out: &mut Vec<Action>) {
        if !matches!(self.phase, Phase::Closed) {
            self.phase = Phase::Closed;
            out.push(Action::Close(reason));
        }
    }
}

/// Why something failed, as far as the holder of this access may know.
fn reason<'a>(access: &Access, outcome: &'a Outcome) -> &'a str {
    if outcome.public || access.permissions.has(permission::ADMIN_ERRORS) { &outcome.text } else { REQUEST_FAILED }
}

fn refused(id: String, reason: &str) -> Action {
    Action::Send(Event::Receipt(Receipt { id, outcome: ReceiptOutcome::Refused, reason: Some(reason.to_owned()) }))
}

/// What a message of a connection with a valid token asks for: nothing when the event is unknown, a text when it is refused.
fn request(
    access: &Access,
    policy: &Policy,
    event: &str,
    args: &str,
    id: Option<String>,
) -> Result<Option<Action>, String> {
    let user = access.user;
    let may = |needed: &str, what: &str| {
        let missing = || format!("you may not {what} this server: the permission {needed} is missing");
        access.permissions.has(needed).then_some(()).ok_or_else(missing)
    };
    match event {
        client::SEND_LOGS => Ok(Some(Action::SendLogs)),
        client::SEND_STATS => Ok(Some(Action::SendStats)),
        client::SET_STATE => {
            let Some(action) = PowerAction::from_word(args) else {
                let word: String = args.chars().take(QUOTE_CHARS_MAX).collect();
                return Err(format!("there is no power action {word:?}; use start, stop, restart or kill"));
            };
            may(permission_for(action), action.as_str())?;
            Ok(Some(Action::Power { action, user, id }))
        }
        client::SEND_COMMAND => {
            may(permission::CONSOLE, "send commands to")?;
            let text = command_text(args, policy.command_bytes_max).map_err(|error| error.to_string())?;
            Ok(Some(Action::Command { text: text.to_owned(), user, id }))
        }
        _ => Ok(None),
    }
}

/// Kill goes with stop, as everywhere in this protocol.
const fn permission_for(action: PowerAction) -> &'static str {
    match action {
        PowerAction::Start => permission::START,
        PowerAction::Stop | PowerAction::Kill => permission::STOP,
        PowerAction::Restart => permission::RESTART,
    }
}

/// When the `index`th `token expiring` is due.
fn notice_at_ms(policy: &Policy, access: &Access, index: usize) -> Option<u64> {
    let left_s = policy.expiring_at_s.get(index)?;
    // The access ends with the last second of the token, a notice counts from that second's beginning.
    Some(access.expires_mono_ms.saturating_sub(left_s.saturating_add(1).saturating_mul(1000)))
}

fn daemon_error(cx: &Context<'_>, text: &str) -> Action {
    Action::Send(Event::DaemonError(wrapped(cx, text)))
}

fn wrapped(cx: &Context<'_>, text: &str) -> String {
    format!("Error Event [{}]: {text}", (cx.error_id)())
}
