//! The filter of system calls: a list of what no game needs and every way out of a cage does. What is not on it is allowed: games
//! bring Java, Mono, Wine and Steam with them.
//!
//! The program is built here, by hand: crates that do it end a process that makes calls of another architecture, and 32-bit games
//! on 64-bit machines are ordinary.

/// `struct seccomp_data`: where the number, the architecture and the arguments' low halves are (little-endian machines).
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

const LOAD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_SET: u16 = 0x45;
const JUMP_GREATER_EQUAL: u16 = 0x35;
const RETURN: u16 = 0x06;

const ALLOW: u32 = 0x7fff_0000;
const REFUSE: u32 = 0x0005_0000;
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// Audit numbers of the architectures.
const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;
const AARCH64: u32 = 0xc000_00b7;
/// Calls of x32 have this bit, under the architecture of x86-64.
const X32_BIT: u32 = 0x4000_0000;

/// New namespaces: mount, cgroup, uts, ipc, user, pid, net.
const CLONE_NAMESPACES: u32 = 0x7e02_0000;
/// Types of sockets that reach around the network's ordinary ways or into the kernel: `AF_PACKET`, `AF_ALG`, `AF_VSOCK`, `AF_XDP`,
/// `AF_KEY`.
const SOCKET_FAMILIES: [u32; 5] = [17, 38, 40, 44, 15];
/// Puts characters into a terminal's input: `TIOCSTI`, `TIOCLINUX`.
const TERMINAL_INPUT: [u32; 2] = [0x5412, 0x541c];

/// One architecture's numbers.
struct Table {
    architecture: u32,
    /// Refused whatever the arguments are.
    refused: &'static [u32],
    clone: u32,
    /// None where sockets are made by a call whose arguments a filter cannot see as well.
    socket: u32,
    ioctl: u32,
}

/// The same number everywhere: `clone3`, whose flags a filter cannot see. Libraries then use `clone`.
const CLONE3: u32 = 435;
/// The same numbers everywhere, because they are new: `io_uring_*`, `open_tree`, `move_mount`, `fsopen`, `fsconfig`, `fsmount`,
/// `fspick`, `pidfd_getfd`, `process_madvise`, `mount_setattr`, `quotactl_fd`, `lsm_set_self_attr`, `open_tree_attr`.
const REFUSED_EVERYWHERE: [u32; 15] = [425, 426, 427, 428, 429, 430, 431, 432, 433, 438, 440, 442, 443, 460, 467];

#[rustfmt::skip]
const TABLE_X86_64: Table = Table {
    architecture: X86_64,
    refused: &[
        165, 166, 155, 161, // mount, umount2, pivot_root, chroot
        101, 310, 311, 312, // ptrace, process_vm_readv, process_vm_writev, kcmp
        272, 308,           // unshare, setns
        321, 298, 323, 300, // bpf, perf_event_open, userfaultfd, fanotify_init
        248, 249, 250,      // add_key, request_key, keyctl
        175, 176, 313, 174, 177, 178, // init_module, delete_module, finit_module, and their forebears
        246, 320, 169,      // kexec_load, kexec_file_load, reboot
        167, 168, 163, 179, // swapon, swapoff, acct, quotactl
        164, 227, 305, 159, // settimeofday, clock_settime, clock_adjtime, adjtimex
        170, 171,           // sethostname, setdomainname
        172, 173,           // iopl, ioperm
        304, 153, 103, 156, 180, 134, 212, // open_by_handle_at, vhangup, syslog, _sysctl, nfsservctl, uselib, lookup_dcookie
    ],
    clone: 56, socket: 41, ioctl: 16,
};

#[rustfmt::skip]
const TABLE_I386: Table = Table {
    architecture: I386,
    refused: &[
        21, 22, 52, 217, 61, // mount, umount, umount2, pivot_root, chroot
        26, 347, 348, 349,   // ptrace, process_vm_readv, process_vm_writev, kcmp
        310, 346,            // unshare, setns
        357, 336, 374, 338,  // bpf, perf_event_open, userfaultfd, fanotify_init
        286, 287, 288,       // add_key, request_key, keyctl
        128, 129, 350, 127, 130, 167, // init_module, delete_module, finit_module, and their forebears
        283, 88,             // kexec_load, reboot
        87, 115, 51, 131,    // swapon, swapoff, acct, quotactl
        79, 25, 264, 404, 343, 405, 124, // settimeofday, stime, clock_settime, clock_adjtime (both twice), adjtimex
        74, 121,             // sethostname, setdomainname
        110, 101,            // iopl, ioperm
        342, 111, 103, 149, 169, 86, 253, // open_by_handle_at, vhangup, syslog, _sysctl, nfsservctl, uselib, lookup_dcookie
        113, 166,            // vm86old, vm86
    ],
    clone: 120, socket: 359, ioctl: 54,
};

