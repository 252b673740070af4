//! One viewer's side of the console conversation, without a socket and without a clock: text and time in, actions out.
//!
//! ```text
//! Down --opened--> Greeting --auth success--> Live --token expired--> Lapsed --auth success--> Live
//!   ^                                          any --closed--> Down
//!   '-- history: Unasked -> Coming (shown as it comes, let pass unseen, or held until the seam is found) -> Done
//! ```
//!
//! Nodes differ in one thing that matters here. Ours handles the messages of a socket in order, so `auth`, `send logs` and
//! `send stats` go out together: no live line can come between the first two, and the sample marks the end of the history.
//! Others handle them side by side; there the history is asked for when the token is in force, and over when it is quiet.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use wire::close::CloseReason;
use wire::console::{Message, client};
use wire::server::{PowerAction, State};

use crate::client::api::state_from_word;
use crate::client::pace::Bucket;
use crate::client::splice::{Seam, Tail};

/// No line for so long after the last: the history of a node without order is over.
const QUIET_MS: u64 = 300;
/// Nothing came at all for so long: there is no history.
const SILENT_MS: u64 = 1_500;
/// A game that never stops printing ends the wait for a quiet moment here.
const UNORDERED_WAIT_MS: u64 = 3_000;
/// The mark of a node with order comes before this, or something is wrong with it.
const ORDERED_WAIT_MS: u64 = 15_000;
/// Lines held back while the seam is looked for; beyond it, what is there is joined.
const HELD_LINES_MAX: usize = 20_000;
/// Commands waiting for their turn; one more is refused with a notice.
const WAITING_COMMANDS_MAX: usize = 256;
/// Tokens refused in a row after which nothing is to be hoped from another.
const REFUSALS_MAX: u32 = 3;
/// A refused token is renewed after this. Tokens are dated in whole seconds, and one of the second in which rights changed
/// counts as one from before.
const RENEW_AFTER_MS: u64 = 1_100;
/// An `auth` that was discarded has room again after this.
const DISCARDED_AFTER_MS: u64 = 5_500;
/// Text in a `jwt error` for a request without a token in force.
const NO_TOKEN: &str = "jwt: no jwt present";
/// Texts in a `jwt error` that a new token heals (protocol reference §11.1).
const RENEWABLE: [&str; 2] = ["jwt: exp claim is invalid", "jwt: created too far in past (denylist)"];

/// Which lines are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lines {
    /// Whichever come; what is missed is missed.
    Any,
    /// All from now on. What was printed before is read too, unseen: it tells after a reconnect what is new.
    New,
    /// The last ones, and all from now on.
    Last,
}

/// What happened, for whoever watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The token is in force on a fresh connection; `again` after a lost one.
    Attached {
        /// Not the first time.
        again: bool,
    },
    /// A console line, exactly as sent.
    Line {
        /// The text.
        text: String,
        /// It came as an answer to the request for the last lines.
        history: bool,
    },
    /// All of the history was shown, and lines from now on are sure to be seen.
    HistoryEnd,
    /// After a reconnect, lines may be missing here, or come twice.
    Gap,
    /// The server's state.
    State(State),
    /// A sample: a JSON document.
    Stats(String),
    /// The node could not do something.
    Error(String),
    /// The node says something that is not console output.
    Notice(String),
    /// A command was not sent.
    NotSent {
        /// The command or action.
        what: String,
        /// The reason.
        why: String,
    },
    /// The connection was lost; the next attempt follows in so many milliseconds.
    Lost {
        /// What happened.
        why: String,
        /// Milliseconds.
        retry_ms: u64,
    },
}

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Do {
    /// Send this text frame.
    Send(String),
    /// Fetch a new token and hand it to [`Talk::token`].
    Renew,
    /// Show this.
    Show(Seen),
    /// End for good; there is nothing to come back to.
    GiveUp(String),
}

/// What the person wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// A line for the game.
    Command(String),
    /// A power action.
    Power(PowerAction),
    /// A sample now.
    Stats,
}

impl std::fmt::Display for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Command(text) => f.write_str(text),
            Self::Power(action) => write!(f, "{action}"),
            Self::Stats => f.write_str("stats"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Down,
    Greeting,
    Live,
    Lapsed,
}

#[derive(Clone, Debug)]
enum History {
    /// Not wanted, or not asked for on this connection yet.
    Unasked,
    /// Asked for.
    Coming { end: Ending, takes: Takes },
    /// Over.
    Done,
}

/// What becomes of its lines.
#[derive(Clone, Debug)]
enum Takes {
    /// Shown.
    Shown,
    /// Nobody wants to see them; they are remembered to find the seam with, should the connection be lost.
    Unseen,
    /// They must be joined to what was shown.
    Held {
        /// So far.
        lines: Vec<String>,
        /// The node will not send them all.
        cut: bool,
    },
}

