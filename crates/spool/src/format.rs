//! Bytes of a segment: its header and its frames, with their checksums. Version 1.
//!
//! ```text
//! segment header, 64 bytes          frame header, 16 bytes
//!  0  "GSLOG\x01\0\0"                 0  u32  payload length (24 bits) | kind << 24
//!  8  u64  base_pos                   4  u32  CRC32C of the other 12 bytes and the payload
//! 16  u64  base_line                  8  u64  unix time in ms (42 bits) << 22 | line - base_line (22 bits)
//! 24  u64  created, unix ms          16  payload, at most 65520 bytes
//! 32  [16] run id
//! 48  u32  CRC32C of the other 60 bytes
//! 52  zeros
//! ```
//! All numbers are little-endian.

use crate::take::Take;

/// Bytes of a segment's header.
pub const SEGMENT_HEADER_BYTES: usize = 64;
/// Bytes of a frame's header.
pub const FRAME_HEADER_BYTES: usize = 16;
/// Largest payload of one frame. The writer cuts a longer burst; a reader takes a longer one for damage.
pub const PAYLOAD_BYTES_MAX: usize = 65_520;
/// Largest frame, header included.
pub const FRAME_BYTES_MAX: usize = FRAME_HEADER_BYTES + PAYLOAD_BYTES_MAX;
/// Largest `line - base_line` a frame can carry. The writer starts a new segment before it would pass this.
pub const LINE_OFFSET_MAX: u64 = (1 << LINE_OFFSET_BITS) - 1;
/// The version this program writes.
pub const VERSION: u8 = 1;
/// Latest time a frame can carry, in the year 2109. Later ones are written as this one.
pub const TIME_MS_MAX: u64 = (1 << 42) - 1;

const LINE_OFFSET_BITS: u32 = 22;
const MAGIC: [u8; 8] = *b"GSLOG\x01\0\0";
const LENGTH_MASK: u32 = 0x00ff_ffff;
const KIND_SHIFT: u32 = 24;
const SEGMENT_CRC_AT: usize = 48;

/// The first 64 bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Position of the segment's first frame.
    pub base_pos: u64,
    /// Number of the first line that begins in this segment. A segment always begins between two lines.
    pub base_line: u64,
    /// When it was made, unix ms.
    pub created_ms: u64,
    /// The run whose writer made it.
    pub run_id: [u8; 16],
}

impl SegmentHeader {
    /// The bytes to write.
    pub fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = Vec::with_capacity(SEGMENT_HEADER_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.base_pos.to_le_bytes());
        bytes.extend_from_slice(&self.base_line.to_le_bytes());
        bytes.extend_from_slice(&self.created_ms.to_le_bytes());
        bytes.extend_from_slice(&self.run_id);
        bytes.resize(SEGMENT_HEADER_BYTES, 0);
        let mut header = [0; SEGMENT_HEADER_BYTES];
        header.copy_from_slice(&bytes);
        let crc = segment_crc(&header).to_le_bytes();
        if let Some(field) = header.get_mut(SEGMENT_CRC_AT..SEGMENT_CRC_AT + crc.len()) {
            field.copy_from_slice(&crc);
        }
        header
    }

    /// Reads a header. `None`: too short, another format or version, or damaged.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let header: [u8; SEGMENT_HEADER_BYTES] = *bytes.first_chunk()?;
        let mut take = Take(&header);
        if take.array()? != MAGIC {
            return None;
        }
        let decoded =
            Self { base_pos: take.u64()?, base_line: take.u64()?, created_ms: take.u64()?, run_id: take.array()? };
        (take.u32()? == segment_crc(&header)).then_some(decoded)
    }
}

/// Over everything but the checksum itself.
fn segment_crc(header: &[u8; SEGMENT_HEADER_BYTES]) -> u32 {
    let (before, rest) = header.split_at(SEGMENT_CRC_AT);
    let (_, after) = rest.split_at(size_of::<u32>());
    crc32c::crc32c_append(crc32c::crc32c(before), after)
}

/// Version of the segment that begins with these bytes, this program's or another; `None` if it is no segment.
pub fn version(bytes: &[u8]) -> Option<u8> {
    let (name, version) = (bytes.get(..5)?, bytes.get(5)?);
    MAGIC.starts_with(name).then_some(*version)
}

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Bytes the game printed, as they came.
    Out,
    /// A command for the game: [`crate::InPayload`].
    In,
    /// A run begins: [`crate::StartPayload`].
    Start,
    /// A run has ended: [`crate::ExitPayload`].
    Exit,
    /// Something could not be kept: [`crate::GapPayload`].
    Gap,
    /// The writer was replaced while the game ran on. Reserved.
    Upgraded,
    /// A line of the node's own, text.
    Note,
    /// Something a newer version wrote. Its checksum holds; it has no part in the numbering of lines.
    Other(u8),
}

impl Kind {
    /// The number in a frame's header.
    pub fn code(self) -> u8 {
        match self {
            Self::Out => 1,
            Self::In => 2,
            Self::Start => 3,
            Self::Exit => 4,
            Self::Gap => 5,
            Self::Upgraded => 6,
            Self::Note => 7,
            Self::Other(code) => code,
        }
    }