#[rustfmt::skip]
const TABLE_AARCH64: Table = Table {
    architecture: AARCH64,
    refused: &[
        40, 39, 41, 51,     // mount, umount2, pivot_root, chroot
        117, 270, 271, 272, // ptrace, process_vm_readv, process_vm_writev, kcmp
        97, 268,            // unshare, setns
        280, 241, 282, 262, // bpf, perf_event_open, userfaultfd, fanotify_init
        217, 218, 219,      // add_key, request_key, keyctl
        105, 106, 273,      // init_module, delete_module, finit_module
        104, 294, 142,      // kexec_load, kexec_file_load, reboot
        224, 225, 89, 60,   // swapon, swapoff, acct, quotactl
        170, 112, 266, 171, // settimeofday, clock_settime, clock_adjtime, adjtimex
        161, 162,           // sethostname, setdomainname
        265, 58, 116, 42, 18, // open_by_handle_at, vhangup, syslog, nfsservctl, lookup_dcookie
    ],
    clone: 220, socket: 198, ioctl: 29,
};

/// The program for this machine; none for an architecture that is not known here.
pub(super) fn program() -> Option<Vec<u8>> {
    let tables: &[Table] = match std::env::consts::ARCH {
        "x86_64" => &[TABLE_X86_64, TABLE_I386],
        // Its 32-bit sister has numbers of its own and hardly a game: all its calls are refused.
        "aarch64" => &[TABLE_AARCH64],
        _ => return None,
    };
    let mut program = Vec::new();
    for table in tables {
        let body = body(table);
        let over = u32::try_from(body.len()).ok()?;
        program.push(Instruction { code: LOAD, yes: 0, no: 0, operand: ARCHITECTURE });
        // A conditional jump reaches 255 instructions, an unconditional one any number.
        program.push(Instruction { code: JUMP_EQUAL, yes: 1, no: 0, operand: table.architecture });
        program.push(Instruction { code: 0x05, yes: 0, no: 0, operand: over });
        program.extend(body);
    }
    program.push(answer(REFUSE | EPERM));
    Some(program.into_iter().flat_map(Instruction::bytes).collect())
}

#[derive(Clone, Copy, Debug)]
struct Instruction {
    code: u16,
    yes: u8,
    no: u8,
    operand: u32,
}

impl Instruction {
    fn bytes(self) -> [u8; 8] {
        let mut bytes = [0; 8];
        let (code, operand) = (self.code.to_ne_bytes(), self.operand.to_ne_bytes());
        let fields = code.into_iter().chain([self.yes, self.no]).chain(operand);
        bytes.iter_mut().zip(fields).for_each(|(byte, field)| *byte = field);
        bytes
    }
}

fn answer(action: u32) -> Instruction {
    Instruction { code: RETURN, yes: 0, no: 0, operand: action }
}

