//! The panel through its router, over a real SQLite file and with a real HTTP listener as node.

#![allow(clippy::unwrap_used, clippy::type_complexity, clippy::cloned_ref_to_slice_refs, unreachable_pub)]

mod account;
mod application;
mod bad_input;
mod console;
mod credentials;
mod deletion;
mod docs;
mod eggs;
mod full_disk;
mod ground;
mod history;
mod lists;
mod network;
mod node;
mod outbox;
mod remote;
mod schema;
mod sign_in;
mod startup;
mod subusers;
mod user_keys;
