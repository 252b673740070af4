//! What a node is told about a server: `settings` and `process_configuration` (protocol reference §9.3).

use std::collections::BTreeMap;
use std::fmt::Write;

use wire::remote::{Allocation as Address, Allocations, Container, Definition, EggReference, Meta, Settings};

use crate::store::allocations::Allocation;
use crate::store::servers::{Server, Status};

/// The whole definition.
pub(crate) fn definition(server: &Server, allocations: &[Allocation]) -> Definition {
    Definition {
        settings: Settings {
            uuid: server.uuid,
            meta: Meta { name: server.name.clone(), description: server.description.clone() },
            suspended: server.status == Status::Suspended,
            environment: environment(server, allocations),
            invocation: server.invocation.clone(),
            crash_detection_enabled: server.crash_detection,
            build: server.build.clone(),
            container: Container { image: server.image.clone(), runtime: None },
            allocations: addresses(allocations),
            skip_egg_scripts: false,
            mounts: Vec::new(),
            labels: BTreeMap::new(),
            egg: EggReference::default(),
        },
        process_configuration: server.process.clone(),
    }
}

/// The server's own variables and those every server gets; the latter win, so that they can be relied on.
pub(crate) fn environment(server: &Server, allocations: &[Allocation]) -> BTreeMap<String, String> {
    let mut all = server.environment.clone();
    if let Some(main) = allocations.first() {
        for name in ["PORT", "SERVER_PORT"] {
            all.insert(name.to_owned(), main.port.to_string());
        }
        for name in ["BIND", "SERVER_IP"] {
            all.insert(name.to_owned(), main.ip.clone());
        }
    }
    all.insert("NAME".to_owned(), server.name.clone());
    all.insert("SERVER_MEMORY".to_owned(), server.build.memory_limit.to_string());
    all.insert("P_SERVER_UUID".to_owned(), server.uuid.to_string());
    all
}

/// The command line with the values of `{{NAME}}` filled in as far as the panel knows them. For people: the node fills them
/// in itself, after it has split the line into words.
pub(crate) fn shown_invocation(server: &Server, allocations: &[Allocation]) -> String {
    let environment = environment(server, allocations);
    let mut shown = String::with_capacity(server.invocation.len());
    let mut rest = server.invocation.as_str();
    while let Some((before, tail)) = rest.split_once("{{") {
        shown.push_str(before);
        match tail.split_once("}}") {
            Some((name, after)) => {
                match environment.get(name.trim()) {
                    Some(value) => shown.push_str(value),
                    None => {
                        let _ = write!(shown, "{{{{{name}}}}}");
                    }
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
