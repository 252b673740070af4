//! Which rows of the public documents and of the protocol reference must have a transcript, and which are kept elsewhere and where.

use std::collections::BTreeSet;
use std::path::Path;

use crate::transcript::read_text;

/// Every row that a session decides. `seeds` are the two public documents, which say the same; their words are the headings of
/// what is sent and received. `§` is the protocol reference; the words are those in the first cells of its tables.
const REQUIRED: &[&str] = &[
    // The public documents.
    "seeds: How to Connect",
    "seeds: Authentication",
    "seeds: Authenticate with WebSocket",
    "seeds: Request Stats",
    "seeds: Request Logs",
    "seeds: Send Power Action",
    "seeds: Send Command",
    "seeds: Successful Authentication",
    "seeds: Server Status Updates",
    "seeds: Console Output Logs",
    "seeds: Server Stats",
    "seeds: Token Expiring Notification",
    "seeds: Token Expired Notification",
    // What is revoked.
    "§2.4: jti denied",
    "§2.4: server and user denied",
    "§2.4: older than the node's start",
    "§2.4: no iat",
    "§2.4: server_uuid or user_uuid empty",
    // How fast and in which forms messages come.
    "§3.3: per event",
    "§3.3: global rate",
    "§3.3: before the token test",
    "§3.4: not JSON / wrong types",
    "§3.4: args missing or null",
    "§3.4: args: [null]",
    "§3.4: args: [\"a\",\"b\"]",
    "§3.4: args: [1] or [{}] or a bare string",
    "§3.4: unknown event",
    "§3.4: extra members",
    "§3.4: event name case",
    // Every error.
    "§3.5: non-auth message before auth",
    "§3.5: non-auth message, stored token expired",
    "§3.5: non-auth message, denylisted",
    "§3.5: non-auth message, lost connect permission / scope",
    "§3.5: non-auth message, token for another server",
    "§3.5: auth with expired token",
    "§3.5: auth with denylisted token",
    "§3.5: auth with no-permission token",
    "§3.5: auth with no-scope token",
    "§3.5: auth with bad signature",
    "§3.5: auth with garbage",
    "§3.5: auth with empty string",
    "§3.5: auth with a valid token of another server",
    "§3.5: re-auth fails",
    "§3.5: action fails",
    "§3.5: power lock busy",
    "§3.5: rate limited",
    "§3.5: suspended at connect",
    "§3.5: suspended later",
    "§3.5: server deleted",
    "§3.5: deauthorize-user",
    "§3.5: no auth within 30 s",
    "§3.5 DO: 1",
    "§3.5 DO: 2",
    "§3.5 DO: 3",
    "§3.5 DO: 4",
    "§3.5 DO: 5",
    // The first auth, and later ones.
    "§4.1: 1 auth success",
    "§4.1: 2 listeners",
    "§4.1: 3 status",
    "§4.1: 4 stats when offline",
    "§4.1: 5 no history",
    "§4.1: 6 no install or transfer state",
    "§4.2: only auth success",
    "§4.2: permissions and user replaced",
    "§4.2: another user",
    // The end of a token.
    "§4.3: left > 60",
    "§4.3: left 1 … 60",
    "§4.3: left ≤ 0",
    "§4.3 DO: notices",
    "§4.3 DO: suppress and answer",
    "§4.3 DO: close after a grace",
    "§4.3: re-auth resumes",
    // Permissions.
    "§4.4 in: auth",
    "§4.4 in: send logs",
    "§4.4 in: send stats",
    "§4.4 in: set state start",
    "§4.4 in: set state stop",
    "§4.4 in: set state restart",
    "§4.4 in: set state kill",
    "§4.4 in: set state unknown word",
    "§4.4 in: send command",
    "§4.4 out: install output",
    "§4.4 out: backup completed…",
    "§4.4 out: transfer logs",
    "§4.4 out: all others",
    "§4.4: error text",
    // Commands.
    "§5.4 DO: line ends",
    "§5.4 DO: control characters",
    "§5.4 DO: embedded newlines",
];

/// Rows that are not a session's to decide: the row, the file of tests that keeps it, and the test.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    (
        "seeds: Endpoint, Headers",
        "tests/tests/seed_javascript.rs",
        "the_documented_javascript_sees_what_it_was_promised",
    ),
    ("seeds: Example Response", "crates/wire/tests/fixtures.rs", "rest_bodies_are_their_fixtures"),
    ("§3.5: > 30 authenticated", "tests/tests/hostile_socket.rs", "one_connection_too_many_is_told_so"),
    ("§3.5: write error to the socket", "crates/daemon/tests/sockets/pace.rs", "a_viewer_that_never_reads_is_let_go"),
    (
        "§4.1: what a running server sends",
        "crates/daemon/tests/sockets/door.rs",
        "a_running_server_tells_its_state_and_nothing_else_unasked",
    ),
];

/// Fails when a row has no transcript, when a transcript cites what is no row, or when a test named above is gone.
pub(crate) fn assert_complete(cited: &BTreeSet<String>) {
    let required: BTreeSet<String> = REQUIRED.iter().map(|&row| row.to_owned()).collect();
    assert_eq!(required.len(), REQUIRED.len(), "a row stands here twice");
    let missing: Vec<_> = required.difference(cited).collect();
    assert!(missing.is_empty(), "rows without a transcript: {missing:#?}");
    let unknown: Vec<_> = cited.difference(&required).collect();
    assert!(unknown.is_empty(), "no such rows: {unknown:#?}");
    for (row, file, test) in ELSEWHERE {
        assert!(!required.contains(*row), "{row}");
        let text = read_text(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file));
        assert!(text.contains(&format!("fn {test}()")), "{row}: {file} has no test {test}");
    }
}
