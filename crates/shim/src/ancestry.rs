//! Whether somebody who connects belongs to a game. A shim is the subreaper of all that its game starts, so none of it can get away
//! from being below a shim.

use std::fs;

/// Most steps up. Who stands deeper hides something.
const STEPS_MAX: usize = 4096;
/// How the names of all unpacked shims begin.
const NAME_PREFIX: &str = "shim-";

/// Whether there is a shim above this process that is not above us too. Where a whole node runs below a shim, its own people are not
/// that shim's business. Who cannot be looked at counts as held.
pub(crate) fn is_held_by_a_shim(pid: i32) -> bool {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let Some(ours) = above(own) else { return true };
    let Some(theirs) = above(pid) else { return true };
    theirs
        .iter()
        .skip(1)
        .any(|(pid, name)| *pid == own || (is_shim(name) && !ours.iter().any(|(above, _)| above == pid)))
}

/// A shim of this build or of another one. Names are cut to 15 bytes; a game that gives itself such a name harms nobody else.
fn is_shim(name: &str) -> bool {
    name.starts_with(NAME_PREFIX)
}

/// A process and all above it, with their names, up to the first of all.
fn above(pid: i32) -> Option<Vec<(i32, String)>> {
    let mut found = Vec::new();
    let mut pid = pid;
    while pid > 0 && found.len() < STEPS_MAX {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (before, fields) = stat.rsplit_once(')')?;
        let (_, name) = before.split_once('(')?;
        found.push((pid, name.to_owned()));
        // After the name: its state, and who is above it; 0 for the first of all.
        pid = fields.split_ascii_whitespace().nth(1)?.parse().ok()?;
    }
    (pid == 0).then_some(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_us_is_held_and_what_is_above_is_not() {
        let own = i32::try_from(std::process::id()).unwrap();
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let held = is_held_by_a_shim(i32::try_from(child.id()).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(held);
        let parent = above(own).unwrap().get(1).unwrap().0;
        assert!(!is_held_by_a_shim(parent));
        assert!(is_held_by_a_shim(i32::MAX), "nobody to look at");
    }
}
