//! Where lines end, against the rule written out byte by byte.

use proptest::collection::vec;
use proptest::prelude::*;
use spool::format::{FRAME_HEADER_BYTES, FrameHeader, PAYLOAD_BYTES_MAX};
use spool::line::LINE_BYTES_MAX;
use spool::{
    ExitPayload, Frames, GapPayload, GapReason, InPayload, Kind, LineCounter, LineSplitter, StartPayload, Tail,
};

use crate::reading::{Said, Who, owned};

/// The rule as the format's documentation says it, with no thought for speed.
fn by_the_rule(bytes: &[u8]) -> (Vec<Vec<u8>>, Vec<u8>) {
    let (mut lines, mut line) = (Vec::new(), Vec::new());
    for &byte in bytes {
        if byte == b'\n' {
            lines.push(std::mem::take(&mut line));
            continue;
        }
        let begins_a_character = byte & 0b1100_0000 != 0b1000_0000;
        if line.len() == LINE_BYTES_MAX || (line.len() >= LINE_BYTES_MAX - 3 && begins_a_character) {
            lines.push(std::mem::take(&mut line));
        }
        line.push(byte);
    }
    (lines, line)
}

/// Output with short lines, very long ones, lengths just around the limit, and bytes of cut characters there.
fn some_output() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(b'\n'), Just(b'x'), Just(0x80), Just(0xbf), Just(0xe2), Just(0xf0), any::<u8>()];
    let short = vec(byte, 0..40);
    let run = (
        prop_oneof![Just(b'a'), Just(0x82), Just(b'\n')],
        prop_oneof![0..200_usize, LINE_BYTES_MAX - 8..LINE_BYTES_MAX + 8],
    )
        .prop_map(|(byte, count)| vec![byte; count]);
    vec(prop_oneof![4 => short, 1 => run], 0..8).prop_map(|parts| parts.concat())
}

/// The same bytes as frames, cut anywhere.
fn frames(bytes: &[u8], cuts: &[prop::sample::Index]) -> Vec<u8> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    let (mut out, mut from, mut counter) = (Vec::new(), 0, LineCounter::new(0));
    for end in ends {
        for part in bytes[from..end].chunks(PAYLOAD_BYTES_MAX) {
            let header = FrameHeader { kind: Kind::Out, time_ms: 1, line_offset: counter.next_line() };
            out.extend_from_slice(&header.encode(part));
            out.extend_from_slice(part);
            counter.output(part);
        }
        from = end;
    }
    out
}

fn frame(kind: Kind, payload: &[u8]) -> Vec<u8> {
    [&FrameHeader { kind, time_ms: 1, line_offset: 0 }.encode(payload), payload].concat()
}

