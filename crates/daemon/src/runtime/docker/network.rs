//! A network for each server, so that games in containers reach each other no more than strangers do.

use std::net::Ipv4Addr;

use bollard::errors::Error;
use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest, NetworkInspect};
use wire::ids::ServerId;

use super::{Engine, EngineError};

/// Addresses of one server's network are the part below this prefix: eight, of which a container and its gateway use two.
const PREFIX: u8 = 29;
/// Networks tried before it counts as full. Others of this machine may have addresses among ours.
const TRIES_MAX: u32 = 64;

/// The name of a server's network.
pub(super) fn name(server: ServerId) -> String {
    format!("quarterdeck-{}", server.short())
}

/// A network that is there.
#[derive(Clone)]
pub(super) struct Network {
    pub(super) name: String,
    /// The address of this machine in it; empty if the engine does not say.
    pub(super) gateway: String,
}

impl Network {
    fn of(name: String, found: &NetworkInspect) -> Self {
        let config = found.ipam.as_ref().and_then(|ipam| ipam.config.as_ref()?.first());
        let gateway = config.and_then(|config| {
            let given =
                config.gateway.as_deref().map(|gateway| gateway.split('/').next().unwrap_or(gateway).to_owned());
            given.or_else(|| first_address(config.subnet.as_deref()?))
        });
        Self { name, gateway: gateway.unwrap_or_default() }
    }
}

/// The first address of a network, which is its gateway unless something else is said.
fn first_address(subnet: &str) -> Option<String> {
    let base: Ipv4Addr = subnet.split('/').next()?.parse().ok()?;
    Some(Ipv4Addr::from(u32::from(base).wrapping_add(1)).to_string())
}

/// Makes a server's network unless there is one.
pub(super) async fn have(engine: &Engine, server: ServerId) -> Result<Network, EngineError> {
    let client = engine.client().await?;
    let name = name(server);
    match client.inspect_network(&name, None::<bollard::query_parameters::InspectNetworkOptions>).await {
        Ok(found) => return Ok(Network::of(name, &found)),
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => {}
        Err(error) => return Err(engine.failed("look at the server's network", &error)),
    }
    let (base, prefix) = engine.settings().subnet;
    let mut refused = EngineError::Refused {
        what: "make the server's network",
        why: format!("the subnet {base}/{prefix} of the [containers] settings has no room for a network"),
    };
    for subnet in subnets(base, prefix, seed(server)) {
        let gateway = first_address(&subnet).unwrap_or_default();
        let config = IpamConfig { subnet: Some(subnet), ..Default::default() };
        let request = NetworkCreateRequest {
            name: name.clone(),
            driver: Some("bridge".to_owned()),
            ipam: Some(Ipam { config: Some(vec![config]), ..Default::default() }),
            labels: Some(engine.labels(server)),
            ..Default::default()
        };
        match client.create_network(request).await {
            // Or made by somebody meanwhile.
            Ok(_) | Err(Error::DockerResponseServerError { status_code: 409, .. }) => {
                return Ok(Network { name, gateway });
            }
            // Taken: engines say so with this number, among others.
            Err(error @ Error::DockerResponseServerError { status_code: 400..=403 | 500, .. }) => {
                refused = engine.failed("make the server's network", &error);
            }
            Err(error) => return Err(engine.failed("make the server's network", &error)),
        }
    }
    Err(refused)
}

/// Removes a server's network.
pub(super) async fn remove(engine: &Engine, server: ServerId) -> Result<(), EngineError> {
    match engine.client().await?.remove_network(&name(server)).await {
        Ok(()) | Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
        Err(error) => Err(engine.failed("remove the server's network", &error)),
    }
}

/// A number that is a server's own, or nearly.
fn seed(server: ServerId) -> u32 {
    let [a, b, c, d, ..] = *server.0.as_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// Parts of a subnet in which to look for room, the first of which depends on the server.
fn subnets(base: Ipv4Addr, prefix: u8, seed: u32) -> impl Iterator<Item = String> {
    let (host_bits, part_bits) = (32 - u32::from(prefix.min(32)), 32 - u32::from(PREFIX));
    let count = if host_bits < part_bits { 0 } else { 1_u32.checked_shl(host_bits - part_bits).unwrap_or(u32::MAX) };
    let first = u32::from(base) & u32::MAX.checked_shl(host_bits).unwrap_or(0);
    (0..TRIES_MAX.min(count)).map(move |n| {
        let part = seed.wrapping_add(n) % count;
        let address = Ipv4Addr::from(first.wrapping_add(part << part_bits));
        format!("{address}/{PREFIX}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_begins_elsewhere_and_stays_within_the_subnet() {
        let base = Ipv4Addr::new(10, 213, 7, 9);
        let of = |prefix, seed| subnets(base, prefix, seed).collect::<Vec<_>>();
        assert_eq!(of(16, 0).first().map(String::as_str), Some("10.213.0.0/29"));
        assert_eq!(of(16, 8191).get(..2), Some(&["10.213.255.248/29".to_owned(), "10.213.0.0/29".to_owned()][..]));
        assert_eq!(of(28, 5), ["10.213.7.8/29", "10.213.7.0/29"]);
        assert_eq!(of(30, 5), [""; 0]);
        assert_eq!(of(0, 1).len(), 64);
    }
}
