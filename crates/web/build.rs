//! Puts the web interface into the program: a folder that is ready, or what npm builds of `/web`. Where there is no npm a release
//! build fails, and any other has a page that says so.

use std::env;
use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names a folder with a finished interface; nothing is built then.
const READY: &str = "QUARTERDECK_WEB_DIST";
/// Whether a build without the interface is an error: `1` always, `0` never. Unless told, a release build's is: somebody will use it.
const REQUIRED: &str = "QUARTERDECK_WEB_REQUIRED";
/// The oldest Node.js that its tools run on.
const NODE_MIN: (u32, u32) = (20, 19);
/// What the interface is made of, in `/web`.
const SOURCES: [&str; 6] =
    ["index.html", "package.json", "package-lock.json", "src", "tsconfig.json", "vite.config.ts"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed={READY}");
    println!("cargo::rerun-if-env-changed={REQUIRED}");
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let folder = match env::var_os(READY) {
        Some(ready) => {
            let ready = PathBuf::from(ready);
            if !ready.join("index.html").is_file() {
                return Err(format!("{READY} names {}, which has no index.html in it", ready.display()).into());
            }
            println!("cargo::rerun-if-changed={}", ready.display());
            ready
        }
        None => from_sources(&here)?,
    };
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let folder = folder.canonicalize()?;
    // Not the library's own `load_directory`: that warns of every file, and has the script run again because of what it wrote.
    let assets = memory_serve::assets_to_code(&folder.to_string_lossy(), &folder, &out, true, |_| {});
    fs::write(out.join("memory_serve_assets.rs"), format!("&[(\"default\", {assets})]"))?;
    Ok(())
}

fn from_sources(here: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let web = here.join("../../web").canonicalize()?;
    for name in SOURCES {
        println!("cargo::rerun-if-changed={}", web.join(name).display());
    }
    let lacking = match node_version() {
        Some(version) if version >= NODE_MIN => return built(&web),
        Some((major, minor)) => format!("Node.js {major}.{minor} is too old"),
        None => "Node.js with npm is not installed".to_owned(),
    };
    let (major, minor) = NODE_MIN;
    let advice =
        format!("{lacking}; install {major}.{minor} or newer, or name a folder with a finished interface in {READY}");
    let is_required = match env::var(REQUIRED).as_deref() {
        Ok("0") => false,
        Ok(_) => true,
        Err(_) => env::var("PROFILE").as_deref() == Ok("release"),
    };
    if is_required {
        return Err(
            format!("the web interface cannot be built: {advice}, or build without one with {REQUIRED}=0").into()
        );
    }
    println!("cargo::warning=this build has a placeholder for its web interface: {advice}");
    Ok(here.join("placeholder"))
}

/// Major and minor version, if npm is there as well.
fn node_version() -> Option<(u32, u32)> {
    Command::new("npm").arg("--version").output().ok().filter(|output| output.status.success())?;
    let output = Command::new("node").arg("--version").output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut parts = text.trim().trim_start_matches('v').split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

/// Builds the interface. Debug and release builds may be at it at once, and share what npm installs: one at a time.
fn built(web: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let lock = File::create(web.join(".build.lock"))?;
    lock.lock()?;
    let wanted = fs::read(web.join("package-lock.json"))?;
    let stamp = web.join("node_modules/.quarterdeck-installed");
    if fs::read(&stamp).ok().as_ref() != Some(&wanted) {
        npm(web, &["ci", "--no-audit", "--no-fund"])?;
        fs::write(&stamp, &wanted)?;
    }
    let folder = PathBuf::from(env::var("OUT_DIR")?).join("dist");
    let out = folder.to_str().ok_or("the target folder's path is not UTF-8")?;
    npm(web, &["run", "build", "--", "--outDir", out, "--emptyOutDir"])?;
    Ok(folder)
}

fn npm(web: &Path, arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    let output = Command::new("npm").args(arguments).current_dir(web).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(format!("npm {} failed ({}):\n{}", arguments.join(" "), output.status, String::from_utf8_lossy(&said)).into())
}
