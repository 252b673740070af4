//! What a node is told about a server: `settings` and `process_configuration` (protocol reference §9.3).

use std::collections::BTreeMap;

use wire::remote::{
    Allocation as Address, Allocations, Container, Definition, EggReference, InstallScript, Meta, ProcessConfiguration,
    Settings, StopKind,
};

use crate::store::allocations::Allocation;
use crate::store::eggs::StoredEgg;
use crate::store::servers::Server;

/// What stands for a value that somebody may not see, as stock panels write it.
const HIDDEN: &str = "[hidden]";

/// A server with all that hangs on it and that its node must know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whole<'a> {
    pub(crate) server: &'a Server,
    /// Its addresses, the main one first.
    pub(crate) allocations: &'a [Allocation],
    /// What it was made from.
    pub(crate) egg: Option<&'a StoredEgg>,
    /// The name of its node.
    pub(crate) place: &'a str,
}

/// The whole definition.
pub(crate) fn definition(whole: Whole<'_>) -> Definition {
    let Whole { server, allocations, egg, .. } = whole;
    Definition {
        settings: Settings {
            uuid: server.uuid,
            meta: Meta { name: server.name.clone(), description: server.description.clone() },
            suspended: server.is_closed(),
            environment: environment(whole),
            invocation: server.invocation.clone(),
            crash_detection_enabled: server.crash_detection,
            build: server.build.clone(),
            container: Container { image: server.image.clone(), runtime: server.runtime },
            allocations: addresses(allocations),
            // Without a script, nodes only report that they have finished.
            skip_egg_scripts: server.skip_scripts || !has_script(egg),
            mounts: Vec::new(),
            labels: BTreeMap::new(),
            egg: egg.map_or_else(EggReference::default, |egg| EggReference {
                id: egg.uuid.to_string(),
                file_denylist: egg.egg.file_denylist.clone(),
            }),
        },
        process_configuration: process(whole),
    }
}

/// Whether there is anything to do when a server of this egg is installed.
pub(crate) fn has_script(egg: Option<&StoredEgg>) -> bool {
    egg.is_some_and(|egg| !egg.egg.install.script.trim().is_empty())
}

/// How the files of a server come to be.
pub(crate) fn install_script(egg: Option<&StoredEgg>) -> InstallScript {
    egg.map_or_else(InstallScript::default, |egg| InstallScript {
        container_image: egg.egg.install.container.clone(),
        entrypoint: egg.egg.install.entrypoint.clone(),
        script: egg.egg.install.script.clone(),
    })
}

/// When it is ready and how it is stopped: what is set for the server itself, else what its egg says.
pub(crate) fn process(whole: Whole<'_>) -> ProcessConfiguration {
    let mut process = whole.server.process.clone();
    let Some(stored) = whole.egg else { return process };
    let config = &stored.egg.config;
    if process.startup.done.is_empty() {
        process.startup.done.clone_from(&config.startup.done);
        process.startup.strip_ansi |= config.startup.strip_ansi;
    }
    if process.stop.kind == StopKind::Stop {
        let stop = egg::stop(&config.stop);
        (process.stop.kind, process.stop.value) = (stop.kind, stop.value);
    }
    process.configs = configs(whole, stored);
    process
}

/// The server's own variables and those every server gets; the latter win, so that they can be relied on. Short names that are ours
/// give way to an egg's: it knows nothing of them.
pub(crate) fn environment(whole: Whole<'_>) -> BTreeMap<String, String> {
    let Whole { server, allocations, egg, place } = whole;
    let mut all = server.environment.clone();
    let mut ours = BTreeMap::from([("NAME", server.name.clone())]);
    if let Some(main) = allocations.first() {
        ours.extend([("PORT", main.port.to_string()), ("BIND", main.ip.clone())]);
        all.insert("SERVER_PORT".to_owned(), main.port.to_string());
        all.insert("SERVER_IP".to_owned(), main.ip.clone());
    }
    if let Some(egg) = egg {
        for variable in &egg.egg.variables {
            all.entry(variable.env_variable.clone()).or_insert_with(|| variable.default_value.clone());
        }
        all.insert("STARTUP".to_owned(), server.invocation.clone());
        all.insert("P_SERVER_LOCATION".to_owned(), place.to_owned());
        all.insert("P_SERVER_ALLOCATION_LIMIT".to_owned(), server.features.allocations.to_string());
    }
    for (name, value) in ours {
        let is_the_eggs = egg.is_some_and(|egg| egg.egg.variables.iter().any(|known| known.env_variable == name));
        if !is_the_eggs {
            all.insert(name.to_owned(), value);
        }
    }
    all.insert("SERVER_MEMORY".to_owned(), server.build.memory_limit.to_string());
    all.insert("P_SERVER_UUID".to_owned(), server.uuid.to_string());
    all
}

/// The command line with the values of `{{NAME}}` filled in as far as the panel knows them and the reader may see them. For people: the
/// node fills them in itself, after it has split the line into words.
pub(crate) fn shown_invocation(whole: Whole<'_>, sees_values: bool) -> String {
    let mut known = environment(whole);
    match whole.egg {
        Some(egg) => {
            for variable in egg.egg.variables.iter().filter(|variable| !(sees_values && variable.user_viewable)) {
                known.insert(variable.env_variable.clone(), HIDDEN.to_owned());
            }
            known.remove("STARTUP");
        }
        None if !sees_values => return whole.server.invocation.clone(),
        None => {}
    }
    replaced(&whole.server.invocation, |name| known.get(name).cloned())
}

/// A text with `{{name}}`s replaced, as far as they are known.
fn replaced(text: &str, known: impl Fn(&str) -> Option<String>) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, tail)) = rest.split_once("{{") {
        shown.push_str(before);
        match tail.split_once("}}") {
            Some((name, after)) => {
                match known(name.trim()) {
                    Some(value) => shown.push_str(&value),
                    None => shown.extend(["{{", name, "}}"]),
                }
                rest = after;
            }
            None => {
                shown.push_str("{{");
                rest = tail;
            }
        }
    }
    shown.push_str(rest);
    shown
}

fn addresses(allocations: &[Allocation]) -> Allocations {
    let mut mappings: BTreeMap<String, Vec<u16>> = BTreeMap::new();
    for allocation in allocations {
        mappings.entry(allocation.ip.clone()).or_default().push(allocation.port);
    }
    let default = allocations.first().map(|main| Address { ip: main.ip.clone(), port: main.port });
    Allocations { default: default.unwrap_or_default(), mappings, force_outgoing_ip: false }
}

/// What is set in the game's own files, with the values of this server.
fn configs(whole: Whole<'_>, stored: &StoredEgg) -> Vec<wire::remote::ConfigFile> {
    let environment = environment(whole);
    let value = |path: &str| {
        let main = whole.allocations.first();
        let path = path.strip_prefix("server.").unwrap_or(path);
        match path {
            "build.default.port" | "allocations.default.port" => main.map(|main| main.port.to_string()),
            "build.default.ip" | "allocations.default.ip" => main.map(|main| main.ip.clone()),
            "build.memory" | "build.memory_limit" => Some(whole.server.build.memory_limit.to_string()),
            _ => {
                let name = ["build.env.", "environment.", "env."].iter().find_map(|start| path.strip_prefix(start))?;
                environment.get(name).cloned()
            }
        }
    };
    egg::files::resolve(&stored.egg.config.files, value)
}
