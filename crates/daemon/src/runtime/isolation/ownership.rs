//! Giving files to a game's user, and writing files for it, without going where the game has laid a link.
//!
//! Everything is done relative to an open folder and on what was opened, never by a path that somebody could change meanwhile.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid, chownat, fchmod, fstat, mkdirat, open,
    openat, openat2, renameat, statat, unlinkat,
};
use rustix::io::Errno;
use spool::spec::User;

/// Folders within folders; what lies deeper keeps its owner. No game needs as many.
const DEPTH_MAX: u32 = 200;
/// Not into what is mounted, also when it is a part of the same disk.
const HERE: ResolveFlags = ResolveFlags::NO_XDEV;
const FOLDER_MODE: u32 = 0o750;
const FILE_MODE: u32 = 0o640;

/// What was done with a folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Given {
    /// Files and folders that have a new owner.
    pub(crate) changed: u64,
    /// Those that keep theirs: they have a second name that may be anywhere, are mounted there, lie too deep, or vanished.
    pub(crate) kept: u64,
}

/// Gives a folder and all that is in it to a user. The folder itself must be no link.
pub(crate) fn give(folder: &Path, user: User) -> io::Result<Given> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = open(folder, flags, Mode::empty())?;
    let stat = fstat(&folder)?;
    let mut giving = Giving { user, device: stat.st_dev, given: Given::default() };
    giving.walk(&folder, 0)?;
    // Last: as long as it is not theirs, the whole is not done.
    giving.give(folder.as_fd(), &stat)?;
    Ok(giving.given)
}

struct Giving {
    user: User,
    device: u64,
    given: Given,
}

impl Giving {
    fn walk(&mut self, folder: &OwnedFd, depth: u32) -> io::Result<()> {
        for entry in Dir::read_from(folder)? {
            let entry = entry?;
            if matches!(entry.file_name().to_bytes(), b"." | b"..") {
                continue;
            }
            // What vanishes while we look is nobody's business any more; all else must not stop the rest.
            if self.entry(folder, entry.file_name(), depth).is_err() {
                self.given.kept += 1;
            }
        }
        Ok(())
    }

    fn entry(&mut self, folder: &OwnedFd, name: &CStr, depth: u32) -> io::Result<()> {
        let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            if depth >= DEPTH_MAX || stat.st_dev != self.device {
                self.given.kept += 1;
                return Ok(());
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let inner = openat2(folder, name, flags, Mode::empty(), HERE)?;
            self.walk(&inner, depth + 1)?;
            return self.give(inner.as_fd(), &fstat(&inner)?);
        }
        if self.is_theirs(&stat) {
            return Ok(());
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let inner = openat2(folder, name, flags, Mode::empty(), HERE)?;
        self.give(inner.as_fd(), &fstat(&inner)?)
    }

    fn is_theirs(&self, stat: &Stat) -> bool {
        (stat.st_uid, stat.st_gid) == (self.user.uid, self.user.gid)
    }

    /// What is open, and nothing else, whatever its name stands for by now.
    fn give(&mut self, fd: BorrowedFd<'_>, stat: &Stat) -> io::Result<()> {
        if self.is_theirs(stat) {
            return Ok(());
        }
        let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if (!is_folder && stat.st_nlink > 1) || stat.st_dev != self.device {
            self.given.kept += 1;
            return Ok(());
        }
        own(fd, self.user)?;
        self.given.changed += 1;
        Ok(())
    }
}

fn own(fd: BorrowedFd<'_>, user: User) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    Ok(chownat(fd, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?)
}

/// Makes a file in a folder unless there is something of its name, with the folders on the way to it. `path` goes down only; a link
/// on the way that leads out of the folder is refused.
pub(crate) fn create(folder: &Path, path: &Path, text: &[u8], owner: Option<User>) -> io::Result<()> {
    if !path.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(io::Error::other("the path leaves the server's folder"));
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = open(folder, flags, Mode::empty()).map_err(out_of_folder)?;
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::other("the path names no file"));
    };
    let parent = make_folders(&root, parent, owner)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match openat(&parent, name, flags, Mode::from_raw_mode(FILE_MODE)) {
        Ok(file) => file,
        Err(Errno::EXIST) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    if let Some(owner) = owner {
        own(file.as_fd(), owner)?;
    }
    File::from(file).write_all(text)
}

