//! PostgreSQL for the control plane: the only user of diesel, and the only way to a connection.
//!
//! Everything the program asks of the database is a [`Query`]: a value that holds its inputs, its access
//! rule and its statement, on one screen of a module named after its noun ([`users`], [`api_keys`],
//! [`ai_providers`], [`interceptions`], [`audit_logs`], ...). [`Store::run`] runs one on behalf of a subject,
//! [`Authz::tx`](stack::Authz::tx) several in one transaction. Both go through the whole stack
//! `Authz<Crypt<Postgres>>`, which [`Full::connect`](stack::Full::connect) hands out and nothing else does.
//!
//! Invariants:
//! - a query cannot run without the permit that its own rule earned, and nothing outside `stack/authz.rs`
//!   makes one;
//! - a connection is handed to queries that were let through, and to nobody else; outside this crate they reach it
//!   by [`embed`], which is for services that are not ours;
//! - a sealed column takes and yields [`Sealed`] and nothing else; encryption off is a keyring without keys;
//! - a list never returns a row that its subject may not read, and never more rows than its limit;
//! - no error holds a secret or the content of a row.
//!
//! It knows nothing of HTTP, wire formats or the gateway. Services of your own can put their queries on this stack:
//! [`embed`] says how. To add a query here, follow `docs/adding-a-query.md` and
//! finish with `cargo xtask gen`.

mod connect;
mod constraints;
pub mod dbcrypt;
mod error;
mod metrics;
mod migrate;
mod patience;
mod pk;
mod query;
mod recorder;
mod rows;
#[rustfmt::skip]
#[expect(clippy::doc_markdown, reason = "generated from the migrations")]
#[cfg_attr(not(test), expect(clippy::wildcard_imports, reason = "generated from the migrations"))]
pub mod schema;
mod sealed;
mod stack;

pub mod ai_budgets;
pub mod ai_prices;
pub mod ai_providers;
pub mod ai_seats;
pub mod api_keys;
pub mod audit_chain;
pub mod audit_logs;
pub mod chat_models;
pub mod chats;
pub mod connection_logs;
pub mod crypto_keys;
pub mod custom_roles;
pub mod embed;
pub mod external_auth_links;
pub mod gateway_keys;
pub mod git_ssh_keys;
pub mod groups;
pub mod interceptions;
pub mod licenses;
pub mod locks;
pub mod mcp_servers;
pub mod members;
pub mod oauth2_apps;
pub mod oauth2_codes;
pub mod oauth2_grants;
pub mod oauth2_secrets;
pub mod oauth2_tokens;
pub mod organizations;
pub mod own_provider_keys;
pub mod provisioner_daemons;
pub mod provisioner_keys;
pub mod pubsub;
pub mod purge;
pub mod replicas;
pub mod site_configs;
pub mod system_roles;
pub mod tasks;
pub mod telemetry;
pub mod templates;
pub mod usage_events;
pub mod user_configs;
pub mod user_links;
pub mod user_secrets;
pub mod user_skills;
pub mod users;
pub mod workspace_agents;
pub mod workspaces;

pub use connect::{ConnectError, ConnectOptions, answers};
pub use constraints::Constraint;
pub use dbcrypt::KeyCheckError;
pub use error::{Denial, Error, Source};
pub use patience::outlast;
pub use pk::Pk;
pub use query::{Access, Call, Change, Check, Db, Fut, Permit, Query, check, check_role};
pub use recorder::Recorder;
pub use sealed::{Keys, Sealed, SealedColumn, SealedPair, SealedText, columns as sealed_columns};
pub use stack::{
    Authz, Crypt, Full, Isolation, Judge, Postgres, Store, Transient, Tx, TxBody, TxOptions,
};

/// Lists the queries of a module, so that tools and tests can go through all of them.
macro_rules! queries {
    ($($query:ident),* $(,)?) => {
        /// The names of this module's queries.
        pub const QUERIES: &[&str] = &[$(<$query as $crate::Query>::NAME),*];
    };
}
pub(crate) use queries;
