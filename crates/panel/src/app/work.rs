//! Work that is done to its end although nobody waits for it any more: a handler is dropped with its connection, and what it has
//! begun must not stay half done.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

/// Pieces of work under way at once; more wait for one to end.
const WORK_MAX: u32 = 1024;
/// How long the end of the panel waits for them. A node has 15 s for its answer and 5 s for one more message.
const END_TIMEOUT: Duration = Duration::from_secs(25);

/// The pieces of work under way: each holds a permit until it has ended.
#[derive(Debug)]
pub(crate) struct Work(Arc<Semaphore>);

impl Default for Work {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(WORK_MAX as usize)))
    }
}

impl Work {
    /// Does something to its end, whoever waits for it. None when the panel is closed, or the work has panicked.
    pub(crate) async fn finish<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let permit = self.0.clone().acquire_owned().await.ok()?;
        let task = tokio::spawn(async move {
            let done = work.await;
            drop(permit);
            done
        });
        task.await.inspect_err(|error| tracing::error!(%error, "a request that changes something has failed")).ok()
    }

    /// Lets nothing new begin, and waits for what is under way.
    pub(crate) async fn close(&self) {
        // Permits are handed out in the order they are asked for, so nothing that asks later gets one.
        if tokio::time::timeout(END_TIMEOUT, self.0.acquire_many(WORK_MAX)).await.is_err() {
            tracing::error!("requests are still being worked on; the panel ends without waiting for them any longer");
        }
        self.0.close();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures_util::FutureExt;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn work_goes_on_when_nobody_waits_and_the_end_waits_for_it() {
        let work = Arc::new(Work::default());
        let (begin, begun) = oneshot::channel();
        let (go, gone) = oneshot::channel::<()>();
        let (end, mut ended) = oneshot::channel();
        let asked = tokio::spawn({
            let work = work.clone();
            async move {
                work.finish(async move {
                    begin.send(()).unwrap();
                    gone.await.unwrap();
                    end.send(()).unwrap();
                })
                .await
            }
        });
        begun.await.unwrap();
        asked.abort();
        assert!(asked.await.unwrap_err().is_cancelled());
        let mut closing = std::pin::pin!(work.close());
        assert!(closing.as_mut().now_or_never().is_none());
        assert!(ended.try_recv().is_err());
        go.send(()).unwrap();
        closing.await;
        ended.try_recv().unwrap();
        assert_eq!(work.finish(async {}).await, None);
    }

    #[tokio::test]
    async fn work_that_panics_takes_nothing_with_it() {
        let work = Work::default();
        assert_eq!(work.finish(async { std::hint::black_box(None::<u8>).unwrap() }).await, None);
        assert_eq!(work.finish(async { 1 }).await, Some(1));
    }
}
