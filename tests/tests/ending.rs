//! How the program ends: in order, at once when it is told twice, and in any case. Games go on.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::{Duration, Instant};

use e2e::socket::Heard;
use e2e::{DEADLINE, Deck, Socket};
use rustix::process::Signal;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A request that makes a user; nobody answers it before its last bytes are there.
struct HalfRequest {
    stream: TcpStream,
    rest: String,
}

impl HalfRequest {
    async fn new(deck: &Deck) -> Self {
        let body = json!({ "username": "late", "email": "late@example.org", "password": "correct horse" }).to_string();
        let address = deck.url().trim_start_matches("http://");
        let head = format!(
            "POST /api/application/users HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\nAccept: application/json\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            deck.key(),
            body.len()
        );
        let (first, rest) = body.split_at(10);
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("{head}{first}").as_bytes()).await.unwrap();
        // Asked behind it and answered: the program has read the first half by now, or is about to.
        deck.rest().get("/api/client/account").await.ok();
        Self { stream, rest: rest.to_owned() }
    }

    async fn answer(mut self) -> String {
        self.stream.write_all(self.rest.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(DEADLINE, self.stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    }
}

/// A game, and its pid.
async fn game(deck: &Deck) -> (String, Socket, u64) {
    let server = deck.game("--rate 100", json!({ "ready": "Done" })).await;
    let mut console = Socket::console(deck, &server).await;
    console.say("set state", &json!(["start"])).await;
    console.line("line 10").await;
    deck.learn_node_token().await;
    let pid = deck.details(&server).await["quarterdeck"]["pid"].as_u64().unwrap();
    (server, console, pid)
}

async fn goes_on(deck: &mut Deck, server: &str, pid: u64) {
    deck.up_again().await;
    assert_eq!(deck.details(server).await["quarterdeck"]["pid"], pid, "the same game");
}

#[tokio::test]
async fn a_request_under_way_is_answered_and_then_the_program_ends() {
    let mut deck = Deck::new().await;
    let (server, mut console, pid) = game(&deck).await;
    let request = HalfRequest::new(&deck).await;
    deck.signal(Signal::TERM);
    assert!(matches!(console.end().await, Heard::Closed(1012, _)), "{:?}", console.heard.last());
    let address = deck.url().trim_start_matches("http://").to_owned();
    let deadline = Instant::now() + DEADLINE;
    while TcpStream::connect(&address).await.is_ok() {
        assert!(Instant::now() < deadline, "new connections are taken");
    }
    let answer = request.answer().await;
    assert!(answer.starts_with("HTTP/1.1 201") && answer.contains("late@example.org"), "{answer}");
    assert!(deck.ended().await.success(), "{}", deck.log());
    goes_on(&mut deck, &server, pid).await;
    assert!(deck.rest().get("/api/application/users").await.text.contains("late@example.org"));
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once_whatever_hangs() {
    for second in [Signal::TERM, Signal::INT] {
        let mut deck = Deck::new().await;
        let (server, _console, pid) = game(&deck).await;
        let _hangs = HalfRequest::new(&deck).await;
        deck.signal(Signal::TERM);
        deck.logged("Once more to end at once").await;
        let told = Instant::now();
        deck.signal(second);
        assert_eq!(deck.ended().await.code(), Some(130), "{}", deck.log());
        // The request would have had ten seconds.
        assert!(told.elapsed() < Duration::from_secs(5), "{:?}", told.elapsed());
        goes_on(&mut deck, &server, pid).await;
    }
}

#[tokio::test]
async fn an_end_that_hangs_has_a_deadline() {
    let mut deck = Deck::new().await;
    deck.stop().await;
    std::fs::write(deck.data().join("quarterdeck.toml"), "end_within_s = 1\n").unwrap();
    deck.up_again().await;
    let (server, _console, pid) = game(&deck).await;
    let _hangs = HalfRequest::new(&deck).await;
    let told = Instant::now();
    deck.signal(Signal::TERM);
    assert_eq!(deck.ended().await.code(), Some(1), "{}", deck.log());
    let took = told.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(6), "{took:?}");
    assert!(deck.log().contains("the end took too long"), "{}", deck.log());
    goes_on(&mut deck, &server, pid).await;
}
