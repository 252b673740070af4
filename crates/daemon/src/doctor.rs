//! Looks at this machine with the same eyes as a node that starts here, and says of each thing whether it is as it should be.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use spool::spec::{Console, LaunchSpec};

use crate::config::{Config, Containers, IsolationSettings, Rung};
use crate::runtime::cgroup::Machine;
use crate::runtime::docker::Engine;
use crate::runtime::files_folder;
use crate::runtime::isolation::{Cage, Ladder};
use crate::runtime::process::{self, Started};
use crate::runtime::program;

/// Less free space than this is worth a word; than this, logs and saves are in danger.
const FREE_BYTES_LOW: u64 = 2 << 30;
const FREE_BYTES_WRONG: u64 = 128 << 20;
/// How long the trial of the shim may take.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause between two looks at the trial.
const TRIAL_PAUSE: Duration = Duration::from_millis(5);

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// It works, with less than there could be.
    Weaker,
    /// It does not work, or endangers what is kept.
    Wrong,
}

impl Verdict {
    /// Its name in answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Weaker => "weaker",
            Self::Wrong => "wrong",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What it is, one word.
    pub what: String,
    /// How it is.
    pub verdict: Verdict,
    /// In words; of what is not good also why, and what to do.
    pub text: String,
}

impl Finding {
    /// With these members.
    pub fn new(what: &str, verdict: Verdict, text: impl Into<String>) -> Self {
        Self { what: what.to_owned(), verdict, text: text.into() }
    }
}

/// Looks at everything a node with this configuration would stand on. `secrets` are files that only their owner may read. Blocks;
/// leaves nothing behind.
pub fn examine(config: &Config, secrets: &[PathBuf]) -> Vec<Finding> {
    let home = existing(&config.data_dir);
    let mut found = vec![closed(secrets), data(&config.data_dir, &home), space(&home)];
    found.extend(readable(&config.isolation.readable, &config.data_dir));
    found.extend(cgroups());
    // A node opens its own folder to games, and what is above it is not its own.
    let servers = if home == config.data_dir { home.clone() } else { home.join("node") };
    let ladder = Ladder::probe(&config.isolation, &servers);
    found.push(Finding::new(
        "landlock",
        if ladder.landlock_abi() > 0 { Verdict::Good } else { Verdict::Weaker },
        match ladder.landlock_abi() {
            0 => "this kernel has none; boot with `landlock` in lsm=, or take a newer one".to_owned(),
            abi => format!("version {abi}"),
        },
    ));
    for rung in Rung::ALL {
        found.push(match ladder.machine_missing(rung) {
            None => Finding::new(rung.name(), Verdict::Good, effect(rung)),
            Some(why) => Finding::new(rung.name(), Verdict::Weaker, format!("off: {why}")),
        });
    }
    found.push(uids(&config.isolation));
    found.push(trial(&ladder, &home));
    found
}

/// Looks for what runs containers; nothing where none are wanted.
pub async fn examine_engine(config: &Config) -> Option<Finding> {
    let engine = Engine::new(config.containers.clone(), config.node_uuid);
    let is_needed = config.containers.mode == Containers::On;
    if engine.endpoint().is_none() && !is_needed {
        let text =
            "none found: all games run as processes of this machine; those that need an image need Docker or Podman";
        return (config.containers.mode == Containers::Auto).then(|| Finding::new("engine", Verdict::Good, text));
    }
    let report = engine.report().await?;
    Some(match report.error {
        Some(error) => Finding::new("engine", if is_needed { Verdict::Wrong } else { Verdict::Weaker }, error),
        None => {
            let title = format!("{} {} at {}", report.name, report.version, report.endpoint);
            match report.notes.as_slice() {
                [] => Finding::new("engine", Verdict::Good, title),
                notes => Finding::new("engine", Verdict::Weaker, format!("{title}; {}", notes.join("; "))),
            }
        }
    })
}

/// The folder, or what there is of the way to it.
fn existing(folder: &Path) -> PathBuf {
    folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

fn effect(rung: Rung) -> &'static str {
    match rung {
        Rung::Uid => "every server has a user of its own",
        Rung::Files => "games reach the system's files and their own",
        Rung::Tcp => "games listen on their own TCP ports only",
        Rung::Scopes => "games signal nobody but themselves",
        Rung::Seccomp => "system calls that no game needs are refused",
    }
}

