//! The store against a real PostgreSQL.

mod access;
mod identity;
mod interceptions;
mod migrations;
mod sealed;
mod transactions;
