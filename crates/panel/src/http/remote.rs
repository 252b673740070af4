//! What nodes ask: `/api/remote` (protocol reference §9.1, §9.2).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Value, json};
use wire::node::{SERIAL_HEADER, TIME_HEADER};
use wire::remote::{InstallScript, StatusReport};

use super::caller::{parse_body, read_body};
use super::page::Asked;
use super::path::Path;
use super::problem::{Answer, FieldError, Problem};
use crate::app::App;
use crate::app::definition::{Whole, definition, install_script};
use crate::clock;
use crate::store::activity::NewRecord;
use crate::store::nodes::Node;
use crate::store::servers::{Server, Status};

/// Longest body of a node: a batch of records, each with a command.
const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;
const PER_PAGE_DEFAULT: u64 = 50;
const PER_PAGE_MAX: u64 = 500;
/// Records in one batch; stock nodes send a hundred.
const BATCH_MAX: usize = 1000;
/// The records of nodes that are kept.
const EVENT_PREFIX: &str = "server:";
const EVENT_CHARS_MAX: usize = 191;

/// The node that asks, with the body it sent.
#[derive(Clone)]
pub(crate) struct NodeCall {
    app: App,
    node: Node,
    body: Value,
}

impl<S: Send + Sync> FromRequestParts<S> for NodeCall {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        let call = Extension::<Self>::from_request_parts(parts, state).await;
        call.map(|Extension(call)| call).map_err(|_| Problem::NodeUnauthenticated)
    }
}

/// Middleware of `/api/remote`.
pub(crate) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let admitted = async {
        let known = authenticate(&app, &parts.headers).await;
        let (node, bytes) = read_body(known, &parts.headers, body, BODY_BYTES_MAX).await?;
        Ok::<_, Problem>((node, parse_body(&parts.headers, &bytes)?))
    };
    match admitted.await {
        Ok((node, body)) => {
            let serials = app.nodes.serials().clone();
            parts.extensions.insert(NodeCall { app, node, body });
            let mut response = next.run(Request::from_parts(parts, Body::empty())).await;
            // Tokens are dated by this clock and counted by this count: the node goes by them.
            response.headers_mut().insert(TIME_HEADER, HeaderValue::from(clock::now_ms()));
            response.headers_mut().insert(SERIAL_HEADER, HeaderValue::from(serials.take()));
            response
        }
        Err(problem) => problem.into_response(),
    }
}

async fn authenticate(app: &App, headers: &HeaderMap) -> Answer<Node> {
    if !headers.contains_key(header::AUTHORIZATION) {
        return Err(Problem::NodeUnauthenticated);
    }
    let malformed =
        || Problem::BadRequest("The credentials must be Bearer, the node's id, a dot, and its token.".to_owned());
    let token = super::caller::bearer(headers).ok_or_else(malformed)?;
    let (id, secret) = token.split_once('.').ok_or_else(malformed)?;
    if id.is_empty() || secret.is_empty() || secret.contains('.') {
        return Err(malformed());
    }
    match app.store.node_by_token_id(id).await? {
        Some(node) if node.token.is(secret) => Ok(node),
        _ => Err(Problem::AccessDenied("These are not the credentials of a node of this panel.".to_owned())),
    }
}

async fn own_server(call: &NodeCall, id: &str) -> Answer<Arc<Server>> {
    let server = call.app.find_any_server(id).await?.filter(|_| id.len() == 36).ok_or(Problem::NotFound)?;
    if server.node == call.node.uuid { Ok(server) } else { Err(Problem::NotFound) }
}

fn described(whole: Whole<'_>) -> Answer<Value> {
    serde_json::to_value(definition(whole)).map_err(|error| {
        tracing::error!(%error, "a definition has no JSON form");
        Problem::Internal
    })
}

/// A page of this node's servers with their definitions.
pub(crate) async fn servers(call: NodeCall, asked: Asked) -> Answer<Json<Value>> {
    let page = asked.page(PER_PAGE_DEFAULT, PER_PAGE_MAX);
    let found = call.app.store.node_servers(call.node.uuid, page.window()).await?;
    let mut data = Vec::with_capacity(found.rows.len());
    let addresses = call.app.store.allocations_of(&found.rows).await?;
    let eggs = call.app.store.eggs_of(&found.rows).await?;
    for server in &found.rows {
        let allocations = addresses.get(&server.uuid).map(Vec::as_slice).unwrap_or_default();
        let egg = server.egg.and_then(|egg| eggs.get(&egg));
        let mut value = described(Whole { server, allocations, egg, place: &call.node.name })?;
        if let Some(entry) = value.as_object_mut() {
            entry.insert("uuid".to_owned(), server.uuid.to_string().into());
        }
        data.push(value);
    }
    let from = page.window().offset.saturating_add(1);
    let count = u64::try_from(data.len()).unwrap_or(0);
    let ends = (count > 0).then(|| (from, from.saturating_add(count - 1)));
    Ok(Json(json!({
        "data": data,
        "links": { "first": null, "last": null, "prev": null, "next": null },
        "meta": {
            "current_page": page.number,
            "from": ends.map(|(from, _)| from),
            "last_page": page.count(found.total),
            "path": "/api/remote/servers",
            "per_page": page.per_page,
            "to": ends.map(|(_, to)| to),
            "total": found.total,
        },
    })))
}

/// One server's definition.
pub(crate) async fn server(call: NodeCall, Path(id): Path<String>) -> Answer<Json<Value>> {
    let server = own_server(&call, &id).await?;
    let allocations = call.app.store.allocations(server.uuid).await?;
    let egg = call.app.egg_of(server.egg).await?;
    let whole = Whole { server: &server, allocations: &allocations, egg: egg.as_deref(), place: &call.node.name };
    Ok(Json(described(whole)?))
}

