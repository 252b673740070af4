//! A user of its own for every server: whether this machine lets us have them, and which server has which.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use spool::spec::User;

use crate::config::IsolationSettings;
use crate::server::record::replace;

/// In a server's folder: its user's number.
const FILE_NAME: &str = "uid";
/// Others may go through a folder.
const OTHERS_PASS: u32 = 0o001;
/// Others may read and run a file.
const OTHERS_RUN: u32 = 0o005;
/// What it takes besides being root, as bits of the effective set: to give files away, to go everywhere, to change what belongs to
/// others, to signal others, to change group and user.
const CAPABILITIES: [(u32, &str); 6] =
    [(0, "CHOWN"), (1, "DAC_OVERRIDE"), (3, "FOWNER"), (5, "KILL"), (6, "SETGID"), (7, "SETUID")];

/// Whether we may run games as users of their own.
pub(super) fn possible(settings: &IsolationSettings) -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("the daemon is not root, so games run as its own user".to_owned());
    }
    let effective = effective();
    let missing: Vec<&str> =
        CAPABILITIES.iter().filter(|(bit, _)| effective & (1 << bit) == 0).map(|(_, name)| *name).collect();
    if !missing.is_empty() {
        return Err(format!("the daemon is root without the capabilities for it: {}", missing.join(", ")));
    }
    for (file, what) in [("/proc/self/uid_map", "user"), ("/proc/self/gid_map", "group")] {
        let map = fs::read_to_string(file).unwrap_or_default();
        if !is_mapped(&map, settings.uid_first, settings.uid_count) {
            let last = settings.uid_first.saturating_add(settings.uid_count - 1);
            return Err(format!("the {what} ids {} to {last} do not exist in this container", settings.uid_first));
        }
    }
    Ok(())
}

/// What a game that has to be root keeps of root's powers: to use files whoever owns them, low ports, and to become somebody else.
/// Bits: `CHOWN`, `DAC_OVERRIDE`, `FOWNER`, `FSETID`, `SETGID`, `SETUID`, `NET_BIND_SERVICE`.
const KEPT_BY_ROOT: u64 = 1 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 6 | 1 << 7 | 1 << 10;
/// Takes to give up capabilities for good.
const SETPCAP: u64 = 1 << 8;

/// The capabilities of games that run as root, if we are and can lower them.
pub(super) fn kept_by_root() -> Option<u64> {
    (rustix::process::geteuid().is_root() && effective() & SETPCAP != 0).then_some(KEPT_BY_ROOT)
}

fn effective() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0)
}

/// Whether a map of a user namespace has all of a range in one of its lines.
fn is_mapped(map: &str, first: u32, count: u32) -> bool {
    let (first, end) = (u64::from(first), u64::from(first) + u64::from(count));
    map.lines().any(|line| {
        let mut numbers = line.split_ascii_whitespace().filter_map(|number| number.parse::<u64>().ok());
        let (Some(inside), Some(_), Some(length)) = (numbers.next(), numbers.next(), numbers.next()) else {
            return false;
        };
        inside <= first && end <= inside + length
    })
}

/// Whether users that are nobody may get to a path, through every folder above it. It need not be there itself.
pub(super) fn enterable(path: &Path) -> Result<(), String> {
    let above = path.parent().unwrap_or(path);
    let above = above.canonicalize().map_err(|error| format!("{}: {error}", above.display()))?;
    for folder in above.ancestors() {
        let mode = fs::metadata(folder).map_err(|error| format!("{}: {error}", folder.display()))?.mode();
        if mode & OTHERS_PASS == 0 {
            return Err(format!(
                "games with users of their own cannot get through {0}; put the data folder elsewhere, or `chmod o+x {0}`",
                folder.display()
            ));
        }
    }
    Ok(())
}

/// Whether such a user may run a program.
pub(super) fn runnable(program: &Path) -> bool {
    let mode = fs::metadata(program).map_or(0, |meta| meta.mode());
    mode & OTHERS_RUN == OTHERS_RUN && enterable(program).is_ok()
}

/// Lets others go through a folder of ours, not look into it.
pub(super) fn let_through(folder: &Path) -> io::Result<()> {
    let mode = fs::metadata(folder)?.mode();
    if mode & OTHERS_PASS == 0 {
        fs::set_permissions(folder, fs::Permissions::from_mode(mode & 0o7777 | OTHERS_PASS))?;
    }
    Ok(())
}

