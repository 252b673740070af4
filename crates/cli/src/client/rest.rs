//! Requests to the panel: one connection pool, one way to read errors, and patience where the panel asks for it.

use std::time::Duration;

use reqwest::header::{ACCEPT, RETRY_AFTER};
use reqwest::{Client, Method, RequestBuilder, Response, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::access::{Access, Secret};
use crate::client::api::{Credentials, Grant, Item, Page, Server};
use crate::fault::{Fault, Problem};
use crate::output::note;

/// Until the panel accepts the connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Until a whole answer is there: the panel itself may wait for a node.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);
/// How often a request that met a 429 is made again.
const PATIENCE_ATTEMPTS: u32 = 3;
/// The longest `Retry-After` that is waited for; beyond it the user is told.
const PATIENCE_S_MAX: u64 = 60;
/// What is waited when a 429 names no time.
const PATIENCE_S_DEFAULT: u64 = 5;
const PER_PAGE: &str = "100";
/// Pages read of one list; a panel that never ends stops here.
const PAGES_MAX: u64 = 1000;
/// Characters of the short form of a server's id.
const IDENTIFIER_CHARS: usize = 8;

/// A panel, asked with a key.
#[derive(Clone, Debug)]
pub(crate) struct Rest {
    http: Client,
    base: Url,
    key: Secret,
}

impl Rest {
    /// No request is made yet.
    pub(crate) fn new(access: Access) -> Result<Self, Fault> {
        let mut builder = Client::builder()
            .user_agent(concat!("quarterdeck/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            // A key is for one panel: it must not follow a redirect to another.
            .redirect(reqwest::redirect::Policy::none());
        if is_loopback(&access.url) {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| Fault::Failed(format!("cannot set up HTTP: {}", chain(&error))))?;
        Ok(Self { http, base: access.url, key: access.key })
    }

    /// `scheme://host[:port]`, as browsers send it in `Origin`.
    pub(crate) fn origin(&self) -> String {
        self.base.origin().ascii_serialization()
    }

    /// A key that opens `/api/application` alone.
    pub(crate) fn has_application_key(&self) -> bool {
        self.key.0.starts_with("ptla_")
    }

    fn url(&self, path: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            // Each part is escaped, so an id that somebody typed cannot lead elsewhere. `..` is no id either.
            segments.pop_if_empty().extend(path.iter().filter(|part| !matches!(**part, "." | "..")));
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// `GET`, decoded.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, Fault> {
        decode(self.send(self.http.request(Method::GET, self.url(path, &[]))).await?).await
    }

    /// `GET` with a query, decoded.
    pub(crate) async fn get_query<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<T, Fault> {
        decode(self.send(self.http.request(Method::GET, self.url(path, query))).await?).await
    }

    /// `POST` with an answer.
    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &[&str], body: &impl Serialize) -> Result<T, Fault> {
        decode(self.send(self.http.request(Method::POST, self.url(path, &[])).json(body)).await?).await
    }

    /// `POST` of a text, with a query and an answer.
    pub(crate) async fn post_text<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        text: String,
    ) -> Result<T, Fault> {
        let request = self.http.request(Method::POST, self.url(path, query));
        decode(self.send(request.header("content-type", "text/plain; charset=utf-8").body(text)).await?).await
    }

    /// `GET`, as it comes.
    pub(crate) async fn get_text(&self, path: &[&str]) -> Result<String, Fault> {
        let answer = self.send(self.http.request(Method::GET, self.url(path, &[]))).await?;
        answer
            .text()
            .await
            .map_err(|error| Fault::Unreachable(format!("the panel's answer broke off: {}", chain(&error))))
    }

    /// `PATCH`, decoded.
    pub(crate) async fn patch<T: DeserializeOwned>(&self, path: &[&str], body: &impl Serialize) -> Result<T, Fault> {
        decode(self.send(self.http.request(Method::PATCH, self.url(path, &[])).json(body)).await?).await
    }

    /// `POST` whose answer has no body.
    pub(crate) async fn post_empty(&self, path: &[&str], body: &Value) -> Result<(), Fault> {
        self.send(self.http.request(Method::POST, self.url(path, &[])).json(body)).await.map(drop)
    }

    /// `DELETE`.
    pub(crate) async fn delete(&self, path: &[&str]) -> Result<(), Fault> {
        self.send(self.http.request(Method::DELETE, self.url(path, &[]))).await.map(drop)
    }

    /// Every item of a list, over all its pages, as sent.
    pub(crate) async fn all(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Vec<Value>, Fault> {
        let mut items = Vec::new();
        for number in 1..=PAGES_MAX {
            let number_text = number.to_string();
            let mut full = vec![("page", number_text.as_str()), ("per_page", PER_PAGE)];
            full.extend_from_slice(query);
            let page: Page = self.get_query(path, &full).await?;
            let empty = page.data.is_empty();
            items.extend(page.data);
            if empty || page.meta.pagination.is_none_or(|pagination| number >= pagination.total_pages) {
                break;
            }
        }
        Ok(items)
    }

    /// A token for a server's console. Once only: whoever reconnects has its own patience.
    pub(crate) async fn grant(&self, server: &str) -> Result<Grant, Fault> {
        let request = self.http.request(Method::GET, self.url(&["api", "client", "servers", server, "websocket"], &[]));
        let credentials: Credentials = decode(check(self.once(request).await?).await?).await?;
        Ok(credentials.data)
    }

    /// The server somebody means: by identifier or uuid, else by its exact name.
    pub(crate) async fn find(&self, typed: &str) -> Result<Server, Fault> {
        if looks_like_id(typed) {
            match self.get::<Item<Server>>(&["api", "client", "servers", typed]).await {
                Ok(item) => return Ok(item.attributes),
                // It may still be a name.
                Err(fault) if fault.status() == Some(404) => {}
                Err(fault) => return Err(fault),
            }
        }
        let mut found = named(self.servers(None).await?, typed);
        if found.is_empty() {
            found = named(self.servers(Some("admin-all")).await.unwrap_or_default(), typed);
        }
        match (found.pop(), found.is_empty()) {
            (Some(server), true) => Ok(server),
            (None, _) => Err(Fault::Failed(format!(
                "there is no server `{typed}` that you may see; `quarterdeck server list` shows all you have"
            ))),
            (Some(last), false) => {
                found.push(last);
                let ids: Vec<&str> = found.iter().map(|server| server.identifier.as_str()).collect();
                Err(Fault::Failed(format!(
                    "several servers are named `{typed}`; say which by identifier: {}",
                    ids.join(", ")
                )))
            }
        }
    }

    /// Servers of the caller, or with a `type` of the client API others too.
    pub(crate) async fn servers(&self, kind: Option<&str>) -> Result<Vec<Server>, Fault> {
        let query: Vec<(&str, &str)> = kind.map(|kind| ("type", kind)).into_iter().collect();
        self.all(&["api", "client"], &query).await?.into_iter().map(attributes).collect()
    }

    /// Sends it, waits where the panel says so, and turns an error answer into a fault.
    async fn send(&self, request: RequestBuilder) -> Result<Response, Fault> {
        let mut attempts = 1;
        loop {
            let again = request.try_clone();
            let answer = self.once(request_of(again.as_ref(), &request)?).await?;
            if answer.status().as_u16() == 429 && attempts < PATIENCE_ATTEMPTS {
                let seconds = retry_after(&answer).unwrap_or(PATIENCE_S_DEFAULT);
                if seconds <= PATIENCE_S_MAX {
                    note(&format!("too many requests for the panel; going on in {seconds} s"));
                    tokio::time::sleep(Duration::from_secs(seconds)).await;
                    attempts += 1;
                    continue;
                }
            }
            return check(answer).await;
        }
    }

    async fn once(&self, request: RequestBuilder) -> Result<Response, Fault> {
        let request = request.header(ACCEPT, "application/json").bearer_auth(&self.key.0);
        request.send().await.map_err(|error| {
            let what = if error.is_timeout() { "no answer in time".to_owned() } else { root(&error) };
            Fault::Unreachable(format!("cannot reach the panel at {} ({what}); is it running there?", self.base))
        })
    }
}

fn request_of(clone: Option<&RequestBuilder>, original: &RequestBuilder) -> Result<RequestBuilder, Fault> {
    clone
        .and_then(RequestBuilder::try_clone)
        .or_else(|| original.try_clone())
        .ok_or_else(|| Fault::Failed("the request cannot be made twice".into()))
}

fn named(servers: Vec<Server>, name: &str) -> Vec<Server> {
    servers.into_iter().filter(|server| server.name == name).collect()
}

fn looks_like_id(typed: &str) -> bool {
    (typed.len() == IDENTIFIER_CHARS && typed.bytes().all(|byte| byte.is_ascii_hexdigit()))
        || uuid::Uuid::try_parse(typed).is_ok()
}

/// The `attributes` of an item.
pub(crate) fn attributes<T: DeserializeOwned>(mut item: Value) -> Result<T, Fault> {
    serde_json::from_value(item["attributes"].take()).map_err(|error| not_a_panel(&error.to_string()))
}

fn not_a_panel(why: &str) -> Fault {
    Fault::Foreign(format!("the answer is not what a panel's API gives ({why}); is the address that of a panel?"))
}

async fn decode<T: DeserializeOwned>(answer: Response) -> Result<T, Fault> {
    let body = answer
        .bytes()
        .await
        .map_err(|error| Fault::Unreachable(format!("the panel's answer broke off: {}", chain(&error))))?;
    serde_json::from_slice(&body).map_err(|error| not_a_panel(&error.to_string()))
}

fn retry_after(answer: &Response) -> Option<u64> {
    answer.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()
}

async fn check(answer: Response) -> Result<Response, Fault> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    if status.is_redirection() {
        let to = answer.headers().get("location").and_then(|to| to.to_str().ok()).unwrap_or("elsewhere");
        return Err(Fault::Foreign(format!(
            "the panel sends us on to {to}; use that address (without its path) as QUARTERDECK_URL"
        )));
    }
    let retry_after_s = retry_after(&answer);
    let body = answer.bytes().await.unwrap_or_default();
    Err(Fault::Refused(problem(status.as_u16(), &body, retry_after_s)))
}

/// Reads `{"errors": [{"code", "status", "detail", "meta": {"source_field"}}]}`; anything else leaves only the status.
fn problem(status: u16, body: &[u8], retry_after_s: Option<u64>) -> Problem {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let errors = body["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    let code = errors.first().and_then(|error| error["code"].as_str()).unwrap_or_default().to_owned();
    let details: Vec<String> = errors
        .iter()
        .filter_map(|error| {
            let detail = error["detail"].as_str()?;
            Some(match error["meta"]["source_field"].as_str() {
                Some(field) if !detail.contains(field) => format!("{field}: {detail}"),
                _ => detail.to_owned(),
            })
        })
        .collect();
    Problem { status, code, detail: crate::output::plain(&details.join(" ")), retry_after_s }
}

fn is_loopback(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => {
            host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        None => false,
    }
}

/// The innermost cause: what went wrong, without how we came to notice.
fn root(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// An error with its causes, each once; the outer ones often say nothing.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut texts = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !texts.iter().any(|known| known.contains(&text)) {
            texts.push(text);
        }
        source = cause.source();
    }
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn rest(url: &str) -> Rest {
        let access = Access { url: crate::access::parse_url(url).unwrap(), key: Secret("k".into()) };
        Rest::new(access).unwrap()
    }

    #[test]
    fn paths_are_escaped_and_stay_below_the_panel() {
        let rest = rest("https://panel.example/games/");
        let url = |path: &[&str]| rest.url(path, &[]).to_string();
        assert_eq!(url(&["api", "client"]), "https://panel.example/games/api/client");
        assert_eq!(
            url(&["api", "client", "servers", "a/b?c"]),
            "https://panel.example/games/api/client/servers/a%2Fb%3Fc"
        );
        assert_eq!(url(&["api", "..", "x"]), "https://panel.example/games/api/x");
        assert_eq!(rest.url(&["api"], &[("filter[name]", "a&b")]).query(), Some("filter%5Bname%5D=a%26b"));
        assert_eq!(rest.origin(), "https://panel.example");
    }

    #[test]
    fn loopback_addresses_are_known_in_every_spelling() {
        for (url, expected) in [
            ("http://127.0.0.1:8080", true),
            ("http://localhost", true),
            ("http://[::1]:8080", true),
            ("http://10.0.0.1", false),
            ("https://panel.example", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }

    #[test]
    fn ids_are_told_from_names() {
        assert!(looks_like_id("1a2b3c4d"));
        assert!(looks_like_id("11111111-2222-3333-4444-555555555555"));
        assert!(!looks_like_id("demo"));
        assert!(!looks_like_id("openttd!"));
    }

    #[test]
    fn errors_are_read_from_the_envelope_and_from_anything_else() {
        let body = br#"{"errors":[{"code":"ValidationException","status":"422","detail":"The field is required.","meta":{"source_field":"email","rule":"required"}}]}"#;
        let found = problem(422, body, None);
        assert_eq!(
            (found.code.as_str(), found.detail.as_str()),
            ("ValidationException", "email: The field is required.")
        );
        let found = problem(502, b"<html>bad gateway</html>", None);
        assert_eq!((found.code.as_str(), found.detail.as_str(), found.status), ("", "", 502));
        assert!(problem(500, b"{\"errors\":[{\"detail\":\"\\u001b[2J\"}]}", None).detail.starts_with('\u{fffd}'));
    }
}
