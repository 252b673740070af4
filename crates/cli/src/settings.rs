//! Settings of the serving commands: arguments over `<data>/quarterdeck.toml` over defaults, and how panel and node get them.

mod containers;

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use daemon::Rung;
use ipnet::IpNet;
use panel::{TOKEN_TTL_S_DEFAULT, TOKEN_TTL_S_MAX, TOKEN_TTL_S_MIN};
use reqwest::Url;
use serde::{Deserialize, Deserializer, de};

use crate::args::host::{LogFormat, PanelSettings, Serve, parse_net};
use crate::fault::Fault;
use crate::folder::read_if_there;

use self::containers::Containers;

/// Where we listen when nobody says otherwise: this machine only.
const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// The least and the most lines that `send logs` may answer with. Viewers take fewer for a whole log, and remember no more.
const LOG_LINES: std::ops::RangeInclusive<u64> = 100..=2000;
/// Longer than everything that has a limit of its own at the end, one after the other: 50 s.
const END_WITHIN_S_DEFAULT: u64 = 60;
/// The least log kept per server: a few segments.
const RETAIN_BYTES_MIN: u64 = 4 * 1024 * 1024;
/// The least user id for servers: people and services have those below.
const UID_MIN: u32 = 10_000;
/// Characters of the name in front of the node's own lines.
const APP_NAME_CHARS_MAX: usize = 40;

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
    /// How long the program may take to end.
    pub(crate) end_within: Duration,
    /// What has no argument.
    written: Written,
}

/// The file; every member may be missing, none may be unknown. One file serves all commands: a node reads past what is the
/// panel's, and a panel past what is the node's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    listen: Option<SocketAddr>,
    #[serde(deserialize_with = "nets")]
    trusted_proxies: Option<Vec<IpNet>>,
    token_ttl_s: Option<u64>,
    public_url: Option<String>,
    log_format: Option<LogFormat>,
    end_within_s: Option<u64>,
    // The panel's.
    client_per_minute: Option<u32>,
    application_per_minute: Option<u32>,
    websocket_per_minute: Option<u32>,
    activity_days: Option<u32>,
    delete_grace_h: Option<u32>,
    // The node's.
    app_name: Option<String>,
    allowed_origins: Option<Vec<String>>,
    require_origin: Option<bool>,
    require_scope: Option<bool>,
    always_args: Option<bool>,
    echo_commands: Option<bool>,
    log_lines: Option<u64>,
    retain_bytes: Option<u64>,
    stop_grace_s: Option<u64>,
    connections_per_user_max: Option<usize>,
    unauthenticated_max: Option<usize>,
    unauthenticated_per_address_max: Option<usize>,
    inbound: Inbound,
    isolation: Isolation,
    containers: Containers,
}

/// What keeps games apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Isolation {
    off: Option<Vec<String>>,
    uid_first: Option<u32>,
    uid_count: Option<u32>,
    readable: Option<Vec<PathBuf>>,
}

/// How fast one console connection may talk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Inbound {
    all: Option<Rate>,
    auth: Option<Rate>,
    send_logs: Option<Rate>,
    send_command: Option<Rate>,
    other: Option<Rate>,
}

