//! Game servers.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use sqlx::Sqlite;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;
use wire::api::FeatureLimits;
use wire::ids::{ServerId, UserId};
use wire::remote::{Build, ProcessConfiguration, RuntimeKind};

use super::allocations::{AddressChange, Addresses};
use super::change::Change;
use super::outbox::{self, Waiting};
use super::{Columns, Found, Result, Store, StoreError, Window, contains_pattern, folded, next_number, taken, to_json};
use crate::clock;

/// Tries to find a uuid whose first eight characters are free.
const SHORT_TRIES_MAX: u32 = 8;

/// What a server is fit for, apart from whether its process runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Status {
    /// To be used.
    #[default]
    Normal,
    /// Its files are being put in place for the first time.
    Installing,
    /// That failed.
    InstallFailed,
    /// A later installation failed; the old files are still there.
    ReinstallFailed,
    /// Blocked by an administrator.
    Suspended,
    /// A backup is being put back.
    RestoringBackup,
    /// On its way to another node.
    Transferring,
}

impl Status {
    /// All of them.
    pub(crate) const ALL: [Self; 7] = [
        Self::Normal,
        Self::Installing,
        Self::InstallFailed,
        Self::ReinstallFailed,
        Self::Suspended,
        Self::RestoringBackup,
        Self::Transferring,
    ];

    const fn word(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Installing => "installing",
            Self::InstallFailed => "install_failed",
            Self::ReinstallFailed => "reinstall_failed",
            Self::Suspended => "suspended",
            Self::RestoringBackup => "restoring_backup",
            Self::Transferring => "transferring",
        }
    }

    /// The `status` member of a server on the wire.
    pub(crate) fn on_the_wire(self) -> Option<String> {
        match self {
            Self::Normal | Self::Transferring => None,
            other => Some(other.word().to_owned()),
        }
    }
}

impl FromStr for Status {
    type Err = String;
    fn from_str(word: &str) -> std::result::Result<Self, String> {
        Self::ALL.into_iter().find(|status| status.word() == word).ok_or_else(|| format!("no status is called {word}"))
    }
}

/// A game server.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) uuid: ServerId,
    pub(crate) number: u64,
    pub(crate) external_id: Option<String>,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) owner: UserId,
    pub(crate) node: Uuid,
    pub(crate) status: Status,
    pub(crate) template: Option<String>,
    pub(crate) invocation: String,
    pub(crate) image: String,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) process: ProcessConfiguration,
    pub(crate) build: Build,
    pub(crate) features: FeatureLimits,
    pub(crate) crash_detection: Option<bool>,
    /// What it was made from; its variables' values stand in `environment`.
    pub(crate) egg: Option<Uuid>,
    /// What runs it; none: the node decides.
    pub(crate) runtime: Option<RuntimeKind>,
    /// Installations leave out the egg's script.
    pub(crate) skip_scripts: bool,
    /// When an installation ended well for the last time.
    pub(crate) installed_at: Option<i64>,
    /// When it will be gone, of one that is to be deleted: until then only administrators know it, and nobody can use it.
    pub(crate) delete_at: Option<i64>,
    /// What `external_id` was before that.
    pub(crate) kept_external_id: Option<String>,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
}

impl Server {
    /// Its node must not let anybody use it.
    pub(crate) fn is_closed(&self) -> bool {
        self.status == Status::Suspended || self.delete_at.is_some()
    }

    /// The `status` member on the wire.
    pub(crate) fn status_word(&self) -> Option<String> {
        if self.delete_at.is_some() { Some("deleting".to_owned()) } else { self.status.on_the_wire() }
    }
}

/// What a new server row is made of.
#[derive(Clone, Debug)]
pub(crate) struct ServerDraft {
    pub(crate) external_id: Option<String>,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) owner: UserId,
    pub(crate) status: Status,
    pub(crate) template: Option<String>,
    pub(crate) invocation: String,
    pub(crate) image: String,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) process: ProcessConfiguration,
    pub(crate) build: Build,
    pub(crate) features: FeatureLimits,
    pub(crate) crash_detection: Option<bool>,
    pub(crate) egg: Option<Uuid>,
    pub(crate) runtime: Option<RuntimeKind>,
    pub(crate) skip_scripts: bool,
}

