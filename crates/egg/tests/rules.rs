//! Every kind of rule, with values that keep it and values that break it.
#![allow(clippy::unwrap_used, missing_docs)]

use egg::Rules;
use egg::rules::split;
use proptest::prelude::*;

fn rules(text: &str) -> Rules {
    let (rules, notes) = Rules::parse(&[text.to_owned()]);
    assert_eq!(notes, [""; 0], "{text}");
    rules
}

#[test]
fn every_rule_keeps_out_what_it_should() {
    for (text, good, bad) in [
        ("required", &["x"][..], &["", " "][..]),
        ("nullable|string", &["", "x"], &[]),
        ("filled", &["x"], &[""]),
        ("boolean", &["true", "FALSE", "1", "0", ""], &["yes", "2"]),
        ("numeric", &["1", "-1.5", "1e3"], &["x", "NaN", "inf"]),
        ("integer", &["5", "-5"], &["5.5", "x"]),
        ("integer|min:5|max:10", &["5", "10"], &["4", "11"]),
        ("min:2|max:3", &["ab", "äöü"], &["a", "abcd"]),
        ("numeric|between:1,2.5", &["1", "2.5"], &["0.9", "2.6"]),
        ("between:1,3", &["a", "abc"], &["abcd"]),
        ("numeric|gt:1|lt:3", &["2"], &["1", "3"]),
        ("numeric|gte:1|lte:3", &["1", "3"], &["0", "4"]),
        ("size:4", &["abcd"], &["abc"]),
        ("integer|size:4", &["4"], &["5"]),
        ("in:a,b c,\"d\"", &["a", "b c", "d"], &["c", "A"]),
        ("not_in:a,b", &["c"], &["a"]),
        ("regex:/^(a|b)+$/i", &["aB", "b"], &["c"]),
        (r"regex:/^[\w.\/]+$/", &["a/b.c"], &["a b"]),
        ("regex:#^x y$#", &["x y"], &["xy"]),
        ("regex:^abc$", &["abc"], &["abcd"]),
        ("not_regex:/evil/", &["good"], &["so evil"]),
        ("digits:4", &["0123"], &["123", "12a4"]),
        ("digits_between:1,5", &["1", "12345"], &["123456", "x"]),
        ("min_digits:2", &["12"], &["1"]),
        ("max_digits:2", &["12"], &["123"]),
        ("alpha", &["abcß"], &["a1"]),
        ("alpha_num", &["a1"], &["a-1"]),
        ("alpha_dash", &["a-1_b"], &["a b"]),
        ("url", &["https://x.example/y"], &["x.example", "http://", "1x://y"]),
        ("ip", &["10.0.0.1", "::1"], &["10.0.0"]),
        ("ipv4", &["10.0.0.1"], &["::1"]),
        ("ipv6", &["::1"], &["10.0.0.1"]),
        ("email", &["a@b"], &["a", "@b", "a b@c"]),
        ("uuid", &["6b0a5ec0-1111-4222-8333-444455556666"], &["x"]),
        ("json", &["{\"a\":1}"], &["{"]),
        ("uppercase", &["AB"], &["Ab"]),
        ("lowercase", &["ab"], &["Ab"]),
        ("hex_color", &["#fff", "#a0b1c2"], &["fff", "#ggg"]),
        ("starts_with:a,b", &["ax", "bx"], &["cx"]),
        ("ends_with:.jar", &["x.jar"], &["x.zip"]),
        ("bail|sometimes|present|required", &["x"], &[""]),
        ("int", &["5", "-5"], &["5.5", "x"]),
        ("int|max:3", &["3"], &["4", "abc"]),
        ("active_url", &["https://x.example"], &["x"]),
        ("timezone", &["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+3"], &["a b", "/x", "+1"]),
        ("ascii", &["a b!"], &["ä"]),
        ("starts_with:\"a,b\",c", &["a,bx", "cx"], &["ax"]),
        ("in:\"a, b\",\"say \"\"x\"\"\", c", &["a, b", "say \"x\"", "c"], &["a", "b"]),
        ("regex:~^a$~|regex:@^a$@|regex:!^a$!|regex:%^a$%|regex:{^a$}|regex:(^a$)", &["a"], &["b"]),
        ("regex:/^a.c$/s", &["abc", "a\nc"], &["ac"]),
        ("regex:/^b$/m", &["a\nb"], &["ab"]),
        ("regex:/^ a b $/x", &["ab"], &["a b"]),
        ("regex:/a|b/A", &["ax", "bx"], &["xa"]),
        ("regex:/^\\w+$/uD", &["é"], &["a b"]),
        ("regex:/^\\w+$/", &["a_1"], &["é"]),
        ("regex:/^[\\d.]+$/", &["1.2"], &["٣"]),
        ("regex:/^[\\w-.[&&~]+$/", &["a-b.[&~"], &["a b"]),
        ("regex:/^[]a]+$/", &["]a"], &["b"]),
        ("regex:/^[[:digit:]x]+$/", &["1x"], &["a"]),
        ("regex:[a-c]+", &["abc"], &["xyz"]),
    ] {
        let rules = rules(text);
        for value in good {
            assert_eq!(rules.check("Port", value), Ok(()), "{text}: {value:?}");
        }
        for value in bad {
            let broken = rules.check("Port", value).expect_err(&format!("{text}: {value:?}"));
            assert!(broken.iter().all(|text| text.starts_with("The Port ") && text.ends_with('.')), "{broken:?}");
        }
    }
}

