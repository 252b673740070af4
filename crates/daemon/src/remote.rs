//! Talks to the panel: `/api/remote` (protocol reference §9.2).
//!
//! What is worth waiting for (definitions) is a request with an answer; what is only reported (activity, states) goes through
//! a bounded queue and is sent in batches, in order, until the panel has it.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wire::ids::ServerId;
use wire::remote::{Activity, ActivityBatch, Definition, RemoteServer, ServerPage, StatusChange, StatusReport};

use crate::config::Config;

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Servers per page at boot, as Wings asks.
const PAGE_SERVERS: u64 = 50;
/// Reports waiting for the panel; beyond this the newest is dropped and counted in the log.
const REPORTS_MAX: usize = 4096;
/// Activity records in one request.
const BATCH_MAX: usize = 100;
/// First and longest pause between tries of a report.
const RETRY_MS: std::ops::RangeInclusive<u64> = 500..=30_000;

/// Why the panel gave no answer we can use.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// No connection, or it broke.
    #[error("cannot reach the panel at {url}: {source}")]
    Unreachable {
        /// The panel's base URL.
        url: String,
        /// What failed.
        #[source]
        source: reqwest::Error,
    },
    /// The panel does not know the server.
    #[error("the panel does not know this server")]
    NotFound,
    /// The panel refused.
    #[error("the panel answered {status} to {what}: {detail}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Which request.
        what: &'static str,
        /// The start of its answer.
        detail: String,
    },
}

impl RemoteError {
    /// Whether the panel refuses what was sent, so that sending it again is of no use. Its rate limit, or credentials that it
    /// does not know yet, say nothing about that.
    fn is_about_content(&self) -> bool {
        matches!(self, Self::Refused { status: 400 | 409 | 413 | 422, .. })
    }
}

/// Something the panel should know, sent when possible.
#[derive(Clone, Debug)]
pub(crate) enum Report {
    /// Who did what.
    Activity(Activity),
    /// A state change.
    Status(ServerId, StatusChange),
}

/// The panel, as a node sees it.
#[derive(Clone)]
pub(crate) struct Remote {
    http: reqwest::Client,
    base: String,
    credentials: String,
    reports: mpsc::Sender<Report>,
}

impl Remote {
    /// Prepares the client; connects to nothing. The receiver belongs to [`Remote::deliver`].
    pub(crate) fn new(config: &Config) -> Result<(Self, mpsc::Receiver<Report>), reqwest::Error> {
        let http = reqwest::Client::builder()
            .timeout(REQUEST_TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            // A redirected POST loses its method, so a wrong scheme or host should be seen, not followed.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(format!("Quarterdeck/v{} (id:{})", env!("CARGO_PKG_VERSION"), config.token_id))
            .build()?;
        let (reports, receiver) = mpsc::channel(REPORTS_MAX);
        let credentials = format!("{}.{}", config.token_id, config.token);
        Ok((Self { http, base: config.remote.clone(), credentials, reports }, receiver))
    }

    /// Queues a report; never waits.
    pub(crate) fn report(&self, report: Report) {
        if let Err(error) = self.reports.try_send(report) {
            tracing::error!(%error, "report to the panel dropped: its queue is full");
        }
    }

    /// All servers of this node.
    pub(crate) async fn servers(&self) -> Result<Vec<RemoteServer>, RemoteError> {
        let mut all = Vec::new();
        let mut page = 1;
        loop {
            let path = format!("/servers?page={page}&per_page={PAGE_SERVERS}");
            let answer: ServerPage = self.json("the list of servers", self.request(Method::GET, &path)).await?;
            all.extend(answer.data);
            if page >= answer.meta.last_page {
                return Ok(all);
            }
            page += 1;
        }
    }

    /// One server's definition.
    pub(crate) async fn server(&self, id: ServerId) -> Result<Definition, RemoteError> {
        self.json("a server's definition", self.request(Method::GET, &format!("/servers/{id}"))).await
    }

    /// Says that this node has booted: nothing is being installed any more.
    pub(crate) async fn reset(&self) -> Result<(), RemoteError> {
        self.send("the reset of states", self.request(Method::POST, "/servers/reset").json(&())).await.map(drop)
    }

    /// Sends queued reports until told to end, then what is left: that is tried once more, and counted when it is lost.
    pub(crate) async fn deliver(self, mut queue: mpsc::Receiver<Report>, ending: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            let received = tokio::select! {
                count = queue.recv_many(&mut batch, BATCH_MAX) => count,
                () = ending.cancelled() => {
                    queue.close();
                    queue.recv_many(&mut batch, BATCH_MAX).await
                }
            };
            if received == 0 {
                return;
            }
            let mut pause_ms = *RETRY_MS.start();
            while !self.deliver_once(&mut batch).await {
                let is_ending = tokio::select! {
                    () = tokio::time::sleep(Duration::from_millis(pause_ms)) => false,
                    () = ending.cancelled() => true,
                };
                if is_ending && !self.deliver_once(&mut batch).await {
                    queue.close();
                    tracing::error!(
                        lost = batch.len() + queue.len(),
                        "the node ends and the panel has not taken its reports"
                    );
                    return;
                }
                pause_ms = (pause_ms * 2).min(*RETRY_MS.end());
            }
        }
    }

