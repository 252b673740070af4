//! `quarterdeck node`: a node alone, for a panel elsewhere.

use std::path::Path;
use std::time::Instant;

use daemon::Daemon;
use serde::Deserialize;
use tokio::time::sleep_until;
use tracing::{info, warn};
use uuid::Uuid;

use crate::access::{Secret, parse_url};
use crate::args::Global;
use crate::args::host::{NodeOnly, PanelSettings};
use crate::client::pace::Backoff;
use crate::client::rest::chain;
use crate::fault::Fault;
use crate::folder::{Folder, read_if_there, readable_by_others};
use crate::host::{Ground, failed};
use crate::output::{Output, note};

/// Name of the configuration in the data folder.
pub(super) const CONFIG_FILE: &str = "node.toml";

/// What the panel gave out for this node. Members beyond these are for other daemons and mean nothing here.
#[derive(Debug, Deserialize, PartialEq, Eq)]
pub(super) struct Identity {
    uuid: Uuid,
    token_id: String,
    token: Secret,
    pub(super) remote: String,
}

/// Serves until it is told to end.
pub(crate) async fn run(global: &Global, args: NodeOnly) -> Result<(), Fault> {
    let identity = match &args.config {
        Some(path) => load(path)?,
        None => load(&Folder::locate(global.data.as_deref())?.path().join(CONFIG_FILE))?,
    };
    let ground = Ground::prepare(global, &args.serve, &PanelSettings::default()).await?;
    let mut config =
        daemon::Config::new(ground.node_dir(), identity.uuid, identity.token_id, identity.token.0, &identity.remote);
    ground.settings.apply_to_node(&mut config);
    let daemon = Daemon::open(config).await.map_err(|error| failed("the node cannot start", &error))?;
    let Ground { settings, listener, signals, service, lock: _lock, .. } = ground;
    let address = listener.address();
    info!(%address, panel = identity.remote, "listening");
    let serving = listener.serve(daemon.standalone_router(), &settings.trusted_proxies, settings.game_users());
    let output = Output::new(global);
    let begun = if output.json {
        output.json_line(&serde_json::json!({ "address": address, "panel": identity.remote, "node": identity.uuid }))
    } else {
        output.line(&format!("Node {} is up at {address}, for the panel at {}", identity.uuid, identity.remote))
    };
    if begun.is_ok() {
        service.ready();
        let pulse = async || serving.answers().await.then(|| of_games(&daemon));
        tokio::select! {
            () = signals.wait() => {}
            () = keep_booting(&daemon) => {}
            () = service.beat(pulse) => {}
        }
    }
    service.stopping();
    signals
        .end(async {
            serving.stop_accepting();
            daemon.shutdown().await;
            serving.drain().await;
        })
        .await;
    begun
}

/// What there is to say of a node in a few words.
pub(super) fn of_games(daemon: &Daemon) -> String {
    let (running, servers) = daemon.games();
    format!("{running} of {servers} servers run")
}

/// Asks the panel for this node's servers until it answers, then waits for ever.
async fn keep_booting(daemon: &Daemon) {
    let mut backoff = Backoff::default();
    while let Err(error) = daemon.boot().await {
        let wait = backoff.next(rand::random());
        warn!(error = %chain(&error), retry_ms = wait.as_millis(), "the panel does not answer; servers known from before are in service");
        sleep_until((Instant::now() + wait).into()).await;
    }
    std::future::pending::<()>().await;
}

pub(super) fn load(path: &Path) -> Result<Identity, Fault> {
    let Some(text) = read_if_there(path)? else {
        return Err(Fault::Usage(format!(
            "{}: there is no such file; the panel gives it out at GET /api/application/nodes/{{id}}/configuration",
            path.display()
        )));
    };
    if readable_by_others(path) {
        note(&format!(
            "warning: others can read {}, which holds a secret; close it to them: chmod 600",
            path.display()
        ));
    }
    // Errors name the place and not the text: the line may hold the secret.
    let identity: Result<Identity, String> = if path.extension().is_some_and(|extension| extension == "json") {
        serde_json::from_str(&text).map_err(|error| format!("line {}: not the configuration of a node", error.line()))
    } else {
        toml::from_str(&text).map_err(|error| error.message().to_owned())
    };
    let identity = identity.map_err(|why| Fault::Usage(format!("{}: {why}", path.display())))?;
    parse_url(&identity.remote)?;
    Ok(identity)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const UUID: &str = "11111111-2222-3333-4444-555555555555";

    fn load_text(name: &str, text: &str) -> Result<Identity, Fault> {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join(name);
        std::fs::write(&path, text).unwrap();
        load(&path)
    }

    #[test]
    fn both_forms_of_the_configuration_are_read_and_foreign_members_ignored() {
        let toml = format!(
            "uuid = \"{UUID}\"\ntoken_id = \"i\"\ntoken = \"s\"\nremote = \"http://p.example\"\n[api]\nport = 1\n"
        );
        let json =
            format!(r#"{{"uuid":"{UUID}","token_id":"i","token":"s","remote":"http://p.example","api":{{"port":1}}}}"#);
        assert_eq!(load_text("node.toml", &toml).unwrap(), load_text("node.json", &json).unwrap());
    }

    #[test]
    fn no_error_shows_the_secret() {
        for (name, text) in [
            ("node.toml", "token = ptla_verysecret"),
            ("node.toml", "token = \"verysecret\""),
            ("node.json", "{\"token\": verysecret"),
            ("node.json", "{\"uuid\": \"verysecret\"}"),
        ] {
            let fault = load_text(name, text).unwrap_err().to_string();
            assert!(!fault.contains("verysecret"), "{fault}");
        }
    }
}
