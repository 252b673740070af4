//! Every decision, and nothing else: values in, values out.
//!
//! No I/O, no clock, no async, no randomness of its own (`clippy.toml` of this crate bans them): time is an argument
//! ([`time::Now`]), identifiers come from the caller, effects are returned as lists for the caller to carry out in order. That
//! is why all of it is tested without a socket, a process or a sleep.
//!
//! [`session`] is one console connection's conversation, [`power`] one server's process, [`token`] who may do what and for how
//! long, [`throttle`] how fast, [`startup`] when a game is ready, [`mod@line`] what a line looks like, [`search`] whether it
//! has a text.

pub mod denylist;
pub mod line;
pub mod panel_clock;
pub mod power;
pub mod search;
pub mod session;
pub mod startup;
pub mod throttle;
pub mod time;
pub mod token;
pub mod window;
