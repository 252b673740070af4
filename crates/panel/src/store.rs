//! The database: connections, migrations, and how rows become values. Only this module and its children know sqlx.
//!
//! SQLite in WAL mode: readers share a pool, all writes go through one connection ([`change`]), so that a write waits for its
//! turn in our own queue and never fails because another one is under way.

pub(crate) mod activity;
pub(crate) mod allocations;
mod change;
pub(crate) mod credentials;
pub(crate) mod eggs;
mod fold;
pub(crate) mod keys;
pub(crate) mod nodes;
pub(crate) mod outbox;
mod recent;
pub(crate) mod servers;
pub(crate) mod sessions;
pub(crate) mod subusers;
pub(crate) mod users;

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{QueryBuilder, Row, Sqlite};

use change::{Change, Writer};
use recent::Recent;

use crate::clock;

/// Connections that read.
const READERS_MAX: u32 = 4;
/// How long a lock of another process is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// Schema changes, in order; never edited once published.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "init", include_str!("../migrations/0001_init.sql")),
    (2, "names_in_any_case", include_str!("../migrations/0002_names_in_any_case.sql")),
    (FOLDED_VERSION, "folded_texts", include_str!("../migrations/0003_folded_texts.sql")),
    (4, "sign_in", include_str!("../migrations/0004_sign_in.sql")),
    (5, "eggs", include_str!("../migrations/0005_eggs.sql")),
];

/// The version that keeps a second form of what is searched, which no SQL can make.
const FOLDED_VERSION: i64 = 3;

/// Why the database gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed.
    #[error("database: {0}")]
    Sql(#[from] sqlx::Error),
    /// Something with this unique value is there already.
    #[error("there is already one with this {0}")]
    Taken(&'static str),
    /// Somebody who is to be deleted owns servers.
    #[error("there are servers of this account")]
    OwnsServers,
    /// An egg that is to be deleted has servers.
    #[error("there are servers of this egg")]
    EggInUse,
    /// An address that is to be used, left or deleted is not one for that.
    #[error("{0}")]
    Address(AddressFault),
    /// So many messages wait for nodes that one more, which must not be lost, does not fit.
    #[error("too many messages wait for nodes that do not answer")]
    OutboxFull,
    /// A row holds what this program never wrote.
    #[error("database: column {column} holds something unreadable: {reason}")]
    Corrupt {
        /// Which column.
        column: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The file was written by a newer version.
    #[error("the database has schema version {found}, this program knows {known}: use the newer program that wrote it")]
    Newer {
        /// In the file.
        found: i64,
        /// Of this program.
        known: i64,
    },
    /// The file cannot be made.
    #[error("cannot create the database file {path}: {source}")]
    Create {
        /// Where.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Why an address of a node cannot be used, left or deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressFault {
    /// There is none of this number on the node, or a server has it.
    #[error("there is no such free address on the node")]
    NotFree,
    /// It is another server's, or nobody's.
    #[error("the server does not have this address")]
    NotOfServer,
    /// The main one is to be left, and there is no other.
    #[error("the server would have no address")]
    OnlyOne,
    /// The main one is to be left by itself.
    #[error("this is the server's main address")]
    Main,
    /// The server has as many as it may have.
    #[error("the server has as many addresses as it may have")]
    LimitReached,
    /// A server has the address that is to be deleted.
    #[error("a server has this address")]
    InUse,
    /// The same port is there on an address that includes this one, or that this one includes.
    #[error("the port is there already on an address that includes this one")]
    Overlaps,
}

impl StoreError {
    /// What is wrong with the disk under the database, if that is what is wrong: a part of a sentence.
    pub(crate) fn disk_trouble(&self) -> Option<&'static str> {
        let Self::Sql(error) = self else { return None };
        // SQLite's result code; above its lowest byte it says more than is needed here (<https://sqlite.org/rescode.html>).
        let code: u32 = error.as_database_error()?.code()?.parse().ok()?;
        match code & 0xff {
            8 => Some("its database cannot be written to, it is read-only"),
            10 => Some("the disk of its database fails"),
            13 => Some("the disk of its database is full"),
            14 => Some("a file of its database cannot be opened"),
            _ => None,
        }
    }
}

/// Result of anything here.
pub(crate) type Result<T> = std::result::Result<T, StoreError>;

/// All that is kept.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    read: SqlitePool,
    write: Writer,
    recent: Arc<Recent>,
}

impl Store {
    /// Opens the file, creates it (mode 0600) when it is not there, and brings its schema up to date.
    pub(crate) async fn open(path: &Path) -> Result<Self> {
        create_private(path).map_err(|source| StoreError::Create { path: path.display().to_string(), source })?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let write = Writer::connect(options.clone()).await?;
        let store = Self {
            read: SqlitePoolOptions::new()
                .max_connections(READERS_MAX)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .connect_lazy_with(options),
            write,
            recent: Arc::default(),
        };
        store.migrate().await?;
        Ok(store)
    }

    /// The number of this run of the panel, larger than any before; at least the time in seconds, so that a database from a backup
    /// does not repeat one.
    pub(crate) async fn next_run(&self, now_s: i64) -> Result<i64> {
        let mut tx = self.change().await?;
        let next = sqlx::query::<Sqlite>(
            "INSERT INTO counters (name, value) VALUES ('run', $1) \
             ON CONFLICT (name) DO UPDATE SET value = MAX(counters.value + 1, excluded.value) RETURNING value",
        );
        let run = tx.row(next.bind(now_s)).await?.int("value")?;
        tx.commit().await?;
        Ok(run)
    }

    async fn migrate(&self) -> Result<()> {
        let table = sqlx::query(
            "CREATE TABLE IF NOT EXISTS migrations (version BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)",
        );
        self.write.execute(table).await?;
        let row = sqlx::query::<Sqlite>("SELECT COALESCE(MAX(version), 0) AS version FROM migrations")
            .fetch_one(&self.read)
            .await?;
        let found = row.int("version")?;
        let known = MIGRATIONS.last().map_or(0, |(version, _, _)| *version);
        if found > known {
            return Err(StoreError::Newer { found, known });
        }
        for (version, name, sql) in MIGRATIONS.iter().filter(|(version, _, _)| *version > found) {
            let mut tx = self.change().await?;
            sqlx::raw_sql(*sql).execute::<_, Sqlite>(&mut *tx).await?;
            if *version == FOLDED_VERSION {
                fold::fill(&mut tx).await?;
            }
            sqlx::query::<Sqlite>("INSERT INTO migrations (version, name, applied_at) VALUES ($1, $2, $3)")
                .bind(version)
                .bind(name)
                .bind(clock::now_ms())
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
            tracing::info!(version, name, "database schema brought up to date");
        }
        Ok(())
    }

    /// A query for rows by a list of ids: `select` ends before the first of them, and more may be added behind the last.
    fn by_ids(select: &'static str, ids: impl Iterator<Item = String>) -> QueryBuilder<Sqlite> {
        let mut query = QueryBuilder::new(select);
        let mut list = query.separated(", ");
        for id in ids {
            list.push_bind(id);
        }
        query.push(")");
        query
    }

    /// Begins a change of several rows.
    async fn change(&self) -> Result<Change> {
        self.write.begin().await
    }

    /// Ends all connections, so that the write-ahead log is folded into the file.
    pub(crate) async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }
}

