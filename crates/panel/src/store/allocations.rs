//! Addresses of nodes and servers. A port of an address is one server's at most; an address that stands for all of a machine, such as
//! `0.0.0.0`, overlaps with every other.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;

use sqlx::Sqlite;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;
use wire::ids::ServerId;

use super::change::Change;
use super::nodes::Node;
use super::servers::Server;
use super::{AddressFault, Columns, Found, Result, Store, StoreError, Window, next_number, taken};

/// An address a server may listen on.
#[derive(Clone, Debug)]
pub(crate) struct Allocation {
    pub(crate) number: u64,
    pub(crate) node: Uuid,
    /// Whose; none: it is free.
    pub(crate) server: Option<ServerId>,
    pub(crate) ip: String,
    /// What people see in place of `ip`.
    pub(crate) alias: Option<String>,
    pub(crate) port: u16,
    pub(crate) notes: Option<String>,
    pub(crate) is_default: bool,
}

/// Addresses for a new server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Addresses {
    pub(crate) main: MainAddress,
    /// Numbers of free ones of the node, besides.
    pub(crate) additional: Vec<u64>,
}

/// The main address of a new server.
#[derive(Clone, Debug, Default)]
pub(crate) enum MainAddress {
    /// The first of those that administrators made and that are free, or else the lowest free port of the node's range.
    #[default]
    Any,
    /// This port.
    Port(u16),
    /// One of these ports; on an address that no other server has, if that is wanted.
    Ports { ranges: Vec<RangeInclusive<u16>>, is_dedicated: bool },
    /// This one, by its number.
    Number(u64),
}

/// What becomes of a server's addresses; all by number.
#[derive(Clone, Debug, Default)]
pub(crate) struct AddressChange {
    /// Free ones of its node that it gets.
    pub(crate) add: Vec<u64>,
    /// Those it leaves; what it does not have is not minded.
    pub(crate) remove: Vec<u64>,
    /// One of its own that becomes the main one.
    pub(crate) main: Option<u64>,
}

fn read(row: &SqliteRow) -> Result<Allocation> {
    let server = row.text_or_null("server_uuid")?;
    Ok(Allocation {
        number: row.unsigned("number")?,
        node: row.parsed("node_uuid")?,
        server: server.map(|text| text.parse().map_err(|error| super::corrupt("server_uuid", &error))).transpose()?,
        ip: row.text("ip")?,
        alias: row.text_or_null("ip_alias")?,
        port: row.port("port")?,
        notes: row.text_or_null("notes")?,
        is_default: row.flag("is_default")?,
    })
}

fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Whether two addresses are the same as far as ports go.
fn overlaps(a: &str, b: &str) -> bool {
    let is_all = |text: &str| text.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
    a == b || is_all(a) || is_all(b)
}

/// All addresses of a node.
async fn of_node(tx: &mut Change, node: Uuid) -> Result<Vec<Allocation>> {
    let rows = sqlx::query::<Sqlite>("SELECT * FROM allocations WHERE node_uuid = $1 ORDER BY number")
        .bind(node.to_string())
        .fetch_all(&mut **tx)
        .await?;
    rows.iter().map(read).collect()
}

