//! Console connections on a node without a panel: times, limits and paces, with settings short enough to wait for.
#![allow(clippy::unwrap_used, missing_docs)]

mod claims;
mod door;
#[path = "../common/handover.rs"]
mod handover;
mod limits;
mod node;
mod numbered;
mod pace;
mod requests;
mod rfc6455;
