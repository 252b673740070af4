//! People.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sqlx::Sqlite;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;
use wire::ids::UserId;

use super::outbox::{self, Waiting};
use super::{Columns, Found, Result, Store, StoreError, Window, contains_pattern, folded, next_number, taken};
use crate::clock;

/// A person with an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Who.
    pub uuid: UserId,
    /// Number on this panel.
    pub number: u64,
    /// Name elsewhere.
    pub external_id: Option<String>,
    /// Login name; unique in any case of letters.
    pub username: String,
    /// E-mail address, lower case.
    pub email: String,
    /// Given name.
    pub first_name: String,
    /// Family name.
    pub last_name: String,
    /// Language code.
    pub language: String,
    /// May do everything.
    pub root_admin: bool,
    /// Has a second factor.
    pub two_factor: bool,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// Milliseconds since 1970.
    pub updated_at: i64,
}

/// What a new account is made of.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewUser {
    pub(crate) external_id: Option<String>,
    pub(crate) username: String,
    pub(crate) email: String,
    pub(crate) first_name: String,
    pub(crate) last_name: String,
    pub(crate) language: String,
    pub(crate) password_hash: Option<String>,
    pub(crate) root_admin: bool,
}

const UNIQUE: &[(&str, &str)] = &[
    ("users.username", "username"),
    ("users_by_lower_username", "username"),
    ("users.email", "email"),
    ("users.external_id", "external_id"),
];

macro_rules! filtered {
    ($start:literal, $end:literal) => {
        concat!(
            $start,
            " WHERE (CAST($1 AS TEXT) IS NULL OR email LIKE $1 ESCAPE '\\') \
             AND (CAST($2 AS TEXT) IS NULL OR LOWER(username) LIKE $2 ESCAPE '\\') \
             AND (CAST($3 AS TEXT) IS NULL OR uuid LIKE $3 ESCAPE '\\') \
             AND (CAST($4 AS TEXT) IS NULL OR external_id_folded LIKE $4 ESCAPE '\\') ",
            $end
        )
    };
}

/// What to look for among users.
#[derive(Clone, Debug, Default)]
pub(crate) struct UserFilter {
    pub(crate) email: Option<String>,
    pub(crate) username: Option<String>,
    pub(crate) uuid: Option<String>,
    pub(crate) external_id: Option<String>,
}

fn read(row: &SqliteRow) -> Result<User> {
    Ok(User {
        uuid: row.parsed("uuid")?,
        number: row.unsigned("number")?,
        external_id: row.text_or_null("external_id")?,
        username: row.text("username")?,
        email: row.text("email")?,
        first_name: row.text("first_name")?,
        last_name: row.text("last_name")?,
        language: row.text("language")?,
        root_admin: row.flag("root_admin")?,
        two_factor: row.flag("totp_confirmed")?,
        created_at: row.int("created_at")?,
        updated_at: row.int("updated_at")?,
    })
}

impl Store {
    /// How many people there are.
    pub(crate) async fn user_count(&self) -> Result<u64> {
        sqlx::query::<Sqlite>("SELECT COUNT(*) AS n FROM users").fetch_one(&self.read).await?.unsigned("n")
    }

    /// The administrator who was made first.
    pub(crate) async fn first_admin(&self) -> Result<Option<User>> {
        let query = sqlx::query::<Sqlite>("SELECT * FROM users WHERE root_admin = TRUE ORDER BY number LIMIT 1");
        query.fetch_optional(&self.read).await?.as_ref().map(read).transpose()
    }

    /// By uuid.
    pub(crate) async fn user(&self, id: UserId) -> Result<Option<Arc<User>>> {
        let ask = async {
            let query = sqlx::query::<Sqlite>("SELECT * FROM users WHERE uuid = $1").bind(id.to_string());
            Ok(query.fetch_optional(&self.read).await?.as_ref().map(read).transpose()?.map(Arc::new))
        };
        self.recent.users.row(&self.write, id, ask).await
    }

    /// Those of some people who there are.
    pub(crate) async fn users_of(&self, ids: impl Iterator<Item = UserId>) -> Result<HashMap<UserId, User>> {
        let ids: HashSet<UserId> = ids.collect();
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let mut query = Self::by_ids("SELECT * FROM users WHERE uuid IN (", ids.iter().map(UserId::to_string));
        let rows = query.build().fetch_all(&self.read).await?;
        rows.iter().map(|row| read(row).map(|user| (user.uuid, user))).collect()
    }

    /// By number.
    pub(crate) async fn user_by_number(&self, number: i64) -> Result<Option<User>> {
        let query = sqlx::query::<Sqlite>("SELECT * FROM users WHERE number = $1").bind(number);
        query.fetch_optional(&self.read).await?.as_ref().map(read).transpose()
    }

    /// By e-mail address, in any case of letters.
    pub(crate) async fn user_by_email(&self, email: &str) -> Result<Option<User>> {
        let query = sqlx::query::<Sqlite>("SELECT * FROM users WHERE email = $1").bind(email.to_lowercase());
        query.fetch_optional(&self.read).await?.as_ref().map(read).transpose()
    }

    /// By their name elsewhere.
    pub(crate) async fn user_by_external_id(&self, external_id: &str) -> Result<Option<User>> {
        let query = sqlx::query::<Sqlite>("SELECT * FROM users WHERE external_id = $1").bind(external_id.to_owned());
        query.fetch_optional(&self.read).await?.as_ref().map(read).transpose()
    }

