//! Who holds a server's log: a shim, found by its socket, whoever started it and wherever it runs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use spool::message::RunState;
use tokio::sync::mpsc;
use tokio::time::Instant;
use wire::ids::ServerId;

use crate::runtime::CONTAINER_DIR;
use crate::runtime::isolation::Game;
use crate::runtime::link::{self, Link, LinkEvent};
use crate::server::LOG_DIR;
use crate::stats::process_tree;
use crate::tasks::{Kind, Tasks, blocking};

/// Pause between tries to reach a shim that has just started.
pub(super) const CONNECT_PAUSE: Duration = Duration::from_millis(20);
/// How long that is tried before it counts as unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A shim that lives and answers.
pub(crate) struct Holder {
    pub(crate) link: Link,
    pub(crate) events: mpsc::Receiver<LinkEvent>,
    /// The game, as this machine numbers it.
    pub(crate) pid: u32,
    pub(crate) shim_pid: u32,
    /// What the game is doing, as its shim sees it.
    pub(crate) state: RunState,
    pub(crate) start_ticks: u64,
    pub(crate) run_id: [u8; 16],
    /// Whether it is the first process of a container.
    pub(crate) is_contained: bool,
    /// What the game has of isolation.
    pub(crate) game: Game,
}

/// Who holds a server's log.
pub(crate) enum Found {
    /// A shim, and its game with it.
    Running(Holder),
    /// A shim that does not answer; no second game may be started.
    Unreachable,
    /// Nobody.
    Nobody,
}

/// Looks until a shim that has just started answers, or has ended.
pub(super) async fn join(tasks: &Tasks, id: ServerId, dir: &Path) -> Found {
    let given_up_at = Instant::now() + CONNECT_TIMEOUT;
    loop {
        match find(tasks, id, dir).await {
            // On its way out, or too busy to answer.
            Found::Unreachable if Instant::now() < given_up_at => tokio::time::sleep(CONNECT_PAUSE).await,
            found => return found,
        }
    }
}

async fn connect(tasks: &Tasks, id: ServerId, dir: &Path) -> io::Result<Holder> {
    let dir: PathBuf = dir.to_owned();
    let found = blocking(move || match spool::message::connect(&dir) {
        Ok(stream) => Ok((stream, false)),
        // The error of the one is as good as that of the other; mostly there is neither.
        Err(_) => spool::message::connect(&dir.join(CONTAINER_DIR)).map(|stream| (stream, true)),
    });
    let (stream, is_contained) = found.await??;
    let opened = link::open(stream, is_contained).await?;
    tasks.spawn(Kind::Shim, id, opened.task.run());
    let (hello, shim_pid) = (opened.hello, opened.shim_pid);
    let pid = if is_contained {
        let game = hello.game_pid;
        blocking(move || seen_from_here(shim_pid, game)).await?
    } else {
        hello.game_pid
    };
    Ok(Holder {
        link: opened.link,
        events: opened.events,
        pid,
        shim_pid,
        state: hello.state,
        start_ticks: hello.start_ticks,
        run_id: hello.run_id,
        is_contained,
        game: hello.rungs.map_or(Game::Unknown, Game::Has),
    })
}

/// This machine's number of a process below a container's shim, which knows it by another one; 0 when it is not there any more.
fn seen_from_here(shim: u32, inside: u32) -> u32 {
    let is_it = |pid: &u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        numbers.and_then(|numbers| numbers.split_whitespace().last()?.parse().ok()) == Some(inside)
    };
    process_tree(shim).into_iter().find(is_it).unwrap_or(0)
}

/// Looks who holds a server's log: its lock says whether anybody does, the socket who.
pub(crate) async fn find(tasks: &Tasks, id: ServerId, dir: &Path) -> Found {
    match connect(tasks, id, dir).await {
        Ok(holder) => Found::Running(holder),
        Err(error) => {
            let log = dir.join(LOG_DIR);
            let locked = blocking(move || spool::writer::is_locked(&log)).await.and_then(|locked| locked);
            match locked {
                Ok(true) => {
                    tracing::debug!(server = %id, %error, "a shim holds the log and cannot be reached");
                    Found::Unreachable
                }
                Ok(false) => Found::Nobody,
                Err(error) if error.kind() == io::ErrorKind::NotFound => Found::Nobody,
                Err(error) => {
                    tracing::error!(server = %id, %error, "the log's lock cannot be looked at");
                    Found::Unreachable
                }
            }
        }
    }
}
