//! Deletes a folder with all that a game may have put into it: without following links, without going into another file system that is
//! mounted there, and without going deeper than two folders at a time, however deep the tree is.
//!
//! What lies deeper is moved up and dealt with there. So neither the stack nor the open files grow with the tree, which its game chose.

use std::ffi::CStr;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{
    AtFlags, Dir, Mode, OFlags, RenameFlags, ResolveFlags, chmodat, fchmod, open, openat2, renameat_with, rmdir,
    unlink, unlinkat,
};
use rustix::io::Errno;

/// Owners may do anything with a folder of this mode.
const OPEN_MODE: Mode = Mode::RWXU;
/// Name of what was moved up, with a number behind it.
const LIFTED_PREFIX: &str = ".quarterdeck-removed-";
/// Rounds without an end would mean that somebody fills the folder meanwhile.
const ROUNDS_MAX: u32 = 100_000;

/// Deletes a folder; it need not exist. What cannot be deleted stays, all else goes, and the error says what stood in the way.
pub(crate) fn remove_all(path: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = match open(path, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTDIR | Errno::LOOP) => return Ok(unlink(path)?),
        Err(Errno::ACCESS) => {
            rustix::fs::chmod(path, OPEN_MODE)?;
            open(path, flags, Mode::empty())?
        }
        top => top?,
    };
    Removing { top, lifted: 0 }.empty()?;
    Ok(gone(rmdir(path))?)
}

