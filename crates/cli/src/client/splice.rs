//! Joining the history that a node sends after a reconnect to the lines already shown.
//!
//! The public protocol numbers no lines, so the seam is found by comparing text. Where equal lines let more than one seam
//! fit, the one is taken that rather repeats lines than loses some, and it is told that it may not be the right one.

use std::collections::VecDeque;

/// Lines remembered to compare with. Nodes send 150 unless set up otherwise.
const TAIL_LINES_MAX: usize = 2_000;
/// A history shorter than this is all there is in the log: every node sends as many lines if it has them.
const WHOLE_LINES_MAX: usize = 100;
/// So many lines in a row that agree are no accident.
const SURE_LINES: usize = 5;
/// Games repeat so many lines in a row (ticks, answers to the same command). A seam that would need more of it is none.
const REPEATED_LINES_MAX: usize = 20;

/// The newest lines of a console that are known to somebody who watches it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tail {
    /// None while nothing is known; empty when it is known that there was no line.
    lines: Option<VecDeque<String>>,
}

/// Where in a history the lines begin that are new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seam {
    /// Behind so many of its lines.
    Sure(usize),
    /// As far as can be told behind so many of its lines; some may be missing or come twice.
    Unsure(usize),
    /// Nothing to compare with: any of it may be old.
    Unknown,
}

impl Tail {
    /// A line was shown, or passed by.
    pub(crate) fn push(&mut self, line: &str) {
        let lines = self.lines.get_or_insert_default();
        if lines.len() == TAIL_LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(line.to_owned());
    }

    /// A history was read to its end: if no line came, there was none.
    pub(crate) fn complete(&mut self) {
        self.lines.get_or_insert_default();
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.lines = None;
    }

    /// Whether anything is known.
    pub(crate) fn is_known(&self) -> bool {
        self.lines.is_some()
    }

