//! Who is asking: key, address, rate, and what they are to a server. The order in which a request can fail is that of
//! protocol reference §1.1: 413, 401, 400, 403 (address), 429, then 404, 403 (kind of key), 404 (no relation), 409 in the extractors.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use ipnet::IpNet;
use serde_json::Value;

use super::auth::agent;
use super::cookie;
use super::problem::{Answer, Problem};
use super::reach::{Origin, Reach};
use super::throttle::{Standing, Throttle};
use crate::access::{self, Relation, StateRule};
use crate::app::{Actor, App};
use crate::clock;
use crate::secret::Secret;
use crate::store::keys::{ApiKey, IDENTIFIER_CHARS, KeyKind};
use crate::store::nodes::Node;
use crate::store::servers::Server;
use crate::store::sessions::{Opener, Session, SessionSecret};
use crate::store::users::User;
use wire::ids::UserId;

/// Longest body of a person's request.
pub(crate) const BODY_BYTES_MAX: usize = 256 * 1024;
/// Longest text of an egg: some have their picture with them.
const EGG_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Where such a text is sent.
const EGG_PATH: &str = "/api/application/eggs/import";
/// Of a body that is too long, this much is still read (and thrown away), because a client that is cut off while it sends
/// sees a broken connection instead of the answer.
const DRAIN_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A body must be there by then.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Where a page proves that a request with a session's cookie is its own, and is told when the proof has changed.
const CSRF: HeaderName = HeaderName::from_static("x-csrf-token");

/// What callers prove who they are with.
#[derive(Clone)]
pub(crate) enum Proof {
    /// An API key.
    Key(Arc<ApiKey>),
    /// The cookie of a session.
    Session { session: Session, secret: SessionSecret },
}

/// An authenticated request that is within its limits.
pub(crate) struct Call {
    pub(crate) app: App,
    pub(crate) user: Arc<User>,
    pub(crate) proof: Proof,
    pub(crate) ip: IpAddr,
    /// Our own address as the caller sees it.
    pub(crate) origin: Option<Origin>,
    /// The body as JSON; null when there is none or it is something else.
    pub(crate) body: Value,
    /// The body as it came.
    pub(crate) bytes: Bytes,
    /// When it was looked who this is; Unix milliseconds. What is taken away later is not known here.
    pub(crate) checked_at: i64,
    /// The same by our count.
    pub(crate) serial: u64,
}

impl Call {
    /// Our address for links and for `iss`.
    pub(crate) fn public_url(&self) -> String {
        match (&self.app.config.public_url, &self.origin) {
            (Some(url), _) => url.trim_end_matches('/').to_owned(),
            (None, Some(origin)) => origin.url(),
            (None, None) => "http://localhost".to_owned(),
        }
    }

    /// Where clients find a node: a local one where they found us.
    pub(crate) fn node_origin(&self, node: &Node) -> Option<Origin> {
        if node.local { self.origin.clone() } else { Origin::of_url(&node.url) }
    }

    /// Whether the caller reaches us over TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.origin.as_ref().is_some_and(|origin| origin.secure)
    }

    /// For the record.
    pub(crate) fn actor(&self) -> Actor {
        let api_key = match &self.proof {
            Proof::Key(key) => Some(key.identifier.clone()),
            Proof::Session { .. } => None,
        };
        Actor { user: self.user.uuid, api_key, ip: self.ip }
    }

    /// What the caller is to a server; none: it does not exist for them.
    pub(crate) async fn relation(&self, server: &Server) -> Answer<Option<Relation>> {
        if let Some(relation) = self.relation_by(server, None) {
            return Ok(Some(relation));
        }
        let subuser = self.app.store.subuser(server.uuid, self.user.uuid).await?;
        Ok(self.relation_by(server, subuser.map(|subuser| subuser.permissions)))
    }

    /// The same, when it is known what the caller was given there, if anything.
    pub(crate) fn relation_by(&self, server: &Server, given: Option<Vec<String>>) -> Option<Relation> {
        if self.user.root_admin {
            Some(Relation::Admin)
        } else if server.owner == self.user.uuid {
            Some(Relation::Owner)
        } else {
            given.map(Relation::Subuser)
        }
    }
}

/// Middleware of `/api/client`.
pub(crate) async fn guard_client(State(app): State<App>, request: Request, next: Next) -> Response {
    guard(&app, &app.client_throttle, request, next).await
}

/// Middleware of `/api/application`.
pub(crate) async fn guard_application(State(app): State<App>, request: Request, next: Next) -> Response {
    guard(&app, &app.application_throttle, request, next).await
}

