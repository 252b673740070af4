//! Speaking to a panel and, for consoles, to the node it names: only what the public API offers.

pub(crate) mod api;
pub(crate) mod link;
pub(crate) mod pace;
pub(crate) mod rest;
pub(crate) mod splice;
pub(crate) mod talk;
pub(crate) mod watch;
