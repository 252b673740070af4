//! What games print, from the process to the viewer: whole, in order, and harmless.
#![allow(clippy::unwrap_used, clippy::doc_markdown, clippy::print_stdout, missing_docs)]

use e2e::{Deck, Socket};
use serde_json::json;

async fn playing(arguments: &str) -> (Deck, String, Socket) {
    let deck = Deck::new().await;
    let server = deck.game(&format!("--obey {arguments}"), json!({ "ready": "Done" })).await;
    let mut console = Socket::console(&deck, &server).await;
    console.say("set state", &json!(["start"])).await;
    console.status("running").await;
    (deck, server, console)
}

/// Makes the game print exactly these bytes (with the fake game's escapes) and then a line of our own to wait for.
async fn print(console: &mut Socket, raw: &str) -> Vec<String> {
    let before = console.lines().len();
    console.say("send command", &json!([format!("raw {raw}--end--\\n")])).await;
    console.wait_for("the end", |heard| heard.arg_of("console output") == Some("--end--")).await;
    console.lines()[before..].iter().filter(|line| !line.contains("> raw")).map(|line| (*line).to_owned()).collect()
}

#[tokio::test]
async fn bytes_that_are_no_text_become_text_and_nothing_is_lost() {
    let (_deck, _, mut console) = playing("").await;
    assert_eq!(print(&mut console, "a\\xffb\\n").await, ["a\u{fffd}b", "--end--"]);
    assert_eq!(print(&mut console, "nul \\0 here\\n").await, ["nul \u{0} here", "--end--"]);
    assert_eq!(print(&mut console, "crlf\\r\\nsecond\\r\\n").await, ["crlf", "second", "--end--"]);
    assert_eq!(print(&mut console, "10%%\\r20%%\\rdone\\n").await, ["10%%\r20%%\rdone", "--end--"]);
    assert_eq!(print(&mut console, "\\e[31mred\\e[0m\\n").await, ["\u{1b}[31mred\u{1b}[0m", "--end--"]);
    assert_eq!(print(&mut console, "\\n\\n  indented \\n").await, ["", "", "  indented ", "--end--"]);
}

/// A megabyte without a newline arrives whole, in lines of at most 64 KiB.
#[tokio::test]
async fn a_line_of_a_megabyte_arrives_whole_in_pieces() {
    let deck = Deck::new().await;
    let server = deck.game("--long-line 1M", json!({ "ready": "Done" })).await;
    let mut console = Socket::console(&deck, &server).await;
    console.say("set state", &json!(["start"])).await;
    let mut bytes = 0;
    while bytes < 1024 * 1024 {
        let heard = console.wait_for("a long line", |heard| heard.arg_of("console output").is_some()).await;
        let line = heard.arg_of("console output").unwrap();
        assert!(line.len() <= 65_536, "{}", line.len());
        if line.len() > 1000 || bytes > 0 {
            bytes += line.len();
        }
    }
    assert_eq!(bytes, 1024 * 1024);
}

/// 100,000 lines at once reach a viewer that reads: every one, once, in order, though most have left memory long before.
#[tokio::test]
async fn a_flood_reaches_a_viewer_complete_and_in_order() {
    let (deck, server, mut console) = playing("").await;
    console.say("send command", &json!(["burst 100000"])).await;
    for n in 0..100_000u32 {
        let expected = format!("line {n}");
        let heard = console
            .wait_for(&expected, |heard| heard.arg_of("console output").is_some_and(|line| line.starts_with("line ")))
            .await;
        assert_eq!(heard.arg_of("console output"), Some(expected.as_str()));
        // Keeping them all would make this test slow, not stronger.
        console.heard.clear();
    }
    let mut late = Socket::console(&deck, &server).await;
    late.say("send logs", &json!([null])).await;
    late.line("line 99999").await;
    assert_eq!(late.lines().len(), 150);
}

/// A viewer that never reads ends neither the game nor anybody else's console.
#[tokio::test]
async fn a_viewer_that_never_reads_disturbs_nobody() {
    let (deck, server, mut console) = playing("").await;
    let mut stuck = Vec::new();
    for _ in 0..5 {
        stuck.push(Socket::console(&deck, &server).await);
    }
    console.say("send command", &json!(["burst 200000"])).await;
    console.line("line 199999").await;
    console.say("send command", &json!(["raw still here\\n"])).await;
    console.line("still here").await;
    drop(stuck);
}

/// What is typed is shown to everybody once, so that a team sees what was done; a prompt without newline shows with its line.
#[tokio::test]
async fn commands_are_shown_to_everybody() {
    let (deck, server, mut console) = playing("--no-newline-prompt PROMPT:").await;
    let mut other = Socket::console(&deck, &server).await;
    console.say("send command", &json!(["raw answer\\n"])).await;
    let line = other.line("> raw answer").await;
    assert!(line.contains("raw answer"));
    assert_eq!(other.line(":answer").await.as_str(), "PROMPT:answer");
    assert_eq!(other.lines().iter().filter(|line| line.contains("> raw answer")).count(), 1);
}
