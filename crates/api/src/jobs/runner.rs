use std::borrow::Cow;
use std::time::Duration;

use stdx::{Lifecycle, SharedClock, SharedRng};
use store::Error;
use tokio::time::{Instant, sleep, timeout};

telemetry::metrics! {
    /// How jobs fare.
    pub(super) struct JobMetrics {
        /// When a job last ended well, in seconds since 1970; 0 until it did.
        pub last_success: Gauge["coderd_jobs_last_success_timestamp_seconds"] {
            job: Cow<'static, str>,
        },
        /// How long jobs took.
        pub duration: Histogram["coderd_jobs_duration_seconds"] {
            job: Cow<'static, str>,
            success: bool,
        } buckets = [0.01, 0.1, 1.0, 10.0, 60.0, 600.0],
        /// What jobs worked on: rows, keys, partitions.
        pub items: Counter["coderd_jobs_items_total"] {
            job: Cow<'static, str>,
        },
    }
}

/// When a job runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    /// Label of its metrics, name of its task.
    pub(super) name: &'static str,
    /// How long after the start for the first time.
    pub(super) first: Duration,
    /// From the end of a run to the next, give or take a tenth, so that servers that started together part.
    pub(super) every: Duration,
    /// A run that takes longer is given up; what it did not commit is rolled back.
    pub(super) deadline: Duration,
}

/// Runs jobs, each by itself: one that fails or hangs disturbs no other.
#[derive(Clone)]
pub(super) struct Runner {
    metrics: JobMetrics,
    clock: SharedClock,
    rng: SharedRng,
}

impl Runner {
    pub(super) const fn new(metrics: JobMetrics, clock: SharedClock, rng: SharedRng) -> Self {
        Self { metrics, clock, rng }
    }

    /// Runs a job again and again until the process stops.
    pub(super) fn start<F>(
        &self,
        job: Job,
        lifecycle: &Lifecycle,
        run: impl Fn() -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = Result<u64, Error>> + Send,
    {
        let (runner, stopping) = (self.clone(), lifecycle.stopping());
        runner.metrics.last_success.set(job.name.into(), 0);
        lifecycle.spawn(job.name, async move {
            let mut pause = job.first;
            loop {
                tokio::select! {
                    () = sleep(runner.jittered(pause)) => {}
                    () = stopping.wait() => return,
                }
                tokio::select! {
                    () = runner.run(job, run()) => {}
                    () = stopping.wait() => return,
                }
                pause = job.every;
            }
        });
    }

    async fn run(&self, job: Job, run: impl Future<Output = Result<u64, Error>>) {
        let began = Instant::now();
        let outcome = timeout(job.deadline, run).await;
        let took = began.elapsed();
        let success = matches!(outcome, Ok(Ok(_)));
        self.metrics.duration.observe_duration((job.name.into(), success), took);
        match outcome {
            Ok(Ok(items)) => {
                self.metrics.items.inc_by(job.name.into(), items);
                let now = self.clock.now().unix_timestamp();
                self.metrics.last_success.set(job.name.into(), now);
            }
            Ok(Err(error)) => {
                tracing::error!(job = job.name, error = %stdx::chain(&error), "a job failed; it is tried again");
            }
            Err(_) => {
                let limit = job.deadline.as_secs();
                tracing::error!(
                    job = job.name,
                    limit,
                    "a job was given up because it took too long; it is tried again"
                );
            }
        }
    }

    /// Give or take a tenth.
    fn jittered(&self, pause: Duration) -> Duration {
        let mut byte = [0];
        self.rng.fill(&mut byte);
        pause.mul_f64(0.9 + 0.2 * f64::from(byte[0]) / 255.0)
    }
}
