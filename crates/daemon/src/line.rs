//! One line as viewers get it: who said what, and what its frames are. They are made for many lines at once: see `console/block`.

use std::borrow::Cow;
use std::sync::Arc;

use engine::line::{daemon_line, echo_line};
use wire::console::server as event;
use wire::history::LineKind;
use wire::ids::Seq;
use wire::json;
use wire::numbered::{self, Gap, LineMembers};

use crate::frame;

/// What is in front of the text in a frame of a line, in either protocol.
const BEGIN: &str = r#"{"event":"console output","args":[""#;
/// What a frame has beside the text.
const FRAME_BYTES: usize = 128;
/// What a line takes beside its text.
const LINE_BYTES: usize = 160;

/// Who a line is from, and when it was written.
#[derive(Clone, Debug)]
pub(crate) struct Stamp {
    /// Unix milliseconds.
    pub(crate) at_ms: u64,
    pub(crate) kind: LineKind,
    /// Who typed it, as a uuid.
    pub(crate) user: Option<Box<str>>,
}

impl Stamp {
    /// Of something the game printed.
    pub(crate) fn output(at_ms: u64) -> Self {
        Self { at_ms, kind: LineKind::Output, user: None }
    }

    /// Of something the node says.
    pub(crate) fn notice(at_ms: u64) -> Self {
        Self { at_ms, kind: LineKind::Notice, user: None }
    }
}

/// What a line is about.
#[derive(Debug)]
enum Content {
    /// Something was said.
    Said(Stamp),
    /// The same, but viewers who do not count lines are not told.
    Hidden(Stamp),
    /// Lines cannot be had; the sentence names them, what is said is why.
    Missing { sentence: Box<str> },
}

/// See the module. Clones are the same line.
#[derive(Clone, Debug)]
pub(crate) struct Line(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    seq: Seq,
    since: Seq,
    content: Content,
    said: Box<str>,
    /// In front of what the node says.
    app_name: Arc<str>,
    frame_bytes: usize,
}

impl Line {
    /// A line of this number.
    pub(crate) fn new(seq: Seq, stamp: Stamp, said: &str, app_name: &Arc<str>) -> Self {
        Self::made(seq, seq, Content::Said(stamp), said, app_name)
    }

    /// The same, kept from viewers who do not count lines.
    pub(crate) fn hidden(seq: Seq, stamp: Stamp, said: &str, app_name: &Arc<str>) -> Self {
        Self::made(seq, seq, Content::Hidden(stamp), said, app_name)
    }

    /// One line in place of those from `since` to `seq`, which cannot be had. `sentence` says so with their numbers, `reason` why.
    pub(crate) fn missing(since: Seq, seq: Seq, sentence: &str, reason: &str, app_name: &Arc<str>) -> Self {
        Self::made(since, seq, Content::Missing { sentence: Box::from(sentence) }, reason, app_name)
    }

    fn made(since: Seq, seq: Seq, content: Content, said: &str, app_name: &Arc<str>) -> Self {
        Self(Arc::new(Inner {
            seq,
            since,
            content,
            said: Box::from(said),
            app_name: app_name.clone(),
            frame_bytes: FRAME_BYTES + json::text_bytes(said),
        }))
    }

    /// Its number.
    pub(crate) fn seq(&self) -> Seq {
        self.0.seq
    }

    /// The first number it stands for: its own, unless it names lines that cannot be had.
    pub(crate) fn since(&self) -> Seq {
        self.0.since
    }

    /// Who it is from; none if it names lines that cannot be had.
    pub(crate) fn stamp(&self) -> Option<&Stamp> {
        match &self.0.content {
            Content::Said(stamp) | Content::Hidden(stamp) => Some(stamp),
            Content::Missing { .. } => None,
        }
    }

    /// What was said, without decoration. Of lines that cannot be had: why.
    pub(crate) fn said(&self) -> &str {
        &self.0.said
    }

    /// Whether viewers who do not count lines are told.
    pub(crate) fn is_shown(&self) -> bool {
        !matches!(self.0.content, Content::Hidden(_))
    }

