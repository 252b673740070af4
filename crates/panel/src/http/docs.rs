//! The API's own description: `OpenAPI` made from the handlers, and a page to read it that needs nothing from elsewhere.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_swagger_ui::Config;

use super::path::Path;
use super::problem::Problem;

/// Where the description is.
const DESCRIPTION_PATH: &str = "/api/docs/openapi.json";
/// The page among the files it is made of.
const PAGE_FILE: &str = "index.html";

/// The files change with the program only; an hour is enough for one visit.
const CACHE: &str = "public, max-age=3600";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Quarterdeck",
        description = "The console API of Pterodactyl's panel, for existing clients, with a few members of our own. \
            Every answer under /api is JSON; errors are `{\"errors\": [{\"code\", \"status\", \"detail\"}]}`. A slash at the end \
            of a path and unknown query parameters are ignored.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    tags(
        (name = "client", description = "Servers the caller owns or was given rights on. Needs an account key."),
        (name = "subusers", description = "Other people's rights on a server."),
        (name = "account", description = "The caller's own account and keys."),
        (name = "session", description = "Signing in from a browser, and what one proves who one is with."),
        (name = "application", description = "Administration. Needs an application key, or the account key of an administrator."),
    ),
    security(("key" = [])),
    modifiers(&Key),
)]
pub(crate) struct Description;

struct Key;

impl utoipa::Modify for Key {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("An API key: 48 characters, `ptlc_…` for an account, `ptla_…` for an application."))
            .build();
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("key", SecurityScheme::Http(scheme));
    }
}

static PAGE: LazyLock<Arc<Config<'static>>> =
    // Without a validator: the page would send the description to somebody else's machine to have it checked.
    LazyLock::new(|| Arc::new(Config::new([DESCRIPTION_PATH]).try_it_out_enabled(true).validator_url("none")));

/// The page and the description.
pub(crate) fn router(description: utoipa::openapi::OpenApi) -> Router {
    let description = Arc::new(description);
    let page = || get(|| async { file(PAGE_FILE) });
    Router::new()
        .route("/api/docs", page())
        .route("/api/docs/", page())
        .route(DESCRIPTION_PATH, get(move || async move { Json((*description).clone()) }))
        .route("/api/docs/{*file}", get(|Path(path): Path<String>| async move { file(&path) }))
}

fn file(path: &str) -> Response {
    match utoipa_swagger_ui::serve(path, PAGE.clone()) {
        Ok(Some(file)) => {
            let bytes = match file.bytes {
                bytes if path == PAGE_FILE => Bytes::from(with_base(&bytes)),
                // Within the program: a megabyte and a half is not copied for everybody who asks.
                Cow::Borrowed(bytes) => Bytes::from_static(bytes),
                Cow::Owned(bytes) => Bytes::from(bytes),
            };
            ([(header::CONTENT_TYPE, file.content_type.as_str()), (header::CACHE_CONTROL, CACHE)], bytes)
                .into_response()
        }
        Ok(None) => Problem::NotFound.into_response(),
        Err(error) => {
            tracing::error!(%error, path, "a file of the API's page cannot be served");
            Problem::Internal.into_response()
        }
    }
}

/// The page's links hang on the slash at the end of its address, which is ignored here as everywhere else: say what they
/// are relative to.
fn with_base(page: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(page).replacen("<head>", "<head><base href=\"/api/docs/\">", 1).into_bytes()
}
