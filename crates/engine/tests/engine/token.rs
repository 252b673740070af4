//! Judging tokens: the order of refusals, the edges of every date, and what revocation reaches.

use engine::denylist::{DENY_ENTRIES_MAX, DENY_KEEP_MS, Denylist};
use engine::time::Now;
use engine::token::{Permissions, Rules, TokenError, judge};
use proptest::prelude::*;
use wire::token::{Claims, permission};

use crate::talk::{BOOT_S, LIFE_S, OTHER_SERVER, START_S, USER, claims, rules, server, user};

fn at_s(seconds: i64) -> Now {
    Now { mono_ms: u64::try_from(seconds + 100_000).unwrap() * 1000, wall_ms: (START_S + seconds) * 1000 }
}

fn judged(claims: &Claims, seconds: i64) -> Result<(), TokenError> {
    judge(claims, &rules(), &Denylist::default(), at_s(seconds)).map(|_| ())
}

#[test]
fn the_end_is_inclusive_and_has_no_leeway() {
    let token = claims(0, &["*"]);
    assert_eq!(judged(&token, LIFE_S), Ok(()));
    let last_moment = Now { wall_ms: at_s(LIFE_S).wall_ms + 999, ..at_s(LIFE_S) };
    let access = judge(&token, &rules(), &Denylist::default(), last_moment).unwrap();
    assert_eq!(access.expires_mono_ms, last_moment.mono_ms + 1);
    assert_eq!(judged(&token, LIFE_S + 1), Err(TokenError::Expired));
}

#[test]
fn a_panel_a_little_ahead_is_believed_and_one_far_ahead_is_not() {
    let token = claims(60, &["*"]);
    assert_eq!(judged(&token, 0), Ok(()));
    assert_eq!(judged(&token, -1), Err(TokenError::NotYetValid));
    let mut early = claims(0, &["*"]);
    early.nbf = Some(START_S + 61);
    assert_eq!(judged(&early, 0), Err(TokenError::NotYetValid));
    assert_eq!(judged(&early, 1), Ok(()));
    early.nbf = None;
    assert_eq!(judged(&early, 0), Ok(()), "older panels may leave it out");
}

#[test]
fn a_token_of_the_second_the_node_started_in_is_taken_and_an_older_one_is_not() {
    let mut token = claims(0, &["*"]);
    token.iat = Some(BOOT_S);
    assert_eq!(judged(&token, 0), Ok(()));
    token.iat = Some(BOOT_S - 1);
    assert_eq!(judged(&token, 0), Err(TokenError::Denylisted));
}

#[test]
fn the_first_rule_that_is_broken_is_the_one_that_is_told() {
    // Breaks everything, then is mended rule by rule, in the order of the protocol reference's §2.3.
    let mut token = Claims { nbf: Some(START_S + 1000), server_uuid: OTHER_SERVER.into(), ..Claims::default() };
    assert_eq!(judged(&token, 0), Err(TokenError::Expired));
    token.exp = Some(START_S + 10);
    assert_eq!(judged(&token, 0), Err(TokenError::NotYetValid));
    token.nbf = None;
    assert_eq!(judged(&token, 0), Err(TokenError::Denylisted));
    token.iat = Some(START_S);
    assert_eq!(judged(&token, 0), Err(TokenError::Denylisted), "no user");
    token.user_uuid = USER.into();
    assert_eq!(judged(&token, 0), Err(TokenError::MissingConnect));
    token.permissions = vec!["websocket.connect".into()];
    assert_eq!(judged(&token, 0), Err(TokenError::MissingScope));
    token.scope = "transfer websocket".into();
    assert_eq!(judged(&token, 0), Err(TokenError::WrongServer));
    token.server_uuid = server().to_string().to_uppercase();
    assert_eq!(judged(&token, 0), Ok(()));
}

#[test]
fn the_scope_can_be_waived_for_older_panels_but_is_a_whole_word() {
    let mut token = claims(0, &["*"]);
    for scope in ["", "web", "websocket2", "file-download", "web socket"] {
        token.scope = scope.into();
        assert_eq!(judged(&token, 0), Err(TokenError::MissingScope), "{scope}");
        let rules = Rules { require_scope: false, ..rules() };
        assert!(judge(&token, &rules, &Denylist::default(), at_s(0)).is_ok());
    }
}

#[test]
fn server_ids_that_are_none_are_another_server() {
    let mut token = claims(0, &["*"]);
    let simple = server().to_string().replace('-', "");
    for odd in ["x", &simple, &server().short(), &format!("{{{}}}", server())] {
        token.server_uuid = odd.to_owned();
        assert_eq!(judged(&token, 0), Err(TokenError::WrongServer), "{odd}");
    }
}

#[test]
fn the_texts_are_those_clients_look_for() {
    let table = [
        (TokenError::Malformed, "jwt: malformed token", false),
        (TokenError::Signature, "jwt: HMAC verification failed", false),
        (TokenError::Expired, "jwt: exp claim is invalid", true),
        (TokenError::NotYetValid, "jwt: nbf claim is invalid", true),
        (TokenError::Denylisted, "jwt: created too far in past (denylist)", true),
        (TokenError::MissingConnect, "jwt: missing connect permission", true),
        (TokenError::MissingScope, "jwt: missing connect permission", true),
        (TokenError::WrongServer, "jwt: server uuid mismatch", true),
    ];
    for (error, text, is_jwt_error) in table {
        assert_eq!(error.to_string(), text);
        assert_eq!(error.is_jwt_error(), is_jwt_error, "{text}");
    }
}

