//! A log folder of arbitrary files: a reader goes through it as the daemon does, and a writer goes on behind it, with numbers that
//! never go back, however often it is opened again.
//!
//! An input is a list of files: a byte that says what it is, position and line of its name, a length, its bytes.
#![no_main]

use std::fs;
use std::path::{Path, PathBuf};

use libfuzzer_sys::fuzz_target;
use spool::exit::FILE_NAME;
use spool::format::{FRAME_HEADER_BYTES, PAYLOAD_BYTES_MAX, SEGMENT_HEADER_BYTES};
use spool::segment::POS_MAX;
use spool::writer::{OpenError, Written};
use spool::{
    Event, FrameHeader, Frames, GapReason, Kind, Limits, LineCounter, LineSplitter, Loss, SegmentHeader, SegmentName,
    Writer, segment,
};

const FILES_MAX: usize = 6;
/// More than any input makes a log grow.
const NEAR_BYTES: u64 = 1 << 32;
const LOSS_AT: usize = 512;
const LIMITS: Limits = Limits { segment_bytes: 1024, retain_bytes: 64 * 1024 };
const RUN: [u8; 16] = [7; 16];

fuzz_target!(|data: &[u8]| {
    let folder = Folder::new();
    let dir = folder.0.as_path();
    fill(dir, data);
    read(dir);
    let (pos, line) = match Writer::open(dir, LIMITS, RUN, 1) {
        Ok(mut writer) => {
            let before = writer.position();
            assert_eq!(writer.append_out(b"one more\n", 2), Written::Kept);
            let after = writer.position();
            assert!(after.0 > before.0 || after.0 == u64::MAX);
            assert!(after.1 == before.1.saturating_add(1));
            after
        }
        Err(OpenError::Newer { .. }) => return,
        Err(error) => panic!("{error}"),
    };
    let newest = *segment::list(dir).expect("the folder is there").last().expect("a segment");
    assert!(newest.base_pos <= pos && newest.base_line <= line);
    read(dir);
    // Nothing is named twice, and nothing is numbered again.
    let again = Writer::open(dir, LIMITS, RUN, 3).expect("what a writer leaves can be opened");
    assert_eq!(again.position(), (pos, line));
});

/// Of this process, empty, in memory where there is a file system for it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let dir = parent.join(format!("quarterdeck-fuzz-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("a folder for the log");
        Self(dir)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn fill(dir: &Path, mut data: &[u8]) {
    for _ in 0..FILES_MAX {
        let Some(([what, name @ ..], rest)) = data.split_first_chunk::<19>() else { return };
        let (pos, name) = name.split_first_chunk::<8>().expect("18 bytes");
        let (line, length) = name.split_first_chunk::<8>().expect("10 bytes");
        let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
        let (bytes, rest) = rest.split_at(rest.len().min(length));
        data = rest;
        // A log that ends just below the limit has nowhere to go on; above it, a name is not ours.
        let base_pos = Some(u64::from_le_bytes(*pos)).filter(|pos| POS_MAX.abs_diff(*pos) > NEAR_BYTES).unwrap_or(0);
        let name = SegmentName { base_pos, base_line: u64::from_le_bytes(*line) };
        let (path, bytes) = match what % 4 {
            0 => (name.file_name(), bytes.to_vec()),
            1 => (name.file_name(), with_checksums(name, bytes)),
            2 => (FILE_NAME.to_owned(), bytes.to_vec()),
            _ => (FILE_NAME.to_owned(), with_loss(bytes)),
        };
        fs::write(dir.join(path), bytes).expect("a file of the log");
    }
}

/// The same segment with checksums that hold: chance would never find one.
fn with_checksums(name: SegmentName, bytes: &[u8]) -> Vec<u8> {
    let header = SegmentHeader { base_pos: name.base_pos, base_line: name.base_line, created_ms: 1, run_id: RUN };
    let mut log = header.encode().to_vec();
    let mut rest = bytes.get(SEGMENT_HEADER_BYTES..).unwrap_or_default();
    while let Some((head, behind)) = rest.split_first_chunk::<FRAME_HEADER_BYTES>() {
        let length = usize::from(u16::from_le_bytes([head[0], head[1]])).min(PAYLOAD_BYTES_MAX);
        let (payload, behind) = behind.split_at(behind.len().min(length));
        rest = behind;
        let header = FrameHeader {
            kind: Kind::from_code(head[3]),
            time_ms: u64::from(head[12]),
            line_offset: u64::from(head[8]),
        };
        log.extend_from_slice(&header.encode(payload));
        log.extend_from_slice(payload);
    }
    log
}

/// An exit file with a loss of these numbers.
fn with_loss(bytes: &[u8]) -> Vec<u8> {
    let number =
        |at: usize| bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes);
    let reason = GapReason::from_code(bytes.get(24).copied().unwrap_or(1));
    let loss = Loss { pos: number(0), next_line: number(8), bytes: number(16), reason };
    let mut file = vec![0; LOSS_AT];
    file.extend_from_slice(&loss.encode());
    file
}

/// As a reader meets it: every segment in its order, each to its last whole frame.
fn read(dir: &Path) {
    let mut splitter: Option<LineSplitter> = None;
    for name in segment::list(dir).expect("the folder is there") {
        let bytes = fs::read(dir.join(name.file_name())).expect("nobody else is here");
        let _ = SegmentHeader::decode(&bytes);
        let splitter = splitter.get_or_insert_with(|| LineSplitter::new(name.base_line));
        splitter.begin_segment(name.base_line, &mut |_| {});
        let (mut next, mut counter) = (name.base_line, LineCounter::new(name.base_line));
        let mut frames = Frames::new(bytes.get(SEGMENT_HEADER_BYTES..).unwrap_or_default(), name.base_line);
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
            assert_eq!(splitter.unfinished().map(|line| line.seq), (counter.unfinished_bytes() > 0).then_some(next));
        }
    }
}
