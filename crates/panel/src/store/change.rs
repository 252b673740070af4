//! The one connection that writes. A connection is used again only after a change that was committed: when anything else
//! happens (a full disk, a failed commit, a request that is dropped half-way) it is closed, which rolls back, and the next change
//! gets a new one.
//!
//! sqlx's own transactions are not used: their count of open transactions no longer fits once SQLite has rolled back by itself,
//! and then every later change stands in a transaction that nobody commits.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::pool::PoolConnection;
use sqlx::query::Query;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqlitePool, SqlitePoolOptions, SqliteQueryResult, SqliteRow,
};
use sqlx::{Executor, Sqlite, SqliteConnection};

use super::{ACQUIRE_TIMEOUT, Result};

/// A statement with its values.
pub(super) type Statement = Query<'static, Sqlite, SqliteArguments>;

/// Hands out the connection that writes, to one change at a time.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    pool: SqlitePool,
    /// Even while it is known that nothing is being written; larger after each change. Only who has the connection changes it.
    moment: Arc<AtomicU64>,
}

/// A time in which nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment(u64);

impl Writer {
    /// Connects once, so that a file that cannot be written is found at the start.
    pub(super) async fn connect(options: SqliteConnectOptions) -> Result<Self> {
        let pool = SqlitePoolOptions::new().max_connections(1).acquire_timeout(ACQUIRE_TIMEOUT);
        Ok(Self { pool: pool.connect_with(options).await?, moment: Arc::default() })
    }

    /// The present, unless something is being written, or what came of the last change is unknown: that was dropped, or failed,
    /// while it was made to count. Two equal ones have nothing written between them.
    pub(super) fn moment(&self) -> Option<Moment> {
        let moment = self.moment.load(Ordering::SeqCst);
        moment.is_multiple_of(2).then_some(Moment(moment))
    }

    /// The connection, in its turn.
    async fn take(&self, stage: Stage) -> std::result::Result<Change, sqlx::Error> {
        let connection = self.pool.acquire().await?;
        self.moment.fetch_or(1, Ordering::SeqCst);
        Ok(Change { connection, stage, moment: self.moment.clone() })
    }

    /// Begins a change; what is done in it counts when it is committed.
    pub(super) async fn begin(&self) -> Result<Change> {
        // In doubt as before until the lock is ours, which shows that whoever wrote before has ended.
        let mut change = self.take(Stage::Ending).await?;
        // The lock is taken now: a change that began by reading could not wait for another process any more.
        change.execute("BEGIN IMMEDIATE").await?;
        change.stage = Stage::Open;
        Ok(change)
    }

    /// A change of one statement that returns no rows. Its error is sqlx's, so that callers can tell what is taken.
    pub(super) async fn execute(&self, statement: Statement) -> std::result::Result<SqliteQueryResult, sqlx::Error> {
        // It counts by itself, as there is no BEGIN.
        let mut change = self.take(Stage::Ending).await?;
        let done = statement.execute(&mut *change).await?;
        change.stage = Stage::Committed;
        Ok(done)
    }

    /// Ends the connection.
    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

/// A change of several statements, all or none. Dropped without being committed, it is as if it had never begun.
#[derive(Debug)]
pub(super) struct Change {
    connection: PoolConnection<Sqlite>,
    stage: Stage,
    moment: Arc<AtomicU64>,
}

/// How far a change is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing of it counts.
    Open,
    /// It is being made to count: it may or may not.
    Ending,
    /// It counts.
    Committed,
}

impl Change {
    /// The row of a statement that returns exactly one (`… RETURNING`). The statement is run to its end, as an error may come
    /// after the row.
    pub(super) async fn row(&mut self, statement: Statement) -> std::result::Result<SqliteRow, sqlx::Error> {
        statement.fetch_all(&mut **self).await?.into_iter().next().ok_or(sqlx::Error::RowNotFound)
    }

    /// Makes it count: when this has returned, it is on the disk.
    pub(super) async fn commit(mut self) -> Result<()> {
        self.stage = Stage::Ending;
        self.connection.execute("COMMIT").await?;
        self.stage = Stage::Committed;
        Ok(())
    }
}

impl Deref for Change {
    type Target = SqliteConnection;
    fn deref(&self) -> &SqliteConnection {
        &self.connection
    }
}

impl DerefMut for Change {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        if self.stage != Stage::Committed {
            self.connection.close_on_drop();
        }
        // In doubt until the next change, which gets a connection only when this one is closed or was given up.
        if self.stage != Stage::Ending {
            self.moment.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use sqlx::Row;
    use tempfile::TempDir;

    use super::*;

    async fn writer(dir: &TempDir) -> Writer {
        let options = SqliteConnectOptions::new().filename(dir.path().join("db")).create_if_missing(true);
        let writer = Writer::connect(options).await.unwrap();
        writer.execute(sqlx::query("CREATE TABLE lines (text TEXT NOT NULL UNIQUE)")).await.unwrap();
        writer
    }

    fn insert(text: &str) -> Statement {
        sqlx::query("INSERT INTO lines (text) VALUES ($1) RETURNING text").bind(text.to_owned())
    }

    /// What another connection finds in the file.
    async fn kept(dir: &TempDir) -> Vec<String> {
        let options = SqliteConnectOptions::new().filename(dir.path().join("db"));
        let other = SqlitePool::connect_with(options).await.unwrap();
        let rows = sqlx::query("SELECT text FROM lines ORDER BY text").fetch_all(&other).await.unwrap();
        other.close().await;
        rows.iter().map(|row| row.get("text")).collect()
    }

    #[tokio::test]
    async fn only_what_was_committed_is_kept() {
        let dir = TempDir::new().unwrap();
        let writer = writer(&dir).await;
        let mut dropped = writer.begin().await.unwrap();
        dropped.row(insert("dropped")).await.unwrap();
        drop(dropped);
        let mut committed = writer.begin().await.unwrap();
        assert_eq!(committed.row(insert("committed")).await.unwrap().get::<String, _>("text"), "committed");
        committed.commit().await.unwrap();
        assert!(
            writer.execute(insert("committed")).await.unwrap_err().as_database_error().unwrap().is_unique_violation()
        );
        let mut refused = writer.begin().await.unwrap();
        assert!(refused.row(insert("committed")).await.is_err());
        drop(refused);
        writer.execute(insert("alone")).await.unwrap();
        assert_eq!(kept(&dir).await, ["alone", "committed"]);
    }

    #[tokio::test]
    async fn a_change_that_did_not_fit_does_not_swallow_the_next_one() {
        let dir = TempDir::new().unwrap();
        let writer = writer(&dir).await;
        for round in 0..3 {
            let mut full = writer.begin().await.unwrap();
            full.row(insert(&format!("lost {round}"))).await.unwrap();
            // This connection may not make the file any larger.
            full.execute("PRAGMA max_page_count = 1").await.unwrap();
            let error = full.row(insert(&"x".repeat(1_000_000))).await.unwrap_err();
            assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("13"), "{error}");
            drop(full);
            let mut next = writer.begin().await.unwrap();
            next.row(insert(&format!("kept {round}"))).await.unwrap();
            next.commit().await.unwrap();
        }
        assert_eq!(kept(&dir).await, ["kept 0", "kept 1", "kept 2"]);
    }
}
