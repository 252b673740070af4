//! The demo: a small server with players who come, chat, wander, die and go, and a console that answers.
//!
//! ```text
//!           100 %              stop, SIGTERM, SIGINT, SIGHUP
//! Booting ---------> Playing --------------------------------> saved, exit 0
//! ```

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::inbox::{Event, Inbox};
use crate::random::Random;
use crate::{sys, units};

mod command;
mod life;
mod phrases;
mod screen;
mod world;

use command::Outcome;
use life::Life;
use screen::{Colour, Entry, Screen};
use world::{Loaded, World};

/// The exit status when the world could not be saved at the end.
const EXIT_NOT_SAVED: u8 = 1;
/// Steps of the start-up's progress line.
const BOOT_STEPS: u32 = 50;
const STOP_SIGNALS: [i32; 3] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP];

/// The demo's settings.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// The folder of the server; the world is kept in `world` in it
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    dir: PathBuf,
    /// Makes everything that happens by chance repeatable; by default a new world gets a seed of its own
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// How long starting up takes
    #[arg(long, value_name = "TIME", default_value = "2.5s", value_parser = units::duration)]
    boot_time: Duration,
    /// The average time between two things that happen; each takes 40 % to 160 % of it
    #[arg(long, value_name = "TIME", default_value = "2.5s", value_parser = units::duration)]
    pace: Duration,
    /// When to use colours
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    colour: Colour,
}

/// Where in its life the server is.
enum Phase {
    Booting { steps_done: u32, next_step: Instant },
    Playing { next_event: Instant },
}

struct Demo<'a> {
    args: &'a DemoArgs,
    screen: Screen,
    world: World,
    life: Life,
    phase: Phase,
    started: Instant,
    /// What the start-up says it is doing to the world.
    booting_verb: &'static str,
}

/// Plays until stopped and returns the exit status. Fails only when the output is gone.
pub(crate) fn run(args: &DemoArgs) -> io::Result<u8> {
    let inbox = Inbox::open(true, STOP_SIGNALS.to_vec())?;
    let mut screen = Screen::new(File::from(io::stdout().as_fd().try_clone_to_owned()?), args.colour);
    let started = Instant::now();
    screen.print(&[
        Entry::info("main", format!("Starting the demo server, version {}", env!("CARGO_PKG_VERSION"))),
        Entry::info("main", format!("Process {} in {}", std::process::id(), args.dir.display())),
    ])?;
    let (world, found) = World::load(&args.dir, args.seed);
    let booting_verb = if found == Loaded::Found { "Loading" } else { "Generating" };
    screen.print(&[match found {
        Loaded::Found => Entry::info("main", format!("Found the world, day {}", world.day())),
        Loaded::New => Entry::info("main", format!("No world yet, making one from seed {}", world.seed)),
        Loaded::Damaged(why) => Entry::warn("main", format!("{why}; making a new world from seed {}", world.seed)),
    }])?;
    // The age of the world is in it too: a restart goes on with other things happening than the first time.
    let life = Life::new(Random::new(world.seed ^ world.ticks.rotate_left(32)), args.pace);
    let phase = Phase::Booting { steps_done: 0, next_step: started };
    Demo { args, screen, world, life, phase, started, booting_verb }.play(&inbox)
}

