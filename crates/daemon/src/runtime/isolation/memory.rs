//! What games keep in shared memory outlives them: files in a file system of memory. A game's user says which are its own.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::removal;

/// Where the C library makes them.
pub(super) const SHARED: &str = "/dev/shm";

/// Deletes what a user has there.
pub(super) fn clear(shared: &Path, user: u32) {
    // Without the folder there is nothing in it.
    for entry in fs::read_dir(shared).into_iter().flatten().flatten() {
        let is_theirs = entry.metadata().is_ok_and(|meta| meta.uid() == user);
        if !is_theirs {
            continue;
        }
        match removal::remove_all(&entry.path()) {
            Ok(()) => tracing::info!(user, file = %entry.path().display(), "freed shared memory of an ended game"),
            Err(error) => {
                tracing::warn!(user, file = %entry.path().display(), %error, "shared memory of an ended game cannot be freed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_what_is_theirs_goes() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("segment"), "x").unwrap();
        fs::create_dir_all(temp.path().join("folder/inner")).unwrap();
        let own = fs::metadata(temp.path()).unwrap().uid();
        clear(temp.path(), own + 1);
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 2);
        clear(temp.path(), own);
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
        clear(&temp.path().join("not-there"), own);
    }
}
