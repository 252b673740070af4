//! What the end-to-end tests stand on: the shipped program on a port and a data folder of its own, and clients for it.
//!
//! A test waits for something to be said or to become true, with a deadline; it never waits for time to pass.

#![allow(clippy::print_stdout)]

pub mod deck;
pub mod program;
pub mod rest;
pub mod socket;
pub mod token;

use std::time::Duration;

/// How long anything may take before a test gives up: long enough for a loaded machine.
pub const DEADLINE: Duration = Duration::from_secs(45);

pub use deck::Deck;
pub use rest::{Answer, Rest};
pub use socket::Socket;
