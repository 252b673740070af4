//! Runs a command with a container engine for tests beside it, in the environment variable that tests look at; without Docker's
//! programs, or the right to run an engine, as it is. The engine is ours alone: its data, its socket and its containers go with it.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::expect_used)]

use std::process::{Command, ExitCode};

use e2e::engine::{Dockerd, ENGINE_VARIABLE};

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let Some(program) = words.next() else {
        eprintln!("usage: with-engine COMMAND [ARGUMENT...]");
        return ExitCode::from(2);
    };
    let mut command = Command::new(program);
    command.args(words);
    let given = std::env::var_os(ENGINE_VARIABLE).is_some();
    let engine = match (given, Dockerd::possible()) {
        (true, _) => None,
        (false, Ok(())) => Some(Dockerd::start(&[])),
        (false, Err(why)) => {
            println!("no container engine for tests: {why}");
            None
        }
    };
    if let Some(engine) = &engine {
        command.env(ENGINE_VARIABLE, engine.engine().socket());
    }
    let status = command.status().expect("the command runs");
    // Not by `exit`: the engine is ended on the way out.
    drop(engine);
    status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}
