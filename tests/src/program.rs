//! Finds the program under test: the one named by `QUARTERDECK_BIN`, else the one that cargo builds from this tree.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The program.
///
/// # Panics
/// When it cannot be built: there is nothing to test then.
#[allow(clippy::expect_used)]
pub fn quarterdeck() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        if let Some(path) = std::env::var_os("QUARTERDECK_BIN") {
            return PathBuf::from(path);
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            .args(["build", "--quiet", "--workspace", "--bin", "quarterdeck"])
            .current_dir(&root)
            .status()
            .expect("cargo runs");
        assert!(status.success(), "the program under test cannot be built");
        let test = std::env::current_exe().expect("this test has a path");
        let profile = test.ancestors().nth(2).expect("tests lie in <profile>/deps");
        profile.join("quarterdeck")
    })
}
