//! A viewer of the protocol with numbers who comes back whenever it is cut off, goes on behind its last line, fetches what a gap names,
//! and counts every line that is missing, repeated or out of order.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use e2e::{DEADLINE, Deck, Rest};
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tokio_util::sync::CancellationToken;

/// Pause before another try to come back.
const PAUSE: Duration = Duration::from_millis(15);

/// What a viewer has seen so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Numbered lines of the game.
    pub(crate) lines: u64,
    /// Numbers that were left out, by the game's own numbering, and not named by a gap that cannot be fetched.
    pub(crate) lost: u64,
    /// Numbers of the console or of the game that came again, or late.
    pub(crate) repeated: u64,
    /// Gaps that were named, and how many lines were fetched for them.
    pub(crate) gaps: u64,
    pub(crate) fetched: u64,
    /// Lines of the game that were named as no longer to be had.
    pub(crate) expired: u64,
    /// The game's next number.
    pub(crate) next: u64,
    /// Connections that got as far as being attached.
    pub(crate) attached: u64,
    /// Lines since it was attached last.
    pub(crate) since_attached: u64,
    /// How the last connection ended, when it was told.
    pub(crate) closed: Option<u16>,
    /// Microseconds from print to here, of lines that carry the time.
    pub(crate) delays_us: Vec<u32>,
    console_next: u64,
    named: bool,
}

/// See the module. It ends when dropped.
pub(crate) struct Viewer {
    seen: Arc<Mutex<Seen>>,
    changed: watch::Receiver<()>,
    end: CancellationToken,
}

impl Viewer {
    /// Begins with the oldest line there is.
    pub(crate) fn of(deck: &Deck, server: &str) -> Self {
        Self::with(deck, server, true)
    }

    /// Begins with the next line.
    pub(crate) fn of_new_lines(deck: &Deck, server: &str) -> Self {
        Self::with(deck, server, false)
    }

    fn with(deck: &Deck, server: &str, from_start: bool) -> Self {
        let (tell, changed) = watch::channel(());
        let (seen, end) = (Arc::<Mutex<Seen>>::default(), CancellationToken::new());
        let place = Place { rest: deck.rest(), server: server.to_owned(), from_start, seen: seen.clone(), tell };
        let ended = end.clone();
        tokio::spawn(async move { ended.run_until_cancelled(Box::pin(place.look())).await });
        Self { seen, changed, end }
    }