    /// Where in `history` the lines begin that are not known yet.
    pub(crate) fn join(&self, history: &[String]) -> Seam {
        let Some(lines) = &self.lines else { return Seam::Unknown };
        if history.is_empty() {
            return Seam::Sure(0);
        }
        // In a whole log all that was shown is there, if it is not more than that.
        let is_whole = history.len() < WHOLE_LINES_MAX && lines.len() <= history.len();
        let first = if is_whole { lines.len().max(1) } else { 1 };
        let fits = |known: usize| {
            let overlap = history.iter().take(known).rev().zip(lines.iter().rev());
            !lines.is_empty() && overlap.into_iter().all(|(old, shown)| old == shown)
        };
        let seams: Vec<usize> = (first..=history.len()).filter(|known| fits(*known)).collect();
        let agreement = |known: usize| known.min(lines.len());
        let Some(most) = seams.iter().map(|known| agreement(*known)).max() else { return Seam::Unsure(0) };
        // Of those that most lines agree on the earliest, and of those the earliest that only repeats what games do repeat.
        let best = seams.iter().copied().find(|known| agreement(*known) == most).unwrap_or_default();
        let plausible: Vec<usize> = seams.into_iter().filter(|known| known + REPEATED_LINES_MAX >= best).collect();
        match plausible[..] {
            [only] if is_whole || most >= SURE_LINES => Seam::Sure(only),
            [earliest, ..] => Seam::Unsure(earliest),
            [] => Seam::Unsure(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Seam::{Sure, Unsure};
    use super::*;

    fn tail(lines: &[String]) -> Tail {
        let mut tail = Tail::default();
        tail.complete();
        for line in lines {
            tail.push(line);
        }
        tail
    }

    fn join(shown: &[&str], history: &[&str]) -> Seam {
        let owned = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        tail(&owned(shown)).join(&owned(history))
    }

    fn known(seam: Seam) -> usize {
        match seam {
            Sure(known) | Unsure(known) => known,
            Seam::Unknown => 0,
        }
    }

    #[test]
    fn the_seam_is_found_wherever_it_is() {
        assert_eq!(join(&["c"], &["a", "b", "c", "d"]), Sure(3), "history reaches further back than what was shown");
        assert_eq!(join(&["a", "b"], &["a", "b"]), Sure(2), "nothing new");
        assert_eq!(join(&["a"], &[]), Sure(0));
        assert_eq!(join(&["a", "b"], &["x", "y"]), Unsure(0), "a gap is named");
        assert_eq!(join(&[], &["x"]), Unsure(0), "there was no line, and now there are some");
        assert_eq!(Tail::default().join(&["x".to_owned()]), Seam::Unknown);
    }

    #[test]
    fn one_line_shown_and_printed_twice_since_loses_nothing_in_silence() {
        assert_eq!(join(&["> list"], &["> list", "3 online", "> list", "4 online"]), Unsure(1));
    }

    #[test]
    fn equal_lines_are_rather_repeated_than_lost_but_not_all_of_them() {
        assert_eq!(join(&["t", "t", "t"], &["t", "t", "t", "x"]), Sure(3), "a whole log has all three");
        assert_eq!(join(&["a", "t", "t"], &["t", "a", "t", "t", "t"]), Sure(4));
        let ticks = vec!["t"; 150];
        assert_eq!(join(&[&ticks[..], &ticks[..]].concat(), &ticks), Unsure(130));
    }

    #[test]
    fn a_line_that_agrees_by_accident_does_not_bring_back_the_whole_history() {
        let log: Vec<String> = (0..300).map(|n| if n % 100 == 99 { "again".into() } else { n.to_string() }).collect();
        assert_eq!(tail(&log[..200]).join(&log[99..]), Sure(101));
        assert_eq!(tail(&log[..200]).join(&log[199..]), Unsure(1), "one line alone may be an accident");
    }

    /// What is shown after a seam of this place, when `from..` of a log came as history and `..seen` was shown.
    fn check(log: &[String], shown_from: usize, seen: usize, from: usize) -> Result<(), TestCaseError> {
        let seam = tail(&log[shown_from..seen]).join(&log[from..]);
        let is_right = from + known(seam) == seen.max(from);
        prop_assert!(is_right || matches!(seam, Unsure(_)), "{:?} is not right and does not say so", seam);
        Ok(())
    }

    proptest! {
        /// Of a log with lines all different, a viewer who saw up to `seen` and asks for the last lines when the log has
        /// grown gets each line once, and a gap is told exactly when there is one.
        #[test]
        fn every_line_once_and_gaps_told(seen in 1_usize..300, grown in 0_usize..300, kept in 100_usize..200) {
            let log: Vec<String> = (0..seen + grown).map(|n| format!("line {n}")).collect();
            let from = log.len().saturating_sub(kept);
            let seam = tail(&log[..seen]).join(&log[from..]);
            prop_assert_eq!(from + known(seam), seen.max(from));
            prop_assert!(from < seen || matches!(seam, Unsure(0)));
            prop_assert!(from + SURE_LINES > seen || matches!(seam, Sure(_)));
        }

        /// With lines that repeat: either the seam is right, or it is said that it may not be.
        #[test]
        fn repeated_lines_are_not_lost_or_doubled_in_silence(
            log in prop::collection::vec("[abc]", 1..40),
            cuts in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        ) {
            // All that there is was kept; what was shown begins and ends anywhere.
            let (one, other) = (cuts.0.index(log.len()), cuts.1.index(log.len()));
            check(&log, one.min(other), one.max(other) + 1, 0)?;
        }

        /// The same where the node keeps fewer lines than were shown, and games repeat a few lines for ever.
        #[test]
        fn lines_that_repeat_in_a_row_are_not_lost_or_doubled_in_silence(
            period in prop::collection::vec("[ab]", 1..REPEATED_LINES_MAX),
            seen in 100_usize..200,
            grown in 0_usize..REPEATED_LINES_MAX,
            kept in 100_usize..150,
        ) {
            let log: Vec<String> = period.iter().cycle().take(seen + grown).cloned().collect();
            check(&log, 0, seen, log.len().saturating_sub(kept))?;
        }
    }
}
