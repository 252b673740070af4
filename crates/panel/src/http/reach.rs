//! How a request reached us: the caller's address, and our own as the caller sees it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Uri, header, request};

use crate::config::Config;

const PORT_HTTP: u16 = 80;
const PORT_HTTPS: u16 = 443;
/// Longest host name DNS knows.
const HOST_BYTES_MAX: usize = 253;

/// Our own address as a caller sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// `https` rather than `http`.
    pub(crate) secure: bool,
    /// Name or address; an IPv6 address in brackets.
    pub(crate) host: String,
    /// Always known.
    pub(crate) port: u16,
}

impl Origin {
    /// `scheme://host:port`; the port is left out when it is the scheme's own.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        if self.port == default_port(self.secure) {
            format!("{scheme}://{}", self.host)
        } else {
            format!("{scheme}://{}:{}", self.host, self.port)
        }
    }

    /// `scheme://host:port`, always with the port.
    pub(crate) fn url_with_port(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}:{}", self.host, self.port)
    }

    /// Of a URL as a node or a setting has it.
    pub(crate) fn of_url(url: &str) -> Option<Self> {
        let url = reqwest::Url::parse(url).ok()?;
        let secure = match url.scheme() {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        Some(Self { secure, host: url.host_str()?.to_owned(), port: url.port_or_known_default()? })
    }
}

/// Where a request came from and by which address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    /// The caller.
    pub(crate) ip: IpAddr,
    /// Ours; none when the Host header is missing or makes no sense.
    pub(crate) origin: Option<Origin>,
}

impl Reach {
    /// Reads it from a request. `X-Forwarded-*` count only when the peer is a trusted proxy. Without a peer address, as in
    /// tests without a listener, the peer is this machine.
    pub(crate) fn of(parts: &request::Parts, config: &Config) -> Self {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip());
        Self::from(peer.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), &parts.headers, &parts.uri, config)
    }

    fn from(peer: IpAddr, headers: &HeaderMap, uri: &Uri, config: &Config) -> Self {
        let peer = peer.to_canonical();
        let proxied = config.trusts(peer);
        let forwarded = |name: &str| if proxied { first(headers, name) } else { None };
        let ip = if proxied { forwarded_ip(headers, config).unwrap_or(peer) } else { peer };
        let secure = forwarded("x-forwarded-proto").is_some_and(|proto| proto.eq_ignore_ascii_case("https"));
        let host = match forwarded("x-forwarded-host") {
            Some(host) => Some(host),
            None => headers
                .get(header::HOST)
                .and_then(|value| value.to_str().ok())
                .or_else(|| uri.authority().map(axum::http::uri::Authority::as_str)),
        };
        let port = forwarded("x-forwarded-port").and_then(|text| text.parse().ok()).filter(|port| *port != 0);
        let origin = host.and_then(split_host).map(|(host, own)| Origin {
            secure,
            host: host.to_ascii_lowercase(),
            port: port.or(own).unwrap_or(default_port(secure)),
        });
        Self { ip, origin }
    }
}

const fn default_port(secure: bool) -> u16 {
    if secure { PORT_HTTPS } else { PORT_HTTP }
}

/// The first element of a comma-separated header: what the proxy nearest to the caller saw.
fn first<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let text = headers.get(name)?.to_str().ok()?.split(',').next()?.trim();
    (!text.is_empty()).then_some(text)
}

/// The rightmost address of `X-Forwarded-For` that is not itself a trusted proxy: what is left of it is the caller's to invent.
fn forwarded_ip(headers: &HeaderMap, config: &Config) -> Option<IpAddr> {
    let values = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    let all: Vec<&str> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
    let mut furthest = None;
    for text in all.iter().rev() {
        let Some(ip) = parse_ip(text) else { break };
        furthest = Some(ip);
        if !config.trusts(ip) {
            break;
        }
    }
    furthest
}

/// An address, perhaps with brackets or a port, as some proxies write it.
fn parse_ip(text: &str) -> Option<IpAddr> {
    let plain = text.trim_start_matches('[').split(']').next().unwrap_or(text);
    let ip = plain.parse().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
    ip.ok().map(|ip| ip.to_canonical())
}