/// Puts another text in place of a file's, or makes the file: `change` gets what is there and gives what is to be there, or nothing to
/// leave it. Whole or not at all. What is no ordinary file, or longer than the limit, is refused, and so is a link that leads out.
pub(crate) fn rewrite(
    folder: &Path,
    path: &Path,
    bytes_max: u64,
    owner: Option<User>,
    change: impl FnOnce(Option<&str>) -> io::Result<Option<String>>,
) -> io::Result<()> {
    if !path.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(io::Error::other("the path leaves the server's folder"));
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = open(folder, flags, Mode::empty()).map_err(out_of_folder)?;
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::other("the path names no file"));
    };
    let parent = make_folders(&root, parent, owner)?;
    // A pipe of this name would be waited at.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let (now, mode) = match openat(&parent, name, flags, Mode::empty()) {
        Ok(file) => {
            let stat = fstat(&file)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                return Err(io::Error::other("it is no ordinary file"));
            }
            let mut bytes = Vec::new();
            File::from(file).take(bytes_max + 1).read_to_end(&mut bytes)?;
            if bytes.len() as u64 > bytes_max {
                return Err(io::Error::other("it is too long"));
            }
            let text = String::from_utf8(bytes).map_err(|_| io::Error::other("it is not written in UTF-8"))?;
            (Some(text), Mode::from_raw_mode(stat.st_mode & 0o777))
        }
        Err(Errno::NOENT) => (None, Mode::from_raw_mode(FILE_MODE)),
        Err(errno) => return Err(out_of_folder(errno)),
    };
    let Some(new) = change(now.as_deref())?.filter(|new| now.as_ref() != Some(new)) else { return Ok(()) };
    let temporary = format!(".quarterdeck-new-{}", std::process::id());
    // Left over from a machine that went off in between.
    let _ = unlinkat(&parent, &temporary, AtFlags::empty());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(&parent, &temporary, flags, mode)?;
    let written = owner
        .map_or(Ok(()), |owner| own(file.as_fd(), owner))
        .and_then(|()| Ok(fchmod(&file, mode)?))
        .and_then(|()| File::from(file).write_all(new.as_bytes()))
        .and_then(|()| Ok(renameat(&parent, &temporary, &parent, name)?));
    if written.is_err() {
        let _ = unlinkat(&parent, &temporary, AtFlags::empty());
    }
    written
}

fn make_folders(root: &OwnedFd, path: &Path, owner: Option<User>) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // Links within the folder are the game's own affair.
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let enter = |path: &Path| openat2(root, path, flags, Mode::empty(), resolve);
    let mut made = Path::new(".").to_owned();
    let mut inner = enter(&made)?;
    for part in path.components() {
        made.push(part);
        inner = match enter(&made) {
            Err(Errno::NOENT) => {
                mkdirat(&inner, part.as_os_str(), Mode::from_raw_mode(FOLDER_MODE))?;
                let flags = flags | OFlags::NOFOLLOW;
                let new = openat(&inner, part.as_os_str(), flags, Mode::empty())?;
                if let Some(owner) = owner {
                    own(new.as_fd(), owner)?;
                }
                new
            }
            entered => entered.map_err(out_of_folder)?,
        };
    }
    Ok(inner)
}

fn out_of_folder(errno: Errno) -> io::Error {
    match errno {
        Errno::XDEV | Errno::LOOP | Errno::NOTDIR => io::Error::other("a link leads out of the server's folder"),
        errno => errno.into(),
    }
}

