//! Texts in JSON, as `serde_json` spells them, for who writes thousands of frames into one buffer: how long one gets is known before,
//! and a text without anything to escape is copied and not walked through.

/// Bytes looked at in one step.
const TOGETHER: usize = 16;

/// How many bytes a text has in JSON, without the quotes around it.
pub fn text_bytes(text: &str) -> usize {
    let bytes = text.as_bytes();
    let more = bytes.chunks(TOGETHER).filter(|some| has_special(some)).flatten().map(|&byte| match escape(byte) {
        Some(Escape::Short(_)) => 1,
        Some(Escape::Long) => 5,
        None => 0,
    });
    bytes.len() + more.sum::<usize>()
}

/// Appends a text as it is in JSON, without the quotes around it.
pub fn push_text(to: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    // Up to here it is written.
    let mut done = 0;
    for (some, begin) in bytes.chunks(TOGETHER).zip((0..).step_by(TOGETHER)) {
        if !has_special(some) {
            continue;
        }
        for (&byte, at) in some.iter().zip(begin..) {
            let Some(escape) = escape(byte) else { continue };
            to.extend_from_slice(bytes.get(done..at).unwrap_or_default());
            match escape {
                Escape::Short(letter) => to.extend_from_slice(&[b'\\', letter]),
                Escape::Long => {
                    let digit = |value: u8| if value < 10 { b'0' + value } else { b'a' + value - 10 };
                    to.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
                }
            }
            done = at + 1;
        }
    }
    to.extend_from_slice(bytes.get(done..).unwrap_or_default());
}

enum Escape {
    /// A backslash and this.
    Short(u8),
    /// The number of the character in four digits.
    Long,
}

fn escape(byte: u8) -> Option<Escape> {
    Some(match byte {
        b'"' | b'\\' => Escape::Short(byte),
        b'\n' => Escape::Short(b'n'),
        b'\r' => Escape::Short(b'r'),
        b'\t' => Escape::Short(b't'),
        0x08 => Escape::Short(b'b'),
        0x0c => Escape::Short(b'f'),
        0..b' ' => Escape::Long,
        _ => return None,
    })
}

/// Without a branch, so that all of them are looked at in one step.
fn has_special(some: &[u8]) -> bool {
    let is_special = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
    some.iter().fold(false, |any, &byte| any | is_special(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_spelled_as_serde_spells_it() {
        let check = |text: &str| {
            let mut ours = Vec::new();
            push_text(&mut ours, text);
            let theirs = serde_json::to_string(text).unwrap_or_default();
            assert_eq!(format!("\"{}\"", String::from_utf8_lossy(&ours)), theirs, "{text:?}");
            assert_eq!(text_bytes(text), ours.len(), "{text:?}");
        };
        for c in ('\0'..='\u{200}').chain(['\u{2028}', '\u{fffd}', '\u{1f600}']) {
            for before in [0, 1, 14, 15, 16, 17, 40] {
                check(&format!("{}{c}{}{c}{c}", "x".repeat(before), "y".repeat(before % 19)));
            }
        }
        check("");
    }
}
