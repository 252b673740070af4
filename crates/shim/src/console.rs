//! The game's terminal or pipes.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::pty::OpenptFlags;
use rustix::termios::{
    ControlModes, InputModes, LocalModes, OptionalActions, OutputModes, SpecialCodeIndex, Termios, Winsize,
};
use spool::spec::{self, User};

/// Our ends, both non-blocking.
pub(crate) struct Console {
    /// What the game prints.
    pub(crate) output: OwnedFd,
    /// What the game reads.
    pub(crate) input: OwnedFd,
    /// Whether it is a terminal: `input` and `output` are the same then.
    pub(crate) terminal: bool,
}

/// The game's ends.
pub(crate) struct GameEnds {
    pub(crate) stdin: OwnedFd,
    /// Standard output and standard error.
    pub(crate) stdout: OwnedFd,
}

/// Makes both ends. They belong to the game's user, because opening `/dev/stdout` by its name asks for permission.
pub(crate) fn make(kind: spec::Console, user: Option<User>) -> io::Result<(Console, GameEnds)> {
    let (console, game) = match kind {
        spec::Console::Pty { rows, columns } => make_terminal(rows, columns)?,
        spec::Console::Pipe => make_pipes()?,
    };
    if let Some(User { uid, gid }) = user {
        for fd in [&game.stdin, &game.stdout] {
            // Without the privilege for this, becoming that user fails too, and says so.
            let _ = rustix::fs::fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        }
    }
    rustix::fs::fcntl_setfl(&console.output, rustix::fs::fcntl_getfl(&console.output)? | OFlags::NONBLOCK)?;
    rustix::fs::fcntl_setfl(&console.input, rustix::fs::fcntl_getfl(&console.input)? | OFlags::NONBLOCK)?;
    Ok((console, game))
}

fn make_pipes() -> io::Result<(Console, GameEnds)> {
    let (stdin, input) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let (output, stdout) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    Ok((Console { output, input, terminal: false }, GameEnds { stdin, stdout }))
}

fn make_terminal(rows: u16, columns: u16) -> io::Result<(Console, GameEnds)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let output = rustix::pty::openpt(flags)?;
    rustix::pty::unlockpt(&output)?;
    let stdin = rustix::pty::ioctl_tiocgptpeer(&output, flags)?;
    let mut settings = rustix::termios::tcgetattr(&stdin)?;
    make_raw(&mut settings);
    rustix::termios::tcsetattr(&stdin, OptionalActions::Now, &settings)?;
    rustix::termios::tcsetwinsize(&stdin, size(rows, columns))?;
    let _ = rustix::fs::fchmod(&stdin, Mode::from_raw_mode(0o620));
    let stdout = rustix::io::fcntl_dupfd_cloexec(&stdin, 3)?;
    let input = rustix::io::fcntl_dupfd_cloexec(&output, 3)?;
    Ok((Console { output, input, terminal: true }, GameEnds { stdin, stdout }))
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// A terminal that changes nothing on its way, in either direction: no echo (the log says what was typed), no line editing (it would
/// cut a line at 4096 bytes), no signals or flow control from characters in a command, no `\n` to `\r\n`. UTF-8 stays declared.
fn make_raw(settings: &mut Termios) {
    settings.input_modes &= InputModes::IUTF8;
    settings.output_modes &= !OutputModes::OPOST;
    settings.local_modes &=
        !(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN);
    settings.control_modes &= !(ControlModes::CSIZE | ControlModes::PARENB);
    settings.control_modes |= ControlModes::CS8;
    settings.special_codes[SpecialCodeIndex::VMIN] = 1;
    settings.special_codes[SpecialCodeIndex::VTIME] = 0;
}

impl Console {
    /// Tells the game that its terminal has another size. Nothing happens to pipes.
    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        if self.terminal {
            // A size is a wish; a terminal that is going away needs none.
            let _ = rustix::termios::tcsetwinsize(&self.output, size(rows, columns));
        }
    }
}

/// Why reading stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Burst {
    /// The buffer is full; there may be more.
    Full,
    /// Nothing more at the moment.
    Dry,
    /// Nobody has the other end open. Of a terminal it can be opened again by its name, of a pipe it cannot.
    HungUp,
}

/// Reads what the game has printed until there is no more or the buffer is full.
pub(crate) fn read_burst(output: &OwnedFd, buffer: &mut [u8]) -> (usize, Burst) {
    let mut filled = 0;
    while let Some(free) = buffer.get_mut(filled..).filter(|free| !free.is_empty()) {
        match rustix::io::read(output, free) {
            Ok(0) => return (filled, Burst::HungUp),
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return (filled, Burst::Dry),
            // EIO: the last process with the terminal open has closed it.
            Err(_) => return (filled, Burst::HungUp),
        }
    }
    (filled, Burst::Full)
}
