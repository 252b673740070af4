//! Signing in from a browser: sessions, their cookie, passwords, second factors, links, and those who guess.

use serde_json::{Value, json};
use totp_rs::{Builder, Secret};

use crate::ground::{Answer, Ask, Ground};

const PASSWORD: &str = "correct horse";

/// A browser with its one cookie.
#[derive(Default)]
struct Browser {
    cookie: String,
    csrf: String,
}

impl Browser {
    async fn sign_in(ground: &Ground, body: &Value) -> (Self, Answer) {
        let answer = Ask::new("POST", "/api/auth/login").json(body).of(&ground.router).await;
        (Self::after(&answer), answer)
    }

    /// As somebody who was made by [`Ground::person`].
    async fn of(ground: &Ground, name: &str) -> Self {
        let (browser, answer) = Self::sign_in(ground, &json!({ "user": name, "password": PASSWORD })).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        browser
    }

    fn after(answer: &Answer) -> Self {
        if answer.status != 200 {
            return Self::default();
        }
        let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap();
        let csrf = answer.json()["attributes"]["csrf"].as_str().unwrap().to_owned();
        Self { cookie: cookie.to_owned(), csrf }
    }

    fn ask(&self, method: &str, path: &str) -> Ask {
        Ask::new(method, path)
            .header("cookie", &format!("theme=dark; quarterdeck_session=old; {}", self.cookie))
            .header("x-csrf-token", &self.csrf)
    }

    async fn get(&self, ground: &Ground, path: &str) -> Answer {
        self.ask("GET", path).of(&ground.router).await
    }

    async fn send(&self, ground: &Ground, method: &str, path: &str, body: &Value) -> Answer {
        self.ask(method, path).json(body).of(&ground.router).await
    }
}

fn refused() -> (u16, String, String) {
    let text = "These are not the right words: check name, password and code.";
    (401, "AuthenticationException".to_owned(), text.to_owned())
}

#[tokio::test]
async fn a_session_from_its_beginning_to_its_end() {
    let ground = Ground::new().await;
    ground.person("Friend").await;
    for login in ["Friend", "fRIEND", "friend@example.org", "FRIEND@example.org"] {
        let (_, answer) = Browser::sign_in(&ground, &json!({ "user": login, "password": PASSWORD })).await;
        assert_eq!(answer.status, 200, "{login}: {}", answer.text());
    }
    let (browser, answer) = Browser::sign_in(&ground, &json!({ "user": "Friend", "password": PASSWORD })).await;
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.starts_with("quarterdeck_session=") && cookie.contains("; HttpOnly"), "{cookie}");
    assert!(cookie.contains("; SameSite=Lax") && cookie.contains("; Path=/") && !cookie.contains("Secure"), "{cookie}");
    let shown = browser.get(&ground, "/api/auth/session").await.json();
    assert_eq!(shown, answer.json());
    let session = &shown["attributes"];
    assert_eq!(session["user"]["username"], "Friend");
    assert_eq!((&session["user"]["two_factor"], &session["must_set_password"]), (&json!(false), &json!(false)));

    // What an account key opens, the session opens too.
    assert_eq!(browser.get(&ground, "/api/client").await.status, 200);
    assert_eq!(browser.get(&ground, "/api/client/account").await.json()["attributes"]["username"], "Friend");
    assert_eq!(browser.get(&ground, "/api/application/users").await.status, 403);
    let made = browser.send(&ground, "POST", "/api/client/account/api-keys", &json!({ "description": "x" })).await;
    assert_eq!(made.status, 200, "{}", made.text());
    // A key that comes with the cookie counts alone, also when it is wrong.
    let both = browser.ask("GET", "/api/client/account").key(&ground.admin.key).of(&ground.router).await;
    assert_eq!(both.json()["attributes"]["username"], "admin");
    assert_eq!(browser.ask("GET", "/api/client").key("nonsense").of(&ground.router).await.status, 401);

    let gone = browser.ask("POST", "/api/auth/logout").of(&ground.router).await;
    assert_eq!(gone.status, 204, "{}", gone.text());
    assert!(gone.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(browser.get(&ground, "/api/client").await.status, 401);
}

