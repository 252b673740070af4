//! A terminal with a program on it, typed at and read by a test. Every wait has a deadline.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::process::{Child, Command};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Termios, tcgetattr};

use crate::deck::DEADLINE;

/// What came, and whether more is to be taken.
#[derive(Default)]
struct Screen {
    bytes: Vec<u8>,
    frozen: bool,
}

pub(crate) struct Terminal {
    child: Child,
    ours: File,
    /// Held open, so that its modes can be read after the program has ended.
    theirs: File,
    before: Termios,
    screen: Arc<(Mutex<Screen>, Condvar)>,
    /// Where the last found text ended.
    seen: usize,
}

impl Terminal {
    pub(crate) fn start(mut command: Command) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
        let theirs = File::options().read(true).write(true).open(name).unwrap();
        let before = tcgetattr(&theirs).unwrap();
        let side = || theirs.try_clone().unwrap();
        command.stdin(side()).stdout(side()).stderr(side()).env("TERM", "xterm").env_remove("NO_COLOR");
        let child = command.spawn().unwrap();
        drop(command);
        let ours = File::from(ours);
        let screen = Arc::<(Mutex<Screen>, Condvar)>::default();
        let (shared, mut output) = (Arc::clone(&screen), ours.try_clone().unwrap());
        thread::spawn(move || {
            let mut buffer = vec![0; 4096];
            loop {
                let thawed = shared.1.wait_while(shared.0.lock().unwrap(), |screen| screen.frozen).unwrap();
                drop(thawed);
                let length = match output.read(&mut buffer) {
                    Ok(0) => return,
                    Ok(length) => length,
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(_) => return,
                };
                shared.0.lock().unwrap().bytes.extend_from_slice(&buffer[..length]);
                shared.1.notify_all();
            }
        });
        Self { child, ours, theirs, before, screen, seen: 0 }
    }

    /// Types, or pastes, all at once.
    pub(crate) fn keys(&mut self, keys: &str) {
        self.ours.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for a text behind what was found before; everything from there to its end.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        let mut screen = self.screen.0.lock().unwrap();
        loop {
            let new = &screen.bytes[self.seen..];
            if let Some(at) = new.windows(text.len()).position(|window| window == text.as_bytes()) {
                let found = String::from_utf8_lossy(&new[..at + text.len()]).into_owned();
                self.seen += at + text.len();
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {text:?} came, only {:?}", String::from_utf8_lossy(new));
            screen = self.screen.1.wait_timeout(screen, left).unwrap().0;
        }
    }

    /// Takes nothing more from the program, like a terminal after Ctrl-S.
    pub(crate) fn freeze(&self) {
        self.screen.0.lock().unwrap().frozen = true;
    }

    /// Whether the program reads keys one by one.
    pub(crate) fn is_raw(&self) -> bool {
        !tcgetattr(&self.theirs).unwrap().local_modes.contains(LocalModes::ICANON)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end; the exit code. The terminal must be as it was.
    pub(crate) fn end(mut self) -> Option<i32> {
        let deadline = Instant::now() + DEADLINE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            thread::yield_now();
        };
        let after = tcgetattr(&self.theirs).unwrap();
        let modes = |of: &Termios| (of.input_modes, of.output_modes, of.control_modes, of.local_modes);
        assert_eq!(modes(&after), modes(&self.before), "the terminal is not as it was");
        status.code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.screen.0.lock().unwrap_or_else(PoisonError::into_inner).frozen = false;
        self.screen.1.notify_all();
    }
}
