//! Runs on each node: supervises game servers and serves their consoles.
//!
//! The path of a **line**: the shim writes it to the log and rings (`runtime/link`), `server/actor` has `log` read
//! the new bytes and asks the engine whether the game is ready, `hub` keeps the newest lines, encoded once for all, and every
//! cursor (`console`) in `socket` copies its batch to its viewer.
//!
//! The path of a **command**: `socket` gives the frame to `engine::session`, which allows it or not; the handle in `server`
//! queues it; `server/actor` gives it a number; `runtime/link` carries it to the shim, which writes it once.

mod access;
mod clock;
mod config;
mod console;
mod doctor;
mod figures;
mod frame;
mod history;
mod http;
mod hub;
mod jwt;
mod line;
mod log;
mod node;
mod origin;
mod panel_time;
mod problem;
mod remote;
mod removal;
mod runtime;
mod server;
mod socket;
mod stats;
mod tasks;
mod waiting;

pub use config::{Config, ContainerSettings, Containers, IsolationSettings, Rung};
pub use doctor::{Finding, Verdict, examine, examine_engine};
pub use node::{Daemon, OpenError};
pub use remote::RemoteError;
pub use socket::handshake::Handover;
