//! How a run moves from phase to phase: output, children, deadlines, the end.

use std::fs::File;
use std::time::Instant;

use rustix::io::Errno;
use rustix::process::{Signal, WaitOptions};
use spool::ExitPayload;
use spool::exit::{self, ExitRecord};
use spool::message::Scope;

use super::{
    CLEAR, DRAIN, HUNG_UP_CHECK, KILL_EVERY, KILL_FAST, KILL_SLOWLY_EVERY, LAST_BURSTS_MAX, Output, Phase, Run,
};
use crate::console::{Burst, read_burst};
use crate::input::Flushed;
use crate::{now_ms, system, tree};

impl Run {
    /// Whether to read the game's output now, and when to look at anything again if nothing happens.
    pub(super) fn plan(&mut self, now: Instant) -> (bool, Option<Instant>) {
        let (can_read, check) = match self.output {
            Output::Open => (true, None),
            Output::HungUp { check } => (check.is_some_and(|check| now >= check), check.filter(|&check| now < check)),
        };
        let resume = if can_read { self.throttle.wait_until(now) } else { None };
        let phase = match self.phase {
            Phase::Running | Phase::Over { .. } => None,
            Phase::Stopping { deadline: at, .. }
            | Phase::Killing { next: at, .. }
            | Phase::Draining { until: at, .. }
            | Phase::Clearing { next: at, .. } => Some(at),
        };
        let deadline = [check, resume, phase, self.writer.next_tick()].into_iter().flatten().min();
        (can_read && resume.is_none(), deadline)
    }

    /// Reads one burst into the log.
    pub(super) fn read_output(&mut self) -> Burst {
        let (count, burst) = read_burst(&self.console.output, &mut self.buffer);
        if let Some(bytes) = self.buffer.get(..count).filter(|bytes| !bytes.is_empty()) {
            self.throttle.took(count);
            // Dropped bytes are counted and named in the log later; the game never learns of a full disk.
            let _ = self.writer.append_out(bytes, now_ms());
        }
        self.output = match burst {
            Burst::Full | Burst::Dry => Output::Open,
            Burst::HungUp => Output::HungUp { check: self.console.terminal.then(|| Instant::now() + HUNG_UP_CHECK) },
        };
        burst
    }

    /// Hands queued input to the game.
    pub(super) fn flush_input(&mut self) {
        if let Flushed::Closed { lost, delivered } = self.input.flush(&self.console.input) {
            self.note(&format!("The game has closed its input; {lost} bytes were not delivered."));
            if let Phase::Stopping { command_end: Some(end), .. } = self.phase
                && delivered < end
            {
                self.stop_without_input();
            }
        }
    }

    /// Asks by signal, at once, when a stop command can not reach the game. The deadline stays what it is.
    pub(super) fn stop_without_input(&mut self) {
        if let Phase::Stopping { command_end, .. } = &mut self.phase {
            *command_end = None;
        }
        self.note("The game has closed its input, so it cannot be stopped by a command; it gets SIGTERM instead.");
        self.signal(Signal::TERM.as_raw(), Scope::Group);
    }

    pub(super) fn note(&mut self, text: &str) {
        let _ = self.writer.append_note(text.as_bytes(), now_ms());
    }

    /// Waits for children that have ended; whether any are left.
    pub(super) fn reap(&mut self) -> bool {
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.game.pid => self.main_process_ended(status.as_raw()),
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    fn main_process_ended(&mut self, status: i32) {
        let now = Instant::now();
        self.phase = match self.phase {
            Phase::Running | Phase::Stopping { .. } => Phase::Draining { status, until: now + DRAIN },
            Phase::Killing { .. } => Phase::Clearing { status, since: now, next: now },
            // Its number is free again; a later child with the same one is a leftover.
            later @ (Phase::Draining { .. } | Phase::Clearing { .. } | Phase::Over { .. }) => later,
        };
    }

    /// Kills everything, beginning now.
    pub(super) fn kill(&mut self) {
        let now = Instant::now();
        self.phase = match self.phase {
            Phase::Running | Phase::Stopping { .. } => Phase::Killing { since: now, next: now },
            Phase::Draining { status, .. } => Phase::Clearing { status, since: now, next: now },
            later @ (Phase::Killing { .. } | Phase::Clearing { .. } | Phase::Over { .. }) => later,
        };
    }

    /// Does what is due.
    pub(super) fn advance(&mut self, now: Instant) {
        if let Phase::Stopping { deadline, .. } = self.phase
            && now >= deadline
        {
            self.kill();
        }
        if let Phase::Draining { status, until } = self.phase
            && (now >= until || matches!(self.output, Output::HungUp { .. }))
        {
            self.phase = Phase::Clearing { status, since: now, next: now };
        }
        if let Phase::Killing { since, next } = self.phase
            && now >= next
        {
            tree::signal_all(Some(self.game.pid), Signal::KILL);
            let pause = if now < since + KILL_FAST { KILL_EVERY } else { KILL_SLOWLY_EVERY };
            self.phase = Phase::Killing { since, next: now + pause };
        }
        if let Phase::Clearing { status, since, next } = self.phase {
            if now >= next {
                tree::signal_all(None, Signal::KILL);
                self.phase = Phase::Clearing { status, since, next: now + KILL_EVERY };
            }
            if !self.reap() {
                self.phase = Phase::Over { status };
            } else if now >= since + CLEAR {
                self.note("Processes of the game could not be killed and are left behind.");
                self.phase = Phase::Over { status };
            }
        }
        self.writer.tick(now_ms());
    }

    /// Writes the end of the log and returns where it is.
    pub(super) fn finish(&mut self, status: i32, exit_file: &File) -> (u64, u64) {
        for _ in 0..LAST_BURSTS_MAX {
            if self.read_output() != Burst::Full {
                break;
            }
        }
        let unread = self.input.queued_bytes();
        if unread > 0 {
            self.note(&format!("The game has ended without reading {unread} bytes of its input."));
        }
        let usage = system::children_usage();
        let exit = ExitPayload {
            status,
            pid: self.game.pid_number(),
            oom: self.game.oom_kills.happened(),
            user_ms: usage.user_ms,
            system_ms: usage.system_ms,
            maxrss_kib: usage.maxrss_kib,
        };
        let time_ms = now_ms();
        let _ = self.writer.append_exit(&exit, time_ms);
        self.writer.sync();
        let (pos, line) = self.writer.position();
        // Its space is reserved; if the disk itself fails, the EXIT frame or the free lock still say that the run is over.
        let _ = exit::write(exit_file, &ExitRecord { run_id: self.game.run_id, time_ms, pos, line, exit });
        (pos, line)
    }
}