/// Everything a splitter says about these frames.
fn split(bytes: &[u8]) -> (Vec<Said>, LineSplitter) {
    let (mut said, mut splitter) = (Vec::new(), LineSplitter::new(0));
    let mut frames = Frames::new(bytes, 0);
    for frame in frames.by_ref() {
        splitter.feed(&frame, &mut |event| said.push(owned(event)));
    }
    assert_eq!((frames.tail(), frames.consumed()), (Tail::Clean, bytes.len()));
    (said, splitter)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn lines_do_not_depend_on_bursts(bytes in some_output(), cuts in vec(any::<prop::sample::Index>(), 0..12)) {
        let (lines, unfinished) = by_the_rule(&bytes);
        let (said, splitter) = split(&frames(&bytes, &cuts));
        let expected: Vec<Said> = lines.into_iter().zip(0..).map(|(line, seq)| Said::Line(seq, Who::Game, line)).collect();
        prop_assert!(said == expected, "other lines");
        prop_assert!(splitter.unfinished().map_or(&[][..], |line| line.bytes) == unfinished, "another rest");
        prop_assert_eq!(splitter.next_line(), expected.len() as u64);
    }

    #[test]
    fn counting_agrees_with_splitting(bytes in some_output(), cuts in vec(any::<prop::sample::Index>(), 0..12)) {
        let (mut counter, mut splitter) = (LineCounter::new(5), LineSplitter::new(5));
        for frame in Frames::new(&frames(&bytes, &cuts), 5) {
            prop_assert_eq!(frame.line, counter.next_line());
            if let Some(rest) = counter.rest_of_line(frame.payload) {
                prop_assert!(rest <= frame.payload.len());
            }
            counter.frame(frame.kind, frame.payload);
            splitter.feed(&frame, &mut |_| {});
            prop_assert_eq!(counter.next_line(), splitter.next_line());
            prop_assert_eq!(counter.unfinished_bytes(), splitter.unfinished().map_or(0, |line| line.bytes.len()));
        }
    }

    #[test]
    fn no_line_is_too_long_and_no_character_is_cut(text in "\\PC{0,50}", count in 1..4_000_usize) {
        let bytes = text.repeat(count).into_bytes();
        prop_assume!(bytes.len() < 1_000_000);
        for line in by_the_rule(&bytes).0 {
            prop_assert!(line.len() <= LINE_BYTES_MAX);
            prop_assert!(std::str::from_utf8(&line).is_ok());
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in vec(any::<u8>(), 0..2_000)) {
        let mut splitter = LineSplitter::new(u64::MAX - 2);
        let mut frames = Frames::new(&bytes, u64::MAX - 2);
        for frame in frames.by_ref() {
            splitter.feed(&frame, &mut |_| {});
        }
        prop_assert!(frames.consumed() <= bytes.len());
    }
}

#[test]
fn commands_and_notices_leave_an_unfinished_line_alone() {
    let input = InPayload { request_id: 9, user: "ann", bytes: b"say hi" };
    let frames = [
        frame(Kind::Out, b"a prompt> "),
        frame(Kind::In, &input.encode()),
        frame(Kind::Note, b"a notice"),
        frame(Kind::Out, b"answer\nrest"),
    ];
    let (said, splitter) = split(&frames.concat());
    let expected = [
        Said::Line(0, Who::Person("ann".to_owned(), 9), b"say hi".to_vec()),
        Said::Line(1, Who::Node, b"a notice".to_vec()),
        Said::Line(2, Who::Game, b"a prompt> answer".to_vec()),
    ];
    assert_eq!(said, expected);
    assert_eq!(splitter.unfinished().unwrap().bytes, b"rest");
}

#[test]
fn a_prompt_can_be_seen_before_its_line_ends() {
    let frames = [
        frame(Kind::Out, b"one\nfree"),
        frame(Kind::Out, b"civ> "),
        frame(Kind::In, &InPayload { request_id: 1, user: "ann", bytes: b"start" }.encode()),
        frame(Kind::Out, b"\n"),
    ]
    .concat();
    let (mut splitter, mut seen) = (LineSplitter::new(7), Vec::new());
    for frame in Frames::new(&frames, 7) {
        splitter.feed(&frame, &mut |_| {});
        seen.push(splitter.unfinished().map(|line| (line.seq, line.bytes.to_vec())));
    }
    let prompt = b"freeciv> ".to_vec();
    // The command takes the number that the prompt would have had.
    assert_eq!(seen, [Some((8, b"free".to_vec())), Some((8, prompt.clone())), Some((9, prompt)), None]);
    assert_eq!(splitter.next_line(), 10);
}

#[test]
fn starts_exits_and_gaps_end_an_unfinished_line() {
    let gap = GapPayload { bytes: 100, lines: 10, reason: GapReason::DiskFull };
    let frames = [
        frame(Kind::Out, b"one"),
        frame(Kind::Exit, &ExitPayload { status: 9, ..ExitPayload::default() }.encode()),
        frame(Kind::Start, &StartPayload::default().encode()),
        frame(Kind::Out, b"two"),
        frame(Kind::Start, &StartPayload::default().encode()),
        frame(Kind::Out, b"three"),
        frame(Kind::Upgraded, b"anything"),
        frame(Kind::Other(99), b"anything"),
        frame(Kind::Gap, &gap.encode()),
        frame(Kind::Out, b"four\n"),
    ];
    let expected = [
        Said::Line(0, Who::Game, b"one".to_vec()),
        Said::Exited(9),
        Said::Started,
        Said::Line(1, Who::Game, b"two".to_vec()),
        Said::Started,
        Said::Line(2, Who::Game, b"three".to_vec()),
        Said::Gap(3, gap),
        Said::Line(13, Who::Game, b"four".to_vec()),
    ];
    assert_eq!(split(&frames.concat()).0, expected);
}

#[test]
fn a_line_has_the_time_of_its_first_byte() {
    let at =
        |time_ms, text: &[u8]| [&FrameHeader { kind: Kind::Out, time_ms, line_offset: 0 }.encode(text), text].concat();
    let bytes = [at(10, b"be"), at(20, b"gun\nnext\n\nun"), at(30, b"finished")].concat();
    let (mut times, mut splitter) = (Vec::new(), LineSplitter::new(0));
    for frame in Frames::new(&bytes, 0) {
        splitter.feed(&frame, &mut |event| {
            if let spool::Event::Line(line) = event {
                times.push(line.time_ms);
            }
        });
    }
    assert_eq!(times, [10, 20, 20]);
    assert_eq!(splitter.unfinished().unwrap().time_ms, 20);
}

#[test]
fn a_flipped_byte_is_never_believed() {
    let whole = [frame(Kind::Out, b"one\n"), frame(Kind::Note, b"two"), frame(Kind::Out, b"three\n")].concat();
    let first = FRAME_HEADER_BYTES + 4;
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            let mut frames = Frames::new(&bytes, 0);
            let read: Vec<_> = frames.by_ref().collect();
            let intact: Vec<_> = Frames::new(&whole, 0).take(read.len()).collect();
            assert_eq!(read, intact, "bit {bit} of byte {at}");
            assert!(read.len() < 3 && frames.tail() != Tail::Clean);
            assert_eq!(read.is_empty(), at < first);
        }
    }
}

#[test]
fn a_short_tail_is_waited_for() {
    let whole = [frame(Kind::Out, b"one\n"), frame(Kind::Out, b"two\n")].concat();
    let first = FRAME_HEADER_BYTES + 4;
    for length in 0..whole.len() {
        let mut frames = Frames::new(&whole[..length], 0);
        assert_eq!(frames.by_ref().count(), length / first);
        let expected = if length % first == 0 { Tail::Clean } else { Tail::Short };
        assert_eq!((frames.tail(), frames.consumed()), (expected, length / first * first));
    }
}
