//! The conversation, event by event, on a clock of the test's own.

#![allow(clippy::unwrap_used)]

use super::*;

struct Scene {
    talk: Talk,
    now: Instant,
    ordered: bool,
}

impl Scene {
    fn new(wants: Lines) -> Self {
        let now = Instant::now();
        Self { talk: Talk::new(wants, now), now, ordered: false }
    }

    /// With a node of ours.
    fn ordered(wants: Lines) -> Self {
        Self { ordered: true, ..Self::new(wants) }
    }

    fn live(wants: Lines) -> Self {
        let mut scene = Self::new(wants);
        scene.open();
        scene.hear(r#"{"event":"auth success"}"#);
        scene
    }

    fn open(&mut self) -> Vec<Do> {
        self.talk.opened("T", self.ordered, self.now);
        self.talk.actions()
    }

    fn hear(&mut self, frame: &str) -> Vec<Do> {
        self.talk.text(frame, self.now);
        self.talk.actions()
    }

    fn line(&mut self, text: &str) -> Vec<Do> {
        self.hear(&serde_json::json!({ "event": "console output", "args": [text] }).to_string())
    }

    fn order(&mut self, order: Order) -> Vec<Do> {
        self.talk.order(order, self.now);
        self.talk.actions()
    }

    fn after(&mut self, ms: u64) -> Vec<Do> {
        self.now += Duration::from_millis(ms);
        if self.talk.deadline().is_some_and(|deadline| deadline <= self.now) {
            self.talk.tick(self.now);
        }
        self.talk.actions()
    }
}

fn send(frame: &str) -> Do {
    Do::Send(frame.to_owned())
}

fn shown(text: &str, history: bool) -> Do {
    Do::Show(Seen::Line { text: text.to_owned(), history })
}

fn not_sent(what: &str, why: &str) -> Do {
    Do::Show(Seen::NotSent { what: what.to_owned(), why: why.to_owned() })
}

const AUTH: &str = r#"{"args":["T"],"event":"auth"}"#;
const LOGS: &str = r#"{"args":[null],"event":"send logs"}"#;
const STATS: &str = r#"{"args":[null],"event":"send stats"}"#;
const SAMPLE: &str = r#"{"event":"stats","args":["{}"]}"#;

#[test]
fn history_comes_first_and_its_end_is_told() {
    let mut scene = Scene::new(Lines::Last);
    assert_eq!(scene.open(), [send(AUTH)]);
    assert_eq!(scene.hear(r#"{"event":"auth success"}"#), [Do::Show(Seen::Attached { again: false }), send(LOGS)]);
    assert_eq!(scene.hear(r#"{"event":"status","args":["running"]}"#), [Do::Show(Seen::State(State::Running))]);
    assert_eq!(scene.line("old"), [shown("old", true)]);
    assert_eq!(scene.after(200), []);
    assert_eq!(scene.line("older still coming"), [shown("older still coming", true)]);
    assert_eq!(scene.after(200), [], "a line restarts the wait");
    assert_eq!(scene.after(100), [Do::Show(Seen::HistoryEnd)]);
    assert_eq!(scene.line("live"), [shown("live", false)]);
    assert_eq!(scene.talk.deadline(), None);
}

#[test]
fn a_server_without_history_does_not_keep_anybody_waiting() {
    let mut scene = Scene::live(Lines::Last);
    assert_eq!(scene.after(1_499), []);
    assert_eq!(scene.after(1), [Do::Show(Seen::HistoryEnd)]);
}

#[test]
fn a_node_with_order_is_asked_for_all_at_once_and_a_sample_marks_the_end() {
    let mut scene = Scene::ordered(Lines::Last);
    assert_eq!(scene.open(), [send(AUTH), send(LOGS), send(STATS)]);
    assert_eq!(scene.hear(r#"{"event":"auth success"}"#), [Do::Show(Seen::Attached { again: false })]);
    scene.hear(r#"{"event":"status","args":["running"]}"#);
    scene.line("old");
    assert_eq!(scene.after(5_000), [], "however long it takes");
    assert_eq!(scene.hear(SAMPLE), [Do::Show(Seen::Stats("{}".into())), Do::Show(Seen::HistoryEnd)]);
    assert_eq!(scene.line("live"), [shown("live", false)]);
    assert_eq!(scene.hear(SAMPLE).len(), 1);
}

#[test]
fn the_sample_that_an_offline_server_sends_by_itself_is_not_the_mark() {
    let mut scene = Scene::ordered(Lines::Last);
    scene.open();
    scene.hear(r#"{"event":"auth success"}"#);
    scene.hear(r#"{"event":"status","args":["offline"]}"#);
    assert_eq!(scene.hear(SAMPLE).len(), 1);
    assert_eq!(scene.line("old"), [shown("old", true)]);
    assert!(scene.hear(SAMPLE).contains(&Do::Show(Seen::HistoryEnd)));
}

#[test]
fn a_mark_that_never_comes_is_not_waited_for_for_ever() {
    let mut scene = Scene::ordered(Lines::Last);
    scene.open();
    scene.hear(r#"{"event":"auth success"}"#);
    assert_eq!(scene.after(15_000), [Do::Show(Seen::HistoryEnd)]);
}

#[test]
fn a_refused_token_at_a_node_with_order_asks_again_with_the_next() {
    let mut scene = Scene::ordered(Lines::Last);
    scene.open();
    assert_eq!(scene.hear(r#"{"event":"jwt error","args":["Error Event [x]: jwt: exp claim is invalid"]}"#), []);
    assert_eq!(scene.hear(r#"{"event":"jwt error","args":["jwt: no jwt present"]}"#), []);
    assert_eq!(scene.after(1_100), [Do::Renew], "a token of the same second would be refused as well");
    scene.talk.token("T");
    assert_eq!(scene.talk.actions(), [send(AUTH), send(LOGS), send(STATS)]);
}

#[test]
fn an_ordered_reconnect_joins_at_the_mark() {
    let mut scene = Scene::ordered(Lines::Last);
    scene.open();
    scene.hear(r#"{"event":"auth success"}"#);
    scene.line("a");
    scene.talk.closed(None, "");
    scene.talk.actions();
    assert_eq!(scene.open(), [send(AUTH), send(LOGS), send(STATS)]);
    scene.hear(r#"{"event":"auth success"}"#);
    scene.hear(r#"{"event":"status","args":["running"]}"#);
    scene.line("a");
    scene.line("b");
    let joined = scene.hear(SAMPLE);
    assert_eq!(joined, [Do::Show(Seen::Stats("{}".into())), shown("b", false), Do::Show(Seen::HistoryEnd)]);
}

#[test]
fn a_game_that_never_stops_printing_does_not_hold_up_the_history() {
    let mut scene = Scene::live(Lines::Last);
    let mut ended = false;
    for _ in 0..40 {
        scene.line("x");
        ended |= scene.after(100).contains(&Do::Show(Seen::HistoryEnd));
    }
    assert!(ended);
}

#[test]
fn args_may_be_missing_null_or_empty_and_unknown_events_are_ignored() {
    let mut scene = Scene::new(Lines::New);
    scene.open();
    assert_eq!(
        scene.hear(r#"{"event":"auth success","args":null}"#),
        [Do::Show(Seen::Attached { again: false }), Do::Show(Seen::HistoryEnd)]
    );
    for frame in ["garbage", "[]", r#"{"event":"feature match","args":["{}"]}"#, r#"{"event":"stats","args":[1]}"#] {
        assert_eq!(scene.hear(frame), [], "{frame}");
    }
}

#[test]
fn the_token_is_renewed_once_per_notice_and_the_history_is_not_asked_for_again() {
    let mut scene = Scene::live(Lines::New);
    assert_eq!(scene.hear(r#"{"event":"token expiring"}"#), [Do::Renew]);
    assert_eq!(scene.hear(r#"{"event":"token expiring"}"#), [], "one renewal at a time");
    scene.talk.token("T");
    assert_eq!(scene.talk.actions(), [send(AUTH)]);
    assert_eq!(scene.hear(r#"{"event":"auth success"}"#), []);
    assert_eq!(scene.hear(r#"{"event":"token expiring"}"#), [Do::Renew]);
}

#[test]
fn a_failed_renewal_is_told_and_tried_again_at_the_next_notice() {
    let mut scene = Scene::live(Lines::New);
    scene.hear(r#"{"event":"token expiring"}"#);
    scene.talk.token_failed("no route");
    assert!(matches!(&scene.talk.actions()[..], [Do::Show(Seen::Notice(text))] if text.contains("no route")));
    assert_eq!(scene.hear(r#"{"event":"token expired"}"#), [Do::Renew]);
}

#[test]
fn while_lapsed_nothing_is_sent_and_the_person_is_told() {
    let mut scene = Scene::live(Lines::New);
    scene.hear(r#"{"event":"token expired"}"#);
    let told = scene.order(Order::Command("list".into()));
    assert!(matches!(&told[..], [Do::Show(Seen::NotSent { what, why })] if what == "list" && why.contains("expired")));
    scene.talk.token("T");
    scene.talk.actions();
    scene.hear(r#"{"event":"auth success"}"#);
    assert_eq!(scene.order(Order::Command("list".into())), [send(r#"{"args":["list"],"event":"send command"}"#)]);
}

#[test]
fn renewable_jwt_errors_renew_and_others_end_it() {
    for text in ["jwt: exp claim is invalid", "Error Event [x]: JWT: created too far in past (denylist)"] {
        let mut scene = Scene::live(Lines::New);
        assert_eq!(scene.hear(&serde_json::json!({"event": "jwt error", "args": [text]}).to_string()), []);
        assert_eq!(scene.after(1_100), [Do::Renew], "{text}");
    }
    let mut scene = Scene::live(Lines::New);
    let end = scene.hear(r#"{"event":"jwt error","args":["jwt: missing connect permission"]}"#);
    assert!(matches!(&end[..], [Do::GiveUp(text)] if text.contains("missing connect permission")));
}

#[test]
fn three_refused_tokens_in_a_row_are_enough() {
    let mut scene = Scene::new(Lines::New);
    scene.open();
    for _ in 0..2 {
        assert_eq!(scene.hear(r#"{"event":"daemon error","args":["bad"]}"#), []);
        assert_eq!(scene.after(1_100), [Do::Renew]);
        scene.talk.token("T");
        scene.talk.actions();
    }
    assert!(matches!(&scene.hear(r#"{"event":"daemon error","args":["bad"]}"#)[..], [Do::GiveUp(_)]));
}

#[test]
fn a_daemon_error_after_the_greeting_is_shown() {
    let mut scene = Scene::live(Lines::New);
    assert_eq!(scene.hear(r#"{"event":"daemon error","args":["no"]}"#), [Do::Show(Seen::Error("no".into()))]);
}

#[test]
fn after_a_reconnect_no_line_is_shown_twice_and_missed_ones_are() {
    let mut scene = Scene::live(Lines::Last);
    for text in ["a", "b"] {
        scene.line(text);
    }
    scene.after(300);
    assert!(scene.talk.closed(Some(1012), "node is restarting, come back"));
    scene.talk.actions();
    scene.open();
    assert_eq!(scene.hear(r#"{"event":"auth success"}"#), [Do::Show(Seen::Attached { again: true }), send(LOGS)]);
    for text in ["a", "b", "c"] {
        assert_eq!(scene.line(text), [], "held until the seam is known");
    }
    assert_eq!(scene.after(300), [shown("c", false), Do::Show(Seen::HistoryEnd)]);
}

#[test]
fn a_viewer_without_history_still_gets_what_it_missed_and_is_told_of_a_gap() {
    let mut scene = Scene::live(Lines::New);
    scene.line("a");
    scene.talk.closed(None, "");
    scene.open();
    assert!(scene.hear(r#"{"event":"auth success"}"#).contains(&send(LOGS)));
    scene.line("z");
    assert_eq!(scene.after(300), [Do::Show(Seen::Gap), shown("z", false), Do::Show(Seen::HistoryEnd)]);
}

/// Attached for new lines only, to a server that printed these before, and then cut off.
fn cut_off_after(before: &[&str]) -> Scene {
    let mut scene = Scene::ordered(Lines::New);
    assert_eq!(scene.open(), [send(AUTH), send(LOGS), send(STATS)]);
    scene.hear(r#"{"event":"auth success"}"#);
    scene.hear(r#"{"event":"status","args":["running"]}"#);
    for text in before {
        assert_eq!(scene.line(text), [], "what was printed before is not shown");
    }
    if before.is_empty() {
        assert_eq!(scene.hear(SAMPLE).len(), 1, "perhaps one of those that come each second");
    }
    assert!(scene.hear(SAMPLE).contains(&Do::Show(Seen::HistoryEnd)));
    scene.talk.closed(None, "");
    scene.talk.actions();
    scene.open();
    scene.hear(r#"{"event":"auth success"}"#);
    scene.hear(r#"{"event":"status","args":["running"]}"#);
    scene
}

#[test]
fn lines_from_before_are_not_live_after_a_reconnect() {
    let mut scene = cut_off_after(&["old", "saved the world"]);
    for text in ["old", "saved the world", "new"] {
        assert_eq!(scene.line(text), []);
    }
    assert_eq!(scene.hear(SAMPLE)[1..], [shown("new", false), Do::Show(Seen::HistoryEnd)]);

    let mut scene = cut_off_after(&[]);
    scene.line("new");
    assert_eq!(scene.hear(SAMPLE)[1..], [Do::Show(Seen::Gap), shown("new", false), Do::Show(Seen::HistoryEnd)]);
}

#[test]
fn lines_that_may_be_old_are_not_live_where_a_node_without_order_cannot_tell() {
    let mut scene = Scene::live(Lines::New);
    scene.talk.closed(None, "");
    scene.talk.actions();
    scene.open();
    scene.hear(r#"{"event":"auth success"}"#);
    scene.line("saved the world");
    let told = scene.after(300);
    assert_eq!(told, [Do::Show(Seen::Gap), shown("saved the world", true), Do::Show(Seen::HistoryEnd)]);
    assert_eq!(scene.line("live"), [shown("live", false)]);
}

#[test]
fn a_connection_lost_before_the_history_was_read_begins_anew() {
    let mut scene = Scene::ordered(Lines::New);
    scene.open();
    scene.hear(r#"{"event":"auth success"}"#);
    scene.line("old");
    scene.talk.closed(None, "");
    assert_eq!(scene.talk.actions(), [], "nothing is promised yet");
    scene.open();
    scene.hear(r#"{"event":"auth success"}"#);
    scene.hear(r#"{"event":"status","args":["running"]}"#);
    assert_eq!((scene.line("old"), scene.line("older")), (vec![], vec![]));
    assert_eq!(scene.hear(SAMPLE)[1..], [Do::Show(Seen::HistoryEnd)]);
}

#[test]
fn who_wants_no_lines_asks_for_none_ever() {
    let mut scene = Scene::ordered(Lines::Any);
    for _ in 0..2 {
        assert_eq!(scene.open(), [send(AUTH)]);
        assert!(!scene.hear(r#"{"event":"auth success"}"#).contains(&send(LOGS)));
        scene.talk.closed(None, "");
        scene.talk.actions();
    }
}

#[test]
fn the_last_lines_of_a_deleted_server_are_shown() {
    let mut scene = Scene::live(Lines::Last);
    scene.line("a");
    scene.talk.closed(None, "");
    scene.open();
    scene.hear(r#"{"event":"auth success"}"#);
    assert_eq!((scene.line("a"), scene.line("b")), (vec![], vec![]));
    assert!(matches!(&scene.hear(r#"{"event":"deleted","args":["null"]}"#)[..], [Do::GiveUp(_)]));
    scene.talk.ended();
    assert_eq!(scene.talk.actions(), [shown("b", false), Do::Show(Seen::HistoryEnd)]);
}

#[test]
fn a_connection_lost_while_lines_are_held_shows_them() {
    let mut scene = Scene::live(Lines::New);
    scene.line("a");
    scene.talk.closed(None, "");
    scene.open();
    scene.hear(r#"{"event":"auth success"}"#);
    scene.line("a");
    scene.line("b");
    scene.talk.closed(None, "");
    assert_eq!(scene.talk.actions(), [shown("b", false), Do::Show(Seen::HistoryEnd)]);
}

#[test]
fn deletion_and_suspension_are_final_and_other_ends_are_not() {
    let rows = [
        (Some(1001), "server deleted", false),
        (Some(4409), "server is suspended", false),
        (Some(1001), "going away", true),
        (Some(1000), "", true),
        (Some(1008), "access changed, renew your token", true),
        (None, "", true),
    ];
    for (code, reason, come_back) in rows {
        let mut scene = Scene::live(Lines::New);
        assert_eq!(scene.talk.closed(code, reason), come_back, "{code:?} {reason}");
        assert_eq!(scene.talk.actions().iter().any(|action| matches!(action, Do::GiveUp(_))), !come_back);
    }
    assert!(matches!(&Scene::live(Lines::New).hear(r#"{"event":"deleted","args":["null"]}"#)[..], [Do::GiveUp(_)]));
}

#[test]
fn pasted_commands_go_at_the_pace_of_the_node_in_order() {
    let mut scene = Scene::live(Lines::New);
    let mut sent = Vec::new();
    for n in 0..20 {
        sent.extend(scene.order(Order::Command(n.to_string())));
    }
    assert_eq!(sent.len(), 8, "a burst, then one at a time");
    for _ in 0..12 {
        let more = scene.after(1_050);
        assert_eq!(more.len(), 1);
        sent.extend(more);
    }
    let expected: Vec<Do> = (0..20).map(|n| send(&format!(r#"{{"args":["{n}"],"event":"send command"}}"#))).collect();
    assert_eq!(sent, expected);
    assert_eq!(scene.talk.deadline(), None);
}

#[test]
fn commands_that_cannot_go_are_named() {
    let mut scene = Scene::new(Lines::New);
    assert_eq!(scene.order(Order::Power(PowerAction::Stop)), [not_sent("stop", "not connected")]);

    let mut scene = Scene::live(Lines::New);
    for n in 0..(8 + WAITING_COMMANDS_MAX) {
        scene.order(Order::Command(n.to_string()));
    }
    let told = scene.order(Order::Command("one more".into()));
    assert!(matches!(&told[..], [Do::Show(Seen::NotSent { what, .. })] if what == "one more"));

    scene.talk.closed(None, "");
    let told = scene.talk.actions();
    let named = told.iter().filter(|action| matches!(action, Do::Show(Seen::NotSent { .. }))).count();
    assert_eq!(named, WAITING_COMMANDS_MAX, "what was waiting is not lost in silence");

    let mut scene = Scene::live(Lines::New);
    for n in 0..9 {
        scene.order(Order::Command(n.to_string()));
    }
    assert!(scene.talk.has_waiting());
    scene.talk.ended();
    assert_eq!(scene.talk.actions(), [not_sent("8", "the console ended before its turn came")]);
}

#[test]
fn the_number_of_an_error_is_for_logs_and_not_for_people() {
    assert_eq!(without_event_id("Error Event [5f2f0ed1]: it is running already"), "it is running already");
    for text in ["plain", "Error Event [open", "Error Event [x] no colon", ""] {
        assert_eq!(without_event_id(text), text);
    }
}

#[test]
fn a_discarded_auth_is_made_again_and_a_discarded_request_for_lines_is_a_gap() {
    let mut scene = Scene::ordered(Lines::Last);
    scene.open();
    assert_eq!(scene.hear(r#"{"event":"throttled","args":["auth"]}"#).len(), 1);
    assert_eq!(scene.after(5_500), [Do::Renew]);
    scene.talk.token("T");
    scene.talk.actions();
    scene.hear(r#"{"event":"auth success"}"#);
    scene.line("a");
    scene.talk.closed(None, "");
    scene.talk.actions();
    scene.open();
    scene.hear(r#"{"event":"auth success"}"#);
    scene.hear(r#"{"event":"status","args":["running"]}"#);
    scene.hear(r#"{"event":"throttled","args":["send logs"]}"#);
    scene.hear(SAMPLE);
    assert_eq!(scene.hear(SAMPLE)[1..], [Do::Show(Seen::Gap), Do::Show(Seen::HistoryEnd)]);
}

#[test]
fn a_sample_of_every_second_before_the_history_is_not_taken_for_its_end() {
    let mut scene = cut_off_after(&["old"]);
    assert_eq!(scene.hear(SAMPLE).len(), 1);
    assert_eq!((scene.line("old"), scene.line("new")), (vec![], vec![]));
    assert_eq!(scene.hear(SAMPLE)[1..], [shown("new", false), Do::Show(Seen::HistoryEnd)]);
}
