//! The console on a terminal: lines above, an input line below, neither tearing the other.
//!
//! The line editor blocks, so it has a thread, and so has its printer: `rustyline` takes a printed line into its own loop,
//! which redraws the input line after it. Everything else is one task that waits for whichever comes first.

use std::io::{IsTerminal, stdin};
use std::path::{Path, PathBuf};
use std::thread;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor, ExternalPrinter};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::args::Global;
use crate::client::api::Server;
use crate::client::talk::{Order, Seen};
use crate::client::watch::{Patience, Watch};
use crate::commands::Context;
use crate::console::keys::{HELP, Typed, read};
use crate::console::render::Renderer;
use crate::fault::Fault;
use crate::folder::{Folder, make_private_folder};
use crate::output::{Output, Paint, plain};

/// Lines of input history kept per server.
const HISTORY_LINES_MAX: usize = 1000;
/// Lines on their way to the screen; more wait where they are.
const PRINT_LINES_MAX: usize = 256;
/// Lines printed in one go: the input line is redrawn once for all of them.
const PRINT_BATCH_LINES: usize = 200;
/// Typed lines on their way.
const TYPED_MAX: usize = 16;

type LineEditor = Editor<(), FileHistory>;

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
struct Restore(Option<Termios>);

impl Restore {
    fn new() -> Self {
        Self(tcgetattr(stdin()).ok())
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        if let Some(before) = &self.0
            && stdin().is_terminal()
        {
            // If the terminal has gone there is nothing to put back.
            let _ = tcsetattr(stdin(), OptionalActions::Drain, before);
        }
    }
}

/// Attaches until the person leaves or there is nothing to attach to any more.
pub(crate) async fn run(context: &Context, server: &Server, history: Option<PathBuf>) -> Result<(), Fault> {
    let mut watch = Watch::open(context.rest.clone(), server, true, Patience::ComeBack);
    // A refusal is told before the terminal is touched.
    let first = watch.next().await?;
    let _restore = Restore::new();
    let mut screen = Screen::open(context.output, server, history)?;
    let intro = format!("console of {}; ~? for help, ~. to leave", plain(&server.name));
    screen.print(screen.renderer.ours(Paint::Dim, &intro)).await;
    screen.show(&first).await;
    let result = attend(&mut watch, &mut screen).await;
    drop(watch);
    let state = screen.renderer.state();
    drop(screen);
    let name = plain(&server.name);
    match result {
        Ok(()) => {
            let state = state.map_or_else(String::new, |state| format!("; {name} is {state}"));
            context.output.line(&context.output.paint(Paint::Dim, &format!("\r── left{state}")))
        }
        // On a line of its own, not behind the input.
        Err(fault) => context.output.line("").and(Err(fault)),
    }
}

async fn attend(watch: &mut Watch, screen: &mut Screen) -> Result<(), Fault> {
    let no_signals = |error: std::io::Error| Fault::Failed(format!("cannot wait for signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(no_signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
    loop {
        tokio::select! {
            seen = watch.next() => screen.show(&seen?).await,
            typed = screen.typed.recv() => match typed {
                None | Some(Typed::Leave) => return Ok(()),
                Some(typed) => act(watch, screen, typed).await,
            },
            _ = terminate.recv() => return Ok(()),
            _ = hangup.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        }
    }
}

async fn act(watch: &Watch, screen: &mut Screen, typed: Typed) {
    let order = match typed {
        Typed::Command(text) => Order::Command(text),
        Typed::Power(action) => Order::Power(action),
        Typed::Stats => {
            screen.renderer.want_stats();
            Order::Stats
        }
        Typed::Help => return screen.print(HELP.to_owned()).await,
        Typed::Unknown(text) => {
            let text = format!(
                "not sent: {} (lines that begin with ~ are for the console; ~? lists them, ~~ sends one ~)",
                plain(&text)
            );
            return screen.print(screen.renderer.ours(Paint::Red, &text)).await;
        }
        Typed::Nothing | Typed::Leave => return,
    };
    if !watch.order(order) {
        let text = screen.renderer.ours(Paint::Red, "not sent: too much at once; try again");
        screen.print(text).await;
    }
}

/// The two threads of the line editor, and what goes to and comes from them.
struct Screen {
    renderer: Renderer,
    lines: mpsc::Sender<String>,
    typed: mpsc::Receiver<Typed>,
}

impl Screen {
    fn open(output: Output, server: &Server, history: Option<PathBuf>) -> Result<Self, Fault> {
        let failed = |error: ReadlineError| Fault::Failed(format!("cannot use the terminal: {error}"));
        let config = Config::builder()
            .max_history_size(HISTORY_LINES_MAX)
            .and_then(|config| config.history_ignore_dups(true))
            .map_err(failed)?
            .history_ignore_space(true)
            // Each pasted line is a command of its own, as if typed.
            .bracketed_paste(false)
            .build();
        let mut editor = LineEditor::with_config(config).map_err(failed)?;
        if let Some(path) = &history {
            // A first time has no history.
            let _ = editor.load_history(path);
        }
        let printer = editor.create_external_printer().map_err(failed)?;
        let (lines, lines_out) = mpsc::channel(PRINT_LINES_MAX);
        let (typed_in, typed) = mpsc::channel(TYPED_MAX);
        let prompt = format!("{}> ", plain(&server.name));
        let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
            thread::Builder::new()
                .name(name.to_owned())
                .spawn(body)
                .map_err(|error| Fault::Failed(format!("cannot start a thread: {error}")))
        };
        spawn("printer", Box::new(move || print_lines(printer, lines_out)))?;
        spawn("editor", Box::new(move || edit_lines(editor, &prompt, history.as_deref(), &typed_in)))?;
        Ok(Self { renderer: Renderer::new(output, &server.name, server.limits.memory), lines, typed })
    }

    async fn show(&mut self, seen: &Seen) {
        if let Some(text) = self.renderer.render(seen) {
            self.print(text).await;
        }
    }

    async fn print(&self, text: String) {
        // The printer ends only when the terminal is gone; the editor then ends too, and with it the console.
        let _ = self.lines.send(text).await;
    }
}

fn print_lines(mut printer: impl ExternalPrinter, mut lines: mpsc::Receiver<String>) {
    while let Some(first) = lines.blocking_recv() {
        let mut batch = first;
        for _ in 1..PRINT_BATCH_LINES {
            let Ok(line) = lines.try_recv() else { break };
            batch.push('\n');
            batch.push_str(&line);
        }
        batch.push('\n');
        if printer.print(batch).is_err() {
            return;
        }
    }
}

/// Reads lines until the person leaves. Leaving is decided here: after it no line is read, so the terminal is not raw.
fn edit_lines(mut editor: LineEditor, prompt: &str, history: Option<&Path>, typed: &mpsc::Sender<Typed>) {
    loop {
        let line = match editor.readline(prompt) {
            Ok(line) => line,
            Err(ReadlineError::Signal(_)) => continue,
            // Ctrl-C, Ctrl-D, or a terminal that has gone.
            Err(_) => return leave(typed),
        };
        let what = read(&line);
        if what != Typed::Nothing && editor.add_history_entry(&line).unwrap_or_default() {
            // Kept at once: the program may end in a way that leaves no time for it. Without a place, it lives as long as we do.
            let _ = history.map(|path| editor.append_history(path));
        }
        if what == Typed::Leave {
            return leave(typed);
        }
        if typed.blocking_send(what).is_err() {
            return;
        }
    }
}

fn leave(typed: &mpsc::Sender<Typed>) {
    // Nobody to tell means that the console has ended already.
    let _ = typed.blocking_send(Typed::Leave);
}
