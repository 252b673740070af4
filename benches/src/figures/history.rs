//! What was printed, for those who come later: `send logs`, lines over REST, a search. One server with a large log has all of it.

use std::net::TcpStream;
use std::time::Duration;

use e2e::Rest;
use e2e::rest::Answer;
use serde_json::json;
use tokio::time::Instant;
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

use crate::cpu;
use crate::line;
use crate::plan::Plan;
use crate::table::{Row, median};
use crate::target::Ours;

/// Length of a line's text.
const LINE_BYTES: usize = 127;
/// The same in the log, without its frame.
const LOGGED_BYTES: u64 = LINE_BYTES as u64 + 1;
/// Lines that the game prints before it is looked whether they are there.
const PIECE_LINES: u64 = 500_000;
/// Lines behind the newest needle.
const LAST_LINES: u64 = 12_000;
/// Lines of one answer, the most there may be.
const PAGE_LINES: u64 = 5000;
/// Until a piece is in the log.
const DEADLINE: Duration = Duration::from_mins(2);
/// More than any figure here needs; and the most lines that `send logs` may be set to.
const SETTINGS: &str = "retain_bytes = 8589934592\nlog_lines = ";
/// Lines that `send logs` answers with: what it does by itself, and the most it may be set to.
const LOG_LINES: [u64; 2] = [150, 2000];

/// All of them.
pub(crate) async fn history(plan: Plan) -> Vec<Row> {
    let mut log = Log::filled(plan).await;
    let mut rows = Vec::new();
    for lines in LOG_LINES {
        log.ours.deck.stop().await;
        log.ours.deck.set(&format!("{}{SETTINGS}{lines}\n", crate::target::SETTINGS));
        cpu::pin(crate::target::SERVER_CORE);
        log.ours.deck.up_again().await;
        cpu::pin(crate::target::LOAD_CORE);
        log.rest = log.ours.deck.rest();
        rows.push(log.last_lines(plan, &format!("`send logs` of {lines} lines"), lines, None).await);
    }
    let lines = 10_000;
    let attach = json!({ "event": "attach", "args": [json!({ "last": lines }).to_string()] });
    rows.push(log.last_lines(plan, &format!("`attach` {lines} lines before the end"), lines, Some(attach)).await);
    rows.extend(log.read(plan).await);
    rows.extend(log.searches(plan).await);
    rows
}

/// A server with a large log.
struct Log {
    ours: Ours,
    rest: Rest,
    /// Lines that the game has printed with a number.
    printed: u64,
}

impl Log {
    /// The needles stand in front of everything, in the middle, and near the end.
    async fn filled(plan: Plan) -> Self {
        let ours = Ours::start_with(&format!("{SETTINGS}{}\n", LOG_LINES[0]), LINE_BYTES).await;
        let rest = ours.deck.rest();
        let mut log = Self { ours, rest, printed: 0 };
        let bytes: u64 = plan.size(40_000_000, 1_000_000_000);
        let half = bytes / LOGGED_BYTES / 2;
        log.needle("start").await;
        log.print(half).await;
        log.needle("middle").await;
        log.print(half).await;
        log.needle("end").await;
        log.print(LAST_LINES).await;
        log
    }

    /// Prints a text to be found. What is typed is a line as well, so it does not have the text in it.
    async fn needle(&self, place: &str) {
        self.ours.order(&format!(r"raw the \x6eeedle at the {place}\n")).await;
    }

