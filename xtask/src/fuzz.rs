//! A short run of every fuzz target, with the stable compiler and no extra tool: what is wrong at once shows here.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::steps::{Outcome, succeeds};
use crate::workspace::{cargo, root};

/// How long each target runs, unless this variable says otherwise.
const SECONDS: u32 = 15;
const SECONDS_VARIABLE: &str = "FUZZ_SECONDS";
/// A single input may take this long; more is a finding.
const INPUT_SECONDS_MAX: u32 = 10;
const MEMORY_MIB_MAX: u32 = 2048;
/// What `libFuzzer` needs to see which way an input takes through the code.
const FLAGS: [&str; 7] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cdebug-assertions=on",
];

/// Builds and runs every target in `fuzz/fuzz_targets`.
pub(crate) fn run() -> Result<Outcome> {
    let folder = root().join("fuzz");
    if !folder.join("Cargo.toml").is_file() {
        return Ok(Outcome::Skipped("there is no folder fuzz".to_owned()));
    }
    // Build scripts and macros must not be instrumented: with a target named, the flags are for that target only.
    let platform = format!("{}-unknown-linux-gnu", env::consts::ARCH);
    let targets = targets(&folder.join("fuzz_targets"))?;
    let mut build = cargo();
    build.args(["build", "--manifest-path", "fuzz/Cargo.toml", "--release", "--bins", "--target", &platform]);
    build.args(["--target-dir", "fuzz/target"]).env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"));
    if succeeds(&mut build)? != Outcome::Passed {
        return Ok(Outcome::Failed);
    }
    for target in targets {
        if run_target(&folder, &platform, &target)? != Outcome::Passed {
            println!("The input that broke {target} is in fuzz/artifacts/{target}");
            return Ok(Outcome::Failed);
        }
    }
    Ok(Outcome::Passed)
}

/// The names of the targets, from their files.
fn targets(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let paths: Vec<PathBuf> = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    let name = |path: &PathBuf| Some(path.file_name()?.to_str()?.strip_suffix(".rs")?.to_owned());
    let mut names: Vec<_> = paths.iter().filter_map(name).collect();
    names.sort();
    Ok(names)
}

fn run_target(folder: &Path, platform: &str, target: &str) -> Result<Outcome> {
    // What was learnt stays outside of git; inputs worth keeping are in `seeds`, which is only read.
    let (corpus, seeds) = (format!("target/corpus/{target}"), format!("seeds/{target}"));
    let artifacts = format!("artifacts/{target}/");
    for made in [&corpus, &artifacts] {
        fs::create_dir_all(folder.join(made)).with_context(|| format!("making fuzz/{made}"))?;
    }
    let seconds = env::var(SECONDS_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
    let mut command = Command::new(folder.join(format!("target/{platform}/release/{target}")));
    command.current_dir(folder).args([
        format!("-max_total_time={seconds}"),
        format!("-timeout={INPUT_SECONDS_MAX}"),
        format!("-rss_limit_mb={MEMORY_MIB_MAX}"),
        format!("-artifact_prefix={artifacts}"),
        "-print_final_stats=1".to_owned(),
        "-verbosity=0".to_owned(),
        corpus,
    ]);
    if folder.join(&seeds).is_dir() {
        command.arg(seeds);
    }
    succeeds(&mut command)
}
