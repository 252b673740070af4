//! Figures, one row each: ours, the limit's, the ratio of both, and the goal.

use comfy_table::{CellAlignment, Table, presets};

/// One figure.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    what: String,
    ours: String,
    limit: String,
    goal: String,
    reached: Option<bool>,
    is_broken: bool,
    note: String,
}

impl Row {
    pub(crate) fn new(what: impl Into<String>, ours: impl Into<String>) -> Self {
        Self { what: what.into(), ours: ours.into(), ..Self::default() }
    }

    /// What the limit, or whatever stands beside us, has.
    pub(crate) fn beside(mut self, limit: impl Into<String>) -> Self {
        self.limit = limit.into();
        self
    }

    /// What was to be reached, and whether it was.
    pub(crate) fn goal(mut self, goal: impl Into<String>, reached: bool) -> Self {
        self.goal = goal.into();
        self.reached = Some(self.reached.unwrap_or(true) && reached);
        self
    }

    /// What has to be so on any machine and in any build, however slow: nothing lost, nothing many times as large.
    pub(crate) fn must(mut self, holds: bool) -> Self {
        self.is_broken |= !holds;
        self
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        if !self.note.is_empty() {
            self.note.push_str("; ");
        }
        self.note.push_str(&note.into());
        self
    }

    /// Whether something is wrong, and not only slow.
    pub(crate) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Whether a goal was missed.
    pub(crate) fn is_missed(&self) -> bool {
        self.reached == Some(false)
    }
}

/// All of them, as a table in Markdown.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["figure", "ours", "beside us", "goal", "", "note"]);
    for row in rows {
        let reached = match row.reached {
            _ if row.is_broken => "BROKEN",
            None => "",
            Some(true) => "reached",
            Some(false) => "missed",
        };
        table.add_row([&row.what, &row.ours, &row.limit, &row.goal, reached, &row.note]);
    }
    for index in 1..3 {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

/// The one in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
