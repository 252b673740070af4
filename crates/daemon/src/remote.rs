//! Talks to the panel: `/api/remote` (protocol reference §9.2).
//!
//! What is worth waiting for (definitions) is a request with an answer. What is only reported goes through bounded queues and is
//! sent in order: activity in batches until the panel has it, states beside it, once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wire::ids::ServerId;
use wire::remote::{
    Activity, ActivityBatch, Definition, InstallReport, InstallScript, RemoteServer, ServerPage, StatusChange,
    StatusReport,
};

use crate::clock;
use crate::config::Config;
use crate::panel_time::PanelTime;

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the report of a state may take: it is old news soon.
const STATE_TIMEOUT: Duration = Duration::from_secs(5);
/// Servers whose states are reported at the same time.
const STATES_AT_ONCE: usize = 8;
/// How long activity may still be under way when the node ends; less than it waits for its tasks.
const LAST_ACTIVITY_TIMEOUT: Duration = Duration::from_secs(4);
/// The same for states, which nobody misses.
const LAST_STATES_TIMEOUT: Duration = Duration::from_secs(1);
/// Servers per page at boot, as Wings asks.
const PAGE_SERVERS: u64 = 50;
/// Reports of each kind waiting for the panel; beyond this the newest is dropped and counted in the log.
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
    /// It said yes to a request and then something that makes no sense.
    #[error("the panel's answer to {what} cannot be read: {why}")]
    Unreadable {
        /// Which request.
        what: &'static str,
        /// What is wrong with it.
        why: String,
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
    pub(crate) fn is_about_content(&self) -> bool {
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
    activity: mpsc::Sender<Activity>,
    states: mpsc::Sender<(ServerId, StatusChange)>,
    time: Arc<PanelTime>,
}

/// Reports on their way, for [`Remote::deliver`].
pub(crate) struct Reports {
    activity: mpsc::Receiver<Activity>,
    states: mpsc::Receiver<(ServerId, StatusChange)>,
}

impl Remote {
    /// Prepares the client; connects to nothing.
    pub(crate) fn new(config: &Config, time: Arc<PanelTime>) -> Result<(Self, Reports), reqwest::Error> {
        let http = reqwest::Client::builder()
            .timeout(REQUEST_TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            // A redirected POST loses its method, so a wrong scheme or host should be seen, not followed.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(format!("Quarterdeck/v{} (id:{})", env!("CARGO_PKG_VERSION"), config.token_id))
            .build()?;
        let (activity, activity_reports) = mpsc::channel(REPORTS_MAX);
        let (states, state_reports) = mpsc::channel(REPORTS_MAX);
        let credentials = format!("{}.{}", config.token_id, config.token);
        let remote = Self { http, base: config.remote.clone(), credentials, activity, states, time };
        Ok((remote, Reports { activity: activity_reports, states: state_reports }))
    }

    /// Queues a report; never waits.
    pub(crate) fn report(&self, report: Report) {
        let is_queued = match report {
            Report::Activity(record) => self.activity.try_send(record).is_ok(),
            Report::Status(id, change) => self.states.try_send((id, change)).is_ok(),
        };
        if !is_queued {
            tracing::error!("report to the panel dropped: its queue is full, or the node has ended");
        }
    }

    /// All servers of this node whose definitions make sense; the others are logged, and do not cost the node these.
    pub(crate) async fn servers(&self) -> Result<Vec<RemoteServer>, RemoteError> {
        let mut all = Vec::new();
        let mut page = 1;
        loop {
            let path = format!("/servers?page={page}&per_page={PAGE_SERVERS}");
            let answer: ServerPage<Value> = self.json("the list of servers", self.request(Method::GET, &path)).await?;
            let is_last = page >= answer.meta.last_page || answer.data.is_empty();
            all.extend(answer.data.into_iter().filter_map(readable));
            if is_last {
                return Ok(all);
            }
            page += 1;
        }
    }

    /// Has the panel say what time it is: every answer does, so this is a small question that any panel answers.
    pub(crate) async fn ask_time(&self) -> Result<(), RemoteError> {
        self.send("the time", self.request(Method::GET, "/servers?page=1&per_page=1")).await.map(drop)
    }

    /// One server's definition.
    pub(crate) async fn server(&self, id: ServerId) -> Result<Definition, RemoteError> {
        self.json("a server's definition", self.request(Method::GET, &format!("/servers/{id}"))).await
    }

    /// How a server's files come to be.
    pub(crate) async fn install(&self, id: ServerId) -> Result<InstallScript, RemoteError> {
        self.json("a server's installation", self.request(Method::GET, &format!("/servers/{id}/install"))).await
    }

    /// Says how an installation has ended.
    pub(crate) async fn installed(&self, id: ServerId, report: InstallReport) -> Result<(), RemoteError> {
        let request = self.request(Method::POST, &format!("/servers/{id}/install"));
        self.send("the end of an installation", request.json(&report)).await.map(drop)
    }

    /// Says that this node has booted: nothing is being installed any more.
    pub(crate) async fn reset(&self) -> Result<(), RemoteError> {
        self.send("the reset of states", self.request(Method::POST, "/servers/reset").json(&())).await.map(drop)
    }

    /// Sends queued reports until told to end, then what is left: that is tried once more, and counted when it is lost.
    pub(crate) async fn deliver(self, reports: Reports, ending: CancellationToken) {
        // Side by side: a panel that is slow to hear of states holds up no record of what people did.
        tokio::join!(self.deliver_activity(reports.activity, &ending), self.deliver_states(reports.states, &ending));
    }

    async fn deliver_activity(&self, mut queue: mpsc::Receiver<Activity>, ending: &CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        let last = last_moment(ending, LAST_ACTIVITY_TIMEOUT);
        tokio::pin!(last);
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
            let has_all = tokio::select! {
                has_all = self.deliver_batch(&mut batch, ending) => has_all,
                () = &mut last => false,
            };
            if !has_all {
                queue.close();
                let lost = batch.len() + queue.len();
                tracing::error!(lost, "the node ends and the panel has not taken its reports of activity");
                return;
            }
        }
    }

    /// Sends a batch until the panel has it. False when the node ends before; what is left in it is lost then.
    async fn deliver_batch(&self, batch: &mut Vec<Activity>, ending: &CancellationToken) -> bool {
        let mut pause_ms = *RETRY_MS.start();
        loop {
            let is_last_try = ending.is_cancelled();
            let Err(error) = self.deliver_once(batch).await else { return true };
            if is_last_try {
                return false;
            }
            tracing::warn!(%error, records = batch.len(), "activity not delivered, trying again");
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(pause_ms)) => {}
                () = ending.cancelled() => {}
            }
            pause_ms = (pause_ms * 2).min(*RETRY_MS.end());
        }
    }

    /// Sends a batch; an error leaves in it what should be tried again.
    async fn deliver_once(&self, batch: &mut Vec<Activity>) -> Result<(), RemoteError> {
        match self.send_activity(batch.clone()).await {
            Err(error) if error.is_about_content() => {}
            Err(error) => return Err(error),
            Ok(()) => {
                batch.clear();
                return Ok(());
            }
        }
        // One bad record rejects a whole batch: send them one by one and let go of those the panel refuses.
        while let Some(record) = batch.first().cloned() {
            let event = record.event.clone();
            match self.send_activity(vec![record]).await {
                Ok(()) => {}
                Err(error) if error.is_about_content() => {
                    tracing::warn!(%error, event, "activity record not taken by the panel");
                }
                Err(error) => return Err(error),
            }
            batch.remove(0);
        }
        Ok(())
    }

    async fn deliver_states(&self, mut queue: mpsc::Receiver<(ServerId, StatusChange)>, ending: &CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        let last = last_moment(ending, LAST_STATES_TIMEOUT);
        tokio::pin!(last);
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
            // The states of one server in their order, those of several side by side.
            let mut by_server: BTreeMap<ServerId, Vec<StatusChange>> = BTreeMap::new();
            for (id, change) in batch.drain(..) {
                by_server.entry(id).or_default().push(change);
            }
            let sending = futures_util::stream::iter(by_server)
                .for_each_concurrent(STATES_AT_ONCE, |(id, changes)| self.send_states(id, changes));
            tokio::select! {
                () = sending => {}
                () = &mut last => return,
            }
        }
    }

    /// Stock panels have no such route, and a state is old news by the next try: never retried.
    async fn send_states(&self, id: ServerId, changes: Vec<StatusChange>) {
        for data in changes {
            let request = self.request(Method::POST, &format!("/servers/{id}/container/status")).timeout(STATE_TIMEOUT);
            if let Err(error) = self.send("a state", request.json(&StatusReport { data })).await {
                tracing::debug!(%error, server = %id, "state not reported");
                if matches!(error, RemoteError::Unreachable { .. }) {
                    return;
                }
            }
        }
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
        let body = answer
            .bytes()
            .await
            .map_err(|source| RemoteError::Unreachable { url: self.base.clone(), source: source.without_url() })?;
        serde_json::from_slice(&body).map_err(|error| RemoteError::Unreadable { what, why: error.to_string() })
    }

    async fn send(&self, what: &'static str, request: RequestBuilder) -> Result<reqwest::Response, RemoteError> {
        let asked_mono_ms = clock::mono_ms();
        let answer = request
            .send()
            .await
            .map_err(|source| RemoteError::Unreachable { url: self.base.clone(), source: source.without_url() })?;
        match answer.status() {
            status if status.is_success() => {
                self.time.answered(answer.headers(), asked_mono_ms);
                Ok(answer)
            }
            StatusCode::NOT_FOUND => Err(RemoteError::NotFound),
            status => {
                let mut detail = answer.text().await.unwrap_or_default();
                detail.truncate(detail.floor_char_boundary(200));
                Err(RemoteError::Refused { status: status.as_u16(), what, detail })
            }
        }
    }
}

/// One entry of the panel's list, if it makes sense.
fn readable(entry: Value) -> Option<RemoteServer> {
    let uuid = entry["uuid"].as_str().unwrap_or("(none)").to_owned();
    match serde_json::from_value(entry) {
        Ok(server) => Some(server),
        Err(error) => {
            tracing::error!(server = uuid, %error, "the panel's definition of this server cannot be read; it is left as it is");
            None
        }
    }
}

/// A while after the node began to end.
async fn last_moment(ending: &CancellationToken, timeout: Duration) {
    ending.cancelled().await;
    tokio::time::sleep(timeout).await;
}