/// Gives a free address to a server.
async fn give(tx: &mut Change, server: ServerId, address: u64, is_default: bool) -> Result<()> {
    sqlx::query::<Sqlite>("UPDATE allocations SET server_uuid = $2, is_default = $3, notes = NULL WHERE number = $1")
        .bind(number(address))
        .bind(server.to_string())
        .bind(is_default)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Makes an address; of a server, or as one of those that stay.
async fn make(
    tx: &mut Change,
    node: &Node,
    (ip, port): (&str, u16),
    alias: Option<String>,
    server: Option<(ServerId, bool)>,
) -> Result<u64> {
    let id = next_number(tx, "allocations").await?;
    sqlx::query::<Sqlite>(
        "INSERT INTO allocations (number, node_uuid, server_uuid, ip, ip_alias, port, notes, is_default, is_pooled) \
         VALUES ($1, $2, $3, $4, $5, $6, NULL, $7, $8)",
    )
    .bind(id)
    .bind(node.uuid.to_string())
    .bind(server.map(|(server, _)| server.to_string()))
    .bind(ip.to_owned())
    .bind(alias)
    .bind(i64::from(port))
    .bind(server.is_some_and(|(_, is_default)| is_default))
    .bind(server.is_none())
    .execute(&mut **tx)
    .await
    .map_err(|error| taken(error, &[("allocations.node_uuid", "port")]))?;
    u64::try_from(id).map_err(|error| super::corrupt("number", &error))
}

/// Gives a new server its addresses.
pub(super) async fn allot(tx: &mut Change, server: ServerId, node: &Node, wanted: &Addresses) -> Result<()> {
    let all = of_node(tx, node.uuid).await?;
    let main = match &wanted.main {
        MainAddress::Number(id) => Pick::Known(*id),
        MainAddress::Any => pick_any(&all, node, None),
        MainAddress::Port(port) => pick_port(&all, node, *port).ok_or(StoreError::Taken("port"))?,
        MainAddress::Ports { ranges, is_dedicated } => {
            pick_from(&all, node, ranges, *is_dedicated).ok_or(StoreError::Taken("port range"))?
        }
    };
    take(tx, &all, (server, true), node, main).await?;
    for id in &wanted.additional {
        if !matches!(main, Pick::Known(main) if main == *id) {
            take(tx, &all, (server, false), node, Pick::Known(*id)).await?;
        }
    }
    Ok(())
}

/// An address for a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pick {
    /// One that is there.
    Known(u64),
    /// This port of the node's own address.
    New(u16),
    /// There is none.
    None,
}

async fn take(
    tx: &mut Change,
    all: &[Allocation],
    (server, is_default): (ServerId, bool),
    node: &Node,
    pick: Pick,
) -> Result<u64> {
    match pick {
        Pick::Known(id) => {
            let is_free = all.iter().any(|address| address.number == id && address.server.is_none());
            if !is_free {
                return Err(StoreError::Address(AddressFault::NotFree));
            }
            give(tx, server, id, is_default).await?;
            Ok(id)
        }
        Pick::New(port) => make(tx, node, (&node.bind_ip, port), None, Some((server, is_default))).await,
        Pick::None => Err(StoreError::Taken("port range")),
    }
}

/// Ports that a new row on the node's own address cannot have.
fn used(all: &[Allocation], node: &Node) -> HashSet<u16> {
    all.iter().filter(|known| overlaps(&known.ip, &node.bind_ip)).map(|known| known.port).collect()
}

/// The first free one, on this address rather than on others; else the lowest free port of the range.
fn pick_any(all: &[Allocation], node: &Node, ip: Option<&str>) -> Pick {
    let free = || all.iter().filter(|address| address.server.is_none());
    if let Some(found) = free().find(|address| ip.is_none_or(|ip| address.ip == ip)).or_else(|| free().next()) {
        return Pick::Known(found.number);
    }
    let used = used(all, node);
    (node.port_min..=node.port_max).find(|port| !used.contains(port)).map_or(Pick::None, Pick::New)
}

/// A free row of the port, or a new one.
fn pick_port(all: &[Allocation], node: &Node, port: u16) -> Option<Pick> {
    let mut of_port = all.iter().filter(|address| address.port == port);
    if let Some(free) = of_port.clone().find(|address| address.server.is_none()) {
        return Some(Pick::Known(free.number));
    }
    (!of_port.any(|address| overlaps(&address.ip, &node.bind_ip))).then_some(Pick::New(port))
}

