//! The shim's program: carried inside this one, unpacked once, so that every shim of a node is the same file in memory.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Built by the build script as a static program.
static SHIM: &[u8] = include_bytes!(env!("QUARTERDECK_SHIM"));
/// How the name of every unpacked shim begins, whichever build it is.
pub(crate) const NAME_PREFIX: &str = "shim-";
/// Hexadecimal digits of the checksum in the file's name.
const NAME_DIGITS: usize = 16;

/// Puts the program into `dir` unless it is there, and gives its path. Its name says what is in it: another build is another
/// file, and shims that run keep theirs.
pub(crate) fn unpack(dir: &Path) -> io::Result<PathBuf> {
    let mut digest = Sha256::digest(SHIM).iter().fold(String::new(), |mut text, byte| {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    });
    digest.truncate(NAME_DIGITS);
    std::fs::create_dir_all(dir)?;
    let path = dir.join(format!("{NAME_PREFIX}{digest}"));
    if path.metadata().is_ok_and(|meta| meta.len() == SHIM.len() as u64) {
        return Ok(path);
    }
    let new = dir.join(format!("{NAME_PREFIX}{digest}.{}", std::process::id()));
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o755).open(&new)?;
    file.write_all(SHIM)?;
    file.sync_all()?;
    drop(file);
    std::fs::rename(new, &path)?;
    Ok(path)
}