const fn runtime_word(runtime: RuntimeKind) -> &'static str {
    match runtime {
        RuntimeKind::Process => "process",
        RuntimeKind::Docker => "docker",
    }
}

fn runtime_of(word: &str) -> Result<RuntimeKind> {
    [RuntimeKind::Process, RuntimeKind::Docker]
        .into_iter()
        .find(|runtime| runtime_word(*runtime) == word)
        .ok_or_else(|| super::corrupt("runtime", &format!("no runtime is called {word}")))
}

/// Whose servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Everybody's.
    All,
    /// Those somebody owns.
    Owned(UserId),
    /// Those somebody owns or was given rights on.
    Accessible(UserId),
    /// All but those.
    Foreign(UserId),
}

impl Scope {
    const fn word(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Owned(_) => "owned",
            Self::Accessible(_) => "accessible",
            Self::Foreign(_) => "foreign",
        }
    }
    fn user(self) -> Option<String> {
        match self {
            Self::All => None,
            Self::Owned(user) | Self::Accessible(user) | Self::Foreign(user) => Some(user.to_string()),
        }
    }
}

/// What to look for among servers; each is found anywhere in its column, in any case of letters.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServerFilter {
    pub(crate) name: Option<String>,
    pub(crate) uuid: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) external_id: Option<String>,
    /// In any of name, uuid and external id.
    pub(crate) any: Option<String>,
    /// Those that are to be deleted, and not those that are not.
    pub(crate) deleted: bool,
}

macro_rules! filtered {
    ($start:literal, $end:literal) => {
        concat!(
            $start,
            " WHERE ($1 = 'all' OR ($1 = 'owned' AND owner_uuid = $2) \
             OR ($1 = 'accessible' AND (owner_uuid = $2 OR EXISTS (SELECT 1 FROM subusers \
                 WHERE subusers.server_uuid = servers.uuid AND subusers.user_uuid = $2))) \
             OR ($1 = 'foreign' AND owner_uuid <> $2 AND NOT EXISTS (SELECT 1 FROM subusers \
                 WHERE subusers.server_uuid = servers.uuid AND subusers.user_uuid = $2))) \
             AND (CAST($3 AS TEXT) IS NULL OR name_folded LIKE $3 ESCAPE '\\') \
             AND (CAST($4 AS TEXT) IS NULL OR uuid LIKE $4 ESCAPE '\\') \
             AND (CAST($5 AS TEXT) IS NULL OR description_folded LIKE $5 ESCAPE '\\') \
             AND (CAST($6 AS TEXT) IS NULL OR external_id_folded LIKE $6 ESCAPE '\\') \
             AND (CAST($7 AS TEXT) IS NULL OR name_folded LIKE $7 ESCAPE '\\' OR uuid LIKE $7 ESCAPE '\\' \
                  OR external_id_folded LIKE $7 ESCAPE '\\') \
             AND (CASE WHEN delete_at IS NULL THEN FALSE ELSE TRUE END) = $8 ",
            $end
        )
    };
}

const UNIQUE: &[(&str, &str)] = &[("servers.external_id", "external_id"), ("servers.short", "identifier")];

fn read(row: &SqliteRow) -> Result<Server> {
    Ok(Server {
        uuid: row.parsed("uuid")?,
        number: row.unsigned("number")?,
        external_id: row.text_or_null("external_id")?,
        name: row.text("name")?,
        description: row.text("description")?,
        owner: row.parsed("owner_uuid")?,
        node: row.parsed("node_uuid")?,
        status: row.parsed("status")?,
        template: row.text_or_null("template")?,
        invocation: row.text("invocation")?,
        image: row.text("image")?,
        environment: row.json("environment")?,
        process: row.json("process")?,
        build: row.json("build")?,
        features: row.json("feature_limits")?,
        crash_detection: row.flag_or_null("crash_detection")?,
        egg: super::uuid_or_null(row, "egg_uuid")?,
        runtime: row.text_or_null("runtime")?.as_deref().map(runtime_of).transpose()?,
        skip_scripts: row.flag("skip_scripts")?,
        installed_at: row.int_or_null("installed_at")?,
        delete_at: row.int_or_null("delete_at")?,
        kept_external_id: row.text_or_null("kept_external_id")?,
        created_at: row.int("created_at")?,
        updated_at: row.int("updated_at")?,
    })
}

