//! What the value of a variable has to be: the rules that eggs have in the words of Laravel's validation.
//!
//! Rules that are not known refuse nothing: an egg that runs elsewhere runs here. What they are is noted when an egg is read.

mod check;
mod split;

use regex::Regex;

pub use split::split;
use split::{expression, list};

/// The rules of one variable.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    list: Vec<Rule>,
    /// Sizes are those of numbers, not of texts.
    is_number: bool,
    is_required: bool,
    /// The first rule that is broken is enough.
    is_first_only: bool,
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
    Ascii,
    Timezone,
}

impl Rules {
    /// Reads rules; each text may hold several with `|` between them. Notes say, in sentences for people, what of them is not held to: rules
    /// that are not known, and regular expressions with what this library leaves out (looking around, references back) or that take more
    /// than a megabyte. Those refuse nothing.
    pub fn parse(rules: &[String]) -> (Self, Vec<String>) {
        let mut parsed = Self::default();
        let mut notes = Vec::new();
        for text in rules.iter().flat_map(|rules| split(rules)) {
            match parsed.add(&text) {
                Ok(()) => {}
                Err(why) => notes.push(format!("the rule `{text}` is not held to: {why}")),
            }
        }
        (parsed, notes)
    }

    fn add(&mut self, text: &str) -> Result<(), String> {
        let (name, value) = text.split_once(':').unwrap_or((text, ""));
        // `nan` is a number to Rust, and nothing is more or less than it.
        let number = |text: &str| {
            text.trim().parse().ok().filter(|size: &Size| size.is_finite()).ok_or("it names no number".to_owned())
        };
        let count = |text: &str| text.trim().parse::<usize>().map_err(|_| "it names no number".to_owned());
        let two = || value.split_once(',').ok_or("it names no two numbers".to_owned());
        let rule = match name.trim().to_ascii_lowercase().as_str() {
            "required" | "filled" => {
                self.is_required = true;
                return Ok(());
            }
            "bail" => {
                self.is_first_only = true;
                return Ok(());
            }
            // All values are texts, and all variables are there.
            "nullable" | "string" | "sometimes" | "present" => return Ok(()),
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
            "in" => Rule::In(list(value)),
            "not_in" => Rule::NotIn(list(value)),
            "regex" => Rule::Matches(expression(value)?),
            "not_regex" => Rule::MatchesNot(expression(value)?),
            "digits" => Rule::Digits(count(value)?, count(value)?),
            "digits_between" => {
                let (least, most) = two()?;
                Rule::Digits(count(least)?, count(most)?)
            }
            "min_digits" => Rule::Digits(count(value)?, usize::MAX),
            "max_digits" => Rule::Digits(0, count(value)?),
            "starts_with" => Rule::StartsWith(list(value)),
            "ends_with" => Rule::EndsWith(list(value)),
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
            "ascii" => Rule::Is(Kind::Ascii),
            "timezone" => Rule::Is(Kind::Timezone),
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
