//! The stack `Authz<Crypt<Postgres>>`: each layer written once, for all queries.
//!
//! [`Authz`] decides and mints the permit, [`Crypt`] adds the keyring, [`Postgres`] takes a connection, runs
//! and measures. Below `Authz` there are no queries any more, only [`Work`] that was let through; so there
//! is no way to hand a query to a lower layer.

pub(crate) mod authz;
pub(crate) mod crypt;
mod judge;
pub(crate) mod postgres;
mod tx;

use std::future::Future;

pub use authz::Authz;
pub use crypt::Crypt;
pub use judge::Judge;
pub use postgres::Postgres;
pub(crate) use tx::Session;
pub use tx::{Isolation, Transient, Tx, TxBody, TxOptions};

use crate::Error;
use crate::query::{Call, Db, Fut, Query};

/// The stack as the program uses it.
pub type Full = Authz<Crypt<Postgres>>;

/// Runs queries on behalf of subjects.
pub trait Store: Send + Sync {
    /// Runs one query: decides, opens what is sealed, executes.
    ///
    /// One that lost against a concurrent transaction is run again, up to four times in all; one that only reads also
    /// when its connection turns out to be dead, once.
    ///
    /// # Errors
    /// [`Error::Denied`] without having touched the database where the rule allows that; otherwise what
    /// the query returns.
    fn run<Q: Query>(
        &self,
        call: Call<'_>,
        query: Q,
    ) -> impl Future<Output = Result<Q::Out, Error>> + Send;
}

/// A query that was let through, on its way down.
pub(crate) trait Work: Send + Sync {
    type Out: Send;
    const NAME: &'static str;
    /// Whether it must see one state of the database throughout.
    fn in_transaction(&self) -> bool;
    /// Whether it only reads, so that it may run again when nobody knows whether it did.
    fn reads(&self) -> bool;
    fn perform<'a>(&'a self, db: &'a mut Db<'_>) -> Fut<'a, Self::Out>;
}

/// A layer below the decision.
pub(crate) trait Layer: Send + Sync {
    fn exec<W: Work>(&self, work: W) -> impl Future<Output = Result<W::Out, Error>> + Send;
    /// A connection of one's own, with the keys, for a transaction.
    fn session(&self) -> impl Future<Output = Result<Session, Error>> + Send;
}
