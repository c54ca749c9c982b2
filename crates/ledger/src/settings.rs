use std::io;
use std::path::PathBuf;

use stdx::{SharedClock, SharedRng};
use telemetry::DuplicateMetric;

/// Smallest [`LedgerSettings::max_bytes`].
pub const MAX_BYTES_MIN: u64 = 1024 * 1024;

/// When a batch counts as durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncPolicy {
    /// When the disk has it: survives the loss of power.
    Strict,
    /// When the operating system has it: survives the end of the process, however sudden. The disk gets it
    /// within about a second.
    Os,
}

/// What to do with facts that there is no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FullPolicy {
    /// Refuse them: the gateway answers 503.
    Refuse,
    /// Let the request pass, and count its facts as lost.
    Pass,
}

/// How a ledger is kept.
#[derive(Clone, Debug)]
pub struct LedgerSettings {
    /// Directory of its own; made if it does not exist.
    pub dir: PathBuf,
    /// Most bytes it takes on disk, at least [`MAX_BYTES_MIN`].
    pub max_bytes: u64,
    /// When a batch counts as durable.
    pub sync: SyncPolicy,
    /// What to do when there is no room.
    pub full: FullPolicy,
    /// For the times of appending, of which only ages are made.
    pub clock: SharedClock,
    /// For identifiers of facts made here, and jitter.
    pub rng: SharedRng,
}

/// Why a ledger cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Two processes would write over each other.
    #[error(
        "the spool {} is in use by another process: give each its own directory \
         (CODER_AI_GATEWAY_SPOOL_DIR)",
        .dir.display()
    )]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory cannot be made, read or locked.
    #[error("cannot use {} as the spool (CODER_AI_GATEWAY_SPOOL_DIR)", .dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// One of its files cannot be read. What it holds may not have been shipped, so nothing was changed.
    #[error(
        "cannot read {} of the spool: start again when the disk is well, or move the file elsewhere, which \
         gives up what it holds",
        .file.display()
    )]
    File {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Written by a release that keeps another format. Nothing was changed.
    #[error(
        "the spool {} was written in format {version}, which this release does not know: let the release \
         that wrote it ship its facts, or set another directory (CODER_AI_GATEWAY_SPOOL_DIR)",
        .dir.display()
    )]
    Format {
        /// The directory.
        dir: PathBuf,
        /// Format of one of its files.
        version: u32,
    },
    /// Less than [`MAX_BYTES_MIN`].
    #[error(
        "the spool cannot be kept in {max_bytes} bytes: CODER_AI_GATEWAY_SPOOL_MAX_BYTES must be at least \
         {MAX_BYTES_MIN}"
    )]
    TooSmall {
        /// As configured.
        max_bytes: u64,
    },
    /// A thread could not be started.
    #[error("cannot start a thread for the spool")]
    Thread(#[source] io::Error),
    /// Another ledger uses the same registry.
    #[error(transparent)]
    Metrics(#[from] DuplicateMetric),
}
