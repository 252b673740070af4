//! The one place that spawns: every task has a kind, an owner, a cancel token, and is waited for at shutdown.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// What a task is for; in the log beside its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The actor of one game server.
    Server,
    /// New lines to the viewers of one game server.
    Fanout,
    /// The connection to one shim.
    Shim,
    /// The installation of one game server.
    Install,
    /// Samples of all servers, and the sizes of their directories.
    Stats,
    /// Reports to the panel.
    Report,
    /// The panel's clock.
    Clock,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "server",
            Self::Fanout => "fanout",
            Self::Shim => "shim",
            Self::Install => "install",
            Self::Stats => "stats",
            Self::Report => "report",
            Self::Clock => "clock",
        })
    }
}

/// All tasks of the daemon.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    cancel: CancellationToken,
    connections: TaskTracker,
    /// Tasks that carry what the others leave behind, and end after them.
    last: TaskTracker,
    last_cancel: CancellationToken,
}

impl Tasks {
    /// Starts a task that runs to its end or watches [`Tasks::cancel_token`] itself.
    pub(crate) fn spawn<F>(&self, kind: Kind, owner: impl fmt::Display, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let span = tracing::debug_span!("task", %kind, %owner);
        self.tracker.spawn(future.instrument(span));
    }

    /// Starts a task that ends after all others, when the token it gets fires.
    pub(crate) fn spawn_last<F>(&self, kind: Kind, owner: impl fmt::Display, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let span = tracing::debug_span!("task", %kind, %owner);
        self.last.spawn(task(self.last_cancel.clone()).instrument(span));
    }

    /// A token that fires when the daemon ends.
    pub(crate) fn cancel_token(&self) -> CancellationToken {
        self.cancel.clone()
    }

    /// Starts the task of a console connection, whose last frames shutdown waits for.
    pub(crate) fn converse<F>(&self, connection: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.connections.spawn(connection);
    }

    /// Tells everybody to end, and waits for connections, then tasks, then the last tasks: each for at most `limit`.
    pub(crate) async fn end(&self, limit: Duration) {
        self.cancel.cancel();
        self.connections.close();
        self.tracker.close();
        if tokio::time::timeout(limit, self.connections.wait()).await.is_err() {
            tracing::warn!(left = self.connections.len(), "connections did not end in time");
        }
        if tokio::time::timeout(limit, self.tracker.wait()).await.is_err() {
            tracing::warn!(left = self.tracker.len(), "tasks did not end in time");
        }
        self.last_cancel.cancel();
        self.last.close();
        if tokio::time::timeout(limit, self.last.wait()).await.is_err() {
            tracing::warn!("reports to the panel did not get through in time");
        }
    }
}

/// Runs file-system work away from the async threads. A panic inside becomes an error, not a second panic.
pub(crate) async fn blocking<T, F>(work: F) -> std::io::Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)
}
