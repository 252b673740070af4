//! `quarterdeck panel`: the panel alone, for nodes elsewhere.

use panel::Panel;
use tracing::info;

use crate::args::Global;
use crate::args::host::PanelOnly;
use crate::fault::Fault;
use crate::host::first::{Greeting, people, sign_in_link};
use crate::host::site::site;
use crate::host::{Ground, failed};
use crate::output::Output;

/// Serves until it is told to end.
pub(crate) async fn run(global: &Global, args: PanelOnly) -> Result<(), Fault> {
    let ground = Ground::prepare(global, &args.serve, &args.panel).await?;
    let url = ground.listener.local_url();
    let panel = Panel::open(ground.panel_config()).await.map_err(|error| failed("the panel cannot start", &error))?;
    let left = people(&panel, &ground.folder, &url).await?;
    let sign_in = sign_in_link(&panel, ground.settings.public_url.as_deref().unwrap_or(&url)).await?;
    let Ground { folder, settings, listener, signals, service, lock: _lock } = ground;
    info!(address = %listener.address(), "listening");
    let serving = listener.serve(site(panel.router()), &settings.trusted_proxies, settings.game_users());
    let greeting = Greeting { url: &url, left: &left, folder: &folder, sign_in: sign_in.as_deref() };
    let greeted = greeting.print(Output::new(global)).await;
    if greeted.is_ok() {
        service.ready();
        let pulse = async || serving.answers().await.then(|| "The panel serves".to_owned());
        tokio::select! {
            () = signals.wait() => {}
            () = service.beat(pulse) => {}
        }
    }
    service.stopping();
    signals
        .end(async {
            serving.drain().await;
            panel.close().await;
        })
        .await;
    greeted
}
