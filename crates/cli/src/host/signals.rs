//! The signals that end us, and the end that comes whatever hangs. Both are watched by a thread with a runtime of its own: what
//! hangs may be the other one.

use std::process::exit;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::fault::Fault;

/// Exit code of a second signal, as shells give it to a Ctrl-C.
const EXIT_INTERRUPTED: i32 = 130;
/// Exit code of an end that took too long.
const EXIT_LATE: i32 = 1;
/// How long the last words may take: who reads the log may be what hangs.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_millis(500);

/// See the module.
pub(crate) struct Signals {
    /// Fires with the first signal.
    first: CancellationToken,
    /// Fires when the end begins, for whatever reason.
    ending: CancellationToken,
}

impl Signals {
    /// Begins to listen. From the beginning of the end on, the program lives at most so long.
    pub(crate) fn listen(end_within: Duration) -> Result<Self, Fault> {
        let failed = |error: std::io::Error| Fault::Failed(format!("cannot wait for signals: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let both = {
            let _inside = runtime.enter();
            Both {
                interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
                terminate: signal(SignalKind::terminate()).map_err(failed)?,
            }
        };
        let signals = Self { first: CancellationToken::new(), ending: CancellationToken::new() };
        let watching = watch(both, signals.first.clone(), signals.ending.clone(), end_within);
        let watch = move || runtime.block_on(watching);
        thread::Builder::new().name("signals".to_owned()).spawn(watch).map_err(failed)?;
        Ok(signals)
    }

    /// Waits for one.
    pub(crate) async fn wait(&self) {
        self.first.cancelled().await;
    }

    /// Ends in order; a second signal ends at once, and so does the deadline. Games go on either way.
    pub(crate) async fn end(&self, ending: impl Future<Output = ()>) {
        self.ending.cancel();
        info!("stopping; games go on. Once more to end at once");
        ending.await;
    }
}

struct Both {
    interrupt: Signal,
    terminate: Signal,
}

impl Both {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

async fn watch(mut both: Both, first: CancellationToken, ending: CancellationToken, end_within: Duration) {
    tokio::select! {
        () = both.next() => first.cancel(),
        () = ending.cancelled() => {}
    }
    tokio::select! {
        () = both.next() => {
            last_words(|| warn!("ended at once"));
            exit(EXIT_INTERRUPTED);
        }
        () = sleep(end_within) => {
            last_words(move || error!(seconds = end_within.as_secs(), "the end took too long; ended at once, games go on"));
            exit(EXIT_LATE);
        }
    }
}

/// Says something, unless that takes too long.
fn last_words(say: impl FnOnce() + Send + 'static) {
    let (said, done) = mpsc::sync_channel::<()>(1);
    let say = move || {
        say();
        drop(said);
    };
    if thread::Builder::new().spawn(say).is_ok() {
        // Either way it is over now.
        let _ = done.recv_timeout(LAST_WORDS_TIMEOUT);
    }
}
