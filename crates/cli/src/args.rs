//! The command line: every argument, its help text, and nothing that acts on them.

pub(crate) mod client;
pub(crate) mod hint;
pub(crate) mod host;
pub(crate) mod manage;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

const AFTER_HELP: &str = "\
Start here:
  quarterdeck up                          panel and node on http://127.0.0.1:8080, with a demo server
  quarterdeck console demo                its console, from another terminal

Then:
  quarterdeck template list               games that are ready to run
  quarterdeck server create --name ttd --template openttd --start
  quarterdeck server create --name echo --command 'cat -n' --pipe --start
  quarterdeck logs ttd -f                 follow what it prints
  quarterdeck share ttd add friend@example.org --permission control.console

Everything but `up`, `panel` and `node` speaks the panel's public API. Which panel, and who you are:
  QUARTERDECK_URL  or --url        the panel's address
  QUARTERDECK_KEY  or --key-file   an API key (never an argument: other users of the machine can read those)
Without them: what `up` left in the data folder.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 cannot reach the panel or node.";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "quarterdeck",
    version,
    about = "Take command of your game servers: panel, node and console in one program",
    after_help = AFTER_HELP,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 120
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Arguments that every command takes.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Global {
    /// The panel's address, such as `http://127.0.0.1:8080` [env: `QUARTERDECK_URL`]
    #[arg(long, global = true, value_name = "URL", help_heading = "Everywhere")]
    pub(crate) url: Option<String>,
    /// A file that holds an API key (or set `QUARTERDECK_KEY`)
    #[arg(long, global = true, value_name = "FILE", help_heading = "Everywhere")]
    pub(crate) key_file: Option<PathBuf>,
    /// The data folder [env: `QUARTERDECK_DATA`] [default: `$XDG_DATA_HOME/quarterdeck`, that is `~/.local/share/quarterdeck`]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Everywhere")]
    pub(crate) data: Option<PathBuf>,
    /// Print JSON: one document, or one per line while following
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub(crate) json: bool,
    /// Colours in the output
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", help_heading = "Everywhere")]
    pub(crate) color: ColorWhen,
}

impl Global {
    /// What was not given as an argument, from the environment. Not by way of clap: it would count what stands in the environment
    /// as typed, and print usage lines that demand it.
    pub(crate) fn or_environment(self) -> Self {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            url: self.url.or_else(|| set("QUARTERDECK_URL").map(|url| url.to_string_lossy().into_owned())),
            data: self.data.or_else(|| set("QUARTERDECK_DATA").map(PathBuf::from)),
            ..self
        }
    }
}

/// When to print colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorWhen {
    /// On a terminal, unless `NO_COLOR` is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run panel and node together on one port
    Up(host::Up),
    /// Run the panel alone
    Panel(host::PanelOnly),
    /// Run a node alone, for a panel elsewhere
    Node(host::NodeOnly),
    /// Look at this machine: what keeps games apart here, and what is wrong
    #[command(after_help = "\
Looks at the data folder, control groups, Landlock, system call filters and user ids, runs a program the way games are run, and asks
the panel of this folder's node.toml. Run it as the user of the node; it changes nothing. Exit code 1: something is wrong rather
than weaker than it could be.

Examples:
  sudo quarterdeck doctor --data /var/lib/quarterdeck
  quarterdeck doctor --json")]
    Doctor,
    /// List, show, create, change and delete servers
    #[command(visible_alias = "servers")]
    Server(manage::ServerArgs),
    /// List the games that are ready to run
    #[command(visible_alias = "templates")]
    Template(client::TemplateArgs),
    /// Definitions of games, imported from files (for administrators)
    #[command(visible_alias = "eggs")]
    Egg(manage::EggArgs),
    /// Start, stop, restart or kill a server
    Power(client::PowerArgs),
    /// Attach to a server's console
    Console(client::ConsoleArgs),
    /// Print the last console lines, and follow with -f
    Logs(client::LogsArgs),
    /// Print when a server ran and how that ended, and what was noted of a crash
    Runs(client::RunsArgs),
    /// Print what a server uses
    Stats(client::StatsArgs),
    /// Send one command to a server
    #[command(name = "command")]
    Send(client::CommandArgs),
    /// API keys: yours, and for administrators also those of others
    #[command(visible_alias = "keys")]
    Key(client::KeyArgs),
    /// The panel's users (for administrators)
    #[command(visible_alias = "users")]
    User(manage::UserArgs),
    /// Who else may use a server, and how
    Share(manage::ShareArgs),
    /// Print a completion script for a shell
    #[command(after_help = "\
Examples:
  quarterdeck completions bash > ~/.local/share/bash-completion/completions/quarterdeck
  quarterdeck completions zsh > \"${fpath[1]}/_quarterdeck\"
  quarterdeck completions fish > ~/.config/fish/completions/quarterdeck.fish")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// A small game server of our own, for the demo and for tests
    #[command(hide = true)]
    Fakegame(Box<fakegame::Args>),
}
