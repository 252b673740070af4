//! What the demo server remembers from run to run, and the small text file it keeps it in.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The first line of the file: what it is, and the version of its format.
const FILE_HEAD: &str = "quarterdeck demo world 1";
const FOLDER: &str = "world";
const FILE: &str = "level.dat";
/// A file that is bigger was not written by us.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// How many players there is room for at once.
pub(super) const ONLINE_MAX: usize = 12;
/// Ticks of a day.
pub(super) const DAY_TICKS: u64 = 24_000;
/// Ten times as fast as one would expect: who watches for a minute sees half a day go by.
const TICKS_PER_SECOND: u64 = 200;
/// Day 1 begins at six in the morning.
const MORNING_HOUR: u64 = 6;
const SEED_MAX: u64 = 999_999_999;

const DEFAULT_MOTD: &str = "Welcome aboard the demo server";

/// What the sky does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weather {
    Clear,
    Rain,
    Thunder,
}

impl Weather {
    pub(super) const ALL: [Self; 3] = [Self::Clear, Self::Rain, Self::Thunder];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Clear => "clear",
            Self::Rain => "rain",
            Self::Thunder => "thunder",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|weather| weather.name() == name)
    }
}

pub(super) const DIFFICULTIES: [&str; 4] = ["peaceful", "easy", "normal", "hard"];

/// What is known of somebody who has been here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Player {
    pub(super) visits: u32,
    pub(super) deaths: u32,
}

/// The state of the world. Who is online is not saved: a restart finds nobody there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct World {
    pub(super) seed: u64,
    /// Ticks since the world was made.
    pub(super) ticks: u64,
    pub(super) weather: Weather,
    pub(super) difficulty: &'static str,
    pub(super) motd: String,
    pub(super) players: BTreeMap<String, Player>,
    pub(super) online: Vec<String>,
}

/// What there was to load.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Loaded {
    Found,
    New,
    /// Something was there and could not be used, with the reason in words.
    Damaged(String),
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            ticks: 0,
            weather: Weather::Clear,
            difficulty: "normal",
            motd: DEFAULT_MOTD.to_owned(),
            players: BTreeMap::new(),
            online: Vec::new(),
        }
    }

    /// Loads the world of this folder, or makes a new one. A given `seed` wins over the saved one.
    pub(super) fn load(folder: &Path, seed: Option<u64>) -> (Self, Loaded) {
        let path = folder.join(FOLDER).join(FILE);
        let (world, loaded) = match read_bounded(&path) {
            Ok(text) => match Self::parse(&text) {
                Ok(world) => (Some(world), Loaded::Found),
                Err(why) => (None, Loaded::Damaged(set_aside(&path, &why))),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => (None, Loaded::New),
            Err(error) => (None, Loaded::Damaged(set_aside(&path, &error.to_string()))),
        };
        let mut world = world.unwrap_or_else(|| Self::new(seed.unwrap_or_else(some_seed)));
        if let Some(seed) = seed {
            world.seed = seed;
        }
        (world, loaded)
    }

    /// Saves the world; the old file stays as it was until the new one is complete. The error is a sentence for the log.
    pub(super) fn save(&self, folder: &Path) -> Result<(), String> {
        let folder = folder.join(FOLDER);
        let path = folder.join(FILE);
        let new = folder.join(format!("{FILE}.new"));
        let saved = fs::create_dir_all(&folder)
            .and_then(|()| fs::write(&new, self.to_text()))
            .and_then(|()| fs::rename(&new, &path));
        saved.map_err(|error| {
            format!("Could not save {}: {error}; make the folder writable and say save-all", path.display())
        })
    }

    fn to_text(&self) -> String {
        let Self { seed, ticks, weather, difficulty, motd, players, online: _ } = self;
        let mut text = format!(
            "{FILE_HEAD}\nseed {seed}\nticks {ticks}\nweather {}\ndifficulty {difficulty}\nmotd {motd}\n",
            weather.name()
        );
        for (name, player) in players {
            text.extend(["player ", name, &format!(" {} {}\n", player.visits, player.deaths)]);
        }
        text
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines().enumerate();
        if lines.next().is_none_or(|(_, head)| head != FILE_HEAD) {
            return Err(format!("it does not begin with '{FILE_HEAD}'"));
        }
        let mut world = Self::new(0);
        for (index, line) in lines {
            let (key, value) = line.split_once(' ').unwrap_or((line, ""));
            world.set(key, value).ok_or_else(|| format!("line {} makes no sense", index + 1))?;
        }
        Ok(world)
    }

    fn set(&mut self, key: &str, value: &str) -> Option<()> {
        match key {
            "seed" => self.seed = value.parse().ok()?,
            "ticks" => self.ticks = value.parse().ok()?,
            "weather" => self.weather = Weather::from_name(value)?,
            "difficulty" => self.difficulty = DIFFICULTIES.into_iter().find(|known| *known == value)?,
            "motd" => value.clone_into(&mut self.motd),
            "player" => {
                let mut words = value.split(' ');
                let (name, visits, deaths) = (words.next()?, words.next()?, words.next()?);
                let player = Player { visits: visits.parse().ok()?, deaths: deaths.parse().ok()? };
                self.players.insert(name.to_owned(), player);
            }
            _ => return None,
        }
        Some(())
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, time: Duration) {
        let ticks = u64::try_from(time.as_millis()).unwrap_or(0) * TICKS_PER_SECOND / 1000;
        self.ticks = self.ticks.saturating_add(ticks);
    }

    /// Days are counted from 1.
    pub(super) fn day(&self) -> u64 {
        self.ticks / DAY_TICKS + 1
    }

    /// The time of day, `14:20`.
    pub(super) fn clock(&self) -> String {
        let minutes = (self.ticks % DAY_TICKS) * 24 * 60 / DAY_TICKS + MORNING_HOUR * 60;
        format!("{:02}:{:02}", minutes / 60 % 24, minutes % 60)
    }

    /// The name as its owner writes it, if somebody of this name is online.
    pub(super) fn online_as(&self, name: &str) -> Option<String> {
        self.online.iter().find(|online| online.eq_ignore_ascii_case(name)).cloned()
    }

    pub(super) fn join(&mut self, name: &str) {
        self.online.push(name.to_owned());
        let player = self.players.entry(name.to_owned()).or_default();
        player.visits = player.visits.saturating_add(1);
    }

    pub(super) fn leave(&mut self, name: &str) {
        self.online.retain(|online| online != name);
    }

    pub(super) fn take_online(&mut self) -> Vec<String> {
        std::mem::take(&mut self.online)
    }
}