    /// Sends a batch; false leaves in it what should be tried again.
    async fn deliver_once(&self, batch: &mut Vec<Report>) -> bool {
        let mut activity = Vec::new();
        for report in batch.drain(..) {
            match report {
                Report::Activity(record) => activity.push(record),
                Report::Status(id, data) => {
                    let request = self.request(Method::POST, &format!("/servers/{id}/container/status"));
                    // Stock panels have no such route, and a state is old news by the next try: never retried.
                    if let Err(error) = self.send("a state", request.json(&StatusReport { data })).await {
                        tracing::debug!(%error, server = %id, "state not reported");
                    }
                }
            }
        }
        if activity.is_empty() {
            return true;
        }
        let error = match self.send_activity(activity.clone()).await {
            Ok(()) => return true,
            Err(error) => error,
        };
        let mut kept = Vec::new();
        if error.is_about_content() {
            // One bad record rejects a whole batch: send them one by one and let go of those the panel refuses.
            for record in activity {
                match self.send_activity(vec![record.clone()]).await {
                    Ok(()) => {}
                    Err(error) if error.is_about_content() => {
                        tracing::warn!(%error, event = record.event, "activity record not taken by the panel");
                    }
                    Err(_) => kept.push(record),
                }
            }
        } else {
            kept = activity;
        }
        if kept.is_empty() {
            return true;
        }
        tracing::warn!(%error, records = kept.len(), "activity not delivered, trying again");
        batch.extend(kept.into_iter().map(Report::Activity));
        false
    }

    async fn send_activity(&self, data: Vec<Activity>) -> Result<(), RemoteError> {
        self.send("activity", self.request(Method::POST, "/activity").json(&ActivityBatch { data })).await.map(drop)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}/api/remote{path}", self.base))
            .bearer_auth(&self.credentials)
            .header("Accept", "application/vnd.pterodactyl.v1+json")
    }

    async fn json<T: DeserializeOwned>(&self, what: &'static str, request: RequestBuilder) -> Result<T, RemoteError> {
        let answer = self.send(what, request).await?;
        answer.json().await.map_err(|source| RemoteError::Unreachable { url: self.base.clone(), source })
    }

    async fn send(&self, what: &'static str, request: RequestBuilder) -> Result<reqwest::Response, RemoteError> {
        let answer = request
            .send()
            .await
            .map_err(|source| RemoteError::Unreachable { url: self.base.clone(), source: source.without_url() })?;
        match answer.status() {
            status if status.is_success() => Ok(answer),
            StatusCode::NOT_FOUND => Err(RemoteError::NotFound),
            status => {
                let mut detail = answer.text().await.unwrap_or_default();
                detail.truncate(detail.floor_char_boundary(200));
                Err(RemoteError::Refused { status: status.as_u16(), what, detail })
            }
        }
    }
}
