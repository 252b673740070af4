//! What a server used over time: an hour second by second, a day minute by minute. Minutes are also written down, so that a daemon
//! after us has them. A server that is offline adds nothing.

use std::collections::VecDeque;
use std::path::Path;

use wire::history::StatsSample;
use wire::server::Stats;

use crate::server::documents::{Change, Documents};

const FILE_NAME: &str = "figures.jsonl";
/// Samples a second apart that are kept: an hour.
const SECONDS_MAX: usize = 3600;
/// Samples a minute apart that are kept: a day.
const MINUTES_MAX: usize = 24 * 60;
const SECOND_MS: u64 = 1000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;

/// See the module.
#[derive(Debug)]
pub(crate) struct Figures {
    seconds: VecDeque<StatsSample>,
    minutes: VecDeque<StatsSample>,
    /// The minute under way: when it began, and what its samples add up to.
    minute: Option<Minute>,
    file: Documents,
}

#[derive(Debug)]
struct Minute {
    from_ms: u64,
    count: u32,
    cpu: f64,
    /// Of memory the most, as that is what limits are about; of what only grows, the last.
    newest: StatsSample,
}

impl Figures {
    /// What an earlier daemon wrote down in a server's folder, as far as it is of the day before `now_ms`. What it had by the second
    /// begins with what there is by the minute. Blocking.
    pub(crate) fn load(dir: &Path, now_ms: u64) -> Self {
        let (file, written) = Documents::load::<StatsSample>(dir, FILE_NAME, 2 * MINUTES_MAX);
        let mut figures = Self { seconds: VecDeque::new(), minutes: VecDeque::new(), minute: None, file };
        let is_of = |sample: &StatsSample, ms: u64| sample.at < now_ms && now_ms - sample.at <= ms;
        for sample in written.into_iter().filter(|sample| is_of(sample, DAY_MS)) {
            if figures.minutes.back().is_some_and(|last| last.at >= sample.at) {
                figures.minutes.clear();
                figures.seconds.clear();
            }
            keep(&mut figures.minutes, sample, MINUTES_MAX);
            if is_of(&sample, HOUR_MS) {
                keep(&mut figures.seconds, sample, SECONDS_MAX);
            }
        }
        figures
    }

    /// Adds a sample, and gives what there is to write down. One that is not newer than the last one, as when the clock was set
    /// back, begins a new history.
    pub(crate) fn add(&mut self, at_ms: u64, stats: &Stats) -> serde_json::Result<Option<Change>> {
        let sample = StatsSample {
            at: at_ms,
            cpu: stats.cpu_absolute,
            memory: stats.memory_bytes,
            memory_limit: stats.memory_limit_bytes,
            rx: stats.network.rx_bytes,
            tx: stats.network.tx_bytes,
            disk: stats.disk_bytes,
        };
        if self.seconds.back().is_some_and(|last| last.at >= at_ms) {
            self.seconds.clear();
            self.minutes.clear();
            self.minute = None;
        }
        keep(&mut self.seconds, sample, SECONDS_MAX);
        let from_ms = at_ms - at_ms % MINUTE_MS;
        match &mut self.minute {
            Some(minute) if minute.from_ms == from_ms => {
                minute.count += 1;
                minute.cpu += sample.cpu;
                minute.newest = StatsSample { memory: minute.newest.memory.max(sample.memory), ..sample };
            }
            before => {
                let ended = before.replace(Minute { from_ms, count: 1, cpu: sample.cpu, newest: sample });
                if let Some(minute) = ended {
                    let sample = minute.sample();
                    keep(&mut self.minutes, sample, MINUTES_MAX);
                    return self.file.add(&sample, self.minutes.iter()).map(Some);
                }
            }
        }
        Ok(None)
    }

    /// What there was to write down did not get into the file.
    pub(crate) fn failed(&mut self) {
        self.file.failed();
    }

    /// The samples after a time, a second or a minute apart; none for any other step.
    pub(crate) fn since(&self, step_s: u64, since_ms: u64) -> Option<Vec<StatsSample>> {
        let is_newer = |sample: &&StatsSample| sample.at > since_ms;
        match step_s {
            1 => Some(self.seconds.iter().filter(is_newer).copied().collect()),
            60 => {
                let under_way = self.minute.as_ref().map(Minute::sample);
                Some(self.minutes.iter().chain(&under_way).filter(is_newer).copied().collect())
            }
            _ => None,
        }
    }
}

