//! Lines as they come, over plain HTTP: for those who have `curl` and no WebSocket. A reader is a cursor as every viewer is, and
//! loses its place when whoever asked may not read any more.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use engine::token::Issued;
use futures_util::stream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use wire::history::{ConsoleGap, ConsoleLines};
use wire::ids::{Seq, UserId};

use super::Answer;
use super::lines::Format;
use crate::console::{Batch, Cursor};
use crate::history;
use crate::line::Line;
use crate::node::Node;
use crate::problem::Problem;
use crate::server::{Server, Standing, Status, ViewerSlot};

/// How long one answer goes on; whoever wants more asks again, behind the last line.
const ANSWER_MAX: Duration = Duration::from_mins(10);
/// After so long without a line an empty one is told, where that means nothing: who is between us and the reader sees that it lives.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// Whose rights an answer has.
#[derive(Clone, Copy)]
pub(super) struct Checked {
    pub(super) user: UserId,
    /// When the panel looked whether they have them, in Unix seconds.
    pub(super) wall_s: i64,
    /// The same by the panel's count, if it has one.
    pub(super) serial: Option<u64>,
}

/// Begins with a line, or with the next one to come if there is none of this number yet.
pub(super) fn stream(
    node: &Arc<Node>,
    server: &Server,
    from: Seq,
    format: Format,
    checked: Checked,
) -> Answer<Response> {
    let revoked = node.revocations.changed();
    // A panel whose clock runs ahead has not looked later than now.
    let wall_s = checked.wall_s.min(node.time.read().now.wall_s());
    let since = Issued { wall_s, serial: checked.serial, known: node.revocations.list().known() };
    let user = checked.user;
    let rights = Rights { node: node.clone(), server: server.clone(), user, since };
    if rights.are_gone() {
        return Err(Problem::new(StatusCode::FORBIDDEN, "these rights have just been changed; ask again"));
    }
    let slot = server.enter(Some(user), node.config.connections_per_user_max).ok_or_else(|| {
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "this user has too many consoles of this server open; close one")
    })?;
    let follower = Follower {
        cursor: Cursor::at(server.console(), from),
        format,
        rights,
        revoked,
        status: server.status(),
        cancel: node.tasks.cancel_token(),
        ends_at: Instant::now() + ANSWER_MAX,
        _slot: slot,
    };
    let lines = stream::unfold(follower, async |mut follower| {
        let told = follower.next().await?;
        Some((told, follower))
    });
    Ok((format.content_type(), Body::from_stream(lines)).into_response())
}

/// Whose answer it is, and since when.
struct Rights {
    node: Arc<Node>,
    server: Server,
    user: UserId,
    since: Issued,
}

impl Rights {
    fn are_gone(&self) -> bool {
        self.node.revocations.list().denies_user(self.user, self.server.id(), self.since)
    }
}

struct Follower {
    cursor: Cursor,
    format: Format,
    rights: Rights,
    revoked: watch::Receiver<u64>,
    status: watch::Receiver<Status>,
    cancel: CancellationToken,
    ends_at: Instant,
    _slot: ViewerSlot,
}

impl Follower {
    /// What is told next; nothing at the end.
    async fn next(&mut self) -> Option<Result<Bytes, std::io::Error>> {
        loop {
            let silent_at = Instant::now() + SILENCE_MAX;
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => return None,
                Ok(()) = self.revoked.changed() => {
                    if self.rights.are_gone() {
                        return None;
                    }
                }
                barred = self.status.wait_for(|status| status.standing != Standing::Active) => {
                    // It is gone for good, or nobody may read it for now.
                    drop(barred);
                    return None;
                }
                () = sleep_until(self.ends_at) => return None,
                batch = self.cursor.next() => {
                    let read = match batch {
                        Batch::Lines(lines) => told(&lines),
                        Batch::Gap { from, to } => {
                            let reason = "no longer kept".to_owned();
                            let gaps = vec![ConsoleGap { from: from.0, to: to.0, reason }];
                            ConsoleLines { gaps, ..ConsoleLines::default() }
                        }
                        Batch::Failed(error) => return Some(Err(error)),
                    };
                    return Some(Ok(Bytes::from(self.format.all(&read))));
                }
                () = sleep_until(silent_at), if self.format == Format::Ndjson => return Some(Ok(Bytes::from_static(b"\n"))),
            }
        }
    }
}

fn told(lines: &[Line]) -> ConsoleLines {
    let mut read = ConsoleLines::default();
    for line in lines {
        history::add(&mut read, line, 0, u64::MAX);
    }
    read
}
