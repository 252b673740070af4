//! Searches beside the plain way: every line read, every line looked at.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use spool::{GapPayload, GapReason, Limits, Writer};

use super::*;

const LIMITS: Limits = Limits { segment_bytes: 4096, retain_bytes: 64 * 1024 };

fn log(count: u64) -> (tempfile::TempDir, Seq) {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path(), LIMITS, [1; 16], 1).unwrap();
    for n in 0..count {
        let _ = writer.append_out(format!("\u{1b}[32mline\u{1b}[0m {n} Größe\n").as_bytes(), 1000 + n);
    }
    let head = Seq(writer.position().1);
    (dir, head)
}

#[test]
fn work_that_nobody_waits_for_ends() {
    let (dir, head) = log(1000);
    let unwanted = CancellationToken::new();
    unwanted.cancel();
    assert!(search(dir.path(), &Query::new("line", false, 9).unwrap(), head, &unwanted).is_err());
}

#[test]
fn a_search_goes_back_to_the_oldest_line() {
    let (dir, head) = log(1000);
    let find = |text: &str, case, limit, before| {
        let query = Query::new(text, case, limit).unwrap();
        search(dir.path(), &query, Seq(before), &CancellationToken::new()).unwrap()
    };
    let numbers = |found: &ConsoleMatches| found.matches.iter().map(|found| found.seq).collect::<Vec<_>>();
    // Colours do not hide a text, nor does the case of letters unless it is asked for.
    let found = find("LINE 77 GRÖSSE", false, 9, head.0);
    assert!(found.matches.is_empty() && found.complete);
    let found = find("lINE 77 GRÖßE", false, 9, head.0);
    assert_eq!((numbers(&found), found.complete), (vec![77], true));
    assert_eq!(found.matches[0].text, "line 77 Größe");
    assert!(find("LINE 77 ", true, 9, head.0).matches.is_empty());
    // It goes on where it stopped, and finds each line once.
    let mut all = Vec::new();
    let mut before = head.0;
    loop {
        let found = find("line", false, 170, before);
        all.extend(numbers(&found));
        before = found.searched_to;
        if found.complete {
            break;
        }
    }
    assert_eq!(all, (0..1000).rev().collect::<Vec<_>>());
    assert_eq!(numbers(&find("line 5", true, 2, 500)), [59, 58]);
    // A text is a text and no pattern.
    assert!(find("l.ne", false, 9, head.0).matches.is_empty());
}

/// The answer to one search as it would be without scans: every segment read, every line looked at by a pattern.
fn plainly(dir: &Path, text: &str, is_case_told_apart: bool, before: u64) -> Vec<ConsoleMatch> {
    let pattern = regex::RegexBuilder::new(&regex::escape(text)).case_insensitive(!is_case_told_apart).build().unwrap();
    let segments = log::segments(dir).unwrap();
    let mut matches = Vec::new();
    for (index, name) in segments.iter().enumerate() {
        let _ = log::read_segment(dir, name, segments.get(index + 1), |event, _| {
            if let Event::Line(line) = event
                && line.seq < before
            {
                let said = engine::line::text(line.bytes);
                let text = engine::line::strip_ansi(&said);
                if pattern.is_match(&text) {
                    matches.push(ConsoleMatch { seq: line.seq, at: line.ended_ms, text: text.into_owned() });
                }
            }
        })
        .unwrap();
    }
    matches.reverse();
    matches
}

fn found(dir: &Path, text: &str, is_case_told_apart: bool, mut before: u64) -> Vec<ConsoleMatch> {
    let query = Query::new(text, is_case_told_apart, 40).unwrap();
    let mut matches = Vec::new();
    loop {
        let found = search(dir, &query, Seq(before), &CancellationToken::new()).unwrap();
        matches.extend(found.matches);
        before = found.searched_to;
        if found.complete {
            return matches;
        }
    }
}

/// What a game may print: pieces of the text that is looked for, in any case, and what may come between them.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let texts: [&str; 30] = [
        "disk",
        "DI",
        "Sk",
        "d",
        "is",
        "k",
        "\u{17f}",
        "\u{212a}",
        "di\u{17f}k",
        "größe",
        "GRÖ",
        "ẞE",
        "e",
        "\n",
        "\n",
        "\n",
        "\r\n",
        "\r",
        "\t",
        "\u{1b}[32m",
        "\u{1b}[0m",
        "\u{1b}[1",
        "\u{1b}",
        "\u{1b}]0;disk\u{7}",
        "\u{7f}",
        "\u{9b}",
        "\u{9d}",
        "\0",
        " full",
        " 17 ",
    ];
    let no_texts: [&[u8]; 4] = [b"\xc3", b"\x9f", b"\xff", b"\xc2"];
    prop_oneof![
        100 => prop::sample::select(texts.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        10 => prop::sample::select(no_texts.to_vec()).prop_map(<[u8]>::to_vec),
        1 => (0..3_usize, 60_000..70_000_usize).prop_map(|(which, length)| vec![b"xk\n"[which]; length]),
    ]
}

