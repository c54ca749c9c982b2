use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

type Closer = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// Starts and ends everything that a process runs.
///
/// Tasks are spawned through it, so that each has a name and an end. Parts that need a last step register
/// a closer; [`Lifecycle::stop`] asks all tasks to end, waits for them, then runs the closers in reverse
/// order of registration, each with its own deadline. Stopping twice is harmless, and stopping after half
/// a start unwinds exactly what was started.
#[derive(Clone)]
pub struct Lifecycle(Arc<Inner>);

struct Inner {
    token: CancellationToken,
    tasks: TaskTracker,
    closers: Mutex<Vec<(&'static str, Duration, Closer)>>,
}

/// Tells a task that it is time to end.
#[derive(Clone, Debug)]
pub struct Stopping(CancellationToken);

impl Stopping {
    /// Resolves when the process has begun to stop. Safe to use in `select!`.
    pub async fn wait(&self) {
        self.0.cancelled().await;
    }

    /// Whether the process has begun to stop.
    #[must_use]
    pub fn begun(&self) -> bool {
        self.0.is_cancelled()
    }
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lifecycle").field("tasks", &self.0.tasks.len()).finish_non_exhaustive()
    }
}

impl Lifecycle {
    /// Nothing runs yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Inner {
            token: CancellationToken::new(),
            tasks: TaskTracker::new(),
            closers: Mutex::new(Vec::new()),
        }))
    }

    /// Runs `task` until it returns. It must watch [`Lifecycle::stopping`] if it does not end by itself.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let span = tracing::info_span!("task", name);
        let work = self.0.tasks.track_future(task.instrument(span));
        tokio::spawn(work);
    }

    /// The same without a span around it, which would be entered at every poll: for tasks of which there
    /// are thousands, and that write no log lines of their own.
    #[expect(clippy::disallowed_methods, reason = "as above")]
    pub fn spawn_quietly<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        tokio::spawn(self.0.tasks.track_future(task));
    }

    /// The signal that the process has begun to stop.
    #[must_use]
    pub fn stopping(&self) -> Stopping {
        Stopping(self.0.token.clone())
    }

    /// Registers a last step, run by [`Lifecycle::stop`] once all tasks have ended, newest first.
    pub fn on_stop<F, Fut>(&self, name: &'static str, deadline: Duration, closer: F)
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let mut closers = self.0.closers.lock().unwrap_or_else(PoisonError::into_inner);
        closers.push((name, deadline, Box::new(move || Box::pin(closer()))));
    }

    /// Asks everything to end without waiting for it.
    pub fn begin_stop(&self) {
        self.0.token.cancel();
    }

    /// Ends everything: signal, wait for the tasks up to `deadline`, then the closers in reverse order.
    pub async fn stop(&self, deadline: Duration) {
        self.begin_stop();
        self.0.tasks.close();
        if tokio::time::timeout(deadline, self.0.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = self.0.tasks.len(), "tasks did not end in time");
        }
        loop {
            let next = self.0.closers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some((name, deadline, closer)) = next else {
                break;
            };
            if tokio::time::timeout(deadline, closer()).await.is_err() {
                tracing::warn!(name, "did not close in time");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stop_waits_for_tasks_then_closes_in_reverse() {
        let lifecycle = Lifecycle::new();
        let seen = Arc::new(Mutex::new(Vec::new()));
        for name in ["first", "second"] {
            let seen = Arc::clone(&seen);
            lifecycle.on_stop(name, Duration::from_secs(1), move || async move {
                seen.lock().unwrap().push(name);
            });
        }
        let (stopping, log) = (lifecycle.stopping(), Arc::clone(&seen));
        lifecycle.spawn("task", async move {
            stopping.wait().await;
            log.lock().unwrap().push("task");
        });
        lifecycle.stop(Duration::from_secs(5)).await;
        lifecycle.stop(Duration::from_secs(5)).await;
        assert_eq!(*seen.lock().unwrap(), ["task", "second", "first"]);
    }
}
