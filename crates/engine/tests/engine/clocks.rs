//! Clocks that are apart, and clocks that are set: what a node takes for the panel's time, and revocations that reach what they should
//! whatever the dates say.

use engine::denylist::Denylist;
use engine::panel_clock::{PanelClock, SKEW_MAX_MS, Told, skew_text};
use engine::session::Action;
use engine::time::Now;
use engine::token::{Issued, Rules, TokenError, judge};
use proptest::prelude::*;
use wire::console::Event;

use crate::talk::{START_S, Talk, auth, claims, rules, server, user, wrapped};

const HOUR_S: i64 = 3600;

fn at_s(seconds: i64) -> Now {
    Now { mono_ms: u64::try_from(seconds + 100_000).unwrap() * 1000, wall_ms: (START_S + seconds) * 1000 }
}

/// The same moment by a clock that was set by so many seconds.
fn set(now: Now, by_s: i64) -> Now {
    Now { wall_ms: now.wall_ms + by_s * 1000, ..now }
}

fn told(wall_ms: i64) -> Told {
    Told { wall_ms, precision_ms: 1 }
}

/// A clock that heard an answer of a panel that is so far ahead, 20 ms after it had asked.
fn heard(ahead_ms: i64, now: Now) -> PanelClock {
    let mut clock = PanelClock::default();
    clock.answered(told(now.wall_ms + ahead_ms), now.mono_ms - 10, now.mono_ms + 10);
    clock
}

#[test]
fn up_to_five_minutes_are_allowed_for_and_more_is_named() {
    let now = at_s(0);
    for ahead_ms in [0, 1, -1, 60_000, -299_000, 299_000] {
        let reading = heard(ahead_ms, now).read(now);
        let error_ms = reading.now.wall_ms - (now.wall_ms + ahead_ms);
        assert!(error_ms.abs() <= 1, "{ahead_ms}: {error_ms}");
        assert_eq!(reading.excess_s(), None);
        assert!((0..=22).contains(&(reading.latest_wall_ms - now.wall_ms - ahead_ms)), "{reading:?}");
    }
    for ahead_s in [-1200, 1200, 301 + 1, -302] {
        let reading = heard(ahead_s * 1000, now).read(now);
        assert_eq!((reading.now, reading.latest_wall_ms), (now, now.wall_ms), "{ahead_s}");
        assert!((reading.excess_s().unwrap() - ahead_s).abs() <= 1, "{reading:?}");
    }
    assert_eq!(PanelClock::default().read(now).skew_ms, None);
}

#[test]
fn moving_our_own_clock_a_little_changes_nothing() {
    let now = at_s(0);
    let clock = heard(0, now);
    for by_s in [-200, 200] {
        assert!((clock.read(set(now, by_s)).now.wall_ms - now.wall_ms).abs() <= 1);
    }
}

/// A date says the second only, and slow answers leave much open: many together say it well.
#[test]
fn dates_of_a_second_make_the_bounds_narrow_together() {
    let mut clock = PanelClock::default();
    let panel_ms = |mono_ms: u64| START_S * 1000 + 777 + i64::try_from(mono_ms).unwrap();
    for step in 0..40_u64 {
        let asked = 1_000_000 + step * 1730;
        let (answered, heard) = (asked + step * 17 % 300, asked + 300);
        let date = panel_ms(answered).div_euclid(1000) * 1000;
        clock.answered(Told { wall_ms: date, precision_ms: 1000 }, asked, heard);
    }
    let now = Now { mono_ms: 1_070_000, wall_ms: panel_ms(1_070_000) };
    let reading = clock.read(now);
    assert!((reading.now.wall_ms - now.wall_ms).abs() < 300, "{reading:?}");
    assert!(reading.latest_wall_ms >= now.wall_ms, "no token is dated later");
}