    /// By login name, in any case of letters.
    pub(crate) async fn user_by_name(&self, username: &str) -> Result<Option<User>> {
        let query =
            sqlx::query::<Sqlite>("SELECT * FROM users WHERE LOWER(username) = LOWER($1)").bind(username.to_owned());
        query.fetch_optional(&self.read).await?.as_ref().map(read).transpose()
    }

    /// A window of people, by number.
    pub(crate) async fn users(&self, filter: &UserFilter, window: Window) -> Result<Found<User>> {
        let pattern = |text: &Option<String>| text.as_deref().map(contains_pattern);
        let (email, name) = (pattern(&filter.email), pattern(&filter.username));
        let (uuid, external) = (pattern(&filter.uuid), pattern(&filter.external_id));
        let total = sqlx::query::<Sqlite>(filtered!("SELECT COUNT(*) AS n FROM users", ""))
            .bind(email.clone())
            .bind(name.clone())
            .bind(uuid.clone())
            .bind(external.clone())
            .fetch_one(&self.read)
            .await?
            .unsigned("n")?;
        let rows = sqlx::query::<Sqlite>(filtered!("SELECT * FROM users", "ORDER BY number LIMIT $5 OFFSET $6"))
            .bind(email)
            .bind(name)
            .bind(uuid)
            .bind(external)
            .bind(window.limit())
            .bind(window.offset())
            .fetch_all(&self.read)
            .await?;
        Ok(Found { rows: rows.iter().map(read).collect::<Result<_>>()?, total })
    }

    /// Makes an account. Fails with [`Taken`](super::StoreError::Taken) for `username`, `email` and `external_id`.
    pub(crate) async fn insert_user(&self, new: NewUser) -> Result<User> {
        let mut tx = self.change().await?;
        let number = next_number(&mut tx, "users").await?;
        let now = clock::now_ms();
        let insert = sqlx::query::<Sqlite>(
            "INSERT INTO users (uuid, number, external_id, username, email, first_name, last_name, language, password_hash, \
             root_admin, created_at, updated_at, external_id_folded) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11, $12) RETURNING *",
        )
        .bind(Uuid::new_v4().to_string())
        .bind(number)
        .bind(new.external_id.clone())
        .bind(new.username)
        .bind(new.email.to_lowercase())
        .bind(new.first_name)
        .bind(new.last_name)
        .bind(new.language)
        .bind(new.password_hash)
        .bind(new.root_admin)
        .bind(now)
        .bind(new.external_id.as_deref().map(folded));
        let row = tx.row(insert).await.map_err(|error| taken(error, UNIQUE))?;
        let user = read(&row)?;
        tx.commit().await?;
        Ok(user)
    }

    /// Changes an account as it is now, and keeps what nodes must hear of it: `edit` gets it from within the change, so that nothing
    /// another change has done meanwhile is undone. None when there is no such account.
    pub(crate) async fn change_user(
        &self,
        id: UserId,
        password_hash: Option<String>,
        edit: impl FnOnce(&mut User) -> Vec<Waiting>,
    ) -> Result<Option<(User, Vec<Waiting>)>> {
        let mut tx = self.change().await?;
        let select = sqlx::query::<Sqlite>("SELECT * FROM users WHERE uuid = $1").bind(id.to_string());
        let Some(row) = select.fetch_optional(&mut *tx).await? else { return Ok(None) };
        let mut user = read(&row)?;
        let notices = edit(&mut user);
        user.email = user.email.to_lowercase();
        user.updated_at = clock::now_ms();
        sqlx::query::<Sqlite>(
            "UPDATE users SET external_id = $2, username = $3, email = $4, first_name = $5, last_name = $6, language = $7, \
             root_admin = $8, password_hash = COALESCE($9, password_hash), updated_at = $10, external_id_folded = $11 WHERE uuid = $1",
        )
        .bind(id.to_string())
        .bind(user.external_id.clone())
        .bind(user.username.clone())
        .bind(user.email.clone())
        .bind(user.first_name.clone())
        .bind(user.last_name.clone())
        .bind(user.language.clone())
        .bind(user.root_admin)
        .bind(password_hash)
        .bind(user.updated_at)
        .bind(user.external_id.as_deref().map(folded))
        .execute(&mut *tx)
        .await
        .map_err(|error| taken(error, UNIQUE))?;
        outbox::put(&mut tx, &notices).await?;
        tx.commit().await?;
        Ok(Some((user, notices)))
    }

    /// Removes an account with its keys and rights, and keeps what nodes must hear of it. Fails with
    /// [`OwnsServers`](StoreError::OwnsServers) while there are servers of it.
    pub(crate) async fn delete_user(&self, id: UserId, notices: &[Waiting]) -> Result<()> {
        let mut tx = self.change().await?;
        let owned =
            sqlx::query::<Sqlite>("SELECT COUNT(*) AS n FROM servers WHERE owner_uuid = $1").bind(id.to_string());
        if tx.row(owned).await?.unsigned("n")? > 0 {
            return Err(StoreError::OwnsServers);
        }
        sqlx::query::<Sqlite>("DELETE FROM users WHERE uuid = $1").bind(id.to_string()).execute(&mut *tx).await?;
        outbox::put(&mut tx, notices).await?;
        tx.commit().await?;
        Ok(())
    }
}