async fn guard(app: &App, throttle: &Throttle<UserId>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let call = match admit(app, &parts, body).await {
        Ok(call) => call,
        Err(problem) => return problem.into_response(),
    };
    let standing = throttle.take(&call.user.uuid);
    let call = Arc::new(call);
    // Sessions may be renewed; for keys nobody asks.
    let agent = matches!(call.proof, Proof::Session { .. }).then(|| agent(&parts.headers));
    let mut response = if standing.is_allowed() {
        let is_change = !parts.method.is_safe();
        parts.extensions.insert(call.clone());
        let handled = next.run(Request::from_parts(parts, Body::empty()));
        if is_change {
            // A caller who hangs up does not leave it half done.
            app.work.finish(handled).await.unwrap_or_else(|| Problem::Internal.into_response())
        } else {
            handled.await
        }
    } else {
        Problem::Throttled.into_response()
    };
    standing.write(response.headers_mut());
    if let Some(agent) = agent {
        renew_session(&call, agent, response.headers_mut()).await;
    }
    response
}

/// A session's secret does not live long: now and then the answer brings a new one.
async fn renew_session(call: &Call, agent: String, headers: &mut HeaderMap) {
    let now = clock::now_ms();
    let Proof::Session { session, .. } = &call.proof else { return };
    if !session.is_due(now) || headers.contains_key(header::SET_COOKIE) {
        return;
    }
    let opener = Opener { ip: call.ip.to_string(), agent };
    match call.app.store.rotate_session(session, &opener, now).await {
        Ok(Some((secret, session))) => {
            cookie::hand_out(headers, &secret, &session, call.is_secure());
            // Hex digits: always a header.
            if let Ok(csrf) = HeaderValue::try_from(secret.csrf()) {
                headers.insert(CSRF, csrf);
            }
        }
        // Another request of the same page has got it.
        Ok(None) => {}
        Err(error) => tracing::error!(%error, "a session's secret could not be replaced"),
    }
}

fn bytes_max(parts: &Parts) -> usize {
    let path = parts.extensions.get::<MatchedPath>().map(MatchedPath::as_str);
    if path == Some(EGG_PATH) { EGG_BYTES_MAX } else { BODY_BYTES_MAX }
}

async fn admit(app: &App, parts: &Parts, body: Body) -> Answer<Call> {
    let (checked_at, serial) = (clock::now_ms(), app.nodes.serials().take());
    let known = authenticate(app, &parts.headers).await;
    let ((user, proof), bytes) = read_body(known, &parts.headers, body, bytes_max(parts)).await?;
    let body = parse_body(&parts.headers, &bytes)?;
    let Reach { ip, origin } = Reach::of(parts, &app.config);
    match &proof {
        Proof::Key(key) if !may_come_from(&key.allowed_ips, ip) => {
            return Err(Problem::AccessDenied("This key may not be used from your address.".to_owned()));
        }
        Proof::Session { secret, .. } if !is_from_our_page(&parts.method, &parts.headers, secret) => {
            return Err(Problem::CsrfMismatch);
        }
        proof => app.note_use(proof).await,
    }
    Ok(Call { app: app.clone(), user, proof, ip, origin, body, bytes, checked_at, serial })
}

/// The whole body of somebody who is known, if it is not too long. What strangers send is counted, as one that is too long is the
/// earlier fault, and not kept: anybody could fill our memory with it.
pub(crate) async fn read_body<T>(
    known: Answer<T>,
    headers: &HeaderMap,
    body: Body,
    bytes_max: usize,
) -> Answer<(T, Bytes)> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > DRAIN_BYTES_MAX) {
        return Err(Problem::TooLarge(bytes_max));
    }
    if body.is_end_stream() {
        // Most requests have none, and need no time-out.
        return Ok((known?, Bytes::new()));
    }
    let kept_max = if known.is_ok() { bytes_max } else { 0 };
    let read = async {
        let mut stream = body.into_data_stream();
        let mut bytes = Vec::new();
        let mut total = 0_usize;
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|_| Problem::BadRequest("The body could not be read.".to_owned()))?;
            total = total.saturating_add(chunk.len());
            if total > DRAIN_BYTES_MAX {
                break;
            }
            if total > kept_max {
                bytes = Vec::new();
            } else {
                bytes.extend_from_slice(&chunk);
            }
        }
        if total > bytes_max { Err(Problem::TooLarge(bytes_max)) } else { Ok(Bytes::from(bytes)) }
    };
    let late = |_| Problem::BadRequest("The body did not arrive in time.".to_owned());
    let read = tokio::time::timeout(BODY_TIMEOUT, read).await.unwrap_or_else(|elapsed| Err(late(elapsed)));
    // Of two faults the documented order decides: too long, no key, broken.
    match (known, read) {
        (_, Err(problem @ Problem::TooLarge(_))) => Err(problem),
        (known, read) => Ok((known?, read?)),
    }
}

