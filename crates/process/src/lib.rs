//! What every daemon does alike: read its options, start logging, listen, and stop on a signal.
//!
//! It turns rows of the option table into what the libraries below want, and names the option in every
//! error. What a daemon is made of is its own business.

mod listen;
mod logs;
mod memory;
mod metrics;
mod options;
mod run;
mod spool;

/// Facts are made on one thread and dropped on another; here, not in a library that others embed.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub use listen::{ListenError, listen, tls};
pub use logs::{LogError, start_logs};
pub use metrics::serve_metrics;
pub use options::{read, without_effect};
pub use run::run;
pub use spool::{NoSpoolDir, SPOOL_OPTIONS, spool};
