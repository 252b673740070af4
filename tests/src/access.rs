//! People with rights on a server, ways to lose them, and viewers who note when they last heard anything.

use std::time::Duration;

use futures_util::StreamExt;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::{DEADLINE, Rest, Socket, deck};

/// How long after the panel's answer anything of a console may still arrive.
pub const SILENT_AFTER: Duration = Duration::from_secs(1);
const PASSWORD: &str = "correct horse battery";

/// Every way to lose a console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// Their rights on the server are taken away.
    SubuserRemoved,
    /// One of them is. The right to look stays, as the panel gives it to everybody with any, so the console may be opened again.
    CommandsTaken,
    /// The key that made the token is deleted.
    KeyDeleted,
    /// Their password is changed.
    PasswordChanged,
    /// They log out everywhere.
    LoggedOutEverywhere,
    /// Their account is deleted.
    AccountDeleted,
    /// The server is suspended.
    Suspended,
    /// The server is deleted.
    ServerDeleted,
}

impl Revocation {
    /// All of them, those that end the server last.
    pub const ALL: [Self; 8] = [
        Self::SubuserRemoved,
        Self::CommandsTaken,
        Self::KeyDeleted,
        Self::PasswordChanged,
        Self::LoggedOutEverywhere,
        Self::AccountDeleted,
        Self::Suspended,
        Self::ServerDeleted,
    ];

    /// Whether it is about everybody.
    pub const fn is_of_server(self) -> bool {
        matches!(self, Self::Suspended | Self::ServerDeleted)
    }
}

/// Somebody with an account, a key and rights on one server.
pub struct Person {
    admin: Rest,
    /// With their own key.
    pub rest: Rest,
    /// Their uuid.
    pub uuid: String,
    name: String,
    key: String,
    server: String,
}

impl Person {
    /// Makes an account and gives it rights.
    pub async fn invited(admin: &Rest, name: &str, server: &str, permissions: &[&str]) -> Self {
        let email = format!("{name}@example.org");
        let body = json!({ "username": name, "email": email, "password": PASSWORD });
        let made = admin.post("/api/application/users", &body).await;
        let uuid = text(&made.ok()["attributes"]["uuid"]);
        let body = json!({ "description": "test" });
        let key = admin.post(&format!("/api/application/users/{uuid}/api-keys"), &body).await;
        let identifier = text(&key.ok()["attributes"]["identifier"]);
        let secret = text(&key.json["meta"]["secret_token"]);
        let body = json!({ "email": email, "permissions": permissions });
        admin.post(&format!("/api/client/servers/{server}/users"), &body).await.ok();
        let rest = admin.with_key(Some(&format!("{identifier}{secret}")));
        Self { admin: admin.clone(), rest, uuid, name: name.to_owned(), key: identifier, server: server.to_owned() }
    }

    /// A token and where to bring it.
    pub async fn credentials(&self) -> (String, String) {
        deck::credentials(&self.rest, &self.server).await
    }

    /// Takes it away; the moment of the panel's answer.
    ///
    /// # Panics
    /// When the panel refuses.
    pub async fn lose(&self, how: Revocation) -> Instant {
        let Self { admin, server, uuid, .. } = self;
        let subuser = format!("/api/client/servers/{server}/users/{uuid}");
        let rights = |held: &[&str]| json!({ "permissions": held });
        let answer = match how {
            Revocation::SubuserRemoved => admin.delete(&subuser).await,
            Revocation::CommandsTaken => admin.post(&subuser, &rights(&["websocket.connect"])).await,
            Revocation::KeyDeleted => self.rest.delete(&format!("/api/client/account/api-keys/{}", self.key)).await,
            Revocation::PasswordChanged => {
                let new = "another horse battery";
                let body = json!({ "current_password": PASSWORD, "password": new, "password_confirmation": new });
                Rest::send(self.rest.request(Method::PUT, "/api/client/account/password").json(&body)).await
            }
            Revocation::LoggedOutEverywhere => return self.log_out_everywhere().await,
            Revocation::AccountDeleted => admin.delete(&format!("/api/application/users/{uuid}")).await,
            Revocation::Suspended => {
                admin.post(&format!("/api/application/servers/{server}/suspend"), &json!({})).await
            }
            Revocation::ServerDeleted => admin.delete(&format!("/api/application/servers/{server}/force")).await,
        };
        let answered = Instant::now();
        answer.ok_or_panic(&format!("{how:?}"));
        answered
    }

    /// As from a browser: with a session's cookie.
    async fn log_out_everywhere(&self) -> Instant {
        let nobody = self.admin.with_key(None);
        let login = json!({ "user": self.name, "password": PASSWORD });
        let answer = nobody.post("/api/auth/login", &login).await;
        let csrf = find(answer.ok(), "csrf").unwrap_or_default();
        let cookie = answer.headers.get("set-cookie").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        let request = nobody.request(Method::POST, "/api/auth/logout-everywhere");
        let answer = Rest::send(request.header("cookie", cookie).header("x-csrf-token", csrf)).await;
        let answered = Instant::now();
        answer.ok_or_panic("logout everywhere");
        answered
    }