async fn by_uuid(tx: &mut Change, id: ServerId) -> Result<Option<Server>> {
    let select = sqlx::query::<Sqlite>("SELECT * FROM servers WHERE uuid = $1").bind(id.to_string());
    select.fetch_optional(&mut **tx).await?.as_ref().map(read).transpose()
}

/// Writes what may change.
async fn write_back(tx: &mut Change, server: &Server) -> Result<()> {
    sqlx::query::<Sqlite>(
        "UPDATE servers SET external_id = $2, name = $3, description = $4, owner_uuid = $5, invocation = $6, image = $7, \
         environment = $8, process = $9, build = $10, feature_limits = $11, crash_detection = $12, updated_at = $13, \
         status = $14, name_folded = $15, description_folded = $16, external_id_folded = $17, egg_uuid = $18, runtime = $19, \
         skip_scripts = $20, installed_at = $21, delete_at = $22, kept_external_id = $23 WHERE uuid = $1",
    )
    .bind(server.uuid.to_string())
    .bind(server.external_id.clone())
    .bind(server.name.clone())
    .bind(server.description.clone())
    .bind(server.owner.to_string())
    .bind(server.invocation.clone())
    .bind(server.image.clone())
    .bind(to_json(&server.environment))
    .bind(to_json(&server.process))
    .bind(to_json(&server.build))
    .bind(to_json(&server.features))
    .bind(server.crash_detection)
    .bind(server.updated_at)
    .bind(server.status.word())
    .bind(folded(&server.name))
    .bind(folded(&server.description))
    .bind(server.external_id.as_deref().map(folded))
    .bind(server.egg.map(|egg| egg.to_string()))
    .bind(server.runtime.map(runtime_word))
    .bind(server.skip_scripts)
    .bind(server.installed_at)
    .bind(server.delete_at)
    .bind(server.kept_external_id.clone())
    .execute(&mut **tx)
    .await
    .map_err(|error| taken(error, UNIQUE))?;
    Ok(())
}

impl Store {
    /// By uuid.
    pub(crate) async fn server(&self, id: ServerId) -> Result<Option<Arc<Server>>> {
        let ask = async {
            let query = sqlx::query::<Sqlite>("SELECT * FROM servers WHERE uuid = $1").bind(id.to_string());
            query.fetch_optional(&self.read).await?.map(|row| read(&row).map(Arc::new)).transpose()
        };
        self.recent.servers.row(&self.write, id, ask).await
    }

    /// By the first eight characters of its uuid.
    pub(crate) async fn server_by_short(&self, short: &str) -> Result<Option<Arc<Server>>> {
        let ask = async {
            let query = sqlx::query::<Sqlite>("SELECT * FROM servers WHERE short = $1").bind(short.to_owned());
            query.fetch_optional(&self.read).await?.map(|row| read(&row).map(Arc::new)).transpose()
        };
        self.recent.short_servers.row(&self.write, short.to_owned(), ask).await
    }

    /// By number.
    pub(crate) async fn server_by_number(&self, number: i64) -> Result<Option<Server>> {
        let query = sqlx::query::<Sqlite>("SELECT * FROM servers WHERE number = $1").bind(number);
        query.fetch_optional(&self.read).await?.as_ref().map(read).transpose()
    }

    /// A window of servers, by number.
    pub(crate) async fn servers(&self, scope: Scope, filter: &ServerFilter, window: Window) -> Result<Found<Server>> {
        let pattern = |text: &Option<String>| text.as_deref().map(contains_pattern);
        let patterns = [&filter.name, &filter.uuid, &filter.description, &filter.external_id, &filter.any].map(pattern);
        let mut count = sqlx::query::<Sqlite>(filtered!("SELECT COUNT(*) AS n FROM servers", ""))
            .bind(scope.word())
            .bind(scope.user());
        let mut select =
            sqlx::query::<Sqlite>(filtered!("SELECT * FROM servers", "ORDER BY number LIMIT $9 OFFSET $10"))
                .bind(scope.word())
                .bind(scope.user());
        for pattern in patterns {
            count = count.bind(pattern.clone());
            select = select.bind(pattern);
        }
        (count, select) = (count.bind(filter.deleted), select.bind(filter.deleted));
        let total = count.fetch_one(&self.read).await?.unsigned("n")?;
        let rows = select.bind(window.limit()).bind(window.offset()).fetch_all(&self.read).await?;
        Ok(Found { rows: rows.iter().map(read).collect::<Result<_>>()?, total })
    }

