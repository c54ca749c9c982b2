use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use ::crypt::Keyring;
use diesel_async::pooled_connection::deadpool::Object;
use diesel_async::{AnsiTransactionManager, AsyncPgConnection};
use rbac::Subject;
use stdx::SharedRng;
use tokio::time::Instant;

use super::authz::Guarded;
use super::postgres::settle;
use super::{Full, Layer as _, Work as _};
use crate::Error;
use crate::metrics::Metrics;
use crate::query::{Call, Db, Query};
use crate::sealed::Keys;

/// Tries of a transaction that lost against a concurrent one, the first included.
const ATTEMPTS: u32 = 4;

/// How much a transaction sees of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Each statement sees what was committed before it.
    ReadCommitted,
    /// All statements see one state.
    RepeatableRead,
    /// As if transactions ran one after the other.
    Serializable,
}

/// How to run a transaction.
#[derive(Clone, Copy, Debug)]
pub struct TxOptions {
    /// Metric label.
    pub name: &'static str,
    /// See [`Isolation`].
    pub isolation: Isolation,
    /// Refuses writes.
    pub read_only: bool,
}

impl TxOptions {
    /// Read committed, may write.
    #[must_use]
    pub const fn write(name: &'static str) -> Self {
        Self { name, isolation: Isolation::ReadCommitted, read_only: false }
    }

    /// One state throughout, may not write: a page and its count agree.
    #[must_use]
    pub const fn snapshot(name: &'static str) -> Self {
        Self { name, isolation: Isolation::RepeatableRead, read_only: true }
    }

    /// As if alone; retried when it lost.
    #[must_use]
    pub const fn serializable(name: &'static str) -> Self {
        Self { name, isolation: Isolation::Serializable, read_only: false }
    }

    const fn begin(self) -> &'static str {
        match (self.isolation, self.read_only) {
            (Isolation::ReadCommitted, false) => "BEGIN ISOLATION LEVEL READ COMMITTED",
            (Isolation::ReadCommitted, true) => "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY",
            (Isolation::RepeatableRead, false) => "BEGIN ISOLATION LEVEL REPEATABLE READ",
            (Isolation::RepeatableRead, true) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            (Isolation::Serializable, false) => "BEGIN ISOLATION LEVEL SERIALIZABLE",
            (Isolation::Serializable, true) => "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY",
        }
    }
}

/// An error that may say: try the whole transaction again.
pub trait Transient {
    /// Whether doing the same again may succeed.
    fn is_transient(&self) -> bool;
}

impl Transient for Error {
    fn is_transient(&self) -> bool {
        Self::is_transient(self)
    }
}

/// What runs inside a transaction: `async |tx| ...`. May run several times, so it must not publish, call
/// out or otherwise act on the world except through `tx`.
pub trait TxBody<A, R>: AsyncFn(A) -> R + Fn(A) -> <Self as TxBody<A, R>>::Fut {
    /// The future of one run.
    type Fut: Future<Output = R>;
}

impl<F, A, R, Fut> TxBody<A, R> for F
where
    F: AsyncFn(A) -> R + Fn(A) -> Fut,
    Fut: Future<Output = R>,
{
    type Fut = Fut;
}

/// A connection of one's own, with the keys.
pub(crate) struct Session {
    pub(crate) conn: Object<AsyncPgConnection>,
    pub(crate) ring: Arc<Keyring>,
    pub(crate) rng: SharedRng,
    pub(crate) metrics: Metrics,
}

/// A running transaction. Dropping it unfinished rolls back.
pub struct Tx {
    session: Session,
    /// Whether the database went away under it.
    lost: bool,
    subject: Arc<Subject>,
}

impl fmt::Debug for Tx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tx")
    }
}

impl Tx {
    /// Runs one query in this transaction, on behalf of the transaction's subject.
    ///
    /// # Errors
    /// As [`Store::run`](super::Store::run).
    pub async fn run<Q: Query>(&mut self, query: Q) -> Result<Q::Out, Error> {
        let subject = Arc::clone(&self.subject);
        self.run_by(Call::by(&subject), query).await
    }

    /// Runs one query on behalf of another subject: a system actor inside a user's transaction.
    ///
    /// # Errors
    /// As [`Store::run`](super::Store::run).
    pub async fn run_by<Q: Query>(&mut self, call: Call<'_>, query: Q) -> Result<Q::Out, Error> {
        let guarded = Guarded::decide(call, query)?;
        let started = Instant::now();
        let session = &mut self.session;
        let keys = Keys { ring: &session.ring, rng: &*session.rng };
        let outcome = guarded.perform(&mut Db { conn: &mut session.conn, keys }).await;
        session.metrics.query(Q::NAME, started.elapsed(), outcome.is_ok());
        self.lost |= matches!(outcome, Err(Error::Unavailable(_)));
        outcome
    }

    /// On whose behalf this transaction runs.
    #[must_use]
    pub const fn subject(&self) -> &Arc<Subject> {
        &self.subject
    }
}

impl Full {
    /// Runs `body` in a transaction: all of it happens, or nothing.
    ///
    /// A transaction that lost against a concurrent one is tried again, up to four times in all.
    ///
    /// # Errors
    /// What `body` returns, or an [`Error`] of beginning or committing.
    pub async fn tx<T, E, F>(&self, call: Call<'_>, options: TxOptions, body: F) -> Result<T, E>
    where
        for<'t> F: TxBody<&'t mut Tx, Result<T, E>, Fut: Send> + Send + Sync,
        T: Send,
        E: From<Error> + Transient + Send,
    {
        let mut attempt = 1;
        loop {
            let started = Instant::now();
            let session = self.0.session().await?;
            let metrics = session.metrics.clone();
            let mut tx = Tx { session, lost: false, subject: Arc::clone(call.subject) };
            let begun = AnsiTransactionManager::begin_transaction_sql(
                &mut *tx.session.conn,
                options.begin(),
            );
            if let Err(error) = begun.await {
                drop(tx);
                self.0.inner.forget_idle();
                return Err(Error::from(error).into());
            }
            let outcome = body(&mut tx).await;
            let outcome = settle(&mut tx.session.conn, outcome).await;
            metrics.transaction(options.name, started.elapsed(), outcome.is_ok());
            let lost = tx.lost;
            drop(tx);
            if lost {
                self.0.inner.forget_idle();
            }
            match outcome {
                Err(error) if error.is_transient() && attempt < ATTEMPTS => {
                    tracing::debug!(tx.name = options.name, attempt, "transaction lost, again");
                    tokio::time::sleep(Duration::from_millis(5) * attempt * attempt).await;
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }
}
