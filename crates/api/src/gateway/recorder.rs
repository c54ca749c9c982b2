//! Where the in-process gateway's facts go: a bounded queue and one writer that stores them in batches.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aibridge::facts::{CredentialKind, Fact};
use aibridge::ports::{Durable, RecordError, Recorder};
use rbac::system;
use serde_json::{Value, json};
use stdx::{Backoff, Lifecycle, Stopping};
use store::interceptions::{self as rows, Facts, IngestFacts};
use store::{Call, Error, Full, Pk, TxOptions};
use telemetry::{DuplicateMetric, Registry};
use tokio::sync::{mpsc, oneshot};

/// Batches that wait to be written. When they are this many, new requests are refused.
const QUEUE: usize = 4_096;
/// Bytes of text that wait to be written. Few long prompts must not fill the memory either.
const QUEUE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Facts of one transaction.
const FACTS_PER_WRITE: usize = 500;
/// How long the end of the process waits for the queue to empty.
const DRAIN: Duration = Duration::from_secs(30);

telemetry::metrics! {
    /// What the recorder counts.
    pub struct RecorderMetrics {
        /// Facts that wait to be written.
        pub waiting: Gauge["coder_ai_gateway_records_waiting"] {},
        /// Facts that were stored.
        pub stored: Counter["coder_ai_gateway_records_stored_total"] {},
        /// Facts that the database refused for good; each has an error in the log.
        pub lost: Counter["coder_ai_gateway_records_lost_total"] {},
        /// Tries that failed and were repeated.
        pub retries: Counter["coder_ai_gateway_record_retries_total"] {},
    }
}

struct Batch {
    facts: Vec<Fact>,
    bytes: usize,
    done: oneshot::Sender<Result<(), RecordError>>,
}

/// Takes facts without waiting and stores them in the background.
#[derive(Debug)]
pub struct StoreRecorder {
    queue: mpsc::Sender<Batch>,
    waiting_bytes: Arc<AtomicUsize>,
    metrics: RecorderMetrics,
}

impl StoreRecorder {
    /// Starts the writer. It ends after everything else has, and writes what is left first.
    ///
    /// # Errors
    /// If the registry has these metrics already.
    pub fn start(
        store: Full,
        lifecycle: &Lifecycle,
        registry: &mut Registry,
    ) -> Result<Arc<Self>, DuplicateMetric> {
        let metrics = RecorderMetrics::register(registry)?;
        let (queue, batches) = mpsc::channel(QUEUE);
        // Not a task among others: it must outlive those that still append.
        let own = Lifecycle::new();
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let writer = Writer {
            store,
            batches,
            waiting_bytes: Arc::clone(&waiting_bytes),
            metrics: metrics.clone(),
            stopping: own.stopping(),
        };
        own.spawn("ai-gateway-recorder", writer.run());
        lifecycle.on_stop(
            "ai-gateway-recorder",
            DRAIN,
            move || async move { own.stop(DRAIN).await },
        );
        Ok(Arc::new(Self { queue, waiting_bytes, metrics }))
    }
}

impl Recorder for StoreRecorder {
    fn append(&self, facts: Vec<Fact>) -> Result<Durable, RecordError> {
        let waiting = i64::try_from(facts.len()).unwrap_or(i64::MAX);
        let bytes = facts.iter().map(text_bytes).sum();
        let (done, stored) = oneshot::channel();
        let before = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let sent = if before > QUEUE_BYTES_MAX {
            Err(RecordError::Full)
        } else {
            self.queue.try_send(Batch { facts, bytes, done }).map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => RecordError::Full,
                mpsc::error::TrySendError::Closed(_) => RecordError::Closed,
            })
        };
        if let Err(error) = sent {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(error);
        }
        self.metrics.waiting.add((), waiting);
        Ok(Durable::later(async move { stored.await.unwrap_or(Err(RecordError::Closed)) }))
    }
}

struct Writer {
    store: Full,
    batches: mpsc::Receiver<Batch>,
    waiting_bytes: Arc<AtomicUsize>,
    metrics: RecorderMetrics,
    stopping: Stopping,
}

impl Writer {
    async fn run(mut self) {
        let mut taken = Vec::new();
        loop {
            let got = tokio::select! {
                biased;
                got = self.batches.recv_many(&mut taken, 64) => got,
                () = self.stopping.wait(), if !self.batches.is_closed() => {
                    // Takes no more; what was taken is still written.
                    self.batches.close();
                    continue;
                }
            };
            if got == 0 {
                return;
            }
            while taken.iter().map(|batch| batch.facts.len()).sum::<usize>() < FACTS_PER_WRITE {
                let Ok(more) = self.batches.try_recv() else { break };
                taken.push(more);
            }
            let outcome = self.write(&taken).await;
            for (batch, stored) in taken.drain(..).zip(outcome) {
                self.waiting_bytes.fetch_sub(batch.bytes, Ordering::Relaxed);
                self.metrics.waiting.add((), -i64::try_from(batch.facts.len()).unwrap_or(i64::MAX));
                // Nobody waits for the last facts of a client that left.
                let _ = batch.done.send(stored);
            }
        }
    }

