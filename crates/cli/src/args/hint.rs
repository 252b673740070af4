//! Command lines that are almost right: what is meant is done where it is clear, and named where it is not.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{Parser, ValueEnum};

use crate::args::Cli;
use crate::args::client::PowerWord;

/// Reads the command line, or says what is wrong with it and ends the program.
pub(crate) fn parse() -> Cli {
    let typed: Vec<OsString> = std::env::args_os().collect();
    read(&typed).unwrap_or_else(|error| {
        let hint = hint(&typed, error.kind());
        // Printing fails only when nobody reads.
        let _ = error.print();
        if let Some(hint) = hint {
            crate::output::note(&format!("\n{hint}"));
        }
        std::process::exit(error.exit_code())
    })
}

/// As typed, or with `power ACTION SERVER` put in order: that cannot mean anything else.
fn read(typed: &[OsString]) -> Result<Cli, clap::Error> {
    let error = match Cli::try_parse_from(typed) {
        Ok(cli) => return Ok(cli),
        Err(error) => error,
    };
    let Some(at) = typed.iter().position(|word| word == "power") else { return Err(error) };
    let mut swapped = typed.to_vec();
    match (typed.get(at + 1), typed.get(at + 2)) {
        (Some(action), Some(server)) if is_power_word(action) && !is_power_word(server) => swapped.swap(at + 1, at + 2),
        _ => return Err(error),
    }
    Cli::try_parse_from(&swapped).map_err(|_| error)
}

fn is_power_word(word: &OsString) -> bool {
    word.to_str().is_some_and(|word| PowerWord::from_str(word, false).is_ok())
}

/// `quarterdeck start demo` is no command, and what is meant is plain.
fn hint(typed: &[OsString], kind: ErrorKind) -> Option<String> {
    if kind != ErrorKind::InvalidSubcommand {
        return None;
    }
    let at = typed.iter().position(is_power_word)?;
    let action = typed.get(at)?.to_str()?;
    let server = typed.get(at + 1).map_or("SERVER".into(), |server| server.to_string_lossy());
    Some(format!("You may mean: quarterdeck power {} {action}", shell_words::quote(&crate::output::plain(&server))))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::args::Command;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn server_and_action_may_be_in_either_order() {
        for line in ["q power demo restart --wait", "q power restart demo --wait", "q --json power restart demo --wait"]
        {
            let Command::Power(args) = read(&words(line)).unwrap().command else { unreachable!() };
            assert_eq!((args.server.as_str(), args.action, args.wait), ("demo", PowerWord::Restart, true), "{line}");
        }
        let Command::Power(args) = read(&words("q power stop start")).unwrap().command else { unreachable!() };
        assert_eq!((args.server.as_str(), args.action), ("stop", PowerWord::Start), "a server may have such a name");
        assert!(read(&words("q power restart demo --bogus")).is_err());
        assert!(read(&words("q power restart")).is_err());
    }

    #[test]
    fn an_action_alone_is_no_command_but_is_understood() {
        let said = |line: &str| hint(&words(line), read(&words(line)).unwrap_err().kind());
        assert_eq!(said("q start demo").as_deref(), Some("You may mean: quarterdeck power demo start"));
        assert_eq!(said("q kill").as_deref(), Some("You may mean: quarterdeck power SERVER kill"));
        assert_eq!(said("q bogus"), None);
        assert_eq!(said("q power demo bogus"), None);
    }
}