/// Host and port of a Host header, if both make sense.
fn split_host(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = if text.starts_with('[') {
        let end = text.find(']')?;
        let (host, rest) = text.split_at(end + 1);
        host.trim_matches(['[', ']']).parse::<std::net::Ipv6Addr>().ok()?;
        match rest.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if rest.is_empty() => (host, None),
            None => return None,
        }
    } else {
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        let sane = host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
        if host.is_empty() || host.len() > HOST_BYTES_MAX || !sane {
            return None;
        }
        (host, port)
    };
    match port {
        None => Some((host, None)),
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => {
            let port: u16 = port.parse().ok()?;
            (port != 0).then_some((host, Some(port)))
        }
        Some(_) => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Names and values.
    type Headers<'a> = &'a [(&'a str, &'a str)];

    fn reach(peer: &str, headers: Headers<'_>) -> Reach {
        let mut config = Config::new("unused");
        config.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(axum::http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        Reach::from(peer.parse().unwrap(), &map, &Uri::from_static("/x"), &config)
    }

    #[test]
    fn our_address_is_what_the_caller_sees() {
        const STRANGER: &str = "203.0.113.9";
        const PROXY: &str = "10.1.2.3";
        let proto = ("x-forwarded-proto", "https");
        let rows: &[(&str, Headers<'_>, Option<&str>)] = &[
            (STRANGER, &[("host", "panel.example:8080")], Some("http://panel.example:8080")),
            (STRANGER, &[("host", "Panel.Example")], Some("http://panel.example:80")),
            (STRANGER, &[("host", "[2001:db8::1]:8080")], Some("http://[2001:db8::1]:8080")),
            (STRANGER, &[("host", "[2001:db8::1]")], Some("http://[2001:db8::1]:80")),
            (STRANGER, &[("host", "127.0.0.1:1")], Some("http://127.0.0.1:1")),
            // A stranger's forwarding headers are noise.
            (STRANGER, &[("host", "a:1"), proto, ("x-forwarded-host", "evil")], Some("http://a:1")),
            (STRANGER, &[("host", "a:1"), ("x-forwarded-port", "9")], Some("http://a:1")),
            // A proxy that passes Host on.
            (PROXY, &[("host", "panel.example"), proto], Some("https://panel.example:443")),
            (PROXY, &[("host", "panel.example:8443"), proto], Some("https://panel.example:8443")),
            (PROXY, &[("host", "panel.example"), ("x-forwarded-proto", "http")], Some("http://panel.example:80")),
            // A proxy that names the host beside it: its port is not the inner one.
            (PROXY, &[("host", "inner:8080"), ("x-forwarded-host", "p.example"), proto], Some("https://p.example:443")),
            (
                PROXY,
                &[("host", "inner:8080"), ("x-forwarded-host", "p.example:444"), proto],
                Some("https://p.example:444"),
            ),
            (
                PROXY,
                &[("host", "inner:8080"), ("x-forwarded-host", "p.example"), ("x-forwarded-port", "8443"), proto],
                Some("https://p.example:8443"),
            ),
            (PROXY, &[("host", "a"), ("x-forwarded-proto", "https, http")], Some("https://a:443")),
            (PROXY, &[("host", "a"), ("x-forwarded-host", "b, c"), proto], Some("https://b:443")),
            // Nonsense.
            (STRANGER, &[], None),
            (STRANGER, &[("host", "")], None),
            (STRANGER, &[("host", "a b")], None),
            (STRANGER, &[("host", "a/../b")], None),
            (STRANGER, &[("host", "user@a")], None),
            (STRANGER, &[("host", "a:0")], None),
            (STRANGER, &[("host", "a:65536")], None),
            (STRANGER, &[("host", "a:+80")], None),
            (STRANGER, &[("host", "[zz]:80")], None),
            (STRANGER, &[("host", "[::1]x")], None),
            (STRANGER, &[("host", "a:1:2")], None),
        ];
        for (peer, headers, expected) in rows {
            let origin = reach(peer, headers).origin.map(|origin| origin.url_with_port());
            assert_eq!(origin.as_deref(), *expected, "{peer} {headers:?}");
        }
    }

    #[test]
    fn the_callers_address_is_the_last_one_a_trusted_proxy_saw() {
        let rows: &[(&str, Headers<'_>, &str)] = &[
            ("203.0.113.9", &[("x-forwarded-for", "1.1.1.1")], "203.0.113.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &[("x-forwarded-for", "1.1.1.1")], "1.1.1.1"),
            ("10.0.0.1", &[("x-forwarded-for", "6.6.6.6, 1.1.1.1, 10.9.9.9")], "1.1.1.1"),
            ("10.0.0.1", &[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "1.1.1.1")], "1.1.1.1"),
            ("10.0.0.1", &[("x-forwarded-for", "nonsense")], "10.0.0.1"),
            ("10.0.0.1", &[("x-forwarded-for", "1.1.1.1:5000")], "1.1.1.1"),
            ("::1", &[("x-forwarded-for", "[2001:db8::7]:5000")], "2001:db8::7"),
            ("::ffff:10.0.0.1", &[("x-forwarded-for", "::ffff:1.1.1.1")], "1.1.1.1"),
            ("10.0.0.1", &[("x-forwarded-for", "10.0.0.2, 10.0.0.3")], "10.0.0.2"),
        ];
        for (peer, headers, expected) in rows {
            assert_eq!(reach(peer, headers).ip.to_string(), *expected, "{peer} {headers:?}");
        }
    }

    #[test]
    fn links_leave_out_the_schemes_own_port() {
        let origin = |text| Origin::of_url(text).unwrap().url();
        assert_eq!(origin("https://a:443/x"), "https://a");
        assert_eq!(origin("http://a:8080"), "http://a:8080");
        assert_eq!(origin("http://[::1]:80"), "http://[::1]");
    }

    proptest! {
        /// Whatever the headers hold, nothing panics, and what comes out is a URL that reads back.
        #[test]
        fn any_host_header_gives_a_url_or_nothing(host in "[ -~]{0,40}", forwarded in "[ -~]{0,40}") {
            for headers in [vec![("host", host.as_str())], vec![("host", "a"), ("x-forwarded-host", forwarded.as_str()),
                ("x-forwarded-for", forwarded.as_str()), ("x-forwarded-port", host.as_str())]] {
                if let Some(origin) = reach("10.0.0.1", &headers).origin {
                    // Four numbers with dots that are no address are the one form that URLs refuse.
                    if let Some(back) = Origin::of_url(&origin.url_with_port()) {
                        prop_assert_eq!(back.port, origin.port);
                    }
                }
            }
        }
    }
}
