//! API v2: routes and handlers by noun, and the one place where causes become statuses.
//!
//! A request enters through [`App::serve`], becomes a [`Cx`](cx::Cx) (who, when, which request) if its credential
//! holds, and leaves as a typed body or one [`ApiError`]. A handler parses, runs queries on behalf of its
//! caller, and translates rows to wire types; it decides no access itself, because every query carries its
//! own rule. What changes something runs in a transaction together with its audit row.
//!
//! The AI gateway is served under `/api/v2/aibridge` and `/api/v2/ai-gateway`; [`gateway`] gives it identity
//! and a place for its records. Gateways in processes of their own get the same through [`daemon`].

mod app;
mod authz_checks;
mod csrf;
mod cx;
mod error;
mod json;
mod organizations;
mod paging;
mod routes;
mod rules;
mod search;

mod ai_providers;
mod api_keys;
mod audit_logs;
mod authcheck;
mod connection_logs;
mod daemon;
mod deployment;
mod gateway_keys;
mod interceptions;
mod jobs;
mod sessions;
mod users;

pub mod gateway;
pub mod seeding;
pub mod setup;

pub use app::{App, Base, HttpSettings, Parts, Settings, StartError};
pub use error::{ApiError, ApiResult};
pub use jobs::Retention;
pub use routes::openapi;
