//! Eggs of every version, of games that do not exist: what is read from them, and that writing and reading again changes nothing.
#![allow(clippy::unwrap_used, missing_docs)]

use egg::{Egg, Host, Image, ReadError, Verdict, stop};
use proptest::prelude::*;
use serde_json::json;
use wire::remote::{ConfigParser, StopKind};

const PTDL_V1: &str = include_str!("corpus/ptdl_v1.json");
const PTDL_V2: &str = include_str!("corpus/ptdl_v2.json");
const PLCN_V1: &str = include_str!("corpus/plcn_v1.json");
const PLCN_V3: &str = include_str!("corpus/plcn_v3.yaml");
const ALL: [&str; 4] = [PTDL_V1, PTDL_V2, PLCN_V1, PLCN_V3];

fn read(text: &str) -> (Egg, Vec<String>) {
    let (egg, notes) = Egg::read(text).unwrap();
    (egg, notes.into_iter().map(|note| note.0).collect())
}

fn image(label: &str, image: &str) -> Image {
    Image { label: label.to_owned(), image: image.to_owned() }
}

#[test]
fn the_first_version_is_read() {
    let (egg, notes) = read(PTDL_V1);
    assert_eq!(notes, [""; 0]);
    assert_eq!((egg.name.as_str(), egg.author.as_str()), ("Sheep Herder", "shepherd@example.org"));
    assert_eq!(egg.images[0], image("example/images:java_8", "example/images:java_8"));
    assert_eq!(egg.startup, [("Default".to_owned(), "java -jar {{JAR}}".to_owned())]);
    assert_eq!(egg.config.startup.done, ["Herding begins"]);
    assert_eq!(stop(&egg.config.stop).kind, StopKind::Command);
    let file = &egg.config.files[0];
    assert_eq!((file.file.as_str(), file.parser), ("herd.properties", ConfigParser::Properties));
    let values: Vec<_> =
        file.replace.iter().map(|replace| (replace.key.as_str(), replace.replace_with.clone())).collect();
    assert_eq!(values, [("port", json!("{{server.build.default.port}}")), ("flock", json!(12)), ("wool", json!(true))]);
    assert_eq!(egg.install.script, "#!/bin/ash\ncd /mnt/server\n");
    let jar = &egg.variables[0];
    assert!(jar.user_viewable && !jar.user_editable);
    assert_eq!(jar.rules, ["required", "string", "max:20"]);
}

#[test]
fn the_second_version_is_read_whole() {
    let (egg, notes) = read(PTDL_V2);
    assert_eq!(notes, [""; 0]);
    assert_eq!(egg.update_url.as_deref(), Some("https://example.org/kites.json"));
    assert_eq!(egg.features, ["eula", "pid_limit"]);
    assert_eq!(egg.images, [image("Java 21", "example/yolks:java_21"), image("Java 17", "example/yolks:java_17")]);
    assert_eq!(egg.file_denylist, ["*.key", "secret/"]);
    assert_eq!(egg.config.startup.done, ["Wind is up", r"regex:^Kite \d+ flies"]);
    assert!(egg.config.startup.strip_ansi);
    assert_eq!((stop(&egg.config.stop).kind, stop(&egg.config.stop).value.as_str()), (StopKind::Signal, "C"));
    let files: Vec<_> = egg.config.files.iter().map(|file| (file.file.as_str(), file.parser)).collect();
    assert_eq!(
        files,
        [
            ("config.yml", ConfigParser::Yaml),
            ("kites.ini", ConfigParser::Ini),
            ("list.txt", ConfigParser::File),
            ("data.json", ConfigParser::Json),
            ("data.xml", ConfigParser::Xml),
        ]
    );
    let only: Vec<_> = egg.config.files[0].replace.iter().map(|replace| replace.if_value.as_deref()).collect();
    assert_eq!(only, [None, Some("127.0.0.1"), Some("regex:^localhost$")]);
    assert_eq!(egg.variables[1].rules, ["nullable", "regex:/^(red|blue)$/i", "max:4"]);
}

#[test]
fn pelicans_first_version_speaks_pterodactyls_language_when_it_is_read() {
    let (egg, notes) = read(PLCN_V1);
    assert_eq!(egg.uuid.unwrap().to_string(), "6b0a5ec0-1111-4222-8333-444455556666");
    assert_eq!(egg.tags, ["physics", "small"]);
    assert_eq!((egg.description.as_str(), egg.install.script.as_str()), ("", ""));
    let values: Vec<_> = egg.config.files[0].replace.iter().map(|replace| replace.replace_with.clone()).collect();
    assert_eq!(values, [json!("port {{server.build.default.port}}"), json!("name {{server.build.env.TITLE}}")]);
    let names: Vec<_> = egg.variables.iter().map(|variable| variable.env_variable.as_str()).collect();
    assert_eq!(names, ["TITLE", "SERVER_HOME"]);
    assert_eq!(egg.variables[1].rules, ["required", "regex:/^a|b$/"]);
    assert!(notes.len() == 2 && notes[0].contains("TITLE") && notes[1].contains("SERVER_HOME"), "{notes:?}");
}

