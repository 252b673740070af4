//! Holds the promises of docs/promises.md against faults: drives the shipped program, injects them, and counts what was lost.
//!
//! Each fault is one file in `faults`; it gives the rows of the table that is printed at the end. Everything random comes from the seed.
// Printing is what this program is for; what stands in its way is a failure, and said as one.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::expect_used, clippy::unwrap_used)]

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

mod faults;
mod ground;
mod mount;
mod plan;
mod table;
mod viewer;

use plan::Plan;
use table::Row;

#[derive(Parser)]
#[command(
    name = "torture",
    about = "Holds what the program promises against faults; exit code 1 if a promise breaks",
    after_help = "The program under test is the one that QUARTERDECK_BIN names; `cargo xtask torture` builds and names it."
)]
struct Cli {
    /// Where everything random comes from; printed, so that a run can be repeated
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Fewer times and smaller, in a few minutes: for CI
    #[arg(long)]
    short: bool,
    /// Say which faults there are, and end
    #[arg(long)]
    list: bool,
    /// How long `soak` takes, in minutes
    #[arg(long, value_name = "MINUTES", default_value_t = 30)]
    minutes: u64,
    /// Only these faults; `soak` runs only when it is named
    #[arg(value_name = "FAULT")]
    only: Vec<String>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.list {
        for fault in faults::ALL {
            println!("{:<12} {}", fault.name, fault.what);
        }
        return ExitCode::SUCCESS;
    }
    if let Some(unknown) = cli.only.iter().find(|name| faults::ALL.iter().all(|fault| fault.name != name.as_str())) {
        eprintln!("error: there is no fault `{unknown}`; `--list` says which there are");
        return ExitCode::from(2);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let rows = runtime.block_on(run(&cli));
    println!("\n{}", table::render(&rows));
    let broken = rows.iter().filter(|row| row.broken().is_some()).count();
    println!("{} rows, {broken} broken", rows.len());
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn run(cli: &Cli) -> Vec<Row> {
    let plan = Plan::new(cli.seed, cli.short, cli.minutes);
    println!("seed {}, {} form", plan.seed(), if cli.short { "short" } else { "full" });
    let mut rows = Vec::new();
    for fault in faults::ALL {
        let named = cli.only.iter().any(|name| name == fault.name);
        if !named && (!cli.only.is_empty() || fault.only_when_named) {
            continue;
        }
        println!("--- {}: {}", fault.name, fault.what);
        let begun = Instant::now();
        // A task of its own: what panics breaks its promise, and the others still run.
        let found = tokio::spawn((fault.run)(plan.clone())).await.unwrap_or_else(|error| {
            let why = error.into_panic();
            let text = why.downcast_ref::<String>().map(String::as_str).or_else(|| why.downcast_ref::<&str>().copied());
            vec![Row::failed(fault.name, text.unwrap_or("it panicked"))]
        });
        for row in &found {
            println!("    {row}");
        }
        println!("    {:.1} s", begun.elapsed().as_secs_f64());
        rows.extend(found);
    }
    rows
}
