//! `cargo xtask test`: the steps, how each is run, and the summary.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::workspace::{cargo, has_cargo_subcommand, target_dir};
use crate::{fuzz, tidy, torture};

/// How `cargo xtask test` runs.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Go on after a step that failed
    #[arg(long)]
    keep_going: bool,
    /// Only these steps
    #[arg(value_name = "STEP", value_parser = clap::builder::PossibleValuesParser::new(STEPS.map(|step| step.name)))]
    only: Vec<String>,
}

struct Step {
    name: &'static str,
    what: &'static str,
    run: fn(&Options) -> Result<Outcome>,
}

/// The order is cheap first, so that a slip is found early. The tests come late: a short run of the fuzz targets finds
/// broken decoders with less to read. What is left to say of faults stands on all of it.
const STEPS: [Step; 12] = [
    Step { name: "fmt", what: "the layout of the code", run: fmt },
    Step { name: "tidy", what: "the house rules", run: |_| tidy::run().map(Outcome::from_success) },
    Step { name: "clippy", what: "warnings of the compiler and clippy, denied", run: clippy },
    Step { name: "deny", what: "licences, banned and doubled dependencies", run: deny },
    Step { name: "doc", what: "the documentation and its links", run: doc },
    Step { name: "doctest", what: "the examples in the documentation", run: doctest },
    Step { name: "web", what: "the web interface: types, unit tests, sizes, a browser", run: web },
    Step { name: "fuzz", what: "a short run of every fuzz target", run: |_| fuzz::run() },
    Step { name: "test", what: "every test, real games among them", run: test },
    Step { name: "containers", what: "the tests of processes once more, in containers", run: containers },
    Step { name: "bench", what: "nothing lost under many viewers, and none of them grown large", run: |_| bench() },
    Step { name: "torture", what: "the promises under faults, in their short form", run: |_| torture::short() },
];

/// How a step ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed,
    /// Not run, and why.
    Skipped(String),
}

impl Outcome {
    pub(crate) fn from_success(success: bool) -> Self {
        if success { Self::Passed } else { Self::Failed }
    }
}

/// Runs the steps; true if none failed.
pub(crate) fn run(options: &Options) -> bool {
    let mut done = Vec::new();
    for step in STEPS.iter().filter(|step| options.only.is_empty() || options.only.iter().any(|name| name == step.name))
    {
        println!("\n=== {}: {}", step.name, step.what);
        let start = Instant::now();
        let outcome = (step.run)(options).unwrap_or_else(|error| {
            eprintln!("error: {error:#}");
            Outcome::Failed
        });
        if let Outcome::Skipped(why) = &outcome {
            println!("SKIP {}: {why}", step.name);
        }
        let failed = outcome == Outcome::Failed;
        done.push((step.name, outcome, start.elapsed()));
        if failed && !options.keep_going {
            break;
        }
    }
    summarize(&done);
    done.iter().all(|(_, outcome, _)| *outcome != Outcome::Failed)
}

fn summarize(done: &[(&str, Outcome, Duration)]) {
    println!("\n=== summary");
    for (name, outcome, time) in done {
        let outcome = match outcome {
            Outcome::Passed => "ok".to_owned(),
            Outcome::Failed => "FAILED".to_owned(),
            Outcome::Skipped(why) => format!("SKIPPED: {why}"),
        };
        println!("{name:<8} {:>7.1} s  {outcome}", time.as_secs_f64());
    }
    let all: f64 = done.iter().map(|(_, _, time)| time.as_secs_f64()).sum();
    println!("{:<8} {all:>7.1} s", "all");
    let count = |wanted: fn(&Outcome) -> bool| done.iter().filter(|(_, outcome, _)| wanted(outcome)).count();
    println!(
        "checks: {} passed, {} failed, {} skipped",
        count(|outcome| *outcome == Outcome::Passed),
        count(|outcome| *outcome == Outcome::Failed),
        count(|outcome| matches!(outcome, Outcome::Skipped(_)))
    );
}

/// Says the command, runs it, and tells whether it succeeded.
pub(crate) fn succeeds(command: &mut Command) -> Result<Outcome> {
    let mut words = vec![command.get_program().to_string_lossy().rsplit('/').next().unwrap_or_default().to_owned()];
    words.extend(command.get_args().map(|arg| arg.to_string_lossy().into_owned()));
    println!("$ {}", words.join(" "));
    let status = command.status().with_context(|| format!("could not run {}", words.join(" ")))?;
    Ok(Outcome::from_success(status.success()))
}

fn fmt(_: &Options) -> Result<Outcome> {
    succeeds(cargo().args(["fmt", "--all", "--check"]))
}

fn clippy(_: &Options) -> Result<Outcome> {
    succeeds(cargo().args(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))
}

fn deny(_: &Options) -> Result<Outcome> {
    if !has_cargo_subcommand("deny") {
        return Ok(Outcome::Skipped("cargo-deny is not installed; cargo install cargo-deny --locked".to_owned()));
    }
    // Not `advisories`: its database is a repository to clone, and a check must not depend on the day it runs.
    succeeds(cargo().args(["deny", "--locked", "check", "bans", "licenses", "sources"]))
}