impl Demo<'_> {
    fn play(&mut self, inbox: &Inbox) -> io::Result<u8> {
        loop {
            let (Phase::Booting { next_step: next, .. } | Phase::Playing { next_event: next }) = self.phase;
            let outcome = match inbox.next(Some(next)) {
                None => self.tick().map(|()| Outcome::GoOn)?,
                Some(Event::InputEnded) => Outcome::GoOn,
                Some(Event::Signal(signal)) => {
                    let why = format!("Got {}", units::signal_name(signal));
                    self.screen.print(&[Entry::info("main", why)])?;
                    Outcome::Stop
                }
                Some(Event::Line(line)) => self.obey(&line)?,
            };
            match outcome {
                Outcome::GoOn => {}
                Outcome::Stop => return self.stop(),
                Outcome::Crash => {
                    self.screen.end()?;
                    sys::segfault();
                }
            }
        }
    }

    /// Something is due: a step of the start-up, or the next thing that happens in the world.
    fn tick(&mut self) -> io::Result<()> {
        let now = Instant::now();
        match &mut self.phase {
            Phase::Booting { steps_done, .. } if *steps_done == BOOT_STEPS => {
                let seconds = now.duration_since(self.started).as_secs_f64();
                self.phase = Phase::Playing { next_event: now + self.life.pause(&self.world) };
                self.screen.finish_progress()?;
                self.screen.print(&[
                    Entry::info("Server thread", format!("{} (difficulty {})", self.world.motd, self.world.difficulty)),
                    Entry::info("Server thread", format!("Done ({seconds:.3}s)! For help, type \"help\"")),
                ])?;
                self.screen.prompt()
            }
            Phase::Booting { steps_done, next_step } => {
                *steps_done += 1;
                // By absolute time: a slow machine does not make the start longer than asked for.
                *next_step = self.started + self.args.boot_time * *steps_done / BOOT_STEPS;
                let percent = *steps_done * 100 / BOOT_STEPS;
                self.screen.progress(&format!("{} the world: {percent}%", self.booting_verb))
            }
            Phase::Playing { next_event } => {
                let pause = self.life.pause(&self.world);
                *next_event = now + pause;
                self.world.pass(pause);
                let entries = self.life.happen(&mut self.world);
                self.screen.print(&entries)?;
                self.save_if_due()
            }
        }
    }

    fn save_if_due(&mut self) -> io::Result<()> {
        if self.life.autosave_due() {
            let entry = match self.world.save(&self.args.dir) {
                Ok(()) => Entry::info("Autosave", "The world was saved".to_owned()),
                Err(error) => Entry::error("Autosave", error),
            };
            self.screen.print(&[entry])?;
        }
        Ok(())
    }

    fn obey(&mut self, line: &[u8]) -> io::Result<Outcome> {
        let text = String::from_utf8_lossy(line);
        let booting = matches!(self.phase, Phase::Booting { .. });
        let (entries, outcome) = if booting && text.trim() != "stop" {
            let wait = "Still starting up, try again in a moment";
            (vec![Entry::warn("Server thread", wait.to_owned())], Outcome::GoOn)
        } else {
            command::obey(&text, &mut self.world, &mut self.life, &self.args.dir)
        };
        self.screen.print(&entries)?;
        if entries.is_empty() && outcome == Outcome::GoOn {
            self.screen.prompt()?;
        }
        // Whoever is spoken to answers soon, not at the next thing that would have happened anyway.
        if let (Phase::Playing { next_event }, Some(soon)) = (&mut self.phase, self.life.answer_in()) {
            *next_event = (*next_event).min(Instant::now() + soon);
        }
        Ok(outcome)
    }

    fn stop(&mut self) -> io::Result<u8> {
        // A prompt behind the last words would be a line of its own in every log.
        self.screen.end()?;
        self.screen.print(&[Entry::info("Server thread", "Stopping the server".to_owned())])?;
        let farewell: Vec<_> = self.world.take_online().iter().map(|name| life::left(name)).collect();
        self.screen.print(&farewell)?;
        self.screen.print(&[Entry::info("Server thread", "Saving players".to_owned())])?;
        self.screen.print(&[Entry::info("Server thread", "Saving the world...".to_owned())])?;
        let (entry, status) = match self.world.save(&self.args.dir) {
            Ok(()) => (Entry::info("Server thread", "All saved. Goodbye!".to_owned()), 0),
            Err(error) => (Entry::error("Server thread", error), EXIT_NOT_SAVED),
        };
        self.screen.print(&[entry])?;
        Ok(status)
    }
}
