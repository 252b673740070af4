//! The exit file in a log folder, damaged, of another version, or foreign: no panic, what is believed says the same when it is
//! written again, and a byte more or less is never believed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spool::{ExitRecord, Loss};

fuzz_target!(|data: &[u8]| {
    for bytes in [data.to_vec(), with_checksum(data)] {
        if let Some(record) = ExitRecord::decode(&bytes) {
            let again = record.encode();
            assert_eq!(ExitRecord::decode(&again), Some(record));
            is_checked(&again, |bytes| ExitRecord::decode(bytes).is_some());
        }
        if let Some(loss) = Loss::decode(&bytes) {
            let again = loss.encode();
            assert_eq!((Loss::decode(&again), bytes.get(..again.len())), (Some(loss), Some(again.as_slice())));
            is_checked(&again, |bytes| Loss::decode(bytes).is_some());
            // Whatever it says, the numbers do not go back.
            let gap = loss.gap(loss.pos);
            assert!(gap.lines == 0 || loss.pos.checked_add(gap.lines) == Some(loss.next_line));
        }
    }
});

/// The last four bytes are the checksum of the others: chance would never find one.
fn with_checksum(data: &[u8]) -> Vec<u8> {
    let summed = data.get(..data.len().saturating_sub(4)).unwrap_or_default();
    [summed, &crc32c::crc32c(summed).to_le_bytes()].concat()
}

fn is_checked(whole: &[u8], believed: impl Fn(&[u8]) -> bool) {
    for at in 0..whole.len() {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 0x20;
        assert!(!believed(&bytes) && !believed(&whole[..at]));
    }
}
