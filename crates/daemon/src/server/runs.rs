//! The runs of a server: when each began, how it ended, whether that was a crash. One file beside the log, a document per line, of
//! which a run's newest counts. It outlives the lines themselves, which retention takes away.

use std::collections::VecDeque;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use wire::history::Run;

use crate::server::record::replace;

const FILE_NAME: &str = "runs.jsonl";
/// Runs that are remembered, the newest.
const RUNS_MAX: usize = 1000;
/// Documents in the file before it is written anew without those that no longer count.
const DOCUMENTS_MAX: usize = 4 * RUNS_MAX;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    /// Oldest first.
    known: VecDeque<Run>,
    /// Documents in the file.
    documents: usize,
}

/// A change for the file.
#[derive(Debug)]
pub(crate) enum Change {
    /// One more document.
    Append(Vec<u8>),
    /// All of them.
    Rewrite(Vec<u8>),
}

impl Runs {
    /// What is known in a server's folder. A document that cannot be read is left out. Blocking.
    pub(crate) fn load(dir: &Path) -> Self {
        let path = path(dir);
        let text = fs::read(&path).unwrap_or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::error!(path = %path.display(), %error, "the runs of this server cannot be read");
            }
            Vec::new()
        });
        let mut runs = Self::default();
        for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            runs.documents += 1;
            match serde_json::from_slice(line) {
                Ok(run) => runs.put(run),
                Err(error) => tracing::warn!(path = %path.display(), %error, "one of the runs cannot be read"),
            }
        }
        if text.last().is_some_and(|&byte| byte != b'\n') {
            // The last one was cut off: the next must not be written behind it.
            runs.documents = DOCUMENTS_MAX;
        }
        runs
    }

    /// Puts a run in the place of what was known of it. What comes back is for the file: see [`Change::write`].
    pub(crate) fn note(&mut self, run: Run) -> serde_json::Result<Change> {
        self.put(run.clone());
        self.documents += 1;
        if self.documents <= DOCUMENTS_MAX {
            return Ok(Change::Append(document(&run)?));
        }
        self.documents = self.known.len();
        let documents: serde_json::Result<Vec<_>> = self.known.iter().map(document).collect();
        Ok(Change::Rewrite(documents?.concat()))
    }

    fn put(&mut self, run: Run) {
        match self.known.iter_mut().rfind(|known| known.id == run.id) {
            Some(known) => *known = run,
            None => {
                if self.known.len() == RUNS_MAX {
                    self.known.pop_front();
                }
                self.known.push_back(run);
            }
        }
    }

    /// One of them.
    pub(crate) fn get(&self, id: &str) -> Option<&Run> {
        self.known.iter().rfind(|run| run.id == id)
    }

    /// The newest.
    pub(crate) fn newest(&self) -> Option<&Run> {
        self.known.back()
    }

    /// All of them, newest first.
    pub(crate) fn newest_first(&self) -> Vec<Run> {
        self.known.iter().rev().cloned().collect()
    }
}

impl Change {
    /// Brings it into the file of a server's folder. Blocking.
    pub(crate) fn write(&self, dir: &Path) -> io::Result<()> {
        match self {
            Self::Append(document) => {
                let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path(dir));
                file?.write_all(document)
            }
            Self::Rewrite(documents) => replace(&path(dir), documents),
        }
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join(FILE_NAME)
}

fn document(run: &Run) -> serde_json::Result<Vec<u8>> {
    let mut document = serde_json::to_vec(run)?;
    document.push(b'\n');
    Ok(document)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn run(id: u64) -> Run {
        let (started_at, first_line) = (Some(id), Some(id * 10));
        Run { id: id.to_string(), started_at, ended_at: None, first_line, end_line: None, exit: None, crashed: false }
    }

    fn ended(id: u64) -> Run {
        Run {
            ended_at: Some(id + 1),
            end_line: Some(id * 10 + 5),
            exit: Some("exit code 3".to_owned()),
            crashed: true,
            ..run(id)
        }
    }

    fn note(runs: &mut Runs, dir: &Path, run: Run) {
        runs.note(run).unwrap().write(dir).unwrap();
    }

    #[test]
    fn runs_are_found_again_as_they_were_left() {
        let dir = tempfile::tempdir().unwrap();
        let mut runs = Runs::load(dir.path());
        assert!(runs.newest().is_none());
        for known in [run(1), ended(1), run(2)] {
            note(&mut runs, dir.path(), known);
        }
        let again = Runs::load(dir.path());
        assert_eq!(again.newest_first(), [run(2), ended(1)]);
        assert_eq!((again.get("1"), again.get("3")), (Some(&ended(1)), None));
    }

    #[test]
    fn a_document_that_was_cut_off_takes_no_other_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut runs = Runs::load(dir.path());
        note(&mut runs, dir.path(), ended(1));
        fs::OpenOptions::new().append(true).open(path(dir.path())).unwrap().write_all(b"{\"id\":\"2").unwrap();
        let mut runs = Runs::load(dir.path());
        note(&mut runs, dir.path(), run(3));
        assert_eq!(Runs::load(dir.path()).newest_first(), [run(3), ended(1)]);
    }

    #[test]
    fn file_and_memory_stay_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let mut runs = Runs::load(dir.path());
        let count = u64::try_from(DOCUMENTS_MAX).unwrap() + 10;
        for id in 0..count {
            note(&mut runs, dir.path(), run(id));
        }
        let again = Runs::load(dir.path());
        assert_eq!(again.newest_first().len(), RUNS_MAX);
        assert_eq!(again.newest(), Some(&run(count - 1)));
        assert!(again.documents <= RUNS_MAX + 10);
    }
}
