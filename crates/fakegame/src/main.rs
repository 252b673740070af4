//! The program `fakegame`, for tests: the library's command line and nothing else.

use std::process::ExitCode;

use clap::Parser;

/// A small game server: the demo, and the deterministic game of the tests
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    args: fakegame::Args,
}

fn main() -> ExitCode {
    fakegame::run(Cli::parse().args)
}
