//! The line editor and its printer, and what goes to and comes from them.
//!
//! Both block, so each has a thread: `rustyline` takes a printed text into its own loop, which redraws the input line after it,
//! and takes none while keys wait. So nobody who must go on waits for either: what is to be printed stands in [`Printout`].

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor, ExternalPrinter};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::client::api::Server;
use crate::client::talk::Seen;
use crate::console::keys::{Typed, read};
use crate::console::render::Renderer;
use crate::fault::Fault;
use crate::output::{Output, Paint, plain};

/// Lines of input history kept per server.
const HISTORY_LINES_MAX: usize = 1000;
/// Lines on their way to the screen. More are left out, which is said in their place.
const PRINT_LINES_MAX: usize = 4096;
/// Bytes of them.
const PRINT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Lines of ours are never left out for the game's; but there is an end to it.
const OWN_LINES_MAX: usize = 2 * PRINT_LINES_MAX;
/// Lines printed in one go: the input line is redrawn once for all of them.
const PRINT_BATCH_LINES: usize = 200;
/// Typed lines on their way.
const TYPED_MAX: usize = 16;
/// At the end, so long for what is still to be printed.
const PRINT_END_WAIT: Duration = Duration::from_secs(2);
/// Changes nothing on the screen: the editor ends each text with a line break, so up first.
const NOTHING: &str = "\x1b[A\n";

type LineEditor = Editor<(), FileHistory>;

/// Why a console ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The person left, so the editor has ended, or a signal came.
    ByPerson,
    /// There is nothing to attach to any more. The editor still waits for keys.
    ByItself,
}

/// See the module.
pub(crate) struct Screen {
    /// Makes the lines.
    pub(crate) renderer: Renderer,
    printout: Arc<Printout>,
    printed: oneshot::Receiver<()>,
    typed: mpsc::Receiver<Typed>,
}

impl Screen {
    /// Takes over the terminal.
    pub(crate) fn open(output: Output, server: &Server, history: Option<PathBuf>) -> Result<Self, Fault> {
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
        let renderer = Renderer::new(output, &server.name, server.limits.memory);
        let printout = Arc::new(Printout::new(renderer.clone()));
        let (done, printed) = oneshot::channel();
        let (typed_in, typed) = mpsc::channel(TYPED_MAX);
        let prompt = format!("{}> ", plain(&server.name));
        let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
            thread::Builder::new()
                .name(name.to_owned())
                .spawn(body)
                .map_err(|error| Fault::Failed(format!("cannot start a thread: {error}")))
        };
        let source = Arc::clone(&printout);
        spawn(
            "printer",
            Box::new(move || {
                print_lines(printer, &source);
                // Nobody waits any more if it took too long.
                let _ = done.send(());
            }),
        )?;
        spawn("editor", Box::new(move || edit_lines(editor, &prompt, history.as_deref(), &typed_in)))?;
        Ok(Self { renderer, printout, printed, typed })
    }

    /// The next typed line; none when nobody reads keys any more.
    pub(crate) async fn typed(&mut self) -> Option<Typed> {
        self.typed.recv().await
    }

    /// Shows an event, if it is one to show.
    pub(crate) fn show(&mut self, seen: &Seen) {
        if let Some(text) = self.renderer.render(seen) {
            self.printout.push(text, matches!(seen, Seen::Line { .. }));
        }
    }

    /// Prints a line of ours.
    pub(crate) fn say(&self, paint: Paint, text: &str) {
        self.print(self.renderer.ours(paint, text));
    }

    /// Prints a text of ours as it is.
    pub(crate) fn print(&self, text: String) {
        self.printout.push(text, false);
    }

    /// Names what was typed and nobody will send; how many there were.
    pub(crate) fn name_unsent(&mut self) -> usize {
        let mut unsent = 0;
        while let Ok(typed) = self.typed.try_recv() {
            let what = match typed {
                Typed::Command(text) => text,
                Typed::Power(action) => action.to_string(),
                Typed::Stats | Typed::Leave | Typed::Help | Typed::Unknown(_) | Typed::Nothing => continue,
            };
            unsent += 1;
            self.show(&Seen::NotSent { what, why: "the console has ended".into() });
        }
        unsent
    }

    /// Waits until all is printed; false when the terminal does not take it.
    pub(crate) async fn close(self, ended: Ended) -> bool {
        self.printout.close(ended);
        timeout(PRINT_END_WAIT, self.printed).await.is_ok()
    }
}

