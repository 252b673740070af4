//! The web interface as the program serves it: the page for every address that people open, its files, and the headers that
//! bound what a page can do.
//!
//! Files have the hash of their content in their names and may be kept for ever; a missing one is a 404 and never the page.

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use memory_serve::CacheControl;

/// Where the page's files are; what is not there is a 404.
const FILES: &str = "/assets/";
/// The page itself.
const PAGE: &str = "/index.html";
/// What a page of ours may do: load what we serve, talk to us, and open consoles, whose nodes may be anywhere. Nothing inline, so
/// that no text of a game becomes script or style.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
    connect-src 'self' ws: wss:; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page and its files. It answers every path, so it is to be asked for those only that nobody else has.
pub fn router() -> Router {
    let files = memory_serve::load!()
        .index_file(None)
        .html_cache_control(CacheControl::NoCache)
        .cache_control(CacheControl::Long)
        .into_router();
    // Behind routing, so that every page is answered by the one file.
    Router::new().fallback_service(files).layer(middleware::from_fn(guard))
}

/// Any address that a person can open is the page, which finds out by itself what to show there.
async fn guard(mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_file = path.starts_with(FILES) || path.rsplit('/').next().is_some_and(|name| name.contains('.'));
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let mut response = if !reads {
        StatusCode::METHOD_NOT_ALLOWED.into_response()
    } else if is_file && path != PAGE {
        next.run(request).await
    } else {
        *request.uri_mut() = axum::http::Uri::from_static(PAGE);
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin"));
    response
}
