//! Joining the history that a node sends after a reconnect to the lines already shown, without a line twice.
//!
//! The public protocol numbers no lines, so the seam is found by comparing text. With many equal lines more than one seam
//! fits; the one that most lines agree on is taken.

use std::collections::VecDeque;

/// Lines remembered to compare with. Nodes send 150 unless set up otherwise.
const TAIL_LINES_MAX: usize = 2_000;

/// The newest lines that were shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tail {
    lines: VecDeque<String>,
}

/// What to show of a history.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Joined {
    /// How many lines at its beginning were shown before.
    pub(crate) known: usize,
    /// Lines may be missing between what was shown and this history: nothing in it was shown before.
    pub(crate) gap: bool,
}

impl Tail {
    /// A line was shown.
    pub(crate) fn push(&mut self, line: &str) {
        if self.lines.len() == TAIL_LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line.to_owned());
    }

    /// Where in `history` the lines begin that were not shown yet.
    pub(crate) fn join(&self, history: &[String]) -> Joined {
        for known in (1..=history.len()).rev() {
            let overlap = history.iter().take(known).rev().zip(self.lines.iter().rev());
            if !self.lines.is_empty() && overlap.into_iter().all(|(old, shown)| old == shown) {
                return Joined { known, gap: false };
            }
        }
        Joined { known: 0, gap: !self.lines.is_empty() && !history.is_empty() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tail(lines: &[&str]) -> Tail {
        let mut tail = Tail::default();
        for line in lines {
            tail.push(line);
        }
        tail
    }

    fn join(shown: &[&str], history: &[&str]) -> (usize, bool) {
        let history: Vec<String> = history.iter().map(|line| (*line).to_owned()).collect();
        let joined = tail(shown).join(&history);
        (joined.known, joined.gap)
    }

    #[test]
    fn the_seam_is_found_wherever_it_is() {
        assert_eq!(join(&["a", "b", "c"], &["b", "c", "d"]), (2, false), "history begins inside");
        assert_eq!(join(&["c"], &["a", "b", "c", "d"]), (3, false), "history reaches further back than what was shown");
        assert_eq!(join(&["a", "b"], &["a", "b"]), (2, false), "nothing new");
        assert_eq!(join(&[], &["a"]), (0, false), "nothing was shown, so nothing can be missing");
        assert_eq!(join(&["a"], &[]), (0, false));
        assert_eq!(join(&["a", "b"], &["x", "y"]), (0, true), "a gap is named");
    }

    #[test]
    fn equal_lines_are_joined_where_most_agree() {
        assert_eq!(join(&["t", "t", "t"], &["t", "t", "t", "x"]), (3, false));
        assert_eq!(join(&["a", "t", "t"], &["t", "a", "t", "t", "t"]), (4, false));
    }

    proptest! {
        /// Of a log with lines all different, a viewer who saw up to `seen` and asks for the last `kept` lines when the log has
        /// grown gets each line once, and a gap is told exactly when there is one.
        #[test]
        fn every_line_once_and_gaps_told(seen in 1_usize..300, grown in 0_usize..300, kept in 1_usize..200) {
            let log: Vec<String> = (0..seen + grown).map(|n| format!("line {n}")).collect();
            let mut tail = Tail::default();
            log.iter().take(seen).for_each(|line| tail.push(line));
            let from = log.len().saturating_sub(kept);
            let joined = tail.join(log.get(from..).unwrap_or_default());
            prop_assert_eq!(from + joined.known, seen.max(from));
            prop_assert_eq!(joined.gap, from >= seen);
        }

        /// With lines out of a small set, never a line is shown twice that the longest agreement says was shown.
        #[test]
        fn what_is_said_to_be_known_was_shown(
            shown in prop::collection::vec("[ab]", 0..12),
            history in prop::collection::vec("[ab]", 0..12),
        ) {
            let mut tail = Tail::default();
            for line in &shown {
                tail.push(line);
            }
            let joined = tail.join(&history);
            prop_assert!(joined.known <= history.len());
            for back in 0..joined.known.min(shown.len()) {
                prop_assert_eq!(&history[joined.known - 1 - back], &shown[shown.len() - 1 - back]);
            }
        }
    }
}
