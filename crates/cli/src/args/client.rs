//! Arguments of the commands that speak to a panel.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use wire::server::PowerAction;

pub(crate) const SERVER_HELP: &str = "The server's name, its identifier (8 characters) or its uuid";

/// `quarterdeck template`.
#[derive(Debug, Args)]
pub(crate) struct TemplateArgs {
    #[command(subcommand)]
    pub(crate) action: TemplateAction,
}

/// What to do with templates.
#[derive(Debug, Subcommand)]
pub(crate) enum TemplateAction {
    /// List the games that are ready to run, and what to install for them
    #[command(visible_alias = "ls")]
    List,
}

/// `quarterdeck power`.
#[derive(Debug, Args)]
#[command(after_help = "\
With --wait, the exit code says whether it got there: start and restart wait for `running`, stop and kill for `offline`.

Examples:
  quarterdeck power demo restart --wait
  quarterdeck power demo stop --wait --timeout 600
  quarterdeck power stop demo                        the same in the other order")]
pub(crate) struct PowerArgs {
    #[arg(help = SERVER_HELP)]
    pub(crate) server: String,
    /// What to do
    pub(crate) action: PowerWord,
    /// Wait until it is done
    #[arg(long, short)]
    pub(crate) wait: bool,
    /// Seconds to wait at most
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = parse_seconds)]
    pub(crate) timeout: Duration,
}

/// The words of `power`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PowerWord {
    /// Start it
    Start,
    /// Ask it to end, and kill it when its grace is over
    Stop,
    /// Stop, then start
    Restart,
    /// End it now; what is not saved is lost
    Kill,
}

impl From<PowerWord> for PowerAction {
    fn from(word: PowerWord) -> Self {
        match word {
            PowerWord::Start => Self::Start,
            PowerWord::Stop => Self::Stop,
            PowerWord::Restart => Self::Restart,
            PowerWord::Kill => Self::Kill,
        }
    }
}

/// `quarterdeck console`.
#[derive(Debug, Args)]
#[command(after_help = "\
On a terminal: the last lines, then live ones, and an input line with editing and history. What you type goes to the game.
Lines that begin with ~ are for the console itself:
  ~.  leave (also Ctrl-D, Ctrl-C); the game goes on     ~start ~stop ~restart ~kill     ~stats     ~?  help     ~~  a line with one ~

Not on a terminal: every line of stdin is sent as a command, and what the server prints from then on goes to stdout. After the
last command it waits for --until, or without it until the server has printed nothing for a second.

Examples:
  quarterdeck console demo
  echo list | quarterdeck console demo
  echo save-all | quarterdeck console demo --until 'Saved the world' --timeout 60")]
pub(crate) struct ConsoleArgs {
    #[arg(help = SERVER_HELP)]
    pub(crate) server: String,
    /// Not on a terminal: after the last command, go on until a line with this text; exit code 1 if it does not come
    #[arg(long, value_name = "TEXT")]
    pub(crate) until: Option<String>,
    /// Not on a terminal: seconds to go on at most after the last command
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = parse_seconds)]
    pub(crate) timeout: Duration,
    /// Not on a terminal: print the last lines first
    #[arg(long)]
    pub(crate) history: bool,
}

/// `quarterdeck logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    #[arg(help = SERVER_HELP)]
    pub(crate) server: String,
    /// Go on with new lines as they come
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Only the last N lines; the node keeps more than it sends (150 unless it is set up otherwise)
    #[arg(long, short = 'n', value_name = "N")]
    pub(crate) lines: Option<usize>,
}

/// `quarterdeck stats`.
#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    #[arg(help = SERVER_HELP)]
    pub(crate) server: String,
    /// A line a second, for as long as you like
    #[arg(long, short)]
    pub(crate) follow: bool,
}

/// `quarterdeck runs`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  quarterdeck runs demo             when it ran, and how that ended
  quarterdeck runs demo crash       the newest crash: its last lines, what it used, who did what before")]
pub(crate) struct RunsArgs {
    #[arg(help = SERVER_HELP)]
    pub(crate) server: String,
    /// One run: the beginning of its id, or `crash` for the newest that crashed
    pub(crate) run: Option<String>,
    /// All runs that are remembered, not the last 20
    #[arg(long)]
    pub(crate) all: bool,
}

/// `quarterdeck command`.
#[derive(Debug, Args)]
#[command(after_help = "\
Options of this program count wherever they stand. What comes after -- is all text for the server.

Examples:
  quarterdeck command demo say dinner in ten minutes
  quarterdeck command demo -- list --all")]
pub(crate) struct CommandArgs {
    #[arg(help = SERVER_HELP)]
    pub(crate) server: String,
    /// The command; several words are joined by one space
    #[arg(required = true, allow_negative_numbers = true)]
    pub(crate) text: Vec<String>,
}

/// `quarterdeck key`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  quarterdeck key create 'my bot'                                  another key of yours
  quarterdeck key create --user friend@example.org 'from Ann'      a first key for a friend
  quarterdeck key create --user admin --application 'our website'  a key that only administers")]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    pub(crate) action: KeyAction,
}

const KEY_USER_HELP: &str = "For administrators: whose key, by number, e-mail address, name or uuid [default: you]";

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyAction {
    /// List keys; their secrets are shown to nobody again
    #[command(visible_alias = "ls")]
    List {
        #[arg(long, value_name = "USER", help = KEY_USER_HELP)]
        user: Option<String>,
    },
    /// Make a key and print it, once
    Create(CreateKeyArgs),
    /// Delete a key; it stops working at once
    #[command(visible_alias = "rm")]
    Delete {
        /// The first 16 characters of the key
        identifier: String,
        #[arg(long, value_name = "USER", help = KEY_USER_HELP)]
        user: Option<String>,
    },
}

/// `quarterdeck key create`.
#[derive(Debug, Args)]
pub(crate) struct CreateKeyArgs {
    /// What it is for
    pub(crate) description: String,
    /// An address or network it may be used from; can be given again [default: any]
    #[arg(long = "allow-ip", value_name = "CIDR")]
    pub(crate) allowed_ips: Vec<String>,
    #[arg(long, value_name = "USER", help = KEY_USER_HELP)]
    pub(crate) user: Option<String>,
    /// A key for /api/application alone; the user must be an administrator
    #[arg(long, requires = "user")]
    pub(crate) application: bool,
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    text.parse::<f64>()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "expected seconds, such as 30".to_owned())
}
