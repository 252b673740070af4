//! A segment of arbitrary bytes: reading it neither panics nor disagrees with counting it; and the same bytes as the output
//! of a game are the same lines however they are cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spool::format::{FrameHeader, Kind, PAYLOAD_BYTES_MAX};
use spool::{Event, Frames, LineCounter, LineKind, LineSplitter, SegmentHeader, Tail};

fuzz_target!(|data: &[u8]| {
    let _ = SegmentHeader::decode(data);
    read(data);
    read(&with_checksums(data));
    // The first byte says how the rest is cut into bursts.
    if let Some((&cut, output)) = data.split_first() {
        let whole = lines(output, PAYLOAD_BYTES_MAX);
        let pieces = lines(output, usize::from(cut) + 1);
        assert_eq!(whole, pieces);
    }
});

/// Frames of any kind and payload whose checksums hold: chance would never find one.
fn with_checksums(mut data: &[u8]) -> Vec<u8> {
    let mut log = Vec::new();
    while let [kind, length, rest @ ..] = data {
        let (payload, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        log.extend_from_slice(
            &FrameHeader { kind: Kind::from_code(*kind), time_ms: 1, line_offset: 0 }.encode(payload),
        );
        log.extend_from_slice(payload);
        data = rest;
    }
    log
}

/// As a reader meets a segment that anybody may have written.
fn read(bytes: &[u8]) {
    let mut frames = Frames::new(bytes, 3);
    let (mut splitter, mut counter) = (LineSplitter::new(3), LineCounter::new(3));
    let mut next = 3;
    for frame in frames.by_ref() {
        counter.frame(frame.kind, frame.payload);
        splitter.feed(&frame, &mut |event| match event {
            Event::Line(line) => {
                assert_eq!(line.seq, next);
                next = next.saturating_add(1);
            }
            Event::Gap { first_line, gap, .. } => {
                assert_eq!(first_line, next);
                next = next.saturating_add(gap.lines);
            }
            Event::Started { .. } | Event::Exited { .. } | Event::Unreadable { .. } => {}
        });
        assert_eq!((splitter.next_line(), counter.next_line()), (next, next));
        assert_eq!(splitter.unfinished().map_or(0, |line| line.bytes.len()), counter.unfinished_bytes());
    }
    assert!(frames.consumed() <= bytes.len());
    assert_eq!(frames.tail() == Tail::Clean, frames.consumed() == bytes.len());
}

/// The lines of this output, printed in bursts of this size; the unfinished one last.
fn lines(output: &[u8], burst_bytes: usize) -> Vec<Vec<u8>> {
    let mut log = Vec::new();
    for burst in output.chunks(burst_bytes) {
        log.extend_from_slice(&FrameHeader { kind: Kind::Out, time_ms: 1, line_offset: 0 }.encode(burst));
        log.extend_from_slice(burst);
    }
    let (mut lines, mut splitter) = (Vec::new(), LineSplitter::new(0));
    let mut frames = Frames::new(&log, 0);
    for frame in frames.by_ref() {
        splitter.feed(&frame, &mut |event| match event {
            Event::Line(line) if line.kind == LineKind::Output => lines.push(line.bytes.to_vec()),
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(frames.tail(), Tail::Clean);
    lines.extend(splitter.unfinished().map(|line| line.bytes.to_vec()));
    lines
}
