//! The rules for files and for what is written in them, as tables, with a test that shows each of them firing.

use super::Finding;
use super::source::{Source, has_ending, is_name};

/// Lines of a file of code; more is a file with two subjects.
const FILE_LINES_MAX: usize = 600;
const TEST_FILE_LINES_MAX: usize = 900;
const FUNCTION_LINES_MAX: usize = 120;

/// Files of code by their ending, to which the length applies.
const CODE_ENDINGS: [&str; 4] = ["rs", "ts", "svelte", "js"];

/// File names that say nothing about what is in them.
const BANNED_FILES: [&str; 5] = ["mod.rs", "util.rs", "utils.rs", "helper.rs", "helpers.rs"];

/// Words in the name of a type that say nothing about what it does.
const BANNED_WORDS: [&str; 8] = ["Manager", "Managers", "Handler", "Handlers", "Helper", "Helpers", "Util", "Utils"];

/// Something that is used in one place only.
struct Kept {
    /// What gives its use away, as it stands in code.
    signs: &'static [&'static str],
    /// Where the rule holds: paths that begin like this.
    within: &'static str,
    /// Where it may be used: paths that begin like one of these.
    only: &'static [&'static str],
    why: &'static str,
}

/// What is kept in one place. Test code is free to do what it likes, except with `sqlx`, which has its own tests.
const KEPT: [Kept; 5] = [
    Kept {
        signs: &["extract::ws", "WebSocketUpgrade", "WebSocketContext"],
        within: "crates/",
        only: &["crates/daemon/src/socket"],
        why: "one place that speaks WebSocket, so that it can be replaced",
    },
    Kept {
        signs: &["sqlx::", "use sqlx"],
        within: "crates/",
        only: &["crates/panel/src/store"],
        why: "one set of SQL; the rest of the panel asks the store",
    },
    Kept {
        signs: &["tokio::spawn", "task::spawn", "spawn_blocking", "JoinSet"],
        within: "crates/daemon/src/",
        only: &["crates/daemon/src/tasks.rs"],
        why: "every task has a kind, an owner, a cancel token and someone who waits for it",
    },
    Kept {
        signs: &["bollard::", "use bollard"],
        within: "crates/",
        only: &["crates/daemon/src/runtime/docker"],
        why: "a runtime is replaceable",
    },
    Kept {
        signs: &[
            "Instant::now",
            "SystemTime::now",
            "std::fs",
            "std::net",
            "std::thread",
            "tokio::",
            "async fn",
            "rand::",
        ],
        within: "crates/engine/src/",
        only: &[],
        why: "decisions are pure: values in, actions out",
    },
];

/// A text that must not stand anywhere, or only with a reason.
struct Banned {
    sign: &'static str,
    what: &'static str,
}

/// In every text file. Put together here, so that this file does not break the rule itself.
const BANNED_TEXTS: [Banned; 4] = [
    Banned { sign: concat!("TO", "DO"), what: "finish it, or open an issue and leave no mark" },
    Banned { sign: concat!("FIX", "ME"), what: "fix it, or open an issue and leave no mark" },
    Banned { sign: concat!("/wo", "rk/"), what: "a path of somebody's machine" },
    Banned { sign: concat!("/ro", "ot/"), what: "a path of somebody's machine" },
];

/// Files whose text is made by a program.
const GENERATED: [&str; 2] = ["Cargo.lock", "package-lock.json"];

/// A comment on the line before that allows a test to sleep.
const SLEEP_REASON: &str = "// sleeps: ";
const SLEEPS: [&str; 3] = ["sleep", "sleep_until", "sleep_ms"];

/// Every finding in one file.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |line: usize, text: String| findings.push(Finding { path: source.path.clone(), line, text });
    let name = source.path.rsplit('/').next().unwrap_or_default();
    if BANNED_FILES.contains(&name) {
        find(0, format!("a file named {name} says nothing about what is in it"));
    }
    length(source, &mut find);
    if !GENERATED.contains(&name) {
        banned_texts(source, &mut find);
    }
    if source.is_rust() {
        if !source.text.starts_with("//!") {
            find(1, "the first line must say what the file owns: `//! ...`".to_owned());
        }
        functions(source, &mut find);
        type_names(source, &mut find);
        kept(source, &mut find);
        ignored_tests(source, &mut find);
        sleeps(source, &mut find);
    }
    findings
}

fn length(source: &Source, find: &mut impl FnMut(usize, String)) {
    let lines = source.text.lines().count();
    let lines_max = if source.is_test_file() { TEST_FILE_LINES_MAX } else { FILE_LINES_MAX };
    if lines > lines_max && CODE_ENDINGS.iter().any(|ending| has_ending(&source.path, ending)) {
        find(lines, format!("{lines} lines; at most {lines_max}: split it by subject"));
    }
}

fn functions(source: &Source, find: &mut impl FnMut(usize, String)) {
    for (name, line, lines) in source.functions() {
        if lines > FUNCTION_LINES_MAX {
            find(line + 1, format!("function {name} has {lines} lines; at most {FUNCTION_LINES_MAX}"));
        }
    }
}

