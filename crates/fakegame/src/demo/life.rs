//! What happens on the demo server when nobody does anything: the players' lives, by chance but repeatable.

use std::collections::VecDeque;
use std::time::Duration;

use super::phrases;
use super::screen::Entry;
use super::world::{ONLINE_MAX, Weather, World};
use crate::random::Random;

/// Answers that may wait to be given; more people than that do not answer at once.
const ANSWERS_MAX: usize = 6;
/// How soon an answer comes at the usual pace.
const ANSWER_PERCENT: u32 = 30;
/// A save after so many things that happened.
const EVENTS_PER_SAVE: u32 = 40;
/// Nobody else joins by themselves above this number.
const CROWD: usize = 7;
/// Somebody joins for sure below this number.
const COMPANY: usize = 2;

/// How many times faster things happen below it, so that whoever starts the server does not watch an empty one.
const LONELY_HURRY: u32 = 2;

const YELLOW: u8 = 93;
const CYAN: u8 = 96;
const MAGENTA: u8 = 95;
const GREY: u8 = 90;

/// Chance and what it still has in store.
pub(super) struct Life {
    random: Random,
    pace: Duration,
    /// Who is about to say what, oldest first.
    answers: VecDeque<(String, Entry)>,
    events: u32,
    lag_events_left: u32,
    day: Option<u64>,
}

impl Life {
    pub(super) fn new(random: Random, pace: Duration) -> Self {
        Self { random, pace, answers: VecDeque::new(), events: 0, lag_events_left: 0, day: None }
    }

    /// How long it is quiet before the next thing happens: 40 % to 160 % of the pace, less while hardly anybody is there.
    pub(super) fn pause(&mut self, world: &World) -> Duration {
        let percent = u32::try_from(self.random.between(40, 160)).unwrap_or(100);
        let hurry = if world.online.len() < COMPANY { LONELY_HURRY } else { 1 };
        self.pace * percent / 100 / hurry
    }

    /// How soon somebody who was spoken to answers, if anybody was.
    pub(super) fn answer_in(&self) -> Option<Duration> {
        (!self.answers.is_empty()).then(|| self.pace * ANSWER_PERCENT / 100)
    }

    /// True once in a while, when it is time to save.
    pub(super) fn autosave_due(&self) -> bool {
        self.events > 0 && self.events.is_multiple_of(EVENTS_PER_SAVE)
    }

    /// The next thing that happens, in one line or several.
    pub(super) fn happen(&mut self, world: &mut World) -> Vec<Entry> {
        self.events = self.events.wrapping_add(1);
        let mut entries = Vec::new();
        if self.day.replace(world.day()).is_some_and(|day| day != world.day()) {
            entries.push(Entry::info("Server thread", format!("Day {} begins", world.day())));
        }
        if self.lag_events_left > 0 {
            self.lag_events_left -= 1;
            let behind = self.random.between(2000, 9000);
            let ticks = behind / 50;
            entries.push(Entry::warn("Server thread", format!("Can't keep up! {behind}ms or {ticks} ticks behind")));
            return entries;
        }
        while let Some((name, entry)) = self.answers.pop_front() {
            if world.online.contains(&name) {
                entries.push(entry);
                return entries;
            }
        }
        entries.extend(self.something(world));
        entries
    }

    fn something(&mut self, world: &mut World) -> Vec<Entry> {
        let online = world.online.len();
        match self.random.below(100) {
            _ if online < COMPANY => self.somebody_joins(world),
            0..14 if online < CROWD.min(ONLINE_MAX) => self.somebody_joins(world),
            14..21 if online > COMPANY => self.somebody_leaves(world),
            50..62 => self.quarrel(world),
            62..80 => self.somebody_walks(world),
            80..88 => self.somebody_dies(world),
            88..93 => self.somebody_shines(world),
            93..97 => self.weather_changes(world),
            // Most of the time somebody simply talks.
            _ => self.somebody_says(world, &phrases::CHAT),
        }
    }

