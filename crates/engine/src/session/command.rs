//! Which text may go to a game's stdin.

/// A command that is not given to the game. The text says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCommand {
    /// Above the limit.
    #[error("this command is {bytes} bytes long, {bytes_max} are allowed")]
    TooLong {
        /// Its length without the line end.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// More than one line: whoever may type one command could hide a second one behind it.
    #[error("a command is one line; send one message for each")]
    ManyLines,
    /// Something a keyboard does to a terminal, such as ^C.
    #[error(
        "a command cannot contain control characters, this one has U+{code:04X}; only text and tabs reach the game"
    )]
    ControlCharacter {
        /// Which.
        code: u32,
    },
}

/// A typed command as the game gets it: one line, without its end. An empty one is fine, games take a bare newline as an
/// answer. Used for commands of the socket and of HTTP alike.
pub fn command_text(typed: &str, bytes_max: usize) -> Result<&str, BadCommand> {
    let text = typed.trim_end_matches(['\r', '\n']);
    if text.len() > bytes_max {
        return Err(BadCommand::TooLong { bytes: text.len(), bytes_max });
    }
    match text.chars().find(|&c| c.is_control() && c != '\t') {
        None => Ok(text),
        Some('\r' | '\n') => Err(BadCommand::ManyLines),
        Some(c) => Err(BadCommand::ControlCharacter { code: c.into() }),
    }
}
