//! From a server's definition to what the shim is to run: the command line, the environment, the files.
//!
//! `{{NAME}}` stands for a value of the environment. A plain command line is split into words first and expanded word by word,
//! so no value can add a word. A line that needs a shell gets one, and for it, as for what a named shell is given behind `-c`, `${NAME}`
//! is put in its place, so no value becomes the shell's code. Other programs that take code as an argument are not known here.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use egg::files::{FILE_BYTES_MAX, apply};
use engine::power::Settings;
use engine::startup::Matcher;
use spool::spec::User;
use wire::remote::Definition;

use crate::config::Config;
use crate::runtime::isolation::{create, rewrite};

/// Where programs are looked for; games of Debian packages live in `/usr/games`.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/games:/usr/games";
/// Characters that only a shell understands.
const SHELL_CHARACTERS: &[char] = &[';', '&', '|', '<', '>', '(', ')', '$', '`', '\n'];
/// The program that runs a line which needs a shell.
const SHELL: &str = "/bin/sh";

/// Why a definition cannot be run; the text goes to the console and to whoever asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DefinitionError {
    #[error("the server has no start command; set one")]
    NoCommand,
    #[error("the start command has an unmatched quote: {0}")]
    Quotes(String),
    #[error("the start command uses {{{{{0}}}}}, which has no value; set it in the server's environment")]
    UnknownValue(String),
    #[error("the program `{0}` is not installed on this node; install it or correct the start command")]
    NoProgram(String),
    #[error("`{0}` may not be run: it is not an executable file; correct the start command or the file's mode")]
    NotExecutable(String),
    #[error("the file `{path}` of the definition cannot be written: {error}")]
    File { path: String, error: std::io::Error },
}

/// A command line ready to run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Command {
    /// The program's path and its arguments.
    pub(crate) argv: Vec<String>,
    /// The whole environment.
    pub(crate) env: BTreeMap<String, String>,
}

/// Where a game finds what its definition speaks of.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    /// Its files, as it sees them.
    pub(crate) files: &'a Path,
    /// Our own program, for definitions that run a part of us.
    pub(crate) program: &'a Path,
    /// The address to listen on, where it is not that of the definition.
    pub(crate) bind: Option<&'a str>,
}

/// Builds the environment and the command line of a game of this machine.
pub(crate) fn command(definition: &Definition, around: &Surroundings<'_>) -> Result<Command, DefinitionError> {
    let env = environment(definition, around);
    let argv = arguments(definition, &env)?;
    let Some((given, arguments)) = argv.split_first() else { return Err(DefinitionError::NoCommand) };
    let path = find(given, around.files, env.get("PATH").map_or(PATH, String::as_str))?;
    let argv = std::iter::once(path.to_string_lossy().into_owned()).chain(arguments.iter().cloned()).collect();
    Ok(Command { argv, env })
}

/// The command line in words, the program as it is named.
pub(crate) fn arguments(
    definition: &Definition,
    env: &BTreeMap<String, String>,
) -> Result<Vec<String>, DefinitionError> {
    let line = definition.settings.invocation.trim();
    if line.is_empty() {
        return Err(DefinitionError::NoCommand);
    }
    if line.contains(SHELL_CHARACTERS) {
        let script = expand(line, |name| env.contains_key(name).then(|| format!("${{{name}}}")))?;
        Ok(vec![SHELL.to_owned(), "-c".to_owned(), script])
    } else {
        let words = shell_words::split(line).map_err(|error| DefinitionError::Quotes(error.to_string()))?;
        let in_shell = words.first().is_some_and(|program| is_shell(program));
        let mut argv = Vec::new();
        let mut is_code = false;
        for word in &words {
            let word = expand(word, |name| match env.get(name) {
                Some(_) if is_code => Some(format!("${{{name}}}")),
                value => value.cloned(),
            })?;
            // Behind `-c`, also as `-lc`, stands what the shell reads as code; all else are plain arguments.
            is_code = in_shell && word.starts_with('-') && !word.starts_with("--") && word.contains('c');
            argv.push(word);
        }
        if argv.is_empty() { Err(DefinitionError::NoCommand) } else { Ok(argv) }
    }
}

