//! The record of who did what.

use serde_json::Value;
use sqlx::Sqlite;
use sqlx::sqlite::SqliteRow;
use wire::ids::{ServerId, UserId};

use super::{Columns, Found, Result, Store, Window, next_number, to_json};

/// One record.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) number: u64,
    pub(crate) event: String,
    pub(crate) user: Option<UserId>,
    pub(crate) api_key: Option<String>,
    pub(crate) ip: Option<String>,
    pub(crate) metadata: Value,
    pub(crate) happened_at: i64,
}

/// What a new record is made of.
#[derive(Clone, Debug)]
pub(crate) struct NewRecord {
    pub(crate) event: String,
    pub(crate) server: Option<ServerId>,
    pub(crate) user: Option<UserId>,
    pub(crate) api_key: Option<String>,
    pub(crate) ip: Option<String>,
    pub(crate) metadata: Value,
    pub(crate) happened_at: i64,
}

fn read(row: &SqliteRow) -> Result<Record> {
    Ok(Record {
        number: row.unsigned("number")?,
        event: row.text("event")?,
        user: row.text_or_null("user_uuid")?.and_then(|text| text.parse().ok()),
        api_key: row.text_or_null("api_key")?,
        ip: row.text_or_null("ip")?,
        metadata: row.json("metadata")?,
        happened_at: row.int("happened_at")?,
    })
}

macro_rules! of_server {
    ($start:literal, $end:literal) => {
        concat!($start, " WHERE server_uuid = $1 ", $end)
    };
}
macro_rules! of_account {
    ($start:literal, $end:literal) => {
        concat!($start, " WHERE user_uuid = $1 AND server_uuid IS NULL ", $end)
    };
}

impl Store {
    /// Adds records, all or none.
    pub(crate) async fn insert_activity(&self, records: Vec<NewRecord>) -> Result<()> {
        let mut tx = self.change().await?;
        for record in records {
            let number = next_number(&mut tx, "activity").await?;
            sqlx::query::<Sqlite>(
                "INSERT INTO activity (number, event, server_uuid, user_uuid, api_key, ip, metadata, happened_at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            )
            .bind(number)
            .bind(record.event)
            .bind(record.server.map(|id| id.to_string()))
            .bind(record.user.map(|id| id.to_string()))
            .bind(record.api_key)
            .bind(record.ip)
            .bind(to_json(&record.metadata))
            .bind(record.happened_at)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// A window of a server's records, newest first.
    pub(crate) async fn server_activity(&self, server: ServerId, window: Window) -> Result<Found<Record>> {
        let id = server.to_string();
        let count = of_server!("SELECT COUNT(*) AS n FROM activity", "");
        let select = of_server!("SELECT * FROM activity", "ORDER BY number DESC LIMIT $2 OFFSET $3");
        self.activity(id, count, select, window).await
    }

    /// A window of what somebody did with their own account, newest first.
    pub(crate) async fn account_activity(&self, user: UserId, window: Window) -> Result<Found<Record>> {
        let id = user.to_string();
        let count = of_account!("SELECT COUNT(*) AS n FROM activity", "");
        let select = of_account!("SELECT * FROM activity", "ORDER BY number DESC LIMIT $2 OFFSET $3");
        self.activity(id, count, select, window).await
    }

    async fn activity(
        &self,
        id: String,
        count: &'static str,
        select: &'static str,
        window: Window,
    ) -> Result<Found<Record>> {
        let total = sqlx::query::<Sqlite>(count).bind(id.clone()).fetch_one(&self.read).await?.unsigned("n")?;
        let rows = sqlx::query::<Sqlite>(select)
            .bind(id)
            .bind(window.limit())
            .bind(window.offset())
            .fetch_all(&self.read)
            .await?;
        Ok(Found { rows: rows.iter().map(read).collect::<Result<_>>()?, total })
    }

    /// Deletes records from before a time, and the oldest ones beyond so many of one server, or of one account; how many there were.
    pub(crate) async fn prune_activity(&self, before_ms: i64, records_max: i64) -> Result<u64> {
        let old = sqlx::query::<Sqlite>("DELETE FROM activity WHERE happened_at < $1").bind(before_ms);
        let old = self.write.execute(old).await?.rows_affected();
        let surplus = sqlx::query::<Sqlite>(
            "DELETE FROM activity WHERE number IN (SELECT number FROM (SELECT number, ROW_NUMBER() OVER \
             (PARTITION BY COALESCE(server_uuid, user_uuid) ORDER BY number DESC) AS place FROM activity) AS placed \
             WHERE place > $1)",
        )
        .bind(records_max);
        Ok(old + self.write.execute(surplus).await?.rows_affected())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn a_busy_server_does_not_fill_the_disk_with_its_record() {
        let dir = tempfile::TempDir::new().unwrap();
        let store = Store::open(&dir.path().join("panel.sqlite")).await.unwrap();
        let [busy, quiet] = [1, 2].map(|number| ServerId(Uuid::from_u128(number)));
        let user = UserId(Uuid::from_u128(3));
        let record = |server: Option<ServerId>, happened_at: i64| NewRecord {
            event: format!("server:{happened_at}"),
            server,
            user: Some(user),
            api_key: None,
            ip: None,
            metadata: Value::Null,
            happened_at,
        };
        let of = |server: Option<ServerId>, count: i64| (1..=count).map(move |at| record(server, at));
        let all = of(Some(busy), 9).chain(of(Some(quiet), 3)).chain(of(None, 7));
        store.insert_activity(all.collect()).await.unwrap();
        // Of the busy one 1 is old, and of the other eight five are kept; of the quiet one and the account 1 is old.
        assert_eq!(store.prune_activity(2, 5).await.unwrap(), 3 + 3 + 1);
        let events = |found: Found<Record>| found.rows.into_iter().map(|record| record.event).collect::<Vec<_>>();
        let window = Window { limit: 99, offset: 0 };
        let kept = |from: i64, to: i64| (from..=to).rev().map(|at| format!("server:{at}")).collect::<Vec<_>>();
        assert_eq!(events(store.server_activity(busy, window).await.unwrap()), kept(5, 9));
        assert_eq!(events(store.server_activity(quiet, window).await.unwrap()), kept(2, 3));
        assert_eq!(events(store.account_activity(user, window).await.unwrap()), kept(3, 7));
        store.close().await;
    }
}
