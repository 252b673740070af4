//! The shipped program, driven as people and programs drive it.

#![allow(clippy::unwrap_used)]

mod deck;
mod outputs;
mod reconnect;
mod serving;
mod terminal;
mod tty;
mod up;
