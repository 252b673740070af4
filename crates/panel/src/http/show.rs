//! Rows as the wire shows them.

use md5::{Digest, Md5};
use serde_json::Value;
use wire::api::{
    Account, ActivityLog, ActivityRelations, Actor, Allocation, ApiKey, Item, Limits, List, Relation, Server,
    ServerRelations, SftpDetails, Subuser, Variable,
};
use wire::token::permission;

use super::caller::Call;
use crate::access::{self, asked};
use crate::app::definition::{Whole, shown_invocation};
use crate::app::eggs::value_of;
use crate::clock::iso;
use crate::secret;
use crate::store;
use crate::store::activity::Record;
use crate::store::eggs::StoredEgg;
use crate::store::nodes::Node;
use crate::store::servers::Status;
use crate::store::users::User;
use crate::templates;

/// The port stock nodes serve files on. We serve none, but clients fail without the member.
const SFTP_PORT: u16 = 2022;

/// A server for somebody.
pub(crate) fn server(call: &Call, whole: Whole<'_>, node: &Node, relation: &access::Relation) -> Item<Server> {
    let Whole { server, allocations, egg, .. } = whole;
    let sees_values = relation.allows(asked::STARTUP_READ);
    let sees_all_addresses = relation.allows(asked::ALLOCATION_READ);
    let host = call.node_origin(node).map(|origin| origin.host).unwrap_or_default();
    let shown = Server {
        server_owner: server.owner == call.user.uuid,
        identifier: server.uuid.short(),
        internal_id: server.number,
        uuid: server.uuid.to_string(),
        name: server.name.clone(),
        node: node.name.clone(),
        is_node_under_maintenance: node.maintenance,
        sftp_details: SftpDetails { ip: host.trim_matches(['[', ']']).to_owned(), port: SFTP_PORT },
        description: server.description.clone(),
        limits: limits(server),
        invocation: shown_invocation(whole, sees_values),
        docker_image: server.image.clone(),
        egg_features: egg.map(|egg| egg.egg.features.clone()).unwrap_or_default(),
        feature_limits: server.features,
        status: server.status_word(),
        is_suspended: server.status == Status::Suspended,
        is_installing: matches!(server.status, Status::Installing | Status::InstallFailed),
        is_transferring: server.status == Status::Transferring,
        known_commands: server
            .template
            .as_deref()
            .and_then(templates::find)
            .map(|template| template.commands.clone())
            .unwrap_or_default(),
        relationships: ServerRelations {
            allocations: List::whole(
                "allocation",
                allocations
                    .iter()
                    .filter(|allocation| sees_all_addresses || allocation.is_default)
                    .map(|allocation| address(allocation, sees_all_addresses)),
            ),
            variables: if sees_values {
                Relation::List(List::whole("egg_variable", variables(server, egg)))
            } else {
                Relation::null()
            },
            egg: None,
        },
    };
    Item::new("server", shown)
}

/// The variables of a server that users may see.
pub(crate) fn variables(server: &store::servers::Server, egg: Option<&StoredEgg>) -> Vec<Variable> {
    let all = egg.map(|egg| egg.egg.variables.as_slice()).unwrap_or_default();
    all.iter().filter(|variable| variable.user_viewable).map(|variable| self::variable(server, variable)).collect()
}

/// A variable of a server.
pub(crate) fn variable(server: &store::servers::Server, variable: &egg::Variable) -> Variable {
    Variable {
        name: variable.name.clone(),
        description: variable.description.clone(),
        env_variable: variable.env_variable.clone(),
        default_value: variable.default_value.clone(),
        server_value: value_of(&server.environment, variable).to_owned(),
        is_editable: variable.user_editable,
        rules: variable.rules.join("|"),
    }
}

/// An address; notes only for those who may see all of them.
pub(crate) fn address(allocation: &store::allocations::Allocation, with_notes: bool) -> Allocation {
    Allocation {
        id: allocation.number,
        ip: allocation.ip.clone(),
        ip_alias: allocation.alias.clone(),
        port: allocation.port,
        notes: if with_notes { allocation.notes.clone() } else { None },
        is_default: allocation.is_default,
    }
}

/// The limits of a server.
pub(crate) fn limits(server: &store::servers::Server) -> Limits {
    Limits {
        memory: server.build.memory_limit,
        swap: server.build.swap,
        disk: server.build.disk_space,
        io: server.build.io_weight,
        cpu: server.build.cpu_limit,
        threads: server.build.threads.clone(),
        oom_disabled: server.build.oom_disabled,
    }
}

/// One's own account.
pub(crate) fn account(user: &User) -> Item<Account> {
    let shown = Account {
        id: user.number,
        admin: user.root_admin,
        username: user.username.clone(),
        email: user.email.clone(),
        first_name: user.first_name.clone(),
        last_name: user.last_name.clone(),
        language: user.language.clone(),
    };
    Item::new("user", shown)
}

/// A key without its secret.
pub(crate) fn key(key: store::keys::ApiKey) -> ApiKey {
    ApiKey {
        identifier: key.identifier,
        description: key.memo,
        allowed_ips: key.allowed_ips,
        last_used_at: key.last_used_at.map(iso),
        created_at: iso(key.created_at),
        expires_at: key.expires_at.map(iso),
    }
}

/// Somebody with rights on a server.
pub(crate) fn subuser(user: &User, permissions: Vec<String>) -> Item<Subuser> {
    let shown = Subuser {
        uuid: user.uuid.to_string(),
        username: user.username.clone(),
        email: user.email.clone(),
        image: image(user),
        two_factor_enabled: false,
        created_at: iso(user.created_at),
        permissions,
    };
    Item::new("server_subuser", shown)
}

/// The rights somebody gets who is given these: seeing the console is always among them, nothing is twice.
pub(crate) fn with_connect(mut permissions: Vec<String>) -> Vec<String> {
    permissions.push(permission::CONNECT.to_owned());
    permissions.sort();
    permissions.dedup();
    permissions
}

/// A record for somebody who may read it.
pub(crate) fn activity(call: &Call, record: Record, actor: Option<&User>) -> Item<ActivityLog> {
    let own = record.user == Some(call.user.uuid);
    let has_more =
        !matches!(&record.metadata, Value::Null) && record.metadata.as_object().is_none_or(|map| !map.is_empty());
    let actor = actor.map_or_else(Relation::null, |user| {
        let shown = Actor {
            uuid: user.uuid.to_string(),
            username: user.username.clone(),
            email: user.email.clone(),
            image: image(user),
            two_factor_enabled: false,
            created_at: iso(user.created_at),
        };
        Relation::One(Box::new(Item::new("user", shown)))
    });
    let shown = ActivityLog {
        id: secret::digest(&format!("activity {}", record.number)),
        batch: None,
        event: record.event,
        is_api: record.api_key.is_some(),
        ip: if own || call.user.root_admin { record.ip } else { None },
        description: None,
        properties: if record.metadata.is_null() { Value::Object(serde_json::Map::new()) } else { record.metadata },
        has_additional_metadata: has_more,
        timestamp: iso(record.happened_at),
        relationships: ActivityRelations { actor },
    };
    Item::new("activity_log", shown)
}

/// Where stock panels point for a picture; it is up to the client whether to fetch it.
fn image(user: &User) -> String {
    format!("https://gravatar.com/avatar/{}", secret::hex(&Md5::digest(user.email.as_bytes())))
}
