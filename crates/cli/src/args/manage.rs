//! Arguments of the commands that decide what there is and who may use it: `server`, `user`, `share`.

use clap::{ArgGroup, Args, Subcommand};

use crate::args::client::SERVER_HELP;

/// MiB in one GiB, and GiB in one TiB.
const STEP: u64 = 1024;

/// `quarterdeck server`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ServerArgs {
    #[command(subcommand)]
    pub(crate) action: ServerAction,
}

/// What to do with servers.
#[derive(Debug, Subcommand)]
pub(crate) enum ServerAction {
    /// List servers and their states
    #[command(visible_alias = "ls")]
    List {
        /// For administrators: also the servers of others
        #[arg(long)]
        all: bool,
        /// For administrators: those that are deleted and can still be restored
        #[arg(long, conflicts_with = "all")]
        deleted: bool,
    },
    /// Show everything known about a server
    Show {
        #[arg(help = SERVER_HELP)]
        server: String,
    },
    /// Make a server (for administrators)
    Create(Box<CreateArgs>),
    /// Change a server (for administrators)
    Set(Box<SetArgs>),
    /// Stop a server and let nobody use it until it is unsuspended (for administrators)
    Suspend {
        #[arg(help = SERVER_HELP)]
        server: String,
    },
    /// Let a suspended server be used again (for administrators)
    Unsuspend {
        #[arg(help = SERVER_HELP)]
        server: String,
    },
    /// Install a server once more with the script of its egg (for administrators)
    Reinstall {
        #[arg(help = SERVER_HELP)]
        server: String,
    },
    /// Stop a server and delete it (for administrators)
    #[command(
        visible_alias = "rm",
        after_help = "\
Its files and its console log are kept for as long as the panel's delete_grace_h says, and `server restore` brings it back until then.

Examples:
  quarterdeck server delete old
  quarterdeck server list --deleted
  quarterdeck server restore old
  quarterdeck server delete old --now --yes"
    )]
    Delete {
        #[arg(help = SERVER_HELP)]
        server: String,
        /// At once, with its files and its console log; this cannot be undone
        #[arg(long)]
        now: bool,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Bring a deleted server back (for administrators)
    Restore {
        /// Name, identifier or uuid, as `server list --deleted` shows them
        server: String,
    },
}

/// `quarterdeck egg`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  quarterdeck egg import egg-paper.json
  curl -s https://example.org/egg.json | quarterdeck egg import - --replace
  quarterdeck egg export Paper > egg-paper.json
  quarterdeck server create --name mc --egg Paper --var MINECRAFT_VERSION=1.21 --start")]
pub(crate) struct EggArgs {
    #[command(subcommand)]
    pub(crate) action: EggAction,
}

/// What to do with eggs.
#[derive(Debug, Subcommand)]
pub(crate) enum EggAction {
    /// List eggs
    #[command(visible_alias = "ls")]
    List,
    /// Show an egg and what can be set for its servers
    Show {
        /// Number, uuid or name
        egg: String,
    },
    /// Import eggs from files of Pterodactyl's or Pelican's panels; say where their servers can run
    Import {
        /// Files, JSON or YAML; - is the standard input
        #[arg(required = true, value_name = "FILE")]
        files: Vec<std::path::PathBuf>,
        /// The nest they go into, by number, uuid or name
        #[arg(long, value_name = "NEST")]
        nest: Option<String>,
        /// Put each in place of the egg of the same uuid or name
        #[arg(long)]
        replace: bool,
    },
    /// Print an egg as a file that Pterodactyl's panels read
    Export {
        /// Number, uuid or name
        egg: String,
    },
    /// Delete an egg that no server uses
    #[command(visible_alias = "rm")]
    Delete {
        /// Number, uuid or name
        egg: String,
    },
}

/// `quarterdeck server create`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("game").required(true).multiple(true).args(["template", "egg", "command"])), after_help = "\
Examples:
  quarterdeck server create --name ttd --template openttd --start
  quarterdeck server create --name mc --egg Paper --var MINECRAFT_VERSION=1.21 --memory 4G --start
  quarterdeck server create --name mine --command 'java -jar server.jar nogui' --ready 'regex:^.*Done \\(' \\
      --stop stop --grace 60 --memory 2048 --port 25565 --start
  quarterdeck server create --name echo --command 'cat -n' --pipe --stop '^C'

