//! Reads what a server is made of from a body, for new servers and for changes.

use engine::power::ExitKind;
use engine::startup::Matcher;
use serde_json::Value;
use wire::api::FeatureLimits;
use wire::remote::{Build, ConsoleMode, ProcessConfiguration, RuntimeKind};

use super::number_or_word;
use crate::app::eggs;
use crate::app::provision::{NewServer, stop_from};
use crate::http::fields::Fields;
use crate::store::allocations::AddressChange;
use crate::store::eggs::StoredEgg;
use crate::store::servers::Server;

pub(crate) const NAME_CHARS_MAX: usize = 191;
const DESCRIPTION_CHARS_MAX: usize = 2000;
const COMMAND_CHARS_MAX: usize = 8192;
const TEXT_CHARS_MAX: usize = 1000;
const LIST_MAX: usize = 50;
const ENVIRONMENT_MAX: usize = 200;
const FILES_MAX: usize = 50;
const VARIABLE_CHARS_MAX: usize = 191;
/// A day: nobody waits longer for a game to save.
const GRACE_MS_MAX: i64 = 24 * 60 * 60 * 1000;
/// More than any machine has; keeps sums in range.
const MIB_MAX: i64 = 1 << 40;
const CPU_PERCENT_MAX: i64 = 1_000_000;
/// The last CPU that Linux can have.
const CPU_NUMBER_MAX: u32 = 8191;
const PIDS_MAX: i64 = 4_194_304;
const FEATURES_MAX: i64 = 1_000_000;
/// Addresses named in one request.
pub(crate) const ADDRESSES_MAX: usize = 100;
/// The one place where all nodes are, for clients that choose among several.
const LOCATION: u64 = 1;

/// A new server, without its owner.
pub(crate) fn new_server(fields: &mut Fields<'_>) -> NewServer {
    let name = fields.name("name", NAME_CHARS_MAX);
    let mut limits = fields.inside("limits");
    let memory_mib = limits.unsigned("memory", MIB_MAX);
    let swap_mib = limits.integer("swap", -1..=MIB_MAX).unwrap_or(0);
    let disk = limits.unsigned("disk", MIB_MAX);
    let io_weight = limits.integer("io", 10..=1000).and_then(|weight| weight.try_into().ok());
    let cpu = limits.unsigned("cpu", CPU_PERCENT_MAX);
    let threads = threads(&mut limits);
    fields.absorb(limits);
    let mut features = FeatureLimits::default();
    change_features(fields, &mut features);
    let mut allocation = fields.inside("allocation");
    let main = allocation.unsigned("default", i64::MAX);
    let additional_allocations = allocation.numbers("additional", ADDRESSES_MAX);
    fields.absorb(allocation);
    let mut deploy = fields.inside("deploy");
    let port_ranges = deploy.ports("port_range", ADDRESSES_MAX);
    let dedicated_ip = deploy.flag("dedicated_ip").unwrap_or(false);
    let locations = deploy.numbers("locations", ADDRESSES_MAX);
    if !locations.is_empty() && !locations.contains(&LOCATION) {
        deploy.fail("locations", "exists", "All nodes of this panel are in location 1.");
    }
    fields.absorb(deploy);
    NewServer {
        egg: fields.value("egg").and_then(number_or_word),
        runtime: runtime(fields),
        skip_scripts: fields.flag("skip_scripts").unwrap_or(false),
        allocation: main,
        additional_allocations,
        port_ranges,
        dedicated_ip,
        name,
        description: fields.text_or_none("description", DESCRIPTION_CHARS_MAX).unwrap_or_default(),
        external_id: fields.text_or_none("external_id", NAME_CHARS_MAX),
        owner: None,
        node: fields.value("node").or_else(|| fields.value("node_id")).and_then(number_or_word),
        template: fields.text_or_none("template", TEXT_CHARS_MAX),
        command: command(fields),
        ready: ready(fields),
        stop: fields.text_or_none("stop", TEXT_CHARS_MAX),
        console: console(fields),
        grace_ms: fields.unsigned("grace_ms", GRACE_MS_MAX),
        settle_ms: fields.unsigned("settle_ms", GRACE_MS_MAX),
        success_exit: success_exit(fields),
        environment: environment(fields).unwrap_or_default(),
        files: files(fields),
        port: fields.integer("port", 1..=65535).and_then(|port| port.try_into().ok()),
        memory_mib: fields.unsigned("memory", MIB_MAX).or(memory_mib),
        swap_mib,
        disk_mib: fields.unsigned("disk", MIB_MAX).or(disk).unwrap_or(0),
        io_weight,
        cpu_percent: fields.unsigned("cpu", CPU_PERCENT_MAX).or(cpu).unwrap_or(0),
        threads,
        oom_disabled: fields.flag("oom_disabled"),
        pids: fields.unsigned("pids", PIDS_MAX).unwrap_or(0),
        image: fields
            .text_or_none("image", TEXT_CHARS_MAX)
            .or_else(|| fields.text_or_none("docker_image", TEXT_CHARS_MAX))
            .unwrap_or_default(),
        features,
        crash_detection: fields.flag("crash_detection"),
        start: fields.flag("start_on_completion").unwrap_or(false),
    }
}

