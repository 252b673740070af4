//! Definitions of games, and the groups they stand in.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use egg::Egg;
use sqlx::Sqlite;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::change::Change;
use super::servers::Server;
use super::{Columns, Found, Result, Store, StoreError, Window, next_number, taken, to_json};
use crate::clock;

/// The group of what is imported without one.
const NEST_DEFAULT: &str = "Imported";
/// Who made a group, when nobody says it.
pub(crate) const NEST_AUTHOR_DEFAULT: &str = "support@quarterdeck.invalid";

/// A group of eggs.
#[derive(Clone, Debug)]
pub(crate) struct Nest {
    pub(crate) uuid: Uuid,
    pub(crate) number: u64,
    pub(crate) author: String,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
}

/// An egg of this panel.
#[derive(Clone, Debug)]
pub(crate) struct StoredEgg {
    pub(crate) uuid: Uuid,
    pub(crate) number: u64,
    pub(crate) nest: Uuid,
    /// What it says.
    pub(crate) egg: Egg,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
}

fn read_nest(row: &SqliteRow) -> Result<Nest> {
    Ok(Nest {
        uuid: row.parsed("uuid")?,
        number: row.unsigned("number")?,
        author: row.text("author")?,
        name: row.text("name")?,
        description: row.text("description")?,
        created_at: row.int("created_at")?,
        updated_at: row.int("updated_at")?,
    })
}

fn read(row: &SqliteRow) -> Result<StoredEgg> {
    Ok(StoredEgg {
        uuid: row.parsed("uuid")?,
        number: row.unsigned("number")?,
        nest: row.parsed("nest_uuid")?,
        egg: row.json("egg")?,
        created_at: row.int("created_at")?,
        updated_at: row.int("updated_at")?,
    })
}

async fn add_nest(tx: &mut Change, name: &str, author: &str, description: &str) -> Result<Nest> {
    let number = next_number(tx, "nests").await?;
    let insert = sqlx::query::<Sqlite>(
        "INSERT INTO nests (uuid, number, author, name, description, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $6) RETURNING *",
    )
    .bind(Uuid::new_v4().to_string())
    .bind(number)
    .bind(author.to_owned())
    .bind(name.to_owned())
    .bind(description.to_owned())
    .bind(clock::now_ms());
    let row = tx.row(insert).await.map_err(|error| taken(error, &[("nests.name", "name")]))?;
    read_nest(&row)
}

/// The egg that an imported one is a newer version of: that of its uuid, or else of its name in the same group (in any, when no group
/// is named).
async fn former(tx: &mut Change, egg: &Egg, nest: Option<Uuid>) -> Result<Option<StoredEgg>> {
    if let Some(uuid) = egg.uuid {
        let select = sqlx::query::<Sqlite>("SELECT * FROM eggs WHERE uuid = $1").bind(uuid.to_string());
        if let Some(row) = select.fetch_optional(&mut **tx).await? {
            return read(&row).map(Some);
        }
    }
    let select = sqlx::query::<Sqlite>(
        "SELECT * FROM eggs WHERE name = $1 AND (CAST($2 AS TEXT) IS NULL OR nest_uuid = $2) ORDER BY number LIMIT 1",
    );
    let select = select.bind(egg.name.clone()).bind(nest.map(|nest| nest.to_string()));
    select.fetch_optional(&mut **tx).await?.as_ref().map(read).transpose()
}

impl Store {
    /// A window of groups, by number.
    pub(crate) async fn nests(&self, window: Window) -> Result<Found<Nest>> {
        let total =
            sqlx::query::<Sqlite>("SELECT COUNT(*) AS n FROM nests").fetch_one(&self.read).await?.unsigned("n")?;
        let rows = sqlx::query::<Sqlite>("SELECT * FROM nests ORDER BY number LIMIT $1 OFFSET $2")
            .bind(window.limit())
            .bind(window.offset())
            .fetch_all(&self.read)
            .await?;
        Ok(Found { rows: rows.iter().map(read_nest).collect::<Result<_>>()?, total })
    }

