//! The shim: parent of one game. It owns the game's terminal or pipes, is the only writer of its log, and lives as long as the game.
//!
//! Daemons come and go around it: they start it with a [`spool::spec::LaunchSpec`] on its standard input, read one
//! [`spool::ready::Ready`] from its standard output, and from then on talk to it on a unix socket ([`spool::message`]) and read
//! what it writes. It has one thread, takes no configuration, and ends when the game has ended and never before.
//!
//! In a container it is the first process, see [`contained`]: the same program with the same guarantees, and as what docker stops.
//!
//! The order of a start: log locked and recovered, socket bound, terminal made, detached from whoever started it, game started. So
//! a game never runs without somebody who writes down what it says, and a refused start leaves nothing behind.
//!
//! # Building the small one
//!
//! An ordinary build gives an ordinary program, good for tests. What is shipped is static, so that one file runs in any container,
//! and at a fixed address, so that all shims of a machine share nearly all of their memory:
//!
//! ```text
//! CARGO_ENCODED_RUSTFLAGS=$'-Ctarget-feature=+crt-static\x1f-Crelocation-model=static' \
//!     cargo build -p shim --profile shim --target "$TARGET" --target-dir "$OUT_DIR/shim"
//! ```
//!
//! The program is `$OUT_DIR/shim/$TARGET/shim/quarterdeck-shim` then. The target has to be named: the flags would apply to procedural
//! macros too otherwise, which cannot be static. From a build script, take `RUSTC_WORKSPACE_WRAPPER` out of the environment, or
//! clippy builds nothing. With glibc this is 1.2 MB on disk and 0.8 MB resident, of which 0.15 MB are its own; no name service is
//! used, so a static glibc is safe.

mod ancestry;
mod clients;
mod console;
mod contained;
mod game;
mod input;
mod listener;
mod memory;
mod run;
mod start;
mod throttle;
mod tree;

// The only places with code the compiler cannot check.
#[allow(unsafe_code)]
mod child;
#[allow(unsafe_code)]
mod sandbox;
#[allow(unsafe_code)]
mod system;

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use spool::ready::Ready;

use crate::contained::Contained;

fn main() -> ExitCode {
    system::close_inherited();
    system::ignore_signals();
    let contained = Contained::from_arguments();
    let started = start::start(contained.as_ref());
    let (ready, started) = match started {
        Ok(started) => (Ready::Ok { shim_pid: std::process::id(), game_pid: started.game.pid_number() }, Some(started)),
        Err(failure) => (failure, None),
    };
    // Whoever started us may have gone; the game runs all the same.
    let _ = match &contained {
        Some(contained) => contained.answer(&ready),
        None => start::answer(&ready),
    };
    match started {
        Some(started) => run::run(started),
        None => ExitCode::FAILURE,
    }
}

/// Unix time in ms.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