    fn anybody(&mut self, world: &World) -> String {
        self.random.pick(&world.online).cloned().unwrap_or_default()
    }

    fn anybody_but(&mut self, world: &World, name: &str) -> Option<String> {
        let others: Vec<_> = world.online.iter().filter(|other| *other != name).cloned().collect();
        self.random.pick(&others).cloned()
    }

    fn phrase(&mut self, phrases: &[&str], other: Option<&str>) -> String {
        let phrase = self.random.pick(phrases).copied().unwrap_or_default();
        phrase.replace("{other}", other.unwrap_or("everybody"))
    }

    fn somebody_joins(&mut self, world: &mut World) -> Vec<Entry> {
        let away: Vec<_> = phrases::PLAYERS.into_iter().filter(|name| world.online_as(name).is_none()).collect();
        let Some(name) = self.random.pick(&away) else { return Vec::new() };
        let known = world.players.contains_key(*name);
        world.join(name);
        let address = format!("10.0.{}.{}", self.random.below(256), self.random.between(2, 254));
        let port = self.random.between(32_768, 60_999);
        let greeting = if known { "" } else { " for the first time" };
        vec![
            Entry::info("Network", format!("{name} connected from {address}:{port}")).tinted(GREY),
            Entry::info("Server thread", format!("{name} joined the game{greeting}")).tinted(YELLOW),
        ]
    }

    fn somebody_leaves(&mut self, world: &mut World) -> Vec<Entry> {
        let name = self.anybody(world);
        world.leave(&name);
        let why = self.phrase(&phrases::LEAVING, None);
        vec![Entry::info("Network", format!("{name} lost connection: {why}")).tinted(GREY), left(&name)]
    }

    fn somebody_says(&mut self, world: &World, phrases: &[&str]) -> Vec<Entry> {
        let name = self.anybody(world);
        let other = self.anybody_but(world, &name);
        let text = self.phrase(phrases, other.as_deref());
        vec![said(&name, &text)]
    }

    fn quarrel(&mut self, world: &World) -> Vec<Entry> {
        let name = self.anybody(world);
        let Some(other) = self.anybody_but(world, &name) else { return Vec::new() };
        let (insult, retort) =
            (self.phrase(&phrases::INSULTS, Some(&other)), self.phrase(&phrases::RETORTS, Some(&name)));
        self.will_say(&other, &retort);
        vec![said(&name, &insult)]
    }

    fn somebody_walks(&mut self, world: &World) -> Vec<Entry> {
        let name = self.anybody(world);
        let place = self.phrase(&phrases::PLACES, None);
        let (x, y, z) = (self.random.between(-400, 400), self.random.between(50, 90), self.random.between(-400, 400));
        vec![Entry::info("Server thread", format!("{name} walked to {place} ({x}, {y}, {z})"))]
    }

    fn somebody_dies(&mut self, world: &mut World) -> Vec<Entry> {
        let name = self.anybody(world);
        if let Some(player) = world.players.get_mut(&name) {
            player.deaths = player.deaths.saturating_add(1);
        }
        let death = self.phrase(&phrases::DEATHS, None);
        if let Some(other) = self.anybody_but(world, &name) {
            let condolence = self.phrase(&phrases::CONDOLENCES, Some(&name));
            self.will_say(&other, &condolence);
        }
        vec![Entry::info("Server thread", format!("{name} {death}"))]
    }

    fn somebody_shines(&mut self, world: &World) -> Vec<Entry> {
        let name = self.anybody(world);
        let feat = self.phrase(&phrases::FEATS, None);
        vec![Entry::info("Server thread", format!("{name} has earned [{feat}]")).tinted(MAGENTA)]
    }

    fn weather_changes(&mut self, world: &mut World) -> Vec<Entry> {
        let others: Vec<_> = Weather::ALL.into_iter().filter(|weather| *weather != world.weather).collect();
        world.weather = self.random.pick(&others).copied().unwrap_or(Weather::Clear);
        vec![Entry::info("Server thread", format!("The weather changes: {}", world.weather.name()))]
    }

