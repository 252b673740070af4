//! Who answers which path: the API, or the pages for people.

use axum::Router;
use axum::extract::Request;
use tower::{ServiceExt, service_fn};

/// Everything of panel and node.
const API: &str = "/api";

/// The API with the pages around it.
pub(crate) fn site(api: Router) -> Router {
    let pages = web::router();
    Router::new().fallback_service(service_fn(move |request: Request| {
        let part = if is_api(request.uri().path()) { api.clone() } else { pages.clone() };
        part.oneshot(request)
    }))
}

/// Whatever begins like the API is the API's to answer, also what is not there: programs want no page.
fn is_api(path: &str) -> bool {
    path.strip_prefix(API).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_get_no_page_and_people_no_json() {
        for path in ["/api", "/api/", "/api/client", "/api/nothing", "/api/docs/x.css"] {
            assert!(is_api(path), "{path}");
        }
        for path in ["/", "/apis", "/servers/api", "/assets/x.js", "/link"] {
            assert!(!is_api(path), "{path}");
        }
    }
}
