//! What a node has kept, handed on.

use serde_json::json;

use crate::ground::Ground;

#[tokio::test]
async fn whoever_may_see_the_console_may_read_what_was_kept_of_it() {
    let ground = Ground::new().await;
    let (friend, stranger) = (ground.person("friend").await, ground.person("stranger").await);
    let server = ground.server("one", &ground.admin).await;
    ground.share(server, &friend, &[]).await;
    ground.node.take();
    for (what, query) in [("lines", "after=5&limit=2"), ("search", "q=a%20b"), ("runs", ""), ("stats", "step=60")] {
        let path = format!("/api/client/servers/{}/console/{what}?{query}", server.short());
        let answer = ground.get(&path, &friend.key).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{what}");
        let asked = ground.node.take().pop().unwrap();
        assert_eq!(asked.line, format!("GET /api/servers/{server}/console/{what}"));
        assert_eq!(asked.query, query);
        assert_eq!(asked.authorization, format!("Bearer {}", ground.node_token));
        assert_eq!(ground.get(&path, &stranger.key).await.refusal(), (404, "NotFoundHttpException".into()));
    }
    assert!(ground.node.take().is_empty());
}

#[tokio::test]
async fn one_run_is_named_by_its_id_and_by_nothing_else() {
    let ground = Ground::new().await;
    let server = ground.server("one", &ground.admin).await;
    let run = "0123456789abcdef0123456789abcdef";
    let line = format!("GET /api/servers/{server}/console/runs/{run}");
    let path = |run: &str| format!("/api/client/servers/{server}/console/runs/{run}");
    ground.node.take();
    assert_eq!(ground.get(&path(run), &ground.admin.key).await.status, 200);
    assert_eq!(ground.node.take().pop().unwrap().line, line);
    ground.node.answer(&line, 422, json!({ "error": "no run of this server has this id" }));
    let not_found = (404, "NotFoundHttpException".to_owned());
    assert_eq!(ground.get(&path(run), &ground.admin.key).await.refusal(), not_found);
    ground.node.take();
    for other in ["..%2f..%2fpower", "x", "%ff"] {
        assert_eq!(ground.get(&path(other), &ground.admin.key).await.refusal(), not_found, "{other}");
    }
    assert!(ground.node.take().is_empty());
}

#[tokio::test]
async fn lines_are_followed_with_the_rights_of_whoever_asks() {
    let ground = Ground::new().await;
    let friend = ground.person("friend").await;
    let server = ground.server("one", &ground.admin).await;
    ground.share(server, &friend, &[]).await;
    ground.node.take();
    let path = format!("/api/client/servers/{server}/console/lines");
    assert_eq!(ground.get(&path, &friend.key).await.status, 200);
    assert_eq!(ground.node.take().pop().unwrap().user, None);
    // However it is spelled: the node reads it decoded.
    for query in ["after=5&follow=true", "%66ollow=true", "follow=%74rue&x", "follow=false&follow=true"] {
        assert_eq!(ground.get(&format!("{path}?{query}"), &friend.key).await.status, 200);
        let asked = ground.node.take().pop().unwrap();
        assert_eq!((asked.user, asked.query.as_str()), (Some(friend.user.uuid.to_string()), query));
    }
}

#[tokio::test]
async fn a_node_that_keeps_nothing_or_says_no_is_told_apart() {
    let ground = Ground::new().await;
    let server = ground.server("one", &ground.admin).await;
    let path = format!("/api/client/servers/{server}/console/search?q=");
    let line = format!("GET /api/servers/{server}/console/search");
    ground.node.answer(&line, 404, json!({ "error": "no such path" }));
    let text = "The node of this server keeps no history that can be read.";
    let none = (502, "DaemonConnectionException".to_owned(), text.to_owned());
    assert_eq!(ground.get(&path, &ground.admin.key).await.error(), none);
    ground.node.answer(&line, 422, json!({ "error": "q is missing" }));
    let refused = (422, "DaemonConnectionException".to_owned(), "q is missing".to_owned());
    assert_eq!(ground.get(&path, &ground.admin.key).await.error(), refused);
    let long = format!("{path}{}", "x".repeat(5000));
    assert_eq!(ground.get(&long, &ground.admin.key).await.refusal(), (400, "BadRequestHttpException".into()));
    ground.suspend(server).await;
    assert_eq!(ground.get(&path, &ground.admin.key).await.refusal(), (409, "ServerStateConflictException".into()));
}

/// A node may be somebody else's machine: what it answers is never a page of the panel.
#[tokio::test]
async fn an_answer_of_a_node_is_never_a_page() {
    let ground = Ground::new().await;
    let server = ground.server("one", &ground.admin).await;
    let line = format!("GET /api/servers/{server}/console/lines");
    ground.node.answer(&line, 200, json!("<script>alert(1)</script>"));
    let path = format!("/api/client/servers/{server}/console/lines");
    let answer = ground.get(&path, &ground.admin.key).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/plain; charset=utf-8")));
    for (path, kind) in
        [(path.as_str(), "default-src 'none'; frame-ancestors 'none'"), ("/api/docs", "frame-ancestors 'none'")]
    {
        let answer = ground.get(path, &ground.admin.key).await;
        assert_eq!(answer.header("content-security-policy"), Some(kind), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
    }
    assert_eq!(ground.get("/api/client", &ground.admin.key).await.header("cache-control"), Some("no-store"));
}
