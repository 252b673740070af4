//! A running fake game: what it printed so far, its input, its end. Every wait has a deadline.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// Far more than anything here takes; whoever waits longer waits for ever.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// What was printed, and whether that is all.
#[derive(Default)]
struct Printed {
    bytes: Vec<u8>,
    ended: bool,
}

pub(crate) struct Game {
    child: Child,
    input: Option<File>,
    printed: Arc<(Mutex<Printed>, Condvar)>,
    /// Where the last found text ended: `wait_for` looks only behind it.
    seen: usize,
}

/// The command that starts the game with these flags, separated by spaces.
pub(crate) fn command(flags: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fakegame"));
    command.args(flags.split_whitespace());
    command
}

impl Game {
    /// Starts the game on pipes.
    pub(crate) fn start(flags: &str) -> Self {
        Self::on_pipes(command(flags))
    }

    pub(crate) fn start_in(folder: &Path, flags: &str) -> Self {
        let mut command = command(flags);
        command.current_dir(folder);
        Self::on_pipes(command)
    }

    pub(crate) fn on_pipes(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = File::from(OwnedFd::from(child.stdin.take().unwrap()));
        let output = File::from(OwnedFd::from(child.stdout.take().unwrap()));
        Self::new(child, input, output)
    }

    /// Starts the game on a terminal of its own, as it is by default: with echo.
    pub(crate) fn on_terminal(mut command: Command) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
        let theirs = File::options().read(true).write(true).open(name).unwrap();
        command.stdin(theirs.try_clone().unwrap()).stdout(theirs);
        let child = command.spawn().unwrap();
        // The command holds the other side of the terminal: with it open the output would never end.
        drop(command);
        let input = File::from(ours);
        let output = input.try_clone().unwrap();
        Self::new(child, input, output)
    }

    fn new(child: Child, input: File, mut output: File) -> Self {
        let printed = Arc::new((Mutex::new(Printed::default()), Condvar::new()));
        let shared = Arc::clone(&printed);
        thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            loop {
                let length = match output.read(&mut buffer) {
                    Ok(length) => length,
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    // A terminal whose other side is gone: the end as well.
                    Err(_) => 0,
                };
                let mut printed = shared.0.lock().unwrap();
                printed.bytes.extend_from_slice(&buffer[..length]);
                printed.ended = length == 0;
                shared.1.notify_all();
                if printed.ended {
                    return;
                }
            }
        });
        Self { child, input: Some(input), printed, seen: 0 }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Waits until `text` is printed behind what was found before, and returns everything from there up to its end.
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        let (end, found) = self.wait(|bytes, _| {
            let at = bytes.windows(text.len()).position(|window| window == text.as_bytes())?;
            Some((at + text.len(), String::from_utf8_lossy(&bytes[..at + text.len()]).into_owned()))
        });
        self.seen += end;
        found
    }

    /// Waits until `text` and the line it is on are printed; returns that line's rest behind `text`.
    pub(crate) fn wait_for_rest(&mut self, text: &str) -> String {
        self.wait_for(text);
        self.wait_for("\n").trim_end().to_owned()
    }

    /// Waits for the end of the output and returns what was not looked at yet.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        self.wait(|bytes, ended| ended.then(|| bytes.to_vec()))
    }

    /// The output has not ended: somebody can still print.
    pub(crate) fn is_open(&self) -> bool {
        !self.printed.0.lock().unwrap().ended
    }

    /// The rest of the line that has `text` in it, wherever it was printed, once it is complete.
    pub(crate) fn printed_after(&self, text: &str) -> Option<String> {
        let printed = self.printed.0.lock().unwrap();
        let all = String::from_utf8_lossy(&printed.bytes);
        let (line, _) = all.split_once(text)?.1.split_once('\n')?;
        Some(line.trim_end().to_owned())
    }

    fn wait<T>(&self, found: impl Fn(&[u8], bool) -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        let mut printed = self.printed.0.lock().unwrap();
        loop {
            if let Some(found) = found(&printed.bytes[self.seen..], printed.ended) {
                return found;
            }
            let shown = String::from_utf8_lossy(&printed.bytes[self.seen..]).into_owned();
            assert!(!printed.ended, "the output ended before that: {shown:?}");
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited too long, got only {shown:?}");
            printed = self.printed.1.wait_timeout(printed, left).unwrap().0;
        }
    }

    pub(crate) fn say(&mut self, line: &str) {
        self.input().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    pub(crate) fn input(&mut self) -> &mut File {
        self.input.as_mut().unwrap()
    }

    pub(crate) fn end_input(&mut self) {
        self.input = None;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits for the process to end.
    pub(crate) fn exit(&mut self) -> ExitStatus {
        wait_until("the end of the game", || self.child.try_wait().unwrap())
    }
}

impl Drop for Game {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// For what announces itself by no event we could wait for: looks again and again, giving way to others.
pub(crate) fn wait_until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}");
        thread::yield_now();
    }
}
