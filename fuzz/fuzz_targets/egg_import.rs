//! Eggs from anybody: no text panics, none takes long, and what can be read can be written and reads the same.
#![no_main]

use egg::{Egg, Host};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok((egg, _)) = Egg::read(text) else { return };
    let _ = egg.verdict(&Host::default()).to_string();
    let _ = egg::stop(&egg.config.stop);
    let written = egg.to_ptdl_v2("2026-12-01T00:00:00+00:00");
    let (again, _) = Egg::read(&written).expect("what was written is an egg");
    assert_eq!(again.to_ptdl_v2("2026-12-01T00:00:00+00:00"), written);
});
