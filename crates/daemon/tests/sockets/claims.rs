//! Tokens that were tampered with: a genuine one with every claim changed in every way, and every other form of forgery, brought to a
//! real socket. Whoever holds no good token learns only what the stock protocol says, and gets nothing.

use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};

use crate::node::{Node, SECRET, SERVER, Socket, USER, node, open, parsed, say, until};

const REVOKED_USER: &str = "77777777-8888-4777-8666-555555555555";
const WRONG_KEY: &str = "jjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjj";
/// What is said of a token that is not one of this node's, whatever is wrong with it.
const REFUSED: &str = "daemon error: this token was not accepted; get a new one";
const EXPIRED: &str = "jwt error: jwt: exp claim is invalid";
const EARLY: &str = "jwt error: jwt: nbf claim is invalid";
const DENIED: &str = "jwt error: jwt: created too far in past (denylist)";
const NO_CONNECT: &str = "jwt error: jwt: missing connect permission";
const OTHER_SERVER: &str = "jwt error: jwt: server uuid mismatch";
const TAKEN: &str = "auth success: ";

fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let sextets = |chunk: &[u8]| {
        let bits = (0..3).fold(0, |bits, index| bits << 8 | u32::from(chunk.get(index).copied().unwrap_or(0)));
        let sextet = move |index: usize| char::from(ALPHABET[(bits >> (18 - 6 * index) & 63) as usize]);
        (0..=chunk.len()).map(sextet).collect::<String>()
    };
    bytes.chunks(3).map(sextets).collect()
}

fn signature(message: &str, key: &str, algorithm: Algorithm) -> String {
    crypto::sign(message.as_bytes(), &EncodingKey::from_secret(key.as_bytes()), algorithm).unwrap()
}

/// A token of these texts, signed as it should be.
fn signed(header: &str, payload: &str, key: &str) -> String {
    let message = format!("{}.{}", base64url(header.as_bytes()), base64url(payload.as_bytes()));
    format!("{message}.{}", signature(&message, key, Algorithm::HS256))
}

const HEADER: &str = r#"{"typ":"JWT","alg":"HS256"}"#;

fn now_s() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// The claims of the protocol's own example, for this server and now.
fn genuine() -> Value {
    let mut claims: Value = serde_json::from_str(include_str!("../../../wire/testdata/token/claims.json")).unwrap();
    let now = now_s();
    for (name, value) in [
        ("iat", json!(now)),
        ("nbf", json!(now - 300)),
        ("exp", json!(now + 600)),
        ("server_uuid", json!(SERVER)),
        ("user_uuid", json!(USER)),
        ("serial", json!(7)),
    ] {
        claims[name] = value;
    }
    claims
}

fn with(name: &str, value: Option<Value>) -> Value {
    let mut claims = genuine();
    match value {
        Some(value) => claims[name] = value,
        None => drop(claims.as_object_mut().unwrap().remove(name)),
    }
    claims
}

/// What comes of a genuine token without this claim.
fn without(name: &str) -> &'static str {
    match name {
        // The node has no use for them.
        "iss" | "aud" | "user_id" | "unique_id" | "jti" | "nbf" | "serial" => TAKEN,
        "exp" => EXPIRED,
        "iat" | "server_uuid" | "user_uuid" => DENIED,
        "permissions" | "scope" => NO_CONNECT,
        new => panic!("what does the claim {new} mean here?"),
    }
}

/// Every claim taken out, made null and made another type.
fn mechanical() -> Vec<(String, Value, &'static str)> {
    let claims = genuine();
    let mut rows = Vec::new();
    for (name, value) in claims.as_object().unwrap() {
        rows.push((format!("without {name}"), with(name, None), without(name)));
        let is_number = value.is_number();
        // A number may be left out by saying null; a text may not.
        let null = if is_number { without(name) } else { REFUSED };
        rows.push((format!("{name} null"), with(name, Some(Value::Null)), null));
        for other in [json!("x"), json!(1), json!(1.5), json!(true), json!({}), json!([1]), json!([["*"]]), json!("1")]
        {
            let same_type = match value {
                Value::String(_) => other.is_string(),
                Value::Number(_) => other.is_i64(),
                _ => false,
            };
            if !same_type {
                rows.push((format!("{name} {other}"), with(name, Some(other)), REFUSED));
            }
        }
    }
    rows
}

