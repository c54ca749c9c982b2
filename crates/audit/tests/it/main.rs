//! The verifier against chains that were tampered with, rows with secrets in them, and the writer of connections against
//! a real database.

#![cfg(test)]

mod catalogue;
mod chain;
mod connections;
mod secrets;
