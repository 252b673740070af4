//! Which crate may depend on which. A crate that is not in the table is an error: say here where it belongs.

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::Finding;
use crate::workspace::cargo;

/// Each crate with those of ours that it may depend on, for its tests as well.
///
/// `cli -> {daemon, panel, web} -> engine -> wire` and `{shim, daemon} -> spool`; nobody links the shim, and daemon and
/// panel never know of each other: between them there is only HTTP.
const MAY_DEPEND: [(&str, &[&str]); 14] = [
    ("quarterdeck", &["daemon", "egg", "engine", "fakegame", "panel", "web", "wire"]),
    ("daemon", &["egg", "engine", "spool", "wire"]),
    ("panel", &["egg", "engine", "wire"]),
    ("egg", &["wire"]),
    ("web", &[]),
    ("engine", &["wire"]),
    ("wire", &[]),
    ("shim", &["spool"]),
    ("spool", &[]),
    ("fakegame", &[]),
    ("e2e", &["spool", "wire"]),
    ("bench", &["e2e", "spool", "wire"]),
    ("torture", &["e2e", "spool"]),
    ("xtask", &[]),
];

pub(super) fn check() -> Result<Vec<Finding>> {
    let output = cargo()
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .output()
        .context("cargo metadata could not be started")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let metadata: Value = serde_json::from_slice(&output.stdout).context("reading cargo metadata")?;
    Ok(judge(&metadata))
}

fn judge(metadata: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in array(&metadata["packages"]) {
        let name = package["name"].as_str().unwrap_or_default();
        let path = package["manifest_path"].as_str().unwrap_or_default();
        let top = metadata["workspace_root"].as_str().unwrap_or_default();
        let path = path.strip_prefix(top).unwrap_or(path).trim_start_matches('/').to_owned();
        let mut find = |text: String| findings.push(Finding { path: path.clone(), line: 0, text });
        let Some((_, allowed)) = MAY_DEPEND.iter().find(|(known, _)| *known == name) else {
            find(format!("crate {name} is not in the table of crate directions (xtask/src/tidy/direction.rs)"));
            continue;
        };
        // Ours are those with a path; a crate of somebody else comes from a registry.
        for dependency in array(&package["dependencies"]).iter().filter(|dependency| dependency["path"].is_string()) {
            let on = dependency["name"].as_str().unwrap_or_default();
            if !allowed.contains(&on) {
                find(format!("{name} must not depend on {on}; it may depend on: {}", allowed.join(", ")));
            }
        }
    }
    findings
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn package(name: &str, on: &[&str]) -> Value {
        let ours = on.iter().map(|on| json!({"name": on, "path": format!("/x/crates/{on}"), "kind": null}));
        let theirs = [json!({"name": "shim", "path": null, "source": "registry", "kind": null})];
        json!({"name": name, "manifest_path": format!("/x/crates/{name}/Cargo.toml"),
            "dependencies": ours.chain(theirs).collect::<Vec<_>>()})
    }

    fn findings(packages: &[Value]) -> Vec<String> {
        let found = judge(&json!({"workspace_root": "/x", "packages": packages}));
        found.into_iter().map(|finding| format!("{}: {}", finding.path, finding.text)).collect()
    }

    #[test]
    fn the_right_direction_is_silent() {
        assert_eq!(
            findings(&[package("daemon", &["engine", "spool", "wire"]), package("panel", &["engine"])]),
            [""; 0]
        );
    }

    #[test]
    fn the_wrong_direction_is_found() {
        for (from, to) in
            [("panel", "daemon"), ("daemon", "panel"), ("daemon", "shim"), ("engine", "spool"), ("wire", "engine")]
        {
            let found = findings(&[package(from, &[to])]);
            assert_eq!(found.len(), 1, "{from} -> {to}");
            assert!(found[0].starts_with(&format!("crates/{from}/Cargo.toml: {from} must not depend on {to}")));
        }
    }

    #[test]
    fn a_crate_nobody_placed_is_found() {
        assert!(findings(&[package("stowaway", &[])])[0].contains("not in the table"));
    }

    #[test]
    fn this_workspace_is_what_the_table_is_about() {
        assert_eq!(check().unwrap(), []);
    }
}
