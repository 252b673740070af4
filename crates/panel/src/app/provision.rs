//! Makes servers: rows here, then the node; when the node does not take it, nothing is left.

use std::collections::BTreeMap;

use wire::api::FeatureLimits;
use wire::ids::UserId;
use wire::remote::{Build, ConsoleMode, ProcessConfiguration, RuntimeKind, Startup, Stop, StopKind};

use super::definition::has_script;
use super::{AppState, eggs};
use crate::http::problem::{Answer, Problem};
use crate::store::Window;
use crate::store::allocations::{Addresses, MainAddress};
use crate::store::eggs::StoredEgg;
use crate::store::nodes::Node;
use crate::store::servers::{Server, ServerDraft, Status};
use crate::templates::{self, Template};

/// What a new server is made of. With a template, every member left empty comes from it.
#[derive(Clone, Debug, Default)]
pub struct NewServer {
    /// Shown everywhere; no control characters.
    pub name: String,
    /// Shown beside it.
    pub description: String,
    /// Name elsewhere; unique.
    pub external_id: Option<String>,
    /// Who owns it.
    pub owner: Option<UserId>,
    /// Number, uuid or name of the node; none: the only one, or the first local one.
    pub node: Option<String>,
    /// Name of a template.
    pub template: Option<String>,
    /// Number, uuid or name of an egg.
    pub egg: Option<String>,
    /// What runs it; none: the egg and the node decide.
    pub runtime: Option<RuntimeKind>,
    /// Leave out the egg's script.
    pub skip_scripts: bool,
    /// Number of the address that is its main one; its node is that of the server.
    pub allocation: Option<u64>,
    /// Numbers of further ones.
    pub additional_allocations: Vec<u64>,
    /// Ranges of ports of which its main one is.
    pub port_ranges: Vec<std::ops::RangeInclusive<u16>>,
    /// Whether its main address must be one that no other server has.
    pub dedicated_ip: bool,
    /// Command line; the node splits it into words and then fills in `{{NAME}}`s.
    pub command: Option<String>,
    /// Texts of a line that mean ready, or `regex:` and an expression.
    pub ready: Option<Vec<String>>,
    /// Text for stdin, or `^C` or `^SIGNAME` for a signal.
    pub stop: Option<String>,
    /// Terminal or pipes.
    pub console: Option<ConsoleMode>,
    /// Milliseconds from the request to stop until it is killed.
    pub grace_ms: Option<u64>,
    /// Milliseconds after which it counts as running without a ready line.
    pub settle_ms: Option<u64>,
    /// Exits that are no crash, such as `SIGTERM`.
    pub success_exit: Option<Vec<String>>,
    /// Added to the template's.
    pub environment: BTreeMap<String, String>,
    /// Added to the template's: files by relative path, written when they are not there.
    pub files: BTreeMap<String, String>,
    /// None: the lowest free one of the node's range.
    pub port: Option<u16>,
    /// MiB; none: the template's, or no limit.
    pub memory_mib: Option<u64>,
    /// MiB; -1 is no limit.
    pub swap_mib: i64,
    /// MiB; 0 is no limit.
    pub disk_mib: u64,
    /// Relative weight, 10-1000; none: 500.
    pub io_weight: Option<u64>,
    /// Percent of one core; 0 is no limit.
    pub cpu_percent: u64,
    /// CPU list such as `0-1,3`.
    pub threads: Option<String>,
    /// Whether the kernel may not kill for memory; none: it may not.
    pub oom_disabled: Option<bool>,
    /// Processes and threads; 0 is the node's default.
    pub pids: u64,
    /// Container image; empty for a plain process.
    pub image: String,
    /// How many databases, addresses and backups it may have.
    pub features: FeatureLimits,
    /// Whether an unexpected exit is answered by a start; none: the node's default.
    pub crash_detection: Option<bool>,
    /// Start it when the node has it.
    pub start: bool,
}

