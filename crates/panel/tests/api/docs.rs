//! The API's description: checked in, and served with a page that needs nothing from elsewhere.

use std::path::Path;

use serde_json::{Value, json};

use crate::ground::{Ask, Ground};

/// `QUARTERDECK_BLESS=1 cargo test -p panel` writes the file anew.
const BLESS: &str = "QUARTERDECK_BLESS";

#[tokio::test]
async fn the_description_in_the_repository_is_that_of_the_handlers() {
    let ground = Ground::new().await;
    let now = ground.panel.openapi().unwrap() + "\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    if std::env::var_os(BLESS).is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == now,
        "docs/openapi.json is not what the handlers say: look at the change, then {BLESS}=1 cargo test -p panel"
    );

    let served = Ask::new("GET", "/api/docs/openapi.json").of(&ground.router).await;
    assert_eq!((served.status, served.header("content-type")), (200, Some("application/json")));
    assert_eq!(served.json(), serde_json::from_str::<Value>(&now).unwrap());
}

#[tokio::test]
async fn every_operation_is_described_and_answers() {
    let ground = Ground::new().await;
    let description: Value = serde_json::from_str(&ground.panel.openapi().unwrap()).unwrap();
    assert_eq!(description["info"]["title"], "Quarterdeck");
    let mut operations = 0;
    for (path, item) in description["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            operations += 1;
            assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path}");
            assert!(operation["responses"].as_object().is_some_and(|all| all.len() > 1), "{method} {path}");
            // It is there: without a key, or else without a body, it says so, and not that it knows no such path or method.
            let answer = Ask::new(&method.to_uppercase(), path).of(&ground.router).await;
            let is_open = operation["security"] == json!([{}]);
            assert_eq!(answer.status, if is_open { 400 } else { 401 }, "{method} {path}");
        }
    }
    assert_eq!(operations, 88);
    // Every reference leads somewhere.
    let text = description.to_string();
    for part in text.split("\"#/components/schemas/").skip(1) {
        let name = part.split('"').next().unwrap();
        assert!(!description["components"]["schemas"][name].is_null(), "{name}");
    }
}

#[tokio::test]
async fn the_page_needs_nothing_from_elsewhere() {
    let ground = Ground::new().await;
    let page = Ask::new("GET", "/api/docs").of(&ground.router).await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html")));
    // The slash is ignored in front of the panel as well, so the page may not need it.
    assert_eq!(Ask::new("GET", "/api/docs/").of(&ground.router).await.text(), page.text());
    let text = page.text();
    assert!(text.contains("<head><base href=\"/api/docs/\">"), "{text}");
    assert!(!text.contains("http://") && !text.contains("https://"), "{text}");
    let mut files = 0;
    for part in text.split(['"', '\'']).filter(|part| matches!(part.rsplit_once('.'), Some((_, "js" | "css")))) {
        let path = format!("/api/docs/{}", part.trim_start_matches("./"));
        let file = Ask::new("GET", &path).of(&ground.router).await;
        assert_eq!(file.status, 200, "{path}");
        assert!(!file.bytes.is_empty());
        assert_eq!(file.header("cache-control"), Some("public, max-age=3600"), "{path}");
        files += 1;
    }
    assert!(files >= 4, "{text}");
    let settings = Ask::new("GET", "/api/docs/swagger-initializer.js").of(&ground.router).await.text();
    assert!(settings.contains("/api/docs/openapi.json"), "{settings}");
    // Nothing is sent elsewhere either: without this, the page has a stranger's machine validate the description.
    assert!(settings.contains(r#""validatorUrl": "none""#), "{settings}");
    assert!(
        !settings.contains("http://") && !settings.contains("https://") && !settings.contains("\"//"),
        "{settings}"
    );
    assert_eq!(Ask::new("GET", "/api/docs/nothing.js").of(&ground.router).await.refusal().0, 404);
}
