//! Names of segment files. They carry position and line, so that listing the folder is the index of the log.

use std::io;
use std::path::Path;
use std::str::FromStr;

/// What a segment's file name ends with.
pub const SUFFIX: &str = ".seg";
/// No log is ever longer; a name that says so is not ours. So positions can be added to.
pub const POS_MAX: u64 = 1 << 62;

/// Where a segment begins. Sorts as the log does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentName {
    /// Position of its first frame.
    pub base_pos: u64,
    /// Number of its first line.
    pub base_line: u64,
}

impl SegmentName {
    /// `<base_pos>-<base_line>.seg`, both as 16 hexadecimal digits, so that names sort as numbers.
    pub fn file_name(self) -> String {
        format!("{:016x}-{:016x}{SUFFIX}", self.base_pos, self.base_line)
    }
}

/// The file is not a segment of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a log segment")]
pub struct NotASegment;

impl FromStr for SegmentName {
    type Err = NotASegment;

    fn from_str(name: &str) -> Result<Self, NotASegment> {
        let number = |text: &str| {
            let plain = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            plain.then(|| u64::from_str_radix(text, 16).ok()).flatten().ok_or(NotASegment)
        };
        let (pos, line) = name.strip_suffix(SUFFIX).and_then(|name| name.split_once('-')).ok_or(NotASegment)?;
        let (base_pos, base_line) = (number(pos)?, number(line)?);
        if base_pos > POS_MAX { Err(NotASegment) } else { Ok(Self { base_pos, base_line }) }
    }
}

/// The segments of a log, oldest first. Other files in the folder are passed over; a missing folder is an error.
pub fn list(dir: &Path) -> io::Result<Vec<SegmentName>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        if let Some(name) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Index of the segment to begin with for reading from `line` on, in a list sorted as [`list`] does it. `None` if the oldest
/// segment begins above `line` (or there is none): what is asked for has been deleted.
pub fn holding(names: &[SegmentName], line: u64) -> Option<usize> {
    names.partition_point(|name| name.base_line <= line).checked_sub(1)
}