fn type_names(source: &Source, find: &mut impl FnMut(usize, String)) {
    for (index, line) in source.code.lines().enumerate() {
        let mut words = line.split(|c| !is_name(c)).filter(|word| !word.is_empty());
        while let Some(word) = words.next() {
            if !["struct", "enum", "trait", "type", "union"].contains(&word) {
                continue;
            }
            let Some(name) = words.next() else { break };
            if let Some(bad) = camel_words(name).into_iter().find(|part| BANNED_WORDS.contains(&part.as_str())) {
                find(index + 1, format!("type {name}: {bad} says nothing about what it does"));
            }
        }
    }
}

/// `PowerHandler` as `Power`, `Handler`.
fn camel_words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for c in name.chars() {
        match words.last_mut() {
            Some(word) if !c.is_uppercase() => word.push(c),
            _ => words.push(c.to_string()),
        }
    }
    words
}

fn kept(source: &Source, find: &mut impl FnMut(usize, String)) {
    for rule in &KEPT {
        if !source.path.starts_with(rule.within) || rule.only.iter().any(|place| source.path.starts_with(place)) {
            continue;
        }
        for (index, line) in source.code.lines().enumerate().filter(|(index, _)| !source.is_test_line(*index)) {
            if let Some(sign) = rule.signs.iter().find(|sign| has_word(line, sign)) {
                let place = if rule.only.is_empty() { "nowhere here".to_owned() } else { rule.only.join(", ") };
                find(index + 1, format!("{sign} is used in {place} only: {}", rule.why));
            }
        }
    }
}

/// `text` stands in the line, and not as the end of a longer name.
fn has_word(line: &str, text: &str) -> bool {
    line.match_indices(text).any(|(at, _)| !line.get(..at).unwrap_or_default().ends_with(is_name))
}

fn banned_texts(source: &Source, find: &mut impl FnMut(usize, String)) {
    for (index, line) in source.text.lines().enumerate() {
        for Banned { sign, what } in &BANNED_TEXTS {
            for (at, _) in line.match_indices(sign) {
                let before = line.get(..at).unwrap_or_default().chars().next_back();
                let after = line.get(at + sign.len()..).unwrap_or_default().chars().next();
                let is_path = sign.starts_with('/');
                let part_of_more = if is_path {
                    before.is_some_and(|c| is_name(c) || "/.-}".contains(c))
                } else {
                    before.is_some_and(is_name) || after.is_some_and(is_name)
                };
                if !part_of_more {
                    find(index + 1, format!("{sign}: {what}"));
                }
            }
        }
    }
}

fn ignored_tests(source: &Source, find: &mut impl FnMut(usize, String)) {
    for (index, line) in source.code.lines().enumerate() {
        if line.replace(' ', "").contains("#[ignore") {
            find(index + 1, "a test that does not run proves nothing: make it run or remove it".to_owned());
        }
    }
}

