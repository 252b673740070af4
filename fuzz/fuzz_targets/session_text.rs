//! A conversation of arbitrary text frames at arbitrary times: no frame panics, what is sent out is always a message that clients
//! can parse, nothing is allowed before an `auth`, and a closed session stays silent.
#![no_main]

use std::sync::Arc;

use engine::denylist::Denylist;
use engine::session::{Action, Context, Policy, Session};
use engine::time::Now;
use engine::token::{LEEWAY_S, Rules, TokenError};
use libfuzzer_sys::fuzz_target;
use wire::console::Message;
use wire::token::Claims;

fuzz_target!(|data: &[u8]| {
    let server: wire::ids::ServerId = "11111111-2222-3333-4444-555555555555".parse().expect("a uuid");
    let rules = Rules { server, boot_wall_s: 0, boot_serial: None, skew_s: None, require_scope: true, leeway_s: LEEWAY_S };
    let denylist = Denylist::default();
    // Whatever claims the text holds count as signed: the signature is not what is tried here.
    let decode = |token: &str| serde_json::from_str::<Claims>(token).map_err(|_| TokenError::Malformed);
    let error_id = || "00000000-0000-4000-8000-000000000000".to_owned();
    let mut now = Now { mono_ms: 0, wall_ms: 1_000_000 };
    let mut session = Session::new(Arc::new(Policy::default()), now);
    let (mut authenticated, mut closed) = (false, false);
    for line in data.split(|byte| *byte == b'\n') {
        let Some((&wait, text)) = line.split_first() else { continue };
        now.mono_ms += u64::from(wait) * 100;
        now.wall_ms += i64::from(wait) * 100;
        let context = Context { now, rules: &rules, denylist: &denylist, decode: &decode, error_id: &error_id, doubt: &|| {} };
        let mut actions = Vec::new();
        session.time(&context, &mut actions);
        session.text(&context, &String::from_utf8_lossy(text), &mut actions);
        assert!(!closed || actions.is_empty(), "a closed session acts: {actions:?}");
        for action in actions {
            match action {
                Action::Send(event) => {
                    let frame = event.frame(false);
                    let message: Message = serde_json::from_str(&frame).expect("what we send can be parsed");
                    assert_eq!(message.event, event.name());
                }
                Action::Attach => authenticated = true,
                Action::Close(_) => closed = true,
                other => assert!(authenticated, "before any auth: {other:?}"),
            }
        }
    }
    let line = String::from_utf8_lossy(data);
    let plain = engine::line::strip_ansi(&line);
    assert!(!plain.contains('\u{1b}'));
    let _ = engine::line::echo_line("", &line);
    let _ = engine::line::text(data);
});
