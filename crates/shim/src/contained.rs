//! A shim as the first process of a container: what it is to run lies in a folder, and its answer goes into a pipe there.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use spool::contained::{ARGUMENT, ready_path, spec_path};
use spool::ready::Ready;
use spool::spec::LaunchSpec;

use crate::start;

/// See the module.
pub(crate) struct Contained {
    folder: PathBuf,
}

impl Contained {
    /// Whether our arguments say so.
    pub(crate) fn from_arguments() -> Option<Self> {
        let mut arguments = std::env::args_os().skip(1);
        (arguments.next()? == ARGUMENT).then_some(())?;
        Some(Self { folder: arguments.next()?.into() })
    }

    /// The spec, taken away: there are secrets in it, and who starts this container again is not who knows what it is to run.
    pub(crate) fn spec(&self) -> Result<LaunchSpec, String> {
        let path = spec_path(&self.folder);
        let file = File::open(&path).map_err(|error| {
            format!("this container has no launch spec ({error}); start its server through its node instead")
        })?;
        let spec = start::read_spec(file);
        fs::remove_file(&path).map_err(|error| format!("the launch spec cannot be taken away: {error}"))?;
        spec
    }

    /// Gives the answer, if somebody waits for it.
    pub(crate) fn answer(&self, ready: &Ready) -> io::Result<()> {
        let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::CLOEXEC;
        let pipe = rustix::fs::open(ready_path(&self.folder), flags, rustix::fs::Mode::empty())?;
        start::write_answer(pipe, ready)
    }
}
