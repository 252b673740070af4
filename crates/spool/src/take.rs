//! Taking little-endian values off the front of a slice; every decoder of this crate is made of these.

/// What is left of an encoded value. Each call takes from the front, or returns `None` and leaves the rest alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Take<'a>(pub(crate) &'a [u8]);

impl<'a> Take<'a> {
    pub(crate) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[b]| b)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A byte string preceded by its length as `u32`.
    pub(crate) fn counted(&mut self) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let count = usize::try_from(ahead.u32()?).ok()?;
        let bytes = ahead.bytes(count)?;
        *self = ahead;
        Some(bytes)
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

/// The longest prefix of `text` that has at most `bytes_max` bytes and ends between two characters.
pub(crate) fn shorten(text: &str, bytes_max: usize) -> &str {
    if text.len() <= bytes_max {
        return text;
    }
    let cut = (0..=bytes_max).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    text.get(..cut).unwrap_or_default()
}