/// The stop request of egg files: `^X` is the signal X, anything else a command.
pub(crate) fn stop_from(text: &str) -> (StopKind, String) {
    match text.strip_prefix('^') {
        Some(signal) => (StopKind::Signal, signal.trim_start_matches('^').to_ascii_uppercase()),
        None if text.is_empty() => (StopKind::Stop, String::new()),
        None => (StopKind::Command, text.to_owned()),
    }
}

/// Process configuration of a new server: what was said, else the template's, else the node's own way.
fn process_of(new: &NewServer, template: Option<&Template>) -> ProcessConfiguration {
    let base = template.map(Template::process).unwrap_or_default();
    let stop = new.stop.as_deref().map(stop_from);
    let (kind, value) = stop.unwrap_or((base.stop.kind, base.stop.value));
    let mut files = base.files;
    files.extend(new.files.clone());
    ProcessConfiguration {
        startup: Startup {
            done: new.ready.clone().unwrap_or(base.startup.done),
            strip_ansi: true,
            settle_ms: new.settle_ms.unwrap_or(base.startup.settle_ms),
        },
        stop: Stop { kind, value, grace_ms: new.grace_ms.unwrap_or(base.stop.grace_ms) },
        console: new.console.unwrap_or(base.console),
        success_exit: new.success_exit.clone().unwrap_or(base.success_exit),
        files,
        configs: base.configs,
    }
}

fn build_of(new: &NewServer, template: Option<&Template>) -> Build {
    let default = Build::default();
    Build {
        memory_limit: new.memory_mib.unwrap_or_else(|| template.map_or(0, |template| template.memory_mib)),
        swap: new.swap_mib,
        io_weight: new.io_weight.unwrap_or(default.io_weight),
        cpu_limit: new.cpu_percent,
        threads: new.threads.clone(),
        disk_space: new.disk_mib,
        oom_disabled: new.oom_disabled.unwrap_or(default.oom_disabled),
        pids_limit: new.pids,
    }
}

impl AppState {
    /// Makes a server for somebody. When its node does not take it, nothing is left of it here, and the node is told to forget
    /// what it may have got. To be run where it is not dropped half-way.
    pub(crate) async fn create_server(&self, new: &NewServer, owner: UserId) -> Answer<(Server, Node)> {
        let template = match &new.template {
            Some(name) => Some(templates::find(name).ok_or_else(|| unknown_template(name))?),
            None => None,
        };
        let egg = match &new.egg {
            Some(text) => Some(self.find_egg(text).await?.ok_or_else(unknown_egg)?),
            None => None,
        };
        let from_egg = || egg.as_ref().and_then(|egg| egg.egg.startup.first().map(|(_, line)| line.clone()));
        let invocation = new.command.clone().or_else(|| template.map(|template| template.command.clone()));
        let Some(invocation) = invocation.or_else(from_egg) else {
            return Err(Problem::field(
                "command",
                "required",
                "Name an egg, a template, or the command that starts the server.",
            ));
        };
        let mut environment = template.map(|template| template.env.clone()).unwrap_or_default();
        environment.extend(new.environment.clone());
        if let Some(egg) = &egg {
            environment = eggs::filled(&egg.egg, environment).map_err(Problem::Invalid)?;
        }
        let node = self.choose_node(new).await?;
        let image = image_of(new, egg.as_ref());
        let has_work = !new.skip_scripts && has_script(egg.as_ref());
        let draft = ServerDraft {
            external_id: new.external_id.clone(),
            name: new.name.clone(),
            description: new.description.clone(),
            owner,
            status: if has_work { Status::Installing } else { Status::Normal },
            template: new.template.clone(),
            invocation,
            runtime: self.runtime_of(new, egg.as_ref(), &image, &node).await,
            image,
            environment,
            process: process_of(new, template),
            build: build_of(new, template),
            features: new.features,
            crash_detection: new.crash_detection,
            egg: egg.map(|egg| egg.uuid),
            skip_scripts: new.skip_scripts,
        };
        let server = self.store.insert_server(draft, &node, &addresses_of(new)).await?;
        match self.nodes.create(&node, server.uuid, new.start).await {
            Ok(()) => Ok((server, node)),
            Err(fault) => {
                tracing::warn!(server = %server.uuid, node = node.name, error = %fault, "the node does not take the new server");
                // Its answer may have been lost after it had done it.
                self.remove_server(&server).await?;
                Err(fault.into())
            }
        }
    }

