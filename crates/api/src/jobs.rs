//! What the deployment does by itself from time to time. One runner for all: each job has a name, an interval with
//! jitter, a deadline, and metrics; every server runs all jobs, and a lock in the database lets one of them work.

mod checkpoints;
mod clients;
mod crypto_keys;
mod purge;
mod runner;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use rbac::RoleOptions;
use stdx::{Lifecycle, SharedClock, SharedRng};
use store::Full;
use telemetry::{DuplicateMetric, Registry};

use crate::gateway::StoreSink;
use crate::setup;

pub use purge::Retention;
use purge::{Purge, PurgeMetrics};
use runner::{Job, JobMetrics, Runner};

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// What jobs work with.
pub(crate) struct Jobs<'a> {
    pub(crate) store: &'a Full,
    pub(crate) records: &'a StoreSink,
    pub(crate) roles: RoleOptions,
    pub(crate) retention: Retention,
    pub(crate) clock: &'a SharedClock,
    pub(crate) rng: &'a SharedRng,
}

impl Jobs<'_> {
    /// Starts all jobs. They end with `lifecycle`.
    ///
    /// # Errors
    /// If the registry has their metrics already.
    pub(crate) fn start(
        self,
        registry: &mut Registry,
        lifecycle: &Lifecycle,
    ) -> Result<(), DuplicateMetric> {
        let metrics = JobMetrics::register(registry)?;
        let purge = Arc::new(Purge::new(
            self.store.clone(),
            self.clock.clone(),
            self.retention,
            PurgeMetrics::register(registry)?,
        ));
        let (store, clock, rng) = (self.store, self.clock, self.rng);
        let runner = Runner::new(metrics, clock.clone(), rng.clone());
        let records = self.records.clone();
        runner.start(
            Job {
                name: "sweep_interceptions",
                first: 5 * MINUTE,
                every: HOUR,
                deadline: 10 * MINUTE,
            },
            lifecycle,
            move || {
                let records = records.clone();
                async move { Ok(records.sweep().await? as u64) }
            },
        );
        checkpoints::start(store, clock, &runner, lifecycle);
        let at = (store.clone(), clock.clone());
        runner.start(
            Job { name: "partitions", first: HOUR, every: 6 * HOUR, deadline: MINUTE },
            lifecycle,
            move || {
                let (store, clock) = at.clone();
                async move { setup::ensure_partitions(&store, &clock).await.map(|()| 0) }
            },
        );
        let (at, roles) = ((store.clone(), clock.clone()), self.roles);
        runner.start(
            Job { name: "system_roles", first: HOUR, every: 6 * HOUR, deadline: MINUTE },
            lifecycle,
            move || {
                let (store, clock) = at.clone();
                async move { setup::reconcile_system_roles(&store, &clock, roles).await }
            },
        );
        let at = (store.clone(), clock.clone(), rng.clone());
        runner.start(
            Job {
                name: "crypto_keys",
                first: Duration::ZERO,
                every: 10 * MINUTE,
                deadline: MINUTE,
            },
            lifecycle,
            move || {
                let (store, clock, rng) = at.clone();
                async move { crypto_keys::rotate(&store, &clock, &rng).await }
            },
        );
        let at = (store.clone(), clock.clone(), rng.clone());
        runner.start(
            Job { name: "oauth2_clients", first: 10 * MINUTE, every: 6 * HOUR, deadline: MINUTE },
            lifecycle,
            move || {
                let (store, clock, rng) = at.clone();
                async move { clients::remove(&store, &clock, &rng).await }
            },
        );
        runner.start(
            Job { name: "purge", first: MINUTE, every: 10 * MINUTE, deadline: HOUR },
            lifecycle,
            move || {
                let purge = Arc::clone(&purge);
                async move { purge.run().await }
            },
        );
        Ok(())
    }
}
