//! What the program costs, beside what the kernel costs: see README.md.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

use clap::Parser;

mod cpu;
mod figures;
mod frame;
mod limit;
mod line;
mod load;
mod plan;
mod table;
mod target;
mod trivial;

/// Descriptors for all viewers of both sides, here and in what is started here.
const FILES: u64 = 200_000;

#[derive(Debug, Parser)]
#[command(about = "Measures what the program costs, beside what the kernel costs")]
struct Args {
    #[command(subcommand)]
    role: Option<Role>,
    /// Only as much as shows that this works
    #[arg(long)]
    short: bool,
    /// Which figures there are
    #[arg(long)]
    list: bool,
    /// Figures to measure; all without
    names: Vec<String>,
}

/// What this program does for itself.
#[derive(Debug, clap::Subcommand)]
enum Role {
    /// One epoll loop that writes ready frames to sockets
    #[command(hide = true)]
    Limit(limit::LimitArgs),
    /// One route of axum that answers the same JSON to everybody
    #[command(hide = true)]
    Trivial(trivial::TrivialArgs),
}

/// Raises the limit of open files as far as it goes; children have it too.
fn open_files() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    // Whoever may raise the hard limit gets what is wanted, everybody the hard limit.
    for most in [Some(FILES), now.maximum] {
        let maximum = now.maximum.max(most);
        let _ = setrlimit(Resource::Nofile, Rlimit { current: most, maximum });
    }
    getrlimit(Resource::Nofile).current.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX)
}

fn main() -> ExitCode {
    let args = Args::parse();
    let role = args.role.map(|role| match role {
        Role::Limit(args) => ("limit", limit::run(args)),
        Role::Trivial(args) => ("trivial", trivial::run(&args)),
    });
    if let Some((name, run)) = role {
        return match run {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{name}: {error}");
                ExitCode::FAILURE
            }
        };
    }
    if args.list {
        for figure in figures::ALL {
            println!("{:10} {}", figure.name, figure.what);
        }
        return ExitCode::SUCCESS;
    }
    if let Some(unknown) = args.names.iter().find(|name| !figures::ALL.iter().any(|figure| figure.name == **name)) {
        eprintln!("there is no figure `{unknown}`; --list names them");
        return ExitCode::FAILURE;
    }
    let files_max = open_files();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let plan = plan::Plan { is_short: args.short, files_max };
    let chosen =
        figures::ALL.iter().filter(|figure| args.names.is_empty() || args.names.iter().any(|name| name == figure.name));
    let mut rows = Vec::new();
    for figure in chosen {
        eprintln!("--- {}: {}", figure.name, figure.what);
        let measured = runtime.block_on((figure.measure)(plan));
        eprintln!("{}", table::table(&measured));
        rows.extend(measured);
    }
    println!("{}", table::table(&rows));
    let count = |what: fn(&table::Row) -> bool| rows.iter().filter(|row| what(row)).count();
    let (missed, broken) = (count(table::Row::is_missed), count(table::Row::is_broken));
    println!("{} figures, {missed} goals missed, {broken} broken", rows.len());
    // A goal is something to work on, and in the short form nothing is fast enough to say anything; a lost line is neither.
    if broken > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
