//! Removal of what is old, table by table: one that fails keeps none of the others from going on.

use std::borrow::Cow;
use std::time::Duration;

use rbac::system;
use stdx::SharedClock;
use store::audit_chain::DeleteOldAuditLogs;
use store::locks::{Lock, TryAcquire};
use store::purge::{
    BATCH_MAX, DeleteExpiredApiKeys, DeleteExpiredCodes, DeleteExpiredTokens, DeleteOldAppSessions,
    DeleteOldConnectionLogs, DeleteOldInterceptions, DeleteOldTelemetryLocks, DeleteStaleReplicas,
    DeleteUnseenProvisioners, DropOldMonths, MeasureTables,
};
use store::{Call, Error, Full, Query, Store as _, Tx, TxOptions};
use time::OffsetDateTime;
use tokio::time::Instant;

const DAY: Duration = Duration::from_hours(24);
/// How long one table may take of one run.
const BUDGET: Duration = Duration::from_mins(5);
/// Interceptions have up to dozens of records each: fewer of them to a batch.
const INTERCEPTIONS: i64 = 1_000;

telemetry::metrics! {
    /// What is removed.
    pub(super) struct PurgeMetrics {
        /// Time of a run.
        pub iteration: Histogram["coderd_dbpurge_iteration_duration_seconds"] {
            success: bool,
        } buckets = [1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0],
        /// Rows that were removed and committed.
        pub purged: Counter["coderd_dbpurge_records_purged_total"] {
            record_type: Cow<'static, str>,
        },
        /// How long rows are kept, in seconds; 0 is for ever.
        pub retention: Gauge["coderd_dbpurge_retention_seconds"] {
            record_type: Cow<'static, str>,
        },
        /// Room that rows take in the database, with their indexes: what grows without end shows here.
        pub bytes: Gauge["coderd_dbpurge_table_bytes"] {
            record_type: Cow<'static, str>,
        },
    }
}

/// How long what is kept. `None`: for ever.
#[derive(Clone, Copy, Debug, Default)]
pub struct Retention {
    /// Records of the AI gateway, counted from their start.
    pub ai_gateway: Option<Duration>,
    /// The audit log.
    pub audit_logs: Option<Duration>,
    /// The log of connections to workspaces, counted from their beginning.
    pub connection_logs: Option<Duration>,
    /// API keys, counted from their expiry: whose key expired lately is told so.
    pub api_keys: Option<Duration>,
}

pub(super) struct Purge {
    store: Full,
    clock: SharedClock,
    retention: Retention,
    metrics: PurgeMetrics,
}

impl Purge {
    pub(super) fn new(
        store: Full,
        clock: SharedClock,
        retention: Retention,
        metrics: PurgeMetrics,
    ) -> Self {
        let Retention { ai_gateway, audit_logs, connection_logs, api_keys } = retention;
        for (record_type, kept) in [
            ("aibridge_records", ai_gateway),
            ("audit_logs", audit_logs),
            ("connection_logs", connection_logs),
            ("expired_api_keys", api_keys),
        ] {
            let seconds = kept.unwrap_or_default().as_secs();
            metrics.retention.set(record_type.into(), i64::try_from(seconds).unwrap_or(i64::MAX));
        }
        Self { store, clock, retention, metrics }
    }

    /// Goes through all tables once. Yields how many rows went; the first failure, once all had their turn.
    pub(super) async fn run(&self) -> Result<u64, Error> {
        let began = Instant::now();
        let outcome = self.tables().await;
        self.metrics.iteration.observe_duration(outcome.is_ok(), began.elapsed());
        outcome
    }