/// How the files of a server come to be; without an egg there is nothing to do.
pub(crate) async fn install(call: NodeCall, Path(id): Path<String>) -> Answer<Json<InstallScript>> {
    let server = own_server(&call, &id).await?;
    let egg = call.app.egg_of(server.egg).await?;
    Ok(Json(install_script(egg.as_deref())))
}

/// The node has booted: nothing is being installed or restored there any more.
pub(crate) async fn reset(call: NodeCall) -> Answer<StatusCode> {
    call.app.store.reset_node_servers(call.node.uuid).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// An installation has ended. Stock nodes say so also when there was nothing to install.
pub(crate) async fn installed(call: NodeCall, Path(id): Path<String>) -> Answer<StatusCode> {
    let server = own_server(&call, &id).await?;
    let flag = |name: &str| call.body.get(name).and_then(Value::as_bool).unwrap_or(false);
    let status = match (flag("successful"), flag("reinstall")) {
        (true, _) => Status::Normal,
        (false, true) => Status::ReinstallFailed,
        (false, false) => Status::InstallFailed,
    };
    let edit = |server: &mut Server| {
        // An administrator's block, or a move, is not undone by an installation that ends meanwhile.
        if !matches!(server.status, Status::Suspended | Status::Transferring) {
            server.status = status;
        }
        if status == Status::Normal {
            server.installed_at = Some(clock::now_ms());
        }
        Ok::<_, Problem>(Vec::new())
    };
    call.app.store.change_server(server.uuid, edit).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A state change.
pub(crate) async fn status(call: NodeCall, Path(id): Path<String>) -> Answer<Json<Value>> {
    let server = own_server(&call, &id).await?;
    let report: StatusReport = serde_json::from_value(call.body.clone())
        .map_err(|error| Problem::field("data", "in", format!("The data is not a change of state: {error}.")))?;
    call.app.note_state(server.uuid, report.data.new_state);
    call.app.samples.forget(server.uuid);
    Ok(Json(json!([])))
}

/// Records of what was done on the node. One bad entry rejects the batch, as on stock panels; entries for servers of other
/// nodes, and those that are not about servers, are skipped.
pub(crate) async fn activity(call: NodeCall) -> Answer<StatusCode> {
    let Some(entries) = call.body.get("data").and_then(Value::as_array) else {
        return Err(Problem::field("data", "required", "The data field is required and must be a list."));
    };
    if entries.len() > BATCH_MAX {
        return Err(Problem::field("data", "max", format!("The data may not have more than {BATCH_MAX} entries.")));
    }
    let mut failed = Vec::new();
    let mut read = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        if let Some(record) = entry_of(index, entry, &mut failed) {
            read.push(record);
        }
    }
    if !failed.is_empty() {
        return Err(Problem::Invalid(failed));
    }
    let mut kept = Vec::with_capacity(read.len());
    for (server, record) in read {
        let own = own_server(&call, &server).await;
        match own {
            Ok(server) if record.event.starts_with(EVENT_PREFIX) => {
                kept.push(NewRecord { server: Some(server.uuid), ..record });
            }
            Ok(_) | Err(Problem::NotFound) => {}
            Err(problem) => return Err(problem),
        }
    }
    call.app.store.insert_activity(kept).await?;
    Ok(StatusCode::OK)
}

/// An entry, with the text that names its server; what is wrong with it goes to `failed`.
fn entry_of(index: usize, entry: &Value, failed: &mut Vec<FieldError>) -> Option<(String, NewRecord)> {
    let before = failed.len();
    let mut fail = |name: &str, rule: &'static str| {
        let field = format!("data.{index}.{name}");
        let detail = format!("The {field} failed the rule {rule}.");
        failed.push(FieldError { field, rule, detail });
    };
    let text = |name: &str| entry.get(name).and_then(Value::as_str);
    let user = match entry.get("user") {
        None | Some(Value::Null) => None,
        Some(value) => {
            let user = value.as_str().and_then(|text| text.parse().ok());
            if user.is_none() {
                fail("user", "uuid");
            }
            user
        }
    };
    let server = text("server").filter(|text| uuid::Uuid::try_parse(text).is_ok());
    if server.is_none() {
        fail("server", "uuid");
    }
    let event = text("event").filter(|text| !text.is_empty() && text.chars().count() <= EVENT_CHARS_MAX);
    if event.is_none() {
        fail("event", "required");
    }
    let metadata = match entry.get("metadata") {
        None => {
            fail("metadata", "present");
            Value::Null
        }
        Some(value @ (Value::Null | Value::Object(_))) => value.clone(),
        Some(Value::Array(list)) if list.is_empty() => Value::Null,
        Some(_) => {
            fail("metadata", "array");
            Value::Null
        }
    };
    let ip = match entry.get("ip") {
        None | Some(Value::Null) => None,
        Some(value) => {
            let ip = value.as_str().and_then(|text| text.parse::<std::net::IpAddr>().ok());
            // Nodes send the empty text for what they did themselves.
            if ip.is_none() && value.as_str() != Some("") {
                fail("ip", "ip");
            }
            ip.map(|ip| ip.to_string())
        }
    };
    let happened_at = text("timestamp").and_then(clock::parse);
    if happened_at.is_none() {
        fail("timestamp", "date");
    }
    if failed.len() > before {
        return None;
    }
    let record = NewRecord {
        event: event?.to_owned(),
        server: None,
        user,
        api_key: None,
        ip,
        metadata,
        happened_at: happened_at?,
    };
    Some((server?.to_ascii_lowercase(), record))
}