    /// So many lines, until the last one is in the log.
    async fn print(&mut self, lines: u64) {
        let end = self.printed + lines;
        while self.printed < end {
            let piece = PIECE_LINES.min(end - self.printed);
            self.ours.order(&format!("burst {piece}")).await;
            self.printed += piece;
            let until = Instant::now() + DEADLINE;
            while self.newest().await != Some(self.printed - 1) {
                assert!(Instant::now() < until, "line {} does not come into the log", self.printed - 1);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// The number that the game gave to its last line.
    async fn newest(&self) -> Option<u64> {
        let answer = self.get("lines?limit=1").await;
        let text = answer.ok()["attributes"]["lines"][0]["text"].as_str()?.to_owned();
        line::stamp(text.as_bytes()).map(|stamp| stamp.seq)
    }

    /// The number that the log gives to the next line.
    async fn head(&self) -> u64 {
        self.get("lines?limit=1").await.ok()["attributes"]["next"].as_u64().unwrap_or_default()
    }

    fn path(&self, what: &str) -> String {
        format!("/api/client/servers/{}/console/{what}", self.ours.game)
    }

    async fn get(&self, what: &str) -> Answer {
        self.rest.get(&self.path(what)).await
    }

    /// From the question until the last of the newest lines is there; every time on a connection of its own. Without a question of
    /// the protocol with numbers it is `send logs`.
    async fn last_lines(&self, plan: Plan, what: &str, lines: u64, numbered: Option<serde_json::Value>) -> Row {
        let (mut times, mut used) = (Vec::new(), Vec::new());
        for _ in 0..plan.size(3, 15) {
            let mut socket = self.console(numbered.is_some()).await;
            let question = numbered.clone().unwrap_or_else(|| json!({ "event": "send logs", "args": [null] }));
            let (before, begun) = (cpu::used(self.ours.pid()), Instant::now());
            let got = ask(&mut socket, &question, self.printed - 1);
            times.push(begun.elapsed().as_secs_f64() * 1000.0);
            used.push(cpu::used(self.ours.pid()).saturating_sub(before).as_secs_f64() * 1000.0);
            assert_eq!(got, lines, "lines of {what}");
        }
        let most = times.iter().copied().fold(0.0, f64::max);
        Row::new(
            format!("{what} of a log of {:.0} MB, until the last has come", self.megabytes()),
            format!("{:.2} ms", median(times)),
        )
        .note(format!("{:.2} ms at most; CPU of the program {:.2} ms", most, median(used)))
    }

    /// A console that has been let in.
    #[allow(clippy::expect_used)]
    async fn console(&self, is_numbered: bool) -> WebSocket<TcpStream> {
        let (token, url) = self.ours.deck.credentials(&self.ours.game).await;
        let address = url.trim_start_matches("ws://").split('/').next().unwrap_or_default();
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        let mut request = url.as_str().into_client_request().expect("a request");
        if is_numbered {
            let protocol = "quarterdeck.v1".parse().expect("a header");
            request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
        }
        let (mut socket, _) = tungstenite::client(request, stream).expect("a handshake");
        let auth = json!({ "event": "auth", "args": [token] }).to_string();
        socket.send(Message::text(auth)).expect("auth");
        while !text(&mut socket).contains("\"status\"") {}
        socket
    }

    #[expect(clippy::cast_precision_loss, reason = "a figure")]
    fn megabytes(&self) -> f64 {
        (self.printed * LOGGED_BYTES) as f64 / 1e6
    }

    /// The newest part of the log over REST, page by page and in one answer.
    async fn read(&self, plan: Plan) -> Vec<Row> {
        let bytes: u64 = plan.size(10_000_000, 100_000_000);
        let pages = bytes / LOGGED_BYTES / PAGE_LINES;
        let lines = pages * PAGE_LINES;
        let first = self.head().await - lines;
        let mut rows = Vec::new();
        for format in ["text", "ndjson"] {
            let reading = Reading::begins(&self.ours);
            let mut got = 0;
            for page in 0..pages {
                let after = first + page * PAGE_LINES - 1;
                let answer = self.get(&format!("lines?after={after}&limit={PAGE_LINES}&format={format}")).await;
                answer.ok_or_panic("a page");
                assert_eq!(answer.text.lines().count() as u64, PAGE_LINES, "lines of a page");
                got += answer.text.len();
            }
            rows.push(reading.row(&format!("{pages} answers of {PAGE_LINES} lines as `{format}`"), got));
        }
        let reading = Reading::begins(&self.ours);
        let got = self.followed(first - 1, lines).await;
        rows.push(reading.row("one answer that follows as `text`", got));
        rows
    }

    /// Reads lines of an answer that does not end by itself. How many bytes they were.
    #[allow(clippy::expect_used)]
    async fn followed(&self, after: u64, lines: u64) -> usize {
        let path = self.path(&format!("lines?after={after}&follow=true&format=text"));
        let request = self.rest.request("GET".parse().unwrap_or_default(), &path);
        let mut answer = request.send().await.expect("an answer");
        let (mut bytes, mut got) = (0, 0);
        while got < lines {
            let chunk = answer.chunk().await.expect("more of it").expect("all of it");
            bytes += chunk.len();
            got += memchr::memchr_iter(b'\n', &chunk).count() as u64;
        }
        assert_eq!(got, lines, "lines of an answer");
        bytes
    }

    /// Searches for a text that is there once, and one that is not.
    async fn searches(&self, plan: Plan) -> Vec<Row> {
        let mut rows = Vec::new();
        for place in ["end", "middle", "start"] {
            let mut found = Vec::new();
            for _ in 0..plan.size(1, 3) {
                found.push(self.search(&format!("the needle at the {place}")).await);
            }
            let first = median(found.iter().map(|found| found.first_s).collect());
            let all = median(found.iter().map(|found| found.all_s).collect());
            let answers = found.first().map(|found| found.answers).unwrap_or_default();
            rows.push(
                Row::new(
                    format!(
                        "search in {:.0} MB, the only hit near the {place}: until it is told, until all is searched",
                        self.megabytes()
                    ),
                    format!("{:.0} ms, {all:.2} s", first * 1000.0),
                )
                .goal("the first under 200 ms, all under 2 s", first < 0.2 && all < 2.0)
                .note(format!("{answers} answers, each asked for by the one before; newest first")),
            );
        }
        rows
    }

    async fn search(&self, text: &str) -> Found {
        let begun = Instant::now();
        let (mut first, mut hits, mut answers) = (None, 0, 0);
        let mut before = u64::MAX >> 1;
        loop {
            let answer = self.get(&format!("search?q={}&before={before}", text.replace(' ', "%20"))).await;
            answers += 1;
            let found = &answer.ok()["attributes"];
            let here = found["matches"].as_array().map(Vec::len).unwrap_or_default();
            if here > 0 {
                hits += here;
                first = first.or(Some(begun.elapsed()));
            }
            if found["complete"] == true {
                break;
            }
            before = found["searched_to"].as_u64().unwrap_or_default();
        }
        assert_eq!(hits, 1, "hits of {text}");
        Found { first_s: first.unwrap_or_default().as_secs_f64(), all_s: begun.elapsed().as_secs_f64(), answers }
    }
}

/// How a search went.
struct Found {
    /// Seconds until the first hit was told.
    first_s: f64,
    /// Seconds until everything was searched.
    all_s: f64,
    answers: usize,
}

/// Something large that is being read.
struct Reading {
    pid: u32,
    before: u64,
    begun: Instant,
}

impl Reading {
    fn begins(ours: &Ours) -> Self {
        let pid = ours.pid();
        cpu::forget_peak(pid);
        Self { pid, before: cpu::resident(pid), begun: Instant::now() }
    }

    #[expect(clippy::cast_precision_loss, reason = "a figure")]
    fn row(self, how: &str, bytes: usize) -> Row {
        let seconds = self.begun.elapsed().as_secs_f64();
        let (before, peak) = (self.before, cpu::peak(self.pid));
        let megabytes = bytes as f64 / 1e6;
        Row::new(format!("REST: {how}, {megabytes:.0} MB"), format!("{seconds:.2} s, {:.0} MB/s", megabytes / seconds))
            .goal("no more than 64 MiB of memory", peak.saturating_sub(before) < 64 << 20)
            .note(format!("resident {} MiB before, {} MiB at most", before >> 20, peak >> 20))
    }
}

/// Asks, and reads until the line that has this number of the game. How many lines came.
#[allow(clippy::expect_used)]
fn ask(socket: &mut WebSocket<TcpStream>, question: &serde_json::Value, last: u64) -> u64 {
    socket.send(Message::text(question.to_string())).expect("a question");
    let mut lines = 0;
    loop {
        let text = text(socket);
        if !text.starts_with(r#"{"event":"console output""#) {
            continue;
        }
        lines += 1;
        if line::stamp(text.as_bytes()).is_some_and(|stamp| stamp.seq == last) {
            return lines;
        }
    }
}

/// The next text.
#[allow(clippy::expect_used)]
fn text(socket: &mut WebSocket<TcpStream>) -> String {
    loop {
        if let Message::Text(text) = socket.read().expect("a message") {
            return text.as_str().to_owned();
        }
    }
}
