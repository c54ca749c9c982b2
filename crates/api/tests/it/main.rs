//! The API over real sockets and a real database.
#![cfg(test)]

mod accounts;
mod ai_providers;
mod app;
mod audit;
mod authcheck;
mod connection_logs;
mod daemon;
mod database;
mod gateway;
mod gateway_keys;
mod interceptions;
mod recording;
mod refusals;
mod roles;
mod seeding;
mod tokens;
mod users;
