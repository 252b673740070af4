//! Counts a server's network traffic with the kernel's help: two programs of twelve BPF instructions on its control group.
//!
//! They see every packet of every socket of the server, and outlive the daemon: a later one finds them again through the group
//! they are attached to, and they go away with it. Loopback counts as well, because players behind a proxy on the same machine
//! come that way. Needs root and a cgroup2 mount; where it is refused the figures stay 0 and the server's details say so.
//!
//! Unsafe code, with `runtime/isolation/kernel`: `bpf(2)` has no safe wrapper without a large dependency (see docs/decisions).
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use wire::server::Network;

// Commands, types and flags of bpf(2), from the kernel's interface (include/uapi/linux/bpf.h).
const MAP_CREATE: libc::c_int = 0;
const MAP_LOOKUP: libc::c_int = 1;
const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_FD_BY_ID: libc::c_int = 13;
const MAP_FD_BY_ID: libc::c_int = 14;
const INFO_BY_FD: libc::c_int = 15;
const PROG_QUERY: libc::c_int = 16;
const MAP_TYPE_ARRAY: u32 = 2;
const PROG_TYPE_CGROUP_SKB: u32 = 8;
const ALLOW_MULTI: u32 = 2;
/// Attach types, and the index of each direction's counter in the map.
const DIRECTIONS: [u32; 2] = [0, 1];
const LICENCE: &CStr = c"MIT";

/// A server's two counters.
#[derive(Debug)]
pub(crate) struct Traffic {
    map: OwnedFd,
}

impl Traffic {
    /// Puts the counters on a control group, or finds those an earlier daemon put there.
    pub(crate) fn attach(group: &Path) -> io::Result<Self> {
        if let Ok(found) = Self::find(group) {
            return Ok(found);
        }
        let group = File::open(group)?;
        let map = MapCreate { kind: MAP_TYPE_ARRAY, key_bytes: 4, value_bytes: 8, entries: 2, flags: 0 };
        let map = bpf_fd(MAP_CREATE, &map)?;
        for direction in DIRECTIONS {
            let program = load(map.as_raw_fd(), direction)?;
            let attach = ProgAttach {
                group: unsigned(group.as_raw_fd()),
                program: unsigned(program.as_raw_fd()),
                direction,
                flags: ALLOW_MULTI,
            };
            bpf(PROG_ATTACH, &attach)?;
        }
        Ok(Self { map })
    }

    /// Finds the counters of a control group.
    pub(crate) fn find(group: &Path) -> io::Result<Self> {
        let group = File::open(group)?;
        let mut program = 0u32;
        let query = ProgQuery {
            group: unsigned(group.as_raw_fd()),
            direction: 0,
            query_flags: 0,
            attach_flags: 0,
            ids: address(&mut program),
            count: 1,
            padding: 0,
        };
        bpf(PROG_QUERY, &query)?;
        if program == 0 {
            return Err(io::ErrorKind::NotFound.into());
        }
        let program = bpf_fd(PROG_FD_BY_ID, &ById { id: program, next: 0, flags: 0 })?;
        let mut map = 0u32;
        let mut info = ProgInfo { head: [0; 13], map_count: 1, maps: address(&mut map) };
        let ask = InfoByFd {
            fd: unsigned(program.as_raw_fd()),
            bytes: u32::try_from(size_of::<ProgInfo>()).unwrap_or(0),
            info: address(&mut info),
        };
        bpf(INFO_BY_FD, &ask)?;
        if map == 0 {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Self { map: bpf_fd(MAP_FD_BY_ID, &ById { id: map, next: 0, flags: 0 })? })
    }

    /// Bytes since the counters were put there.
    pub(crate) fn read(&self) -> io::Result<Network> {
        let [rx_bytes, tx_bytes] = DIRECTIONS.map(|direction| {
            let (mut key, mut value) = (direction, 0u64);
            let look = MapLookup {
                map: unsigned(self.map.as_raw_fd()),
                padding: 0,
                key: address(&mut key),
                value: address(&mut value),
                flags: 0,
            };
            bpf(MAP_LOOKUP, &look).map(|_| value)
        });
        Ok(Network { rx_bytes: rx_bytes?, tx_bytes: tx_bytes? })
    }
}

