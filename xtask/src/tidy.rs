//! `cargo xtask tidy`: the house rules that can be checked by machine. The rules are tables; here they are applied.

use std::fs;

use anyhow::{Context, Result};

use crate::workspace::{files, root};

mod direction;
mod rules;
mod source;

use source::Source;

/// One broken rule: where, which, and what to do.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    path: String,
    /// Counted from 1; 0 for the file as a whole.
    line: usize,
    text: String,
}

/// Bytes looked at to tell a text from something else.
const SNIFFED_BYTES: usize = 8192;

/// Applies every rule and prints what it finds; true if there is nothing.
pub(crate) fn run() -> Result<bool> {
    let mut findings = direction::check()?;
    let mut checked = 0;
    for path in files()? {
        let bytes = fs::read(root().join(&path)).with_context(|| format!("reading {}", path.display()))?;
        if bytes.iter().take(SNIFFED_BYTES).any(|byte| *byte == 0) {
            continue;
        }
        let Ok(text) = String::from_utf8(bytes) else { continue };
        checked += 1;
        findings.extend(rules::check(&Source::new(&path.to_string_lossy(), &text)));
    }
    for Finding { path, line, text } in &findings {
        println!("{path}:{line}: {text}");
    }
    println!("tidy: {checked} files, {} findings", findings.len());
    Ok(findings.is_empty())
}