    /// What runs a new server; the node is asked when it depends on that.
    async fn runtime_of(
        &self,
        new: &NewServer,
        egg: Option<&StoredEgg>,
        image: &str,
        node: &Node,
    ) -> Option<RuntimeKind> {
        if egg.is_none() {
            return new.runtime;
        }
        let has_image = !image.is_empty();
        let system = if new.runtime.is_none() && has_image { self.system_of(node).await } else { None };
        let engine = system.as_ref().and_then(|system| system.engine.as_ref());
        Some(eggs::choose_runtime(new.runtime, has_image, engine))
    }

    async fn choose_node(&self, new: &NewServer) -> Answer<Node> {
        if let Some(number) = new.allocation {
            let unknown = || Problem::field("allocation.default", "exists", "There is no such address on this panel.");
            let address = self.store.allocation(number).await?.ok_or_else(unknown)?;
            let node = self.store.node(address.node).await?.ok_or_else(unknown)?;
            return Ok(std::sync::Arc::unwrap_or_clone(node));
        }
        if let Some(text) = &new.node {
            let unknown = || Problem::field("node", "exists", "There is no such node on this panel.");
            return self.find_node(text).await?.ok_or_else(unknown);
        }
        let all = self.store.nodes(Window { limit: 100, offset: 0 }).await?.rows;
        if let [only] = all.as_slice() {
            return Ok(only.clone());
        }
        let local = all.into_iter().find(|node| node.local);
        local.ok_or_else(|| {
            Problem::field("node", "required", "Name the node: there is not exactly one to choose from.")
        })
    }
}

fn unknown_egg() -> Problem {
    Problem::field("egg", "exists", "There is no such egg on this panel; GET /api/application/eggs lists them.")
}

/// What is asked for, else the egg's first image.
fn image_of(new: &NewServer, egg: Option<&StoredEgg>) -> String {
    let first = || egg.and_then(|egg| egg.egg.images.first()).map(|image| image.image.clone()).unwrap_or_default();
    if new.image.is_empty() { first() } else { new.image.clone() }
}

fn addresses_of(new: &NewServer) -> Addresses {
    let main = match (new.allocation, new.port) {
        (Some(number), _) => MainAddress::Number(number),
        (None, Some(port)) => MainAddress::Port(port),
        (None, None) if new.port_ranges.is_empty() && !new.dedicated_ip => MainAddress::Any,
        (None, None) => MainAddress::Ports { ranges: new.port_ranges.clone(), is_dedicated: new.dedicated_ip },
    };
    Addresses { main, additional: new.additional_allocations.clone() }
}

fn unknown_template(name: &str) -> Problem {
    let known: Vec<&str> = templates::all().iter().map(|template| template.name.as_str()).collect();
    Problem::field("template", "exists", format!("There is no template {name:?}. There are: {}.", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_texts_are_those_of_eggs() {
        assert_eq!(stop_from("stop"), (StopKind::Command, "stop".to_owned()));
        assert_eq!(stop_from("^C"), (StopKind::Signal, "C".to_owned()));
        assert_eq!(stop_from("^c"), (StopKind::Signal, "C".to_owned()));
        assert_eq!(stop_from("^^C"), (StopKind::Signal, "C".to_owned()));
        assert_eq!(stop_from("^SIGTERM"), (StopKind::Signal, "SIGTERM".to_owned()));
        assert_eq!(stop_from(""), (StopKind::Stop, String::new()));
    }
}