/// The number in a server's folder, if it has one.
pub(super) fn kept(dir: &Path) -> Option<u32> {
    fs::read_to_string(dir.join(FILE_NAME)).ok()?.trim().parse().ok()
}

/// The user a server has, if it is one of ours to give.
pub(super) fn owner(dir: &Path, settings: &IsolationSettings) -> Option<u32> {
    kept(dir).filter(|uid| uid.checked_sub(settings.uid_first).is_some_and(|at| at < settings.uid_count))
}

/// A server's user: the one it has, if that is in the range and nobody else's, else a free one, written down. Where the search for
/// one begins follows from the server's id: so nodes that share a machine rarely meet, and a lost file is made again as it was.
/// One at a time.
pub(super) fn of(dir: &Path, settings: &IsolationSettings) -> io::Result<User> {
    let (first, count) = (settings.uid_first, settings.uid_count);
    let taken: BTreeSet<u32> = others(dir).iter().filter_map(|other| kept(other)).collect();
    let is_free = |uid: &u32| uid.checked_sub(first).is_some_and(|at| at < count) && !taken.contains(uid);
    if let Some(uid) = kept(dir).filter(is_free) {
        return Ok(User { uid, gid: uid });
    }
    let name = dir.file_name().unwrap_or_default().as_encoded_bytes();
    let start = spread(name) % count;
    let uid = (0..count).map(|step| first + (start + step) % count).find(is_free);
    let uid = uid.ok_or_else(|| io::Error::other(format!("all {count} user ids for servers are taken")))?;
    replace(&dir.join(FILE_NAME), format!("{uid}\n").as_bytes())?;
    Ok(User { uid, gid: uid })
}

fn others(dir: &Path) -> Vec<PathBuf> {
    let beside = dir.parent().and_then(|parent| fs::read_dir(parent).ok());
    beside.into_iter().flatten().flatten().map(|entry| entry.path()).filter(|other| other != dir).collect()
}

/// Spreads names over numbers; FNV-1a, which is nobody's secret.
fn spread(name: &[u8]) -> u32 {
    name.iter().fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_server_has_its_own_and_keeps_it() {
        let temp = tempfile::tempdir().unwrap();
        let settings = IsolationSettings { uid_first: 300, uid_count: 8, ..IsolationSettings::default() };
        let dirs: Vec<PathBuf> = (0..8).map(|n| temp.path().join(format!("server-{n}"))).collect();
        let mut uids = BTreeSet::new();
        for dir in &dirs {
            fs::create_dir(dir).unwrap();
            let user = of(dir, &settings).unwrap();
            assert!((300..308).contains(&user.uid) && user.uid == user.gid);
            assert!(uids.insert(user.uid), "twice");
            assert_eq!(of(dir, &settings).unwrap(), user);
        }
        let one_more = temp.path().join("server-8");
        fs::create_dir(&one_more).unwrap();
        assert!(of(&one_more, &settings).unwrap_err().to_string().contains("are taken"));
        // A folder copied with its number: only one of them may keep it.
        fs::remove_dir_all(&dirs[0]).unwrap();
        fs::write(one_more.join(FILE_NAME), fs::read(dirs[1].join(FILE_NAME)).unwrap()).unwrap();
        assert_ne!(of(&one_more, &settings).unwrap().uid, kept(&dirs[1]).unwrap());
    }

    #[test]
    fn a_closed_folder_on_the_way_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let inside = temp.path().join("a/b");
        fs::create_dir_all(&inside).unwrap();
        fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let why = enterable(&inside).unwrap_err();
        let closed = temp.path().canonicalize().unwrap();
        assert!(why.contains(&format!("chmod o+x {}`", closed.display())), "{why}");
        let_through(temp.path()).unwrap();
        let_through(&temp.path().join("a")).unwrap();
        assert_eq!(enterable(&inside), Ok(()));
        assert_eq!(fs::metadata(temp.path()).unwrap().mode() & 0o777, 0o701);
    }

    #[test]
    fn a_range_is_there_or_it_is_not() {
        assert!(is_mapped("         0          0 4294967295\n", 200_000, 65_536));
        assert!(!is_mapped("0 100000 65536\n", 200_000, 65_536));
        assert!(!is_mapped("", 1, 1));
    }
}