    /// A window of one node's servers, by number.
    pub(crate) async fn node_servers(&self, node: Uuid, window: Window) -> Result<Found<Server>> {
        let total = self.node_server_count(node).await?;
        let rows =
            sqlx::query::<Sqlite>("SELECT * FROM servers WHERE node_uuid = $1 ORDER BY number LIMIT $2 OFFSET $3")
                .bind(node.to_string())
                .bind(window.limit())
                .bind(window.offset())
                .fetch_all(&self.read)
                .await?;
        Ok(Found { rows: rows.iter().map(read).collect::<Result<_>>()?, total })
    }

    /// Makes a server with its addresses. Fails with [`Taken`](StoreError::Taken) for `external_id` and `port`, with
    /// [`Taken`](StoreError::Taken) for `port range` when no port was asked for and none of the node's is free, and with
    /// [`Address`](StoreError::Address) when addresses were asked for that are not free.
    pub(crate) async fn insert_server(
        &self,
        draft: ServerDraft,
        node: &super::nodes::Node,
        addresses: &Addresses,
    ) -> Result<Server> {
        for _ in 0..SHORT_TRIES_MAX {
            match self.try_insert_server(&draft, node, addresses).await {
                Err(StoreError::Taken("identifier")) => {}
                other => return other,
            }
        }
        Err(StoreError::Taken("identifier"))
    }

    async fn try_insert_server(
        &self,
        draft: &ServerDraft,
        node: &super::nodes::Node,
        addresses: &Addresses,
    ) -> Result<Server> {
        let mut tx = self.change().await?;
        let number = next_number(&mut tx, "servers").await?;
        let uuid = ServerId(Uuid::new_v4());
        let insert = sqlx::query::<Sqlite>(
            "INSERT INTO servers (uuid, short, number, external_id, name, description, owner_uuid, node_uuid, status, template, \
             invocation, image, environment, process, build, feature_limits, crash_detection, created_at, updated_at, \
             name_folded, description_folded, external_id_folded, egg_uuid, runtime, skip_scripts) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $18, $19, $20, $21, $22, \
             $23, $24) \
             RETURNING *",
        )
        .bind(uuid.to_string())
        .bind(uuid.short())
        .bind(number)
        .bind(draft.external_id.clone())
        .bind(draft.name.clone())
        .bind(draft.description.clone())
        .bind(draft.owner.to_string())
        .bind(node.uuid.to_string())
        .bind(draft.status.word())
        .bind(draft.template.clone())
        .bind(draft.invocation.clone())
        .bind(draft.image.clone())
        .bind(to_json(&draft.environment))
        .bind(to_json(&draft.process))
        .bind(to_json(&draft.build))
        .bind(to_json(&draft.features))
        .bind(draft.crash_detection)
        .bind(clock::now_ms())
        .bind(folded(&draft.name))
        .bind(folded(&draft.description))
        .bind(draft.external_id.as_deref().map(folded))
        .bind(draft.egg.map(|egg| egg.to_string()))
        .bind(draft.runtime.map(runtime_word))
        .bind(draft.skip_scripts);
        let row = tx.row(insert).await.map_err(|error| taken(error, UNIQUE))?;
        let server = read(&row)?;
        super::allocations::allot(&mut tx, uuid, node, addresses).await?;
        tx.commit().await?;
        Ok(server)
    }

    /// Changes a server as it is now, and keeps what nodes must hear of it: `edit` gets it from within the change, so that nothing
    /// another change has done meanwhile is undone. Uuid, number, node and template stay. None when there is no such server.
    pub(crate) async fn change_server<E: From<StoreError>>(
        &self,
        id: ServerId,
        edit: impl FnOnce(&mut Server) -> std::result::Result<Vec<Waiting>, E>,
    ) -> std::result::Result<Option<(Server, Vec<Waiting>)>, E> {
        self.change_server_and_addresses(id, &AddressChange::default(), edit).await
    }

