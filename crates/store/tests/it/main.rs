//! The store against a real PostgreSQL.

mod access;
mod identity;
mod interceptions;
mod migrations;
mod pubsub;
#[path = "../../src/bin/store-access/samples.rs"]
mod samples;
mod scene;
mod sealed;
mod systems;
mod transactions;