#[test]
fn what_cannot_be_held_to_is_noted_and_refuses_nothing() {
    for text in [
        "moonphase:full",
        "regex:/(?=x)y/",
        "regex:",
        "min:x",
        "between:1",
        "min:nan",
        "max:inf",
        "regex:/abc",
        "regex:/a/q",
        r"regex:/(a)\1/",
    ] {
        let (rules, notes) = Rules::parse(&[text.to_owned()]);
        assert_eq!(notes.len(), 1, "{text}");
        assert!(notes[0].contains("is not held to"), "{notes:?}");
        assert_eq!(rules.check("x", "anything"), Ok(()));
    }
    let (_, notes) = Rules::parse(&["regex:/(x{1000}){1000}/".to_owned()]);
    assert_eq!(notes.len(), 1, "no expression takes all the memory");
}

#[test]
fn a_text_for_people_says_what_is_wanted() {
    let broken = rules("required|integer|between:1,99").check("Speed", "200").unwrap_err();
    assert_eq!(broken, ["The Speed must be from 1 to 99."]);
    let broken = rules("required|integer|between:1,99").check("Speed", "fast").unwrap_err();
    assert_eq!(broken, ["The Speed must be a whole number."], "what is no number has no size");
    let broken = rules("bail|alpha|max:1").check("Name", "12").unwrap_err();
    assert_eq!(broken, ["The Name must be letters only."], "the first is enough");
    let broken = rules("string|max:3").check("Name", "abcd").unwrap_err();
    assert_eq!(broken, ["The Name must be at most 3 characters."]);
}

#[test]
fn only_what_is_outside_of_expressions_separates() {
    for (text, expected) in [
        ("required|string|max:20", &["required", "string", "max:20"][..]),
        ("required | regex:/^(a|b)$/i|max:3", &["required", "regex:/^(a|b)$/i", "max:3"]),
        (r"regex:#a\#|b#|nullable", &[r"regex:#a\#|b#", "nullable"]),
        ("regex:(a|b)|max:1", &["regex:(a|b)", "max:1"]),
        ("not_regex:/a|b", &["not_regex:/a", "b"]),
        ("regex:^a|b", &["regex:^a", "b"]),
        ("|required||", &["required"]),
        ("regex:", &["regex:"]),
        ("", &[]),
    ] {
        assert_eq!(split(text), expected, "{text}");
    }
}

#[test]
fn long_texts_of_strangers_take_no_long_time() {
    for text in [format!("regex:{}", "a".repeat(1 << 20)), "regex:(|".repeat(1 << 17), "regex:/x/|".repeat(1 << 17)] {
        assert!(!split(&text).is_empty());
        let (_, notes) = Rules::parse(&[format!("regex:/{}/", "a".repeat(1 << 20))]);
        assert_eq!(notes.len(), 1);
    }
}

proptest! {
    #[test]
    fn nobody_panics(text in "\\PC{0,60}", value in "\\PC{0,60}") {
        let (rules, _) = Rules::parse(&[text]);
        let _ = rules.check("x", &value);
    }

    #[test]
    fn nobody_panics_at_rules_that_look_like_some(name in "(regex|min|max|between|in|digits|size|not_regex):", rest in "[/|#a-z0-9(),.*+\\\\]{0,30}", value in "\\PC{0,20}") {
        let (rules, _) = Rules::parse(&[format!("required|{name}{rest}")]);
        let _ = rules.check("x", &value);
    }
}
