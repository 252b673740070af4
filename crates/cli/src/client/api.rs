//! The panel's answers as far as this program reads them (protocol reference §8). Unknown members are ignored.

use serde::Deserialize;
use serde_json::Value;
use wire::server::State;

/// `{"object": …, "attributes": …, "meta": …}`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Item<T> {
    /// What it is about.
    pub(crate) attributes: T,
    /// What is said beside it.
    #[serde(default)]
    pub(crate) meta: Value,
}

/// A page of a list.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Page {
    /// Items as sent.
    pub(crate) data: Vec<Value>,
    /// Where the page stands.
    #[serde(default)]
    pub(crate) meta: PageMeta,
}

/// The `meta` of a page.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct PageMeta {
    /// Missing when the list has one page only.
    #[serde(default)]
    pub(crate) pagination: Option<Pagination>,
}

/// Where a page stands.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Pagination {
    /// At least 1.
    pub(crate) total_pages: u64,
}

/// A server as the client API shows it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Server {
    /// The short form of the uuid.
    pub(crate) identifier: String,
    /// The whole one.
    pub(crate) uuid: String,
    /// What people call it.
    pub(crate) name: String,
    /// The node's name.
    #[serde(default)]
    pub(crate) node: String,
    /// What it is for.
    #[serde(default)]
    pub(crate) description: Option<String>,
    /// The command line.
    #[serde(default)]
    pub(crate) invocation: Option<String>,
    /// Limits; 0 is none.
    #[serde(default)]
    pub(crate) limits: Limits,
    /// Whether the caller owns it.
    #[serde(default)]
    #[serde(rename = "server_owner")]
    pub(crate) is_mine: bool,
    /// Suspended: nobody can use it.
    #[serde(default)]
    pub(crate) is_suspended: bool,
    /// Its directory is being filled.
    #[serde(default)]
    pub(crate) is_installing: bool,
    /// Addresses and the like.
    #[serde(default)]
    pub(crate) relationships: Value,
}

impl Server {
    /// `address:port` of the main allocation.
    pub(crate) fn address(&self) -> Option<String> {
        let all = self.relationships.pointer("/allocations/data")?.as_array()?;
        let attributes = |item: &Value| item.get("attributes").cloned().unwrap_or_default();
        let main = all
            .iter()
            .map(attributes)
            .find(|allocation| allocation["is_default"] == Value::Bool(true))
            .or_else(|| all.first().map(attributes))?;
        let host = main["ip_alias"].as_str().or_else(|| main["ip"].as_str())?;
        Some(if host.contains(':') { format!("[{host}]:{}", main["port"]) } else { format!("{host}:{}", main["port"]) })
    }
}

/// A server as far as the client and the application API agree about it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ServerId {
    /// The short form of the uuid.
    pub(crate) identifier: String,
    /// The whole one.
    pub(crate) uuid: String,
    /// What people call it.
    pub(crate) name: String,
}

/// Limits of a server; 0 is none.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Limits {
    /// MiB.
    #[serde(default)]
    pub(crate) memory: u64,
    /// Percent of one core.
    #[serde(default)]
    pub(crate) cpu: u64,
    /// MiB.
    #[serde(default)]
    pub(crate) disk: u64,
}

/// `GET /api/client/servers/{id}/resources`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Resources {
    /// `offline`, `starting`, `running` or `stopping`; other panels have other words too.
    pub(crate) current_state: String,
    /// What it uses.
    #[serde(rename = "resources")]
    pub(crate) usage: Usage,
    /// How the last run ended; panels of ours say so.
    #[serde(default)]
    pub(crate) last_exit: Option<String>,
    /// Whether nobody had asked for that end; likewise.
    #[serde(default)]
    pub(crate) crashed: bool,
    /// Milliseconds until the start that is planned after a crash; likewise.
    #[serde(default)]
    pub(crate) restart_in_ms: Option<u64>,
    /// When that is; likewise.
    #[serde(default)]
    pub(crate) restart_at: Option<String>,
    /// `crash-looping` while it crashes again and again; likewise.
    #[serde(default)]
    pub(crate) condition: Option<String>,
    /// Crashes since the last run that lasted; likewise.
    #[serde(default)]
    pub(crate) crashes_in_a_row: Option<u32>,
    /// It stays down after too many of them; likewise.
    #[serde(default)]
    pub(crate) gave_up: bool,
    /// Which rungs of isolation hold for it; likewise.
    #[serde(default)]
    pub(crate) isolation: Option<Isolation>,
    /// Figures of `usage` that its node cannot measure, each with the reason; likewise.
    #[serde(default)]
    pub(crate) unmeasured: Option<Vec<String>>,
}

/// Rungs of isolation.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Isolation {
    /// Those that hold.
    pub(crate) active: Vec<String>,
    /// Those that do not, each with the reason.
    pub(crate) missing: Vec<String>,
}

