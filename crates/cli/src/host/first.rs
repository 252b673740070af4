//! The first start: an administrator and an API key, kept in `<data>/cli.toml` and made again if that is lost; and what every
//! start prints.

use panel::Panel;
use serde_json::json;
use tracing::{info, warn};

use crate::access::{Access, Left, Secret, parse_url};
use crate::client::api::{Item, Server};
use crate::client::rest::Rest;
use crate::fault::Fault;
use crate::folder::{Folder, readable_by_others};
use crate::host::failed;
use crate::host::up::DEMO;
use crate::invocation::Invocation;
use crate::output::{Output, Paint, note};

const ADMIN_NAME: &str = "admin";
const ADMIN_EMAIL: &str = "admin@localhost.localdomain";
const KEY_MEMO: &str = "made by the first start";
const NEW_KEY_MEMO: &str = "made by a later start that found no key";

/// Makes sure that there is an administrator and that the folder has a key of theirs; remembers it and the address.
pub(crate) async fn people(panel: &Panel, folder: &Folder, url: &str) -> Result<Left, Fault> {
    let file = folder.cli_file();
    let mut left = Left::load(&file)?;
    if readable_by_others(&file) {
        note(&format!("warning: others can read {}, which holds a key; it is being closed to them", file.display()));
    }
    let failed = |error: &dyn std::error::Error| failed("the administrator's key cannot be made", error);
    if panel.is_empty().await.map_err(|error| failed(&error))? {
        let admin = panel.create_admin(ADMIN_NAME, ADMIN_EMAIL, None).await.map_err(|error| failed(&error))?;
        let key = panel.create_client_key(admin.uuid, KEY_MEMO).await.map_err(|error| failed(&error))?;
        info!(user = ADMIN_NAME, "made the administrator and a key");
        // A file of an older panel in the same folder has nothing to do with this one.
        left = Left { url: None, key: Some(Secret(key)), demo: None };
    } else if left.key.is_none()
        && let Some(admin) = panel.first_admin().await.map_err(|error| failed(&error))?
    {
        let key = panel.create_client_key(admin.uuid, NEW_KEY_MEMO).await.map_err(|error| failed(&error))?;
        warn!(
            user = admin.username,
            "{} held no key; made a new one. If the one before was lost to somebody, delete it: it is in `key list`",
            file.display()
        );
        left.key = Some(Secret(key));
    }
    left.url = Some(url.to_owned());
    left.save(&file)?;
    Ok(left)
}

/// A link that signs the first administrator in once, as long as they have no password: how people get in for the first time.
pub(crate) async fn sign_in_link(panel: &Panel, url: &str) -> Result<Option<String>, Fault> {
    let failed = |error: &dyn std::error::Error| failed("the link to sign in cannot be made", error);
    let Some(admin) = panel.first_admin().await.map_err(|error| failed(&error))? else { return Ok(None) };
    if panel.has_password(admin.uuid).await.map_err(|error| failed(&error))? {
        return Ok(None);
    }
    panel.create_sign_in_link(admin.uuid, url).await.map(Some).map_err(|error| failed(&error))
}

/// What to tell whoever started it.
#[derive(Debug)]
pub(crate) struct Greeting<'a> {
    /// The panel's address.
    pub(crate) url: &'a str,
    /// What is remembered.
    pub(crate) left: &'a Left,
    /// The folder.
    pub(crate) folder: &'a Folder,
    /// Opens the pages, once.
    pub(crate) sign_in: Option<&'a str>,
}

/// The demo server as it is now.
#[derive(Debug)]
struct Demo {
    identifier: String,
    name: String,
}

