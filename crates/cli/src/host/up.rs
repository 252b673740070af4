//! `quarterdeck up`: panel and node in one process on one port. They still speak HTTP to each other: a node is a URL.

use daemon::Daemon;
use panel::Panel;
use serde_json::{Value, json};
use tracing::{debug, error, info};

use crate::access::{Access, Left, parse_url};
use crate::args::Global;
use crate::args::host::Up;
use crate::client::rest::{Rest, chain};
use crate::fault::Fault;
use crate::folder::Folder;
use crate::host::first::{Greeting, people, sign_in_link};
use crate::host::node::of_games;
use crate::host::site::site;
use crate::host::{Ground, failed};
use crate::output::Output;

const NODE_NAME: &str = "local";
/// The name of the demo server, and of its template.
pub(crate) const DEMO: &str = "demo";

/// Serves until it is told to end.
pub(crate) async fn run(global: &Global, args: Up) -> Result<(), Fault> {
    let ground = Ground::prepare(global, &args.serve, &args.panel).await?;
    let url = ground.listener.local_url();
    let panel = Panel::open(ground.panel_config()).await.map_err(|error| failed("the panel cannot start", &error))?;
    let mut left = people(&panel, &ground.folder, &url).await?;
    let sign_in = sign_in_link(&panel, ground.settings.public_url.as_deref().unwrap_or(&url)).await?;
    let credentials = panel
        .ensure_local_node(NODE_NAME, &url)
        .await
        .map_err(|error| failed("the local node cannot be set up", &error))?;
    let mut config =
        daemon::Config::new(ground.node_dir(), credentials.uuid, credentials.token_id, credentials.token, &url);
    ground.settings.apply_to_node(&mut config);
    let daemon = Daemon::open(config).await.map_err(|error| failed("the node cannot start", &error))?;

    let Ground { folder, settings, listener, signals, service, lock: _lock } = ground;
    info!(address = %listener.address(), "listening");
    let serving =
        listener.serve(site(panel.router().merge(daemon.router())), &settings.trusted_proxies, settings.game_users());
    let output = Output::new(global);
    let beginning = async {
        if let Err(error) = daemon.boot().await {
            // What the node kept from its last run is in service all the same.
            error!(error = %chain(&error), "the node could not ask the panel for its servers");
        }
        if !args.no_demo && left.demo.is_none() {
            demo(&url, &mut left, &folder).await?;
        }
        Greeting { url: &url, left: &left, folder: &folder, sign_in: sign_in.as_deref() }.print(output).await
    };
    let begun = tokio::select! {
        begun = beginning => Some(begun),
        () = signals.wait() => None,
    };
    if let Some(Ok(())) = begun {
        service.ready();
        let pulse = async || serving.answers().await.then(|| of_games(&daemon));
        tokio::select! {
            () = signals.wait() => {}
            () = service.beat(pulse) => {}
        }
    }
    service.stopping();
    signals
        .end(async {
            serving.stop_accepting();
            daemon.shutdown().await;
            debug!("the node has ended");
            serving.drain().await;
            debug!("all requests are answered");
            panel.close().await;
            debug!("the database is closed");
        })
        .await;
    begun.unwrap_or(Ok(()))
}

/// Makes the demo server and starts it, the way any client with the key could. One that is there is found by its name: what
/// was remembered of it may be lost.
async fn demo(url: &str, left: &mut Left, folder: &Folder) -> Result<(), Fault> {
    let Some(key) = left.key.clone() else { return Ok(()) };
    let rest = Rest::new(Access { url: parse_url(url)?, key })?;
    match find_or_make_demo(&rest).await {
        Ok(identifier) => {
            left.demo = identifier;
            left.save(&folder.cli_file())?;
        }
        // A panel without a demo is still a panel; the next start tries again.
        Err(fault) => error!(%fault, "the demo server could not be made"),
    }
    Ok(())
}

async fn find_or_make_demo(rest: &Rest) -> Result<Option<String>, Fault> {
    if let Some(server) = rest.servers(None).await?.into_iter().find(|server| server.name == DEMO) {
        return Ok(Some(server.identifier));
    }
    let wanted = json!({ "name": DEMO, "template": DEMO, "description": "A game to try things on", "start_on_completion": true });
    let answer = rest.post::<Value>(&["api", "application", "servers"], &wanted).await?;
    info!("made the demo server");
    Ok(answer["attributes"]["identifier"].as_str().map(str::to_owned))
}
