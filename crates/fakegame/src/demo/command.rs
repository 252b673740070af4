//! The commands of the demo server's console.

use std::path::Path;

use super::life::Life;
use super::screen::Entry;
use super::world::{DAY_TICKS, DIFFICULTIES, ONLINE_MAX, Weather, World};
use super::{life, phrases};

/// A longer command is refused.
const COMMAND_CHARS_MAX: usize = 1000;
const GIFT_MAX: u32 = 64;
const LAG_EVENTS: u32 = 3;
const TINT_SERVER: u8 = 95;

/// What is to be done after a command's lines are printed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    GoOn,
    Stop,
    Crash,
}

/// Every command, as `help` shows it.
const COMMANDS: [(&str, &str); 17] = [
    ("help", "shows this list"),
    ("list", "who is online"),
    ("say <text>", "speaks to everybody; somebody will answer"),
    ("tell <player> <text>", "whispers to a player"),
    ("kick <player> [reason]", "shows a player the door"),
    ("give <player> <thing> [count]", "gives a player something"),
    ("weather [clear|rain|thunder]", "shows or changes the weather"),
    ("time [set day|noon|night]", "shows or changes the time of day"),
    ("difficulty [peaceful|easy|normal|hard]", "shows or changes the difficulty"),
    ("motd [text]", "shows or changes the greeting"),
    ("seed", "the seed of the world"),
    ("tps", "how well the server keeps up"),
    ("players", "everybody who was ever here"),
    ("save-all", "saves the world"),
    ("lag", "makes the server struggle for a while"),
    ("crash", "makes the server crash, really"),
    ("stop", "saves the world and stops"),
];

/// Carries out one line of the console and returns the lines to print.
pub(super) fn obey(typed: &str, world: &mut World, life: &mut Life, folder: &Path) -> (Vec<Entry>, Outcome) {
    // What is printed back must not be able to paint on the screen.
    let typed: String = typed.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let typed = typed.trim();
    if typed.chars().count() > COMMAND_CHARS_MAX {
        return answer(vec![warn(format!("A command is at most {COMMAND_CHARS_MAX} characters"))]);
    }
    let (name, rest) = typed.split_once(' ').map_or((typed, ""), |(name, rest)| (name, rest.trim()));
    let name = name.strip_prefix('/').unwrap_or(name);
    match name {
        "" => answer(Vec::new()),
        "stop" => (Vec::new(), Outcome::Stop),
        "crash" => (crash_report(), Outcome::Crash),
        "help" => answer(help()),
        "list" => answer(vec![list(world)]),
        "say" => answer(vec![say(rest, world, life)]),
        "tell" => answer(vec![tell(rest, world, life)]),
        "kick" => answer(kick(rest, world)),
        "give" => answer(vec![give(rest, world, life)]),
        "weather" => answer(vec![weather(rest, world)]),
        "time" => answer(vec![time(rest, world)]),
        "difficulty" => answer(vec![difficulty(rest, world)]),
        "motd" => answer(vec![motd(rest, world)]),
        "seed" => answer(vec![info(format!("Seed: [{}]", world.seed))]),
        "tps" => answer(vec![info(format!("Ticks per second: {} of 20", life.ticks_per_second()))]),
        "players" => answer(players(world)),
        "save-all" => answer(save(world, folder)),
        "lag" => {
            life.lag(LAG_EVENTS);
            answer(vec![warn("The server feels a sudden weight".to_owned())])
        }
        _ => answer(vec![warn(format!("Unknown command '{name}'. Type \"help\" for help."))]),
    }
}

fn answer(entries: Vec<Entry>) -> (Vec<Entry>, Outcome) {
    (entries, Outcome::GoOn)
}

fn info(text: String) -> Entry {
    Entry::info("Server thread", text)
}

fn warn(text: String) -> Entry {
    Entry::warn("Server thread", text)
}

fn usage(command: &str) -> Entry {
    let known = COMMANDS.iter().find(|(usage, _)| usage.split(' ').next() == Some(command));
    warn(format!("Usage: {}", known.map_or(command, |(usage, _)| usage)))
}

fn no_such_player(name: &str) -> Entry {
    warn(format!("No player '{name}' is online; try \"list\""))
}

fn help() -> Vec<Entry> {
    let commands = COMMANDS.iter().map(|(usage, what)| info(format!("  {usage:<40} {what}")));
    std::iter::once(info("Commands:".to_owned())).chain(commands).collect()
}

