//! Who has how many connections: no single peer may take them all.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use tracing::warn;

/// HTTP connections of one peer at a time; more are answered 429 and closed. Upgraded ones are counted by the node.
pub(crate) const PEER_CONNECTIONS_MAX: usize = 512;
/// Somebody with IPv6 has a network of this many bits at least: its addresses are one peer.
const V6_PREFIX_BITS: u32 = 64;
/// This machine itself.
const LOOPBACK: [IpNet; 2] =
    [IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::LOCALHOST, 8)), IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128))];
/// A peer at its limit is in the log at most so often.
const WARN_PERIOD: Duration = Duration::from_mins(1);

/// Connections by peer. Panel and node talk over loopback, and everybody behind a proxy has its address: these are not counted.
#[derive(Debug)]
pub(super) struct Peers {
    exempt: Vec<IpNet>,
    connections_max: usize,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// Never zero; so no more entries than connections.
    by_peer: HashMap<IpAddr, usize>,
    warned: Option<Instant>,
}

impl Peers {
    /// With these proxies and loopback exempt.
    pub(super) fn new(trusted_proxies: &[IpNet]) -> Arc<Self> {
        Self::with(trusted_proxies.iter().copied().chain(LOOPBACK).collect(), PEER_CONNECTIONS_MAX)
    }

    /// With exactly these exempt, and another limit.
    pub(super) fn with(exempt: Vec<IpNet>, connections_max: usize) -> Arc<Self> {
        Arc::new(Self { exempt, connections_max, counts: Mutex::default() })
    }

    /// A place for one more connection of this peer, if it may have one. The address is canonical: no IPv4 in IPv6.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        if self.exempt.iter().any(|net| net.contains(&address)) {
            return Some(Place(None));
        }
        let peer = peer_of(address);
        let mut counts = self.counts();
        let count = counts.by_peer.entry(peer).or_default();
        if *count < self.connections_max {
            *count += 1;
            return Some(Place(Some((Arc::clone(self), peer))));
        }
        if counts.warned.is_none_or(|warned| warned.elapsed() >= WARN_PERIOD) {
            counts.warned = Some(Instant::now());
            warn!(%peer, connections = self.connections_max, "a peer has all the connections it may have; more are refused");
        }
        None
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn peer_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let mask = u128::MAX << (u128::BITS - V6_PREFIX_BITS);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

/// Held while a connection lasts; nothing inside when it is not counted.
#[derive(Debug)]
pub(super) struct Place(Option<(Arc<Peers>, IpAddr)>);

impl Drop for Place {
    fn drop(&mut self) {
        let Some((peers, peer)) = &self.0 else { return };
        let mut counts = peers.counts();
        if let Some(count) = counts.by_peer.get_mut(peer) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.by_peer.remove(peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_peer_has_its_share_and_gets_it_back() {
        let peers = Peers::with(Vec::new(), 2);
        let mut held: Vec<Place> = (0..2).map(|_| peers.admit(ip("192.0.2.1")).unwrap()).collect();
        assert!(peers.admit(ip("192.0.2.1")).is_none());
        let other = peers.admit(ip("192.0.2.2")).unwrap();
        held.pop();
        held.push(peers.admit(ip("192.0.2.1")).unwrap());
        assert!(peers.admit(ip("192.0.2.1")).is_none());
        drop((held, other));
        assert!(peers.counts().by_peer.is_empty(), "nobody is remembered who has gone");
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_are_one_peer() {
        let peers = Peers::with(Vec::new(), 1);
        let _held = peers.admit(ip("2001:db8::1")).unwrap();
        assert!(peers.admit(ip("2001:db8::ffff:1")).is_none());
        assert!(peers.admit(ip("2001:db8:0:1::1")).is_some());
    }

    #[test]
    fn loopback_and_trusted_proxies_have_no_share() {
        let peers = Peers::new(&["10.0.0.0/8".parse().unwrap()]);
        for address in ["127.0.0.1", "127.9.9.9", "::1", "10.1.2.3"] {
            let held: Vec<_> = (0..=PEER_CONNECTIONS_MAX).map(|_| peers.admit(ip(address))).collect();
            assert!(held.iter().all(Option::is_some), "{address}");
        }
        let held: Vec<_> = (0..=PEER_CONNECTIONS_MAX).map(|_| peers.admit(ip("11.1.2.3"))).collect();
        assert_eq!(held.iter().flatten().count(), PEER_CONNECTIONS_MAX);
    }
}
