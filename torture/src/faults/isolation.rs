//! A hostile game tries to get at everything that is not its own: with all rungs of isolation together, and with each alone against what
//! that one has to stop by itself. What gets through is lost.

use e2e::Deck;
use e2e::hostile::{STOPPED_BY_LANDLOCK, STOPPED_BY_SECCOMP, STOPPED_BY_SHIM, STOPPED_BY_USER, Scene};

use crate::plan::Plan;
use crate::table::Row;

/// One form of the ladder: its name, the settings, whether others can pass through the data folder, and what must be stopped if these
/// rungs hold.
type Form = (&'static str, &'static str, bool, &'static [(&'static [&'static str], &'static [&'static str])]);

const LANDLOCK: &[&str] = &["files", "tcp", "scopes"];
const FORMS: [Form; 4] = [
    (
        "a hostile game against the whole ladder",
        "",
        true,
        &[
            (&["uid"], &STOPPED_BY_USER),
            (LANDLOCK, &STOPPED_BY_LANDLOCK),
            (&["seccomp"], &STOPPED_BY_SECCOMP),
            (&[], &STOPPED_BY_SHIM),
        ],
    ),
    (
        "the same against a user of its own alone",
        "[isolation]\noff = [\"files\", \"tcp\", \"scopes\", \"seccomp\"]\n",
        true,
        &[(&["uid"], &STOPPED_BY_USER), (&[], &STOPPED_BY_SHIM)],
    ),
    (
        "the same against Landlock alone",
        "[isolation]\noff = [\"uid\", \"seccomp\"]\n",
        false,
        &[(LANDLOCK, &STOPPED_BY_LANDLOCK), (&[], &STOPPED_BY_SHIM)],
    ),
    (
        "the same against the filter of system calls alone",
        "[isolation]\noff = [\"uid\", \"files\", \"tcp\", \"scopes\"]\n",
        false,
        &[(&["seccomp"], &STOPPED_BY_SECCOMP), (&[], &STOPPED_BY_SHIM)],
    ),
];

pub(super) async fn run(plan: Plan) -> Vec<Row> {
    let times = plan.size(1, 5);
    let mut rows = Vec::new();
    for form in FORMS {
        rows.push(Box::pin(against(form, times)).await);
    }
    rows
}

async fn against((name, settings, passable, stops): Form, times: u64) -> Row {
    let (mut stake, mut through, mut hindered, mut without) = (0, Vec::new(), Vec::new(), Vec::new());
    for _ in 0..times {
        let scene = Scene::play(Deck::isolated(settings, passable).await).await;
        let mut stopped: Vec<&str> = Vec::new();
        for (rungs, attempts) in stops {
            if let Some(rung) = rungs.iter().find(|rung| !scene.has(rung)) {
                without.push(scene.why_not(rung).to_owned());
            } else {
                stopped.extend(*attempts);
            }
        }
        stopped.sort_unstable();
        stopped.dedup();
        stake += stopped.len();
        through.extend(scene.let_through(&stopped));
        hindered.extend(scene.hindered());
    }
    without.dedup();
    let row = Row::new(name, times).stake(u64::try_from(stake).unwrap_or(0), "attempts");
    let row = row.lost(u64::try_from(through.len()).unwrap_or(0), 0);
    let row = if through.is_empty() { row } else { row.note(through.join(", ")) };
    // A machine without a rung shows nothing about it: in CI that is a mistake of CI's.
    let row = if without.is_empty() { row } else { row.note(format!("not here: {}", without.join("; "))) };
    let row = row.holds(without.is_empty() || std::env::var_os("CI").is_none(), || without.join("; "));
    row.holds(hindered.is_empty(), || format!("an honest game could not: {}", hindered.join(", ")))
}
