//! Tests of the ledger on real files.

#![cfg(test)]

mod crash;
mod disks;
mod limits;
mod shipping;
mod stage;
mod verifying;
