//! Which typed lines are for the console itself. Games use `/`, `!`, `.` and more, so ours begin with `~`, as in ssh.

use wire::server::PowerAction;

/// What the person typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// For the game.
    Command(String),
    /// `~start` and the like.
    Power(PowerAction),
    /// `~stats`.
    Stats,
    /// `~.`
    Leave,
    /// `~?`
    Help,
    /// Begins with `~` and means nothing.
    Unknown(String),
    /// An empty line. Games do not need to be asked nothing.
    Nothing,
}

/// What `~?` prints.
pub(crate) const HELP: &str = "\
~.        leave (also Ctrl-D and Ctrl-C); the game goes on
~start    ~stop    ~restart    ~kill
~stats    what the server uses
~~text    send a line that begins with ~
Everything else goes to the game.";

/// Reads one line, without its line break.
pub(crate) fn read(line: &str) -> Typed {
    let line = line.trim_end_matches(['\r', '\n']);
    if line.trim().is_empty() {
        return Typed::Nothing;
    }
    let Some(local) = line.strip_prefix('~') else { return Typed::Command(line.to_owned()) };
    if local.starts_with('~') {
        return Typed::Command(local.to_owned());
    }
    match local.trim_end() {
        "." => Typed::Leave,
        "?" | "help" => Typed::Help,
        "stats" => Typed::Stats,
        word => PowerAction::from_word(word).map_or_else(|| Typed::Unknown(line.to_owned()), Typed::Power),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_apart() {
        let rows = [
            ("list\n", Typed::Command("list".into())),
            ("  say hi", Typed::Command("  say hi".into())),
            ("/help", Typed::Command("/help".into())),
            ("~.", Typed::Leave),
            ("~?", Typed::Help),
            ("~stats ", Typed::Stats),
            ("~restart", Typed::Power(PowerAction::Restart)),
            ("~~/home", Typed::Command("~/home".into())),
            ("~stopp", Typed::Unknown("~stopp".into())),
            (" ~. ", Typed::Command(" ~. ".into())),
            ("\r\n", Typed::Nothing),
            ("   ", Typed::Nothing),
        ];
        for (line, expected) in rows {
            assert_eq!(read(line), expected, "{line:?}");
        }
    }
}
