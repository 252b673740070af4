//! Whose the other end of a connection is that comes from this machine itself: the kernel knows the user of every socket.
//!
//! Asked over `sock_diag(7)`, which answers within the request, needs no rights, and finds one socket without walking through all.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io;
use rustix::net::netlink::{SOCK_DIAG, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

// From the kernel's interface: include/uapi/linux/{netlink,sock_diag,inet_diag}.h.
const BY_FAMILY: u16 = 20;
const REQUEST: u16 = 1;
const HEADER_BYTES: usize = 16;
const REQUEST_BYTES: u32 = 72;
const FAMILY_V4: u8 = 2;
const FAMILY_V6: u8 = 10;
const PROTOCOL_TCP: u8 = 6;
const NO_COOKIE: [u8; 8] = [0xff; 8];
/// Where the user stands in the answer: behind its header, four bytes, the socket's addresses, its timer and two queues.
const UID_AT: usize = HEADER_BYTES + 4 + 48 + 12;
const ANSWER_BYTES_MAX: usize = 4096;

/// Asks the kernel.
#[derive(Debug)]
pub(super) struct Owners {
    socket: OwnedFd,
}

impl Owners {
    /// Fails where the kernel does not have this, or it is not allowed.
    pub(super) fn new() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        Ok(Self { socket: socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(SOCK_DIAG))? })
    }

    /// The user that holds the socket with this address, connected to this one of ours. None when it is not known.
    pub(super) fn of(&self, peer: SocketAddr, ours: SocketAddr) -> Option<u32> {
        let kernel = SocketAddrNetlink::new(0, 0);
        sendto(&self.socket, &request(peer, ours), SendFlags::empty(), &kernel).ok()?;
        let mut answer = [0; ANSWER_BYTES_MAX];
        let (length, _) = recv(&self.socket, &mut answer, RecvFlags::empty()).ok()?;
        uid(&answer[..length])
    }
}

fn request(peer: SocketAddr, ours: SocketAddr) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(REQUEST_BYTES as usize);
    bytes.extend(REQUEST_BYTES.to_ne_bytes());
    bytes.extend(BY_FAMILY.to_ne_bytes());
    bytes.extend(REQUEST.to_ne_bytes());
    // The request's number and who sends it: one socket, one request at a time, and the kernel fills in who.
    bytes.extend([0; 8]);
    let family = if peer.is_ipv4() { FAMILY_V4 } else { FAMILY_V6 };
    bytes.extend([family, PROTOCOL_TCP, 0, 0]);
    bytes.extend(u32::MAX.to_ne_bytes()); // in whatever state it is
    bytes.extend(peer.port().to_be_bytes());
    bytes.extend(ours.port().to_be_bytes());
    bytes.extend(octets(peer.ip()));
    bytes.extend(octets(ours.ip()));
    bytes.extend([0; 4]); // on whatever interface
    bytes.extend(NO_COOKIE);
    bytes
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => {
            let mut octets = [0; 16];
            octets[..4].copy_from_slice(&address.octets());
            octets
        }
        IpAddr::V6(address) => address.octets(),
    }
}

fn uid(answer: &[u8]) -> Option<u32> {
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    if kind != BY_FAMILY {
        return None;
    }
    Some(u32::from_ne_bytes(answer.get(UID_AT..UID_AT + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_peer_on_this_machine_is_the_user_that_runs_this_test() {
        let owners = Owners::new().unwrap();
        let own = rustix::process::getuid().as_raw();
        for address in ["127.0.0.1:0", "[::1]:0"] {
            // A machine without IPv6 has nobody to ask about.
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (accepted, peer) = listener.accept().unwrap();
            assert_eq!(peer, client.local_addr().unwrap());
            assert_eq!(owners.of(peer, accepted.local_addr().unwrap()), Some(own), "{address}");
        }
    }

    #[test]
    fn a_socket_that_is_not_there_is_nobodys() {
        let owners = Owners::new().unwrap();
        assert_eq!(owners.of("127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap()), None);
        assert_eq!(uid(&[]), None);
    }
}
