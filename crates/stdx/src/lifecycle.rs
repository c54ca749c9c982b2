use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
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
    signals: Arc<Signals>,
    hurry_within: OnceLock<Duration>,
    tasks: TaskTracker,
    closers: Mutex<Vec<(&'static str, Duration, Closer)>>,
}

/// Tells a task that it is time to end.
#[derive(Clone, Debug)]
pub struct Stopping(Arc<Signals>);

/// Shared as a whole: cloning or dropping a token takes its lock, and every request has a few.
#[derive(Debug, Default)]
struct Signals {
    token: CancellationToken,
    hurry: CancellationToken,
}

impl Stopping {
    /// Resolves when the process has begun to stop. Safe to use in `select!`.
    pub async fn wait(&self) {
        self.0.token.cancelled().await;
    }

    /// Resolves when the process must end without the time that it usually takes.
    pub async fn hurried(&self) {
        self.0.hurry.cancelled().await;
    }

    /// Whether the process has begun to stop.
    #[must_use]
    pub fn begun(&self) -> bool {
        self.0.token.is_cancelled()
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
            signals: Arc::default(),
            hurry_within: OnceLock::new(),
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
        Stopping(Arc::clone(&self.0.signals))
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
        self.0.signals.token.cancel();
    }

    /// The same, and nobody may take their time: what serves others is cut off, and [`Lifecycle::stop`] waits
    /// for tasks for no longer than `within`. The first call counts.
    pub fn hurry(&self, within: Duration) {
        self.0.hurry_within.get_or_init(|| within);
        self.0.signals.hurry.cancel();
        self.begin_stop();
    }

    /// Ends everything: signal, wait for the tasks up to `deadline`, then the closers in reverse order.
    pub async fn stop(&self, deadline: Duration) {
        self.begin_stop();
        self.0.tasks.close();
        let over = async {
            tokio::select! {
                () = tokio::time::sleep(deadline) => {}
                () = async {
                    self.0.signals.hurry.cancelled().await;
                    let within = self.0.hurry_within.get().copied().unwrap_or_default();
                    tokio::time::sleep(within).await;
                } => {}
            }
        };
        let in_time = tokio::select! {
            biased;
            () = self.0.tasks.wait() => true,
            () = over => false,
        };
        if !in_time {
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
    async fn who_is_hurried_gets_little_time() {
        let lifecycle = Lifecycle::new();
        lifecycle.spawn("stubborn", std::future::pending());
        let stopping = lifecycle.stopping();
        let began = tokio::time::Instant::now();
        let hurry = async {
            stopping.wait().await;
            lifecycle.hurry(Duration::from_millis(20));
            lifecycle.hurry(Duration::from_mins(1));
            stopping.hurried().await;
        };
        tokio::join!(lifecycle.stop(Duration::from_mins(1)), hurry);
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(20) && took < Duration::from_secs(30), "{took:?}");
    }

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
