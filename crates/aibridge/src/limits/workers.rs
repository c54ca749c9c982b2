//! Where large bodies are read.
//!
//! Reading 1 MiB of JSON takes 1 to 2 ms, 32 MiB up to 150 ms (release build, two cores). On the thread
//! that serves the sockets that would be a pause for everybody, so it is done beside it, on few threads: a
//! flood of large requests waits for itself and not in front of small ones.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// Bodies from this length on are not read on a thread that serves sockets.
pub(crate) const LARGE_BYTES: usize = 256 * 1024;

/// A few threads for work that takes long.
#[derive(Clone, Debug)]
pub(crate) struct Workers {
    free: Arc<Semaphore>,
}

impl Workers {
    /// Half of the processors, at least one.
    pub(super) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { free: Arc::new(Semaphore::new((processors / 2).max(1))) }
    }

    /// Waits for a free thread, at most for `patience`.
    pub(crate) async fn place(&self, patience: Duration) -> Option<Place> {
        let waiting = timeout(patience, Arc::clone(&self.free).acquire_owned());
        waiting.await.ok()?.ok().map(|permit| Place { _permit: permit })
    }
}

/// A thread that is free.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Place {
    /// Does `work` there. What began ends, also if nobody waits for it any more. Nothing comes back only
    /// when the runtime is going down.
    pub(crate) async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let done = spawn_blocking(move || {
            let _taken = self;
            work()
        });
        match done.await {
            Ok(result) => Some(result),
            Err(error) => match error.try_into_panic() {
                // As if it had happened here.
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_waits_for_a_free_thread_but_not_for_ever() {
        let workers = Workers { free: Arc::new(Semaphore::new(1)) };
        let (release, held) = std::sync::mpsc::channel::<()>();
        let (begun, started) = tokio::sync::oneshot::channel();
        let first = async {
            let place = workers.place(Duration::from_secs(9)).await.unwrap();
            let work = move || {
                let _ = begun.send(());
                held.recv().unwrap();
                1
            };
            place.run(work).await
        };
        let others = async {
            started.await.unwrap();
            assert!(workers.place(Duration::from_millis(10)).await.is_none());
            release.send(()).unwrap();
            workers.place(Duration::from_secs(9)).await.unwrap().run(|| 3).await
        };
        assert_eq!(tokio::join!(first, others), (Some(1), Some(3)));
    }
}
