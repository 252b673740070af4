//! A text to look for in lines, and a quick way to know that many lines do not have it.
//!
//! Whether a line has it is said of the line as people see it: as text, without control sequences, in any case of letters unless
//! it is asked for otherwise. To find that out takes longer than reading the line, and nearly no line has it. So
//! [`Needle::may_be_in`] looks at the bytes of many lines at once, for what a line that has the text must have:
//!
//! * the bytes of the text, one behind the other. Of those two are looked for, at many places in one step; or
//! * the beginning of the text and, right behind that, a control character: nothing else begins what a person does not see.
//!
//! Only a line that has one of them is looked at as people see it.

use std::ops::ControlFlow;

use regex::{Regex, RegexBuilder};

use crate::line::{C1_FIRST_BYTE, strip_ansi, text};

/// Places looked at together.
const TOGETHER: usize = 64;
/// Bytes of the text that are looked for first, and how far apart they may be.
const ANCHORS: usize = 2;
const SPAN_MAX: usize = TOGETHER;
/// What has more bytes without an end may be several lines.
const LINE_BYTES_SURE: usize = 60_000;
/// A bit that small letters have and capital ones do not.
const CASE_BIT: u8 = 0x20;
/// From the most frequent on, roughly, in what programs print; bytes that are not here are rarer.
const FREQUENT: &[u8] = b" etaoinrs0l1dc2hum3pf54g.wyb876v9-:/_k,xjqz";

/// See the module.
#[derive(Clone, Debug)]
pub struct Needle {
    pattern: Regex,
    /// None if only looking at each line tells.
    quick: Option<Quick>,
}

impl Needle {
    /// Finds a text anywhere in a line. None if it is too long to look for.
    pub fn new(wanted: &str, is_case_told_apart: bool) -> Option<Self> {
        let pattern = RegexBuilder::new(&regex::escape(wanted)).case_insensitive(!is_case_told_apart).build().ok()?;
        Some(Self { pattern, quick: Quick::new(wanted, is_case_told_apart) })
    }

    /// The line as people see it, if it has the text.
    pub fn found_in(&self, line: &[u8]) -> Option<String> {
        let said = text(line);
        let seen = strip_ansi(&said);
        self.pattern.is_match(&seen).then(|| seen.into_owned())
    }

