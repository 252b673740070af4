//! One server's process: what somebody wants of it, what it is seen to do, and what follows from both.
//!
//! ```text
//!                 start, restart, planned restart
//!   offline ------------------------------------------> launching --launched--> starting --ready, settled--> running
//!     ^  ^                                               |     |                   |                            |
//!     |  +--- launch failed -----------------------------+     | stop, kill        | stop, restart, suspend     |
//!     |                                                        | (once it exists)  | kill, typed stop           |
//!     |                                                        v                   v                            |
//!     +--- exited: and up again if wanted (restart) ------- stopping <--------------------------------------- --+
//!     |                                                        ^ stop, kill, suspend
//!     |                                                        |
//!     +--- nothing of it is left ------------------------- orphaned <--its holder is gone-- starting, running
//!     |
//!     +--- exited from starting, running or orphaned: nobody asked, so a crash, unless the exit counts as a success;
//!          after a crash a restart is planned, later each time, and at last none
//! ```
//!
//! *launching* shows as `starting`, or as `stopping` once its end was asked for; *orphaned* shows as `stopping`. Kill is taken in every state and pre-empts
//! everything else. A request gets exactly one reply: when it is accepted (a start: when the process exists), when it is
//! refused, or when its wait for another action is over.

use std::collections::VecDeque;

use wire::server::{PowerAction, State};

mod exit;
mod life;
mod note;
mod request;
mod settings;

pub use exit::{BadExit, Exit, ExitKind};
pub use settings::{
    CrashPolicy, KILL_REPEAT_MS, LOOP_CRASHES, READY_TIMEOUT_DEFAULT_MS, SETTING_MS_MAX, SETTLE_DEFAULT_MS,
    STOP_GRACE_DEFAULT_MS, SUSPEND_GRACE_MS, Settings, WAIT_MS_MAX, WAITING_MAX,
};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Somebody asks for a power action.
    Request {
        /// By which the reply is known.
        id: u64,
        /// What.
        action: PowerAction,
        /// Milliseconds to wait for an action that is under way, instead of being refused at once.
        wait_ms: u64,
    },
    /// The configured stop command was typed into the console: what follows is a stop, not a crash.
    StopTyped,
    /// The process exists. The one answer to [`Effect::Launch`], or the next one is.
    LaunchOk {
        /// Its id, for the transcript only.
        pid: u32,
    },
    /// There is no process.
    LaunchFailed {
        /// Why, for people.
        reason: String,
    },
    /// A console line matched a start-up pattern.
    ReadyMatched,
    /// The process ended.
    Exited(Exit),
    /// This daemon was restarted and found the process alive.
    Adopted {
        /// Whether it was ready already.
        matched: bool,
    },
    /// This daemon was restarted and found the process alive, and its end was wanted before.
    AdoptedStopping {
        /// What is wanted once it has ended; [`Wanted::Up`] for a restart that was under way.
        wanted: Wanted,
        /// How far that had come.
        ending: Ending,
    },
    /// This daemon was restarted, and an earlier one had seen crashes in a row. Goes before whatever it finds of a process.
    Recalled {
        /// How many.
        crashes_in_a_row: u32,
        /// Milliseconds until the restart it had planned, if it had; a longer time than the policy allows is cut.
        restart_in_ms: Option<u64>,
        /// Milliseconds that the run which is found has lasted, or had when it ended; 0 without one.
        ran_ms: u64,
    },
    /// Its holder is gone, and what it held may be saving its state: [`Input::Exited`] or [`Input::Lost`] follow when nothing is left.
    Orphaned,
    /// Its holder is gone, and with it the process or the means to reach it.
    Lost {
        /// What was seen, for people.
        reason: String,
    },
    /// It may not run any more.
    Suspend,
    /// It may run again; nothing starts by itself.
    Unsuspend,
    /// The definition changed.
    Settings(Settings),
    /// [`Power::deadline`] has come.
    Time,
}

/// How far the end of an adopted process has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It does not know yet: it is asked now.
    Unasked,
    /// It was asked, and is not asked a second time.
    Asked,
    /// It is being killed.
    Killed,
}

/// What is to be done about it, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Start a process; the answer is [`Input::LaunchOk`] or [`Input::LaunchFailed`].
    Launch,
    /// Ask the process to end, as its definition says.
    AskToStop {
        /// Milliseconds until it is killed.
        grace_ms: u64,
    },
    /// End every process of it now. Repeated until [`Input::Exited`] comes.
    KillAll,
    /// Viewers and the panel see this.
    StateChanged {
        /// Before.
        from: State,
        /// Now.
        to: State,
    },
    /// The one reply to a request.
    Reply {
        /// Which.
        id: u64,
        /// Whether it is done, or why not.
        result: Result<(), Refusal>,
    },
    /// A line of our own for the console, a whole sentence.
    Note(String),
    /// It ended and nobody had asked.
    Crashed {
        /// How.
        exit: Exit,
        /// Which crash it is since the last run that lasted, from 1.
        in_a_row: u32,
        /// When it is started again, on the monotonic clock; `None`: not by itself.
        restart_at_ms: Option<u64>,
    },
}