Words that are replaced in --command and --env: {{PORT}} {{BIND}} {{DIR}} {{NAME}} and every name given with --env.")]
pub(crate) struct CreateArgs {
    /// What people will call it
    #[arg(long)]
    pub(crate) name: String,
    /// A game from `quarterdeck template list`
    #[arg(long, conflicts_with_all = ["egg", "command"])]
    pub(crate) template: Option<String>,
    /// An egg from `quarterdeck egg list`, by number, uuid or name
    #[arg(long)]
    pub(crate) egg: Option<String>,
    /// The container image [default: the first of the egg]
    #[arg(long)]
    pub(crate) image: Option<String>,
    /// What runs it [default: a container, if the egg has an image and the node an engine; else a process]
    #[arg(long, value_parser = ["process", "docker"])]
    pub(crate) runtime: Option<String>,
    /// The program and its arguments, quoted as in a shell; a line with ; & | < > ( ) $ or a backtick is given to /bin/sh
    #[arg(long, value_name = "PROGRAM ARGS")]
    pub(crate) command: Option<String>,
    /// A text in its output that says it is ready, or `regex:` and a regular expression; can be given again
    #[arg(long, value_name = "TEXT")]
    pub(crate) ready: Vec<String>,
    /// The command that stops it, or `^C` for an interrupt, or `^SIGTERM` and the like for a signal
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) stop: Option<String>,
    /// Seconds it gets to stop before it is killed
    #[arg(long, value_name = "SECONDS")]
    pub(crate) grace: Option<u64>,
    /// Give it a terminal (the default: programs print at once)
    #[arg(long, conflicts_with = "pipe")]
    pub(crate) pty: bool,
    /// Give it pipes, for a program that draws on terminals
    #[arg(long)]
    pub(crate) pipe: bool,
    /// Memory limit in MiB, or with a unit as in 512M or 2G; 0 is none
    #[arg(long, value_name = "MIB", value_parser = parse_mib)]
    pub(crate) memory: Option<u64>,
    /// CPU limit in percent of one core, such as 200 for two; 0 is none
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent)]
    pub(crate) cpu: Option<u64>,
    /// Its port [default: the next free one of the node]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    /// An environment variable, or one of the egg; can be given again
    #[arg(long, visible_alias = "var", value_name = "NAME=VALUE", value_parser = parse_env)]
    pub(crate) env: Vec<(String, String)>,
    /// What it is for
    #[arg(long)]
    pub(crate) description: Option<String>,
    /// The node to run it on, by number, name or uuid [default: the only one, or the local one]
    #[arg(long, value_name = "NODE")]
    pub(crate) node: Option<String>,
    /// The user it belongs to, by number, e-mail address or name [default: you]
    #[arg(long, value_name = "USER")]
    pub(crate) owner: Option<String>,
    /// Start it when it is made
    #[arg(long)]
    pub(crate) start: bool,
    /// Make it although another server has this name; both are then told apart by identifier only
    #[arg(long)]
    pub(crate) same_name: bool,
}

/// `quarterdeck server set`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("change").required(true).multiple(true).args([
    "name", "description", "owner", "memory", "cpu", "command", "ready", "stop", "grace", "pty", "pipe", "env", "unset",
])), after_help = "\
Name, description, owner and limits count at once; the rest from the next start.

Examples:
  quarterdeck server set mine --memory 4G --cpu 200
  quarterdeck server set mine --command 'java -Xmx3G -jar server.jar nogui' --ready 'regex:Done \\('
  quarterdeck server set mine --env MODE=hard --unset SEED")]
pub(crate) struct SetArgs {
    #[arg(help = SERVER_HELP)]
    pub(crate) server: String,
    /// What people will call it
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// What it is for
    #[arg(long)]
    pub(crate) description: Option<String>,
    /// The user it will belong to, by number, e-mail address or name
    #[arg(long, value_name = "USER")]
    pub(crate) owner: Option<String>,
    /// Memory limit in MiB, or with a unit as in 512M or 2G; 0 is none
    #[arg(long, value_name = "MIB", value_parser = parse_mib)]
    pub(crate) memory: Option<u64>,
    /// CPU limit in percent of one core, such as 200 for two; 0 is none
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent)]
    pub(crate) cpu: Option<u64>,
    /// The program and its arguments, as with `server create`
    #[arg(long, value_name = "PROGRAM ARGS")]
    pub(crate) command: Option<String>,
    /// A text that says it is ready, in place of all there were; can be given again
    #[arg(long, value_name = "TEXT")]
    pub(crate) ready: Vec<String>,
    /// The command that stops it, or `^C`, or `^SIGTERM` and the like
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) stop: Option<String>,
    /// Seconds it gets to stop before it is killed
    #[arg(long, value_name = "SECONDS")]
    pub(crate) grace: Option<u64>,
    /// Give it a terminal
    #[arg(long, conflicts_with = "pipe")]
    pub(crate) pty: bool,
    /// Give it pipes
    #[arg(long)]
    pub(crate) pipe: bool,
    /// An environment variable, or one of its egg, added or changed; can be given again
    #[arg(long, visible_alias = "var", value_name = "NAME=VALUE", value_parser = parse_env)]
    pub(crate) env: Vec<(String, String)>,
    /// An environment variable to take away; can be given again
    #[arg(long, value_name = "NAME")]
    pub(crate) unset: Vec<String>,
    /// Name it so although another server has this name
    #[arg(long, requires = "name")]
    pub(crate) same_name: bool,
}