    /// Stores batches in order. One that the database refuses for good must not take others with it, so a
    /// failing write is halved until the culprit stands alone.
    async fn write(&self, batches: &[Batch]) -> Vec<Result<(), RecordError>> {
        let count: usize = batches.iter().map(|batch| batch.facts.len()).sum();
        let facts = sorted(batches.iter().flat_map(|batch| &batch.facts));
        match self.store_with_retries(facts).await {
            Ok(()) => {
                self.metrics.stored.inc_by((), count as u64);
                batches.iter().map(|_| Ok(())).collect()
            }
            Err(error) if batches.len() > 1 => {
                tracing::warn!(error = %stdx::chain(&error), "a write of records is split");
                let (front, back) = batches.split_at(batches.len() / 2);
                let mut outcome = Box::pin(self.write(front)).await;
                outcome.extend(Box::pin(self.write(back)).await);
                outcome
            }
            Err(error) => {
                self.metrics.lost.inc_by((), count as u64);
                let interception = batches.first().and_then(|b| b.facts.first());
                let interception = interception.map(|fact| fact.interception().to_string());
                tracing::error!(error = %stdx::chain(&error), interception, count, "records were refused");
                vec![Err(RecordError::Closed)]
            }
        }
    }

    /// Repeats while the database is away: the queue fills meanwhile and then pushes back.
    async fn store_with_retries(&self, facts: Facts) -> Result<(), Error> {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
        loop {
            let by = Call::by(system::gateway());
            let facts = &facts;
            let outcome = self
                .store
                .tx(by, TxOptions::write("record_interceptions"), async |tx| {
                    tx.run(IngestFacts(facts.clone().into())).await.map(drop)
                })
                .await;
            match outcome {
                Err(Error::Unavailable(_) | Error::Serialization(_)) => {
                    self.metrics.retries.inc(());
                    tokio::time::sleep(backoff.pause()).await;
                }
                outcome => return outcome,
            }
        }
    }
}

/// The part of a fact that clients and models make long.
fn text_bytes(fact: &Fact) -> usize {
    match fact {
        Fact::Prompt(f) => f.prompt.len(),
        Fact::Tool(f) => f.input.len(),
        Fact::Thought(f) => f.content.len(),
        Fact::Start(_) | Fact::End(_) | Fact::Tokens(_) => 0,
    }
}

/// Facts as rows, sorted by kind, the order within a kind kept.
fn sorted<'a>(facts: impl Iterator<Item = &'a Fact>) -> Facts {
    let mut out = Facts::default();
    for fact in facts {
        match fact {
            Fact::Start(f) => out.starts.push(rows::Start {
                id: f.id,
                initiator_id: f.initiator,
                api_key_id: f.api_key_id.clone(),
                provider: f.provider.clone(),
                provider_name: f.provider_name.clone(),
                model: storable(&f.model),
                client: f.client.clone(),
                started_at: f.started_at,
                metadata: storable_json(json!(f.metadata)),
                client_session_id: f.client_session_id.as_deref().map(storable),
                correlating_tool_call_id: f.correlating_tool_call_id.as_deref().map(storable),
                credential_kind: match f.credential_kind {
                    CredentialKind::Centralized => "centralized",
                    CredentialKind::Byok => "byok",
                },
                credential_hint: f.credential_hint.clone(),
            }),
            Fact::End(f) => out.ends.push(rows::End {
                id: f.interception,
                ended_at: f.ended_at,
                credential_hint: f.credential_hint.clone(),
                error_type: f.error_type.map(aibridge::facts::ErrorType::as_str),
                error_message: f.error_message.as_deref().map(storable),
            }),
            Fact::Prompt(f) => out.prompts.push(rows::Prompt {
                id: Pk(f.id),
                interception_id: Pk(f.interception),
                provider_response_id: storable(&f.response_id),
                prompt: storable(&f.prompt),
                metadata: storable_json(json!(f.metadata)),
                created_at: f.created_at,
            }),
            Fact::Tokens(f) => out.tokens.push(rows::Tokens {
                id: Pk(f.id),
                interception_id: Pk(f.interception),
                provider_response_id: storable(&f.response_id),
                input_tokens: f.input,
                output_tokens: f.output,
                cache_read_input_tokens: f.cache_read,
                cache_write_input_tokens: f.cache_write,
                metadata: merged(f),
                created_at: f.created_at,
            }),
            Fact::Tool(f) => out.tools.push(rows::Tool {
                id: Pk(f.id),
                interception_id: Pk(f.interception),
                provider_response_id: storable(&f.response_id),
                provider_tool_call_id: storable(&f.tool_call_id),
                provider_item_id: f.item_id.as_deref().map(storable),
                server_url: f.server_url.clone(),
                tool: storable(&f.tool),
                input: storable(&f.input),
                injected: f.injected,
                invocation_error: f.invocation_error.as_deref().map(storable),
                metadata: storable_json(json!(f.metadata)),
                created_at: f.created_at,
            }),
            Fact::Thought(f) => out.thoughts.push(rows::Thought {
                id: Pk(f.id),
                interception_id: Pk(f.interception),
                content: storable(&f.content),
                metadata: storable_json(json!(f.metadata)),
                created_at: f.created_at,
            }),
        }
    }
    out
}

/// Extra counts share one map with the details, as clients know it; a count wins over a detail.
fn merged(fact: &aibridge::facts::Tokens) -> Value {
    let mut all = fact.metadata.clone();
    all.extend(fact.extra.iter().map(|(name, count)| (name.clone(), json!(count))));
    storable_json(json!(all))
}

/// PostgreSQL cannot hold U+0000 in text.
fn storable(text: &str) -> String {
    if text.contains('\0') { text.replace('\0', "\u{FFFD}") } else { text.to_owned() }
}

/// The same for every text inside.
fn storable_json(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(storable(&text)),
        Value::Array(items) => items.into_iter().map(storable_json).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (storable(&name), storable_json(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_database_cannot_hold_is_replaced_everywhere() {
        let value = json!({ "a\u{0}": ["b\u{0}", { "c": "d\u{0}" }], "n": 1 });
        assert_eq!(
            storable_json(value),
            json!({ "a\u{FFFD}": ["b\u{FFFD}", { "c": "d\u{FFFD}" }], "n": 1 })
        );
    }
}
