//! What the value of a variable has to be: the rules that eggs have in the words of Laravel's validation.
//!
//! Rules that are not known refuse nothing: an egg that runs elsewhere runs here. What they are is noted when an egg is read.

mod check;

use regex::{Regex, RegexBuilder};

use crate::read::split_rules;

/// Bytes that a compiled expression may have: it comes from a stranger.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// The rules of one variable.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    list: Vec<Rule>,
    /// Sizes are those of numbers, not of texts.
    is_number: bool,
    is_required: bool,
}

/// A size that a rule names.
type Size = f64;

#[derive(Clone, Debug)]
enum Rule {
    /// One of those below, by its name: they differ only in what they look for.
    Is(Kind),
    Boolean,
    Number,
    Integer,
    Min(Size),
    Max(Size),
    Between(Size, Size),
    Size(Size),
    Above(Size),
    Below(Size),
    In(Vec<String>),
    NotIn(Vec<String>),
    Matches(Regex),
    MatchesNot(Regex),
    Digits(usize, usize),
    StartsWith(Vec<String>),
    EndsWith(Vec<String>),
}

/// Rules without values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Letters,
    LettersAndDigits,
    Words,
    Url,
    Ip,
    Ipv4,
    Ipv6,
    Email,
    Uuid,
    Json,
    Upper,
    Lower,
    Colour,
}

impl Rules {
    /// Reads rules; each text may hold several with `|` between them. Notes say what of them is not held to.
    pub fn parse(rules: &[String]) -> (Self, Vec<String>) {
        let mut parsed = Self::default();
        let mut notes = Vec::new();
        for text in rules.iter().flat_map(|rules| split_rules(rules)) {
            match parsed.add(&text) {
                Ok(()) => {}
                Err(why) => notes.push(format!("the rule `{text}` is not held to: {why}")),
            }
        }
        (parsed, notes)
    }

    fn add(&mut self, text: &str) -> Result<(), String> {
        let (name, value) = text.split_once(':').unwrap_or((text, ""));
        let list = || value.split(',').map(|item| item.trim().trim_matches('"').to_owned()).collect::<Vec<_>>();
        let number = |text: &str| text.trim().parse::<Size>().map_err(|_| "it names no number".to_owned());
        let count = |text: &str| text.trim().parse::<usize>().map_err(|_| "it names no number".to_owned());
        let two = || value.split_once(',').ok_or("it names no two numbers".to_owned());
        let rule = match name.trim().to_ascii_lowercase().as_str() {
            "required" | "filled" => {
                self.is_required = true;
                return Ok(());
            }
            // All values are texts, all variables are there, and all rules are looked at.
            "nullable" | "string" | "sometimes" | "present" | "bail" | "timezone" | "ascii" => return Ok(()),
            "boolean" | "bool" => Rule::Boolean,
            "numeric" | "decimal" => {
                self.is_number = true;
                Rule::Number
            }
            "integer" | "int" => {
                self.is_number = true;
                Rule::Integer
            }
            "min" | "gte" => Rule::Min(number(value)?),
            "max" | "lte" => Rule::Max(number(value)?),
            "gt" => Rule::Above(number(value)?),
            "lt" => Rule::Below(number(value)?),
            "size" => Rule::Size(number(value)?),
            "between" => {
                let (least, most) = two()?;
                Rule::Between(number(least)?, number(most)?)
            }
            "in" => Rule::In(list()),
            "not_in" => Rule::NotIn(list()),
            "regex" => Rule::Matches(expression(value)?),
            "not_regex" => Rule::MatchesNot(expression(value)?),
            "digits" => Rule::Digits(count(value)?, count(value)?),
            "digits_between" => {
                let (least, most) = two()?;
                Rule::Digits(count(least)?, count(most)?)
            }
            "min_digits" => Rule::Digits(count(value)?, usize::MAX),
            "max_digits" => Rule::Digits(0, count(value)?),
            "starts_with" => Rule::StartsWith(list()),
            "ends_with" => Rule::EndsWith(list()),
            "alpha" => Rule::Is(Kind::Letters),
            "alpha_num" => Rule::Is(Kind::LettersAndDigits),
            "alpha_dash" => Rule::Is(Kind::Words),
            "url" | "active_url" => Rule::Is(Kind::Url),
            "ip" => Rule::Is(Kind::Ip),
            "ipv4" => Rule::Is(Kind::Ipv4),
            "ipv6" => Rule::Is(Kind::Ipv6),
            "email" => Rule::Is(Kind::Email),
            "uuid" => Rule::Is(Kind::Uuid),
            "json" => Rule::Is(Kind::Json),
            "uppercase" => Rule::Is(Kind::Upper),
            "lowercase" => Rule::Is(Kind::Lower),
            "hex_color" => Rule::Is(Kind::Colour),
            _ => return Err("it is not known here".to_owned()),
        };
        self.list.push(rule);
        Ok(())
    }

    /// Whether a value may be empty.
    pub fn may_be_empty(&self) -> bool {
        !self.is_required
    }
}

/// An expression in delimiters, with letters behind the last one, as PHP has it; or without any.
fn expression(text: &str) -> Result<Regex, String> {
    let first = text.chars().next().ok_or("it has no expression")?;
    let close = match first {
        '(' => ')',
        '{' => '}',
        '[' => ']',
        '<' => '>',
        same => same,
    };
    let is_delimited = !first.is_alphanumeric() && first != '\\' && first != '^';
    let (pattern, flags) = match text.get(first.len_utf8()..).and_then(|rest| rest.rsplit_once(close)) {
        Some((pattern, flags)) if is_delimited && flags.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
            (pattern, flags)
        }
        _ => (text, ""),
    };
    let has = |flag: char| flags.contains(flag);
    // What delimits is written with a backslash inside, which means nothing to this library.
    let pattern = if is_delimited && first == '/' { pattern.replace("\\/", "/") } else { pattern.to_owned() };
    RegexBuilder::new(&pattern)
        .case_insensitive(has('i'))
        .multi_line(has('m'))
        .dot_matches_new_line(has('s'))
        .ignore_whitespace(has('x'))
        .size_limit(REGEX_BYTES_MAX)
        .build()
        .map_err(|error| {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default().trim().trim_start_matches("error: ");
            format!("its expression cannot be used here ({last})")
        })
}
