//! The place of record: where facts of this process's gateway and of all gateway daemons are stored.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aibridge::facts::Fact;
use aibridge::ports::BoxFuture;
use ledger::{Batch, Receipt, RefusedFact, Sink, SinkError};
use rbac::system;
use stdx::SharedClock;
use stdx::ids::InterceptionId;
use store::interceptions::{Facts, IngestFacts};
use store::{Call, Constraint, Error, Full, TxOptions};
use telemetry::{DuplicateMetric, Registry};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::rows;

/// Batches stored at once. Each holds a connection, and people need some, too.
const WRITERS: usize = 3;
/// How long a batch waits for its turn.
const TURN: Duration = Duration::from_secs(10);
/// When to come again with a batch that found no turn.
const BUSY: Duration = Duration::from_secs(1);

telemetry::metrics! {
    /// What becomes of facts that gateways send.
    pub(crate) struct RecordMetrics {
        /// Facts that are stored, repeated ones included.
        pub stored: Counter["coderd_ai_gateway_facts_stored_total"] {},
        /// Facts that can never be stored. The gateway that sent them keeps them and says why.
        pub refused: Counter["coderd_ai_gateway_facts_refused_total"] {},
        /// Batches that were not taken because the database was away or others were before them.
        pub deferred: Counter["coderd_ai_gateway_batches_deferred_total"] {},
        /// Time to store a batch.
        pub batch: Histogram["coderd_ai_gateway_batch_seconds"] {}
            buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0],
        /// Interceptions that were closed because no end of them had come for a day.
        pub swept: Counter["coderd_ai_gateway_interceptions_swept_total"] {},
    }
}

/// The store as a place of record. Cheap to clone.
#[derive(Clone)]
pub struct StoreSink(Arc<Parts>);

pub(super) struct Parts {
    pub(super) store: Full,
    pub(super) clock: SharedClock,
    pub(super) metrics: RecordMetrics,
    writers: Semaphore,
}

impl fmt::Debug for StoreSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreSink").finish_non_exhaustive()
    }
}

impl StoreSink {
    /// Over a store whose partitions are made.
    ///
    /// # Errors
    /// If the registry has these metrics already.
    pub fn new(
        store: Full,
        clock: SharedClock,
        registry: &mut Registry,
    ) -> Result<Self, DuplicateMetric> {
        let metrics = RecordMetrics::register(registry)?;
        let writers = Semaphore::new(WRITERS);
        Ok(Self(Arc::new(Parts { store, clock, metrics, writers })))
    }

    pub(super) fn parts(&self) -> &Parts {
        &self.0
    }

    /// Stores facts; storing them again changes nothing. Facts of one gateway come in the order in which
    /// they were recorded: an end without a start before it is refused.
    ///
    /// # Errors
    /// [`SinkError::Unavailable`] when the database is away, or does not take anything at all.
    pub async fn store(&self, facts: &[Fact]) -> Result<Receipt, SinkError> {
        let started = Instant::now();
        let outcome = self.store_in_turn(facts).await;
        let metrics = &self.0.metrics;
        match &outcome {
            Ok(receipt) => {
                let refused = receipt.refused.len();
                metrics.stored.inc_by((), facts.len().saturating_sub(refused) as u64);
                metrics.refused.inc_by((), refused as u64);
                metrics.batch.observe_duration((), started.elapsed());
            }
            Err(_) => metrics.deferred.inc(()),
        }
        outcome
    }

    async fn store_in_turn(&self, facts: &[Fact]) -> Result<Receipt, SinkError> {
        let _turn = self.turn().await?;
        let mut refused = Vec::new();
        self.0.part(facts, 0, &mut refused).await?;
        refused.sort_unstable_by_key(|fact| fact.index);
        Ok(Receipt { refused })
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, SinkError> {
        match tokio::time::timeout(TURN, self.0.writers.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            // The semaphore is never closed.
            Ok(Err(_)) | Err(_) => Err(SinkError::Unavailable {
                reason: "other batches are being stored".to_owned(),
                retry_after: Some(BUSY),
            }),
        }
    }
}

impl Sink for StoreSink {
    async fn ingest(&self, batch: &Batch) -> Result<Receipt, SinkError> {
        self.store(&batch.facts).await
    }
}

impl Parts {
    /// Stores a part of a batch that begins at `offset`. A fact that the database refuses for good must not
    /// take others with it, so a part that fails is halved until the culprit stands alone.
    fn part<'a>(
        &'a self,
        facts: &'a [Fact],
        offset: usize,
        refused: &'a mut Vec<RefusedFact>,
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            let error = match self.write(rows::of(facts)).await {
                Ok(unknown) => {
                    refused.extend(without_start(facts, offset, &unknown));
                    return Ok(());
                }
                Err(error) => error,
            };
            if !lies_in_a_fact(&error) {
                return Err(away(&error));
            }
            if facts.len() > 1 {
                let (front, back) = facts.split_at(facts.len() / 2);
                self.part(front, offset, refused).await?;
                return self.part(back, offset + front.len(), refused).await;
            }
            let reason = stdx::chain(&error).to_string();
            refused.push(RefusedFact { index: offset, reason });
            Ok(())
        })
    }

    async fn write(&self, facts: Facts) -> Result<Vec<InterceptionId>, Error> {
        let facts = Arc::new(facts);
        let options = TxOptions::write("record_interceptions");
        self.store
            .tx(Call::by(system::gateway()), options, async |tx| {
                tx.run(IngestFacts(Arc::clone(&facts))).await
            })
            .await
    }
}

/// Whether a fact can never be stored, however often it comes. Who refuses a fact loses it, so this holds only for
/// what is known to be the fact's own fault. Everything else, a full disk, a damaged index, a table that is not as
/// this program knows it, a rule that somebody added, may be repaired, and the facts wait for that.
fn lies_in_a_fact(error: &Error) -> bool {
    match error {
        Error::Unfit(_) => true,
        Error::Check(rule) => matches!(
            rule,
            Constraint::AibridgeInterceptionsCredentialKindKnown
                | Constraint::AibridgeInterceptionsErrorMessageLength
        ),
        _ => false,
    }
}

/// Ends of interceptions that nobody began.
fn without_start(
    facts: &[Fact],
    offset: usize,
    unknown: &[InterceptionId],
) -> impl Iterator<Item = RefusedFact> {
    let orphans = facts.iter().enumerate().filter(|(_, fact)| {
        matches!(fact, Fact::End(end) if unknown.binary_search(&end.interception).is_ok())
    });
    orphans.map(move |(index, _)| RefusedFact {
        index: offset + index,
        reason: "the start of its interception was never stored".to_owned(),
    })
}

/// The error never holds what a row says.
fn away(error: &Error) -> SinkError {
    SinkError::Unavailable { reason: stdx::chain(error).to_string(), retry_after: None }
}