/// Changes limits; what is left out stays. Members may stand in a `limits` object, as stock panels have it.
pub(crate) fn change_build(fields: &mut Fields<'_>, build: &mut Build) {
    let mut limits = fields.inside("limits");
    change_limits(&mut limits, build);
    fields.absorb(limits);
    change_limits(fields, build);
}

fn change_limits(fields: &mut Fields<'_>, build: &mut Build) {
    fn set<T>(slot: &mut T, value: Option<T>) {
        if let Some(value) = value {
            *slot = value;
        }
    }
    set(&mut build.memory_limit, fields.unsigned("memory", MIB_MAX));
    set(&mut build.swap, fields.integer("swap", -1..=MIB_MAX));
    set(&mut build.disk_space, fields.unsigned("disk", MIB_MAX));
    set(&mut build.io_weight, fields.integer("io", 10..=1000).and_then(|weight| weight.try_into().ok()));
    set(&mut build.cpu_limit, fields.unsigned("cpu", CPU_PERCENT_MAX));
    set(&mut build.pids_limit, fields.unsigned("pids", PIDS_MAX));
    set(&mut build.oom_disabled, fields.flag("oom_disabled"));
    if fields.has("threads") {
        build.threads = threads(fields);
    }
}

/// Changes how a server is started; what is left out stays.
///
/// The egg is the one that it has, or will have: with a new one, its command line and image count unless others stand beside it.
pub(crate) fn change_startup(fields: &mut Fields<'_>, server: &mut Server, egg: Option<&StoredEgg>) {
    let new_egg = egg.filter(|egg| server.egg != Some(egg.uuid));
    if let Some(egg) = new_egg {
        server.egg = Some(egg.uuid);
        server.process = ProcessConfiguration::default();
        server.invocation = egg.egg.startup.first().map(|(_, line)| line.clone()).unwrap_or_default();
        server.image = egg.egg.images.first().map(|image| image.image.clone()).unwrap_or_default();
    }
    match command(fields) {
        Some(command) => server.invocation = command,
        // Null is left out; a text without a word in it is a mistake.
        None => {
            if let Some(name) = ["command", "startup"].into_iter().find(|name| fields.is_blank(name)) {
                fields.fail(name, "required", format!("The {name} may be left out, but not be empty."));
            }
        }
    }
    let given = environment(fields);
    match egg {
        Some(egg) if given.is_some() || new_egg.is_some() => {
            change_variables(fields, server, egg, given.unwrap_or_default());
        }
        None if given.is_some() => server.environment = given.unwrap_or_default(),
        Some(_) | None => {}
    }
    if let Some(skip) = fields.flag("skip_scripts") {
        server.skip_scripts = skip;
    }
    if fields.has("runtime") {
        server.runtime = runtime(fields);
    }
    for name in ["image", "docker_image"] {
        if fields.has(name) {
            server.image = fields.text_or_none(name, TEXT_CHARS_MAX).unwrap_or_default();
        }
    }
    if fields.has("crash_detection") {
        server.crash_detection = fields.flag("crash_detection");
    }
    change_process(fields, &mut server.process);
}

