//! Programs of this machine that games run on, found without running any of them.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders with one Java each.
const JAVA_DIR: &str = "/usr/lib/jvm";
/// Folders with the versions of .NET.
const DOTNET_DIRS: [&str; 2] =
    ["/usr/share/dotnet/shared/Microsoft.NETCore.App", "/usr/lib/dotnet/shared/Microsoft.NETCore.App"];
/// Looked for as they are called; what is told of them has another name for some.
const NAMED: [(&str, &str); 9] = [
    ("mono", "mono"),
    ("node", "node"),
    ("bun", "bun"),
    ("python3", "python:3"),
    ("dart", "dart"),
    ("steamcmd", "steamcmd"),
    ("wine", "wine"),
    ("box64", "box64"),
    ("bash", "bash"),
];
/// Where programs are that are in no search path.
const MORE_PATHS: [&str; 2] = ["/usr/games", "/usr/local/games"];

/// All of them, in the words of [`wire::node::SystemInfo::programs`]. Reads a few folders; blocks.
pub(crate) fn programs() -> Vec<String> {
    let mut found = BTreeSet::new();
    for folder in listed(Path::new(JAVA_DIR)) {
        let release = fs::read_to_string(folder.join("release")).unwrap_or_default();
        found.extend(java_version(&release).map(|version| format!("java:{version}")));
    }
    for folder in DOTNET_DIRS.iter().flat_map(|dir| listed(Path::new(dir))) {
        let version = folder.file_name().and_then(|name| name.to_str()?.split('.').next()?.parse::<u32>().ok());
        found.extend(version.map(|version| format!("dotnet:{version}")));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = env::split_paths(&path).chain(MORE_PATHS.map(PathBuf::from)).collect();
    for (name, told) in NAMED {
        if folders.iter().any(|folder| folder.join(name).is_file()) {
            found.insert(told.to_owned());
        }
    }
    found.into_iter().collect()
}

fn listed(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// The major version in a Java's own description; up to 8 it stood behind a `1.`.
fn java_version(release: &str) -> Option<u32> {
    let version = release.lines().find_map(|line| line.strip_prefix("JAVA_VERSION="))?.trim_matches('"');
    let mut parts = version.split(['.', '_', '+']);
    match parts.next()?.parse().ok()? {
        1 => parts.next()?.parse().ok(),
        major => Some(major),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_java_says_how_old_it_is() {
        assert_eq!(java_version("IMPLEMENTOR=\"x\"\nJAVA_VERSION=\"17.0.15\"\n"), Some(17));
        assert_eq!(java_version("JAVA_VERSION=\"1.8.0_402\""), Some(8));
        assert_eq!(java_version("JAVA_VERSION=\"21\""), Some(21));
        assert_eq!((java_version(""), java_version("JAVA_VERSION=\"x\"")), (None, None));
    }

    #[test]
    fn this_machine_has_a_shell() {
        assert!(programs().contains(&"bash".to_owned()));
    }
}