    /// Whether one of these lines may have the text; they end with `\n`, but for the last one perhaps. No is certain.
    pub fn may_be_in(&self, lines: &[u8]) -> bool {
        let Some(quick) = &self.quick else { return true };
        // Up to here all is known.
        let mut known = 0;
        let looked = quick.places(lines, &mut |at| {
            if at < known {
                return ControlFlow::Continue(());
            }
            let (before, behind) = lines.split_at(at);
            let begin = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
            let end = behind.iter().position(|&byte| byte == b'\n').map_or(lines.len(), |length| at + length);
            known = end;
            let line = lines.get(begin..end).unwrap_or_default();
            let may_have_it = line.len() > LINE_BYTES_SURE || self.found_in(line).is_some();
            if may_have_it { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        looked.is_break()
    }
}

#[derive(Clone, Debug)]
struct Quick {
    units: Vec<Unit>,
    /// The longest piece of them whose bytes stand in a log one behind the other.
    run: std::ops::Range<usize>,
    /// Rare ones of the piece, the offset counted from its begin.
    anchors: [Anchor; ANCHORS],
    /// The last anchor's offset.
    span: usize,
    /// By byte: whether a beginning of the text may end with it.
    ends_a_beginning: Box<[bool; 256]>,
}

impl Quick {
    fn new(wanted: &str, is_case_told_apart: bool) -> Option<Self> {
        // Tabs are seen even when they stand within a control sequence, and what stands for bytes that are no text is in no log.
        // With other control characters nothing is found.
        if wanted.contains(|c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER) {
            return None;
        }
        let units: Vec<Unit> = wanted.bytes().map(|byte| Unit::new(byte, is_case_told_apart)).collect();
        let run = longest_run(&units)?;
        let mut by_rarity: Vec<Anchor> =
            units.get(run.clone())?.iter().take(SPAN_MAX).zip(0..).map(Anchor::new).collect();
        by_rarity.sort_by_key(|anchor| std::cmp::Reverse(rarity(anchor.unit.byte)));
        // A short piece has fewer; some are looked for twice.
        let mut rarest = by_rarity.iter().copied().cycle();
        let first = rarest.next()?;
        let anchors = [first, rarest.next().unwrap_or(first)];
        let span = anchors.iter().map(|anchor| anchor.offset).max().unwrap_or(0);
        let mut ends_a_beginning = Box::new([false; 256]);
        let (_, beginnings) = units.split_last()?;
        for (byte, ends) in (0..=u8::MAX).zip(ends_a_beginning.iter_mut()) {
            *ends = beginnings.iter().any(|unit| unit.may_be(byte));
        }
        Some(Self { units, run, anchors, span, ends_a_beginning })
    }

    /// Tells `on` of all places near which the text may be: in the same line, at least.
    fn places(&self, bytes: &[u8], on: &mut impl FnMut(usize) -> ControlFlow<()>) -> ControlFlow<()> {
        let mut at = 0;
        while let Some(window) = bytes.get(at..at + TOGETHER + self.span) {
            if self.is_hot(window) {
                self.each_place(bytes, at, on)?;
            }
            at += TOGETHER;
        }
        // What is left is shorter than a window. Two windows have all of it, with something behind that is in no text.
        let mut padded = [b'\n'; 2 * TOGETHER + SPAN_MAX];
        for (to, from) in padded.iter_mut().zip(bytes.get(at..).unwrap_or_default()) {
            *to = *from;
        }
        for behind in [0, TOGETHER] {
            if padded.get(behind..).is_some_and(|window| self.is_hot(window)) {
                self.each_place(bytes, at + behind, on)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Whether one of the first places of these bytes is to be looked at.
    #[inline]
    fn is_hot(&self, window: &[u8]) -> bool {
        let [one, two] = &self.anchors;
        let ahead = |anchor: &Anchor| window.get(anchor.offset..).and_then(|bytes| bytes.first_chunk::<TOGETHER>());
        let (Some(here), Some(ones)) = (window.first_chunk::<TOGETHER>(), ahead(one)) else { return true };
        let Some(twos) = ahead(two) else { return true };
        // Without a branch, so that the compiler takes many bytes in one step.
        let mut any = false;
        for index in 0..TOGETHER {
            any |= (one.unit.is(ones[index]) & two.unit.is(twos[index])) | begins_unseen(here[index]);
        }
        any
    }

    #[inline(never)]
    fn each_place(&self, bytes: &[u8], from: usize, on: &mut impl FnMut(usize) -> ControlFlow<()>) -> ControlFlow<()> {
        for at in from..bytes.len().min(from + TOGETHER) {
            let (before, behind) = bytes.split_at(at);
            let is_place = match behind.first() {
                Some(&byte) if begins_unseen(byte) => self.ends_with_a_beginning(before),
                _ => self.begins_with_the_run(behind),
            };
            if is_place {
                on(at)?;
            }
        }
        ControlFlow::Continue(())
    }

    fn begins_with_the_run(&self, bytes: &[u8]) -> bool {
        let run = self.units.get(self.run.clone()).unwrap_or_default();
        bytes.len() >= run.len() && run.iter().zip(bytes).all(|(unit, &byte)| unit.is(byte))
    }

    /// Whether what people see of these bytes may end with a beginning of the text.
    fn ends_with_a_beginning(&self, bytes: &[u8]) -> bool {
        let Some(&last) = bytes.last() else { return false };
        if !self.ends_a_beginning.get(usize::from(last)).is_some_and(|ends| *ends) {
            return false;
        }
        (1..self.units.len()).any(|length| {
            let beginning = self.units.get(..length).unwrap_or_default();
            for (index, unit) in beginning.iter().rev().enumerate() {
                let byte = bytes.len().checked_sub(index + 1).and_then(|at| bytes.get(at));
                let Some(&byte) = byte else { return false };
                // Of how many bytes it is there is not known, so what is in front of it is not looked at.
                let is_of_unknown_length = unit.is_loose && !(unit.byte.is_ascii() && byte.is_ascii());
                if is_of_unknown_length || !unit.is(byte) {
                    return unit.may_be(byte);
                }
            }
            true
        })
    }
}

/// One byte of the text, as it may stand in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Unit {
    byte: u8,
    /// Bits that do not count: the case of a letter.
    ignored: u8,
    /// Something else, of another length, may stand in its place.
    is_loose: bool,
}

impl Unit {
    fn new(byte: u8, is_case_told_apart: bool) -> Self {
        if is_case_told_apart {
            return Self { byte, ignored: 0, is_loose: false };
        }
        // The Kelvin sign and the long s are in another case what k and s are; so may others be that are not ASCII.
        let is_loose = !byte.is_ascii() || matches!(byte.to_ascii_lowercase(), b'k' | b's');
        let ignored = if byte.is_ascii_alphabetic() { CASE_BIT } else { 0 };
        Self { byte: byte | ignored, ignored, is_loose }
    }

    #[inline]
    fn is(self, byte: u8) -> bool {
        byte | self.ignored == self.byte
    }

    /// Whether this may be the last byte of what stands in its place.
    fn may_be(self, byte: u8) -> bool {
        self.is(byte) || (self.is_loose && (!byte.is_ascii() || byte.is_ascii_alphabetic()))
    }
}

/// A byte that is looked for first.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    unit: Unit,
    offset: usize,
}

impl Anchor {
    fn new((&unit, offset): (&Unit, usize)) -> Self {
        Self { unit, offset }
    }
}

/// The longest piece of the text that has nothing loose.
fn longest_run(units: &[Unit]) -> Option<std::ops::Range<usize>> {
    let mut longest = 0..0;
    let mut begin = 0;
    for (index, unit) in units.iter().enumerate() {
        if unit.is_loose {
            begin = index + 1;
        } else if index + 1 - begin > longest.len() {
            longest = begin..index + 1;
        }
    }
    (!longest.is_empty()).then_some(longest)
}

/// Whether what people do not see may begin with this byte.
#[inline]
#[expect(clippy::needless_bitwise_bool, reason = "without a branch many bytes are looked at in one step")]
fn begins_unseen(byte: u8) -> bool {
    ((byte < b' ') & (byte != b'\n')) | (byte == 0x7f) | (byte == C1_FIRST_BYTE)
}

/// The greater, the rarer.
fn rarity(byte: u8) -> usize {
    FREQUENT.iter().position(|&other| other == byte.to_ascii_lowercase()).unwrap_or(FREQUENT.len())
}