    /// The reverse of [`Kind::code`].
    pub fn from_code(code: u8) -> Self {
        match code {
            1 => Self::Out,
            2 => Self::In,
            3 => Self::Start,
            4 => Self::Exit,
            5 => Self::Gap,
            6 => Self::Upgraded,
            7 => Self::Note,
            other => Self::Other(other),
        }
    }
}

/// The first 16 bytes of a frame, without their checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// What the payload is.
    pub kind: Kind,
    /// Unix ms, at most [`TIME_MS_MAX`].
    pub time_ms: u64,
    /// Lines that ended in this segment before the frame's first byte, at most [`LINE_OFFSET_MAX`].
    pub line_offset: u64,
}

impl FrameHeader {
    /// The header of a frame with this payload. Neither the payload's length nor `line_offset` may pass its maximum: the
    /// frame would be unreadable, so both are cut to it here and the writer sees to it that this never happens.
    pub fn encode(&self, payload: &[u8]) -> [u8; FRAME_HEADER_BYTES] {
        let length = u32::try_from(payload.len().min(PAYLOAD_BYTES_MAX)).unwrap_or(LENGTH_MASK);
        let word = length | u32::from(self.kind.code()) << KIND_SHIFT;
        let stamp = self.time_ms.min(TIME_MS_MAX) << LINE_OFFSET_BITS | self.line_offset.min(LINE_OFFSET_MAX);
        let (word, stamp) = (word.to_le_bytes(), stamp.to_le_bytes());
        let crc = frame_crc(word, stamp, payload.get(..PAYLOAD_BYTES_MAX).unwrap_or(payload)).to_le_bytes();
        let mut header = [0; FRAME_HEADER_BYTES];
        for (to, from) in header.iter_mut().zip(word.iter().chain(&crc).chain(&stamp)) {
            *to = *from;
        }
        header
    }
}

fn frame_crc(word: [u8; 4], stamp: [u8; 8], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(&word), &stamp), payload)
}

/// A whole frame, checksum verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the payload is.
    pub kind: Kind,
    /// When it was written, unix ms. The clock may have been set back in between.
    pub time_ms: u64,
    /// Lines of the whole log that ended before the frame's first byte.
    pub line: u64,
    /// Its bytes, see [`Kind`].
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// How far this frame moves `pos`.
    pub fn bytes(&self) -> u64 {
        (FRAME_HEADER_BYTES + self.payload.len()) as u64
    }
}

/// Why [`Frames`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// At the end of the slice, behind a whole frame.
    Clean,
    /// Inside a frame: the slice ends early. In the newest segment: not written yet, look again.
    Short,
    /// At bytes that are no frame. In the newest segment this may be a frame being written; in an older one it is damage.
    Bad,
}

/// The whole frames at the front of a slice, in order. Give it a segment's bytes behind the header, or behind any frame.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    rest: &'a [u8],
    base_line: u64,
    consumed: usize,
    tail: Tail,
    is_verified: bool,
}

impl<'a> Frames<'a> {
    /// `base_line` is the segment's.
    pub fn new(bytes: &'a [u8], base_line: u64) -> Self {
        Self { rest: bytes, base_line, consumed: 0, tail: Tail::Clean, is_verified: true }
    }

    /// The same without checksums: every frame that [`Frames::new`] gives, and behind the first that is damaged perhaps more, which
    /// may be anything. For who looks where reading is worth the while.
    pub fn unverified(bytes: &'a [u8], base_line: u64) -> Self {
        Self { is_verified: false, ..Self::new(bytes, base_line) }
    }

    /// Bytes of the frames returned so far: where to go on later.
    pub fn consumed(&self) -> usize {
        self.consumed
    }

    /// Why the last `next` returned `None`; before that, [`Tail::Clean`].
    pub fn tail(&self) -> Tail {
        self.tail
    }

    fn read(&self) -> Result<Frame<'a>, Tail> {
        if self.rest.is_empty() {
            return Err(Tail::Clean);
        }
        let mut take = Take(self.rest);
        let word = take.array::<4>().ok_or(Tail::Short)?;
        let crc = take.u32().ok_or(Tail::Short)?;
        let stamp = take.array::<8>().ok_or(Tail::Short)?;
        let length = usize::try_from(u32::from_le_bytes(word) & LENGTH_MASK).map_err(|_| Tail::Bad)?;
        if length > PAYLOAD_BYTES_MAX {
            return Err(Tail::Bad);
        }
        let payload = take.bytes(length).ok_or(Tail::Short)?;
        if self.is_verified && frame_crc(word, stamp, payload) != crc {
            return Err(Tail::Bad);
        }
        let [.., kind] = word;
        let stamp = u64::from_le_bytes(stamp);
        Ok(Frame {
            kind: Kind::from_code(kind),
            time_ms: stamp >> LINE_OFFSET_BITS,
            line: self.base_line.saturating_add(stamp & LINE_OFFSET_MAX),
            payload,
        })
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        match self.read() {
            Ok(frame) => {
                let length = FRAME_HEADER_BYTES + frame.payload.len();
                self.rest = self.rest.get(length..).unwrap_or_default();
                self.consumed += length;
                Some(frame)
            }
            Err(tail) => {
                self.tail = tail;
                None
            }
        }
    }
}
