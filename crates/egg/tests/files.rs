//! Values set in files of every kind, and that setting them again changes nothing.
#![allow(clippy::unwrap_used, missing_docs)]

use egg::files::{ApplyError, apply, resolve};
use proptest::prelude::*;
use serde_json::{Value, json};
use wire::remote::{ConfigFile, ConfigParser, Replacement};

const PARSERS: [ConfigParser; 6] = [
    ConfigParser::File,
    ConfigParser::Properties,
    ConfigParser::Ini,
    ConfigParser::Json,
    ConfigParser::Yaml,
    ConfigParser::Xml,
];

fn plain(key: &str, value: Value) -> Replacement {
    Replacement { key: key.to_owned(), if_value: None, replace_with: value }
}

fn only(key: &str, now: &str, value: Value) -> Replacement {
    Replacement { key: key.to_owned(), if_value: Some(now.to_owned()), replace_with: value }
}

fn set(parser: ConfigParser, text: &str, replacements: &[Replacement]) -> String {
    let lookup = |name: &str| (name == "config.docker.interface").then(|| "172.18.0.1".to_owned());
    let applied = apply(parser, Some(text), replacements, lookup).unwrap();
    let again = apply(parser, Some(&applied.text), replacements, lookup).unwrap();
    assert_eq!(again.text, applied.text, "once more changes nothing");
    applied.text
}

#[test]
fn plain_files_have_lines_replaced() {
    let text = "# port\r\nport 1\r\nport 2\r\nname x\r\n";
    let set = set(ConfigParser::File, text, &[plain("port ", json!("port 25565")), plain("max", json!("max=20\n"))]);
    assert_eq!(set, "# port\r\nport 25565\r\nport 25565\r\nname x\r\nmax=20 \r\n");
}

#[test]
fn properties_keep_all_that_is_not_set() {
    let text = "#Minecraft server properties\nmotd=A \\u00e9\nserver-port = 25565\nlevel:world\n! end";
    let replacements = [
        plain("server-port", json!(25570)),
        plain("motd", json!("Zürich 😀")),
        plain("level", json!("nether")),
        plain("white list", json!(true)),
        only("server-port", "25570", json!("25571")),
    ];
    let once = apply(ConfigParser::Properties, Some(text), &replacements, |_| None).unwrap().text;
    assert_eq!(
        once,
        "#Minecraft server properties\nmotd=Z\\u00fcrich \\ud83d\\ude00\nserver-port=25571\nlevel=nether\n! end\nwhite\\ list=true\n"
    );
    assert_eq!(set(ConfigParser::Properties, "a=1\nb = 2", &[plain("b", json!("2"))]), "a=1\nb = 2", "nothing to do");
}

#[test]
fn ini_sections_are_found_or_made() {
    let text = "top=1\n; comment\n[network]\nserver_name = old\n\n[other]\nserver_name=x\n";
    let replacements = [
        plain("network.server_name", json!("new")),
        plain("network.port", json!(3979)),
        plain("[a.b].c", json!("d")),
        plain("top", json!(2)),
        only("other.server_name", "y", json!("never")),
        only("nowhere.key", "y", json!("never")),
    ];
    assert_eq!(
        set(ConfigParser::Ini, text, &replacements),
        "top=2\n; comment\n[network]\nserver_name = new\nport=3979\n\n[other]\nserver_name=x\n[a.b]\nc=d\n"
    );
}

#[test]
fn json_keeps_its_order_and_kinds() {
    let text = r#"{"z":1,"a":{"b":"text","list":[{"port":1},{"port":2}]},"on":false}"#;
    let replacements = [
        plain("z", json!("7")),
        plain("a.b", json!("8")),
        plain("a.list[1].port", json!("25565")),
        plain("a.list.*.open", json!("true")),
        plain("on", json!("true")),
        plain("new.deep[1]", json!("x")),
    ];
    let set = set(ConfigParser::Json, text, &replacements);
    let expected = json!({
        "z": 7, "a": { "b": "8", "list": [{ "port": 1, "open": true }, { "port": 25565, "open": true }] }, "on": true,
        "new": { "deep": [null, "x"] },
    });
    assert_eq!(serde_json::from_str::<Value>(&set).unwrap(), expected);
    assert!(set.find("\"z\"") < set.find("\"a\""), "{set}");
}