fn closed(secrets: &[PathBuf]) -> Finding {
    let is_open = |path: &&PathBuf| fs::metadata(path).is_ok_and(|meta| meta.mode() & 0o077 != 0);
    let open: Vec<String> = secrets.iter().filter(is_open).map(|path| path.display().to_string()).collect();
    if open.is_empty() {
        return Finding::new("secrets", Verdict::Good, "only their owner can read them");
    }
    Finding::new("secrets", Verdict::Wrong, format!("others can read {0}; `chmod 600 {0}`", open.join(" ")))
}

/// Whether the node can write into its folder, or make it: `home` is what there is of the way to it. Tried, since permissions are not
/// all there is to it.
fn data(folder: &Path, home: &Path) -> Finding {
    let folder = folder.display();
    let trial = home.join(format!("quarterdeck-doctor-{}", std::process::id()));
    match fs::create_dir(&trial).and_then(|()| fs::remove_dir(&trial)) {
        Ok(()) => Finding::new("data", Verdict::Good, format!("{folder} can be written")),
        Err(error) => {
            let text = format!(
                "{folder} cannot be written, because of {}: {error}; run this as the user that the node runs as, or choose \
                 another folder with --data",
                home.display()
            );
            Finding::new("data", Verdict::Wrong, text)
        }
    }
}

/// Settings that open to every game what belongs to all of them.
fn readable(paths: &[PathBuf], folder: &Path) -> Vec<Finding> {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folder = real(folder);
    let too_wide = paths.iter().filter(|path| folder.starts_with(real(path)));
    let finding = |path: &PathBuf| {
        let text = format!(
            "`{}` under [isolation] holds the node's own folder, so Landlock keeps no game from another's files; name folders of \
             programs only",
            path.display()
        );
        Finding::new("readable", Verdict::Wrong, text)
    };
    too_wide.map(finding).collect()
}

fn space(home: &Path) -> Finding {
    match rustix::fs::statvfs(home) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let text = format!("{} MiB free in {}", free >> 20, home.display());
            if free < FREE_BYTES_WRONG {
                Finding::new("space", Verdict::Wrong, format!("{text}; make room"))
            } else if free < FREE_BYTES_LOW {
                Finding::new("space", Verdict::Weaker, format!("{text}; make room soon"))
            } else {
                Finding::new("space", Verdict::Good, text)
            }
        }
        Err(error) => Finding::new("space", Verdict::Wrong, format!("{}: {error}", home.display())),
    }
}

fn cgroups() -> Vec<Finding> {
    let machine = Machine::probe(&format!("quarterdeck-doctor-{}", std::process::id()));
    let (active, missing) = machine.controllers();
    machine.tidy();
    let mut found = Vec::new();
    if !active.is_empty() {
        found.push(Finding::new("cgroups", Verdict::Good, active.join(", ")));
    }
    let without = missing.iter().map(|text| {
        Finding::new("cgroups", Verdict::Weaker, format!("{text}; run the daemon as root, or delegate the group to it"))
    });
    found.extend(without);
    found
}

/// Whether somebody else uses the user ids for servers.
fn uids(settings: &IsolationSettings) -> Finding {
    let (first, end) = (u64::from(settings.uid_first), u64::from(settings.uid_first) + u64::from(settings.uid_count));
    let field = |line: &str, at: usize| line.split(':').nth(at).and_then(|number| number.parse::<u64>().ok());
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let user = passwd.lines().find(|line| field(line, 2).is_some_and(|uid| (first..end).contains(&uid)));
    let subuid = fs::read_to_string("/etc/subuid").unwrap_or_default();
    let range = subuid.lines().find(|line| {
        let (Some(begin), Some(count)) = (field(line, 1), field(line, 2)) else { return false };
        begin < end && first < begin + count
    });
    let text = format!("{first} to {}", end - 1);
    let advice = "choose another range with uid_first under [isolation]";
    match (user, range) {
        (Some(user), _) => {
            let name = user.split(':').next().unwrap_or_default();
            Finding::new("uids", Verdict::Wrong, format!("{text}, and {name} in /etc/passwd is one of them; {advice}"))
        }
        (None, Some(range)) => {
            let text = format!("{text}, and containers of {range} in /etc/subuid share some of them; {advice}");
            Finding::new("uids", Verdict::Weaker, text)
        }
        (None, None) => Finding::new("uids", Verdict::Good, text),
    }
}

/// Runs a program the way games are run.
fn trial(ladder: &Ladder, home: &Path) -> Finding {
    let begun = Instant::now();
    match try_shim(ladder, home) {
        Ok(()) => {
            let text = format!("held a program from its start to its end in {} ms", begun.elapsed().as_millis());
            Finding::new("shim", Verdict::Good, text)
        }
        Err(why) => Finding::new("shim", Verdict::Wrong, why),
    }
}

