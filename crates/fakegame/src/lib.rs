//! A small game server of our own: `demo` is good to play with for a minute, `play` does exactly what its flags say.
//!
//! No tokio, no dependency on the rest of the house: it must look to the runtime like any other game. The program
//! `quarterdeck` mounts [`Args`] as a hidden subcommand, the tests use the binary `fakegame`; both end in [`run`].

use std::process::ExitCode;

use clap::Subcommand;

mod demo;
mod hostile;
mod inbox;
mod play;
mod random;
mod sys;
mod units;

pub use demo::DemoArgs;
pub use hostile::HostileArgs;
pub use play::PlayArgs;

/// Exit status when standard output is gone: nobody can see this game any more (`EX_IOERR` of sysexits.h).
pub const EXIT_OUTPUT_GONE: u8 = 74;

/// The command line of the game: a mode, or the flags of `play` directly.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    mode: Option<Mode>,
    #[command(flatten)]
    play: PlayArgs,
}

#[derive(Debug, Subcommand)]
enum Mode {
    /// A small server with players who come, chat and go; type `help` in its console
    Demo(DemoArgs),
    /// The deterministic game of the tests (default)
    Play(PlayArgs),
    /// Tries to get at what is not its own, for the tests of isolation
    #[command(hide = true)]
    Hostile(HostileArgs),
}

/// Plays until stopped and returns the status to exit with.
///
/// Call it before the process has other threads: signals are blocked here so that one thread can wait for them, and a
/// thread started earlier would still take them with their default action.
pub fn run(args: Args) -> ExitCode {
    let played = match args.mode {
        Some(Mode::Demo(demo)) => demo::run(&demo),
        Some(Mode::Play(play)) => play::run(&play),
        Some(Mode::Hostile(hostile)) => hostile::run(&hostile),
        None => play::run(&args.play),
    };
    // An error here is always about our output: there is nowhere left to say so.
    ExitCode::from(played.unwrap_or(EXIT_OUTPUT_GONE))
}
