//! The fake game as a process: everything its flags promise, since other tests build on these promises.
#![allow(clippy::unwrap_used)]

mod demo;
mod game;
mod play;
mod play_end;
mod play_load;
