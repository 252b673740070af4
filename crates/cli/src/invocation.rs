//! How to type the next command: hints that work when pasted, whatever this one was started as.

use std::env;
use std::fmt;

use shell_words::quote;

use crate::folder::Folder;

/// This program as it was typed, with what it needs to find the same data folder.
#[derive(Clone, Debug)]
pub(crate) struct Invocation {
    program: String,
    data: Option<String>,
}

impl Invocation {
    /// For this data folder. `QUARTERDECK_DATA` may not be set where the hint is pasted, so the folder is named.
    pub(crate) fn new(folder: Option<&Folder>) -> Self {
        // As typed: it works again in the same folder, wherever the program lies.
        let program = env::args().next().unwrap_or_else(|| "quarterdeck".to_owned());
        let data =
            folder.filter(|folder| !folder.is_default).map(|folder| folder.path().to_string_lossy().into_owned());
        Self { program, data }
    }
}

impl fmt::Display for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&quote(&self.program))?;
        match &self.data {
            Some(data) => write!(f, " --data {}", quote(data)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_quotes_gets_them() {
        let plain = Invocation { program: "./quarterdeck".into(), data: None };
        assert_eq!(plain.to_string(), "./quarterdeck");
        let spaced = Invocation { program: "/my games/quarterdeck".into(), data: Some("/the data".into()) };
        assert_eq!(spaced.to_string(), "'/my games/quarterdeck' --data '/the data'");
    }
}
