//! Frames of a WebSocket's server (RFC 6455 §5.2): never masked. Just enough to count them without costing more than what is measured.

/// Opcodes that occur here.
pub(crate) const TEXT: u8 = 1;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;

/// One frame that is there as a whole.
pub(crate) struct Frame<'a> {
    pub(crate) opcode: u8,
    pub(crate) payload: &'a [u8],
    /// Bytes with its head.
    pub(crate) length: usize,
}

/// The first frame in some bytes; none while it is not complete.
pub(crate) fn first(bytes: &[u8]) -> Option<Frame<'_>> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (head, payload) = match second & 0x7f {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?),
        short => (2, usize::from(short)),
    };
    let length = head + payload;
    Some(Frame { opcode: first & 0x0f, payload: bytes.get(head..length)?, length })
}

/// Appends a text frame.
pub(crate) fn push_text(out: &mut Vec<u8>, payload: &[u8]) {
    out.push(0x80 | TEXT);
    match u16::try_from(payload.len()) {
        Ok(length @ ..126) => out.push(u8::try_from(length).unwrap_or_default()),
        Ok(length) => {
            out.push(126);
            out.extend(length.to_be_bytes());
        }
        Err(_) => {
            out.push(127);
            out.extend((payload.len() as u64).to_be_bytes());
        }
    }
    out.extend(payload);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_pushed_is_found_and_no_sooner() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![b'x'; length];
            let mut bytes = Vec::new();
            push_text(&mut bytes, &payload);
            assert!(first(&bytes[..bytes.len() - 1]).is_none(), "{length}");
            bytes.push(0x88);
            let frame = first(&bytes).unwrap();
            assert_eq!((frame.opcode, frame.payload, frame.length), (TEXT, &payload[..], bytes.len() - 1));
        }
    }
}
