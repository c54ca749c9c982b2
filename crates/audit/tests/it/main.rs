//! The verifier against chains that were tampered with.

#![cfg(test)]

mod chain;