impl Resources {
    /// What the node does not do for this server, and what it does, as names and values for people.
    pub(crate) fn notes(&self) -> Vec<(&'static str, String)> {
        let isolation = self.isolation.as_ref();
        let list = |name, items: Option<&Vec<String>>, between: &str| {
            items.filter(|items| !items.is_empty()).map(|items| (name, items.join(between)))
        };
        [
            list("isolation", isolation.map(|isolation| &isolation.active), ", "),
            list("not isolated", isolation.map(|isolation| &isolation.missing), "; "),
            list("not measured", self.unmeasured.as_ref(), "; "),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Whether a figure is measured at all; 0 then means 0.
    pub(crate) fn measures(&self, figure: &str) -> bool {
        !self.unmeasured.iter().flatten().any(|text| text.split(':').next() == Some(figure))
    }

    /// The state, with the words of other panels mapped to ours.
    pub(crate) fn state(&self) -> State {
        state_from_word(&self.current_state).unwrap_or(State::Offline)
    }

    /// The state for people: after a crash also why it is down, and when it starts again.
    pub(crate) fn state_text(&self) -> String {
        let state = self.state();
        let exit = self.last_exit.as_deref();
        if let Some(condition) = &self.condition {
            let count = self.crashes_in_a_row.unwrap_or_default();
            let next = match self.restart_in_ms.filter(|_| state == State::Offline) {
                Some(ms) => format!(", restarts in {} s", ms.div_ceil(1000)),
                None if self.gave_up => ", given up".to_owned(),
                None => String::new(),
            };
            let exit = exit.filter(|_| state == State::Offline).map(|exit| format!(": {exit}")).unwrap_or_default();
            return format!("{state} ({condition}, {count} in a row{exit}{next})");
        }
        match (self.restart_in_ms.filter(|_| state == State::Offline), exit) {
            (Some(ms), Some(exit)) => format!("{state} ({exit}, restarts in {} s)", ms.div_ceil(1000)),
            (Some(ms), None) => format!("{state} (restarts in {} s)", ms.div_ceil(1000)),
            (None, Some(exit)) if self.crashed && state == State::Offline => format!("{state} (crashed: {exit})"),
            // A last exit alone may be in order.
            (None, _) => state.to_string(),
        }
    }
}

/// What a server uses.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Usage {
    /// Bytes.
    #[serde(default)]
    pub(crate) memory_bytes: u64,
    /// Percent of one core.
    #[serde(default)]
    pub(crate) cpu_absolute: f64,
    /// Bytes.
    #[serde(default)]
    pub(crate) disk_bytes: u64,
    /// Bytes since the start.
    #[serde(default)]
    pub(crate) network_rx_bytes: u64,
    /// Bytes since the start.
    #[serde(default)]
    pub(crate) network_tx_bytes: u64,
    /// Milliseconds.
    #[serde(default)]
    pub(crate) uptime: u64,
}

/// The answer of the credentials endpoint.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Credentials {
    /// What was asked for.
    pub(crate) data: Grant,
}

/// A token and where to bring it.
#[derive(Clone, Deserialize)]
pub(crate) struct Grant {
    /// JWT.
    pub(crate) token: String,
    /// `ws://` or `wss://` URL.
    pub(crate) socket: String,
}

impl std::fmt::Debug for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grant").field("socket", &self.socket).finish_non_exhaustive()
    }
}

/// A user who may use somebody else's server.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Subuser {
    /// Who.
    pub(crate) uuid: String,
    /// Name.
    #[serde(default)]
    pub(crate) username: String,
    /// E-mail address.
    #[serde(default)]
    pub(crate) email: String,
    /// What they may do.
    #[serde(default)]
    pub(crate) permissions: Vec<String>,
}

/// An API key; its secret is not part of it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ApiKey {
    /// The first 16 characters.
    pub(crate) identifier: String,
    /// What it is for.
    #[serde(default)]
    pub(crate) description: Option<String>,
    /// Empty: any address.
    #[serde(default)]
    pub(crate) allowed_ips: Option<Vec<String>>,
    /// ISO 8601.
    #[serde(default)]
    pub(crate) last_used_at: Option<String>,
    /// ISO 8601.
    #[serde(default)]
    pub(crate) created_at: Option<String>,
}

/// A user as the application API shows it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct User {
    /// Number.
    pub(crate) id: u64,
    /// Whole id.
    #[serde(default)]
    pub(crate) uuid: String,
    /// Name.
    #[serde(default)]
    pub(crate) username: String,
    /// E-mail address.
    #[serde(default)]
    pub(crate) email: String,
    /// Administrator.
    #[serde(default)]
    pub(crate) root_admin: bool,
}

/// A state from any panel's word for it.
pub(crate) fn state_from_word(word: &str) -> Option<State> {
    match word {
        "offline" | "stopped" | "missing" => Some(State::Offline),
        "starting" => Some(State::Starting),
        "running" => Some(State::Running),
        "stopping" => Some(State::Stopping),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_a_node_does_not_do_is_told_where_the_panel_says_it() {
        let resources: Resources = serde_json::from_str(
            r#"{"current_state":"running","resources":{},"isolation":{"active":["session","rlimits"],"missing":["uid: games run as the daemon"]},
                "unmeasured":["network: needs root"]}"#,
        )
        .unwrap();
        assert_eq!(
            resources.notes(),
            [
                ("isolation", "session, rlimits".to_owned()),
                ("not isolated", "uid: games run as the daemon".to_owned()),
                ("not measured", "network: needs root".to_owned()),
            ]
        );
        assert!(!resources.measures("network") && resources.measures("disk"));
        for other in [
            r#"{"current_state":"running","resources":{}}"#,
            r#"{"current_state":"running","resources":{},"isolation":null,"unmeasured":null}"#,
        ] {
            let resources: Resources = serde_json::from_str(other).unwrap();
            assert!(resources.notes().is_empty() && resources.measures("network"));
        }
    }
}
