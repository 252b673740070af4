//! The faults, in the order in which they are injected.

use std::pin::Pin;

use crate::plan::Plan;
use crate::table::Row;

mod access;
mod clock;
mod commands;
mod crash;
mod disk;
mod ending;
mod flood;
mod isolation;
mod kill;
mod power;
mod shim;
mod soak;
mod viewers;

/// Something that goes wrong, and the promise it is held against.
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) only_when_named: bool,
    pub(crate) run: fn(Plan) -> Running,
}

type Running = Pin<Box<dyn Future<Output = Vec<Row>> + Send>>;

macro_rules! fault {
    ($name:ident, $what:literal) => {
        Fault { name: stringify!($name), what: $what, only_when_named: false, run: |plan| Box::pin($name::run(plan)) }
    };
}

/// All of them.
pub(crate) const ALL: &[Fault] = &[
    fault!(kill, "the program is killed and replaced while games print"),
    fault!(commands, "commands with ids while the program is killed and connections are cut"),
    fault!(flood, "games that print without end, and one line of 100 MB"),
    fault!(viewers, "hundreds of viewers, some of whom stop reading"),
    fault!(disk, "disks that are full, read-only or failing, under the log and under the panel's database"),
    fault!(access, "rights, keys, accounts and servers that are taken away from viewers"),
    fault!(clock, "clocks of panel and node that are apart or are set"),
    fault!(isolation, "a game that tries to get at everything that is not its own"),
    fault!(shim, "the processes that hold games are killed"),
    fault!(crash, "games crash, also while the program is killed"),
    fault!(ending, "the program is told to end while requests hang"),
    fault!(power, "random power actions, crashes and kills of the program"),
    Fault {
        only_when_named: true,
        ..fault!(soak, "many servers, connections that come and go, failed sign-ins, for long")
    },
];