/// A free row with a port of these, or a new one.
fn pick_from(all: &[Allocation], node: &Node, ranges: &[RangeInclusive<u16>], is_dedicated: bool) -> Option<Pick> {
    let is_in = |port: u16| ranges.is_empty() || ranges.iter().any(|range| range.contains(&port));
    let is_alone = |ip: &str| !all.iter().any(|other| other.server.is_some() && overlaps(&other.ip, ip));
    let fits = |address: &&Allocation| {
        address.server.is_none() && is_in(address.port) && (!is_dedicated || is_alone(&address.ip))
    };
    if let Some(free) = all.iter().find(fits) {
        return Some(Pick::Known(free.number));
    }
    if is_dedicated && !is_alone(&node.bind_ip) {
        return None;
    }
    let whole = [node.port_min..=node.port_max];
    let ranges = if ranges.is_empty() { &whole } else { ranges };
    let used = used(all, node);
    ranges.iter().flat_map(Clone::clone).find(|port| !used.contains(port)).map(Pick::New)
}

/// Changes a server's addresses: those it gets first, so that one of them can become the main one.
pub(super) async fn change(tx: &mut Change, server: &Server, wanted: &AddressChange) -> Result<()> {
    if wanted.add.is_empty() && wanted.remove.is_empty() && wanted.main.is_none() {
        return Ok(());
    }
    let all = of_node(tx, server.node).await?;
    let is_own = |id: u64| all.iter().any(|address| address.number == id && address.server == Some(server.uuid));
    for id in &wanted.add {
        if !all.iter().any(|address| address.number == *id && address.server.is_none()) {
            return Err(StoreError::Address(AddressFault::NotFree));
        }
        give(tx, server.uuid, *id, false).await?;
    }
    let old = all.iter().find(|address| address.server == Some(server.uuid) && address.is_default);
    let mut main = old.map(|address| address.number);
    if let Some(id) = wanted.main {
        if !is_own(id) && !wanted.add.contains(&id) {
            return Err(StoreError::Address(AddressFault::NotOfServer));
        }
        main = Some(id);
    }
    if main.is_some_and(|main| wanted.remove.contains(&main)) {
        main = wanted.add.iter().copied().find(|id| !wanted.remove.contains(id));
    }
    let Some(main) = main else { return Err(StoreError::Address(AddressFault::OnlyOne)) };
    sqlx::query::<Sqlite>("UPDATE allocations SET is_default = (number = $2) WHERE server_uuid = $1")
        .bind(server.uuid.to_string())
        .bind(number(main))
        .execute(&mut **tx)
        .await?;
    for id in wanted.remove.iter().filter(|id| is_own(**id)) {
        release(tx, *id).await?;
    }
    Ok(())
}

