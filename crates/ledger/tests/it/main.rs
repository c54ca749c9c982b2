//! Tests of the ledger on real files.

#![cfg(test)]

mod limits;
mod shipping;
mod stage;
