//! The chain of hashes through the audit log, and the signed checkpoints that pin it.
//!
//! Each row has a gapless sequence and the SHA-256 of the row before it and of its own columns ([`Entry::hash`] has the
//! encoding). What a transaction writes is kept until its commit and then appended at once, under a lock on the one row
//! of `audit_chain`: transactions wait for each other no longer than a commit takes.
//!
//! A chain alone can be computed anew by whoever may write to the table. So the program signs now and then how far the
//! chain is ([`MakeCheckpoint`]) with a key that the database has sealed only, and logs it; what is older than a
//! checkpoint cannot be rewritten, and rows that it covers cannot be cut off. Removal of old rows leaves a checkpoint
//! that says where the chain starts ([`DeleteOldAuditLogs`]).

mod adopt;
mod append;
mod checkpoint;
mod entry;
mod purge;
mod reader;

pub(crate) use adopt::adopt;
pub(crate) use append::{append, lock_out};
pub use checkpoint::{Checkpoint, Kind, MakeCheckpoint, RotateSigningKey};
pub use entry::{Entry, HASH_BYTES, Link, NotJson, START};
pub use purge::DeleteOldAuditLogs;
pub use reader::{Head, PublicKey, ReadError, Reader};

crate::queries![MakeCheckpoint, RotateSigningKey, DeleteOldAuditLogs];
