//! What a server's container is made of: a pure translation of its definition.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountType, PortBinding, PortMap, ResourcesUlimits,
    RestartPolicy, RestartPolicyNameEnum,
};
use wire::remote::{Allocations, Build, Definition};

use crate::runtime::cgroup::memory_limit_bytes;

/// Where the game's files are in its container; images of the community expect them there.
pub(crate) const FILES_TARGET: &str = "/home/container";
/// Where they are for an installation, and where its script is; stock nodes have them there.
pub(super) const INSTALL_TARGET: &str = "/mnt/server";
pub(super) const SCRIPT_TARGET: &str = "/mnt/install";
/// An installation has at least so much memory, MiB, and processor time, percent of a core, whatever its server may have.
const INSTALL_MEMORY_MIB: u64 = 1024;
const INSTALL_CPU_PERCENT: u64 = 100;
/// What is ours in a container.
pub(crate) const OWN_TARGET: &str = "/.quarterdeck";
/// Capabilities of the shim: to become the game's user, to give it its terminal, to end it. The game itself has none.
const SHIM_CAPABILITIES: [&str; 5] = ["CHOWN", "KILL", "SETGID", "SETPCAP", "SETUID"];
const CPU_PERIOD_US: i64 = 100_000;
/// What a container's memory may be reserved for, in hundredths of its limit.
const RESERVATION_PERCENT: u64 = 87;
const MIB: i64 = 1024 * 1024;
/// The engine's own weights for nothing asked.
const IO_WEIGHT_DEFAULT: u64 = 500;

/// What a container has beside its definition.
pub(super) struct Surroundings<'a> {
    /// The image, as the engine knows it.
    pub(super) image: &'a str,
    pub(super) network: &'a str,
    pub(super) labels: HashMap<String, String>,
    /// Of this machine: the shim's program, our own program if the game is a part of it, the folders.
    pub(super) shim: &'a Path,
    pub(super) program: Option<&'a Path>,
    pub(super) log: &'a Path,
    pub(super) run: &'a Path,
    pub(super) files: &'a Path,
    /// The folder of an installation's script, if that is what runs.
    pub(super) script: Option<&'a Path>,
    /// Folders of this machine in which mounts may be.
    pub(super) allowed_mounts: &'a [PathBuf],
    pub(super) dns: &'a [String],
    pub(super) tmpfs_mib: u64,
    /// As whom the shim runs: empty for root, `uid:gid` where the daemon is somebody else.
    pub(super) user: String,
    pub(super) open_files_max: u64,
    /// Whether root in a container is somebody else outside, unless it is told otherwise.
    pub(super) maps_users: bool,
}

/// The name of a file of ours, as it is in the container.
pub(super) fn own(path: &Path) -> PathBuf {
    Path::new(OWN_TARGET).join(path.file_name().unwrap_or_default())
}

/// Where the shim finds what it is to run.
pub(super) fn run_target() -> PathBuf {
    Path::new(OWN_TARGET).join("run")
}

/// Where the shim writes the log.
pub(super) fn log_target() -> PathBuf {
    Path::new(OWN_TARGET).join("log")
}

