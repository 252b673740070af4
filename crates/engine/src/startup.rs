//! When a game is ready: patterns over its console lines.

use regex::{Regex, RegexBuilder};

use crate::line;

/// Characters in front of a pattern that is a regular expression.
const REGEX_PREFIX: &str = "regex:";
/// Patterns of one server; more are refused.
const PATTERNS_MAX: usize = 100;
/// Bytes of one pattern; longer ones are refused.
const PATTERN_BYTES_MAX: usize = 4096;
/// Bytes a compiled expression may take; larger ones are refused.
const REGEX_BYTES_MAX: usize = 1024 * 1024;

/// A start-up pattern that cannot be used. The text names it and says why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("start-up pattern {pattern:?} cannot be used: {reason}")]
pub struct BadPattern {
    /// The pattern, cut to a readable length.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: String,
}

/// The start-up patterns of one server.
///
/// A plain pattern is part of a line; `regex:` begins a regular expression. Both are tried on the line as a person sees it,
/// and, for patterns written with colours in them, on the line as it is. An empty pattern fits the first line.
#[derive(Clone, Debug, Default)]
pub struct Matcher {
    patterns: Vec<Pattern>,
}

#[derive(Clone, Debug)]
enum Pattern {
    Part(String),
    Expression(Regex),
}

impl Pattern {
    fn fits(&self, line: &str) -> bool {
        match self {
            Self::Part(part) => line.contains(part.as_str()),
            Self::Expression(regex) => regex.is_match(line),
        }
    }
}

impl Matcher {
    /// All patterns, or the first that cannot be used.
    pub fn new(done: &[String]) -> Result<Self, BadPattern> {
        let (matcher, bad) = Self::usable(done);
        bad.into_iter().next().map_or(Ok(matcher), Err)
    }

    /// The patterns that can be used, and those that cannot: one bad pattern should not keep a server from starting.
    pub fn usable(done: &[String]) -> (Self, Vec<BadPattern>) {
        let mut matcher = Self::default();
        let mut bad = Vec::new();
        for (index, pattern) in done.iter().enumerate() {
            match compile(index, pattern) {
                Ok(pattern) => matcher.patterns.push(pattern),
                Err(reason) => bad.push(BadPattern { pattern: pattern.chars().take(80).collect(), reason }),
            }
        }
        (matcher, bad)
    }

    /// Whether there is no pattern at all, so that only time can tell.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether this line says that the game is ready.
    pub fn matches(&self, line: &str) -> bool {
        if self.is_empty() {
            return false;
        }
        let seen = line::strip_ansi(line);
        self.patterns.iter().any(|pattern| pattern.fits(&seen) || (seen.len() != line.len() && pattern.fits(line)))
    }
}

fn compile(index: usize, pattern: &str) -> Result<Pattern, String> {
    if index >= PATTERNS_MAX {
        return Err(format!("a server may have {PATTERNS_MAX} patterns"));
    }
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(format!("it is {} bytes long, {PATTERN_BYTES_MAX} are allowed", pattern.len()));
    }
    let Some(expression) = pattern.strip_prefix(REGEX_PREFIX) else {
        return Ok(Pattern::Part(pattern.to_owned()));
    };
    RegexBuilder::new(expression)
        .size_limit(REGEX_BYTES_MAX)
        .dfa_size_limit(REGEX_BYTES_MAX)
        .build()
        .map(Pattern::Expression)
        .map_err(|error| error.to_string())
}
