//! The listener over real sockets.

#![allow(clippy::unwrap_used)]

use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const NO_GAMES: Range<u32> = 0..0;

async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn router() -> Router {
    Router::new()
        .route("/peer", get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.ip().to_string() }))
        .route(SLASHED_PATH, get(|| async { "the page" }))
        .fallback(|| async { (axum::http::StatusCode::NOT_FOUND, "nothing here") })
}

async fn listener() -> Listener {
    Listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap()
}

#[tokio::test]
async fn the_peer_is_known_and_a_trailing_slash_ignored() {
    let listener = listener().await;
    let address = listener.address();
    assert_eq!(listener.local_url(), format!("http://{address}"));
    let serving = listener.serve(router(), &[], NO_GAMES);
    for path in ["/peer", "/peer/", "/peer//?page=1"] {
        let answer = ask(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("127.0.0.1"), "{path}: {answer}");
    }
    let page = ask(address, &format!("GET {SLASHED_PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await;
    assert!(page.ends_with("the page"), "{page}");
    serving.drain().await;
}

#[tokio::test]
async fn a_head_that_never_ends_is_refused() {
    let listener = listener().await;
    let address = listener.address();
    let serving = listener.serve(router(), &[], NO_GAMES);
    let head = format!("GET /peer HTTP/1.1\r\nX: {}\r\n", "y".repeat(HEAD_BYTES_MAX));
    let answer = ask(address, &head).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    serving.drain().await;
}

#[tokio::test]
async fn the_limit_of_a_head_is_the_limit_in_whatever_pieces_it_comes() {
    let listener = listener().await;
    let address = listener.address();
    let serving = listener.serve(router(), &[], NO_GAMES);
    let sent = |bytes: usize, pieces: usize| async move {
        let end = "\r\nConnection: close\r\n\r\n";
        let head = "GET /peer HTTP/1.1\r\nHost: x\r\nX: ";
        let head = format!("{head}{}{end}", "y".repeat(bytes - head.len() - end.len()));
        let mut stream = TcpStream::connect(address).await.unwrap();
        for piece in head.as_bytes().chunks(head.len().div_ceil(pieces)) {
            // Refused before the end: the answer says so.
            let _ = stream.write_all(piece).await;
            tokio::task::yield_now().await;
        }
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    };
    for pieces in [1, 3] {
        let fits = sent(HEAD_BYTES_MAX, pieces).await;
        assert!(fits.starts_with("HTTP/1.1 200"), "{pieces}: {fits}");
        for bytes in [HEAD_BYTES_MAX + 1, 40 * 1024, 60 * 1024] {
            let answer = sent(bytes, pieces).await;
            // A connection that is closed with something unread in it may lose the answer.
            assert!(answer.starts_with("HTTP/1.1 431") || answer.is_empty(), "{bytes} in {pieces}: {answer}");
        }
    }
    serving.drain().await;
}

#[tokio::test]
async fn two_hosts_are_refused() {
    let listener = listener().await;
    let address = listener.address();
    let serving = listener.serve(router(), &[], NO_GAMES);
    let request = "GET /peer HTTP/1.1\r\nHost: x\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = ask(address, request).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["errors"][0]["code"], "BadRequestHttpException");
    serving.drain().await;
}

/// An answer larger than all buffers on its way. The other end hears when the connection lets it go.
fn large() -> (Router, tokio::sync::mpsc::Receiver<Infallible>) {
    let (held, let_go) = tokio::sync::mpsc::channel::<Infallible>(1);
    let pieces = futures_util::stream::repeat_with(move || {
        let _held = &held;
        Ok::<_, Infallible>(vec![0; 64 * 1024])
    });
    let body = Arc::new(std::sync::Mutex::new(Some(Body::from_stream(pieces))));
    (Router::new().route("/large", get(|| async move { body.lock().unwrap().take().unwrap() })), let_go)
}

#[tokio::test]
async fn who_does_not_read_is_cut_off_and_nothing_is_kept_for_them() {
    let listener = listener().await;
    let address = listener.address();
    let (router, mut let_go) = large();
    let stall_timeout = Duration::from_millis(50);
    let serving = listener.serve_within(router, Bounds { peers: Peers::new(&[], NO_GAMES), stall_timeout });
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n".repeat(6).as_slice()).await.unwrap();
    assert!(timeout(Duration::from_secs(20), let_go.recv()).await.unwrap().is_none());
    // What was on its way is lost with the connection: the kernel keeps nothing either.
    let mut rest = Vec::new();
    assert_eq!(stream.read_to_end(&mut rest).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    serving.drain().await;
}

#[tokio::test]
async fn the_kernel_keeps_little_for_who_does_not_read() {
    let listener = listener().await;
    let stream = TcpStream::connect(listener.address()).await.unwrap();
    let (accepted, _) = listener.socket.accept().await.unwrap();
    assert_eq!(SockRef::from(&accepted).tcp_notsent_lowat().unwrap(), UNSENT_BYTES_MAX);
    drop(stream);
}

#[tokio::test]
async fn one_peer_gets_its_share_of_connections_and_an_answer_beyond_it() {
    let listener = listener().await;
    let address = listener.address();
    let bounds = Bounds { peers: Peers::with(Vec::new(), NO_GAMES, 1), stall_timeout: STALL_TIMEOUT };
    let serving = listener.serve_within(router(), bounds);
    let mut first = TcpStream::connect(address).await.unwrap();
    let refused = ask(address, "").await;
    assert!(refused.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{refused}");
    let (head, body) = refused.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("Retry-After: 30") && head.contains(&format!("Content-Length: {}", body.len())), "{head}");
    assert_eq!(serde_json::from_str::<Value>(body).unwrap()["errors"][0]["status"], "429");
    // The one that is there is not touched, and its end makes room.
    first.write_all(b"GET /peer HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    first.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let again = async {
        loop {
            let (mut stream, mut answer) = (TcpStream::connect(address).await.unwrap(), Vec::new());
            // Refused as long as the first has not quite ended, and then perhaps while we write.
            let _ = stream.write_all(b"GET /peer HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
            let _ = stream.read_to_end(&mut answer).await;
            if answer.starts_with(b"HTTP/1.1 200") {
                return;
            }
        }
    };
    timeout(Duration::from_secs(20), again).await.unwrap();
    serving.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_trickles_in_is_given_up() {
    let router = Router::new().route("/", axum::routing::post(|_: String| async { "read" }));
    let routes = Routes { trimmed: NormalizePathLayer::trim_trailing_slash().layer(router.clone()), exact: router };
    let endless = Body::from_stream(futures_util::stream::pending::<Result<&[u8], Infallible>>());
    let answer = routes.answer(Request::post("/").body(endless).unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::REQUEST_TIMEOUT);
}

#[tokio::test]
async fn a_port_in_use_is_said_so() {
    let first = listener().await;
    let text = Listener::bind(first.address()).await.unwrap_err().to_string();
    assert!(text.contains("in use") && text.contains("--listen"), "{text}");
}

#[tokio::test]
async fn requests_under_way_are_answered_before_the_end_and_new_ones_refused() {
    let entered = Arc::new(Semaphore::new(0));
    let go_on = Arc::new(Semaphore::new(0));
    let (inside, gate) = (Arc::clone(&entered), Arc::clone(&go_on));
    let slow = get(move || async move {
        inside.add_permits(1);
        gate.acquire().await.unwrap().forget();
        "late"
    });
    let listener = listener().await;
    let address = listener.address();
    let serving = listener.serve(Router::new().route("/slow", slow), &[], NO_GAMES);
    let asked = tokio::spawn(async move { ask(address, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await });
    entered.acquire().await.unwrap().forget();
    let drained = tokio::spawn(serving.drain());
    // Refused once the listener is closed, which happens as soon as the accept loop sees the order.
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    go_on.add_permits(1);
    assert!(asked.await.unwrap().ends_with("late"));
    drained.await.unwrap();
}

#[tokio::test]
async fn whoever_accepts_connections_answers_for_that_and_nobody_else_does() {
    let serving = listener().await.serve(router(), &[], NO_GAMES);
    assert!(serving.answers().await);
    serving.stop_accepting();
    // It may just have been asked; it does not answer for ever.
    while serving.answers().await {
        tokio::task::yield_now().await;
    }
    serving.drain().await;
}
