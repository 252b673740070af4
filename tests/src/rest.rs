//! A REST client that keeps the whole answer: status, headers, body.

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::Value;

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// The body as JSON; null when it is empty or no JSON.
    pub json: Value,
    /// The body as text.
    pub text: String,
}

impl Answer {
    /// `code` and `status` of the first error of the envelope, and the HTTP status.
    pub fn error(&self) -> (u16, &str, &str) {
        let error = &self.json["errors"][0];
        (self.status, error["code"].as_str().unwrap_or_default(), error["status"].as_str().unwrap_or_default())
    }

    /// Asserts a success, and says of what when it is none.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn ok_or_panic(&self, what: &str) {
        assert!((200..300).contains(&self.status), "{what}: {} {}", self.status, self.text);
    }

    /// The body of a success.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn ok(&self) -> &Value {
        assert!((200..300).contains(&self.status), "{} {}", self.status, self.text);
        &self.json
    }
}

/// Speaks to one base URL with one key.
#[derive(Clone, Debug)]
pub struct Rest {
    http: reqwest::Client,
    base: String,
    key: Option<String>,
}

impl Rest {
    /// A client; connects to nothing yet.
    pub fn new(base: &str, key: Option<&str>) -> Self {
        let http = reqwest::Client::builder().no_proxy().timeout(crate::DEADLINE).build().unwrap_or_default();
        Self { http, base: base.to_owned(), key: key.map(str::to_owned) }
    }

    /// The same place with another key.
    #[must_use]
    pub fn with_key(&self, key: Option<&str>) -> Self {
        Self { key: key.map(str::to_owned), ..self.clone() }
    }

    /// The key.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// The base URL.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// A request with the headers that clients usually send, for tests that need more than [`Rest::get`] and the others.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base)).header("Accept", "application/json");
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    /// Sends a request.
    ///
    /// # Panics
    /// When there is no answer at all.
    #[allow(clippy::expect_used)]
    pub async fn send(request: reqwest::RequestBuilder) -> Answer {
        let answer = request.send().await.expect("an answer");
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await.expect("a body");
        Answer { status, headers, json: serde_json::from_str(&text).unwrap_or_default(), text }
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        Self::send(self.request(Method::GET, path)).await
    }

    /// POST with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        Self::send(self.request(Method::POST, path).json(body)).await
    }

    /// PATCH with a JSON body.
    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        Self::send(self.request(Method::PATCH, path).json(body)).await
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> Answer {
        Self::send(self.request(Method::DELETE, path)).await
    }
}
