//! The program behind `cargo xtask`: what the project checks about itself.
// Printing is what this program is for.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod fuzz;
mod steps;
mod tidy;
mod torture;
mod workspace;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "What the project checks about itself")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Every check there is: the command to run before a commit, and what CI runs
    Test(steps::Options),
    /// What the program promises, held against kills, floods, full disks and slow people; minutes to hours, exit code 1 if a promise breaks
    Torture(torture::Options),
    /// House rules that neither the compiler nor clippy knows
    Tidy,
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Test(options) => Ok(steps::run(&options)),
        Task::Torture(options) => torture::run(&options),
        Task::Tidy => tidy::run(),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