/// `quarterdeck user`.
#[derive(Debug, Args)]
pub(crate) struct UserArgs {
    #[command(subcommand)]
    pub(crate) action: UserAction,
}

/// What to do with users.
#[derive(Debug, Subcommand)]
pub(crate) enum UserAction {
    /// List users
    #[command(visible_alias = "ls")]
    List,
    /// Make a user
    Create {
        /// E-mail address
        email: String,
        /// Name; by default the part of the address before the @
        #[arg(long)]
        name: Option<String>,
        /// An administrator: everything on every server
        #[arg(long)]
        admin: bool,
    },
    /// Make a link that signs a user in once, within a day; their earlier ones end
    Link {
        /// Number, e-mail address, name or uuid
        user: String,
    },
    /// Delete a user with their keys and shares; they must own no server
    #[command(visible_alias = "rm")]
    Delete {
        /// Number, e-mail address, name or uuid
        user: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

/// `quarterdeck share`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  quarterdeck share demo                                                   who may use it
  quarterdeck share demo permissions                                       what can be allowed
  quarterdeck share demo add friend@example.org --permission control.console,control.start
  quarterdeck share demo remove friend@example.org

Seeing the console comes with every share. Often wanted: control.console, control.start, control.stop, control.restart,
activity.read.")]
pub(crate) struct ShareArgs {
    #[arg(help = SERVER_HELP)]
    pub(crate) server: String,
    #[command(subcommand)]
    pub(crate) action: Option<ShareAction>,
}

/// What to do about who may use a server.
#[derive(Debug, Subcommand)]
pub(crate) enum ShareAction {
    /// List who may use it (the default)
    #[command(visible_alias = "ls")]
    List,
    /// Let somebody use it, or replace what they may do
    Add {
        /// E-mail address
        email: String,
        /// What they may do, in place of all they might before; several with commas, or given again
        #[arg(long = "permission", short, value_name = "NAME", value_delimiter = ',')]
        permissions: Vec<String>,
    },
    /// List what can be allowed, and what each permission means
    Permissions,
    /// Let somebody use it no longer; open consoles of theirs close
    #[command(visible_alias = "rm")]
    Remove {
        /// E-mail address, user name or uuid
        who: String,
    },
}

fn parse_env(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

fn parse_mib(text: &str) -> Result<u64, String> {
    let wrong = || "expected MiB, or a number with M, G or T, such as 2048, 512M or 2G".to_owned();
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match text.strip_prefix(digits).unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "" | "m" | "mb" | "mib" => 1,
        "g" | "gb" | "gib" => STEP,
        "t" | "tb" | "tib" => STEP * STEP,
        _ => return Err(wrong()),
    };
    digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).ok_or_else(wrong)
}

fn parse_percent(text: &str) -> Result<u64, String> {
    text.strip_suffix('%')
        .unwrap_or(text)
        .parse()
        .map_err(|_| "expected percent of one core, such as 50, or 200 for two cores".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_with_and_without_units() {
        for (text, mib) in [("0", 0), ("2048", 2048), ("512M", 512), ("2G", 2048), ("2 GiB", 2048), ("1tb", 1_048_576)]
        {
            assert_eq!(parse_mib(text), Ok(mib), "{text}");
        }
        for text in ["", "G", "2X", "-1", "1.5G", "99999999999999999999", "18446744073709551615T"] {
            assert!(parse_mib(text).is_err_and(|why| why.contains("2G")), "{text}");
        }
        assert_eq!((parse_percent("200"), parse_percent("200%")), (Ok(200), Ok(200)));
        assert!(parse_percent("two").is_err() && parse_percent("%").is_err());
    }
}
