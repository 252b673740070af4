//! The console on a terminal: lines above, an input line below, neither tearing the other.
//!
//! One task that waits for whichever comes first: an event, a typed line, a signal. It never waits for the screen: a terminal
//! that takes nothing, or an editor that is busy with pasted lines, must not keep the rest from going on.

use std::io::{IsTerminal, stdin};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{sleep, timeout};

use crate::args::Global;
use crate::client::api::Server;
use crate::client::talk::{Lines, Order, Seen};
use crate::client::watch::{LEAVE_WAIT, Patience, Watch};
use crate::commands::Context;
use crate::console::keys::{HELP, Typed};
use crate::console::screen::{Ended, Screen};
use crate::fault::Fault;
use crate::folder::{Folder, make_private_folder};
use crate::output::{Paint, plain};

/// A connection that was told to end has ended by then.
const END_WAIT: Duration = Duration::from_secs(2);
/// Whoever leaves and is kept for longer is told why.
const LEAVE_NOTICE_AFTER: Duration = Duration::from_millis(300);

/// Whether the terminal can do nothing but print; the line editor would not work there.
pub(crate) fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb" || term == "cons25" || term == "emacs")
}

/// Where the input history of a server is kept: in the data folder if there is one, else with the user's state. None when
/// there is no such place; then there is no history, which is no reason to have no console.
pub(crate) fn history_file(global: &Global, uuid: &str) -> Option<PathBuf> {
    let folder = match Folder::locate(global.data.as_deref()) {
        Ok(folder) if folder.path().is_dir() => folder.history(),
        _ => state_home()?.join("quarterdeck").join("history"),
    };
    make_private_folder(&folder).ok()?;
    // The uuid comes from the panel; as a file name it must be one.
    let name = uuid::Uuid::try_parse(uuid).ok()?;
    Some(folder.join(name.to_string()))
}

fn state_home() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local").join("state")))
}

/// Puts the terminal back the way it was, however the console ends.
struct Restore {
    before: Option<Termios>,
    when: OptionalActions,
}

impl Restore {
    fn new() -> Self {
        Self { before: tcgetattr(stdin()).ok(), when: OptionalActions::Drain }
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        if let Some(before) = &self.before
            && stdin().is_terminal()
        {
            // If the terminal has gone there is nothing to put back.
            let _ = tcsetattr(stdin(), self.when, before);
        }
    }
}

/// Attaches until the person leaves or there is nothing to attach to any more.
pub(crate) async fn run(context: &Context, server: &Server, history: Option<PathBuf>) -> Result<(), Fault> {
    let mut watch = Watch::open(context.rest.clone(), server, Lines::Last, Patience::ComeBack);
    // A refusal is told before the terminal is touched.
    let first = watch.next().await?;
    let mut signals = Signals::listen()?;
    let mut restore = Restore::new();
    let mut screen = Screen::open(context.output, server, history)?;
    screen.say(Paint::Dim, &format!("console of {}; ~? for help, ~. to leave", plain(&server.name)));
    screen.show(&first);
    let result = attend(&mut watch, &mut screen, &mut signals).await;
    let state = screen.renderer.state();
    if !screen.close(if result.is_ok() { Ended::ByPerson } else { Ended::ByItself }).await {
        // A terminal that takes nothing would keep us here for ever; nor is there anybody to tell anything.
        restore.when = OptionalActions::Now;
        return Err(Fault::OutputClosed);
    }
    drop(restore);
    match result {
        Ok(left) => {
            let state = state.map_or_else(String::new, |state| format!("; {} is {state}", plain(&server.name)));
            context.output.line(&context.output.paint(Paint::Dim, &format!("\r── left{state}")))?;
            left.into_result()
        }
        // On a line of its own, not behind the input.
        Err(fault) => context.output.line("").and(Err(fault)),
    }
}

/// The signals that end a console.
struct Signals([Signal; 3]);