fn sleeps(source: &Source, find: &mut impl FnMut(usize, String)) {
    let mut line_before = "";
    for (index, (line, raw)) in source.code.lines().zip(source.text.lines()).enumerate() {
        let sleeps = SLEEPS.iter().any(|sleep| has_word(line, &format!("{sleep}(")));
        if sleeps && source.is_test_line(index) && !line_before.trim_start().starts_with(SLEEP_REASON) {
            find(
                index + 1,
                format!("a test waits for an event, not for time (or says why: `{SLEEP_REASON}...` before)"),
            );
        }
        line_before = raw;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// The findings in a file, as `line: text`.
    fn found(path: &str, text: &str) -> Vec<String> {
        check(&Source::new(path, text))
            .into_iter()
            .map(|finding| format!("{}: {}", finding.line, finding.text))
            .collect()
    }

    /// Exactly one finding, with this line and these words in it.
    #[track_caller]
    fn finds(path: &str, text: &str, line: usize, words: &str) {
        let found = found(path, text);
        assert_eq!(found.len(), 1, "{path}: {found:?}");
        assert!(found[0].starts_with(&format!("{line}: ")) && found[0].contains(words), "{path}: {found:?}");
    }

    #[track_caller]
    fn silent(path: &str, text: &str) {
        assert_eq!(found(path, text), [""; 0], "{path}");
    }

    fn rust(code: &str) -> String {
        format!("//! Owns this.\n{code}\n")
    }

    #[test]
    fn a_file_says_what_it_owns() {
        finds("crates/a/src/b.rs", "use x;\n", 1, "first line");
        silent("crates/a/src/b.rs", &rust("use x;"));
        silent("README.md", "no such rule here\n");
    }

    #[test]
    fn names_of_files_say_something() {
        for name in BANNED_FILES {
            finds(&format!("crates/a/src/{name}"), &rust(""), 0, "says nothing");
        }
        silent("crates/a/src/model.rs", &rust(""));
    }

    #[test]
    fn files_have_an_end() {
        let lines = |count: usize| format!("//! Owns this.\n{}", "x\n".repeat(count - 1));
        silent("crates/a/src/b.rs", &lines(600));
        finds("crates/a/src/b.rs", &lines(601), 601, "at most 600");
        silent("crates/a/tests/b.rs", &lines(900));
        finds("tests/src/b.rs", &lines(901), 901, "at most 900");
        finds("web/src/b.ts", &lines(601), 601, "at most 600");
        silent("README.md", &lines(2000));
    }

    #[test]
    fn functions_have_an_end() {
        let function = |lines: usize| rust(&format!("fn long() {{\n{}}}", "x;\n".repeat(lines - 2)));
        silent("crates/a/src/b.rs", &function(120));
        finds("crates/a/src/b.rs", &function(121), 2, "function long has 121 lines");
    }

    #[test]
    fn names_of_types_say_something() {
        for (code, word) in [
            ("pub struct PowerManager;", "Manager"),
            ("enum HandlerKind { A }", "Handler"),
            ("trait Helpers {}", "Helpers"),
            ("type StringUtil = ();", "Util"),
        ] {
            finds("crates/a/src/b.rs", &rust(code), 2, word);
        }
        silent(
            "crates/a/src/b.rs",
            &rust("struct Utilization; // struct Manager\nfn handler() -> ConnectionManager {}"),
        );
    }

    #[test]
    fn what_is_kept_in_one_place_stays_there() {
        for (path, code) in [
            ("crates/panel/src/http/websocket.rs", "use axum::extract::ws::WebSocket;"),
            ("crates/cli/src/serve.rs", "fn f(up: WebSocketUpgrade) {}"),
            ("crates/panel/src/access.rs", "fn f(e: sqlx::Error) {}"),
            ("crates/cli/src/host.rs", "use sqlx;"),
            ("crates/daemon/src/socket/loop.rs", "tokio::spawn(f());"),
            ("crates/daemon/src/stats.rs", "tokio::task::spawn_blocking(f);"),
            ("crates/daemon/src/stats.rs", "let set = JoinSet::new();"),
            ("crates/daemon/src/runtime/process.rs", "use bollard::Docker;"),
            ("crates/engine/src/session.rs", "let now = Instant::now();"),
            ("crates/engine/src/session.rs", "async fn f() {}"),
        ] {
            finds(path, &rust(code), 2, " only: ");
        }
        for (path, code) in [
            ("crates/daemon/src/socket/frame.rs", "use axum::extract::ws::Message;"),
            ("crates/panel/src/store/users.rs", "use sqlx::Row;"),
            ("crates/daemon/src/tasks.rs", "tokio::spawn(f());"),
            ("crates/cli/src/host.rs", "tokio::spawn(f());"),
            ("crates/daemon/src/stats.rs", "// not tokio::spawn\nlet a = \"tokio::spawn\";"),
            ("crates/daemon/src/stats.rs", "#[cfg(test)]\nmod tests {\n    fn f() { tokio::spawn(g()); }\n}"),
            ("crates/daemon/src/runtime/docker/events.rs", "use bollard::Docker;"),
        ] {
            silent(path, &rust(code));
        }
    }

    #[test]
    fn nothing_is_left_for_later() {
        for mark in [concat!("TO", "DO"), concat!("FIX", "ME")] {
            finds("crates/a/src/b.rs", &rust(&format!("// {mark}: later")), 2, mark);
            finds("docs/a.md", &format!("a\n{mark}\n"), 2, mark);
            silent("docs/a.md", &format!("{mark}S and MY{mark}\n"));
        }
    }

    #[test]
    fn no_test_is_left_out() {
        finds("crates/a/src/b.rs", &rust("#[ignore]"), 2, "does not run");
        finds("crates/a/tests/b.rs", &rust("#[ignore = \"slow\"]"), 2, "does not run");
        silent("crates/a/src/b.rs", &rust("// #[ignore]"));
    }

    #[test]
    fn tests_do_not_sleep() {
        for code in ["std::thread::sleep(a);", "tokio::time::sleep(a).await;", "sleep_until(a).await;"] {
            finds("crates/a/tests/b.rs", &rust(code), 2, "not for time");
            finds("crates/a/src/b.rs", &rust(&format!("#[cfg(test)]\nmod tests {{\n{code}\n}}")), 4, "not for time");
            silent("crates/a/src/b.rs", &rust(code));
            silent("crates/a/tests/b.rs", &rust(&format!("// sleeps: this is about time\n{code}")));
        }
        silent("crates/a/tests/b.rs", &rust("run(\"sleep(1)\"); oversleep(2);"));
    }

    #[test]
    fn no_path_of_a_machine_is_written_down() {
        for (path, line) in [("docs/a.md", concat!("see /wo", "rk/main")), (".ci/run", concat!("cd \"/ro", "ot/x\""))] {
            finds(path, &format!("{line}\n"), 1, "somebody's machine");
        }
        silent("docs/a.md", concat!("see frame/wo", "rk/x, ./wo", "rk/x and $DIR/ro", "ot/x\n"));
        silent("Cargo.lock", concat!("/wo", "rk/\n"));
    }
}
