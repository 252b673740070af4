//! What the path of a request names.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::problem::{Answer, Problem};

/// The variable parts of the path. What cannot be read, such as bytes that are no UTF-8, names nothing: it is not found, in the same
/// envelope as everything else. Handlers use this one and not axum's, whose answer is a text.
#[derive(Debug)]
pub(crate) struct Path<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        let read = axum::extract::Path::from_request_parts(parts, state).await;
        read.map(|axum::extract::Path(named)| Self(named)).map_err(|_| Problem::NotFound)
    }
}
