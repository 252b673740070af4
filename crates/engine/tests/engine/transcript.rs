//! Runs the conversations of `crates/wire/testdata/transcripts`: what comes in at which time, and to the byte what goes out.
//!
//! The format is described in the README beside them. Nothing is skipped: a member nobody knows, a file that is no transcript, a
//! kind of token that nobody uses, and something that falls due between two steps all fail.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::session::{Action, Policy, Session};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use wire::close::CloseReason;
use wire::console::Message;
use wire::ids::{ServerId, UserId};

use crate::talk::{ERROR_ID, START_S, Talk, frame};
use crate::transcript_rows::assert_complete;

/// What stands for the uuid of a wrapped error.
const ERROR_PLACEHOLDER: &str = "<error id>";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Transcripts {
    about: String,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    stands_for: Vec<String>,
    #[serde(default)]
    note: Option<String>,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    at_ms: u64,
    #[serde(default, rename = "in")]
    input: Option<Input>,
    out: Vec<Output>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Input {
    Auth(String),
    Frame(String),
    Outbound(String),
    Failed(Failed),
    Revoke(Revoke),
    Suspended,
    Deleted,
    Connect,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Failed {
    text: String,
    public: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Revoke {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    user: Option<UserId>,
    #[serde(default)]
    server: Option<ServerId>,
    #[serde(default)]
    unnoticed: bool,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Output {
    Frame(String),
    Attach,
    Pause,
    Resume,
    SendLogs,
    SendStats,
    Power { action: String, user: Option<UserId> },
    Command { text: String, user: Option<UserId> },
    Close { code: u16, reason: String },
}

impl From<Action> for Output {
    fn from(action: Action) -> Self {
        match action {
            Action::Send(event) => Self::Frame(event.frame(false).replace(ERROR_ID, ERROR_PLACEHOLDER)),
            Action::Attach => Self::Attach,
            Action::Pause => Self::Pause,
            Action::Resume => Self::Resume,
            Action::SendLogs => Self::SendLogs,
            Action::SendStats => Self::SendStats,
            Action::Follow(_) | Action::Power { id: Some(_), .. } | Action::Command { id: Some(_), .. } => {
                panic!("transcripts are of the plain protocol")
            }
            Action::Power { action, user, id: None } => Self::Power { action: action.as_str().to_owned(), user },
            Action::Command { text, user, id: None } => Self::Command { text, user },
            Action::Close(reason) => Self::Close { code: reason.code(), reason: reason.text().to_owned() },
        }
    }
}

/// A kind of token, as `token/kinds.json` describes it: how it differs from `token/claims.json` made at the moment of its use.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kind {
    name: String,
    why: String,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    bad_signature: bool,
    #[serde(default)]
    dates_s: Map<String, Value>,
    #[serde(default)]
    claims: Map<String, Value>,
    #[serde(default)]
    without: Vec<String>,
}

impl Kind {
    /// What the conversation's `auth` carries. The signature is none of the engine's business: claims stand for a token that
    /// is signed well, and one fixed text for a token that is not.
    fn token(&self, base: &Map<String, Value>, now_s: i64) -> String {
        if let Some(text) = &self.text {
            return text.clone();
        }
        if self.bad_signature {
            return "bad signature".to_owned();
        }
        let mut claims = base.clone();
        let mut set = |name: &str, value: Value| {
            assert!(claims.insert(name.to_owned(), value).is_some(), "{}: there is no claim {name}", self.name);
        };
        for (name, offset_s) in [("iat", 0), ("nbf", -300), ("exp", 600)] {
            set(name, json!(now_s + offset_s));
        }
        for (name, offset_s) in &self.dates_s {
            set(name, json!(now_s + offset_s.as_i64().unwrap()));
        }
        for (name, value) in &self.claims {
            set(name, value.clone());
        }
        for name in &self.without {
            assert!(claims.remove(name).is_some(), "{}: there is no claim {name}", self.name);
        }
        serde_json::to_string(&claims).unwrap()
    }
}

/// The kinds of token, and which of them were used.
struct Tokens {
    base: Map<String, Value>,
    kinds: Vec<Kind>,
    used: BTreeSet<String>,
}

impl Tokens {
    fn load() -> Self {
        let kinds: Vec<Kind> = read(&testdata("token/kinds.json"));
        let names: BTreeSet<&str> = kinds.iter().map(|kind| kind.name.as_str()).collect();
        assert_eq!(names.len(), kinds.len(), "two kinds of token with one name");
        assert!(kinds.iter().all(|kind| !kind.why.is_empty()));
        Self { base: read(&testdata("token/claims.json")), kinds, used: BTreeSet::new() }
    }

    fn auth_frame(&mut self, name: &str, now_s: i64) -> String {
        let kind =
            self.kinds.iter().find(|kind| kind.name == name).unwrap_or_else(|| panic!("no token is named {name:?}"));
        self.used.insert(name.to_owned());
        frame("auth", &kind.token(&self.base, now_s))
    }

    fn assert_all_used(&self) {
        let unused: Vec<&str> =
            self.kinds.iter().map(|kind| kind.name.as_str()).filter(|name| !self.used.contains(*name)).collect();
        assert!(unused.is_empty(), "tokens that no transcript uses: {unused:?}");
    }
}

fn testdata(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../wire/testdata").join(path)
}

/// The one place of these tests that reads files; the ban is on the engine's.
#[allow(clippy::disallowed_methods)]
pub(crate) fn read_text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn read<T: DeserializeOwned>(path: &Path) -> T {
    serde_json::from_str(&read_text(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Lets a step's input in and gives back what goes out.
fn play(talk: &mut Talk, input: &Input, tokens: &mut Tokens) -> Vec<Output> {
    let actions = match input {
        Input::Auth(kind) => {
            let said = tokens.auth_frame(kind, talk.now.wall_s());
            talk.say(&said)
        }
        Input::Frame(text) => talk.say(text),
        Input::Outbound(text) => {
            let message: Message = serde_json::from_str(text).unwrap();
            let passes = talk.session.may_receive(&message.event);
            return passes.then(|| Output::Frame(text.clone())).into_iter().collect();
        }
        Input::Failed(Failed { text, public }) => talk.outcome(text, *public),
        Input::Revoke(Revoke { token, user, server, unnoticed }) => {
            match (token, user) {
                (Some(jti), None) if server.is_none() => talk.denylist.deny_jti(jti, None, talk.now),
                (None, Some(user)) => talk.denylist.deny_user(*server, *user, None, talk.now),
                _ => panic!("a token is revoked, or a user, on one server or on all"),
            }
            if *unnoticed { Vec::new() } else { talk.revoked() }
        }
        Input::Suspended => talk.decide(|session, _, out| session.suspended(out)),
        Input::Deleted => talk.decide(|session, _, out| session.deleted(out)),
        Input::Connect => {
            talk.session = Session::new(Arc::new(Policy::default()), talk.now);
            Vec::new()
        }
    };
    actions.into_iter().map(Output::from).collect()
}

fn run(row: &Row, tokens: &mut Tokens) {
    let mut talk = Talk::new();
    let start_ms = talk.now.mono_ms;
    assert_eq!(talk.now.wall_s(), START_S);
    for (index, step) in row.steps.iter().enumerate() {
        let place = format!("{:?}, step {index}", row.name);
        let at_ms = start_ms + step.at_ms;
        // A token that is near its end when it comes has something due at once, even before.
        let due_ms = talk.session.deadline().map(|due_ms| due_ms.max(talk.now.mono_ms));
        let untold = due_ms.filter(|&due_ms| due_ms < at_ms).map(|due_ms| due_ms - start_ms);
        assert_eq!(untold, None, "{place}: no step tells what is due at this time");
        assert!(at_ms >= talk.now.mono_ms, "{place}: before the step before it");
        talk.pass_ms(at_ms - talk.now.mono_ms);
        let out = match &step.input {
            Some(input) => play(&mut talk, input, tokens),
            None => talk.tick().into_iter().map(Output::from).collect(),
        };
        assert_eq!(out, step.out, "{place}");
        for close in
            out.iter().filter_map(|out| if let Output::Close { reason, .. } = out { Some(reason) } else { None })
        {
            assert!(CloseReason::ALL.iter().any(|known| known.text() == close), "{place}");
            assert_eq!(talk.session.deadline(), None, "{place}: nothing is due after the close");
        }
    }
}

#[test]
fn every_transcript_holds_and_every_row_of_the_reference_has_one() {
    let mut tokens = Tokens::load();
    let (mut names, mut cited) = (BTreeSet::new(), BTreeSet::new());
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(testdata("transcripts")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    for file in &files {
        assert!(file.extension().is_some_and(|ending| ending == "json"), "{}: no transcript", file.display());
        let transcripts: Transcripts = read(file);
        assert!(!transcripts.about.is_empty() && !transcripts.rows.is_empty(), "{}", file.display());
        for row in &transcripts.rows {
            assert!(names.insert(row.name.clone()), "two rows are named {:?}", row.name);
            assert!(!row.stands_for.is_empty() && !row.steps.is_empty(), "{:?} says nothing", row.name);
            assert!(row.note.as_ref().is_none_or(|note| !note.is_empty()), "{:?}", row.name);
            run(row, &mut tokens);
            cited.extend(row.stands_for.iter().cloned());
        }
    }
    tokens.assert_all_used();
    assert_complete(&cited);
}

#[test]
fn what_the_format_does_not_know_is_no_transcript() {
    let step = |input: &str, out: &str| format!(r#"{{"at_ms":0,"in":{input},"out":[{out}]}}"#);
    serde_json::from_str::<Step>(&step("\"connect\"", "\"attach\"")).unwrap();
    let wrong = [
        step("\"hang up\"", ""),
        step(r#"{"auth":"owner","frame":"x"}"#, ""),
        step(r#"{"revoke":{"user":null,"when":1}}"#, ""),
        step(r#"{"failed":{"text":"x"}}"#, ""),
        step("\"connect\"", "\"detach\""),
        step("\"connect\"", r#"{"close":{"code":1008,"reason":"x","come_back":true}}"#),
        r#"{"at_ms":0,"in":"connect"}"#.to_owned(),
        r#"{"at_ms":0,"out":[],"then":[]}"#.to_owned(),
    ];
    for text in wrong {
        assert!(serde_json::from_str::<Step>(&text).is_err(), "{text}");
    }
    assert!(serde_json::from_str::<Row>(r#"{"name":"x","stands_for":[],"steps":[],"skip":true}"#).is_err());
    assert!(serde_json::from_str::<Transcripts>(r#"{"about":"x","rows":[],"more":[]}"#).is_err());
}
