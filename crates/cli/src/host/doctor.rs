//! `quarterdeck doctor`: what a node would find on this machine, one line for each thing.

use std::time::Duration;

use daemon::{Finding, Verdict};
use serde_json::json;
use uuid::Uuid;

use crate::args::Global;
use crate::args::host::{PanelSettings, Serve};
use crate::client::rest::chain;
use crate::fault::Fault;
use crate::folder::Folder;
use crate::host::node;
use crate::output::{Output, Paint};
use crate::settings::Settings;

/// How long the panel may take to answer at all.
const PANEL_TIMEOUT: Duration = Duration::from_secs(5);

/// Looks, prints, and fails if something is wrong.
pub(crate) async fn run(global: &Global) -> Result<(), Fault> {
    let folder = Folder::locate(global.data.as_deref())?;
    let settings = Settings::load(&folder.settings_file(), &Serve::default(), &PanelSettings::default())?;
    let mut config = daemon::Config::new(folder.node(), Uuid::nil(), "", "", "");
    settings.apply_to_node(&mut config);
    let identity_file = folder.path().join(node::CONFIG_FILE);
    let secrets = vec![folder.database(), folder.cli_file(), identity_file.clone()];
    let engine = daemon::examine_engine(&config).await;
    let examined = tokio::task::spawn_blocking(move || daemon::examine(&config, &secrets)).await;
    let mut found = examined.map_err(|error| Fault::Failed(format!("the look at this machine ended: {error}")))?;
    found.extend(engine);
    if identity_file.exists() {
        found.push(match node::load(&identity_file) {
            Ok(identity) => panel(&identity.remote).await,
            Err(fault) => Finding::new("panel", Verdict::Wrong, fault.to_string()),
        });
    }
    print(Output::new(global), &folder, &found)?;
    match found.iter().filter(|finding| finding.verdict == Verdict::Wrong).count() {
        0 => Ok(()),
        count => Err(Fault::Failed(format!("wrong: {count} of {}", found.len()))),
    }
}

/// Whether somebody answers there. What is answered is the panel's business: without a key it refuses, and is there.
async fn panel(url: &str) -> Finding {
    let asked = async {
        let client = reqwest::Client::builder().timeout(PANEL_TIMEOUT).build()?;
        client.get(format!("{}/api/remote/servers", url.trim_end_matches('/'))).send().await
    };
    match asked.await {
        Ok(answer) if answer.status().is_server_error() => {
            let text = format!("{url} answers {}; look at what stands in front of it, and at its log", answer.status());
            Finding::new("panel", Verdict::Wrong, text)
        }
        Ok(_) => Finding::new("panel", Verdict::Good, format!("{url} answers")),
        Err(error) => {
            let text = format!("{url}: {}; is it running, and `remote` in node.toml right?", chain(&error));
            Finding::new("panel", Verdict::Wrong, text)
        }
    }
}

fn print(output: Output, folder: &Folder, found: &[Finding]) -> Result<(), Fault> {
    if output.json {
        let found: Vec<_> = found
            .iter()
            .map(|finding| json!({ "what": finding.what, "verdict": finding.verdict.name(), "text": finding.text }))
            .collect();
        return output.document(&json!({ "data": folder.path(), "found": found }));
    }
    let width = found.iter().map(|finding| finding.what.len()).max().unwrap_or_default();
    for Finding { what, verdict, text } in found {
        let paint = match verdict {
            Verdict::Good => Paint::Green,
            Verdict::Weaker => Paint::Yellow,
            Verdict::Wrong => Paint::Red,
        };
        let verdict = output.paint(paint, &format!("{:6}", verdict.name()));
        output.line(&format!("{what:width$}  {verdict}  {}", crate::output::plain(text)))?;
    }
    Ok(())
}