fn list(world: &World) -> Entry {
    info(format!(
        "There are {} of a max of {ONLINE_MAX} players online: {}",
        world.online.len(),
        world.online.join(", ")
    ))
}

fn players(world: &World) -> Vec<Entry> {
    if world.players.is_empty() {
        return vec![info("Nobody was ever here".to_owned())];
    }
    let line = |(name, player): (&String, &super::world::Player)| {
        info(format!("{name}: {} visits, {} deaths", player.visits, player.deaths))
    };
    world.players.iter().map(line).collect()
}

fn say(text: &str, world: &World, life: &mut Life) -> Entry {
    if text.is_empty() {
        return usage("say");
    }
    life.greet(world);
    info(format!("[Server] {text}")).tinted(TINT_SERVER)
}

fn tell(rest: &str, world: &World, life: &mut Life) -> Entry {
    let Some((name, text)) = rest.split_once(' ') else { return usage("tell") };
    let Some(name) = world.online_as(name) else { return no_such_player(name) };
    life.whisper(world, &name);
    info(format!("[Server -> {name}] {text}")).tinted(TINT_SERVER)
}

fn kick(rest: &str, world: &mut World) -> Vec<Entry> {
    let (name, reason) = rest.split_once(' ').unwrap_or((rest, "Kicked by the server"));
    if name.is_empty() {
        return vec![usage("kick")];
    }
    let Some(name) = world.online_as(name) else { return vec![no_such_player(name)] };
    world.leave(&name);
    vec![info(format!("Kicked {name}: {reason}")), life::left(&name)]
}

fn give(rest: &str, world: &World, life: &mut Life) -> Entry {
    let words: Vec<_> = rest.split_whitespace().collect();
    let (name, thing, count) = match words.as_slice() {
        [name, thing] => (name, thing, Ok(1)),
        [name, thing, count] => (name, thing, count.parse::<u32>()),
        _ => return usage("give"),
    };
    let Some(name) = world.online_as(name) else { return no_such_player(name) };
    match count {
        Ok(count @ 1..=GIFT_MAX) => {
            life.thank(&name);
            info(format!("Gave {count} [{thing}] to {name}"))
        }
        _ => warn(format!("The count must be 1 to {GIFT_MAX}")),
    }
}

fn weather(rest: &str, world: &mut World) -> Entry {
    if rest.is_empty() {
        return info(format!("The weather is {}", world.weather.name()));
    }
    match Weather::from_name(rest) {
        Some(weather) => {
            world.weather = weather;
            info(format!("Set the weather to {rest}"))
        }
        None => usage("weather"),
    }
}

fn time(rest: &str, world: &mut World) -> Entry {
    // Ticks since six in the morning.
    let hour = match rest {
        "" | "query" => return info(format!("It is day {}, {}", world.day(), world.clock())),
        "set day" => 0,
        "set noon" => 6,
        "set night" => 14,
        _ => return usage("time"),
    };
    world.ticks = world.ticks / DAY_TICKS * DAY_TICKS + hour * DAY_TICKS / 24;
    info(format!("Set the time to {}", world.clock()))
}

fn difficulty(rest: &str, world: &mut World) -> Entry {
    if rest.is_empty() {
        return info(format!("The difficulty is {}", world.difficulty));
    }
    match DIFFICULTIES.into_iter().find(|known| *known == rest) {
        Some(difficulty) => {
            world.difficulty = difficulty;
            info(format!("The difficulty has been set to {difficulty}"))
        }
        None => usage("difficulty"),
    }
}

fn motd(rest: &str, world: &mut World) -> Entry {
    if rest.is_empty() {
        return info(format!("The greeting is: {}", world.motd));
    }
    rest.clone_into(&mut world.motd);
    info(format!("The greeting is now: {rest}"))
}

fn save(world: &World, folder: &Path) -> Vec<Entry> {
    let outcome = match world.save(folder) {
        Ok(()) => info(format!("Saved the world, day {}, {} players known", world.day(), world.players.len())),
        Err(error) => Entry::error("Server thread", error),
    };
    vec![info("Saving the world...".to_owned()), outcome]
}