/// A server that crashes again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashLoop {
    /// How often by now, at least [`LOOP_CRASHES`] times.
    pub in_a_row: u32,
    /// It is not started again by itself.
    pub gave_up: bool,
}

/// Why a power action is refused. The text says what happened and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another action is under way.
    #[error("another power action is under way, the server is {0}; wait until it is done, or kill it")]
    Busy(State),
    /// So many requests wait already that one more may not.
    #[error("too many power actions wait for this server already; try again later, or kill it")]
    TooManyWaiting,
    /// There is a process.
    #[error("the server is already {0}; stop or restart it instead")]
    AlreadyRunning(State),
    /// It may not run.
    #[error("the server is suspended; an administrator of the panel can lift that")]
    Suspended,
    /// No process came of it.
    #[error("the server could not be started: {0}")]
    LaunchFailed(String),
    /// A later request took its place.
    #[error("given up because somebody asked for {0} in the meantime")]
    Preempted(PowerAction),
}

impl Refusal {
    /// Whether trying again later helps by itself.
    pub const fn is_busy(&self) -> bool {
        matches!(self, Self::Busy(_) | Self::TooManyWaiting)
    }
}

/// What somebody, or the crash policy, wants of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A process.
    Up,
    /// None.
    Down,
}

/// One server's process; see the module.
#[derive(Debug)]
pub struct Power {
    settings: Settings,
    wanted: Wanted,
    phase: Phase,
    waiting: VecDeque<Waiting>,
    crashes_in_a_row: u32,
    last_exit: Option<Exit>,
    has_crashed: bool,
}

/// What the process is seen to do.
#[derive(Debug)]
enum Phase {
    Offline {
        restart_at_ms: Option<u64>,
    },
    Launching {
        start: Start,
        ready: bool,
        end: Option<End>,
    },
    Starting {
        launched_ms: u64,
        settle_at_ms: u64,
    },
    Running {
        launched_ms: u64,
    },
    /// Its holder is gone; what is left of it gets a while to end by itself, which its owner bounds.
    Orphaned {
        launched_ms: u64,
    },
    Stopping {
        kill_at_ms: u64,
        killed: bool,
    },
}

/// Who is behind a launch.
#[derive(Clone, Copy, Debug)]
enum Start {
    /// This request, which is told how it went.
    Request(u64),
    /// A request that has had its reply.
    Answered,
    /// The crash policy.
    Planned,
}

/// What is to follow a launch at once.
#[derive(Clone, Copy, Debug)]
enum End {
    Stop { grace_ms: u64 },
    Kill,
}

#[derive(Debug)]
struct Waiting {
    id: u64,
    action: PowerAction,
    until_ms: u64,
}

impl Power {
    /// A server without a process.
    pub fn new(settings: Settings, _now_ms: u64) -> Self {
        Self {
            settings,
            wanted: Wanted::Down,
            phase: Phase::Offline { restart_at_ms: None },
            waiting: VecDeque::new(),
            crashes_in_a_row: 0,
            last_exit: None,
            has_crashed: false,
        }
    }