/// Well-formed claims that mean something else.
fn meant(boot_s: i64) -> Vec<(&'static str, Value, &'static str)> {
    let now = now_s();
    vec![
        ("server_uuid", json!("aaaaaaaa-2222-3333-4444-555555555555"), OTHER_SERVER),
        ("server_uuid", json!(""), DENIED),
        ("server_uuid", json!("*"), OTHER_SERVER),
        ("server_uuid", json!(&SERVER[..8]), OTHER_SERVER),
        ("server_uuid", json!(format!("{SERVER} ")), OTHER_SERVER),
        ("exp", json!(now - 1), EXPIRED),
        ("exp", json!(0), EXPIRED),
        ("exp", json!(-1), EXPIRED),
        ("exp", json!(i64::MIN), EXPIRED),
        ("exp", json!(u64::MAX), REFUSED),
        ("nbf", json!(now + 120), EARLY),
        ("nbf", json!(i64::MAX), EARLY),
        ("iat", json!(now + 120), EARLY),
        ("iat", json!(boot_s - 10), DENIED),
        ("iat", json!(0), DENIED),
        ("iat", json!(i64::MIN), DENIED),
        ("user_uuid", json!(REVOKED_USER), DENIED),
        ("user_uuid", json!(REVOKED_USER.to_uppercase()), DENIED),
        ("user_uuid", json!(REVOKED_USER.replace('-', "")), DENIED),
        ("user_uuid", json!(""), DENIED),
        ("jti", json!("revoked"), DENIED),
        ("permissions", json!([]), NO_CONNECT),
        ("permissions", json!([""]), NO_CONNECT),
        ("permissions", json!(["control.console", "control.start"]), NO_CONNECT),
        ("permissions", json!(["admin.websocket.errors", "admin.websocket.install"]), NO_CONNECT),
        ("permissions", json!(["websocket"]), NO_CONNECT),
        ("permissions", json!(["websocket.*"]), NO_CONNECT),
        ("permissions", json!(["WEBSOCKET.CONNECT"]), NO_CONNECT),
        ("permissions", json!([" websocket.connect"]), NO_CONNECT),
        ("scope", json!(""), NO_CONNECT),
        ("scope", json!("file-download"), NO_CONNECT),
        ("scope", json!("websocket2 transfer"), NO_CONNECT),
        ("scope", json!("web socket"), NO_CONNECT),
        // Not for consoles, whose tokens may be brought again: a connection that was cut comes back with the same.
        ("unique_id", json!("aaaaaaaaaaaaaaaa"), TAKEN),
    ]
}

