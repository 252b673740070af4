//! What nodes must be told and have not confirmed.

use sqlx::Sqlite;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::change::Change;
use super::{Columns, Result, Store, StoreError};

/// Messages kept at most.
pub(crate) const NOTICES_MAX: i64 = 10_000;
/// The `give_up_at` of a message that is never given up.
pub(crate) const NEVER: i64 = i64::MAX;

/// A message that waits.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    /// What it is about; there is one message per subject.
    pub(crate) subject: String,
    /// Which wish this is; a newer one for the same subject has another.
    pub(crate) revision: String,
    pub(crate) node: Uuid,
    /// The message as JSON.
    pub(crate) notice: String,
    pub(crate) attempts: u32,
    pub(crate) due_at: i64,
    /// [`NEVER`]: it must not be lost.
    pub(crate) give_up_at: i64,
}

fn read(row: &SqliteRow) -> Result<Waiting> {
    Ok(Waiting {
        subject: row.text("subject")?,
        revision: row.text("revision")?,
        node: row.parsed("node_uuid")?,
        notice: row.text("notice")?,
        attempts: row.int("attempts")?.try_into().unwrap_or(u32::MAX),
        due_at: row.int("due_at")?,
        give_up_at: row.int("give_up_at")?,
    })
}

/// Keeps messages together with the change they are about, each instead of an older one about the same subject. When there are too
/// many, the change fails with [`StoreError::OutboxFull`] if one of them must not be lost; the others are tried once, and said in
/// the log.
pub(super) async fn put(tx: &mut Change, notices: &[Waiting]) -> Result<()> {
    for waiting in notices {
        let done = sqlx::query::<Sqlite>(
            "INSERT INTO outbox (subject, revision, node_uuid, notice, attempts, due_at, give_up_at) \
             SELECT $1, $2, $3, $4, $5, $6, $7 \
             WHERE (SELECT COUNT(*) FROM outbox) < $8 OR EXISTS (SELECT 1 FROM outbox WHERE subject = $1) \
             ON CONFLICT (subject) DO UPDATE SET revision = excluded.revision, \
             notice = excluded.notice, attempts = excluded.attempts, due_at = excluded.due_at, give_up_at = excluded.give_up_at",
        )
        .bind(waiting.subject.clone())
        .bind(waiting.revision.clone())
        .bind(waiting.node.to_string())
        .bind(waiting.notice.clone())
        .bind(i64::from(waiting.attempts))
        .bind(waiting.due_at)
        .bind(waiting.give_up_at)
        .bind(NOTICES_MAX)
        .execute(&mut **tx)
        .await?;
        if done.rows_affected() > 0 {
            continue;
        }
        if waiting.give_up_at == NEVER {
            return Err(StoreError::OutboxFull);
        }
        tracing::error!(notice = %waiting.subject, "too many notices wait: this one is tried once only");
    }
    Ok(())
}

impl Store {
    /// Those whose time has come, also because it is further off than any pause: the clock was set back then.
    pub(crate) async fn due_notices(&self, now: i64, pause_max: i64, limit: i64) -> Result<Vec<Waiting>> {
        let due = "SELECT * FROM outbox WHERE due_at <= $1 OR due_at > $3 ORDER BY due_at LIMIT $2";
        let rows = sqlx::query::<Sqlite>(due)
            .bind(now)
            .bind(limit)
            .bind(now.saturating_add(pause_max))
            .fetch_all(&self.read)
            .await?;
        rows.iter().map(read).collect()
    }

    /// When the next one's time comes.
    pub(crate) async fn next_notice_due(&self) -> Result<Option<i64>> {
        sqlx::query::<Sqlite>("SELECT MIN(due_at) AS due_at FROM outbox")
            .fetch_one(&self.read)
            .await?
            .int_or_null("due_at")
    }

    /// It did not work: later again, unless a newer wish has taken its place.
    pub(crate) async fn delay_notice(&self, waiting: &Waiting, due_at: i64) -> Result<()> {
        let statement =
            sqlx::query::<Sqlite>("UPDATE outbox SET attempts = $3, due_at = $4 WHERE subject = $1 AND revision = $2")
                .bind(waiting.subject.clone())
                .bind(waiting.revision.clone())
                .bind(i64::from(waiting.attempts.saturating_add(1)))
                .bind(due_at);
        self.write.execute(statement).await?;
        Ok(())
    }

    /// The node does not answer: none of its messages is tried before then, so that they do not stand before those of others.
    pub(crate) async fn delay_node_notices(&self, node: Uuid, due_at: i64) -> Result<()> {
        let statement = sqlx::query::<Sqlite>("UPDATE outbox SET due_at = $2 WHERE node_uuid = $1 AND due_at < $2")
            .bind(node.to_string())
            .bind(due_at);
        self.write.execute(statement).await?;
        Ok(())
    }

    /// It is done, or nobody needs it any more.
    pub(crate) async fn drop_notice(&self, waiting: &Waiting) -> Result<()> {
        let statement = sqlx::query::<Sqlite>("DELETE FROM outbox WHERE subject = $1 AND revision = $2")
            .bind(waiting.subject.clone())
            .bind(waiting.revision.clone());
        self.write.execute(statement).await?;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use wire::ids::{ServerId, UserId};

    use super::*;
    use crate::nodes::outbox::Notice;
    use crate::store::nodes::NewNode;

    async fn count(store: &Store) -> i64 {
        let query = sqlx::query::<Sqlite>("SELECT COUNT(*) AS n FROM outbox");
        query.fetch_one(&store.read).await.unwrap().int("n").unwrap()
    }

    #[tokio::test]
    async fn a_full_outbox_refuses_what_must_not_be_lost_and_replaces_what_it_has() {
        let dir = tempfile::TempDir::new().unwrap();
        let store = Store::open(&dir.path().join("panel.sqlite")).await.unwrap();
        let new = NewNode {
            name: "far".to_owned(),
            description: String::new(),
            url: "http://127.0.0.1:9".to_owned(),
            local: false,
            maintenance: false,
            bind_ip: "0.0.0.0".to_owned(),
            port_min: 1,
            port_max: 2,
        };
        let node = store.insert_node(new).await.unwrap().uuid;
        let server = |number: i64| ServerId(Uuid::from_u128(u128::try_from(number).unwrap()));
        let delete = |number: i64| Notice::Delete { server: server(number) }.to(node);
        let all: Vec<Waiting> = (1..=NOTICES_MAX).map(delete).collect();
        let mut tx = store.change().await.unwrap();
        put(&mut tx, &all).await.unwrap();
        tx.commit().await.unwrap();

        let refused = store.delete_server(server(0), &[delete(0)]).await;
        assert!(matches!(refused, Err(StoreError::OutboxFull)), "{refused:?}");
        // The same again takes the place of the older one, and what may be lost is.
        store.delete_server(server(7), &[delete(7)]).await.unwrap();
        let user = UserId(Uuid::from_u128(1));
        let revocation = Notice::Deauthorize { user, servers: Vec::new(), number: None }.to(node);
        store.delete_user(user, &[revocation]).await.unwrap();
        assert_eq!(count(&store).await, NOTICES_MAX);
        // None of these is ever given up; they go with their node.
        assert_eq!(delete(1).give_up_at, NEVER);
        store.delete_node(node).await.unwrap();
        assert_eq!(count(&store).await, 0);
        store.close().await;
    }
}
