//! Values set in files of every kind, and that setting them again changes nothing.
#![allow(clippy::unwrap_used, missing_docs)]

use egg::files::{Applied, ApplyError, FILE_BYTES_MAX, apply, from_find, resolve};
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
        "#Minecraft server properties\nmotd=Z\\u00fcrich \\ud83d\\ude00\nserver-port = 25571\nlevel:nether\n! end\nwhite\\ list=true\n"
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

/// Sets values once, whatever comes of it.
fn once(parser: ConfigParser, text: &str, replacements: &[Replacement]) -> Result<Applied, ApplyError> {
    apply(parser, Some(text), replacements, |_| None)
}

#[test]
fn a_find_map_becomes_replacements() {
    let find = json!({ "port": "{{server.build.default.port}}", "on": true, "n": 5, "servers.*.address": { "127.0.0.1": "a", "regex:^l": "b" } });
    let file = from_find("x.yml", ConfigParser::Yaml, &find);
    assert_eq!((file.file.as_str(), file.parser), ("x.yml", ConfigParser::Yaml));
    let expected = [
        plain("n", json!(5)),
        plain("on", json!(true)),
        plain("port", json!("{{server.build.default.port}}")),
        only("servers.*.address", "127.0.0.1", json!("a")),
        only("servers.*.address", "regex:^l", json!("b")),
    ];
    assert_eq!(file.replace, expected);
    for nothing in [json!(null), json!([]), json!("x")] {
        assert_eq!(from_find("x", ConfigParser::File, &nothing).replace, []);
    }
}

#[test]
fn lines_are_replaced_by_what_they_are_for() {
    let port = [plain("port", json!("port=1")), plain("port_query", json!("port_query=2"))];
    assert_eq!(set(ConfigParser::File, "port=0\nport_query=0", &port), "port=1\nport_query=2");
    let reverse: Vec<Replacement> = port.into_iter().rev().collect();
    assert_eq!(set(ConfigParser::File, "port=0\nport_query=0\n", &reverse), "port=1\nport_query=2\n");
    // What is set begins like another key.
    let crossed = [plain("a", json!("b1")), plain("b", json!("c"))];
    assert_eq!(set(ConfigParser::File, "a\nb\n", &crossed), "b1\nc\n");
    assert_eq!(set(ConfigParser::File, "x", &crossed), "x\nb1\n");
    assert_eq!(set(ConfigParser::File, "x=1\nx=2\n", &[only("x", "x=2", json!("x=3"))]), "x=1\nx=3\n");
    assert_eq!(set(ConfigParser::File, "\u{feff}x=1\n", &[plain("x", json!("x=2"))]), "\u{feff}x=2\n");
}

#[test]
fn properties_are_read_as_java_reads_them() {
    for (text, replacement, expected) in [
        ("a=1\\\n  b=2\nc=3\n", plain("a", json!("z")), "a=z\nc=3\n"),
        ("a=1\\\n  b=2\nc=3\n", plain("b", json!("z")), "a=1\\\n  b=2\nc=3\nb=z\n"),
        ("a=1\\", plain("b", json!("2")), "a=1\\\n\nb=2\n"),
        ("a=1\\\n", plain("b", json!("2")), "a=1\\\n\nb=2\n"),
        ("url=https\\://x\n", plain("url", json!("https://x")), "url=https\\://x\n"),
        ("url=https\\://x\n", only("url", "https://x", json!("y")), "url=y\n"),
        ("z\\u00fcrich = 1\n", plain("zürich", json!("2")), "z\\u00fcrich = 2\n"),
        ("a=1\na=2\n", plain("a", json!("3")), "a=1\na=3\n"),
        ("\\", plain("", json!("a")), "=a"),
        ("  key value\r\n", plain("key", json!("=x")), "  key==x\r\n"),
        ("key\n", plain("key", json!(" x")), "key=\\ x\n"),
        ("a=1\n", plain("a", json!("b\nc=d\\")), "a=b\\nc=d\\\\\n"),
        ("#a=1\n", only("a", "1", json!("2")), "#a=1\n"),
    ] {
        assert_eq!(set(ConfigParser::Properties, text, &[replacement]), expected, "{text:?}");
    }
}

