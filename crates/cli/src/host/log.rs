//! The program's own log: on stderr, for the people who run it. Console lines, keys and tokens are never in it.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::args::host::LogFormat;

/// Says what to log, such as `debug` or `daemon=debug,info`.
const VARIABLE: &str = "QUARTERDECK_LOG";

/// What is not of interest unless somebody asks for it.
const QUIET: &str = "memory_serve=warn";

/// Begins to log. A second call changes nothing.
pub(crate) fn start(format: LogFormat) {
    let filter =
        EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).with_env_var(VARIABLE).from_env_lossy();
    // It tells of every file that the pages are made of, at every start.
    let filter = match QUIET.parse() {
        Ok(quiet) if std::env::var_os(VARIABLE).is_none() => filter.add_directive(quiet),
        _ => filter,
    };
    // A log that cannot be written, on a full disk perhaps, must not end what is being logged: the complaint about it would go to the
    // same place, with a macro that panics when it cannot.
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).log_internal_errors(false);
    // It fails when there is a log already, and then there is one.
    let _ = match format {
        LogFormat::Text => builder.with_ansi(stderr().is_terminal()).with_target(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}