impl Signals {
    fn listen() -> Result<Self, Fault> {
        let failed = |error: std::io::Error| Fault::Failed(format!("cannot wait for signals: {error}"));
        let listen = |kind| signal(kind).map_err(failed);
        Ok(Self([listen(SignalKind::terminate())?, listen(SignalKind::hangup())?, listen(SignalKind::interrupt())?]))
    }

    async fn wait(&mut self) {
        let [terminate, hangup, interrupt] = &mut self.0;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}

/// How the person's leaving went.
#[derive(Debug, Default)]
struct Left {
    /// Commands that had not gone out by then. Each was named.
    not_sent: usize,
    /// The connection did not even end, so more may be lost.
    stuck: bool,
}

impl Left {
    fn into_result(self) -> Result<(), Fault> {
        match self {
            Self { stuck: true, .. } => Err(Fault::Failed(
                "the connection took nothing any more; the last commands may not have been sent".into(),
            )),
            Self { not_sent: 0, .. } => Ok(()),
            Self { not_sent, .. } => {
                Err(Fault::Failed(format!("{not_sent} commands were not sent; they are named above")))
            }
        }
    }
}

async fn attend(watch: &mut Watch, screen: &mut Screen, signals: &mut Signals) -> Result<Left, Fault> {
    loop {
        tokio::select! {
            seen = watch.next() => match seen {
                Ok(seen) => screen.show(&seen),
                Err(fault) => {
                    screen.name_unsent();
                    return Err(fault);
                }
            },
            typed = screen.typed() => match typed {
                None | Some(Typed::Leave) => return Ok(leave(watch, screen, signals, LEAVE_WAIT).await),
                Some(typed) => act(watch, screen, typed),
            },
            () = signals.wait() => return Ok(leave(watch, screen, signals, Duration::ZERO).await),
        }
    }
}

/// Lets commands that were typed or pasted before still go out, for so long; a signal ends that at once.
async fn leave(watch: &mut Watch, screen: &mut Screen, signals: &mut Signals, within: Duration) -> Left {
    let mut left = Left { not_sent: screen.name_unsent(), stuck: false };
    let mut end = Instant::now() + within;
    watch.leave(end);
    let notice = sleep(LEAVE_NOTICE_AFTER);
    tokio::pin!(notice);
    let mut told = within.is_zero();
    loop {
        tokio::select! {
            seen = timeout((end + END_WAIT).saturating_duration_since(Instant::now()), watch.next()) => match seen {
                Ok(Ok(seen)) => {
                    left.not_sent += usize::from(matches!(seen, Seen::NotSent { .. }));
                    screen.show(&seen);
                }
                Ok(Err(Fault::OutputClosed)) => return left,
                Ok(Err(fault)) => {
                    screen.say(Paint::Red, &fault.to_string());
                    return left;
                }
                Err(_) => return Left { stuck: true, ..left },
            },
            () = &mut notice, if !told => {
                told = true;
                // The editor has gone with what it was about to print.
                screen.say(Paint::Dim, &format!(
                    "leaving when the last commands have gone out, in {} s at most; Ctrl-C leaves at once. \
                     Lines of this moment may be missing here; `logs` has them",
                    within.as_secs()
                ));
            }
            () = signals.wait() => {
                end = Instant::now();
                watch.leave(end);
            }
        }
    }
}

fn act(watch: &Watch, screen: &mut Screen, typed: Typed) {
    let order = match typed {
        Typed::Command(text) => Order::Command(text),
        Typed::Power(action) => Order::Power(action),
        Typed::Stats => {
            screen.renderer.want_stats();
            Order::Stats
        }
        Typed::Help => return screen.print(HELP.to_owned()),
        Typed::Unknown(text) => {
            return screen.say(
                Paint::Red,
                &format!(
                    "not sent: {} (lines that begin with ~ are for the console; ~? lists them, ~~ sends one ~)",
                    plain(&text)
                ),
            );
        }
        Typed::Nothing | Typed::Leave => return,
    };
    let what = order.to_string();
    if !watch.order(order) {
        screen.show(&Seen::NotSent { what, why: "too much at once; try again".into() });
    }
}
