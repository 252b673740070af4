//! Which files a game may reach: the system's to read and run, its own to write, some devices. Everything else is closed to it, also
//! as root and beside games of the same user.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use spool::sandbox::PathRule;

const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const MAKE_CHAR: u64 = 1 << 6;
const MAKE_BLOCK: u64 = 1 << 11;
const TRUNCATE: u64 = 1 << 14;
const IOCTL_DEV: u64 = 1 << 15;
/// All there is in the second version: the first has no way to allow a rename from one folder to another, which games need.
const HANDLED_2: u64 = (1 << 14) - 1;

const READ: u64 = READ_FILE | READ_DIR;
const RUN: u64 = READ | EXECUTE;
const USE_DEVICE: u64 = READ_FILE | WRITE_FILE | TRUNCATE | IOCTL_DEV;

/// Programs and what they need.
const SYSTEM: [&str; 10] =
    ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/nix/store", "/gnu/store"];
/// What the system tells of itself: processes and devices, names of hosts, fonts.
const TOLD: [&str; 7] = [
    "/proc",
    "/sys",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager/resolv.conf",
    "/var/cache/fontconfig",
    "/var/lib/dbus/machine-id",
];
const DEVICES: [&str; 7] =
    ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx"];
/// Shared by all users: terminals and memory, kept apart by their owners only. For games with a user of their own.
const DEVICES_OF_A_USER: [&str; 2] = ["/dev/pts", "/dev/shm"];
const ETC: &str = "/etc";
/// Nothing of it is a game's business, whatever its mode says. `-` ends the names of copies.
const ETC_CLOSED: [&str; 8] =
    ["shadow", "gshadow", "sudoers", "sudoers.d", "ssh", "security", "letsencrypt", "wireguard"];
/// How deep folders are looked through for what others may not read. What lies deeper is the owner's to protect.
const ETC_DEPTH: u32 = 3;
const OTHERS_READ: u32 = 0o004;
const OTHERS_ENTER: u32 = 0o005;

/// Kinds of access that this version of Landlock handles.
pub(super) fn handled(abi: u32) -> u64 {
    let truncate = if abi >= 3 { TRUNCATE } else { 0 };
    let ioctl = if abi >= 5 { IOCTL_DEV } else { 0 };
    HANDLED_2 | truncate | ioctl
}

/// What a game may do with its own terminal, by the terminal's name.
pub(super) fn terminal(abi: u32) -> u64 {
    USE_DEVICE & handled(abi)
}

/// All rules of one game. `own` are the folders it may write, `programs` files and folders it may read and run; all without links.
pub(super) fn rules(abi: u32, own: &[&Path], programs: &[&Path], has_own_user: bool) -> Vec<PathRule> {
    let handled = handled(abi);
    let mut rules = Vec::new();
    let mut allow = |path: &Path, access: u64| {
        rules.push(PathRule { access: access & handled, path: path.to_owned() });
    };
    for path in system() {
        allow(&path, RUN);
    }
    for path in programs {
        allow(path, RUN);
    }
    for path in TOLD {
        allow(Path::new(path), READ);
    }
    for path in DEVICES {
        allow(Path::new(path), USE_DEVICE);
    }
    if has_own_user {
        for path in DEVICES_OF_A_USER {
            allow(Path::new(path), handled & !(EXECUTE | MAKE_CHAR | MAKE_BLOCK));
        }
    }
    for path in own {
        allow(path, handled & !(MAKE_CHAR | MAKE_BLOCK));
    }
    // Names may be listed; what is in a file is another matter.
    allow(Path::new(ETC), READ_DIR);
    for path in open_in(Path::new(ETC), &ETC_CLOSED, ETC_DEPTH).unwrap_or_default() {
        allow(&path, RUN);
    }
    rules
}

/// Whether a game may run this file without a rule of its own.
pub(super) fn is_reachable(path: &Path, own: &[&Path], programs: &[&Path]) -> bool {
    own.iter().chain(programs).any(|open| path.starts_with(open)) || system().iter().any(|open| path.starts_with(open))
}

/// Where the system's folders really are: some of them are links, to each other or to another disk.
fn system() -> Vec<PathBuf> {
    let mut folders: Vec<_> = SYSTEM.iter().filter_map(|path| Path::new(path).canonicalize().ok()).collect();
    folders.sort_unstable();
    folders.dedup();
    folders
}

/// The parts of a folder that everybody may read. None: all of it.
fn open_in(folder: &Path, closed: &[&str], depth: u32) -> Option<Vec<PathBuf>> {
    let mut open = Vec::new();
    let mut is_whole = true;
    for entry in fs::read_dir(folder).ok()?.flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        let plain = name.to_str().map(|name| name.trim_end_matches('-'));
        let meta = entry.metadata().ok().filter(|_| plain.is_none_or(|name| !closed.contains(&name)));
        match meta {
            // A link opens nothing by itself: where it leads has a rule or has none.
            Some(meta) if meta.is_symlink() => {}
            Some(meta) if meta.is_dir() && meta.mode() & OTHERS_ENTER == OTHERS_ENTER => {
                match if depth == 0 { None } else { open_in(&path, &[], depth - 1) } {
                    None => open.push(path),
                    Some(parts) => {
                        is_whole = false;
                        open.extend(parts);
                    }
                }
            }
            Some(meta) if !meta.is_dir() && meta.mode() & OTHERS_READ != 0 => open.push(path),
            _ => is_whole = false,
        }
    }
    (!is_whole || !closed.is_empty()).then_some(open)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_others_may_not_read_is_left_out_and_the_rest_is_whole() {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name);
        for folder in ["ssl", "ssl/certs", "ssl/private", "fonts", "ssh"] {
            fs::create_dir(at(folder)).unwrap();
            fs::set_permissions(at(folder), fs::Permissions::from_mode(0o755)).unwrap();
        }
        for (file, mode) in
            [("hosts", 0o644), ("secret", 0o640), ("shadow-", 0o644), ("ssl/a.conf", 0o644), ("fonts/f", 0o644)]
        {
            fs::write(at(file), "").unwrap();
            fs::set_permissions(at(file), fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::set_permissions(at("ssl/private"), fs::Permissions::from_mode(0o710)).unwrap();
        std::os::unix::fs::symlink("/root", at("link")).unwrap();
        let mut open = open_in(temp.path(), &ETC_CLOSED, ETC_DEPTH).unwrap();
        open.sort();
        assert_eq!(open, [at("fonts"), at("hosts"), at("ssl/a.conf"), at("ssl/certs")]);
    }

    #[test]
    fn a_program_outside_of_everything_is_not_reachable() {
        let own = [Path::new("/srv/q/files")];
        assert!(is_reachable(Path::new("/usr/games/openttd"), &own, &[]));
        assert!(is_reachable(Path::new("/srv/q/files/run.sh"), &own, &[]));
        assert!(!is_reachable(Path::new("/home/me/game"), &own, &[]));
        assert!(is_reachable(Path::new("/home/me/game"), &own, &[Path::new("/home/me")]));
    }
}
