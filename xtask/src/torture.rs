//! `cargo xtask torture`: builds the shipped program and holds what it promises against faults (the crate `torture`).

use std::ffi::OsString;
use std::process::Command;

use anyhow::{Context, Result};

use crate::steps::{Outcome, succeeds};
use crate::workspace::{cargo, target_dir};

/// What `cargo xtask torture` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// For the runner: `--short`, `--seed NUMBER`, `--list`, names of faults; `--help` says all
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
    arguments: Vec<OsString>,
}

/// The whole of it, with the program as it is shipped.
pub(crate) fn run(options: &Options) -> Result<bool> {
    Ok(torture("release", &options.arguments)? == Outcome::Passed)
}

/// The short form, with the program that the tests have built.
pub(crate) fn short() -> Result<Outcome> {
    torture("debug", &["--short".into()])
}

fn torture(profile: &str, arguments: &[OsString]) -> Result<Outcome> {
    with_program("torture", profile, arguments)
}

/// Builds the program and one that puts it to the test, and runs the latter.
pub(crate) fn with_program(tester: &str, profile: &str, arguments: &[OsString]) -> Result<Outcome> {
    let mut build = cargo();
    build.args(["build", "--locked", "--package", "quarterdeck", "--package", tester, "--bins"]);
    if profile == "release" {
        build.arg("--release");
    }
    if !build.status().context("cargo build")?.success() {
        return Ok(Outcome::Failed);
    }
    let programs = target_dir()?.join(profile);
    let mut tester = Command::new(programs.join(tester));
    succeeds(tester.args(arguments).env("QUARTERDECK_BIN", programs.join("quarterdeck")))
}
