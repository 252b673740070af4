//! The socket file: made before the game runs, made again if somebody deletes it.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Mode, OFlags};
use spool::message::{SOCKET_FILE_NAME, socket_path};

use crate::{ancestry, system};

/// How often the file is looked for.
const CHECK_EVERY: Duration = Duration::from_mins(1);

pub(crate) struct Listener {
    folder: PathBuf,
    socket: UnixListener,
    /// Device and inode of the file.
    identity: (u64, u64),
    check_at: Instant,
}

impl Listener {
    /// Binds `shim.sock` in this folder, for its owner only, instead of whatever stands there: who holds the log's lock owns the name.
    pub(crate) fn bind(folder: &Path) -> io::Result<Self> {
        let (socket, identity) = bind(folder)?;
        Ok(Self { folder: folder.to_owned(), socket, identity, check_at: Instant::now() + CHECK_EVERY })
    }

    pub(crate) fn socket(&self) -> &UnixListener {
        &self.socket
    }

    /// The next connection of somebody who may talk to us, `None` if nobody waits. Others are hung up on.
    pub(crate) fn accept(&self) -> Option<UnixStream> {
        loop {
            match self.socket.accept() {
                Ok((stream, _)) if is_allowed(&stream) && stream.set_nonblocking(true).is_ok() => return Some(stream),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Nobody there; or out of descriptors, then the caller looks again when something changes.
                Err(_) => return None,
            }
        }
    }

    pub(crate) fn check_at(&self) -> Instant {
        self.check_at
    }

    /// Binds again if the file is not ours any more. Connections stay.
    pub(crate) fn check(&mut self, now: Instant) {
        if now < self.check_at {
            return;
        }
        self.check_at = now + CHECK_EVERY;
        if open_folder(&self.folder).and_then(|folder| identity(&folder)).is_ok_and(|found| found == self.identity) {
            return;
        }
        if let Ok((socket, identity)) = bind(&self.folder) {
            self.socket = socket;
            self.identity = identity;
        }
    }

    /// Deletes the file, if it is ours.
    pub(crate) fn unlink(&self) {
        if let Ok(folder) = open_folder(&self.folder)
            && identity(&folder).is_ok_and(|found| found == self.identity)
        {
            let _ = rustix::fs::unlinkat(&folder, SOCKET_FILE_NAME, AtFlags::empty());
        }
    }
}

/// Root, or the user we run as; but no game, which may be of that same user.
fn is_allowed(stream: &UnixStream) -> bool {
    // Whom we cannot see is outside of our container; no game of ours is.
    system::peer(stream).is_some_and(|peer| {
        (peer.uid == 0 || peer.uid == rustix::process::geteuid().as_raw())
            && (peer.pid == 0 || !ancestry::is_held_by_a_shim(peer.pid))
    })
}

fn open_folder(folder: &Path) -> io::Result<File> {
    let flags = i32::try_from((OFlags::PATH | OFlags::DIRECTORY).bits()).unwrap_or(0);
    File::options().read(true).custom_flags(flags).open(folder)
}

fn identity(folder: &File) -> io::Result<(u64, u64)> {
    let stat = rustix::fs::statat(folder, SOCKET_FILE_NAME, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok((stat.st_dev, stat.st_ino))
}

fn bind(folder: &Path) -> io::Result<(UnixListener, (u64, u64))> {
    let folder = open_folder(folder)?;
    let _ = rustix::fs::unlinkat(&folder, SOCKET_FILE_NAME, AtFlags::empty());
    // The umask makes it the owner's alone from its first moment; see `start`.
    let socket = UnixListener::bind(socket_path(&folder))?;
    rustix::fs::chmodat(&folder, SOCKET_FILE_NAME, Mode::from_raw_mode(0o600), AtFlags::empty())?;
    socket.set_nonblocking(true)?;
    let identity = identity(&folder)?;
    Ok((socket, identity))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    /// As if a minute had passed.
    fn check_later(listener: &mut Listener) {
        let later = listener.check_at();
        listener.check(later);
    }

    fn can_be_reached(listener: &Listener, folder: &Path) -> bool {
        spool::message::connect(folder).is_ok() && listener.accept().is_some()
    }

    #[test]
    fn a_deleted_socket_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut listener = Listener::bind(folder.path()).unwrap();
        let file = folder.path().join(SOCKET_FILE_NAME);
        assert!(can_be_reached(&listener, folder.path()));
        let before = listener.identity;
        check_later(&mut listener);
        assert_eq!(listener.identity, before, "nothing to do");
        fs::remove_file(&file).unwrap();
        listener.check(Instant::now());
        assert!(!file.exists(), "not before it is time");
        check_later(&mut listener);
        assert!(can_be_reached(&listener, folder.path()));
        fs::remove_file(&file).unwrap();
        fs::write(&file, "something else").unwrap();
        check_later(&mut listener);
        assert!(can_be_reached(&listener, folder.path()));
    }

    #[test]
    fn a_socket_in_a_folder_made_again_comes_back() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("run");
        fs::create_dir(&folder).unwrap();
        let mut listener = Listener::bind(&folder).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        check_later(&mut listener);
        fs::create_dir(&folder).unwrap();
        check_later(&mut listener);
        assert!(can_be_reached(&listener, &folder));
    }

    #[test]
    fn only_its_own_file_is_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let listener = Listener::bind(folder.path()).unwrap();
        let successor = Listener::bind(folder.path()).unwrap();
        listener.unlink();
        assert!(can_be_reached(&successor, folder.path()));
        successor.unlink();
        assert!(!folder.path().join(SOCKET_FILE_NAME).exists());
    }
}
