//! The data folder: where it is, who may look into it, and the lock that keeps it to one `up` at a time.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::fault::Fault;

const FOLDER_MODE: u32 = 0o700;
/// Others go through and see nothing.
const ROOTS_FOLDER_MODE: u32 = 0o711;
const FILE_MODE: u32 = 0o600;
const FOLDER_NAME: &str = "quarterdeck";

/// The folder everything of ours is kept in.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Whether it is the one that needs no `--data`.
    pub(crate) is_default: bool,
}

impl Folder {
    /// The folder named by `--data` or `QUARTERDECK_DATA`, else `$XDG_DATA_HOME/quarterdeck`, else `~/.local/share/quarterdeck`.
    pub(crate) fn locate(named: Option<&Path>) -> Result<Self, Fault> {
        let default = default_path(std::env::var_os("XDG_DATA_HOME"), std::env::var_os("HOME"));
        match (named, default) {
            (Some(named), default) => {
                let path = std::path::absolute(named)
                    .map_err(|error| Fault::Usage(format!("--data {}: {error}", named.display())))?;
                let is_default = default.is_some_and(|default| default == path);
                Ok(Self { path, is_default })
            }
            (None, Some(path)) => Ok(Self { path, is_default: true }),
            (None, None) => {
                Err(Fault::Usage("there is no home folder to keep data in; name one with --data DIR".into()))
            }
        }
    }

    /// The folder itself; absolute.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What `up` leaves for clients: the panel's address and a key.
    pub(crate) fn cli_file(&self) -> PathBuf {
        self.path.join("cli.toml")
    }

    /// Settings of the program, written by its owner.
    pub(crate) fn settings_file(&self) -> PathBuf {
        self.path.join("quarterdeck.toml")
    }

    /// The panel's database.
    pub(crate) fn database(&self) -> PathBuf {
        self.path.join("panel.db")
    }

    /// The node's own folder.
    pub(crate) fn node(&self) -> PathBuf {
        self.path.join("node")
    }

    /// Input history of the consoles, a file per server.
    pub(crate) fn history(&self) -> PathBuf {
        self.path.join("history")
    }

    /// Makes the folder if it is not there: for its owner only, but root's is one that games with users of their own can pass
    /// through. What is in it is closed by itself.
    pub(crate) fn create(&self) -> Result<(), Fault> {
        let is_new = !self.path.exists();
        make_private_folder(&self.path)?;
        if is_new && rustix::process::geteuid().is_root() {
            let mode = std::fs::Permissions::from_mode(ROOTS_FOLDER_MODE);
            std::fs::set_permissions(&self.path, mode).map_err(|error| about(&self.path, &error))?;
        }
        Ok(())
    }

    /// Keeps the folder to this process until the lock is dropped or the process ends, however it ends.
    pub(crate) fn lock(&self) -> Result<FolderLock, Fault> {
        let path = self.path.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(&path)
            .map_err(|error| about(&path, &error))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut pid = String::new();
                let holder = match file.read_to_string(&mut pid) {
                    Ok(_) if !pid.trim().is_empty() => format!(" (process {})", pid.trim()),
                    _ => String::new(),
                };
                return Err(Fault::Failed(format!(
                    "the data folder {} is in use by another quarterdeck{holder}; stop that one, or name another folder with --data DIR",
                    self.path.display()
                )));
            }
            Err(errno) => return Err(about(&path, &errno.into())),
        }
        // For the message above only, so a failure here is nobody's problem.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(FolderLock { _file: file })
    }
}

/// Held while a folder is in use.
#[derive(Debug)]
pub(crate) struct FolderLock {
    _file: File,
}

fn default_path(xdg: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    // Relative values are to be ignored, says the base directory specification.
    let absolute = |value: OsString| Some(PathBuf::from(value)).filter(|path| path.is_absolute());
    xdg.and_then(absolute)
        .or_else(|| home.and_then(absolute).map(|home| home.join(".local").join("share")))
        .map(|base| base.join(FOLDER_NAME))
}

/// Makes a folder and its parents; the last one for its owner only. One that is there already keeps its mode.
pub(crate) fn make_private_folder(path: &Path) -> Result<(), Fault> {
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            Fault::Failed(format!("{} is not a folder; name another with --data DIR", path.display()))
        }
        _ => about(path, &error),
    })
}

/// Replaces a file as a whole, readable by its owner only.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), Fault> {
    let mut name = path.file_name().map(OsString::from).unwrap_or_default();
    name.push(format!(".{}.new", std::process::id()));
    let fresh = path.with_file_name(name);
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(&fresh)?;
        // The mode above only counts for a file that was not there.
        file.set_permissions(std::fs::Permissions::from_mode(FILE_MODE))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)
    };
    write().map_err(|error| {
        let _ = std::fs::remove_file(&fresh);
        about(path, &error)
    })
}

/// The text of a file, or nothing if there is no such file.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<String>, Fault> {
    let text = read_bytes_if_there(path)?.map(String::from_utf8).transpose();
    text.map_err(|_| Fault::Failed(format!("{}: it is not a text file", path.display())))
}

/// What is in a file, or nothing if there is no such file.
pub(crate) fn read_bytes_if_there(path: &Path) -> Result<Option<Vec<u8>>, Fault> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(about(path, &error)),
    }
}

/// Whether others than the owner may read a file.
pub(crate) fn readable_by_others(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0)
}

fn about(path: &Path, error: &std::io::Error) -> Fault {
    Fault::Failed(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn folder(path: &Path) -> Folder {
        Folder { path: path.to_owned(), is_default: false }
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn the_default_follows_the_base_directory_rules() {
        let os = |text: &str| Some(OsString::from(text));
        assert_eq!(default_path(os("/x"), os("/h")), Some("/x/quarterdeck".into()));
        assert_eq!(default_path(None, os("/h")), Some("/h/.local/share/quarterdeck".into()));
        assert_eq!(default_path(os("relative"), os("/h")), Some("/h/.local/share/quarterdeck".into()));
        assert_eq!(default_path(os(""), os("/h")), Some("/h/.local/share/quarterdeck".into()));
        assert_eq!(default_path(None, None), None);
    }

    #[test]
    fn folders_and_files_are_for_their_owner_only() {
        let temp = tempfile::tempdir().unwrap();
        let folder = folder(&temp.path().join("deep").join("data"));
        folder.create().unwrap();
        let closed = if rustix::process::geteuid().is_root() { ROOTS_FOLDER_MODE } else { FOLDER_MODE };
        assert_eq!(mode(folder.path()), closed);
        write_private(&folder.cli_file(), "key = 1\n").unwrap();
        assert_eq!(mode(&folder.cli_file()), 0o600);
        assert!(!readable_by_others(&folder.cli_file()));
    }

    #[test]
    fn a_file_that_was_open_to_others_is_closed_to_them_when_written() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("cli.toml");
        std::fs::write(&path, "old").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(readable_by_others(&path));
        write_private(&path, "new").unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(read_if_there(&path).unwrap().as_deref(), Some("new"));
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_second_lock_is_refused_and_names_the_holder() {
        let temp = tempfile::tempdir().unwrap();
        let folder = folder(temp.path());
        let held = folder.lock().unwrap();
        let text = folder.lock().unwrap_err().to_string();
        assert!(text.contains("in use") && text.contains(&std::process::id().to_string()), "{text}");
        drop(held);
        folder.lock().unwrap();
    }

    #[test]
    fn a_file_in_the_place_of_the_folder_is_said_so() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("data");
        std::fs::write(&path, "").unwrap();
        assert!(folder(&path).create().unwrap_err().to_string().contains("--data"));
    }
}
