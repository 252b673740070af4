//! Where a connection comes from: the person's address, and which web pages may open a console.

use std::net::IpAddr;

use axum::http::{HeaderMap, header};
use ipnet::IpNet;

use crate::config::Config;

/// The caller's address: the peer's, or, when the peer is a trusted proxy, the last address of `X-Forwarded-For` that is not.
pub(crate) fn client_ip(headers: &HeaderMap, peer: IpAddr, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |ip: &IpAddr| trusted.iter().any(|net| net.contains(ip));
    if !is_trusted(&peer) {
        return peer;
    }
    let mut caller = peer;
    let values: Vec<&str> = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok()).collect();
    for hop in values.iter().flat_map(|value| value.split(',')).rev() {
        let Ok(ip) = hop.trim().parse::<IpAddr>() else { break };
        let ip = ip.to_canonical();
        caller = ip;
        if !is_trusted(&ip) {
            break;
        }
    }
    caller
}

/// Whether a page of this origin may open a console.
///
/// The token is the real key; the check keeps a browser's user safe from foreign pages. So none at all is fine (programs send
/// none) unless the setting asks for Wings' strict way; one that is present must be the panel's, the host's own, or configured.
pub(crate) fn origin_allowed(headers: &HeaderMap, peer: IpAddr, config: &Config) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return !config.require_origin };
    if config.allowed_origins.iter().any(|allowed| allowed == "*") {
        return true;
    }
    let Some(origin) = origin.to_str().ok().and_then(Origin::of) else { return false };
    let listed = [&config.remote].into_iter().chain(&config.allowed_origins);
    if listed.filter_map(|url| Origin::of(url)).any(|listed| listed == origin) {
        return true;
    }
    // The page was served by the host that this request asks: same authority in both headers.
    let from_proxy = config.trusted_proxies.iter().any(|net| net.contains(&peer));
    let forwarded = headers.get("x-forwarded-host").filter(|_| from_proxy);
    [forwarded, headers.get(header::HOST)]
        .into_iter()
        .flatten()
        .filter_map(|host| host.to_str().ok())
        .any(|host| without_default_port(host).eq_ignore_ascii_case(without_default_port(&origin.authority)))
}

/// Scheme, host and port of a URL, in the form that two of them can be compared in.
#[derive(PartialEq, Eq)]
struct Origin {
    scheme: String,
    authority: String,
}

impl Origin {
    /// Of an `Origin` header or of any URL; what follows the authority does not matter.
    fn of(url: &str) -> Option<Self> {
        let (scheme, rest) = url.trim().split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default().to_ascii_lowercase();
        let default_port = match scheme.as_str() {
            "https" => ":443",
            "http" => ":80",
            _ => "",
        };
        let authority = authority.strip_suffix(default_port).unwrap_or(&authority).to_owned();
        (!authority.is_empty()).then_some(Self { scheme, authority })
    }
}

/// Behind a proxy that ends TLS we do not know the scheme, so either default port may be left out.
fn without_default_port(authority: &str) -> &str {
    authority.strip_suffix(":443").or_else(|| authority.strip_suffix(":80")).unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn forwarded_addresses_count_only_from_trusted_proxies() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let proxy: IpAddr = "10.0.0.1".parse().unwrap();
        let stranger: IpAddr = "203.0.113.9".parse().unwrap();
        let forwarded = headers(&[("x-forwarded-for", "198.51.100.7, 192.0.2.4, 10.0.0.2")]);
        assert_eq!(client_ip(&forwarded, proxy, &trusted), "192.0.2.4".parse::<IpAddr>().unwrap());
        assert_eq!(client_ip(&forwarded, stranger, &trusted), stranger);
        assert_eq!(client_ip(&headers(&[("x-forwarded-for", "junk")]), proxy, &trusted), proxy);
        assert_eq!(client_ip(&HeaderMap::new(), proxy, &trusted), proxy);
    }

    #[test]
    fn an_origin_is_the_panels_the_hosts_own_configured_or_refused() {
        let mut config = Config::new("/".into(), uuid::Uuid::nil(), "id", "secret", "https://panel.example");
        let peer: IpAddr = "127.0.0.1".parse().unwrap();
        let allowed =
            |config: &Config, pairs: &[(&'static str, &'static str)]| origin_allowed(&headers(pairs), peer, config);
        assert!(allowed(&config, &[]));
        assert!(allowed(&config, &[("origin", "https://panel.example")]));
        assert!(!allowed(&config, &[("origin", "https://evil.example"), ("host", "node.example")]));
        assert!(!allowed(&config, &[("origin", "null"), ("host", "node.example")]));
        assert!(allowed(&config, &[("origin", "https://node.example"), ("host", "node.example:443")]));
        assert!(!allowed(
            &config,
            &[("origin", "https://x.example"), ("host", "n"), ("x-forwarded-host", "x.example")]
        ));
        config.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
        assert!(allowed(&config, &[("origin", "https://x.example"), ("host", "n"), ("x-forwarded-host", "x.example")]));
        config.allowed_origins = vec!["https://bot.example".into()];
        assert!(allowed(&config, &[("origin", "https://bot.example")]));
        config.require_origin = true;
        assert!(!allowed(&config, &[]));
    }

    #[test]
    fn a_panel_has_the_origin_that_people_see_besides_the_one_that_nodes_use() {
        let mut config = Config::new("/".into(), uuid::Uuid::nil(), "id", "secret", "http://10.0.0.5:8080/");
        let peer: IpAddr = "203.0.113.9".parse().unwrap();
        let allowed = |config: &Config, origin: &'static str| {
            origin_allowed(&headers(&[("origin", origin), ("host", "node.example:8080")]), peer, config)
        };
        assert!(allowed(&config, "http://10.0.0.5:8080"));
        assert!(!allowed(&config, "https://panel.example"));
        config.allowed_origins = vec!["https://Panel.Example:443/games".into(), String::new()];
        assert!(allowed(&config, "https://panel.example"));
        for other in
            ["http://panel.example", "https://panel.example:8443", "https://panel.example.evil", "https://", "null"]
        {
            assert!(!allowed(&config, other), "{other}");
        }
        config.allowed_origins = vec!["*".into()];
        assert!(allowed(&config, "https://evil.example"));
    }
}
