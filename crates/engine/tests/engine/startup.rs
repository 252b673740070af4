//! Start-up patterns on lines real games print.

use engine::startup::Matcher;
use proptest::prelude::*;

fn matcher(patterns: &[&str]) -> Matcher {
    Matcher::new(&patterns.iter().map(|&p| p.to_owned()).collect::<Vec<_>>()).unwrap()
}

#[test]
fn plain_patterns_are_parts_of_lines() {
    let done = matcher(&[")! For help, type ", "Map generated, starting game"]);
    assert!(done.matches(r#"[12:00:00 INFO]: Done (3.2s)! For help, type "help""#));
    assert!(done.matches("dbg: [net] Map generated, starting game"));
    assert!(!done.matches("Map generated"));
    assert!(!matcher(&["a.c"]).matches("abc"), "a dot is a dot");
}

#[test]
fn regular_expressions_are_marked() {
    let done = matcher(&["regex:^Loading savegame \\S+$", "regex:(?i)ready"]);
    assert!(done.matches("Loading savegame town.sav"));
    assert!(!done.matches("now Loading savegame town.sav!"));
    assert!(done.matches("READY."));
    assert!(!matcher(&["Regex:x"]).matches("x"), "the mark is exact");
}

#[test]
fn colours_do_not_hide_a_line() {
    let line = "\x1b[32mServer \x1b[1mlistening\x1b[0m on port\x1b]0;title\x07 25565";
    assert!(matcher(&["Server listening on port 25565"]).matches(line));
    assert!(matcher(&["regex:listening on port \\d+$"]).matches(line));
    assert!(matcher(&["\x1b[1mlistening"]).matches(line), "a pattern may have colours of its own");
}

#[test]
fn no_pattern_never_matches_and_an_empty_one_always() {
    assert!(matcher(&[]).is_empty());
    assert!(!matcher(&[]).matches("anything"));
    assert!(!matcher(&[""]).is_empty());
    assert!(matcher(&[""]).matches(""));
    assert!(matcher(&["regex:"]).matches("x"));
}

#[test]
fn what_cannot_be_used_is_named() {
    let huge = format!("regex:{}", "(a{1000}){1000}");
    let long = "x".repeat(5000);
    for bad in ["regex:(", "regex:*", huge.as_str(), long.as_str()] {
        let error = Matcher::new(&["fine".to_owned(), bad.to_owned()]).unwrap_err().to_string();
        assert!(error.starts_with("start-up pattern \"") && error.contains("cannot be used"), "{error}");
        let (rest, named) = Matcher::usable(&["fine".to_owned(), bad.to_owned()]);
        assert!(rest.matches("fine") && named.len() == 1);
    }
    let many = vec!["x".to_owned(); 101];
    assert_eq!(Matcher::usable(&many).1.len(), 1);
}

proptest! {
    #[test]
    fn a_part_of_a_line_is_found_whatever_is_around_it(before in "\\PC{0,20}", part in "[a-z ]{0,20}", after in "\\PC{0,20}") {
        let line = format!("{before}{part}{after}");
        prop_assert!(matcher(&[&part]).matches(&line));
    }

    #[test]
    fn no_pattern_and_no_line_panics(pattern in ".{0,40}", line in "\\PC{0,80}|.{0,80}") {
        let (patterns, _) = Matcher::usable(&[pattern.clone(), format!("regex:{pattern}")]);
        patterns.matches(&line);
    }
}
