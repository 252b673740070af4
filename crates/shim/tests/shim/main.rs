//! The shim as it is shipped to a daemon: the program, its socket, its log. Games are small shell scripts.
#![allow(clippy::unwrap_used)]

mod harness;
mod identity;
mod input;
mod machine;
mod output;
mod start;
mod stop;