#[tokio::test]
async fn over_tls_the_cookie_stays_there() {
    let ground = Ground::with(|config| config.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()]).await;
    ground.person("friend").await;
    let ask = Ask::new("POST", "/api/auth/login").from("10.0.0.1").header("x-forwarded-proto", "https");
    let answer = ask.json(&json!({ "user": "friend", "password": PASSWORD })).of(&ground.router).await;
    assert!(answer.header("set-cookie").unwrap().contains("; Secure"));
}

#[tokio::test]
async fn a_page_of_somebody_else_changes_nothing() {
    let ground = Ground::new().await;
    ground.person("friend").await;
    let browser = Browser::of(&ground, "friend").await;
    let path = "/api/client/account/api-keys";
    let mismatch = (403, "CsrfTokenMismatch".to_owned());
    for csrf in ["", "wrong", &browser.csrf[1..]] {
        let ask = browser.ask("POST", path).header("x-csrf-token", csrf);
        assert_eq!(ask.json(&json!({ "description": "x" })).of(&ground.router).await.refusal(), mismatch);
    }
    let ask = browser.ask("POST", "/api/auth/logout").without("x-csrf-token");
    assert_eq!(ask.of(&ground.router).await.refusal(), mismatch);
    assert_eq!(browser.get(&ground, path).await.status, 200);
    // Nor does it sign anybody in: forms cannot say that they send JSON.
    let body = json!({ "user": "friend", "password": PASSWORD }).to_string();
    let form = Ask::new("POST", "/api/auth/login").text("text/plain", &body).of(&ground.router).await;
    assert_eq!(form.refusal(), (400, "BadRequestHttpException".into()));
}

#[tokio::test]
async fn who_may_not_in_learns_nothing() {
    let ground = Ground::new().await;
    ground.person("friend").await;
    // An account without password: made by an invitation.
    let server = ground.server("a", &ground.admin).await;
    let body = json!({ "email": "guest@example.org", "permissions": ["control.console"] });
    let path = format!("/api/client/servers/{server}/users");
    assert_eq!(ground.send("POST", &path, &ground.admin.key, &body).await.status, 200);
    for (login, password) in
        [("friend", "wrong"), ("nobody", PASSWORD), ("guest@example.org", "nobody's"), ("guest@example.org", "x")]
    {
        let (_, answer) = Browser::sign_in(&ground, &json!({ "user": login, "password": password })).await;
        assert_eq!(answer.error(), refused(), "{login}");
        assert!(answer.header("set-cookie").is_none());
    }
    let (_, answer) = Browser::sign_in(&ground, &json!({})).await;
    let required = |name: &str| (name.to_owned(), "required".to_owned());
    assert_eq!(answer.invalid(), [required("user"), required("password")]);
    for cookie in ["", "quarterdeck_session=", "quarterdeck_session=x; a", "=; ;", "quarterdeck_session=\"\""] {
        assert_eq!(Ask::new("GET", "/api/auth/session").header("cookie", cookie).of(&ground.router).await.status, 401);
    }
    // A key is no session.
    assert_eq!(ground.get("/api/auth/session", &ground.admin.key).await.status, 401);
}

