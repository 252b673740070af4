//! What runs a game: today a process of this machine, held by a shim.

pub(crate) mod cgroup;
pub(crate) mod isolation;
pub(crate) mod leftovers;
pub(crate) mod link;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod shim;
pub(crate) mod traffic;
