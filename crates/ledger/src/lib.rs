//! The ledger of the gateway: facts are on disk before an answer is released, and stay there until the
//! place of record has acknowledged them.

mod sink;

pub use sink::{Batch, Receipt, RefusedFact, Sink, SinkError};