#[test]
fn a_star_grants_everything_but_admin() {
    let owner = Permissions::new(&["*".into()]);
    for asked in permission::ASKED {
        assert_eq!(owner.has(asked), !asked.starts_with("admin"), "{asked}");
        let only = Permissions::new(&[asked.to_owned()]);
        for other in permission::ASKED {
            assert_eq!(only.has(other), other == asked, "{asked} {other}");
        }
    }
    assert!(!owner.has("admin.websocket.errors") && !owner.has("administrator"));
    let sub = Permissions::new(&["control.start".into()]);
    assert!(sub.has("control.start") && !sub.has("control") && !sub.has("control.start.x") && !sub.has("*"));
    assert!(!Permissions::default().has("websocket.connect"));
}

#[test]
fn a_denial_reaches_tokens_of_the_same_second_and_not_the_next() {
    let mut denylist = Denylist::default();
    denylist.deny_user(Some(server()), user(), None, at_s(100));
    let result = |at: i64| judge(&claims(at, &["*"]), &rules(), &denylist, at_s(110)).map(|_| ());
    assert_eq!(result(99), Err(TokenError::Denylisted));
    assert_eq!(result(100), Err(TokenError::Denylisted));
    assert_eq!(result(101), Ok(()));
}

#[test]
fn a_user_is_denied_however_the_panel_spells_them() {
    let mut denylist = Denylist::default();
    denylist.deny_user(None, user(), None, at_s(0));
    for spelling in [USER.to_uppercase(), USER.replace('-', ""), format!("{{{USER}}}"), format!("urn:uuid:{USER}")] {
        let mut token = claims(0, &["*"]);
        token.user_uuid = spelling;
        assert_eq!(judge(&token, &rules(), &denylist, at_s(1)), Err(TokenError::Denylisted));
    }
    let mut stranger = claims(0, &["*"]);
    stranger.user_uuid = "ernie".into();
    assert_eq!(judge(&stranger, &rules(), &denylist, at_s(1)).unwrap().user, None);
}

#[test]
fn an_earlier_clock_does_not_take_a_denial_back() {
    let mut denylist = Denylist::default();
    denylist.deny_jti("some-jti", None, at_s(100));
    denylist.deny_jti("some-jti", None, Now { wall_ms: at_s(50).wall_ms, ..at_s(101) });
    assert_eq!(judge(&claims(80, &["*"]), &rules(), &denylist, at_s(110)), Err(TokenError::Denylisted));
}

#[test]
fn what_is_pruned_stays_denied_by_the_rule_for_all() {
    let mut denylist = Denylist::default();
    denylist.deny_jti("some-jti", None, at_s(0));
    let later = at_s(i64::try_from(DENY_KEEP_MS / 1000).unwrap());
    denylist.prune(later);
    let mut old = claims(0, &["*"]);
    old.exp = Some(START_S + 100_000);
    assert_eq!(judge(&old, &rules(), &denylist, later), Err(TokenError::Denylisted));
    old.jti = "innocent but as old".into();
    assert_eq!(judge(&old, &rules(), &denylist, later), Err(TokenError::Denylisted));
    old.iat = Some(START_S + 1);
    assert!(judge(&old, &rules(), &denylist, later).is_ok());
}

#[test]
fn a_flood_of_denials_is_bounded_and_forgets_none() {
    let mut denylist = Denylist::default();
    denylist.deny_jti("some-jti", None, at_s(0));
    for n in 0..DENY_ENTRIES_MAX {
        denylist.deny_jti(&n.to_string(), None, at_s(1));
    }
    assert_eq!(judge(&claims(0, &["*"]), &rules(), &denylist, at_s(2)), Err(TokenError::Denylisted));
    assert!(judge(&claims(1, &["*"]), &rules(), &denylist, at_s(2)).is_ok());
    assert!(format!("{denylist:?}").matches("Denied").count() <= DENY_ENTRIES_MAX);
}

proptest! {
    #[test]
    fn once_denied_always_denied(
        denials in prop::collection::vec((0u8..3, 0i64..8000), 1..20),
        prunes in prop::collection::vec(0i64..20_000, 0..5),
        issued in 0i64..8000,
    ) {
        let mut denylist = Denylist::default();
        let mut denied = false;
        for (kind, when) in denials {
            match kind {
                0 => denylist.deny_jti("some-jti", None, at_s(when)),
                1 => denylist.deny_user(None, user(), None, at_s(when)),
                _ => denylist.deny_user(Some(server()), user(), None, at_s(when)),
            }
            denied |= issued <= when;
        }
        for when in prunes {
            denylist.prune(at_s(when));
        }
        let mut token = claims(issued, &["*"]);
        token.exp = Some(i64::MAX);
        let result = judge(&token, &rules(), &denylist, at_s(8000));
        if denied {
            prop_assert_eq!(result, Err(TokenError::Denylisted));
        }
    }
}
