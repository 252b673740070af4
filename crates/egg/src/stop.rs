//! How an egg's server is stopped.

use wire::remote::{Stop, StopKind};

/// The stop of an egg: `^X` is the signal X, anything else a command, nothing is SIGTERM. `^^C`, as a quarter of all eggs that stop by a
/// signal have it, is the same as `^C`: other nodes make SIGKILL of it, on which no game saves.
pub fn stop(text: &str) -> Stop {
    let (kind, value) = match text.strip_prefix('^') {
        Some(signal) => (StopKind::Signal, signal.trim_start_matches('^').to_ascii_uppercase()),
        None if text.is_empty() => (StopKind::Stop, String::new()),
        None => (StopKind::Command, text.to_owned()),
    };
    Stop { kind, value, grace_ms: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_texts_are_those_of_eggs() {
        for (text, kind, value) in [
            ("stop", StopKind::Command, "stop"),
            ("^C", StopKind::Signal, "C"),
            ("^c", StopKind::Signal, "C"),
            ("^^C", StopKind::Signal, "C"),
            ("^SIGTERM", StopKind::Signal, "SIGTERM"),
            ("", StopKind::Stop, ""),
        ] {
            let found = stop(text);
            assert_eq!((found.kind, found.value.as_str(), found.grace_ms), (kind, value, 0), "{text}");
        }
    }
}
