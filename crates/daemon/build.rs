//! Builds the shim as a small static program, so that the daemon can carry it inside.
//!
//! `QUARTERDECK_SHIM_BUILT` names a shim that was built before, for packagers who build it on its own.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=QUARTERDECK_SHIM_BUILT");
    if let Some(built) = env::var_os("QUARTERDECK_SHIM_BUILT") {
        println!("cargo::rerun-if-changed={}", PathBuf::from(&built).display());
        println!("cargo::rustc-env=QUARTERDECK_SHIM={}", PathBuf::from(built).display());
        return;
    }
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let root = manifest.join("../..");
    for input in
        ["crates/shim/src", "crates/shim/Cargo.toml", "crates/spool/src", "crates/spool/Cargo.toml", "Cargo.toml"]
    {
        println!("cargo::rerun-if-changed={}", root.join(input).display());
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("shim");
    let target = env::var("TARGET").unwrap_or_default();
    // Static and at a fixed address: the same file runs in any container, and its pages are shared by all shims.
    let flags = ["-Ctarget-feature=+crt-static", "-Crelocation-model=static"].join("\x1f");
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--package", "shim", "--profile", "shim", "--locked", "--target", &target, "--target-dir"])
        .arg(&out)
        .current_dir(&root)
        .env_remove("CARGO_MAKEFLAGS")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        .status();
    match status {
        Ok(status) if status.success() => {}
        other => {
            println!("cargo::error=the shim cannot be built ({other:?}); its own messages stand above");
            return;
        }
    }
    let program = out.join(target).join("shim/quarterdeck-shim");
    println!("cargo::rustc-env=QUARTERDECK_SHIM={}", program.display());
}
