//! How a shim is told what to do when it is the first process of a container, where nobody holds its standard input and output.
//!
//! Its arguments are [`ARGUMENT`] and a folder. In that folder it finds the launch spec, which it deletes when it has read it, and a
//! pipe for its one answer; its socket is made there, too. All else is as outside.

use std::path::{Path, PathBuf};

/// The first argument of a shim in a container; the second is the folder.
pub const ARGUMENT: &str = "--contained";
/// The launch spec.
pub const SPEC_FILE_NAME: &str = "spec";
/// The pipe with a name for the answer. Whoever started the container reads it.
pub const READY_FILE_NAME: &str = "ready";

/// Where the spec is.
pub fn spec_path(folder: &Path) -> PathBuf {
    folder.join(SPEC_FILE_NAME)
}

/// Where the answer is given.
pub fn ready_path(folder: &Path) -> PathBuf {
    folder.join(READY_FILE_NAME)
}
