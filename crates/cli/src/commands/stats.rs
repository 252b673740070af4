//! `quarterdeck stats`: what a server uses, once or every second.

use serde::Deserialize;
use serde_json::Value;
use wire::server::{Network, State};

use crate::args::client::StatsArgs;
use crate::client::api::{Item, Resources};
use crate::client::talk::{Lines, Seen, without_event_id};
use crate::client::watch::{Patience, Watch};
use crate::commands::Context;
use crate::fault::Fault;
use crate::output::{Output, Paint, bytes, note, plain, uptime};

/// Does it.
pub(crate) async fn run(context: &Context, args: StatsArgs) -> Result<(), Fault> {
    let server = context.rest.find(&args.server).await?;
    if args.follow {
        let watch = Watch::open(context.rest.clone(), &server, Lines::Any, Patience::ComeBack);
        return follow(context.output, server.limits.memory, watch).await;
    }
    let item: Item<Value> = context.rest.get(&["api", "client", "servers", &server.uuid, "resources"]).await?;
    if context.output.json {
        return context.output.document(&item.attributes);
    }
    let resources: Resources = serde_json::from_value(item.attributes)
        .map_err(|error| Fault::Failed(format!("the panel's answer is not understood: {error}")))?;
    let usage = &resources.usage;
    let network = if resources.measures("network") {
        format!("{} in, {} out", bytes(usage.network_rx_bytes), bytes(usage.network_tx_bytes))
    } else {
        "not measured".to_owned()
    };
    let mut pairs = vec![
        ("state", resources.state().to_string()),
        ("memory", format!("{}{}", bytes(usage.memory_bytes), of_memory(server.limits.memory, 0))),
        ("cpu", format!("{:.1}%", usage.cpu_absolute)),
        ("disk", bytes(usage.disk_bytes)),
        ("network", network),
        ("uptime", uptime(usage.uptime)),
    ];
    pairs.extend(resources.notes());
    context.output.pairs(&pairs)
}

async fn follow(output: Output, memory_mib: u64, mut watch: Watch) -> Result<(), Fault> {
    loop {
        match watch.next().await? {
            Seen::Stats(document) if output.json => {
                // Sent as it came: one document, already JSON. A node that sends anything else is not passed on.
                let value: Value = serde_json::from_str(&document).unwrap_or_default();
                output.json_line(&value)?;
            }
            Seen::Stats(document) => output.line(&stats_line(output, memory_mib, &document))?,
            Seen::Lost { why, retry_ms } => {
                note(&format!("connection lost ({why}); trying again in {} s", retry_ms.div_ceil(1000)));
            }
            Seen::Attached { again: true } => note("connected again"),
            Seen::Error(text) => note(&plain(without_event_id(&text))),
            Seen::Notice(text) => note(&plain(&text)),
            _ => {}
        }
    }
}

/// ` of` the server's memory limit, as everywhere else, and where the kernel ends the game if that is elsewhere: it leaves some
/// head-room.
fn of_memory(configured_mib: u64, kernel_bytes: u64) -> String {
    match (configured_mib.saturating_mul(1 << 20), kernel_bytes) {
        (0, 0) => String::new(),
        (0, limit) | (limit, 0) => format!(" of {}", bytes(limit)),
        (limit, kernel) if limit == kernel => format!(" of {}", bytes(limit)),
        (limit, kernel) => format!(" of {} (killed above {})", bytes(limit), bytes(kernel)),
    }
}

/// One sample on one line, of a server with this memory limit.
pub(crate) fn stats_line(output: Output, memory_mib: u64, document: &str) -> String {
    let Ok(stats) = serde_json::from_str::<Sample>(document) else { return "a sample that cannot be read".into() };
    let paint = match stats.state {
        State::Running => Paint::Green,
        State::Offline => Paint::Dim,
        State::Starting | State::Stopping => Paint::Yellow,
    };
    let limit = of_memory(memory_mib, stats.memory_limit_bytes);
    format!(
        "{}  cpu {:>6.1}%  memory {}{limit}  network {} in {} out  disk {}  up {}",
        output.paint(paint, &format!("{:8}", stats.state.as_str())),
        stats.cpu_absolute,
        bytes(stats.memory_bytes),
        bytes(stats.network.rx_bytes),
        bytes(stats.network.tx_bytes),
        bytes(stats.disk_bytes),
        uptime(stats.uptime),
    )
}

/// Stats of any node: members may be missing (protocol reference §10 row 8).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Sample {
    memory_bytes: u64,
    memory_limit_bytes: u64,
    cpu_absolute: f64,
    network: Network,
    uptime: u64,
    state: State,
    disk_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Output = Output { json: false, color: false, terminal: false };

    #[test]
    fn a_sample_reads_as_one_line_and_members_may_be_missing() {
        let full = r#"{"memory_bytes":1048576,"memory_limit_bytes":2097152,"cpu_absolute":12.345,"network":{"rx_bytes":10,"tx_bytes":20},"uptime":61000,"state":"running","disk_bytes":0}"#;
        assert_eq!(
            stats_line(PLAIN, 0, full),
            "running   cpu   12.3%  memory 1.0 MiB of 2.0 MiB  network 10 B in 20 B out  disk 0 B  up 1m 1s"
        );
        assert!(stats_line(PLAIN, 0, r#"{"state":"offline"}"#).starts_with("offline "));
        assert!(stats_line(PLAIN, 0, "nonsense").contains("cannot be read"));
    }

    #[test]
    fn the_limit_is_the_one_that_was_set_and_the_kernels_is_named_beside_it() {
        let line = stats_line(PLAIN, 64, r#"{"memory_bytes":1048576,"memory_limit_bytes":77175193,"state":"running"}"#);
        assert!(line.contains("memory 1.0 MiB of 64.0 MiB (killed above 73.6 MiB)  network"), "{line}");
        assert_eq!(of_memory(64, 64 << 20), " of 64.0 MiB");
        assert_eq!(of_memory(64, 0), " of 64.0 MiB");
        assert_eq!(of_memory(0, 0), "");
    }
}