#[tokio::test]
async fn whoever_guesses_has_to_wait() {
    let ground = Ground::new().await;
    ground.person("friend").await;
    let attempt = async |from: &str, password: &str| {
        let ask = Ask::new("POST", "/api/auth/login").from(from);
        ask.json(&json!({ "user": "friend", "password": password })).of(&ground.router).await
    };
    for _ in 0..5 {
        assert_eq!(attempt("203.0.113.1", "wrong").await.status, 401);
    }
    let locked = attempt("203.0.113.1", PASSWORD).await;
    assert_eq!(locked.refusal(), (429, "ThrottleRequestsException".into()));
    assert!(locked.header("retry-after").unwrap().parse::<u64>().unwrap() <= 2);
    // Nobody locks somebody else out.
    assert_eq!(attempt("203.0.113.2", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions() {
    let ground = Ground::new().await;
    let friend = ground.person("friend").await;
    let (here, elsewhere) = (Browser::of(&ground, "friend").await, Browser::of(&ground, "friend").await);
    let path = "/api/client/account/password";
    let body = |current: &str, new: &str, again: &str| json!({ "current_password": current, "password": new, "password_confirmation": again });
    let rule = |field: &str, rule: &str| vec![(field.to_owned(), rule.to_owned())];
    let wrong = here.send(&ground, "PUT", path, &body("wrong", "battery staple", "battery staple")).await;
    assert_eq!(wrong.invalid(), rule("current_password", "password"));
    let typo = here.send(&ground, "PUT", path, &body(PASSWORD, "battery staple", "battery stable")).await;
    assert_eq!(typo.invalid(), rule("password_confirmation", "same"));
    let short = here.send(&ground, "PUT", path, &body(PASSWORD, "short", "short")).await;
    assert_eq!(short.invalid(), rule("password", "min"));
    let missing = here
        .send(&ground, "PUT", path, &json!({ "password": "battery staple", "password_confirmation": "battery staple" }))
        .await;
    assert_eq!(missing.invalid(), rule("current_password", "required"));
    let changed = here.send(&ground, "PUT", path, &body(PASSWORD, "battery staple", "battery staple")).await;
    assert_eq!(changed.status, 204, "{}", changed.text());
    // Consoles live on tokens of their own.
    let revoked = format!("POST /api/deauthorize-user of {}", friend.user.uuid);
    assert_eq!(deauthorized(&ground), [revoked.clone()]);
    assert_eq!(here.get(&ground, "/api/client").await.status, 200);
    assert_eq!(elsewhere.get(&ground, "/api/client").await.status, 401);
    assert_eq!(ground.get("/api/client", &friend.key).await.status, 200);
    let (_, old) = Browser::sign_in(&ground, &json!({ "user": "friend", "password": PASSWORD })).await;
    assert_eq!(old.status, 401);

    let (third, _) = Browser::sign_in(&ground, &json!({ "user": "friend", "password": "battery staple" })).await;
    assert_eq!(third.send(&ground, "POST", "/api/auth/logout-everywhere", &json!({})).await.status, 204);
    assert_eq!(deauthorized(&ground), [revoked]);
    for browser in [&here, &third] {
        assert_eq!(browser.get(&ground, "/api/client").await.status, 401);
    }
}

#[tokio::test]
async fn an_administrator_who_sets_a_password_ends_the_sessions_of_the_old_one() {
    let ground = Ground::new().await;
    ground.person("friend").await;
    let browser = Browser::of(&ground, "friend").await;
    let body = json!({ "password": "battery staple" });
    let set = ground.send("PATCH", "/api/application/users/friend", &ground.admin.key, &body).await;
    assert_eq!(set.status, 200, "{}", set.text());
    assert_eq!(browser.get(&ground, "/api/client").await.status, 401);
    assert_eq!(deauthorized(&ground).len(), 1);
}

#[tokio::test]
async fn a_deleted_key_ends_the_consoles_it_may_have_opened() {
    let ground = Ground::new().await;
    let friend = ground.person("friend").await;
    let identifier = &friend.key[..16];
    ground.node.take();
    let path = format!("/api/client/account/api-keys/{identifier}");
    assert_eq!(ground.ask("DELETE", &path, &friend.key).await.status, 204);
    assert_eq!(deauthorized(&ground), [format!("POST /api/deauthorize-user of {}", friend.user.uuid)]);
    let other = format!("/api/client/account/api-keys/{identifier}");
    assert_eq!(ground.ask("DELETE", &other, &ground.admin.key).await.status, 404);
    assert!(deauthorized(&ground).is_empty());
}

/// The pauses are the account's, by whichever of its names it is called.
#[tokio::test]
async fn an_account_has_one_count_of_wrong_passwords() {
    let ground = Ground::new().await;
    ground.person("friend").await;
    let guess =
        async |user: &str| Browser::sign_in(&ground, &json!({ "user": user, "password": "wrong" })).await.1.status;
    for _ in 0..5 {
        assert_eq!(guess("friend").await, 401);
    }
    assert_eq!(guess("friend@example.org").await, 429);
    assert_eq!(guess("FRIEND").await, 429);
}

/// Whose tokens the node was told to forget.
fn deauthorized(ground: &Ground) -> Vec<String> {
    let asked = ground.node.take().into_iter().filter(|asked| asked.line.contains("deauthorize"));
    asked.map(|asked| format!("{} of {}", asked.line, asked.body["user"].as_str().unwrap())).collect()
}

/// In a browser that was left open nobody takes over the account, administrator or not.
#[tokio::test]
async fn an_administrators_own_password_is_not_set_without_the_one_there_is() {
    let ground = Ground::new().await;
    let (browser, _) = Browser::sign_in(&ground, &json!({ "user": "admin", "password": "hunter22" })).await;
    let body = json!({ "password": "battery staple" });
    let path = "/api/application/users/admin";
    assert_eq!(browser.send(&ground, "PATCH", path, &body).await.refusal(), (400, "DisplayException".into()));
    assert_eq!(ground.send("PATCH", path, &ground.admin.key, &body).await.status, 200);
}

/// Whoever had a link made before loses it with the sessions.
#[tokio::test]
async fn links_end_with_the_sessions() {
    let ground = Ground::new().await;
    ground.person("friend").await;
    let link = async || {
        let made = ground.ask("POST", "/api/application/users/friend/sign-in-link", &ground.admin.key).await;
        made.json()["attributes"]["url"].as_str().unwrap().split_once('#').unwrap().1.to_owned()
    };
    let open = async |token: String| {
        Ask::new("POST", "/api/auth/link").json(&json!({ "token": token })).of(&ground.router).await.status
    };
    let browser = Browser::of(&ground, "friend").await;
    let before = link().await;
    let body = json!({ "current_password": PASSWORD, "password": PASSWORD, "password_confirmation": PASSWORD });
    assert_eq!(browser.send(&ground, "PUT", "/api/client/account/password", &body).await.status, 204);
    assert_eq!(open(before).await, 401);
    let before = link().await;
    assert_eq!(browser.send(&ground, "POST", "/api/auth/logout-everywhere", &json!({})).await.status, 204);
    assert_eq!(open(before).await, 401);
    assert_eq!(open(link().await).await, 200);
}

#[tokio::test]
async fn a_link_opens_once() {
    let ground = Ground::new().await;
    let server = ground.server("a", &ground.admin).await;
    let body = json!({ "email": "guest@example.org", "permissions": ["control.console"] });
    let path = format!("/api/client/servers/{server}/users");
    let uuid = ground.send("POST", &path, &ground.admin.key, &body).await.json()["attributes"]["uuid"].clone();
    let path = format!("/api/application/users/{}/sign-in-link", uuid.as_str().unwrap());
    let make = async || {
        let made = ground.ask("POST", &path, &ground.admin.key).await;
        assert_eq!(made.status, 200, "{}", made.text());
        let url = made.json()["attributes"]["url"].as_str().unwrap().to_owned();
        let (address, token) = url.split_once("/link#").unwrap();
        assert_eq!(address, "http://panel.example:8080");
        token.to_owned()
    };
    let (old, new) = (make().await, make().await);
    let open = async |token: &str| {
        Ask::new("POST", "/api/auth/link").json(&json!({ "token": token })).of(&ground.router).await
    };
    for token in [old.as_str(), "nonsense", &new[1..]] {
        assert_eq!(open(token).await.error(), refused());
    }
    let answer = open(&new).await;
    assert_eq!(answer.json()["attributes"]["must_set_password"], true);
    let browser = Browser::after(&answer);
    assert_eq!(open(&new).await.error(), refused());
    let body = json!({ "password": "battery staple", "password_confirmation": "battery staple" });
    assert_eq!(browser.send(&ground, "PUT", "/api/client/account/password", &body).await.status, 204);
    assert_eq!(browser.get(&ground, "/api/auth/session").await.json()["attributes"]["must_set_password"], false);
    let body = json!({ "user": "guest@example.org", "password": "battery staple" });
    assert_eq!(Browser::sign_in(&ground, &body).await.1.status, 200);
}

/// The code an authenticator app shows, so many steps from now.
fn code(secret: &str, steps: i64) -> String {
    let totp =
        Builder::new().with_secret(Secret::try_from_base32(secret).unwrap()).with_account_name("x").build().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    totp.generate(now.checked_add_signed(steps * 30).unwrap()).to_string()
}

#[tokio::test]
async fn a_second_factor_from_its_offer_to_its_end() {
    let ground = Ground::new().await;
    ground.person("friend").await;
    let browser = Browser::of(&ground, "friend").await;
    let path = "/api/client/account/two-factor";
    let offered = browser.get(&ground, path).await.json();
    let secret = offered["data"]["secret"].as_str().unwrap();
    let address = offered["data"]["image_url_data"].as_str().unwrap();
    assert!(address.starts_with("otpauth://totp/Quarterdeck:friend?") && address.contains(secret), "{address}");
    let confirm = async |code: &str, password: &str| {
        browser.send(&ground, "POST", path, &json!({ "code": code, "password": password })).await
    };
    assert_eq!(confirm("000", PASSWORD).await.invalid(), [("code".to_owned(), "in".to_owned())]);
    assert_eq!(confirm(&code(secret, 0), "wrong").await.invalid(), [("password".to_owned(), "password".to_owned())]);
    // Not confirmed, it is not asked for.
    Browser::of(&ground, "friend").await;
    let confirmed = confirm(&code(secret, -1), PASSWORD).await;
    assert_eq!(confirmed.status, 200, "{}", confirmed.text());
    let tokens = confirmed.json()["attributes"]["tokens"].as_array().unwrap().clone();
    assert_eq!(tokens.len(), 10);
    assert_eq!(browser.get(&ground, path).await.refusal(), (400, "DisplayException".into()));
    assert_eq!(browser.get(&ground, "/api/auth/session").await.json()["attributes"]["user"]["two_factor"], true);

    let sign_in = async |code: Option<&str>| {
        let body = json!({ "user": "friend", "password": PASSWORD, "code": code });
        Browser::sign_in(&ground, &body).await.1
    };
    assert_eq!(sign_in(None).await.refusal(), (400, "TwoFactorAuthRequiredException".into()));
    // The one that confirmed it has been used, whoever saw it.
    assert_eq!(sign_in(Some(&code(secret, -1))).await.error(), refused());
    assert_eq!(sign_in(Some(&code(secret, 0))).await.status, 200);
    assert_eq!(sign_in(Some(&code(secret, 0))).await.error(), refused());
    let recovery = tokens[0].as_str().unwrap();
    assert_eq!(sign_in(Some(recovery)).await.status, 200);
    assert_eq!(sign_in(Some(recovery)).await.error(), refused());

    let off = async |password: &str| browser.send(&ground, "DELETE", path, &json!({ "password": password })).await;
    assert_eq!(off("wrong").await.status, 422);
    assert_eq!(off(PASSWORD).await.status, 204);
    assert_eq!(sign_in(None).await.status, 200);
}