/// The token of `Authorization: Bearer …`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whoever sends a key, or else the cookie of a session.
async fn authenticate(app: &App, headers: &HeaderMap) -> Answer<(Arc<User>, Proof)> {
    let (user, proof) = if headers.contains_key(header::AUTHORIZATION) {
        let key = key(app, headers).await?;
        (key.user, Proof::Key(key))
    } else {
        let secret = cookie::session_secret(headers).ok_or(Problem::Unauthenticated)?;
        let session = app.store.session(&secret, clock::now_ms()).await?.ok_or(Problem::Unauthenticated)?;
        (session.user, Proof::Session { session, secret })
    };
    let user = app.store.user(user).await?.ok_or(Problem::Unauthenticated)?;
    Ok((user, proof))
}

/// Reading changes nothing; for all else a page must show what only a page of ours can know.
fn is_from_our_page(method: &Method, headers: &HeaderMap, secret: &SessionSecret) -> bool {
    let given = headers.get(CSRF).and_then(|value| value.to_str().ok()).unwrap_or_default();
    matches!(*method, Method::GET | Method::HEAD) || Secret::new(secret.csrf()).is(given)
}

/// The key of the header. The prefix is opaque, so keys of other panels that were imported work as well.
async fn key(app: &App, headers: &HeaderMap) -> Answer<Arc<ApiKey>> {
    let token = bearer(headers).ok_or(Problem::Unauthenticated)?;
    let (identifier, secret) = token.split_at_checked(IDENTIFIER_CHARS).ok_or(Problem::Unauthenticated)?;
    let key = app.store.key(identifier, secret).await?.ok_or(Problem::Unauthenticated)?;
    if key.expires_at.is_some_and(|expiry| expiry <= clock::now_ms()) {
        return Err(Problem::Unauthenticated);
    }
    Ok(key)
}

/// JSON that says it is JSON must be JSON; anything else is read as JSON if it happens to be.
pub(crate) fn parse_body(headers: &HeaderMap, bytes: &[u8]) -> Answer<Value> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Value::Null);
    }
    match serde_json::from_slice(bytes) {
        Ok(value) => Ok(value),
        Err(error) if is_json(headers) => Err(Problem::BadRequest(format!("The body is not valid JSON: {error}."))),
        Err(_) => Ok(Value::Null),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.to_ascii_lowercase();
    kind.contains("/json") || kind.contains("+json")
}

/// Whether an address is in a key's list: an address, a CIDR network, or a range `a-b`. An empty list allows all.
pub(crate) fn may_come_from(allowed: &[String], ip: IpAddr) -> bool {
    allowed.is_empty() || allowed.iter().any(|entry| IpRule::parse(entry).is_some_and(|rule| rule.allows(ip)))
}

/// An entry of a key's list of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IpRule {
    /// A network, or one address.
    Net(IpNet),
    /// From, to; both included.
    Range(IpAddr, IpAddr),
}

impl IpRule {
    /// None when it is neither.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Some(Self::Net(ip.to_canonical().into()));
        }
        if let Ok(net) = text.parse::<IpNet>() {
            return Some(Self::Net(net));
        }
        let (from, to) = text.split_once('-')?;
        let (from, to) = (from.trim().parse::<IpAddr>().ok()?, to.trim().parse::<IpAddr>().ok()?);
        (from.is_ipv4() == to.is_ipv4() && from <= to).then_some(Self::Range(from, to))
    }

    fn allows(self, ip: IpAddr) -> bool {
        match self {
            Self::Net(net) => net.contains(&ip),
            Self::Range(from, to) => ip.is_ipv4() == from.is_ipv4() && (from..=to).contains(&ip),
        }
    }
}

fn call_of(parts: &Parts) -> Answer<Arc<Call>> {
    // The guard puts it there; a route without guard is a mistake of ours.
    parts.extensions.get::<Arc<Call>>().cloned().ok_or(Problem::Unauthenticated)
}

fn must_be_account_key(call: &Call) -> Answer<()> {
    match &call.proof {
        Proof::Session { .. } => Ok(()),
        Proof::Key(key) if key.kind == KeyKind::Account => Ok(()),
        Proof::Key(_) => Err(Problem::AccessDenied(
            "An application key opens /api/application only: use an account key here.".to_owned(),
        )),
    }
}

