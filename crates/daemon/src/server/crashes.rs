//! Records of crashes: what there was to see when a game died, kept apart from its log, whose lines retention takes away. One file
//! each, in a folder of the server.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use wire::history::{ConsoleLines, Crash};
use wire::ids::Seq;

use crate::history::{self, Range};
use crate::log::Presentation;
use crate::server::LOG_DIR;
use crate::server::record::replace;

const FOLDER: &str = "crashes";
/// Records that are kept, the newest.
const RECORDS_MAX: usize = 20;
/// Lines in one.
const LINES_MAX: u64 = 500;
/// Bytes of their text; of more, the newest.
const TEXT_BYTES_MAX: usize = 512 * 1024;
/// What is told of the figures before it.
pub(crate) const FIGURES_MS: u64 = 5 * 60 * 1000;

/// The last lines below `end`, as many as a record has. Blocking.
pub(crate) fn last_lines(dir: &Path, presentation: &Presentation, end: Seq) -> io::Result<ConsoleLines> {
    let mut limit = LINES_MAX;
    let mut read = loop {
        let read = history::lines(&dir.join(LOG_DIR), presentation, 0..end.0, Range::Newest, limit)?;
        // An answer ends where it has become large, and a crash shows in its last lines.
        let told_to = read.lines.last().map(|line| line.seq + 1).max(read.gaps.last().map(|gap| gap.to));
        if told_to.is_none_or(|told_to| told_to >= end.0) || limit == 1 {
            break read;
        }
        limit = (limit / 2).max(1);
    };
    let mut bytes = 0;
    let fits = |line: &&wire::history::ConsoleLine| {
        bytes += line.text.len();
        bytes <= TEXT_BYTES_MAX
    };
    let kept = read.lines.iter().rev().take_while(fits).count().max(1);
    read.lines.drain(..read.lines.len().saturating_sub(kept));
    Ok(read)
}

/// Keeps a record, in place of the oldest when there are too many. Blocking.
pub(crate) fn keep(dir: &Path, run: &str, ended_at: u64, crash: &Crash) -> io::Result<()> {
    let folder = dir.join(FOLDER);
    fs::create_dir_all(&folder)?;
    replace(&folder.join(format!("{ended_at:013}-{run}.json")), &serde_json::to_vec(crash)?)?;
    let mut names = names(&folder)?;
    names.sort_unstable();
    for name in names.iter().rev().skip(RECORDS_MAX) {
        fs::remove_file(folder.join(name))?;
    }
    Ok(())
}

/// The record of a run's crash, if one is kept. Blocking.
pub(crate) fn load(dir: &Path, run: &str) -> io::Result<Option<Crash>> {
    let folder = dir.join(FOLDER);
    let names = match names(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        names => names?,
    };
    let end = format!("-{run}.json");
    let Some(name) = names.into_iter().find(|name| name.ends_with(&end)) else { return Ok(None) };
    match fs::read(folder.join(name)) {
        // A newer one took its place meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => Ok(serde_json::from_slice(&read?).map_or_else(
            |error| {
                tracing::warn!(run, %error, "the record of this crash cannot be read");
                None
            },
            Some,
        )),
    }
}

/// Names of the records: they begin with the time of the crash.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = PathBuf::from(entry?.file_name());
        if name.extension().is_some_and(|extension| extension == "json") {
            names.extend(name.to_str().map(str::to_owned));
        }
    }
    Ok(names)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use spool::{Limits, Writer};

    use super::*;

    fn crash(in_a_row: u32) -> Crash {
        let (lines, gaps, stats) = (Vec::new(), Vec::new(), Vec::new());
        Crash {
            code: Some(3),
            signal: None,
            out_of_memory: false,
            in_a_row: Some(in_a_row),
            restart_at: None,
            last_act: None,
            lines,
            gaps,
            stats,
        }
    }

    fn last(line: &str, count: u64) -> ConsoleLines {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits { segment_bytes: 4 * 1024 * 1024, retain_bytes: 64 * 1024 * 1024 };
        let mut writer = Writer::open(&dir.path().join(LOG_DIR), limits, [1; 16], 1).unwrap();
        for n in 0..count {
            let _ = writer.append_out(format!("{n} {line}\n").as_bytes(), n);
        }
        let presentation = Presentation { app_name: Arc::from("Test"), echo_commands: true };
        last_lines(dir.path(), &presentation, Seq(count)).unwrap()
    }

    #[test]
    fn the_newest_records_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(load(dir.path(), "1").unwrap(), None);
        for n in 1..=25 {
            keep(dir.path(), &n.to_string(), u64::from(n), &crash(n)).unwrap();
        }
        assert_eq!(load(dir.path(), "5").unwrap(), None);
        assert_eq!(load(dir.path(), "6").unwrap(), Some(crash(6)));
        assert_eq!(load(dir.path(), "25").unwrap(), Some(crash(25)));
        let damaged = dir.path().join(FOLDER).join(format!("{:013}-25.json", 25));
        fs::write(damaged, "").unwrap();
        assert_eq!(load(dir.path(), "25").unwrap(), None);
    }

    #[test]
    fn a_record_ends_with_the_last_line_however_long_lines_are() {
        let short = last("x", 2000);
        assert_eq!((short.lines.len(), short.lines[499].seq), (500, 1999));
        // Six bytes each when they are spelled as JSON: an answer of lines ends before it has all of them.
        let long = last(&"\u{1}".repeat(60_000), 300);
        assert_eq!(long.lines.last().unwrap().seq, 299);
        assert!(long.lines.iter().map(|line| line.text.len()).sum::<usize>() <= TEXT_BYTES_MAX);
        assert!(last("x", 0).lines.is_empty());
    }
}
