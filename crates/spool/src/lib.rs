//! The console log on disk and what is said about it: frames, the line rule, segments, the writer, the shim's messages.
//!
//! A server's log is a folder of *segments*. A segment is a 64-byte header and then *frames*: a burst of output, a command,
//! a start, an exit, a notice, a gap. Nothing is ever rewritten; old segments are deleted whole. Two numbers describe every
//! point of a log, and both follow from its bytes alone:
//!
//! * `pos`: bytes of frames (their headers included, segment headers not) since the log began;
//! * `line`: how many lines have ended before this point. See [`mod@line`] for when a line ends.
//!
//! One writer at a time holds the folder's lock: the shim while a game runs, else the daemon for its own notices. Readers
//! need no lock: they read the files and stop at the first frame that is not whole yet. A segment is complete when a later one
//! exists; so look for a later one first, then read the rest of this one, then go on.

pub mod contained;
pub mod exit;
pub mod format;
pub mod line;
pub mod message;
pub mod payload;
pub mod ready;
pub mod sandbox;
pub mod segment;
pub mod spec;
pub mod writer;

mod take;

pub use exit::{ExitRecord, Loss};
pub use format::{Frame, FrameHeader, Frames, Kind, SegmentHeader, Tail};
pub use line::{Event, Line, LineCounter, LineKind, LineSplitter, Unfinished};
pub use payload::{ExitPayload, GapPayload, GapReason, InPayload, StartPayload};
pub use segment::SegmentName;
pub use writer::{Limits, Writer};
