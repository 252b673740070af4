//! A console client that says exactly what a test tells it and keeps everything it hears.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::{DEADLINE, Deck};

type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What came over the socket.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// A text frame, parsed.
    Event {
        /// Its event.
        event: String,
        /// Its arguments; none when the member is missing.
        args: Option<Vec<String>>,
    },
    /// A close frame: code and reason.
    Closed(u16, String),
    /// The connection ended without a close frame.
    Dropped,
    /// A ping.
    Ping,
}

impl Heard {
    /// An event without arguments.
    pub fn bare(event: &str) -> Self {
        Self::Event { event: event.to_owned(), args: None }
    }

    /// An event with one argument.
    pub fn event(event: &str, arg: &str) -> Self {
        Self::Event { event: event.to_owned(), args: Some(vec![arg.to_owned()]) }
    }

    /// The argument of an event of this name.
    pub fn arg_of(&self, name: &str) -> Option<&str> {
        match self {
            Self::Event { event, args: Some(args) } if event == name => args.first().map(String::as_str),
            _ => None,
        }
    }

    /// Whether it is an event of this name.
    pub fn is(&self, name: &str) -> bool {
        matches!(self, Self::Event { event, .. } if event == name)
    }
}

/// A connection.
pub struct Socket {
    stream: Stream,
    /// Everything heard so far, in order.
    pub heard: Vec<Heard>,
}

impl Socket {
    /// Connects without authenticating. `origin` is sent as the header if given.
    ///
    /// # Errors
    /// What the handshake said.
    pub async fn open(url: &str, origin: Option<&str>) -> Result<Self, Box<Error>> {
        let mut request = url.into_client_request().map_err(Box::new)?;
        if let Some(origin) = origin.and_then(|origin| origin.parse().ok()) {
            request.headers_mut().insert("Origin", origin);
        }
        let (stream, _) = tokio_tungstenite::connect_async(request).await.map_err(Box::new)?;
        Ok(Self { stream, heard: Vec::new() })
    }

    /// Gets a token for a server, connects and authenticates; returns after `auth success`.
    ///
    /// # Panics
    /// When any of it fails.
    #[allow(clippy::expect_used)]
    pub async fn console(deck: &Deck, server: &str) -> Self {
        let (token, url) = deck.credentials(server).await;
        let mut socket = Self::open(&url, None).await.expect("a socket");
        socket.say("auth", &json!([token])).await;
        socket.wait_for("auth success", |heard| heard.is("auth success")).await;
        socket
    }

    /// Sends an event.
    pub async fn say(&mut self, event: &str, args: &Value) {
        self.text(&json!({ "event": event, "args": args }).to_string()).await;
    }

    /// Sends a text frame as it is.
    pub async fn text(&mut self, text: &str) {
        self.message(Message::text(text)).await;
    }

    /// Sends any frame. A connection that ended is noticed when something is waited for.
    pub async fn message(&mut self, message: Message) {
        let _ = self.stream.send(message).await;
    }

    /// The next thing that comes.
    ///
    /// # Panics
    /// When nothing comes in time.
    pub async fn next(&mut self) -> Heard {
        let Ok(heard) = tokio::time::timeout(DEADLINE, self.receive()).await else {
            panic!("nothing came; heard so far: {:#?}", self.heard.iter().rev().take(20).collect::<Vec<_>>())
        };
        self.heard.push(heard.clone());
        heard
    }

    async fn receive(&mut self) -> Heard {
        loop {
            return match self.stream.next().await {
                Some(Ok(Message::Text(text))) => {
                    let value: Value = serde_json::from_str(text.as_str()).unwrap_or_default();
                    let args = value["args"].as_array().map(|args| {
                        args.iter().map(|arg| arg.as_str().unwrap_or("(not a string)").to_owned()).collect()
                    });
                    Heard::Event { event: value["event"].as_str().unwrap_or_default().to_owned(), args }
                }
                Some(Ok(Message::Close(Some(frame)))) => Heard::Closed(frame.code.into(), frame.reason.to_string()),
                Some(Ok(Message::Ping(_))) => Heard::Ping,
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => Heard::Dropped,
            };
        }
    }

    /// Reads until something passes the test, and gives it.
    ///
    /// # Panics
    /// When it does not come in time or the connection ends before.
    pub async fn wait_for(&mut self, what: &str, wanted: impl Fn(&Heard) -> bool) -> Heard {
        let start = self.heard.len();
        let until = tokio::time::Instant::now() + DEADLINE;
        loop {
            let Ok(heard) = tokio::time::timeout_at(until, self.receive()).await else {
                panic!("no {what} came; heard meanwhile: {:#?}", &self.heard[start..])
            };
            self.heard.push(heard.clone());
            if wanted(&heard) {
                return heard;
            }
            if matches!(heard, Heard::Closed(..) | Heard::Dropped) {
                panic!("the connection ended while waiting for {what}: {:#?}", &self.heard[start..])
            }
        }
    }

    /// Waits for a console line that contains a text, and gives the line.
    pub async fn line(&mut self, part: &str) -> String {
        let heard =
            self.wait_for(part, |heard| heard.arg_of("console output").is_some_and(|line| line.contains(part))).await;
        heard.arg_of("console output").unwrap_or_default().to_owned()
    }

    /// Waits for a state.
    pub async fn status(&mut self, state: &str) {
        self.wait_for(&format!("status {state}"), |heard| heard.arg_of("status") == Some(state)).await;
    }

    /// Asks for something that is always answered and waits for the answer, so that everything asked for before has been
    /// handled: messages of one socket are handled in order.
    pub async fn settle(&mut self) {
        let word = format!("settled-{}", self.heard.len());
        self.say("set state", &json!([word])).await;
        self.wait_for(&word, |heard| heard.arg_of("daemon error").is_some_and(|text| text.contains(&word))).await;
    }

    /// Reads until the connection ends, and says how.
    pub async fn end(&mut self) -> Heard {
        self.wait_for_end(DEADLINE).await
    }

    /// As [`Socket::end`] with a deadline of its own.
    ///
    /// # Panics
    /// When the connection does not end in time.
    pub async fn wait_for_end(&mut self, limit: Duration) -> Heard {
        let until = tokio::time::Instant::now() + limit;
        loop {
            let Ok(heard) = tokio::time::timeout_at(until, self.receive()).await else {
                panic!("the connection goes on; heard: {:#?}", self.heard.iter().rev().take(20).collect::<Vec<_>>())
            };
            self.heard.push(heard.clone());
            if matches!(heard, Heard::Closed(..) | Heard::Dropped) {
                return heard;
            }
        }
    }

    /// Listens for so long, to what comes.
    pub async fn hear_for(&mut self, time: Duration) {
        let until = tokio::time::Instant::now() + time;
        while let Ok(heard) = tokio::time::timeout_at(until, self.receive()).await {
            self.heard.push(heard.clone());
            if matches!(heard, Heard::Closed(..) | Heard::Dropped) {
                return;
            }
        }
    }

    /// All console lines heard so far.
    pub fn lines(&self) -> Vec<&str> {
        self.heard.iter().filter_map(|heard| heard.arg_of("console output")).collect()
    }

    /// Ends the conversation politely.
    pub async fn close(mut self) {
        let _ = self.stream.close(None).await;
    }
}
