//! The pages in a real browser, on the shipped program: the tests of `web/e2e` that fit any panel, on its demo, and those of
//! `web/e2e/shipped`, which kill the program and start it again. Against a scripted panel they run in `cargo xtask test web`.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::{Path, PathBuf};
use std::process::Stdio;

use e2e::{Deck, Folder};
use serde_json::json;
use tokio::process::Command;
use tokio::sync::Mutex;

const PASSWORD: &str = "a password of the tests";
/// Two browsers at once would only make each other slow. (`cargo nextest` runs each test in a process of its own: see its settings.)
static BROWSER: Mutex<()> = Mutex::const_new(());

async fn is_there(program: &str) -> bool {
    let asked = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.await.is_ok_and(|status| status.success())
}

fn web() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../web")
}

async fn can_browse(test: &str) -> bool {
    let chromium = std::env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".to_owned());
    let can = is_there("npm").await && is_there(&chromium).await && web().join("node_modules").is_dir();
    if !can {
        e2e::skip(test, "npm or chromium is missing", true);
    }
    can
}

/// Runs a script of `web/package.json`, which must succeed.
async fn run(script: &str, variables: &[(&str, &str)]) {
    let output = Command::new("npm")
        .args(["run", script])
        .current_dir(web())
        .env_remove("QUARTERDECK_URL")
        .envs(variables.iter().copied())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
}

#[tokio::test]
async fn the_pages_work_in_a_browser() {
    if !can_browse("the pages in a browser").await {
        return;
    }
    let _alone = BROWSER.lock().await;
    let deck = Deck::new().await;
    let body = json!({ "password": PASSWORD });
    let set = deck.rest().patch("/api/application/users/admin", &body).await;
    set.ok();
    let variables = [
        ("QUARTERDECK_URL", deck.url()),
        ("QUARTERDECK_USER", "admin"),
        ("QUARTERDECK_PASSWORD", PASSWORD),
        ("QUARTERDECK_SERVER", "demo"),
    ];
    run("e2e", &variables).await;
}

#[tokio::test]
async fn a_browser_loses_nothing_when_the_program_is_killed() {
    if !can_browse("faults in a browser").await {
        return;
    }
    let openttd = "/usr/games/openttd";
    if !Path::new(openttd).exists() {
        e2e::skip("openttd in a browser", &format!("{openttd} is not installed"), true);
    }
    let _alone = BROWSER.lock().await;
    // The programs that the tests start have their folders in this one: what a test that was cut short leaves ends with it.
    let folder = Folder::new();
    let program = e2e::program::quarterdeck().canonicalize().unwrap();
    run(
        "e2e:shipped",
        &[("QUARTERDECK_BIN", program.to_str().unwrap()), ("QUARTERDECK_E2E_FOLDER", folder.path().to_str().unwrap())],
    )
    .await;
}
