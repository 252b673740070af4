//! What a person sees of each event: the game's lines as they are, ours set apart from them.

use wire::server::State;

use crate::client::talk::{Seen, without_event_id};
use crate::commands::stats::stats_line;
use crate::escape::{Keep, clean};
use crate::output::{Output, Paint, plain};

/// Turns events into lines; remembers what was said last, to not say it again.
#[derive(Clone, Debug)]
pub(crate) struct Renderer {
    output: Output,
    name: String,
    memory_mib: u64,
    state: Option<State>,
    history_lines: usize,
    /// `~stats` asked for samples that were not shown yet; others pass by unseen.
    stats_wanted: usize,
}

impl Renderer {
    /// For the server of this name and this memory limit.
    pub(crate) fn new(output: Output, name: &str, memory_mib: u64) -> Self {
        Self { output, name: plain(name), memory_mib, state: None, history_lines: 0, stats_wanted: 0 }
    }

    /// The newest state, when one was told.
    pub(crate) fn state(&self) -> Option<State> {
        self.state
    }

    /// The next sample is to be shown.
    pub(crate) fn want_stats(&mut self) {
        self.stats_wanted += 1;
    }

    /// The line to show, if there is anything to show.
    pub(crate) fn render(&mut self, seen: &Seen) -> Option<String> {
        match seen {
            Seen::Line { text, history } => {
                self.history_lines += usize::from(*history);
                Some(clean(text, if self.output.color { Keep::Colors } else { Keep::Text }))
            }
            Seen::State(state) => self.state_changed(*state),
            Seen::Stats(document) => {
                self.stats_wanted = self.stats_wanted.checked_sub(1)?;
                let line = stats_line(Output { color: false, ..self.output }, self.memory_mib, document);
                Some(self.ours(Paint::Dim, &line))
            }
            Seen::HistoryEnd => {
                let lines = std::mem::take(&mut self.history_lines);
                (lines > 0).then(|| self.ours(Paint::Dim, &format!("the last {lines} lines are above; live from here")))
            }
            Seen::Attached { again: false } => None,
            Seen::Attached { again: true } => Some(self.ours(Paint::Green, "connected again")),
            Seen::Gap => Some(self.ours(Paint::Yellow, "reconnected; some lines may be missing or repeated here")),
            Seen::Error(text) => Some(self.ours(Paint::Red, &plain(without_event_id(text)))),
            Seen::Notice(text) => Some(self.ours(Paint::Yellow, &plain(text))),
            Seen::NotSent { what, why } => Some(self.ours(Paint::Red, &format!("not sent: {} ({why})", plain(what)))),
            Seen::Lost { why, retry_ms } => {
                let text = format!("connection lost ({}); trying again in {} s", plain(why), retry_ms.div_ceil(1000));
                Some(self.ours(Paint::Yellow, &text))
            }
        }
    }

    fn state_changed(&mut self, state: State) -> Option<String> {
        if self.state.replace(state) == Some(state) {
            return None;
        }
        let paint = match state {
            State::Running => Paint::Green,
            State::Offline => Paint::Red,
            State::Starting | State::Stopping => Paint::Yellow,
        };
        let hint = if state == State::Offline { " (~start starts it)" } else { "" };
        Some(self.ours(paint, &format!("{} is {state}{hint}", self.name)))
    }

    /// A line of ours.
    pub(crate) fn ours(&self, paint: Paint, text: &str) -> String {
        self.output.paint(paint, &format!("── {text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renderer() -> Renderer {
        Renderer::new(Output { json: false, color: false, terminal: true }, "de\x1bmo", 0)
    }

    #[test]
    fn each_event_has_its_line() {
        let mut renderer = renderer();
        let mut shown = |seen: Seen| renderer.render(&seen);
        assert_eq!(shown(Seen::Attached { again: false }), None);
        assert_eq!(shown(Seen::Line { text: "\x1b[31mold\x1b]0;x\x07".into(), history: true }).as_deref(), Some("old"));
        assert_eq!(shown(Seen::HistoryEnd).as_deref(), Some("── the last 1 lines are above; live from here"));
        assert_eq!(shown(Seen::HistoryEnd), None, "with nothing above, nothing is said");
        assert_eq!(shown(Seen::State(State::Running)).as_deref(), Some("── de\u{fffd}mo is running"));
        assert_eq!(shown(Seen::State(State::Running)), None, "a state is told when it changes");
        assert_eq!(shown(Seen::Error("no\x07".into())).as_deref(), Some("── no\u{fffd}"));
        assert_eq!(
            shown(Seen::NotSent { what: "list".into(), why: "not connected".into() }).as_deref(),
            Some("── not sent: list (not connected)")
        );
        assert_eq!(
            shown(Seen::Lost { why: "gone".into(), retry_ms: 1_001 }).as_deref(),
            Some("── connection lost (gone); trying again in 2 s")
        );
    }

    #[test]
    fn samples_are_shown_only_when_asked_for() {
        let mut renderer = renderer();
        let sample = Seen::Stats("{\"state\":\"running\"}".into());
        assert_eq!(renderer.render(&sample), None);
        renderer.want_stats();
        assert!(renderer.render(&sample).is_some_and(|line| line.contains("running")));
        assert_eq!(renderer.render(&sample), None);
    }
}