/// Values of an egg's variables that are left out stay; all else is replaced.
fn change_variables(
    fields: &mut Fields<'_>,
    server: &mut Server,
    egg: &StoredEgg,
    given: std::collections::BTreeMap<String, String>,
) {
    let is_the_eggs = |name: &String| egg.egg.variables.iter().any(|variable| variable.env_variable == *name);
    let mut all = server.environment.clone();
    all.retain(|name, _| is_the_eggs(name));
    all.extend(given);
    match eggs::filled(&egg.egg, all) {
        Ok(all) => server.environment = all,
        Err(failed) => fields.extend(failed),
    }
}

/// Addresses that a server gets and leaves.
pub(crate) fn address_change(fields: &mut Fields<'_>) -> AddressChange {
    AddressChange {
        add: fields.numbers("add_allocations", ADDRESSES_MAX),
        remove: fields.numbers("remove_allocations", ADDRESSES_MAX),
        main: fields.unsigned("allocation", i64::MAX),
    }
}

fn runtime(fields: &mut Fields<'_>) -> Option<RuntimeKind> {
    match fields.text_or_none("runtime", TEXT_CHARS_MAX)?.as_str() {
        "process" => Some(RuntimeKind::Process),
        "docker" => Some(RuntimeKind::Docker),
        _ => {
            fields.fail("runtime", "in", "The runtime must be process or docker.");
            None
        }
    }
}

fn change_process(fields: &mut Fields<'_>, process: &mut ProcessConfiguration) {
    if let Some(ready) = ready(fields) {
        process.startup.done = ready;
    }
    if let Some(settle_ms) = fields.unsigned("settle_ms", GRACE_MS_MAX) {
        process.startup.settle_ms = settle_ms;
    }
    if fields.has("stop") {
        let text = fields.text_or_none("stop", TEXT_CHARS_MAX).unwrap_or_default();
        (process.stop.kind, process.stop.value) = stop_from(&text);
    }
    if let Some(grace_ms) = fields.unsigned("grace_ms", GRACE_MS_MAX) {
        process.stop.grace_ms = grace_ms;
    }
    if let Some(console) = console(fields) {
        process.console = console;
    }
    if let Some(success_exit) = success_exit(fields) {
        process.success_exit = success_exit;
    }
}

/// Name, description and external id; what is left out stays.
pub(crate) fn change_details(fields: &mut Fields<'_>, server: &mut Server) {
    if fields.has("name") {
        server.name = fields.name("name", NAME_CHARS_MAX);
    }
    if fields.has("description") {
        server.description = fields.text_or_none("description", DESCRIPTION_CHARS_MAX).unwrap_or_default();
    }
    if fields.has("external_id") {
        server.external_id = fields.text_or_none("external_id", NAME_CHARS_MAX);
    }
}

/// How many databases, addresses and backups; what is left out stays.
pub(crate) fn change_features(fields: &mut Fields<'_>, features: &mut FeatureLimits) {
    let mut inner = fields.inside("feature_limits");
    let slots = [
        ("databases", &mut features.databases),
        ("allocations", &mut features.allocations),
        ("backups", &mut features.backups),
    ];
    for (name, slot) in slots {
        *slot = inner.unsigned(name, FEATURES_MAX).unwrap_or(*slot);
    }
    fields.absorb(inner);
}

