use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::crypt::Keyring;
use diesel_async::pooled_connection::deadpool::{Object, Pool};
use diesel_async::{
    AnsiTransactionManager, AsyncPgConnection, SimpleAsyncConnection as _, TransactionManager as _,
};
use stdx::SharedRng;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::{Layer, Work};
use crate::Error;
use crate::metrics::Metrics;
use crate::query::Db;
use crate::sealed::Keys;

/// How long a statement may take before the caller is told that the database is not available.
pub(crate) const STATEMENT_DEADLINE: Duration = Duration::from_secs(30);

/// Tries of what lost against a concurrent transaction, the first included.
pub(crate) const ATTEMPTS: u32 = 4;

/// How long to wait before the next try.
pub(crate) fn pause(attempt: u32) -> Duration {
    Duration::from_millis(5) * attempt * attempt
}

/// Takes a connection, runs and measures.
#[derive(Clone)]
pub struct Postgres {
    pub(crate) pool: Pool<AsyncPgConnection>,
    pub(crate) metrics: Metrics,
    pub(crate) no_keys: Arc<Keyring>,
    pub(crate) rng: SharedRng,
    /// See [`STATEMENT_DEADLINE`].
    pub(crate) deadline: Duration,
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").field("pool", &self.pool.status()).finish_non_exhaustive()
    }
}

impl Postgres {
    async fn connection(&self) -> Result<Object<AsyncPgConnection>, Error> {
        self.pool.get().await.map_err(Error::unavailable)
    }

    /// Drops the connections that lie idle, after one was found dead: the server most likely went away with
    /// all of them, and each would cost a caller an error to find out.
    pub(crate) fn forget_idle(&self) {
        let dropped = self.pool.retain(|_, _| false);
        if !dropped.removed.is_empty() {
            tracing::debug!(count = dropped.removed.len(), "dropped idle connections");
        }
    }
}

impl Postgres {
    /// One try. Whether the server was given up on while it owed an answer.
    async fn attempt<W: Work>(&self, work: &W) -> (Result<W::Out, Error>, bool) {
        let started = Instant::now();
        let span = tracing::debug_span!("query", query.name = W::NAME);
        let mut lent = None;
        let limited = tokio::time::timeout(self.deadline, async {
            let conn = &mut **lent.insert(self.connection().await?);
            let keys = Keys { ring: &self.no_keys, rng: &*self.rng };
            if !work.in_transaction() {
                return work.perform(&mut Db { conn, keys, entries: None }).await;
            }
            AnsiTransactionManager::begin_transaction_sql(&mut *conn, "BEGIN").await?;
            let outcome = work.perform(&mut Db { conn: &mut *conn, keys, entries: None }).await;
            settle(conn, outcome).await
        });
        let (outcome, hung) = match limited.instrument(span).await {
            Ok(outcome) => (outcome, false),
            Err(elapsed) => {
                if let Some(conn) = lent.take() {
                    close(conn);
                }
                (Err(Error::unavailable(elapsed)), true)
            }
        };
        drop(lent);
        if matches!(outcome, Err(Error::Unavailable(_))) {
            self.forget_idle();
        }
        self.metrics.query(W::NAME, started.elapsed(), outcome.is_ok());
        (outcome, hung)
    }
}

impl Layer for Postgres {
    async fn exec<W: Work>(&self, work: W) -> Result<W::Out, Error> {
        let mut attempt = 1;
        loop {
            let (outcome, hung) = self.attempt(&work).await;
            let again = match &outcome {
                Err(error) if error.is_transient() => attempt < ATTEMPTS,
                Err(Error::Unavailable(_)) => attempt == 1 && work.reads() && !hung,
                _ => false,
            };
            if !again {
                return outcome;
            }
            tracing::debug!(query.name = W::NAME, attempt, "query lost, again");
            tokio::time::sleep(pause(attempt)).await;
            attempt += 1;
        }
    }

    async fn session(&self) -> Result<super::Session, Error> {
        let conn = self.connection().await?;
        Ok(super::Session {
            conn,
            ring: Arc::clone(&self.no_keys),
            rng: Arc::clone(&self.rng),
            metrics: self.metrics.clone(),
            deadline: self.deadline,
            hung: false,
        })
    }
}

/// Ends a connection on which an answer is outstanding: nobody else may have to wait for that answer.
pub(crate) fn close(conn: Object<AsyncPgConnection>) {
    drop(Object::take(conn));
}

/// Commits after success, rolls back after failure. The first error is the one reported.
pub(crate) async fn settle<T, E: From<Error>>(
    conn: &mut AsyncPgConnection,
    outcome: Result<T, E>,
) -> Result<T, E> {
    match outcome {
        Ok(value) => {
            AnsiTransactionManager::commit_transaction(&mut *conn)
                .await
                .map_err(|error| E::from(Error::from(error)))?;
            Ok(value)
        }
        Err(error) => {
            roll_back(conn).await;
            Err(error)
        }
    }
}

pub(crate) async fn roll_back(conn: &mut AsyncPgConnection) {
    if let Err(error) = AnsiTransactionManager::rollback_transaction(conn).await {
        // The pool drops a connection that is left in a transaction.
        tracing::warn!(error = %stdx::chain(&error), "could not roll back");
    }
}

/// The cheapest question that only a working connection answers.
pub(crate) async fn ping(conn: &mut AsyncPgConnection) -> Result<(), Error> {
    conn.batch_execute("SELECT 1").await.map_err(Error::from)
}
