//! Routes, and what happens around every handler.
//!
//! The outer router holds only the page of the API's description; everything else falls through to the inner one with the
//! slash at the end of its path removed, because a layer on a router runs after routing and would come too late.

pub(crate) mod account;
pub(crate) mod activity;
pub(crate) mod application;
pub(crate) mod auth;
pub(crate) mod caller;
pub(crate) mod console;
pub(crate) mod cookie;
pub(crate) mod credentials;
pub(crate) mod docs;
pub(crate) mod fields;
pub(crate) mod keys;
pub(crate) mod network;
pub(crate) mod page;
pub(crate) mod path;
pub(crate) mod problem;
pub(crate) mod reach;
pub(crate) mod remote;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod rights_tests;
pub(crate) mod servers;
pub(crate) mod show;
pub(crate) mod startup;
pub(crate) mod subusers;
pub(crate) mod throttle;
pub(crate) mod websocket;

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use tower_http::normalize_path::NormalizePath;
use utoipa::OpenApi;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

use crate::app::App;
use problem::Problem;

async fn not_found() -> Problem {
    Problem::NotFound
}

async fn method_not_allowed() -> Problem {
    Problem::MethodNotAllowed
}

/// All routes of the panel, and the envelope for those that are not there.
pub(crate) fn router(app: &App) -> Router {
    let (inner, description) = described(app);
    let inner = inner.merge(remote_routes(app)).fallback(not_found).method_not_allowed_fallback(method_not_allowed);
    docs::router(description)
        .method_not_allowed_fallback(method_not_allowed)
        .fallback_service(NormalizePath::trim_trailing_slash(inner))
        .layer(map_response(bounded))
}

/// Bounds what a browser makes of an answer: it is what it says it is, nobody frames it, only the page of the API's description does
/// anything, and what belongs to somebody is not kept.
async fn bounded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let is_page = headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    let policy = if is_page { "frame-ancestors 'none'" } else { "default-src 'none'; frame-ancestors 'none'" };
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The description of the API alone.
pub(crate) fn description(app: &App) -> utoipa::openapi::OpenApi {
    described(app).1
}

fn described(app: &App) -> (Router, utoipa::openapi::OpenApi) {
    let client = [
        routes!(servers::list),
        routes!(servers::permissions),
        routes!(account::read),
        routes!(account::list_keys, account::create_key),
        routes!(account::delete_key),
        routes!(account::activity),
        routes!(auth::session),
        routes!(auth::logout),
        routes!(auth::logout_everywhere),
        routes!(credentials::change_password),
        routes!(credentials::offer_two_factor, credentials::enable_two_factor, credentials::disable_two_factor),
        routes!(servers::read),
        routes!(websocket::credentials),
        routes!(servers::resources),
        routes!(servers::command),
        routes!(servers::power),
        routes!(servers::backups),
        routes!(startup::list),
        routes!(startup::set),
        routes!(startup::set_image),
        routes!(startup::rename),
        routes!(startup::reinstall, startup::abort),
        routes!(network::list, network::create),
        routes!(network::note, network::delete),
        routes!(network::primary),
        routes!(console::lines),
        routes!(console::search),
        routes!(console::runs),
        routes!(console::run),
        routes!(console::stats),
        routes!(activity::list),
        routes!(subusers::list, subusers::create),
        routes!(subusers::read, subusers::update, subusers::put, subusers::delete),
    ];
    let application = [
        routes!(application::list_templates),
        routes!(application::users::list, application::users::create),
        routes!(application::users::read, application::users::update, application::users::delete),
        routes!(application::keys::list, application::keys::create),
        routes!(application::keys::delete),
        routes!(application::links::create),
        routes!(application::nodes::list, application::nodes::create),
        routes!(application::nodes::read, application::nodes::update, application::nodes::delete),
        routes!(application::nodes::configuration),
        routes!(application::servers::list, application::servers::create),
        routes!(application::servers::read, application::servers::delete),
        routes!(application::servers::force_delete),
        routes!(application::servers::restore),
        routes!(application::servers::reinstall),
        routes!(application::servers::read_external),
        routes!(application::users::read_external),
        routes!(application::allocations::list, application::allocations::create),
        routes!(application::allocations::delete),
        routes!(application::eggs::list_nests, application::eggs::create_nest),
        routes!(application::eggs::read_nest),
        routes!(application::eggs::list_in_nest),
        routes!(application::eggs::read_in_nest),
        routes!(application::eggs::list),
        routes!(application::eggs::read, application::eggs::delete),
        routes!(application::eggs::import),
        routes!(application::eggs::export),
        routes!(application::servers::update_details),
        routes!(application::servers::update_build),
        routes!(application::servers::update_startup),
        routes!(application::servers::suspend),
        routes!(application::servers::unsuspend),
    ];
    // Of those who are not signed in yet, so without guard.
    let doors = OpenApiRouter::new().routes(routes!(auth::login)).routes(routes!(auth::link)).with_state(app.clone());
    let mut all = OpenApiRouter::with_openapi(docs::Description::openapi()).merge(doors);
    // Around each method and not around the router: a method that is not there is a 405 for strangers as well.
    for (schemas, paths, methods) in client {
        let guard = from_fn_with_state(app.clone(), caller::guard_client);
        let guarded: UtoipaMethodRouter = (schemas, paths, methods.route_layer(guard));
        all = all.routes(guarded);
    }
    for (schemas, paths, methods) in application {
        let guard = from_fn_with_state(app.clone(), caller::guard_application);
        let guarded: UtoipaMethodRouter = (schemas, paths, methods.route_layer(guard));
        all = all.routes(guarded);
    }
    all.split_for_parts()
}

fn remote_routes(app: &App) -> Router {
    let guarded = |methods: MethodRouter| methods.route_layer(from_fn_with_state(app.clone(), remote::guard));
    Router::new()
        .route("/api/remote/servers", guarded(get(remote::servers)))
        .route("/api/remote/servers/reset", guarded(post(remote::reset)))
        .route("/api/remote/servers/{server}", guarded(get(remote::server)))
        .route("/api/remote/servers/{server}/install", guarded(get(remote::install).post(remote::installed)))
        .route("/api/remote/servers/{server}/container/status", guarded(post(remote::status)))
        .route("/api/remote/activity", guarded(post(remote::activity)))
}