impl Greeting<'_> {
    /// To stdout: the log is on stderr. With nobody there to read it, there is nobody to greet.
    pub(crate) async fn print(&self, output: Output) -> Result<(), Fault> {
        let demo = self.demo().await;
        match self.write(output, demo.as_ref()) {
            Err(Fault::OutputClosed) => Ok(()),
            other => other,
        }
    }

    /// The demo server, unless somebody has deleted it since it was made.
    async fn demo(&self) -> Option<Demo> {
        let identifier = self.left.demo.clone()?;
        let made = Demo { identifier, name: DEMO.to_owned() };
        let Some(key) = self.left.key.clone() else { return Some(made) };
        let rest = Rest::new(Access { url: parse_url(self.url).ok()?, key }).ok()?;
        match rest.get::<Item<Server>>(&["api", "client", "servers", &made.identifier]).await {
            Ok(item) => Some(Demo { name: item.attributes.name, ..made }),
            Err(fault) if fault.status() == Some(404) => None,
            // A key that works no longer says nothing about the server.
            Err(_) => Some(made),
        }
    }

    fn write(&self, output: Output, demo: Option<&Demo>) -> Result<(), Fault> {
        let key = self.left.key.as_ref().map(|key| key.0.as_str());
        let program = Invocation::new(Some(self.folder));
        if output.json {
            return output.json_line(&json!({
                "url": self.url,
                "sign_in": self.sign_in,
                "key": key,
                "demo": demo.map(|demo| &demo.identifier),
                "data": self.folder.path(),
                "credentials": demo.map(|demo| self.credentials_url(demo)),
            }));
        }
        let title = |text: &str| output.paint(Paint::Green, text);
        output.line(&format!("\n{}", title(&format!("Quarterdeck is up at {}", self.url))))?;
        if let Some(link) = self.sign_in {
            output.line(&format!("  sign in       {link}"))?;
        }
        output.line(&format!("  data folder   {}", self.folder.path().display()))?;
        match key {
            Some(key) => output.line(&format!("  API key       {key}"))?,
            None => output.line(&format!(
                "  API key       known only to its owner ({} holds none)",
                self.folder.cli_file().display()
            ))?,
        }
        match demo {
            Some(demo) => {
                let (key, address) = (key.unwrap_or("$QUARTERDECK_KEY"), self.credentials_url(demo));
                let name = shell_words::quote(&demo.name);
                output
                    .line(&format!("\nThe demo server's console, from another terminal:\n  {program} console {name}"))?;
                output.line(&format!(
                    "\nA token and the address of its WebSocket, for any client:\n  curl -H 'Authorization: Bearer {key}' -H 'Accept: application/json' \\\n    {address}"
                ))?;
            }
            None => output.line(&format!(
                "\nYour servers, from another terminal:\n  {program} server list\n\nAnother one:\n  {program} server create --name ttd --template openttd --start"
            ))?,
        }
        output.line(&format!(
            "\nThe whole API: {}/api/docs   Commands: {} --help\nCtrl-C stops this program; games go on.\n",
            self.url,
            Invocation::new(None)
        ))
    }

    fn credentials_url(&self, demo: &Demo) -> String {
        format!("{}/api/client/servers/{}/websocket", self.url, demo.identifier)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::SocketAddr;

    use axum::body::Body;
    use axum::extract::ConnectInfo;
    use axum::http::{Request, StatusCode};
    use tower::ServiceExt;

    use super::*;

    const URL: &str = "http://127.0.0.1:8080";

    async fn status(panel: &Panel, left: &Left) -> StatusCode {
        let key = &left.key.as_ref().unwrap().0;
        let request = Request::get("/api/application/users").header("authorization", format!("Bearer {key}"));
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 1))));
        panel.router().oneshot(request).await.unwrap().status()
    }

    #[tokio::test]
    async fn a_key_that_is_lost_is_made_again_and_one_that_is_there_is_kept() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::locate(Some(temp.path())).unwrap();
        let panel = Panel::open(::panel::Config::new(folder.database())).await.unwrap();
        let first = people(&panel, &folder, URL).await.unwrap();
        assert_eq!(people(&panel, &folder, URL).await.unwrap(), first);

        std::fs::remove_file(folder.cli_file()).unwrap();
        let again = people(&panel, &folder, URL).await.unwrap();
        assert_ne!(again.key, first.key);
        assert_eq!((status(&panel, &again).await, status(&panel, &first).await), (StatusCode::OK, StatusCode::OK));
        assert_eq!(Left::load(&folder.cli_file()).unwrap(), again);
        panel.close().await;
    }
}
