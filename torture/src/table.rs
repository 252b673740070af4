//! What came of a fault, one row each, and the table of all.

use std::fmt;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    fault: String,
    times: u64,
    stake: u64,
    of: &'static str,
    lost: u64,
    repeated: u64,
    worst: Option<(&'static str, Duration, Option<Duration>)>,
    note: String,
    broken: Vec<String>,
}

impl Row {
    /// A fault that was injected so many times.
    pub(crate) fn new(fault: impl Into<String>, times: u64) -> Self {
        Self { fault: fault.into(), times, ..Self::default() }
    }

    /// One that could not be carried through.
    pub(crate) fn failed(fault: &str, why: &str) -> Self {
        Self::new(fault, 0).breaks(why)
    }

    /// How much was at stake, and what: `lines`, `commands`.
    pub(crate) fn stake(mut self, count: u64, of: &'static str) -> Self {
        (self.stake, self.of) = (count, of);
        self
    }

    /// What of it was lost, and what came more than once or out of order. Any of it breaks the promise.
    pub(crate) fn lost(mut self, lost: u64, repeated: u64) -> Self {
        (self.lost, self.repeated) = (lost, repeated);
        self
    }

    /// The longest that something took; longer than a limit breaks the promise.
    pub(crate) fn worst(mut self, what: &'static str, time: Duration, limit: Option<Duration>) -> Self {
        self.worst = Some((what, time, limit));
        self
    }

    /// A figure that belongs to it.
    pub(crate) fn note(mut self, text: impl fmt::Display) -> Self {
        if !self.note.is_empty() {
            self.note.push_str("; ");
        }
        self.note.push_str(&text.to_string());
        self
    }

    /// A promise that did not hold.
    pub(crate) fn breaks(mut self, what: impl Into<String>) -> Self {
        self.broken.push(what.into());
        self
    }

    /// [`Row::breaks`], unless it held.
    pub(crate) fn holds(self, held: bool, else_broken: impl FnOnce() -> String) -> Self {
        if held { self } else { self.breaks(else_broken()) }
    }

    /// What of the promise did not hold.
    pub(crate) fn broken(&self) -> Option<String> {
        let mut broken = self.broken.clone();
        if self.lost > 0 || self.repeated > 0 {
            broken.push(format!("{} lost, {} repeated", self.lost, self.repeated));
        }
        if let Some((what, time, Some(limit))) = self.worst
            && time > limit
        {
            broken.push(format!("{what}: {time:.1?}, promised {limit:.1?}"));
        }
        (!broken.is_empty()).then(|| broken.join("; "))
    }

    fn worst_text(&self) -> String {
        match self.worst {
            None => String::new(),
            Some((what, time, None)) => format!("{time:.1?} {what}"),
            Some((what, time, Some(limit))) => format!("{time:.1?} {what} (≤ {limit:.1?})"),
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}×, {} {}", self.fault, self.times, self.stake, self.of)?;
        write!(f, ", {} lost, {} repeated, {}", self.lost, self.repeated, self.worst_text())?;
        if !self.note.is_empty() {
            write!(f, " [{}]", self.note)?;
        }
        match self.broken() {
            Some(what) => write!(f, " BROKEN: {what}"),
            None => Ok(()),
        }
    }
}

/// The table of all.
pub(crate) fn render(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["fault", "times", "at stake", "lost", "repeated", "worst", "figures", "kept"]);
    for row in rows {
        let kept = row.broken().map_or_else(|| "yes".to_owned(), |what| format!("BROKEN: {what}"));
        table.add_row([
            row.fault.clone(),
            row.times.to_string(),
            format!("{} {}", row.stake, row.of),
            row.lost.to_string(),
            row.repeated.to_string(),
            row.worst_text(),
            row.note.clone(),
            kept,
        ]);
    }
    for column in [1, 3, 4] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}
