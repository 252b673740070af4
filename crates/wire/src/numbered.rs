//! The WebSocket subprotocol `quarterdeck.v1`: the console protocol with numbers. A client that offers it gets lines with their
//! number and time, attaches where it likes, and an answer to each request; all others see no difference.
//!
//! Frames are those of [`crate::console`] with members beside `event` and `args`. The types here are the JSON documents in
//! `args[0]` of the events that only this subprotocol has.

use serde::{Deserialize, Serialize};

use crate::history::LineKind;
use crate::node::{Condition, is_none};

/// Its name in `Sec-WebSocket-Protocol`.
pub const SUBPROTOCOL: &str = "quarterdeck.v1";

/// Longest `id` of a request, in characters; a longer one counts as none.
pub const REQUEST_ID_CHARS_MAX: usize = 64;

/// `attach`: where lines are to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Attach {
    /// Behind this line.
    After(u64),
    /// With so many of the newest.
    Last(u64),
}

/// `attached`: the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// The number lines begin with.
    pub next: u64,
    /// The number the next new line will get.
    pub head: u64,
}

/// `gap`: lines that cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The first that is missing.
    pub from: u64,
    /// The first that is there again.
    pub to: u64,
    /// Why, for people.
    pub reason: String,
}

/// `heartbeat`: a sign of life every few seconds, and how far the console is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The number the next new line will get.
    pub head: u64,
    /// The node's clock; Unix milliseconds.
    pub at: u64,
}

/// How a request has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReceiptOutcome {
    /// It was done: the command was handed to the game, the power action has begun or ended as it should.
    Done,
    /// It was not done.
    Refused,
    /// Nobody knows.
    Unknown,
}

/// `receipt`: what became of a request that had an `id`. Exactly one for each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The request's.
    pub id: String,
    /// How it has ended.
    pub outcome: ReceiptOutcome,
    /// Why it was not done, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Members beside `event` and `args` of a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineMembers<'a> {
    /// Its number.
    pub seq: u64,
    /// When it was complete; Unix milliseconds.
    pub at: u64,
    /// Who it is from. Commands and notices stand in `args[0]` as they were said, without decoration.
    pub kind: LineKind,
    /// Who typed it, as a uuid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<&'a str>,
}

/// Members beside `event` and `args` of a `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusMembers {
    /// While stopping: when the grace ends and the game is killed; Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kill_at: Option<u64>,
    /// While offline: how the last run ended, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<String>,
    /// While offline: whether that end was a crash, one that nobody had asked for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub crashed: bool,
    /// While offline: when that was; Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<u64>,
    /// While offline after a crash: when it is started again; Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_at: Option<u64>,
    /// `crash-looping`, in any state, from the second crash in a row on until a run lasts or somebody steps in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<Condition>,
    /// Crashes since the last run that lasted, while there are any.
    #[serde(default, skip_serializing_if = "is_none")]
    pub crashes_in_a_row: u32,
    /// While offline: it has crashed too often and is not started again by itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gave_up: bool,
}

/// A frame with members beside `event` and `args`.
pub fn frame(event: &str, arg: &str, members: &impl Serialize) -> String {
    #[derive(Serialize)]
    struct Frame<'a, T> {
        event: &'a str,
        args: [&'a str; 1],
        #[serde(flatten)]
        members: &'a T,
    }
    // Strings and structs of numbers and strings always have a JSON form.
    crate::console::json(arg.len(), &Frame { event, args: [arg], members })
}

/// A frame of a line.
pub fn line_frame(text: &str, members: &LineMembers<'_>) -> String {
    frame(crate::console::server::CONSOLE_OUTPUT, text, members)
}

/// The JSON document of an event, as its one argument.
pub fn document(value: &impl Serialize) -> String {
    // As above.
    serde_json::to_string(value).unwrap_or_default()
}