    /// By number.
    pub(crate) async fn nest_by_number(&self, number: i64) -> Result<Option<Nest>> {
        let query = sqlx::query::<Sqlite>("SELECT * FROM nests WHERE number = $1").bind(number);
        query.fetch_optional(&self.read).await?.as_ref().map(read_nest).transpose()
    }

    /// By name or uuid.
    pub(crate) async fn nest_by_word(&self, word: &str) -> Result<Option<Nest>> {
        let query = sqlx::query::<Sqlite>("SELECT * FROM nests WHERE name = $1 OR uuid = $1").bind(word.to_owned());
        query.fetch_optional(&self.read).await?.as_ref().map(read_nest).transpose()
    }

    /// The groups of some eggs.
    pub(crate) async fn nests_of(&self, eggs: impl Iterator<Item = &StoredEgg>) -> Result<HashMap<Uuid, Nest>> {
        let ids: HashSet<Uuid> = eggs.map(|egg| egg.nest).collect();
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let mut query = Self::by_ids("SELECT * FROM nests WHERE uuid IN (", ids.iter().map(Uuid::to_string));
        let rows = query.build().fetch_all(&self.read).await?;
        rows.iter().map(|row| read_nest(row).map(|nest| (nest.uuid, nest))).collect()
    }

    /// Makes a group. Fails with [`Taken`](StoreError::Taken) for `name`.
    pub(crate) async fn insert_nest(&self, name: &str, author: &str, description: &str) -> Result<Nest> {
        let mut tx = self.change().await?;
        let nest = add_nest(&mut tx, name, author, description).await?;
        tx.commit().await?;
        Ok(nest)
    }

    /// A window of eggs, of one group or of all, by number.
    pub(crate) async fn eggs(&self, nest: Option<Uuid>, window: Window) -> Result<Found<StoredEgg>> {
        let nest = nest.map(|nest| nest.to_string());
        let total =
            sqlx::query::<Sqlite>("SELECT COUNT(*) AS n FROM eggs WHERE (CAST($1 AS TEXT) IS NULL OR nest_uuid = $1)")
                .bind(nest.clone())
                .fetch_one(&self.read)
                .await?
                .unsigned("n")?;
        let rows = sqlx::query::<Sqlite>(
            "SELECT * FROM eggs WHERE (CAST($1 AS TEXT) IS NULL OR nest_uuid = $1) ORDER BY number LIMIT $2 OFFSET $3",
        )
        .bind(nest)
        .bind(window.limit())
        .bind(window.offset())
        .fetch_all(&self.read)
        .await?;
        Ok(Found { rows: rows.iter().map(read).collect::<Result<_>>()?, total })
    }

    /// By uuid.
    pub(crate) async fn egg(&self, id: Uuid) -> Result<Option<Arc<StoredEgg>>> {
        let ask = async {
            let query = sqlx::query::<Sqlite>("SELECT * FROM eggs WHERE uuid = $1").bind(id.to_string());
            query.fetch_optional(&self.read).await?.map(|row| read(&row).map(Arc::new)).transpose()
        };
        self.recent.eggs.row(&self.write, id, ask).await
    }

    /// By number.
    pub(crate) async fn egg_by_number(&self, number: i64) -> Result<Option<StoredEgg>> {
        let query = sqlx::query::<Sqlite>("SELECT * FROM eggs WHERE number = $1").bind(number);
        query.fetch_optional(&self.read).await?.as_ref().map(read).transpose()
    }

    /// Those of a name: as many as there are groups with one, two at most.
    pub(crate) async fn eggs_by_name(&self, name: &str) -> Result<Vec<StoredEgg>> {
        let query = sqlx::query::<Sqlite>("SELECT * FROM eggs WHERE name = $1 ORDER BY number LIMIT 2");
        let rows = query.bind(name.to_owned()).fetch_all(&self.read).await?;
        rows.iter().map(read).collect()
    }

