//! The flags of the deterministic game.

use std::net::IpAddr;
use std::time::Duration;

use crate::units;

/// What the deterministic game does. Durations are `200ms`, `3s`, `1m`; sizes `64K`, `100M`.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct PlayArgs {
    /// How long starting up takes
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = units::duration)]
    pub(super) ready_after: Duration,
    /// The line that says the game is ready; empty for a game that never says so
    #[arg(long, value_name = "TEXT", default_value = "Done (0.000s)! For help, type \"help\"")]
    pub(super) ready_line: String,
    /// Lines per second once ready; 0 for as fast as the reader takes them. Without it (and --lines) there are none
    #[arg(long, value_name = "N", value_parser = units::rate)]
    pub(super) rate: Option<f64>,
    /// How many lines to print in all, without a rate at once; by default there is no end
    #[arg(long, value_name = "N")]
    pub(super) lines: Option<u64>,
    /// The number of the first line
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) first: u64,
    /// Fill each line up to this many bytes, line end not counted
    #[arg(long, value_name = "BYTES", default_value = "0", value_parser = units::bytes)]
    pub(super) line_len: usize,
    /// Add `seq=<n> t=<nanoseconds of the machine's monotonic clock>` to each line
    #[arg(long)]
    pub(super) stamp: bool,
    /// Stop by itself after the last of --lines
    #[arg(long, requires = "lines")]
    pub(super) exit_when_done: bool,

    /// Print this prompt without a newline when ready and after each command
    #[arg(long, value_name = "TEXT")]
    pub(super) no_newline_prompt: Option<String>,
    /// Colour each line
    #[arg(long)]
    pub(super) ansi: bool,
    /// End lines with CR LF
    #[arg(long)]
    pub(super) crlf: bool,
    /// Put bytes that are no UTF-8 into each line
    #[arg(long)]
    pub(super) invalid_utf8: bool,
    /// Put a NUL byte into each line
    #[arg(long)]
    pub(super) nul: bool,
    /// Print one line of this many bytes right after the ready line
    #[arg(long, value_name = "BYTES", value_parser = units::bytes)]
    pub(super) long_line: Option<usize>,

    /// Answer each line of standard input with `cmd: <line>`
    #[arg(long, conflicts_with = "ignore_stdin")]
    pub(super) echo_stdin: bool,
    /// Never read standard input
    #[arg(long)]
    pub(super) ignore_stdin: bool,
    /// The command that stops the game; empty for none
    #[arg(long, value_name = "TEXT", default_value = "stop")]
    pub(super) stop_command: String,
    /// Obey `burst N` (lines at once), `rate N`, `raw TEXT` (with escapes \n \r \e \0 \xHH), `exit STATUS`, `segv`
    #[arg(long, conflicts_with = "ignore_stdin")]
    pub(super) obey: bool,

    /// Signals to take note of and ignore: TERM, INT, HUP, QUIT, USR1, USR2
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = units::signal)]
    pub(super) ignore_signals: Vec<i32>,
    /// How many signals it takes to stop the game
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) signals_needed: u32,
    /// Leave signals their default action: die of them
    #[arg(long)]
    pub(super) die_by_signal: bool,
    /// How long stopping takes
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = units::duration)]
    pub(super) stop_delay: Duration,
    /// The exit status, 0 by default and 1 for a crash
    #[arg(long, value_name = "STATUS")]
    pub(super) exit_code: Option<u8>,
    /// Die without a word this long after the start
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    pub(super) crash_after: Option<Duration>,
    /// Let the crash be a segmentation fault; at once without --crash-after
    #[arg(long)]
    pub(super) segv: bool,

    /// Go on in the background in a session of its own while the process that was started exits with 0
    #[arg(long)]
    pub(super) daemonize: bool,
    /// Start this many child processes that hold our output and outlive us (for ten minutes at most)
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) fork_children: u32,
    /// Let the children leave our session and process group
    #[arg(long)]
    pub(super) setsid: bool,
    /// Hold this much memory
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = units::bytes)]
    pub(super) alloc: usize,
    /// Keep this many cores busy, 0.5 for half of one
    #[arg(long, value_name = "CORES", default_value = "0", value_parser = units::cores)]
    pub(super) burn_cpu: f64,
    /// Write this many files of 1024 bytes into the folder `fakegame-files`
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) write_files: u32,
    /// Send back every datagram that arrives at this port; 0 for any free one
    #[arg(long, value_name = "PORT")]
    pub(super) udp_echo: Option<u16>,
    /// The address of --udp-echo
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", requires = "udp_echo")]
    pub(super) bind: IpAddr,
}

impl PlayArgs {
    pub(super) fn line_end(&self) -> &'static str {
        if self.crlf { "\r\n" } else { "\n" }
    }
}