fn crash_report() -> Vec<Entry> {
    let fault = |text: &str| Entry::error("Server thread", text.to_owned());
    vec![
        fault("Encountered an unexpected condition"),
        fault("harbour.UnfathomableException: the anchor has left the ship"),
        fault("    at harbour.Anchor.hold(Anchor:42)"),
        fault("    at harbour.Ship.tick(Ship:1201)"),
        fault(&format!("    at goat.{}.nibble(Rope:7)", phrases::PLAYERS.first().copied().unwrap_or_default())),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::random::Random;

    fn answers(lines: &[&str]) -> (Vec<String>, World, Life) {
        let folder = tempfile::tempdir().unwrap();
        let mut world = World::new(77);
        world.join("Kestrel");
        world.join("NovaBean");
        let mut life = Life::new(Random::new(1), Duration::from_secs(1));
        let mut texts = Vec::new();
        for line in lines {
            let (entries, outcome) = obey(line, &mut world, &mut life, folder.path());
            assert_eq!(outcome, Outcome::GoOn, "{line}");
            texts.extend(entries.into_iter().map(|entry| entry.text));
        }
        (texts, world, life)
    }

    #[test]
    fn commands_answer() {
        for (line, answer) in [
            ("list", "There are 2 of a max of 12 players online: Kestrel, NovaBean"),
            ("/list", "There are 2 of a max of 12 players online: Kestrel, NovaBean"),
            ("say hello there", "[Server] hello there"),
            ("say", "Usage: say <text>"),
            ("say a\x1b[2Jb", "[Server] a [2Jb"),
            ("tell kestrel psst", "[Server -> Kestrel] psst"),
            ("tell nobody psst", "No player 'nobody' is online; try \"list\""),
            ("give NovaBean torch 3", "Gave 3 [torch] to NovaBean"),
            ("give NovaBean torch 65", "The count must be 1 to 64"),
            ("give NovaBean torch x", "The count must be 1 to 64"),
            ("weather", "The weather is clear"),
            ("weather rain", "Set the weather to rain"),
            ("weather soup", "Usage: weather [clear|rain|thunder]"),
            ("time", "It is day 1, 06:00"),
            ("time set noon", "Set the time to 12:00"),
            ("time set soup", "Usage: time [set day|noon|night]"),
            ("difficulty hard", "The difficulty has been set to hard"),
            ("motd Ahoy  all", "The greeting is now: Ahoy  all"),
            ("seed", "Seed: [77]"),
            ("fly", "Unknown command 'fly'. Type \"help\" for help."),
        ] {
            assert_eq!(answers(&[line]).0, [answer], "{line}");
        }
        assert_eq!(answers(&["", "   "]).0, [""; 0]);
        assert_eq!(answers(&["kick Kestrel too loud"]).0, ["Kicked Kestrel: too loud", "Kestrel left the game"]);
        assert_eq!(answers(&["kick Kestrel"]).1.online, ["NovaBean"]);
        assert_eq!(answers(&["players"]).0, ["Kestrel: 1 visits, 0 deaths", "NovaBean: 1 visits, 0 deaths"]);
        assert_eq!(answers(&["save-all"]).0, ["Saving the world...", "Saved the world, day 1, 2 players known"]);
        assert!(answers(&[&"x".repeat(1001)]).0[0].contains("at most 1000"));
    }

    #[test]
    fn help_names_every_command_and_every_one_is_known() {
        let (help, ..) = answers(&["help"]);
        assert_eq!(help.len(), COMMANDS.len() + 1);
        for (usage, _) in COMMANDS {
            let word = usage.split(' ').next().unwrap();
            let (entries, _) =
                obey(word, &mut World::new(1), &mut Life::new(Random::new(1), Duration::ZERO), Path::new("/nowhere"));
            assert!(entries.iter().all(|entry| !entry.text.contains("Unknown command")), "{word}");
        }
    }

    #[test]
    fn somebody_answers_who_was_spoken_to() {
        for line in ["say hi", "tell Kestrel hi", "give Kestrel soup"] {
            let (_, mut world, mut life) = answers(&[line]);
            assert!(life.answer_in().is_some(), "{line}");
            let texts: Vec<_> = life.happen(&mut world).into_iter().map(|entry| entry.text).collect();
            assert!(texts[0].starts_with('<') || texts[0].contains("-> Server]"), "{line}: {texts:?}");
        }
    }

    proptest! {
        #[test]
        fn no_line_breaks_it(line in "(say|tell|kick|give|time|weather|motd|difficulty)? ?\\PC{0,40}") {
            let (mut world, mut life) = (World::new(1), Life::new(Random::new(1), Duration::ZERO));
            world.join("Kestrel");
            let (entries, _) = obey(&line, &mut world, &mut life, Path::new("/nowhere"));
            prop_assert!(entries.iter().all(|entry| !entry.text.contains(char::is_control)));
        }
    }
}
