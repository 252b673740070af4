//! Who has how many connections: no single peer may take them all.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use tracing::{debug, warn};

use crate::serve::owner::Owners;

/// HTTP connections of one peer at a time; more are answered 429 and closed. Upgraded ones are counted by the node.
pub(crate) const PEER_CONNECTIONS_MAX: usize = 512;
/// The same for a game of this machine that has a user of its own. It may use the API as anybody may, and has no need of many.
pub(crate) const GAME_CONNECTIONS_MAX: usize = 32;
/// Somebody with IPv6 has a network of this many bits at least: its addresses are one peer.
const V6_PREFIX_BITS: u32 = 64;
/// This machine itself.
const LOOPBACK: [IpNet; 2] =
    [IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::LOCALHOST, 8)), IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128))];
/// A peer at its limit is in the log at most so often.
const WARN_PERIOD: Duration = Duration::from_mins(1);

/// Connections by peer. Panel and node talk over loopback, and everybody behind a proxy has its address: these are not counted.
/// Games are, wherever on this machine they come from.
#[derive(Debug)]
pub(super) struct Peers {
    exempt: Vec<IpNet>,
    /// User ids of games.
    games: Range<u32>,
    owners: Option<Owners>,
    connections_max: usize,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// Never zero; so no more entries than connections.
    by_peer: HashMap<Peer, usize>,
    warned: Option<Instant>,
}

/// Who shares a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Peer {
    /// An address, or a network of IPv6.
    Address(IpAddr),
    /// The game with this user.
    Game(u32),
}

impl Peers {
    /// With these proxies and loopback exempt, but none of the users of games.
    pub(super) fn new(trusted_proxies: &[IpNet], games: Range<u32>) -> Arc<Self> {
        Self::with(trusted_proxies.iter().copied().chain(LOOPBACK).collect(), games, PEER_CONNECTIONS_MAX)
    }

    /// With exactly these exempt, and another limit.
    pub(super) fn with(exempt: Vec<IpNet>, games: Range<u32>, connections_max: usize) -> Arc<Self> {
        let owners = Owners::new()
            .inspect_err(|error| debug!(%error, "the kernel does not tell whose connections from this machine are"))
            .ok();
        Arc::new(Self { exempt, games, owners, connections_max, counts: Mutex::default() })
    }

    /// A place for one more connection of this peer to our address, if it may have one. Addresses are canonical: no IPv4 in IPv6.
    pub(super) fn admit(self: &Arc<Self>, peer: SocketAddr, ours: SocketAddr) -> Option<Place> {
        let (peer, connections_max) = if let Some(uid) = self.game(peer, ours) {
            (Peer::Game(uid), GAME_CONNECTIONS_MAX)
        } else if self.exempt.iter().any(|net| net.contains(&peer.ip())) {
            return Some(Place(None));
        } else {
            (Peer::Address(peer_of(peer.ip())), self.connections_max)
        };
        let mut counts = self.counts();
        let count = counts.by_peer.entry(peer).or_default();
        if *count < connections_max {
            *count += 1;
            return Some(Place(Some((Arc::clone(self), peer))));
        }
        if counts.warned.is_none_or(|warned| warned.elapsed() >= WARN_PERIOD) {
            counts.warned = Some(Instant::now());
            match peer {
                Peer::Address(peer) => {
                    warn!(%peer, connections_max, "a peer has all the connections it may have; more are refused");
                }
                Peer::Game(uid) => {
                    warn!(uid, connections_max, "a game has all the connections to us it may have; more are refused");
                }
            }
        }
        None
    }

    /// The user of the game that a connection comes from. Whoever comes from this machine has the address it came to, or loopback.
    fn game(&self, peer: SocketAddr, ours: SocketAddr) -> Option<u32> {
        if peer.ip() != ours.ip() && !LOOPBACK.iter().any(|net| net.contains(&peer.ip())) {
            return None;
        }
        self.owners.as_ref()?.of(peer, ours).filter(|uid| self.games.contains(uid))
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
pub(super) struct Place(Option<(Arc<Peers>, Peer)>);

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

    const NO_GAMES: Range<u32> = 0..0;

    fn admit(peers: &Arc<Peers>, ip: &str) -> Option<Place> {
        peers.admit(SocketAddr::new(ip.parse().unwrap(), 1), "192.0.2.99:8080".parse().unwrap())
    }

    #[test]
    fn a_peer_has_its_share_and_gets_it_back() {
        let peers = Peers::with(Vec::new(), NO_GAMES, 2);
        let mut held: Vec<Place> = (0..2).map(|_| admit(&peers, "192.0.2.1").unwrap()).collect();
        assert!(admit(&peers, "192.0.2.1").is_none());
        let other = admit(&peers, "192.0.2.2").unwrap();
        held.pop();
        held.push(admit(&peers, "192.0.2.1").unwrap());
        assert!(admit(&peers, "192.0.2.1").is_none());
        drop((held, other));
        assert!(peers.counts().by_peer.is_empty(), "nobody is remembered who has gone");
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_are_one_peer() {
        let peers = Peers::with(Vec::new(), NO_GAMES, 1);
        let _held = admit(&peers, "2001:db8::1").unwrap();
        assert!(admit(&peers, "2001:db8::ffff:1").is_none());
        assert!(admit(&peers, "2001:db8:0:1::1").is_some());
    }

    #[test]
    fn loopback_and_trusted_proxies_have_no_share() {
        let peers = Peers::new(&["10.0.0.0/8".parse().unwrap()], NO_GAMES);
        for address in ["127.0.0.1", "127.9.9.9", "::1", "10.1.2.3"] {
            let held: Vec<_> = (0..=PEER_CONNECTIONS_MAX).map(|_| admit(&peers, address)).collect();
            assert!(held.iter().all(Option::is_some), "{address}");
        }
        let held: Vec<_> = (0..=PEER_CONNECTIONS_MAX).map(|_| admit(&peers, "11.1.2.3")).collect();
        assert_eq!(held.iter().flatten().count(), PEER_CONNECTIONS_MAX);
    }

    #[test]
    fn a_game_has_its_share_of_loopback_too() {
        use std::net::{TcpListener, TcpStream};

        let own = rustix::process::getuid().as_raw();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = listener.local_addr().unwrap();
        let peers = [Peers::new(&[], own..own + 1), Peers::new(&[], own + 1..own + 2)];
        let mut clients = Vec::new();
        let mut held = [Vec::new(), Vec::new()];
        for _ in 0..=GAME_CONNECTIONS_MAX {
            clients.push(TcpStream::connect(ours).unwrap());
            let (accepted, peer) = listener.accept().unwrap();
            for (peers, held) in peers.iter().zip(&mut held) {
                held.push(peers.admit(peer, ours));
            }
            clients.push(accepted);
        }
        let admitted = held.map(|held| held.iter().flatten().count());
        assert_eq!(admitted, [GAME_CONNECTIONS_MAX, GAME_CONNECTIONS_MAX + 1]);
    }
}