    /// The eggs of some servers.
    pub(crate) async fn eggs_of(&self, servers: &[Server]) -> Result<HashMap<Uuid, StoredEgg>> {
        let ids: HashSet<Uuid> = servers.iter().filter_map(|server| server.egg).collect();
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let mut query = Self::by_ids("SELECT * FROM eggs WHERE uuid IN (", ids.iter().map(Uuid::to_string));
        let rows = query.build().fetch_all(&self.read).await?;
        rows.iter().map(|row| read(row).map(|egg| (egg.uuid, egg))).collect()
    }

    /// Keeps an imported egg: as a new one, or in place of the one it is a newer version of, which keeps its uuid and number; and
    /// whether it is a new one. Fails with [`Taken`](StoreError::Taken) for `egg` when there is one and it is not to be replaced.
    pub(crate) async fn import_egg(&self, egg: &Egg, nest: Option<Uuid>, replace: bool) -> Result<(StoredEgg, bool)> {
        let mut tx = self.change().await?;
        let former = former(&mut tx, egg, nest).await?;
        let row = match &former {
            Some(_) if !replace => return Err(StoreError::Taken("egg")),
            Some(former) => {
                let update = sqlx::query::<Sqlite>(
                    "UPDATE eggs SET nest_uuid = $2, name = $3, egg = $4, updated_at = $5 WHERE uuid = $1 RETURNING *",
                )
                .bind(former.uuid.to_string())
                .bind(nest.unwrap_or(former.nest).to_string())
                .bind(egg.name.clone())
                .bind(to_json(egg))
                .bind(clock::now_ms());
                tx.row(update).await
            }
            None => {
                let nest = match nest {
                    Some(nest) => nest,
                    None => default_nest(&mut tx).await?,
                };
                let number = next_number(&mut tx, "eggs").await?;
                let insert = sqlx::query::<Sqlite>(
                    "INSERT INTO eggs (uuid, number, nest_uuid, name, egg, created_at, updated_at) \
                     VALUES ($1, $2, $3, $4, $5, $6, $6) RETURNING *",
                )
                .bind(egg.uuid.unwrap_or_else(Uuid::new_v4).to_string())
                .bind(number)
                .bind(nest.to_string())
                .bind(egg.name.clone())
                .bind(to_json(egg))
                .bind(clock::now_ms());
                tx.row(insert).await
            }
        };
        let row = row.map_err(|error| taken(error, &[("eggs.nest_uuid", "egg"), ("eggs.uuid", "egg")]))?;
        let stored = read(&row)?;
        tx.commit().await?;
        Ok((stored, former.is_none()))
    }

    /// Removes an egg. Fails with [`EggInUse`](StoreError::EggInUse) while servers use it, also those that are to be deleted.
    pub(crate) async fn delete_egg(&self, id: Uuid) -> Result<()> {
        let mut tx = self.change().await?;
        let count = sqlx::query::<Sqlite>("SELECT COUNT(*) AS n FROM servers WHERE egg_uuid = $1").bind(id.to_string());
        if count.fetch_one(&mut *tx).await?.unsigned("n")? > 0 {
            return Err(StoreError::EggInUse);
        }
        sqlx::query::<Sqlite>("DELETE FROM eggs WHERE uuid = $1").bind(id.to_string()).execute(&mut *tx).await?;
        tx.commit().await
    }
}

async fn default_nest(tx: &mut Change) -> Result<Uuid> {
    let select = sqlx::query::<Sqlite>("SELECT * FROM nests WHERE name = $1").bind(NEST_DEFAULT);
    if let Some(row) = select.fetch_optional(&mut **tx).await? {
        return read_nest(&row).map(|nest| nest.uuid);
    }
    let nest = add_nest(tx, NEST_DEFAULT, NEST_AUTHOR_DEFAULT, "Eggs that were imported without a nest.").await?;
    Ok(nest.uuid)
}