/// What one architecture's calls get. Ends in an answer on every way.
fn body(table: &Table) -> Vec<Instruction> {
    let load = |offset| Instruction { code: LOAD, yes: 0, no: 0, operand: offset };
    let unless = |code, operand| Instruction { code, yes: 0, no: 1, operand };
    let mut body = vec![load(NUMBER)];
    if table.architecture == X86_64 {
        body.extend([unless(JUMP_GREATER_EQUAL, X32_BIT), answer(REFUSE | ENOSYS)]);
    }
    for &number in table.refused.iter().chain(&REFUSED_EVERYWHERE) {
        body.extend([unless(JUMP_EQUAL, number), answer(REFUSE | EPERM)]);
    }
    body.extend([unless(JUMP_EQUAL, CLONE3), answer(REFUSE | ENOSYS)]);
    let by_argument = [
        (table.clone, 0, JUMP_SET, [CLONE_NAMESPACES].as_slice()),
        (table.socket, 0, JUMP_EQUAL, SOCKET_FAMILIES.as_slice()),
        (table.ioctl, 1, JUMP_EQUAL, TERMINAL_INPUT.as_slice()),
    ];
    for (number, argument, test, values) in by_argument {
        let mut part = vec![load(ARGUMENTS + 8 * argument)];
        for &value in values {
            part.extend([unless(test, value), answer(REFUSE | EPERM)]);
        }
        part.push(answer(ALLOW));
        // Few values: one byte is enough.
        let over = u8::try_from(part.len()).unwrap_or(u8::MAX);
        body.push(Instruction { code: JUMP_EQUAL, yes: 0, no: over, operand: number });
        body.extend(part);
    }
    body.push(answer(ALLOW));
    body
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// What the kernel would answer.
    fn run(architecture: u32, number: u32, arguments: [u32; 2]) -> u32 {
        let bytes = program().unwrap();
        let code: Vec<_> = bytes.as_chunks::<8>().0.iter().collect();
        let (mut at, mut value) = (0, 0);
        loop {
            let [c, d, yes, no, k @ ..] = *code[at];
            let (instruction, operand) = (u16::from_ne_bytes([c, d]), u32::from_ne_bytes(k));
            at += 1;
            let jump = |holds: bool| usize::from(if holds { yes } else { no });
            match instruction {
                LOAD => {
                    value = match operand {
                        NUMBER => number,
                        ARCHITECTURE => architecture,
                        16 => arguments[0],
                        24 => arguments[1],
                        other => panic!("loads {other}"),
                    }
                }
                JUMP_EQUAL => at += jump(value == operand),
                JUMP_SET => at += jump(value & operand != 0),
                JUMP_GREATER_EQUAL => at += jump(value >= operand),
                0x05 => at += usize::try_from(operand).unwrap(),
                RETURN => return operand,
                other => panic!("unknown instruction {other:#x}"),
            }
        }
    }

    const REFUSED: u32 = REFUSE | EPERM;
    const UNKNOWN: u32 = REFUSE | ENOSYS;

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn ways_out_are_refused_and_the_rest_is_allowed() {
        let number = |number: libc::c_long| u32::try_from(number).unwrap();
        for refused in [
            libc::SYS_mount,
            libc::SYS_ptrace,
            libc::SYS_bpf,
            libc::SYS_keyctl,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_io_uring_setup,
            libc::SYS_perf_event_open,
            libc::SYS_userfaultfd,
            libc::SYS_reboot,
            libc::SYS_swapon,
            libc::SYS_settimeofday,
            libc::SYS_finit_module,
            libc::SYS_kexec_load,
            libc::SYS_open_by_handle_at,
            libc::SYS_chroot,
            libc::SYS_pidfd_getfd,
        ] {
            assert_eq!(run(X86_64, number(refused), [0, 0]), REFUSED, "{refused}");
        }
        let clone = number(libc::SYS_clone);
        assert_eq!(run(X86_64, number(libc::SYS_clone3), [0, 0]), UNKNOWN);
        assert_eq!(run(X86_64, clone, [0x0100_0011, 0]), ALLOW, "a fork with a tid to clear");
        assert_eq!(run(X86_64, clone, [0x003d_0f00, 0]), ALLOW, "a thread");
        for namespace in [
            libc::CLONE_NEWNS,
            libc::CLONE_NEWCGROUP,
            libc::CLONE_NEWUTS,
            libc::CLONE_NEWIPC,
            libc::CLONE_NEWUSER,
            libc::CLONE_NEWPID,
            libc::CLONE_NEWNET,
        ] {
            assert_eq!(run(X86_64, clone, [namespace.cast_unsigned() | 0x11, 0]), REFUSED);
        }
        let socket = number(libc::SYS_socket);
        assert_eq!(run(X86_64, socket, [2, 1]), ALLOW);
        assert_eq!(run(X86_64, socket, [17, 3]), REFUSED);
        assert_eq!(run(X86_64, socket, [38, 5]), REFUSED);
        let ioctl = number(libc::SYS_ioctl);
        assert_eq!(run(X86_64, ioctl, [0, 0x5412]), REFUSED);
        assert_eq!(run(X86_64, ioctl, [0x5412, 0x5401]), ALLOW);
        for allowed in [libc::SYS_read, libc::SYS_execve, libc::SYS_futex, libc::SYS_openat, libc::SYS_bind] {
            assert_eq!(run(X86_64, number(allowed), [0x5412, 0x5412]), ALLOW);
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn other_architectures_are_no_way_around() {
        assert_eq!(run(I386, 26, [0, 0]), REFUSED, "ptrace of 32-bit programs");
        assert_eq!(run(I386, 3, [0, 0]), ALLOW, "read of 32-bit programs");
        assert_eq!(run(I386, 120, [0x1000_0011, 0]), REFUSED);
        assert_eq!(run(X86_64, X32_BIT | 0x65, [0, 0]), UNKNOWN);
        assert_eq!(run(AARCH64, 63, [0, 0]), REFUSED, "nothing that is not known");
    }
}