/// Whether a program is a shell, which would read the values in its arguments as code.
fn is_shell(program: &str) -> bool {
    let name = program.rsplit('/').next().unwrap_or(program);
    matches!(name, "sh" | "bash" | "dash" | "ash" | "zsh" | "ksh")
}

/// The whole environment of a game.
pub(crate) fn environment(definition: &Definition, around: &Surroundings<'_>) -> BTreeMap<String, String> {
    let settings = &definition.settings;
    let Surroundings { files, program, bind } = around;
    let address = &settings.allocations.default;
    let mut env: BTreeMap<String, String> = [
        ("PATH", PATH.to_owned()),
        ("HOME", files.display().to_string()),
        ("DIR", files.display().to_string()),
        ("LANG", "C.UTF-8".to_owned()),
        ("TERM", "xterm-256color".to_owned()),
        ("TZ", std::env::var("TZ").unwrap_or_else(|_| "UTC".to_owned())),
        ("QUARTERDECK", program.display().to_string()),
        ("STARTUP", settings.invocation.clone()),
        ("SERVER_MEMORY", settings.build.memory_limit.to_string()),
        ("SERVER_IP", address.ip.clone()),
        ("SERVER_PORT", address.port.to_string()),
        ("P_SERVER_UUID", settings.uuid.to_string()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    let own = env.clone();
    for (name, value) in &settings.environment {
        // A value may refer to ours, one level deep; what it names beyond that stays as it is written.
        let value = expand_known(value, &own);
        env.insert(name.clone(), value);
    }
    if let Some(bind) = bind {
        env.insert("BIND".to_owned(), (*bind).to_owned());
    }
    // An environment cannot hold these; a name or value with them would be cut or refused by the kernel's interface.
    env.retain(|name, value| !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0'));
    env
}

/// Writes the definition's files that do not exist yet. Paths stay inside `dir`; what is made belongs to `owner`, if there is one.
pub(crate) fn write_files(
    definition: &Definition,
    dir: &Path,
    around: &Surroundings<'_>,
    owner: Option<User>,
) -> Result<(), DefinitionError> {
    let env = environment(definition, around);
    for (name, text) in &definition.process_configuration.files {
        create(dir, Path::new(name), expand_known(text, &env).as_bytes(), owner)
            .map_err(|error| DefinitionError::File { path: name.clone(), error })?;
    }
    Ok(())
}

/// What the engine needs to know of a definition.
pub(crate) fn power_settings(config: &Config, definition: &Definition) -> (Settings, Matcher) {
    let process = &definition.process_configuration;
    let (matcher, unusable) = Matcher::usable(&process.startup.done);
    for error in unusable {
        tracing::warn!(server = %definition.settings.uuid, %error, "a start-up pattern is left out");
    }
    let exits: Vec<Result<_, _>> = process.success_exit.iter().map(|word| word.parse()).collect();
    for error in exits.iter().filter_map(|exit| exit.as_ref().err()) {
        tracing::warn!(server = %definition.settings.uuid, %error, "a way to end well is left out");
    }
    let mut settings = Settings {
        stop_grace_ms: match process.stop.grace_ms {
            0 => u64::try_from(config.stop_grace.as_millis()).unwrap_or(u64::MAX),
            grace_ms => grace_ms,
        },
        settle_ms: process.startup.settle_ms,
        has_patterns: !matcher.is_empty(),
        suspended: definition.settings.suspended,
        success_exit: exits.into_iter().flatten().collect(),
        ..Settings::default()
    };
    settings.crash.enabled = definition.settings.crash_detection_enabled.unwrap_or(true);
    (settings, matcher)
}

/// Sets what the definition wants set in the game's own configuration files. What cannot be set is told, and no reason not to start:
/// sentences for the console. `interface` is the address under which a game reaches this machine.
pub(crate) fn set_values(definition: &Definition, dir: &Path, interface: &str, owner: Option<User>) -> Vec<String> {
    let mut told = Vec::new();
    let lookup = |name: &str| match name {
        "config.docker.interface" | "config.docker.network.interface" => Some(interface.to_owned()),
        _ => None,
    };
    for config in &definition.process_configuration.configs {
        let mut notes = Vec::new();
        let set = rewrite(dir, Path::new(&config.file), FILE_BYTES_MAX as u64, owner, |now| {
            let applied = apply(config.parser, now, &config.replace, lookup).map_err(std::io::Error::other)?;
            notes = applied.notes;
            Ok(Some(applied.text))
        });
        if let Err(error) = set {
            notes.push(format!("it is left as it is: {error}"));
        }
        told.extend(notes.into_iter().map(|note| format!("The file {}: {note}.", config.file)));
    }
    told
}

/// Replaces every `{{NAME}}`; a name without a value is an error.
fn expand(text: &str, value: impl Fn(&str) -> Option<String>) -> Result<String, DefinitionError> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((name, tail)) = after.split_once("}}") else { break };
        let name = name.trim();
        expanded.push_str(before);
        expanded.push_str(&value(name).ok_or_else(|| DefinitionError::UnknownValue(name.to_owned()))?);
        rest = tail;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

fn expand_known(text: &str, env: &BTreeMap<String, String>) -> String {
    expand(text, |name| Some(env.get(name).cloned().unwrap_or_else(|| format!("{{{{{name}}}}}"))))
        .unwrap_or_else(|_| text.to_owned())
}

/// The program's path: as given when it has a slash (relative to the server's files), else the first in the search path.
fn find(given: &str, dir: &Path, search: &str) -> Result<PathBuf, DefinitionError> {
    let candidates: Vec<PathBuf> = if given.contains('/') {
        vec![dir.join(given)]
    } else {
        search.split(':').filter(|folder| !folder.is_empty()).map(|folder| Path::new(folder).join(given)).collect()
    };
    let mut found = false;
    for path in candidates {
        let Ok(meta) = path.metadata() else { continue };
        found = true;
        if meta.is_file() && meta.permissions().mode() & 0o111 != 0 {
            return Ok(path);
        }
    }
    Err(if found {
        DefinitionError::NotExecutable(given.to_owned())
    } else {
        DefinitionError::NoProgram(given.to_owned())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]
    use serde_json::json;

    use super::*;

    fn definition(invocation: &str, environment: serde_json::Value, files: serde_json::Value) -> Definition {
        serde_json::from_value(json!({
            "settings": {
                "uuid": "11111111-2222-3333-4444-555555555555",
                "invocation": invocation,
                "environment": environment,
                "allocations": { "default": { "ip": "127.0.0.1", "port": 4000 }, "mappings": [] },
            },
            "process_configuration": { "files": files },
        }))
        .unwrap()
    }

    fn around(files: &Path) -> Surroundings<'_> {
        Surroundings { files, program: Path::new("/opt/quarterdeck"), bind: None }
    }

    fn run(invocation: &str, environment: serde_json::Value) -> Result<Command, DefinitionError> {
        command(&definition(invocation, environment, json!({})), &around(Path::new("/tmp")))
    }

    #[test]
    fn a_value_never_adds_a_word() {
        let command = run("/bin/echo 'a b' {{NAME}} {{SERVER_PORT}}", json!({ "NAME": "x; y 'z" })).unwrap();
        assert_eq!(command.argv, ["/bin/echo", "a b", "x; y 'z", "4000"]);
    }

    #[test]
    fn a_value_never_becomes_shell_code() {
        let command = run("echo {{NAME}} | cat", json!({ "NAME": "$(id)" })).unwrap();
        assert_eq!(command.argv, ["/bin/sh", "-c", "echo ${NAME} | cat"]);
        assert_eq!(command.env["NAME"], "$(id)");
    }

    #[test]
    fn a_shell_named_directly_gets_no_code_from_a_value_either() {
        let command = run("/bin/sh -c 'echo {{NAME}}'", json!({ "NAME": "$(id)" })).unwrap();
        assert_eq!(command.argv, ["/bin/sh", "-c", "echo ${NAME}"]);
        let command = run("/bin/sh -ec 'echo {{NAME}}' {{NAME}}", json!({ "NAME": "$(id)" })).unwrap();
        assert_eq!(command.argv, ["/bin/sh", "-ec", "echo ${NAME}", "$(id)"]);
    }

    #[test]
    fn a_script_of_a_named_shell_gets_values_as_they_are() {
        let command = run("/bin/sh {{DIR}}/start.sh {{SERVER_PORT}} {{NAME}}", json!({ "NAME": "a b" })).unwrap();
        assert_eq!(command.argv, ["/bin/sh", "/tmp/start.sh", "4000", "a b"]);
    }

    #[test]
    fn files_do_not_follow_a_link_out_of_the_folder() {
        let root = std::env::temp_dir().join(format!("quarterdeck-links-{}", std::process::id()));
        let (dir, outside) = (root.join("files"), root.join("outside"));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::create_dir_all(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, dir.join("conf")).unwrap();
        let inside = definition("x", json!([]), json!({ "conf/a.cfg": "x" }));
        let refused = write_files(&inside, &dir, &around(&dir), None).unwrap_err().to_string();
        let written = outside.join("a.cfg").exists();
        std::fs::remove_dir_all(&root).unwrap();
        assert!(refused.contains("leads out of"), "{refused}");
        assert!(!written);
    }

    #[test]
    fn a_program_is_searched_and_home_is_the_servers_folder() {
        let command = run("sh -c true", json!({ "CONFIG": "{{DIR}}/x {{OTHER}}", "BAD=NAME": "1" })).unwrap();
        assert!(command.argv[0].starts_with('/') && command.argv[0].ends_with("/sh"));
        assert_eq!(command.env["HOME"], "/tmp");
        assert_eq!(command.env["CONFIG"], "/tmp/x {{OTHER}}");
        assert!(!command.env.contains_key("BAD=NAME"));
    }

    #[test]
    fn what_cannot_run_says_why() {
        let text = |invocation: &str| run(invocation, json!([])).unwrap_err().to_string();
        assert_eq!(text("  "), "the server has no start command; set one");
        assert!(text("no-such-program-here --x").contains("`no-such-program-here` is not installed"));
        assert!(text("/etc/passwd").contains("not an executable file"));
        assert!(text("/bin/echo {{NOPE}}").contains("{{NOPE}}, which has no value"));
        assert!(text("/bin/echo 'open").contains("unmatched quote"));
    }

    #[test]
    fn values_are_set_before_each_start_and_what_cannot_be_is_told() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("broken.json"), "{").unwrap();
        let mut wanted = definition("x", json!([]), json!({}));
        let set = |file: &str, parser: &str, key: &str, value: &str| {
            json!({
                "file": file, "parser": parser, "replace": [{ "match": key, "replace_with": value }],
            })
        };
        let configs = json!([
            set("conf/server.properties", "properties", "server-port", "25565"),
            set("proxy.yml", "yml", "host", "{{config.docker.interface}}:1"),
            set("broken.json", "json", "a", "b"),
            set("../out.json", "json", "a", "b"),
            set("odd", "toml", "a", "b"),
        ]);
        wanted.process_configuration.configs = serde_json::from_value(configs).unwrap();
        let told = set_values(&wanted, dir.path(), "10.213.0.1", None);
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(read("conf/server.properties"), "server-port=25565\n");
        assert!(read("proxy.yml").contains("10.213.0.1:1"));
        assert_eq!(read("broken.json"), "{");
        assert_eq!(told.len(), 3, "{told:?}");
        for (text, part) in told.iter().zip(["no JSON", "leaves the server's folder", "not known here"]) {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn files_are_written_once_and_only_inside() {
        let dir = std::env::temp_dir().join(format!("quarterdeck-files-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let good = definition("x", json!([]), json!({ "conf/a.cfg": "port = {{SERVER_PORT}}\n" }));
        write_files(&good, &dir, &around(&dir), None).unwrap();
        std::fs::write(dir.join("conf/a.cfg"), "mine").unwrap();
        write_files(&good, &dir, &around(&dir), None).unwrap();
        let kept = std::fs::read_to_string(dir.join("conf/a.cfg")).unwrap();
        let outside = write_files(&definition("x", json!([]), json!({ "../evil": "" })), &dir, &around(&dir), None);
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(kept, "mine");
        assert!(outside.unwrap_err().to_string().contains("leaves the server's folder"));
    }
}
