//! The daemons that this process heard of, and what they hold back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use control::wire::{Heartbeat, SpoolDepth};
use telemetry::{DuplicateMetric, Registry};
use tokio::time::Instant;
use uuid::Uuid;

/// A daemon that was not heard of for so long is gone; heartbeats wait for a minute at most.
const GONE: Duration = Duration::from_secs(150);
/// Daemons that are remembered, against a holder of a key who makes up names.
const REMEMBERED: usize = 1_000;

telemetry::metrics! {
    /// What gateway daemons tell of themselves. Totals over the daemons that this process hears of; a daemon
    /// that changes over to another process counts in both for two minutes.
    pub struct DaemonMetrics {
        /// Gateway daemons that send heartbeats to this process.
        pub daemons: Gauge["coder_ai_gateway_daemons"] {},
        /// Facts in their spools that are not stored yet.
        pub records: Gauge["coder_ai_gateway_daemon_spool_records"] {},
        /// Bytes of their spools.
        pub bytes: Gauge["coder_ai_gateway_daemon_spool_bytes"] {},
        /// Age of the oldest fact in any of the spools.
        pub oldest: Gauge["coder_ai_gateway_daemon_spool_oldest_seconds"] {},
        /// Facts that they lost since each of them began.
        pub lost: Gauge["coder_ai_gateway_daemon_records_lost"] {},
    }
}

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Replicas {
    seen: Arc<Mutex<HashMap<Uuid, Seen>>>,
    metrics: DaemonMetrics,
}

#[derive(Debug)]
struct Seen {
    build: String,
    spool: SpoolDepth,
    at: Instant,
}

impl Replicas {
    pub(super) fn new(registry: &mut Registry) -> Result<Self, DuplicateMetric> {
        Ok(Self { seen: Arc::default(), metrics: DaemonMetrics::register(registry)? })
    }

    /// Notes what a daemon tells of itself.
    pub(super) fn heard(&self, beat: &Heartbeat, now: Instant) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let known = seen.get(&beat.replica);
        if known.is_none_or(|known| known.build != beat.build) {
            tracing::info!(replica = %beat.replica, build = beat.build, "a gateway daemon has come");
        }
        if known.is_none() && seen.len() >= REMEMBERED {
            let oldest = seen.iter().min_by_key(|(_, seen)| seen.at).map(|(replica, _)| *replica);
            oldest.map(|replica| seen.remove(&replica));
        }
        let told = Seen { build: beat.build.clone(), spool: beat.spool, at: now };
        seen.insert(beat.replica, told);
    }

    /// Brings the metrics up to now.
    pub(super) fn measure(&self, now: Instant) {
        let mut total = SpoolDepth::default();
        let count = {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.retain(|replica, seen| {
                let lives = now - seen.at < GONE;
                if !lives {
                    tracing::info!(%replica, build = seen.build, "a gateway daemon has gone");
                }
                lives
            });
            for Seen { spool, .. } in seen.values() {
                total.records = total.records.saturating_add(spool.records);
                total.bytes = total.bytes.saturating_add(spool.bytes);
                total.lost = total.lost.saturating_add(spool.lost);
                total.oldest_seconds = total.oldest_seconds.max(spool.oldest_seconds);
            }
            seen.len()
        };
        let shown = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.metrics.daemons.set((), shown(count as u64));
        self.metrics.records.set((), shown(total.records));
        self.metrics.bytes.set((), shown(total.bytes));
        self.metrics.oldest.set((), shown(total.oldest_seconds));
        self.metrics.lost.set((), shown(total.lost));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(replica: u128, records: u64, oldest_seconds: u64) -> Heartbeat {
        let spool = SpoolDepth { records, bytes: 10 * records, oldest_seconds, lost: 1 };
        Heartbeat {
            replica: Uuid::from_u128(replica),
            build: "v1".to_owned(),
            spool,
            after: None,
            wait_seconds: 0,
        }
    }

    fn shown(replicas: &Replicas, now: Instant) -> [i64; 5] {
        replicas.measure(now);
        let DaemonMetrics { daemons, records, bytes, oldest, lost } = &replicas.metrics;
        [daemons, records, bytes, oldest, lost].map(|gauge| gauge.get(&()))
    }

    #[test]
    fn totals_are_of_the_daemons_that_live() {
        let replicas = Replicas::new(&mut Registry::new()).unwrap();
        let start = Instant::now();
        assert_eq!(shown(&replicas, start), [0; 5]);
        replicas.heard(&beat(1, 5, 30), start);
        replicas.heard(&beat(2, 7, 9), start);
        assert_eq!(shown(&replicas, start), [2, 12, 120, 30, 2]);
        let later = start + GONE / 2;
        replicas.heard(&beat(2, 1, 1), later);
        assert_eq!(shown(&replicas, later), [2, 6, 60, 30, 2]);
        assert_eq!(shown(&replicas, start + GONE), [1, 1, 10, 1, 1]);
        let lots = SpoolDepth {
            records: u64::MAX,
            bytes: u64::MAX,
            oldest_seconds: u64::MAX,
            lost: u64::MAX,
        };
        replicas.heard(&Heartbeat { spool: lots, ..beat(3, 0, 0) }, start + GONE);
        let most = i64::MAX;
        assert_eq!(shown(&replicas, start + GONE), [2, most, most, most, most]);
    }

    #[test]
    fn made_up_names_push_out_the_oldest_only() {
        let replicas = Replicas::new(&mut Registry::new()).unwrap();
        let mut now = Instant::now();
        for replica in 0..=REMEMBERED as u128 {
            now += Duration::from_millis(1);
            replicas.heard(&beat(replica, 1, 0), now);
        }
        assert_eq!(shown(&replicas, now)[0], i64::try_from(REMEMBERED).unwrap());
        let seen = replicas.seen.lock().unwrap();
        assert!(!seen.contains_key(&Uuid::nil()) && seen.contains_key(&Uuid::from_u128(1)));
    }
}