fn doc(_: &Options) -> Result<Outcome> {
    let mut doc = cargo();
    doc.args(["doc", "--workspace", "--no-deps", "--locked", "--document-private-items"]);
    succeeds(doc.env("RUSTDOCFLAGS", "-D warnings"))
}

fn test(options: &Options) -> Result<Outcome> {
    // The end-to-end tests run the program as it is shipped: built once, here, not by each of them.
    let mut build = cargo();
    build.args(["build", "--workspace", "--bins", "--locked"]);
    if !build.status().context("cargo build")?.success() {
        return Ok(Outcome::Failed);
    }
    let skipped = target_dir()?.join("skipped-tests");
    fs::write(&skipped, "").context("the list of skipped tests")?;
    let mut test = with_engine()?;
    test.env("QUARTERDECK_SKIPPED", &skipped);
    if has_cargo_subcommand("nextest") {
        test.args(["cargo", "nextest", "run", "--workspace", "--locked"]);
    } else {
        test.args(["cargo", "test", "--workspace", "--all-targets", "--locked"]);
    }
    if options.keep_going {
        test.arg("--no-fail-fast");
    }
    let outcome = succeeds(&mut test)?;
    // A test that finds nothing to test on this machine passes; the runner does not show what it had to say.
    for line in fs::read_to_string(&skipped).context("the list of skipped tests")?.lines() {
        println!("SKIP {line}");
    }
    Ok(outcome)
}

/// A command, to be added, with a container engine beside it that tests find.
fn with_engine() -> Result<Command> {
    let program = target_dir()?.join("debug/with-engine");
    let mut command = Command::new(program);
    command.env("QUARTERDECK_BIN", target_dir()?.join("debug/quarterdeck"));
    Ok(command)
}

/// Tests of what runs games, in containers: those of the program end to end that are not about processes as such.
fn containers(options: &Options) -> Result<Outcome> {
    if !has_cargo_subcommand("nextest") {
        return Ok(Outcome::Skipped("cargo-nextest is not installed; it picks the tests".to_owned()));
    }
    if !cargo().args(["build", "--workspace", "--bins", "--locked"]).status().context("cargo build")?.success() {
        return Ok(Outcome::Failed);
    }
    let binaries = CONTAINER_BINARIES.map(|name| format!("binary({name})")).join(" or ");
    let without = NOT_IN_CONTAINERS.map(|(name, _)| format!("test(={name})")).join(" or ");
    let mut test = with_engine()?;
    test.env("QUARTERDECK_TEST_RUNTIME", "docker");
    test.args(["cargo", "nextest", "run", "--package", "e2e", "--locked", "--filterset"]);
    test.arg(format!("({binaries}) and not ({without})"));
    if options.keep_going {
        test.arg("--no-fail-fast");
    }
    succeeds(&mut test)
}

/// The end-to-end tests of what runs games and of what is said about it.
const CONTAINER_BINARIES: [&str; 8] =
    ["conversation", "crashes", "ending", "history", "lifecycle", "output", "restart", "shim_killed"];

/// Tests of those that say nothing about containers, and why.
const NOT_IN_CONTAINERS: [(&str, &str); 4] = [
    ("traffic_is_counted_or_named_as_unmeasured", "a container's own test counts its traffic"),
    ("a_game_saves_when_its_shim_is_killed", "the kernel ends a container with its first process, at once"),
    (
        "a_game_that_goes_into_the_background_does_not_stay_there",
        "half of it is about an ordinary user, who has no engine",
    ),
    ("nothing_of_a_game_stays_for_an_ordinary_user_either", "an ordinary user has no engine"),
];

/// Figures of an unoptimised program say nothing; what must hold in any build holds in this one.
fn bench() -> Result<Outcome> {
    let arguments = ["--short", "paced", "flood", "pressure", "memory", "stuck"].map(OsString::from);
    torture::with_program("bench", "debug", &arguments)
}

/// The web interface by itself, its browser tests against a scripted panel. Against the real one they run among the tests.
fn web(_: &Options) -> Result<Outcome> {
    let npm = |arguments: &[&str]| succeeds(Command::new("npm").args(arguments).current_dir("web"));
    if !Command::new("npm").arg("--version").output().is_ok_and(|output| output.status.success()) {
        return Ok(Outcome::Skipped("npm is not installed; Node.js 20.19 or newer has it".to_owned()));
    }
    // What it needs is there when the program was built: `crates/web` installs it, and notes of which lock file.
    let installed = fs::read("web/node_modules/.quarterdeck-installed").unwrap_or_default();
    if installed != fs::read("web/package-lock.json")? && npm(&["ci", "--no-fund"])? == Outcome::Failed {
        return Ok(Outcome::Failed);
    }
    for script in ["check", "build", "budget"] {
        if npm(&["run", script])? == Outcome::Failed {
            return Ok(Outcome::Failed);
        }
    }
    if !has_chromium() {
        return Ok(Outcome::Skipped("its browser tests: there is no chromium (apt-get install chromium)".to_owned()));
    }
    npm(&["run", "e2e"])
}

fn has_chromium() -> bool {
    std::env::var_os("CHROMIUM").is_some() || Path::new("/usr/bin/chromium").exists()
}

fn doctest(_: &Options) -> Result<Outcome> {
    succeeds(cargo().args(["test", "--workspace", "--doc", "--locked"]))
}
