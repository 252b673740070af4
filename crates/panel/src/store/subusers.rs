//! Rights on other people's servers.

use std::collections::HashMap;

use sqlx::Sqlite;
use sqlx::sqlite::SqliteRow;
use wire::ids::{ServerId, UserId};

use super::change::Statement;
use super::outbox::{self, Waiting};
use super::servers::Server;
use super::{Columns, Result, Store, to_json};
use crate::clock;

/// People with rights on one server; more are refused.
pub(crate) const SUBUSERS_MAX: u64 = 100;
/// People listed per server at most; more than may be added, as there may be more from earlier.
const LIST_MAX: i64 = 1000;

/// Somebody's rights on a server.
#[derive(Clone, Debug)]
pub(crate) struct Subuser {
    pub(crate) user: UserId,
    pub(crate) permissions: Vec<String>,
}

/// What came of giving somebody rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    /// They have them.
    New,
    /// They have had some already, and keep those.
    Before,
    /// [`SUBUSERS_MAX`] people have rights on this server.
    Full,
}

fn read(row: &SqliteRow) -> Result<Subuser> {
    Ok(Subuser { user: row.parsed("user_uuid")?, permissions: row.json("permissions")? })
}

impl Store {
    /// Somebody's rights on a server, if they were given any.
    pub(crate) async fn subuser(&self, server: ServerId, user: UserId) -> Result<Option<Subuser>> {
        let ask = async {
            let query = sqlx::query::<Sqlite>("SELECT * FROM subusers WHERE server_uuid = $1 AND user_uuid = $2")
                .bind(server.to_string())
                .bind(user.to_string());
            query.fetch_optional(&self.read).await?.as_ref().map(read).transpose()
        };
        self.recent.subusers.row(&self.write, (server, user), ask).await
    }

    /// What somebody was given on some servers, by server.
    pub(crate) async fn rights_on(&self, servers: &[Server], user: UserId) -> Result<HashMap<ServerId, Vec<String>>> {
        if servers.is_empty() {
            return Ok(HashMap::new());
        }
        let ids = servers.iter().map(|server| server.uuid.to_string());
        let mut query = Self::by_ids("SELECT * FROM subusers WHERE server_uuid IN (", ids);
        query.push(" AND user_uuid = ").push_bind(user.to_string());
        let rows = query.build().fetch_all(&self.read).await?;
        rows.iter().map(|row| Ok((row.parsed("server_uuid")?, read(row)?.permissions))).collect()
    }

    /// Everybody with rights on a server, in the order they got them.
    pub(crate) async fn subusers(&self, server: ServerId) -> Result<Vec<Subuser>> {
        let rows = sqlx::query::<Sqlite>(
            "SELECT * FROM subusers WHERE server_uuid = $1 ORDER BY created_at, user_uuid LIMIT $2",
        )
        .bind(server.to_string())
        .bind(LIST_MAX)
        .fetch_all(&self.read)
        .await?;
        rows.iter().map(read).collect()
    }

    /// How many people have rights on a server.
    pub(crate) async fn subuser_count(&self, server: ServerId) -> Result<u64> {
        sqlx::query::<Sqlite>("SELECT COUNT(*) AS n FROM subusers WHERE server_uuid = $1")
            .bind(server.to_string())
            .fetch_one(&self.read)
            .await?
            .unsigned("n")
    }

    /// Gives rights to somebody who has none.
    pub(crate) async fn insert_subuser(&self, server: ServerId, user: UserId, permissions: &[String]) -> Result<Given> {
        let mut tx = self.change().await?;
        let count = sqlx::query::<Sqlite>(
            "SELECT COUNT(*) AS n, COUNT(CASE WHEN user_uuid = $2 THEN 1 END) AS own FROM subusers WHERE server_uuid = $1",
        )
        .bind(server.to_string())
        .bind(user.to_string());
        let row = tx.row(count).await?;
        let given = match (row.unsigned("own")?, row.unsigned("n")?) {
            (1.., _) => Given::Before,
            (0, SUBUSERS_MAX..) => Given::Full,
            (0, _) => {
                sqlx::query::<Sqlite>(
                    "INSERT INTO subusers (server_uuid, user_uuid, permissions, created_at) VALUES ($1, $2, $3, $4)",
                )
                .bind(server.to_string())
                .bind(user.to_string())
                .bind(to_json(&permissions))
                .bind(clock::now_ms())
                .execute(&mut *tx)
                .await?;
                Given::New
            }
        };
        tx.commit().await?;
        Ok(given)
    }

    /// Replaces somebody's rights, and keeps what their node must hear of it; false, and nothing is kept, when they have none.
    pub(crate) async fn update_subuser(
        &self,
        server: ServerId,
        user: UserId,
        permissions: &[String],
        notices: &[Waiting],
    ) -> Result<bool> {
        let statement =
            sqlx::query::<Sqlite>("UPDATE subusers SET permissions = $3 WHERE server_uuid = $1 AND user_uuid = $2")
                .bind(server.to_string())
                .bind(user.to_string())
                .bind(to_json(&permissions));
        self.change_rights(statement, notices).await
    }

    /// Takes somebody's rights away, and keeps what their node must hear of it; false, and nothing is kept, when they had none.
    pub(crate) async fn delete_subuser(&self, server: ServerId, user: UserId, notices: &[Waiting]) -> Result<bool> {
        let statement = sqlx::query::<Sqlite>("DELETE FROM subusers WHERE server_uuid = $1 AND user_uuid = $2")
            .bind(server.to_string())
            .bind(user.to_string());
        self.change_rights(statement, notices).await
    }

    async fn change_rights(&self, statement: Statement, notices: &[Waiting]) -> Result<bool> {
        let mut tx = self.change().await?;
        let is_changed = statement.execute(&mut *tx).await?.rows_affected() > 0;
        if is_changed {
            outbox::put(&mut tx, notices).await?;
        }
        tx.commit().await?;
        Ok(is_changed)
    }
}
