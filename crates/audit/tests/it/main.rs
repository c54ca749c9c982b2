//! The verifier against chains that were tampered with, and the writer of connections against a real database.

#![cfg(test)]

mod chain;
mod connections;
