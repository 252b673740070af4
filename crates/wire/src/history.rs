//! What a node has kept of a server: its console line by line, its runs, its figures. Ours, not of the stock API.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Who a line of the console is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LineKind {
    /// The game printed it.
    Output,
    /// Somebody typed it.
    Input,
    /// The node says it.
    Notice,
}

/// One line of a console.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConsoleLine {
    /// Its number, which never changes.
    pub seq: u64,
    /// When it was complete; Unix milliseconds.
    pub at: u64,
    /// Who it is from.
    pub kind: LineKind,
    /// As it was printed, escape sequences included.
    pub text: String,
    /// Who typed it, as a uuid; only for [`LineKind::Input`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// Lines that cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConsoleGap {
    /// The first that is missing.
    pub from: u64,
    /// The first that is there again.
    pub to: u64,
    /// Why, for people.
    pub reason: String,
}

/// A part of a console.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConsoleLines {
    /// The oldest line that is kept.
    pub oldest: u64,
    /// The number the next line will get.
    pub next: u64,
    /// What is missing between the first and the last of `lines`.
    pub gaps: Vec<ConsoleGap>,
    /// The lines, in order.
    pub lines: Vec<ConsoleLine>,
}

/// A line that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConsoleMatch {
    /// Its number.
    pub seq: u64,
    /// When it was printed; Unix milliseconds.
    pub at: u64,
    /// Its text without escape sequences, which is what is searched.
    pub text: String,
}

/// What a search found, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConsoleMatches {
    /// The lines.
    pub matches: Vec<ConsoleMatch>,
    /// Everything from this line on was searched: go on with `before` this number.
    pub searched_to: u64,
    /// Whether that is all there is.
    pub complete: bool,
}

/// One run of a game.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Run {
    /// Which run.
    pub id: String,
    /// When it began; Unix milliseconds. Null if nobody knows any more.
    pub started_at: Option<u64>,
    /// When it ended; null while it goes on.
    pub ended_at: Option<u64>,
    /// Its first line, which may be no longer kept; null if nobody knows any more.
    pub first_line: Option<u64>,
    /// The number behind its last line; null while it goes on.
    pub end_line: Option<u64>,
    /// How it ended, for people: `exit code 3`; null while it goes on, and when nobody saw its end.
    pub exit: Option<String>,
    /// Whether its end was a crash, one that nobody had asked for.
    #[serde(default)]
    pub crashed: bool,
}

/// One run, and the record of its crash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunDetails {
    /// The run.
    #[serde(flatten)]
    pub run: Run,
    /// What is known of its crash; null if it did not crash, or so long ago that the record is no longer kept.
    pub crash: Option<Crash>,
}

/// What was noted when a game crashed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Crash {
    /// Its exit status, unless a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether it was ended because memory had run out.
    pub out_of_memory: bool,
    /// Which crash it was since the last run that lasted, from 1; null where crashes are not watched for.
    pub in_a_row: Option<u32>,
    /// When the node planned to start it again; Unix milliseconds. Null if it did not.
    pub restart_at: Option<u64>,
    /// The last thing that somebody did with the server, as far as the node knows.
    pub last_act: Option<Act>,
    /// Its last lines, at most 500.
    pub lines: Vec<ConsoleLine>,
    /// What of them could not be had.
    pub gaps: Vec<ConsoleGap>,
    /// What it used in its last five minutes, second by second.
    pub stats: Vec<StatsSample>,
}

/// Something that somebody did with a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Act {
    /// When it was done; Unix milliseconds.
    pub at: u64,
    /// What, as the activity record calls it: `server:power.start`, `server:console.command`.
    pub event: String,
    /// Who, as a uuid; null if it was the panel itself.
    pub user: Option<String>,
}

/// Figures of a server over time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StatsHistory {
    /// Seconds between two samples.
    pub step_s: u64,
    /// The samples, in order; there is none while the game does not run.
    pub samples: Vec<StatsSample>,
}

/// Figures at one time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StatsSample {
    /// Unix milliseconds.
    pub at: u64,
    /// Percent of one core.
    pub cpu: f64,
    /// Bytes.
    pub memory: u64,
    /// Bytes; the limit in force.
    pub memory_limit: u64,
    /// Bytes received since the start.
    pub rx: u64,
    /// Bytes sent since the start.
    pub tx: u64,
    /// Bytes of the files.
    pub disk: u64,
}
