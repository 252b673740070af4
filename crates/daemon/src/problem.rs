//! Errors of the node's own HTTP API: `{"error": …, "request_id": …}` (protocol reference §9.4).

use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use wire::node::{NodeError, TIME_HEADER};

use crate::clock;
use crate::server::{Refused, RefusedKind};

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request that failed: the status and a sentence for people.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    error: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into() }
    }

    pub(crate) fn no_server() -> Self {
        Self::new(StatusCode::NOT_FOUND, "no such server on this node")
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let status = match refused.kind() {
            RefusedKind::Busy | RefusedKind::State => StatusCode::CONFLICT,
            RefusedKind::Suspended | RefusedKind::Invalid => StatusCode::BAD_REQUEST,
            // What panels expect of a command that has nowhere to go (§9.4, §10 row 36).
            RefusedKind::Offline | RefusedKind::Unknown => StatusCode::BAD_GATEWAY,
            RefusedKind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, refused.to_string())
    }
}

/// Travels from a handler to [`identify`], which knows the request's id.
#[derive(Clone)]
struct ErrorText(String);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        // What answers with these two have to say beside the reason.
        let told: &[(HeaderName, &'static str)] = match self.status {
            StatusCode::UNAUTHORIZED => &[(header::WWW_AUTHENTICATE, "Bearer")],
            // Only consoles ask for an upgrade (RFC 9110 §7.8, §15.5.22; RFC 6455 §4.4).
            StatusCode::UPGRADE_REQUIRED => &[
                (header::CONNECTION, "Upgrade"),
                (header::UPGRADE, "websocket"),
                (header::SEC_WEBSOCKET_VERSION, "13"),
            ],
            _ => &[],
        };
        for (name, value) in told {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response.extensions_mut().insert(ErrorText(self.error));
        response
    }
}

/// Gives each request an id, in the header, in error bodies and in the log; names the node, which one panel insists
/// on, and tells its clock.
pub(crate) async fn identify(agent: HeaderValue, request: Request, next: Next) -> Response {
    let id = uuid::Uuid::new_v4().to_string();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = next.run(request).await;
    if let Some(ErrorText(error)) = response.extensions_mut().remove::<ErrorText>() {
        let status = response.status();
        if status.is_server_error() {
            tracing::warn!(request_id = id, %method, path, %status, error, "request failed");
        }
        let headers = response.headers().clone();
        response = (status, Json(NodeError { error, request_id: id.clone() })).into_response();
        for (name, value) in &headers {
            if *name != header::CONTENT_LENGTH && *name != header::CONTENT_TYPE {
                response.headers_mut().insert(name, value.clone());
            }
        }
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID.clone(), value);
    }
    response.headers_mut().insert(header::USER_AGENT, agent);
    response.headers_mut().insert(TIME_HEADER, HeaderValue::from(clock::wall_ms()));
    response
}
