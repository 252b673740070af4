//! Places for connections that have not authenticated yet: so many for everybody, and a share of them for one address, so that
//! nobody keeps others out of their consoles.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Who waits, by address.
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
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.get(&address).copied().unwrap_or(0);
        if own >= self.share_max || taken.values().sum::<usize>() >= self.places_max {
            return None;
        }
        taken.insert(address, own + 1);
        Some(Place { room: self.clone(), address })
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
}
