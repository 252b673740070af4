//! Types that cross a process boundary: serde, no behaviour beyond what the wire format itself defines.
//!
//! [`json`] is how texts are spelled in frames. [`console`] is the WebSocket conversation of a game server's console, [`numbered`] its extension by line numbers, [`close`] its table of close codes, [`token`] the
//! JWT that opens it, [`server`] the words both sides use for a server, [`api`] and [`application`] the panel's public REST
//! bodies, [`session`] those of signing in from a browser, [`node`] what a panel asks of a node and [`remote`] what a node asks of its panel.
//!
//! Facts of the protocol are those of Pterodactyl's panel and Wings; `docs/protocol.md` says what we put on the wire.

pub mod api;
pub mod application;
pub mod close;
pub mod console;
pub mod history;
pub mod ids;
pub mod json;
pub mod node;
pub mod numbered;
pub mod remote;
pub mod server;
pub mod session;
pub mod token;