#[test]
fn ini_keeps_its_looks() {
    for (text, replacement, expected) in [
        ("[s] ; x\r\n a : 1\r\n", plain("s.a", json!("2")), "[s] ; x\r\n a : 2\r\n"),
        ("[s]\na=1\n\n; t\n[t]\n", plain("s.b", json!("2")), "[s]\na=1\nb=2\n\n; t\n[t]\n"),
        ("; top\n[s]\n", plain("a", json!("2")), "a=2\n; top\n[s]\n"),
        ("[/Script/Engine.Game]\nMax=1", plain("[/Script/Engine.Game].Max", json!(9)), "[/Script/Engine.Game]\nMax=9"),
        ("[s]\na=1", plain("t.b", json!(2)), "[s]\na=1\n[t]\nb=2\n"),
        ("[s]\na=1\n[t]\n[s]\na=2\n", plain("s.a", json!(3)), "[s]\na=3\n[t]\n[s]\na=3\n"),
        ("[s]\na=\n", only("s.a", "", json!("x")), "[s]\na=x\n"),
        ("[s]\na=1\n", plain("s.a", json!("x\n[t]")), "[s]\na=x [t]\n"),
    ] {
        assert_eq!(set(ConfigParser::Ini, text, &[replacement]), expected, "{text:?}");
    }
    let odd = once(ConfigParser::Ini, "", &[plain("s.a=b", json!(1)), plain("s.;c", json!(1)), plain("s.", json!(1))]);
    assert_eq!(odd.unwrap().notes.len(), 3, "what could not be found again is not put there");
}

#[test]
fn json_kinds_and_looks_stay() {
    for (text, replacement, expected) in [
        ("{\n\t\"a\": 1.0\n}\n", plain("a", json!("1.5")), "{\n\t\"a\": 1.5\n}\n"),
        ("{\n    \"a\": null\n}\n", plain("a", json!("007")), "{\n    \"a\": \"007\"\n}\n"),
        ("{\"a\":  1}", plain("a", json!("1")), "{\"a\":  1}"),
        ("{\"a\":  1}", only("a", "2", json!("3")), "{\"a\":  1}"),
        ("{\"a\": {}}", only("a", "", json!("3")), "{\"a\": {}}"),
        (
            "\u{feff}{\"a\":1}",
            plain("a", json!({ "b": [1] })),
            "\u{feff}{\n  \"a\": {\n    \"b\": [\n      1\n    ]\n  }\n}\n",
        ),
    ] {
        assert_eq!(set(ConfigParser::Json, text, &[replacement]), expected, "{text:?}");
    }
    for key in ["a.b", "[0]", "a[0]", "list[1000]", "list.x"] {
        let applied = once(ConfigParser::Json, "{\"a\": \"x\", \"list\": []}", &[plain(key, json!(1))]).unwrap();
        assert_eq!((applied.notes.len(), applied.text.contains('1')), (1, false), "{key}");
    }
}

#[test]
fn yaml_means_the_same_afterwards() {
    let text = "x: 1\ny: 2\non: yes\nquoted: 'yes'\nn: n\nclock: \"1:30\"\nzip: '007'\nnothing: ~\nbase: &b {k: 1}\nd: {<<: *b, l: 2}\ntext: |\n  two\n  lines\n";
    let set = set(ConfigParser::Yaml, text, &[plain("z", json!("3")), plain("loud", json!("no"))]);
    let line = |wanted: &str| set.lines().any(|line| line.replace('"', "'") == wanted);
    for wanted in [
        "x: 1",
        "'y': 2",
        "'on': true",
        "quoted: 'yes'",
        "clock: '1:30'",
        "zip: '007'",
        "nothing: null",
        "z: 3",
        "loud: 'no'",
        "text: |",
        "  k: 1",
    ] {
        assert!(line(wanted), "{wanted}: {set}");
    }
    assert!(line("n: n") || line("'n': 'n'"), "{set}");
    let inline = once(ConfigParser::Yaml, "a: 1 # why\n", &[plain("a", json!(2))]).unwrap();
    assert_eq!(inline.notes.len(), 1);
    let none = once(ConfigParser::Yaml, "a: 'no # comment'\n", &[plain("a", json!("b"))]).unwrap();
    assert_eq!(none.notes, [""; 0]);
    for odd in ["a: .inf", "a: 1\na: 2", "a: 1\n---\nb: 2"] {
        assert!(once(ConfigParser::Yaml, odd, &[plain("b", json!(1))]).is_err(), "{odd}: nothing is lost in silence");
    }
}