#[test]
fn a_panel_whose_clock_was_set_is_followed_at_its_next_word() {
    let now = at_s(0);
    let mut clock = heard(0, now);
    clock.asked(told(now.wall_ms - 200_000), now.mono_ms);
    assert!((clock.read(now).skew_ms.unwrap() + 200_000).abs() <= 1, "by what it asks");
    clock.answered(told(now.wall_ms + 100_000), now.mono_ms, now.mono_ms);
    assert!((clock.read(now).skew_ms.unwrap() - 100_000).abs() <= 1, "by what it answers");
    // Something it asked that was long on its way says nothing new.
    clock.asked(told(now.wall_ms + 100_000 - 9_000), now.mono_ms);
    assert!((clock.read(now).skew_ms.unwrap() - 100_000).abs() <= 1);
}

#[test]
fn who_is_refused_because_of_a_date_hears_of_the_skew() {
    let mut talk = Talk::new();
    talk.rules.skew_s = Some(-1200);
    let text = "jwt: exp claim is invalid; the panel's clock is 20 minutes behind the node's, 5 minutes are allowed for: set both by NTP";
    assert_eq!(talk.say(&auth(&claims(-1200, &["*"]))), [Action::Send(Event::JwtError(wrapped(text)))]);
    assert!(skew_text(1201).contains("21 minutes ahead of"));
    assert!(skew_text(-7300).contains("2 hours behind"));
    // Other refusals have other reasons.
    let refused = talk.say(&auth(&claims(0, &["control.start"])));
    assert_eq!(refused, [Action::Send(Event::JwtError(wrapped("jwt: missing connect permission")))]);
}

/// A token of a panel that counts, from before its clock was set back, and all that comes after.
#[test]
fn a_revocation_after_the_clock_was_set_back_reaches_tokens_from_the_future() {
    let mut old = claims(0, &["*"]);
    old.serial = Some(10);
    let mut denylist = Denylist::default();
    let live = judge(&old, &rules(), &denylist, at_s(1)).unwrap();
    denylist.deny_user(None, user(), Some(20), set(at_s(2), -HOUR_S));
    assert!(denylist.denies(&live, server()), "it is in use");
    // An hour later its date is in order again.
    let again = set(at_s(HOUR_S + 10), -HOUR_S);
    assert_eq!(judge(&old, &rules(), &denylist, again), Err(TokenError::Denylisted));
    denylist.prune(set(at_s(3 * HOUR_S), -HOUR_S));
    assert_eq!(judge(&old, &rules(), &denylist, again), Err(TokenError::Denylisted), "also when the entry is folded");
}

#[test]
fn a_token_after_a_revocation_is_taken_though_the_clock_was_set_back_between() {
    let mut denylist = Denylist::default();
    denylist.deny_user(None, user(), Some(20), at_s(0));
    let mut new = claims(-HOUR_S + 5, &["*"]);
    new.serial = Some(21);
    let now = set(at_s(5), -HOUR_S);
    // The node is younger than this date, and yet older than the token.
    let rules = Rules { boot_wall_s: START_S, boot_serial: Some(3), ..rules() };
    assert!(judge(&new, &rules, &denylist, now).is_ok());
    new.serial = Some(2);
    assert_eq!(judge(&new, &rules, &denylist, now), Err(TokenError::Denylisted), "older than the node");
}

/// A node that was killed hears the panel's count a moment after it serves again: until then a token of its start's second is an older one.
#[test]
fn until_a_node_knows_its_age_a_token_of_its_first_second_is_refused() {
    let mut token = claims(0, &["*"]);
    token.serial = Some(10);
    let unknown = Rules { boot_wall_s: START_S, boot_serial: None, ..rules() };
    let denylist = Denylist::default();
    assert_eq!(judge(&token, &unknown, &denylist, at_s(0)), Err(TokenError::Denylisted));
    let known = Rules { boot_serial: Some(10), ..unknown };
    assert!(judge(&token, &known, &denylist, at_s(0)).is_ok(), "as old as the node");
    token.iat = Some(START_S + 1);
    assert!(judge(&token, &unknown, &denylist, at_s(1)).is_ok());
}

