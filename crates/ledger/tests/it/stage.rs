//! What all tests need: a directory, facts, and a place of record that can be told how to behave.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aibridge::facts::{CredentialKind, End, Fact, Metadata, Prompt, Start, Tokens};
use aibridge::ports::{Durable, RecordError, Recorder as _};
use ledger::{
    Batch, FullPolicy, Ledger, LedgerSettings, OpenError, Receipt, RefusedFact, Sink, SinkError,
    SyncPolicy,
};
use stdx::ids::{FactId, InterceptionId, UserId};
use stdx::{Lifecycle, ManualClock, SystemRng};
use telemetry::Registry;
use time::OffsetDateTime;
use time::macros::datetime;
use tokio::sync::Notify;
use uuid::Uuid;

/// Where the clock of all tests begins.
pub(crate) const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// A ledger and what it was opened with.
pub(crate) struct Stage {
    pub(crate) ledger: Ledger,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) registry: Registry,
    pub(crate) clock: Arc<ManualClock>,
}

/// How a ledger is opened.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) dir: PathBuf,
    pub(crate) max_bytes: u64,
    pub(crate) sync: SyncPolicy,
    pub(crate) full: FullPolicy,
}

impl Terms {
    pub(crate) fn of(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            max_bytes: 4 << 20,
            sync: SyncPolicy::Os,
            full: FullPolicy::Refuse,
        }
    }

    pub(crate) fn try_open(&self) -> Result<Stage, OpenError> {
        let (lifecycle, mut registry) = (Lifecycle::new(), Registry::new());
        let clock = ManualClock::new(NOW);
        let settings = LedgerSettings {
            dir: self.dir.clone(),
            max_bytes: self.max_bytes,
            sync: self.sync,
            full: self.full,
            clock: clock.clone(),
            rng: SystemRng::shared(),
        };
        let ledger = Ledger::open(settings, &lifecycle, &mut registry)?;
        Ok(Stage { ledger, lifecycle, registry, clock })
    }

    pub(crate) fn open(&self) -> Stage {
        self.try_open().unwrap()
    }
}

impl Stage {
    pub(crate) fn append(&self, facts: Vec<Fact>) -> Result<Durable, RecordError> {
        self.ledger.append(facts)
    }

    /// Appends and waits until it is durable.
    pub(crate) async fn record(&self, facts: Vec<Fact>) {
        self.append(facts).unwrap().await.unwrap();
    }

    pub(crate) async fn stop(self) {
        self.lifecycle.stop(PATIENCE).await;
    }
}

pub(crate) fn id(number: u128) -> InterceptionId {
    InterceptionId::new(Uuid::from_u128(number))
}

pub(crate) fn start(number: u128) -> Fact {
    Fact::Start(Start {
        id: id(number),
        initiator: UserId::nil(),
        api_key_id: "alice0001".to_owned(),
        provider: "anthropic".to_owned(),
        provider_name: "anthropic-eu".to_owned(),
        model: "claude".to_owned(),
        client: "Claude Code".to_owned(),
        client_session_id: None,
        correlating_tool_call_id: None,
        credential_kind: CredentialKind::Centralized,
        credential_hint: String::new(),
        started_at: NOW,
        metadata: Metadata::new(),
    })
}

pub(crate) fn fact_id(number: u128, place: u128) -> FactId {
    FactId::new(Uuid::from_u128(number << 8 | place | 1 << 100))
}

pub(crate) fn prompt(number: u128, text: &str) -> Fact {
    Fact::Prompt(Prompt {
        id: fact_id(number, 1),
        interception: id(number),
        response_id: String::new(),
        prompt: text.to_owned(),
        created_at: NOW,
        metadata: Metadata::new(),
    })
}

pub(crate) fn tokens(number: u128, output: i64) -> Fact {
    Fact::Tokens(Tokens {
        id: fact_id(number, 2),
        interception: id(number),
        response_id: "msg_1".to_owned(),
        input: 10,
        output,
        cache_read: 0,
        cache_write: 0,
        extra: BTreeMap::new(),
        created_at: NOW,
        metadata: Metadata::new(),
    })
}

pub(crate) fn end(number: u128) -> Fact {
    Fact::End(End {
        id: fact_id(number, 3),
        interception: id(number),
        ended_at: NOW,
        credential_hint: String::new(),
        error_type: None,
        error_message: None,
    })
}

/// Everything of one request after its start.
pub(crate) fn rest(number: u128) -> Vec<Fact> {
    vec![prompt(number, "hi"), tokens(number, 5), end(number)]
}

/// How a [`Place`] behaves.
#[derive(Clone, Debug)]
pub(crate) enum Mood {
    Willing,
    Away(Option<Duration>),
    Denying,
    /// Refuses prompts.
    Picky,
}

/// A place of record.
#[derive(Debug)]
pub(crate) struct Place {
    mood: Mutex<Mood>,
    batches: Mutex<Vec<Batch>>,
    calls: Mutex<Vec<Uuid>>,
    called: Notify,
}

impl Place {
    pub(crate) fn new(mood: Mood) -> Arc<Self> {
        Arc::new(Self {
            mood: Mutex::new(mood),
            batches: Mutex::default(),
            calls: Mutex::default(),
            called: Notify::new(),
        })
    }

    pub(crate) fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// All facts that were stored, in order, with repetitions.
    pub(crate) fn facts(&self) -> Vec<Fact> {
        self.batches.lock().unwrap().iter().flat_map(|batch| batch.facts.clone()).collect()
    }

    pub(crate) fn batch_sizes(&self) -> Vec<usize> {
        self.batches.lock().unwrap().iter().map(|batch| batch.facts.len()).collect()
    }

    /// Identifiers of all batches that came, stored or not.
    pub(crate) fn calls(&self) -> Vec<Uuid> {
        self.calls.lock().unwrap().clone()
    }

    /// Waits for so many calls in all.
    pub(crate) async fn called(&self, times: usize) {
        within(async {
            loop {
                let called = self.called.notified();
                tokio::pin!(called);
                called.as_mut().enable();
                if self.calls().len() >= times {
                    return;
                }
                called.await;
            }
        })
        .await;
    }
}

impl Sink for Place {
    async fn ingest(&self, batch: &Batch) -> Result<Receipt, SinkError> {
        let mood = self.mood.lock().unwrap().clone();
        self.calls.lock().unwrap().push(batch.id);
        self.called.notify_waiters();
        let mut receipt = Receipt::default();
        match mood {
            Mood::Willing => {}
            Mood::Away(retry_after) => {
                return Err(SinkError::Unavailable { reason: "away".to_owned(), retry_after });
            }
            Mood::Denying => return Err(SinkError::Denied { reason: "unknown key".to_owned() }),
            Mood::Picky => {
                for (index, fact) in batch.facts.iter().enumerate() {
                    if matches!(fact, Fact::Prompt(_)) {
                        receipt.refused.push(RefusedFact { index, reason: "too odd".to_owned() });
                    }
                }
            }
        }
        self.batches.lock().unwrap().push(batch.clone());
        Ok(receipt)
    }
}

pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it took too long")
}

/// Waits until `done` says so.
pub(crate) async fn eventually(mut done: impl FnMut() -> bool) {
    within(async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}
