//! Who is reading what nodes have kept. An answer may be megabytes, which wait in memory for whoever takes them slowly, or go on for
//! minutes, so each person has a few at a time. More wait for their turn, if that comes soon.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wire::ids::UserId;

/// Answers from the log that one person can be taking at a time, and how long one more waits for its turn.
const READING: (usize, Duration) = (4, Duration::from_secs(15));
/// The same for lines as they come: nobody waits for the end of these.
const FOLLOWING: (usize, Duration) = (8, Duration::ZERO);

/// Everybody's turns at something.
#[derive(Debug)]
pub(crate) struct Turns {
    at_once: usize,
    wait: Duration,
    taken: Mutex<HashMap<UserId, Arc<Semaphore>>>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Readers {
    /// For what was printed.
    pub(crate) reading: Turns,
    /// For what is printed from now on.
    pub(crate) following: Turns,
}

impl Default for Readers {
    fn default() -> Self {
        Self { reading: Turns::new(READING), following: Turns::new(FOLLOWING) }
    }
}

impl Turns {
    fn new((at_once, wait): (usize, Duration)) -> Self {
        Self { at_once, wait, taken: Mutex::default() }
    }

    /// Waits for a turn, which lasts until what is returned is dropped. None when none has come in time.
    pub(crate) async fn turn(&self, user: UserId) -> Option<OwnedSemaphorePermit> {
        let turns = {
            let mut all = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            // Whoever reads or waits holds theirs as well.
            all.retain(|_, turns| Arc::strong_count(turns) > 1);
            Arc::clone(all.entry(user).or_insert_with(|| Arc::new(Semaphore::new(self.at_once))))
        };
        tokio::time::timeout(self.wait, turns.acquire_owned()).await.ok()?.ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn one_person_has_a_few_turns_and_takes_nobody_elses() {
        let Readers { reading: readers, following } = Readers::default();
        let (one, other) = (UserId(uuid::Uuid::from_u128(1)), UserId(uuid::Uuid::from_u128(2)));
        let mut turns = Vec::new();
        for _ in 0..READING.0 {
            turns.push(readers.turn(one).await.unwrap());
        }
        assert!(readers.turn(one).now_or_never().is_none());
        assert!(readers.turn(other).await.is_some());
        turns.pop();
        assert!(readers.turn(one).await.is_some());
        drop(turns);
        assert!(readers.turn(other).await.is_some());
        let mut followed = Vec::new();
        for _ in 0..FOLLOWING.0 {
            followed.push(following.turn(one).await.unwrap());
        }
        assert!(following.turn(one).await.is_none());
        assert_eq!(readers.taken.lock().unwrap().len(), 1);
    }
}
