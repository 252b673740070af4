//! Arbitrary bytes on the shim's socket, on the pipe of its answer, and on its standard input: no panic, and what is understood
//! says the same when it is sent on.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spool::message::{self, Reply, Request};
use spool::ready::Ready;
use spool::spec::LaunchSpec;

fuzz_target!(|data: &[u8]| {
    let mut rest = data;
    while let Ok(Some(raw)) = message::first(rest) {
        if let Ok(request) = Request::decode(raw) {
            let mut again = Vec::new();
            request.encode(&mut again);
            let raw = message::first(&again).expect("what we send is a frame").expect("a whole one");
            assert_eq!(Request::decode(raw), Ok(request));
        }
        if let Ok(reply) = Reply::decode(raw) {
            let mut again = Vec::new();
            reply.encode(&mut again);
            let raw = message::first(&again).expect("what we send is a frame").expect("a whole one");
            assert_eq!(Reply::decode(raw), Ok(reply));
        }
        rest = &rest[raw.bytes..];
    }
    if let Ok(answer) = Ready::decode(data) {
        assert!(Ready::decode(&answer.encode()).is_ok());
    }
    if let Ok(spec) = LaunchSpec::decode(data) {
        assert_eq!(LaunchSpec::decode(&spec.encode()), Ok(spec));
    }
});
