//! The program `quarterdeck`: reads the command line, does one thing, and turns what went wrong into words and an exit code.

mod access;
mod args;
mod client;
mod commands;
mod console;
mod escape;
mod fault;
mod folder;
mod host;
mod invocation;
mod output;
mod serve;
mod settings;

use std::io::{Write, stdout};
use std::process::ExitCode;

use clap::CommandFactory;
use serde_json::json;

use crate::args::{Cli, Command, Global};
use crate::commands::Context;
use crate::fault::Fault;
use crate::output::{Output, Paint, escaped, note};

/// Threads for work that blocks. What comes beyond waits: more of them would not read faster, and once there they stay, because each has
/// something to do now and then.
const BLOCKING_THREADS_MAX: usize = 128;

fn main() -> ExitCode {
    let Cli { global, command } = args::hint::parse();
    let global = global.or_environment();
    // The game must be the only thread: it blocks signals for one that waits for them.
    if let Command::Fakegame(args) = command {
        return fakegame::run(*args);
    }
    let json = global.json;
    match act(&global, command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            complain(&fault, json, &global);
            fault.exit_code()
        }
    }
}

fn act(global: &Global, command: Command) -> Result<(), Fault> {
    if let Command::Completions { shell } = command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut shown_command(), "quarterdeck", &mut script);
        if global.json {
            let script = String::from_utf8_lossy(&script);
            return Output::new(global).document(&json!({ "shell": shell.to_string(), "script": script }));
        }
        return Ok(stdout().write_all(&script)?);
    }
    let runtime = runtime()?;
    let result = runtime.block_on(dispatch(global, command));
    // A thread that waits for a key or a file has nothing left to do for anybody.
    runtime.shutdown_background();
    result
}

/// The command line without what the help text does not show either: completions would offer it.
fn shown_command() -> clap::Command {
    let whole = Cli::command();
    clap::Command::new("quarterdeck")
        .args(whole.get_arguments().cloned())
        .subcommands(whole.get_subcommands().filter(|command| !command.is_hide_set()).cloned())
}

fn runtime() -> Result<tokio::runtime::Runtime, Fault> {
    tokio::runtime::Builder::new_multi_thread()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .enable_all()
        .build()
        .map_err(|error| Fault::Failed(format!("cannot start the runtime: {error}")))
}

async fn dispatch(global: &Global, command: Command) -> Result<(), Fault> {
    let context = match command {
        Command::Up(args) => return host::up::run(global, args).await,
        Command::Panel(args) => return host::panel::run(global, args).await,
        Command::Node(args) => return host::node::run(global, args).await,
        Command::Doctor => return host::doctor::run(global).await,
        _ => Context::new(global)?,
    };
    match command {
        Command::Server(args) => commands::servers::run(&context, args.action).await,
        Command::Template(args) => commands::templates::run(&context, &args.action).await,
        Command::Egg(args) => commands::eggs::run(&context, args.action).await,
        Command::Power(args) => commands::power::run(&context, args).await,
        Command::Console(args) => console::run(&context, global, args).await,
        Command::Logs(args) => commands::logs::run(&context, args).await,
        Command::Runs(args) => commands::runs::run(&context, args).await,
        Command::Stats(args) => commands::stats::run(&context, args).await,
        Command::Send(args) => commands::command(&context, args).await,
        Command::Key(args) => commands::keys::run(&context, args.action).await,
        Command::User(args) => commands::users::run(&context, args.action).await,
        Command::Share(args) => commands::share::run(&context, args).await,
        // Done before it came to this.
        Command::Up(_)
        | Command::Panel(_)
        | Command::Node(_)
        | Command::Doctor
        | Command::Completions { .. }
        | Command::Fakegame(_) => Ok(()),
    }
}

/// The one place where a fault becomes text for a person, or for a program under `--json`.
fn complain(fault: &Fault, json: bool, global: &Global) {
    match fault {
        Fault::OutputClosed => {}
        fault if json => note(&escaped(fault.to_json().to_string())),
        fault => {
            let output = Output::for_errors(global);
            note(&format!("{} {fault}", output.paint(Paint::Red, "error:")));
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn the_argument_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_a_server_is_told_and_what_is_for_us() {
        let read = |words: &[&str]| {
            let line = ["quarterdeck", "command", "demo"].iter().chain(words);
            let Cli { global, command } = Cli::try_parse_from(line).map_err(|error| error.to_string())?;
            let Command::Send(args) = command else { unreachable!() };
            Ok::<_, String>((args.text.join(" "), global.json))
        };
        let told = |text: &str, json| Ok((text.to_owned(), json));
        assert_eq!(read(&["say", "hi", "--json"]), told("say hi", true));
        assert_eq!(read(&["--json", "say", "hi"]), told("say hi", true));
        assert_eq!(read(&["--json", "--", "say", "--json", "-x"]), told("say --json -x", true));
        assert_eq!(read(&["tp", "Ann", "-5", "64", "-0.5"]), told("tp Ann -5 64 -0.5", false));
        // Never lost silently: an option we do not have is an error that says how to send it.
        assert!(read(&["list", "--all"]).is_err_and(|text| text.contains("-- --all")));
        assert!(read(&["--json"]).is_err());
    }
}
