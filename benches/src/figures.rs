//! The figures there are, by name.

use std::pin::Pin;

use crate::plan::Plan;
use crate::table::Row;

mod credentials;
mod fanout;
mod history;
mod node;

/// Measures one figure, or some that belong together.
type Measure = fn(Plan) -> Pin<Box<dyn Future<Output = Vec<Row>>>>;

/// What can be measured.
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) measure: Measure,
}

/// All of them, in the order of docs/performance.md.
pub(crate) const ALL: &[Figure] = &[
    Figure {
        name: "paced",
        what: "processor time of a delivered line, at a steady pace",
        measure: |plan| Box::pin(fanout::paced(plan)),
    },
    Figure { name: "flood", what: "the same in a flood", measure: |plan| Box::pin(fanout::flood(plan)) },
    Figure {
        name: "pressure",
        what: "the same when more is to be sent than a core can, line by line",
        measure: |plan| Box::pin(fanout::pressure(plan)),
    },
    Figure { name: "latency", what: "from the game to a viewer", measure: |plan| Box::pin(fanout::latency(plan)) },
    Figure { name: "memory", what: "an idle viewer", measure: |plan| Box::pin(fanout::memory(plan)) },
    Figure { name: "idle", what: "servers and games with nothing to do", measure: |plan| Box::pin(node::idle(plan)) },
    Figure { name: "startup", what: "a start beside games that run", measure: |plan| Box::pin(node::startup(plan)) },
    Figure { name: "ingest", what: "what a game prints, to the log", measure: |plan| Box::pin(node::ingest(plan)) },
    Figure {
        name: "history",
        what: "what was printed: `send logs`, over REST, a search",
        measure: |plan| Box::pin(history::history(plan)),
    },
    Figure {
        name: "credentials",
        what: "tokens of consoles, beside a route that looks at nothing",
        measure: |plan| Box::pin(credentials::credentials(plan)),
    },
    Figure { name: "stuck", what: "viewers who take nothing", measure: |plan| Box::pin(fanout::stuck(plan)) },
];