/// What somebody else has removed meanwhile is removed.
fn gone(removed: Result<(), Errno>) -> Result<(), Errno> {
    match removed {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

struct Removing {
    top: OwnedFd,
    lifted: u64,
}

impl Removing {
    fn empty(&mut self) -> io::Result<()> {
        let _ = fchmod(&self.top, OPEN_MODE);
        for _ in 0..ROUNDS_MAX {
            let (mut went, mut stays) = (false, None);
            let Some(entries) = read(&self.top)? else { return Ok(()) };
            for entry in entries {
                let entry = match entry {
                    Err(Errno::NOENT) => break,
                    entry => entry?,
                };
                let name = entry.file_name();
                if matches!(name.to_bytes(), b"." | b"..") {
                    continue;
                }
                match self.remove(name) {
                    Ok(()) => went = true,
                    Err(errno) => stays = Some(errno),
                }
            }
            match stays {
                Some(errno) if !went => return Err(errno.into()),
                None if !went => return Ok(()),
                _ => {}
            }
        }
        Err(io::Error::other("somebody fills the folder while it is emptied"))
    }

    /// Removes one entry, or takes something of it away.
    fn remove(&mut self, name: &CStr) -> Result<(), Errno> {
        match remove_one(&self.top, name) {
            Err(Errno::NOTEMPTY) => {}
            done => return done,
        }
        let folder = match self.enter(name) {
            Err(Errno::NOENT) => return Ok(()),
            entered => entered?,
        };
        let _ = fchmod(&folder, OPEN_MODE);
        let (mut went, mut stays) = (false, None);
        let Some(entries) = read(&folder)? else { return Ok(()) };
        for entry in entries {
            let entry = match entry {
                Err(Errno::NOENT) => break,
                entry => entry?,
            };
            let inner = entry.file_name();
            if matches!(inner.to_bytes(), b"." | b"..") {
                continue;
            }
            let removed = match remove_one(&folder, inner) {
                Err(Errno::NOTEMPTY) => self.lift(&folder, inner),
                done => done,
            };
            match removed {
                Ok(()) => went = true,
                Err(errno) => stays = Some(errno),
            }
        }
        match (gone(unlinkat(&self.top, name, AtFlags::REMOVEDIR)), stays) {
            (Err(Errno::NOTEMPTY), Some(errno)) if !went => Err(errno),
            (Err(Errno::NOTEMPTY), _) if went => Ok(()),
            (removed, _) => removed,
        }
    }

    fn enter(&self, name: &CStr) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
        match openat2(&self.top, name, flags, Mode::empty(), resolve) {
            Err(Errno::ACCESS) => {
                chmodat(&self.top, name, OPEN_MODE, AtFlags::empty())?;
                openat2(&self.top, name, flags, Mode::empty(), resolve)
            }
            entered => entered,
        }
    }

    /// Moves a folder that is not empty up to the top.
    fn lift(&mut self, folder: &OwnedFd, name: &CStr) -> Result<(), Errno> {
        let mut is_opened = false;
        loop {
            let new = format!("{LIFTED_PREFIX}{}", self.lifted);
            match renameat_with(folder, name, &self.top, &new, RenameFlags::NOREPLACE) {
                // Left over from a removal that was cut off, or made by the game.
                Err(Errno::EXIST) => self.lifted += 1,
                // A folder that moves gets another parent, which is a change to itself.
                Err(Errno::ACCESS) if !is_opened => {
                    chmodat(folder, name, OPEN_MODE, AtFlags::empty())?;
                    is_opened = true;
                }
                moved => return gone(moved),
            }
        }
    }
}

/// The entries of a folder; none if it is gone.
fn read(folder: &OwnedFd) -> Result<Option<Dir>, Errno> {
    match Dir::read_from(folder) {
        Err(Errno::NOENT) => Ok(None),
        entries => entries.map(Some),
    }
}

fn remove_one(folder: &OwnedFd, name: &CStr) -> Result<(), Errno> {
    gone(match unlinkat(folder, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => unlinkat(folder, name, AtFlags::REMOVEDIR),
        done => done,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::process::Command;

    use super::*;

    /// Folders within folders, deeper than any path may be long: chains that are put under each other.
    fn deep(root: &Path, links: usize) {
        let chain: std::path::PathBuf = std::iter::repeat_n("d", 200).collect();
        for n in 0..links {
            let new = root.join(format!("new{n}"));
            fs::create_dir_all(new.join(&chain)).unwrap();
            if n > 0 {
                fs::rename(root.join("chain"), new.join(&chain).join("next")).unwrap();
            }
            fs::rename(&new, root.join("chain")).unwrap();
        }
    }

    #[test]
    fn a_tree_is_removed_however_deep_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir(&tree).unwrap();
        deep(&tree, 60);
        fs::write(tree.join(".quarterdeck-removed-0"), "in the way").unwrap();
        // A thread as small as those that do this work.
        let removed = std::thread::Builder::new().stack_size(256 * 1024).spawn({
            let tree = tree.clone();
            move || remove_all(&tree)
        });
        removed.unwrap().join().unwrap().unwrap();
        assert!(!tree.exists());
        remove_all(&tree).unwrap();
    }

    #[test]
    fn links_are_removed_and_what_they_lead_to_stays_and_closed_folders_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, other) = (dir.path().join("tree"), dir.path().join("other"));
        fs::create_dir_all(other.join("kept")).unwrap();
        fs::create_dir_all(tree.join("a/b/c")).unwrap();
        fs::write(tree.join("a/b/c/file"), "x").unwrap();
        symlink(&other, tree.join("a/link")).unwrap();
        symlink(&other, tree.join("link")).unwrap();
        for closed in ["a/b/c", "a/b", "a"] {
            fs::set_permissions(tree.join(closed), fs::Permissions::from_mode(0o0)).unwrap();
        }
        remove_all(&tree).unwrap();
        assert!(!tree.exists() && other.join("kept").exists());
        // The folder itself may be a link, too.
        symlink(&other, &tree).unwrap();
        remove_all(&tree).unwrap();
        assert!(!tree.exists() && other.join("kept").exists());
    }

    #[test]
    #[allow(clippy::print_stderr)] // A skipped test must say so.
    fn what_is_mounted_there_keeps_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, other) = (dir.path().join("tree"), dir.path().join("other"));
        fs::create_dir_all(tree.join("a/mounted")).unwrap();
        fs::create_dir_all(&other).unwrap();
        fs::write(other.join("file"), "x").unwrap();
        fs::write(tree.join("a/file"), "x").unwrap();
        let mount = Command::new("mount").arg("--bind").args([&other, &tree.join("a/mounted")]).output();
        if !mount.is_ok_and(|mount| mount.status.success()) {
            eprintln!("skipped: no right to mount");
            return;
        }
        let removed = remove_all(&tree);
        Command::new("umount").arg(tree.join("a/mounted")).output().unwrap();
        assert!(removed.is_err(), "what is mounted stands in the way");
        assert!(other.join("file").exists() && !tree.join("a/file").exists());
        remove_all(&tree).unwrap();
        assert!(!tree.exists());
    }
}