    /// Its text, as `console output` carries it.
    pub(crate) fn text(&self) -> Cow<'_, str> {
        let inner = &*self.0;
        match &inner.content {
            Content::Missing { sentence } => Cow::Owned(daemon_line(&inner.app_name, sentence)),
            Content::Said(stamp) | Content::Hidden(stamp) => match stamp.kind {
                LineKind::Output => Cow::Borrowed(&inner.said),
                LineKind::Notice => Cow::Owned(daemon_line(&inner.app_name, &inner.said)),
                // Who typed it is known here by uuid only, which says nothing to people; the activity log has the name.
                LineKind::Input => Cow::Owned(echo_line("", &inner.said)),
            },
        }
    }

    /// Appends the frame for the plain protocol, head and all.
    pub(crate) fn push_frame(&self, bytes: &mut Vec<u8>) {
        push(bytes, &self.text(), "\"]}");
    }

    /// Appends the frame for the protocol with numbers.
    pub(crate) fn push_numbered(&self, bytes: &mut Vec<u8>) {
        let inner = &*self.0;
        match &inner.content {
            Content::Said(stamp) | Content::Hidden(stamp) => {
                let user = stamp.user.as_deref();
                let members = LineMembers { seq: inner.seq.0, at: stamp.at_ms, kind: stamp.kind, user };
                // One object goes on where the other ends.
                let members = numbered::document(&members);
                push(bytes, &inner.said, &["\"],", members.strip_prefix('{').unwrap_or_default()].concat());
            }
            Content::Missing { .. } => {
                let to = inner.seq.0.saturating_add(1);
                let gap = Gap { from: inner.since.0, to, reason: inner.said.to_string() };
                frame::push_text(bytes, &wire::console::frame(event::GAP, Some(&numbered::document(&gap)), false));
            }
        }
    }

    /// About as long as either of its frames.
    pub(crate) fn frame_bytes(&self) -> usize {
        self.0.frame_bytes
    }

    /// About what it takes in memory.
    pub(crate) fn kept_bytes(&self) -> usize {
        LINE_BYTES + self.0.said.len()
    }
}

/// Appends the frame of a line: `tail` is what stands behind its text. All of it goes where it is to be, without a text in between.
fn push(bytes: &mut Vec<u8>, text: &str, tail: &str) {
    frame::push_head(bytes, BEGIN.len() + json::text_bytes(text) + tail.len());
    bytes.extend_from_slice(BEGIN.as_bytes());
    json::push_text(bytes, text);
    bytes.extend_from_slice(tail.as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn app() -> Arc<str> {
        Arc::from("Test")
    }

    proptest! {
        #[test]
        fn frames_are_what_serde_makes_of_them(text in "[\\x00-\\x7fß€]{0,200}|\\PC{0,300}", seq: u64, at_ms: u64, user in "[a-z\"]{0,3}") {
            let user = (!user.is_empty()).then(|| Box::from(user));
            let stamp = Stamp { user, ..Stamp::output(at_ms) };
            let line = Line::new(Seq(seq), stamp.clone(), &text, &app());
            let mut frames = [Vec::new(), Vec::new()];
            line.push_frame(&mut frames[0]);
            line.push_numbered(&mut frames[1]);
            let members = LineMembers { seq, at: at_ms, kind: stamp.kind, user: stamp.user.as_deref() };
            let texts = [wire::console::console_output_frame(&text), numbered::line_frame(&text, &members)];
            prop_assert_eq!(frames, texts.map(frame::text));
        }
    }

    #[test]
    fn the_same_line_in_both_protocols() {
        let by = Stamp { at_ms: 5, kind: LineKind::Input, user: Some(Box::from("u")) };
        let rows = [
            (
                Line::new(Seq(7), Stamp::output(5), "a\u{1b}[1m\"b", &app()),
                r#"{"event":"console output","args":["a\u001b[1m\"b"]}"#,
                r#"{"event":"console output","args":["a\u001b[1m\"b"],"seq":7,"at":5,"kind":"output"}"#,
            ),
            (
                Line::new(Seq(8), by, "list", &app()),
                r#"{"event":"console output","args":["\u001b[2m> list\u001b[0m"]}"#,
                r#"{"event":"console output","args":["list"],"seq":8,"at":5,"kind":"input","user":"u"}"#,
            ),
            (
                Line::new(Seq(9), Stamp::notice(5), "up", &app()),
                r#"{"event":"console output","args":["\u001b[33m\u001b[1m[Test Daemon]:\u001b[39m up\u001b[0m"]}"#,
                r#"{"event":"console output","args":["up"],"seq":9,"at":5,"kind":"notice"}"#,
            ),
            (
                Line::missing(Seq(2), Seq(4), "lines 2 to 4 are no longer kept", "no longer kept", &app()),
                r#"{"event":"console output","args":["\u001b[33m\u001b[1m[Test Daemon]:\u001b[39m lines 2 to 4 are no longer kept\u001b[0m"]}"#,
                r#"{"event":"gap","args":["{\"from\":2,\"to\":5,\"reason\":\"no longer kept\"}"]}"#,
            ),
        ];
        for (line, plain, numbered) in rows {
            let mut frames = [Vec::new(), Vec::new()];
            line.push_frame(&mut frames[0]);
            line.push_numbered(&mut frames[1]);
            assert!(frames.iter().all(|frame| frame.len() <= 2 * line.frame_bytes()));
            assert_eq!(frames, [plain, numbered].map(|text| frame::text(text.to_owned())));
        }
    }
}
