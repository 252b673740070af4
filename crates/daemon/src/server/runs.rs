//! The runs of a server: when each began, how it ended, whether that was a crash. One file beside the log, a document per line, of
//! which a run's newest counts. It outlives the lines themselves, which retention takes away.

use std::collections::VecDeque;
use std::path::Path;

use wire::history::Run;

use crate::server::documents::{Change, Documents};

const FILE_NAME: &str = "runs.jsonl";
/// Runs that are remembered, the newest.
const RUNS_MAX: usize = 1000;
/// Documents in the file before it is written anew without those that no longer count.
const DOCUMENTS_MAX: usize = 4 * RUNS_MAX;

/// See the module.
#[derive(Debug)]
pub(crate) struct Runs {
    /// Oldest first.
    known: VecDeque<Run>,
    file: Documents,
}

impl Runs {
    /// What is known in a server's folder. Blocking.
    pub(crate) fn load(dir: &Path) -> Self {
        let (file, written) = Documents::load(dir, FILE_NAME, DOCUMENTS_MAX);
        let mut runs = Self { known: VecDeque::new(), file };
        for run in written {
            runs.put(run);
        }
        runs
    }

    /// Puts a run in the place of what was known of it.
    pub(crate) fn note(&mut self, run: &Run) -> serde_json::Result<Change> {
        self.put(run.clone());
        self.file.add(run, self.known.iter())
    }

    /// The last change did not get into the file.
    pub(crate) fn failed(&mut self) {
        self.file.failed();
    }

    fn put(&mut self, run: Run) {
        match self.known.iter_mut().rfind(|known| known.id == run.id) {
            Some(known) => *known = run,
            None => {
                if let Some(before) = self.known.back_mut().filter(|before| before.ended_at.is_none()) {
                    // Its end was not written down; it is over at the latest when the next one begins.
                    before.ended_at = run.started_at.or(before.started_at);
                    before.end_line = before.end_line.or(run.first_line);
                }
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

    fn note(runs: &mut Runs, dir: &Path, run: &Run) {
        runs.note(run).unwrap().write(dir).unwrap();
    }

    #[test]
    fn runs_are_found_again_as_they_were_left() {
        let dir = tempfile::tempdir().unwrap();
        let mut runs = Runs::load(dir.path());
        assert!(runs.newest().is_none());
        for known in [run(1), ended(1), run(2)] {
            note(&mut runs, dir.path(), &known);
        }
        let again = Runs::load(dir.path());
        assert_eq!(again.newest_first(), [run(2), ended(1)]);
        assert_eq!((again.get("1"), again.get("3")), (Some(&ended(1)), None));
    }

    #[test]
    fn a_run_whose_end_was_not_written_down_does_not_go_on_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let mut runs = Runs::load(dir.path());
        note(&mut runs, dir.path(), &run(1));
        note(&mut runs, dir.path(), &run(2));
        let over = Run { ended_at: Some(2), end_line: Some(20), ..run(1) };
        assert_eq!(Runs::load(dir.path()).newest_first(), [run(2), over]);
    }

    #[test]
    fn the_newest_are_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let mut runs = Runs::load(dir.path());
        let count = u64::try_from(DOCUMENTS_MAX).unwrap() + 10;
        for id in 0..count {
            note(&mut runs, dir.path(), &run(id));
        }
        let again = Runs::load(dir.path());
        assert_eq!(again.newest_first().len(), RUNS_MAX);
        assert_eq!(again.newest(), Some(&run(count - 1)));
    }
}