/// Loads the program of one direction: `map[direction] += packet length; allow the packet`.
fn load(map: RawFd, direction: u32) -> io::Result<OwnedFd> {
    let index = i32::try_from(direction).unwrap_or(0);
    let program = [
        Instruction::new(0xbf, 6, 1, 0, 0),       // r6 = r1, the packet's context
        Instruction::new(0x61, 7, 6, 0, 0),       // r7 = its length
        Instruction::new(0x62, 10, 0, -4, index), // key = direction
        Instruction::new(0xbf, 2, 10, 0, 0),      // r2 = stack
        Instruction::new(0x07, 2, 0, 0, -4),      // r2 = &key
        Instruction::new(0x18, 1, 1, 0, map),     // r1 = map (two slots)
        Instruction::new(0, 0, 0, 0, 0),
        Instruction::new(0x85, 0, 0, 0, 1), // r0 = lookup(r1, r2)
        Instruction::new(0x15, 0, 0, 1, 0), // none: skip the next
        Instruction::new(0xdb, 0, 7, 0, 0), // *r0 += r7, atomically
        Instruction::new(0xb7, 0, 0, 0, 1), // r0 = 1: allow
        Instruction::new(0x95, 0, 0, 0, 0), // exit
    ];
    let load = ProgLoad {
        kind: PROG_TYPE_CGROUP_SKB,
        count: u32::try_from(program.len()).unwrap_or(0),
        instructions: program.as_ptr() as u64,
        licence: LICENCE.as_ptr() as u64,
        log_level: 0,
        log_bytes: 0,
        log: 0,
    };
    bpf_fd(PROG_LOAD, &load)
}

/// One instruction, as the kernel reads it.
#[repr(C)]
struct Instruction {
    code: u8,
    /// Destination in the low half, source in the high half.
    registers: u8,
    offset: i16,
    immediate: i32,
}

impl Instruction {
    const fn new(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Self {
        Self { code, registers: to | from << 4, offset, immediate }
    }
}

// What each command takes: the leading members of the kernel's `union bpf_attr`. The rest of it counts as zero.
#[repr(C)]
struct MapCreate {
    kind: u32,
    key_bytes: u32,
    value_bytes: u32,
    entries: u32,
    flags: u32,
}
#[repr(C)]
struct MapLookup {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}
#[repr(C)]
struct ProgLoad {
    kind: u32,
    count: u32,
    instructions: u64,
    licence: u64,
    log_level: u32,
    log_bytes: u32,
    log: u64,
}
#[repr(C)]
struct ProgAttach {
    group: u32,
    program: u32,
    direction: u32,
    flags: u32,
}
#[repr(C)]
struct ProgQuery {
    group: u32,
    direction: u32,
    query_flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    padding: u32,
}
#[repr(C)]
struct ById {
    id: u32,
    next: u32,
    flags: u32,
}
#[repr(C)]
struct InfoByFd {
    fd: u32,
    bytes: u32,
    info: u64,
}
/// `struct bpf_prog_info` up to the ids of its maps.
#[repr(C)]
struct ProgInfo {
    head: [u32; 13],
    map_count: u32,
    maps: u64,
}

fn address<T>(value: &mut T) -> u64 {
    std::ptr::from_mut(value) as u64
}

fn unsigned(fd: RawFd) -> u32 {
    u32::try_from(fd).unwrap_or(u32::MAX)
}

fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<i32> {
    // SAFETY: `attributes` is one of the structs above, each a prefix of the kernel's `union bpf_attr` for its command, and its
    // whole size is passed. The addresses in it are of values that live longer than this call: locals of the callers.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(i32::try_from(result).unwrap_or(i32::MAX)) }
}

fn bpf_fd<T>(command: libc::c_int, attributes: &T) -> io::Result<OwnedFd> {
    let fd = bpf(command, attributes)?;
    // SAFETY: the commands used with this give a fresh descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::print_stderr)]
    use std::net::UdpSocket;

    use super::*;
    use crate::runtime::cgroup::Machine;

    #[test]
    fn every_byte_on_the_wire_is_counted_and_found_again() {
        let machine = Machine::probe(&format!("quarterdeck-test-{}", std::process::id()));
        let Some(group) = machine.unified_base() else {
            eprintln!("SKIPPED: no writable cgroup2 tree here");
            return;
        };
        let Ok(traffic) = Traffic::attach(&group) else {
            eprintln!("SKIPPED: this machine does not let us count packets");
            machine.tidy();
            return;
        };
        // Sockets belong to the group of whoever makes them: this thread joins for as long as that takes.
        let (a, b) = (UdpSocket::bind("127.0.0.1:0"), UdpSocket::bind("127.0.0.1:0"));
        let (a, outside) = (a.unwrap(), b.unwrap());
        let home = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        let home = home.lines().find_map(|line| line.strip_prefix("0::")).unwrap().to_owned();
        std::fs::write(group.join("cgroup.procs"), "0").unwrap();
        let inside = UdpSocket::bind("127.0.0.1:0").unwrap();
        let root = group.parent().unwrap();
        std::fs::write(root.join(home.trim_start_matches('/')).join("cgroup.procs"), "0").unwrap();
        for _ in 0..10 {
            inside.send_to(&[0; 100], outside.local_addr().unwrap()).unwrap();
            a.send_to(&[0; 200], inside.local_addr().unwrap()).unwrap();
            inside.recv(&mut [0; 300]).unwrap();
        }
        let counted = traffic.read().unwrap();
        let again = Traffic::find(&group).unwrap().read().unwrap();
        drop(inside);
        machine.tidy();
        // 28 bytes of IP and UDP header each.
        assert_eq!(counted, Network { rx_bytes: 10 * 228, tx_bytes: 10 * 128 });
        assert_eq!(again, counted);
    }
}
