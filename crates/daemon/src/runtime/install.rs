//! How an egg's installation script is run: in the container that it names, or, where games are processes, as a process that is kept as
//! a game is. There nobody is root and nothing is mounted, so the script is told where the files are, and a few programs are stood in
//! for: those that would install what this machine has already, and those that only root may use.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use spool::spec::LaunchSpec;
use tokio_util::sync::CancellationToken;
use wire::remote::{Definition, InstallScript, RuntimeKind};

use crate::node::Node;
use crate::removal;
use crate::runtime::holder::Found;
use crate::runtime::leftovers::RUN_VARIABLE;
use crate::runtime::{self, LaunchError, Place, Story, docker, files_folder, process};
use crate::server::launch::{self, Surroundings};
use crate::server::{LOG_DIR, Server};
use crate::tasks::blocking;

/// Folder of the script, in that of the installation.
pub(super) const SCRIPT_DIR: &str = "script";
pub(super) const SCRIPT_FILE: &str = "install.sh";
/// Folder of programs that are stood in for, beside the script.
const STAND_INS_DIR: &str = "bin";
/// What a script makes can be read by all, as it would be in a container.
pub(super) const INSTALL_UMASK: u32 = 0o022;
/// Where scripts of the community find the server's files.
const FILES_PATHS: [&str; 2] = ["/mnt/server", "/home/container"];
/// Shells that scripts name; what they are called elsewhere this machine's own does.
const SHELLS: [&str; 4] = ["bash", "ash", "sh", "dash"];
/// The shell of a script that names none.
const SHELL_DEFAULT: &str = "bash";

/// Says what is missing instead of installing it. Options, and words that are no package, are left alone.
const PACKAGES: &str = r#"#!/bin/sh
# There is no root here: what the script asks for is there already, or has to be installed by whoever runs this machine.
missing=
for word in "$@"; do
    case "$word" in
        -* | install | update | upgrade | dist-upgrade | add | del | clean | autoclean | autoremove | remove | purge | *=*) continue ;;
        ca-certificates | lib* | *-utils | iproute2 | locales | tzdata | coreutils | build-essential) continue ;;
        xz-utils) name=xz ;;
        p7zip* | 7zip) name=7z ;;
        openjdk* | default-jre*) name=java ;;
        *) name="$word" ;;
    esac
    command -v "$name" > /dev/null 2>&1 || missing="$missing $word"
done
if [ -n "$missing" ]; then
    echo "This script needs programs that this machine does not have:$missing. Install them on the node, or let it run in a container." >&2
    exit 1
fi
"#;
/// Does nothing: who owns the files the node sees to.
const NOTHING: &str = "#!/bin/sh\nexit 0\n";
const STAND_INS: [(&str, &str); 9] = [
    ("apt", PACKAGES),
    ("apt-get", PACKAGES),
    ("apk", PACKAGES),
    ("yum", PACKAGES),
    ("dnf", PACKAGES),
    ("chown", NOTHING),
    ("chgrp", NOTHING),
    ("useradd", NOTHING),
    ("adduser", NOTHING),
];

/// A script that runs.
pub(crate) struct Begun {
    /// Who holds it; nobody if it has ended already.
    pub(crate) found: Found,
    pub(crate) place: Place,
}

/// Runs an installation's script; `dir` is the installation's folder.
pub(crate) async fn begin(
    node: &Arc<Node>,
    server: &Server,
    script: &InstallScript,
    dir: &Path,
    unwanted: &CancellationToken,
    story: &Story,
) -> Result<Begun, LaunchError> {
    let definition = server.status().borrow().definition.clone();
    match runtime::kind(node, &definition) {
        RuntimeKind::Docker => {
            let (found, _, _) = docker::install(node, server, &definition, script, dir, unwanted, story).await?;
            let shim = if let Found::Running(holder) = &found { holder.shim_pid } else { 0 };
            Ok(Begun { found, place: Place::contained(node, server.id(), runtime::cgroup::Machine::of_process(shim)) })
        }
        RuntimeKind::Process => {
            let leaf_name = format!("{}-install", server.id().short());
            let leaf = node.machine.leaf(&leaf_name, &definition.settings.build).map_err(LaunchError::Limits)?;
            let prepared = {
                let (node, server, dir, script) = (node.clone(), server.clone(), dir.to_owned(), script.clone());
                let procs = leaf.procs();
                blocking(move || prepare(&node, &server, &dir, &definition, &script, procs))
            };
            let spec = prepared.await.map_err(LaunchError::Folder)?;
            let started = match spec {
                Ok(spec) => process::start_at(node, server.id(), dir, &leaf, spec, unwanted).await,
                Err(error) => Err(error),
            };
            match started {
                Ok((found, _)) => Ok(Begun { found, place: Place { leaf, container: None } }),
                Err(error) => {
                    leaf.remove();
                    Err(error)
                }
            }
        }
    }
}

/// Where the script of an earlier daemon's installation takes place.
pub(crate) fn place(node: &Node, server: &Server, found: &Found) -> Place {
    match found {
        Found::Running(holder) if holder.is_contained => {
            Place::contained(node, server.id(), runtime::cgroup::Machine::of_process(holder.shim_pid))
        }
        _ => Place { leaf: node.machine.existing(&format!("{}-install", server.id().short())), container: None },
    }
}

