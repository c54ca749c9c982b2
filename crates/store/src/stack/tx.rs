use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use ::crypt::Keyring;
use diesel_async::pooled_connection::deadpool::Object;
use diesel_async::{AnsiTransactionManager, AsyncPgConnection};
use rbac::Subject;
use stdx::SharedRng;
use tokio::time::{Instant, timeout};

use super::authz::Guarded;
use super::postgres::{ATTEMPTS, close, pause, roll_back, settle};
use super::{Full, Judge, Layer as _, Work as _};
use crate::audit_logs::AuditLog;
use crate::metrics::Metrics;
use crate::query::{Call, Db, Query};
use crate::recorder::Recorder;
use crate::sealed::Keys;
use crate::{Error, audit_chain};

/// What is said of a connection after a statement that took too long.
const HUNG: &str = "an earlier statement of this transaction was not answered in time";

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
    /// How long the server may take for a statement.
    pub(crate) deadline: Duration,
    /// Whether it took longer. What is asked on this connection from then on has no answer.
    pub(crate) hung: bool,
}

/// Waits for one step of a transaction, for so long. A step that took longer leaves the connection hung.
async fn step<T, E: From<Error>>(
    deadline: Duration,
    hung: &mut bool,
    step: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    match timeout(deadline, step).await {
        Ok(outcome) => outcome,
        Err(elapsed) => {
            *hung = true;
            Err(Error::unavailable(elapsed).into())
        }
    }
}

/// A running transaction. Dropping it unfinished rolls back.
pub struct Tx {
    session: Session,
    /// Whether the database went away under it.
    lost: bool,
    subject: Arc<Subject>,
    recorder: Option<Arc<Recorder>>,
    judge: Judge,
    /// Rows of the audit log, appended when everything else is done.
    entries: Vec<AuditLog>,
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
        let (subject, recorder) = (Arc::clone(&self.subject), self.recorder.clone());
        self.run_by(Call::by(&subject).noted_by(recorder.as_ref()), query).await
    }

    /// Runs one query on behalf of another subject: a system actor inside a user's transaction.
    ///
    /// # Errors
    /// As [`Store::run`](super::Store::run).
    pub async fn run_by<Q: Query>(&mut self, call: Call<'_>, query: Q) -> Result<Q::Out, Error> {
        let guarded = Guarded::decide(&self.judge, call, query)?;
        let started = Instant::now();
        let session = &mut self.session;
        if session.hung {
            return Err(Error::unavailable(HUNG));
        }
        let keys = Keys { ring: &session.ring, rng: &*session.rng };
        let mut db = Db { conn: &mut session.conn, keys, entries: Some(&mut self.entries) };
        let outcome = step(session.deadline, &mut session.hung, guarded.perform(&mut db)).await;
        session.metrics.query(Q::NAME, started.elapsed(), outcome.is_ok());
        self.lost |= matches!(outcome, Err(Error::Unavailable(_)));
        outcome
    }

    async fn begin(&mut self, options: TxOptions, attempt: u32) -> Result<(), Error> {
        let Session { conn, deadline, hung, .. } = &mut self.session;
        step(*deadline, hung, async {
            let begun = AnsiTransactionManager::begin_transaction_sql(&mut **conn, options.begin());
            begun.await?;
            // What sees one state throughout cannot append behind a row that came later.
            let one_state = options.isolation != Isolation::ReadCommitted && !options.read_only;
            if one_state && attempt > 1 {
                audit_chain::lock_out(conn).await?;
            }
            Ok(())
        })
        .await
    }

    /// Appends what was written to the audit log. The last statements: others who append wait from here on.
    async fn append(&mut self) -> Result<(), Error> {
        let Session { conn, deadline, hung, .. } = &mut self.session;
        let entries = std::mem::take(&mut self.entries);
        let outcome = step(*deadline, hung, audit_chain::append(conn, entries)).await;
        self.lost |= matches!(outcome, Err(Error::Unavailable(_)));
        outcome
    }

    /// Commits or rolls back, unless there is nobody to say it to: then nothing was committed.
    async fn settle<T, E: From<Error>>(&mut self, outcome: Result<T, E>) -> Result<T, E> {
        let outcome = match outcome {
            Ok(value) if !self.session.hung => self.append().await.map(|()| value).map_err(E::from),
            outcome => outcome,
        };
        let Session { conn, deadline, hung, .. } = &mut self.session;
        match outcome {
            Ok(_) if *hung => Err(Error::unavailable(HUNG).into()),
            Err(error) if *hung => Err(error),
            // The first error counts, also when the server does not answer any more.
            Err(error) => {
                *hung = timeout(*deadline, roll_back(conn)).await.is_err();
                Err(error)
            }
            done => step(*deadline, hung, settle(conn, done)).await,
        }
    }

    /// Gives the connection back to the pool, or ends it when it hangs. Returns whether the database went away.
    fn give_back(self) -> bool {
        let Self { session, lost, .. } = self;
        let hung = session.hung;
        if hung {
            close(session.conn);
        }
        lost || hung
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
    /// A transaction that lost against a concurrent one is tried again, up to four times in all; a read-only one also
    /// when its connection turns out to be dead, once.
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
            let session = self.inner.session().await?;
            let metrics = session.metrics.clone();
            let mut tx = Tx {
                session,
                lost: false,
                subject: Arc::clone(call.subject),
                recorder: call.recorder.cloned(),
                judge: self.judge.clone(),
                entries: Vec::new(),
            };
            let begun = tx.begin(options, attempt).await;
            // Nothing is done by what does not begin, or may not write.
            let did_nothing = begun.is_err() || options.read_only;
            let not_begun = begun.is_err();
            let outcome = match begun {
                Ok(()) => {
                    let outcome = body(&mut tx).await;
                    tx.settle(outcome).await
                }
                Err(error) => Err(error.into()),
            };
            metrics.transaction(options.name, started.elapsed(), outcome.is_ok());
            let hung = tx.session.hung;
            let lost = tx.give_back() || not_begun;
            if lost {
                self.inner.inner.forget_idle();
            }
            let harmless = lost && !hung && did_nothing && attempt == 1;
            match outcome {
                Err(error) if harmless || (error.is_transient() && attempt < ATTEMPTS) => {
                    tracing::debug!(tx.name = options.name, attempt, "transaction lost, again");
                    tokio::time::sleep(pause(attempt)).await;
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }
}