/// A server leaves an address: it stays as a free one, or goes, when nobody but this server had a use for it.
async fn release(tx: &mut Change, id: u64) -> Result<()> {
    sqlx::query::<Sqlite>("DELETE FROM allocations WHERE number = $1 AND is_pooled = FALSE")
        .bind(number(id))
        .execute(&mut **tx)
        .await?;
    sqlx::query::<Sqlite>(
        "UPDATE allocations SET server_uuid = NULL, notes = NULL, is_default = FALSE WHERE number = $1",
    )
    .bind(number(id))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// A server leaves all of them.
pub(super) async fn release_all(tx: &mut Change, server: ServerId) -> Result<()> {
    sqlx::query::<Sqlite>(
        "UPDATE allocations SET server_uuid = NULL, notes = NULL, is_default = FALSE \
         WHERE server_uuid = $1 AND is_pooled = TRUE",
    )
    .bind(server.to_string())
    .execute(&mut **tx)
    .await?;
    Ok(())
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

    /// One, by number.
    pub(crate) async fn allocation(&self, id: u64) -> Result<Option<Allocation>> {
        let query = sqlx::query::<Sqlite>("SELECT * FROM allocations WHERE number = $1").bind(number(id));
        query.fetch_optional(&self.read).await?.as_ref().map(read).transpose()
    }

    /// A window of a node's addresses, by number.
    pub(crate) async fn node_allocations(&self, node: Uuid, window: Window) -> Result<Found<Allocation>> {
        let total = sqlx::query::<Sqlite>("SELECT COUNT(*) AS n FROM allocations WHERE node_uuid = $1")
            .bind(node.to_string())
            .fetch_one(&self.read)
            .await?
            .unsigned("n")?;
        let rows =
            sqlx::query::<Sqlite>("SELECT * FROM allocations WHERE node_uuid = $1 ORDER BY number LIMIT $2 OFFSET $3")
                .bind(node.to_string())
                .bind(window.limit())
                .bind(window.offset())
                .fetch_all(&self.read)
                .await?;
        Ok(Found { rows: rows.iter().map(read).collect::<Result<_>>()?, total })
    }

    /// Makes free addresses of a node; those that are there stay as they are. All or none: one that overlaps with another is a fault.
    pub(crate) async fn insert_allocations(
        &self,
        node: &Node,
        ip: &str,
        ports: &[u16],
        alias: Option<&str>,
    ) -> Result<()> {
        let mut tx = self.change().await?;
        let all = of_node(&mut tx, node.uuid).await?;
        let known: HashSet<u16> = all.iter().filter(|one| one.ip == ip).map(|one| one.port).collect();
        let blocked: HashSet<u16> = all.iter().filter(|one| overlaps(&one.ip, ip)).map(|one| one.port).collect();
        for port in ports.iter().filter(|port| !known.contains(port)) {
            if blocked.contains(port) {
                return Err(StoreError::Address(AddressFault::Overlaps));
            }
            make(&mut tx, node, (ip, *port), alias.map(str::to_owned), None).await?;
        }
        tx.commit().await
    }

    /// Removes a free address of a node. Fails with [`InUse`](AddressFault::InUse); false when there is no such address.
    pub(crate) async fn delete_allocation(&self, node: Uuid, id: u64) -> Result<bool> {
        let mut tx = self.change().await?;
        let all = of_node(&mut tx, node).await?;
        let Some(address) = all.iter().find(|address| address.number == id) else { return Ok(false) };
        if address.server.is_some() {
            return Err(StoreError::Address(AddressFault::InUse));
        }
        let delete = sqlx::query::<Sqlite>("DELETE FROM allocations WHERE number = $1").bind(number(id));
        delete.execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Gives a server one more address, up to as many as it may have, and keeps what its node must hear of it.
    pub(crate) async fn add_allocation(
        &self,
        server: &Server,
        node: &Node,
        notices: &[super::outbox::Waiting],
    ) -> Result<Allocation> {
        let mut tx = self.change().await?;
        let all = of_node(&mut tx, node.uuid).await?;
        let own: Vec<&Allocation> = all.iter().filter(|address| address.server == Some(server.uuid)).collect();
        if u64::try_from(own.len()).unwrap_or(u64::MAX) >= server.features.allocations {
            return Err(StoreError::Address(AddressFault::LimitReached));
        }
        let ip = own.iter().find(|address| address.is_default).map(|main| main.ip.as_str());
        let pick = pick_any(&all, node, ip);
        let id = take(&mut tx, &all, (server.uuid, false), node, pick).await?;
        super::outbox::put(&mut tx, notices).await?;
        let select = sqlx::query::<Sqlite>("SELECT * FROM allocations WHERE number = $1").bind(number(id));
        let made = read(&tx.row(select).await?)?;
        tx.commit().await?;
        Ok(made)
    }

    /// Notes on a server's address; none when it is not the server's.
    pub(crate) async fn note_allocation(
        &self,
        server: ServerId,
        id: u64,
        notes: Option<String>,
    ) -> Result<Option<Allocation>> {
        let mut tx = self.change().await?;
        let update = sqlx::query::<Sqlite>(
            "UPDATE allocations SET notes = $3 WHERE number = $1 AND server_uuid = $2 RETURNING *",
        )
        .bind(number(id))
        .bind(server.to_string())
        .bind(notes);
        let rows = update.fetch_all(&mut *tx).await?;
        let noted = rows.first().map(read).transpose()?;
        tx.commit().await?;
        Ok(noted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_a_whole_machine_overlaps_with_all() {
        for (a, b, expected) in [
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("0.0.0.0", "10.0.0.2", true),
            ("10.0.0.2", "::", true),
            ("games.example", "10.0.0.2", false),
        ] {
            assert_eq!(overlaps(a, b), expected, "{a} {b}");
        }
    }
}
