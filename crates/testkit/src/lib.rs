//! Real parts for tests: a database per test, an AI provider on loopback, and a network that fails.
//!
//! Nothing here stands in for a part of the product; what tests talk to is the product itself, a real
//! PostgreSQL server, and a provider that speaks the providers' own wire formats.

pub mod db;
mod outage;
pub mod program;
pub mod provider;
pub mod relay;
pub mod volume;

pub use db::TestDb;
pub use outage::Outage;
pub use program::Program;
pub use relay::Relay;