    /// What it has seen.
    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the delays that were measured since the last time.
    pub(crate) fn take_delays(&self) -> Vec<u32> {
        std::mem::take(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner).delays_us)
    }

    /// Waits until it has seen something.
    ///
    /// # Panics
    /// When that does not come in time.
    pub(crate) async fn until(&self, what: &str, reached: impl Fn(&Seen) -> bool) -> Seen {
        self.within(DEADLINE, what, reached).await
    }

    /// The same with a deadline of its own.
    pub(crate) async fn within(&self, limit: Duration, what: &str, reached: impl Fn(&Seen) -> bool) -> Seen {
        let (mut changed, until) = (self.changed.clone(), Instant::now() + limit);
        loop {
            changed.mark_unchanged();
            {
                let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
                if reached(&seen) {
                    return seen.clone();
                }
            }
            let change = tokio::time::timeout_at(until, changed.changed()).await;
            assert!(matches!(change, Ok(Ok(()))), "a viewer never saw {what}: {:?}", self.seen());
        }
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

/// A frame as it comes; what is not looked at is left out.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow, default)]
    args: Vec<Cow<'a, str>>,
    seq: Option<u64>,
    #[serde(borrow)]
    kind: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Gap {
    from: u64,
    to: u64,
}

#[derive(Deserialize)]
struct Attached {
    next: u64,
}

struct Place {
    rest: Rest,
    server: String,
    from_start: bool,
    seen: Arc<Mutex<Seen>>,
    tell: watch::Sender<()>,
}

pub(crate) type Broken = Box<dyn std::error::Error + Send + Sync>;

/// A connection of the protocol with numbers whose `auth` is on its way.
pub(crate) type Connection = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Gets a token, connects and says `auth`, without waiting for its answer.
pub(crate) async fn connect(rest: &Rest, server: &str) -> Result<Connection, Broken> {
    let path = format!("/api/client/servers/{server}/websocket");
    let answer = rest.request(reqwest::Method::GET, &path).send().await?.error_for_status()?.bytes().await?;
    let answer: serde_json::Value = serde_json::from_slice(&answer)?;
    let text = |name: &str| answer["data"][name].as_str().unwrap_or_default().to_owned();
    let (token, url) = (text("token"), text("socket"));
    let mut request = url.into_client_request()?;
    request.headers_mut().insert("Sec-WebSocket-Protocol", "quarterdeck.v1".parse()?);
    let (mut stream, _) = tokio_tungstenite::connect_async(request).await?;
    stream.send(Message::text(json!({ "event": "auth", "args": [token] }).to_string())).await?;
    Ok(stream)
}

impl Place {
    async fn look(self) {
        loop {
            // Why it was cut off does not matter here: it comes back.
            let _ = self.converse().await;
            self.tell.send_replace(());
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn converse(&self) -> Result<(), Broken> {
        let mut stream = connect(&self.rest, &self.server).await?;
        let from = {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            match (seen.attached, self.from_start) {
                (0, false) => json!({ "last": 0 }),
                (0, true) => json!({ "last": 1_000_000 }),
                _ => json!({ "after": seen.console_next.saturating_sub(1) }),
            }
        };
        stream.send(Message::text(json!({ "event": "attach", "args": [from.to_string()] }).to_string())).await?;
        while let Some(message) = stream.next().await {
            match message? {
                Message::Text(text) => {
                    let frame: Frame<'_> = serde_json::from_str(text.as_str())?;
                    if let Some(gap) = self.take(&frame)? {
                        self.fetch(&gap).await?;
                    }
                }
                Message::Close(frame) => {
                    self.note(|seen| seen.closed = frame.map(|frame| frame.code.into()));
                    return Ok(());
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn note(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        self.tell.send_replace(());
    }

    /// Counts a frame; a gap is to be fetched.
    fn take(&self, frame: &Frame<'_>) -> Result<Option<Gap>, Broken> {
        let argument = frame.args.first().map(AsRef::as_ref).unwrap_or_default();
        match (frame.event.as_ref(), frame.seq) {
            ("console output", Some(seq)) => {
                let from_game = frame.kind.as_deref() == Some("output");
                self.note(|seen| seen.line(seq, from_game, argument));
            }
            ("attached", _) => {
                let attached: Attached = serde_json::from_str(argument)?;
                self.note(|seen| {
                    if seen.attached == 0 {
                        seen.console_next = attached.next;
                    }
                    seen.attached += 1;
                    seen.since_attached = 0;
                });
            }
            // A token of the moment in which the node started: another one is fetched, as clients do.
            ("jwt error", _) => return Err(argument.into()),
            ("gap", _) => return Ok(Some(serde_json::from_str(argument)?)),
            _ => {}
        }
        Ok(None)
    }

    /// Fetches the lines that a gap stands for. What cannot be had there either is named again, and lost for good.
    async fn fetch(&self, gap: &Gap) -> Result<(), Broken> {
        self.note(|seen| seen.gaps += 1);
        let mut next = gap.from.max(self.seen.lock().unwrap_or_else(PoisonError::into_inner).console_next);
        while next < gap.to {
            let after = next.checked_sub(1).map_or_else(String::new, |after| format!("after={after}&"));
            let limit = (gap.to - next).min(5000);
            let path = format!("/api/client/servers/{}/console/lines?{after}limit={limit}", self.server);
            let answer =
                self.rest.request(reqwest::Method::GET, &path).send().await?.error_for_status()?.bytes().await?;
            let answer: serde_json::Value = serde_json::from_slice(&answer)?;
            let part = &answer["attributes"];
            let gone = part["gaps"].as_array().and_then(|gaps| gaps.last()).and_then(|gap| gap["to"].as_u64());
            let lines = part["lines"].as_array().cloned().unwrap_or_default();
            self.note(|seen| {
                seen.named |= gone.is_some();
                for line in lines.iter().filter(|line| line["seq"].as_u64().is_some_and(|seq| seq < gap.to)) {
                    seen.fetched += 1;
                    let from_game = line["kind"] == "output";
                    seen.line(line["seq"].as_u64().unwrap_or(0), from_game, line["text"].as_str().unwrap_or_default());
                }
            });
            let last = lines.last().and_then(|line| line["seq"].as_u64()).map(|seq| seq + 1);
            match last.max(gone) {
                Some(further) if further > next => next = further,
                _ => break,
            }
        }
        self.note(|seen| seen.console_next = seen.console_next.max(gap.to));
        Ok(())
    }
}

impl Seen {
    fn line(&mut self, seq: u64, from_game: bool, text: &str) {
        if seq < self.console_next {
            self.repeated += 1;
            return;
        }
        self.console_next = seq + 1;
        let Some(number) = text.strip_prefix("line ").filter(|_| from_game) else { return };
        let Some(number) = number.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()) else {
            return;
        };
        if number < self.next {
            self.repeated += 1;
        } else {
            let left_out = if self.lines == 0 { 0 } else { number - self.next };
            if std::mem::take(&mut self.named) {
                self.expired += left_out;
            } else {
                self.lost += left_out;
            }
            self.next = number + 1;
        }
        self.lines += 1;
        self.since_attached += 1;
        if let Some(printed) = text.split_once(" t=").and_then(|(_, rest)| rest.split(' ').next()?.parse::<u64>().ok())
        {
            let delay = monotonic_ns().saturating_sub(printed) / 1000;
            self.delays_us.push(u32::try_from(delay).unwrap_or(u32::MAX));
        }
    }
}

fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// The delay that this share (0.99) of them does not exceed.
pub(crate) fn percentile(delays_us: &mut [u32], share: f64) -> Duration {
    if delays_us.is_empty() {
        return Duration::ZERO;
    }
    delays_us.sort_unstable();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index"
    )]
    let at = (delays_us.len() as f64 * share) as usize;
    Duration::from_micros(delays_us[at.min(delays_us.len() - 1)].into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(lines: &[(u64, u64)]) -> Seen {
        let mut seen = Seen::default();
        for (seq, number) in lines {
            seen.line(*seq, true, &format!("line {number}"));
        }
        seen
    }

    #[test]
    fn what_is_left_out_repeated_or_late_is_counted() {
        let counts = |lines: &[(u64, u64)]| {
            let seen = seen(lines);
            (seen.lines, seen.lost, seen.repeated)
        };
        assert_eq!(counts(&[(5, 10), (6, 11), (8, 12)]), (3, 0, 0));
        assert_eq!(counts(&[(5, 10), (6, 13)]), (2, 2, 0));
        assert_eq!(counts(&[(5, 10), (5, 10), (6, 11)]), (2, 0, 1));
        assert_eq!(counts(&[(5, 10), (6, 11), (7, 10)]), (3, 0, 1));
    }

    #[test]
    fn what_a_gap_has_named_is_not_lost() {
        let mut seen = seen(&[(5, 10)]);
        seen.named = true;
        seen.line(20, true, "line 25");
        assert_eq!((seen.lost, seen.expired), (0, 14));
        seen.line(21, true, "line 27");
        assert_eq!((seen.lost, seen.expired), (1, 14));
    }

    #[test]
    fn the_slowest_counts() {
        assert_eq!(percentile(&mut (1..=100).collect::<Vec<_>>(), 0.99), Duration::from_micros(100));
        assert_eq!(percentile(&mut [], 0.99), Duration::ZERO);
    }
}
