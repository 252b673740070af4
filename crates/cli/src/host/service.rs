//! What a service manager is told (`sd_notify(3)`): that we are ready, what we do, that we work, and that we end. Without one, nothing.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use tracing::{debug, error, warn};

/// How often the text about us is told anew where nobody wants signs of life.
const STATUS_EVERY: Duration = Duration::from_secs(10);
/// So many signs of life are given in the time in which one is expected.
const BEATS: u32 = 3;

/// See the module.
#[derive(Debug)]
pub(crate) struct Service {
    socket: Option<UnixDatagram>,
    /// In which time a sign of life is expected, if any is.
    watchdog: Option<Duration>,
}

impl Service {
    /// The one that has started us, as it says in our environment.
    pub(crate) fn of_environment() -> Self {
        let path = std::env::var_os("NOTIFY_SOCKET");
        let socket = path.and_then(|path| match connect(path.as_bytes()) {
            Ok(socket) => Some(socket),
            Err(error) => {
                warn!(%error, "the service manager's socket cannot be used; it is told nothing");
                None
            }
        });
        let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let is_meant = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|usec| is_meant && *usec > 0).map(Duration::from_micros);
        Self { socket, watchdog }
    }

    /// We serve.
    pub(crate) fn ready(&self) {
        self.tell("READY=1");
    }

    /// We end; no more signs of life are given.
    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=Stopping; games go on");
    }

    /// Gives signs of life for as long as `pulse` answers in time, for ever. It goes through what has to work for us to be of use
    /// and gives a text for people.
    pub(crate) async fn beat(&self, pulse: impl AsyncFn() -> Option<String>) {
        if self.socket.is_none() {
            return std::future::pending().await;
        }
        let every = self.watchdog.map_or(STATUS_EVERY, |watchdog| watchdog / BEATS);
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut told = String::new();
        loop {
            ticks.tick().await;
            let Ok(Some(status)) = tokio::time::timeout(every, pulse()).await else {
                error!("no sign of life is given: a part of the program does not answer");
                continue;
            };
            if self.watchdog.is_some() {
                self.tell("WATCHDOG=1");
            }
            if told != status {
                self.tell(&format!("STATUS={status}"));
                told = status;
            }
        }
    }

    fn tell(&self, state: &str) {
        let Some(socket) = &self.socket else { return };
        // Nobody waits for a service manager that does not read; the next word may get through.
        if let Err(error) = socket.send(state.as_bytes()) {
            debug!(%error, state, "the service manager is not told");
        }
    }
}

/// A path, or with `@` in front a name without one.
fn connect(path: &[u8]) -> io::Result<UnixDatagram> {
    let address = match path.split_first() {
        Some((b'@', name)) => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::cell::Cell;

    use super::*;

    /// What is heard of a pulse within ten times the time in which one is expected.
    async fn heard(pulse: impl AsyncFn() -> Option<String>) -> Vec<String> {
        let name = format!("quarterdeck-test-{}", rand::random::<u64>());
        let theirs = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        theirs.set_nonblocking(true).unwrap();
        let watchdog = Duration::from_secs(3);
        let service =
            Service { socket: Some(connect(format!("@{name}").as_bytes()).unwrap()), watchdog: Some(watchdog) };
        let heard = Cell::new(Vec::new());
        let listen = async {
            loop {
                let mut buffer = [0; 200];
                while let Ok(length) = theirs.recv(&mut buffer) {
                    let mut all = heard.take();
                    all.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
                    heard.set(all);
                }
                // sleeps: the clock is paused
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let both = async { tokio::join!(service.beat(pulse), listen) };
        assert!(tokio::time::timeout(watchdog * 10, both).await.is_err());
        heard.take()
    }

    #[tokio::test(start_paused = true)]
    async fn signs_of_life_come_three_times_in_the_time_for_one_and_news_once() {
        let heard = heard(async || Some("3 games".to_owned())).await;
        let beats = heard.iter().filter(|state| *state == "WATCHDOG=1").count();
        assert!((29..=31).contains(&beats), "{beats}");
        assert_eq!(heard.iter().filter(|state| *state == "STATUS=3 games").count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_answer_or_answers_late_gives_no_sign_of_life() {
        assert_eq!(heard(async || None).await, Vec::<String>::new());
        assert_eq!(heard(async || std::future::pending().await).await, Vec::<String>::new());
        let heard = heard(async || {
            // sleeps: the clock is paused
            tokio::time::sleep(Duration::from_secs(2)).await;
            Some(String::new())
        });
        assert_eq!(heard.await, Vec::<String>::new());
    }

    #[tokio::test]
    async fn without_a_service_manager_nothing_is_told() {
        let service = Service { socket: None, watchdog: None };
        service.ready();
        service.stopping();
        assert!(tokio::time::timeout(Duration::ZERO, service.beat(async || None)).await.is_err());
    }
}