fn prepare(
    node: &Node,
    server: &Server,
    dir: &Path,
    definition: &Definition,
    script: &InstallScript,
    cgroup_procs: Vec<PathBuf>,
) -> Result<LaunchSpec, LaunchError> {
    let files = files_folder(server.dir()).and_then(|files| files.canonicalize()).map_err(LaunchError::Folder)?;
    let dir = dir.canonicalize().map_err(LaunchError::Folder)?;
    let told = files.display().to_string();
    if told.contains(|c: char| c.is_whitespace() || "'\"$`\\*?[]();&|<>".contains(c)) {
        let text = format!(
            "a script cannot be told of the folder {told}: move the node's data to a path without spaces and signs"
        );
        return Err(LaunchError::Refused { text });
    }
    let folder = dir.join(SCRIPT_DIR);
    let cage = node.ladder.cage(server.dir(), &files, &folder, definition).map_err(LaunchError::Folder)?;
    write_script(&folder, &moved(&script.script, &told)).map_err(LaunchError::Folder)?;
    let stand_ins = folder.join(STAND_INS_DIR);
    for (name, text) in STAND_INS {
        write_program(&stand_ins, name, text).map_err(LaunchError::Folder)?;
    }
    let around = Surroundings { files: &files, program: &node.program, bind: None };
    let mut env = launch::environment(definition, &around);
    let path = env.get("PATH").cloned().unwrap_or_default();
    env.insert("PATH".to_owned(), format!("{}:{path}", stand_ins.display()));
    env.remove(RUN_VARIABLE);
    cage.settle(&mut env);
    let mark = (RUN_VARIABLE.as_bytes().to_vec(), dir.as_os_str().as_encoded_bytes().to_vec());
    let argv = own_interpreter(&script.entrypoint).into_iter().chain([folder.join(SCRIPT_FILE).display().to_string()]);
    Ok(LaunchSpec {
        env: env.into_iter().map(|(name, value)| (name.into_bytes(), value.into_bytes())).chain([mark]).collect(),
        user: cage.user,
        rlimits: cage.processes(&definition.settings.build).into_iter().collect(),
        cgroup_procs,
        capabilities: cage.capabilities,
        landlock: cage.landlock,
        seccomp: cage.seccomp,
        umask: INSTALL_UMASK,
        segment_bytes: node.config.segment_bytes,
        retain_bytes: node.config.retain_bytes,
        ignore_hangup: true,
        ..LaunchSpec::new(
            *uuid::Uuid::new_v4().as_bytes(),
            &dir.join(LOG_DIR),
            &dir,
            argv.map(String::into_bytes).collect(),
            &files,
        )
    })
}

/// Lays a script into its folder, in place of what was there. Anybody on this machine may read it: there are no secrets in scripts.
pub(super) fn write_script(folder: &Path, script: &str) -> io::Result<()> {
    removal::remove_all(folder)?;
    fs::DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    write_program(folder, SCRIPT_FILE, &script.replace("\r\n", "\n"))
}

fn write_program(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o755).open(folder.join(name))?;
    io::Write::write_all(&mut file, text.as_bytes())
}

/// A script that finds the files where they are.
fn moved(script: &str, files: &str) -> String {
    FILES_PATHS.iter().fold(script.to_owned(), |script, path| script.replace(path, files))
}

/// The program that gets the script, as it is named.
pub(super) fn interpreter(entrypoint: &str) -> Vec<String> {
    let words = shell_words::split(entrypoint).unwrap_or_default();
    if words.is_empty() { vec![SHELL_DEFAULT.to_owned()] } else { words }
}

/// The same, where this machine's shell stands in for those it has not.
fn own_interpreter(entrypoint: &str) -> Vec<String> {
    let words = interpreter(entrypoint);
    let name = words.first().map(|word| word.rsplit('/').next().unwrap_or(word).to_owned()).unwrap_or_default();
    if !SHELLS.contains(&name.as_str()) {
        return words;
    }
    let shell = if Path::new("/bin/bash").exists() { "/bin/bash" } else { "/bin/sh" };
    std::iter::once(shell.to_owned()).chain(words.into_iter().skip(1)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::process::Command;

    use super::*;

    #[test]
    fn a_script_is_told_where_the_files_are() {
        let script = "cd /mnt/server\ncp -r /mnt/server/x /home/container/y";
        assert_eq!(moved(script, "/data/f"), "cd /data/f\ncp -r /data/f/x /data/f/y");
    }

    #[test]
    fn an_interpreter_is_what_the_egg_names() {
        assert_eq!(interpreter("bash"), ["bash"]);
        assert_eq!(interpreter("/bin/ash -e"), ["/bin/ash", "-e"]);
        assert_eq!(interpreter(" "), ["bash"]);
        assert_eq!(own_interpreter("ash -e").get(1).map(String::as_str), Some("-e"));
        assert!(own_interpreter("ash")[0].starts_with("/bin/"));
        assert_eq!(own_interpreter("python3"), ["python3"]);
    }

    #[test]
    fn packages_are_there_or_are_named() {
        let folder = tempfile::tempdir().unwrap();
        write_program(folder.path(), "apt-get", PACKAGES).unwrap();
        let run = |arguments: &[&str]| Command::new(folder.path().join("apt-get")).args(arguments).output().unwrap();
        assert!(run(&["update"]).status.success());
        assert!(run(&["-y", "install", "bash", "ca-certificates", "lib32gcc-s1"]).status.success());
        let refused = run(&["install", "--no-install-recommends", "no-such-tool", "cat"]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains(": no-such-tool."), "{said}");
    }

    #[test]
    fn a_script_takes_the_place_of_the_last_one() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join(SCRIPT_DIR);
        write_script(&script, "echo 1\r\necho 2\r\n").unwrap();
        write_script(&script, "echo 3").unwrap();
        assert_eq!(fs::read_to_string(script.join(SCRIPT_FILE)).unwrap(), "echo 3");
    }
}
