//! The pages in a real browser, on the shipped program and its demo: the tests of `web/e2e` that fit any panel. Those about faults
//! run against a scripted panel, in `cargo xtask test web`.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::process::Stdio;

use e2e::Deck;
use serde_json::json;
use tokio::process::Command;

const PASSWORD: &str = "a password of the tests";

async fn is_there(program: &str) -> bool {
    let asked = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.await.is_ok_and(|status| status.success())
}

#[tokio::test]
async fn the_pages_work_in_a_browser() {
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("../web");
    let chromium = std::env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".to_owned());
    if !is_there("npm").await || !is_there(&chromium).await || !web.join("node_modules").is_dir() {
        return e2e::skip("the pages in a browser", "npm or chromium is missing", true);
    }
    let deck = Deck::new().await;
    let body = json!({ "password": PASSWORD });
    let set = deck.rest().patch("/api/application/users/admin", &body).await;
    set.ok();
    let output = Command::new("npm")
        .args(["run", "e2e"])
        .current_dir(&web)
        .env("QUARTERDECK_URL", deck.url())
        .env("QUARTERDECK_USER", "admin")
        .env("QUARTERDECK_PASSWORD", PASSWORD)
        .env("QUARTERDECK_SERVER", "demo")
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
}