    /// The same, with addresses of it.
    pub(crate) async fn change_server_and_addresses<E: From<StoreError>>(
        &self,
        id: ServerId,
        addresses: &AddressChange,
        edit: impl FnOnce(&mut Server) -> std::result::Result<Vec<Waiting>, E>,
    ) -> std::result::Result<Option<(Server, Vec<Waiting>)>, E> {
        let mut tx = self.change().await?;
        let Some(mut server) = by_uuid(&mut tx, id).await? else { return Ok(None) };
        let former_owner = server.owner;
        let notices = edit(&mut server)?;
        server.updated_at = clock::now_ms();
        write_back(&mut tx, &server).await?;
        super::allocations::change(&mut tx, &server, addresses).await?;
        if server.owner != former_owner {
            // Whoever owns a server needs no rights given by somebody else.
            sqlx::query::<Sqlite>("DELETE FROM subusers WHERE server_uuid = $1 AND user_uuid = $2")
                .bind(id.to_string())
                .bind(server.owner.to_string())
                .execute(&mut *tx)
                .await
                .map_err(StoreError::from)?;
        }
        outbox::put(&mut tx, &notices).await?;
        tx.commit().await?;
        Ok(Some((server, notices)))
    }

    /// A node has booted: nothing is being installed or restored on it any more.
    pub(crate) async fn reset_node_servers(&self, node: Uuid) -> Result<()> {
        let statement = sqlx::query::<Sqlite>(
            "UPDATE servers SET status = 'normal', updated_at = $2 \
             WHERE node_uuid = $1 AND status IN ('installing', 'restoring_backup')",
        )
        .bind(node.to_string())
        .bind(clock::now_ms());
        self.write.execute(statement).await?;
        Ok(())
    }

    /// Removes a server with its addresses and the rights on it, and keeps what its node must hear of it.
    pub(crate) async fn delete_server(&self, id: ServerId, notices: &[Waiting]) -> Result<()> {
        let mut tx = self.change().await?;
        super::allocations::release_all(&mut tx, id).await?;
        sqlx::query::<Sqlite>("DELETE FROM servers WHERE uuid = $1").bind(id.to_string()).execute(&mut *tx).await?;
        outbox::put(&mut tx, notices).await?;
        tx.commit().await?;
        Ok(())
    }

    /// By its name elsewhere.
    pub(crate) async fn server_by_external_id(&self, external_id: &str) -> Result<Option<Server>> {
        let query = sqlx::query::<Sqlite>("SELECT * FROM servers WHERE external_id = $1").bind(external_id.to_owned());
        query.fetch_optional(&self.read).await?.as_ref().map(read).transpose()
    }

    /// The servers of an egg, or of a nest's, by number.
    pub(crate) async fn servers_of_eggs(&self, eggs: &[Uuid], window: Window) -> Result<Vec<Server>> {
        if eggs.is_empty() {
            return Ok(Vec::new());
        }
        let mut query = Self::by_ids("SELECT * FROM servers WHERE egg_uuid IN (", eggs.iter().map(Uuid::to_string));
        query.push(" AND delete_at IS NULL ORDER BY number LIMIT ").push_bind(window.limit());
        let rows = query.build().fetch_all(&self.read).await?;
        rows.iter().map(read).collect()
    }

    /// Servers whose time to be deleted has come, those that are late first.
    pub(crate) async fn due_deletions(&self, now: i64, limit: i64) -> Result<Vec<Server>> {
        let rows = sqlx::query::<Sqlite>("SELECT * FROM servers WHERE delete_at <= $1 ORDER BY delete_at LIMIT $2")
            .bind(now)
            .bind(limit)
            .fetch_all(&self.read)
            .await?;
        rows.iter().map(read).collect()
    }

    /// When the next one's time comes.
    pub(crate) async fn next_deletion_due(&self) -> Result<Option<i64>> {
        sqlx::query::<Sqlite>("SELECT MIN(delete_at) AS due FROM servers")
            .fetch_one(&self.read)
            .await?
            .int_or_null("due")
    }

    /// The servers of a node.
    pub(crate) async fn node_server_ids(&self, node: Uuid) -> Result<Vec<ServerId>> {
        let rows = sqlx::query::<Sqlite>("SELECT uuid FROM servers WHERE node_uuid = $1 ORDER BY number")
            .bind(node.to_string())
            .fetch_all(&self.read)
            .await?;
        rows.iter().map(|row| row.parsed("uuid")).collect()
    }
}
