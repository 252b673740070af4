//! WebSocket frames as a server sends them (RFC 6455 §5.2): never masked, so the same bytes are good for every viewer.

use std::io::Cursor;

use bytes::Bytes;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::frame::{Frame, FrameHeader};

/// A message of text.
pub(crate) fn text(payload: String) -> Bytes {
    finished(Frame::message(payload, OpCode::Data(Data::Text), true))
}

/// Appends a message of text.
pub(crate) fn push_text(bytes: &mut Vec<u8>, payload: &str) {
    push_head(bytes, payload.len());
    bytes.extend_from_slice(payload.as_bytes());
}

/// Appends what is in front of a message of text that is so long.
pub(crate) fn push_head(bytes: &mut Vec<u8>, length: usize) {
    let header = FrameHeader { opcode: OpCode::Data(Data::Text), ..FrameHeader::default() };
    // A vector takes everything.
    let _ = header.format(length as u64, bytes);
}

/// A question whether the other side is there.
pub(crate) fn ping() -> Bytes {
    finished(Frame::ping(Bytes::new()))
}

/// The last frame of a connection.
pub(crate) fn close(code: u16, reason: &'static str) -> Bytes {
    finished(Frame::close(Some(CloseFrame { code: code.into(), reason: reason.into() })))
}

fn finished(frame: Frame) -> Bytes {
    let mut bytes = Vec::with_capacity(frame.len());
    // A vector takes everything.
    let _ = frame.format(&mut bytes);
    bytes.into()
}

/// Where the frame ends that holds byte `at` of some whole frames; at `at` itself, if one begins there.
pub(crate) fn end_of(frames: &[u8], at: usize) -> usize {
    let mut end = 0;
    while end < at {
        let mut cursor = Cursor::new(frames.get(end..).unwrap_or_default());
        let Ok(Some((_, payload))) = FrameHeader::parse(&mut cursor) else { return frames.len() };
        let length = cursor.position().saturating_add(payload);
        end = end.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
    }
    end.min(frames.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_ends_where_the_next_one_begins() {
        let frames = [text("x".repeat(5)), text("y".repeat(300)), ping(), text("z".repeat(70_000))];
        let all = frames.concat();
        let mut begin = 0;
        for frame in &frames {
            assert_eq!(end_of(&all, begin), begin);
            for within in [1, frame.len() / 2, frame.len() - 1, frame.len()] {
                assert_eq!(end_of(&all, begin + within.max(1)), begin + frame.len());
            }
            begin += frame.len();
        }
        assert_eq!(end_of(&all, all.len()), all.len());
    }

    #[test]
    fn what_is_appended_is_the_same_frame() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = "x".repeat(length);
            let mut bytes = Vec::new();
            push_text(&mut bytes, &payload);
            assert_eq!(bytes, text(payload));
        }
    }

    #[test]
    fn a_server_never_masks() {
        for frame in [text("a".to_owned()), ping(), close(1012, "service restart")] {
            assert_eq!(frame[1] & 0x80, 0);
        }
    }
}
