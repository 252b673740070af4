//! Rows that requests ask for again and again: whose a key is, what they may, what a server is, where it is.
//!
//! A row is told from here only while nothing has been written since it was read, and nothing is being written ([`Writer::moment`]):
//! what is taken away counts for the next request, as if there were no memory. What another program writes into the file, which
//! none of ours does, counts after [`KEPT_FOR`].

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;
use wire::ids::{ServerId, UserId};

use super::Result;
use super::change::{Moment, Writer};
use super::eggs::StoredEgg;
use super::keys::ApiKey;
use super::nodes::Node;
use super::servers::Server;
use super::subusers::Subuser;
use super::users::User;

/// How long a row is told without being read again.
const KEPT_FOR: Duration = Duration::from_secs(1);
/// Rows of one kind. When there is no place for one more, all that are there go.
const ROWS_MAX: usize = 1024;

/// Rows by what they are asked for with.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// Keys by identifier, with the digest of the secret.
    pub(super) keys: Shelf<String, (Arc<ApiKey>, Arc<str>)>,
    pub(super) users: Shelf<UserId, Arc<User>>,
    pub(super) servers: Shelf<ServerId, Arc<Server>>,
    /// By the first characters of their uuid.
    pub(super) short_servers: Shelf<String, Arc<Server>>,
    pub(super) subusers: Shelf<(ServerId, UserId), Subuser>,
    pub(super) nodes: Shelf<Uuid, Arc<Node>>,
    pub(super) eggs: Shelf<Uuid, Arc<StoredEgg>>,
}

/// Rows of one kind.
#[derive(Debug)]
pub(super) struct Shelf<K, V>(Mutex<HashMap<K, Kept<V>>>);

#[derive(Debug)]
struct Kept<V> {
    row: V,
    moment: Moment,
    read_at: Instant,
}

impl<K, V> Default for Shelf<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> Shelf<K, V> {
    /// The row from here, or what the database says. That there is none is asked each time: strangers could fill the memory.
    pub(super) async fn row(
        &self,
        writer: &Writer,
        key: K,
        ask: impl Future<Output = Result<Option<V>>>,
    ) -> Result<Option<V>> {
        let Some(moment) = writer.moment() else { return ask.await };
        let read_at = Instant::now();
        if let Some(kept) = self.rows().get(&key)
            && kept.moment == moment
            && read_at.duration_since(kept.read_at) < KEPT_FOR
        {
            return Ok(Some(kept.row.clone()));
        }
        let found = ask.await?;
        // Only what is true now: the question may have been answered before a change that has ended meanwhile.
        if let Some(row) = &found
            && writer.moment() == Some(moment)
        {
            let mut rows = self.rows();
            if rows.len() >= ROWS_MAX {
                rows.clear();
            }
            rows.insert(key, Kept { row: row.clone(), moment, read_at });
        }
        Ok(found)
    }

    fn rows(&self) -> MutexGuard<'_, HashMap<K, Kept<V>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::cell::Cell;

    use sqlx::sqlite::SqliteConnectOptions;
    use tempfile::TempDir;

    use super::*;

    async fn writer(dir: &TempDir) -> Writer {
        let options = SqliteConnectOptions::new().filename(dir.path().join("db")).create_if_missing(true);
        let writer = Writer::connect(options).await.unwrap();
        writer.execute(sqlx::query("CREATE TABLE lines (text TEXT NOT NULL)")).await.unwrap();
        writer
    }

    /// Asks for a row; whether it was read.
    async fn is_read(shelf: &Shelf<u8, u8>, writer: &Writer) -> bool {
        let read = Cell::new(false);
        let ask = async {
            read.set(true);
            Ok(Some(7))
        };
        assert_eq!(shelf.row(writer, 1, ask).await.unwrap(), Some(7));
        read.get()
    }

    #[tokio::test]
    async fn a_row_is_told_until_something_is_written() {
        let (dir, shelf) = (TempDir::new().unwrap(), Shelf::default());
        let writer = writer(&dir).await;
        assert!(is_read(&shelf, &writer).await && !is_read(&shelf, &writer).await);
        writer.execute(sqlx::query("INSERT INTO lines (text) VALUES ('x')")).await.unwrap();
        assert!(is_read(&shelf, &writer).await && !is_read(&shelf, &writer).await);
        let change = writer.begin().await.unwrap();
        // It may count at any moment from here on.
        assert!(is_read(&shelf, &writer).await && is_read(&shelf, &writer).await);
        change.commit().await.unwrap();
        assert!(is_read(&shelf, &writer).await && !is_read(&shelf, &writer).await);
        drop(writer.begin().await.unwrap());
        assert!(is_read(&shelf, &writer).await && !is_read(&shelf, &writer).await);
    }

    #[tokio::test]
    async fn a_row_that_was_read_while_something_was_written_is_not_kept() {
        let (dir, shelf) = (TempDir::new().unwrap(), Shelf::<u8, u8>::default());
        let writer = writer(&dir).await;
        let ask = async {
            writer.execute(sqlx::query("INSERT INTO lines (text) VALUES ('x')")).await.unwrap();
            Ok(Some(7))
        };
        shelf.row(&writer, 1, ask).await.unwrap();
        assert!(is_read(&shelf, &writer).await);
    }

    #[tokio::test]
    async fn nothing_is_told_while_it_is_unknown_what_came_of_a_change() {
        let (dir, shelf) = (TempDir::new().unwrap(), Shelf::default());
        let writer = writer(&dir).await;
        assert!(is_read(&shelf, &writer).await);
        assert!(writer.execute(sqlx::query("INSERT INTO nowhere (text) VALUES ('x')")).await.is_err());
        assert!(is_read(&shelf, &writer).await && is_read(&shelf, &writer).await);
        writer.execute(sqlx::query("INSERT INTO lines (text) VALUES ('x')")).await.unwrap();
        assert!(is_read(&shelf, &writer).await && !is_read(&shelf, &writer).await);
    }

    #[tokio::test]
    async fn that_there_is_none_is_not_kept_nor_too_much() {
        let (dir, shelf) = (TempDir::new().unwrap(), Shelf::<usize, u8>::default());
        let writer = writer(&dir).await;
        assert_eq!(shelf.row(&writer, 0, async { Ok(None) }).await.unwrap(), None);
        assert_eq!(shelf.row(&writer, 0, async { Ok(Some(7)) }).await.unwrap(), Some(7));
        for key in 0..3 * ROWS_MAX {
            shelf.row(&writer, key, async { Ok(Some(7)) }).await.unwrap();
            assert!(shelf.rows().len() <= ROWS_MAX);
        }
    }
}
