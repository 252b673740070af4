//! Machines with a daemon.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sqlx::Sqlite;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::servers::Server;
use super::{Columns, Found, Result, Store, StoreError, Window, next_number, taken};
use crate::clock;
use crate::secret::{self, Secret};

const TOKEN_ID_CHARS: usize = 16;
const TOKEN_CHARS: usize = 64;
/// First port for game servers when nothing else is said.
pub(crate) const PORT_MIN_DEFAULT: u16 = 25565;
/// Last port for game servers when nothing else is said.
pub(crate) const PORT_MAX_DEFAULT: u16 = 26564;
/// Address game servers listen on when nothing else is said.
pub(crate) const BIND_IP_DEFAULT: &str = "0.0.0.0";

/// A machine with a daemon.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) uuid: Uuid,
    pub(crate) number: u64,
    pub(crate) name: String,
    pub(crate) description: String,
    /// Where the panel asks it; for a node that is not local also where clients find it.
    pub(crate) url: String,
    /// It answers at the panel's own address, so clients find it where they found the panel.
    pub(crate) local: bool,
    pub(crate) maintenance: bool,
    pub(crate) bind_ip: String,
    pub(crate) port_min: u16,
    pub(crate) port_max: u16,
    pub(crate) token_id: String,
    pub(crate) token: Secret,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
}

/// What a new node is made of; its credentials are made here.
#[derive(Clone, Debug)]
pub(crate) struct NewNode {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) url: String,
    pub(crate) local: bool,
    pub(crate) maintenance: bool,
    pub(crate) bind_ip: String,
    pub(crate) port_min: u16,
    pub(crate) port_max: u16,
}

const UNIQUE: &[(&str, &str)] = &[("nodes.name", "name")];

fn read(row: &SqliteRow) -> Result<Node> {
    Ok(Node {
        uuid: row.parsed("uuid")?,
        number: row.unsigned("number")?,
        name: row.text("name")?,
        description: row.text("description")?,
        url: row.text("url")?,
        local: row.flag("local")?,
        maintenance: row.flag("maintenance")?,
        bind_ip: row.text("bind_ip")?,
        port_min: row.port("port_min")?,
        port_max: row.port("port_max")?,
        token_id: row.text("token_id")?,
        token: Secret::new(row.text("token")?),
        created_at: row.int("created_at")?,
        updated_at: row.int("updated_at")?,
    })
}

impl Store {
    /// By uuid.
    pub(crate) async fn node(&self, id: Uuid) -> Result<Option<Arc<Node>>> {
        let ask = async {
            let query = sqlx::query::<Sqlite>("SELECT * FROM nodes WHERE uuid = $1").bind(id.to_string());
            query.fetch_optional(&self.read).await?.map(|row| read(&row).map(Arc::new)).transpose()
        };
        self.recent.nodes.row(&self.write, id, ask).await
    }

    /// By number.
    pub(crate) async fn node_by_number(&self, number: i64) -> Result<Option<Node>> {
        let query = sqlx::query::<Sqlite>("SELECT * FROM nodes WHERE number = $1").bind(number);
        query.fetch_optional(&self.read).await?.as_ref().map(read).transpose()
    }

    /// By name.
    pub(crate) async fn node_by_name(&self, name: &str) -> Result<Option<Node>> {
        let query = sqlx::query::<Sqlite>("SELECT * FROM nodes WHERE name = $1").bind(name.to_owned());
        query.fetch_optional(&self.read).await?.as_ref().map(read).transpose()
    }

    /// By the public half of its credentials.
    pub(crate) async fn node_by_token_id(&self, token_id: &str) -> Result<Option<Node>> {
        let query = sqlx::query::<Sqlite>("SELECT * FROM nodes WHERE token_id = $1").bind(token_id.to_owned());
        query.fetch_optional(&self.read).await?.as_ref().map(read).transpose()
    }

    /// The node that answers at the panel's own address; of several, which older versions could make, the oldest.
    pub(crate) async fn local_node(&self) -> Result<Option<Node>> {
        let query = sqlx::query::<Sqlite>("SELECT * FROM nodes WHERE local = TRUE ORDER BY number LIMIT 1");
        query.fetch_optional(&self.read).await?.as_ref().map(read).transpose()
    }

    /// The nodes of some servers.
    pub(crate) async fn nodes_of(&self, servers: &[Server]) -> Result<HashMap<Uuid, Node>> {
        let ids: HashSet<Uuid> = servers.iter().map(|server| server.node).collect();
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let mut query = Self::by_ids("SELECT * FROM nodes WHERE uuid IN (", ids.iter().map(Uuid::to_string));
        let rows = query.build().fetch_all(&self.read).await?;
        rows.iter().map(|row| read(row).map(|node| (node.uuid, node))).collect()
    }