#[test]
fn xml_stays_as_it_is_around_what_is_set() {
    for (text, replacement, expected) in [
        (
            "<!-- a --><?p i?>\r\n<c xmlns:x='u' x:l='1' l = '2'>\r\n  <a>1</a>mixed <b/>\r\n</c><!-- z -->",
            plain("c.a", json!("2")),
            "<!-- a --><?p i?>\r\n<c xmlns:x='u' x:l='1' l = '2'>\r\n  <a>2</a>mixed <b/>\r\n</c><!-- z -->",
        ),
        ("<c x:l='1' xmlns:x='u' l = '2'/>", plain("c", json!("[l='3']")), "<c x:l='1' xmlns:x='u' l = '3'/>"),
        ("<c x:l='1' xmlns:x='u'/>", plain("c", json!("[x:l='\"<\"']")), "<c x:l='&quot;&lt;&quot;' xmlns:x='u'/>"),
        ("<c />", plain("c", json!("[a='1']")), "<c a=\"1\" />"),
        ("<c a=\"/>\"/>", plain("c.d.e", json!("1")), "<c a=\"/>\"><d><e>1</e></d></c>"),
        ("<c>\n  <a/>\n</c>", plain("c.d.e", json!("1")), "<c>\n  <a/>\n  <d>\n    <e>1</e>\n  </d>\n</c>"),
        ("<c><a/><a/></c>", plain("c.a", json!("1")), "<c><a>1</a><a>1</a></c>"),
        ("<c><a/><b/></c>", plain("*.*", json!("[n='1']")), "<c><a n=\"1\"/><b n=\"1\"/></c>"),
        ("<c><a>1<!-- x -->2</a></c>", plain("c.a", json!("3")), "<c><a>3<!-- x --></a></c>"),
        ("<c><a><![CDATA[x<y]]></a></c>", only("c.a", "x<y", json!("]]>")), "<c><a>]]&gt;</a></c>"),
        ("<c><a>&#x41;&amp;</a></c>", plain("c.a", json!("A&")), "<c><a>&#x41;&amp;</a></c>"),
        ("<c><a n='1'/></c>", only("c.a", "0", json!("[n='2']")), "<c><a n='1'/></c>"),
        (
            "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><c>é</c>",
            plain("c", json!("ü")),
            "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><c>&#252;</c>",
        ),
        ("<c/>", plain("c", json!("a\u{1}\u{fffe}\r\n")), "<c>a&#13;&#10;</c>"),
    ] {
        assert_eq!(set(ConfigParser::Xml, text, &[replacement]), expected, "{text:?}");
    }
    for text in [
        "<a/><b/>",
        "<?xml version=\"1.0\"?>",
        "<!-- x -->",
        "<a",
        "<a x=\"",
        "</a>",
        "<a>&x;</a>",
        "<a><b></a></b>",
        "x",
        "<!doctype a><a/>",
    ] {
        assert!(once(ConfigParser::Xml, text, &[plain("a", json!(1))]).is_err(), "{text}");
    }
    for key in ["other.a", "c.*.a", "c.a b", "c.ä", "c.x:y", ""] {
        let applied = once(ConfigParser::Xml, "<c/>", &[plain(key, json!(1))]).unwrap();
        assert_eq!((applied.text.as_str(), applied.notes.len()), ("<c/>", 1), "{key}");
    }
}

#[test]
fn an_expression_that_cannot_be_used_is_noted() {
    for parser in PARSERS {
        let applied = once(parser, "", &[only("a.b", "regex:(", json!(1))]).unwrap();
        assert!(applied.notes[0].contains("expression"), "{parser:?}: {:?}", applied.notes);
    }
}

#[test]
fn hostile_files_end_nothing() {
    let n = 200_000;
    let namespaces = (0..1000).map(|n| format!("xmlns:a{n}='u'")).collect::<Vec<_>>().join(" ");
    for text in [
        format!("{}{}", "<a x=\"/>\">".repeat(n), "</a>".repeat(n)),
        "<a><!--> </a> -->".repeat(n),
        "<a><![CDATA[</a>]]>".repeat(n),
        "<a><?x </a> ?>".repeat(n),
        format!("<r>{}</r>", "<a/>".repeat(2 * n)),
        format!("<r {}>{}</r>", namespaces, "<a/>".repeat(n)),
    ] {
        assert!(once(ConfigParser::Xml, &text, &[plain("a.b", json!(1))]).is_err());
    }
    let aliases = |n: i32| format!("a{n}: &a{n} [{}]", vec![format!("*a{}", n - 1); 10].join(","));
    let bomb = format!("a0: &a0 [x,x,x]\n{}\n", (1..12).map(aliases).collect::<Vec<_>>().join("\n"));
    for text in [bomb, "- ".repeat(n), format!("{}{}", "{a: ".repeat(n), "}".repeat(n)), "? ".repeat(n)] {
        assert!(once(ConfigParser::Yaml, &text, &[plain("b", json!(1))]).is_err());
    }
    assert!(once(ConfigParser::Json, &format!("[{}0]", "0,".repeat(2_000_000)), &[]).is_err());
}

