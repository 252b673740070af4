//! Who has guessed too often: attempts to sign in wait longer and longer. No I/O; time is an argument, of a clock that
//! nobody sets: a pause is as long as it was said to be, whatever becomes of the date.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

/// The first pause; it doubles with every further attempt.
const PAUSE_MS_MIN: i64 = 2_000;
/// The longest pause.
const PAUSE_MS_MAX: i64 = 15 * 60 * 1000;
/// Attempts older than this are forgotten.
const FORGET_MS: i64 = 60 * 60 * 1000;
/// Keys remembered; above it, those that were quiet for longest are forgotten.
const KEYS_MAX: usize = 10_000;
/// How many are forgotten at once then.
const FORGOTTEN_AT_ONCE: usize = KEYS_MAX / 10;

#[derive(Clone, Copy, Debug)]
struct Attempts {
    count: u32,
    last_at: i64,
}

/// Attempts by key. An attempt counts when it begins, so that many at once are not free; success forgets them.
#[derive(Debug)]
pub(crate) struct Lockout<K> {
    free: u32,
    attempts: Mutex<HashMap<K, Attempts>>,
}

impl<K: Hash + Eq + Clone> Lockout<K> {
    /// So many attempts are free.
    pub(crate) fn new(free: u32) -> Self {
        Self { free, attempts: Mutex::default() }
    }

    /// Counts an attempt, or says for how many milliseconds none is allowed.
    pub(crate) fn attempt(&self, key: &K, now: i64) -> Result<(), i64> {
        let mut all = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all.get(key).filter(|attempts| now - attempts.last_at < FORGET_MS).copied();
        let before = before.unwrap_or(Attempts { count: 0, last_at: now });
        let wait = before.last_at.saturating_add(self.pause_ms(before.count)).saturating_sub(now);
        if wait > 0 {
            return Err(wait);
        }
        if all.len() >= KEYS_MAX && !all.contains_key(key) {
            forget(&mut all, now);
        }
        all.insert(key.clone(), Attempts { count: before.count.saturating_add(1), last_at: now });
        Ok(())
    }

    /// The attempt was none: it succeeded, and those before it of others stay counted.
    pub(crate) fn take_back(&self, key: &K) {
        if let Some(attempts) = self.attempts.lock().unwrap_or_else(PoisonError::into_inner).get_mut(key) {
            attempts.count = attempts.count.saturating_sub(1);
        }
    }

    /// The attempt succeeded, and so did those before it, as it were.
    pub(crate) fn succeeded(&self, key: &K) {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// How long to wait after so many attempts.
    fn pause_ms(&self, count: u32) -> i64 {
        // The first attempt never waits.
        match count.checked_sub(self.free.max(1)) {
            Some(over) => PAUSE_MS_MIN.saturating_mul(1 << over.min(20)).min(PAUSE_MS_MAX),
            None => 0,
        }
    }
}

fn forget<K: Hash + Eq + Clone>(all: &mut HashMap<K, Attempts>, now: i64) {
    all.retain(|_, attempts| now - attempts.last_at < FORGET_MS);
    if all.len() < KEYS_MAX {
        return;
    }
    let mut oldest: Vec<(i64, K)> = all.iter().map(|(key, attempts)| (attempts.last_at, key.clone())).collect();
    oldest.sort_unstable_by_key(|(last_at, _)| *last_at);
    for (_, key) in oldest.into_iter().take(FORGOTTEN_AT_ONCE) {
        all.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_success_ends_them() {
        let lockout = Lockout::new(3);
        for _ in 0..3 {
            assert_eq!(lockout.attempt(&"a", 0), Ok(()));
        }
        assert_eq!(lockout.attempt(&"a", 500), Err(1_500));
        assert_eq!(lockout.attempt(&"b", 500), Ok(()));
        assert_eq!(lockout.attempt(&"a", 2_000), Ok(()));
        assert_eq!(lockout.attempt(&"a", 5_999), Err(1));
        assert_eq!(lockout.attempt(&"a", 6_000), Ok(()));
        lockout.succeeded(&"a");
        assert_eq!(lockout.attempt(&"a", 6_000), Ok(()));
    }

    #[test]
    fn who_succeeds_between_guesses_takes_back_no_guess() {
        let lockout = Lockout::new(3);
        for _ in 0..2 {
            assert_eq!(lockout.attempt(&"a", 0), Ok(()), "a guess");
            assert_eq!(lockout.attempt(&"a", 0), Ok(()), "no guess");
            lockout.take_back(&"a");
        }
        assert_eq!(lockout.attempt(&"a", 0), Ok(()), "the third guess");
        assert!(lockout.attempt(&"a", 0).is_err());
    }

    #[test]
    fn no_pause_is_longer_than_the_longest_and_quiet_keys_are_forgotten() {
        let lockout = Lockout::new(0);
        let mut now = 0;
        for _ in 0..40 {
            assert_eq!(lockout.attempt(&(), now), Ok(()));
            let wait = lockout.attempt(&(), now).unwrap_err();
            assert!(wait <= PAUSE_MS_MAX);
            now += wait;
        }
        now += FORGET_MS;
        assert_eq!(lockout.attempt(&(), now), Ok(()));
        assert_eq!(lockout.attempt(&(), now), Err(PAUSE_MS_MIN));
    }

    #[test]
    fn memory_is_bounded_and_the_newest_stay() {
        let lockout = Lockout::new(0);
        for key in 0..=i64::try_from(KEYS_MAX).unwrap_or(0) {
            assert_eq!(lockout.attempt(&key, key), Ok(()));
        }
        assert!(lockout.attempts.lock().unwrap_or_else(PoisonError::into_inner).len() <= KEYS_MAX);
        let newest = i64::try_from(KEYS_MAX).unwrap_or(0);
        assert!(lockout.attempt(&newest, newest).is_err());
    }
}