    /// Somebody spoke to everybody: one or two answer.
    pub(super) fn greet(&mut self, world: &World) {
        let name = self.anybody(world);
        self.will_greet(&name);
        if self.random.one_in(2)
            && let Some(other) = self.anybody_but(world, &name)
        {
            self.will_greet(&other);
        }
    }

    fn will_greet(&mut self, name: &str) {
        let text = self.phrase(&phrases::GREETINGS, None);
        self.will_say(name, &text);
    }

    /// `name` was told something and whispers back.
    pub(super) fn whisper(&mut self, world: &World, name: &str) {
        let other = self.anybody_but(world, name);
        let text = self.phrase(&phrases::WHISPERS, other.as_deref());
        self.answer(name, Entry::info("Server thread", format!("[{name} -> Server] {text}")).tinted(MAGENTA));
    }

    /// `name` was given something.
    pub(super) fn thank(&mut self, name: &str) {
        let text = self.phrase(&phrases::THANKS, None);
        self.will_say(name, &text);
    }

    /// The next few things are that the server cannot keep up.
    pub(super) fn lag(&mut self, events: u32) {
        self.lag_events_left = events;
    }

    /// Ticks per second, as a server that is well or not would report them.
    pub(super) fn ticks_per_second(&mut self) -> String {
        match self.lag_events_left {
            0 => format!("{}.{}", 19, self.random.between(6, 9)),
            _ => format!("{}.{}", self.random.between(3, 8), self.random.between(0, 9)),
        }
    }

    fn will_say(&mut self, name: &str, text: &str) {
        self.answer(name, said(name, text));
    }

    fn answer(&mut self, name: &str, entry: Entry) {
        if !name.is_empty() && self.answers.len() < ANSWERS_MAX {
            self.answers.push_back((name.to_owned(), entry));
        }
    }
}

fn said(name: &str, text: &str) -> Entry {
    Entry::info("Chat", format!("<{name}> {text}")).tinted(CYAN)
}

/// The line that says that somebody is gone.
pub(super) fn left(name: &str) -> Entry {
    Entry::info("Server thread", format!("{name} left the game")).tinted(YELLOW)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn story(seed: u64, events: usize) -> (Vec<String>, World) {
        let mut world = World::new(seed);
        let mut life = Life::new(Random::new(seed), Duration::from_secs(2));
        let mut lines = Vec::new();
        for _ in 0..events {
            let pause = life.pause(&world);
            assert!((400..=3200).contains(&pause.as_millis()));
            world.pass(pause);
            let entries = life.happen(&mut world);
            assert!(entries.len() <= 3);
            lines.extend(entries.into_iter().map(|entry| entry.text));
            assert!(world.online.len() <= ONLINE_MAX);
        }
        (lines, world)
    }

    #[test]
    fn the_same_seed_tells_the_same_story() {
        assert_eq!(story(3, 500), story(3, 500));
        assert_ne!(story(3, 50).0, story(4, 50).0);
    }

    #[test]
    fn everything_happens_sooner_or_later() {
        let (lines, world) = story(1, 3000);
        for part in [
            "joined the game",
            "for the first time",
            "left the game",
            "walked to",
            "<Kestrel>",
            "earned",
            "weather",
            "Day 2",
        ] {
            assert!(lines.iter().any(|line| line.contains(part)), "nobody ever: {part}");
        }
        assert!(lines.iter().all(|line| !line.is_empty() && !line.contains("{other}")));
        assert!(world.players.values().any(|player| player.deaths > 0));
    }

    #[test]
    fn answers_of_people_who_left_are_not_given() {
        let mut world = World::new(1);
        let mut life = Life::new(Random::new(1), Duration::from_secs(2));
        world.join("Kestrel");
        life.greet(&world);
        assert!(life.answer_in().is_some());
        world.leave("Kestrel");
        assert!(life.happen(&mut world).iter().all(|entry| !entry.text.starts_with("<Kestrel>")));
        assert_eq!(life.answer_in(), None);
    }
}