/// Texts that are no token of ours, though they look like it.
fn forged() -> Vec<(&'static str, String)> {
    let claims = genuine().to_string();
    let good = signed(HEADER, &claims, SECRET);
    let [header, payload, mac] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    let headed = |text: &str| base64url(text.as_bytes());
    let other_hash = |name: &str, algorithm| {
        let message = format!("{}.{payload}", headed(&format!(r#"{{"typ":"JWT","alg":"{name}"}}"#)));
        format!("{message}.{}", signature(&message, SECRET, algorithm))
    };
    let other = with("permissions", Some(json!(["*", "admin.websocket.errors"]))).to_string();
    let flipped = |text: &str| {
        let first = if text.starts_with('A') { 'B' } else { 'A' };
        format!("{first}{}", &text[1..])
    };
    let twice = |name: &str, value: &str| {
        let text = claims.strip_suffix('}').unwrap();
        signed(HEADER, &format!(r#"{text},"{name}":{value}}}"#), SECRET)
    };
    vec![
        ("alg none, no signature", format!("{}.{payload}.", headed(r#"{"typ":"JWT","alg":"none"}"#))),
        ("alg none, two parts", format!("{}.{payload}", headed(r#"{"alg":"none"}"#))),
        ("alg none, our signature", signed(r#"{"typ":"JWT","alg":"none"}"#, &claims, SECRET)),
        ("alg None", format!("{}.{payload}.{mac}", headed(r#"{"alg":"None"}"#))),
        ("alg empty", signed(r#"{"alg":""}"#, &claims, SECRET)),
        ("alg in small letters", signed(r#"{"alg":"hs256"}"#, &claims, SECRET)),
        ("no alg", signed(r#"{"typ":"JWT"}"#, &claims, SECRET)),
        ("HS384", other_hash("HS384", Algorithm::HS384)),
        ("HS512", other_hash("HS512", Algorithm::HS512)),
        ("HS512 said, HS256 done", signed(r#"{"alg":"HS512"}"#, &claims, SECRET)),
        ("RS256 said, HS256 done", signed(r#"{"alg":"RS256"}"#, &claims, SECRET)),
        ("EdDSA said, HS256 done", signed(r#"{"alg":"EdDSA"}"#, &claims, SECRET)),
        ("HS256 said, HS512 done", {
            let message = format!("{header}.{payload}");
            format!("{message}.{}", signature(&message, SECRET, Algorithm::HS512))
        }),
        ("no signature", format!("{header}.{payload}.")),
        ("half a signature", format!("{header}.{payload}.{}", &mac[..20])),
        ("a signature without its last character", format!("{header}.{payload}.{}", &mac[..mac.len() - 1])),
        ("a signature that is longer", format!("{header}.{payload}.{mac}AAAA")),
        ("another signature", format!("{header}.{payload}.{}", flipped(mac))),
        ("a signature of zeros", format!("{header}.{payload}.{}", "A".repeat(mac.len()))),
        ("another payload", format!("{header}.{}.{mac}", base64url(other.as_bytes()))),
        ("a bit of the payload", format!("{header}.{}.{mac}", flipped(payload))),
        ("another header", format!("{}.{payload}.{mac}", headed(r#"{"alg":"HS256","typ":"JWT"}"#))),
        ("the wrong key", signed(HEADER, &claims, WRONG_KEY)),
        ("no key", {
            let message = format!("{header}.{payload}");
            format!("{message}.{}", signature(&message, "\0", Algorithm::HS256))
        }),
        ("part of the key", signed(HEADER, &claims, &SECRET[..63])),
        ("four parts", format!("{good}.{mac}")),
        ("one part", payload.to_owned()),
        ("a blank in front", format!(" {good}")),
        ("a line end behind", format!("{good}\n")),
        ("padding", format!("{header}.{payload}.{mac}=")),
        ("the other alphabet", format!("{header}.{payload}.+/{}", &mac[2..])),
        ("no base64", format!("{header}.{payload}.\u{1f980}")),
        ("a payload that is no base64", {
            let message = format!("{header}.%%%%");
            format!("{message}.{}", signature(&message, SECRET, Algorithm::HS256))
        }),
        ("a payload that is no JSON", signed(HEADER, "no JSON", SECRET)),
        ("a payload that is a list", signed(HEADER, "[]", SECRET)),
        ("a payload that is null", signed(HEADER, "null", SECRET)),
        ("a header that is no JSON", signed("no JSON", &claims, SECRET)),
        ("permissions twice", twice("permissions", r#"["*"]"#)),
        ("exp twice", twice("exp", "9999999999")),
        ("server_uuid twice", twice("server_uuid", &format!("{SERVER:?}"))),
        ("Bearer in front", format!("Bearer {good}")),
        ("the key itself", SECRET.to_owned()),
        ("nothing", String::new()),
    ]
}

/// What the node answers a token with, without the number of the error.
async fn answer(socket: &mut Socket, token: &str) -> String {
    say(socket, "auth", token).await;
    let seen = until(socket, |_| true).await;
    let (event, arg) = parsed(seen.last().unwrap());
    let text =
        arg.strip_prefix("Error Event [").and_then(|rest| rest.split_once("]: ")).map_or(arg.as_str(), |parts| parts.1);
    format!("{event}: {text}")
}

/// Brings a token to a new socket. Whoever is refused gets nothing else.
async fn brought(node: &Node, what: &str, token: &str, expected: &str) {
    let mut socket = open(node).await;
    assert_eq!(answer(&mut socket, token).await, expected, "{what}");
    if expected != TAKEN {
        for event in ["send logs", "send stats", "send command"] {
            say(&mut socket, event, "x").await;
            let seen = until(&mut socket, |_| true).await;
            let refused = ("jwt error".to_owned(), "jwt: no jwt present".to_owned());
            assert_eq!(parsed(seen.last().unwrap()), refused, "{what}: {event}");
        }
    }
}

/// Without a panel to tell its age, a node counts tokens from the second of its own start as older.
async fn behind_its_start() {
    let start_s = now_s();
    while now_s() == start_s {
        // sleeps: for the rest of a second
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn every_claim_of_a_genuine_token_changed_in_every_way() {
    let before_s = now_s();
    let node = node("/bin/cat", |config| config.unauthenticated_per_address_max = 1000).await;
    behind_its_start().await;
    let revoked = json!({ "user": REVOKED_USER, "servers": [] });
    assert_eq!(node.ask("POST", "/api/deauthorize-user", Some(revoked)).await.0, 204);
    assert_eq!(node.post("/ws/deny", json!({ "jtis": ["revoked"] })).await.0, 204);
    brought(&node, "the genuine one", &signed(HEADER, &genuine().to_string(), SECRET), TAKEN).await;
    let meant = meant(before_s);
    let meant = meant
        .iter()
        .map(|(name, value, expected)| (format!("{name} {value}"), with(name, Some(value.clone())), *expected));
    let rows: Vec<_> = mechanical().into_iter().chain(meant).collect();
    assert!(rows.len() > 100);
    for (what, claims, expected) in rows {
        brought(&node, &what, &signed(HEADER, &claims.to_string(), SECRET), expected).await;
        let foreign = format!("{what}, signed by somebody else");
        brought(&node, &foreign, &signed(HEADER, &claims.to_string(), WRONG_KEY), REFUSED).await;
    }
    node.daemon.shutdown().await;
}

#[tokio::test]
async fn forged_tokens_are_refused_and_all_alike() {
    let node = node("/bin/cat", |config| config.unauthenticated_per_address_max = 1000).await;
    behind_its_start().await;
    for (what, token) in forged() {
        brought(&node, what, &token, REFUSED).await;
    }
    // The same on a connection that is authenticated: nothing of it is lost, and nothing is won.
    let watching = with("permissions", Some(json!(["websocket.connect"])));
    for (what, token) in forged() {
        let mut socket = open(&node).await;
        assert_eq!(answer(&mut socket, &signed(HEADER, &watching.to_string(), SECRET)).await, TAKEN);
        until(&mut socket, |message| parsed(message).0 == "stats").await;
        assert_eq!(answer(&mut socket, &token).await, REFUSED, "{what}");
        say(&mut socket, "send command", "x").await;
        let seen = until(&mut socket, |message| parsed(message).0 == "daemon error").await;
        assert!(parsed(seen.last().unwrap()).1.contains("control.console is missing"), "{what}");
    }
    node.daemon.shutdown().await;
}
