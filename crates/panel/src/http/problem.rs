//! Every error a person can get from the panel, and its envelope (protocol reference §1.6).

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use wire::api::{ErrorBody, ErrorItem, ErrorMeta};

use super::throttle::Standing;
use crate::access::Blocked;
use crate::nodes::NodeFault;
use crate::store::{AddressFault, StoreError};
use crate::token::SignError;

/// A field that failed a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldError {
    /// Path of the field, such as `permissions.0`.
    pub(crate) field: String,
    /// Name of the rule in `snake_case`.
    pub(crate) rule: &'static str,
    /// What is wrong.
    pub(crate) detail: String,
}

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// 400: the request itself is broken.
    BadRequest(String),
    /// 400: a rule of the business says no; the code is the stock name of the rule.
    Rule(&'static str, String),
    /// 401: no key, a wrong one, or an expired one.
    Unauthenticated,
    /// 401: name, password, code or link are wrong.
    SignInRefused,
    /// 403: a request with a session's cookie does not prove that it comes from our page.
    CsrfMismatch,
    /// 429: too many attempts to sign in; seconds to wait.
    LockedOut(u64),
    /// 401 of a node's request.
    NodeUnauthenticated,
    /// 403: the address, the kind of key, or a permission.
    AccessDenied(String),
    /// 403: the stock code of some rules.
    Forbidden(String),
    /// 404: not there, or not for this caller.
    NotFound,
    /// 405.
    MethodNotAllowed,
    /// 409: the server cannot be used now.
    Conflict(Blocked),
    /// 413: the body is longer than this many bytes.
    TooLarge(usize),
    /// 422.
    Invalid(Vec<FieldError>),
    /// 429; headers are set where the limit is checked.
    Throttled,
    /// 429: too many accounts made by invitation.
    TooManyInvitations(Standing),
    /// 500: our fault; the log knows more.
    Internal,
    /// 502: the server is not running.
    Offline(String),
    /// 4xx or 5xx: the node's own words.
    NodeRefused(u16, String),
    /// 503: it cannot be done now.
    Unavailable(String),
    /// 504: the node gives no answer.
    NodeUnreachable,
}

impl Problem {
    /// One field that failed one rule.
    pub(crate) fn field(field: impl Into<String>, rule: &'static str, detail: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError { field: field.into(), rule, detail: detail.into() }])
    }

