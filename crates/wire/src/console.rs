//! The WebSocket conversation: what a client may say and what a node says.
//!
//! Every message is one JSON object in one text frame: `{"event": string, "args": [string, …]}`. Going out, `args` is a list
//! of strings or is left out; coming in, clients differ a lot and [`Incoming`] takes what Wings takes (§3.4) and, beyond it,
//! the bare string that one known client sends.

use std::borrow::Cow;

use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};

use crate::numbered::document;

/// What a frame has beside its text: names, braces, and the members of a line with a number.
const FRAME_BYTES: usize = 128;

/// Names of the events a client sends.
pub mod client {
    /// Authenticate, or renew.
    pub const AUTH: &str = "auth";
    /// The last lines, please.
    pub const SEND_LOGS: &str = "send logs";
    /// One `stats`, please.
    pub const SEND_STATS: &str = "send stats";
    /// A power action.
    pub const SET_STATE: &str = "set state";
    /// Text for the game's stdin.
    pub const SEND_COMMAND: &str = "send command";
    /// Where lines are to begin; only with [`crate::numbered`].
    pub const ATTACH: &str = "attach";
}

/// Names of the events a node sends.
pub mod server {
    /// The token is in force.
    pub const AUTH_SUCCESS: &str = "auth success";
    /// The token ends soon.
    pub const TOKEN_EXPIRING: &str = "token expiring";
    /// The token has ended.
    pub const TOKEN_EXPIRED: &str = "token expired";
    /// The token is the problem.
    pub const JWT_ERROR: &str = "jwt error";
    /// A request failed.
    pub const DAEMON_ERROR: &str = "daemon error";
    /// A notice of the node.
    pub const DAEMON_MESSAGE: &str = "daemon message";
    /// Messages were discarded.
    pub const THROTTLED: &str = "throttled";
    /// The state.
    pub const STATUS: &str = "status";
    /// A sample.
    pub const STATS: &str = "stats";
    /// A line.
    pub const CONSOLE_OUTPUT: &str = "console output";
    /// The server is gone.
    pub const DELETED: &str = "deleted";
    /// Where lines begin; this and those below only with [`crate::numbered`].
    pub const ATTACHED: &str = "attached";
    /// An installation begins.
    pub const INSTALL_STARTED: &str = "install started";
    /// A line of an installation, or of an image being pulled.
    pub const INSTALL_OUTPUT: &str = "install output";
    /// An installation has ended, well or not.
    pub const INSTALL_COMPLETED: &str = "install completed";
    /// Lines that cannot be had.
    pub const GAP: &str = "gap";
    /// A sign of life.
    pub const HEARTBEAT: &str = "heartbeat";
    /// What became of a request.
    pub const RECEIPT: &str = "receipt";
}

/// A message from a client, decoded as leniently as known clients need.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Incoming {
    /// The event's name, exactly as sent.
    pub event: String,
    /// All arguments joined without a separator, as Wings does: `["a","b"]` is `ab`; `[null]`, `[]`, `null` and a missing list
    /// are the empty string; a bare string counts as a list of one. Numbers and objects fail the whole message.
    #[serde(default, deserialize_with = "joined")]
    pub args: String,
    /// What the client calls this request, if it says so with a string; see [`crate::numbered`].
    #[serde(default, deserialize_with = "string_or_nothing")]
    pub id: Option<String>,
}

impl Incoming {
    /// Reads a text frame. `None` for whatever Wings ignores: text that is not JSON, that is no object, or whose members have
    /// other types.
    pub fn decode(frame: &str) -> Option<Self> {
        // Without this check serde would take a list for a struct.
        frame.trim_start().starts_with('{').then(|| serde_json::from_str(frame).ok()).flatten()
    }
}

/// Plain clients may send any member they like.
fn string_or_nothing<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::String(text) => Ok(Some(text)),
        _ => Ok(None),
    }
}

fn joined<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    struct Joined;
    impl<'de> Visitor<'de> for Joined {
        type Value = String;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a list of strings and nulls, a string, or null")
        }
        fn visit_unit<E: de::Error>(self) -> Result<String, E> {
            Ok(String::new())
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
            Ok(text.to_owned())
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<String, A::Error> {
            let mut all = String::new();
            while let Some(item) = seq.next_element::<Option<Cow<'de, str>>>()? {
                all.push_str(item.as_deref().unwrap_or_default());
            }
            Ok(all)
        }
    }
    deserializer.deserialize_any(Joined)
}