/// A container that runs the shim, which runs the game.
pub(super) fn body(definition: &Definition, around: &Surroundings<'_>) -> Result<ContainerCreateBody, String> {
    let settings = &definition.settings;
    // Nobody plays while it is installed.
    let allocations = if around.script.is_some() { &Allocations::default() } else { &settings.allocations };
    let (exposed, bindings) = ports(allocations);
    let mut labels = around.labels.clone();
    for (name, value) in &settings.labels {
        labels.entry(name.clone()).or_insert_with(|| value.clone());
    }
    let build = if around.script.is_some() { installing(&settings.build) } else { settings.build.clone() };
    let shim = own(around.shim).display().to_string();
    let tmpfs = format!("rw,exec,nosuid,nodev,mode=1777,size={}m", around.tmpfs_mib);
    let open_files = i64::try_from(around.open_files_max).unwrap_or(i64::MAX);
    let nofile = ResourcesUlimits { name: Some("nofile".to_owned()), soft: Some(open_files), hard: Some(open_files) };
    let core = ResourcesUlimits { name: Some("core".to_owned()), soft: Some(0), hard: Some(0) };
    let host = HostConfig {
        mounts: Some(mounts(definition, around)?),
        port_bindings: Some(bindings),
        network_mode: Some(around.network.to_owned()),
        dns: (!around.dns.is_empty()).then(|| around.dns.to_vec()),
        // What the game prints is in our log; a second one would only fill the disk.
        log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
        restart_policy: Some(RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None }),
        init: Some(false),
        tmpfs: Some(HashMap::from([("/tmp".to_owned(), tmpfs)])),
        // Root in there is the owner of the log, and has nothing else of root's.
        userns_mode: around.maps_users.then(|| "host".to_owned()),
        ulimits: Some(vec![nofile, core]),
        ..limits(&build)
    };
    let host = match around.script {
        // It installs packages as root of its container, and is no more than that: the engine's own rules hold.
        Some(_) => HostConfig { ..host },
        None => HostConfig {
            readonly_rootfs: Some(true),
            cap_drop: Some(vec!["ALL".to_owned()]),
            cap_add: Some(SHIM_CAPABILITIES.map(str::to_owned).to_vec()),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            ..host
        },
    };
    Ok(ContainerCreateBody {
        image: Some(around.image.to_owned()),
        hostname: Some(settings.uuid.short()),
        user: Some(around.user.clone()),
        entrypoint: Some(vec![shim, spool::contained::ARGUMENT.to_owned(), run_target().display().to_string()]),
        cmd: Some(Vec::new()),
        // What the game gets is in its launch spec, where inspecting the container does not show it.
        env: Some(Vec::new()),
        working_dir: Some("/".to_owned()),
        exposed_ports: Some(exposed),
        labels: Some(labels),
        tty: Some(false),
        open_stdin: Some(false),
        host_config: Some(host),
        ..Default::default()
    })
}

/// The limits of an installation: those of the server, but enough for a script.
fn installing(build: &Build) -> Build {
    let at_least = |value: u64, least: u64| if value == 0 { 0 } else { value.max(least) };
    Build {
        memory_limit: at_least(build.memory_limit, INSTALL_MEMORY_MIB),
        cpu_limit: at_least(build.cpu_limit, INSTALL_CPU_PERCENT),
        pids_limit: 0,
        ..build.clone()
    }
}

fn limits(build: &Build) -> HostConfig {
    let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let memory = memory_limit_bytes(build);
    let memory_swap = memory.map(|bytes| match build.swap {
        ..0 => -1,
        mib => signed(bytes).saturating_add(mib.saturating_mul(MIB)),
    });
    HostConfig {
        memory: memory.map(signed),
        memory_reservation: memory.map(|bytes| signed(bytes / 100 * RESERVATION_PERCENT)),
        memory_swap,
        // `oom_disabled` is not passed on: a game that may not be ended for memory stands still for ever, and newer kernels have no
        // such switch. As outside of containers, it is ended, and that is said.
        cpu_period: (build.cpu_limit > 0).then_some(CPU_PERIOD_US),
        cpu_quota: (build.cpu_limit > 0).then(|| signed(build.cpu_limit).saturating_mul(CPU_PERIOD_US / 100)),
        cpuset_cpus: build.threads.clone(),
        blkio_weight: (build.io_weight != IO_WEIGHT_DEFAULT && build.io_weight > 0)
            .then(|| u16::try_from(build.io_weight).unwrap_or(u16::MAX)),
        pids_limit: (build.pids_limit > 0).then(|| signed(build.pids_limit)),
        ..Default::default()
    }
}

/// Every address of a server leads to the same port in its container, over TCP and UDP: which of them a game wants nobody says.
fn ports(allocations: &Allocations) -> (Vec<String>, PortMap) {
    let mut bindings = PortMap::new();
    let main = Some((&allocations.default.ip, allocations.default.port));
    let others = allocations.mappings.iter().flat_map(|(ip, ports)| ports.iter().map(move |port| (ip, *port)));
    for (ip, port) in main.into_iter().chain(others).filter(|(_, port)| *port != 0) {
        for protocol in ["tcp", "udp"] {
            let bound = PortBinding { host_ip: Some(ip.clone()), host_port: Some(port.to_string()) };
            let list = bindings.entry(format!("{port}/{protocol}")).or_default().get_or_insert_default();
            if !list.contains(&bound) {
                list.push(bound);
            }
        }
    }
    let mut exposed: Vec<String> = bindings.keys().cloned().collect();
    exposed.sort_unstable();
    (exposed, bindings)
}