/// A caller with an account key.
pub(crate) struct Account(pub(crate) Arc<Call>);

impl<S: Send + Sync> FromRequestParts<S> for Account {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Answer<Self> {
        let call = call_of(parts)?;
        must_be_account_key(&call)?;
        Ok(Self(call))
    }
}

/// A root administrator with a key of either kind.
pub(crate) struct Admin(pub(crate) Arc<Call>);

impl<S: Send + Sync> FromRequestParts<S> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Answer<Self> {
        let call = call_of(parts)?;
        if !call.user.root_admin {
            return Err(Problem::AccessDenied("Only administrators may use this.".to_owned()));
        }
        Ok(Self(call))
    }
}

/// A caller at a server that they may see and that can be used now.
pub(crate) struct AtServer {
    pub(crate) call: Arc<Call>,
    pub(crate) server: Arc<Server>,
    pub(crate) node: Arc<Node>,
    pub(crate) relation: Relation,
}

impl<S: Send + Sync> FromRequestParts<S> for AtServer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        let call = call_of(parts)?;
        let path = RawPathParams::from_request_parts(parts, state).await.map_err(|_| Problem::NotFound)?;
        let id = path.iter().find(|(name, _)| *name == "server").map(|(_, id)| id).ok_or(Problem::NotFound)?;
        let server = call.app.find_server(id).await?.ok_or(Problem::NotFound)?;
        must_be_account_key(&call)?;
        let relation = call.relation(&server).await?.ok_or(Problem::NotFound)?;
        let node = call.app.node_of(&server).await?;
        let rule = parts
            .extensions
            .get::<MatchedPath>()
            .map_or(StateRule::Usable, |path| rule_of(&parts.method, path.as_str()));
        match access::blocked(server.status, node.maintenance, rule, &relation) {
            Some(reason) => Err(Problem::Conflict(reason)),
            None => Ok(Self { call, server, node, relation }),
        }
    }
}

/// Which state rule an endpoint follows; all but three need a server that can be used.
fn rule_of(method: &Method, path: &str) -> StateRule {
    match path.rsplit_once('/') {
        Some((_, "reinstall")) if *method == Method::DELETE => StateRule::Installation,
        Some((_, "{server}")) => StateRule::Always,
        Some((_, "websocket")) => StateRule::Console,
        _ => StateRule::Usable,
    }
}

impl AtServer {
    /// A permission, or 403.
    pub(crate) fn require(&self, permission: &str) -> Answer<()> {
        if self.relation.allows(permission) { Ok(()) } else { Err(Problem::unauthorized()) }
    }

    /// Takes from the budget of console tokens.
    pub(crate) fn take_token_budget(&self) -> Standing {
        self.call.app.websocket_throttle.take(&(self.call.user.uuid, self.server.uuid))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn address_lists_of_keys() {
        let list = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let rows: &[(&[&str], &str, bool)] = &[
            (&[], "1.2.3.4", true),
            (&["1.2.3.4"], "1.2.3.4", true),
            (&["1.2.3.4"], "1.2.3.5", false),
            (&["1.2.3.0/24"], "1.2.3.200", true),
            (&["1.2.3.0/24", "2001:db8::/32"], "2001:db8::1", true),
            (&["1.2.3.4-1.2.3.9"], "1.2.3.9", true),
            (&["1.2.3.4-1.2.3.9"], "1.2.3.10", false),
            (&["::1-::5"], "1.2.3.4", false),
            (&["::ffff:1.2.3.4"], "1.2.3.4", true),
            // Nothing that cannot be read allows anything.
            (&["nonsense"], "1.2.3.4", false),
            (&["1.2.3.9-1.2.3.4"], "1.2.3.5", false),
        ];
        for (allowed, ip, expected) in rows {
            assert_eq!(may_come_from(&list(allowed), ip.parse().unwrap()), *expected, "{allowed:?} {ip}");
        }
    }

    #[test]
    fn state_rules_by_endpoint() {
        assert_eq!(rule_of(&Method::GET, "/api/client/servers/{server}"), StateRule::Always);
        assert_eq!(rule_of(&Method::GET, "/api/client/servers/{server}/websocket"), StateRule::Console);
        assert_eq!(rule_of(&Method::GET, "/api/client/servers/{server}/users/{user}"), StateRule::Usable);
        let reinstall = "/api/client/servers/{server}/settings/reinstall";
        assert_eq!(rule_of(&Method::POST, reinstall), StateRule::Usable);
        assert_eq!(rule_of(&Method::DELETE, reinstall), StateRule::Installation);
    }
}