impl Minute {
    fn sample(&self) -> StatsSample {
        // With three decimals, as a single sample has them.
        let cpu = (self.cpu / f64::from(self.count.max(1)) * 1000.0).round() / 1000.0;
        StatsSample { cpu, ..self.newest }
    }
}

fn keep(samples: &mut VecDeque<StatsSample>, sample: StatsSample, max: usize) {
    if samples.len() == max {
        samples.pop_front();
    }
    samples.push_back(sample);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn stats(cpu: f64, memory: u64) -> Stats {
        Stats { cpu_absolute: cpu, memory_bytes: memory, ..Stats::default() }
    }

    fn empty() -> Figures {
        Figures::load(Path::new("/nonexistent"), 0)
    }

    #[test]
    fn minutes_outlive_the_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let mut figures = Figures::load(dir.path(), 0);
        let day_s = 24 * 60 * 60;
        for second in (1..=2 * day_s).step_by(20) {
            if let Some(change) = figures.add(second * SECOND_MS, &stats(1.0, second)).unwrap() {
                change.write(dir.path()).unwrap();
            }
        }
        let now_ms = 2 * DAY_MS + 10 * MINUTE_MS;
        let again = Figures::load(dir.path(), now_ms);
        let minutes = again.since(60, 0).unwrap();
        assert!(minutes.len() > MINUTES_MAX - 15 && now_ms - minutes[0].at <= DAY_MS, "{}", minutes.len());
        assert_eq!(minutes, figures.since(60, minutes[0].at - 1).unwrap()[..minutes.len()]);
        let last_hour = again.since(1, 0).unwrap();
        assert!((45..=50).contains(&last_hour.len()), "{}", last_hour.len());
        // The file does not grow for ever.
        let documents = std::fs::read_to_string(dir.path().join(FILE_NAME)).unwrap().lines().count();
        assert!(documents <= 2 * MINUTES_MAX, "{documents}");
        // What a clock that runs ahead has written is not of the day before.
        assert!(Figures::load(dir.path(), DAY_MS / 2).since(60, DAY_MS).unwrap().is_empty());
    }

    #[test]
    fn an_hour_of_seconds_and_a_day_of_minutes_are_kept() {
        let mut figures = empty();
        let day_s = 24 * 60 * 60;
        for second in 1..=day_s + 7200 {
            let _ = figures.add(second * SECOND_MS, &stats(1.0, second));
        }
        let seconds = figures.since(1, 0).unwrap();
        assert_eq!((seconds.len(), seconds[0].at), (3600, (day_s + 3601) * SECOND_MS));
        let minutes = figures.since(60, 0).unwrap();
        assert_eq!(minutes.len(), MINUTES_MAX + 1);
        assert_eq!(figures.since(1, (day_s + 7198) * SECOND_MS).unwrap().len(), 2);
        assert!(figures.since(2, 0).is_none());
    }

    #[test]
    fn a_minute_is_the_mean_of_processor_time_and_the_most_memory() {
        let mut figures = empty();
        for (second, cpu, memory) in [(0, 10.0, 5), (1, 20.0, 9), (2, 30.0, 7), (60, 99.0, 1)] {
            let _ = figures.add(MINUTE_MS + second * SECOND_MS, &stats(cpu, memory));
        }
        let minutes = figures.since(60, 0).unwrap();
        let shown: Vec<_> = minutes.iter().map(|sample| (sample.at, sample.cpu, sample.memory)).collect();
        assert_eq!(shown, [(MINUTE_MS + 2000, 20.0, 9), (2 * MINUTE_MS, 99.0, 1)]);
    }

    #[test]
    fn a_clock_that_was_set_back_begins_anew() {
        let mut figures = empty();
        let _ = figures.add(5000, &stats(1.0, 1));
        let _ = figures.add(4000, &stats(2.0, 2));
        let seconds = figures.since(1, 0).unwrap();
        assert_eq!(seconds.iter().map(|sample| sample.at).collect::<Vec<_>>(), [4000]);
    }
}