fn try_shim(ladder: &Ladder, home: &Path) -> Result<(), String> {
    let name = format!("doctor-{}", std::process::id());
    // In the node's own folder, so that it is tried where it will run; who may not write there tries it elsewhere.
    let places = [home.join(&name), std::env::temp_dir().join(format!("quarterdeck-{name}"))];
    let made = places.iter().find(|path| fs::DirBuilder::new().mode(0o700).create(path).is_ok());
    let Some(dir) = made else {
        return Err(format!("neither {} nor the folder for temporary files can be written", home.display()));
    };
    let tried = hold(ladder, dir);
    // What cannot be deleted was said above to be in a place that can be written.
    let _ = fs::remove_dir_all(dir);
    tried
}

fn hold(ladder: &Ladder, dir: &Path) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let shim = program::unpack(&dir.join("bin")).map_err(text)?;
    let files = files_folder(dir).map_err(text)?;
    let Cage { landlock, seccomp, capabilities, .. } = ladder.trial(dir, &files).map_err(text)?;
    let log = dir.join("log");
    let argv = vec![b"/bin/sh".to_vec(), b"-c".to_vec(), b"exit 7".to_vec()];
    let spec = LaunchSpec {
        console: Console::Pty { rows: 24, columns: 80 },
        landlock,
        seccomp,
        capabilities,
        ..LaunchSpec::new([7; 16], &log, dir, argv, &files)
    };
    match process::start(&shim, "doctor", &spec, TRIAL_TIMEOUT) {
        Ok(Started::Running(_)) => {}
        Ok(Started::Unclear(error)) | Err(error) => return Err(error.to_string()),
    }
    let given_up_at = Instant::now() + TRIAL_TIMEOUT;
    while spool::writer::is_locked(&log).map_err(text)? {
        if Instant::now() >= given_up_at {
            return Err("its program does not end".to_owned());
        }
        std::thread::sleep(TRIAL_PAUSE);
    }
    // As `waitpid` gives it.
    match spool::exit::read(&log).map_err(text)?.map(|record| record.exit.status) {
        Some(status) if status == 7 << 8 => Ok(()),
        status => Err(format!("its program ended with {status:?} instead of 7")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn config(dir: &Path) -> Config {
        Config::new(dir.to_owned(), uuid::Uuid::nil(), "", "", "http://127.0.0.1:1")
    }

    #[test]
    fn a_machine_that_runs_these_tests_holds_a_program_and_nothing_stays_behind() {
        let temp = tempfile::tempdir().unwrap();
        let found = examine(&config(&temp.path().join("data/node")), &[]);
        let shim = found.iter().find(|finding| finding.what == "shim").unwrap();
        assert_eq!(shim.verdict, Verdict::Good, "{}", shim.text);
        for rung in Rung::ALL {
            assert!(found.iter().any(|finding| finding.what == rung.name()), "{}", rung.name());
        }
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_wrong() {
        // Also root makes no folder there.
        let found = examine(&config(Path::new("/proc/quarterdeck/node")), &[]);
        let data = found.iter().find(|finding| finding.what == "data").unwrap();
        assert!(data.verdict == Verdict::Wrong && data.text.contains("/proc"), "{}", data.text);
    }

    #[test]
    fn a_readable_folder_around_the_node_is_wrong() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("node");
        for path in [Path::new("/"), temp.path(), &folder] {
            let found = readable(&[path.to_owned()], &folder);
            assert!(found.len() == 1 && found[0].verdict == Verdict::Wrong, "{}", path.display());
        }
        assert!(readable(&[PathBuf::from("/opt/java"), folder.join("bin")], &folder).is_empty());
    }

    #[test]
    fn an_open_secret_is_wrong() {
        let temp = tempfile::tempdir().unwrap();
        let secret = temp.path().join("panel.db");
        fs::write(&secret, "").unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
        let found = closed(&[secret.clone(), temp.path().join("not-there")]);
        assert_eq!(found.verdict, Verdict::Wrong);
        assert!(found.text.contains(&format!("chmod 600 {}", secret.display())), "{}", found.text);
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(closed(&[secret]).verdict, Verdict::Good);
    }

    #[test]
    fn a_range_that_people_have_is_wrong() {
        // Root is in everybody's list.
        let settings = IsolationSettings { uid_first: 0, uid_count: 10, ..IsolationSettings::default() };
        let found = uids(&settings);
        assert!(found.verdict == Verdict::Wrong && found.text.contains("root"), "{}", found.text);
    }
}
