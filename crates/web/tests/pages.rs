//! Which path is answered with what, whatever interface this build carries.
#![allow(clippy::unwrap_used, missing_docs)]

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use axum::response::Response;
use tower::ServiceExt;

async fn ask(method: Method, path: &str) -> Response {
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    web::router().oneshot(request).await.unwrap()
}

fn is_page(response: &Response) -> bool {
    response.status() == StatusCode::OK
        && response.headers().get(header::CONTENT_TYPE).unwrap().to_str().unwrap().starts_with("text/html")
}

#[tokio::test]
async fn every_address_that_people_open_is_the_page() {
    for path in ["/", "/index.html", "/servers", "/servers/1a2b3c4d", "/link", "/wall?servers=a,b"] {
        assert!(is_page(&ask(Method::GET, path).await), "{path}");
    }
}

#[tokio::test]
async fn a_missing_file_is_not_the_page() {
    for path in ["/assets/none", "/assets/none.js", "/none.js", "/favicon-none.ico"] {
        assert_eq!(ask(Method::GET, path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn pages_take_no_other_methods() {
    assert_eq!(ask(Method::POST, "/").await.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(ask(Method::HEAD, "/").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn nothing_inline_may_run_and_nobody_may_frame_us() {
    for path in ["/", "/none.js"] {
        let response = ask(Method::GET, path).await;
        let policy = response.headers().get(header::CONTENT_SECURITY_POLICY).unwrap().to_str().unwrap();
        assert!(policy.contains("script-src 'self';") && policy.contains("style-src 'self';"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
    }
}
