//! What `GET /api/system` says of this machine, in both its forms.

use wire::node::{ContainerCounts, DockerReport, MachineReport, SystemInfo, SystemReport};
use wire::server::State;

use crate::node::Node;
use crate::runtime::host;
use crate::server::Server;
use crate::stats;
use crate::tasks::blocking;

/// Where the system's name for people is.
const OS_RELEASE: &str = "/etc/os-release";

/// The first form.
pub(super) async fn info(node: &Node) -> SystemInfo {
    let (engine, programs) = tokio::join!(node.engine.report(), blocking(host::programs));
    SystemInfo {
        architecture: std::env::consts::ARCH.to_owned(),
        cpu_count: threads(),
        kernel_version: kernel(),
        os: std::env::consts::OS.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        isolation: Some(node.ladder.of_machine(&node.machine)),
        panel_clock_ahead_ms: node.time.read().skew_ms,
        engine,
        programs: programs.unwrap_or_default(),
    }
}

/// The second form.
pub(super) async fn report(node: &Node) -> SystemReport {
    let states: Vec<State> = node.servers().iter().map(Server::status).map(|status| status.borrow().state).collect();
    let stopped = states.iter().filter(|state| **state == State::Offline).count();
    let containers = ContainerCounts { total: states.len(), running: states.len() - stopped, paused: 0, stopped };
    let read = blocking(|| (std::fs::read_to_string(OS_RELEASE).unwrap_or_default(), stats::machine_memory_bytes()));
    let (release, memory_bytes) = read.await.unwrap_or_default();
    let system = MachineReport {
        architecture: std::env::consts::ARCH.to_owned(),
        cpu_threads: threads(),
        memory_bytes,
        kernel_version: kernel(),
        os: pretty_name(&release).unwrap_or(std::env::consts::OS).to_owned(),
        os_type: std::env::consts::OS.to_owned(),
    };
    let docker = match node.engine.known().await {
        Ok(known) => {
            let (_, version) = known.title();
            let [total, running, paused, stopped] = known.counts();
            let containers = ContainerCounts { total, running, paused, stopped };
            DockerReport { version, containers, ..DockerReport::default() }
        }
        // Nobody's containers: the counts are those of our servers.
        Err(_) => DockerReport { containers, ..DockerReport::default() },
    };
    SystemReport { version: env!("CARGO_PKG_VERSION").to_owned(), docker, system }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn kernel() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

fn pretty_name(release: &str) -> Option<&str> {
    let value = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(value.trim().trim_matches(['"', '\''])).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_systems_name_is_read_with_and_without_quotes() {
        assert_eq!(pretty_name("ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n"), Some("Debian GNU/Linux 12"));
        assert_eq!(pretty_name("PRETTY_NAME=Alpine"), Some("Alpine"));
        assert_eq!(pretty_name("PRETTY_NAME=\"\""), None);
        assert_eq!(pretty_name(""), None);
    }
}