/// `command`, or `startup` as stock panels call it.
fn command(fields: &mut Fields<'_>) -> Option<String> {
    let name = if fields.has("command") { "command" } else { "startup" };
    let text = fields.text_or_none(name, COMMAND_CHARS_MAX)?;
    check_plain(fields, name, &text);
    Some(text)
}

/// One text, or a list of them. Stock: `{"done": …}` is read where eggs are imported, not here.
fn ready(fields: &mut Fields<'_>) -> Option<Vec<String>> {
    let ready = match fields.value("ready")? {
        // White space may matter in what a game prints.
        Value::String(text) => vec![text.clone()],
        _ => fields.texts("ready", LIST_MAX)?,
    };
    if let Err(bad) = Matcher::new(&ready) {
        fields.fail("ready", "regex", bad.to_string());
    }
    Some(ready)
}

/// Codes and signals that are no crash.
fn success_exit(fields: &mut Fields<'_>) -> Option<Vec<String>> {
    let words = fields.texts("success_exit", LIST_MAX)?;
    for (index, word) in words.iter().enumerate() {
        if let Err(bad) = word.parse::<ExitKind>() {
            fields.fail(&format!("success_exit.{index}"), "in", bad.to_string());
        }
    }
    Some(words)
}

fn console(fields: &mut Fields<'_>) -> Option<ConsoleMode> {
    match fields.text_or_none("console", TEXT_CHARS_MAX)?.as_str() {
        "pty" => Some(ConsoleMode::Pty),
        "pipe" => Some(ConsoleMode::Pipe),
        _ => {
            fields.fail("console", "in", "The console must be pty or pipe.");
            None
        }
    }
}

fn threads(fields: &mut Fields<'_>) -> Option<String> {
    let text = fields.text_or_none("threads", TEXT_CHARS_MAX)?;
    if !text.split(',').all(is_cpu_range) {
        let detail = format!("The threads must be a list of CPUs from 0 to {CPU_NUMBER_MAX}, such as 0-1,3.");
        fields.fail("threads", "regex", detail);
    }
    Some(text)
}

/// One CPU, or from one to a later one.
fn is_cpu_range(text: &str) -> bool {
    let number = |digits: &str| {
        let plain = digits.bytes().all(|b| b.is_ascii_digit());
        digits.parse::<u32>().ok().filter(|number| plain && *number <= CPU_NUMBER_MAX)
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    matches!((number(first), number(last)), (Some(first), Some(last)) if first <= last)
}

fn environment(fields: &mut Fields<'_>) -> Option<std::collections::BTreeMap<String, String>> {
    let map = fields.map("environment", ENVIRONMENT_MAX)?;
    for (name, value) in &map {
        let first = name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let field = format!("environment.{name}");
        if !first || !plain || name.len() > VARIABLE_CHARS_MAX {
            fields.fail(
                &field,
                "regex",
                "The name of a variable has letters, digits and _, and does not begin with a digit.",
            );
        }
        if value.contains('\0') || value.chars().count() > COMMAND_CHARS_MAX {
            fields.fail(&field, "max", format!("A value has at most {COMMAND_CHARS_MAX} characters and no NUL."));
        }
    }
    Some(map)
}

/// Files are written inside the server's directory only: the node checks that again.
fn files(fields: &mut Fields<'_>) -> std::collections::BTreeMap<String, String> {
    let map = fields.map("files", FILES_MAX).unwrap_or_default();
    for path in map.keys() {
        let inside = !path.is_empty()
            && !path.starts_with('/')
            && !path.chars().any(char::is_control)
            && path.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
        if !inside {
            fields.fail(&format!("files.{path}"), "regex", "A file is named by a path inside the server's directory.");
        }
    }
    map
}

/// No control characters: a command goes into files and onto terminals, where a line break would end it.
fn check_plain(fields: &mut Fields<'_>, field: &str, text: &str) {
    if text.chars().any(char::is_control) {
        fields.fail(field, "regex", format!("The {field} may not hold control characters."));
    }
}