/// Of stock panels there is only the date, and that a token was in use before.
#[test]
fn without_a_count_a_live_connection_ends_whatever_its_date_says() {
    let mut denylist = Denylist::default();
    denylist.deny_jti("somebody else", None, at_s(0));
    let live = judge(&claims(0, &["*"]), &rules(), &denylist, at_s(1)).unwrap();
    assert!(!denylist.denies(&live, server()));
    denylist.deny_jti("some-jti", None, set(at_s(2), -HOUR_S));
    assert!(denylist.denies(&live, server()));
}

/// A denial from the future is about its own user only, however long it stays.
#[test]
fn a_denial_from_the_future_never_becomes_a_rule_for_all() {
    let mut denylist = Denylist::default();
    denylist.deny_user(None, user(), None, at_s(0));
    let now = set(at_s(2 * HOUR_S), -5 * HOUR_S);
    denylist.prune(now);
    let issued = Issued { wall_s: now.wall_s(), serial: None, known: denylist.known() };
    let other = "88888888-8888-4777-8666-555555555555".parse().unwrap();
    assert!(denylist.denies_user(user(), server(), issued) && !denylist.denies_user(other, server(), issued));
}

/// One word of a panel that does not count, such as an operator's own request, ends tokens that have one.
#[test]
fn a_denial_without_a_count_reaches_counted_tokens() {
    let mut denylist = Denylist::default();
    denylist.deny_user(None, user(), Some(20), at_s(0));
    let mut token = claims(5, &["*"]);
    token.serial = Some(30);
    let live = judge(&token, &rules(), &denylist, at_s(6)).unwrap();
    denylist.deny_user(None, user(), None, at_s(7));
    assert!(denylist.denies(&live, server()));
    assert_eq!(judge(&token, &rules(), &denylist, at_s(8)), Err(TokenError::Denylisted));
}

proptest! {
    /// Whatever becomes of the clocks: what was allowed before is ended, and what was allowed after is not.
    #[test]
    fn a_count_decides_alone(
        steps in prop::collection::vec((any::<bool>(), -20_000_i64..20_000), 1..30),
        serial in 0_u64..30,
    ) {
        let (mut denylist, mut last) = (Denylist::default(), None);
        for (count, (denies, by_s)) in (0_u64..).zip(steps) {
            let now = set(at_s(i64::try_from(count).unwrap() * 600), by_s);
            if denies {
                denylist.deny_user(None, user(), Some(count), now);
                last = Some(count);
            }
            denylist.prune(now);
        }
        let issued = Issued { wall_s: START_S, serial: Some(serial), known: 0 };
        prop_assert_eq!(denylist.denies_user(user(), server(), issued), last.is_some_and(|last| serial <= last));
    }

    /// Honest answers never take the estimate out of its bounds.
    #[test]
    fn the_estimate_is_never_off_by_more_than_the_slowest_answer(
        skew_ms in -SKEW_MAX_MS + 5000..SKEW_MAX_MS - 5000,
        answers in prop::collection::vec((0_u64..60_000, 0_u64..2000, 0_u64..2000, prop::sample::select(vec![1_i64, 1000])), 1..20),
    ) {
        let (mut clock, mut mono_ms) = (PanelClock::default(), 1_000_000);
        for (pause, there, back, precision_ms) in answers {
            let asked = mono_ms + pause;
            let panel_ms = START_S * 1000 + skew_ms + i64::try_from(asked + there).unwrap();
            let cut = panel_ms.div_euclid(precision_ms) * precision_ms;
            clock.answered(Told { wall_ms: cut, precision_ms }, asked, asked + there + back);
            mono_ms = asked + there + back;
        }
        let own_ms = START_S * 1000 + i64::try_from(mono_ms).unwrap();
        let reading = clock.read(Now { mono_ms, wall_ms: own_ms });
        prop_assert!((reading.now.wall_ms - own_ms - skew_ms).abs() <= 5000);
        prop_assert!(reading.latest_wall_ms >= own_ms + skew_ms);
    }
}
