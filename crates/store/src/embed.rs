//! Queries of your own, for services that keep their data beside this schema.
//!
//! A service that embeds this crate writes its queries the way this crate does: a value that implements
//! [`Query`](crate::Query), with its rule in [`access`](crate::Query::access) and its statement in
//! [`run`](crate::Query::run). They run by [`Store::run`](crate::Store::run) and
//! [`Authz::tx`](crate::Authz::tx), on the same pool, in the same transactions, decided by the same roles,
//! measured under their own [`NAME`](crate::Query::NAME). `cargo run -p store --example archive` is a whole one.
//!
//! - **The connection** comes from [`connection`] and from nowhere else. It takes a [`Db`], which the stack hands
//!   to a query that was let through, and to the rule of one that has to look first. Statements are written with
//!   the [`diesel`] and [`diesel_async`] of this module, whose versions fit.
//! - **A list** has the rule [`Access::Rows`](crate::Access::Rows) and adds [`rows`] to its conditions: what the
//!   subject may read, as bound parameters. [`Terms`] says once how the table's columns are compared.
//! - **The object** of a rule has one of the kinds in [`rbac::Resource`]. Kinds are a closed list, because roles
//!   say of each what they grant: choose the kind whose grants are those that you want.
//! - **Errors** are [`Error`](crate::Error); those of diesel become one with `?`. The constraints of your tables
//!   are [`Constraint::Unknown`](crate::Constraint::Unknown).
//! - **Tables of your own** belong in an SQL schema of their own and are migrated by you, after
//!   [`Full::connect`](crate::Full::connect) has migrated ours. Not with the ledger `__diesel_schema_migrations` of
//!   our schema: migrations in it that this crate does not know look like those of a newer program, which it
//!   refuses. References to our tables should say `ON DELETE CASCADE`, or deletions will be refused.
//! - **Sealed columns** are not for tables of your own: what rotates keys goes through the columns of this schema.
//!   Seal with [`crypt::Keyring`] and a [`crypt::Place`] of yours, and keep the text in a plain column.

pub use diesel;
pub use diesel_async;

pub use crate::rows::{AclShape, Condition, Rows, Sharing, Terms};
use crate::{Db, Permit};

/// The connection that a query runs on; inside of a transaction, the transaction's own.
///
/// Leave transactions alone: `BEGIN`, `COMMIT` and savepoints are the stack's
/// ([`Query::ATOMIC`](crate::Query::ATOMIC), [`Authz::tx`](crate::Authz::tx)), and so are settings of the session.
pub fn connection<'a>(db: &'a mut Db<'_>) -> &'a mut diesel_async::AsyncPgConnection {
    db.conn()
}

/// The rows that the subject may see. Nothing at all, unless the rule is
/// [`Access::Rows`](crate::Access::Rows).
#[must_use]
pub fn rows<Q>(permit: Permit<Q>) -> Rows {
    permit.into_rows()
}
