//! Places for connections that have not authenticated yet: so many for everybody, and a share of them for one address, so that
//! nobody keeps others out of their consoles.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Somebody with IPv6 has a network of this many bits at least: its addresses share one share.
const V6_PREFIX_BITS: u32 = 64;

/// Who waits, by address or network.
#[derive(Debug)]
pub(crate) struct WaitingRoom {
    places_max: usize,
    share_max: usize,
    taken: Mutex<HashMap<IpAddr, usize>>,
}

impl WaitingRoom {
    pub(crate) fn new(places_max: usize, share_max: usize) -> Arc<Self> {
        Arc::new(Self { places_max, share_max, taken: Mutex::default() })
    }

    /// A place for a connection from this address, given back when dropped; none if it has its share or all are taken.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = host_of(address);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.get(&address).copied().unwrap_or(0);
        if own >= self.share_max || taken.values().sum::<usize>() >= self.places_max {
            return None;
        }
        taken.insert(address, own + 1);
        Some(Place { room: self.clone(), address })
    }
}

fn host_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let mask = u128::MAX << (u128::BITS - V6_PREFIX_BITS);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// See [`WaitingRoom::enter`].
#[derive(Debug)]
pub(crate) struct Place {
    room: Arc<WaitingRoom>,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.room.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn one_address_has_its_share_and_everybody_together_the_room() {
        let room = WaitingRoom::new(3, 2);
        let [one, two] = [[127, 0, 0, 1], [127, 0, 0, 2]].map(IpAddr::from);
        let first = room.enter(one);
        let _second = room.enter(one);
        assert!(first.is_some() && room.enter(one).is_none(), "its share");
        let _third = room.enter(two);
        assert!(room.enter(two).is_none(), "the room is full");
        drop(first);
        assert!(room.enter(two).is_some(), "a place was given back");
    }

    #[test]
    fn one_ipv6_host_cannot_take_every_place_with_its_many_addresses() {
        let room = WaitingRoom::new(10, 2);
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let held = ["2001:db8::1", "2001:db8::ffff:1"].map(|address| room.enter(ip(address)));
        assert!(held.iter().all(Option::is_some));
        assert!(room.enter(ip("2001:db8::2")).is_none(), "the same network");
        assert!(room.enter(ip("2001:db8:0:1::1")).is_some(), "another one");
        let _held = ["::ffff:192.0.2.1", "192.0.2.1"].map(|address| room.enter(ip(address)));
        assert!(room.enter(ip("::ffff:192.0.2.1")).is_none(), "one IPv4 host however it is written");
        assert!(room.enter(ip("::ffff:192.0.2.2")).is_some());
    }
}