    /// A permission is missing.
    pub(crate) fn unauthorized() -> Self {
        Self::AccessDenied("This action is unauthorized.".to_owned())
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) | Self::Rule(..) => StatusCode::BAD_REQUEST,
            Self::Unauthenticated | Self::SignInRefused | Self::NodeUnauthenticated => StatusCode::UNAUTHORIZED,
            Self::AccessDenied(_) | Self::Forbidden(_) | Self::CsrfMismatch => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Throttled | Self::TooManyInvitations(_) | Self::LockedOut(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            // Anything that is no error of HTTP is an answer we cannot use.
            Self::NodeRefused(status, _) if (400..600).contains(status) => {
                StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_GATEWAY)
            }
            Self::NodeRefused(..) | Self::Offline(_) => StatusCode::BAD_GATEWAY,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::NodeUnreachable => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "BadRequestHttpException",
            Self::Rule(code, _) => code,
            Self::Unauthenticated | Self::SignInRefused => "AuthenticationException",
            Self::CsrfMismatch => "CsrfTokenMismatch",
            Self::NodeUnauthenticated | Self::Internal | Self::Offline(_) | Self::Unavailable(_) => "HttpException",
            Self::AccessDenied(_) => "AccessDeniedHttpException",
            Self::Forbidden(_) => "HttpForbiddenException",
            Self::NotFound => "NotFoundHttpException",
            Self::MethodNotAllowed => "MethodNotAllowedHttpException",
            Self::Conflict(_) => "ServerStateConflictException",
            Self::TooLarge(_) => "PostTooLargeException",
            Self::Invalid(_) => "ValidationException",
            Self::Throttled | Self::TooManyInvitations(_) | Self::LockedOut(_) => "ThrottleRequestsException",
            Self::NodeRefused(..) | Self::NodeUnreachable => "DaemonConnectionException",
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::BadRequest(text)
            | Self::Rule(_, text)
            | Self::AccessDenied(text)
            | Self::Forbidden(text)
            | Self::Offline(text)
            | Self::Unavailable(text)
            | Self::NodeRefused(_, text) => text.clone(),
            Self::Unauthenticated => "Unauthenticated.".to_owned(),
            Self::SignInRefused => "These are not the right words: check name, password and code.".to_owned(),
            Self::CsrfMismatch => {
                "The X-CSRF-Token of this session is missing or too old: ask for the session again.".to_owned()
            }
            Self::LockedOut(wait_s) => format!("Too many attempts: try again in {wait_s} seconds."),
            Self::NodeUnauthenticated => "A node must send its credentials as a Bearer token.".to_owned(),
            Self::NotFound => "The requested resource could not be found on this panel.".to_owned(),
            Self::MethodNotAllowed => {
                "This method is not supported here; the Allow header lists those that are.".to_owned()
            }
            Self::Conflict(reason) => reason.text().to_owned(),
            Self::TooLarge(max) => format!("The body is longer than {max} bytes."),
            // One entry per field, each with its own text.
            Self::Invalid(_) => "The given data was invalid.".to_owned(),
            Self::Throttled => "Too Many Attempts.".to_owned(),
            Self::TooManyInvitations(_) => {
                "You have invited too many people within an hour: wait as long as Retry-After says. People who have an \
                 account already can be added at any time."
                    .to_owned()
            }
            Self::Internal => {
                "The panel could not do this because of an error of its own; its log says more.".to_owned()
            }
            Self::NodeUnreachable => {
                "The node of this server does not answer. Try again, or ask an administrator.".to_owned()
            }
        }
    }

    /// The envelope.
    pub(crate) fn body(&self) -> ErrorBody {
        let status = self.status().as_u16().to_string();
        let item =
            |detail: String, meta| ErrorItem { code: self.code().to_owned(), status: status.clone(), detail, meta };
        let errors = match self {
            Self::Invalid(fields) => fields
                .iter()
                .map(|failed| {
                    let meta = ErrorMeta { source_field: failed.field.clone(), rule: failed.rule.to_owned() };
                    item(failed.detail.clone(), Some(meta))
                })
                .collect(),
            _ => vec![item(self.detail(), None)],
        };
        ErrorBody { errors }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status(), Json(self.body())).into_response();
        if self == Self::NodeUnauthenticated {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        match self {
            Self::TooManyInvitations(standing) => standing.write(response.headers_mut()),
            Self::LockedOut(wait_s) => {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait_s));
            }
            _ => {}
        }
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Taken("port range") => Self::Rule(
                "NoViableAllocationException",
                "Every port of this node's range is in use. Name a port, or widen the range.".to_owned(),
            ),
            StoreError::Taken("egg") => Self::field(
                "egg",
                "unique",
                "There is an egg of this uuid or name already: say replace=true to put this one in its place.",
            ),
            StoreError::EggInUse => Self::Rule(
                "HasActiveServersException",
                "Servers use this egg, perhaps some that are to be deleted: delete those first.".to_owned(),
            ),
            StoreError::Address(fault) => address_problem(fault),
            StoreError::OwnsServers => Self::Rule(
                "DisplayException",
                "This person owns servers: give those to somebody else, or delete them, first. \
                 Those that can still be restored count, too."
                    .to_owned(),
            ),
            StoreError::OutboxFull => {
                tracing::error!(%error, "a change was refused");
                Self::Unavailable(
                    "Too many messages wait for nodes that do not answer: bring those nodes back, or delete them."
                        .to_owned(),
                )
            }
            StoreError::Taken(field) => Self::field(field, "unique", format!("This {field} has already been taken.")),
            other => {
                tracing::error!(error = %other, "request failed");
                match other.disk_trouble() {
                    Some(trouble) => Self::Unavailable(format!(
                        "The panel cannot keep this now: {trouble}. Nothing was changed; try again when that is repaired. \
                         Consoles and games go on."
                    )),
                    None => Self::Internal,
                }
            }
        }
    }
}

fn address_problem(fault: AddressFault) -> Problem {
    let (code, text) = match fault {
        AddressFault::NotFree => {
            let text = "There is no such address on the node of this server, or a server has it.";
            return Problem::field("allocation", "exists", text);
        }
        AddressFault::Overlaps => {
            let text =
                "A port of these is there already on an address that includes this one, or that this one includes.";
            return Problem::field("ports", "unique", text);
        }
        AddressFault::NotOfServer => {
            ("DisplayException", "The address that is to become the main one is not one of this server's.")
        }
        AddressFault::OnlyOne => {
            ("DisplayException", "The main address cannot be removed: there is no other one to take its place.")
        }
        AddressFault::Main => {
            ("DisplayException", "The main address cannot be removed: make another one the main address first.")
        }
        AddressFault::LimitReached => {
            ("DisplayException", "No address can be added: the server has as many as it may have.")
        }
        AddressFault::InUse => {
            ("ServerUsingAllocationException", "A server has this address: take it away there first.")
        }
    };
    Problem::Rule(code, text.to_owned())
}

impl From<SignError> for Problem {
    fn from(error: SignError) -> Self {
        tracing::error!(%error, "request failed");
        Self::Internal
    }
}

impl From<NodeFault> for Problem {
    fn from(fault: NodeFault) -> Self {
        match fault {
            NodeFault::Refused { status, detail } => {
                // Our own credentials are at fault then, not the caller's: a 401 would make clients log out.
                if matches!(status, 401 | 403) {
                    tracing::error!(status, detail, "the node refuses our credentials");
                    return Self::NodeRefused(
                        502,
                        "The node refuses the panel's credentials. Ask an administrator.".to_owned(),
                    );
                }
                Self::NodeRefused(status, detail)
            }
            NodeFault::Unreachable(error) => {
                tracing::warn!(error, "node unreachable");
                Self::NodeUnreachable
            }
            NodeFault::Unreadable(error) => {
                tracing::error!(error, "node's answer unreadable");
                Self::NodeRefused(502, "The node's answer could not be read. Ask an administrator.".to_owned())
            }
        }
    }
}

/// Result of a handler.
pub(crate) type Answer<T> = Result<T, Problem>;