    async fn tables(&self) -> Result<u64, Error> {
        let now = self.clock.now();
        let Retention { ai_gateway, audit_logs, connection_logs, api_keys } = self.retention;
        let limit = BATCH_MAX;
        let mut outcomes = Vec::new();
        if let Some(before) = earlier(now, ai_gateway) {
            outcomes.push(self.once("aibridge_records", || DropOldMonths { before }).await);
            let old = || DeleteOldInterceptions { before, limit: INTERCEPTIONS };
            outcomes.push(self.table("aibridge_records", INTERCEPTIONS, old).await);
        }
        if let Some(before) = earlier(now, audit_logs) {
            let old = || DeleteOldAuditLogs { before, limit, now };
            outcomes.push(self.table("audit_logs", limit, old).await);
        }
        if let Some(before) = earlier(now, connection_logs) {
            let old = || DeleteOldConnectionLogs { before, limit };
            outcomes.push(self.table("connection_logs", limit, old).await);
        }
        if let Some(before) = earlier(now, api_keys) {
            let expired = || DeleteExpiredApiKeys { before, limit };
            outcomes.push(self.table("expired_api_keys", limit, expired).await);
        }
        let expired = || DeleteExpiredCodes { before: now, limit };
        outcomes.push(self.table("expired_oauth2_codes", limit, expired).await);
        let expired = || DeleteExpiredTokens { before: now, limit };
        outcomes.push(self.table("expired_oauth2_tokens", limit, expired).await);
        let over = || DeleteOldAppSessions { before: now - DAY, limit };
        outcomes.push(self.table("workspace_app_audit_sessions", limit, over).await);
        let unseen = || DeleteUnseenProvisioners { before: now - 7 * DAY, limit };
        outcomes.push(self.table("provisioner_daemons", limit, unseen).await);
        let old = || DeleteOldTelemetryLocks { before: now - DAY, limit };
        outcomes.push(self.table("telemetry_locks", limit, old).await);
        let stale = || DeleteStaleReplicas { before: now - 7 * DAY, limit };
        outcomes.push(self.table("replicas", limit, stale).await);
        outcomes.push(self.measure().await.map(|()| 0));
        outcomes.into_iter().try_fold(0, |sum, outcome| Ok(sum + outcome?))
    }

    async fn measure(&self) -> Result<(), Error> {
        for size in self.store.run(Call::by(system::dbpurge()), MeasureTables).await? {
            self.metrics.bytes.set(size.record_type.into(), size.bytes);
        }
        Ok(())
    }

    /// Batch after batch, until one is not full or the time is over.
    async fn table<Q: Query<Out = usize>>(
        &self,
        record_type: &'static str,
        full: i64,
        batch: impl Fn() -> Q + Send + Sync,
    ) -> Result<u64, Error> {
        let began = Instant::now();
        let mut all = 0;
        while began.elapsed() < BUDGET {
            let gone = self.once(record_type, &batch).await?;
            all += gone;
            if i64::try_from(gone).unwrap_or(i64::MAX) < full {
                break;
            }
        }
        Ok(all)
    }

    /// One batch. Nothing, when another server is at it.
    async fn once<Q>(
        &self,
        record_type: &'static str,
        batch: impl Fn() -> Q + Send + Sync,
    ) -> Result<u64, Error>
    where
        Q: Query,
        Q::Out: TryInto<u64>,
    {
        let removed = self
            .store
            .tx(Call::by(system::dbpurge()), TxOptions::write("db_purge"), async |tx: &mut Tx| {
                if !tx.run(TryAcquire(Lock::Purge)).await? {
                    return Ok(None);
                }
                tx.run(batch()).await.map(Some)
            })
            .await;
        let removed = match removed {
            Ok(removed) => removed.and_then(|rows| rows.try_into().ok()).unwrap_or(0),
            Err(error) => {
                tracing::error!(record_type, error = %stdx::chain(&error), "old rows could not be removed");
                return Err(error);
            }
        };
        self.metrics.purged.inc_by(record_type.into(), removed);
        Ok(removed)
    }
}

/// When what is kept so long had to be made.
fn earlier(now: OffsetDateTime, kept: Option<Duration>) -> Option<OffsetDateTime> {
    now.checked_sub(time::Duration::try_from(kept?).ok()?)
}