    /// All nodes there are.
    pub(crate) async fn node_ids(&self) -> Result<Vec<Uuid>> {
        let rows = sqlx::query::<Sqlite>("SELECT uuid FROM nodes ORDER BY number").fetch_all(&self.read).await?;
        rows.iter().map(|row| row.parsed("uuid")).collect()
    }

    /// A window of nodes, by number.
    pub(crate) async fn nodes(&self, window: Window) -> Result<Found<Node>> {
        let total =
            sqlx::query::<Sqlite>("SELECT COUNT(*) AS n FROM nodes").fetch_one(&self.read).await?.unsigned("n")?;
        let rows = sqlx::query::<Sqlite>("SELECT * FROM nodes ORDER BY number LIMIT $1 OFFSET $2")
            .bind(window.limit())
            .bind(window.offset())
            .fetch_all(&self.read)
            .await?;
        Ok(Found { rows: rows.iter().map(read).collect::<Result<_>>()?, total })
    }

    /// Makes a node with new credentials. Fails with [`Taken`](super::StoreError::Taken) for `name`.
    pub(crate) async fn insert_node(&self, new: NewNode) -> Result<Node> {
        let mut tx = self.change().await?;
        let number = next_number(&mut tx, "nodes").await?;
        let insert = sqlx::query::<Sqlite>(
            "INSERT INTO nodes (uuid, number, name, description, url, local, maintenance, bind_ip, port_min, port_max, token_id, \
             token, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13) RETURNING *",
        )
        .bind(Uuid::new_v4().to_string())
        .bind(number)
        .bind(new.name)
        .bind(new.description)
        .bind(new.url)
        .bind(new.local)
        .bind(new.maintenance)
        .bind(new.bind_ip)
        .bind(i64::from(new.port_min))
        .bind(i64::from(new.port_max))
        .bind(secret::alphanumeric(TOKEN_ID_CHARS))
        .bind(secret::alphanumeric(TOKEN_CHARS))
        .bind(clock::now_ms());
        let row = tx.row(insert).await.map_err(|error| taken(error, UNIQUE))?;
        let node = read(&row)?;
        tx.commit().await?;
        Ok(node)
    }

    /// Changes a node as it is now: `edit` gets it from within the change, so that nothing another change has done meanwhile is
    /// undone. Uuid, number and credentials stay. None when there is no such node.
    pub(crate) async fn change_node<E: From<StoreError>>(
        &self,
        id: Uuid,
        edit: impl FnOnce(&mut Node) -> std::result::Result<(), E>,
    ) -> std::result::Result<Option<Node>, E> {
        let mut tx = self.change().await?;
        let select = sqlx::query::<Sqlite>("SELECT * FROM nodes WHERE uuid = $1").bind(id.to_string());
        let Some(row) = select.fetch_optional(&mut *tx).await.map_err(StoreError::from)? else { return Ok(None) };
        let mut node = read(&row)?;
        edit(&mut node)?;
        node.updated_at = clock::now_ms();
        sqlx::query::<Sqlite>(
            "UPDATE nodes SET name = $2, description = $3, url = $4, local = $5, maintenance = $6, bind_ip = $7, port_min = $8, \
             port_max = $9, updated_at = $10 WHERE uuid = $1",
        )
        .bind(id.to_string())
        .bind(node.name.clone())
        .bind(node.description.clone())
        .bind(node.url.clone())
        .bind(node.local)
        .bind(node.maintenance)
        .bind(node.bind_ip.clone())
        .bind(i64::from(node.port_min))
        .bind(i64::from(node.port_max))
        .bind(node.updated_at)
        .execute(&mut *tx)
        .await
        .map_err(|error| taken(error, UNIQUE))?;
        tx.commit().await?;
        Ok(Some(node))
    }

    /// Removes a node. Its servers must be gone before.
    pub(crate) async fn delete_node(&self, id: Uuid) -> Result<()> {
        let statement = sqlx::query::<Sqlite>("DELETE FROM nodes WHERE uuid = $1").bind(id.to_string());
        self.write.execute(statement).await?;
        Ok(())
    }

    /// How many servers a node has.
    pub(crate) async fn node_server_count(&self, id: Uuid) -> Result<u64> {
        sqlx::query::<Sqlite>("SELECT COUNT(*) AS n FROM servers WHERE node_uuid = $1")
            .bind(id.to_string())
            .fetch_one(&self.read)
            .await?
            .unsigned("n")
    }
}
