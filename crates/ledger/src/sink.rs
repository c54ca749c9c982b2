use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use aibridge::facts::Fact;
use uuid::Uuid;

/// Facts in the order in which they were recorded.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Names the batch in logs on both ends. A repeated batch has the same one.
    pub id: Uuid,
    /// At least one.
    pub facts: Vec<Fact>,
}

/// What became of a batch that was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Facts that can never be stored. All others are stored for good.
    pub refused: Vec<RefusedFact>,
}

/// A fact that cannot be stored, and why. Repeating it would change nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedFact {
    /// Place in [`Batch::facts`].
    pub index: usize,
    /// For people; never holds what the fact says.
    pub reason: String,
}

/// Why a batch was not taken. Nothing of it may be assumed to be stored, and all of it is sent again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// The place of record cannot be reached, or asks for patience.
    #[error("{reason}")]
    Unavailable {
        /// For the log.
        reason: String,
        /// How long it asked to be left alone.
        retry_after: Option<Duration>,
    },
    /// The place of record is there and does not understand the batch: it is older than this gateway. The
    /// batch, and with it all that follows, waits until it is upgraded.
    #[error("{reason}")]
    NotUnderstood {
        /// For the log.
        reason: String,
    },
    /// The place of record does not accept this gateway (any more). Facts stay on disk.
    #[error("{reason}")]
    Denied {
        /// For the log.
        reason: String,
    },
}

/// The place of record: the store in `coderd`, the control protocol in a daemon.
pub trait Sink: Send + Sync + 'static {
    /// Stores a batch. Storing one twice is the same as storing it once. Batches come one at a time and in
    /// order, so what is about an interception never comes before its start.
    ///
    /// # Errors
    /// See [`SinkError`].
    fn ingest(&self, batch: &Batch) -> impl Future<Output = Result<Receipt, SinkError>> + Send;
}

impl<S: Sink> Sink for Arc<S> {
    fn ingest(&self, batch: &Batch) -> impl Future<Output = Result<Receipt, SinkError>> + Send {
        S::ingest(self, batch)
    }
}