    /// Something happened at this time of the monotonic clock.
    pub fn input(&mut self, now_ms: u64, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Request { id, action, wait_ms } => self.request(now_ms, id, action, wait_ms, out),
            Input::StopTyped => {
                if matches!(self.phase, Phase::Starting { .. } | Phase::Running { .. }) {
                    self.wanted = Wanted::Down;
                    self.crashes_in_a_row = 0;
                    let kill_at_ms = now_ms.saturating_add(self.settings.grace_ms());
                    self.enter(Phase::Stopping { kill_at_ms, killed: false }, out);
                }
            }
            Input::LaunchOk { pid: _ } => self.launched(now_ms, out),
            Input::LaunchFailed { reason } => self.launch_failed(now_ms, reason, out),
            Input::ReadyMatched => self.ready(out),
            Input::Exited(exit) => self.exited(now_ms, exit, out),
            Input::Adopted { matched } => self.adopted(now_ms, matched, out),
            Input::AdoptedStopping { wanted, ending } => self.adopted_stopping(now_ms, wanted, ending, out),
            Input::Recalled { crashes_in_a_row, restart_in_ms, ran_ms } => {
                let has_lasted = ran_ms >= self.settings.crash.stable_after_ms();
                self.recalled(now_ms, if has_lasted { 0 } else { crashes_in_a_row }, restart_in_ms, out);
            }
            Input::Orphaned => self.orphaned(out),
            Input::Lost { reason } => self.lost(now_ms, reason, out),
            Input::Suspend => self.suspend(now_ms, out),
            Input::Unsuspend => self.settings.suspended = false,
            Input::Settings(settings) => self.configure(now_ms, settings, out),
            Input::Time => self.time(now_ms, out),
        }
        self.serve_waiting(now_ms, out);
    }

    /// When [`Input::Time`] is due next, on the monotonic clock.
    pub fn deadline(&self) -> Option<u64> {
        let phase_at_ms = match self.phase {
            Phase::Offline { restart_at_ms } => restart_at_ms,
            Phase::Launching { .. } | Phase::Running { .. } | Phase::Orphaned { .. } => None,
            Phase::Starting { settle_at_ms, .. } => Some(settle_at_ms),
            Phase::Stopping { kill_at_ms, .. } => Some(kill_at_ms),
        };
        let waiting = self.waiting.iter().map(|waiting| waiting.until_ms);
        waiting.chain(phase_at_ms).chain(self.stable_at_ms()).min()
    }

    /// What viewers see.
    pub fn state(&self) -> State {
        match self.phase {
            Phase::Offline { .. } => State::Offline,
            Phase::Launching { end: None, .. } | Phase::Starting { .. } => State::Starting,
            Phase::Running { .. } => State::Running,
            Phase::Launching { end: Some(_), .. } | Phase::Orphaned { .. } | Phase::Stopping { .. } => State::Stopping,
        }
    }

    /// When the grace of the stop that is under way is over, on the monotonic clock; `None` if there is none.
    pub fn grace_until(&self) -> Option<u64> {
        match self.phase {
            Phase::Stopping { kill_at_ms, killed: false } => Some(kill_at_ms),
            _ => None,
        }
    }

    /// What is wanted of it; after a crash still [`Wanted::Up`], until the policy gives up.
    pub fn wanted(&self) -> Wanted {
        self.wanted
    }

    /// When the crash policy starts it again, on the monotonic clock.
    pub fn restart_at(&self) -> Option<u64> {
        match self.phase {
            Phase::Offline { restart_at_ms } => restart_at_ms,
            _ => None,
        }
    }

    /// While stopping: when the game is killed, on the monotonic clock.
    pub fn kill_at(&self) -> Option<u64> {
        match self.phase {
            Phase::Stopping { kill_at_ms, killed: false } => Some(kill_at_ms),
            _ => None,
        }
    }

    /// How the last run ended.
    pub fn last_exit(&self) -> Option<&Exit> {
        self.last_exit.as_ref()
    }

    /// Whether the last run ended when nobody had asked for it, other than by a success.
    pub fn has_crashed(&self) -> bool {
        self.has_crashed
    }

    /// How often it has crashed since the last run that lasted or the last time that somebody stepped in.
    pub fn crashes_in_a_row(&self) -> u32 {
        self.crashes_in_a_row
    }

    /// Whether it has crashed at least twice without a run between that lasted, and nobody has stepped in since. Holds through the
    /// restarts, and after the last one until somebody starts it.
    pub fn crash_loop(&self) -> Option<CrashLoop> {
        let is_down = matches!(self.phase, Phase::Offline { restart_at_ms: None });
        let gave_up = is_down && self.crashes_in_a_row > self.settings.crash.give_up_after;
        (self.crashes_in_a_row >= LOOP_CRASHES).then_some(CrashLoop { in_a_row: self.crashes_in_a_row, gave_up })
    }

    fn enter(&mut self, phase: Phase, out: &mut Vec<Effect>) {
        let from = self.state();
        self.phase = phase;
        let to = self.state();
        if from != to {
            out.push(Effect::StateChanged { from, to });
        }
    }

    fn stable_at_ms(&self) -> Option<u64> {
        match self.phase {
            Phase::Starting { launched_ms, .. } | Phase::Running { launched_ms } if self.crashes_in_a_row > 0 => {
                Some(launched_ms.saturating_add(self.settings.crash.stable_after_ms()))
            }
            _ => None,
        }
    }

    fn time(&mut self, now_ms: u64, out: &mut Vec<Effect>) {
        let state = self.state();
        self.waiting.retain(|waiting| {
            let goes_on = waiting.until_ms > now_ms;
            if !goes_on {
                out.push(Effect::Reply { id: waiting.id, result: Err(Refusal::Busy(state)) });
            }
            goes_on
        });
        if self.stable_at_ms().is_some_and(|at_ms| at_ms <= now_ms) {
            self.crashes_in_a_row = 0;
        }
        match &mut self.phase {
            Phase::Offline { restart_at_ms: Some(at_ms) } if *at_ms <= now_ms => self.launch(Start::Planned, out),
            Phase::Starting { launched_ms, settle_at_ms } if *settle_at_ms <= now_ms => {
                let launched_ms = *launched_ms;
                self.enter(Phase::Running { launched_ms }, out);
                out.push(Effect::Note(note::settled(self.settings.has_patterns, self.settings.settle_after_ms())));
            }
            Phase::Stopping { kill_at_ms, killed } if *kill_at_ms <= now_ms => {
                *kill_at_ms = now_ms.saturating_add(KILL_REPEAT_MS);
                if !std::mem::replace(killed, true) {
                    out.push(Effect::Note(note::grace_over()));
                }
                out.push(Effect::KillAll);
            }
            _ => {}
        }
    }
}
