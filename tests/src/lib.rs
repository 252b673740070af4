//! What the end-to-end tests stand on: the shipped program on a port and a data folder of its own, and clients for it.
//!
//! A test waits for something to be said or to become true, with a deadline; it never waits for time to pass.

#![allow(clippy::print_stdout)]

pub mod access;
pub mod deck;
pub mod engine;
pub mod folder;
pub mod hostile;
pub mod pair;
pub mod processes;
pub mod program;
pub mod record;
pub mod rest;
pub mod socket;
pub mod token;

use std::time::Duration;

/// How long anything may take before a test gives up: long enough for a loaded machine.
pub const DEADLINE: Duration = Duration::from_secs(45);

/// Says that a test has nothing to test on this machine: in its own output, and in the summary of `cargo xtask test`.
///
/// # Panics
/// In CI, if `insisted`: there, what is missing is a mistake of CI's.
pub fn skip(test: &str, why: &str, insisted: bool) {
    assert!(!insisted || std::env::var_os("CI").is_none(), "{test} must not be skipped in CI: {why}");
    let line = format!("{test}: {why}\n");
    print!("SKIPPED {line}");
    if let Some(list) = std::env::var_os("QUARTERDECK_SKIPPED") {
        // One write of one short line: tests of several processes do not mix theirs.
        let list = std::fs::File::options().create(true).append(true).open(list);
        let _ = list.and_then(|mut list| std::io::Write::write_all(&mut list, line.as_bytes()));
    }
}

pub use deck::Deck;
pub use engine::Engine;
pub use folder::Folder;
pub use pair::Pair;
pub use rest::{Answer, Rest};
pub use socket::Socket;