/// So many at once, and one more after so many milliseconds; 0 for no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rate {
    burst: u32,
    refill_ms: u32,
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
        written.check()?;
        let token_ttl_s = panel.token_ttl.or(written.token_ttl_s).unwrap_or(TOKEN_TTL_S_DEFAULT);
        if !(TOKEN_TTL_S_MIN..=TOKEN_TTL_S_MAX).contains(&token_ttl_s) {
            return Err(format!(
                "token_ttl_s is {token_ttl_s}; it must be from {TOKEN_TTL_S_MIN} to {TOKEN_TTL_S_MAX}"
            ));
        }
        let trusted_proxies = if serve.trusted_proxies.is_empty() {
            written.trusted_proxies.clone().unwrap_or_default()
        } else {
            serve.trusted_proxies.clone()
        };
        let public_url = match panel.public_url.as_ref().or(written.public_url.as_ref()) {
            Some(url) => {
                let url = crate::access::parse_url(url).map_err(|fault| fault.to_string())?;
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
            end_within: Duration::from_secs(written.end_within_s.unwrap_or(END_WITHIN_S_DEFAULT)),
            written,
        })
    }

    /// The user ids that games of this machine have.
    pub(crate) fn game_users(&self) -> Range<u32> {
        let (first, count) = self.written.isolation.uids();
        first..first.saturating_add(count)
    }

    /// Tells the panel what is set.
    pub(crate) fn apply_to_panel(&self, config: &mut ::panel::Config) {
        config.trusted_proxies.clone_from(&self.trusted_proxies);
        config.token_ttl_s = self.token_ttl_s;
        config.public_url.clone_from(&self.public_url);
        let written = &self.written;
        set(&mut config.client_per_minute, written.client_per_minute);
        set(&mut config.application_per_minute, written.application_per_minute);
        set(&mut config.websocket_per_minute, written.websocket_per_minute);
        set(&mut config.activity_days, written.activity_days);
        set(&mut config.delete_grace_h, written.delete_grace_h);
    }

    /// Tells the node what is set. Pages of the panel's public address may open consoles, like those of the address by which
    /// the node knows it.
    pub(crate) fn apply_to_node(&self, config: &mut daemon::Config) {
        config.trusted_proxies.clone_from(&self.trusted_proxies);
        let written = self.written.clone();
        config.allowed_origins.extend(written.allowed_origins.unwrap_or_default());
        config.allowed_origins.extend(self.public_url.as_deref().and_then(origin));
        set(&mut config.app_name, written.app_name);
        set(&mut config.require_origin, written.require_origin);
        set(&mut config.require_scope, written.require_scope);
        set(&mut config.always_args, written.always_args);
        set(&mut config.echo_commands, written.echo_commands);
        set(&mut config.log_lines, written.log_lines);
        set(&mut config.retain_bytes, written.retain_bytes);
        set(&mut config.stop_grace, written.stop_grace_s.map(Duration::from_secs));
        set(&mut config.connections_per_user_max, written.connections_per_user_max);
        set(&mut config.unauthenticated_max, written.unauthenticated_max);
        set(&mut config.unauthenticated_per_address_max, written.unauthenticated_per_address_max);
        let isolation = &mut config.isolation;
        let off = written.isolation.off.map(|names| names.iter().filter_map(|name| rung(name)).collect());
        set(&mut isolation.off, off);
        set(&mut isolation.uid_first, written.isolation.uid_first);
        set(&mut isolation.uid_count, written.isolation.uid_count);
        set(&mut isolation.readable, written.isolation.readable);
        written.containers.apply(&mut config.containers);
        let (rates, limits) = (written.inbound, &mut config.session.limits);
        for (rate, limit) in [
            (rates.all, &mut limits.global),
            (rates.auth, &mut limits.auth),
            (rates.send_logs, &mut limits.send_logs),
            (rates.send_command, &mut limits.send_command),
            (rates.other, &mut limits.other),
        ] {
            set(&mut limit.burst, rate.map(|rate| rate.burst));
            set(&mut limit.refill_ms, rate.map(|rate| rate.refill_ms));
        }
    }
}

impl Written {
    /// Values that cannot be meant.
    fn check(&self) -> Result<(), String> {
        let count = |count: Option<usize>| count.map(|count| count as u64);
        let inbound = &self.inbound;
        let burst = |rate: Option<Rate>| rate.map(|rate| u64::from(rate.burst));
        for (name, value) in [
            ("client_per_minute", self.client_per_minute.map(u64::from)),
            ("application_per_minute", self.application_per_minute.map(u64::from)),
            ("websocket_per_minute", self.websocket_per_minute.map(u64::from)),
            ("activity_days", self.activity_days.map(u64::from)),
            ("stop_grace_s", self.stop_grace_s),
            ("end_within_s", self.end_within_s),
            ("connections_per_user_max", count(self.connections_per_user_max)),
            ("unauthenticated_max", count(self.unauthenticated_max)),
            ("unauthenticated_per_address_max", count(self.unauthenticated_per_address_max)),
            ("inbound.all.burst", burst(inbound.all)),
            ("inbound.auth.burst", burst(inbound.auth)),
            ("inbound.send_logs.burst", burst(inbound.send_logs)),
            ("inbound.send_command.burst", burst(inbound.send_command)),
            ("inbound.other.burst", burst(inbound.other)),
        ] {
            if value == Some(0) {
                return Err(format!("{name} is 0; it must be at least 1"));
            }
        }
        if let Some(lines) = self.log_lines.filter(|lines| !LOG_LINES.contains(lines)) {
            return Err(format!("log_lines is {lines}; it must be from {} to {}", LOG_LINES.start(), LOG_LINES.end()));
        }
        if let Some(bytes) = self.retain_bytes.filter(|bytes| *bytes < RETAIN_BYTES_MIN) {
            return Err(format!("retain_bytes is {bytes}; it must be at least {RETAIN_BYTES_MIN}"));
        }
        if let Some(name) = &self.app_name
            && (name.trim().is_empty()
                || name.chars().count() > APP_NAME_CHARS_MAX
                || name.contains(crate::escape::steers))
        {
            return Err(format!("app_name must be 1 to {APP_NAME_CHARS_MAX} characters that can be printed"));
        }
        self.isolation.check()?;
        self.containers.check()?;
        for text in self.allowed_origins.iter().flatten() {
            if text != "*" && origin(text).as_ref() != Some(text) {
                return Err(format!(
                    "allowed_origins: `{text}` is no origin; write it as browsers do, such as https://games.example.org, or * for all"
                ));
            }
        }
        Ok(())
    }
}

impl Isolation {
    /// The first and how many.
    fn uids(&self) -> (u32, u32) {
        let defaults = daemon::IsolationSettings::default();
        (self.uid_first.unwrap_or(defaults.uid_first), self.uid_count.unwrap_or(defaults.uid_count))
    }