#[test]
fn a_small_file_does_not_become_a_large_one() {
    let long = json!("x".repeat(100_000));
    let many = |begin: &str, part: &str, end: &str| format!("{begin}{}{end}", part.repeat(1000));
    for (parser, text, key) in [
        (ConfigParser::File, many("", "a\n", ""), "a"),
        (ConfigParser::File, "\n".repeat(FILE_BYTES_MAX), ""),
        (ConfigParser::Ini, many("[s]\n", "a=1\n", ""), "s.a"),
        (ConfigParser::Json, many("[", "1,", "1]"), "*"),
        (ConfigParser::Yaml, many("", "- 1\n", ""), "*"),
        (ConfigParser::Xml, many("<a>", "<b/>", "</a>"), "a.b"),
    ] {
        assert_eq!(once(parser, &text, &[plain(key, long.clone())]), Err(ApplyError::TooLong), "{parser:?}");
    }
    let deep = format!("{}{}1{}", "[".repeat(100), "1,".repeat(900_000), "]".repeat(100));
    assert_eq!(once(ConfigParser::Json, &deep, &[plain("[0]", json!(1))]).map(|_| ()), Ok(()), "not changed");
    let growing = ["a[999]", "a.*[999]", "a.*.*[999]", "a.*.*.*[999]"].map(|key| plain(key, json!(null)));
    let applied = once(ConfigParser::Json, "{}", &growing).unwrap();
    assert!(applied.text.len() < 1 << 20, "{}", applied.text.len());
    let path = vec!["a"; 200].join(".");
    for parser in [ConfigParser::Json, ConfigParser::Yaml, ConfigParser::Xml] {
        set(parser, "", &[plain(&path, json!(1))]);
    }
}

#[test]
fn many_values_and_placeholders_take_no_long_time() {
    let lines = (0..200_000).map(|n| format!("key{n}=1")).collect::<Vec<_>>().join("\n");
    let replacements: Vec<Replacement> =
        (0..5_000).map(|n| plain(&format!("key{n}"), json!(format!("key{n}=2")))).collect();
    for parser in [ConfigParser::File, ConfigParser::Properties, ConfigParser::Ini] {
        once(parser, &lines, &replacements).unwrap();
    }
    let list = format!("[{}\"x\"]", "\"x\",".repeat(200_000));
    once(ConfigParser::Json, &list, &[only("*", "regex:^(127\\.0\\.0\\.1|localhost)(:\\d{1,5})?$", json!("y"))])
        .unwrap();
    once(ConfigParser::File, "", &[plain("a", json!("{{".repeat(1 << 20)))]).unwrap();
}

/// What keys, values and files are made of: whatever has a meaning somewhere.
const PIECES: &str = "([a-c]|[a-c]|[a-c]|=|:|\\.|\\*|\\[|\\]|\\[[0-2]\\]|\\{|\\}|\"|'|,|- |#|;|!| |\\\\|\n|\r\n|\t|&|<|>|<!--|-->|1|true|yes|é|\u{feff}|\u{1}){0,8}";

fn replacement() -> impl Strategy<Value = Replacement> {
    let value = prop_oneof![
        3 => "\\PC{0,12}".prop_map(Value::from),
        3 => PIECES.prop_map(Value::from),
        1 => "\\[[a-c]='[a-c\"<]{0,3}'\\]".prop_map(Value::from),
        1 => any::<i32>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => Just(json!({ "a": [1, null], "b": "x" })),
    ];
    let key = prop_oneof![4 => "[a-c*]{1,2}(\\.[a-c]{1,2}|\\.\\*|\\[[0-3]\\]){0,3}", 1 => PIECES, 1 => "\\PC{0,6}"];
    (key, value).prop_map(|(key, value)| plain(&key, value))
}

fn text() -> impl Strategy<Value = String> {
    let lines = prop::collection::vec(PIECES, 0..8).prop_map(|parts| parts.concat());
    let xml = "(<a>|</a>|<b x='1'/>|<c/>|<c a=\"<\">|</c>|x|&amp;|<!-- c -->|<!\\[CDATA\\[x\\]\\]>|\n){0,20}"
        .prop_map(|inside| format!("<a>{inside}</a>"));
    let json = "(\\{\"a\":|\\}|\"b\":|1|\"x\"|,|\\[|\\]|null|true){0,20}";
    let yaml = "(a|b|c)(: |:\n)(- |  |\\? |&a |\\*a|\\||>|'|yes|~|1|x|\n  |\na: ){0,10}";
    prop_oneof!["\\PC{0,80}", lines, xml, json, yaml, Just("{\"a\":{\"b\":[1,\"x\",null]},\"c\":true}".to_owned())]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn nobody_panics_and_twice_is_once(
        parser in 0..PARSERS.len(),
        text in text(),
        list in prop::collection::vec(replacement(), 1..4),
    ) {
        let parser = PARSERS[parser];
        // Several may undo each other in documents: what one makes, another makes something else of.
        let is_document = matches!(parser, ConfigParser::Json | ConfigParser::Yaml | ConfigParser::Xml);
        let list = if is_document { &list[..1] } else { &list[..] };
        if let Ok(applied) = once(parser, &text, list) {
            let again = once(parser, &applied.text, list);
            prop_assert_eq!(again.map(|again| again.text), Ok(applied.text), "{:?}", parser);
        }
    }
}
