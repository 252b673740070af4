//! Settings of the serving commands: arguments over `<data>/quarterdeck.toml` over defaults.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de};

use crate::args::host::{LogFormat, PanelSettings, Serve, TOKEN_TTL_S_MAX, TOKEN_TTL_S_MIN, parse_net};
use crate::fault::Fault;
use crate::folder::read_if_there;

/// Where we listen when nobody says otherwise: this machine only.
const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// What is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Address and port; port 0 takes any free one.
    pub(crate) listen: SocketAddr,
    /// Proxies whose `X-Forwarded-*` headers are believed.
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// Life of a console token.
    pub(crate) token_ttl_s: u64,
    /// The panel's public address, when set.
    pub(crate) public_url: Option<String>,
    /// How the log looks.
    pub(crate) log_format: LogFormat,
}

/// The file; every member may be missing, none may be unknown.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    listen: Option<SocketAddr>,
    #[serde(deserialize_with = "nets")]
    trusted_proxies: Option<Vec<IpNet>>,
    token_ttl_s: Option<u64>,
    public_url: Option<String>,
    log_format: Option<LogFormat>,
}

impl Settings {
    /// Reads the file, if there is one.
    pub(crate) fn load(file: &Path, serve: &Serve, panel: &PanelSettings) -> Result<Self, Fault> {
        let written = match read_if_there(file)? {
            Some(text) => {
                toml::from_str(&text).map_err(|error| Fault::Usage(format!("{}: {error}", file.display())))?
            }
            None => Written::default(),
        };
        Self::merge(written, serve, panel).map_err(|why| Fault::Usage(format!("{}: {why}", file.display())))
    }

    fn merge(written: Written, serve: &Serve, panel: &PanelSettings) -> Result<Self, String> {
        let token_ttl_s = panel.token_ttl.or(written.token_ttl_s).unwrap_or(TOKEN_TTL_S_MIN);
        if !(TOKEN_TTL_S_MIN..=TOKEN_TTL_S_MAX).contains(&token_ttl_s) {
            return Err(format!(
                "token_ttl_s is {token_ttl_s}; it must be from {TOKEN_TTL_S_MIN} to {TOKEN_TTL_S_MAX}"
            ));
        }
        let trusted_proxies = if serve.trusted_proxies.is_empty() {
            written.trusted_proxies.unwrap_or_default()
        } else {
            serve.trusted_proxies.clone()
        };
        let public_url = match panel.public_url.clone().or(written.public_url) {
            Some(url) => {
                let url = crate::access::parse_url(&url).map_err(|fault| fault.to_string())?;
                Some(url.as_str().trim_end_matches('/').to_owned())
            }
            None => None,
        };
        Ok(Self {
            listen: serve.listen.or(written.listen).unwrap_or(LISTEN_DEFAULT),
            trusted_proxies,
            token_ttl_s,
            public_url,
            log_format: serve.log_format.or(written.log_format).unwrap_or_default(),
        })
    }
}

fn nets<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<IpNet>>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| parse_net(text)).collect::<Result<_, _>>().map(Some).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn load(text: &str, serve: &Serve, panel: &PanelSettings) -> Result<Settings, Fault> {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("quarterdeck.toml");
        std::fs::write(&file, text).unwrap();
        Settings::load(&file, serve, panel)
    }

    #[test]
    fn without_a_file_the_defaults_hold() {
        let settings =
            Settings::load(Path::new("/nonexistent/q.toml"), &Serve::default(), &PanelSettings::default()).unwrap();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:8080");
        assert_eq!((settings.token_ttl_s, settings.public_url), (600, None));
    }

    #[test]
    fn the_file_is_used_and_arguments_win() {
        let text = "listen = \"0.0.0.0:80\"\ntrusted_proxies = [\"10.0.0.0/8\", \"192.168.1.1\"]\ntoken_ttl_s = 700\nlog_format = \"json\"\npublic_url = \"https://p.example/\"\n";
        let settings = load(text, &Serve::default(), &PanelSettings::default()).unwrap();
        assert_eq!(settings.listen.port(), 80);
        assert_eq!(settings.trusted_proxies, [parse_net("10.0.0.0/8").unwrap(), parse_net("192.168.1.1/32").unwrap()]);
        assert_eq!((settings.token_ttl_s, settings.log_format), (700, LogFormat::Json));
        assert_eq!(settings.public_url.as_deref(), Some("https://p.example"));

        let serve = Serve { listen: Some("127.0.0.1:9".parse().unwrap()), ..Serve::default() };
        let panel = PanelSettings { token_ttl: Some(900), public_url: None };
        let settings = load(text, &serve, &panel).unwrap();
        assert_eq!((settings.listen.port(), settings.token_ttl_s), (9, 900));
    }

    #[test]
    fn mistakes_in_the_file_are_named() {
        for (text, named) in [
            ("listen = \"x\"", "listen"),
            ("token_ttl_s = 5", "600 to 900"),
            ("trusted_proxies = [\"me\"]", "10.0.0.0/8"),
            ("public_url = \"panel\"", "not a panel's address"),
        ] {
            let fault = load(text, &Serve::default(), &PanelSettings::default()).unwrap_err().to_string();
            assert!(fault.contains(named), "{fault}");
        }
    }
}
