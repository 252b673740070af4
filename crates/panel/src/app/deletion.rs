//! Servers that are to be deleted: they are out of everybody's way at once, and gone when their time has come.

use std::time::Duration;

use super::{App, AppState};
use crate::clock;
use crate::http::problem::Answer;
use crate::nodes::outbox::Notice;
use crate::store::outbox::Waiting;
use crate::store::servers::Server;

const HOUR_MS: i64 = 60 * 60 * 1000;
/// The longest pause before it is looked again: a clock that was set is noticed within it.
const PAUSE_MS_MAX: i64 = HOUR_MS;
/// The pause after one that could not be deleted.
const PAUSE_MS_AFTER_FAULT: i64 = 60_000;
/// Servers deleted in one go.
const BATCH: i64 = 50;

impl AppState {
    /// Puts a server out of the way: its node stops it and closes its consoles, nobody sees it any more, and it is deleted after the
    /// grace that is set; at once, when there is none. Whether it can be brought back.
    pub(crate) async fn retire_server(&self, server: &Server, now: i64) -> Answer<bool> {
        if self.config.delete_grace_h == 0 {
            self.remove_server(server).await?;
            return Ok(false);
        }
        let delete_at = now.saturating_add(i64::from(self.config.delete_grace_h) * HOUR_MS);
        let edit = |server: &mut Server| {
            if server.delete_at.is_none() {
                server.delete_at = Some(delete_at);
                server.kept_external_id = server.external_id.take();
            }
            Ok::<Vec<Waiting>, crate::store::StoreError>(vec![Notice::Sync { server: server.uuid }.to(server.node)])
        };
        if let Some((server, notices)) = self.store.change_server(server.uuid, edit).await? {
            self.forget(server.uuid);
            self.outbox.first_try(&notices).await;
        }
        self.deletions.notify_one();
        Ok(true)
    }

    /// Deletes those whose time has come; how many.
    pub(crate) async fn delete_due(&self, now: i64) -> Answer<usize> {
        let due = self.store.due_deletions(now, BATCH).await?;
        for server in &due {
            self.remove_server(server).await?;
            tracing::info!(server = %server.uuid, name = server.name, "the time of a deleted server is over");
        }
        Ok(due.len())
    }
}

/// Deletes them when their time has come, for ever. It may be aborted anywhere: what is not done is still in the database.
pub(crate) async fn run(app: App) {
    loop {
        let pause = match app.delete_due(clock::now_ms()).await {
            Ok(0) => match app.store.next_deletion_due().await {
                Ok(due) => due.map_or(PAUSE_MS_MAX, |due| (due - clock::now_ms()).clamp(0, PAUSE_MS_MAX)),
                Err(error) => {
                    tracing::error!(%error, "cannot read which servers are to be deleted");
                    PAUSE_MS_AFTER_FAULT
                }
            },
            Ok(_) => 0,
            // It was logged where it was made.
            Err(_) => PAUSE_MS_AFTER_FAULT,
        };
        let pause = Duration::from_millis(u64::try_from(pause).unwrap_or(0));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = app.deletions.notified() => {}
        }
    }
}
