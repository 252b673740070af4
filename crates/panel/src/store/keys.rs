//! API keys: the digest of the secret is kept, never the secret.

use std::sync::Arc;

use sqlx::Sqlite;
use sqlx::sqlite::SqliteRow;
use wire::ids::UserId;

use super::outbox::{self, Waiting};
use super::{Columns, Result, Store, to_json};
use crate::clock;
use crate::secret;

/// Characters before the secret: `ptlc_` or `ptla_` and eleven more.
pub(crate) const IDENTIFIER_CHARS: usize = 16;
/// Characters of the secret.
pub(crate) const SECRET_CHARS: usize = 32;
const RANDOM_IDENTIFIER_CHARS: usize = 11;
/// Keys of one kind one person may have.
pub(crate) const KEYS_MAX: u64 = 25;

/// Which half of the API a key opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    /// `/api/client`; of a root administrator also `/api/application`.
    Account,
    /// `/api/application`.
    Application,
}

impl KeyKind {
    const fn word(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Application => "application",
        }
    }
    const fn prefix(self) -> &'static str {
        match self {
            Self::Account => "ptlc_",
            Self::Application => "ptla_",
        }
    }
}

/// A key without its secret.
#[derive(Clone, Debug)]
pub(crate) struct ApiKey {
    pub(crate) identifier: String,
    pub(crate) kind: KeyKind,
    pub(crate) user: UserId,
    pub(crate) memo: String,
    pub(crate) allowed_ips: Vec<String>,
    pub(crate) last_used_at: Option<i64>,
    pub(crate) expires_at: Option<i64>,
    pub(crate) created_at: i64,
}

/// What a new key is made of.
#[derive(Clone, Debug)]
pub(crate) struct NewKey {
    pub(crate) kind: KeyKind,
    pub(crate) user: UserId,
    pub(crate) memo: String,
    pub(crate) allowed_ips: Vec<String>,
    pub(crate) expires_at: Option<i64>,
}

fn read(row: &SqliteRow) -> Result<ApiKey> {
    Ok(ApiKey {
        identifier: row.text("identifier")?,
        kind: if row.text("kind")? == KeyKind::Application.word() { KeyKind::Application } else { KeyKind::Account },
        user: row.parsed("user_uuid")?,
        memo: row.text("memo")?,
        allowed_ips: row.json("allowed_ips")?,
        last_used_at: row.int_or_null("last_used_at")?,
        expires_at: row.int_or_null("expires_at")?,
        created_at: row.int("created_at")?,
    })
}

impl Store {
    /// The key with this identifier, if the secret is right.
    pub(crate) async fn key(&self, identifier: &str, secret: &str) -> Result<Option<Arc<ApiKey>>> {
        let ask = async {
            let query =
                sqlx::query::<Sqlite>("SELECT * FROM api_keys WHERE identifier = $1").bind(identifier.to_owned());
            let Some(row) = query.fetch_optional(&self.read).await? else { return Ok(None) };
            Ok(Some((Arc::new(read(&row)?), Arc::from(row.text("secret_hash")?))))
        };
        let known = self.recent.keys.row(&self.write, identifier.to_owned(), ask).await?;
        Ok(known.and_then(|(key, digest)| secret::digest_is(secret, &digest).then_some(key)))
    }

    /// Makes a key; the second value is its secret, which is nowhere else.
    pub(crate) async fn insert_key(&self, new: NewKey) -> Result<(ApiKey, String)> {
        let identifier = format!("{}{}", new.kind.prefix(), secret::alphanumeric(RANDOM_IDENTIFIER_CHARS));
        let secret = secret::alphanumeric(SECRET_CHARS);
        let insert = sqlx::query::<Sqlite>(
            "INSERT INTO api_keys (identifier, kind, user_uuid, secret_hash, memo, allowed_ips, last_used_at, expires_at, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, NULL, $7, $8) RETURNING *",
        )
        .bind(identifier)
        .bind(new.kind.word())
        .bind(new.user.to_string())
        .bind(secret::digest(&secret))
        .bind(new.memo)
        .bind(to_json(&new.allowed_ips))
        .bind(new.expires_at)
        .bind(clock::now_ms());
        let mut tx = self.change().await?;
        let key = read(&tx.row(insert).await?)?;
        tx.commit().await?;
        Ok((key, secret))
    }

    /// How many keys of a kind somebody has.
    pub(crate) async fn key_count(&self, user: UserId, kind: KeyKind) -> Result<u64> {
        sqlx::query::<Sqlite>("SELECT COUNT(*) AS n FROM api_keys WHERE user_uuid = $1 AND kind = $2")
            .bind(user.to_string())
            .bind(kind.word())
            .fetch_one(&self.read)
            .await?
            .unsigned("n")
    }

    /// Somebody's keys of a kind, or of both, oldest first.
    pub(crate) async fn keys(&self, user: UserId, kind: Option<KeyKind>) -> Result<Vec<ApiKey>> {
        let rows = sqlx::query::<Sqlite>(
            "SELECT * FROM api_keys WHERE user_uuid = $1 AND kind = COALESCE($2, kind) \
             ORDER BY created_at, identifier LIMIT 1000",
        )
        .bind(user.to_string())
        .bind(kind.map(KeyKind::word))
        .fetch_all(&self.read)
        .await?;
        rows.iter().map(read).collect()
    }

    /// Deletes somebody's key of a kind, or of either; whether there was one. `notices` is what nodes must hear of that.
    pub(crate) async fn delete_key(
        &self,
        user: UserId,
        identifier: &str,
        kind: Option<KeyKind>,
        notices: &[Waiting],
    ) -> Result<bool> {
        let mut tx = self.change().await?;
        let statement = sqlx::query::<Sqlite>(
            "DELETE FROM api_keys WHERE identifier = $1 AND user_uuid = $2 AND kind = COALESCE($3, kind)",
        )
        .bind(identifier.to_owned())
        .bind(user.to_string())
        .bind(kind.map(KeyKind::word));
        if statement.execute(&mut *tx).await?.rows_affected() == 0 {
            return Ok(false);
        }
        outbox::put(&mut tx, notices).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Writes down that a key is used now.
    pub(crate) async fn touch_key(&self, key: &ApiKey, now: i64) -> Result<()> {
        let statement = sqlx::query::<Sqlite>("UPDATE api_keys SET last_used_at = $2 WHERE identifier = $1")
            .bind(key.identifier.clone())
            .bind(now);
        self.write.execute(statement).await?;
        Ok(())
    }
}
