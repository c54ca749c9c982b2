//! Whether the chain of the audit log is whole: for a database, and for a file that was exported from one.
//!
//! A [`Verifier`] is fed the parts in the order of the chain and keeps one row in memory. It stops at the first
//! [`Fault`], which names the row and what is wrong with it.

mod line;
mod verify;

pub use line::{Line, LineError};
pub use verify::{Fault, Report, Verifier, What};
