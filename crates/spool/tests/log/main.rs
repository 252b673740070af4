//! The log: numbering, writing, recovering, full disks, and everything that is decoded.
#![allow(clippy::unwrap_used)]

mod codes;
mod disk;
mod lines;
mod outage;
mod reading;
mod recovery;
mod writing;