#[test]
fn yaml_replaces_only_what_is_meant() {
    let text = "servers:\n  lobby:\n    address: 127.0.0.1:25577\n  far:\n    address: 10.0.0.1\nname: '7'\n";
    let replacements = [
        only(
            "servers.*.address",
            "regex:^(127\\.0\\.0\\.1|localhost)(:\\d{1,5})?$",
            json!("{{config.docker.interface}}"),
        ),
        plain("listeners[0].query_port", json!("25565")),
        plain("name", json!("8")),
    ];
    let set = set(ConfigParser::Yaml, text, &replacements);
    for part in ["172.18.0.1", "10.0.0.1", "query_port: 25565"] {
        assert!(set.contains(part), "{part}: {set}");
    }
    assert!(set.contains("'8'") || set.contains("\"8\""), "a text stays one: {set}");
    let commented = apply(ConfigParser::Yaml, Some("# why\na: 1\n"), &[plain("a", json!(2))], |_| None).unwrap();
    assert!(commented.notes[0].contains("comments"), "{:?}", commented.notes);
    let untouched = apply(ConfigParser::Yaml, Some("# why\na: 1\n"), &[plain("a", json!(1))], |_| None).unwrap();
    assert_eq!((untouched.text.as_str(), untouched.notes.len()), ("# why\na: 1\n", 0));
}

#[test]
fn xml_sets_texts_and_attributes() {
    let text = "<?xml version=\"1.0\"?>\n<root><net port=\"1\" open=\"yes\">x</net><name>old</name></root>";
    let replacements = [
        plain("root.net", json!("[port='25565']")),
        plain("root.name", json!("new & better")),
        plain("root.made.here", json!(5)),
        only("root.name", "other", json!("never")),
    ];
    let set = set(ConfigParser::Xml, text, &replacements);
    for part in ["port=\"25565\" open=\"yes\"", "new &amp; better", "<here>5</here>"] {
        assert!(set.contains(part), "{part}: {set}");
    }
}

#[test]
fn a_missing_file_is_made() {
    for (parser, key, part) in [
        (ConfigParser::File, "a", "v"),
        (ConfigParser::Properties, "a", "a=v"),
        (ConfigParser::Ini, "s.a", "[s]\na=v"),
        (ConfigParser::Json, "s.a", "\"a\": \"v\""),
        (ConfigParser::Yaml, "s.a", "a: v"),
        (ConfigParser::Xml, "root.a", "<a>v</a>"),
    ] {
        let made = apply(parser, None, &[plain(key, json!("v"))], |_| None).unwrap();
        assert!(made.text.contains(part), "{parser:?}: {}", made.text);
    }
}

#[test]
fn what_cannot_be_read_is_left_alone_with_a_reason() {
    for (parser, text) in
        [(ConfigParser::Json, "{\"a\":"), (ConfigParser::Yaml, "a: [1"), (ConfigParser::Xml, "<a><b></a>")]
    {
        let error = apply(parser, Some(text), &[plain("a", json!(1))], |_| None).unwrap_err();
        assert!(error.to_string().contains("mend it"), "{error}");
    }
    assert_eq!(apply(ConfigParser::Unknown, None, &[], |_| None), Err(ApplyError::Unknown));
    let long = "x".repeat(9 << 20);
    assert_eq!(apply(ConfigParser::File, Some(&long), &[], |_| None), Err(ApplyError::TooLong));
    let deep = format!("{}{}", "<a>".repeat(100_000), "</a>".repeat(100_000));
    assert!(apply(ConfigParser::Xml, Some(&deep), &[], |_| None).is_err());
    let entities = "<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>";
    assert!(apply(ConfigParser::Xml, Some(entities), &[], |_| None).is_err());
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(apply(ConfigParser::Json, Some(&deep), &[], |_| None).is_err());
    assert!(apply(ConfigParser::Yaml, Some(&deep), &[], |_| None).is_err());
}

#[test]
fn the_panel_fills_in_what_it_knows_and_leaves_the_rest() {
    let file = ConfigFile {
        file: "x".to_owned(),
        parser: ConfigParser::Json,
        replace: vec![plain(
            "a",
            json!({ "b": ["{{ server.build.default.port }}:{{config.docker.interface}} {{open"] }),
        )],
    };
    let resolved = resolve(&[file], |name| (name == "server.build.default.port").then(|| "25565".to_owned()));
    assert_eq!(resolved[0].replace[0].replace_with, json!({ "b": ["25565:{{config.docker.interface}} {{open"] }));
}

fn replacement() -> impl Strategy<Value = Replacement> {
    let value = prop_oneof![
        "\\PC{0,12}".prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
    ];
    ("[a-c*]{1,2}(\\.[a-c]{1,2}|\\[[0-3]\\]){0,3}", value).prop_map(|(key, value)| plain(&key, value))
}

proptest! {
    #[test]
    fn nobody_panics_and_twice_is_once(
        parser in 0..PARSERS.len(),
        text in prop_oneof!["\\PC{0,80}", "([a-c=:{}\\[\\]\", \n#.1]){0,80}", "(<a>|</a>|<b x='1'/>|x|\n){0,20}"],
        replacement in replacement(),
    ) {
        let list = [replacement];
        if let Ok(applied) = apply(PARSERS[parser], Some(&text), &list, |_| None) {
            let again = apply(PARSERS[parser], Some(&applied.text), &list, |_| None);
            prop_assert_eq!(again.map(|again| again.text), Ok(applied.text), "{:?}", PARSERS[parser]);
        }
    }
}