fn mounts(definition: &Definition, around: &Surroundings<'_>) -> Result<Vec<Mount>, String> {
    let bind = |source: &Path, target: &Path, read_only: bool| Mount {
        typ: Some(MountType::BIND),
        source: Some(source.display().to_string()),
        target: Some(target.display().to_string()),
        read_only: Some(read_only),
        ..Default::default()
    };
    let mut mounts = vec![
        bind(around.shim, &own(around.shim), true),
        bind(around.log, &log_target(), false),
        bind(around.run, &run_target(), false),
    ];
    match around.script {
        Some(script) => {
            mounts.push(bind(around.files, Path::new(INSTALL_TARGET), false));
            mounts.push(bind(script, Path::new(SCRIPT_TARGET), true));
            return Ok(mounts);
        }
        None => mounts.push(bind(around.files, Path::new(FILES_TARGET), false)),
    }
    mounts.extend(around.program.map(|program| bind(program, &own(program), true)));
    for mount in &definition.settings.mounts {
        let (source, target) = (Path::new(&mount.source), Path::new(&mount.target));
        let goes_down = !source.components().any(|part| matches!(part, std::path::Component::ParentDir));
        if !source.is_absolute()
            || !goes_down
            || !around.allowed_mounts.iter().any(|allowed| source.starts_with(allowed))
        {
            return Err(format!(
                "the mount {} is in none of the folders of `allowed_mounts` in the node's [containers] settings",
                source.display()
            ));
        }
        if !target.is_absolute() || target.starts_with(OWN_TARGET) {
            return Err(format!("a mount cannot be at {} in the container", target.display()));
        }
        mounts.push(bind(source, target, mount.read_only));
    }
    Ok(mounts)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]
    use serde_json::json;

    use super::*;

    fn definition(settings: serde_json::Value) -> Definition {
        let mut all = json!({
            "uuid": "11111111-2222-3333-4444-555555555555",
            "allocations": { "default": { "ip": "127.0.0.1", "port": 4000 }, "mappings": { "127.0.0.1": [4000, 4001] } },
        });
        all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        serde_json::from_value(json!({ "settings": all, "process_configuration": {} })).unwrap()
    }

    fn around(allowed: &[PathBuf]) -> Surroundings<'_> {
        Surroundings {
            image: "debian:12",
            network: "quarterdeck-11111111",
            labels: HashMap::from([("quarterdeck.server".to_owned(), "x".to_owned())]),
            shim: Path::new("/data/bin/shim-1"),
            program: None,
            log: Path::new("/data/servers/x/log"),
            run: Path::new("/data/servers/x/run"),
            files: Path::new("/data/servers/x/files"),
            script: None,
            allowed_mounts: allowed,
            dns: &[],
            tmpfs_mib: 100,
            user: String::new(),
            open_files_max: 1024,
            maps_users: false,
        }
    }

    fn host(settings: serde_json::Value) -> HostConfig {
        body(&definition(settings), &around(&[])).unwrap().host_config.unwrap()
    }

    #[test]
    fn a_container_has_as_little_as_it_needs() {
        let body =
            body(&definition(json!({ "labels": { "quarterdeck.server": "theirs", "a": "b" } })), &around(&[])).unwrap();
        assert_eq!(body.entrypoint.unwrap(), ["/.quarterdeck/shim-1", "--contained", "/.quarterdeck/run"]);
        assert_eq!((body.env, body.tty, body.open_stdin), (Some(Vec::new()), Some(false), Some(false)));
        let labels = body.labels.unwrap();
        assert_eq!((labels["quarterdeck.server"].as_str(), labels["a"].as_str()), ("x", "b"));
        let host = body.host_config.unwrap();
        assert_eq!(host.cap_drop, Some(vec!["ALL".to_owned()]));
        assert_eq!((host.readonly_rootfs, host.init), (Some(true), Some(false)));
        assert_eq!(host.security_opt, Some(vec!["no-new-privileges".to_owned()]));
        assert_eq!(host.log_config.unwrap().typ.as_deref(), Some("none"));
        assert_eq!((host.memory, host.cpu_quota, host.pids_limit), (None, None, None));
        let targets: Vec<_> = host.mounts.unwrap().into_iter().map(|mount| mount.target.unwrap()).collect();
        assert_eq!(targets, ["/.quarterdeck/shim-1", "/.quarterdeck/log", "/.quarterdeck/run", "/home/container"]);
    }

    #[test]
    fn an_installation_is_root_of_its_container_and_has_room() {
        let settings = json!({ "build": { "memory_limit": 100, "cpu_limit": 50, "pids_limit": 5 } });
        let body =
            body(&definition(settings), &Surroundings { script: Some(Path::new("/data/i")), ..around(&[]) }).unwrap();
        let host = body.host_config.unwrap();
        let least = limits(&Build { memory_limit: INSTALL_MEMORY_MIB, cpu_limit: 100, ..Build::default() });
        assert_eq!((host.memory, host.cpu_quota, host.pids_limit), (least.memory, least.cpu_quota, None));
        assert_eq!((host.cap_drop, host.readonly_rootfs), (None, None));
        assert!(host.port_bindings.unwrap().is_empty());
        let mounts = host.mounts.unwrap();
        let targets: Vec<_> = mounts.iter().map(|mount| mount.target.as_deref().unwrap()).collect();
        assert_eq!(targets.get(3..), Some(&["/mnt/server", "/mnt/install"][..]));
        assert_eq!(mounts[4].read_only, Some(true));
    }

    #[test]
    fn limits_are_those_of_the_definition() {
        let host = host(json!({ "build": {
            "memory_limit": 1000, "swap": 100, "cpu_limit": 150, "threads": "0-1", "io_weight": 10, "pids_limit": 64, "oom_disabled": false,
        } }));
        let memory =
            i64::try_from(memory_limit_bytes(&Build { memory_limit: 1000, ..Build::default() }).unwrap()).unwrap();
        assert_eq!((host.memory, host.memory_swap), (Some(memory), Some(memory + 100 * MIB)));
        assert_eq!((host.cpu_period, host.cpu_quota), (Some(100_000), Some(150_000)));
        assert_eq!(
            (host.cpuset_cpus.as_deref(), host.blkio_weight, host.pids_limit),
            (Some("0-1"), Some(10), Some(64))
        );
        let unlimited = super::limits(&Build { memory_limit: 1000, swap: -1, ..Build::default() });
        assert_eq!((unlimited.memory_swap, unlimited.oom_kill_disable), (Some(-1), None));
    }

    #[test]
    fn every_address_is_published_once_for_both_protocols() {
        let bindings = host(json!({})).port_bindings.unwrap();
        let mut names: Vec<_> = bindings.keys().cloned().collect();
        names.sort_unstable();
        assert_eq!(names, ["4000/tcp", "4000/udp", "4001/tcp", "4001/udp"]);
        assert_eq!(bindings["4000/tcp"].as_ref().unwrap().len(), 1);
        let none = host(json!({ "allocations": {} }));
        assert!(none.port_bindings.unwrap().is_empty());
    }

    #[test]
    fn only_allowed_folders_are_mounted() {
        let allowed = [PathBuf::from("/srv/shared")];
        let try_mount = |source: &str, target: &str| {
            let mount = json!([{ "source": source, "target": target, "read_only": true }]);
            body(&definition(json!({ "mounts": mount })), &around(&allowed)).map(|_| ())
        };
        assert_eq!(try_mount("/srv/shared/maps", "/maps"), Ok(()));
        for (source, target) in [
            ("/etc", "/maps"),
            ("/srv/shared/../../etc", "/maps"),
            ("srv", "/maps"),
            ("/srv/shared", "/.quarterdeck/log"),
            ("/srv/shared", "x"),
        ] {
            assert!(try_mount(source, target).is_err(), "{source} at {target}");
        }
    }
}
