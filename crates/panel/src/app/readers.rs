//! Who is reading what nodes have kept. An answer may be megabytes, which wait in memory for whoever takes them slowly, so each
//! person has a few at a time; more wait for their turn.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wire::ids::UserId;

/// Answers one person can be taking at a time.
const AT_ONCE: usize = 4;
/// How long one more waits for its turn.
const WAIT: Duration = Duration::from_secs(15);

/// Everybody's turns.
#[derive(Debug, Default)]
pub(crate) struct Readers(Mutex<HashMap<UserId, Arc<Semaphore>>>);

impl Readers {
    /// Waits for a turn, which lasts until what is returned is dropped. None when none has come in time.
    pub(crate) async fn turn(&self, user: UserId) -> Option<OwnedSemaphorePermit> {
        let turns = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Whoever reads or waits holds theirs as well.
            all.retain(|_, turns| Arc::strong_count(turns) > 1);
            Arc::clone(all.entry(user).or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE))))
        };
        tokio::time::timeout(WAIT, turns.acquire_owned()).await.ok()?.ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn one_person_has_a_few_turns_and_takes_nobody_elses() {
        let readers = Readers::default();
        let (one, other) = (UserId(uuid::Uuid::from_u128(1)), UserId(uuid::Uuid::from_u128(2)));
        let mut turns = Vec::new();
        for _ in 0..AT_ONCE {
            turns.push(readers.turn(one).await.unwrap());
        }
        assert!(readers.turn(one).now_or_never().is_none());
        assert!(readers.turn(other).await.is_some());
        turns.pop();
        assert!(readers.turn(one).await.is_some());
        drop(turns);
        assert!(readers.turn(other).await.is_some());
        assert_eq!(readers.0.lock().unwrap().len(), 1);
    }
}