fn read_bounded(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(ErrorKind::InvalidData, "it is too big"));
    }
    Ok(text)
}

/// Keeps a file that we cannot read, so that the next save does not destroy it, and says so.
fn set_aside(path: &Path, why: &str) -> String {
    let kept = path.with_extension("dat_damaged");
    match fs::rename(path, &kept) {
        Ok(()) => format!("{} is damaged ({why}), kept as {}", path.display(), kept.display()),
        Err(error) => format!("{} cannot be used ({why}) nor kept ({error})", path.display()),
    }
}

fn some_seed() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(0) % SEED_MAX
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_saved_world_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let (mut world, loaded) = World::load(folder.path(), Some(5));
        assert_eq!((world.seed, loaded), (5, Loaded::New));
        world.pass(Duration::from_secs(200));
        world.weather = Weather::Thunder;
        world.motd = "a  b ".to_owned();
        world.join("Kestrel");
        world.save(folder.path()).unwrap();
        world.take_online();
        assert_eq!(World::load(folder.path(), None), (world, Loaded::Found));
    }

    #[test]
    fn a_damaged_world_is_kept_and_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(FOLDER)).unwrap();
        let too_big = vec![b'x'; 70_000];
        for bad in [&b"something else"[..], b"quarterdeck demo world 1\nseed x\n", b"\xff\xff", &too_big] {
            fs::write(folder.path().join("world/level.dat"), bad).unwrap();
            let (_, loaded) = World::load(folder.path(), None);
            assert!(matches!(loaded, Loaded::Damaged(why) if why.contains("kept as")), "{bad:?}");
            assert_eq!(fs::read(folder.path().join("world/level.dat_damaged")).unwrap(), bad);
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_an_error_in_words() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FOLDER), "in the way").unwrap();
        let error = World::new(1).save(folder.path()).unwrap_err();
        assert!(error.contains("Could not save") && error.contains("writable"), "{error}");
    }

    #[test]
    fn the_clock_goes_round() {
        let mut world = World::new(1);
        assert_eq!((world.day(), world.clock().as_str()), (1, "06:00"));
        world.pass(Duration::from_secs(90));
        assert_eq!((world.day(), world.clock().as_str()), (1, "00:00"));
        world.pass(Duration::from_secs(30));
        assert_eq!((world.day(), world.clock().as_str()), (2, "06:00"));
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "(quarterdeck demo world 1\n)?(\\PC{0,12}\n?){0,6}") {
            if let Ok(world) = World::parse(&text) {
                prop_assert_eq!(World::parse(&world.to_text()), Ok(world));
            }
        }
    }
}
