//! What of the kernel's Landlock a launch spec carries: numbers and paths that whoever starts the shim has chosen for this kernel.

use std::path::PathBuf;

/// A ruleset. What is handled and not allowed by a rule is denied; what is not handled is as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Landlock {
    /// Kinds of file access that are handled: `LANDLOCK_ACCESS_FS_*`; 0 for none.
    pub files: u64,
    /// Kinds of network access that are handled: `LANDLOCK_ACCESS_NET_*`; 0 for none.
    pub net: u64,
    /// What must not reach beyond the game: `LANDLOCK_SCOPE_*`; 0 for none.
    pub scopes: u64,
    /// Allowed on the game's own terminal, if it has one, when it is opened by its name.
    pub terminal: u64,
    /// Files and folders that may be reached.
    pub paths: Vec<PathRule>,
    /// Ports that may be used.
    pub ports: Vec<PortRule>,
}

/// What is allowed on a file, or on a folder and everything in it. A path that is not there, or may not be looked at, allows nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathRule {
    /// Some of [`Landlock::files`]. What has no meaning for a file is left out for one.
    pub access: u64,
    /// Absolute. A link at its end allows nothing.
    pub path: PathBuf,
}

/// What is allowed on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRule {
    /// Some of [`Landlock::net`].
    pub access: u64,
    /// 0: any that the kernel chooses.
    pub port: u16,
}
