//! Arguments of the commands that serve: `up`, `panel`, `node`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use ipnet::IpNet;
use panel::{TOKEN_TTL_S_MAX, TOKEN_TTL_S_MIN};
use serde::Deserialize;

/// `quarterdeck up`.
#[derive(Debug, Args)]
#[command(after_help = "\
The first `up` makes an administrator, an API key, a node and a demo server, and prints how to reach them.
A later `up` finds all of it again. Games keep running when `up` ends or is killed, and are adopted by the next one.

The same settings can stand in <data>/quarterdeck.toml; arguments win:
  listen = \"127.0.0.1:8080\"
  public_url = \"https://games.example.org\"
  trusted_proxies = [\"10.0.0.0/8\"]
  token_ttl_s = 600
  log_format = \"text\"

Examples:
  quarterdeck up
  quarterdeck up --listen 0.0.0.0:8080 --data /var/lib/quarterdeck
  quarterdeck up --trusted-proxy 127.0.0.1/32        behind a reverse proxy on this machine

Ctrl-C ends it in order; a second Ctrl-C ends it at once.")]
pub(crate) struct Up {
    #[command(flatten)]
    pub(crate) serve: Serve,
    #[command(flatten)]
    pub(crate) panel: PanelSettings,
    /// Make no demo server
    #[arg(long)]
    pub(crate) no_demo: bool,
}

/// `quarterdeck panel`.
#[derive(Debug, Args)]
#[command(after_help = "\
The first start makes an administrator and an API key and prints it. Nodes are added over /api/application/nodes; each runs
`quarterdeck node --config FILE` with what GET /api/application/nodes/{id}/configuration answers.")]
pub(crate) struct PanelOnly {
    #[command(flatten)]
    pub(crate) serve: Serve,
    #[command(flatten)]
    pub(crate) panel: PanelSettings,
}

/// `quarterdeck node`.
#[derive(Debug, Args)]
#[command(after_help = "\
The configuration says which panel and who this node is there:
  remote = \"https://panel.example.org\"
  uuid = \"…\"
  token_id = \"…\"
  token = \"…\"
JSON with the same members is taken as well, as GET /api/application/nodes/{id}/configuration answers it.
The file holds a secret: make it readable by its owner only (chmod 600).

Example:
  quarterdeck node --config /etc/quarterdeck/node.toml --listen 0.0.0.0:8080 --data /var/lib/quarterdeck")]
pub(crate) struct NodeOnly {
    #[command(flatten)]
    pub(crate) serve: Serve,
    /// The configuration the panel gave out for this node; by default node.toml in the data folder
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// What all three share.
#[derive(Debug, Default, Args)]
pub(crate) struct Serve {
    /// Address and port to listen on [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// Addresses whose `X-Forwarded-*` headers are believed; can be given again
    #[arg(long = "trusted-proxy", value_name = "CIDR", value_parser = parse_net)]
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// How the program's own log looks [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
}

/// What `up` and `panel` share.
#[derive(Debug, Default, Args)]
pub(crate) struct PanelSettings {
    /// Life of a console token in seconds, 70 to 900 [default: 600]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(TOKEN_TTL_S_MIN..=TOKEN_TTL_S_MAX))]
    pub(crate) token_ttl: Option<u64>,
    /// The address people reach the panel at, when it is not the one they are seen to use
    #[arg(long, value_name = "URL")]
    pub(crate) public_url: Option<String>,
}

/// How the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// Lines for people
    #[default]
    Text,
    /// One JSON document per line
    Json,
}

/// A network, or a single address.
pub(crate) fn parse_net(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from))
        .map_err(|_| "expected an address or a network, such as 10.0.0.0/8".to_owned())
}