#[test]
fn pelicans_third_version_is_read_from_yaml() {
    let (egg, notes) = read(PLCN_V3);
    assert_eq!(notes, [""; 0]);
    assert_eq!(egg.images[0].label, "Node 20", "the first one is the default");
    assert_eq!(egg.startup[1], ("With debugging".to_owned(), "node --inspect lanterns.js".to_owned()));
    assert_eq!((egg.features.len(), egg.file_denylist.len()), (0, 0));
    assert!(egg.icon.unwrap().starts_with("data:image/svg+xml"));
    let values: Vec<_> = egg.config.files[0].replace.iter().map(|replace| replace.replace_with.clone()).collect();
    assert_eq!(values, [json!("{{server.build.default.port}}"), json!("{{server.build.memory}}"), json!(true)]);
    let defaults: Vec<_> = egg.variables.iter().map(|variable| variable.default_value.as_str()).collect();
    assert_eq!(defaults, ["true", "12"]);
    assert_eq!(egg.install.script, "#!/bin/bash\necho lanterns\n");
}

#[test]
fn what_is_written_reads_the_same() {
    for text in ALL {
        let (egg, _) = read(text);
        let written = egg.to_ptdl_v2("2026-12-01T00:00:00+00:00");
        let (again, _) = read(&written);
        // The format has no place for these.
        let expected = Egg {
            uuid: None,
            tags: Vec::new(),
            icon: None,
            exported_at: Some("2026-12-01T00:00:00+00:00".to_owned()),
            startup: vec![("Default".to_owned(), egg.startup[0].1.clone())],
            ..egg
        };
        assert_eq!(again, expected);
        assert_eq!(again.to_ptdl_v2("2026-12-01T00:00:00+00:00"), written);
    }
}

#[test]
fn what_is_no_egg_says_what_to_do() {
    let refused = |text: &str| Egg::read(text).unwrap_err().to_string();
    assert!(refused("{}").contains("`meta.version`"));
    assert!(refused("- a\n- b").contains("a list"));
    assert!(refused("{ \"meta\": ").contains("neither JSON nor YAML"));
    assert!(refused(r#"{"meta":{"version":"ABC"},"name":"x","startup":"y"}"#).contains("`ABC`"));
    assert!(refused(r#"{"meta":{"version":"PTDL_v2"},"startup":"y"}"#).contains("no name"));
    assert!(refused(r#"{"meta":{"version":"PTDL_v2"},"name":"x"}"#).contains("no start command"));
    let variables =
        |list: &str| format!(r#"{{"meta":{{"version":"PTDL_v2"}},"name":"x","startup":"y","variables":{list}}}"#);
    assert!(refused(&variables(r#"[{"env_variable":"A"},{"env_variable":"a"}]"#)).contains("two of its variables"));
    assert!(refused(&variables(r#"[{"env_variable":"A B"}]"#)).contains("no environment can have"));
    assert!(refused(&variables("7")).contains("no list"));
    let config = r#"{"meta":{"version":"PTDL_v2"},"name":"x","startup":"y","config":{"files":"{no json"}}"#;
    assert!(refused(config).contains("`config.files`"));
    assert!(matches!(Egg::read(&" ".repeat(5 << 20)), Err(ReadError::TooLong(_))));
}

#[test]
fn a_newer_version_is_read_and_noted() {
    let (egg, notes) = read(r#"{"meta":{"version":"PLCN_v9"},"name":"x","startup":"y"}"#);
    assert_eq!(egg.name, "x");
    assert!(notes.iter().any(|note| note.contains("PLCN_v9")), "{notes:?}");
    assert!(notes.iter().any(|note| note.contains("when it is ready")), "{notes:?}");
}

#[test]
fn depth_and_repetition_do_no_harm() {
    let deep = format!("{}{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    assert!(matches!(Egg::read(&deep), Err(ReadError::Syntax(_))));
    let deep = format!("a: {}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(Egg::read(&deep).is_err());
    let bomb: Vec<String> = (1..40).map(|n| format!("a{n}: &a{n} [*a{0}, *a{0}]", n - 1)).collect();
    assert!(Egg::read(&format!("a0: &a0 [x, x]\n{}", bomb.join("\n"))).is_err());
}

#[test]
fn where_they_run() {
    let host = Host { has_engine: false, programs: vec!["java:17".to_owned()] };
    let verdict = |text: &str| read(text).0.verdict(&host);
    assert_eq!(verdict(PTDL_V1), Verdict::Needs(vec!["Java 8".to_owned()]));
    assert_eq!(verdict(PTDL_V2), Verdict::RunsHere);
    assert!(matches!(verdict(PLCN_V1), Verdict::NeedsDocker(_)));
}

proptest! {
    #[test]
    fn whatever_the_file_nobody_panics(text in "\\PC*") {
        let _ = Egg::read(&text);
    }

    #[test]
    fn a_damaged_egg_is_read_or_refused(which in 0..4usize, at in 0..4000usize, with in "\\PC{0,8}", cut in 0..40usize) {
        let text: Vec<char> = ALL[which].chars().collect();
        let at = at.min(text.len());
        let end = (at + cut).min(text.len());
        let damaged: String = text[..at].iter().copied().chain(with.chars()).chain(text[end..].iter().copied()).collect();
        if let Ok((egg, _)) = Egg::read(&damaged) {
            let written = egg.to_ptdl_v2("x");
            let (again, _) = Egg::read(&written).unwrap();
            prop_assert_eq!(again.to_ptdl_v2("x"), written);
        }
    }
}
