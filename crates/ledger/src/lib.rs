//! The ledger of the gateway: facts are on disk before an answer is released, and stay there until the
//! place of record has acknowledged them.
//!
//! [`Ledger::open`] brings back what an earlier process left, [`aibridge::ports::Recorder`] takes facts, and
//! [`Ledger::ship`] sends them in batches, in order, to a [`Sink`]: the store in `coderd`, the control
//! protocol in a separate daemon. Underneath lies a spool that knows bytes only.
//!
//! It refuses to know where facts are stored, and what they mean beyond which interception they are about
//! and whether they begin or end it.
//!
//! Invariants:
//!
//! - What [`append`](aibridge::ports::Recorder::append) took has reached the operating system: no end of the
//!   process loses it. When its future resolves, neither does the loss of power ([`SyncPolicy::Strict`]).
//! - Nothing is acknowledged before the sink has stored it. It may be sent twice, never not at all.
//! - A start is taken only with room for its end, so the usage of an accepted request is never lost because
//!   the spool has filled up meanwhile.
//! - An interception that was open when the process ended is ended at the next start.
//! - No byte on the disk makes it panic, wait for ever or take memory without bound.
//!
//! What lies in the directory, byte by byte, is described at the head of `spool.rs`.

mod ledger;
mod metrics;
mod payload;
mod recorder;
mod refused;
mod settings;
mod shipper;
mod sink;
mod spool;
mod status;
mod verify;

pub use ledger::Ledger;
pub use settings::{FullPolicy, LedgerSettings, MAX_BYTES_MIN, OpenError, SyncPolicy};
pub use sink::{Batch, Receipt, RefusedFact, Sink, SinkError};
pub use spool::{Health, Position};
pub use status::{Shipping, Status};
pub use verify::{
    Checked, FactName, Kinds, Records, Report, Stored, TokenSums, VerifyError, read_all, verify,
};