/// Something that is written to a log.
#[derive(Clone, Debug)]
enum Write {
    Out(Vec<u8>),
    In(Vec<u8>),
    Note(Vec<u8>),
    Start,
    Exit,
}

fn write() -> impl Strategy<Value = Write> {
    let bytes = || prop::collection::vec(piece(), 0..12).prop_map(|pieces| pieces.concat());
    prop_oneof![
        12 => bytes().prop_map(Write::Out),
        1 => bytes().prop_map(|bytes| Write::In(bytes.into_iter().take(9000).collect())),
        1 => bytes().prop_map(|bytes| Write::Note(bytes.into_iter().take(9000).collect())),
        1 => Just(Write::Start),
        1 => Just(Write::Exit),
    ]
}

fn written(writes: &[Write]) -> (tempfile::TempDir, u64) {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { segment_bytes: 4096, retain_bytes: 64 << 20 };
    let mut writer = Writer::open(dir.path(), limits, [1; 16], 1).unwrap();
    for (write, at) in writes.iter().zip(1..) {
        let _ = match write {
            Write::Out(bytes) => writer.append_out(bytes, at),
            Write::In(bytes) => writer.append_in(&InPayload { request_id: at, user: "disk", bytes }, at),
            Write::Note(bytes) => writer.append_note(bytes, at),
            Write::Start => writer.append_start(&spool::StartPayload::default(), at),
            Write::Exit => writer.append_exit(&spool::ExitPayload::default(), at),
        };
    }
    (dir, writer.position().1)
}

const TEXTS: &[&str] = &[
    "disk",
    "di",
    "k",
    "s",
    "\u{212a}",
    "\u{17f}k",
    "größe",
    "ß",
    "Größ",
    "ö",
    "\t",
    "d\t",
    "\u{fffd}",
    "k\u{fffd}",
    "k full",
    "full 17",
    "mdisk",
    "x\n",
    "]0;d",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever is printed, in whatever pieces, and whatever is damaged.
    #[test]
    fn a_search_finds_what_reading_every_line_finds(
        writes in prop::collection::vec(write(), 0..40),
        is_case_told_apart: bool,
        damage in prop::option::of((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>())),
        before in prop::option::of(0..200_u64),
    ) {
        let (dir, head) = written(&writes);
        let segments = log::segments(dir.path()).unwrap();
        if let Some((segment, at, byte)) = damage.filter(|_| !segments.is_empty()) {
            let path = dir.path().join(segment.get(&segments).file_name());
            let mut bytes = std::fs::read(&path).unwrap();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            std::fs::write(&path, bytes).unwrap();
        }
        let before = before.unwrap_or(head).min(head);
        for text in TEXTS {
            let (plain, quick) =
                (plainly(dir.path(), text, is_case_told_apart, before), found(dir.path(), text, is_case_told_apart, before));
            prop_assert_eq!(quick, plain, "{:?}", text);
        }
    }
}

#[test]
fn a_text_is_found_across_frames_and_pieces_of_a_scan() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { segment_bytes: 4 << 20, retain_bytes: 64 << 20 };
    let mut writer = Writer::open(dir.path(), limits, [1; 16], 1).unwrap();
    // Whatever the length of a frame is, one of so many places of the text has its seam, and that of a piece, within it.
    let mut bytes = Vec::new();
    let mut lines = 0;
    while bytes.len() < 3 * SCAN_BYTES {
        bytes.extend_from_slice(format!("{} The Needle {lines}\n", "-".repeat(lines % 97)).as_bytes());
        lines += 1;
    }
    let _ = writer.append_out(&bytes, 1);
    let _ = writer.append_out(b"a prompt: the nee", 2);
    let _ = writer.append_note(b"a note", 3);
    let _ = writer.append_out(b"dle\n", 4);
    let head = writer.position().1;
    assert_eq!(head, lines as u64 + 2);
    let numbers = |text: &str| found(dir.path(), text, false, head).iter().map(|found| found.seq).collect::<Vec<_>>();
    assert_eq!(numbers("the needle").len(), lines + 1);
    assert_eq!(numbers("prompt: the needle"), [head - 1]);
    for n in (0..lines).step_by(101) {
        assert_eq!(numbers(&format!("NEEDLE {n}")).last(), Some(&(n as u64)));
    }
}

#[test]
fn what_was_lost_ends_a_line_for_a_scan_as_well() {
    let needle = Needle::new("needle", false).unwrap();
    let mut scan = Scan::new(&needle);
    let frame = |kind, payload| Frame { kind, time_ms: 1, line: 0, payload };
    let gap = GapPayload { bytes: 3, lines: 0, reason: GapReason::DiskFull }.encode();
    assert!(!scan.may_be_in(&frame(Kind::Out, b"a nee")));
    assert!(!scan.may_be_in(&frame(Kind::Gap, &gap)));
    assert!(!scan.may_be_in(&frame(Kind::Out, b"dle\nnee")));
    assert!(!scan.may_be_in(&frame(Kind::Note, b"dle")));
    assert!(scan.may_be_in(&frame(Kind::Out, b"dle\n")));
}
