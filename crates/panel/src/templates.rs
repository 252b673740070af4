//! Definitions of games, as data: which program, when it is ready, how it stops. One TOML file each in `templates/`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use wire::remote::{ConsoleMode, ProcessConfiguration, Startup, Stop};

use crate::app::provision::stop_from;

/// A definition of a game.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Template {
    /// What people type.
    pub(crate) name: String,
    /// What people read.
    pub(crate) title: String,
    /// One sentence.
    pub(crate) description: String,
    /// Debian packages it needs.
    #[serde(default)]
    pub(crate) apt: Vec<String>,
    /// Command line, split into words as a shell would; `{{PORT}}`, `{{BIND}}`, `{{DIR}}`, `{{NAME}}` and `{{QUARTERDECK}}` are
    /// filled in by the node.
    pub(crate) command: String,
    /// Environment; may use the same names.
    #[serde(default)]
    pub(crate) env: BTreeMap<String, String>,
    /// Terminal or pipes.
    #[serde(default)]
    pub(crate) console: ConsoleMode,
    /// Texts of a line that mean ready.
    #[serde(default)]
    pub(crate) ready: Vec<String>,
    /// Text for stdin, or `^SIGNAME`.
    #[serde(default)]
    pub(crate) stop: String,
    /// Milliseconds until it is killed.
    #[serde(default)]
    pub(crate) grace_ms: u64,
    /// Milliseconds after which it counts as running without a ready line.
    #[serde(default)]
    pub(crate) settle_ms: u64,
    /// Exits that are no crash.
    #[serde(default)]
    pub(crate) success_exit: Vec<String>,
    /// Commands it understands, for completion; a space at the end says that more has to follow.
    #[serde(default)]
    pub(crate) commands: Vec<String>,
    /// MiB it may use.
    #[serde(default)]
    pub(crate) memory_mib: u64,
    /// Files written before the first start.
    #[serde(default)]
    pub(crate) files: BTreeMap<String, String>,
}

impl Template {
    /// When it is ready and how it stops.
    pub(crate) fn process(&self) -> ProcessConfiguration {
        let (kind, value) = stop_from(&self.stop);
        ProcessConfiguration {
            startup: Startup { done: self.ready.clone(), strip_ansi: true, settle_ms: self.settle_ms },
            stop: Stop { kind, value, grace_ms: self.grace_ms },
            console: self.console,
            success_exit: self.success_exit.clone(),
            files: self.files.clone(),
            configs: Vec::new(),
        }
    }

    /// How to get the program, when it is not there.
    pub(crate) fn install_hint(&self) -> Option<String> {
        (!self.apt.is_empty())
            .then(|| format!("If the program is missing on the node: apt-get install {}", self.apt.join(" ")))
    }
}

const SOURCES: &[&str] = &[
    include_str!("../templates/demo.toml"),
    include_str!("../templates/openttd.toml"),
    include_str!("../templates/freeciv.toml"),
    include_str!("../templates/bzflag.toml"),
    include_str!("../templates/minetest.toml"),
    include_str!("../templates/teeworlds.toml"),
    include_str!("../templates/ddnet.toml"),
    include_str!("../templates/mumble.toml"),
    include_str!("../templates/crossfire.toml"),
    include_str!("../templates/cube2.toml"),
];

static ALL: LazyLock<Vec<Template>> = LazyLock::new(|| {
    let read = |source: &&str| {
        // A test reads every one of them; in a build that passed it nothing is left out.
        toml::from_str(source).map_err(|error| tracing::error!(%error, "a template of this build cannot be read")).ok()
    };
    SOURCES.iter().filter_map(read).collect()
});

/// All of them, in a fixed order.
pub(crate) fn all() -> &'static [Template] {
    &ALL
}

/// By what people type.
pub(crate) fn find(name: &str) -> Option<&'static Template> {
    ALL.iter().find(|template| template.name == name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use wire::remote::StopKind;

    use super::*;

    #[test]
    fn every_template_reads_and_is_complete() {
        for source in SOURCES {
            let template: Template = toml::from_str(source).unwrap();
            assert!(!template.command.is_empty() && !template.title.is_empty(), "{}", template.name);
            assert!(!template.ready.is_empty() && template.grace_ms > 0, "{}", template.name);
            assert!(engine::startup::Matcher::new(&template.ready).is_ok(), "{}", template.name);
            for exit in &template.process().success_exit {
                assert!(exit.parse::<engine::power::ExitKind>().is_ok(), "{}: {exit}", template.name);
            }
            assert_ne!(template.process().stop.kind, StopKind::Stop, "{}", template.name);
            assert_eq!(template.install_hint().is_none(), template.name == "demo", "{}", template.name);
        }
        let names: BTreeSet<&str> = all().iter().map(|template| template.name.as_str()).collect();
        assert_eq!(names.len(), SOURCES.len());
    }

    #[test]
    fn only_names_that_a_node_fills_in_are_used() {
        const KNOWN: [&str; 5] = ["PORT", "BIND", "DIR", "NAME", "QUARTERDECK"];
        for template in all() {
            let texts = template.env.values().chain(template.files.values()).chain([&template.command]);
            for text in texts {
                for part in text.split("{{").skip(1) {
                    let name = part.split("}}").next().unwrap();
                    assert!(KNOWN.contains(&name), "{}: {name}", template.name);
                }
            }
        }
    }
}