/// A message from the node. Its JSON has no `args` member when the event has no arguments, as in the public documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The token is in force.
    AuthSuccess,
    /// The token ends within a minute: renew.
    TokenExpiring,
    /// The token has ended; nothing but this and answers is sent until a renewal.
    TokenExpired,
    /// The token is the problem. The stock interface renews if the text contains one of two known strings, and gives up on
    /// any other (§11.1).
    JwtError(String),
    /// A request failed.
    DaemonError(String),
    /// A notice of the node that is not console output.
    DaemonMessage(String),
    /// Messages were discarded; the argument is the event's name, or `global`.
    Throttled(String),
    /// The state changed, or was asked for by authenticating.
    Status(crate::server::State),
    /// One sample, as a JSON document in a string.
    Stats(String),
    /// One line of the console.
    ConsoleOutput(String),
    /// An installation begins.
    InstallStarted,
    /// A line of an installation, or of an image being pulled for a start.
    InstallOutput(String),
    /// An installation has ended. Whether it went well the server's details say, not this.
    InstallCompleted,
    /// The server was removed from this node.
    Deleted,
    /// Where lines begin; this and those below only with [`crate::numbered`].
    Attached(crate::numbered::Attached),
    /// A sign of life.
    Heartbeat(crate::numbered::Heartbeat),
    /// What became of a request.
    Receipt(crate::numbered::Receipt),
}

impl Event {
    /// The event's name on the wire.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::AuthSuccess => server::AUTH_SUCCESS,
            Self::TokenExpiring => server::TOKEN_EXPIRING,
            Self::TokenExpired => server::TOKEN_EXPIRED,
            Self::JwtError(_) => server::JWT_ERROR,
            Self::DaemonError(_) => server::DAEMON_ERROR,
            Self::DaemonMessage(_) => server::DAEMON_MESSAGE,
            Self::Throttled(_) => server::THROTTLED,
            Self::Status(_) => server::STATUS,
            Self::Stats(_) => server::STATS,
            Self::ConsoleOutput(_) => server::CONSOLE_OUTPUT,
            Self::InstallStarted => server::INSTALL_STARTED,
            Self::InstallOutput(_) => server::INSTALL_OUTPUT,
            Self::InstallCompleted => server::INSTALL_COMPLETED,
            Self::Deleted => server::DELETED,
            Self::Attached(_) => server::ATTACHED,
            Self::Heartbeat(_) => server::HEARTBEAT,
            Self::Receipt(_) => server::RECEIPT,
        }
    }

    /// The argument, if the event has one.
    pub fn arg(&self) -> Option<Cow<'_, str>> {
        let text = match self {
            Self::AuthSuccess | Self::TokenExpiring | Self::TokenExpired => return None,
            Self::Attached(attached) => return Some(document(attached).into()),
            Self::Heartbeat(heartbeat) => return Some(document(heartbeat).into()),
            Self::Receipt(receipt) => return Some(document(receipt).into()),
            Self::JwtError(text)
            | Self::DaemonError(text)
            | Self::DaemonMessage(text)
            | Self::Throttled(text)
            | Self::Stats(text)
            | Self::InstallOutput(text)
            | Self::ConsoleOutput(text) => text,
            // An empty text, not none (§6.1).
            Self::InstallStarted | Self::InstallCompleted => "",
            Self::Status(state) => state.as_str(),
            // Wings encodes a JSON null once more, as a string (§6.1).
            Self::Deleted => "null",
        };
        Some(Cow::Borrowed(text))
    }

    /// The text frame. `always_args` writes `"args":[]` where there are none, for clients that spread it (§11.3).
    pub fn frame(&self, always_args: bool) -> String {
        frame(self.name(), self.arg().as_deref(), always_args)
    }
}

/// A `console output` frame for one line, without owning the line first.
pub fn console_output_frame(line: &str) -> String {
    frame(server::CONSOLE_OUTPUT, Some(line), false)
}

/// A frame of an event with this argument; see [`Event::frame`].
pub fn frame(event: &str, arg: Option<&str>, always_args: bool) -> String {
    struct Frame<'a> {
        event: &'a str,
        arg: Option<&'a str>,
        always_args: bool,
    }
    impl Serialize for Frame<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let with_args = self.arg.is_some() || self.always_args;
            let mut out = serializer.serialize_struct("Frame", 1 + usize::from(with_args))?;
            out.serialize_field("event", self.event)?;
            if with_args {
                out.serialize_field("args", self.arg.as_slice())?;
            }
            out.end()
        }
    }
    json(arg.map_or(0, str::len), &Frame { event, arg, always_args })
}

/// A document in JSON that is about as long as a text in it; strings, numbers and lists of them always have a JSON form.
pub(crate) fn json(text_bytes: usize, document: &impl Serialize) -> String {
    let mut bytes = Vec::with_capacity(text_bytes + FRAME_BYTES);
    if serde_json::to_writer(&mut bytes, document).is_err() {
        return String::new();
    }
    String::from_utf8(bytes).unwrap_or_default()
}

/// A message as a client of ours reads it: any event name, arguments as sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The event's name.
    pub event: String,
    /// Its arguments; missing and null are the empty list.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
}

fn nullable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::<Vec<String>>::deserialize(deserializer)?.unwrap_or_default())
}