/// The next number of a kind, within the change that uses it; a number is never given twice, also after deletions.
async fn next_number(tx: &mut Change, name: &'static str) -> Result<i64> {
    let next = sqlx::query("UPDATE counters SET value = value + 1 WHERE name = $1 RETURNING value").bind(name);
    tx.row(next).await?.int("value")
}

#[cfg(unix)]
fn create_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(drop)
}

#[cfg(not(unix))]
fn create_private(_path: &Path) -> std::io::Result<()> {
    compile_error!("quarterdeck runs on Unix")
}

/// Which value of a failed insert or update was taken already, if that is why it failed.
fn taken(error: sqlx::Error, columns: &[(&str, &'static str)]) -> StoreError {
    if let Some(db) = error.as_database_error()
        && db.is_unique_violation()
        && let Some((_, name)) = columns.iter().find(|(column, _)| db.message().contains(column))
    {
        return StoreError::Taken(name);
    }
    StoreError::Sql(error)
}

/// Columns as values.
trait Columns {
    fn text(&self, column: &'static str) -> Result<String>;
    fn text_or_null(&self, column: &'static str) -> Result<Option<String>>;
    fn int(&self, column: &'static str) -> Result<i64>;
    fn int_or_null(&self, column: &'static str) -> Result<Option<i64>>;
    fn flag(&self, column: &'static str) -> Result<bool>;
    fn flag_or_null(&self, column: &'static str) -> Result<Option<bool>>;

    fn unsigned(&self, column: &'static str) -> Result<u64> {
        self.int(column).map(|value| u64::try_from(value).unwrap_or(0))
    }

    fn port(&self, column: &'static str) -> Result<u16> {
        self.int(column)?.try_into().map_err(|error| corrupt(column, &error))
    }

    fn parsed<T: FromStr<Err: std::fmt::Display>>(&self, column: &'static str) -> Result<T> {
        self.text(column)?.parse().map_err(|error| corrupt(column, &error))
    }

    fn json<T: serde::de::DeserializeOwned>(&self, column: &'static str) -> Result<T> {
        serde_json::from_str(&self.text(column)?).map_err(|error| corrupt(column, &error))
    }
}

fn uuid_or_null(row: &SqliteRow, column: &'static str) -> Result<Option<uuid::Uuid>> {
    row.text_or_null(column)?.map(|text| text.parse().map_err(|error| corrupt(column, &error))).transpose()
}

fn corrupt(column: &'static str, reason: &dyn std::fmt::Display) -> StoreError {
    StoreError::Corrupt { column, reason: reason.to_string() }
}

impl Columns for SqliteRow {
    fn text(&self, column: &'static str) -> Result<String> {
        Ok(self.try_get(column)?)
    }
    fn text_or_null(&self, column: &'static str) -> Result<Option<String>> {
        Ok(self.try_get(column)?)
    }
    fn int(&self, column: &'static str) -> Result<i64> {
        Ok(self.try_get(column)?)
    }
    fn int_or_null(&self, column: &'static str) -> Result<Option<i64>> {
        Ok(self.try_get(column)?)
    }
    fn flag(&self, column: &'static str) -> Result<bool> {
        Ok(self.try_get(column)?)
    }
    fn flag_or_null(&self, column: &'static str) -> Result<Option<bool>> {
        Ok(self.try_get(column)?)
    }
}

/// A value as the JSON text a column holds.
fn to_json<T: serde::Serialize>(value: &T) -> String {
    // Only called with maps with text keys, lists and plain structs, which always have a JSON form.
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

/// The form in which texts are compared in any case of letters. Databases fold ASCII only, or what their settings say, so it is made
/// here, and what is searched is kept in it. Each letter by itself, so that a part of a text folds as in the whole.
fn folded(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

/// A pattern for `LIKE … ESCAPE '\'` that finds the text anywhere, in any case of letters.
fn contains_pattern(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for c in folded(text).chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

/// Which rows of a long list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// How many.
    pub(crate) limit: u64,
    /// After how many others.
    pub(crate) offset: u64,
}

impl Window {
    fn limit(self) -> i64 {
        i64::try_from(self.limit).unwrap_or(i64::MAX)
    }
    fn offset(self) -> i64 {
        i64::try_from(self.offset).unwrap_or(i64::MAX)
    }
}

/// Rows of a window and how many there are in all.
#[derive(Clone, Debug)]
pub(crate) struct Found<T> {
    /// The rows.
    pub(crate) rows: Vec<T>,
    /// All of them, also outside the window.
    pub(crate) total: u64,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_of_a_first_version_that_differ_only_in_case_are_told_apart() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("panel.sqlite");
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let old = SqlitePool::connect_with(options).await.unwrap();
        for sql in [
            MIGRATIONS[0].2,
            "CREATE TABLE migrations (version BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)",
            "INSERT INTO migrations VALUES (1, 'init', 0)",
        ] {
            sqlx::raw_sql(sql).execute(&old).await.unwrap();
        }
        for (number, name) in ["ADMIN", "admin", "Admin", "other"].into_iter().enumerate() {
            let number = i64::try_from(number).unwrap();
            sqlx::query(
                "INSERT INTO users (uuid, number, username, email, external_id, first_name, last_name, language, root_admin, \
                 created_at, updated_at) VALUES ($1, $2, $3, $4, $5, '', '', 'en', TRUE, 0, 0)",
            )
            .bind(uuid::Uuid::from_u128(u128::try_from(number).unwrap() << 100).to_string())
            .bind(number)
            .bind(name)
            .bind(format!("{number}@example.org"))
            .bind((name == "other").then_some("ÄRGER"))
            .execute(&old)
            .await
            .unwrap();
        }
        old.close().await;

        let store = Store::open(&path).await.unwrap();
        let found = store.users(&users::UserFilter::default(), Window { limit: 9, offset: 0 }).await.unwrap();
        let names: Vec<String> = found.rows.into_iter().map(|user| user.username).collect();
        assert_eq!(names, ["ADMIN", "admin-00000010", "Admin-00000020", "other"]);
        // What is searched in any case of letters has been folded.
        let filter = users::UserFilter { external_id: Some("ärger".to_owned()), ..users::UserFilter::default() };
        let found = store.users(&filter, Window { limit: 9, offset: 0 }).await.unwrap();
        assert_eq!(found.rows.iter().map(|user| user.username.as_str()).collect::<Vec<_>>(), ["other"]);
        assert_eq!(store.user_by_name("adMIN").await.unwrap().unwrap().username, "ADMIN");
        store.close().await;
    }
}
