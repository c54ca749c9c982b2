//! Runs every committed input through its target.
#![cfg(test)]

mod replay;