    fn check(&self) -> Result<(), String> {
        if let Some(name) = self.off.iter().flatten().find(|name| rung(name).is_none()) {
            let names = Rung::ALL.map(Rung::name).join(", ");
            return Err(format!("isolation.off: there is no rung `{name}`; there are {names}"));
        }
        // Below are the system's and people's own; the last number means nobody.
        let (first, count) = self.uids();
        if first < UID_MIN || count == 0 || first.checked_add(count).is_none() {
            return Err(format!(
                "isolation: {count} user ids from {first} on cannot be; uid_first is at least {UID_MIN}, uid_count at least 1"
            ));
        }
        match self.readable.iter().flatten().find(|path| !path.is_absolute()) {
            Some(path) => Err(format!("isolation.readable: {} is not an absolute path", path.display())),
            None => Ok(()),
        }
    }
}

fn rung(name: &str) -> Option<Rung> {
    Rung::ALL.into_iter().find(|rung| rung.name() == name)
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

/// The origin of pages at an address, as browsers send it.
fn origin(url: &str) -> Option<String> {
    let origin = Url::parse(url).ok()?.origin();
    origin.is_tuple().then(|| origin.ascii_serialization())
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
            ("token_ttl_s = 5", "70 to 900"),
            ("trusted_proxies = [\"me\"]", "10.0.0.0/8"),
            ("public_url = \"panel\"", "not a panel's address"),
            ("client_per_minutes = 5", "client_per_minutes"),
            ("[inbound]\nchat = { burst = 1, refill_ms = 1 }", "chat"),
            ("[inbound]\nauth = { burst = 0, refill_ms = 1 }", "inbound.auth.burst is 0"),
            ("websocket_per_minute = 0", "websocket_per_minute is 0"),
            ("allowed_origins = [\"games.example.org\"]", "as browsers do"),
            ("allowed_origins = [\"https://games.example.org/\"]", "as browsers do"),
            ("retain_bytes = 5", "at least 4194304"),
            ("log_lines = 5", "100 to 2000"),
            ("app_name = \"\\u001b[2J\"", "app_name"),
            ("[isolation]\noff = [\"jail\"]", "uid, files, tcp, scopes, seccomp"),
            ("[isolation]\nuid_first = 1000", "at least 10000"),
            ("[isolation]\nreadable = [\"games\"]", "not an absolute path"),
        ] {
            let fault = load(text, &Serve::default(), &PanelSettings::default()).unwrap_err().to_string();
            assert!(fault.contains(named), "{fault}");
        }
    }

    #[test]
    fn every_setting_reaches_the_half_it_is_for() {
        let text = r#"
            public_url = "https://p.example/games"
            client_per_minute = 1
            application_per_minute = 2
            websocket_per_minute = 3
            activity_days = 4
            app_name = "Ours"
            allowed_origins = ["https://bot.example:8443"]
            require_origin = true
            require_scope = false
            always_args = true
            echo_commands = false
            log_lines = 200
            retain_bytes = 8388608
            stop_grace_s = 30
            connections_per_user_max = 5
            unauthenticated_max = 6
            unauthenticated_per_address_max = 7
            [inbound]
            all = { burst = 20, refill_ms = 100 }
            send_command = { burst = 15, refill_ms = 0 }
            [isolation]
            off = ["tcp"]
            uid_first = 300000
            uid_count = 10
            readable = ["/srv/maps"]
        "#;
        let settings = load(text, &Serve::default(), &PanelSettings::default()).unwrap();
        let mut panel = ::panel::Config::new("p.db");
        settings.apply_to_panel(&mut panel);
        assert_eq!(
            (panel.client_per_minute, panel.application_per_minute, panel.websocket_per_minute, panel.activity_days),
            (1, 2, 3, 4)
        );
        let mut node = daemon::Config::new("/d".into(), uuid::Uuid::nil(), "id", "secret", "http://127.0.0.1:1");
        let before = node.clone();
        settings.apply_to_node(&mut node);
        assert!(node.allowed_origins.ends_with(&["https://bot.example:8443".into(), "https://p.example".into()]));
        assert_eq!((node.app_name.as_str(), node.log_lines, node.retain_bytes), ("Ours", 200, 8 << 20));
        assert!(node.require_origin && !node.require_scope && node.always_args && !node.echo_commands);
        assert_eq!(node.stop_grace, Duration::from_secs(30));
        assert_eq!(
            (node.connections_per_user_max, node.unauthenticated_max, node.unauthenticated_per_address_max),
            (5, 6, 7)
        );
        let isolation = daemon::IsolationSettings {
            off: [Rung::Tcp].into(),
            uid_first: 300_000,
            uid_count: 10,
            readable: vec!["/srv/maps".into()],
        };
        assert_eq!(node.isolation, isolation);
        let limits = node.session.limits;
        assert_eq!((limits.global.burst, limits.global.refill_ms), (20, 100));
        assert_eq!((limits.send_command.burst, limits.send_command.refill_ms), (15, 0));
        assert_eq!((limits.auth, limits.other), (before.session.limits.auth, before.session.limits.other));
    }
}
