//! The store against a real PostgreSQL.
//!
//! All of it is test code, also the functions that tests share: hence `cfg(test)`, which the lints go by.

#[cfg(test)]
mod access;
#[cfg(test)]
mod audit_chain;
#[cfg(test)]
mod budgets;
#[cfg(test)]
mod chat_models;
#[cfg(test)]
mod chats;
#[cfg(test)]
mod connection_logs;
#[cfg(test)]
mod embed;
#[cfg(test)]
#[path = "../../examples/archive.rs"]
mod example;
#[cfg(test)]
mod expired;
#[cfg(test)]
mod gone;
#[cfg(test)]
mod groups;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod interceptions;
#[cfg(test)]
mod licenses;
#[cfg(test)]
mod mcp_servers;
#[cfg(test)]
mod meeting;
#[cfg(test)]
mod migrations;
#[cfg(test)]
mod oauth2;
#[cfg(test)]
mod people;
#[cfg(test)]
mod personal;
#[cfg(test)]
mod plans;
#[cfg(test)]
mod provisioner_daemons;
#[cfg(test)]
mod provisioner_keys;
#[cfg(test)]
mod pubsub;
#[cfg(test)]
mod roles;
#[cfg(test)]
mod rotation;
#[cfg(test)]
#[path = "../../src/bin/store-access/samples.rs"]
mod samples;
#[cfg(test)]
mod scene;
#[cfg(test)]
mod sealed;
#[cfg(test)]
mod sharing;
#[cfg(test)]
mod state;
#[cfg(test)]
mod systems;
#[cfg(test)]
mod tasks;
#[cfg(test)]
mod templates;
#[cfg(test)]
mod tenants;
#[cfg(test)]
mod transactions;
#[cfg(test)]
mod workspace_agents;
#[cfg(test)]
mod workspaces;
