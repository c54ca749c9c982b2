//! What the gateway needs from whoever runs it: an authority on identity and a place for records.
//!
//! `coderd` implements both over its store, a separate daemon over its connection to `coderd`.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use stdx::ids::UserId;

use crate::facts::Fact;

/// A boxed future that may cross threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Who is calling, as far as the gateway needs to know. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user that the token belongs to.
    pub user: UserId,
    /// For actor headers and logs.
    pub username: Arc<str>,
    /// Public identifier of the API key.
    pub api_key_id: Arc<str>,
}

/// Why a token was not accepted. Clients get one constant text for all of [`Refused::Credential`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Unknown, malformed, expired or revoked token, or its user may not sign in: 403.
    Credential,
    /// The token is good but does not extend to the gateway: 403.
    Scope,
    /// We could not find out: 503, never a statement about the credential.
    Unavailable,
}

/// Resolves tokens.
pub trait Authenticator: Send + Sync + 'static {
    /// What is known about `token` without asking anybody; nothing by default. Called first for every
    /// request, so it must neither wait nor be slow.
    fn cached(&self, _token: &str) -> Option<Result<Identity, Refused>> {
        None
    }

    /// Who `token` belongs to. Called once per request of which [`Self::cached`] knows nothing.
    fn resolve<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Identity, Refused>>;
}

/// Why facts were not taken. Nothing of the batch was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// The queue or spool is full.
    Full,
    /// The place of record is gone or failed for good.
    Closed,
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the record queue is full",
            Self::Closed => "the record queue is closed",
        })
    }
}

impl std::error::Error for RecordError {}

/// Resolves when a batch is durable. Dropping it does not take the batch back.
///
/// A recorder makes every batch durable soon, and at once when somebody polls this: a batch that nothing
/// waits for yet can share its write with the next one.
pub struct Durable(Option<BoxFuture<'static, Result<(), RecordError>>>);

impl Durable {
    /// It is durable already. Costs no allocation.
    #[must_use]
    pub const fn done() -> Self {
        Self(None)
    }

    /// It will be when `work` resolves.
    #[must_use]
    pub fn later(work: impl Future<Output = Result<(), RecordError>> + Send + 'static) -> Self {
        Self(Some(Box::pin(work)))
    }

    /// Whether it is known to be durable, so that nobody need wait.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.0.is_none()
    }
}

impl Future for Durable {
    type Output = Result<(), RecordError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().map_or(Poll::Ready(Ok(())), |work| work.as_mut().poll(cx))
    }
}

impl fmt::Debug for Durable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Durable").field("done", &self.is_done()).finish()
    }
}

/// Where facts go.
///
/// Appending never waits for a database: it either takes the whole batch, in order, or refuses it. The
/// returned future tells when the batch is durable; the gateway awaits it for the start fact before it
/// releases the first byte of an answer, in parallel with the upstream's own latency, and for the usage
/// facts before it releases the last one.
pub trait Recorder: Send + Sync + 'static {
    /// Takes a batch. Storing is idempotent by the facts' identifiers.
    ///
    /// # Errors
    /// [`RecordError::Full`] or [`RecordError::Closed`]: nothing was taken.
    fn append(&self, facts: Vec<Fact>) -> Result<Durable, RecordError>;
}