/// How the end of a history is known.
#[derive(Clone, Copy, Debug)]
enum Ending {
    /// By a quiet moment: when it was asked for, and when the last line came.
    Quiet { asked: Instant, last: Option<Instant> },
    /// By the answer to `send stats`; until `latest`. A node tells the state first, and with `offline` one sample unasked; with
    /// another one each second. `begun`: a line came.
    Mark { latest: Instant, unasked: Unasked, begun: bool },
}

/// Samples that are not the mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unasked {
    /// The state is not known yet.
    Unknown,
    /// One is to come.
    One,
    /// One may come, but hardly within the history, which is sent in one go.
    Perhaps,
    /// None any more.
    None,
}

impl Ending {
    fn deadline(&self) -> Instant {
        match *self {
            Self::Quiet { asked, last: None } => asked + Duration::from_millis(SILENT_MS),
            Self::Quiet { asked, last: Some(last) } => {
                (last + Duration::from_millis(QUIET_MS)).min(asked + Duration::from_millis(UNORDERED_WAIT_MS))
            }
            Self::Mark { latest, .. } => latest,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Renewal {
    Idle,
    /// To be asked for then.
    Due(Instant),
    /// Asked for, not here yet.
    Asked,
}

/// The conversation.
#[derive(Debug)]
pub(crate) struct Talk {
    wants: Lines,
    /// The node handles the messages of a socket in order.
    ordered: bool,
    phase: Phase,
    renewal: Renewal,
    history: History,
    tail: Tail,
    attached_before: bool,
    refusals: u32,
    bucket: Bucket,
    waiting: VecDeque<String>,
    actions: Vec<Do>,
}

impl Talk {
    /// Nothing is connected yet.
    pub(crate) fn new(wants: Lines, now: Instant) -> Self {
        Self {
            wants,
            ordered: false,
            phase: Phase::Down,
            renewal: Renewal::Idle,
            history: History::Unasked,
            tail: Tail::default(),
            attached_before: false,
            refusals: 0,
            bucket: Bucket::new(now),
            waiting: VecDeque::new(),
            actions: Vec::new(),
        }
    }

    /// What is to be done, in this order.
    pub(crate) fn actions(&mut self) -> Vec<Do> {
        std::mem::take(&mut self.actions)
    }

    /// When [`Talk::tick`] wants to be called, if it does.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let history = match &self.history {
            History::Coming { end, .. } => Some(end.deadline()),
            History::Unasked | History::Done => None,
        };
        let commands = (self.phase == Phase::Live && !self.waiting.is_empty()).then(|| self.bucket.ready_at());
        let renewal = match self.renewal {
            Renewal::Due(at) => Some(at),
            Renewal::Idle | Renewal::Asked => None,
        };
        [history, commands, renewal].into_iter().flatten().min()
    }

    /// The deadline has come.
    pub(crate) fn tick(&mut self, now: Instant) {
        if matches!(&self.history, History::Coming { end, .. } if end.deadline() <= now) {
            self.end_history();
        }
        if matches!(self.renewal, Renewal::Due(at) if at <= now) {
            self.renew();
        }
        self.send_waiting(now);
    }

    /// A socket is open, and this is a fresh token for it. `ordered`: the node handles messages in order.
    pub(crate) fn opened(&mut self, token: &str, ordered: bool, now: Instant) {
        self.phase = Phase::Greeting;
        self.ordered = ordered;
        self.bucket = Bucket::new(now);
        self.token(token);
    }

    /// A renewed token is here.
    pub(crate) fn token(&mut self, token: &str) {
        self.renewal = Renewal::Idle;
        if self.phase == Phase::Down {
            return;
        }
        self.send(client::AUTH, Some(token));
        if self.phase == Phase::Greeting && self.ordered && self.asks_history() {
            self.send(client::SEND_LOGS, None);
            self.send(client::SEND_STATS, None);
        }
    }

    /// After a reconnect the history fills what was missed, wanted or not at first: nothing may be lost in silence. Before
    /// that, a node without order cannot be asked for it unseen: live lines come between.
    fn asks_history(&self) -> bool {
        match self.wants {
            Lines::Any => false,
            Lines::New => self.ordered || self.attached_before,
            Lines::Last => true,
        }
    }

    /// Commands wait for their turn.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// No new token could be had this time; the next notice of the node asks again.
    pub(crate) fn token_failed(&mut self, why: &str) {
        self.renewal = Renewal::Idle;
        self.show(Seen::Notice(format!("the access token could not be renewed: {why}")));
    }

    /// The socket is gone. Whether there is a reason to come back.
    pub(crate) fn closed(&mut self, code: Option<u16>, reason: &str) -> bool {
        self.down("the connection was lost before its turn came");
        let last = match code {
            Some(code) if code == CloseReason::Suspended.code() => Some("the server is suspended"),
            Some(code) if code == CloseReason::Deleted.code() && reason == CloseReason::Deleted.text() => {
                Some("the server was deleted")
            }
            _ => None,
        };
        if let Some(why) = last {
            self.actions.push(Do::GiveUp(why.to_owned()));
        }
        last.is_none()
    }

    /// It is over. Lines that were held are shown, and what was not sent is named.
    pub(crate) fn ended(&mut self) {
        self.down("the console ended before its turn came");
    }

    fn down(&mut self, why_not_sent: &str) {
        if let History::Coming { takes: Takes::Unseen, .. } = self.history {
            // Half of it is no ground to tell old from new on. Nothing was promised yet, so the next connection begins anew.
            self.tail.clear();
        } else {
            self.end_history();
        }
        self.history = History::Unasked;
        self.phase = Phase::Down;
        self.renewal = Renewal::Idle;
        for what in std::mem::take(&mut self.waiting) {
            self.not_sent(what, why_not_sent);
        }
    }

    /// The person wants something.
    pub(crate) fn order(&mut self, order: Order, now: Instant) {
        let what = order.to_string();
        match self.phase {
            Phase::Live => {}
            Phase::Down | Phase::Greeting => return self.not_sent(what, "not connected"),
            Phase::Lapsed => {
                return self.not_sent(what, "the access token has expired and is being renewed; try again");
            }
        }
        match order {
            Order::Command(_) if self.waiting.len() >= WAITING_COMMANDS_MAX => {
                self.not_sent(what, "too many commands are waiting for their turn");
            }
            Order::Command(text) => {
                self.waiting.push_back(text);
                self.send_waiting(now);
            }
            Order::Power(action) => self.send(client::SET_STATE, Some(action.as_str())),
            Order::Stats => self.send(client::SEND_STATS, None),
        }
    }

    /// A text frame came.
    pub(crate) fn text(&mut self, frame: &str, now: Instant) {
        // Events with other than strings in them are not for us; ignoring unknown ones is part of the protocol.
        let Ok(message) = serde_json::from_str::<Message>(frame) else { return };
        let arg = || message.args.first().cloned().unwrap_or_default();
        match message.event.as_str() {
            "auth success" => self.authenticated(now),
            "token expiring" => self.renew(),
            "token expired" => {
                self.phase = Phase::Lapsed;
                self.renew();
            }
            "jwt error" => self.jwt_error(&arg(), now),
            "daemon error" if self.phase == Phase::Greeting => self.refused(&arg(), now),
            "daemon error" => self.show(Seen::Error(arg())),
            "daemon message" => self.show(Seen::Notice(arg())),
            "throttled" => {
                let what = arg();
                self.discarded(&what, now);
                self.show(Seen::Error(format!("the node discarded a message ({what}): too many at once")));
            }
            "status" => {
                if let Some(state) = state_from_word(&arg()) {
                    self.show(Seen::State(state));
                    self.state_told(state);
                }
            }
            "stats" => {
                self.show(Seen::Stats(arg()));
                self.sample_came();
            }
            "console output" | "install output" | "transfer logs" => self.line(arg(), now),
            "deleted" => self.actions.push(Do::GiveUp("the server was deleted".to_owned())),
            _ => {}
        }
    }

    fn authenticated(&mut self, now: Instant) {
        let fresh = self.phase == Phase::Greeting;
        self.phase = Phase::Live;
        self.refusals = 0;
        if !fresh {
            return self.send_waiting(now);
        }
        let (again, asks) = (self.attached_before, self.asks_history());
        self.attached_before = true;
        self.show(Seen::Attached { again });
        if !asks {
            // Nothing to wait for: what comes from now on is seen.
            return self.show(Seen::HistoryEnd);
        }
        let end = if self.ordered {
            Ending::Mark {
                latest: now + Duration::from_millis(ORDERED_WAIT_MS),
                unasked: Unasked::Unknown,
                begun: false,
            }
        } else {
            self.send(client::SEND_LOGS, None);
            Ending::Quiet { asked: now, last: None }
        };
        let takes = match self.wants {
            Lines::New if self.ordered && !self.tail.is_known() => Takes::Unseen,
            Lines::Last if !again => Takes::Shown,
            _ => Takes::Held { lines: Vec::new(), cut: false },
        };
        self.history = History::Coming { end, takes };
    }

    fn state_told(&mut self, state: State) {
        if let History::Coming { end: Ending::Mark { unasked: unasked @ Unasked::Unknown, .. }, .. } = &mut self.history
        {
            *unasked = if state == State::Offline { Unasked::One } else { Unasked::Perhaps };
        }
    }

    fn sample_came(&mut self) {
        let History::Coming { end: Ending::Mark { unasked, begun, .. }, .. } = &mut self.history else { return };
        let is_mark = match std::mem::replace(unasked, Unasked::None) {
            Unasked::Unknown | Unasked::One => false,
            Unasked::Perhaps => *begun,
            Unasked::None => true,
        };
        if is_mark {
            self.end_history();
        }
    }

    fn jwt_error(&mut self, text: &str, now: Instant) {
        let lower = text.to_lowercase();
        // What was asked for together with a token that is not accepted is answered like this; the token has its own answer.
        if self.phase == Phase::Greeting && lower.contains(NO_TOKEN) {
            return;
        }
        if !RENEWABLE.iter().any(|known| lower.contains(known)) {
            return self
                .actions
                .push(Do::GiveUp(format!("the node does not accept the access token: {}", without_event_id(text))));
        }
        self.refused(text, now);
    }

    /// The token that was sent is not accepted. Another one may be.
    fn refused(&mut self, text: &str, now: Instant) {
        if self.renewal != Renewal::Idle {
            return;
        }
        self.refusals += 1;
        if self.refusals >= REFUSALS_MAX {
            let text = without_event_id(text);
            self.actions.push(Do::GiveUp(format!("the node refused {REFUSALS_MAX} access tokens in a row: {text}")));
        } else {
            self.renewal = Renewal::Due(now + Duration::from_millis(RENEW_AFTER_MS));
        }
    }

    /// The node did not even look at a message of ours.
    fn discarded(&mut self, event: &str, now: Instant) {
        match (event, &mut self.history) {
            (client::AUTH, _) if self.phase != Phase::Live && self.renewal == Renewal::Idle => {
                self.renewal = Renewal::Due(now + Duration::from_millis(DISCARDED_AFTER_MS));
            }
            (client::SEND_LOGS, History::Coming { takes: Takes::Held { cut, .. }, .. }) => *cut = true,
            _ => {}
        }
    }

    fn renew(&mut self) {
        if self.renewal != Renewal::Asked {
            self.renewal = Renewal::Asked;
            self.actions.push(Do::Renew);
        }
    }

    fn line(&mut self, text: String, now: Instant) {
        let History::Coming { end, takes } = &mut self.history else { return self.show_line(text, false) };
        match end {
            Ending::Quiet { last, .. } => *last = Some(now),
            Ending::Mark { begun, .. } => *begun = true,
        }
        match takes {
            Takes::Shown => self.show_line(text, true),
            Takes::Unseen => self.tail.push(&text),
            Takes::Held { lines, .. } => {
                lines.push(text);
                if lines.len() >= HELD_LINES_MAX {
                    self.end_history();
                }
            }
        }
    }

    fn end_history(&mut self) {
        let History::Coming { takes, .. } = std::mem::replace(&mut self.history, History::Done) else { return };
        if let Takes::Held { lines: held, cut } = takes {
            let (known, are_old, is_sure) = match self.tail.join(&held) {
                Seam::Sure(known) => (known, false, true),
                Seam::Unsure(known) => (known, false, false),
                // Whoever waits for new lines must not take an old one for it.
                Seam::Unknown => (0, true, self.wants == Lines::Last || held.is_empty()),
            };
            if cut || !is_sure {
                self.show(Seen::Gap);
            }
            for text in held.into_iter().skip(known) {
                self.show_line(text, are_old);
            }
        }
        self.tail.complete();
        self.show(Seen::HistoryEnd);
    }

    fn show_line(&mut self, text: String, history: bool) {
        self.tail.push(&text);
        self.show(Seen::Line { text, history });
    }

    fn send_waiting(&mut self, now: Instant) {
        while self.phase == Phase::Live && !self.waiting.is_empty() && self.bucket.take(now) {
            if let Some(text) = self.waiting.pop_front() {
                self.send(client::SEND_COMMAND, Some(&text));
            }
        }
    }

    fn not_sent(&mut self, what: String, why: &str) {
        self.show(Seen::NotSent { what, why: why.to_owned() });
    }

    fn show(&mut self, seen: Seen) {
        self.actions.push(Do::Show(seen));
    }

    fn send(&mut self, event: &str, arg: Option<&str>) {
        // Every known node takes `[null]` for no argument, and some take nothing else.
        let frame = serde_json::json!({ "event": event, "args": [arg] });
        self.actions.push(Do::Send(frame.to_string()));
    }
}

/// What a node says about an error, without the number it has in the node's log: `Error Event [uuid]: text`.
pub(crate) fn without_event_id(text: &str) -> &str {
    text.strip_prefix("Error Event [").and_then(|rest| rest.split_once("]: ")).map_or(text, |(_, said)| said)
}

#[cfg(test)]
#[path = "talk_tests.rs"]
mod tests;
