//! Holds a value against its rules, in words for whoever typed it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Kind, Rule, Rules, Size};

impl Rules {
    /// Whether a value is as it has to be; `name` is what people call it. An empty value, or one of spaces, is as it has to be unless it is
    /// required.
    ///
    /// # Errors
    /// A sentence for each rule that it breaks.
    pub fn check(&self, name: &str, value: &str) -> Result<(), Vec<String>> {
        if value.trim().is_empty() {
            return if self.is_required { Err(vec![format!("The {name} is required.")]) } else { Ok(()) };
        }
        let broken: Vec<String> = self
            .list
            .iter()
            .filter_map(|rule| self.breaks(rule, value))
            .map(|what| format!("The {name} {what}."))
            .take(if self.is_first_only { 1 } else { usize::MAX })
            .collect();
        if broken.is_empty() { Ok(()) } else { Err(broken) }
    }

    /// What is wrong with a value by a rule, behind "The name".
    fn breaks(&self, rule: &Rule, value: &str) -> Option<String> {
        let wrong = |is_right: bool, what: String| (!is_right).then_some(what);
        let unit = if self.is_number { "" } else { " characters" };
        // What is no number has no size: that it is none is said once, by the rule that wants one.
        let Some(size) = self.size(value) else {
            return match rule {
                Rule::Number => Some("must be a number".to_owned()),
                Rule::Integer => Some("must be a whole number".to_owned()),
                _ => None,
            };
        };
        match rule {
            Rule::Is(kind) => wrong(kind.holds(value), format!("must be {}", kind.title())),
            Rule::Boolean => {
                let is_flag = matches!(value.to_ascii_lowercase().as_str(), "true" | "false" | "1" | "0");
                wrong(is_flag, "must be true or false".to_owned())
            }
            Rule::Number => None,
            Rule::Integer => wrong(value.trim().parse::<i64>().is_ok(), "must be a whole number".to_owned()),
            Rule::Min(least) => wrong(size >= *least, format!("must be at least {least}{unit}")),
            Rule::Max(most) => wrong(size <= *most, format!("must be at most {most}{unit}")),
            Rule::Above(least) => wrong(size > *least, format!("must be more than {least}{unit}")),
            Rule::Below(most) => wrong(size < *most, format!("must be less than {most}{unit}")),
            Rule::Between(least, most) => {
                let is_between = size >= *least && size <= *most;
                wrong(is_between, format!("must be from {least} to {most}{unit}"))
            }
            // Sizes that people write are small and whole, or they mean exactly this number.
            Rule::Size(exact) => wrong((size - exact).abs() < f64::EPSILON, format!("must be {exact}{unit}")),
            Rule::In(list) => {
                wrong(list.iter().any(|item| item == value), format!("must be one of {}", list.join(", ")))
            }
            Rule::NotIn(list) => wrong(!list.iter().any(|item| item == value), format!("must not be {value}")),
            Rule::Matches(regex) => wrong(regex.is_match(value), format!("must match {regex}")),
            Rule::MatchesNot(regex) => wrong(!regex.is_match(value), format!("must not match {regex}")),
            Rule::Digits(least, most) => digits(value, *least, *most),
            Rule::StartsWith(list) => {
                let begins = list.iter().any(|item| value.starts_with(item.as_str()));
                wrong(begins, format!("must begin with {}", list.join(" or ")))
            }
            Rule::EndsWith(list) => {
                let ends = list.iter().any(|item| value.ends_with(item.as_str()));
                wrong(ends, format!("must end with {}", list.join(" or ")))
            }
        }
    }

    /// Of a number itself, of a text how many characters it has; none where a number is wanted and there is none.
    #[allow(clippy::cast_precision_loss)] // no text is that long
    fn size(&self, value: &str) -> Option<Size> {
        if self.is_number {
            return value.trim().parse().ok().filter(|size: &Size| size.is_finite());
        }
        Some(value.chars().count() as Size)
    }
}

fn digits(value: &str, least: usize, most: usize) -> Option<String> {
    let is_right = value.bytes().all(|byte| byte.is_ascii_digit()) && (least..=most).contains(&value.len());
    let text = match (least, most) {
        (least, most) if least == most => format!("must have {least} digits"),
        (least, usize::MAX) => format!("must have at least {least} digits"),
        (0, most) => format!("must have at most {most} digits"),
        (least, most) => format!("must have {least} to {most} digits"),
    };
    (!is_right).then_some(text)
}

impl Kind {
    fn title(self) -> &'static str {
        match self {
            Self::Letters => "letters only",
            Self::LettersAndDigits => "letters and digits only",
            Self::Words => "letters, digits, dashes and underscores only",
            Self::Url => "an address with http or another scheme in front",
            Self::Ip => "an IP address",
            Self::Ipv4 => "an IPv4 address",
            Self::Ipv6 => "an IPv6 address",
            Self::Email => "an e-mail address",
            Self::Uuid => "a uuid",
            Self::Json => "JSON",
            Self::Upper => "in capitals",
            Self::Lower => "in small letters",
            Self::Colour => "a colour such as #a0b1c2",
            Self::Ascii => "of plain letters, digits and signs",
            Self::Timezone => "a time zone such as Europe/Berlin",
        }
    }

    fn holds(self, value: &str) -> bool {
        match self {
            Self::Letters => value.chars().all(char::is_alphabetic),
            Self::LettersAndDigits => value.chars().all(char::is_alphanumeric),
            Self::Words => value.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_')),
            Self::Url => is_url(value),
            Self::Ip => value.parse::<IpAddr>().is_ok(),
            Self::Ipv4 => value.parse::<Ipv4Addr>().is_ok(),
            Self::Ipv6 => value.parse::<Ipv6Addr>().is_ok(),
            Self::Email => value.rsplit_once('@').is_some_and(|(name, host)| {
                !name.is_empty() && !host.is_empty() && !value.contains(char::is_whitespace)
            }),
            // With dashes: there are other ways to write one, which games do not know.
            Self::Uuid => value.len() == 36 && value.parse::<uuid::Uuid>().is_ok(),
            Self::Json => serde_json::from_str::<serde::de::IgnoredAny>(value).is_ok(),
            Self::Upper => value.to_uppercase() == value,
            Self::Lower => value.to_lowercase() == value,
            Self::Ascii => value.is_ascii(),
            // By its looks: which there are depends on the machine and the year.
            Self::Timezone => {
                let is_part = |part: &str| {
                    part.starts_with(|c: char| c.is_ascii_alphabetic())
                        && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+'))
                };
                value.split('/').count() <= 3 && value.split('/').all(is_part)
            }
            Self::Colour => value.strip_prefix('#').is_some_and(|digits| {
                matches!(digits.len(), 3 | 4 | 6 | 8) && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
            }),
        }
    }
}

fn is_url(value: &str) -> bool {
    let Some((scheme, rest)) = value.split_once("://") else { return false };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    is_scheme && !host.is_empty() && !value.contains(char::is_whitespace)
}