/// Gives one folder, without what is in it, to a group that may go through it.
pub(crate) fn let_group_through(folder: &Path, user: User) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = openat(CWD, folder, flags, Mode::empty())?;
    chownat(&folder, "", None, Some(Gid::from_raw(user.gid)), AtFlags::EMPTY_PATH)?;
    Ok(rustix::fs::fchmod(&folder, Mode::from_raw_mode(0o710))?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::print_stderr)]
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    const USER: User = User { uid: 212_345, gid: 212_345 };

    #[test]
    fn links_give_nothing_away() {
        if !rustix::process::geteuid().is_root() {
            return eprintln!("SKIPPED: only root gives files away");
        }
        let temp = tempfile::tempdir().unwrap();
        let (files, outside) = (temp.path().join("files"), temp.path().join("outside"));
        fs::create_dir_all(files.join("world/region")).unwrap();
        fs::create_dir_all(outside.join("inner")).unwrap();
        for file in
            [files.join("server.jar"), files.join("world/region/r.0"), outside.join("secret"), outside.join("two")]
        {
            fs::write(file, "x").unwrap();
        }
        symlink(outside.join("secret"), files.join("link")).unwrap();
        symlink(&outside, files.join("world/folder")).unwrap();
        fs::hard_link(outside.join("two"), files.join("second-name")).unwrap();
        let given = give(&files, USER).unwrap();
        // server.jar, world, region, r.0, both links themselves, files.
        assert_eq!(given, Given { changed: 7, kept: 1 });
        let owner = |path: &Path| fs::symlink_metadata(path).unwrap().uid();
        for theirs in ["", "server.jar", "world", "world/region", "world/region/r.0", "link", "world/folder"] {
            assert_eq!(owner(&files.join(theirs)), USER.uid, "{theirs}");
        }
        for ours in [&outside, &outside.join("secret"), &outside.join("inner"), &outside.join("two")] {
            assert_eq!(owner(ours), 0, "{}", ours.display());
        }
        assert_eq!(give(&files, USER).unwrap(), Given { changed: 0, kept: 1 });
        fs::rename(&files, temp.path().join("moved")).unwrap();
        symlink(&outside, &files).unwrap();
        assert!(give(&files, USER).is_err(), "a link in place of the folder");
        assert_eq!(owner(&outside), 0);
    }

    #[test]
    fn files_are_made_inside_only_and_belong_to_the_game() {
        let temp = tempfile::tempdir().unwrap();
        let (files, outside) = (temp.path().join("files"), temp.path().join("outside"));
        fs::create_dir_all(files.join("real")).unwrap();
        fs::create_dir(&outside).unwrap();
        symlink(&outside, files.join("out")).unwrap();
        symlink("real", files.join("in")).unwrap();
        symlink(outside.join("made"), files.join("dangling")).unwrap();
        let owner = rustix::process::geteuid().is_root().then_some(USER);
        let create = |path: &str| create(&files, Path::new(path), b"x", owner);
        create("a/b/c.cfg").unwrap();
        create("in/d.cfg").unwrap();
        create("dangling").unwrap();
        for refused in ["out/e.cfg", "../e.cfg", "/e.cfg", "a/../../e.cfg"] {
            assert!(create(refused).is_err(), "{refused}");
        }
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        assert!(files.join("real/d.cfg").exists());
        if let Some(owner) = owner {
            for path in ["a", "a/b", "a/b/c.cfg", "real/d.cfg"] {
                assert_eq!(fs::metadata(files.join(path)).unwrap().uid(), owner.uid, "{path}");
            }
        }
        let rewrite = |path: &str| {
            rewrite(&files, Path::new(path), 10, owner, |now| Ok(Some(format!("{}+", now.unwrap_or_default()))))
        };
        rewrite("a/b/c.cfg").unwrap();
        rewrite("a/new/d.cfg").unwrap();
        fs::write(files.join("long"), "12345678901").unwrap();
        fs::write(files.join("bytes"), [0xff]).unwrap();
        rustix::fs::mknodat(CWD, files.join("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        for refused in ["out/e.cfg", "../e.cfg", "dangling", "out", "long", "bytes", "pipe", "a"] {
            let result = rewrite(refused);
            assert!(result.is_err() || refused == "dangling", "{refused}");
        }
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        assert_eq!(fs::read(files.join("a/b/c.cfg")).unwrap(), b"x+");
        assert_eq!(fs::read(files.join("a/new/d.cfg")).unwrap(), b"+");
        assert_eq!(fs::read_dir(files.join("a/b")).unwrap().count(), 1, "nothing else is left there");
        fs::write(files.join("a/b/c.cfg"), "mine").unwrap();
        create("a/b/c.cfg").unwrap();
        assert_eq!(fs::read(files.join("a/b/c.cfg")).unwrap(), b"mine");
    }
}