/// Lines on their way to the screen. Who adds one never waits.
struct Printout {
    renderer: Renderer,
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    lines: VecDeque<String>,
    bytes: usize,
    /// Lines that there was no room for, behind those that are here.
    left_out: u64,
    ended: Option<Ended>,
}

impl Printout {
    fn new(renderer: Renderer) -> Self {
        Self { renderer, queue: Mutex::default(), changed: Condvar::new() }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Whoever panicked in there left whole lines behind.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: String, is_the_games: bool) {
        let mut queue = self.queue();
        let full = queue.lines.len() >= PRINT_LINES_MAX || queue.bytes >= PRINT_BYTES_MAX;
        if if is_the_games { full } else { queue.lines.len() >= OWN_LINES_MAX } {
            queue.left_out += 1;
            return;
        }
        self.say_left_out(&mut queue);
        queue.bytes += line.len();
        queue.lines.push_back(line);
        self.changed.notify_one();
    }

    fn say_left_out(&self, queue: &mut Queue) {
        if queue.left_out > 0 {
            let text = format!("… {} lines not shown; `logs` has them", std::mem::take(&mut queue.left_out));
            queue.lines.push_back(self.renderer.ours(Paint::Yellow, &text));
        }
    }

    fn close(&self, ended: Ended) {
        self.queue().ended = Some(ended);
        self.changed.notify_one();
    }

    /// Waits for lines; some of them, or why there will be none any more.
    fn take(&self) -> Result<String, Ended> {
        let mut queue = self.queue();
        loop {
            if queue.lines.is_empty() {
                self.say_left_out(&mut queue);
            }
            if !queue.lines.is_empty() {
                let count = queue.lines.len().min(PRINT_BATCH_LINES);
                let mut batch = String::new();
                for line in queue.lines.drain(..count) {
                    batch.push_str(&line);
                    batch.push('\n');
                }
                queue.bytes = queue.lines.iter().map(String::len).sum();
                return Ok(batch);
            }
            if let Some(ended) = queue.ended {
                return Err(ended);
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn print_lines(mut printer: impl ExternalPrinter, printout: &Printout) {
    let mut before = String::new();
    let ended = loop {
        match printout.take() {
            Ok(batch) => {
                // An editor that ends takes the text with it that it had not come to, and the one we were about to hand over.
                // From then on texts go to the terminal directly, and if they do not, it is gone.
                if printer.print(batch.clone()).is_err() && printer.print(before + &batch).is_err() {
                    return;
                }
                before = batch;
            }
            Err(ended) => break ended,
        }
    };
    if ended == Ended::ByItself {
        // The editor holds one text and writes another: when it takes the second of these, all before is on the screen.
        let _ = printer.print(NOTHING.to_owned()).and_then(|()| printer.print(NOTHING.to_owned()));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn printout() -> Printout {
        Printout::new(Renderer::new(Output { json: false, color: false, terminal: true }, "demo", 0))
    }

    #[test]
    fn a_flood_is_bounded_and_what_is_left_out_is_counted_in_its_place() {
        let printout = printout();
        for n in 0..PRINT_LINES_MAX + 3 {
            printout.push(format!("line {n}"), true);
        }
        printout.push("not sent: list".into(), false);
        printout.push("later".into(), true);
        printout.close(Ended::ByPerson);
        let mut lines = Vec::new();
        let ended = loop {
            match printout.take() {
                Ok(batch) => lines.extend(batch.lines().map(str::to_owned)),
                Err(ended) => break ended,
            }
        };
        assert_eq!(ended, Ended::ByPerson);
        let expected = [
            format!("line {}", PRINT_LINES_MAX - 1),
            "── … 3 lines not shown; `logs` has them".into(),
            "not sent: list".into(),
            "── … 1 lines not shown; `logs` has them".into(),
        ];
        assert_eq!(lines[PRINT_LINES_MAX - 1..], expected);
    }

    #[test]
    fn long_lines_are_bounded_by_their_bytes() {
        let printout = printout();
        for _ in 0..PRINT_BYTES_MAX / 65_536 + 10 {
            printout.push("x".repeat(65_536), true);
        }
        assert!(printout.take().is_ok_and(|batch| batch.len() <= PRINT_BYTES_MAX + 65_536));
        assert!(printout.take().is_ok_and(|batch| batch.contains("10 lines not shown")));
    }
}
