//! Addresses of servers. A port is taken while a row names it, for every address of the node.

use std::collections::{HashMap, HashSet};

use sqlx::Sqlite;
use sqlx::sqlite::SqliteRow;
use wire::ids::ServerId;

use super::change::Change;
use super::nodes::Node;
use super::servers::Server;
use super::{Columns, Result, Store, StoreError, next_number, taken};

/// An address a server may listen on.
#[derive(Clone, Debug)]
pub(crate) struct Allocation {
    pub(crate) number: u64,
    pub(crate) ip: String,
    pub(crate) port: u16,
    pub(crate) notes: Option<String>,
    pub(crate) is_default: bool,
}

fn read(row: &SqliteRow) -> Result<Allocation> {
    Ok(Allocation {
        number: row.unsigned("number")?,
        ip: row.text("ip")?,
        port: row.port("port")?,
        notes: row.text_or_null("notes")?,
        is_default: row.flag("is_default")?,
    })
}

/// Gives a new server its main address: the asked port, or the lowest free one of the node's range.
pub(super) async fn allot(tx: &mut Change, server: ServerId, node: &Node, port: Option<u16>) -> Result<()> {
    let port = match port {
        Some(port) => port,
        None => lowest_free_port(tx, node).await?,
    };
    let number = next_number(tx, "allocations").await?;
    sqlx::query::<Sqlite>(
        "INSERT INTO allocations (number, node_uuid, server_uuid, ip, port, notes, is_default) VALUES ($1, $2, $3, $4, $5, NULL, $6)",
    )
    .bind(number)
    .bind(node.uuid.to_string())
    .bind(server.to_string())
    .bind(node.bind_ip.clone())
    .bind(i64::from(port))
    .bind(true)
    .execute(&mut **tx)
    .await
    .map_err(|error| taken(error, &[("allocations.node_uuid", "port")]))?;
    Ok(())
}

async fn lowest_free_port(tx: &mut Change, node: &Node) -> Result<u16> {
    let rows = sqlx::query::<Sqlite>("SELECT port FROM allocations WHERE node_uuid = $1 AND port BETWEEN $2 AND $3")
        .bind(node.uuid.to_string())
        .bind(i64::from(node.port_min))
        .bind(i64::from(node.port_max))
        .fetch_all(&mut **tx)
        .await?;
    let used: HashSet<u16> = rows.iter().map(|row| row.port("port")).collect::<Result<_>>()?;
    (node.port_min..=node.port_max).find(|port| !used.contains(port)).ok_or(StoreError::Taken("port range"))
}

impl Store {
    /// The addresses of some servers, by server, the main one first.
    pub(crate) async fn allocations_of(&self, servers: &[Server]) -> Result<HashMap<ServerId, Vec<Allocation>>> {
        let mut found: HashMap<ServerId, Vec<Allocation>> = HashMap::new();
        if servers.is_empty() {
            return Ok(found);
        }
        let ids = servers.iter().map(|server| server.uuid.to_string());
        let mut query = Self::by_ids("SELECT * FROM allocations WHERE server_uuid IN (", ids);
        query.push(" ORDER BY is_default DESC, number");
        for row in query.build().fetch_all(&self.read).await? {
            found.entry(row.parsed("server_uuid")?).or_default().push(read(&row)?);
        }
        Ok(found)
    }

    /// A server's addresses, the main one first.
    pub(crate) async fn allocations(&self, server: ServerId) -> Result<Vec<Allocation>> {
        let rows =
            sqlx::query::<Sqlite>("SELECT * FROM allocations WHERE server_uuid = $1 ORDER BY is_default DESC, number")
                .bind(server.to_string())
                .fetch_all(&self.read)
                .await?;
        rows.iter().map(read).collect()
    }
}