    /// Opens the console with a token, and listens.
    ///
    /// # Panics
    /// When it does not open.
    #[allow(clippy::expect_used)]
    pub async fn watches(&self) -> (Ear, String) {
        let (token, url) = self.credentials().await;
        let mut socket = Socket::open(&url, None).await.expect("a socket");
        socket.say("auth", &json!([token])).await;
        socket.wait_for("auth success", |heard| heard.is("auth success")).await;
        (Ear::at_socket(socket), token)
    }

    /// Follows the console over HTTP, and listens.
    ///
    /// # Panics
    /// When the panel refuses.
    #[allow(clippy::expect_used)]
    pub async fn follows(&self) -> Ear {
        let path = format!("/api/client/servers/{}/console/lines?follow=true&limit=1", self.server);
        let response = self.rest.request(Method::GET, &path).send().await.expect("an answer");
        assert_eq!(response.status().as_u16(), 200);
        Ear::at_response(response)
    }
}

/// What an ear noted.
#[derive(Clone, Copy, Debug)]
pub struct Noted {
    /// How often something of the console came.
    pub count: u64,
    /// When it last did.
    pub last: Instant,
    /// Whether the connection has ended.
    pub ended: bool,
    /// The code of the close frame, if there was one.
    pub code: Option<u16>,
}

/// A viewer who only notes when something came.
pub struct Ear {
    noted: watch::Receiver<Noted>,
    task: JoinHandle<()>,
}

impl Ear {
    fn at_socket(mut socket: Socket) -> Self {
        Self::spawn(|noted| async move {
            loop {
                let heard = socket.next().await;
                match &heard {
                    crate::socket::Heard::Closed(code, _) => {
                        return noted.send_modify(|noted| noted.code = Some(*code));
                    }
                    crate::socket::Heard::Dropped => return,
                    // Whatever says anything about the console counts.
                    heard if ["console output", "stats", "status"].iter().any(|name| heard.is(name)) => note(&noted),
                    _ => {}
                }
                socket.heard.clear();
            }
        })
    }

    fn at_response(response: reqwest::Response) -> Self {
        Self::spawn(|noted| async move {
            let mut bytes = response.bytes_stream();
            while let Some(Ok(_)) = bytes.next().await {
                note(&noted);
            }
        })
    }

    fn spawn<F: Future<Output = ()> + Send + 'static>(
        listen: impl FnOnce(std::sync::Arc<watch::Sender<Noted>>) -> F,
    ) -> Self {
        let first = Noted { count: 0, last: Instant::now(), ended: false, code: None };
        let (sender, noted) = watch::channel(first);
        let sender = std::sync::Arc::new(sender);
        let listening = listen(sender.clone());
        let task = tokio::spawn(async move {
            listening.await;
            sender.send_modify(|noted| noted.ended = true);
        });
        Self { noted, task }
    }

    /// What it noted so far.
    pub fn noted(&self) -> Noted {
        *self.noted.borrow()
    }

    /// Waits until so much more has come.
    ///
    /// # Panics
    /// When it does not come.
    #[allow(clippy::expect_used)]
    pub async fn hears(&mut self, more: u64) {
        let wanted = self.noted().count + more;
        let heard = self.noted.wait_for(|noted| noted.count >= wanted || noted.ended);
        let noted = *tokio::time::timeout(DEADLINE, heard).await.expect("something comes").expect("it listens");
        assert!(noted.count >= wanted, "the connection ended: {noted:?}");
    }

    /// Waits for the end; how long after a moment something last came, and the code of the close.
    ///
    /// # Panics
    /// When it does not end.
    #[allow(clippy::expect_used)]
    pub async fn end(&mut self, answered: Instant) -> (Duration, Option<u16>) {
        let ended = tokio::time::timeout(DEADLINE, self.noted.wait_for(|noted| noted.ended)).await;
        let noted = *ended.expect("it ends").expect("it listens");
        (noted.last.saturating_duration_since(answered), noted.code)
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn note(noted: &watch::Sender<Noted>) {
    noted.send_modify(|noted| {
        noted.count += 1;
        noted.last = Instant::now();
    });
}

/// Brings a token to a socket: what it hears first, or why there is no socket.
pub async fn bring(url: &str, token: &str) -> String {
    let mut socket = match Socket::open(url, None).await {
        Ok(socket) => socket,
        Err(error) => return error.to_string(),
    };
    socket.say("auth", &json!([token])).await;
    match socket.next().await {
        crate::socket::Heard::Event { event, args } => {
            format!("{event}: {}", args.unwrap_or_default().concat()).trim_end_matches(": ").to_owned()
        }
        other => format!("{other:?}"),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The first string member of this name, at any depth.
fn find(value: &Value, name: &str) -> Option<String> {
    match value {
        Value::Object(members) => members
            .get(name)
            .and_then(Value::as_str)
            .map(str::to_owned)
            .or_else(|| members.values().find_map(|value| find(value, name))),
        _ => None,
    }
}
