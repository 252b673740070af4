//! A console conversation for transcripts: says things at chosen times and keeps what comes back.

use std::sync::Arc;

use engine::denylist::Denylist;
use engine::session::{Action, Context, Outcome, Policy, Session};
use engine::time::Now;
use engine::token::{LEEWAY_S, Rules, TokenError};
use wire::ids::{ServerId, UserId};
use wire::token::Claims;

/// Wall clock at the start of every conversation, in seconds.
pub(crate) const START_S: i64 = 1_800_000_000;
/// When the node started.
pub(crate) const BOOT_S: i64 = START_S - 3600;
/// Lifetime of the tokens made here.
pub(crate) const LIFE_S: i64 = 600;
/// What every wrapped error carries.
pub(crate) const ERROR_ID: &str = "00000000-0000-4000-8000-000000000000";
pub(crate) const SERVER: &str = "11111111-2222-3333-4444-555555555555";
pub(crate) const OTHER_SERVER: &str = "aaaaaaaa-2222-3333-4444-555555555555";
pub(crate) const USER: &str = "99999999-8888-4777-8666-555555555555";

pub(crate) fn server() -> ServerId {
    SERVER.parse().unwrap()
}

pub(crate) fn user() -> UserId {
    USER.parse().unwrap()
}

pub(crate) fn rules() -> Rules {
    Rules {
        server: server(),
        boot_wall_s: BOOT_S,
        boot_serial: None,
        skew_s: None,
        require_scope: true,
        leeway_s: LEEWAY_S,
    }
}

/// Claims of a token issued `at_s` seconds after the start.
pub(crate) fn claims(at_s: i64, permissions: &[&str]) -> Claims {
    Claims {
        iss: "https://panel.example".into(),
        aud: vec!["https://node.example:8080".into()],
        jti: "some-jti".into(),
        iat: Some(START_S + at_s),
        nbf: Some(START_S + at_s - 300),
        exp: Some(START_S + at_s + LIFE_S),
        server_uuid: SERVER.into(),
        permissions: permissions.iter().map(|&p| p.to_owned()).collect(),
        user_uuid: USER.into(),
        user_id: Some(7),
        scope: "websocket".into(),
        unique_id: "abcdefghijklmnop".into(),
        serial: None,
    }
}

/// An `auth` frame. The token is the claims in the clear, since the signature is none of the engine's business;
/// `decode` below turns down what is not.
pub(crate) fn auth(claims: &Claims) -> String {
    let token = serde_json::to_string(claims).unwrap();
    serde_json::json!({ "event": "auth", "args": [token] }).to_string()
}

pub(crate) fn frame(event: &str, arg: &str) -> String {
    serde_json::json!({ "event": event, "args": [arg] }).to_string()
}

/// What a wrapped error looks like here.
pub(crate) fn wrapped(text: &str) -> String {
    format!("Error Event [{ERROR_ID}]: {text}")
}

pub(crate) struct Talk {
    pub(crate) session: Session,
    pub(crate) denylist: Denylist,
    pub(crate) rules: Rules,
    pub(crate) now: Now,
}

impl Talk {
    pub(crate) fn new() -> Self {
        Self::with(Policy::default())
    }

    pub(crate) fn with(policy: Policy) -> Self {
        let now = Now { mono_ms: 5_000_000, wall_ms: START_S * 1000 };
        Self { session: Session::new(Arc::new(policy), now), denylist: Denylist::default(), rules: rules(), now }
    }

    /// A conversation with numbers that is live, with these permissions.
    pub(crate) fn numbered(permissions: &[&str]) -> Self {
        let mut talk = Self::new();
        talk.session = Session::numbered(Arc::new(Policy::default()), talk.now);
        let actions = talk.say(&auth(&claims(0, permissions)));
        assert_eq!(actions.len(), 2, "{actions:?}");
        talk
    }

    /// A conversation that is live, with these permissions.
    pub(crate) fn live(permissions: &[&str]) -> Self {
        let mut talk = Self::new();
        let actions = talk.say(&auth(&claims(0, permissions)));
        assert_eq!(actions.len(), 2, "{actions:?}");
        talk
    }

    pub(crate) fn pass_ms(&mut self, ms: u64) {
        self.now.mono_ms += ms;
        self.now.wall_ms += i64::try_from(ms).unwrap();
    }

    /// Lets time pass second by second, doing what is due when it is due.
    pub(crate) fn pass_s(&mut self, seconds: u64) -> Vec<(u64, Action)> {
        let start_ms = self.now.mono_ms;
        let end_ms = start_ms + seconds * 1000;
        let mut seen = Vec::new();
        while let Some(at_ms) = self.session.deadline().filter(|&at_ms| at_ms <= end_ms) {
            self.pass_ms(at_ms.saturating_sub(self.now.mono_ms));
            let at_s = (self.now.mono_ms - start_ms) / 1000;
            seen.extend(self.tick().into_iter().map(|action| (at_s, action)));
            assert!(
                self.session.deadline() > Some(at_ms) || self.session.deadline().is_none(),
                "the same deadline again"
            );
        }
        self.pass_ms(end_ms - self.now.mono_ms);
        seen
    }

    pub(crate) fn say(&mut self, frame: &str) -> Vec<Action> {
        self.decide(|session, cx, out| session.text(cx, frame, out))
    }

    pub(crate) fn tick(&mut self) -> Vec<Action> {
        self.decide(Session::time)
    }

    pub(crate) fn revoked(&mut self) -> Vec<Action> {
        self.decide(Session::revoked)
    }

    pub(crate) fn outcome(&mut self, text: &str, public: bool) -> Vec<Action> {
        self.decide(|session, cx, out| session.outcome(cx, &Outcome { public, ..Outcome::refused(text.into()) }, out))
    }

    pub(crate) fn decide(
        &mut self,
        decision: impl FnOnce(&mut Session, &Context<'_>, &mut Vec<Action>),
    ) -> Vec<Action> {
        let decode = |token: &str| match token {
            "bad signature" => Err(TokenError::Signature),
            token => serde_json::from_str::<Claims>(token).map_err(|_| TokenError::Malformed),
        };
        let error_id = || ERROR_ID.to_owned();
        let cx = Context {
            now: self.now,
            rules: &self.rules,
            denylist: &self.denylist,
            decode: &decode,
            error_id: &error_id,
            doubt: &|| {},
        };
        let mut out = Vec::new();
        decision(&mut self.session, &cx, &mut out);
        out
    }
}
